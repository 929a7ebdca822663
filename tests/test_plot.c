/* test_plot.c - plots are complete PNG and SVG files, the same each time, with ink where the values
 * say; ticks and their labels; and input that can't be drawn. */
#include "plot.h"

#include <check.h>
#include <math.h>
#include <spng.h>
#include "plot_private.h"
#include "scratch.h"

/* ---------------------------------------------------------------- ticks */

static void assert_ticks(struct scale scale, int wanted, const char *expected)
{
    double ticks[PLOT_MAX_TICKS];
    char text[32], all[512] = "";
    int n = plot_ticks(&scale, wanted, ticks);
    for (int i = 0; i < n; i++) {
        snprintf(text, sizeof text, "%s%.6g", i ? " " : "", ticks[i]);
        strcat(all, text);
    }
    ck_assert_str_eq(all, expected);
}

START_TEST(ticks)
{
    assert_ticks((struct scale){ .low = 0, .high = 2000 }, 7, "0 500 1000 1500 2000");
    assert_ticks((struct scale){ .low = -4, .high = 4 }, 6, "-4 -2 0 2 4");
    assert_ticks((struct scale){ .low = 2.71, .high = 3.62 }, 6, "2.8 3 3.2 3.4 3.6");
    assert_ticks((struct scale){ .low = -1e-5, .high = 3e-5 }, 5, "-1e-05 0 1e-05 2e-05 3e-05");
    assert_ticks((struct scale){ .low = 1, .high = 2e4, .log = true }, 7, "1 10 100 1000 10000");
    assert_ticks((struct scale){ .low = 0.5, .high = 60, .log = true }, 7, "0.5 1 2 5 10 20 50");
    assert_ticks((struct scale){ .low = 1e-12, .high = 1, .log = true }, 6,
                 "1e-12 1e-10 1e-08 1e-06 0.0001 0.01 1");
    assert_ticks((struct scale){ .low = 2.7, .high = 4.1, .log = true }, 6, "3 3.5 4");
}
END_TEST

START_TEST(tick_texts)
{
    static const struct {
        double value, step, largest;
        const char *text;
    } cases[] = {
        { 0, 500, 2000, "0" },
        { 1500, 500, 2000, "1500" },
        { 5000, 5000, 20000, "5k" },
        { 12500, 500, 20000, "12.5k" },
        { 2.5e6, 5e5, 3e6, "2.5M" },
        { 3, 0.5, 3.5, "3.0" },
        { -0.25, 0.05, 0.25,
          "\xe2\x88\x92"
          "0.25" },
        { -4, 2, 4,
          "\xe2\x88\x92"
          "4" },
        { 1e-5, 1e-5, 3e-5, "1e-05" },
        { 1e-17, 0.1, 0.5, "0" },
    };
    char text[32];
    for (int i = 0; i < (int)(sizeof cases / sizeof cases[0]); i++)
        ck_assert_str_eq(
            plot_tick_text(cases[i].value, cases[i].step, cases[i].largest, text, sizeof text),
            cases[i].text);
}
END_TEST

START_TEST(places)
{
    struct scale s = { .low = 10, .high = 1000, .begin = 100, .end = 300, .log = true };
    ck_assert_double_eq_tol(plot_place(&s, 100), 200, 1e-9);
    s.log = false;
    ck_assert_double_eq_tol(plot_place(&s, 505), 200, 1e-9);
}
END_TEST

/* ---------------------------------------------------------------- pictures */

struct picture {
    uint32_t width, height;
    uint8_t *rgb;
};

static struct picture load(const char *name)
{
    struct picture p;
    struct spng_ihdr header;
    size_t n, size;
    char *png = scratch_load(name, &n);
    ck_assert_ptr_nonnull(png);
    spng_ctx *context = spng_ctx_new(0);
    ck_assert_int_eq(spng_set_png_buffer(context, png, n), 0);
    ck_assert_int_eq(spng_get_ihdr(context, &header), 0);
    ck_assert_int_eq(spng_decoded_image_size(context, SPNG_FMT_RGB8, &size), 0);
    p.width = header.width;
    p.height = header.height;
    p.rgb = malloc(size);
    ck_assert_int_eq(spng_decode_image(context, p.rgb, size, SPNG_FMT_RGB8, 0), 0);
    spng_ctx_free(context);
    free(png);
    return p;
}

/* Whether a pixel near (x,y), in parts of the page, is about that colour. */
static bool has_colour(const struct picture *p, double x, double y, int reach, int r, int g, int b)
{
    int cx = (int)(x * p->width), cy = (int)(y * p->height);
    for (int dy = -reach; dy <= reach; dy++)
        for (int dx = -reach; dx <= reach; dx++) {
            const uint8_t *pixel = p->rgb + ((size_t)(cy + dy) * p->width + (size_t)(cx + dx)) * 3;
            if (abs(pixel[0] - r) + abs(pixel[1] - g) + abs(pixel[2] - b) < 40) return true;
        }
    return false;
}

static double x[3000], y[3000], test_x[4], test_y[4];
static struct plot_series series[2];
static const struct plot_axes axes = { .title = "a <title> & more",
                                       .x_label = "step",
                                       .y_label = "bits/dim" };

static void fill_series(int n)
{
    for (int i = 0; i < n; i++) {
        x[i] = i + 1;
        y[i] = 3 + 30.0 / (i + 1) + 0.1 * sin(i * 12.9898);
    }
    for (int i = 0; i < 4; i++) {
        test_x[i] = i * n / 3.0;
        test_y[i] = i == 0 ? 1000 : 3;
    }
    series[0] = (struct plot_series){ "train", x, y, n, PLOT_SMOOTHED };
    series[1] = (struct plot_series){ "test", test_x, test_y, 4, PLOT_POINTS };
}

START_TEST(curves)
{
    static const int lengths[] = { 1, 2, 7, 480, 481, 3000 };
    for (int i = 0; i < 6; i++)
        for (int scale = 0; scale < 4; scale++) {
            struct plot_axes a = axes;
            size_t n, m;
            a.log_x = scale & 1;
            a.log_y = scale & 2;
            fill_series(lengths[i]);
            ck_assert_msg(plot_curves(scratch_path("a.png"), &a, series, 2) == 0, "%s",
                          fail_message());
            ck_assert_int_eq(plot_curves(scratch_path("b.png"), &a, series, 2), 0);
            char *first = scratch_load("a.png", &n), *second = scratch_load("b.png", &m);
            ck_assert_uint_eq(n, m);
            ck_assert_mem_eq(first, second, n);
            free(first);
            free(second);
        }
    struct picture p = load("a.png");
    ck_assert_uint_eq(p.width, 1440);
    ck_assert_uint_eq(p.height, 840);
    free(p.rgb);
}
END_TEST

/* The test loss of 1000 at step 0 does not flatten the rest: the last point stands near the middle
 * of what the training losses, 2.9 to about 3.2, span, and the training curve near it. */
START_TEST(untrained_losses_leave_the_picture)
{
    struct picture p;
    bool blue = false, red = false;
    fill_series(3000);
    ck_assert_int_eq(plot_curves(scratch_path("a.png"), &axes, series, 2), 0);
    p = load("a.png");
    for (double at = 0.4; at < 0.8; at += 0.005) {
        blue |= has_colour(&p, 0.5, at, 2, 0, 115, 179);
        red |= has_colour(&p, 696 / 720.0, at, 2, 214, 94, 0);
    }
    ck_assert(blue);
    ck_assert(red);
    free(p.rgb);
}
END_TEST

START_TEST(nothing_to_draw)
{
    static const double bad_x[3] = { 1, 2, NAN }, bad_y[3] = { NAN, INFINITY, 3 };
    struct plot_series bad = { "bad", bad_x, bad_y, 3, PLOT_LINE };
    struct plot_axes logs = { .log_x = true, .log_y = true };
    ck_assert_int_eq(plot_curves(scratch_path("a.png"), &axes, NULL, 0), 0);
    ck_assert_int_eq(plot_curves(scratch_path("a.png"), &axes, &bad, 1), 0);
    ck_assert_int_eq(plot_curves(scratch_path("a.png"), &logs, &bad, 1), 0);
    fill_series(1);
    series[0].n = 0;
    ck_assert_int_eq(plot_curves(scratch_path("a.png"), &axes, series, 2), 0);
}
END_TEST

START_TEST(vector_file)
{
    size_t n;
    fill_series(3000);
    ck_assert_int_eq(plot_curves(scratch_path("a.svg"), &axes, series, 2), 0);
    char *svg = scratch_load("a.svg", &n);
    ck_assert_ptr_nonnull(strstr(svg, "<svg"));
    ck_assert_ptr_nonnull(strstr(svg, "</svg>"));
    ck_assert_uint_lt(n, 200000); /* however many steps */
    free(svg);
}
END_TEST

/* Bright above right, dark elsewhere; row 0 is at the bottom. */
START_TEST(density)
{
    double values[64 * 64] = { 0 };
    const double point[2] = { -2, -2 };
    for (int row = 40; row < 56; row++)
        for (int i = 40; i < 56; i++) values[row * 64 + i] = 2;
    values[0] = NAN;
    struct plot_map map = { .title = "d",
                            .density = values,
                            .rows = 64,
                            .columns = 64,
                            .left = -4,
                            .right = 4,
                            .bottom = -4,
                            .top = 4,
                            .points = point,
                            .n_points = 1 };
    ck_assert_msg(plot_density(scratch_path("d.png"), &map) == 0, "%s", fail_message());
    struct picture p = load("d.png");
    /* The square spans points 62..482 across and 44..464 down on a page of 586 x 504. */
    ck_assert(has_colour(&p, (62 + 420 * 0.75) / 586, (44 + 420 * 0.25) / 504, 1, 253, 231, 37));
    ck_assert(has_colour(&p, (62 + 420 * 0.75) / 586, (44 + 420 * 0.75) / 504, 1, 68, 1, 84));
    ck_assert(has_colour(&p, (62 + 420 * 0.25) / 586, (44 + 420 * 0.25) / 504, 1, 68, 1, 84));
    ck_assert(!has_colour(&p, (62 + 420 * 0.25) / 586, (44 + 420 * 0.75) / 504, 0, 68, 1, 84));
    free(p.rgb);
    ck_assert_int_eq(plot_density(scratch_path("d.svg"), &map), 0);
    memset(values, 0, sizeof values);
    map.right = 28; /* wide; nothing anywhere */
    ck_assert_int_eq(plot_density(scratch_path("d.png"), &map), 0);
}
END_TEST

START_TEST(refused)
{
    static const double one = 1;
    struct plot_map map = { .density = &one, .rows = 1, .columns = 1, .right = 1, .top = 1 };
    fill_series(10);
    ck_assert_int_eq(plot_curves(scratch_path("a.pdf"), &axes, series, 2), GLOW_EINVAL);
    ck_assert_ptr_nonnull(strstr(fail_message(), ".svg or .png"));
    ck_assert_int_eq(plot_curves(scratch_path("a"), &axes, series, 2), GLOW_EINVAL);
    ck_assert_int_eq(plot_curves(scratch_path("no/a.png"), &axes, series, 2), GLOW_EIO);
    ck_assert(!scratch_exists("a.pdf") && !scratch_exists("a"));
    ck_assert_int_eq(plot_density(scratch_path("e.png"), &map), 0);
    map.right = 0;
    ck_assert_int_eq(plot_density(scratch_path("e.png"), &map), GLOW_EINVAL);
    map.right = NAN;
    ck_assert_int_eq(plot_density(scratch_path("e.png"), &map), GLOW_EINVAL);
    map.right = 1;
    map.rows = 5000;
    ck_assert_int_eq(plot_density(scratch_path("e.png"), &map), GLOW_EINVAL);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("plot");
    TCase *tests = tcase_create("plot");
    tcase_add_test(tests, ticks);
    tcase_add_test(tests, tick_texts);
    tcase_add_test(tests, places);
    tcase_add_test(tests, curves);
    tcase_add_test(tests, untrained_losses_leave_the_picture);
    tcase_add_test(tests, nothing_to_draw);
    tcase_add_test(tests, vector_file);
    tcase_add_test(tests, density);
    tcase_add_test(tests, refused);
    tcase_set_timeout(tests, 60);
    suite_add_tcase(suite, tests);
    return scratch_run(suite);
}

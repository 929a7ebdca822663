/* test_glyphs.c - procedural digits: any shape, labels, looks. */
#include <stdlib.h>
#include <string.h>
#include "harness.h"

enum { SIDE = 24, PIXELS = SIDE * SIDE };

START_TEST(conforms)
{
    static const int64_t shapes[][3] = { { 1, 32, 32 }, { 3, 48, 48 }, { 1, 20, 50 }, { 3, 8, 8 } };
    const int64_t *s = shapes[_i];
    struct harness *h = harness_load("glyphs");
    harness_open(h, "train", harness_image(s[0], s[1], s[2]));
    const struct glow_column *x = &h->info.columns[0], *label = &h->info.columns[1];
    ck_assert_uint_eq(h->info.n_columns, 2);
    ck_assert_uint_eq(x->dtype, GLOW_U8);
    ck_assert_int_eq(x->type.rank, 3);
    for (int i = 0; i < 3; i++) ck_assert_int_eq(x->type.dim[i], s[i]);
    ck_assert_uint_eq(label->role, GLOW_ROLE_LABEL);
    ck_assert_uint_eq(label->n_names, 10);
    ck_assert_str_eq(label->names[7], "7");
    harness_conforms(h);
    harness_free(h);
}
END_TEST

/* A model that takes anything gets 1x32x32, one that takes rows of 1024 the same, flat. */
START_TEST(native_shape)
{
    struct harness *h = harness_load("glyphs");
    uint8_t image[1024], row[1024];
    harness_open(h, "test", harness_any());
    ck_assert_int_eq(h->info.count, 10000);
    ck_assert_uint_eq(harness_row_bytes(h, 0), sizeof image);
    harness_read(h, 0, 5, image);
    harness_open(h, "test", harness_row(1024));
    ck_assert_int_eq(h->info.columns[0].type.rank, 1);
    harness_read(h, 0, 5, row);
    ck_assert_mem_eq(image, row, sizeof row);
    harness_free(h);
}
END_TEST

static double mean(const uint8_t *p, int n)
{
    double sum = 0;
    for (int i = 0; i < n; i++) sum += p[i];
    return sum / n;
}

/* Ink on a black ground that stays off the border, soft edges, all rows different. */
START_TEST(looks)
{
    struct harness *h = harness_load("glyphs");
    uint8_t image[PIXELS], last[PIXELS] = { 0 };
    int soft = 0;
    harness_open(h, "train", harness_image(1, SIDE, SIDE));
    for (int64_t i = 0; i < 500; i++) {
        int32_t label;
        harness_read(h, 0, i, image);
        harness_read(h, 1, i, &label);
        ck_assert_int_eq(label, i % 10);
        double ink = mean(image, PIXELS) / 255;
        ck_assert_msg(ink > 0.03 && ink < 0.45, "row %d: ink %f", (int)i, ink);
        ck_assert_uint_eq(image[0] + image[SIDE - 1] + image[PIXELS - SIDE] + image[PIXELS - 1], 0);
        for (int k = 0; k < PIXELS; k++) soft += image[k] > 20 && image[k] < 180;
        ck_assert(memcmp(image, last, PIXELS) != 0);
        memcpy(last, image, PIXELS);
    }
    ck_assert_int_gt(soft, 500 * 20);
    harness_free(h);
}
END_TEST

/* The ten digits differ from each other more than two drawings of the same one do. */
START_TEST(digits_are_classes)
{
    struct harness *h = harness_load("glyphs");
    static double centre[10][PIXELS];
    uint8_t image[PIXELS];
    int right = 0;
    memset(centre, 0, sizeof centre);
    harness_open(h, "train", harness_image(1, SIDE, SIDE));
    for (int64_t i = 0; i < 1000; i++) {
        harness_read(h, 0, i, image);
        for (int k = 0; k < PIXELS; k++) centre[i % 10][k] += image[k] / 100.0;
    }
    harness_open(h, "test", harness_image(1, SIDE, SIDE));
    for (int64_t i = 0; i < 500; i++) {
        int best = -1;
        double least = 1e18;
        harness_read(h, 0, i, image);
        for (int d = 0; d < 10; d++) {
            double sum = 0;
            for (int k = 0; k < PIXELS; k++)
                sum += (image[k] - centre[d][k]) * (image[k] - centre[d][k]);
            if (sum < least) {
                least = sum;
                best = d;
            }
        }
        right += best == i % 10;
    }
    ck_assert_msg(right > 300, "the nearest mean is right for %d of 500", right);
    harness_free(h);
}
END_TEST

START_TEST(variation_and_noise)
{
    struct harness *h = harness_load("glyphs");
    uint8_t a[PIXELS], b[PIXELS];
    harness_set(h, "variation", "0");
    harness_open(h, "train", harness_image(1, SIDE, SIDE));
    harness_read(h, 0, 3, a);
    harness_read(h, 0, 13, b);
    ck_assert_mem_eq(a, b, PIXELS);
    int most = 0;
    for (int k = 0; k < PIXELS; k++) most = a[k] > most ? a[k] : most;
    ck_assert_int_eq(most, 255);
    harness_set(h, "noise", "10");
    harness_open(h, "train", harness_image(1, SIDE, SIDE));
    harness_read(h, 0, 3, b);
    double squares = 0;
    int n = 0;
    for (int k = 0; k < PIXELS; k++) {
        if (a[k] < 60 || a[k] > 200) continue; /* where nothing is clipped */
        squares += (a[k] - b[k]) * (a[k] - b[k]);
        n++;
    }
    ck_assert_msg(n > 20 && squares / n > 50 && squares / n < 200, "%d pixels, variance %f", n,
                  squares / n);
    harness_free(h);
}
END_TEST

START_TEST(refusals)
{
    struct harness *h = harness_load("glyphs");
    harness_refuses(h, "train", harness_image(2, 32, 32), GLOW_EINVAL, "2x32x32", "1 or 3 channels",
                    NULL);
    harness_refuses(h, "train", harness_image(1, 4, 32), GLOW_EINVAL, "4x32", "8x8", NULL);
    harness_refuses(h, "train", harness_row(7), GLOW_EINVAL, "rows of 7", "1x32x32", NULL);
    harness_free(h);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("glyphs");
    TCase *tests = tcase_create("glyphs");
    harness_directory();
    suite_add_tcase(suite, tests);
    tcase_set_timeout(tests, 60);
    tcase_add_loop_test(tests, conforms, 0, 4);
    tcase_add_test(tests, native_shape);
    tcase_add_test(tests, looks);
    tcase_add_test(tests, digits_are_classes);
    tcase_add_test(tests, variation_and_noise);
    tcase_add_test(tests, refusals);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}

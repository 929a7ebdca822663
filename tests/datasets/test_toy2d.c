/* test_toy2d.c - each toy density: samples against the density that toy2d.c states, cell by cell.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "harness.h"

static const double pi = 3.14159265358979323846;
static const char *const kinds[] = { "moons", "rings", "checkerboard", "pinwheel",
                                     "eight_gaussians" };

static double gauss(double x, double s) { return exp(-x * x / (2 * s * s)) / (s * sqrt(2 * pi)); }

/* The densities of the head of toy2d.c at their usual noise. */
static double density(int kind, double x, double y)
{
    double p = 0, q = hypot(x, y);
    switch (kind) {
    case 0: /* the midpoint rule on a smooth integrand that is narrower than pi/400 nowhere */
        for (int i = 0; i < 400; i++) {
            double t = pi * (i + 0.5) / 400;
            p += gauss(x + 0.5 - cos(t), 0.1) * gauss(y + 0.25 - sin(t), 0.1) / 800;
            p += gauss(x - 0.5 + cos(t), 0.1) * gauss(y - 0.25 + sin(t), 0.1) / 800;
        }
        return p;
    case 1:
        for (int k = 1; k <= 4; k++) p += gauss(q - 0.75 * k, 0.08) + gauss(q + 0.75 * k, 0.08);
        return p / (4 * 2 * pi * q);
    case 2:
        if (fabs(x) >= 2 || fabs(y) >= 2) return 0;
        return ((int)floor(x) + (int)floor(y)) % 2 == 0 ? 0.125 : 0;
    case 3:
        for (int k = 0; k < 5; k++) {
            double t = 2 * pi * k / 5 + q;
            p += gauss(cos(t) * x + sin(t) * y - 1.5, 0.5) * gauss(cos(t) * y - sin(t) * x, 0.15) /
                 5;
        }
        return p;
    default:
        for (int k = 0; k < 8; k++)
            p += gauss(x - 2 * cos(pi * k / 4), 0.2) * gauss(y - 2 * sin(pi * k / 4), 0.2) / 8;
        return p;
    }
}

enum { CELLS = 32, FINE = 8, SAMPLES = 200000 };

/* Counts in 32 x 32 cells of [-4,4]^2 against the integral of the density there: a chi-square whose
 * mean is the number of cells, and all the mass is accounted for. */
START_TEST(samples_follow_density)
{
    struct harness *h = harness_load("toy2d");
    static int count[CELLS][CELLS];
    const double cell = 8.0 / CELLS;
    int outside = 0, used = 0;
    double chi = 0, mass = 0;
    memset(count, 0, sizeof count);
    harness_set(h, "kind", kinds[_i]);
    harness_open(h, "train", harness_row(2));
    for (int64_t i = 0; i < SAMPLES; i++) {
        float x[2];
        harness_read(h, 0, i, x);
        int cx = (int)floor((x[0] + 4) / cell), cy = (int)floor((x[1] + 4) / cell);
        if (cx < 0 || cy < 0 || cx >= CELLS || cy >= CELLS)
            outside++;
        else
            count[cy][cx]++;
    }
    for (int i = 0; i < CELLS * CELLS; i++) {
        double p = 0;
        for (int j = 0; j < FINE * FINE; j++) {
            double x = -4 + (i % CELLS + (j % FINE + 0.5) / FINE) * cell;
            double y = -4 + (i / CELLS + (j / FINE + 0.5) / FINE) * cell;
            p += density(_i, x, y) * cell * cell / (FINE * FINE);
        }
        mass += p;
        double expected = SAMPLES * p, away = count[i / CELLS][i % CELLS] - expected;
        if (expected < 5) continue;
        chi += away * away / expected;
        used++;
    }
    ck_assert_msg(fabs(mass - 1) < 0.002, "%s: the density's mass is %f", kinds[_i], mass);
    ck_assert_msg(outside < SAMPLES / 1000, "%s: %d samples outside", kinds[_i], outside);
    ck_assert_msg(fabs(chi - used) < 5 * sqrt(2.0 * used), "%s: chi-square %f in %d cells",
                  kinds[_i], chi, used);
    harness_free(h);
}
END_TEST

START_TEST(conforms)
{
    struct harness *h = harness_load("toy2d");
    harness_set(h, "kind", kinds[_i]);
    harness_open(h, "train", harness_any());
    ck_assert_int_eq(h->info.count, INT64_MAX);
    ck_assert_uint_eq(h->info.columns[0].dtype, GLOW_F32);
    ck_assert_int_eq(h->info.columns[0].type.rank, 1);
    ck_assert_int_eq(h->info.columns[0].type.dim[0], 2);
    harness_conforms(h);
    harness_free(h);
}
END_TEST

START_TEST(splits_and_count)
{
    struct harness *h = harness_load("toy2d");
    float train[2], valid[2], test[2];
    harness_open(h, "train", harness_row(2));
    harness_read(h, 0, 3, train);
    uint64_t fingerprint = h->info.fingerprint;
    harness_open(h, "valid", harness_row(2));
    harness_read(h, 0, 3, valid);
    harness_open(h, "test", harness_row(2));
    ck_assert_int_eq(h->info.count, 10000);
    harness_read(h, 0, 3, test);
    ck_assert(memcmp(train, test, sizeof test) && memcmp(train, valid, sizeof test) &&
              memcmp(valid, test, sizeof test));
    ck_assert_uint_ne(fingerprint, h->info.fingerprint);
    harness_set(h, "count", "12");
    harness_open(h, "train", harness_row(2));
    ck_assert_int_eq(h->info.count, 12);
    harness_free(h);
}
END_TEST

/* Without noise the points lie on the eight centres. */
START_TEST(noise_option)
{
    struct harness *h = harness_load("toy2d");
    harness_set(h, "kind", "eight_gaussians");
    harness_set(h, "noise", "0");
    harness_open(h, "train", harness_row(2));
    for (int64_t i = 0; i < 100; i++) {
        float x[2];
        harness_read(h, 0, i, x);
        double eighths = atan2(x[1], x[0]) * 4 / pi;
        ck_assert(fabs(hypot(x[0], x[1]) - 2) < 1e-5);
        ck_assert(fabs(eighths - round(eighths)) < 1e-5);
    }
    harness_free(h);
}
END_TEST

START_TEST(refusals)
{
    struct harness *h = harness_load("toy2d");
    harness_refuses(h, "train", harness_row(3), GLOW_EINVAL, "takes 3", "expected 2", NULL);
    harness_refuses(h, "train", harness_image(1, 8, 8), GLOW_EINVAL, "1x8x8", NULL);
    harness_refuses(h, "holdout", harness_row(2), GLOW_EINVAL, "holdout", "train, valid or test",
                    NULL);
    harness_free(h);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("toy2d");
    TCase *tests = tcase_create("toy2d");
    harness_directory();
    suite_add_tcase(suite, tests);
    tcase_set_timeout(tests, 60);
    tcase_add_loop_test(tests, samples_follow_density, 0, GLOW_COUNT(kinds));
    tcase_add_loop_test(tests, conforms, 0, GLOW_COUNT(kinds));
    tcase_add_test(tests, splits_and_count);
    tcase_add_test(tests, noise_option);
    tcase_add_test(tests, refusals);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}

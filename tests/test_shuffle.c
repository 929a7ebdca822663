/* test_shuffle.c - a permutation for every n, and one that looks drawn at random. */
#include "shuffle.h"

#include <check.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static void check_permutation(int64_t n, uint64_t seed, int64_t epoch)
{
    struct shuffle s = shuffle_make(n, seed, epoch);
    char *seen = calloc((size_t)n, 1);
    for (int64_t i = 0; i < n; i++) {
        int64_t at = shuffle_at(&s, i);
        ck_assert_msg(at >= 0 && at < n && !seen[at], "n = %lld: %lld comes twice or is outside",
                      (long long)n, (long long)at);
        seen[at] = 1;
    }
    free(seen);
}

START_TEST(is_a_permutation)
{
    static const int64_t sizes[] = { 1023, 1024, 1025, 4095, 4097, 60000, 65536, 70001 };
    for (int64_t n = 1; n <= 300; n++)
        for (int64_t epoch = 0; epoch < 3; epoch++) check_permutation(n, 7, epoch);
    for (int i = 0; i < (int)(sizeof sizes / sizeof sizes[0]); i++)
        check_permutation(sizes[i], UINT64_MAX, i);
}
END_TEST

/* At the end of the range nothing overflows, and different rows go to different places. */
START_TEST(large)
{
    static const int64_t sizes[] = { (int64_t)1 << 40, INT64_MAX - 1, 4294967296, 4294967297,
                                     9223372030926249001 /* 3037000499^2 */ };
    for (int k = 0; k < 5; k++) {
        struct shuffle s = shuffle_make(sizes[k], 1, 1);
        ck_assert(s.rows <= UINT32_MAX && s.columns <= UINT32_MAX);
        ck_assert(s.rows * s.columns >= s.n);
        for (int64_t i = 0; i < 1000; i++) {
            int64_t a = shuffle_at(&s, i), b = shuffle_at(&s, sizes[k] - 1 - i);
            ck_assert(a >= 0 && a < sizes[k] && b >= 0 && b < sizes[k] && a != b);
        }
    }
}
END_TEST

START_TEST(is_a_function_of_seed_and_epoch)
{
    struct shuffle a = shuffle_make(1000, 5, 3), b = shuffle_make(1000, 5, 3);
    struct shuffle other_epoch = shuffle_make(1000, 5, 4), other_seed = shuffle_make(1000, 6, 3);
    int same_epoch = 0, same_seed = 0;
    for (int64_t i = 0; i < 1000; i++) {
        ck_assert_int_eq(shuffle_at(&a, i), shuffle_at(&b, i));
        same_epoch += shuffle_at(&a, i) == shuffle_at(&other_epoch, i);
        same_seed += shuffle_at(&a, i) == shuffle_at(&other_seed, i);
    }
    ck_assert_int_lt(same_epoch, 8); /* one is expected, Poisson distributed */
    ck_assert_int_lt(same_seed, 8);
}
END_TEST

/* All n! orders of n rows are equally frequent: chi-square, within five standard deviations. */
START_TEST(all_orders)
{
    int n = _i, orders = 1;
    for (int i = 2; i <= n; i++) orders *= i;
    int *count = calloc((size_t)orders, sizeof *count);
    const int epochs = 50 * orders;
    for (int epoch = 0; epoch < epochs; epoch++) {
        struct shuffle s = shuffle_make(n, 11, epoch);
        int64_t at[8];
        int order = 0;
        for (int i = 0; i < n; i++) at[i] = shuffle_at(&s, i);
        for (int i = 0; i < n; i++) { /* the rank of the order among all */
            int smaller = 0;
            for (int k = i + 1; k < n; k++) smaller += at[k] < at[i];
            order = order * (n - i) + smaller;
        }
        count[order]++;
    }
    double chi = 0, degrees = orders - 1;
    for (int i = 0; i < orders; i++) chi += (count[i] - 50.0) * (count[i] - 50.0) / 50.0;
    ck_assert_msg(fabs(chi - degrees) < 5 * sqrt(2 * degrees), "n = %d: chi square %g, expected %g",
                  n, chi, degrees);
    free(count);
}
END_TEST

/* Where a row goes is uniform, and neighbours do not stay together, nor do two epochs resemble. */
START_TEST(mixes)
{
    enum { N = 1000, EPOCHS = 4000 };
    int place[4][20] = { { 0 } }, step[20] = { 0 };
    double product = 0;
    for (int epoch = 0; epoch < EPOCHS; epoch++) {
        struct shuffle s = shuffle_make(N, 3, epoch), next = shuffle_make(N, 3, epoch + 1);
        for (int k = 0; k < 4; k++) place[k][shuffle_at(&s, k * 333) * 20 / N]++;
        step[(shuffle_at(&s, 501) - shuffle_at(&s, 500) + N) % N * 20 / N]++;
        for (int i = 0; i < N; i += 37)
            product += ((double)shuffle_at(&s, i) - 499.5) * ((double)shuffle_at(&next, i) - 499.5);
    }
    for (int k = 0; k < 5; k++) {
        const int *bins = k < 4 ? place[k] : step;
        double chi = 0, expected = EPOCHS / 20.0;
        for (int i = 0; i < 20; i++) chi += (bins[i] - expected) * (bins[i] - expected) / expected;
        ck_assert_msg(fabs(chi - 19) < 5 * sqrt(38), "chi square %g, expected 19", chi);
    }
    /* Each product has the variance (N^2 / 12)^2. */
    double deviation = product / (N * (double)N / 12) / sqrt(EPOCHS * 28.0);
    ck_assert_msg(fabs(deviation) < 4, "two epochs correlate: %g standard deviations", deviation);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("shuffle");
    TCase *tests = tcase_create("shuffle");
    tcase_add_test(tests, is_a_permutation);
    tcase_add_test(tests, large);
    tcase_add_test(tests, is_a_function_of_seed_and_epoch);
    tcase_add_loop_test(tests, all_orders, 2, 8);
    tcase_add_test(tests, mixes);
    tcase_set_timeout(tests, 60);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

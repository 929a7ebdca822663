/* test_invconv.c - invconv: the suite, an explicit 2x2 matrix in both forms, the initial rotation.
 */
#include <math.h>
#include "plugin_suite.h"

START_TEST(conforms) { suite_conforms(GLOW_LAYER, "invconv", 82, 0); }
END_TEST

/* W = [[1, -2.5], [2, 3]] on two positions: det W = 8. */
static void check(struct suite_layer *l)
{
    const double x[4] = { 1, 2, /* channel 1 */ 3, -1 };
    const double want[4] = { 1 - 7.5, 2 + 2.5, 2 + 9, 4 - 3 }, logdet = 2 * log(8);
    double y[4], ld, back[4];
    suite_forward(l, x, y, &ld);
    suite_equal("y", y, want, 4);
    suite_equal("logdet", &ld, &logdet, 1);
    suite_inverse(l, y, back);
    suite_equal("x", back, x, 4);
}

/* P (L + I) (U + diag(sign exp(log_s))): rows (2, 3) and (1, -2.5), exchanged by P. The diagonal of
 * lu is not read. */
START_TEST(factors_by_hand)
{
    struct suite_layer l = suite_layer("layer = \"invconv\";", "[1, 2, 2]", 1);
    rig_set(l.model, "invconv.lu", (const double[4]){ 99, 3, 0.5, -99 });
    rig_set(l.model, "invconv.log_s", (const double[2]){ log(2), log(4) });
    rig_set(l.model, "invconv.perm", (const double[2]){ 1, 0 });
    rig_set(l.model, "invconv.sign", (const double[2]){ 1, -1 });
    check(&l);
    suite_layer_free(&l);
}
END_TEST

START_TEST(plain_by_hand)
{
    struct suite_layer l = suite_layer("layer = \"invconv\"; lu = false;", "[1, 2, 2]", 1);
    rig_set(l.model, "invconv.weight", (const double[4]){ 1, -2.5, 2, 3 });
    check(&l);
    suite_layer_free(&l);
}
END_TEST

/* Both forms start as the same rotation: lengths stay, logdet is 0; another seed, another one. */
START_TEST(starts_as_rotation)
{
    struct suite_layer a = suite_layer("layer = \"invconv\";", "[5]", 1);
    struct suite_layer b = suite_layer("layer = \"invconv\"; lu = false;", "[5]", 1);
    const double x[5] = { 1, -2, 3, 0.5, 4 }, zero = 0;
    double y[5], z[5], ld, before = 0, after = 0;
    suite_forward(&a, x, y, &ld);
    ck_assert_double_eq_tol(ld, zero, 1e-12);
    suite_forward(&b, x, z, &ld);
    ck_assert_double_eq_tol(ld, zero, 1e-12);
    suite_equal("W x", z, y, 5);
    for (int i = 0; i < 5; i++) {
        before += x[i] * x[i];
        after += y[i] * y[i];
    }
    ck_assert_double_eq_tol(after, before, 1e-9);
    ck_assert_double_ge(rig_difference(x, y, 5), 0.01);
    suite_layer_free(&a);
    suite_layer_free(&b);
}
END_TEST

int main(void)
{
    TCase *tests = rig_case("invconv");
    tcase_add_test(tests, conforms);
    tcase_add_test(tests, factors_by_hand);
    tcase_add_test(tests, plain_by_hand);
    tcase_add_test(tests, starts_as_rotation);
    return rig_run(tests);
}

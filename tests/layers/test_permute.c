/* test_permute.c - permute: the suite, the reversed order by hand, what a shuffle is. */
#include "plugin_suite.h"

START_TEST(conforms) { suite_conforms(GLOW_LAYER, "permute", 71, 0); }
END_TEST

START_TEST(reverse_by_hand)
{
    struct suite_layer l = suite_layer("layer = \"permute\";", "[1, 2, 3]", 1);
    const double x[6] = { 1, 2, 3, 4, 5, 6 }, want[6] = { 5, 6, 3, 4, 1, 2 }, zero = 0;
    double y[6], ld, back[6];
    suite_forward(&l, x, y, &ld);
    suite_equal("y", y, want, 6);
    suite_equal("logdet", &ld, &zero, 1);
    suite_inverse(&l, y, back);
    suite_equal("x", back, x, 6);
    suite_layer_free(&l);
}
END_TEST

static void order_of(const char *name, int seed, double order[20])
{
    char layer[200];
    double x[20], ld;
    snprintf(layer, sizeof layer,
             "layer = \"permute\"; name = \"%s\"; mode = \"shuffle\"; seed = %d;", name, seed);
    struct suite_layer l = suite_layer(layer, "[20]", 1);
    for (int i = 0; i < 20; i++) x[i] = i;
    suite_forward(&l, x, order, &ld);
    suite_layer_free(&l);
}

/* Every channel once; the same order again; another one under another name or seed. */
START_TEST(shuffle)
{
    double a[20], b[20];
    int seen[20] = { 0 };
    order_of("one", 0, a);
    for (int i = 0; i < 20; i++) seen[(int)a[i]]++;
    for (int i = 0; i < 20; i++) ck_assert_int_eq(seen[i], 1);
    order_of("one", 0, b);
    suite_equal("the order", b, a, 20);
    order_of("two", 0, b);
    ck_assert_double_ge(rig_difference(a, b, 20), 0.01);
    order_of("one", 1, b);
    ck_assert_double_ge(rig_difference(a, b, 20), 0.01);
}
END_TEST

int main(void)
{
    TCase *tests = rig_case("permute");
    tcase_add_test(tests, conforms);
    tcase_add_test(tests, reverse_by_hand);
    tcase_add_test(tests, shuffle);
    return rig_run(tests);
}

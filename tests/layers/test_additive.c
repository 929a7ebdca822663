/* test_additive.c - additive: the suite, and one coupling by hand. */
#include "plugin_suite.h"

START_TEST(conforms) { suite_conforms(GLOW_LAYER, "additive", 83, 0); }
END_TEST

/* The net's last bias alone makes the shift: x1 stays, x2 moves; of three channels one is x1. */
static void check(const char *options, const double *want)
{
    char layer[200];
    const double b3[2] = { 10, 20 }, zero[2] = { 0 }, x[3] = { 1, 2, 3 };
    double y[3], ld[1], back[3];
    snprintf(layer, sizeof layer,
             "layer = \"additive\"; net = { type = \"openai\"; width = 2; }; %s", options);
    struct suite_layer l = suite_layer(layer, "[1, 1, 3]", 1);
    rig_set(l.model, "additive.net.b3", b3);
    suite_forward(&l, x, y, ld);
    suite_equal("y", y, want, 3);
    suite_equal("logdet", ld, zero, 1);
    suite_inverse(&l, y, back);
    suite_equal("x", back, x, 3);
    suite_layer_free(&l);
}

START_TEST(by_hand)
{
    check("", (const double[3]){ 1, 12, 23 });
    check("swap = true;", (const double[3]){ 11, 2, 3 });
}
END_TEST

int main(void)
{
    TCase *tests = rig_case("additive");
    tcase_add_test(tests, conforms);
    tcase_add_test(tests, by_hand);
    return rig_run(tests);
}

/* test_resnet.c - resnet: the suite, and one block on an image of one pixel by hand. */
#include "plugin_suite.h"

START_TEST(conforms) { suite_conforms(GLOW_NET, "resnet", 86, 3); }
END_TEST

/* On one pixel only the middle of a 3x3 kernel counts. x1 = 2, one unit:
 *   h = w1 relu(w3 x + b3) + b1 = 5 relu(3*2 - 1) - 40 = -15,   x = relu(h + skip),   -2 x + 0.5 */
static void check(const char *options, int64_t units, double block_out)
{
    char layer[200];
    double x[2] = { 2, 10 }, want[2] = { 2, 10 - 2 * block_out + 0.5 }, y[2], ld,
           kernel[18] = { 0 };
    snprintf(layer, sizeof layer,
             "layer = \"additive\"; net = { type = \"resnet\"; width = %d; %s };", (int)units,
             options);
    struct suite_layer l = suite_layer(layer, "[1, 1, 2]", 1);
    for (int i = 0; i < 18; i++) kernel[i] = 1000; /* what must not count */
    kernel[4] = 3;
    kernel[13] = 0;
    rig_set(l.model, "additive.net.0.conv3.w", kernel);
    rig_set(l.model, "additive.net.0.conv3.b", (const double[2]){ -1, 0 });
    rig_set(l.model, "additive.net.0.conv1.w", (const double[4]){ 5, 0, 0, 0 });
    rig_set(l.model, "additive.net.0.conv1.b", (const double[2]){ -40, 0 });
    kernel[4] = -2;
    rig_set(l.model, "additive.net.last.w", kernel);
    rig_set(l.model, "additive.net.last.b", (const double[1]){ 0.5 });
    if (model_find_param(l.model, "additive.net.0.skip.w") >= 0) {
        rig_set(l.model, "additive.net.0.skip.w", (const double[2]){ 20, 0 });
        rig_set(l.model, "additive.net.0.skip.b", (const double[2]){ -4, 0 });
    }
    suite_forward(&l, x, y, &ld);
    suite_equal("y", y, want, 2);
    suite_layer_free(&l);
}

START_TEST(by_hand)
{
    check("", 1, 0);              /* relu(-15 + 2): the skip is x itself */
    check("skip = false;", 1, 0); /* relu(-15) */
    check("", 2, 21);             /* relu(-15 + relu(20*2 - 4)): the skip widens */
}
END_TEST

/* units_factor counts input channels; each block has its own parameters. */
START_TEST(shapes)
{
    struct model *m =
        rig_model("input = [4, 4, 6]; flow = ( { layer = \"additive\"; net = { type = \"resnet\"; "
                  "units_factor = 4; blocks = 2; }; } );",
                  DT_F32);
    const struct param *w = &m->params[rig_param(m, "additive.net.0.conv3.w")];
    ck_assert(w->type.dim[0] == 12 && w->type.dim[1] == 3);
    w = &m->params[rig_param(m, "additive.net.1.conv3.w")];
    ck_assert(w->type.dim[0] == 12 && w->type.dim[1] == 12);
    ck_assert_int_lt(model_find_param(m, "additive.net.1.skip.w"), 0);
    model_free(m);
}
END_TEST

int main(void)
{
    TCase *tests = rig_case("resnet");
    tcase_add_test(tests, conforms);
    tcase_add_test(tests, by_hand);
    tcase_add_test(tests, shapes);
    return rig_run(tests);
}

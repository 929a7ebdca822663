/* test_mlp.c - mlp: the suite, and a net of two hidden units by hand. */
#include <math.h>
#include "plugin_suite.h"

START_TEST(conforms) { suite_conforms(GLOW_NET, "mlp", 44, 6); }
END_TEST

static double silu(double x) { return x / (1 + exp(-x)); }

/* y2 = x2 + last.w act(0.w x1 + 0.b) + last.b with x1 = 2: hidden units 2*1.5 - 1 and -2*2 + 0.5.
 */
static void check(const char *activation, double h0, double h1)
{
    char layer[200];
    const double x[2] = { 2, 10 }, want[2] = { 2, 10 + 4 * h0 - 3 * h1 + 0.25 };
    double y[2], ld;
    snprintf(layer, sizeof layer,
             "layer = \"additive\"; net = { type = \"mlp\"; widths = [2]; activation = \"%s\"; };",
             activation);
    struct suite_layer l = suite_layer(layer, "[2]", 1);
    rig_set(l.model, "additive.net.0.w", (const double[2]){ 1.5, -2 });
    rig_set(l.model, "additive.net.0.b", (const double[2]){ -1, 0.5 });
    rig_set(l.model, "additive.net.last.w", (const double[2]){ 4, -3 });
    rig_set(l.model, "additive.net.last.b", (const double[1]){ 0.25 });
    suite_forward(&l, x, y, &ld);
    suite_equal("y", y, want, 2);
    suite_layer_free(&l);
}

START_TEST(by_hand)
{
    check("relu", 2, 0);
    check("tanh", tanh(2), tanh(-3.5));
    check("silu", silu(2), silu(-3.5));
}
END_TEST

/* No hidden layers are a linear map; images are refused, and the right nets named. */
START_TEST(shapes)
{
    struct model *m;
    struct suite_layer l =
        suite_layer("layer = \"additive\"; net = { type = \"mlp\"; widths = []; };", "[2]", 1);
    const double x[2] = { 2, 10 }, want[2] = { 2, 16 };
    double y[2], ld;
    rig_set(l.model, "additive.net.last.w", (const double[1]){ 3 });
    suite_forward(&l, x, y, &ld);
    suite_equal("y", y, want, 2);
    suite_layer_free(&l);
    ck_assert_int_eq(
        rig_try_model(&m, "input = [2, 2, 2]; flow = ( { layer = \"additive\"; net = \"mlp\"; } );",
                      &(struct model_options){ .threads = 1 }),
        GLOW_EINVAL);
    rig_message("needs rows (D), got 3 axes; images take the nets openai and resnet");
}
END_TEST

/* Hidden biases differ and lie within 1 / sqrt(fan-in); a coupling starts as the identity. */
START_TEST(initial_values)
{
    struct suite_layer l =
        suite_layer("layer = \"affine\"; net = { type = \"mlp\"; widths = [16, 64]; };", "[2]", 1);
    double b[64], last[64 * 2];
    int fan_in[2] = { 1, 16 }, units[2] = { 16, 64 };
    for (int layer = 0; layer < 2; layer++) {
        double least = 1, most = -1, bound = 1 / sqrt(fan_in[layer]);
        const char *name = layer ? "affine.net.1.b" : "affine.net.0.b";
        model_get(l.model, l.model->weights, rig_param(l.model, name), b);
        for (int i = 0; i < units[layer]; i++) {
            least = fmin(least, b[i]);
            most = fmax(most, b[i]);
        }
        ck_assert(least >= -bound && least < -0.5 * bound && most > 0.5 * bound && most < bound);
    }
    model_get(l.model, l.model->weights, rig_param(l.model, "affine.net.last.w"), last);
    for (int i = 0; i < 128; i++) ck_assert(last[i] == 0);
    suite_layer_free(&l);
}
END_TEST

int main(void)
{
    TCase *tests = rig_case("mlp");
    tcase_add_test(tests, conforms);
    tcase_add_test(tests, by_hand);
    tcase_add_test(tests, shapes);
    tcase_add_test(tests, initial_values);
    return rig_run(tests);
}

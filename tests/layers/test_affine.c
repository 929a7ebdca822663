/* test_affine.c - affine: the suite, and its scales, orders and halves by hand. */
#include <math.h>
#include "plugin_suite.h"

START_TEST(conforms) { suite_conforms(GLOW_LAYER, "affine", 164, 0); }
END_TEST

static double sigmoid(double a) { return 1 / (1 + exp(-a)); }

/* The net puts out its last bias whatever it sees. x (4,1,2): two kept and two moved channels, two
 * positions; t and s are those of the moved channels. */
static void check(const char *options, const double b3[4], const double t[2], const double s[2],
                  int first_moved)
{
    char layer[256];
    const double x[8] = { 1, 2, 3, 4, 5, 6, 7, 8 };
    double want[8], y[8], ld[1], back[8], logdet = 2 * (log(s[0]) + log(s[1]));
    snprintf(layer, sizeof layer, "layer = \"affine\"; net = { type = \"openai\"; width = 2; }; %s",
             options);
    struct suite_layer l = suite_layer(layer, "[1, 2, 4]", 1);
    rig_set(l.model, "affine.net.b3", b3);
    for (int i = 0; i < 8; i++) {
        int channel = i / 2 - first_moved;
        want[i] = channel == 0 || channel == 1 ? (x[i] + t[channel]) * s[channel] : x[i];
    }
    suite_forward(&l, x, y, ld);
    suite_equal("y", y, want, 8);
    suite_equal("logdet", ld, &logdet, 1);
    suite_inverse(&l, y, back);
    suite_equal("x", back, x, 8);
    suite_layer_free(&l);
}

START_TEST(by_hand)
{
    const double t[2] = { 0.5, -2 }, interleaved[4] = { 0.5, -1, -2, 0.25 };
    const double halves[4] = { 0.5, -2, -1, 0.25 }, far[4] = { 0.5, -90, -2, 90 };
    check("", interleaved, t, (const double[2]){ sigmoid(1), sigmoid(2.25) }, 2);
    check("scale = \"exp\";", interleaved, t, (const double[2]){ exp(-1), exp(0.25) }, 2);
    check("scale = \"exp\"; pairs = \"halves\";", halves, t,
          (const double[2]){ exp(-1), exp(0.25) }, 2);
    check("swap = true;", interleaved, t, (const double[2]){ sigmoid(1), sigmoid(2.25) }, 0);
    check("scale = \"exp\"; clip = 3.0;", far, t, (const double[2]){ exp(-3), exp(3) }, 2);
    check("scale = \"exp\";", far, t, (const double[2]){ exp(-15), exp(15) }, 2);
}
END_TEST

int main(void)
{
    TCase *tests = rig_case("affine");
    tcase_add_test(tests, conforms);
    tcase_add_test(tests, by_hand);
    return rig_run(tests);
}

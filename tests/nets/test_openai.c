/* test_openai.c - openai: the suite, its edge bias on an image of one pixel, the number of
 * parameters of the published models, and what initialisation leaves in its inner actnorms. */
#include <math.h>
#include <stdlib.h>
#include "plugin_suite.h"

START_TEST(conforms) { suite_conforms(GLOW_NET, "openai", 85, 3); }
END_TEST

/* One channel, one unit, one pixel x1 = 2: of the image channel of a 3x3 kernel only the middle
 * counts, of the edge channel only what surrounds it. Each stage is act((conv + b) exp(logscale
 * logs)). */
static void check(const char *options, double border1, double border3, double logscale)
{
    char layer[200];
    double x[2] = { 2, 10 }, y[2], ld, kernel[18];
    snprintf(layer, sizeof layer,
             "layer = \"additive\"; net = { type = \"openai\"; width = 1; %s };", options);
    struct suite_layer l = suite_layer(layer, "[1, 1, 2]", 1);
    for (int i = 0; i < 18; i++) kernel[i] = i < 9 ? 500 : 0.25 * (i - 8);
    kernel[4] = 3;
    kernel[13] = 700; /* inside the image the edge channel is 0 */
    rig_set(l.model, "additive.net.w1", kernel);
    kernel[4] = 0.5;
    for (int i = 9; i < 18; i++) kernel[i] = i == 13 ? -900 : -1;
    rig_set(l.model, "additive.net.w3", kernel);
    rig_set(l.model, "additive.net.b1", (const double[1]){ 0.5 });
    rig_set(l.model, "additive.net.logs1", (const double[1]){ 0.1 });
    rig_set(l.model, "additive.net.w2", (const double[1]){ 2 });
    rig_set(l.model, "additive.net.b2", (const double[1]){ -3 });
    rig_set(l.model, "additive.net.logs2", (const double[1]){ -0.2 });
    rig_set(l.model, "additive.net.b3", (const double[1]){ 0.75 });
    rig_set(l.model, "additive.net.logs3", (const double[1]){ 0.3 });
    double h = fmax(0, (3 * 2 + border1 + 0.5) * exp(0.1 * logscale));
    h = fmax(0, (2 * h - 3) * exp(-0.2 * logscale));
    const double want[2] = { 2, 10 + (0.5 * h + border3 + 0.75) * exp(0.3 * logscale) };
    suite_forward(&l, x, y, &ld);
    suite_equal("y", y, want, 2);
    suite_layer_free(&l);
}

START_TEST(by_hand)
{
    check("", 0.25 * (45 - 5), -8, 3);
    check("edge_bias = false;", 0, 0, 3);
    check("logscale = 1.0;", 0.25 * (45 - 5), -8, 1);
}
END_TEST

/* Without actnorm the hidden stages have a bias and no scale. */
START_TEST(without_actnorm)
{
    struct model *m =
        rig_model("input = [4, 4, 2]; flow = ( { layer = \"additive\"; net = { type = \"openai\"; "
                  "width = 3; actnorm = false; }; } );",
                  DT_F32);
    ck_assert_int_lt(model_find_param(m, "additive.net.logs1"), 0);
    ck_assert_int_lt(model_find_param(m, "additive.net.logs2"), 0);
    rig_param(m, "additive.net.b1");
    rig_param(m, "additive.net.logs3");
    model_free(m);
}
END_TEST

/* ---- the number of parameters */

/* A step on C channels: actnorm, 1x1 convolution, net, as counted for the published models, which
 * hold L and U in a matrix each. Ours share one. */
static int64_t step_count(int64_t c, int64_t w, int64_t matrices)
{
    int64_t net = 9 * (c / 2 + 1) * w + 2 * w + w * w + 2 * w + 9 * (w + 1) * c + 2 * c;
    return 2 * c + matrices * c * c + c + net;
}

START_TEST(counts)
{
    enum { WIDTH = 128, STEPS = 8 };
    int64_t published = 0, ours = 0, fixed = 0, stored = 0;
    for (int64_t c = 12; c <= 48; c *= 2) {
        published += STEPS * step_count(c, WIDTH, 2);
        ours += STEPS * step_count(c, WIDTH, 1);
        fixed += STEPS * 2 * c; /* perm and sign: stored, not trained */
    }
    ck_assert_int_eq(published, 1652160);
    struct model *m = rig_model(
        "input = [48, 48, 3]; flow = ( { repeat = 3; name = \"level\"; flow = ( { layer = "
        "\"squeeze\"; }, { repeat = 8; name = \"step\"; flow = ( { layer = \"actnorm\"; }, "
        "{ layer = \"invconv\"; }, { layer = \"affine\"; net = { type = \"openai\"; width = 128; "
        "}; } ); }, { layer = \"factor_out\"; } ); } );",
        DT_F32);
    for (int i = 0; i < m->n_params; i++) stored += m->params[i].count;
    ck_assert_int_eq(m->n_trained, ours);
    ck_assert_int_eq(stored, ours + fixed);
    const struct glow_type *y = &m->latents[m->n_latents - 1].type; /* (24,6,6) */
    ck_assert(y->dim[0] == 24 && y->dim[1] == 6 && y->dim[2] == 6);
    model_free(m);
}
END_TEST

/* ---- initialisation */

enum { BATCH = 12, SIZE = 6, PIXELS = SIZE * SIZE, IN = 2, UNITS = 4 };

static double *parameter(const struct model *m, const char *name)
{
    int i = rig_param(m, name);
    double *w = calloc((size_t)m->params[i].count, sizeof *w);
    ck_assert_ptr_nonnull(w);
    model_get(m, m->weights, i, w);
    return w;
}

/* y (UNITS,SIZE,SIZE) = relu of an actnorm of a convolution of x, one sample, term by term. The
 * values before the relu are added to sum and squares of their channel. */
static void stage(const double *x, int in, int k, const double *w, const double *b,
                  const double *logs, double *y, double *sum, double *squares)
{
    int edge = k > 1;
    for (int o = 0; o < UNITS; o++)
        for (int p = 0; p < PIXELS; p++) {
            double h = b[o];
            for (int c = 0; c < in + edge; c++)
                for (int t = 0; t < k * k; t++) {
                    int row = p / SIZE + t / k - k / 2, column = p % SIZE + t % k - k / 2;
                    int out = row < 0 || row >= SIZE || column < 0 || column >= SIZE;
                    double v = c == in ? out : out ? 0 : x[c * PIXELS + row * SIZE + column];
                    h += v * w[(o * (in + edge) + c) * k * k + t];
                }
            h *= exp(3 * logs[o]);
            sum[o] += h;
            squares[o] += h * h;
            y[o * PIXELS + p] = fmax(h, 0);
        }
}

START_TEST(initialises)
{
    struct model *m = rig_model("input = [6, 6, 4]; flow = ( { layer = \"affine\"; net = { type = "
                                "\"openai\"; width = 4; }; } );",
                                DT_F64);
    struct program *init = rig_program(m, PROGRAM_INIT, BATCH);
    double *x = calloc(BATCH * 2 * IN * PIXELS, sizeof *x), h[2][UNITS * PIXELS];
    double sum[2][UNITS] = { { 0 } }, squares[2][UNITS] = { { 0 } };
    rig_gauss(9, x, BATCH * 2 * IN * PIXELS);
    for (int i = 0; i < BATCH * 2 * IN * PIXELS; i++) x[i] = 1 + 2 * x[i];
    rig_write(init, "x", x);
    rig_go(init);
    double *w1 = parameter(m, "affine.net.w1"), *w2 = parameter(m, "affine.net.w2");
    double *b1 = parameter(m, "affine.net.b1"), *b2 = parameter(m, "affine.net.b2");
    double *logs1 = parameter(m, "affine.net.logs1"), *logs2 = parameter(m, "affine.net.logs2");
    for (int i = 0; i < BATCH; i++) {
        stage(x + i * 2 * IN * PIXELS, IN, 3, w1, b1, logs1, h[0], sum[0], squares[0]);
        stage(h[0], UNITS, 1, w2, b2, logs2, h[1], sum[1], squares[1]);
    }
    for (int s = 0; s < 2; s++)
        for (int o = 0; o < UNITS; o++) {
            double mean = sum[s][o] / (BATCH * PIXELS);
            ck_assert_double_eq_tol(mean, 0, 1e-9);
            ck_assert_double_eq_tol(sqrt(squares[s][o] / (BATCH * PIXELS) - mean * mean), 1, 1e-4);
        }
    free(w1), free(w2), free(b1), free(b2), free(logs1), free(logs2), free(x);
    program_free(init);
    model_free(m);
}
END_TEST

int main(void)
{
    TCase *tests = rig_case("openai");
    tcase_add_test(tests, conforms);
    tcase_add_test(tests, by_hand);
    tcase_add_test(tests, without_actnorm);
    tcase_add_test(tests, counts);
    tcase_add_test(tests, initialises);
    return rig_run(tests);
}

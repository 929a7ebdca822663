/* test_actnorm.c - actnorm: the suite, two channels by hand, and what initialisation leaves behind.
 */
#include <math.h>
#include "plugin_suite.h"

START_TEST(conforms) { suite_conforms(GLOW_LAYER, "actnorm", 44, 0); }
END_TEST

/* Two samples of two channels (C,1,2): y = (x + b) exp(logscale logs), logdet = 2 (log 2 + log 3).
 */
static void check(const char *layer, double logscale)
{
    struct suite_layer l = suite_layer(layer, "[1, 2, 2]", 2);
    const double b[2] = { 0.5, -1 }, logs[2] = { log(2) / logscale, log(3) / logscale };
    const double x[8] = { 1, 2, 3, 4, -1, -2, -3, -4 };
    const double want[8] = { 3, 5, 6, 9, -1, -3, -12, -15 };
    const double logdet[2] = { 2 * log(6), 2 * log(6) };
    double y[8], ld[2], back[8];
    rig_set(l.model, "actnorm.b", b);
    rig_set(l.model, "actnorm.logs", logs);
    suite_forward(&l, x, y, ld);
    suite_equal("y", y, want, 8);
    suite_equal("logdet", ld, logdet, 2);
    suite_inverse(&l, y, back);
    suite_equal("x", back, x, 8);
    suite_layer_free(&l);
}

START_TEST(by_hand)
{
    check("layer = \"actnorm\";", 1);
    check("layer = \"actnorm\"; logscale = 3.0;", 3);
}
END_TEST

/* After INIT each channel has mean 0 and deviation `scale` over that batch and its positions, in
 * the second layer too, which sees what the first puts out. */
static void check_initialised(const char *members, int64_t channels, int64_t positions,
                              double scale)
{
    enum { BATCH = 16 };
    struct model *m = rig_model(members, DT_F64);
    struct program *init = rig_program(m, PROGRAM_INIT, BATCH);
    struct program *encode = rig_program(m, PROGRAM_ENCODE, BATCH);
    double x[BATCH * 12], y[BATCH * 12];
    int64_t n = channels * positions;
    rig_gauss(3, x, BATCH * n);
    for (int64_t i = 0; i < BATCH * n; i++) x[i] = 5 + 0.3 * (double)(i % 7) + 2 * x[i];
    rig_write(init, "x", x);
    rig_write(encode, "x", x);
    rig_go(init);
    rig_go(encode);
    rig_read(encode, "latent:y", y);
    for (int64_t c = 0; c < channels; c++) {
        double sum = 0, squares = 0, count = (double)(BATCH * positions);
        for (int64_t i = 0; i < BATCH * n; i++)
            if (i / positions % channels == c) {
                sum += y[i];
                squares += y[i] * y[i];
            }
        ck_assert_double_eq_tol(sum / count, 0, 1e-9);
        ck_assert_double_eq_tol(sqrt(squares / count - sum * sum / count / count), scale, 1e-5);
    }
    program_free(init);
    program_free(encode);
    model_free(m);
}

START_TEST(initialises)
{
    check_initialised("input = [2, 2, 3]; flow = ( { layer = \"actnorm\"; } );", 3, 4, 1);
    check_initialised("input = [2, 2, 3]; flow = ( { layer = \"actnorm\"; scale = 0.25; } );", 3, 4,
                      0.25);
    check_initialised("input = [2, 2, 3]; flow = ( { layer = \"actnorm\"; logscale = 3.0; } );", 3,
                      4, 1);
    check_initialised("input = [12]; flow = ( { layer = \"actnorm\"; scale = 3.0; }, "
                      "{ layer = \"actnorm\"; } );",
                      12, 1, 1);
}
END_TEST

int main(void)
{
    TCase *tests = rig_case("actnorm");
    tcase_add_test(tests, conforms);
    tcase_add_test(tests, by_hand);
    tcase_add_test(tests, initialises);
    return rig_run(tests);
}

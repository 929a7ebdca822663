/* test_logit.c - logit: the suite, all grey values there and back, and every constant of its terms.
 */
#include <math.h>
#include <stdlib.h>
#include "plugin_suite.h"

START_TEST(conforms) { suite_conforms(GLOW_LAYER, "logit", 25, 3); }
END_TEST

/* From y alone: q = sigmoid(y) = p (1 - a) + a/2, and p lies in the bin of its value. */
static void check(double alpha, int32_t real, double tolerance)
{
    enum { COPIES = 64, D = 256 };
    char members[100];
    double *x = calloc(3 * COPIES * D, sizeof *x), *y = x + COPIES * D, *back = y + COPIES * D;
    double bound[COPIES], logdet[COPIES];
    ck_assert_ptr_nonnull(x);
    snprintf(members, sizeof members,
             "input = [16, 16, 1]; flow = ( { layer = \"logit\"; alpha = %.17g; } );", alpha);
    struct model *m = rig_model(members, real);
    struct program *encode = rig_program(m, PROGRAM_ENCODE, COPIES);
    struct program *decode = rig_program(m, PROGRAM_DECODE, COPIES);
    for (int i = 0; i < COPIES * D; i++) x[i] = (double)(i % 256) / 255;
    rig_write(encode, "x", x);
    rig_go(encode);
    rig_read(encode, "latent:y", y);
    rig_read(encode, "bound", bound);
    rig_read(encode, "logdet", logdet);
    rig_write(decode, "latent:y", y);
    rig_go(decode);
    rig_read(decode, "x", back);
    for (int s = 0; s < COPIES; s++) {
        double want = D * log(1 - alpha);
        for (int i = s * D; i < (s + 1) * D; i++) {
            double q = 1 / (1 + exp(-y[i])), inside = 256 * (q - alpha / 2) / (1 - alpha) - i % 256;
            want -= -log1p(exp(-y[i])) - log1p(exp(y[i]));
            if (!(inside > 0 && inside < 1) || lround(255 * back[i]) != i % 256)
                ck_abort_msg("value %d at %.9g of its bin, decoded to %.9g", i % 256, inside,
                             255 * back[i]);
        }
        ck_assert_double_eq_tol(logdet[s], want, tolerance * fabs(want));
        ck_assert_double_eq_tol(bound[s], -D * log(256), real == DT_F32 ? 1e-3 : 1e-9);
    }
    program_free(encode);
    program_free(decode);
    model_free(m);
    free(x);
}

START_TEST(constants)
{
    check(1e-5, DT_F64, 1e-12);
    check(0.1, DT_F64, 1e-12);
    check(1e-5, DT_F32, 1e-5);
    check(0.1, DT_F32, 1e-5);
}
END_TEST

int main(void)
{
    TCase *tests = rig_case("logit");
    tcase_add_test(tests, conforms);
    tcase_add_test(tests, constants);
    return rig_run(tests);
}

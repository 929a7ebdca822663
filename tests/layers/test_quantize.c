/* test_quantize.c - quantize: the suite, and all grey values at all depths, there and back. */
#include <math.h>
#include <stdlib.h>
#include "plugin_suite.h"

START_TEST(conforms) { suite_conforms(GLOW_LAYER, "quantize", 25, 3); }
END_TEST

/* Many copies of the values 0..255 as an image, so that many draws of the noise are met. Bin k of n
 * goes to [k/n, (k+1)/n) - 1/2 and decodes to its first value; the bound is -D log n. */
static void check(int bits, int32_t real)
{
    enum { COPIES = 64, D = 256 };
    char members[100];
    double *x = calloc(3 * COPIES * D, sizeof *x), *y = x + COPIES * D, *back = y + COPIES * D;
    double bound[COPIES], low = 1, high = 0;
    int bins = 1 << bits, width = 256 / bins;
    ck_assert_ptr_nonnull(x);
    snprintf(members, sizeof members,
             "input = [16, 16, 1]; flow = ( { layer = \"quantize\"; bits = %d; } );", bits);
    struct model *m = rig_model(members, real);
    struct program *encode = rig_program(m, PROGRAM_ENCODE, COPIES);
    struct program *decode = rig_program(m, PROGRAM_DECODE, COPIES);
    for (int i = 0; i < COPIES * D; i++) x[i] = (double)(i % 256) / 255;
    rig_write(encode, "x", x);
    rig_go(encode);
    rig_read(encode, "latent:y", y);
    rig_read(encode, "bound", bound);
    rig_write(decode, "latent:y", y);
    rig_go(decode);
    rig_read(decode, "x", back);
    for (int i = 0; i < COPIES * D; i++) {
        int k = i % 256 / width;
        double inside = (y[i] + 0.5) * bins - k;
        low = fmin(low, inside);
        high = fmax(high, inside);
        if (!(inside >= -1e-4 && inside < 1) || lround(255 * back[i]) != k * width ||
            fabs(255 * back[i] - k * width) > 1e-4)
            ck_abort_msg("%d bits: value %d at %.9g of bin %d, decoded to %.9g", bits, i % 256,
                         inside, k, 255 * back[i]);
    }
    ck_assert(low < 0.001 && high > 0.999); /* the noise fills the bins */
    for (int i = 0; i < COPIES; i++)
        ck_assert_double_eq_tol(bound[i], -D * log(bins), real == DT_F32 ? 1e-3 : 1e-9);
    program_free(encode);
    program_free(decode);
    model_free(m);
    free(x);
}

START_TEST(all_values_single)
{
    for (int bits = 1; bits <= 8; bits++) check(bits, DT_F32);
}
END_TEST
START_TEST(all_values_double)
{
    for (int bits = 1; bits <= 8; bits++) check(bits, DT_F64);
}
END_TEST

int main(void)
{
    TCase *tests = rig_case("quantize");
    tcase_add_test(tests, conforms);
    tcase_add_test(tests, all_values_single);
    tcase_add_test(tests, all_values_double);
    return rig_run(tests);
}

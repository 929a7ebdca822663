/* test_factor_out.c - factor_out: the suite, which half leaves, and whose prior judges it. */
#include <math.h>
#include "plugin_suite.h"

START_TEST(conforms) { suite_conforms(GLOW_LAYER, "factor_out", 143, 0); }
END_TEST

/* x is a row of 5: the first 2 or the last 3 leave. */
static void check(const char *keep, const double *z, int64_t n_z, const double *y, int64_t n_y)
{
    char members[200];
    const double x[5] = { 1, 2, 3, 4, 5 }, zero = 0, logp = -(55 + 5 * log(2 * M_PI)) / 2;
    double got_z[5], got_y[5], ld, lp, back[5];
    snprintf(members, sizeof members,
             "input = [5]; flow = ( { layer = \"factor_out\"; keep = \"%s\"; } );", keep);
    struct model *m = rig_model(members, DT_F64);
    struct program *encode = rig_program(m, PROGRAM_ENCODE, 1);
    struct program *decode = rig_program(m, PROGRAM_DECODE, 1);
    rig_write(encode, "x", x);
    rig_go(encode);
    ck_assert_int_eq(rig_count(encode, "latent:factor_out.z"), n_z);
    ck_assert_int_eq(rig_count(encode, "latent:y"), n_y);
    rig_read(encode, "latent:factor_out.z", got_z);
    rig_read(encode, "latent:y", got_y);
    rig_read(encode, "logdet", &ld);
    rig_read(encode, "logp", &lp);
    suite_equal("z", got_z, z, n_z);
    suite_equal("y", got_y, y, n_y);
    suite_equal("logdet", &ld, &zero, 1);
    suite_equal("logp", &lp, &logp, 1);
    rig_write(decode, "latent:factor_out.z", z);
    rig_write(decode, "latent:y", y);
    rig_go(decode);
    rig_read(decode, "x", back);
    suite_equal("x", back, x, 5);
    program_free(encode);
    program_free(decode);
    model_free(m);
}

START_TEST(halves)
{
    check("last", (const double[]){ 1, 2 }, 2, (const double[]){ 3, 4, 5 }, 3);
    check("first", (const double[]){ 3, 4, 5 }, 3, (const double[]){ 1, 2 }, 2);
}
END_TEST

/* Its own prior before the model's: z ~ N(3, 1) by the learned prior's bias, y ~ N(0, 1). The
 * latent reported is the noise (z - mean) / deviation. */
START_TEST(own_prior)
{
    struct model *m = rig_model("input = [2]; flow = ( { layer = \"factor_out\"; prior = "
                                "\"learned\"; } );",
                                DT_F64);
    struct program *encode = rig_program(m, PROGRAM_ENCODE, 1);
    const double b[2] = { 3, log(2) }, x[2] = { 7, 1 }, noise = 2;
    double z, lp, logp = -(4 + 1) / 2.0 - log(2) - log(2 * M_PI);
    rig_set(m, "factor_out.prior.b", b);
    rig_write(encode, "x", x);
    rig_go(encode);
    rig_read(encode, "latent:factor_out.z", &z);
    rig_read(encode, "logp", &lp);
    suite_equal("z", &z, &noise, 1);
    suite_equal("logp", &lp, &logp, 1);
    program_free(encode);
    model_free(m);
}
END_TEST

int main(void)
{
    TCase *tests = rig_case("factor_out");
    tcase_add_test(tests, conforms);
    tcase_add_test(tests, halves);
    tcase_add_test(tests, own_prior);
    return rig_run(tests);
}

/* test_normal.c - normal: the suite, densities at a point, what a temperature does. */
#include <math.h>
#include "plugin_suite.h"

START_TEST(conforms) { suite_conforms(GLOW_PRIOR, "normal", 32, 0); }
END_TEST

static void check_density(const char *form, const double z[2], double want)
{
    char members[200];
    double logp;
    snprintf(members, sizeof members,
             "input = [2]; flow = ( ); prior = { y = { type = \"normal\"; form = \"%s\"; }; };",
             form);
    struct model *m = rig_model(members, DT_F64);
    if (m->n_params) {
        rig_set(m, "y.mean", (const double[2]){ 1, -2 });
        rig_set(m, "y.logs", (const double[2]){ log(2), log(0.5) });
    }
    struct program *eval = rig_program(m, PROGRAM_EVAL, 1);
    rig_write(eval, "x", z);
    rig_go(eval);
    rig_read(eval, "logp", &logp);
    suite_equal("logp", &logp, &want, 1);
    program_free(eval);
    model_free(m);
}

/* (0.5, -1) of N(0,1): -(0.25 + 1)/2 - log 2 pi; (5, -1) of N((1,-2), (2,1/2)): two deviations
 * each. */
START_TEST(by_hand)
{
    check_density("standard", (const double[2]){ 0.5, -1 }, -0.625 - log(2 * M_PI));
    check_density("diagonal", (const double[2]){ 5, -1 }, -4 - log(2 * M_PI));
}
END_TEST

/* The temperature multiplies the deviation: 0 is the mean, 2 is twice as far from it as 1. */
START_TEST(temperatures)
{
    struct model *m =
        rig_model("input = [2]; flow = ( ); prior = { y = { type = \"normal\"; form = "
                  "\"diagonal\"; }; };",
                  DT_F64);
    const double mean[2] = { 1, -2 }, logs[2] = { log(3), log(0.5) };
    rig_set(m, "y.mean", mean);
    rig_set(m, "y.logs", logs);
    struct program *sample = rig_program(m, PROGRAM_SAMPLE, 1);
    double z[3][2];
    for (int t = 0; t < 3; t++) {
        double temperature = t;
        rig_write(sample, "temperature:y", &temperature);
        rig_go(sample);
        rig_read(sample, "x", z[t]);
    }
    suite_equal("the mean", z[0], mean, 2);
    for (int i = 0; i < 2; i++) {
        ck_assert_double_ge(fabs(z[1][i] - mean[i]), 1e-6);
        ck_assert_double_eq_tol(z[2][i] - mean[i], 2 * (z[1][i] - mean[i]), 1e-12);
    }
    program_free(sample);
    model_free(m);
}
END_TEST

int main(void)
{
    TCase *tests = rig_case("normal");
    tcase_add_test(tests, conforms);
    tcase_add_test(tests, by_hand);
    tcase_add_test(tests, temperatures);
    return rig_run(tests);
}

/* test_learned.c - learned: the suite, and its mean and deviation by hand with and without a
 * condition. */
#include <math.h>
#include "plugin_suite.h"

START_TEST(conforms) { suite_conforms(GLOW_PRIOR, "learned", 37, 0); }
END_TEST

static double log_density(double z, double mean, double logs)
{
    double e = (z - mean) * exp(-logs);
    return -e * e / 2 - logs - log(2 * M_PI) / 2;
}

static void check(struct model *m, const double *x, double want)
{
    struct program *eval = rig_program(m, PROGRAM_EVAL, 1);
    double logp;
    rig_write(eval, "x", x);
    rig_go(eval);
    rig_read(eval, "logp", &logp);
    suite_equal("logp", &logp, &want, 1);
    program_free(eval);
    model_free(m);
}

/* b exp(3 logs), mean and log-deviation of each channel interleaved, the same at both positions. */
START_TEST(unconditional)
{
    struct model *m = rig_model(
        "input = [1, 2, 2]; flow = ( ); prior = { y = { type = \"learned\"; }; };", DT_F64);
    const double x[4] = { 1, 2, 3, 4 };
    rig_set(m, "y.b", (const double[4]){ 0.5, 0.1, -1, -0.2 });
    rig_set(m, "y.logs", (const double[4]){ 0.1, 0, -0.1, 0.2 });
    double mean[2] = { 0.5 * exp(0.3), -1 * exp(-0.3) }, logs[2] = { 0.1, -0.2 * exp(0.6) };
    check(m, x,
          log_density(1, mean[0], logs[0]) + log_density(2, mean[0], logs[0]) +
              log_density(3, mean[1], logs[1]) + log_density(4, mean[1], logs[1]));
}
END_TEST

/* An image of one pixel: (conv3x3(c, w) + b) exp(3 logs), where the edge channel surrounds it. The
 * latent is channel 0, the condition channel 1; what is left, y, is standard normal. */
static void check_image(const char *options, double mean_edge, double logs_edge)
{
    char members[300];
    double w[36], x[2] = { 0.7, 1.5 };
    snprintf(members, sizeof members,
             "input = [1, 1, 2]; flow = ( { layer = \"factor_out\"; prior = { type = \"learned\"; "
             "%s }; } );",
             options);
    struct model *m = rig_model(members, DT_F64);
    int edge = m->params[rig_param(m, "factor_out.prior.w")].type.dim[1] == 2;
    for (int o = 0; o < 2; o++)
        for (int t = 0; t < 9; t++) {
            w[o * 9 * (1 + edge) + t] = t == 4 ? (o ? 0.2 : 2) : 100;
            if (edge) w[o * 18 + 9 + t] = t == 4 ? 100 : (o ? 0.01 : -0.25);
        }
    rig_set(m, "factor_out.prior.w", w);
    rig_set(m, "factor_out.prior.b", (const double[2]){ 0.5, -0.1 });
    rig_set(m, "factor_out.prior.logs", (const double[2]){ -0.2, 0.1 });
    double mean = (2 * 1.5 + mean_edge + 0.5) * exp(-0.6);
    double logs = (0.2 * 1.5 + logs_edge - 0.1) * exp(0.3);
    check(m, x, log_density(0.7, mean, logs) + log_density(1.5, 0, 0));
}

START_TEST(conditional)
{
    check_image("", -2, 0.08);
    check_image("edge_bias = false;", 0, 0);
}
END_TEST

/* Of a row: (w c + b) exp(3 logs). */
START_TEST(conditional_row)
{
    struct model *m = rig_model("input = [3]; flow = ( { layer = \"factor_out\"; prior = "
                                "\"learned\"; } );",
                                DT_F64);
    const double x[3] = { 0.7, 1.5, -0.5 }; /* z, then the condition of two */
    rig_set(m, "factor_out.prior.w", (const double[4]){ 1, 2, 0.1, -0.2 });
    rig_set(m, "factor_out.prior.b", (const double[2]){ 0.25, 0.05 });
    rig_set(m, "factor_out.prior.logs", (const double[2]){ 0.1, -0.1 });
    double mean = (1.5 - 1 + 0.25) * exp(0.3), logs = (0.15 + 0.1 + 0.05) * exp(-0.3);
    check(m, x, log_density(0.7, mean, logs) + log_density(1.5, 0, 0) + log_density(-0.5, 0, 0));
}
END_TEST

int main(void)
{
    TCase *tests = rig_case("learned");
    tcase_add_test(tests, conforms);
    tcase_add_test(tests, unconditional);
    tcase_add_test(tests, conditional);
    tcase_add_test(tests, conditional_row);
    return rig_run(tests);
}

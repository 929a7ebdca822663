/* test_flow.c - flows as a whole: what was encoded comes back, likelihoods add up, samples are
 * functions of seed and row, and odd layers do what they can. */
#include <math.h>
#include <string.h>
#include "conform.h"
#include "flow.h"
#include "flows.h"

enum { BATCH = 5 };

/* ---------------------------------------------------------------- there and back */

/* An 8-bit image comes back exactly, through two factored-out latents and what is left. */
START_TEST(encode_decode)
{
    double x[BATCH * 192], z[BATCH * 192], back[BATCH * 192];
    struct model *m = flows_model(0, DT_F32, 1);
    struct program *encode = rig_program(m, PROGRAM_ENCODE, BATCH),
                   *decode = rig_program(m, PROGRAM_DECODE, BATCH);
    int64_t dimensions = 0;
    ck_assert_int_eq(m->n_latents, 3);
    ck_assert_str_eq(m->latents[0].name, "level.0.factor_out.z");
    ck_assert_str_eq(m->latents[1].name, "level.1.factor_out.z");
    ck_assert_str_eq(m->latents[2].name, "y");
    rig_uniform(6, 0, 256, x, BATCH * 192);
    for (int i = 0; i < BATCH * 192; i++) x[i] = (float)(floor(x[i]) / 255);
    rig_write(encode, "x", x);
    rig_go(encode);
    for (int k = 0; k < m->n_latents; k++) {
        char name[64];
        snprintf(name, sizeof name, "latent:%s", m->latents[k].name);
        rig_read(encode, name, z);
        rig_write(decode, name, z);
        dimensions += rig_count(encode, name) / BATCH;
    }
    ck_assert_int_eq(dimensions, model_dimensions(m));
    rig_go(decode);
    rig_read(decode, "x", back);
    for (int i = 0; i < BATCH * 192; i++)
        if (back[i] != x[i]) ck_abort_msg("element %d: %.9g came back as %.9g", i, x[i], back[i]);
    double forward[BATCH], backward[BATCH];
    rig_read(encode, "logdet", forward);
    rig_read(decode, "logdet", backward);
    for (int i = 0; i < BATCH; i++)
        ck_assert_double_eq_tol(backward[i], -forward[i], 1e-3 * fabs(forward[i]));
    program_free(encode);
    program_free(decode);
    model_free(m);
}
END_TEST

/* loglik = logdet + logp + bound, and the loss is their mean in bits per dimension. */
START_TEST(likelihood)
{
    struct model *m = flows_model(1, DT_F64, 1);
    struct program *p = rig_program(m, PROGRAM_EVAL, BATCH);
    double part[4][BATCH], mean = 0;
    static const char *const names[4] = { "loglik", "logdet", "logp", "bound" };
    flows_write(p, 5);
    rig_go(p);
    for (int k = 0; k < 4; k++) rig_read(p, names[k], part[k]);
    for (int i = 0; i < BATCH; i++) {
        ck_assert_double_eq_tol(part[0][i], part[1][i] + part[2][i] + part[3][i], 1e-9);
        ck_assert_double_eq_tol(part[3][i], -128 * log(256), 1e-9);
        mean += part[0][i] / BATCH;
    }
    ck_assert_double_eq_tol(program_scalar(p, "loss"), -mean / (128 * log(2)), 1e-12);
    ck_assert_uint_eq(p->term_kinds & (GLOW_LOGDET | GLOW_LOGP | GLOW_BOUND),
                      GLOW_LOGDET | GLOW_LOGP | GLOW_BOUND);
    program_free(p);
    model_free(m);
}
END_TEST

/* `average` reads the moving average in place of the weights. */
START_TEST(averages)
{
    struct model *m = flows_model(2, DT_F64, 1);
    ck_assert_int_eq(model_training_arenas(m, 0, true), GLOW_OK);
    struct program_options o = { .kind = PROGRAM_EVAL, .batch = BATCH };
    double loss[3];
    for (int i = 0; i < 3; i++) {
        o.average = i > 0;
        if (i == 2) rig_perturb(m, 0.1); /* the weights alone */
        struct program *p = rig_program_of(m, &o);
        flows_write(p, 5);
        rig_go(p);
        loss[i] = program_scalar(p, "loss");
        program_free(p);
    }
    ck_assert_double_eq(loss[0], loss[1]); /* it starts as a copy */
    ck_assert_double_eq(loss[1], loss[2]);
    o.average = false;
    struct program *p = rig_program_of(m, &o);
    flows_write(p, 5);
    rig_go(p);
    ck_assert_double_ne(program_scalar(p, "loss"), loss[0]);
    program_free(p);
    model_free(m);
}
END_TEST

/* ---------------------------------------------------------------- samples */

static void set_temperatures(const struct program *p, double t)
{
    for (int i = 0; i < p->n_inputs; i++) rig_write(p, p->inputs[i].name, &t);
}

/* Temperature 0 is the mode, whatever the seed: what decode makes of zero noise. */
START_TEST(temperature_zero)
{
    double zero[BATCH * 128] = { 0 }, x[BATCH * 128], same[BATCH * 128], decoded[BATCH * 128];
    struct model *m = flows_model(1, DT_F64, 1);
    struct program *sample = rig_program(m, PROGRAM_SAMPLE, BATCH),
                   *decode = rig_program(m, PROGRAM_DECODE, BATCH);
    set_temperatures(sample, 0);
    rig_go(sample);
    rig_read(sample, "x", x);
    ck_assert_int_eq(program_run(sample, 99, 5, 0), GLOW_OK);
    rig_read(sample, "x", same);
    ck_assert_mem_eq(x, same, sizeof x);
    for (int i = 0; i < decode->n_inputs; i++) rig_write(decode, decode->inputs[i].name, zero);
    rig_go(decode);
    rig_read(decode, "x", decoded);
    ck_assert_double_le(rig_difference(decoded, x, BATCH * 128), 1e-12);
    program_free(sample);
    program_free(decode);
    model_free(m);
}
END_TEST

/* Row 2 and 3 of a batch of four are rows 0 and 1 of a batch of two that begins at row 2; another
 * seed or step, other samples. */
START_TEST(samples_by_row)
{
    double a[4 * 5], b[2 * 5];
    struct model *m = flows_model(2, DT_F64, 1);
    struct program *four = rig_program(m, PROGRAM_SAMPLE, 4),
                   *two = rig_program(m, PROGRAM_SAMPLE, 2);
    set_temperatures(four, 1);
    set_temperatures(two, 1);
    rig_go(four);
    rig_read(four, "x", a);
    ck_assert_int_eq(program_run(two, 1, 1, 2), GLOW_OK);
    rig_read(two, "x", b);
    ck_assert_mem_eq(a + 10, b, sizeof b);
    ck_assert(memcmp(a, a + 5, 5 * sizeof *a));
    ck_assert_int_eq(program_run(two, 2, 1, 2), GLOW_OK);
    rig_read(two, "x", b);
    ck_assert(memcmp(a + 10, b, sizeof b));
    ck_assert_int_eq(program_run(two, 1, 2, 2), GLOW_OK);
    rig_read(two, "x", b);
    ck_assert(memcmp(a + 10, b, sizeof b));
    program_free(four);
    program_free(two);
    model_free(m);
}
END_TEST

/* A prior may ignore its temperature; the program has the input all the same. */
START_TEST(ignored_inputs)
{
    double x[BATCH * 3], cold[BATCH * 3];
    flows_load_odd();
    struct model *m = rig_model("input = [3]; flow = ( ); prior = { y = \"deaf\"; };", DT_F64);
    struct program *p = rig_program(m, PROGRAM_SAMPLE, BATCH);
    set_temperatures(p, 1);
    rig_go(p);
    rig_read(p, "x", x);
    set_temperatures(p, 0);
    rig_go(p);
    rig_read(p, "x", cold);
    ck_assert_mem_eq(x, cold, sizeof x);
    program_free(p);
    model_free(m);
}
END_TEST

/* ---------------------------------------------------------------- odd layers */

/* Without an inverse a flow trains and judges; sampling and decoding are errors that name the
 * layer. */
START_TEST(no_inverse)
{
    struct program *p;
    struct model *m = flows_model(ODD_FLOW, DT_F32, 1);
    static const enum program_kind backward[] = { PROGRAM_SAMPLE, PROGRAM_DECODE };
    for (int i = 0; i < 2; i++) {
        ck_assert_int_eq(
            program_make(&p, m, &(struct program_options){ .kind = backward[i], .batch = 1 }),
            GLOW_ENOTSUP);
        rig_message("oneway_2: this layer has no inverse; sampling and decoding need one [layer "
                    "\"oneway\"");
    }
    p = rig_program(m, PROGRAM_EVAL, BATCH);
    flows_write(p, 5);
    rig_go(p);
    ck_assert(isfinite(program_scalar(p, "loss")));
    program_free(p);
    model_free(m);
}
END_TEST

/* The odd layers keep the promises that they make. */
START_TEST(odd_layers_conform)
{
    flows_load_odd();
    for (size_t i = 0; flows_odd[i]; i++) {
        struct conform_report r = { 0 };
        uint32_t kind = !strcmp(flows_odd[i], "deaf") ? GLOW_PRIOR : GLOW_LAYER;
        ck_assert_int_eq(conform_run(rig_registry(), rig_find(kind, flows_odd[i]), NULL, &r),
                         GLOW_OK);
        if (r.failed) conform_print(stderr, &r, false);
        ck_assert_int_eq(r.failed, 0);
        ck_assert_int_gt(r.passed, 10);
        conform_free(&r);
    }
}
END_TEST

/* What is drawn once for all samples is the same for each of them, and another one at each step. */
START_TEST(noise_for_all)
{
    double x[3 * 2] = { 0 }, y[3 * 2], later[3 * 2];
    flows_load_odd();
    struct model *m = rig_model("input = [2]; flow = ( { layer = \"shared_noise\"; } );", DT_F64);
    struct program *p = rig_program(m, PROGRAM_ENCODE, 3);
    rig_write(p, "x", x);
    rig_go(p);
    rig_read(p, "latent:y", y);
    ck_assert_mem_eq(y, y + 2, 2 * sizeof *y);
    ck_assert_mem_eq(y, y + 4, 2 * sizeof *y);
    ck_assert(y[0] != y[1] && y[0] != 0);
    ck_assert_int_eq(program_run(p, 1, 2, 0), GLOW_OK);
    rig_read(p, "latent:y", later);
    ck_assert(later[0] != y[0]);
    program_free(p);
    model_free(m);
}
END_TEST

/* ---------------------------------------------------------------- errors */

/* The first step that makes a NaN is named by its layer and operation. */
START_TEST(culprit)
{
    char text[200];
    double x[3] = { 1, 2, 3 };
    flows_load_odd();
    struct model *m = rig_model("input = [3]; flow = ( { layer = \"actnorm\"; }, { layer = "
                                "\"fragile\"; name = \"weak\"; limit = "
                                "5.0; }, { layer = \"actnorm\"; } );",
                                DT_F32);
    struct program *p = rig_program(m, PROGRAM_EVAL, 1);
    rig_write(p, "x", x);
    rig_go(p);
    ck_assert_ptr_null(program_find_nonfinite(p, 1, 1, 0, text, sizeof text));
    x[1] = 6;
    rig_write(p, "x", x);
    rig_go(p);
    ck_assert(isnan(program_scalar(p, "loss")));
    ck_assert_str_eq(program_find_nonfinite(p, 1, 1, 0, text, sizeof text), "weak: sqrt");
    program_free(p);
    model_free(m);
}
END_TEST

START_TEST(refusals)
{
    struct program *p;
    struct model *m = flows_model(2, DT_F32, 1);
    ck_assert_int_eq(program_make(&p, m, &(struct program_options){ .kind = PROGRAM_EVAL }),
                     GLOW_EINVAL);
    rig_message("batch 0: must be at least 1");
    p = rig_program(m, PROGRAM_EVAL, 1);
    ck_assert_ptr_null(program_input(p, "y"));
    ck_assert_ptr_null(program_output(p, "latent:y"));
    ck_assert(isnan(program_scalar(p, "no such output")));
    program_free(p);
    program_free(NULL);
    model_free(m);
}
END_TEST

/* What a layer may not say to the flow. x is (N,3); the model's only latent is y, at the end. */
static void absent_x(struct glow_graph *g, struct glow_flow *f)
{
    (void)g, f->op->set_x(f, glow_none);
}
static void absent_term(struct glow_graph *g, struct glow_flow *f)
{
    (void)g, f->op->term(f, GLOW_LOGDET, "logdet", glow_none);
}
static void wide_term(struct glow_graph *g, struct glow_flow *f)
{
    (void)g, f->op->term(f, GLOW_LOGDET, "logdet", f->op->x(f));
}
static void odd_term(struct glow_graph *g, struct glow_flow *f)
{
    f->op->term(f, 3, "mixed", glow_num(g, 1));
}
static void new_term(struct glow_graph *g, struct glow_flow *f)
{
    f->op->term(f, 64, "later", glow_num(g, 1));
}
static void unbatched_latent(struct glow_graph *g, struct glow_flow *f)
{
    f->op->emit(f, "z", NULL, glow_num(g, 1), glow_none);
}
static void unknown_latent(struct glow_graph *g, struct glow_flow *f)
{
    (void)g, f->op->emit(f, "q", NULL, f->op->x(f), glow_none);
}
static void unknown_take(struct glow_graph *g, struct glow_flow *f)
{
    (void)g, f->op->take(f, "q", NULL, glow_none);
}
static void unknown_kept(struct glow_graph *g, struct glow_flow *f)
{
    (void)g, f->op->kept(f, "sign");
}

START_TEST(flow_errors)
{
    static const struct {
        void (*say)(struct glow_graph *, struct glow_flow *);
        const char *message;
    } cases[] = {
        { absent_x, "actnorm: set_x: the value is absent" },
        { absent_term, "actnorm: term \"logdet\": the value is absent" },
        { wide_term, "actnorm: term \"logdet\": must be one number per sample, got (N,3)" },
        { odd_term, "actnorm: term \"mixed\": a kind that this version does not know" },
        { new_term, "actnorm: term \"later\": a kind that this version does not know" },
        { unbatched_latent,
          "actnorm: emit \"z\": the latent is absent or the same for all samples" },
        { unknown_latent, "actnorm: latent \"q\" is not among those that forward emitted" },
        { unknown_take, "actnorm: latent \"q\" is not among those that forward emitted" },
        { unknown_kept, "actnorm: kept \"sign\": forward did not keep it" }
    };
    struct model *m = rig_model("input = [3]; flow = ( { layer = \"actnorm\"; } );", DT_F32);
    for (size_t i = 0; i < GLOW_COUNT(cases); i++) {
        struct graph *g;
        struct trace t;
        ck_assert_int_eq(graph_new(&g, m, m->backend, DT_F32, 2, 0), GLOW_OK);
        ck_assert_int_eq(trace_open(&t, g, TRACE_FORWARD), GLOW_OK);
        t.x = graph_input(g, 0, &m->input);
        g->who = m->layers[0].self;
        cases[i].say((struct glow_graph *)g, &t.flow);
        ck_assert_int_eq(g->status, GLOW_EINVAL);
        rig_message(cases[i].message);
        trace_close(&t);
        graph_free(g);
    }
    model_free(m);
}
END_TEST

int main(void)
{
    TCase *tests = rig_case("flow");
    tcase_add_test(tests, encode_decode);
    tcase_add_test(tests, likelihood);
    tcase_add_test(tests, averages);
    tcase_add_test(tests, temperature_zero);
    tcase_add_test(tests, samples_by_row);
    tcase_add_test(tests, ignored_inputs);
    tcase_add_test(tests, no_inverse);
    tcase_add_test(tests, odd_layers_conform);
    tcase_add_test(tests, noise_for_all);
    tcase_add_test(tests, culprit);
    tcase_add_test(tests, refusals);
    tcase_add_test(tests, flow_errors);
    return rig_run(tests);
}

/* test_program.c - programs: what they compute does not depend on how. Memory policies, garbage in
 * the arena, results in place of operands, threads and batches leave the numbers alone; what was
 * encoded comes back; odd layers train. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "conform.h"
#include "rig.h"

static const char *const odd[] = { "oneway",       "fold",    "approximate",
                                   "shared_noise", "fragile", "deaf" };

static void load_odd(void)
{
    char source[64];
    for (size_t i = 0; i < GLOW_COUNT(odd); i++) {
        snprintf(source, sizeof source, "plugins/%s.c", odd[i]);
        rig_load(source);
    }
}

/* Flows that between them hold every layer there is; of images, and one of rows. */
static const char *flow_text(int which)
{
    switch (which) {
    case 0: return rig_glow(8, 3, 3, 2, 6);
    case 1:
        return "input = [8, 8, 2]; flow = ( { layer = \"logit\"; }, { layer = \"squeeze\"; order = "
               "\"channel\"; "
               "}, { layer = \"invconv\"; lu = false; }, { layer = \"additive\"; net = { type = "
               "\"resnet\"; "
               "blocks = 2; }; }, { layer = \"factor_out\"; keep = \"first\"; prior = \"learned\"; "
               "}, { layer = "
               "\"permute\"; mode = \"shuffle\"; }, { layer = \"affine\"; scale = \"exp\"; swap = "
               "true; net = { "
               "type = \"openai\"; width = 5; }; } ); prior = { y = { type = \"normal\"; form = "
               "\"diagonal\"; }; "
               "};";
    case 2:
        return "input = [5]; flow = ( { repeat = 3; name = \"step\"; flow = ( { layer = "
               "\"actnorm\"; }, { layer = "
               "\"invconv\"; }, { layer = \"affine\"; net = { type = \"mlp\"; widths = [7]; "
               "activation = "
               "\"tanh\"; }; } ); } ); prior = { y = \"learned\"; };";
    default: /* restore, no inverse, an approximate one, noise for all, in turn with couplings */
        return "input = [4, 4, 4]; flow = ( { layer = \"actnorm\"; }, { layer = \"shared_noise\"; "
               "}, { layer = "
               "\"affine\"; net = { type = \"openai\"; width = 4; }; }, { layer = \"oneway\"; }, { "
               "layer = "
               "\"actnorm\"; }, { layer = \"fold\"; }, { layer = \"invconv\"; }, { layer = "
               "\"approximate\"; }, "
               "{ layer = \"fold\"; }, { layer = \"additive\"; net = { type = \"openai\"; width = "
               "4; }; }, { "
               "layer = \"oneway\"; } );";
    }
}
enum { FLOWS = 4, ODD_FLOW = 3, BATCH = 5 };

static struct model *flow(int which, int32_t real, int threads)
{
    struct model *m;
    load_odd();
    if (rig_try_model(&m, flow_text(which),
                      &(struct model_options){ .threads = threads, .real = real, .seed = 3 }) !=
        GLOW_OK)
        ck_abort_msg("%s", fail_message());
    rig_perturb(m, 0.05);
    return m;
}

/* Grey values for flows that begin with a dequantiser, else normal numbers. */
static void write_data(const struct program *p, uint64_t stream)
{
    double x[2000];
    struct tensor *t = program_input(p, "x");
    int64_t n = tensor_count(t);
    const char *first = p->model->layers[0].self->info->desc->id;
    ck_assert_int_le(n, 2000);
    if (!strcmp(first, "quantize") || !strcmp(first, "logit")) {
        rig_uniform(stream, 0, 256, x, n);
        for (int64_t i = 0; i < n; i++) x[i] = floor(x[i]) / 255;
    } else
        rig_gauss(stream, x, n);
    rig_write(p, "x", x);
}

/* ---------------------------------------------------------------- memory policies */

static void train_gradients(struct model *m, enum memory_policy memory, int64_t budget, double *out)
{
    struct program_options o = {
        .kind = PROGRAM_TRAIN, .batch = BATCH, .memory = memory, .memory_budget = budget
    };
    struct program *p = rig_program_of(m, &o);
    write_data(p, 5);
    rig_go(p);
    rig_gradients(m, out);
    program_free(p);
}

static void check_policies(int which, int32_t real, double bound)
{
    struct model *m = flow(which, real, 1);
    int64_t n = m->n_trained;
    double *g = calloc(2 * (size_t)n, sizeof *g), size = 0;
    ck_assert_ptr_nonnull(g);
    train_gradients(m, MEMORY_STORE, 0, g);
    for (int64_t i = 0; i < n; i++) size = fmax(size, fabs(g[i]));
    ck_assert_double_ge(size, 1e-3);
    static const struct {
        enum memory_policy memory;
        int64_t budget;
    } others[] = { { MEMORY_RECOMPUTE, 0 },
                   { MEMORY_INVERT, 0 },
                   { MEMORY_AUTO, 0 },
                   { MEMORY_AUTO, 30000 },
                   { MEMORY_AUTO, 1 << 30 } };
    for (size_t k = 0; k < GLOW_COUNT(others); k++) {
        train_gradients(m, others[k].memory, others[k].budget, g + n);
        double d = rig_difference(g + n, g, n) * (1 + size) / size;
        ck_assert_msg(d <= bound, "flow %d, policy %d: %.2e", which, others[k].memory, d);
    }
    free(g);
    model_free(m);
}

START_TEST(policies_double) { check_policies(_i, DT_F64, 1e-9); }
END_TEST
START_TEST(policies_single) { check_policies(_i, DT_F32, 1e-4); }
END_TEST

/* Against differences of the whole loss: the walk back over all layers, not each alone. */
START_TEST(whole_gradient)
{
    struct model *m = flow(_i, DT_F64, 1);
    struct program *train =
        rig_program_of(m, &(struct program_options){
                              .kind = PROGRAM_TRAIN, .batch = BATCH, .memory = MEMORY_INVERT });
    write_data(train, 5);
    rig_go(train);
    double *w = m->weights, *g = m->gradients, size = 0;
    for (int i = 0; i < m->n_params; i++)
        for (int64_t k = 0; k < m->params[i].count; k++)
            size = fmax(size, fabs(g[m->params[i].offset + k]));
    for (int i = 0; i < m->n_params; i++) {
        const struct param *p = &m->params[i];
        if (p->flags & GLOW_PARAM_FROZEN) continue;
        for (int64_t k = 0; k < p->count; k += p->count / 3 + 1) {
            int64_t at = p->offset + k;
            double keep = w[at], want, loss[2];
            rig_go(train);
            want = g[at];
            for (int side = 0; side < 2; side++) {
                w[at] = keep + (side ? -1e-5 : 1e-5);
                rig_go(train);
                loss[side] = program_scalar(train, "loss");
            }
            w[at] = keep;
            double numeric = (loss[0] - loss[1]) / 2e-5;
            if (!(fabs(numeric - want) <= 1e-6 * (size + fabs(want))))
                ck_abort_msg("%s[%lld]: %.10g, differences say %.10g", p->name, (long long)k, want,
                             numeric);
        }
    }
    program_free(train);
    model_free(m);
}
END_TEST

/* auto stores as many couplings as the budget holds, no more; what it does not store is computed
 * again. */
START_TEST(budgets)
{
    enum { K = 6 };
    struct model *m = rig_model(rig_glow(8, 1, 1, K, 16), DT_F32);
    struct program_options o = { .kind = PROGRAM_TRAIN, .batch = BATCH, .memory = MEMORY_AUTO };
    int64_t low = 0, high = 1 << 24, flops[K + 1];
    while (high - low > 1) { /* what the top coupling needs */
        o.memory_budget = (low + high) / 2;
        struct program *p = rig_program_of(m, &o);
        if (p->stored)
            high = o.memory_budget;
        else
            low = o.memory_budget;
        program_free(p);
    }
    ck_assert_int_gt(high, BATCH * 4 * 16 * 16 * 2); /* at least its hidden activations */
    for (int k = 0; k <= K; k++) {
        o.memory_budget = k * high;
        struct program *p = rig_program_of(m, &o);
        ck_assert_int_eq(p->couplings, K);
        ck_assert_int_eq(p->stored, k);
        flops[k] = p->flops;
        if (k) ck_assert_int_eq(flops[k - 1] - flops[k], flops[0] - flops[1]);
        program_free(p);
        o.memory_budget = (k + 1) * high - 1;
        p = rig_program_of(m, &o);
        ck_assert_int_eq(p->stored, k < K ? k : K);
        program_free(p);
    }
    ck_assert_int_gt(flops[0], flops[1]);
    o.memory = MEMORY_STORE;
    struct program *p = rig_program_of(m, &o);
    ck_assert_int_eq(p->stored, K);
    ck_assert_int_eq(p->flops, flops[K]);
    program_free(p);
    o.memory = MEMORY_RECOMPUTE;
    p = rig_program_of(m, &o);
    ck_assert_int_eq(p->stored, 0);
    ck_assert_int_eq(p->flops, flops[0]);
    program_free(p);
    model_free(m);
}
END_TEST

/* The couplings whose activations are kept are those at the top: each runs its network once, the
 * others run theirs again on the way back. */
START_TEST(top_is_stored)
{
    enum { K = 6 };
    struct model *m = rig_model(rig_glow(8, 1, 1, K, 16), DT_F32);
    struct program_options o = { .kind = PROGRAM_TRAIN, .batch = BATCH, .memory = MEMORY_AUTO };
    for (o.memory_budget = 0; o.memory_budget < 200000; o.memory_budget += 20000) {
        struct program *p = rig_program_of(m, &o);
        for (int k = 0; k < K; k++) {
            char owner[64];
            int runs = 0;
            snprintf(owner, sizeof owner, "last.step.%d.affine.net", k);
            for (int64_t i = 0; i < p->n_steps; i++)
                runs += p->steps[i].op == OP_CHAIN && !strcmp(p->steps[i].owner, owner);
            ck_assert_int_eq(runs, k >= K - p->stored ? 1 : 2);
        }
        program_free(p);
    }
    model_free(m);
}
END_TEST

/* The error that invert reports is that of the lowest layer's input; 0 but for rounding here. */
START_TEST(inversion_error)
{
    struct model *m = flow(0, DT_F32, 1);
    struct program *p =
        rig_program_of(m, &(struct program_options){
                              .kind = PROGRAM_TRAIN, .batch = BATCH, .memory = MEMORY_INVERT });
    write_data(p, 5);
    rig_go(p);
    double error = program_scalar(p, "inversion_error");
    ck_assert_msg(error > 0 && error < 1e-4, "%g", error);
    program_free(p);
    p = rig_program(m, PROGRAM_TRAIN, BATCH);
    ck_assert_ptr_null(program_output(p, "inversion_error"));
    program_free(p);
    model_free(m);
}
END_TEST

/* ---------------------------------------------------------------- arenas and threads */

static const enum program_kind kinds[] = { PROGRAM_TRAIN, PROGRAM_EVAL, PROGRAM_ENCODE,
                                           PROGRAM_DECODE, PROGRAM_SAMPLE };

static void write_inputs(const struct program *p)
{
    for (int i = 0; i < p->n_inputs; i++) {
        double x[2000];
        int64_t n = tensor_count(&p->inputs[i].tensor);
        ck_assert_int_le(n, 2000);
        rig_gauss(40 + (uint64_t)i, x, n);
        if (strcmp(p->inputs[i].name, "x"))
            rig_write(p, p->inputs[i].name, x);
        else
            write_data(p, 5);
    }
}

static uint64_t hash_all(const struct program *p)
{
    uint64_t h = p->kind == PROGRAM_TRAIN ? rig_hash_gradients(p->model) : 0;
    for (int i = 0; i < p->n_outputs; i++) h = 31 * h + rig_hash_output(p, p->outputs[i].name);
    return h;
}

static bool can_run(int which, enum program_kind kind)
{
    return which != ODD_FLOW || (kind != PROGRAM_DECODE && kind != PROGRAM_SAMPLE);
}

/* NaN wherever a program may write before: nothing is read that was not written first. */
START_TEST(poisoned_arena)
{
    struct model *m = flow(_i, DT_F32, 1);
    for (size_t k = 0; k < GLOW_COUNT(kinds); k++)
        for (int memory = MEMORY_STORE;
             memory <= (kinds[k] == PROGRAM_TRAIN ? MEMORY_INVERT : MEMORY_STORE); memory++) {
            if (!can_run(_i, kinds[k])) continue;
            struct program *p = rig_program_of(
                m, &(struct program_options){
                       .kind = kinds[k], .batch = BATCH, .memory = (enum memory_policy)memory });
            write_inputs(p);
            rig_go(p);
            uint64_t h = hash_all(p);
            rig_go(p);
            ck_assert_msg(h == hash_all(p), "program %d differs the second time", p->kind);
            memset(p->arena, 0xff, (size_t)p->arena_bytes);
            for (int i = 0; i < m->n_params && p->kind == PROGRAM_TRAIN; i++)
                if (!(m->params[i].flags & GLOW_PARAM_FROZEN))
                    memset((float *)m->gradients + m->params[i].offset, 0xff,
                           (size_t)m->params[i].count * sizeof(float));
            rig_go(p);
            ck_assert_msg(h == hash_all(p), "program %d, memory %d reads what it did not write",
                          p->kind, memory);
            program_free(p);
        }
    model_free(m);
}
END_TEST

struct separation {
    struct model *m;
    const struct program_options *o;
    bool separate;
};
static glow_status describe_separate(struct program_graph *d, void *context)
{
    const struct separation *s = context;
    TRY(walk_describe(d, s->m, s->o));
    d->g->separate = s->separate;
    return GLOW_OK;
}

/* Results in place of operands are the same bits. */
START_TEST(in_place)
{
    struct model *m = flow(_i, DT_F32, 1);
    ck_assert_int_eq(model_training_arenas(m, 0, false), GLOW_OK);
    for (size_t k = 0; k < GLOW_COUNT(kinds); k++) {
        if (!can_run(_i, kinds[k])) continue;
        uint64_t h[2];
        int64_t bytes[2];
        const struct program_options o = { .kind = kinds[k], .batch = BATCH };
        for (int separate = 0; separate < 2; separate++) {
            struct program *p;
            struct separation s = { m, &o, separate };
            if (program_compile(&p, m, kinds[k], BATCH, false, describe_separate, &s) != GLOW_OK)
                ck_abort_msg("%s", fail_message());
            write_inputs(p);
            rig_go(p);
            h[separate] = hash_all(p);
            bytes[separate] = p->live_bytes;
            program_free(p);
        }
        ck_assert_msg(h[0] == h[1], "program %d", kinds[k]);
        ck_assert_int_le(bytes[0], bytes[1]);
    }
    model_free(m);
}
END_TEST

/* One, two or three threads: the same bits. A batch large enough that all of them get work. */
START_TEST(threads)
{
    uint64_t h[4];
    for (int n = 1; n <= 3; n++) {
        struct model *m;
        struct program_options o = { .kind = PROGRAM_TRAIN,
                                     .batch = 32,
                                     .memory = MEMORY_RECOMPUTE };
        double x[32 * 16 * 16];
        ck_assert_int_eq(rig_try_model(&m, rig_glow(16, 1, 2, 2, 24),
                                       &(struct model_options){ .threads = n, .seed = 3 }),
                         GLOW_OK);
        rig_perturb(m, 0.05);
        struct program *p = rig_program_of(m, &o);
        ck_assert_int_eq(m->backend->threads(m->engine), n);
        rig_uniform(8, 0, 1, x, 32 * 16 * 16);
        rig_write(p, "x", x);
        rig_go(p);
        h[n] = hash_all(p);
        program_free(p);
        model_free(m);
    }
    ck_assert(h[1] == h[2] && h[1] == h[3]);
}
END_TEST

/* ---------------------------------------------------------------- there and back */

/* An 8-bit image comes back exactly, through two factored-out latents and what is left. */
START_TEST(encode_decode)
{
    double x[BATCH * 192], z[BATCH * 192], back[BATCH * 192];
    struct model *m = flow(0, DT_F32, 1);
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
    struct model *m = flow(1, DT_F64, 1);
    struct program *p = rig_program(m, PROGRAM_EVAL, BATCH);
    double part[4][BATCH], mean = 0;
    static const char *const names[4] = { "loglik", "logdet", "logp", "bound" };
    write_data(p, 5);
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
    struct model *m = flow(2, DT_F64, 1);
    ck_assert_int_eq(model_training_arenas(m, 0, true), GLOW_OK);
    struct program_options o = { .kind = PROGRAM_EVAL, .batch = BATCH };
    double loss[3];
    for (int i = 0; i < 3; i++) {
        o.average = i > 0;
        if (i == 2) rig_perturb(m, 0.1); /* the weights alone */
        struct program *p = rig_program_of(m, &o);
        write_data(p, 5);
        rig_go(p);
        loss[i] = program_scalar(p, "loss");
        program_free(p);
    }
    ck_assert_double_eq(loss[0], loss[1]); /* it starts as a copy */
    ck_assert_double_eq(loss[1], loss[2]);
    o.average = false;
    struct program *p = rig_program_of(m, &o);
    write_data(p, 5);
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
    struct model *m = flow(1, DT_F64, 1);
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
    struct model *m = flow(2, DT_F64, 1);
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
    load_odd();
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
    struct model *m = flow(ODD_FLOW, DT_F32, 1);
    static const enum program_kind backward[] = { PROGRAM_SAMPLE, PROGRAM_DECODE };
    for (int i = 0; i < 2; i++) {
        ck_assert_int_eq(
            program_make(&p, m, &(struct program_options){ .kind = backward[i], .batch = 1 }),
            GLOW_ENOTSUP);
        rig_message("oneway_2: this layer has no inverse; sampling and decoding need one [layer "
                    "\"oneway\"");
    }
    p = rig_program(m, PROGRAM_EVAL, BATCH);
    write_data(p, 5);
    rig_go(p);
    ck_assert(isfinite(program_scalar(p, "loss")));
    program_free(p);
    model_free(m);
}
END_TEST

/* The odd layers keep the promises that they make. */
START_TEST(odd_layers_conform)
{
    load_odd();
    for (size_t i = 0; i < GLOW_COUNT(odd); i++) {
        struct conform_report r = { 0 };
        uint32_t kind = !strcmp(odd[i], "deaf") ? GLOW_PRIOR : GLOW_LAYER;
        ck_assert_int_eq(conform_run(rig_registry(), rig_find(kind, odd[i]), NULL, &r), GLOW_OK);
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
    load_odd();
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
    load_odd();
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
    struct model *m = flow(2, DT_F32, 1);
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

int main(void)
{
    TCase *tests = rig_case("program");
    tcase_add_loop_test(tests, policies_double, 0, FLOWS);
    tcase_add_loop_test(tests, policies_single, 0, FLOWS);
    tcase_add_loop_test(tests, whole_gradient, 0, FLOWS);
    tcase_add_test(tests, budgets);
    tcase_add_test(tests, top_is_stored);
    tcase_add_test(tests, inversion_error);
    tcase_add_loop_test(tests, poisoned_arena, 0, FLOWS);
    tcase_add_loop_test(tests, in_place, 0, FLOWS);
    tcase_add_test(tests, threads);
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
    return rig_run(tests);
}

/* test_program.c - what programs compute does not depend on how: memory policies, garbage in the
 * arena, results in place of operands and threads leave the numbers alone. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "flows.h"

enum { BATCH = 5 };

/* ---------------------------------------------------------------- memory policies */

static void train_gradients(struct model *m, enum memory_policy memory, int64_t budget, double *out)
{
    struct program_options o = {
        .kind = PROGRAM_TRAIN, .batch = BATCH, .memory = memory, .memory_budget = budget
    };
    struct program *p = rig_program_of(m, &o);
    flows_write(p, 5);
    rig_go(p);
    rig_gradients(m, out);
    program_free(p);
}

static void check_policies(int which, int32_t real, double bound)
{
    struct model *m = flows_model(which, real, 1);
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
    struct model *m = flows_model(_i, DT_F64, 1);
    struct program *train =
        rig_program_of(m, &(struct program_options){
                              .kind = PROGRAM_TRAIN, .batch = BATCH, .memory = MEMORY_INVERT });
    flows_write(train, 5);
    rig_go(train);
    double *w = calloc(2 * (size_t)m->n_elements, sizeof *w), size = 0;
    ck_assert_ptr_nonnull(w);
    double *const all = w + m->n_elements, *g = all;
    for (int i = 0; i < m->n_params; g += m->params[i++].count) model_get(m, m->gradients, i, g);
    for (int64_t k = 0; k < g - all; k++) size = fmax(size, fabs(all[k]));
    g = all;
    for (int i = 0; i < m->n_params; g += m->params[i++].count) {
        const struct param *p = &m->params[i];
        /* On a device, or its emulator, a run takes long: one of each tensor. */
        const int64_t stride = m->backend->upload ? p->count : p->count / 3 + 1;
        if (p->flags & GLOW_PARAM_FROZEN) continue;
        model_get(m, m->weights, i, w);
        for (int64_t k = 0; k < p->count; k += stride) {
            double keep = w[k], want = g[k], loss[2];
            for (int side = 0; side < 2; side++) {
                w[k] = keep + (side ? -1e-5 : 1e-5);
                model_set(m, m->weights, i, w);
                rig_go(train);
                loss[side] = program_scalar(train, "loss");
            }
            w[k] = keep;
            model_set(m, m->weights, i, w);
            double numeric = (loss[0] - loss[1]) / 2e-5;
            if (!(fabs(numeric - want) <= 1e-6 * (size + fabs(want))))
                ck_abort_msg("%s[%lld]: %.10g, differences say %.10g", p->name, (long long)k, want,
                             numeric);
        }
    }
    free(w);
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
        if (k) ck_assert_int_lt(flops[k], flops[k - 1]);
        program_free(p);
        o.memory_budget = (k + 1) * high - 1;
        p = rig_program_of(m, &o);
        ck_assert_int_eq(p->stored, k < K ? k : K);
        program_free(p);
    }
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

/* How often the network of coupling k of a flow runs, and the multiply-adds of its gradient beyond
 * twice those of a run. */
static int network_runs(const struct program *p, int k, int64_t *again)
{
    char owner[64];
    int64_t run = 0, back = 0;
    int runs = 0;
    snprintf(owner, sizeof owner, "last.step.%d.affine.net", k);
    for (int64_t i = 0; i < p->n_steps; i++) {
        const struct step *s = &p->steps[i];
        if (strcmp(s->owner, owner) != 0) continue;
        runs += s->op == OP_CHAIN;
        if (s->op == OP_CHAIN) run = s->flops;
        if (s->op == OP_CHAIN_VJP) back = s->flops;
    }
    ck_assert_int_gt(run, 0);
    *again = back - 2 * run;
    ck_assert_int_lt(*again, run);
    return runs;
}

/* The couplings whose activations are kept are those at the top: each runs its network once. Below,
 * where its result is kept, it runs once, too, and hidden activations are computed on the way back;
 * the others run theirs again. */
START_TEST(top_is_stored)
{
    enum { K = 12 };
    struct model *m = rig_model(rig_glow(16, 1, 1, K, 16), DT_F32);
    struct program_options o = { .kind = PROGRAM_TRAIN, .batch = 32, .memory = MEMORY_AUTO };
    int all_kept = 0, none_kept = 0;
    for (o.memory_budget = 0; o.memory_budget < 8000000; o.memory_budget += 500000) {
        struct program *p = rig_program_of(m, &o);
        for (int k = 0; k < K; k++) {
            int64_t again;
            const int runs = network_runs(p, k, &again);
            const bool is_stored = k >= K - p->stored;
            const bool is_kept = !is_stored && k >= K - p->stored - p->results_kept;
            ck_assert_int_eq(runs, is_stored || is_kept ? 1 : 2);
            ck_assert(is_kept ? again > 0 : again == 0);
            all_kept += is_kept;
            none_kept += !is_stored && !is_kept;
        }
        program_free(p);
    }
    ck_assert_int_gt(all_kept, 0);
    ck_assert_int_gt(none_kept, 0);
    model_free(m);
}
END_TEST

/* The error that invert reports is that of the lowest layer's input; 0 but for rounding here. */
START_TEST(inversion_error)
{
    struct model *m = flows_model(0, DT_F32, 1);
    struct program *p =
        rig_program_of(m, &(struct program_options){
                              .kind = PROGRAM_TRAIN, .batch = BATCH, .memory = MEMORY_INVERT });
    flows_write(p, 5);
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
            flows_write(p, 5);
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

/* Fills memory of the backend with NaN. */
static void poison(const struct model *m, void *memory, size_t bytes)
{
    char *nan = malloc(bytes + 1);
    ck_assert_ptr_nonnull(nan);
    memset(nan, 0xff, bytes);
    ck_assert_int_eq(backend_upload(m->backend, m->engine, memory, nan, bytes), GLOW_OK);
    free(nan);
}

/* NaN wherever a program may write before: nothing is read that was not written first. */
START_TEST(poisoned_arena)
{
    struct model *m = flows_model(_i, DT_F32, 1);
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
            poison(m, p->arena, (size_t)p->arena_bytes);
            for (int i = 0; i < m->n_params && p->kind == PROGRAM_TRAIN; i++)
                if (!(m->params[i].flags & GLOW_PARAM_FROZEN))
                    poison(m, (float *)m->gradients + m->params[i].offset,
                           (size_t)m->params[i].stored * sizeof(float));
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
    struct model *m = flows_model(_i, DT_F32, 1);
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
        if (m->backend == &backend_cpu) /* others may want scratch for what is fused */
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
        if (m->backend == &backend_cpu) ck_assert_int_eq(m->backend->threads(m->engine), n);
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
    return rig_run(tests);
}

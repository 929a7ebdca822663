/* test_plan.c - where values live. Lifetimes are worked out here again, from the graph and the
 * order of its steps alone, and every pair of values is held against the offsets that the plan gave
 * them. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "fuse.h"
#include "plan.h"
#include "rig.h"

struct planned {
    struct bump memory;
    struct program_graph d;
    struct graph *g;
    struct plan *plan;
};

static void make(struct planned *p, struct model *m, const struct program_options *o, bool separate)
{
    *p = (struct planned){ .d = { .memory = &p->memory } };
    p->d.memory = &p->memory;
    if (walk_describe(&p->d, m, o) != GLOW_OK) ck_abort_msg("%s", fail_message());
    p->d.g->separate = separate;
    if (graph_fuse(&p->d.g) != GLOW_OK) ck_abort_msg("%s", fail_message());
    p->g = p->d.g;
    if (plan_make(&p->plan, p->g, m->engine) != GLOW_OK) ck_abort_msg("%s", fail_message());
}

static void drop(struct planned *p)
{
    plan_free(p->plan);
    graph_free(p->g);
    free(p->d.inputs);
    free(p->d.outputs);
    bump_free(&p->memory);
}

/* ---------------------------------------------------------------- lifetimes */

struct life {
    int64_t begin, end; /* bytes of the arena */
    int first, last;    /* positions in the order, both included */
    uint32_t value;     /* 0: scratch of the step at that position */
};

static int64_t bytes_of(const struct graph *g, const struct value *v)
{
    int64_t n = v->type.batched ? g->batch : 1;
    if (v->packing) return v->packing->count * (v->real == DT_F64 ? 8 : 4);
    for (int i = 0; i < v->type.rank; i++) n *= v->type.dim[i];
    return n * (v->real == DT_F64 ? 8 : 4);
}

static int64_t scratch_of(const struct planned *p, struct engine *engine, uint32_t position)
{
    const struct graph *g = p->g;
    const struct node *n = &g->nodes[p->plan->order[position]];
    struct tensor in[256], out[64];
    struct step s = { .op = n->op,
                      .n_in = n->n_in,
                      .n_out = n->n_out,
                      .n_ai = (int)n->n_ai,
                      .n_ad = n->n_ad,
                      .in = in,
                      .out = out,
                      .ai = n->ai,
                      .ad = n->ad };
    plan_tensors(g, p->plan, n, in, out);
    return (int64_t)g->backend->scratch(engine, &s);
}

/* Everything in the arena; returns how many. */
static int find_lives(const struct planned *p, struct engine *engine, struct life *lives)
{
    const struct graph *g = p->g;
    const struct plan *plan = p->plan;
    int n = 0, *first = calloc(2 * (size_t)g->n_values, sizeof *first), *last = first + g->n_values;
    char *made = calloc(g->n_nodes, 1);
    ck_assert(first && made);
    for (uint32_t i = 0; i < g->n_values; i++) first[i] = last[i] = -1;
    for (int t = 0; t < (int)plan->n_order; t++) {
        const struct node *node = &g->nodes[plan->order[t]];
        ck_assert_int_eq(made[plan->order[t]], 0); /* each step once */
        made[plan->order[t]] = 1;
        for (uint32_t k = 0; k < node->n_in; k++) {
            uint32_t base = node->in[k] ? g->values[node->in[k]].base : 0;
            bool leaf = op_classes[g->nodes[g->values[base].node].op] == CLASS_LEAF;
            if (base && !leaf) ck_assert_int_ge(first[base], 0); /* made before it is read */
            last[base] = t;
        }
        for (uint32_t k = 0; k < node->n_out; k++) first[node->out0 + k] = last[node->out0 + k] = t;
    }
    for (uint32_t i = 0; i < g->n_binds; i++)
        last[g->values[g->binds[i].value].base] = (int)plan->n_order;
    for (uint32_t v = 1; v < g->n_values; v++) {
        if (g->values[v].base != v || plan->places[v].kind != PLACE_ARENA) continue;
        ck_assert_int_ge(first[v], 0);
        ck_assert_int_eq(plan->places[v].offset % 64, 0);
        lives[n++] = (struct life){ plan->places[v].offset,
                                    plan->places[v].offset + bytes_of(g, &g->values[v]), first[v],
                                    last[v], v };
    }
    for (uint32_t t = 0; t < plan->n_order; t++) {
        int64_t bytes = scratch_of(p, engine, t), at = plan->scratch[t];
        ck_assert_msg((bytes > 0) == (at >= 0), "scratch of step %u", t);
        if (bytes > 0) lives[n++] = (struct life){ at, at + bytes, (int)t, (int)t, 0 };
    }
    free(first);
    free(made);
    return n;
}

/* Element i of a dense tensor lies at i: what an elementwise step may overwrite while it reads. */
static bool in_order(const struct graph *g, value_id id)
{
    const struct value *v = &g->values[id];
    int64_t step = 1;
    if (v->offset) return false;
    for (int i = v->type.rank; i > 0; step *= v->type.dim[--i])
        if (v->type.dim[i - 1] != 1 && v->stride[i] != step) return false;
    return !v->type.batched || g->batch == 1 || v->stride[0] == step;
}

/* Whether an operation of a fused step reads the input after output `out` is made, or while. */
static bool read_later(const struct node *n, uint32_t input, uint32_t out)
{
    const int64_t *ai = n->ai, n_operations = ai[0];
    for (int64_t i = ai[1 + 4 * n_operations + out] + 1; i < n_operations; i++)
        for (int k = 0; k < 3; k++)
            if (ai[2 + 4 * i + k] == input) return true;
    return ai[1 + 4 * ai[1 + 4 * n_operations + out]] == OP_SUM;
}

/* Whether y is the elementwise result that takes the place of x, which dies in that step. */
static bool replaces(const struct graph *g, const struct life *x, const struct life *y)
{
    if (!x->value || !y->value || x->last != y->first || x->begin != y->begin) return false;
    const struct node *n = graph_maker(g, y->value);
    bool reads = false;
    if ((op_classes[n->op] != CLASS_ELEM && n->op != OP_FUSED) || x->end != y->end) return false;
    for (uint32_t k = 0; k < n->n_in; k++) {
        if (g->values[n->in[k]].base != x->value) continue;
        if (!in_order(g, n->in[k]) || bytes_of(g, &g->values[n->in[k]]) != y->end - y->begin)
            return false;
        if (n->op == OP_FUSED && read_later(n, k, g->values[y->value].out)) return false;
        reads = true;
    }
    return reads;
}

static void check_plan(const struct planned *p, struct engine *engine)
{
    const struct graph *g = p->g;
    struct life *lives = calloc(g->n_values + p->plan->n_order, sizeof *lives);
    ck_assert_ptr_nonnull(lives);
    int n = find_lives(p, engine, lives), replaced = 0;
    for (int i = 0; i < n; i++) {
        const struct life *x = &lives[i];
        if (x->begin < 0 || x->end > p->plan->arena_bytes)
            ck_abort_msg("value %u is outside", x->value);
        for (int k = i + 1; k < n; k++) {
            const struct life *y = &lives[k];
            bool alive = x->first <= y->last && y->first <= x->last;
            if (!alive || x->begin >= y->end || y->begin >= x->end) continue;
            if (replaces(g, x, y) || replaces(g, y, x))
                replaced++;
            else
                ck_abort_msg("values %u (steps %d-%d, bytes %lld-%lld) and %u (%d-%d, %lld-%lld)",
                             x->value, x->first, x->last, (long long)x->begin, (long long)x->end,
                             y->value, y->first, y->last, (long long)y->begin, (long long)y->end);
        }
    }
    ck_assert_uint_eq(p->plan->n_in_place, (uint32_t)replaced);
    ck_assert_int_ge(p->plan->arena_bytes, p->plan->live_bytes);
    free(lives);
}

/* ---------------------------------------------------------------- the models */

static const char *model_text(int which)
{
    switch (which) {
    case 0: return rig_glow(16, 1, 3, 2, 8);
    case 1: return rig_glow(8, 3, 2, 3, 5);
    case 2:
        return "input = [6]; flow = ( { repeat = 3; name = \"step\"; flow = ( { layer = "
               "\"actnorm\"; }, { layer "
               "= \"permute\"; }, { layer = \"affine\"; scale = \"exp\"; net = \"mlp\"; } ); } ); "
               "prior = { y "
               "= { type = \"normal\"; form = \"diagonal\"; }; };";
    default:
        return "input = [8, 8, 2]; flow = ( { layer = \"logit\"; }, { layer = \"squeeze\"; order = "
               "\"channel\"; }, { layer = \"invconv\"; lu = false; }, { layer = \"additive\"; net "
               "= { type = "
               "\"resnet\"; blocks = 2; }; }, { layer = \"factor_out\"; keep = \"first\"; prior = "
               "\"learned\"; "
               "}, { layer = \"fold\"; }, { layer = \"approximate\"; }, { layer = \"affine\"; net "
               "= { type = "
               "\"openai\"; width = 6; }; } );";
    }
}
enum { MODELS = 4 };

static void check_all(int which, int32_t real, bool separate)
{
    struct planned p;
    rig_load("plugins/fold.c");
    rig_load("plugins/approximate.c");
    struct model *m = rig_model(model_text(which), real);
    for (int kind = PROGRAM_INIT; kind <= PROGRAM_SAMPLE; kind++)
        for (int memory = MEMORY_AUTO; memory <= MEMORY_INVERT; memory++) {
            if (memory && kind != PROGRAM_TRAIN) continue;
            make(&p, m,
                 &(struct program_options){ .kind = (enum program_kind)kind,
                                            .batch = 3,
                                            .memory = (enum memory_policy)memory,
                                            .memory_budget = 20000 },
                 separate);
            check_plan(&p, m->engine);
            if (separate) ck_assert_uint_eq(p.plan->n_in_place, 0);
            drop(&p);
        }
    model_free(m);
}

START_TEST(nothing_overlaps) { check_all(_i, DT_F32, false); }
END_TEST
START_TEST(nothing_overlaps_double) { check_all(_i, DT_F64, false); }
END_TEST
START_TEST(nothing_overlaps_separate) { check_all(_i, DT_F32, true); }
END_TEST

/* ---------------------------------------------------------------- what must not be overwritten */

/* Operands that die in an elementwise step which reads them out of order, or twice: through a
 * transposed view, a reversed half, a stretched row. */
static glow_status describe_hazards(struct program_graph *d, void *context)
{
    const struct {
        struct model *m;
        bool separate;
    } *c = context;
    const struct glow_type t = { .dtype = GLOW_REAL, .batched = 1, .rank = 2, .dim = { 4, 4 } };
    const int64_t turn[3] = { 0, 2, 1 }, row[4] = { 1, 2, 1, 1 }, back[6] = { 2, 4, 3, 2, 1, 0 };
    TRY(graph_new(&d->g, c->m, c->m->backend, DT_F64, 3, 0));
    struct graph *g = d->g;
    g->separate = c->separate;
    value_id x = program_graph_input(d, "", "x", &t);
    value_id a = graph_unary(g, OP_EXP, x);
    value_id b = graph_binary(g, OP_ADD, a, graph_op(g, OP_TRANSPOSE, 1, &a, 3, turn));
    value_id e = graph_unary(g, OP_SIN, b);
    value_id f = graph_unary(g, OP_NEG, graph_op(g, OP_TRANSPOSE, 1, &e, 3, turn));
    value_id h = graph_unary(g, OP_COS, f);
    value_id i = graph_binary(g, OP_MUL, h, graph_op(g, OP_SLICE, 1, &h, 4, row));
    value_id j = graph_unary(g, OP_TANH, i);
    value_id k = graph_binary(g, OP_SUB, j, graph_op(g, OP_TAKE, 1, &j, 6, back));
    TRY(program_graph_output(d, "", "b", graph_sum(g, b, 6, false)));
    TRY(program_graph_output(d, "", "k", graph_binary(g, OP_MUL, k, k)));
    return program_graph_output(d, "", "f", graph_unary(g, OP_SQUARE, f));
}

START_TEST(hazards)
{
    struct model *m = rig_model("input = [2]; flow = ( );", DT_F64);
    double x[48], got[2][3][48] = { { { 0 } } };
    static const char *const outputs[3] = { "b", "k", "f" };
    rig_gauss(4, x, 48);
    for (int separate = 0; separate < 2; separate++) {
        struct {
            struct model *m;
            bool separate;
        } context = { m, separate };
        struct planned p = { .d = { .memory = &p.memory } };
        struct program *run;
        ck_assert_int_eq(describe_hazards(&p.d, &context), GLOW_OK);
        p.g = p.d.g;
        ck_assert_int_eq(plan_make(&p.plan, p.g, m->engine), GLOW_OK);
        check_plan(&p, m->engine);
        drop(&p);
        ck_assert_int_eq(program_compile(&run, m, 0, 3, false, describe_hazards, &context),
                         GLOW_OK);
        rig_write(run, "x", x);
        rig_go(run);
        for (int i = 0; i < 3; i++) rig_read(run, outputs[i], got[separate][i]);
        program_free(run);
    }
    for (int i = 0; i < 48; i++) {
        int mirrored = i / 16 * 16 + i % 4 * 4 + i / 4 % 4;
        double f = -sin(exp(x[i]) + exp(x[mirrored]));
        ck_assert_double_eq_tol(got[0][2][i], f * f, 1e-12);
    }
    ck_assert_mem_eq(got[0], got[1], sizeof got[0]);
    model_free(m);
}
END_TEST

/* ---------------------------------------------------------------- sizes */

static struct plan *plan_of(struct planned *p, struct model *m, enum program_kind kind,
                            int64_t batch, enum memory_policy memory)
{
    make(p, m, &(struct program_options){ .kind = kind, .batch = batch, .memory = memory }, false);
    return p->plan;
}

/* Within 5% of the most bytes that are alive at once, on models of the kind that people train. */
START_TEST(arena_is_tight)
{
    static const struct {
        int size, channels, levels, steps, width, batch;
    } models[] = { { 32, 1, 3, 8, 128, 64 }, { 32, 3, 3, 6, 64, 16 }, { 64, 3, 4, 4, 64, 4 } };
    for (size_t i = 0; i < GLOW_COUNT(models); i++) {
        struct planned p;
        struct model *m = rig_model(rig_glow(models[i].size, models[i].channels, models[i].levels,
                                             models[i].steps, models[i].width),
                                    DT_F32);
        for (int memory = MEMORY_STORE; memory <= MEMORY_INVERT; memory++) {
            const struct plan *plan =
                plan_of(&p, m, PROGRAM_TRAIN, models[i].batch, (enum memory_policy)memory);
            ck_assert_int_ge(plan->arena_bytes, plan->live_bytes);
            ck_assert_msg((double)plan->arena_bytes <= 1.05 * (double)plan->live_bytes,
                          "model %d, memory %d: %lld of %lld", (int)i, memory,
                          (long long)plan->arena_bytes, (long long)plan->live_bytes);
            drop(&p);
        }
        model_free(m);
    }
}
END_TEST

enum { DEPTHS = 4, FLAT_BATCH = 8, BUDGET = 1 << 18 };
static const int depths[DEPTHS] = { 4, 8, 16, 32 };

/* Arenas of the train program by depth and memory policy. */
static void measure_arenas(int64_t arena[DEPTHS][MEMORY_INVERT + 1])
{
    for (int i = 0; i < DEPTHS; i++) {
        struct model *m = rig_model(rig_glow(16, 1, 2, depths[i], 16), DT_F32);
        for (int memory = MEMORY_AUTO; memory <= MEMORY_INVERT; memory++) {
            struct program_options o = { .kind = PROGRAM_TRAIN,
                                         .batch = FLAT_BATCH,
                                         .memory = (enum memory_policy)memory,
                                         .memory_budget = BUDGET };
            struct planned p;
            make(&p, m, &o, false);
            arena[i][memory] = p.plan->arena_bytes;
            if (memory == MEMORY_AUTO) {
                ck_assert_int_gt(p.d.stored, 0);
                ck_assert_int_lt(p.d.stored, p.d.couplings);
            }
            drop(&p);
        }
        model_free(m);
    }
}

/* With CK_VERBOSITY=verbose. */
static void print_arenas(int64_t arena[DEPTHS][MEMORY_INVERT + 1])
{
    const char *verbosity = getenv("CK_VERBOSITY");
    if (!verbosity || strcmp(verbosity, "verbose")) return;
    printf("%8s %12s %12s %12s %12s   bytes of the train program's arena\n", "steps", "invert",
           "recompute", "auto, 256 K", "store");
    for (int i = 0; i < DEPTHS; i++)
        printf("%8d %12lld %12lld %12lld %12lld\n", depths[i], (long long)arena[i][MEMORY_INVERT],
               (long long)arena[i][MEMORY_RECOMPUTE], (long long)arena[i][MEMORY_AUTO],
               (long long)arena[i][MEMORY_STORE]);
}

/* invert: the same arena at any depth. recompute: at most one anchor more for each coupling (some
 * fit into gaps), and not much less. auto: that and its budget. store: much more. */
START_TEST(flat_in_depth)
{
    /* (4,8,8) and (8,4,4) floats of each sample: what a step more on both levels has to keep */
    const int64_t anchors = FLAT_BATCH * 4 * (4 * 64 + 8 * 16);
    int64_t arena[DEPTHS][MEMORY_INVERT + 1];
    measure_arenas(arena);
    print_arenas(arena);
    for (int i = 0; i < DEPTHS; i++) {
        ck_assert_int_le(arena[i][MEMORY_AUTO], arena[i][MEMORY_RECOMPUTE] + BUDGET);
        ck_assert_int_gt(arena[i][MEMORY_AUTO], arena[i][MEMORY_RECOMPUTE]);
        /* nothing more for results that are kept, the scratch of what computes the rest again
         * included */
        ck_assert_int_le(arena[i][MEMORY_RECOMPUTE], arena[i][MEMORY_INVERT] + depths[i] * anchors);
    }
    for (int i = 1; i < DEPTHS; i++) {
        const int64_t *now = arena[i], *before = arena[i - 1];
        int64_t kept = (depths[i] - depths[i - 1]) * anchors;
        ck_assert_int_eq(now[MEMORY_INVERT], before[MEMORY_INVERT]);
        ck_assert_int_le(now[MEMORY_RECOMPUTE] - before[MEMORY_RECOMPUTE], kept);
        if (i > 1) ck_assert_int_ge(now[MEMORY_RECOMPUTE] - before[MEMORY_RECOMPUTE], kept / 2);
        ck_assert_int_ge(now[MEMORY_STORE] - before[MEMORY_STORE], kept * 4);
    }
}
END_TEST

int main(void)
{
    TCase *tests = rig_case("plan");
    tcase_add_loop_test(tests, nothing_overlaps, 0, MODELS);
    tcase_add_loop_test(tests, nothing_overlaps_double, 0, MODELS);
    tcase_add_loop_test(tests, nothing_overlaps_separate, 0, MODELS);
    tcase_add_test(tests, hazards);
    tcase_add_test(tests, arena_is_tight);
    tcase_add_test(tests, flat_in_depth);
    return rig_run(tests);
}

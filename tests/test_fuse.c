/* test_fuse.c - what is joined into fused steps, and what is left apart; that whole programs give
 * the same bits with them as without, in less memory; and who is blamed for a NaN in one. The
 * kernel of these steps: test_fused.c. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "flows.h"
#include "fuse.h"
#include "plan.h"

/* ---------------------------------------------------------------- what is joined */

static struct model *empty_model(void) { return rig_model("input = [2]; flow = ( );", DT_F32); }

/* How many nodes of an operation run, and how many operations are within fused ones. */
static int count(const struct graph *g, int op)
{
    int n = 0;
    for (uint32_t i = 1; i < g->n_nodes; i++) n += g->nodes[i].op == op;
    return n;
}
static int count_fused(const struct graph *g)
{
    int n = 0;
    for (uint32_t i = 1; i < g->n_nodes; i++)
        if (g->nodes[i].op == OP_FUSED) n += (int)g->nodes[i].ai[0];
    return n;
}

/* x (N,4,8,8); what a case adds to it is output "y", and more. */
struct joining {
    const char *what;
    value_id (*describe)(struct graph *, value_id x);
    int fused, operations; /* fused nodes, operations within */
    int apart;             /* elementwise nodes that are left */
};

static value_id channels(struct graph *g, value_id x) /* (1,4,1,1) */
{
    return graph_sum(g, x, 13, false);
}

static value_id a_chain(struct graph *g, value_id x)
{
    value_id c = graph_unary(g, OP_SQRT, channels(g, x));
    x = graph_binary(g, OP_MUL, graph_unary(g, OP_EXP, x), c);
    return graph_binary(g, OP_ADD, x, graph_constant(g, 3));
}

static value_id a_sum_of_a_member(struct graph *g, value_id x)
{
    x = graph_unary(g, OP_EXP, x);
    value_id s = graph_sum(g, x, 13, false); /* per channel: needs the group, and y needs it */
    x = graph_unary(g, OP_NEG, graph_unary(g, OP_ABS, x));
    return graph_unary(g, OP_TANH, graph_binary(g, OP_MUL, x, s));
}

static value_id a_view_of_a_member(struct graph *g, value_id x)
{
    const int64_t turn[4] = { 0, 1, 3, 2 };
    value_id e = graph_unary(g, OP_NEG, graph_unary(g, OP_EXP, x));
    value_id t = graph_op(g, OP_TRANSPOSE, 1, &e, 4, turn);
    return graph_unary(g, OP_COS, graph_binary(g, OP_ADD, e, t));
}

static value_id another_shape(struct graph *g, value_id x)
{
    value_id s = graph_reshape(g, graph_sum(g, x, 14, false), 0, NULL); /* per sample */
    value_id u = graph_unary(g, OP_NEG, graph_unary(g, OP_EXP, s));
    x = graph_unary(g, OP_ABS, graph_unary(g, OP_SIN, x));
    const int64_t ones[3] = { 1, 1, 1 };
    return graph_binary(g, OP_MUL, x, graph_reshape(g, u, 3, ones));
}

static value_id across_a_product(struct graph *g, value_id x)
{
    value_id a = graph_unary(g, OP_EXP, x), order = graph_unary(g, OP_SQUARE, a);
    const int64_t take[6] = { 1, 4, 3, 2, 1, 0 };
    value_id t = graph_op(g, OP_TAKE, 1, &order, 6, take);
    value_id b = graph_unary(g, OP_COS, x); /* could run before, but not across what takes long */
    return graph_binary(g, OP_ADD, graph_unary(g, OP_ABS, b), t);
}

static value_id small_between(struct graph *g, value_id x)
{
    value_id c = graph_unary(g, OP_EXP, channels(g, x)), y = graph_unary(g, OP_ABS, x);
    y = graph_binary(g, OP_MUL, y, graph_unary(g, OP_NEG, c));
    return graph_binary(g, OP_ADD, y, graph_unary(g, OP_SQUARE, c));
}

static value_id alone(struct graph *g, value_id x) { return graph_unary(g, OP_EXP, x); }

static const struct joining joinings[] = {
    { "a chain", a_chain, 1, 3, 1 },
    { "a sum of a member", a_sum_of_a_member, 2, 5, 0 },
    { "a view of a member", a_view_of_a_member, 2, 4, 0 },
    { "another shape between", another_shape, 2, 5, 0 },
    { "across a product", across_a_product, 2, 5, 0 },
    { "small ones between", small_between, 2, 6, 0 },
    { "alone", alone, 0, 0, 1 },
};

struct described {
    struct model *m;
    const struct joining *joining;
    bool separate;
};
static glow_status describe_joining(struct program_graph *d, void *context)
{
    const struct described *c = context;
    const struct glow_type t = { .dtype = GLOW_REAL, .batched = 1, .rank = 3, .dim = { 4, 8, 8 } };
    TRY(graph_new(&d->g, c->m, c->m->backend, DT_F32, 3, 0));
    d->g->separate = c->separate;
    value_id x = program_graph_input(d, "", "x", &t);
    return program_graph_output(d, "", "y", c->joining->describe(d->g, x));
}

START_TEST(joined)
{
    const struct joining *j = &joinings[_i];
    struct model *m = empty_model();
    double x[3 * 256];
    uint64_t hash[2];
    rig_gauss(3, x, 3 * 256);
    for (int separate = 0; separate < 2; separate++) {
        struct described c = { m, j, separate };
        struct bump memory = { 0 };
        struct program_graph d = { .memory = &memory };
        ck_assert_int_eq(describe_joining(&d, &c), GLOW_OK);
        uint32_t n_nodes = d.g->n_nodes;
        ck_assert_int_eq(graph_fuse(&d.g), GLOW_OK);
        int left = 0;
        for (int op = 0; op < OP_COUNT; op++)
            if (op_classes[op] == CLASS_ELEM) left += count(d.g, op);
        if (separate) {
            ck_assert_uint_eq(d.g->n_nodes, n_nodes);
            ck_assert_int_eq(count(d.g, OP_FUSED), 0);
        } else {
            ck_assert_msg(count(d.g, OP_FUSED) == j->fused && count_fused(d.g) == j->operations &&
                              left == j->apart,
                          "%s: %d fused nodes of %d operations, %d apart", j->what,
                          count(d.g, OP_FUSED), count_fused(d.g), left);
        }
        graph_free(d.g);
        free(d.inputs);
        free(d.outputs);
        bump_free(&memory);
        struct program *p;
        ck_assert_int_eq(program_compile(&p, m, 0, 3, false, describe_joining, &c), GLOW_OK);
        rig_write(p, "x", x);
        rig_go(p);
        hash[separate] = rig_hash_output(p, "y");
        program_free(p);
    }
    ck_assert_msg(hash[0] == hash[1], "%s: other bits when fused", j->what);
    model_free(m);
}
END_TEST

/* ---------------------------------------------------------------- limits */

/* Far more operations, inputs and outputs than a fused step holds. */
static value_id long_chain(struct graph *g, value_id x)
{
    for (int i = 0; i < 300; i++) x = graph_unary(g, i % 2 ? OP_NEG : OP_TANH, x);
    return x;
}
static value_id many_inputs(struct graph *g, value_id x)
{
    for (int i = 0; i < 150; i++) x = graph_binary(g, OP_ADD, x, graph_constant(g, i * 0.01));
    return x;
}
static value_id many_outputs(struct graph *g, value_id x)
{
    value_id all = 0;
    for (int i = 0; i < 30; i++) {
        x = graph_unary(g, i % 2 ? OP_SIN : OP_NEG, x);
        value_id s = channels(g, x);
        all = all ? graph_binary(g, OP_ADD, all, s) : s;
    }
    return graph_binary(g, OP_MUL, x, all);
}
static const struct joining limits[] = { { "operations", long_chain, 0, 0, 0 },
                                         { "inputs", many_inputs, 0, 0, 0 },
                                         { "outputs", many_outputs, 0, 0, 0 } };

START_TEST(limited)
{
    struct model *m = empty_model();
    double x[3 * 256];
    uint64_t hash[2];
    rig_gauss(3, x, 3 * 256);
    for (int separate = 0; separate < 2; separate++) {
        struct described c = { m, &limits[_i], separate };
        struct program *p;
        int fused = 0;
        ck_assert_int_eq(program_compile(&p, m, 0, 3, false, describe_joining, &c), GLOW_OK);
        for (int64_t i = 0; i < p->n_steps; i++) {
            const struct step *s = &p->steps[i];
            if (s->op != OP_FUSED) continue;
            fused++;
            ck_assert_int_le(s->n_in, FUSED_INPUTS);
            ck_assert_int_le(s->n_out, FUSED_OUTPUTS);
            int written = 0; /* they are alive together: no more than 4 */
            for (int k = 0; k < s->n_out; k++)
                written += s->ai[1 + 4 * fused_maker(s->ai, k)] != OP_SUM;
            ck_assert_int_le(written, 4);
            ck_assert_int_le(s->ai[0], FUSED_OPS);
        }
        if (separate)
            ck_assert_int_eq(fused, 0);
        else
            ck_assert_int_ge(fused, 3);
        rig_write(p, "x", x);
        rig_go(p);
        hash[separate] = rig_hash_output(p, "y");
        program_free(p);
    }
    ck_assert_msg(hash[0] == hash[1], "%s: other bits when fused", limits[_i].what);
    model_free(m);
}
END_TEST

/* ---------------------------------------------------------------- whole programs */

static const char *const texts[] = {
    "input = [8, 8, 3]; flow = ( { layer = \"crease\"; } );",
    "input = [24, 24, 2]; flow = ( { layer = \"crease\"; }, { layer = \"squeeze\"; }, { layer = "
    "\"crease\"; }, { layer = \"leaky\"; }, { layer = \"factor_out\"; prior = \"learned\"; }, { "
    "layer = \"crease\"; } ); prior = { y = { type = \"normal\"; form = \"diagonal\"; }; };",
    "input = [5]; flow = ( { layer = \"crease\"; }, { layer = \"affine\"; net = \"mlp\"; }, { "
    "layer "
    "= \"leaky\"; } );",
    "input = [16, 16, 1]; flow = ( { layer = \"quantize\"; bits = 5; }, { layer = \"squeeze\"; }, "
    "{ "
    "layer = \"actnorm\"; }, { layer = \"crease\"; }, { layer = \"affine\"; net = { type = "
    "\"openai\"; width = 6; }; }, { layer = \"invconv\"; }, { layer = \"crease\"; }, { layer = "
    "\"additive\"; net = { type = \"openai\"; width = 6; }; } );"
};
enum { TEXTS = 4, BATCH = 5 };

struct whole {
    struct model *m;
    const struct program_options *o;
    bool separate;
};
static glow_status describe_whole(struct program_graph *d, void *context)
{
    const struct whole *w = context;
    TRY(walk_describe(d, w->m, w->o));
    d->g->separate = w->separate;
    return GLOW_OK;
}

static uint64_t hash_of(struct whole *w)
{
    struct program *p;
    if (program_compile(&p, w->m, w->o->kind, BATCH, false, describe_whole, w) != GLOW_OK)
        ck_abort_msg("%s", fail_message());
    for (int i = 0; i < p->n_inputs; i++) {
        double *x = calloc((size_t)tensor_count(&p->inputs[i].tensor), sizeof *x);
        ck_assert_ptr_nonnull(x);
        rig_gauss(40 + (uint64_t)i, x, tensor_count(&p->inputs[i].tensor));
        rig_write(p, p->inputs[i].name, x);
        free(x);
    }
    rig_go(p);
    uint64_t h = w->o->kind == PROGRAM_TRAIN ? rig_hash_gradients(w->m) : 0;
    for (int i = 0; i < p->n_outputs; i++) h = 31 * h + rig_hash_output(p, p->outputs[i].name);
    bool fused = false;
    for (int64_t i = 0; i < p->n_steps; i++) fused |= p->steps[i].op == OP_FUSED;
    ck_assert(fused != w->separate);
    program_free(p);
    return h;
}

/* Forward, gradient and inverse programs: fused, the same bits. */
START_TEST(programs)
{
    rig_load("plugins/crease.c");
    rig_load("../examples/leaky.c");
    struct model *m = rig_model(texts[_i / 2], _i % 2 ? DT_F64 : DT_F32);
    rig_perturb(m, 0.1);
    ck_assert_int_eq(model_training_arenas(m, 0, false), GLOW_OK);
    for (int kind = PROGRAM_TRAIN; kind <= PROGRAM_SAMPLE; kind++)
        for (int memory = MEMORY_STORE; memory <= MEMORY_INVERT; memory++) {
            if (memory > MEMORY_STORE && kind != PROGRAM_TRAIN) continue;
            const struct program_options o = { .kind = (enum program_kind)kind,
                                               .batch = BATCH,
                                               .memory = (enum memory_policy)memory };
            struct whole fused = { m, &o, false }, apart = { m, &o, true };
            ck_assert_msg(hash_of(&fused) == hash_of(&apart), "%s, program %d, memory %d",
                          texts[_i / 2], kind, memory);
        }
    model_free(m);
}
END_TEST

/* What the arena of a GLOW holds does not grow by fusing, that of training a flow of elementwise
 * maths hardly, and to sample from one takes half. */
START_TEST(memory)
{
    const char *elementwise = "input = [32, 32, 3]; flow = ( { layer = \"crease\"; } );";
    rig_load("plugins/crease.c");
    for (int which = 0; which < 2; which++) {
        struct model *m = rig_model(which ? elementwise : rig_glow(32, 3, 3, 4, 64), DT_F32);
        for (int kind = PROGRAM_TRAIN; kind <= PROGRAM_SAMPLE; kind++) {
            const struct program_options o = { .kind = (enum program_kind)kind, .batch = 16 };
            struct bump names = { 0 };
            struct program_graph d = { .memory = &names };
            struct plan *before, *after;
            ck_assert_int_eq(walk_describe(&d, m, &o), GLOW_OK);
            ck_assert_int_eq(plan_make(&before, d.g, m->engine), GLOW_OK);
            ck_assert_int_eq(graph_fuse(&d.g), GLOW_OK);
            ck_assert_int_eq(plan_make(&after, d.g, m->engine), GLOW_OK);
            ck_assert_uint_lt(after->n_order, before->n_order);
            int64_t more = which && kind == PROGRAM_TRAIN ? before->arena_bytes / 20 : 0;
            ck_assert_msg(after->arena_bytes <= before->arena_bytes + more,
                          "model %d, program %d: %lld bytes, %lld before", which, kind,
                          (long long)after->arena_bytes, (long long)before->arena_bytes);
            if (which && kind == PROGRAM_SAMPLE)
                ck_assert_int_lt(2 * after->arena_bytes, before->arena_bytes + 4096);
            plan_free(before);
            plan_free(after);
            graph_free(d.g);
            free(d.inputs);
            free(d.outputs);
            bump_free(&names);
        }
        model_free(m);
    }
}
END_TEST

/* ---------------------------------------------------------------- what went wrong */

/* A NaN within a fused step is put down to the operation that made it, and to whose that is. */
START_TEST(culprits)
{
    char text[200];
    double x[BATCH * 64 * 3];
    rig_load("plugins/crease.c");
    struct model *m =
        rig_model("input = [8, 8, 3]; flow = ( { layer = \"crease\"; name = \"a\"; }, "
                  "{ layer = \"crease\"; name = \"b\"; } );",
                  DT_F32);
    struct program *p = rig_program(m, PROGRAM_ENCODE, BATCH);
    rig_gauss(1, x, BATCH * 64 * 3);
    rig_write(p, "x", x);
    ck_assert_ptr_null(program_find_nonfinite(p, 1, 1, 0, text, sizeof text));
    rig_set(m, "b.shift2", (const double[3]){ 0, NAN, 0 });
    ck_assert_ptr_nonnull(program_find_nonfinite(p, 1, 1, 0, text, sizeof text));
    ck_assert_str_eq(text, "b: add");
    rig_set(m, "b.shift2", (const double[3]){ 0, 0, 0 });
    rig_set(m, "a.logs1", (const double[3]){ 0, 0, 88.5 });
    rig_set(m, "a.logs2", (const double[3]){ 0, 0, 88.5 });
    ck_assert_ptr_nonnull(program_find_nonfinite(p, 1, 1, 0, text, sizeof text));
    ck_assert_str_eq(text, "a: mul");
    program_free(p);
    model_free(m);
}
END_TEST

int main(void)
{
    TCase *tests = rig_case("fuse");
    tcase_add_loop_test(tests, joined, 0, (int)GLOW_COUNT(joinings));
    tcase_add_loop_test(tests, limited, 0, (int)GLOW_COUNT(limits));
    tcase_add_loop_test(tests, programs, 0, 2 * TEXTS);
    tcase_add_test(tests, memory);
    tcase_add_test(tests, culprits);
    return rig_run(tests);
}

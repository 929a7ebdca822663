/* test_gradient.c - gradients of every operation against central differences in f64, and the
 * gradients of those gradients. The table must hold a case of each operation that has a rule. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "custom.h"
#include "rig.h"

enum { BATCH = 3, MAX_INPUTS = 12 };
#define STEP 1e-5

/* How far a case can be differentiated. */
enum {
    ONCE = 1, /* its gradient is an operation without a rule: a second time is an error */
    TWICE = 2,
    FLAT = 3, /* the derivative is 0, and no gradient is built */
    STOPS = 4 /* the derivative is not 0, the gradient is, by definition */
};

struct gradient_case {
    int op; /* OP_COUNT: a composite operation of the table that plug-ins call */
    /* Types of the inputs: "N2x3" is (2,3) batched, "N" a number per sample, "*" one for all, a
     * final H makes it HI, "-" is absent. An = in front: it is not differentiated. */
    const char *in;
    int order, n_ai;
    int64_t ai[16];
    double ad[3];
    const char *out; /* the output type, where ops.def wants one */
    double lo, hi;   /* range of the inputs; 0, 0: [-1, 1) */
    value_id (*build)(struct graph *, const value_id *in);
};

static struct model *model; /* of f64; its first instance calls the custom operations */

/* ---------------------------------------------------------------- cases that need more than a line
 */

static glow_value handle(struct graph *g, value_id v) { return graph_handle(g, v); }
static value_id opened(struct graph *g, glow_value v) { return graph_open_handle(g, v); }
#define GG ((struct glow_graph *)g)

static value_id softmax(struct graph *g, const value_id *in)
{
    return opened(g, g->op->softmax(GG, handle(g, in[0]), 1));
}
static value_id logsumexp(struct graph *g, const value_id *in)
{
    return opened(g, g->op->reduce(GG, GLOW_LOGSUMEXP, handle(g, in[0]), 2));
}
static value_id mean(struct graph *g, const value_id *in)
{
    return opened(g, g->op->reduce(GG, GLOW_MEAN, handle(g, in[0]), 3));
}
static value_id batch_mean(struct graph *g, const value_id *in)
{
    return opened(g, g->op->batch_mean(GG, handle(g, in[0])));
}
/* One value by three paths: adjoints add up. */
static value_id shared(struct graph *g, const value_id *in)
{
    value_id e = graph_unary(g, OP_EXP, in[0]);
    return graph_binary(g, OP_ADD, graph_binary(g, OP_MUL, e, in[0]), graph_unary(g, OP_SIN, e));
}
/* The gradient stops at its left factor only. */
static value_id half_stopped(struct graph *g, const value_id *in)
{
    return graph_binary(g, OP_MUL, graph_unary(g, OP_STOP, graph_unary(g, OP_EXP, in[1])), in[0]);
}

static value_id lu(struct graph *g, const value_id *in)
{
    const double perm[3] = { 2, 0, 1 }, sign[3] = { 1, -1, 1 };
    const struct glow_type t = { .dtype = GLOW_REAL, .rank = 1, .dim = { 3 } };
    value_id x[4] = { in[0], in[1] };
    x[2] = graph_add(g, &(struct op_call){ .op = OP_ARRAY, .n_ad = 3, .ad = perm, .type = &t });
    x[3] = graph_add(g, &(struct op_call){ .op = OP_ARRAY, .n_ad = 3, .ad = sign, .type = &t });
    value_id w = graph_op(g, OP_LU, 4, x, 0, NULL);
    return graph_op(g, OP_MATMUL, 2,
                    (value_id[2]){ w, graph_op(g, OP_TAKE, 1, (value_id[1]){ w + 1 }, 5,
                                               (int64_t[5]){ 1, 3, 2, 0, 1 }) },
                    2, (int64_t[2]){ 0, 0 });
}

/* Custom operations: both outputs are used; of `gate` the second alone with a, the first alone
 * without. */
static value_id call_custom(struct graph *g, const char *id, uint32_t n_in, uint32_t n_out,
                            const value_id *in, double attribute, value_id out[2])
{
    glow_value x[2] = { handle(g, in[0]), n_in > 1 ? handle(g, in[1]) : glow_none }, y[2];
    struct glow_custom_call c = { sizeof c, n_in, n_out, 1, id, x, &attribute, y };
    custom_call(g, g->model->layers[0].self, &c);
    out[0] = opened(g, y[0]);
    out[1] = n_out > 1 ? opened(g, y[1]) : 0;
    return out[0];
}
static value_id custom_with_vjp(struct graph *g, const value_id *in)
{
    value_id out[2];
    call_custom(g, "softclip", 1, 2, in, 0.3, out);
    return graph_binary(g, OP_MUL, out[0], graph_unary(g, OP_EXP, out[1]));
}
static value_id custom_without_vjp(struct graph *g, const value_id *in)
{
    value_id out[2];
    call_custom(g, "gate", 2, 2, in, 1.5, out);
    return graph_binary(g, OP_MUL, out[0], graph_unary(g, OP_EXP, out[1]));
}
static value_id custom_second_output(struct graph *g, const value_id *in)
{
    value_id out[2];
    call_custom(g, "gate", 2, 2, in, 1.5, out);
    return out[1];
}
static value_id custom_absent(struct graph *g, const value_id *in)
{
    value_id out[2];
    return call_custom(g, "gate", 2, 2, (value_id[2]){ in[0], 0 }, 1.5, out);
}
static value_id custom_decomposed(struct graph *g, const value_id *in)
{
    g->decompose = true;
    return custom_without_vjp(g, in);
}

/* ---------------------------------------------------------------- the table */

#define CASE(name, types, times, ...)                                                              \
    {                                                                                              \
        .op = OP_##name, .in = types, .order = times, ##__VA_ARGS__                                \
    }
#define AI(...)          .n_ai = GLOW_COUNT(((int64_t[]){ __VA_ARGS__ })), .ai = { __VA_ARGS__ }
#define UNARY(name)      CASE(name, "N2x3", TWICE)
#define POSITIVE(name)   CASE(name, "N2x3", TWICE, .lo = 0.3, .hi = 2)
#define BINARY(name, in) CASE(name, in, TWICE, .lo = 0.4, .hi = 2)

static const struct gradient_case cases[] = {
    CASE(ALIAS, "N2x3", TWICE, AI(12345)),
    CASE(SLICE, "N2x7", TWICE, AI(2, 1, 2, 3)),
    CASE(BROADCAST, "3", TWICE, .out = "N2x3"),
    CASE(BROADCAST, "N2x1", TWICE, .out = "N4x2x3"),
    CASE(BROADCAST, "*", TWICE, .out = "N2"),
    CASE(RESHAPE, "N2x6", TWICE, .out = "N3x4"),
    CASE(RESHAPE, "N1x2x1", TWICE, .out = "N2x1x1"),
    CASE(TRANSPOSE, "N2x3x4", TWICE, AI(0, 3, 1, 2)),
    UNARY(COPY),
    CASE(CAST, "N2x3", TWICE, AI(GLOW_HI)),
    CASE(CAST, "N2x3H", TWICE, AI(GLOW_REAL)),
    UNARY(NEG),
    UNARY(EXP),
    POSITIVE(LOG),
    POSITIVE(SQRT),
    UNARY(ABS),
    UNARY(SQUARE),
    POSITIVE(RECIP),
    UNARY(SIGMOID),
    UNARY(LOG_SIGMOID),
    UNARY(SOFTPLUS),
    UNARY(TANH),
    UNARY(RELU),
    UNARY(EXPM1),
    POSITIVE(LOG1P),
    UNARY(SIN),
    UNARY(COS),
    CASE(FLOOR, "N2x3", FLAT, .lo = 0.1, .hi = 0.9),
    CASE(SIGN, "N2x3", FLAT),
    CASE(STOP, "N2x3", STOPS),
    BINARY(ADD, "N2x3, N2x3"),
    BINARY(ADD, "N2x3, 3"),
    BINARY(ADD, "*, N2x3"),
    BINARY(ADD, "N2x1, 4x1x3"),
    BINARY(ADD, "N3, N2x3H"),
    BINARY(SUB, "N2x3, N2x3"),
    BINARY(SUB, "2x1, N1x3"),
    BINARY(SUB, "N, N2x3"),
    BINARY(MUL, "N2x3, N2x3"),
    BINARY(MUL, "N2x3, 2x1"),
    BINARY(MUL, "1x3, N2x1"),
    BINARY(MUL, "2x3, 2x3"),
    BINARY(MUL, "N2x3H, 3"),
    BINARY(DIV, "N2x3, N2x3"),
    BINARY(DIV, "*, N2x3"),
    BINARY(DIV, "N2x1, 1x3"),
    BINARY(POW, "N2x3, N2x3"),
    BINARY(POW, "N2x3, *"),
    BINARY(POW, "3, N2x1"),
    BINARY(MIN, "N2x3, N2x3"),
    BINARY(MIN, "N2x3, 3"),
    BINARY(MAX, "N2x3, N2x3"),
    BINARY(MAX, "2x1, N1x3"),
    CASE(LT, "N2x3, N2x3", FLAT),
    CASE(LE, "N2x3, 3", FLAT),
    CASE(GT, "N2x3, N2x3", FLAT),
    CASE(GE, "N2x3, N2x3", FLAT),
    CASE(EQ, "N2x3, N2x3", FLAT),
    CASE(WHERE, "=N2x3, N2x3, N2x3", TWICE),
    CASE(WHERE, "=N2x1, 3, *", TWICE),
    CASE(SUM, "N2x3", TWICE, AI(1 << 2, 0)),
    CASE(SUM, "N2x3", TWICE, AI(1 | 1 << 1, 1)),
    CASE(SUM, "2x3", TWICE, AI(1 << 1 | 1 << 2, 0)),
    CASE(REDUCE_MAX, "N4x3", TWICE, AI(1 << 1)),
    CASE(REDUCE_MIN, "N4x3", TWICE, AI(1 | 1 << 2)),
    CASE(CUMSUM, "N2x5", TWICE, AI(2, 0)),
    CASE(CUMSUM, "N3x2", TWICE, AI(1, 1)),
    CASE(PLACE, "N2x2, N2x3", TWICE, AI(2, 9, 1, 2, 2, 2, 3, 3)),
    CASE(PLACE, "2x2, N2x3", TWICE, AI(2, 5, 0, 1, 2, 2, 1, 3)),
    CASE(TAKE, "N3x2", TWICE, AI(1, 4, 2, 0, 2, 1)),
    CASE(TAKE_ADJ, "N4x2", TWICE, AI(1, 3, 4, 2, 0, 2, 1)),
    CASE(S2D, "N2x4x6", TWICE, AI(GLOW_ORDER_BLOCK)),
    CASE(S2D, "N2x4x2", TWICE, AI(GLOW_ORDER_CHANNEL)),
    CASE(D2S, "N8x2x3", TWICE, AI(GLOW_ORDER_BLOCK)),
    CASE(D2S, "N4x2x1", TWICE, AI(GLOW_ORDER_CHANNEL)),
    CASE(MATC, "N3x2x2, 4x3", TWICE, AI(0)),
    CASE(MATC, "N3, 3x4", TWICE, AI(1)),
    CASE(MATC_DW, "N4x2x2, N3x2x2", TWICE),
    CASE(MATMUL, "N2x3, N3x4", TWICE, AI(0, 0)),
    CASE(MATMUL, "N5x3x2, 3x4", TWICE, AI(1, 0)),
    CASE(MATMUL, "2x3, N5x4x3", TWICE, AI(0, 1)),
    CASE(MATMUL, "N3x2, N4x3", TWICE, AI(1, 1)),
    CASE(CONV, "N2x4x3, 3x2x3x3", TWICE, AI(0)),
    CASE(CONV, "N2x4x3, 3x3x3x3", TWICE, AI(1)),
    CASE(CONV, "N2x3x3, 2x2x1x3", TWICE, AI(0)),
    CASE(CONV_DX, "N3x4x3, 3x2x3x3", TWICE, AI(0)),
    CASE(CONV_DX, "N3x4x3, 3x3x3x3", TWICE, AI(1)),
    CASE(CONV_DW, "N2x4x3, N3x4x3", TWICE, AI(0, 3, 3)),
    CASE(CONV_DW, "N2x4x3, N3x4x3", TWICE, AI(1, 3, 1)),
    CASE(CHAIN, "N2x4x3, 3x3x3x3, 3, 3, 4x3x1x1, -, -, 2x5x3x3, 2, 2", ONCE,
         AI(3, 3, 1, GLOW_ACT_RELU, 1, 0, GLOW_ACT_TANH, 3, 1, GLOW_ACT_NONE), .ad = { 3, 1, 0.5 }),
    CASE(CHAIN, "N2x3x3, 3x2x3x3, 3, -", ONCE, AI(1, 3, 0, GLOW_ACT_SIGMOID)),
    CASE(LU, "3x3, 3", ONCE, .build = lu),
    CASE(SLOGDET, "3x3", TWICE, .lo = 0.2, .hi = 3),
    CASE(INVERSE, "3x3", TWICE, .lo = 0.2, .hi = 3),
    CASE(CUSTOM, "N2x3", TWICE, .build = custom_with_vjp),
    CASE(CUSTOM, "N2x3, N2x3", TWICE, .build = custom_without_vjp),
    CASE(CUSTOM, "N2x3, N2x3", TWICE, .build = custom_second_output),
    CASE(CUSTOM, "N2x3", TWICE, .build = custom_absent),
    CASE(COUNT, "N2x3, N2x3", TWICE, .build = custom_decomposed),
    CASE(COUNT, "N2x3", TWICE, .build = softmax),
    CASE(COUNT, "N2x3", TWICE, .build = logsumexp),
    CASE(COUNT, "N2x3", TWICE, .build = mean),
    CASE(COUNT, "N2x3", TWICE, .build = batch_mean),
    CASE(COUNT, "N2x3", TWICE, .build = shared),
    CASE(COUNT, "N2x3, =N2x3", TWICE, .build = half_stopped),
};

/* ---------------------------------------------------------------- one case as a program */

struct built {
    const struct gradient_case *of;
    struct glow_type type[MAX_INPUTS];
    bool fixed[MAX_INPUTS], absent[MAX_INPUTS];
    int n_in;
    bool twice, met; /* met: the graph holds a node of the operation */
};

static const char *read_type(const char *text, struct glow_type *t)
{
    *t = (struct glow_type){ .dtype = GLOW_REAL };
    if (*text == '*') return text + 1;
    if (*text == 'N') {
        t->batched = 1;
        text++;
    }
    while (*text >= '0' && *text <= '9') {
        char *end;
        t->dim[t->rank++] = strtoll(text, &end, 10);
        text = *end == 'x' ? end + 1 : end;
    }
    if (*text == 'H') {
        t->dtype = GLOW_HI;
        text++;
    }
    return text;
}

static void read_inputs(struct built *b)
{
    for (const char *text = b->of->in; *text; text += strspn(text, " ,")) {
        int i = b->n_in++;
        ck_assert_int_lt(i, MAX_INPUTS);
        if ((b->absent[i] = *text == '-')) {
            text++;
            continue;
        }
        if ((b->fixed[i] = *text == '=')) text++;
        text = read_type(text, &b->type[i]);
    }
}

/* sum of v times numbers that differ for each of its elements */
static value_id weighted_sum(struct program_graph *p, const char *name, value_id v)
{
    const struct glow_type t = graph_value(p->g, v)->type;
    struct glow_type weight = t;
    weight.dtype = GLOW_REAL;
    value_id r = program_graph_input(p, "", name, &weight);
    int64_t all = ((int64_t)2 << t.rank) - 1;
    return graph_reshape(p->g, graph_sum(p->g, graph_binary(p->g, OP_MUL, v, r), all, true), 0,
                         NULL);
}

static value_id build_op(struct graph *g, const struct built *b, const value_id *in)
{
    struct glow_type out;
    const struct gradient_case *c = b->of;
    if (c->build) return c->build(g, in);
    struct op_call call = {
        .op = c->op, .n_in = (uint32_t)b->n_in, .in = in, .n_ai = (uint32_t)c->n_ai, .ai = c->ai
    };
    if (c->op == OP_CHAIN) {
        call.n_ad = (uint32_t)c->ai[0];
        call.ad = c->ad;
    }
    if (c->out) {
        read_type(c->out, &out);
        call.type = &out;
    }
    return graph_add(g, &call);
}

/* s, its gradients g0.., then s2, the weighted sum of those, and its gradients h0.. */
static glow_status describe(struct program_graph *p, void *context)
{
    struct built *b = context;
    value_id in[MAX_INPUTS], wrt[MAX_INPUTS], g1[MAX_INPUTS], g2[MAX_INPUTS], s2 = 0;
    char name[16];
    TRY(graph_new(&p->g, model, model->backend, DT_F64, BATCH, 0));
    struct graph *g = p->g;
    for (int i = 0; i < b->n_in; i++) {
        snprintf(name, sizeof name, "x%d", i);
        in[i] = b->absent[i] ? 0 : program_graph_input(p, "", name, &b->type[i]);
        wrt[i] = b->fixed[i] ? 0 : in[i];
    }
    value_id y = build_op(g, b, in), one = graph_constant(g, 1);
    if (y == GRAPH_ERROR) return g->status;
    for (uint32_t k = 1; k < g->n_nodes; k++) b->met |= g->nodes[k].op == b->of->op;
    value_id s = weighted_sum(p, "r", y);
    TRY(program_graph_output(p, "", "s", s));
    TRY(graph_gradient(g, 1, &s, &one, (uint32_t)b->n_in, wrt, g1));
    for (int i = 0; i < b->n_in; i++) {
        if (!g1[i]) continue;
        ck_assert(type_equal(&graph_value(g, g1[i])->type, &b->type[i]));
        snprintf(name, sizeof name, "g%d", i);
        TRY(program_graph_output(p, "", name, g1[i]));
        if (!b->twice) continue;
        snprintf(name, sizeof name, "q%d", i);
        value_id part = weighted_sum(p, name, g1[i]);
        s2 = s2 ? graph_binary(g, OP_ADD, s2, part) : part;
    }
    if (!b->twice || !s2) return g->status;
    TRY(program_graph_output(p, "", "s2", s2));
    TRY(graph_gradient(g, 1, &s2, &one, (uint32_t)b->n_in, wrt, g2));
    for (int i = 0; i < b->n_in; i++) {
        snprintf(name, sizeof name, "h%d", i);
        TRY(program_graph_output(p, "", name, g2[i]));
    }
    return g->status;
}

/* ---------------------------------------------------------------- against differences */

static double *fill(const struct gradient_case *c, struct tensor *t, uint64_t stream)
{
    double lo = c->hi > c->lo ? c->lo : -1, hi = c->hi > c->lo ? c->hi : 1;
    rig_uniform(stream, lo, hi, t->data, tensor_count(t));
    return t->data;
}

/* d `sum` / dx_i from the program's output `name` against differences; absent means 0. */
static void check_input(struct program *p, const struct built *b, int i, const char *sum,
                        const char *prefix)
{
    char name[16];
    snprintf(name, sizeof name, "x%d", i);
    struct tensor *x = program_input(p, name);
    snprintf(name, sizeof name, "%s%d", prefix, i);
    const struct tensor *g = program_output(p, name);
    int64_t n = tensor_count(x);
    double *at = x->data, *want = calloc((size_t)n, sizeof *want);
    ck_assert_ptr_nonnull(want);
    rig_go(p);
    if (g) program_read(p, g, g->dim[0], want);
    for (int64_t k = 0; k < n; k++) {
        double keep = at[k], s[2];
        for (int side = 0; side < 2; side++) {
            at[k] = keep + (side ? -STEP : STEP);
            rig_go(p);
            s[side] = program_scalar(p, sum);
        }
        at[k] = keep;
        double numeric = (s[0] - s[1]) / (2 * STEP);
        if (b->of->order == STOPS) {
            if (g || fabs(numeric) < 1e-3) ck_abort_msg("a gradient through stop");
        } else if (!(fabs(numeric - want[k]) <= 1e-6 * (1 + fabs(want[k]))))
            ck_abort_msg("%s, %s: %s%d[%lld] is %.12g, differences say %.12g",
                         b->of->op < OP_COUNT ? op_names[b->of->op] : "composite", b->of->in,
                         prefix, i, (long long)k, want[k], numeric);
    }
    free(want);
}

static void check(const struct gradient_case *c)
{
    struct program *p;
    struct built b = { .of = c, .twice = c->order == TWICE };
    read_inputs(&b);
    if (program_compile(&p, model, 0, BATCH, false, describe, &b) != GLOW_OK)
        ck_abort_msg("%s, %s: %s", c->op < OP_COUNT ? op_names[c->op] : "composite", c->in,
                     fail_message());
    ck_assert_msg(c->op == OP_COUNT || b.met, "no node of %s", op_names[c->op]);
    for (int i = 0; i < p->n_inputs; i++) fill(c, &p->inputs[i].tensor, 7 + (uint64_t)i);
    for (int i = 0; i < b.n_in; i++) {
        if (b.absent[i] || b.fixed[i]) continue;
        check_input(p, &b, i, "s", "g");
        if (program_output(p, "s2")) check_input(p, &b, i, "s2", "h");
    }
    if (c->order == FLAT || c->order == STOPS) ck_assert_ptr_null(program_output(p, "g0"));
    program_free(p);
    if (c->order != ONCE) return;
    b.twice = true; /* the gradient's own gradient is an error that names the operation */
    b.n_in = 0;
    read_inputs(&b);
    ck_assert_int_eq(program_compile(&p, model, 0, BATCH, false, describe, &b), GLOW_ENOTSUP);
    rig_message("_vjp has no gradient");
}

static void setup(void)
{
    rig_load("../examples/softclip.c");
    rig_load("plugins/gate.c");
    model = rig_model("input = [2]; flow = ( { layer = \"actnorm\"; } );", DT_F64);
}

static void teardown(void) { model_free(model); }

START_TEST(differences) { check(&cases[_i]); }
END_TEST

/* What has a rule and inputs has a case; what has none is known. */
START_TEST(complete)
{
    for (int op = 0; op < OP_COUNT; op++) {
        bool leaf = op_classes[op] == CLASS_LEAF || op_classes[op] == CLASS_FILL, found = leaf;
        if (op == OP_PACK || op == OP_UNPACK) continue; /* of a packed parameter: test_packing.c */
        for (size_t i = 0; i < GLOW_COUNT(cases) && !found; i++) found = cases[i].op == op;
        bool without = op == OP_CHAIN_VJP || op == OP_LU_VJP || op == OP_FUSED;
        ck_assert_msg(graph_has_gradient(op) == !without, "%s", op_names[op]);
        ck_assert_msg(found == !without, "no case of %s", op_names[op]);
    }
}
END_TEST

/* ---------------------------------------------------------------- what the interface promises */

static struct graph *new_graph(void)
{
    struct graph *g;
    ck_assert_int_eq(graph_new(&g, model, model->backend, DT_F64, BATCH, 0), GLOW_OK);
    return g;
}

/* Absent seeds leave an output out; what y does not depend on has no gradient; a gradient does not
 * look behind wrt. */
START_TEST(absences)
{
    struct graph *g = new_graph();
    const struct glow_type t = { .dtype = GLOW_REAL, .batched = 1, .rank = 1, .dim = { 2 } };
    value_id x = graph_input(g, 0, &t), z = graph_input(g, 1, &t), one = graph_constant(g, 1);
    value_id e = graph_unary(g, OP_EXP, x), s = graph_unary(g, OP_SIN, e);
    value_id gradient[3];
    const value_id nothing = 0;
    ck_assert_int_eq(graph_gradient(g, 1, &s, &nothing, 1, &x, gradient), GLOW_OK);
    ck_assert_uint_eq(gradient[0], 0);
    ck_assert_int_eq(graph_gradient(g, 1, &nothing, &one, 1, &x, gradient), GLOW_OK);
    ck_assert_uint_eq(gradient[0], 0);
    ck_assert_int_eq(graph_gradient(g, 1, &s, &one, 3, (value_id[3]){ x, z, e }, gradient),
                     GLOW_OK);
    ck_assert_uint_eq(gradient[0], 0); /* e stands between s and x */
    ck_assert_uint_eq(gradient[1], 0);
    ck_assert_uint_ne(gradient[2], 0);
    ck_assert_int_eq(graph_gradient(g, 1, &s, &one, 2, (value_id[2]){ x, 0 }, gradient), GLOW_OK);
    ck_assert_uint_ne(gradient[0], 0);
    ck_assert_uint_eq(gradient[1], 0);
    graph_free(g);
}
END_TEST

/* The gradient at ties: MIN and MAX give all to the first, an extremum shares, RELU and ABS give 0
 * at 0. */
static glow_status describe_ties(struct program_graph *p, void *context)
{
    const struct glow_type t = { .dtype = GLOW_REAL, .batched = 1, .rank = 1, .dim = { 4 } };
    static const int ops[4] = { OP_MIN, OP_MAX, OP_RELU, OP_ABS };
    (void)context;
    TRY(graph_new(&p->g, model, model->backend, DT_F64, 1, 0));
    struct graph *g = p->g;
    value_id one = graph_constant(g, 1), x = program_graph_input(p, "", "x", &t);
    value_id z = program_graph_input(p, "", "z", &t), gradient[2];
    for (int i = 0; i < 4; i++) {
        char name[16];
        value_id y = i < 2 ? graph_binary(g, ops[i], x, z) : graph_unary(g, ops[i], x);
        TRY(graph_gradient(g, 1, &y, &one, 2, (value_id[2]){ x, z }, gradient));
        for (int k = 0; k < 2; k++) {
            snprintf(name, sizeof name, "%d%c", i, "xz"[k]);
            TRY(program_graph_output(p, "", name, gradient[k]));
        }
    }
    int64_t axis = 2;
    value_id y = graph_op(g, OP_REDUCE_MAX, 1, &x, 1, &axis);
    TRY(graph_gradient(g, 1, &y, &one, 1, &x, gradient));
    return program_graph_output(p, "", "max", gradient[0]);
}

START_TEST(ties)
{
    static const struct {
        const char *name;
        double want[4];
    } wants[] = { { "0x", { 1, 1, 1, 1 } },
                  { "0z", { 0, 0, 0, 0 } },
                  { "1x", { 1, 1, 1, 1 } },
                  { "1z", { 0, 0, 0, 0 } },
                  { "2x", { 0, 0, 0, 0 } },
                  { "3x", { 0, 0, 0, 0 } },
                  { "max", { 0.25, 0.25, 0.25, 0.25 } } };
    struct program *p;
    double got[4];
    ck_assert_int_eq(program_compile(&p, model, 0, 1, false, describe_ties, NULL), GLOW_OK);
    rig_go(p); /* inputs are zeroed: everything is equal */
    for (size_t i = 0; i < GLOW_COUNT(wants); i++) {
        rig_read(p, wants[i].name, got);
        for (int k = 0; k < 4; k++)
            ck_assert_msg(got[k] == wants[i].want[k], "%s: %g", wants[i].name, got[k]);
    }
    program_free(p);
}
END_TEST

int main(void)
{
    TCase *tests = rig_case("gradient");
    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_add_loop_test(tests, differences, 0, GLOW_COUNT(cases));
    tcase_add_test(tests, complete);
    tcase_add_test(tests, absences);
    tcase_add_test(tests, ties);
    return rig_run(tests);
}

/* optable.c - the operation table that plug-ins call: checks handles and arguments, then adds
 * nodes. Composite operations (mean, softmax, logsumexp) are written here in terms of the others.
 */
#include <string.h>
#include "custom.h"
#include "graph.h"
#include "model.h"
#include "philox.h"

typedef struct glow_graph *G;
#define OPEN(h) graph_open_handle(graph_of(gg), h)
#define SHUT(v) graph_handle(graph_of(gg), v)
static const glow_value error_value = { UINT64_MAX };

static glow_value op_fail(G gg, const char *why)
{
    return SHUT(graph_fail(graph_of(gg), GLOW_EINVAL, "%s", why ? why : "failed without a reason"));
}

static int32_t op_type(G gg, glow_value v, struct glow_type *t)
{
    struct graph *g = graph_of(gg);
    memset(t, 0, sizeof *t);
    if (v.id == 0 || GLOW_IS_ERROR(v)) return GLOW_EINVAL;
    value_id x = graph_open_handle(g, v);
    if (x == GRAPH_ERROR) return GLOW_EINVAL;
    *t = graph_value(g, x)->type;
    return GLOW_OK;
}

static uint32_t op_phase(G gg) { return graph_of(gg)->phase; }

/* ---------------------------------------------------------------- leaves */

static glow_value op_constant(G gg, double c) { return SHUT(graph_constant(graph_of(gg), c)); }

static glow_value op_array(G gg, const struct glow_type *t, const double *data)
{
    struct graph *g = graph_of(gg);
    struct glow_type type = *t;
    if (type.batched) return op_fail(gg, "array: a constant can't be batched");
    if (type.dtype != GLOW_HI) type.dtype = GLOW_REAL;
    int64_t n = type.rank < 0 || type.rank > GLOW_MAX_RANK ? -1 : type_count(&type);
    if (n < 1 || n > UINT16_MAX)
        return op_fail(gg, "array: 1 to 65535 elements; larger ones are parameters");
    struct op_call c = { .op = OP_ARRAY, .n_ad = (uint32_t)n, .ad = data, .type = &type };
    return SHUT(graph_add(g, &c));
}

static glow_value op_param(G gg, const struct glow_self *self, const struct glow_param *p)
{
    struct graph *g = graph_of(gg);
    if (g->status != GLOW_OK) return error_value;
    int index = model_param(g->model, instance_of(self), p);
    if (index < 0) {
        g->status = GLOW_EINVAL;
        return error_value;
    }
    if ((uint32_t)index < g->cap_assigned && g->assigned[index]) return SHUT(g->assigned[index]);
    return SHUT(graph_param(g, index));
}

static glow_value op_init_from(G gg, glow_value param, glow_value value)
{
    struct graph *g = graph_of(gg);
    if (!(g->phase & GLOW_PHASE_INIT)) return param;
    value_id p = OPEN(param), v = OPEN(value);
    if (p == GRAPH_ERROR || v == GRAPH_ERROR) return error_value;
    if (!p || !v || graph_maker(g, p)->op != OP_PARAM)
        return op_fail(
            gg, "init_from: the first argument is no parameter, or it was initialised already");
    const struct glow_type *want = &graph_value(g, p)->type, *have = &graph_value(g, v)->type;
    if (have->batched || type_count(want) != type_count(have)) {
        char a[96], b[96];
        return SHUT(graph_fail(g, GLOW_EINVAL, "init_from: parameter %s from %s",
                               type_text(want, a, sizeof a), type_text(have, b, sizeof b)));
    }
    v = graph_cast(g, graph_reshape(g, v, want->rank, want->dim), GLOW_REAL);
    if (v == GRAPH_ERROR) return error_value;
    int64_t index = graph_maker(g, p)->ai[0];
    if (!g->assigned) {
        g->cap_assigned = (uint32_t)g->model->n_params;
        g->assigned = bump_alloc(&g->memory, g->cap_assigned * sizeof *g->assigned);
        if (!g->assigned) {
            g->status = fail_memory(g->cap_assigned * sizeof *g->assigned, "initialisation");
            return error_value;
        }
    }
    g->assigned[index] = v;
    graph_bind(g, BIND_ASSIGN, (int32_t)index, v);
    return SHUT(v);
}

static glow_value op_random(G gg, const struct glow_self *self, const char *slot, uint32_t dist,
                            const struct glow_type *type)
{
    struct graph *g = graph_of(gg);
    const struct instance *who = instance_of(self);
    struct glow_type t = *type;
    if (dist < GLOW_UNIFORM || dist > GLOW_SIGNS || !slot)
        return op_fail(gg, "random: unknown distribution or no slot");
    t.dtype = GLOW_REAL;
    t.batched = !!t.batched;
    uint64_t name = hash_string(slot);
    uint32_t i = 0;
    while (i < g->n_draws && !(g->draws[i].who == who && g->draws[i].slot == name)) i++;
    if (i == g->n_draws) {
        if (i == g->cap_draws) {
            uint32_t cap = g->cap_draws ? 2 * g->cap_draws : 8;
            struct draw *fresh = bump_alloc(&g->memory, cap * sizeof *fresh);
            if (!fresh) return op_fail(gg, "random: out of memory");
            if (i) memcpy(fresh, g->draws, i * sizeof *fresh);
            g->draws = fresh;
            g->cap_draws = cap;
        }
        g->draws[g->n_draws++] = (struct draw){ who, name, 0 };
    }
    uint64_t key = hash_mix(hash_string(self->path) ^ hash_mix(name + g->draws[i].count++));
    int64_t ai[3] = { dist, (int64_t)key, t.batched };
    return SHUT(
        graph_add(g, &(struct op_call){ .op = OP_RANDOM, .n_ai = 3, .ai = ai, .type = &t }));
}

/* ---------------------------------------------------------------- elementwise */

static const uint8_t unary_ops[GLOW_UNARY_END] = {
    [GLOW_NEG] = OP_NEG,           [GLOW_EXP] = OP_EXP,         [GLOW_LOG] = OP_LOG,
    [GLOW_SQRT] = OP_SQRT,         [GLOW_ABS] = OP_ABS,         [GLOW_SQUARE] = OP_SQUARE,
    [GLOW_RECIP] = OP_RECIP,       [GLOW_SIGMOID] = OP_SIGMOID, [GLOW_LOG_SIGMOID] = OP_LOG_SIGMOID,
    [GLOW_SOFTPLUS] = OP_SOFTPLUS, [GLOW_TANH] = OP_TANH,       [GLOW_RELU] = OP_RELU,
    [GLOW_EXPM1] = OP_EXPM1,       [GLOW_LOG1P] = OP_LOG1P,     [GLOW_SIN] = OP_SIN,
    [GLOW_COS] = OP_COS,           [GLOW_FLOOR] = OP_FLOOR,     [GLOW_SIGN] = OP_SIGN,
    [GLOW_STOP] = OP_STOP
};
static const uint8_t binary_ops[GLOW_BINARY_END] = {
    [GLOW_ADD] = OP_ADD, [GLOW_SUB] = OP_SUB, [GLOW_MUL] = OP_MUL, [GLOW_DIV] = OP_DIV,
    [GLOW_POW] = OP_POW, [GLOW_MIN] = OP_MIN, [GLOW_MAX] = OP_MAX, [GLOW_LT] = OP_LT,
    [GLOW_LE] = OP_LE,   [GLOW_GT] = OP_GT,   [GLOW_GE] = OP_GE,   [GLOW_EQ] = OP_EQ
};

/* An op of the core as a call from a plug-in: absent operands are errors here, not absences. */
static value_id call(G gg, int op, uint32_t n, const value_id *in, uint32_t n_ai, const int64_t *ai)
{
    return graph_op(graph_of(gg), op, n, in, n_ai, ai);
}

static glow_value op_unary(G gg, uint32_t code, glow_value a)
{
    value_id x = OPEN(a);
    if (code >= GLOW_UNARY_END || !unary_ops[code])
        return op_fail(gg, "unary: a code that this version does not know");
    return SHUT(call(gg, unary_ops[code], 1, &x, 0, NULL));
}

static glow_value op_binary(G gg, uint32_t code, glow_value a, glow_value b)
{
    value_id in[2] = { OPEN(a), OPEN(b) };
    if (code >= GLOW_BINARY_END || !binary_ops[code])
        return op_fail(gg, "binary: a code that this version does not know");
    return SHUT(call(gg, binary_ops[code], 2, in, 0, NULL));
}

static glow_value op_where(G gg, glow_value cond, glow_value a, glow_value b)
{
    value_id in[3] = { OPEN(cond), OPEN(a), OPEN(b) };
    return SHUT(call(gg, OP_WHERE, 3, in, 0, NULL));
}

static glow_value op_cast(G gg, glow_value a, uint32_t dtype)
{
    value_id x = OPEN(a);
    int64_t to = dtype;
    return SHUT(call(gg, OP_CAST, 1, &x, 1, &to));
}

/* ---------------------------------------------------------------- reductions */

/* The bits of `axes` that x has, as a mask of ops.def (bit 0 is the batch). */
static int64_t sample_axes(const struct glow_type *t, uint32_t axes)
{
    return (int64_t)(axes & ((1u << t->rank) - 1)) << 1;
}

static value_id reduced(struct graph *g, uint32_t code, value_id x, int64_t mask)
{
    const struct glow_type t = graph_value(g, x)->type;
    switch (code) {
    case GLOW_SUM: return graph_sum(g, x, mask, false);
    case GLOW_MEAN: {
        double n = 1;
        for (int i = 0; i < t.rank; i++)
            if (mask >> (i + 1) & 1) n *= (double)t.dim[i];
        return graph_binary(g, OP_MUL, graph_sum(g, x, mask, false), graph_constant(g, 1 / n));
    }
    case GLOW_REDUCE_MAX: return graph_op(g, OP_REDUCE_MAX, 1, &x, 1, &mask);
    case GLOW_REDUCE_MIN: return graph_op(g, OP_REDUCE_MIN, 1, &x, 1, &mask);
    case GLOW_LOGSUMEXP: { /* shifted by the maximum, which is kept finite */
        value_id m = graph_op(g, OP_REDUCE_MAX, 1, &x, 1, &mask);
        m = graph_unary(g, OP_STOP, graph_binary(g, OP_MAX, m, graph_constant(g, -1e30)));
        value_id e = graph_unary(g, OP_EXP, graph_binary(g, OP_SUB, x, m));
        return graph_binary(g, OP_ADD, graph_unary(g, OP_LOG, graph_sum(g, e, mask, false)), m);
    }
    default: return graph_fail(g, GLOW_EINVAL, "reduce: a code that this version does not know");
    }
}

static glow_value op_reduce(G gg, uint32_t code, glow_value a, uint32_t axes)
{
    struct graph *g = graph_of(gg);
    value_id x = OPEN(a);
    if (x == GRAPH_ERROR) return error_value;
    if (!x) return op_fail(gg, "reduce: the value is absent");
    const struct glow_type t = graph_value(g, x)->type;
    if (axes != UINT32_MAX && axes >> t.rank)
        return op_fail(gg, "reduce: an axis that the value does not have");
    int64_t mask = sample_axes(&t, axes);
    value_id y = mask || axes == UINT32_MAX ? reduced(g, code, x, mask) : x;
    if (mask == sample_axes(&t, UINT32_MAX)) y = graph_reshape(g, y, 0, NULL);
    return SHUT(y);
}

static bool good_axis(G gg, value_id x, int32_t axis, const char *op)
{
    struct graph *g = graph_of(gg);
    if (x == GRAPH_ERROR) return false;
    if (x && axis >= 0 && axis < graph_value(g, x)->type.rank) return true;
    char text[96] = "an absent value";
    if (x) type_text(&graph_value(g, x)->type, text, sizeof text);
    graph_fail(g, GLOW_EINVAL, "%s: axis %d of %s", op, axis, text);
    return false;
}

static glow_value op_cumsum(G gg, glow_value a, int32_t axis)
{
    value_id x = OPEN(a);
    if (!good_axis(gg, x, axis, "cumsum")) return error_value;
    return SHUT(call(gg, OP_CUMSUM, 1, &x, 2, (int64_t[2]){ axis + 1, 0 }));
}

static glow_value op_softmax(G gg, glow_value a, int32_t axis)
{
    struct graph *g = graph_of(gg);
    value_id x = OPEN(a);
    if (!good_axis(gg, x, axis, "softmax")) return error_value;
    int64_t mask = (int64_t)1 << (axis + 1);
    value_id m = graph_unary(g, OP_STOP, graph_op(g, OP_REDUCE_MAX, 1, &x, 1, &mask));
    value_id e = graph_unary(g, OP_EXP, graph_binary(g, OP_SUB, x, m));
    return SHUT(graph_binary(g, OP_DIV, e, graph_sum(g, e, mask, false)));
}

static glow_value op_batch_mean(G gg, glow_value a)
{
    struct graph *g = graph_of(gg);
    value_id x = OPEN(a);
    if (x == GRAPH_ERROR) return error_value;
    if (!x) return op_fail(gg, "batch_mean: the value is absent");
    if (!graph_value(g, x)->type.batched) return a;
    return SHUT(graph_binary(g, OP_MUL, graph_sum(g, x, 1, false),
                             graph_constant(g, 1.0 / (double)g->batch)));
}

/* ---------------------------------------------------------------- layout */

static glow_value op_reshape(G gg, glow_value a, int32_t rank, const int64_t *dim)
{
    value_id x = OPEN(a);
    return x ? SHUT(graph_reshape(graph_of(gg), x, rank, dim))
             : op_fail(gg, "reshape: the value is absent");
}

static glow_value op_transpose(G gg, glow_value a, const int32_t *axes)
{
    struct graph *g = graph_of(gg);
    value_id x = OPEN(a);
    if (x == GRAPH_ERROR) return error_value;
    if (!x) return op_fail(gg, "transpose: the value is absent");
    int64_t ai[MAX_DIMS] = { 0 };
    int rank = graph_value(g, x)->type.rank;
    for (int i = 0; i < rank; i++) ai[i + 1] = (int64_t)axes[i] + 1;
    return SHUT(call(gg, OP_TRANSPOSE, 1, &x, (uint32_t)rank + 1, ai));
}

static glow_value op_broadcast(G gg, glow_value a, int32_t rank, const int64_t *dim)
{
    struct graph *g = graph_of(gg);
    value_id x = OPEN(a);
    if (x == GRAPH_ERROR) return error_value;
    if (!x || rank < 0 || rank > GLOW_MAX_RANK)
        return op_fail(gg, "broadcast: the value is absent, or a wrong rank");
    struct glow_type t = { .batched = graph_value(g, x)->type.batched, .rank = rank };
    for (int i = 0; i < rank; i++) t.dim[i] = dim[i];
    return SHUT(graph_broadcast(g, x, &t));
}

static glow_value op_slice(G gg, glow_value a, int32_t axis, int64_t start, int64_t step, int64_t n)
{
    value_id x = OPEN(a);
    if (!good_axis(gg, x, axis, "slice")) return error_value;
    return SHUT(call(gg, OP_SLICE, 1, &x, 4, (int64_t[4]){ axis + 1, start, step, n }));
}

#define MAX_PARTS 64
static glow_value op_concat(G gg, int32_t axis, uint32_t n, const glow_value *parts)
{
    struct graph *g = graph_of(gg);
    value_id in[MAX_PARTS];
    int64_t ai[2 + 3 * MAX_PARTS] = { axis + 1, 0 };
    if (n < 1 || n > MAX_PARTS) return op_fail(gg, "concat: 1 to 64 parts");
    for (uint32_t i = 0; i < n; i++) {
        in[i] = OPEN(parts[i]);
        if (!good_axis(gg, in[i], axis, "concat")) return error_value;
        int64_t extent = graph_value(g, in[i])->type.dim[axis], *part = ai + 2 + 3 * i;
        part[0] = ai[1];
        part[1] = 1;
        part[2] = extent;
        ai[1] += extent;
    }
    return n == 1 ? parts[0] : SHUT(call(gg, OP_PLACE, n, in, 2 + 3 * n, ai));
}

static glow_value op_pad(G gg, glow_value a, int32_t axis, int64_t before, int64_t after)
{
    struct graph *g = graph_of(gg);
    value_id x = OPEN(a);
    if (!good_axis(gg, x, axis, "pad")) return error_value;
    if (before < 0 || after < 0) return op_fail(gg, "pad: a negative width");
    int64_t n = graph_value(g, x)->type.dim[axis];
    return SHUT(
        call(gg, OP_PLACE, 1, &x, 5, (int64_t[5]){ axis + 1, before + n + after, before, 1, n }));
}

static glow_value op_take(G gg, glow_value a, int32_t axis, int64_t n, const int64_t *index)
{
    struct graph *g = graph_of(gg);
    value_id x = OPEN(a);
    if (!good_axis(gg, x, axis, "take")) return error_value;
    if (n < 1 || n > 1 << 24) return op_fail(gg, "take: an empty list, or one that is too long");
    int64_t *ai = bump_alloc(&g->memory, (size_t)(n + 2) * sizeof *ai);
    if (!ai) return op_fail(gg, "take: out of memory");
    ai[0] = axis + 1;
    ai[1] = n;
    memcpy(ai + 2, index, (size_t)n * sizeof *ai);
    return SHUT(call(gg, OP_TAKE, 1, &x, (uint32_t)n + 2, ai));
}

static glow_value squeeze(G gg, int op, glow_value a, int32_t order)
{
    value_id x = OPEN(a);
    int64_t ai = order;
    if (order != GLOW_ORDER_BLOCK && order != GLOW_ORDER_CHANNEL)
        return op_fail(gg, "space_to_depth: an unknown order");
    return SHUT(call(gg, op, 1, &x, 1, &ai));
}
static glow_value op_space_to_depth(G gg, glow_value a, int32_t order)
{
    return squeeze(gg, OP_S2D, a, order);
}
static glow_value op_depth_to_space(G gg, glow_value a, int32_t order)
{
    return squeeze(gg, OP_D2S, a, order);
}

/* ---------------------------------------------------------------- products */

static glow_value op_matmul(G gg, glow_value a, glow_value b, uint32_t flags)
{
    value_id in[2] = { OPEN(a), OPEN(b) };
    return SHUT(call(gg, OP_MATMUL, 2, in, 2,
                     (int64_t[2]){ !!(flags & GLOW_TRANSPOSE_A), !!(flags & GLOW_TRANSPOSE_B) }));
}

static glow_value op_matmul_channels(G gg, glow_value x, glow_value w, int32_t transposed)
{
    value_id in[2] = { OPEN(x), OPEN(w) };
    return SHUT(call(gg, OP_MATC, 2, in, 1, (int64_t[1]){ !!transposed }));
}

static glow_value op_conv2d(G gg, glow_value x, glow_value w, uint32_t flags)
{
    value_id in[2] = { OPEN(x), OPEN(w) };
    return SHUT(call(gg, OP_CONV, 2, in, 1, (int64_t[1]){ !!(flags & GLOW_EDGE_BIAS) }));
}

#define MAX_STAGES 16
static glow_value op_conv_chain(G gg, glow_value x, uint32_t n, const struct glow_stage *stages,
                                uint32_t stage_size)
{
    value_id in[1 + 3 * MAX_STAGES] = { OPEN(x) };
    int64_t ai[1 + 3 * MAX_STAGES] = { n };
    double ad[MAX_STAGES];
    if (n < 1 || n > MAX_STAGES) return op_fail(gg, "conv_chain: 1 to 16 stages");
    if (stage_size < sizeof *stages)
        return op_fail(gg, "conv_chain: the stages are shorter than version 1's");
    if (!in[0]) return op_fail(gg, "conv_chain: the input is absent");
    for (uint32_t i = 0; i < n; i++) {
        const struct glow_stage *s = (const void *)((const char *)stages + (size_t)i * stage_size);
        if (s->act < GLOW_ACT_NONE || s->act > GLOW_ACT_SIGMOID)
            return op_fail(gg, "conv_chain: an unknown activation");
        in[1 + 3 * i] = OPEN(s->w);
        in[2 + 3 * i] = OPEN(s->b);
        in[3 + 3 * i] = OPEN(s->logs);
        ai[1 + 3 * i] = s->ksize;
        ai[2 + 3 * i] = !!(s->flags & GLOW_EDGE_BIAS);
        ai[3 + 3 * i] = s->act;
        ad[i] = s->logscale;
    }
    struct op_call c = { .op = OP_CHAIN,
                         .n_in = 1 + 3 * n,
                         .in = in,
                         .n_ai = 1 + 3 * n,
                         .ai = ai,
                         .n_ad = n,
                         .ad = ad };
    return SHUT(graph_add(graph_of(gg), &c));
}

static void op_linalg(G gg, uint32_t code, const glow_value *in, glow_value *out)
{
    value_id x[4] = { OPEN(in[0]) };
    switch (code) {
    case GLOW_SLOGDET: out[0] = SHUT(call(gg, OP_SLOGDET, 1, x, 0, NULL)); return;
    case GLOW_INVERSE: out[0] = SHUT(call(gg, OP_INVERSE, 1, x, 0, NULL)); return;
    case GLOW_LU_COMPOSE:
        for (int i = 1; i < 4; i++) x[i] = OPEN(in[i]);
        x[0] = call(gg, OP_LU, 4, x, 0, NULL);
        out[0] = SHUT(x[0]);
        out[1] = SHUT(x[0] == GRAPH_ERROR ? GRAPH_ERROR : x[0] + 1);
        return;
    default: out[0] = op_fail(gg, "linalg: a code that this version does not know");
    }
}

/* ---------------------------------------------------------------- other plug-ins */

static void op_net(G gg, const struct glow_self *self, const char *slot, struct glow_net_call *c)
{
    struct graph *g = graph_of(gg);
    const struct instance *outer = g->who, *child = instance_child(instance_of(self), slot);
    for (uint32_t i = 0; i < c->n_out; i++) c->out[i] = error_value;
    if (g->status != GLOW_OK) return;
    if (!child || child->info->desc->kind != GLOW_NET) {
        graph_fail(g, GLOW_EINVAL, "no network in option \"%s\"", slot);
        return;
    }
    for (uint32_t i = 0; i < c->n_in; i++)
        if (GLOW_IS_ERROR(c->in[i])) return;
    const struct glow_net *net = (const struct glow_net *)child->info->desc;
    uint32_t ports[2] = { net->n_ports ? 0 : 1, net->n_ports ? 0 : 1 };
    for (uint32_t i = 0; i < net->n_ports; i++)
        ports[((const struct glow_port *)(const void *)((const char *)net->ports +
                                                        (size_t)i * net->port_size))
                  ->direction &
              1]++;
    if (c->n_in != ports[GLOW_PORT_IN] || c->n_out != ports[GLOW_PORT_OUT]) {
        graph_fail(g, GLOW_EINVAL, "network \"%s\" has %u inputs and %u outputs, not %u and %u",
                   net->head.id, ports[0], ports[1], c->n_in, c->n_out);
        return;
    }
    g->who = child;
    net->forward(&child->self, gg, c);
    for (uint32_t i = 0; i < c->n_out && g->status == GLOW_OK; i++) {
        struct glow_type have, want = c->out_type[i];
        char a[96], b[96];
        if (op_type(gg, c->out[i], &have) == GLOW_OK) want.dtype = have.dtype;
        want.batched = have.batched = 1;
        if (!have.dtype || !type_equal(&have, &want))
            graph_fail(g, GLOW_EINVAL, "output %u is %s; the caller asked for %s", i + 1,
                       have.dtype ? type_text(&have, a, sizeof a) : "missing",
                       type_text(&want, b, sizeof b));
    }
    g->who = outer;
    for (uint32_t i = 0; i < c->n_out; i++) {
        if (g->status == GLOW_OK)
            graph_add_result(g, OPEN(c->out[i]));
        else
            c->out[i] = error_value;
    }
}

static void op_custom(G gg, const struct glow_self *self, struct glow_custom_call *c)
{
    custom_call(graph_of(gg), instance_of(self), c);
}

const struct glow_ops optable = { .size = sizeof(struct glow_ops),
                                  .minor = GLOW_ABI_MINOR,
                                  .fail = op_fail,
                                  .type = op_type,
                                  .phase = op_phase,
                                  .constant = op_constant,
                                  .array = op_array,
                                  .param = op_param,
                                  .init_from = op_init_from,
                                  .random = op_random,
                                  .unary = op_unary,
                                  .binary = op_binary,
                                  .where = op_where,
                                  .cast = op_cast,
                                  .reduce = op_reduce,
                                  .cumsum = op_cumsum,
                                  .softmax = op_softmax,
                                  .batch_mean = op_batch_mean,
                                  .reshape = op_reshape,
                                  .transpose = op_transpose,
                                  .broadcast = op_broadcast,
                                  .slice = op_slice,
                                  .concat = op_concat,
                                  .pad = op_pad,
                                  .take = op_take,
                                  .space_to_depth = op_space_to_depth,
                                  .depth_to_space = op_depth_to_space,
                                  .matmul = op_matmul,
                                  .matmul_channels = op_matmul_channels,
                                  .conv2d = op_conv2d,
                                  .conv_chain = op_conv_chain,
                                  .linalg = op_linalg,
                                  .net = op_net,
                                  .custom = op_custom };

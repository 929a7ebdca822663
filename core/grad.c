/* grad.c - reverse-mode differentiation. The gradient is ordinary nodes of the same graph, so it is
 * simplified, planned and run like everything else, and can be differentiated again.
 * One rule per operation: rules[op] adds to the adjoints of the inputs. An operation without a rule
 * is an error that names it, when the graph is built. */
#include <stdlib.h>
#include <string.h>
#include "custom.h"
#include "graph.h"

struct adjoints {
    struct graph *g;
    value_id *of;     /* adjoint of each value, 0 = none yet */
    const char *need; /* which values depend on wrt */
    uint32_t n;       /* values that existed before */
};

/* A rule sees the node (a copy: the graph grows meanwhile) and the adjoint of its first output. */
typedef void (*rule)(struct adjoints *, const struct node *, value_id dy);

#define G       a->g
#define IN(k)   (n->in[k])
#define OUT     (n->out0)
#define TYPE(v) (&a->g->values[v].type)
static value_id add(struct graph *g, value_id x, value_id y)
{
    return graph_binary(g, OP_ADD, x, y);
}
static value_id mul(struct graph *g, value_id x, value_id y)
{
    return graph_binary(g, OP_MUL, x, y);
}
static value_id neg(struct graph *g, value_id x) { return graph_unary(g, OP_NEG, x); }
static value_id num(struct graph *g, double c) { return graph_constant(g, c); }

static bool wants(const struct adjoints *a, value_id x) { return x && x < a->n && a->need[x]; }

static void give(struct adjoints *a, value_id x, value_id d)
{
    if (!d || !wants(a, x)) return;
    a->of[x] = a->of[x] ? add(G, a->of[x], d) : d;
}

/* The adjoint of an operand that was broadcast: summed over the stretched axes, in its own type. */
static void give_broadcast(struct adjoints *a, value_id x, value_id d)
{
    if (!d || d == GRAPH_ERROR || !wants(a, x)) return;
    const struct glow_type tx = *TYPE(x), td = *TYPE(d);
    int shift = td.rank - tx.rank;
    int64_t mask = td.batched && !tx.batched;
    for (int i = 0; i < td.rank; i++)
        if (td.dim[i] != 1 && (i < shift || tx.dim[i - shift] == 1)) mask |= (int64_t)1 << (i + 1);
    if (mask) d = graph_sum(G, d, mask, false);
    d = graph_reshape(G, d, tx.rank, tx.dim);
    give(a, x, graph_cast(G, d, tx.dtype == GLOW_HI ? GLOW_HI : GLOW_REAL));
}

/* ---------------------------------------------------------------- elementwise */

static void pass(struct adjoints *a, const struct node *n, value_id dy)
{
    give_broadcast(a, IN(0), dy);
}
static void reshape(struct adjoints *a, const struct node *n, value_id dy)
{
    give(a, IN(0), graph_reshape(G, dy, TYPE(IN(0))->rank, TYPE(IN(0))->dim));
}
static void none(struct adjoints *a, const struct node *n, value_id dy)
{
    (void)a;
    (void)n;
    (void)dy;
}

static void unary(struct adjoints *a, const struct node *n, value_id dy)
{
    value_id x = IN(0), y = OUT, d = 0;
    switch (n->op) {
    case OP_NEG: d = neg(G, dy); break;
    case OP_EXP: d = mul(G, dy, y); break;
    case OP_LOG: d = graph_binary(G, OP_DIV, dy, x); break;
    case OP_SQRT: d = graph_binary(G, OP_DIV, mul(G, dy, num(G, 0.5)), y); break;
    case OP_ABS: d = mul(G, dy, graph_unary(G, OP_SIGN, x)); break;
    case OP_SQUARE: d = mul(G, mul(G, dy, num(G, 2)), x); break;
    case OP_RECIP: d = neg(G, mul(G, dy, graph_unary(G, OP_SQUARE, y))); break;
    case OP_SIGMOID: d = mul(G, mul(G, dy, y), graph_binary(G, OP_SUB, num(G, 1), y)); break;
    case OP_LOG_SIGMOID: d = mul(G, dy, graph_unary(G, OP_SIGMOID, neg(G, x))); break;
    case OP_SOFTPLUS: d = mul(G, dy, graph_unary(G, OP_SIGMOID, x)); break;
    case OP_TANH:
        d = mul(G, dy, graph_binary(G, OP_SUB, num(G, 1), graph_unary(G, OP_SQUARE, y)));
        break;
    case OP_RELU: {
        value_id positive = graph_binary(G, OP_GT, y, num(G, 0));
        d = graph_op(G, OP_WHERE, 3, (value_id[3]){ positive, dy, num(G, 0) }, 0, NULL);
        break;
    }
    case OP_EXPM1: d = mul(G, dy, add(G, y, num(G, 1))); break;
    case OP_LOG1P: d = graph_binary(G, OP_DIV, dy, add(G, x, num(G, 1))); break;
    case OP_SIN: d = mul(G, dy, graph_unary(G, OP_COS, x)); break;
    case OP_COS: d = neg(G, mul(G, dy, graph_unary(G, OP_SIN, x))); break;
    default: break;
    }
    give(a, x, d);
}

static void binary(struct adjoints *a, const struct node *n, value_id dy)
{
    value_id x = IN(0), z = IN(1);
    switch (n->op) {
    case OP_ADD:
        give_broadcast(a, x, dy);
        give_broadcast(a, z, dy);
        return;
    case OP_SUB:
        give_broadcast(a, x, dy);
        if (wants(a, z)) give_broadcast(a, z, neg(G, dy));
        return;
    case OP_MUL:
        if (wants(a, x)) give_broadcast(a, x, mul(G, dy, z));
        if (wants(a, z)) give_broadcast(a, z, mul(G, dy, x));
        return;
    case OP_DIV: {
        value_id q = graph_binary(G, OP_DIV, dy, z);
        give_broadcast(a, x, q);
        if (wants(a, z)) give_broadcast(a, z, neg(G, mul(G, q, OUT)));
        return;
    }
    case OP_POW: {
        value_id less = graph_binary(G, OP_SUB, z, num(G, 1));
        if (wants(a, x))
            give_broadcast(a, x, mul(G, mul(G, dy, z), graph_binary(G, OP_POW, x, less)));
        if (wants(a, z)) give_broadcast(a, z, mul(G, mul(G, dy, OUT), graph_unary(G, OP_LOG, x)));
        return;
    }
    default: { /* MIN, MAX: to the chosen side, the first when equal */
        value_id first = graph_binary(G, n->op == OP_MIN ? OP_LE : OP_GE, x, z);
        if (wants(a, x))
            give_broadcast(
                a, x, graph_op(G, OP_WHERE, 3, (value_id[3]){ first, dy, num(G, 0) }, 0, NULL));
        if (wants(a, z))
            give_broadcast(
                a, z, graph_op(G, OP_WHERE, 3, (value_id[3]){ first, num(G, 0), dy }, 0, NULL));
    }
    }
}

static void where(struct adjoints *a, const struct node *n, value_id dy)
{
    if (wants(a, IN(1)))
        give_broadcast(a, IN(1),
                       graph_op(G, OP_WHERE, 3, (value_id[3]){ IN(0), dy, num(G, 0) }, 0, NULL));
    if (wants(a, IN(2)))
        give_broadcast(a, IN(2),
                       graph_op(G, OP_WHERE, 3, (value_id[3]){ IN(0), num(G, 0), dy }, 0, NULL));
}

/* ---------------------------------------------------------------- reductions, layout */

static void sum(struct adjoints *a, const struct node *n, value_id dy)
{
    const struct glow_type t = *TYPE(IN(0));
    dy = graph_cast(G, dy, t.dtype == GLOW_HI ? GLOW_HI : GLOW_REAL);
    give(a, IN(0), graph_broadcast(G, dy, &t));
}

/* Shared equally among the elements that are the extremum. */
static void extremum(struct adjoints *a, const struct node *n, value_id dy)
{
    value_id chosen = graph_binary(G, OP_EQ, IN(0), OUT);
    value_id share = graph_binary(G, OP_DIV, dy, graph_sum(G, chosen, n->ai[0], false));
    give_broadcast(a, IN(0),
                   graph_op(G, OP_WHERE, 3, (value_id[3]){ chosen, share, num(G, 0) }, 0, NULL));
}

static void cumsum(struct adjoints *a, const struct node *n, value_id dy)
{
    give(a, IN(0), graph_op(G, OP_CUMSUM, 1, &dy, 2, (int64_t[2]){ n->ai[0], !n->ai[1] }));
}

static void slice(struct adjoints *a, const struct node *n, value_id dy)
{
    int64_t extent = TYPE(IN(0))->dim[n->ai[0] - 1];
    give(a, IN(0),
         graph_op(G, OP_PLACE, 1, &dy, 5,
                  (int64_t[5]){ n->ai[0], extent, n->ai[1], n->ai[2], n->ai[3] }));
}

static void place(struct adjoints *a, const struct node *n, value_id dy)
{
    for (uint32_t k = 0; k < n->n_in; k++) {
        if (!wants(a, IN(k))) continue;
        const int64_t *p = n->ai + 2 + 3 * k;
        give_broadcast(
            a, IN(k), graph_op(G, OP_SLICE, 1, &dy, 4, (int64_t[4]){ n->ai[0], p[0], p[1], p[2] }));
    }
}

static void take(struct adjoints *a, const struct node *n, value_id dy)
{
    int64_t count = n->op == OP_TAKE ? n->ai[1] : n->ai[2],
            *ai = bump_alloc(&G->memory, (size_t)(count + 3) * sizeof *ai);
    if (!ai) {
        G->status = fail_memory((size_t)count * sizeof *ai, "gradient");
        return;
    }
    if (n->op == OP_TAKE) {
        ai[0] = n->ai[0];
        ai[1] = TYPE(IN(0))->dim[n->ai[0] - 1];
        ai[2] = count;
        memcpy(ai + 3, n->ai + 2, (size_t)count * sizeof *ai);
        give(a, IN(0), graph_op(G, OP_TAKE_ADJ, 1, &dy, (uint32_t)count + 3, ai));
    } else {
        ai[0] = n->ai[0];
        ai[1] = count;
        memcpy(ai + 2, n->ai + 3, (size_t)count * sizeof *ai);
        give(a, IN(0), graph_op(G, OP_TAKE, 1, &dy, (uint32_t)count + 2, ai));
    }
}

static void transpose(struct adjoints *a, const struct node *n, value_id dy)
{
    int64_t back[MAX_DIMS] = { 0 };
    for (uint32_t i = 1; i < n->n_ai; i++) back[n->ai[i]] = i;
    give(a, IN(0), graph_op(G, OP_TRANSPOSE, 1, &dy, n->n_ai, back));
}

static void squeezing(struct adjoints *a, const struct node *n, value_id dy)
{
    give(a, IN(0), graph_op(G, n->op == OP_S2D ? OP_D2S : OP_S2D, 1, &dy, 1, n->ai));
}

/* ---------------------------------------------------------------- products */

static void channels(struct adjoints *a, const struct node *n, value_id dy)
{
    value_id x = IN(0), w = IN(1);
    int64_t t = n->n_ai ? n->ai[0] : 0, other = !t;
    if (n->op == OP_MATC) {
        if (wants(a, x)) give(a, x, graph_op(G, OP_MATC, 2, (value_id[2]){ dy, w }, 1, &other));
        if (wants(a, w))
            give(a, w,
                 graph_op(G, OP_MATC_DW, 2, (value_id[2]){ t ? x : dy, t ? dy : x }, 0, NULL));
        return;
    }
    /* MATC_DW(d, v) = sum d v^T is linear in both */
    if (wants(a, x))
        give(a, x, graph_op(G, OP_MATC, 2, (value_id[2]){ w, dy }, 1, (int64_t[1]){ 0 }));
    if (wants(a, w))
        give(a, w, graph_op(G, OP_MATC, 2, (value_id[2]){ x, dy }, 1, (int64_t[1]){ 1 }));
}

static void matmul(struct adjoints *a, const struct node *n, value_id dy)
{
    value_id x = IN(0), z = IN(1);
    int64_t tx = n->ai[0], tz = n->ai[1];
    if (wants(a, x))
        give_broadcast(
            a, x,
            tx ? graph_op(G, OP_MATMUL, 2, (value_id[2]){ z, dy }, 2, (int64_t[2]){ tz, 1 })
               : graph_op(G, OP_MATMUL, 2, (value_id[2]){ dy, z }, 2, (int64_t[2]){ 0, !tz }));
    if (wants(a, z))
        give_broadcast(
            a, z,
            tz ? graph_op(G, OP_MATMUL, 2, (value_id[2]){ dy, x }, 2, (int64_t[2]){ 1, tx })
               : graph_op(G, OP_MATMUL, 2, (value_id[2]){ x, dy }, 2, (int64_t[2]){ !tx, 0 }));
}

/* The weights without their edge channel. */
static value_id inner_weights(struct adjoints *a, value_id w, int64_t edge)
{
    return graph_op(G, OP_SLICE, 1, &w, 4, (int64_t[4]){ 2, 0, 1, TYPE(w)->dim[1] - edge });
}

static void convolution(struct adjoints *a, const struct node *n, value_id dy)
{
    value_id x = IN(0), w = IN(1);
    int64_t edge = n->ai[0], zero = 0;
    if (n->op == OP_CONV) {
        int64_t ai[3] = { edge, TYPE(w)->dim[2], TYPE(w)->dim[3] };
        if (wants(a, x)) give(a, x, graph_op(G, OP_CONV_DX, 2, (value_id[2]){ dy, w }, 1, &edge));
        if (wants(a, w)) give(a, w, graph_op(G, OP_CONV_DW, 2, (value_id[2]){ x, dy }, 3, ai));
    } else if (n->op == OP_CONV_DX) { /* linear in x = the adjoint it takes, and in w; the edge is
                                         not in it */
        if (wants(a, x))
            give(a, x,
                 graph_op(G, OP_CONV, 2, (value_id[2]){ dy, inner_weights(a, w, edge) }, 1, &zero));
        if (wants(a, w)) {
            int64_t ai[3] = { 0, TYPE(w)->dim[2], TYPE(w)->dim[3] }, c = TYPE(w)->dim[1];
            value_id d = graph_op(G, OP_CONV_DW, 2, (value_id[2]){ dy, x }, 3, ai);
            give(a, w, graph_op(G, OP_PLACE, 1, &d, 5, (int64_t[5]){ 2, c, 0, 1, c - edge }));
        }
    } else { /* CONV_DW(x, d): in[1] is an adjoint of the output */
        if (wants(a, x)) give(a, x, graph_op(G, OP_CONV_DX, 2, (value_id[2]){ w, dy }, 1, &edge));
        if (wants(a, w)) give(a, w, graph_op(G, OP_CONV, 2, (value_id[2]){ x, dy }, 1, &edge));
    }
}

static void chain(struct adjoints *a, const struct node *n, value_id dy)
{
    uint32_t stages = (uint32_t)n->ai[0], inputs = n->n_in;
    value_id in[128];
    memcpy(in, n->in, inputs * sizeof *in);
    in[inputs] = dy;
    for (uint32_t i = 0; i + 1 < stages; i++) in[inputs + 1 + i] = OUT + 1 + i;
    struct op_call c = { .op = OP_CHAIN_VJP,
                         .n_in = inputs + stages,
                         .in = in,
                         .n_ai = n->n_ai,
                         .ai = n->ai,
                         .n_ad = n->n_ad,
                         .ad = n->ad };
    value_id r = graph_add(G, &c);
    for (uint32_t k = 0; k < inputs && r != GRAPH_ERROR; k++) give(a, IN(k), r + k);
}

static void lu(struct adjoints *a, const struct node *n, value_id dw)
{
    value_id in[6] = { IN(0), IN(1), IN(2), IN(3), dw, a->of[OUT + 1] };
    value_id r = graph_op(G, OP_LU_VJP, 6, in, 0, NULL);
    if (r == GRAPH_ERROR) return;
    give(a, IN(0), r);
    give(a, IN(1), r + 1);
}

static void linear_algebra(struct adjoints *a, const struct node *n, value_id dy)
{
    const int64_t swap[3] = { 0, 2, 1 };
    if (n->op == OP_SLOGDET) { /* d log|det A| = A^-T */
        value_id inverse = graph_op(G, OP_INVERSE, 1, &IN(0), 0, NULL);
        give_broadcast(a, IN(0), mul(G, graph_op(G, OP_TRANSPOSE, 1, &inverse, 3, swap), dy));
        return;
    }
    value_id y = OUT,
             d = graph_op(G, OP_MATMUL, 2, (value_id[2]){ y, dy }, 2, (int64_t[2]){ 1, 0 });
    give(a, IN(0),
         neg(G, graph_op(G, OP_MATMUL, 2, (value_id[2]){ d, y }, 2, (int64_t[2]){ 0, 1 })));
}

static void custom(struct adjoints *a, const struct node *n, value_id dy)
{
    value_id din[256] = { 0 };
    (void)dy;
    if (custom_gradient(G, n, a->of + OUT, din) != GLOW_OK) return;
    for (uint32_t k = 0; k < n->n_in; k++) give(a, IN(k), din[k]);
}

static const rule rules[OP_COUNT] = { [OP_INPUT] = none,
                                      [OP_PARAM] = none,
                                      [OP_CONST] = none,
                                      [OP_ARRAY] = none,
                                      [OP_RANDOM] = none,
                                      [OP_ALIAS] = pass,
                                      [OP_SLICE] = slice,
                                      [OP_BROADCAST] = pass,
                                      [OP_RESHAPE] = reshape,
                                      [OP_TRANSPOSE] = transpose,
                                      [OP_COPY] = pass,
                                      [OP_CAST] = pass,
                                      [OP_NEG] = unary,
                                      [OP_EXP] = unary,
                                      [OP_LOG] = unary,
                                      [OP_SQRT] = unary,
                                      [OP_ABS] = unary,
                                      [OP_SQUARE] = unary,
                                      [OP_RECIP] = unary,
                                      [OP_SIGMOID] = unary,
                                      [OP_LOG_SIGMOID] = unary,
                                      [OP_SOFTPLUS] = unary,
                                      [OP_TANH] = unary,
                                      [OP_RELU] = unary,
                                      [OP_EXPM1] = unary,
                                      [OP_LOG1P] = unary,
                                      [OP_SIN] = unary,
                                      [OP_COS] = unary,
                                      [OP_FLOOR] = none,
                                      [OP_SIGN] = none,
                                      [OP_STOP] = none,
                                      [OP_ADD] = binary,
                                      [OP_SUB] = binary,
                                      [OP_MUL] = binary,
                                      [OP_DIV] = binary,
                                      [OP_POW] = binary,
                                      [OP_MIN] = binary,
                                      [OP_MAX] = binary,
                                      [OP_LT] = none,
                                      [OP_LE] = none,
                                      [OP_GT] = none,
                                      [OP_GE] = none,
                                      [OP_EQ] = none,
                                      [OP_WHERE] = where,
                                      [OP_SUM] = sum,
                                      [OP_REDUCE_MAX] = extremum,
                                      [OP_REDUCE_MIN] = extremum,
                                      [OP_CUMSUM] = cumsum,
                                      [OP_PLACE] = place,
                                      [OP_TAKE] = take,
                                      [OP_TAKE_ADJ] = take,
                                      [OP_S2D] = squeezing,
                                      [OP_D2S] = squeezing,
                                      [OP_MATC] = channels,
                                      [OP_MATC_DW] = channels,
                                      [OP_MATMUL] = matmul,
                                      [OP_CONV] = convolution,
                                      [OP_CONV_DX] = convolution,
                                      [OP_CONV_DW] = convolution,
                                      [OP_CHAIN] = chain,
                                      [OP_PACK] = pass,
                                      [OP_UNPACK] = pass,
                                      [OP_LU] = lu,
                                      [OP_SLOGDET] = linear_algebra,
                                      [OP_INVERSE] = linear_algebra,
                                      [OP_CUSTOM] = custom };

bool graph_has_gradient(int op) { return rules[op] != NULL; }

/* ---------------------------------------------------------------- the walk over the nodes */

static bool mark_dependents(const struct graph *g, char *need, uint32_t n_nodes)
{
    bool any = false;
    for (uint32_t i = 1; i < n_nodes; i++) {
        const struct node *n = &g->nodes[i];
        char depends = 0;
        for (uint32_t k = 0; k < n->n_in; k++) depends |= need[n->in[k]];
        if (n->op == OP_STOP) depends = 0;
        for (uint32_t k = 0; k < n->n_out; k++) need[n->out0 + k] |= depends;
        any |= depends;
    }
    return any;
}

/* Hidden buffers of a chain and auxiliary outputs of custom operations have no adjoint. */
static bool has_adjoint(const struct adjoints *a, const struct node *n)
{
    for (uint32_t k = 0; k < n->n_out; k++)
        if (a->of[n->out0 + k]) return true;
    return false;
}

glow_status graph_gradient(struct graph *g, uint32_t n_y, const value_id *y, const value_id *seed,
                           uint32_t n_wrt, const value_id *wrt, value_id *gradient)
{
    uint32_t n_nodes = g->n_nodes, n_values = g->n_values;
    char *need = calloc(n_values, 1), *stop = calloc(n_values, 1);
    struct adjoints a = { g, calloc(n_values, sizeof(value_id)), need, n_values };
    if (!need || !stop || !a.of) {
        if (g->status == GLOW_OK) g->status = fail_memory(n_values, "gradient");
        goto out;
    }
    for (uint32_t i = 0; i < n_wrt; i++)
        if (wrt[i] && wrt[i] != GRAPH_ERROR) need[wrt[i]] = stop[wrt[i]] = 1;
    mark_dependents(g, need, n_nodes);
    for (uint32_t i = 0; i < n_y; i++) {
        if (!y[i] || !seed[i] || y[i] == GRAPH_ERROR || seed[i] == GRAPH_ERROR) continue;
        value_id s =
            graph_cast(g, seed[i], g->values[y[i]].type.dtype == GLOW_HI ? GLOW_HI : GLOW_REAL);
        give(&a, y[i], graph_broadcast(g, s, &g->values[y[i]].type));
    }
    for (uint32_t i = n_nodes - 1; i > 0 && g->status == GLOW_OK; i--) {
        const struct node n = g->nodes[i];
        if (stop[n.out0] || !has_adjoint(&a, &n)) continue;
        if (!rules[n.op]) {
            graph_fail(g, GLOW_ENOTSUP, "operation %s has no gradient", op_names[n.op]);
            break;
        }
        value_id dy = a.of[n.out0];
        if (!dy && n.op != OP_LU && n.op != OP_CUSTOM) continue;
        const struct instance *outer = g->who;
        g->who = n.who;
        rules[n.op](&a, &n, dy);
        g->who = outer;
    }
out:
    for (uint32_t i = 0; i < n_wrt; i++)
        gradient[i] = a.of && wrt[i] && wrt[i] != GRAPH_ERROR ? a.of[wrt[i]] : 0;
    free(need);
    free(stop);
    free(a.of);
    return g->status;
}

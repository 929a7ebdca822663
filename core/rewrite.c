/* rewrite.c - local simplifications, applied whenever a node is added. Each returns a value that
 * equals the call and costs less. Two of them are promised to plug-ins (docs/abi.md): slice(concat)
 * = part and merge(split(x)) = x; they let reversible training compute a coupling network once. */
#include <string.h>
#include "graph.h"

#define MAKER(v) (&g->nodes[g->values[v].node])
#define TYPE(v)  (&g->values[v].type)

static bool constant_of(const struct graph *g, value_id v, double *c)
{
    const struct node *n = MAKER(v);
    if (n->op != OP_CONST) return false;
    *c = n->ad[0];
    return true;
}

/* Part i of a PLACE as ai = {axis, extent, (start, step, n)...}. */
static const int64_t *part(const struct node *n, uint32_t i) { return n->ai + 2 + 3 * i; }

static value_id slice(struct graph *g, const struct op_call *c)
{
    const struct node *n = MAKER(c->in[0]);
    int64_t axis = c->ai[0];
    if (c->ai[1] == 0 && c->ai[2] == 1 && c->ai[3] == TYPE(c->in[0])->dim[axis - 1])
        return c->in[0];
    if (n->op == OP_PLACE && n->ai[0] == axis)
        for (uint32_t i = 0; i < n->n_in; i++)
            if (!memcmp(part(n, i), c->ai + 1, 3 * sizeof *c->ai) &&
                TYPE(n->in[i])->batched == TYPE(c->in[0])->batched &&
                TYPE(n->in[i])->dtype == TYPE(c->in[0])->dtype)
                return n->in[i];
    if (n->op == OP_SLICE && n->ai[0] == axis) /* slice of a slice */
        return graph_op(
            g, OP_SLICE, 1, n->in, 4,
            (int64_t[4]){ axis, n->ai[1] + c->ai[1] * n->ai[2], c->ai[2] * n->ai[2], c->ai[3] });
    return 0;
}

/* concat(slice(x, 0..a), slice(x, a..b), ...) = x when the pieces are all of x, in their places. */
static value_id place(struct graph *g, const struct op_call *c)
{
    int64_t axis = c->ai[0], covered = 0;
    value_id x = 0;
    for (uint32_t i = 0; i < c->n_in; i++) {
        const struct node *n = MAKER(c->in[i]);
        if (n->op != OP_SLICE || n->ai[0] != axis || (x && n->in[0] != x)) return 0;
        if (memcmp(n->ai + 1, c->ai + 2 + 3 * i, 3 * sizeof *c->ai)) return 0;
        x = n->in[0];
        covered += n->ai[3];
    }
    return x && covered == c->ai[1] && TYPE(x)->dim[axis - 1] == c->ai[1] ? x : 0;
}

static bool overlap(const int64_t *p, const int64_t *q)
{
    for (int64_t k = 0; k < p[2]; k++) {
        int64_t at = p[0] + k * p[1] - q[0];
        if (at >= 0 && at % q[1] == 0 && at / q[1] < q[2]) return true;
    }
    return false;
}

/* The sum of two scatters into different places is one scatter: gradients of splits. */
static value_id add_places(struct graph *g, const struct op_call *c)
{
    const struct node *p = MAKER(c->in[0]), *q = MAKER(c->in[1]);
    if (p->op != OP_PLACE || q->op != OP_PLACE || p->ai[0] != q->ai[0] || p->n_in + q->n_in > 8 ||
        !type_equal(TYPE(c->in[0]), TYPE(c->in[1])))
        return 0;
    for (uint32_t i = 0; i < p->n_in; i++)
        for (uint32_t j = 0; j < q->n_in; j++)
            if (overlap(part(p, i), part(q, j))) return 0;
    value_id in[8];
    int64_t ai[2 + 3 * 8] = { p->ai[0], p->ai[1] };
    memcpy(in, p->in, p->n_in * sizeof *in);
    memcpy(in + p->n_in, q->in, q->n_in * sizeof *in);
    memcpy(ai + 2, p->ai + 2, 3 * p->n_in * sizeof *ai);
    memcpy(ai + 2 + 3 * p->n_in, q->ai + 2, 3 * q->n_in * sizeof *ai);
    uint32_t n = p->n_in + q->n_in;
    return graph_op(g, OP_PLACE, n, in, 2 + 3 * n, ai);
}

static value_id arithmetic(struct graph *g, const struct op_call *c)
{
    double a, b;
    bool ca = constant_of(g, c->in[0], &a), cb = constant_of(g, c->in[1], &b);
    if (ca && cb) {
        switch (c->op) {
        case OP_ADD: return graph_constant(g, a + b);
        case OP_SUB: return graph_constant(g, a - b);
        case OP_MUL: return graph_constant(g, a * b);
        default: return 0;
        }
    }
    if (cb && TYPE(c->in[0])->dtype != GLOW_BOOL) {
        if (b == 0 && (c->op == OP_ADD || c->op == OP_SUB)) return c->in[0];
        if (b == 1 && (c->op == OP_MUL || c->op == OP_DIV)) return c->in[0];
    }
    if (ca && TYPE(c->in[1])->dtype != GLOW_BOOL)
        if ((a == 0 && c->op == OP_ADD) || (a == 1 && c->op == OP_MUL)) return c->in[1];
    return c->op == OP_ADD ? add_places(g, c) : 0;
}

static value_id transpose(struct graph *g, const struct op_call *c)
{
    const struct node *n = MAKER(c->in[0]);
    bool identity = true, undone = n->op == OP_TRANSPOSE;
    for (uint32_t i = 1; i < c->n_ai; i++) {
        identity &= c->ai[i] == i;
        undone = undone && n->ai[c->ai[i]] == i;
    }
    return identity ? c->in[0] : undone ? n->in[0] : 0;
}

/* take(take(x, p), q) = x when q undoes the permutation p. */
static value_id take(struct graph *g, const struct op_call *c)
{
    const struct node *n = MAKER(c->in[0]);
    if (n->op != OP_TAKE || n->ai[0] != c->ai[0] || n->ai[1] != c->ai[1]) return 0;
    if (TYPE(n->in[0])->dim[c->ai[0] - 1] != c->ai[1]) return 0;
    for (int64_t i = 0; i < c->ai[1]; i++)
        if (n->ai[2 + c->ai[2 + i]] != i) return 0;
    return n->in[0];
}

static value_id sum(struct graph *g, const struct op_call *c)
{
    const struct glow_type *x = TYPE(c->in[0]);
    bool hi = c->n_ai > 1 && c->ai[1] && x->dtype != GLOW_HI;
    if (x->dtype == GLOW_BOOL || ((c->ai[0] & 1) && x->batched)) return 0;
    for (int i = 0; i < x->rank; i++)
        if ((c->ai[0] >> (i + 1) & 1) && x->dim[i] != 1) return 0;
    return hi ? graph_cast(g, c->in[0], GLOW_HI) : c->in[0];
}

static value_id cast(struct graph *g, const struct op_call *c)
{
    const struct value *x = &g->values[c->in[0]];
    const struct node *n = &g->nodes[x->node];
    int32_t real = c->ai[0] == GLOW_HI ? DT_F64 : g->real;
    if (x->type.dtype == c->ai[0]) return c->in[0];
    if (n->op == OP_SUM && c->ai[0] == GLOW_HI &&
        real != x->real) /* keep the sum's own precision */
        return graph_sum(g, n->in[0], n->ai[0], true);
    if (n->op == OP_RESHAPE && c->ai[0] == GLOW_HI && MAKER(n->in[0])->op == OP_SUM) {
        struct glow_type shape = x->type; /* adding a node may move *x */
        value_id s = graph_cast(g, n->in[0], GLOW_HI);
        return graph_reshape(g, s, shape.rank, shape.dim);
    }
    return 0;
}

value_id rewrite(struct graph *g, const struct op_call *c)
{
    const struct node *n = c->n_in && c->in[0] ? MAKER(c->in[0]) : NULL;
    switch (c->op) {
    case OP_SLICE: return slice(g, c);
    case OP_PLACE: return place(g, c);
    case OP_ADD:
    case OP_SUB:
    case OP_MUL:
    case OP_DIV: return arithmetic(g, c);
    case OP_TRANSPOSE: return transpose(g, c);
    case OP_TAKE: return take(g, c);
    case OP_SUM: return sum(g, c);
    case OP_CAST: return cast(g, c);
    case OP_BROADCAST: return type_equal(TYPE(c->in[0]), c->type) ? c->in[0] : 0;
    case OP_RESHAPE:
        if (type_equal(TYPE(c->in[0]), c->type)) return c->in[0];
        return n->op == OP_RESHAPE ? graph_reshape(g, n->in[0], c->type->rank, c->type->dim) : 0;
    case OP_S2D: return n->op == OP_D2S && n->ai[0] == c->ai[0] ? n->in[0] : 0;
    case OP_D2S: return n->op == OP_S2D && n->ai[0] == c->ai[0] ? n->in[0] : 0;
    case OP_NEG: return n->op == OP_NEG ? n->in[0] : 0;
    default: return 0;
    }
}

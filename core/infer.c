/* infer.c - the type rules of all operations, one small function for each family. A rule fills the
 * output types or says what does not fit, with the shapes that it found. */
#include <stdio.h>
#include <string.h>
#include "graph.h"
#include "model.h"

int64_t type_count(const struct glow_type *t)
{
    int64_t n = 1;
    for (int i = 0; i < t->rank; i++) n *= t->dim[i];
    return n;
}

bool type_equal(const struct glow_type *a, const struct glow_type *b)
{
    if (a->dtype != b->dtype || a->batched != b->batched || a->rank != b->rank) return false;
    for (int i = 0; i < a->rank; i++)
        if (a->dim[i] != b->dim[i]) return false;
    return true;
}

const char *type_text(const struct glow_type *t, char *buf, size_t size)
{
    size_t at = 0;
#define PUT(...)                                                                                   \
    do {                                                                                           \
        int n_ = snprintf(buf + at, size - at, __VA_ARGS__);                                       \
        if (n_ > 0) at = at + (size_t)n_ < size ? at + (size_t)n_ : size - 1;                      \
    } while (0)
    PUT("(%s", t->batched ? "N" : "");
    for (int i = 0; i < t->rank; i++)
        PUT("%s%lld", i || t->batched ? "," : "", (long long)t->dim[i]);
    PUT(")");
#undef PUT
    return buf;
}

typedef const struct glow_type *T;
#define IN(i)   (&g->values[c->in[i]].type)
#define TEXT(t) type_text(t, (char[96]){ 0 }, 96)
#define REFUSE(...)                                                                                \
    do {                                                                                           \
        graph_fail(g, GLOW_EINVAL, __VA_ARGS__);                                                   \
        return -1;                                                                                 \
    } while (0)

/* Joins two types by broadcasting: aligned at the right, size 1 stretches. */
static bool join(T a, T b, struct glow_type *out)
{
    struct glow_type t = *a;
    t.dtype = a->dtype == GLOW_HI || b->dtype == GLOW_HI ? GLOW_HI : GLOW_REAL;
    t.batched = a->batched || b->batched;
    t.rank = a->rank > b->rank ? a->rank : b->rank;
    memset(t.dim, 0, sizeof t.dim);
    for (int i = 1; i <= t.rank; i++) {
        int64_t x = i <= a->rank ? a->dim[a->rank - i] : 1,
                y = i <= b->rank ? b->dim[b->rank - i] : 1;
        if (x != y && x != 1 && y != 1) return false;
        t.dim[t.rank - i] = x > y ? x : y;
    }
    *out = t;
    return true;
}

static int elementwise(struct graph *g, const struct op_call *c, struct glow_type *out)
{
    *out = *IN(0);
    if (c->op == OP_COPY) return 1;
    if (c->op == OP_CAST) {
        if (c->ai[0] != GLOW_REAL && c->ai[0] != GLOW_HI) REFUSE("cast: to REAL or HI only");
        out->dtype = (int32_t)c->ai[0];
        return 1;
    }
    if (out->dtype == GLOW_BOOL) out->dtype = GLOW_REAL;
    uint32_t first = c->op == OP_WHERE ? 1 : 0;
    if (first) *out = *IN(1);
    for (uint32_t i = first; i < c->n_in; i++) {
        struct glow_type so_far = *out;
        if (!join(&so_far, IN(i), out))
            REFUSE("%s: %s and %s do not broadcast", op_names[c->op], TEXT(IN(first)), TEXT(IN(i)));
    }
    if (first) { /* the condition shapes the result but not its type */
        int32_t dtype = out->dtype;
        struct glow_type so_far = *out;
        if (!join(&so_far, IN(0), out))
            REFUSE("where: condition %s and %s do not broadcast", TEXT(IN(0)), TEXT(&so_far));
        out->dtype = dtype;
    }
    if (c->op >= OP_LT && c->op <= OP_EQ) out->dtype = GLOW_BOOL;
    return 1;
}

static int check_axis(struct graph *g, const struct op_call *c, T x)
{
    if (c->ai[0] < 1 || c->ai[0] > x->rank)
        REFUSE("%s: axis %lld of %s", op_names[c->op], (long long)c->ai[0] - 1, TEXT(x));
    return 1;
}

static int leaf(struct graph *g, const struct op_call *c, struct glow_type *out)
{
    switch (c->op) {
    case OP_PARAM: *out = g->model->params[c->ai[0]].type; return 1;
    case OP_CONST: *out = (struct glow_type){ .dtype = GLOW_REAL }; return 1;
    default: break;
    }
    *out = *c->type;
    if (out->rank < 0 || out->rank > GLOW_MAX_RANK)
        REFUSE("%s: rank %d", op_names[c->op], out->rank);
    for (int i = 0; i < out->rank; i++)
        if (out->dim[i] < 1) REFUSE("%s: empty shape %s", op_names[c->op], TEXT(out));
    return 1;
}

static int view(struct graph *g, const struct op_call *c, struct glow_type *out)
{
    T x = IN(0);
    *out = *x;
    switch (c->op) {
    case OP_SLICE: {
        if (check_axis(g, c, x) < 0) return -1;
        int64_t start = c->ai[1], step = c->ai[2], n = c->ai[3], extent = x->dim[c->ai[0] - 1];
        if (start < 0 || step < 1 || n < 1 || start >= extent ||
            (n - 1) > (extent - 1 - start) / step)
            REFUSE("slice: %lld elements from %lld by %lld of axis %lld of %s", (long long)n,
                   (long long)start, (long long)step, (long long)c->ai[0] - 1, TEXT(x));
        out->dim[c->ai[0] - 1] = n;
        return 1;
    }
    case OP_BROADCAST: {
        struct glow_type joined;
        *out = *c->type;
        if (!join(x, out, &joined) || joined.rank != out->rank || joined.batched != out->batched ||
            type_count(&joined) != type_count(out))
            REFUSE("broadcast: %s to %s", TEXT(x), TEXT(out));
        return 1;
    }
    case OP_RESHAPE:
        *out = *c->type;
        if (type_count(x) != type_count(out)) REFUSE("reshape: %s to %s", TEXT(x), TEXT(out));
        return 1;
    case OP_TRANSPOSE: {
        unsigned seen = 0;
        if ((int)c->n_ai != x->rank + 1) REFUSE("transpose: %u axes of %s", c->n_ai - 1, TEXT(x));
        for (int i = 1; i <= x->rank; i++) {
            if (c->ai[i] < 1 || c->ai[i] > x->rank || (seen >> c->ai[i] & 1))
                REFUSE("transpose: not a permutation of the axes of %s", TEXT(x));
            seen |= 1u << c->ai[i];
            out->dim[i - 1] = x->dim[c->ai[i] - 1];
        }
        return 1;
    }
    default: return 1;
    }
}

static int reduction(struct graph *g, const struct op_call *c, struct glow_type *out)
{
    *out = *IN(0);
    if (out->dtype == GLOW_BOOL) out->dtype = GLOW_REAL;
    if (c->op == OP_SUM && c->n_ai > 1 && c->ai[1]) out->dtype = GLOW_HI;
    if (c->ai[0] >> (out->rank + 1))
        REFUSE("%s: axes mask %#llx of %s", op_names[c->op], (long long)c->ai[0] >> 1, TEXT(IN(0)));
    if (c->ai[0] & 1) out->batched = 0;
    for (int i = 0; i < out->rank; i++)
        if (c->ai[0] >> (i + 1) & 1) out->dim[i] = 1;
    return 1;
}

static int along_axis(struct graph *g, const struct op_call *c, struct glow_type *out)
{
    T x = IN(0);
    *out = *x;
    if (check_axis(g, c, x) < 0) return -1;
    int axis = (int)c->ai[0] - 1;
    switch (c->op) {
    case OP_TAKE:
        for (int64_t i = 0; i < c->ai[1]; i++)
            if (c->ai[2 + i] < 0 || c->ai[2 + i] >= x->dim[axis])
                REFUSE("take: index %lld of axis %d of %s", (long long)c->ai[2 + i], axis, TEXT(x));
        if (c->ai[1] < 1) REFUSE("take: an empty list");
        out->dim[axis] = c->ai[1];
        return 1;
    case OP_TAKE_ADJ: out->dim[axis] = c->ai[1]; return 1;
    case OP_PLACE:
        for (uint32_t i = 0; i < c->n_in; i++) {
            struct glow_type t = *IN(i);
            if (t.rank != x->rank || t.dim[axis] != c->ai[4 + 3 * i])
                REFUSE("concat: %s and %s", TEXT(x), TEXT(IN(i)));
            if (t.batched) out->batched = 1;
            if (t.dtype == GLOW_HI) out->dtype = GLOW_HI;
            t.dim[axis] = x->dim[axis];
            t.batched = x->batched;
            t.dtype = x->dtype;
            if (!type_equal(&t, x))
                REFUSE("concat along axis %d: %s and %s", axis, TEXT(x), TEXT(IN(i)));
        }
        out->dim[axis] = c->ai[1];
        return 1;
    default: return 1;
    }
}

static int squeezing(struct graph *g, const struct op_call *c, struct glow_type *out)
{
    T x = IN(0);
    *out = *x;
    if (x->rank != 3) REFUSE("%s: needs (C,H,W), got %s", op_names[c->op], TEXT(x));
    if (c->op == OP_S2D) {
        if (x->dim[1] % 2 || x->dim[2] % 2)
            REFUSE("space_to_depth: needs an even height and width, got %s", TEXT(x));
        out->dim[0] *= 4;
        out->dim[1] /= 2;
        out->dim[2] /= 2;
    } else {
        if (x->dim[0] % 4)
            REFUSE("depth_to_space: needs a multiple of 4 channels, got %s", TEXT(x));
        out->dim[0] /= 4;
        out->dim[1] *= 2;
        out->dim[2] *= 2;
    }
    return 1;
}

static int channels(struct graph *g, const struct op_call *c, struct glow_type *out)
{
    T x = IN(0), w = IN(1);
    *out = *x;
    if (c->op == OP_MATC_DW) {
        *out = (struct glow_type){ .dtype = x->dtype, .rank = 2, .dim = { x->dim[0], w->dim[0] } };
        return 1;
    }
    if (x->rank < 1 || w->rank != 2 || w->batched || w->dim[c->ai[0] ? 0 : 1] != x->dim[0])
        REFUSE("matmul_channels: x %s, matrix %s%s", TEXT(x), TEXT(w),
               c->ai[0] ? " transposed" : "");
    out->dim[0] = w->dim[c->ai[0] ? 1 : 0];
    return 1;
}

static int matmul(struct graph *g, const struct op_call *c, struct glow_type *out)
{
    T a = IN(0), b = IN(1);
    if (a->rank < 2 || b->rank < 2) REFUSE("matmul: %s by %s", TEXT(a), TEXT(b));
    int64_t m = a->dim[a->rank - (c->ai[0] ? 1 : 2)], k = a->dim[a->rank - (c->ai[0] ? 2 : 1)];
    int64_t k2 = b->dim[b->rank - (c->ai[1] ? 1 : 2)], n = b->dim[b->rank - (c->ai[1] ? 2 : 1)];
    struct glow_type x = *a, y = *b;
    x.dim[x.rank - 1] = x.dim[x.rank - 2] = y.dim[y.rank - 1] = y.dim[y.rank - 2] = 1;
    if (k != k2 || !join(&x, &y, out))
        REFUSE("matmul: %s%s by %s%s", TEXT(a), c->ai[0] ? " transposed" : "", TEXT(b),
               c->ai[1] ? " transposed" : "");
    out->dim[out->rank - 2] = m;
    out->dim[out->rank - 1] = n;
    return 1;
}

static int convolution(struct graph *g, const struct op_call *c, struct glow_type *out)
{
    T x = IN(0), w = IN(1);
    int64_t edge = c->ai[0];
    *out = *x;
    if (x->rank != 3) REFUSE("conv2d: needs (C,H,W), got %s", TEXT(x));
    if (c->op == OP_CONV_DW) {
        *out = (struct glow_type){ .dtype = x->dtype,
                                   .rank = 4,
                                   .dim = { w->dim[0], x->dim[0] + edge, c->ai[1], c->ai[2] } };
        return 1;
    }
    if (w->rank != 4 || w->batched || w->dim[2] % 2 == 0 || w->dim[3] % 2 == 0)
        REFUSE("conv2d: weights must be (out,in,kh,kw) with odd kernels, got %s", TEXT(w));
    if (c->op == OP_CONV_DX) {
        out->dim[0] = w->dim[1] - edge;
        return 1;
    }
    if (w->dim[1] != x->dim[0] + edge)
        REFUSE("conv2d: x %s needs weights (out,%lld,kh,kw)%s, got %s", TEXT(x),
               (long long)(x->dim[0] + edge), edge ? " with the edge channel" : "", TEXT(w));
    out->dim[0] = w->dim[0];
    return 1;
}

/* Checks one stage of a chain on `channels` input channels; returns its output channels, or -1. */
static int64_t chain_stage(struct graph *g, const struct op_call *c, int64_t i, int64_t in)
{
    const value_id *s = c->in + 1 + 3 * i;
    int64_t k = c->ai[1 + 3 * i], edge = c->ai[2 + 3 * i];
    if (!s[0]) REFUSE("conv_chain: stage %lld has no weights", (long long)i + 1);
    T w = &g->values[s[0]].type;
    struct glow_type want = { .dtype = GLOW_REAL,
                              .rank = 4,
                              .dim = { w->dim[0], in + edge, k, k } };
    if (w->rank != 4 || w->batched || k % 2 == 0 || !type_equal(w, &want))
        REFUSE("conv_chain: stage %lld needs weights %s, got %s", (long long)i + 1, TEXT(&want),
               TEXT(w));
    for (int j = 1; j < 3; j++)
        if (s[j]) {
            T b = &g->values[s[j]].type;
            if (b->batched || type_count(b) != w->dim[0] || b->rank != 1)
                REFUSE("conv_chain: stage %lld has %lld channels, but %s is %s", (long long)i + 1,
                       (long long)w->dim[0], j == 1 ? "b" : "logs", TEXT(b));
        }
    return w->dim[0];
}

static struct tensor chain_tensor(const struct graph *g, value_id v)
{
    static char dummy;
    T x = &g->values[v].type;
    struct tensor t = { .data = &dummy, .dtype = g->real, .rank = x->rank + 1 };
    t.dim[0] = x->batched ? g->batch : 1;
    int64_t stride = 1;
    for (int k = x->rank; k > 0; k--) {
        t.dim[k] = x->dim[k - 1];
        t.stride[k] = stride;
        stride *= x->dim[k - 1];
    }
    t.stride[0] = stride;
    return t;
}

/* A chain as its backend sees it before there is memory: inputs hold a dummy. CHAIN_VJP begins with
 * the inputs of CHAIN. */
enum { CHAIN_STAGES = 20, CHAIN_INPUTS = 1 + 3 * CHAIN_STAGES };
static struct step chain_step(const struct graph *g, const struct op_call *c, struct tensor *in)
{
    const int n_in = 1 + 3 * (int)c->ai[0];
    for (int i = 0; i < n_in; i++)
        if (c->in[i]) in[i] = chain_tensor(g, c->in[i]);
    return (struct step){ .op = OP_CHAIN,
                          .n_in = n_in,
                          .n_ai = (int)c->n_ai,
                          .n_ad = (int)c->n_ad,
                          .in = in,
                          .ai = c->ai,
                          .ad = c->ad };
}

struct packing wanted_packing(const struct graph *g, const struct op_call *c, uint32_t input)
{
    struct packing packing = { 0 };
    struct tensor in[CHAIN_INPUTS] = { 0 };
    bool is_weight = (c->op == OP_CHAIN || c->op == OP_CHAIN_VJP) && input % 3 == 1 &&
                     input <= 3 * (uint32_t)c->ai[0];
    if (!is_weight || !g->backend->chain_packing) return packing;
    struct step step = chain_step(g, c, in);
    g->backend->chain_packing(&step, (int)input / 3, &packing);
    return packing;
}

int64_t chain_vjp_scratch(const struct graph *g, const struct node *n, bool keeps_hidden)
{
    const int inputs = 1 + 3 * (int)n->ai[0], hidden = (int)n->ai[0] - 1;
    struct tensor in[CHAIN_INPUTS + CHAIN_STAGES] = { 0 }, out[CHAIN_INPUTS] = { 0 };
    const struct op_call c = {
        .in = n->in, .n_ai = n->n_ai, .ai = n->ai, .n_ad = n->n_ad, .ad = n->ad
    };
    struct step step = chain_step(g, &c, in);
    memcpy(out, in, (size_t)inputs * sizeof *out); /* each input's gradient */
    in[inputs] = chain_tensor(g, n->out0);
    for (int i = 0; i < hidden && keeps_hidden; i++)
        in[inputs + 1 + i] = chain_tensor(g, n->out0 + 1 + (uint32_t)i);
    step.op = OP_CHAIN_VJP;
    step.n_in = inputs + 1 + hidden;
    step.out = out;
    step.n_out = inputs;
    return (int64_t)g->backend->scratch(g->model->engine, &step);
}

static int chain(struct graph *g, const struct op_call *c, struct glow_type *out, int max_out)
{
    T x = IN(0);
    int64_t n = c->ai[0], width = x->dim[0];
    if (x->rank != 3) REFUSE("conv_chain: needs (C,H,W), got %s", TEXT(x));
    if (n < 1 || 1 + 3 * n > max_out) REFUSE("conv_chain: %lld stages", (long long)n);
    for (int64_t i = 0; i < n; i++)
        if ((width = chain_stage(g, c, i, width)) < 0) return -1;
    if (c->op == OP_CHAIN_VJP) {
        out[0] = *x;
        for (int64_t i = 0; i < 3 * n;
             i++) /* an absent b has a gradient output that nobody asks for */
            out[1 + i] = c->in[1 + i] ? *IN(1 + i) : (struct glow_type){ .dtype = GLOW_REAL };
        return 1 + 3 * (int)n;
    }
    out[0] = *x;
    out[0].dim[0] = width;
    struct tensor in[CHAIN_INPUTS] = { 0 };
    struct step step = chain_step(g, c, in);
    for (int i = 0; i < n - 1; i++)
        out[1 + i] = (struct glow_type){ .dtype = GLOW_REAL,
                                         .rank = 1,
                                         .dim = { g->backend->chain_hidden(&step, i) } };
    return (int)n;
}

static int linear_algebra(struct graph *g, const struct op_call *c, struct glow_type *out)
{
    T a = IN(0);
    if (a->rank != 2 || a->batched || a->dim[0] != a->dim[1])
        REFUSE("%s: needs an unbatched square matrix, got %s", op_names[c->op], TEXT(a));
    *out = *a;
    if (c->op == OP_INVERSE) return 1;
    if (c->op == OP_SLOGDET) {
        *out = (struct glow_type){ .dtype = GLOW_HI };
        return 1;
    }
    for (uint32_t i = 1; i < 4; i++)
        if (IN(i)->rank != 1 || IN(i)->batched || IN(i)->dim[0] != a->dim[0])
            REFUSE("lu_compose: matrix %s with a vector %s", TEXT(a), TEXT(IN(i)));
    out[1] = c->op == OP_LU ? *a : *IN(1);
    return 2;
}

/* Operations whose types come with the call. */
static int described(struct graph *g, const struct op_call *c, struct glow_type *out, int max_out)
{
    if ((int)c->n_out > max_out)
        REFUSE("%s \"%s\": %u outputs", op_names[c->op], c->custom ? c->custom->head.id : "",
               c->n_out);
    memcpy(out, c->type, c->n_out * sizeof *out);
    return (int)c->n_out;
}

int infer_types(struct graph *g, const struct op_call *c, struct glow_type *out, int max_out)
{
    switch (op_classes[c->op]) {
    case CLASS_LEAF:
    case CLASS_FILL: return leaf(g, c, out);
    case CLASS_VIEW: return view(g, c, out);
    case CLASS_ELEM: return elementwise(g, c, out);
    default: break;
    }
    switch (c->op) {
    case OP_SUM:
    case OP_REDUCE_MAX:
    case OP_REDUCE_MIN: return reduction(g, c, out);
    case OP_CUMSUM:
    case OP_PLACE:
    case OP_TAKE:
    case OP_TAKE_ADJ: return along_axis(g, c, out);
    case OP_S2D:
    case OP_D2S: return squeezing(g, c, out);
    case OP_MATC:
    case OP_MATC_DW: return channels(g, c, out);
    case OP_MATMUL: return matmul(g, c, out);
    case OP_CONV:
    case OP_CONV_DX:
    case OP_CONV_DW: return convolution(g, c, out);
    case OP_CHAIN:
    case OP_CHAIN_VJP: return chain(g, c, out, max_out);
    case OP_PACK:
    case OP_UNPACK: *out = *IN(0); return 1;
    case OP_LU:
    case OP_LU_VJP:
    case OP_SLOGDET:
    case OP_INVERSE: return linear_algebra(g, c, out);
    case OP_FUSED:
    case OP_CUSTOM: return described(g, c, out, max_out);
    default: REFUSE("%s: no type rule", op_names[c->op]);
    }
}

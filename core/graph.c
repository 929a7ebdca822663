/* graph.c - storage of a graph: adding nodes, hash-consing, views, errors, simplification by
 * rebuilding. */
#include "graph.h"
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "instance.h"
#include "model.h"

const char *const op_names[OP_COUNT] = {
#define OP(name, text, class, layout) text,
#include "ops.def"
#undef OP
};
const uint8_t op_classes[OP_COUNT] = {
#define OP(name, text, class, layout) CLASS_##class,
#include "ops.def"
#undef OP
};
const uint8_t op_layouts[OP_COUNT] = {
#define OP(name, text, class, layout) LAYOUT_##layout,
#include "ops.def"
#undef OP
};

/* ---------------------------------------------------------------- life */

static bool grow(void *array, uint32_t *cap, uint32_t need, size_t size)
{
    void **p = array;
    if (need <= *cap) return true;
    uint32_t fresh = *cap ? 2 * *cap : 64;
    if (fresh < need) fresh = need;
    void *q = realloc(*p, fresh * size);
    if (!q) return false;
    memset((char *)q + *cap * size, 0, (fresh - *cap) * size);
    *p = q;
    *cap = fresh;
    return true;
}

glow_status graph_new(struct graph **out, struct model *model, const struct backend *backend,
                      int32_t real, int64_t batch, uint32_t phase)
{
    static uint32_t serial;
    struct graph *g = calloc(1, sizeof *g);
    if (!g) return fail_memory(sizeof *g, "graph");
    *g = (struct graph){ .op = &optable,
                         .model = model,
                         .backend = backend,
                         .real = real,
                         .batch = batch,
                         .phase = phase,
                         .epoch = 1,
                         .serial = __atomic_add_fetch(&serial, 1, __ATOMIC_RELAXED) & 0x7fffffff };
    g->cap_table = 1024;
    g->table = calloc(g->cap_table, sizeof *g->table);
    if (!g->table || !grow(&g->values, &g->cap_values, 256, sizeof *g->values) ||
        !grow(&g->nodes, &g->cap_nodes, 256, sizeof *g->nodes)) {
        graph_free(g);
        return fail_memory(256 * sizeof *g->values, "graph");
    }
    g->n_values = g->n_nodes = 1; /* number 0 is "absent" */
    *out = g;
    return GLOW_OK;
}

void graph_free(struct graph *g)
{
    if (!g) return;
    free(g->values);
    free(g->nodes);
    free(g->table);
    free(g->binds);
    free(g->results);
    free(g->replacements);
    bump_free(&g->memory);
    free(g);
}

static value_id out_of_memory(struct graph *g)
{
    if (g->status == GLOW_OK) g->status = fail_memory(g->n_values * sizeof *g->values, "graph");
    return GRAPH_ERROR;
}

value_id graph_fail(struct graph *g, glow_status status, const char *format, ...)
{
    char why[512];
    va_list list;
    if (g->status != GLOW_OK) return GRAPH_ERROR; /* the first error wins */
    va_start(list, format);
    vsnprintf(why, sizeof why, format, list);
    va_end(list);
    if (g->who && g->who->info)
        g->status = fail(status, "%s: %s [%s \"%s\", %s]", g->who->path, why,
                         kind_name(g->who->info->desc->kind), g->who->info->desc->id,
                         g->who->info->file ? g->who->info->file : "built in");
    else
        g->status = fail(status, "%s", why);
    return GRAPH_ERROR;
}

/* The packing of a parameter, NULL: it is kept in C order. */
static const struct packing *packing_of(const struct graph *g, int64_t param)
{
    const struct packing *packing = &g->model->params[param].packing;
    return packing->count ? packing : NULL;
}

/* A value as a bind wants it: gradients and new values of a parameter like the parameter, outputs
 * in C order. */
static value_id prepare_bound(struct graph *g, enum bind_kind kind, int32_t index, value_id v)
{
    const struct packing *want = kind == BIND_OUTPUT ? NULL : packing_of(g, index);
    const struct packing *have = g->values[v].packing;
    if (have && want && packing_equal(have, want)) return v;
    if (have) v = graph_unary(g, OP_UNPACK, v);
    return want && v != GRAPH_ERROR ? graph_op(g, OP_PACK, 1, &v, 1, (int64_t[1]){ index }) : v;
}

glow_status graph_bind(struct graph *g, enum bind_kind kind, int32_t index, value_id v)
{
    if (v == GRAPH_ERROR || v == 0) return g->status;
    v = prepare_bound(g, kind, index, v);
    if (v == GRAPH_ERROR) return g->status;
    if (!grow(&g->binds, &g->cap_binds, g->n_binds + 1, sizeof *g->binds)) {
        out_of_memory(g);
        return g->status;
    }
    g->binds[g->n_binds++] = (struct bind){ kind, index, v };
    return g->status;
}

void graph_add_result(struct graph *g, value_id v)
{
    if (grow(&g->results, &g->cap_results, g->n_results + 1, sizeof v))
        g->results[g->n_results++] = v;
    else
        out_of_memory(g);
}

void graph_replace(struct graph *g, value_id value, value_id by)
{
    if (grow(&g->replacements, &g->cap_replacements, g->n_replacements + 1,
             sizeof *g->replacements))
        g->replacements[g->n_replacements++] = (struct replacement){ value, by };
    else
        out_of_memory(g);
}

void graph_reset_draws(struct graph *g) { g->n_draws = 0; }

/* ---------------------------------------------------------------- handles */

glow_value graph_handle(const struct graph *g, value_id v)
{
    if (v == 0) return glow_none;
    if (v == GRAPH_ERROR) return (glow_value){ UINT64_MAX };
    return (glow_value){ (uint64_t)g->serial << 32 | v };
}

value_id graph_open_handle(struct graph *g, glow_value h)
{
    if (h.id == 0) return 0;
    if (GLOW_IS_ERROR(h)) {
        if (g->status == GLOW_OK) graph_fail(g, GLOW_EINVAL, "an error handle of another graph");
        return GRAPH_ERROR;
    }
    uint32_t v = (uint32_t)h.id;
    if (h.id >> 32 != g->serial || v >= g->n_values)
        return graph_fail(g, GLOW_EINVAL, "a value handle that does not belong to this graph");
    return v;
}

/* ---------------------------------------------------------------- layout */

static void dense_strides(const struct glow_type *t, int64_t *stride)
{
    int64_t step = 1;
    for (int i = t->rank; i > 0; i--) {
        stride[i] = step;
        step *= t->dim[i - 1];
    }
    stride[0] = t->batched ? step : 0;
}

/* Whether the axes from `first` (0-based in the sample) on are one dense run. */
static bool run_is_dense(const struct value *v, int first)
{
    int64_t step = 1;
    for (int i = v->type.rank - 1; i >= first; i--) {
        if (v->type.dim[i] > 1 && v->stride[i + 1] != step) return false;
        step *= v->type.dim[i];
    }
    return true;
}

static bool layout_fits(const struct graph *g, const struct value *v, int layout)
{
    switch (layout) {
    case LAYOUT_PLANE: return run_is_dense(v, 1);
    case LAYOUT_ROW: return run_is_dense(v, 0);
    case LAYOUT_DENSE:
        return run_is_dense(v, 0) &&
               (!v->type.batched || g->batch == 1 || v->stride[0] == type_count(&v->type));
    default: return true;
    }
}

static void view_strides(const struct op_call *c, const struct value *x, struct value *v)
{
    int shift = v->type.rank - x->type.rank;
    v->base = x->base;
    v->offset = x->offset;
    memcpy(v->stride, x->stride, sizeof v->stride);
    switch (c->op) {
    case OP_SLICE:
        v->offset += c->ai[1] * x->stride[c->ai[0]];
        v->stride[c->ai[0]] *= c->ai[2];
        break;
    case OP_BROADCAST:
        for (int i = 1; i <= v->type.rank; i++) {
            bool kept = i > shift && x->type.dim[i - shift - 1] == v->type.dim[i - 1];
            v->stride[i] = kept ? x->stride[i - shift] : 0;
        }
        if (!x->type.batched) v->stride[0] = 0;
        break;
    case OP_RESHAPE: {
        int64_t batch = x->stride[0];
        dense_strides(&v->type, v->stride);
        v->stride[0] = batch;
        break;
    }
    case OP_TRANSPOSE:
        for (int i = 1; i <= v->type.rank; i++) v->stride[i] = x->stride[c->ai[i]];
        break;
    default: break;
    }
}

int64_t graph_value_bytes(const struct graph *g, const struct value *v)
{
    int64_t n =
        v->packing ? v->packing->count : type_count(&v->type) * (v->type.batched ? g->batch : 1);
    return n * (int64_t)dtype_size(v->real);
}

/* ---------------------------------------------------------------- adding nodes */

static bool takes_absent(int op)
{
    return op == OP_CHAIN || op == OP_CHAIN_VJP || op == OP_LU_VJP || op == OP_CUSTOM;
}

static int32_t physical(const struct graph *g, const struct op_call *c, const struct glow_type *t)
{
    if (t->dtype == GLOW_HI) return DT_F64;
    if (t->dtype == GLOW_BOOL) { /* held in the type of what was compared, or chosen from */
        for (uint32_t i = 0; i < c->n_in; i++)
            if (c->in[i] && g->values[c->in[i]].real == DT_F64) return DT_F64;
        return c->n_in ? g->values[c->in[0]].real : g->real;
    }
    return g->real;
}

static uint64_t hash_bytes(uint64_t h, const void *p, size_t n)
{
    const unsigned char *q = p;
    for (; n >= 4; n -= 4, q += 4) {
        uint32_t w;
        memcpy(&w, q, 4);
        h = (h ^ w) * 0x9E3779B97F4A7C15u;
        h ^= h >> 29;
    }
    return h;
}

static uint64_t hash_of(const struct graph *g, uint32_t epoch, const struct op_call *c)
{
    uint32_t head[4] = { (uint32_t)c->op, c->n_in, c->n_ai, epoch };
    uint64_t h = hash_bytes(1469598103934665603u, head, sizeof head);
    (void)g;
    h = hash_bytes(h, c->in, c->n_in * sizeof *c->in);
    h = hash_bytes(h, c->ai, c->n_ai * sizeof *c->ai);
    h = hash_bytes(h, c->ad, c->n_ad * sizeof *c->ad);
    return h;
}

static bool same_node(const struct graph *g, const struct node *n, uint32_t epoch,
                      const struct op_call *c, const struct glow_type *out)
{
    return n->op == c->op && n->epoch == epoch && n->n_in == c->n_in && n->n_ai == c->n_ai &&
           n->n_ad == c->n_ad && n->custom == c->custom && n->custom_self == c->custom_self &&
           (!c->n_in || !memcmp(n->in, c->in, c->n_in * sizeof *c->in)) &&
           (!c->n_ai || !memcmp(n->ai, c->ai, c->n_ai * sizeof *c->ai)) &&
           (!c->n_ad || !memcmp(n->ad, c->ad, c->n_ad * sizeof *c->ad)) &&
           type_equal(&g->values[n->out0].type, out);
}

static bool rehash(struct graph *g)
{
    uint32_t cap = 2 * g->cap_table, *table = calloc(cap, sizeof *table);
    if (!table) return false;
    for (uint32_t i = 1; i < g->n_nodes; i++) {
        const struct node *n = &g->nodes[i];
        struct op_call c = { .op = n->op,
                             .n_in = n->n_in,
                             .n_ai = n->n_ai,
                             .n_ad = n->n_ad,
                             .in = n->in,
                             .ai = n->ai,
                             .ad = n->ad };
        uint32_t h = (uint32_t)hash_of(g, n->epoch, &c) & (cap - 1);
        while (table[h]) h = (h + 1) & (cap - 1);
        table[h] = i;
    }
    free(g->table);
    g->table = table;
    g->cap_table = cap;
    return true;
}

/* How output k of a node (its inputs are stored already) keeps weights; NULL: in C order. */
static const struct packing *output_packing(const struct graph *g, const struct node *n, int k)
{
    if (n->op == OP_PARAM || n->op == OP_PACK) return packing_of(g, n->ai[0]);
    return n->op == OP_CHAIN_VJP && n->in[k] ? g->values[n->in[k]].packing : NULL;
}

static value_id store(struct graph *g, uint32_t slot, uint32_t epoch, const struct op_call *c,
                      const struct glow_type *out, int n_out)
{
    if (!grow(&g->nodes, &g->cap_nodes, g->n_nodes + 1, sizeof *g->nodes) ||
        !grow(&g->values, &g->cap_values, g->n_values + (uint32_t)n_out, sizeof *g->values))
        return out_of_memory(g);
    struct node *n = &g->nodes[g->n_nodes];
    *n = (struct node){ .op = (uint16_t)c->op,
                        .n_in = (uint16_t)c->n_in,
                        .n_out = (uint16_t)n_out,
                        .n_ad = (uint16_t)c->n_ad,
                        .n_ai = c->n_ai,
                        .out0 = g->n_values,
                        .epoch = epoch,
                        .who = g->who,
                        .custom = c->custom,
                        .custom_self = c->custom_self };
    n->in = bump_copy(&g->memory, c->in, c->n_in * sizeof *c->in);
    n->ai = bump_copy(&g->memory, c->ai, c->n_ai * sizeof *c->ai);
    n->ad = bump_copy(&g->memory, c->ad, c->n_ad * sizeof *c->ad);
    if ((c->n_in && !n->in) || (c->n_ai && !n->ai) || (c->n_ad && !n->ad)) return out_of_memory(g);
    for (int k = 0; k < n_out; k++) {
        uint32_t id = g->n_values++;
        struct value *v = &g->values[id];
        *v = (struct value){ .node = g->n_nodes,
                             .out = (uint32_t)k,
                             .base = id,
                             .real = physical(g, c, &out[k]),
                             .type = out[k],
                             .packing = output_packing(g, n, k) };
        if (op_classes[c->op] == CLASS_VIEW) {
            v->real = g->values[c->in[0]].real;
            view_strides(c, &g->values[c->in[0]], v);
        } else
            dense_strides(&v->type, v->stride);
    }
    g->table[slot] = g->n_nodes++;
    return n->out0;
}

/* Whether the kernel reads the input as it is kept. */
static bool takes_packing(const struct graph *g, const struct op_call *c, uint32_t i)
{
    const struct packing *have = g->values[c->in[i]].packing;
    if (!have || c->op == OP_UNPACK) return true;
    struct packing want = wanted_packing(g, c, i);
    return want.count && packing_equal(have, &want);
}

/* Gives the inputs the packing, the physical type and the layout that the kernel expects. */
static bool prepare_inputs(struct graph *g, const struct op_call *c, const struct glow_type *out,
                           value_id *in)
{
    bool follow = op_classes[c->op] != CLASS_VIEW && c->op != OP_CAST && c->op != OP_SUM &&
                  c->op != OP_SLOGDET && c->op != OP_CUSTOM && c->op != OP_FUSED;
    int32_t real = physical(g, c, &out[0]);
    for (uint32_t i = 0; i < c->n_in; i++) {
        in[i] = c->in[i];
        if (!in[i]) continue;
        if (!takes_packing(g, c, i)) in[i] = graph_unary(g, OP_UNPACK, in[i]);
        if (in[i] == GRAPH_ERROR) return false;
        if (follow && g->values[in[i]].real != real)
            in[i] = graph_cast(g, in[i], real == DT_F64 ? GLOW_HI : GLOW_REAL);
        if (in[i] == GRAPH_ERROR) return false;
        if (!layout_fits(g, graph_value(g, in[i]), op_layouts[c->op]))
            in[i] = graph_unary(g, OP_COPY, in[i]);
        if (in[i] == GRAPH_ERROR) return false;
    }
    return true;
}

#define MAX_OUT 64
#define MAX_IN  256
value_id graph_add(struct graph *g, const struct op_call *call)
{
    struct glow_type out[MAX_OUT];
    value_id in[MAX_IN];
    struct op_call c = *call;
    if (c.n_in > MAX_IN)
        return graph_fail(g, GLOW_EINVAL, "%s: more than %d inputs", op_names[c.op], MAX_IN);
    for (uint32_t i = 0; i < c.n_in; i++) {
        if (c.in[i] == GRAPH_ERROR) return GRAPH_ERROR;
        if (c.in[i] == 0 && !takes_absent(c.op))
            return graph_fail(g, GLOW_EINVAL, "%s: input %u is absent", op_names[c.op], i + 1);
    }
    if (g->status != GLOW_OK) return GRAPH_ERROR;
    int n_out = infer_types(g, &c, out, MAX_OUT);
    if (n_out < 0) return GRAPH_ERROR;
    if (!g->plain) {
        value_id simpler = rewrite(g, &c);
        if (simpler) return simpler;
    }
    if (!prepare_inputs(g, &c, out, in)) return GRAPH_ERROR;
    c.in = in;
    if (2 * g->n_nodes > g->cap_table && !rehash(g)) return out_of_memory(g);
    uint32_t epoch = op_classes[c.op] == CLASS_LEAF ? 0 : g->epoch;
    uint32_t slot = (uint32_t)hash_of(g, epoch, &c) & (g->cap_table - 1);
    for (; g->table[slot]; slot = (slot + 1) & (g->cap_table - 1)) {
        const struct node *n = &g->nodes[g->table[slot]];
        if (same_node(g, n, epoch, &c, out)) return n->out0;
    }
    return store(g, slot, epoch, &c, out, n_out);
}

/* ---------------------------------------------------------------- rebuilding */

glow_status graph_copy(struct graph *g, const struct graph *src, const struct node *n,
                       value_id *map)
{
    value_id in[MAX_IN];
    struct glow_type types[MAX_OUT];
    for (uint32_t k = 0; k < n->n_in; k++) in[k] = n->in[k] ? map[n->in[k]] : 0;
    for (uint32_t k = 0; k < n->n_out; k++) types[k] = src->values[n->out0 + k].type;
    struct op_call c = { .op = n->op,
                         .n_in = n->n_in,
                         .n_ai = n->n_ai,
                         .n_ad = n->n_ad,
                         .n_out = n->n_out,
                         .in = in,
                         .ai = n->ai,
                         .ad = n->ad,
                         .type = types,
                         .custom = n->custom,
                         .custom_self = n->custom_self };
    g->epoch = n->epoch;
    g->who = n->who;
    value_id v = graph_add(g, &c);
    if (v == GRAPH_ERROR) return g->status;
    for (uint32_t k = 0; k < n->n_out; k++) map[n->out0 + k] = v + k;
    return GLOW_OK;
}

/* Nodes that binds need, and inputs; reads[v]: what readers of v read in its place. */
static void mark_used(const struct graph *g, const value_id *reads, char *used)
{
    for (uint32_t i = 0; i < g->n_binds; i++) used[g->values[reads[g->binds[i].value]].node] = 1;
    for (uint32_t i = g->n_nodes - 1; i > 0; i--) {
        const struct node *n = &g->nodes[i];
        used[i] |= n->op == OP_INPUT;
        for (uint32_t k = 0; used[i] && k < n->n_in; k++)
            if (reads[n->in[k]]) used[g->values[reads[n->in[k]]].node] = 1;
    }
}

static glow_status copy_marked(const struct graph *src, struct graph *g, const value_id *reads,
                               const char *used, value_id *map)
{
    for (uint32_t i = 1; i < src->n_nodes; i++) {
        const struct node *n = &src->nodes[i];
        if (!used[i]) continue;
        for (uint32_t k = 0; k < n->n_in; k++) map[n->in[k]] = map[reads[n->in[k]]];
        if (n->op == OP_ALIAS || n->op == OP_STOP)
            map[n->out0] = map[n->in[0]];
        else
            TRY(graph_copy(g, src, n, map));
    }
    return GLOW_OK;
}

glow_status graph_rebuild(const struct graph *src, struct graph **out)
{
    struct graph *g = NULL;
    char *used = calloc(src->n_nodes, 1);
    value_id *map = calloc(2 * (size_t)src->n_values, sizeof *map), *reads;
    glow_status status = used && map ? GLOW_OK : fail_memory(src->n_values, "graph");
    if (status != GLOW_OK) goto out;
    reads = map + src->n_values;
    for (uint32_t v = 0; v < src->n_values; v++) reads[v] = v;
    for (uint32_t i = 0; i < src->n_replacements; i++)
        reads[src->replacements[i].value] = src->replacements[i].by;
    TRY_OUT(graph_new(&g, src->model, src->backend, src->real, src->batch, src->phase));
    mark_used(src, reads, used);
    TRY_OUT(copy_marked(src, g, reads, used, map));
    for (uint32_t i = 0; i < src->n_binds; i++)
        TRY_OUT(graph_bind(g, src->binds[i].kind, src->binds[i].index,
                           map[reads[src->binds[i].value]]));
    *out = g;
    g = NULL;
out:
    graph_free(g);
    free(used);
    free(map);
    return status;
}

/* ---------------------------------------------------------------- shorthands */

value_id graph_op(struct graph *g, int op, uint32_t n_in, const value_id *in, uint32_t n_ai,
                  const int64_t *ai)
{
    return graph_add(g,
                     &(struct op_call){ .op = op, .n_in = n_in, .in = in, .n_ai = n_ai, .ai = ai });
}

value_id graph_unary(struct graph *g, int op, value_id x)
{
    return x ? graph_op(g, op, 1, &x, 0, NULL) : 0;
}

value_id graph_binary(struct graph *g, int op, value_id a, value_id b)
{
    return graph_op(g, op, 2, (value_id[2]){ a, b }, 0, NULL);
}

value_id graph_constant(struct graph *g, double c)
{
    return graph_add(g, &(struct op_call){ .op = OP_CONST, .n_ad = 1, .ad = &c });
}

value_id graph_input(struct graph *g, int64_t slot, const struct glow_type *t)
{
    return graph_add(g, &(struct op_call){ .op = OP_INPUT, .n_ai = 1, .ai = &slot, .type = t });
}

value_id graph_param(struct graph *g, int64_t index)
{
    return graph_add(g, &(struct op_call){ .op = OP_PARAM, .n_ai = 1, .ai = &index });
}

value_id graph_alias(struct graph *g, value_id v)
{
    int64_t serial = ++g->n_alias;
    return v ? graph_op(g, OP_ALIAS, 1, &v, 1, &serial) : 0;
}

value_id graph_cast(struct graph *g, value_id v, int32_t dtype)
{
    int64_t to = dtype;
    if (!v || v == GRAPH_ERROR) return v;
    return graph_op(g, OP_CAST, 1, &v, 1, &to);
}

value_id graph_reshape(struct graph *g, value_id v, int32_t rank, const int64_t *dim)
{
    struct glow_type t = { 0 };
    if (!v || v == GRAPH_ERROR) return v;
    if (rank < 0 || rank > GLOW_MAX_RANK)
        return graph_fail(g, GLOW_EINVAL, "reshape: rank %d", rank);
    t = graph_value(g, v)->type;
    memset(t.dim, 0, sizeof t.dim);
    t.rank = rank;
    for (int i = 0; i < rank; i++) t.dim[i] = dim[i];
    return graph_add(g, &(struct op_call){ .op = OP_RESHAPE, .n_in = 1, .in = &v, .type = &t });
}

value_id graph_broadcast(struct graph *g, value_id v, const struct glow_type *type)
{
    if (!v || v == GRAPH_ERROR) return v;
    struct glow_type t = *type;
    t.dtype = graph_value(g, v)->type.dtype;
    return graph_add(g, &(struct op_call){ .op = OP_BROADCAST, .n_in = 1, .in = &v, .type = &t });
}

value_id graph_sum(struct graph *g, value_id v, int64_t mask, bool hi)
{
    return v ? graph_op(g, OP_SUM, 1, &v, 2, (int64_t[2]){ mask, hi }) : 0;
}

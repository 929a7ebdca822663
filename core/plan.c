/* plan.c - dead code, lifetimes, in-place results, offsets. */
#include "plan.h"
#include <stdlib.h>
#include <string.h>
#include "custom.h"
#include "fuse.h"
#include "model.h"

#define ALIGN 64
static int64_t round_up(int64_t n) { return (n + ALIGN - 1) / ALIGN * ALIGN; }

struct block {
    int64_t size, offset;
    int32_t first, last;
    uint32_t value;
    int32_t position;
};

/* A view that is all of its buffer, in order. */
static bool is_plain(const struct graph *g, const struct value *v)
{
    const struct value *b = &g->values[v->base];
    int64_t step = 1;
    if (v->offset != 0 || v->type.batched != b->type.batched ||
        type_count(&v->type) != type_count(&b->type))
        return false;
    for (int i = v->type.rank; i > 0; step *= v->type.dim[i - 1], i--)
        if (v->type.dim[i - 1] > 1 && v->stride[i] != step) return false;
    return !v->type.batched || g->batch == 1 || v->stride[0] == step;
}

/* ---------------------------------------------------------------- operands */

static void tensor_of(const struct graph *g, const struct value *v, struct tensor *t)
{
    *t = (struct tensor){ .dtype = v->real, .rank = v->type.rank + 1, .packing = v->packing };
    t->dim[0] = v->type.batched ? g->batch : 1;
    for (int i = 0; i < v->type.rank; i++) t->dim[i + 1] = v->type.dim[i];
    memcpy(t->stride, v->stride, sizeof t->stride);
}

/* Shows an operand in the shape of the result, aligned at the right: stride 0 along stretched axes.
 * The last `own` axes stay as they are. */
static void stretch(struct tensor *t, const struct tensor *out, int own)
{
    struct tensor s = *out;
    int shift = out->rank - t->rank;
    s.data = t->data;
    s.dtype = t->dtype;
    for (int i = 0; i < out->rank; i++) {
        int from = i == 0 ? 0 : i - shift;
        bool exists = i == 0 || from > 0, mine = i >= out->rank - own;
        if (mine) s.dim[i] = t->dim[from];
        s.stride[i] = !exists || (t->dim[from] == 1 && !mine) ? 0 : t->stride[from];
    }
    *t = s;
}

/* The shape that the operands of a fused step broadcast to. */
static void join_inputs(const struct graph *g, const struct node *n, struct tensor *shape)
{
    *shape = (struct tensor){ .rank = 1 };
    for (uint32_t k = 0; k < n->n_in; k++) {
        const struct glow_type *t = &g->values[n->in[k]].type;
        if (t->rank >= shape->rank) shape->rank = t->rank + 1;
    }
    for (int i = 0; i < shape->rank; i++) shape->dim[i] = 1;
    for (uint32_t k = 0; k < n->n_in; k++) {
        const struct glow_type *t = &g->values[n->in[k]].type;
        int64_t *dim = shape->dim + shape->rank - t->rank;
        if (t->batched) shape->dim[0] = g->batch;
        for (int i = 0; i < t->rank; i++)
            if (t->dim[i] > dim[i]) dim[i] = t->dim[i];
    }
}

void plan_tensors(const struct graph *g, const struct plan *p, const struct node *n,
                  struct tensor *in, struct tensor *out)
{
    static char dummy;
    struct tensor shape;
    for (uint32_t k = 0; k < n->n_out; k++) {
        tensor_of(g, &g->values[n->out0 + k], &out[k]);
        if (p->places[n->out0 + k].kind != PLACE_NONE) out[k].data = &dummy;
    }
    if (n->op == OP_FUSED) join_inputs(g, n, &shape);
    for (uint32_t k = 0; k < n->n_in; k++) {
        in[k] = (struct tensor){ 0 };
        if (!n->in[k]) continue;
        tensor_of(g, &g->values[n->in[k]], &in[k]);
        in[k].data = &dummy;
        if (op_classes[n->op] == CLASS_ELEM) stretch(&in[k], &out[0], 0);
        if (n->op == OP_FUSED) stretch(&in[k], &shape, 0);
        if (n->op == OP_MATMUL) stretch(&in[k], &out[0], 2);
        if (n->op == OP_PLACE)
            in[k].dim[0] = out[0].dim[0]; /* an unbatched part has stride 0 there */
    }
}

/* ---------------------------------------------------------------- lifetimes */

/* Inputs are live in any case: whoever runs the program writes them. */
static void mark_live(const struct graph *g, char *live)
{
    for (uint32_t i = 1; i < g->n_nodes; i++) live[i] = g->nodes[i].op == OP_INPUT;
    for (uint32_t i = 0; i < g->n_binds; i++) live[g->values[g->binds[i].value].node] = 1;
    for (uint32_t i = g->n_nodes - 1; i > 0; i--)
        for (uint32_t k = 0; live[i] && k < g->nodes[i].n_in; k++)
            if (g->nodes[i].in[k]) live[g->values[g->nodes[i].in[k]].node] = 1;
}

static void find_lifetimes(const struct graph *g, struct plan *p, const char *live)
{
    for (uint32_t i = 1; i < g->n_nodes; i++) {
        const struct node *n = &g->nodes[i];
        if (!live[i] || op_classes[n->op] == CLASS_VIEW) continue;
        struct place *out = &p->places[n->out0];
        if (op_classes[n->op] == CLASS_LEAF) {
            const struct value *v = &g->values[n->out0];
            if (n->op == OP_PARAM)
                *out = (struct place){ PLACE_WEIGHT, 0, 0,
                                       g->model->params[n->ai[0]].offset *
                                           (int64_t)dtype_size(g->real) };
            else {
                *out = (struct place){ PLACE_FIXED, 0, 0, p->fixed_bytes };
                p->fixed_bytes += round_up(graph_value_bytes(g, v));
            }
            continue;
        }
        int32_t position = (int32_t)p->n_order;
        p->order[p->n_order++] = i;
        for (uint32_t k = 0; k < n->n_out; k++)
            out[k] = (struct place){ PLACE_NONE, position, -1, 0 };
        if (n->op == OP_CHAIN) out[0].last = position; /* its kernel always writes y */
        for (uint32_t k = 0; k < n->n_in; k++)
            if (n->in[k]) p->places[g->values[n->in[k]].base].last = position;
    }
}

/* What binds ask for: gradients are made in their place, outputs and new parameters live to the
 * end. */
static void apply_binds(const struct graph *g, struct plan *p)
{
    for (uint32_t i = 0; i < g->n_binds; i++) {
        const struct value *v = &g->values[g->binds[i].value];
        struct place *b = &p->places[v->base];
        if (b->kind != PLACE_NONE) continue;
        if (g->binds[i].kind == BIND_GRADIENT && is_plain(g, v) && v->real == g->real) {
            b->kind = PLACE_GRADIENT;
            b->offset = g->model->params[g->binds[i].index].offset * (int64_t)dtype_size(g->real);
        } else
            b->last = (int32_t)p->n_order;
    }
    for (uint32_t i = 1; i < g->n_values; i++) {
        struct place *b = &p->places[i];
        if (g->values[i].base == i && b->kind == PLACE_NONE && b->last >= 0 && b->first >= 0) {
            b->kind = PLACE_ARENA;
            if (b->last < b->first) b->last = b->first;
        }
    }
}

/* Element i of x lies at i of its buffer, and out has as many. */
static bool in_order(const struct graph *g, const struct value *x, const struct value *out)
{
    return is_plain(g, x) && x->real == out->real && x->type.batched == out->type.batched &&
           type_count(&x->type) == type_count(&out->type);
}

/* Whether an elementwise output may be written over operand k of its node, which dies there: no
 * operand reads that memory out of order, nor, in a fused step, after the output is made. */
static bool may_replace(const struct graph *g, const struct plan *p, const uint32_t *root,
                        int32_t position, uint32_t k, const struct value *out)
{
    const struct node *n = &g->nodes[p->order[position]];
    uint32_t base = g->values[n->in[k]].base, r = root[base];
    if (p->places[base].kind != PLACE_ARENA || p->places[r].last != position ||
        p->places[base].last != position)
        return false;
    for (uint32_t j = 0; j < n->n_in; j++) {
        const struct value *x = &g->values[n->in[j]];
        if (root[x->base] != r) continue;
        if (!in_order(g, x, out)) return false;
        if (n->op == OP_FUSED && fused_last_reader(n->ai, j) > fused_maker(n->ai, out->out))
            return false;
    }
    return true;
}

/* Whether a fused step's output is a sum, which is written while others still read. */
static bool is_sum(const struct node *n, uint32_t output)
{
    return n->op == OP_FUSED && n->ai[1 + 4 * fused_maker(n->ai, output)] == OP_SUM;
}

/* root[v]: the value whose buffer v shares. An elementwise result may replace an operand that dies.
 */
static void find_in_place(const struct graph *g, struct plan *p, uint32_t *root)
{
    for (int32_t position = 0; position < (int32_t)p->n_order; position++) {
        const struct node *n = &g->nodes[p->order[position]];
        if (op_classes[n->op] != CLASS_ELEM && n->op != OP_FUSED) continue;
        for (uint32_t v = n->out0; v < n->out0 + n->n_out; v++) {
            uint32_t k = 0;
            if (p->places[v].kind != PLACE_ARENA || is_sum(n, v - n->out0)) continue;
            while (k < n->n_in && !may_replace(g, p, root, position, k, &g->values[v])) k++;
            if (k == n->n_in) continue;
            uint32_t r = root[v] = root[g->values[n->in[k]].base];
            p->n_in_place++;
            if (p->places[v].last > p->places[r].last) p->places[r].last = p->places[v].last;
        }
    }
}

/* ---------------------------------------------------------------- offsets */

static int by_size(const void *a, const void *b)
{
    const struct block *x = a, *y = b;
    if (x->size != y->size) return x->size < y->size ? 1 : -1;
    if (x->first != y->first) return x->first < y->first ? -1 : 1;
    return x->value < y->value ? -1 : x->value > y->value;
}

/* The largest first, each into the first gap among those alive at the same time. */
static int64_t assign_offsets(struct block *b, uint32_t n, uint32_t *by_offset)
{
    int64_t peak = 0;
    qsort(b, n, sizeof *b, by_size);
    for (uint32_t i = 0; i < n; i++) {
        int64_t at = 0;
        for (uint32_t j = 0; j < i; j++) {
            const struct block *q = &b[by_offset[j]];
            if (q->last < b[i].first || q->first > b[i].last) continue;
            if (q->offset >= at + b[i].size) break;
            if (q->offset + q->size > at) at = q->offset + q->size;
        }
        b[i].offset = at;
        if (at + b[i].size > peak) peak = at + b[i].size;
        uint32_t j = i;
        for (; j > 0 && b[by_offset[j - 1]].offset > at; j--) by_offset[j] = by_offset[j - 1];
        by_offset[j] = i;
    }
    return peak;
}

static int64_t most_alive(const struct block *b, uint32_t n, int64_t *delta, uint32_t n_order)
{
    int64_t alive = 0, most = 0;
    for (uint32_t i = 0; i < n; i++) {
        delta[b[i].first] += b[i].size;
        if (b[i].last + 1 <= (int32_t)n_order) delta[b[i].last + 1] -= b[i].size;
    }
    for (uint32_t i = 0; i <= n_order; i++)
        if ((alive += delta[i]) > most) most = alive;
    return most;
}

/* Scratch of the step at a position, in bytes. */
static int64_t scratch_bytes(const struct graph *g, const struct plan *p, uint32_t position,
                             struct engine *e)
{
    const struct node *n = &g->nodes[p->order[position]];
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
    plan_tensors(g, p, n, in, out);
    struct glow_type types[128];
    if (n->op == OP_CUSTOM) { /* the backend adds its views of the operands */
        custom_types(g, n, types);
        s.custom = custom_kernel(g, n->custom);
        s.types = types;
    }
    return (int64_t)g->backend->scratch(e, &s);
}

static glow_status find_offsets(const struct graph *g, struct plan *p, struct engine *e,
                                const uint32_t *root)
{
    glow_status status = GLOW_OK;
    uint32_t n = 0, room = g->n_values + p->n_order;
    struct block *b = calloc(room, sizeof *b);
    uint32_t *by_offset = calloc(room, sizeof *by_offset);
    int64_t *delta = calloc(p->n_order + 2, sizeof *delta);
    if (!b || !by_offset || !delta) {
        status = fail_memory(room * sizeof *b, "plan");
        goto out;
    }
    for (uint32_t i = 1; i < g->n_values; i++) {
        const struct place *at = &p->places[i];
        if (g->values[i].base == i && at->kind == PLACE_ARENA && root[i] == i)
            b[n++] = (struct block){
                round_up(graph_value_bytes(g, &g->values[i])), 0, at->first, at->last, i, -1
            };
    }
    for (uint32_t i = 0; i < p->n_order; i++) {
        int64_t bytes = scratch_bytes(g, p, i, e);
        p->scratch[i] = -1;
        if (bytes > 0)
            b[n++] = (struct block){ round_up(bytes), 0, (int32_t)i, (int32_t)i, 0, (int32_t)i };
    }
    p->live_bytes = most_alive(b, n, delta, p->n_order);
    p->arena_bytes = assign_offsets(b, n, by_offset);
    for (uint32_t i = 0; i < n; i++) {
        if (b[i].value)
            p->places[b[i].value].offset = b[i].offset;
        else
            p->scratch[b[i].position] = b[i].offset;
    }
    for (uint32_t i = 1; i < g->n_values; i++)
        if (g->values[i].base == i && p->places[i].kind == PLACE_ARENA)
            p->places[i].offset = p->places[root[i]].offset;
    for (uint32_t i = 1; i < g->n_values; i++)
        if (g->values[i].base != i) p->places[i] = p->places[g->values[i].base];
out:
    free(b);
    free(by_offset);
    free(delta);
    return status;
}

glow_status plan_make(struct plan **out, const struct graph *g, struct engine *e)
{
    glow_status status = GLOW_OK;
    struct plan *p = calloc(1, sizeof *p);
    char *live = calloc(g->n_nodes, 1);
    uint32_t *root = calloc(g->n_values, sizeof *root);
    if (!p || !live || !root) {
        status = fail_memory(g->n_values * sizeof *root, "plan");
        goto out;
    }
    p->order = bump_alloc(&p->memory, g->n_nodes * sizeof *p->order);
    p->places = bump_alloc(&p->memory, g->n_values * sizeof *p->places);
    p->scratch = bump_alloc(&p->memory, g->n_nodes * sizeof *p->scratch);
    if (!p->order || !p->places || !p->scratch) {
        status = fail_memory(g->n_values * sizeof *p->places, "plan");
        goto out;
    }
    for (uint32_t i = 0; i < g->n_values; i++) {
        root[i] = i;
        p->places[i] = (struct place){ PLACE_NONE, -1, -1, 0 };
    }
    mark_live(g, live);
    find_lifetimes(g, p, live);
    apply_binds(g, p);
    if (!g->separate) find_in_place(g, p, root);
    TRY_OUT(find_offsets(g, p, e, root));
    *out = p;
    p = NULL;
out:
    plan_free(p);
    free(live);
    free(root);
    return status;
}

void plan_free(struct plan *p)
{
    if (!p) return;
    bump_free(&p->memory);
    free(p);
}

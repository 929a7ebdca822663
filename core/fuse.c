/* fuse.c - chains of elementwise operations become one step each, which passes over memory once.
 *
 * The nodes are gone through in the order in which they would run. The first elementwise operation
 * opens a group; those behind it that have its shape and type join, up to the next operation of
 * another class, sums and extremes excepted. What lies between and does not need the group runs
 * ahead of it; what needs it runs behind, and so does, as the beginning of another group, what
 * needs any of that, and what is larger than the group: chains of images find what is made of
 * parameters ready, and are not cut where they need it. So no group ever waits for itself, and
 * between products the order stays as it was. A value leaves its group when anything else reads it,
 * a view of it too. */
#include "fuse.h"
#include <stdlib.h>
#include <string.h>

enum {
    MOST_WRITTEN = 4,  /* tensors: more of them are alive at once than if they came one by one */
    WINDOW = 256,      /* nodes from the first to the last of a group */
    LEAST_SUMMED = 512 /* elements of a row that is summed: short ones begin tiles too often */
};
enum state { WAITING, MEMBER, SUMMED, AHEAD, BEHIND }; /* SUMMED: a member that nobody joins */

struct fuser {
    const struct graph *src;
    struct graph *g;
    value_id *map;  /* values of src in g */
    uint32_t *uses; /* per value of src: inputs and binds that name it */
    uint8_t *state; /* per node of src */
};

struct group {
    int n, n_inputs;
    uint32_t member[FUSED_OPS]; /* nodes, in order */
    value_id input[FUSED_INPUTS];
};

int fused_last_reader(const int64_t *ai, int64_t input)
{
    int last = -1;
    for (int i = 0; i < ai[0]; i++)
        for (int k = 0; k < 3; k++)
            if (ai[2 + 4 * i + k] == input) last = i;
    return last;
}

int fused_maker(const int64_t *ai, int64_t output) { return (int)ai[1 + 4 * ai[0] + output]; }

/* ---------------------------------------------------------------- who belongs to a group */

static enum state state_of(const struct fuser *f, value_id v)
{
    return f->state[f->src->values[v].node];
}

static bool can_fuse(const struct node *n)
{
    return op_classes[n->op] == CLASS_ELEM && n->op != OP_CAST;
}

/* What a group does not reach across: everything that takes longer than to read its operands. */
static bool is_barrier(const struct node *n)
{
    if (n->op == OP_SUM || n->op == OP_REDUCE_MAX || n->op == OP_REDUCE_MIN || n->op == OP_CAST)
        return false;
    return op_classes[n->op] == CLASS_KERN || op_classes[n->op] == CLASS_FILL;
}

static bool same_shape(const struct value *a, const struct value *b)
{
    return a->real == b->real && a->type.batched == b->type.batched &&
           a->type.rank == b->type.rank &&
           !memcmp(a->type.dim, b->type.dim, (size_t)a->type.rank * sizeof *a->type.dim);
}

static int input_number(const struct group *group, value_id v)
{
    int k = 0;
    while (k < group->n_inputs && group->input[k] != v) k++;
    return k;
}

static bool needs_group(const struct fuser *f, const struct node *n)
{
    for (uint32_t k = 0; k < n->n_in; k++) {
        if (!n->in[k]) continue;
        enum state s = state_of(f, n->in[k]);
        if (s == MEMBER || s == SUMMED || s == BEHIND) return true;
    }
    return false;
}

/* Whether a node adds up what a member makes, in rows that are worth it. */
static bool sums_member(const struct fuser *f, const struct group *group, const struct node *n)
{
    if (n->op != OP_SUM || state_of(f, n->in[0]) != MEMBER) return false;
    const struct glow_type *t = &f->src->values[n->in[0]].type;
    bool of_samples = t->batched && n->ai[0] == ((int64_t)2 << t->rank) - 2;
    int64_t row = 1;
    for (int i = t->rank; i > 0 && (n->ai[0] >> i & 1); i--) row *= t->dim[i - 1];
    if (row < LEAST_SUMMED || (!of_samples && !f->src->backend->fuses_all_sums)) return false;
    int64_t other = n->ai[0]; /* sums over other axes cost the group another pass: one at most */
    for (int i = 0; i < group->n; i++) {
        const struct node *m = &f->src->nodes[group->member[i]];
        if (m->op != OP_SUM || m->ai[0] == n->ai[0]) continue;
        if (other != n->ai[0] && m->ai[0] != other) return false;
        other = m->ai[0];
    }
    return true;
}

/* Whether an elementwise node has more elements than the members have. */
static bool is_larger(const struct fuser *f, const struct group *group, const struct node *n)
{
    const struct glow_type *own = &f->src->values[n->out0].type;
    const struct glow_type *t = &f->src->values[f->src->nodes[group->member[0]].out0].type;
    if (!can_fuse(n)) return false;
    return own->batched != t->batched ? own->batched : type_count(own) > type_count(t);
}

enum answer { JOINS, DIFFERS, FULL };

static enum answer try_to_join(const struct fuser *f, struct group *group, uint32_t node)
{
    const struct node *n = &f->src->nodes[node];
    const struct value *v = &f->src->values[n->out0];
    if (sums_member(f, group, n)) {
        if (group->n == FUSED_OPS) return FULL;
        group->member[group->n++] = node;
        return JOINS;
    }
    if (!can_fuse(n)) return DIFFERS;
    if (group->n && !same_shape(v, &f->src->values[f->src->nodes[group->member[0]].out0]))
        return DIFFERS;
    for (uint32_t k = 0; k < n->n_in; k++)
        if (state_of(f, n->in[k]) == BEHIND || state_of(f, n->in[k]) == SUMMED) return DIFFERS;
    if (group->n == FUSED_OPS) return FULL;
    int known = group->n_inputs;
    for (uint32_t k = 0; k < n->n_in; k++) {
        if (state_of(f, n->in[k]) == MEMBER) continue;
        int number = input_number(group, n->in[k]);
        if (number < group->n_inputs) continue;
        if (number == FUSED_INPUTS) {
            group->n_inputs = known;
            return FULL;
        }
        group->input[group->n_inputs++] = n->in[k];
    }
    group->member[group->n++] = node;
    return JOINS;
}

/* Collects the group that list[0] opens and gives the nodes up to its last one their states;
 * returns how many those are. */
static uint32_t collect(struct fuser *f, const uint32_t *list, uint32_t n, struct group *group)
{
    uint32_t end = 0;
    group->n = group->n_inputs = 0;
    for (uint32_t i = 0; i < n && i < WINDOW; i++) {
        const struct node *node = &f->src->nodes[list[i]];
        enum answer answer = try_to_join(f, group, list[i]);
        if (answer == FULL || is_barrier(node)) break;
        if (answer == JOINS) {
            f->state[list[i]] = node->op == OP_SUM ? SUMMED : MEMBER;
            end = i + 1;
        } else
            f->state[list[i]] = needs_group(f, node) || is_larger(f, group, node) ? BEHIND : AHEAD;
    }
    for (uint32_t i = end; i < n && f->state[list[i]] != WAITING; i++) f->state[list[i]] = WAITING;
    return end;
}

/* ---------------------------------------------------------------- groups to nodes */

/* Whether anything but members reads what member i makes. */
static bool leaves(const struct fuser *f, const struct group *group, int i)
{
    value_id v = f->src->nodes[group->member[i]].out0;
    uint32_t inside = 0;
    for (int j = i + 1; j < group->n; j++) {
        const struct node *n = &f->src->nodes[group->member[j]];
        for (uint32_t k = 0; k < n->n_in; k++) inside += n->in[k] == v;
    }
    return f->uses[v] > inside;
}

static void find_inputs(const struct fuser *f, struct group *group)
{
    group->n_inputs = 0;
    for (int i = 0; i < group->n; i++) {
        const struct node *n = &f->src->nodes[group->member[i]];
        for (uint32_t k = 0; k < n->n_in; k++)
            if (state_of(f, n->in[k]) != MEMBER && input_number(group, n->in[k]) == group->n_inputs)
                group->input[group->n_inputs++] = n->in[k];
    }
}

/* The last members go until few enough values leave the group. */
static void limit_outputs(struct fuser *f, struct group *group)
{
    for (;; group->n--) {
        int n_out = 0, n_written = 0;
        for (int i = 0; i < group->n; i++) {
            if (!leaves(f, group, i)) continue;
            n_out++;
            n_written += f->src->nodes[group->member[i]].op != OP_SUM;
        }
        if (n_out <= FUSED_OUTPUTS && n_written <= MOST_WRITTEN) break;
        f->state[group->member[group->n - 1]] = BEHIND;
    }
    find_inputs(f, group);
}

static bool reads(const struct node *n, value_id v)
{
    for (uint32_t k = 0; k < n->n_in; k++)
        if (n->in[k] == v) return true;
    return false;
}

/* Orders the members so that one that reads what the last made comes next, if there is one that
 * can: it finds its operand in registers. */
static void follow_results(const struct fuser *f, struct group *group)
{
    const struct node *nodes = f->src->nodes;
    value_id made = 0;
    for (int i = 0; i < group->n; i++) {
        int first = -1, next = -1;
        for (int j = i; j < group->n && next < 0; j++) { /* those that are left, in order */
            bool ready = true;
            for (int k = i; k < j && ready; k++)
                ready = !reads(&nodes[group->member[j]], nodes[group->member[k]].out0);
            if (!ready) continue;
            if (first < 0) first = j;
            if (reads(&nodes[group->member[j]], made)) next = j;
        }
        next = next < 0 ? first : next;
        const uint32_t member = group->member[next];
        memmove(group->member + i + 1, group->member + i, (size_t)(next - i) * sizeof member);
        group->member[i] = member;
        if (nodes[member].op != OP_SUM) made = nodes[member].out0;
    }
}

static glow_status emit_node(struct fuser *f, uint32_t node)
{
    f->state[node] = WAITING; /* no longer of any group */
    return graph_copy(f->g, f->src, &f->src->nodes[node], f->map);
}

/* The number of the operand in the fused node: an input or the result of a member. */
static int64_t operand_number(const struct fuser *f, const struct group *group, value_id v)
{
    for (int i = 0; i < group->n; i++)
        if (f->src->nodes[group->member[i]].out0 == v) return group->n_inputs + i;
    return input_number(group, v);
}

static glow_status emit_group(struct fuser *f, struct group *group)
{
    int64_t ai[1 + 4 * FUSED_OPS + FUSED_OUTPUTS], *out = ai + 1 + 4 * group->n;
    struct glow_type types[FUSED_OUTPUTS];
    value_id in[FUSED_INPUTS];
    const struct instance **whose = bump_alloc(&f->g->memory, (size_t)group->n * sizeof *whose);
    if (!whose) return fail_memory(sizeof *whose, "graph");
    struct op_call c = { .op = OP_FUSED, .in = in, .ai = ai, .type = types };
    value_id made[FUSED_OUTPUTS];
    ai[0] = group->n;
    for (int i = 0; i < group->n; i++) {
        const struct node *n = &f->src->nodes[group->member[i]];
        int64_t *operation = ai + 1 + 4 * i;
        whose[i] = n->who;
        operation[0] = n->op;
        for (uint32_t k = 0; k < 3; k++)
            operation[1 + k] = k < n->n_in ? operand_number(f, group, n->in[k]) : -1;
        if (!leaves(f, group, i)) continue;
        types[c.n_out] = f->src->values[n->out0].type;
        made[c.n_out] = n->out0;
        out[c.n_out++] = i;
    }
    for (int k = 0; k < group->n_inputs; k++) in[k] = f->map[group->input[k]];
    c.n_in = (uint32_t)group->n_inputs;
    c.n_ai = 1 + 4 * (uint32_t)group->n + c.n_out;
    f->g->epoch = f->src->nodes[group->member[0]].epoch;
    f->g->who = whose[0];
    value_id v = graph_add(f->g, &c);
    if (v == GRAPH_ERROR) return f->g->status;
    graph_maker(f->g, v)->whose = whose;
    for (uint32_t k = 0; k < c.n_out; k++) f->map[made[k]] = v + k;
    for (int i = 0; i < group->n; i++) f->state[group->member[i]] = WAITING;
    return GLOW_OK;
}

/* ---------------------------------------------------------------- the order */

/* Takes the nodes of a state out of list[0 .. n-1], in order. */
static uint32_t pick(const struct fuser *f, const uint32_t *list, uint32_t n, enum state state,
                     uint32_t *to)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < n; i++)
        if (f->state[list[i]] == (uint8_t)state) to[count++] = list[i];
    return count;
}

/* Adds the nodes of a list, which is changed on the way. */
static glow_status emit_list(struct fuser *f, uint32_t *list, uint32_t n)
{
    uint32_t other[WINDOW];
    struct group group;
    while (n > 0) {
        uint32_t end = can_fuse(&f->src->nodes[*list]) ? collect(f, list, n, &group) : 0, n_other;
        if (end > 1) limit_outputs(f, &group);
        if (end <= 1 || group.n < 2) {
            for (uint32_t i = 0; i < end; i++) f->state[list[i]] = WAITING;
            TRY(emit_node(f, *list++));
            n--;
            continue;
        }
        uint32_t behind[WINDOW], n_behind = pick(f, list, end, BEHIND, behind);
        n_other = pick(f, list, end, AHEAD, other);
        for (uint32_t i = 0; i < n_other; i++) f->state[other[i]] = WAITING;
        TRY(emit_list(f, other, n_other));
        follow_results(f, &group);
        TRY(emit_group(f, &group));
        for (uint32_t i = 0; i < n_behind; i++) f->state[behind[i]] = WAITING;
        list += end - n_behind;
        n -= end - n_behind;
        memcpy(list, behind, n_behind * sizeof *list);
    }
    return GLOW_OK;
}

/* Marks what the binds need, and the inputs; counts who reads each value. */
static uint32_t list_live(struct fuser *f, uint32_t *list)
{
    const struct graph *g = f->src;
    uint32_t n = 0;
    for (uint32_t i = 1; i < g->n_nodes; i++) f->state[i] = g->nodes[i].op == OP_INPUT;
    for (uint32_t i = 0; i < g->n_binds; i++) {
        f->state[g->values[g->binds[i].value].node] = 1;
        f->uses[g->binds[i].value]++;
    }
    for (uint32_t i = g->n_nodes - 1; i > 0; i--)
        for (uint32_t k = 0; f->state[i] && k < g->nodes[i].n_in; k++) {
            value_id v = g->nodes[i].in[k];
            f->state[g->values[v].node] |= v != 0;
            f->uses[v]++;
        }
    for (uint32_t i = 1; i < g->n_nodes; i++) {
        if (f->state[i]) list[n++] = i;
        f->state[i] = WAITING;
    }
    return n;
}

glow_status graph_fuse(struct graph **graph)
{
    const struct graph *src = *graph;
    struct fuser f = { .src = src };
    if (src->plain || src->separate) return GLOW_OK;
    glow_status status = GLOW_OK;
    uint32_t *list = calloc(src->n_nodes, sizeof *list);
    f.map = calloc(src->n_values, sizeof *f.map);
    f.uses = calloc(src->n_values, sizeof *f.uses);
    f.state = calloc(src->n_nodes, sizeof *f.state);
    if (!list || !f.map || !f.uses || !f.state) {
        status = fail_memory(src->n_values * sizeof *f.map, "graph");
        goto out;
    }
    TRY_OUT(graph_new(&f.g, src->model, src->backend, src->real, src->batch, src->phase));
    f.g->decompose = src->decompose;
    f.g->plain = true; /* it is simple already */
    TRY_OUT(emit_list(&f, list, list_live(&f, list)));
    for (uint32_t i = 0; i < src->n_binds; i++)
        TRY_OUT(
            graph_bind(f.g, src->binds[i].kind, src->binds[i].index, f.map[src->binds[i].value]));
    f.g->plain = false;
    graph_free(*graph);
    *graph = f.g;
    f.g = NULL;
out:
    graph_free(f.g);
    free(list);
    free(f.map);
    free(f.uses);
    free(f.state);
    return status;
}

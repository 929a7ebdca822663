/* program.c - a planned graph becomes a flat list of steps with every operand resolved to memory.
 */
#include "program.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "custom.h"
#ifdef __GLIBC__
#include <malloc.h>
#endif
#include "fuse.h"

/* The heap keeps what a graph took, though nothing as large is wanted while the program runs. */
static void give_back_heap(void)
{
#ifdef __GLIBC__
    malloc_trim(0);
#endif
}

static double seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

struct compiler {
    struct program *p;
    const struct graph *g;
    const struct plan *plan;
    char *weights; /* the arena that OP_PARAM reads */
    char *fixed;   /* inputs and constants */
};

static void *memory_of(const struct compiler *c, value_id v)
{
    const struct value *x = &c->g->values[v];
    const struct place *at = &c->plan->places[x->base];
    char *base;
    switch (at->kind) {
    case PLACE_ARENA: base = c->p->arena; break;
    case PLACE_FIXED: base = c->fixed; break;
    case PLACE_WEIGHT: base = c->weights; break;
    case PLACE_GRADIENT: base = c->p->model->gradients; break;
    default: return NULL;
    }
    return base + at->offset + x->offset * (int64_t)dtype_size(x->real);
}

static void value_tensor(const struct compiler *c, value_id v, struct tensor *t)
{
    const struct value *x = &c->g->values[v];
    *t = (struct tensor){
        .data = memory_of(c, v), .dtype = x->real, .rank = x->type.rank + 1, .packing = x->packing
    };
    t->dim[0] = x->type.batched ? c->g->batch : 1;
    for (int i = 0; i < x->type.rank; i++) t->dim[i + 1] = x->type.dim[i];
    memcpy(t->stride, x->stride, sizeof t->stride);
}

/* Copies n doubles into memory of a type, wherever it is. */
static glow_status put_doubles(const struct model *m, int32_t dtype, void *to, const double *x,
                               int64_t n)
{
    if (dtype == DT_F64) return backend_upload(m->backend, m->engine, to, x, (size_t)n * sizeof *x);
    float *narrow = malloc((size_t)n * sizeof *narrow);
    if (!narrow) return fail_memory((size_t)n * sizeof *narrow, "program");
    for (int64_t i = 0; i < n; i++) narrow[i] = (float)x[i];
    glow_status status =
        backend_upload(m->backend, m->engine, to, narrow, (size_t)n * sizeof *narrow);
    free(narrow);
    return status;
}

static glow_status fill_constants(const struct compiler *c)
{
    for (uint32_t i = 1; i < c->g->n_nodes; i++) {
        const struct node *n = &c->g->nodes[i];
        if ((n->op != OP_CONST && n->op != OP_ARRAY) ||
            c->plan->places[n->out0].kind != PLACE_FIXED)
            continue;
        TRY(put_doubles(c->p->model, c->g->values[n->out0].real, memory_of(c, n->out0), n->ad,
                        n->n_ad));
    }
    return GLOW_OK;
}

/* Twice the multiply-adds of a product: what a floor is computed from. */
static int64_t node_flops(const struct graph *g, const struct node *n)
{
#define POSITIONS(t) (((t)->batched ? g->batch : 1) * type_count(t) / (t)->dim[0])
    const struct glow_type *x = n->n_in ? &g->values[n->in[0]].type : NULL,
                           *y = &g->values[n->out0].type;
    switch (n->op) {
    case OP_MATC: return 2 * POSITIONS(x) * x->dim[0] * y->dim[0];
    case OP_MATC_DW: return 2 * POSITIONS(x) * y->dim[0] * y->dim[1];
    case OP_CONV:
    case OP_CONV_DX: return 2 * POSITIONS(x) * type_count(&g->values[n->in[1]].type);
    case OP_CONV_DW: return 2 * POSITIONS(x) * type_count(y);
    case OP_MATMUL: {
        const struct glow_type *a = x;
        int64_t k = a->dim[a->rank - (n->ai[0] ? 2 : 1)];
        return 2 * (y->batched ? g->batch : 1) * type_count(y) * k;
    }
    case OP_CHAIN:
    case OP_CHAIN_VJP: {
        int64_t weights = 0, last = 0;
        for (int64_t i = 0; i < n->ai[0]; i++) { /* the edge channel needs no products */
            const struct glow_type *w = &g->values[n->in[1 + 3 * i]].type;
            last = type_count(w) / w->dim[1] * (w->dim[1] - (n->ai[2 + 3 * i] != 0));
            weights += last;
        }
        int64_t all = n->op == OP_CHAIN ? weights : 2 * weights;
        if (n->op == OP_CHAIN_VJP && n->ai[0] > 1 && !n->in[2 + 3 * n->ai[0]])
            all += weights - last; /* hidden activations computed again */
        return 2 * POSITIONS(x) * all;
    }
    default: return 0;
    }
#undef POSITIONS
}

static const char *owner_of(struct bump *memory, const struct instance *who)
{
    return who ? bump_print(memory, "%s", who->path) : "the objective";
}

/* Of a fused step: whose each of its operations is. */
static glow_status make_owners(struct bump *memory, const struct node *n, struct step *s)
{
    const char **owners = bump_alloc(memory, (size_t)n->ai[0] * sizeof *owners);
    if (!owners) return fail_memory(sizeof *owners, "program");
    for (int64_t i = 0; i < n->ai[0]; i++) {
        bool same = i > 0 && n->whose[i] == n->whose[i - 1];
        owners[i] = same ? owners[i - 1] : owner_of(memory, n->whose[i]);
        if (!owners[i]) return fail_memory(64, "program");
    }
    s->owners = owners;
    return GLOW_OK;
}

static glow_status make_step(const struct compiler *c, uint32_t position, struct step *s)
{
    const struct graph *g = c->g;
    const struct node *n = &g->nodes[c->plan->order[position]];
    struct bump *memory = &c->p->memory;
    struct tensor *in = bump_alloc(memory, (n->n_in + 1u) * sizeof *in),
                  *out = bump_alloc(memory, n->n_out * sizeof *out);
    if (!in || !out) return fail_memory(sizeof *in, "program");
    plan_tensors(g, c->plan, n, in, out);
    for (uint32_t k = 0; k < n->n_in; k++) in[k].data = n->in[k] ? memory_of(c, n->in[k]) : NULL;
    for (uint32_t k = 0; k < n->n_out; k++) out[k].data = memory_of(c, n->out0 + k);
    *s = (struct step){ .op = n->op,
                        .n_in = n->n_in,
                        .n_out = n->n_out,
                        .n_ai = (int)n->n_ai,
                        .n_ad = n->n_ad,
                        .in = in,
                        .out = out,
                        .owner = owner_of(memory, n->who) };
    s->ai = bump_copy(memory, n->ai, n->n_ai * sizeof *n->ai);
    s->ad = bump_copy(memory, n->ad, n->n_ad * sizeof *n->ad);
    if (!s->owner || (n->n_ai && !s->ai) || (n->n_ad && !s->ad)) return fail_memory(64, "program");
    if (c->plan->scratch[position] >= 0)
        s->scratch = (char *)c->p->arena + c->plan->scratch[position];
    bool by_input =
        n->n_in && n->in[0]; /* a kernel is chosen by what it reads, or makes from nothing */
    s->run = g->backend->kernel(n->op, g->values[by_input ? n->in[0] : n->out0].real);
    if (!s->run)
        return fail(GLOW_ENOTSUP, "%s: backend %s has no kernel for operation %s", s->owner,
                    g->backend->name, op_names[n->op]);
    if (n->op == OP_CUSTOM) {
        struct glow_type *types = bump_alloc(memory, (n->n_in + (size_t)n->n_out) * sizeof *types);
        if (!types) return fail_memory(sizeof *types, "program");
        for (uint32_t k = 0; k < n->n_in; k++) {
            if (n->in[k])
                types[k] = g->values[n->in[k]].type;
            else
                types[k].rank = -1;
        }
        for (uint32_t k = 0; k < n->n_out; k++) types[n->n_in + k] = g->values[n->out0 + k].type;
        s->custom = custom_kernel(g, n->custom);
        s->types = types;
    }
    if (n->op == OP_FUSED) TRY(make_owners(memory, n, s));
    s->flops = node_flops(g, n);
    c->p->flops += s->flops;
    return GLOW_OK;
}

/* A copy into a parameter's place in an arena, at the end of the program. */
static glow_status make_copy(const struct compiler *c, value_id v, void *arena, int index,
                             struct step *s)
{
    const struct model *m = c->p->model;
    struct tensor *t = bump_alloc(&c->p->memory, 2 * sizeof *t);
    if (!t) return fail_memory(2 * sizeof *t, "program");
    value_tensor(c, v, &t[0]);
    if (t[0].packing) /* the parameter's own: a copy with its padding */
        t[0] = (struct tensor){ .data = t[0].data,
                                .dtype = t[0].dtype,
                                .rank = 2,
                                .dim = { 1, t[0].packing->count },
                                .stride = { 0, 1 } };
    t[1] = t[0];
    t[1].data = (char *)arena + m->params[index].offset * (int64_t)dtype_size(m->real);
    int64_t stride = 1;
    for (int i = t[1].rank - 1; i >= 0; stride *= t[1].dim[i], i--) t[1].stride[i] = stride;
    *s = (struct step){ .op = OP_COPY,
                        .n_in = 1,
                        .n_out = 1,
                        .in = &t[0],
                        .out = &t[1],
                        .owner = m->params[index].name,
                        .run = c->g->backend->kernel(OP_COPY, t[0].dtype) };
    return GLOW_OK;
}

static glow_status make_copies(const struct compiler *c)
{
    struct model *m = c->p->model;
    for (uint32_t i = 0; i < c->g->n_binds; i++) {
        const struct bind *b = &c->g->binds[i];
        if (b->kind == BIND_OUTPUT) continue;
        void *arena = b->kind == BIND_GRADIENT ? m->gradients : m->weights;
        char *want = (char *)arena + m->params[b->index].offset * (int64_t)dtype_size(m->real);
        if (memory_of(c, b->value) != want)
            TRY(make_copy(c, b->value, arena, b->index, &c->p->steps[c->p->n_steps++]));
    }
    return GLOW_OK;
}

static glow_status make_ports(const struct compiler *c, const struct program_graph *d)
{
    struct program *p = c->p;
    p->inputs = bump_alloc(&p->memory, ((size_t)d->n_inputs + 1) * sizeof *p->inputs);
    p->outputs = bump_alloc(&p->memory, ((size_t)d->n_outputs + 1) * sizeof *p->outputs);
    if (!p->inputs || !p->outputs) return fail_memory(64, "program");
    p->n_inputs = d->n_inputs;
    p->n_outputs = d->n_outputs;
    for (int i = 0; i < d->n_inputs; i++) p->inputs[i].name = d->inputs[i];
    for (int i = 0; i < d->n_outputs; i++) p->outputs[i].name = d->outputs[i];
    for (uint32_t i = 1; i < c->g->n_nodes; i++)
        if (c->g->nodes[i].op == OP_INPUT)
            value_tensor(c, c->g->nodes[i].out0, &p->inputs[c->g->nodes[i].ai[0]].tensor);
    for (uint32_t i = 0; i < c->g->n_binds; i++)
        if (c->g->binds[i].kind == BIND_OUTPUT)
            value_tensor(c, c->g->binds[i].value, &p->outputs[c->g->binds[i].index].tensor);
    return GLOW_OK;
}

static glow_status compile(struct program *p, const struct program_graph *d,
                           const struct plan *plan, bool average)
{
    struct model *m = p->model;
    struct compiler c = { p, d->g, plan, average && m->average ? m->average : m->weights, NULL };
    static const char *const owners[] = { "program",       "init program",   "train program",
                                          "eval program",  "encode program", "decode program",
                                          "sample program" };
    int64_t arena = (plan->arena_bytes + 4095) / 4096 * 4096;
    TRY(m->backend->alloc(m->engine, (size_t)(arena + plan->fixed_bytes + 64), owners[p->kind],
                          &p->arena));
    c.fixed = (char *)p->arena + arena;
    p->arena_bytes = plan->arena_bytes;
    p->live_bytes = plan->live_bytes;
    p->fixed_bytes = plan->fixed_bytes;
    p->steps =
        bump_alloc(&p->memory, ((size_t)plan->n_order + d->g->n_binds + 1) * sizeof *p->steps);
    if (!p->steps) return fail_memory(plan->n_order * sizeof *p->steps, "program");
    for (uint32_t i = 0; i < plan->n_order; i++) TRY(make_step(&c, i, &p->steps[p->n_steps++]));
    TRY(make_copies(&c));
    TRY(fill_constants(&c));
    return make_ports(&c, d);
}

glow_status program_compile(struct program **out, struct model *m, enum program_kind kind,
                            int64_t batch, bool average,
                            glow_status (*describe)(struct program_graph *, void *), void *context)
{
    double start = seconds();
    glow_status status = GLOW_OK;
    struct plan *plan = NULL;
    struct program *p = calloc(1, sizeof *p);
    if (!p) return fail_memory(sizeof *p, "program");
    struct program_graph d = { .memory = &p->memory };
    *p = (struct program){ .model = m, .kind = kind, .batch = batch };
    if (batch < 1) {
        status = fail(GLOW_EINVAL, "batch %lld: must be at least 1", (long long)batch);
        goto out;
    }
    TRY_OUT(describe(&d, context));
    TRY_OUT(graph_fuse(&d.g));
    TRY_OUT(plan_make(&plan, d.g, m->engine));
    TRY_OUT(compile(p, &d, plan, average));
    p->stored = d.stored;
    p->results_kept = d.results_kept;
    p->couplings = d.couplings;
    p->term_kinds = d.term_kinds;
    p->build_seconds = seconds() - start;
    *out = p;
    p = NULL;
out:
    plan_free(plan);
    graph_free(d.g);
    free(d.inputs);
    free(d.outputs);
    program_free(p);
    give_back_heap();
    return status;
}

struct request {
    struct model *m;
    const struct program_options *o;
};
static glow_status describe_request(struct program_graph *d, void *context)
{
    struct request *r = context;
    return walk_describe(d, r->m, r->o);
}

glow_status program_make(struct program **out, struct model *m, const struct program_options *o)
{
    struct request r = { m, o };
    if (o->kind == PROGRAM_TRAIN) TRY(model_training_arenas(m, 0, false));
    return program_compile(out, m, o->kind, o->batch, o->average, describe_request, &r);
}

void program_free(struct program *p)
{
    if (!p) return;
    if (p->recording) p->model->backend->forget(p->model->engine, p->recording);
    if (p->arena) p->model->backend->release(p->model->engine, p->arena);
    bump_free(&p->memory);
    free(p);
}

glow_status program_run(struct program *p, uint64_t seed, uint64_t step, int64_t row)
{
    const struct backend *b = p->model->backend;
    struct engine *engine = p->model->engine;
    struct run r = {
        .engine = engine, .seed = seed, .step = step, .row = row, .update = p->update
    };
    if (p->recording) return b->replay(engine, p->recording, &r);
    TRY(b->run(engine, p->steps, p->n_steps, &r));
    if (b->record && p->has_run)
        return b->record(engine, p->steps, p->n_steps, p->update, &p->recording);
    p->has_run = true;
    return GLOW_OK;
}

static struct tensor *find_port(struct program_port *list, int n, const char *name)
{
    for (int i = 0; i < n; i++)
        if (!strcmp(list[i].name, name)) return &list[i].tensor;
    return NULL;
}
struct tensor *program_input(const struct program *p, const char *name)
{
    return find_port(p->inputs, p->n_inputs, name);
}
const struct tensor *program_output(const struct program *p, const char *name)
{
    return find_port(p->outputs, p->n_outputs, name);
}

double program_scalar(const struct program *p, const char *name)
{
    double x = NAN;
    const struct tensor *t = program_output(p, name);
    if (t && program_read(p, t, 1, &x) != GLOW_OK) x = NAN;
    return x;
}

glow_status program_write(const struct program *p, const struct tensor *t, int64_t first, int64_t n,
                          const void *rows)
{
    const struct model *m = p->model;
    size_t row = (size_t)(tensor_count(t) / t->dim[0]) * dtype_size(t->dtype);
    return backend_upload(m->backend, m->engine, (char *)t->data + (size_t)first * row, rows,
                          (size_t)n * row);
}

glow_status program_set(const struct program *p, const struct tensor *t, const double *x)
{
    return put_doubles(p->model, t->dtype, t->data, x, tensor_count(t));
}

/* Memory of a tensor as the host sees it: its own, or a copy of what lies between its first and its
 * last element. */
struct window {
    const char *origin; /* of element 0 */
    void *copy;         /* to free */
};

static glow_status open_window(const struct model *m, const struct tensor *t, struct window *w)
{
    int64_t low = 0, high = 0;
    *w = (struct window){ t->data, NULL };
    if (!m->backend->download) return GLOW_OK;
    for (int i = 0; i < t->rank; i++) {
        int64_t far = (t->dim[i] - 1) * t->stride[i];
        if (far < 0)
            low += far;
        else
            high += far;
    }
    if (t->packing) high = t->packing->count - 1;
    size_t size = dtype_size(t->dtype), bytes = (size_t)(high - low + 1) * size;
    if (!(w->copy = malloc(bytes))) return fail_memory(bytes, "a program's output");
    w->origin = (char *)w->copy - low * (int64_t)size;
    glow_status status = m->backend->download(m->engine, w->copy,
                                              (const char *)t->data + low * (int64_t)size, bytes);
    if (status != GLOW_OK) free(w->copy);
    return status;
}

glow_status program_fetch(const struct program *p, const struct tensor *t, int64_t n, void *rows)
{
    struct tensor part = *t;
    struct window w;
    int64_t at[MAX_DIMS] = { 0 }, offset = 0;
    size_t size = dtype_size(t->dtype);
    if (part.dim[0] > 1) part.dim[0] = n;
    int64_t count = tensor_count(&part);
    TRY(open_window(p->model, &part, &w));
    if (tensor_is_dense(&part)) memcpy(rows, w.origin, (size_t)count * size);
    for (int64_t k = 0; k < count && !tensor_is_dense(&part); k++) {
        memcpy((char *)rows + (size_t)k * size, w.origin + offset * (int64_t)size, size);
        for (int i = part.rank - 1; i >= 0; i--) {
            offset += part.stride[i];
            if (++at[i] < part.dim[i]) break;
            offset -= at[i] * part.stride[i];
            at[i] = 0;
        }
    }
    free(w.copy);
    return GLOW_OK;
}

glow_status program_read(const struct program *p, const struct tensor *t, int64_t n, double *out)
{
    /* Into the upper half of the doubles, then widened from the front: no buffer of its own. */
    int64_t count = tensor_count(t) / t->dim[0] * (t->dim[0] == 1 ? 1 : n);
    if (t->dtype == DT_F64) return program_fetch(p, t, n, out);
    float *narrow = (float *)out + count, x;
    TRY(program_fetch(p, t, n, narrow));
    for (int64_t k = 0; k < count; k++) {
        memcpy(&x, &narrow[k], sizeof x);
        out[k] = (double)x;
    }
    return GLOW_OK;
}

/* Of an output of a step, which is dense. What can't be read counts as not finite. */
static bool all_finite(const struct model *m, const struct tensor *t)
{
    int64_t n = t->packing ? t->packing->count : tensor_count(t);
    struct window w;
    bool finite = true;
    if (!t->data) return true;
    if (open_window(m, t, &w) != GLOW_OK) return false;
    for (int64_t i = 0; i < n && finite; i++)
        finite = isfinite(t->dtype == DT_F64 ? ((const double *)w.origin)[i]
                                             : (double)((const float *)w.origin)[i]);
    free(w.copy);
    return finite;
}

const char *program_find_nonfinite(struct program *p, uint64_t seed, uint64_t step, int64_t row,
                                   char *text, size_t size)
{
    int32_t first;
    struct run r = {
        .engine = p->model->engine, .seed = seed, .step = step, .row = row, .nonfinite = &first
    };
    for (int64_t i = 0; i < p->n_steps; i++) {
        const struct step *s = &p->steps[i];
        first = FUSED_OPS;
        int n_out = s->op == OP_CHAIN ? 1 : s->n_out; /* hidden buffers have padding */
        int bad = 0;
        if (p->model->backend->run(p->model->engine, s, 1, &r) != GLOW_OK) {
            snprintf(text, size, "%s: %s", s->owner, fail_message());
            return text;
        }
        while (bad < n_out && all_finite(p->model, &s->out[bad])) bad++;
        bool fused = s->op == OP_FUSED;
        if (bad == n_out && !(fused && first < FUSED_OPS)) continue;
        if (fused && first == FUSED_OPS) first = fused_maker(s->ai, bad); /* a sum */
        if (fused)
            snprintf(text, size, "%s: %s", s->owners[first], op_names[s->ai[1 + 4 * first]]);
        else
            snprintf(text, size, "%s: %s", s->owner, op_names[s->op]);
        return text;
    }
    return NULL;
}

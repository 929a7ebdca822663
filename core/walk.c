/* walk.c - describes the graph of each program.
 *
 * Training is a forward pass and ONE walk back over the layers. Each layer's input is taken from
 * the forward pass (an anchor) or rebuilt from its output; then the layer is described again on an
 * alias of that input, and differentiated. The alias matters: without it the simplifications that
 * make inverse + forward cheap would bypass the value whose gradient is wanted. After the last
 * layer the graph is rebuilt without aliases, and the coupling network that inverse and forward
 * share becomes one.
 *
 * The policy (policy.c) decides, per coupling: STORE describes it in the forward pass's epoch, so
 * that its activations are the forward's, kept; RECOMPUTE anchors its input and runs its network
 * again, or, where the forward's result is kept too, only as far as the gradient needs it; INVERT
 * keeps nothing. Layers between couplings rebuild their input where their inverse is exact. */
#include <math.h>
#include <stdlib.h>
#include "flow.h"
#include "policy.h"

#define FORWARD_EPOCH 1u

static glow_status name_port(struct program_graph *p, const char ***list, int *n,
                             const char *prefix, const char *name)
{
    const char **fresh = realloc(*list, (size_t)(*n + 1) * sizeof *fresh);
    if (fresh) *list = fresh;
    const char *text = fresh ? bump_print(p->memory, "%s%s", prefix, name) : NULL;
    if (!text) return fail_memory(64, "program");
    (*list)[(*n)++] = text;
    return GLOW_OK;
}

value_id program_graph_input(struct program_graph *p, const char *prefix, const char *name,
                             const struct glow_type *t)
{
    int slot = p->n_inputs;
    if (name_port(p, &p->inputs, &p->n_inputs, prefix, name) != GLOW_OK) {
        p->g->status = GLOW_ENOMEM;
        return GRAPH_ERROR;
    }
    return graph_input(p->g, slot, t);
}

glow_status program_graph_output(struct program_graph *p, const char *prefix, const char *name,
                                 value_id v)
{
    int slot = p->n_outputs;
    if (v == 0 || v == GRAPH_ERROR) return p->g->status;
    TRY(name_port(p, &p->outputs, &p->n_outputs, prefix, name));
    return graph_bind(p->g, BIND_OUTPUT, slot, v);
}

/* ---------------------------------------------------------------- the objective */

#define LIKELIHOOD (GLOW_LOGDET | GLOW_LOGDET_EST | GLOW_BOUND | GLOW_LOGP)

static double bits(const struct model *m) { return 1 / ((double)model_dimensions(m) * M_LN2); }

/* mean over the batch of -loglik / (D ln 2) + penalties */
static value_id loss_of(struct trace *t, value_id loglik)
{
    struct graph *g = t->g;
    value_id scaled = graph_binary(g, OP_MUL, loglik, graph_constant(g, -bits(t->model)));
    value_id total = graph_binary(g, OP_ADD, scaled, trace_sum(t, GLOW_PENALTY));
    return graph_binary(g, OP_MUL, graph_sum(g, total, 1, true),
                        graph_constant(g, 1 / (double)g->batch));
}

/* d loss / d term: the same number for every term of the likelihood. */
static value_id seed_of(struct graph *g, const struct term *term)
{
    double per_sample = graph_value(g, term->value)->type.batched ? 1 / (double)g->batch : 1;
    if (term->kind & LIKELIHOOD) return graph_constant(g, -bits(g->model) * per_sample);
    return term->kind & GLOW_PENALTY ? graph_constant(g, per_sample) : 0;
}

static glow_status bind_objective(struct program_graph *p, struct trace *t, bool per_sample)
{
    value_id loglik = trace_sum(t, LIKELIHOOD);
    for (int i = 0; i < t->n_terms; i++) p->term_kinds |= t->terms[i].kind;
    TRY(program_graph_output(p, "", "loss", loss_of(t, loglik)));
    if (!per_sample) return GLOW_OK;
    TRY(program_graph_output(p, "", "loglik", loglik));
    TRY(program_graph_output(p, "", "logdet", trace_sum(t, GLOW_LOGDET | GLOW_LOGDET_EST)));
    TRY(program_graph_output(p, "", "logp", trace_sum(t, GLOW_LOGP)));
    return program_graph_output(p, "", "bound", trace_sum(t, GLOW_BOUND));
}

/* ---------------------------------------------------------------- the backward walk */

struct walk {
    struct program_graph *p;
    struct trace *forward; /* the finished forward pass */
    struct pass *pass;     /* per layer */
    struct layer_policy *policy;
    int lowest; /* the lowest layer that has trained parameters */
};

/* What the forward pass made of a layer. */
struct pass {
    value_id input;
    uint32_t first_result, n_results; /* of networks, in graph.results */
};

static int lowest_trained(const struct model *m)
{
    for (int i = 0; i < m->n_layers; i++)
        for (int k = 0; k < m->layers[i].n_params; k++)
            if (!(m->params[m->layers[i].first_param + k].flags & GLOW_PARAM_FROZEN)) return i;
    return m->n_layers;
}

static int64_t bytes_between(const struct graph *g, uint32_t first, uint32_t end)
{
    int64_t bytes = 0;
    for (uint32_t v = first; v < end; v++)
        if (g->values[v].base == v && op_classes[g->nodes[g->values[v].node].op] != CLASS_LEAF)
            bytes += graph_value_bytes(g, &g->values[v]);
    return bytes;
}

static int64_t bytes_of(const struct graph *g, value_id v)
{
    return graph_value_bytes(g, graph_value(g, graph_value(g, v)->base));
}

/* A chain's hidden activations follow its result. */
static bool is_chain(const struct graph *g, value_id v)
{
    return graph_maker(g, v)->op == OP_CHAIN && graph_value(g, v)->out == 0;
}

/* Of a layer whose description made the values from `first` on. */
static struct layer_bytes measure(const struct graph *g, const struct pass *pass, uint32_t first)
{
    struct layer_bytes bytes = { .input = bytes_of(g, pass->input),
                                 .all = bytes_between(g, first, g->n_values) };
    for (uint32_t i = 0; i < pass->n_results; i++) {
        const value_id result = g->results[pass->first_result + i];
        bytes.result += bytes_of(g, result);
        if (!is_chain(g, result)) continue;
        const struct node *n = graph_maker(g, result);
        bytes.hidden += bytes_between(g, result + 1, result + n->n_out) +
                        chain_vjp_scratch(g, n, true) - chain_vjp_scratch(g, n, false);
    }
    return bytes;
}

/* The layer's input: an anchor, or rebuilt from its output y. */
static glow_status find_input(struct walk *w, struct trace *back, int i, value_id y, value_id *x)
{
    if (w->policy[i].memory != MEMORY_INVERT) {
        *x = w->pass[i].input;
        return GLOW_OK;
    }
    back->mode = TRACE_RESTORE;
    back->x = y;
    TRY(trace_layer(back, i, true));
    *x = back->x;
    return GLOW_OK;
}

/* The networks of layer i, described again from result `first` on, give way to the forward pass's.
 * Chains make their hidden activations while they go back. */
static void keep_results(struct walk *w, int i, uint32_t first)
{
    struct graph *g = w->p->g;
    const struct pass *pass = &w->pass[i];
    if (!w->policy[i].keeps_result || g->n_results - first != pass->n_results) return;
    for (uint32_t k = 0; k < pass->n_results; k++) {
        const value_id again = g->results[first + k];
        graph_replace(g, again, g->results[pass->first_result + k]);
        for (uint32_t out = 1; is_chain(g, again) && out < graph_maker(g, again)->n_out; out++)
            graph_replace(g, again + out, 0);
    }
}

/* Describes layer i again on an alias of x and differentiates it: dy becomes dx, parameter
 * gradients are bound. */
static glow_status differentiate(struct walk *w, struct trace *back, int i, value_id x,
                                 value_id *dy)
{
    struct graph *g = w->p->g;
    const struct layer *l = &g->model->layers[i];
    glow_status status = GLOW_OK;
    const uint32_t first_result = g->n_results;
    value_id alias = graph_alias(g, x);
    back->mode = TRACE_FORWARD;
    back->x = alias;
    back->n_terms = 0;
    TRY(trace_layer(back, i, false));
    keep_results(w, i, first_result);
    uint32_t n_y = 0, n_wrt = 0;
    size_t room = (size_t)back->n_terms + 1 + (size_t)l->n_params + 1;
    value_id *y = calloc(4 * room, sizeof *y), *seed, *wrt, *gradient;
    if (!y) return fail_memory(4 * room * sizeof *y, "gradient");
    seed = y + room;
    wrt = seed + room;
    gradient = wrt + room;
    if (l->self) { /* the end of the flow passes nothing on */
        y[n_y] = back->x;
        seed[n_y++] = *dy;
    }
    for (int k = 0; k < back->n_terms; k++) {
        y[n_y] = back->terms[k].value;
        seed[n_y++] = seed_of(g, &back->terms[k]);
    }
    wrt[n_wrt++] = alias;
    for (int k = 0; k < l->n_params; k++) {
        int index = l->first_param + k;
        wrt[n_wrt++] =
            g->model->params[index].flags & GLOW_PARAM_FROZEN ? 0 : graph_param(g, index);
    }
    TRY_OUT(graph_gradient(g, n_y, y, seed, n_wrt, wrt, gradient));
    for (int k = 0; k < l->n_params; k++)
        if (gradient[1 + k])
            TRY_OUT(graph_bind(g, BIND_GRADIENT, l->first_param + k, gradient[1 + k]));
    *dy = gradient[0];
out:
    free(y);
    return status;
}

/* max |rebuilt - original| / max |original| at the lowest layer: what inversion has lost on the
 * way. */
static glow_status bind_inversion_error(struct walk *w, value_id rebuilt)
{
    struct graph *g = w->p->g;
    value_id x = w->pass[w->lowest].input;
    const struct glow_type t = graph_value(g, x)->type;
    int64_t axes = ((int64_t)2 << t.rank) - 1;
    value_id d = graph_unary(g, OP_ABS, graph_binary(g, OP_SUB, rebuilt, x)),
             size = graph_unary(g, OP_ABS, x);
    d = graph_op(g, OP_REDUCE_MAX, 1, &d, 1, &axes);
    size = graph_op(g, OP_REDUCE_MAX, 1, &size, 1, &axes);
    value_id error =
        graph_binary(g, OP_DIV, d, graph_binary(g, OP_ADD, size, graph_constant(g, 1e-30)));
    return program_graph_output(w->p, "", "inversion_error", graph_reshape(g, error, 0, NULL));
}

static glow_status walk_back(struct walk *w, const struct program_options *o)
{
    struct graph *g = w->p->g;
    const struct model *m = g->model;
    struct trace back;
    glow_status status;
    value_id y = 0, dy = 0;
    uint32_t epoch = FORWARD_EPOCH;
    TRY(trace_open(&back, g, TRACE_RESTORE));
    back.keeps = w->forward->keeps;
    back.n_keeps = w->forward->n_keeps;
    for (int i = m->n_layers - 1; i >= w->lowest; i--) {
        value_id x;
        for (int k = 0; k < m->n_latents; k++) back.latents[k] = w->forward->latents[k];
        g->epoch = ++epoch;
        TRY_OUT(find_input(w, &back, i, y, &x));
        if (w->policy[i].memory == MEMORY_STORE) g->epoch = FORWARD_EPOCH;
        back.keeps = NULL; /* the second description's own keeps are of no use */
        back.n_keeps = back.cap_keeps = 0;
        status = differentiate(w, &back, i, x, &dy);
        free(back.keeps);
        back.keeps = w->forward->keeps;
        back.n_keeps = w->forward->n_keeps;
        back.cap_keeps = 0;
        if (status != GLOW_OK) goto out;
        y = x;
    }
    g->epoch = ++epoch;
    status = o->memory == MEMORY_INVERT && w->lowest < m->n_layers ? bind_inversion_error(w, y)
                                                                   : GLOW_OK;
out:
    back.keeps = NULL;
    trace_close(&back);
    return status;
}

/* ---------------------------------------------------------------- the programs */

static void count_couplings(const struct walk *w)
{
    const struct model *m = w->p->g->model;
    for (int i = w->lowest; i < m->n_layers; i++) {
        if (!m->layers[i].coupling) continue;
        w->p->couplings++;
        w->p->stored += w->policy[i].memory == MEMORY_STORE;
        w->p->results_kept += w->policy[i].keeps_result;
    }
}

static glow_status describe_forward(struct program_graph *p, const struct program_options *o)
{
    struct graph *g = p->g;
    const struct model *m = g->model;
    struct trace t = { 0 };
    glow_status status;
    size_t n = (size_t)m->n_layers;
    struct walk w = { .p = p, .forward = &t };
    struct layer_bytes *bytes = calloc(n, sizeof *bytes);
    w.pass = calloc(n, sizeof *w.pass);
    w.policy = calloc(n, sizeof *w.policy);
    if (!bytes || !w.pass || !w.policy) {
        status = fail_memory(n * sizeof *bytes, "program");
        goto out;
    }
    TRY_OUT(trace_open(&t, g, TRACE_FORWARD));
    t.x = program_graph_input(p, "", "x", &m->input);
    g->epoch = FORWARD_EPOCH;
    for (int i = 0; i < m->n_layers; i++) {
        const uint32_t first = g->n_values;
        w.pass[i] = (struct pass){ .input = t.x, .first_result = g->n_results };
        TRY_OUT(trace_layer(&t, i, false));
        w.pass[i].n_results = g->n_results - w.pass[i].first_result;
        if (o->kind == PROGRAM_TRAIN) bytes[i] = measure(g, &w.pass[i], first);
    }
    TRY_OUT(bind_objective(p, &t, o->kind == PROGRAM_EVAL || o->kind == PROGRAM_ENCODE));
    for (int k = 0; k < m->n_latents && o->kind == PROGRAM_ENCODE; k++)
        TRY_OUT(program_graph_output(p, "latent:", m->latents[k].name, t.reported[k]));
    w.lowest = lowest_trained(m);
    if (o->kind == PROGRAM_TRAIN) {
        policy_choose(m, o, bytes, w.lowest, w.policy);
        count_couplings(&w);
        TRY_OUT(walk_back(&w, o));
    }
    status = g->status;
out:
    trace_close(&t);
    free(bytes);
    free(w.pass);
    free(w.policy);
    return status;
}

static glow_status describe_inverse(struct program_graph *p, const struct program_options *o)
{
    const struct model *m = p->g->model;
    const struct glow_type scalar = { .dtype = GLOW_REAL };
    struct trace t = { 0 };
    glow_status status;
    TRY(trace_open(&t, p->g, o->kind == PROGRAM_DECODE ? TRACE_DECODE : TRACE_SAMPLE));
    for (int k = 0; k < m->n_latents; k++) {
        if (o->kind == PROGRAM_DECODE)
            t.given[k] = program_graph_input(p, "latent:", m->latents[k].name, &m->latents[k].type);
        else
            t.temperatures[k] = program_graph_input(p, "temperature:", m->latents[k].name, &scalar);
    }
    for (int i = m->n_layers - 1; i >= 0; i--) TRY_OUT(trace_layer(&t, i, true));
    TRY_OUT(program_graph_output(p, "", "x", t.x));
    if (o->kind == PROGRAM_DECODE)
        TRY_OUT(
            program_graph_output(p, "", "logdet", trace_sum(&t, GLOW_LOGDET | GLOW_LOGDET_EST)));
    status = p->g->status;
out:
    trace_close(&t);
    return status;
}

glow_status walk_describe(struct program_graph *p, struct model *m, const struct program_options *o)
{
    static const uint32_t phase[] = { [PROGRAM_INIT] = GLOW_PHASE_INIT,
                                      [PROGRAM_TRAIN] = GLOW_PHASE_TRAIN,
                                      [PROGRAM_EVAL] = 0,
                                      [PROGRAM_ENCODE] = 0,
                                      [PROGRAM_DECODE] = 0,
                                      [PROGRAM_SAMPLE] = GLOW_PHASE_SAMPLE };
    struct graph *simple;
    TRY(graph_new(&p->g, m, m->backend, m->real, o->batch, phase[o->kind]));
    if (o->kind == PROGRAM_DECODE || o->kind == PROGRAM_SAMPLE)
        TRY(describe_inverse(p, o));
    else
        TRY(describe_forward(p, o));
    TRY(graph_rebuild(p->g, &simple));
    graph_free(p->g);
    p->g = simple;
    return GLOW_OK;
}

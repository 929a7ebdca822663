/* flow.c - the flow table that layers call, and the descent into priors. */
#include "flow.h"
#include <stdlib.h>
#include <string.h>

static struct trace *trace_of(struct glow_flow *f) { return (struct trace *)f; }
static struct glow_graph *graph_view(const struct trace *t) { return (struct glow_graph *)t->g; }

static glow_value flow_x(struct glow_flow *f)
{
    return graph_handle(trace_of(f)->g, trace_of(f)->x);
}

static void flow_set_x(struct glow_flow *f, glow_value x)
{
    struct trace *t = trace_of(f);
    t->x = graph_open_handle(t->g, x);
    if (t->x == 0) t->x = graph_fail(t->g, GLOW_EINVAL, "set_x: the value is absent");
}

static void add_term(struct trace *t, uint32_t kind, const char *name, const struct instance *who,
                     value_id v)
{
    struct graph *g = t->g;
    char text[96];
    if (v == GRAPH_ERROR || g->status != GLOW_OK) return;
    if (v == 0) {
        graph_fail(g, GLOW_EINVAL, "term \"%s\": the value is absent", name);
        return;
    }
    if (type_count(&graph_value(g, v)->type) != 1) {
        graph_fail(g, GLOW_EINVAL, "term \"%s\": must be one number per sample, got %s", name,
                   type_text(&graph_value(g, v)->type, text, sizeof text));
        return;
    }
    v = graph_cast(g, graph_reshape(g, v, 0, NULL), GLOW_HI);
    if (t->n_terms == t->cap_terms) {
        int cap = t->cap_terms ? 2 * t->cap_terms : 64;
        struct term *fresh = realloc(t->terms, (size_t)cap * sizeof *fresh);
        if (!fresh) {
            g->status = fail_memory((size_t)cap * sizeof *fresh, "terms");
            return;
        }
        t->terms = fresh;
        t->cap_terms = cap;
    }
    t->terms[t->n_terms++] = (struct term){ kind, name, who, v };
}

static void flow_term(struct glow_flow *f, uint32_t kind, const char *name, glow_value v)
{
    struct trace *t = trace_of(f);
    if (!kind || (kind & (kind - 1)) || kind > GLOW_METRIC) {
        graph_fail(t->g, GLOW_EINVAL, "term \"%s\": a kind that this version does not know",
                   name ? name : "");
        return;
    }
    add_term(t, kind, name ? name : "term", t->g->who, graph_open_handle(t->g, v));
}

static glow_value flow_positions(struct glow_flow *f)
{
    struct trace *t = trace_of(f);
    if (t->x == GRAPH_ERROR || t->x == 0) return graph_handle(t->g, GRAPH_ERROR);
    const struct glow_type *type = &graph_value(t->g, t->x)->type;
    double n = 1;
    for (int i = 1; i < type->rank; i++) n *= (double)type->dim[i];
    return graph_handle(t->g, graph_constant(t->g, n));
}

/* ---------------------------------------------------------------- latents and priors */

/* Finds (or, while the model is built, creates) the latent `name` of the current layer; -1 after an
 * error. */
static int find_latent(struct trace *t, const char *name, const char *slot,
                       const struct glow_type *type)
{
    struct model *m = t->model;
    struct layer *l = &m->layers[t->layer];
    for (int i = l->first_latent; i < l->first_latent + l->n_latents; i++)
        if (!strcmp(m->latents[i].group, name)) return i;
    if (!t->building || !type) {
        graph_fail(t->g, GLOW_EINVAL, "latent \"%s\" is not among those that forward emitted",
                   name);
        return -1;
    }
    int i = model_add_latent(m, t->layer, name, slot, type);
    if (i < 0) t->g->status = GLOW_EINVAL;
    return i;
}

typedef void (*prior_fn)(const struct glow_self *, struct glow_graph *, struct glow_prior_call *);

/* Runs one callback of a latent's prior; returns its result, checked against the wanted type. */
static value_id ask_prior(struct trace *t, const struct latent *l, prior_fn fn, value_id z,
                          value_id cond, value_id temperature, const struct glow_type *want)
{
    struct graph *g = t->g;
    char a[96], b[96];
    const struct instance *outer = g->who;
    struct glow_prior_call c = { .size = sizeof c,
                                 .type = l->type,
                                 .z = graph_handle(g, z),
                                 .cond = graph_handle(g, cond),
                                 .temperature = graph_handle(g, temperature) };
    g->who = l->prior;
    fn(&l->prior->self, graph_view(t), &c);
    if (g->status == GLOW_OK) g->status = instance_status(l->prior);
    value_id v = graph_open_handle(g, c.out);
    if (v == 0) v = graph_fail(g, GLOW_EINVAL, "prior set no result");
    if (v != GRAPH_ERROR && type_count(&graph_value(g, v)->type) != type_count(want))
        v = graph_fail(g, GLOW_EINVAL, "prior gave %s, expected %s",
                       type_text(&graph_value(g, v)->type, a, sizeof a),
                       type_text(want, b, sizeof b));
    if (v != GRAPH_ERROR) v = graph_reshape(g, v, want->rank, want->dim);
    if (v != GRAPH_ERROR && want->rank && !graph_value(g, v)->type.batched)
        v = graph_broadcast(g, v, want);
    g->who = outer;
    return v;
}

static void flow_emit(struct glow_flow *f, const char *name, const char *slot, glow_value z,
                      glow_value cond)
{
    struct trace *t = trace_of(f);
    struct graph *g = t->g;
    value_id v = graph_open_handle(g, z), c = graph_open_handle(g, cond);
    if (v == GRAPH_ERROR || c == GRAPH_ERROR) return;
    if (v == 0 || !graph_value(g, v)->type.batched) {
        graph_fail(g, GLOW_EINVAL, "emit \"%s\": the latent is absent or the same for all samples",
                   name);
        return;
    }
    const struct glow_type type = graph_value(g, v)->type,
                           scalar = { .dtype = GLOW_REAL, .batched = 1 };
    int i = find_latent(t, name, slot, &type);
    if (i < 0) return;
    const struct latent *l = &t->model->latents[i];
    const struct glow_prior *p = (const struct glow_prior *)l->prior->info->desc;
    if (!t->building) t->latents[i] = v;
    add_term(t, GLOW_LOGP, l->name, l->prior, ask_prior(t, l, p->log_density, v, c, 0, &scalar));
    if (!t->building)
        t->reported[i] = p->standardise ? ask_prior(t, l, p->standardise, v, c, 0, &type) : v;
}

static glow_value flow_take(struct glow_flow *f, const char *name, const char *slot,
                            glow_value cond)
{
    struct trace *t = trace_of(f);
    struct graph *g = t->g;
    value_id c = graph_open_handle(g, cond), z = GRAPH_ERROR;
    int i = c == GRAPH_ERROR ? -1 : find_latent(t, name, slot, NULL);
    if (i < 0) return graph_handle(g, GRAPH_ERROR);
    const struct latent *l = &t->model->latents[i];
    const struct glow_prior *p = (const struct glow_prior *)l->prior->info->desc;
    switch (t->mode) {
    case TRACE_DECODE:
        z = p->restore ? ask_prior(t, l, p->restore, t->given[i], c, 0, &l->type) : t->given[i];
        break;
    case TRACE_SAMPLE: z = ask_prior(t, l, p->sample, 0, c, t->temperatures[i], &l->type); break;
    default:
        z = t->latents[i];
        if (!z) z = graph_fail(g, GLOW_EINVAL, "take \"%s\" in forward, or before forward", name);
    }
    if (t->mode != TRACE_RESTORE && z != GRAPH_ERROR) t->latents[i] = z;
    return graph_handle(g, z);
}

/* ---------------------------------------------------------------- kept values */

static void flow_keep(struct glow_flow *f, const char *slot, glow_value v)
{
    struct trace *t = trace_of(f);
    value_id x = graph_open_handle(t->g, v);
    if (x == GRAPH_ERROR || t->mode != TRACE_FORWARD) return;
    if (t->n_keeps == t->cap_keeps) {
        int cap = t->cap_keeps ? 2 * t->cap_keeps : 8;
        struct keep *fresh = realloc(t->keeps, (size_t)cap * sizeof *fresh);
        if (!fresh) {
            t->g->status = fail_memory((size_t)cap * sizeof *fresh, "kept values");
            return;
        }
        t->keeps = fresh;
        t->cap_keeps = cap;
    }
    t->keeps[t->n_keeps++] = (struct keep){ t->layer, slot, x };
}

static glow_value flow_kept(struct glow_flow *f, const char *slot)
{
    struct trace *t = trace_of(f);
    for (int i = 0; i < t->n_keeps; i++)
        if (t->keeps[i].layer == t->layer && !strcmp(t->keeps[i].slot, slot))
            return graph_handle(t->g, t->keeps[i].value);
    return graph_handle(
        t->g, graph_fail(t->g, GLOW_EINVAL, "kept \"%s\": forward did not keep it", slot));
}

static const struct glow_flow_ops flow_ops = { sizeof flow_ops, GLOW_ABI_MINOR, flow_x,
                                               flow_set_x,      flow_term,      flow_positions,
                                               flow_emit,       flow_take,      flow_keep,
                                               flow_kept };

/* ---------------------------------------------------------------- traces */

glow_status trace_open(struct trace *t, struct graph *g, enum trace_mode mode)
{
    size_t n = (size_t)g->model->n_latents + 1;
    *t = (struct trace){ .flow = { &flow_ops }, .g = g, .model = g->model, .mode = mode };
    t->latents = calloc(4 * n, sizeof *t->latents);
    if (!t->latents) return fail_memory(4 * n * sizeof *t->latents, "latents");
    t->reported = t->latents + n;
    t->temperatures = t->reported + n;
    t->given = t->temperatures + n;
    return GLOW_OK;
}

void trace_close(struct trace *t)
{
    free(t->latents);
    free(t->terms);
    free(t->keeps);
    *t = (struct trace){ 0 };
}

/* The end of the flow: what is left is the latent y, and comes back as such. */
static void end_of_flow(struct trace *t, bool inverse)
{
    if (inverse)
        t->x = graph_open_handle(t->g, flow_take(&t->flow, "y", NULL, glow_none));
    else
        flow_emit(&t->flow, "y", NULL, graph_handle(t->g, t->x), glow_none);
}

glow_status trace_layer(struct trace *t, int index, bool inverse)
{
    struct graph *g = t->g;
    struct layer *l = &t->model->layers[index];
    t->layer = index;
    graph_reset_draws(g);
    g->who = l->self;
    if (!l->self) {
        end_of_flow(t, inverse);
        return g->status;
    }
    const struct glow_layer *d = (const struct glow_layer *)l->self->info->desc;
    char a[96], b[96];
    if (inverse) {
        void (*back)(const struct glow_self *, struct glow_graph *, struct glow_flow *) =
            t->mode == TRACE_RESTORE && d->restore ? d->restore : d->inverse;
        if (!back)
            graph_fail(g, GLOW_ENOTSUP,
                       "this layer has no inverse; sampling and decoding need one");
        else
            back(&l->self->self, graph_view(t), &t->flow);
    } else
        d->forward(&l->self->self, graph_view(t), &t->flow);
    if (g->status == GLOW_OK) g->status = instance_status(l->self);
    if (g->status == GLOW_OK && !t->building) {
        const struct glow_type *want = inverse ? &l->in : &l->out,
                               *have = &graph_value(g, t->x)->type;
        if (!type_equal(want, have))
            graph_fail(g, GLOW_EINVAL, "%s gives %s where %s was expected",
                       inverse ? "inverse" : "forward", type_text(have, a, sizeof a),
                       type_text(want, b, sizeof b));
    }
    g->who = NULL;
    return g->status;
}

value_id trace_sum(struct trace *t, uint32_t kinds)
{
    struct graph *g = t->g;
    const struct glow_type per_sample = { .dtype = GLOW_HI, .batched = 1 };
    value_id shared = graph_cast(g, graph_constant(g, 0), GLOW_HI), sum = 0;
    for (int i = 0; i < t->n_terms; i++) { /* unbatched terms first: they are one number */
        if (!(t->terms[i].kind & kinds)) continue;
        if (!graph_value(g, t->terms[i].value)->type.batched)
            shared = graph_binary(g, OP_ADD, shared, t->terms[i].value);
        else
            sum = sum ? graph_binary(g, OP_ADD, sum, t->terms[i].value) : t->terms[i].value;
    }
    sum = sum ? graph_binary(g, OP_ADD, sum, shared) : shared;
    if (sum != GRAPH_ERROR && !graph_value(g, sum)->type.batched)
        sum = graph_broadcast(g, sum, &per_sample);
    return sum;
}

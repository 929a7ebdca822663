/* specimen.c - see specimen.h. */
#include "specimen.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "conform.h"
#include "flow.h"

static glow_status open_model(struct specimen *it, int32_t real, int threads)
{
    struct config *c;
    size_t size = strlen(it->text) + strlen(it->input) + 80;
    char *text = malloc(size);
    if (!text) return fail_memory(size, "conformance");
    snprintf(text, size, "model: { input = %s; flow = ( { %s } ); };", it->input, it->text);
    glow_status status = config_parse(&c, text, "check");
    free(text);
    if (status != GLOW_OK) return status;
    return model_new(&it->model, c, it->registry,
                     &(struct model_options){ .threads = threads, .real = real, .seed = 7 });
}

static void make_input(struct specimen *it)
{
    bool grey =
        it->layer->traits.flags & GLOW_STOCHASTIC; /* a dequantiser: values of 8-bit images */
    conform_noise(11, grey ? GLOW_UNIFORM : GLOW_GAUSS, it->x, SPECIMEN_SAMPLES * it->n_in);
    for (int64_t i = 0; i < SPECIMEN_SAMPLES * it->n_in; i++)
        it->x[i] = grey ? floor(256 * it->x[i]) / 255 : 0.8 * it->x[i];
}

glow_status specimen_open(struct specimen *it, int32_t real, int threads)
{
    glow_status status;
    TRY(open_model(it, real, threads));
    const struct model *m = it->model;
    it->layer = &m->layers[0];
    it->n_in = model_dimensions(m);
    it->n_out = type_count(&it->layer->out);
    for (int k = 0; k < it->layer->n_latents; k++)
        it->n_latent += type_count(&m->latents[it->layer->first_latent + k].type);
    it->x = calloc(SPECIMEN_SAMPLES * (size_t)it->n_in, sizeof *it->x);
    if (!it->x) TRY_OUT(fail_memory(SPECIMEN_SAMPLES * (size_t)it->n_in * 8, "conformance"));
    make_input(it);
    TRY_OUT(conform_perturb(it->model, 1000));
    status = model_training_arenas(it->model, 0, false);
out:
    if (status != GLOW_OK) specimen_close(it);
    return status;
}

void specimen_close(struct specimen *it)
{
    program_free(it->forward);
    free(it->x);
    model_free(it->model);
}

/* ---------------------------------------------------------------- programs */

/* s = sum r y + sum r z + terms: its gradients reach everything that forward makes. */
static value_id probe_sum(struct graph *g, value_id v, uint64_t stream)
{
    struct glow_type t = graph_value(g, v)->type;
    int64_t n = type_count(&t), axes = ((int64_t)2 << t.rank) - 2;
    double *r = calloc((size_t)n, sizeof *r);
    if (!r) return graph_fail(g, GLOW_ENOMEM, "out of memory");
    conform_noise(stream, GLOW_GAUSS, r, n);
    struct glow_type constant = t;
    constant.batched = 0;
    constant.dtype = GLOW_REAL;
    value_id w = graph_add(
        g, &(struct op_call){ .op = OP_ARRAY, .n_ad = (uint32_t)n, .ad = r, .type = &constant });
    free(r);
    return graph_reshape(g, graph_sum(g, graph_binary(g, OP_MUL, v, w), axes, true), 0, NULL);
}

static glow_status describe_forward(struct program_graph *p, void *context)
{
    struct specimen *it = context;
    struct model *m = it->model;
    struct trace t;
    uint32_t n_wrt = 1 + (uint32_t)it->layer->n_params;
    value_id *wrt, *gradient, one;
    glow_status status;
    TRY(graph_new(&p->g, m, m->backend, m->real, SPECIMEN_SAMPLES, GLOW_PHASE_TRAIN));
    p->g->decompose = it->decompose;
    wrt = bump_alloc(&p->g->memory, 2 * n_wrt * sizeof *wrt);
    if (!wrt) return fail_memory(2 * n_wrt * sizeof *wrt, "conformance");
    gradient = wrt + n_wrt;
    TRY(trace_open(&t, p->g, TRACE_FORWARD));
    value_id x = graph_alias(p->g, program_graph_input(p, "", "x", &m->input));
    t.x = x;
    TRY_OUT(trace_layer(&t, 0, false));
    value_id s = probe_sum(p->g, t.x, 1);
    TRY_OUT(program_graph_output(p, "", "y", t.x));
    for (int k = 0; k < it->layer->n_latents; k++) {
        value_id z = t.latents[it->layer->first_latent + k];
        TRY_OUT(program_graph_output(p, "latent:", m->latents[k].name, z));
        s = graph_binary(p->g, OP_ADD, s, probe_sum(p->g, z, 2 + (uint64_t)k));
    }
    s = graph_binary(p->g, OP_ADD, s, trace_sum(&t, 63 & ~GLOW_METRIC));
    TRY_OUT(program_graph_output(p, "", "logdet", trace_sum(&t, GLOW_LOGDET | GLOW_LOGDET_EST)));
    TRY_OUT(program_graph_output(p, "", "s", s));
    wrt[0] = x;
    for (int k = 0; k < it->layer->n_params; k++) wrt[1 + k] = graph_param(p->g, k);
    one = graph_constant(p->g, 1);
    TRY_OUT(graph_gradient(p->g, 1, &s, &one, n_wrt, wrt, gradient));
    TRY_OUT(program_graph_output(p, "", "dx", gradient[0]));
    for (int k = 0; k < it->layer->n_params; k++)
        if (gradient[1 + k]) TRY_OUT(graph_bind(p->g, BIND_GRADIENT, k, gradient[1 + k]));
    struct graph *simple;
    TRY_OUT(graph_rebuild(p->g, &simple));
    graph_free(p->g);
    p->g = simple;
out:
    trace_close(&t);
    return status;
}

static glow_status describe_inverse(struct program_graph *p, void *context)
{
    struct specimen *it = context;
    struct model *m = it->model;
    struct trace t;
    glow_status status;
    TRY(graph_new(&p->g, m, m->backend, m->real, SPECIMEN_SAMPLES, 0));
    p->g->decompose = it->decompose;
    TRY(trace_open(&t, p->g, TRACE_FORWARD));
    t.x = program_graph_input(p, "", "y", &it->layer->out);
    for (int k = 0; k < it->layer->n_latents; k++)
        t.latents[it->layer->first_latent + k] =
            program_graph_input(p, "latent:", m->latents[k].name, &m->latents[k].type);
    TRY_OUT(trace_layer(&t, 0, true));
    TRY_OUT(program_graph_output(p, "", "x", t.x));
    TRY_OUT(program_graph_output(p, "", "logdet", trace_sum(&t, GLOW_LOGDET | GLOW_LOGDET_EST)));
    status = p->g->status;
out:
    trace_close(&t);
    return status;
}

glow_status specimen_forward(struct specimen *it)
{
    return program_compile(&it->forward, it->model, 0, SPECIMEN_SAMPLES, false, describe_forward,
                           it);
}

glow_status specimen_inverse(struct specimen *it, struct program **p)
{
    return program_compile(p, it->model, 0, SPECIMEN_SAMPLES, false, describe_inverse, it);
}

/* ---------------------------------------------------------------- running them */

static glow_status read_all(const struct specimen *it, struct readings *v)
{
    const struct program *p = it->forward;
    double *z = v->z;
    TRY(program_read(p, program_output(p, "y"), SPECIMEN_SAMPLES, v->y));
    for (int k = 0; k < it->layer->n_latents; k++) {
        const struct tensor *t = program_output(p, p->outputs[1 + k].name);
        TRY(program_read(p, t, SPECIMEN_SAMPLES, z));
        z += tensor_count(t);
    }
    TRY(program_read(p, program_output(p, "logdet"), SPECIMEN_SAMPLES, v->logdet));
    TRY(program_read(p, program_output(p, "s"), SPECIMEN_SAMPLES, v->s));
    const struct tensor *dx = program_output(p, "dx");
    return dx ? program_read(p, dx, SPECIMEN_SAMPLES, v->dx) : GLOW_OK;
}

glow_status readings_alloc(struct readings *v, const struct specimen *it)
{
    size_t n = SPECIMEN_SAMPLES * (size_t)(it->n_out + it->n_latent + 1 + 1 + it->n_in);
    v->y = calloc(n, sizeof *v->y); /* one block, cut up */
    if (!v->y) return fail_memory(n * sizeof *v->y, "conformance");
    v->z = v->y + SPECIMEN_SAMPLES * it->n_out;
    v->logdet = v->z + SPECIMEN_SAMPLES * it->n_latent;
    v->s = v->logdet + SPECIMEN_SAMPLES;
    v->dx = v->s + SPECIMEN_SAMPLES;
    return GLOW_OK;
}

void readings_free(struct readings *v) { free(v->y); }

glow_status specimen_run(const struct specimen *it, const double *x, struct readings *v)
{
    TRY(program_set(it->forward, program_input(it->forward, "x"), x));
    TRY(program_run(it->forward, 5, 9, 0));
    return read_all(it, v);
}

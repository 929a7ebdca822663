/* conform_layer.c - layers and networks: one layer is a model of its own, perturbed off its initial
 * values, and its forward, its inverse and its gradient are held against each other and against
 * differences. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "conform.h"
#include "flow.h"
#include "program.h"

enum { SAMPLES = 3 };
#define STEP 1e-6 /* of central differences */

struct bench { /* one layer under test */
    const char *subject;
    struct conform_report *r;
    struct model *m;
    const struct layer *l;
    int64_t n_in, n_out, n_latent; /* elements of x, of y, of all latents of the layer */
    double *x;                     /* (SAMPLES, n_in) */
    bool decompose;
};

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
    struct bench *b = context;
    struct model *m = b->m;
    struct trace t;
    uint32_t n_wrt = 1 + (uint32_t)b->l->n_params;
    value_id *wrt, *gradient, one;
    glow_status status;
    TRY(graph_new(&p->g, m, m->backend, m->real, SAMPLES, GLOW_PHASE_TRAIN));
    p->g->decompose = b->decompose;
    wrt = bump_alloc(&p->g->memory, 2 * n_wrt * sizeof *wrt);
    if (!wrt) return fail_memory(2 * n_wrt * sizeof *wrt, "conformance");
    gradient = wrt + n_wrt;
    TRY(trace_open(&t, p->g, TRACE_FORWARD));
    value_id x = graph_alias(p->g, program_graph_input(p, "", "x", &m->input));
    t.x = x;
    TRY_OUT(trace_layer(&t, 0, false));
    value_id s = probe_sum(p->g, t.x, 1);
    TRY_OUT(program_graph_output(p, "", "y", t.x));
    for (int k = 0; k < b->l->n_latents; k++) {
        value_id z = t.latents[b->l->first_latent + k];
        TRY_OUT(program_graph_output(p, "latent:", m->latents[k].name, z));
        s = graph_binary(p->g, OP_ADD, s, probe_sum(p->g, z, 2 + (uint64_t)k));
    }
    s = graph_binary(p->g, OP_ADD, s, trace_sum(&t, 63 & ~GLOW_METRIC));
    TRY_OUT(program_graph_output(p, "", "logdet", trace_sum(&t, GLOW_LOGDET | GLOW_LOGDET_EST)));
    TRY_OUT(program_graph_output(p, "", "s", s));
    wrt[0] = x;
    for (int k = 0; k < b->l->n_params; k++) wrt[1 + k] = graph_param(p->g, k);
    one = graph_constant(p->g, 1);
    TRY_OUT(graph_gradient(p->g, 1, &s, &one, n_wrt, wrt, gradient));
    TRY_OUT(program_graph_output(p, "", "dx", gradient[0]));
    for (int k = 0; k < b->l->n_params; k++)
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
    struct bench *b = context;
    struct model *m = b->m;
    struct trace t;
    glow_status status;
    TRY(graph_new(&p->g, m, m->backend, m->real, SAMPLES, 0));
    p->g->decompose = b->decompose;
    TRY(trace_open(&t, p->g, TRACE_FORWARD));
    t.x = program_graph_input(p, "", "y", &b->l->out);
    for (int k = 0; k < b->l->n_latents; k++)
        t.latents[b->l->first_latent + k] =
            program_graph_input(p, "latent:", m->latents[k].name, &m->latents[k].type);
    TRY_OUT(trace_layer(&t, 0, true));
    TRY_OUT(program_graph_output(p, "", "x", t.x));
    TRY_OUT(program_graph_output(p, "", "logdet", trace_sum(&t, GLOW_LOGDET | GLOW_LOGDET_EST)));
    status = p->g->status;
out:
    trace_close(&t);
    return status;
}

static double largest_difference(const double *a, const double *b, int64_t n)
{
    double worst = 0;
    for (int64_t i = 0; i < n; i++) {
        double d = fabs(a[i] - b[i]);
        if (!(d <= worst)) worst = isnan(d) ? INFINITY : d;
    }
    return worst;
}

static double largest(const double *a, int64_t n)
{
    double worst = 0;
    for (int64_t i = 0; i < n; i++) worst = fmax(worst, fabs(a[i]));
    return worst;
}

/* ---------------------------------------------------------------- the model under test */

static void make_input(struct bench *b)
{
    bool grey = b->l->traits.flags & GLOW_STOCHASTIC; /* a dequantiser: values of 8-bit images */
    conform_noise(11, grey ? GLOW_UNIFORM : GLOW_GAUSS, b->x, SAMPLES * b->n_in);
    for (int64_t i = 0; i < SAMPLES * b->n_in; i++)
        b->x[i] = grey ? floor(256 * b->x[i]) / 255 : 0.8 * b->x[i];
}

static void perturb(struct model *m)
{
    for (int i = 0; i < m->n_params; i++) {
        int64_t n = m->params[i].count;
        double *w = calloc(2 * (size_t)n, sizeof *w);
        if (!w || (m->params[i].flags & GLOW_PARAM_FROZEN)) {
            free(w);
            continue;
        }
        model_get(m, m->weights, i, w);
        conform_noise(1000 + (uint64_t)i, GLOW_GAUSS, w + n, n);
        for (int64_t k = 0; k < n; k++) w[k] += 0.1 * w[n + k];
        model_set(m, m->weights, i, w);
        free(w);
    }
}

static glow_status open_model(struct registry *registry, const char *layer, const char *input,
                              int32_t real, int threads, struct model **m)
{
    struct config *c;
    char *text = malloc(strlen(layer) + strlen(input) + 80);
    if (!text) return fail_memory(80, "conformance");
    sprintf(text, "model: { input = %s; flow = ( { %s } ); };", input, layer);
    glow_status status = config_parse(&c, text, "check");
    free(text);
    if (status != GLOW_OK) return status;
    return model_new(m, c, registry,
                     &(struct model_options){ .threads = threads, .real = real, .seed = 7 });
}

/* ---------------------------------------------------------------- checks */

struct values {
    double *y, *z, *logdet, *s, *dx;
};

static glow_status read_all(const struct program *p, const struct bench *b, struct values *v)
{
    TRY(program_read(p, program_output(p, "y"), SAMPLES, v->y));
    double *z = v->z;
    for (int k = 0; k < b->l->n_latents;
         k++) { /* sample by sample: (SAMPLES, n_latent) is not needed */
        const struct tensor *t = program_output(p, p->outputs[1 + k].name);
        TRY(program_read(p, t, SAMPLES, z));
        z += tensor_count(t);
    }
    TRY(program_read(p, program_output(p, "logdet"), SAMPLES, v->logdet));
    TRY(program_read(p, program_output(p, "s"), SAMPLES, v->s));
    const struct tensor *dx = program_output(p, "dx");
    return dx ? program_read(p, dx, SAMPLES, v->dx) : GLOW_OK;
}

static double *values_alloc(const struct bench *b, struct values *v)
{
    size_t n = SAMPLES * (size_t)(b->n_in + b->n_out + b->n_latent + b->n_in + 2) + 16;
    double *p = calloc(n, sizeof *p);
    if (!p) return NULL;
    *v = (struct values){ p, p + SAMPLES * b->n_out, p + SAMPLES * (b->n_out + b->n_latent), NULL,
                          NULL };
    v->s = v->logdet + SAMPLES;
    v->dx = v->s + SAMPLES;
    return p;
}

static glow_status run_forward(struct bench *b, struct program *p, const double *x,
                               struct values *v)
{
    TRY(program_set(p, program_input(p, "x"), x));
    TRY(program_run(p, 5, 9, 0));
    return read_all(p, b, v);
}

static glow_status check_inverse(struct bench *b, struct program *forward, const struct values *v)
{
    struct program *back = NULL;
    struct values again;
    double *x = calloc(SAMPLES * (size_t)b->n_in + 2 * SAMPLES, sizeof *x),
           *own = values_alloc(b, &again), *ld = x + SAMPLES * b->n_in;
    glow_status status = GLOW_OK;
    const struct glow_traits *t = &b->l->traits;
    if (!x || !own) {
        status = fail_memory(64, "conformance");
        goto out;
    }
    if (program_compile(&back, b->m, 0, SAMPLES, false, describe_inverse, b) != GLOW_OK) {
        conform_add(b->r, b->subject, "inverse(forward(x)) = x", VERDICT_FAIL, "%s",
                    fail_message());
        goto out;
    }
    TRY_OUT(program_set(back, program_input(back, "y"), v->y));
    const double *z = v->z;
    for (int k = 0; k < b->l->n_latents; k++) {
        struct tensor *in = &back->inputs[1 + k].tensor;
        TRY_OUT(program_set(back, in, z));
        z += tensor_count(in);
    }
    TRY_OUT(program_run(back, 5, 9, 0));
    TRY_OUT(program_read(back, program_output(back, "x"), SAMPLES, x));
    TRY_OUT(program_read(back, program_output(back, "logdet"), SAMPLES, ld));
    double size = 1 + largest(b->x, SAMPLES * b->n_in);
    if (t->left != GLOW_INV_NONE)
        conform_bound(b->r, b->subject, "inverse(forward(x)) = x",
                      largest_difference(x, b->x, SAMPLES * b->n_in) / size,
                      t->left == GLOW_INV_EXACT ? 1e-9 : t->rtol);
    if (t->right == GLOW_INV_NONE) goto out;
    for (int i = 0; i < SAMPLES; i++) ld[SAMPLES + i] = -v->logdet[i];
    conform_bound(b->r, b->subject, "logdet(inverse) = -logdet",
                  largest_difference(ld, ld + SAMPLES, SAMPLES) / (1 + largest(ld, SAMPLES)),
                  t->right == GLOW_INV_EXACT ? 1e-9 : t->rtol);
    TRY_OUT(run_forward(b, forward, x, &again));
    conform_bound(b->r, b->subject, "forward(inverse(y)) = y",
                  fmax(largest_difference(again.y, v->y, SAMPLES * b->n_out),
                       largest_difference(again.z, v->z, SAMPLES * b->n_latent)) /
                      (1 + largest(v->y, SAMPLES * b->n_out)),
                  t->right == GLOW_INV_EXACT ? 1e-9 : t->rtol);
out:
    program_free(back);
    free(x);
    free(own);
    return status;
}

static double log_abs_determinant(double *a, int64_t n)
{
    double sum = 0;
    for (int64_t i = 0; i < n; i++) {
        int64_t pivot = i;
        for (int64_t r = i + 1; r < n; r++)
            if (fabs(a[r * n + i]) > fabs(a[pivot * n + i])) pivot = r;
        for (int64_t k = 0; k < n; k++) {
            double t = a[i * n + k];
            a[i * n + k] = a[pivot * n + k];
            a[pivot * n + k] = t;
        }
        sum += log(fabs(a[i * n + i]));
        for (int64_t r = i + 1; r < n; r++) {
            double f = a[r * n + i] / a[i * n + i];
            for (int64_t k = i; k < n; k++) a[r * n + k] -= f * a[i * n + k];
        }
    }
    return sum;
}

/* Column j of the Jacobian of sample 0, and the difference quotient of s. */
static glow_status difference(struct bench *b, struct program *p, int64_t j, struct values *v,
                              double *column, double *slope)
{
    double keep = b->x[j], s[2];
    for (int side = 0; side < 2; side++) {
        b->x[j] = keep + (side ? -STEP : STEP);
        glow_status status = run_forward(b, p, b->x, v);
        b->x[j] = keep;
        TRY(status);
        s[side] = v->s[0];
        for (int64_t i = 0; i < b->n_out; i++)
            column[i] = side ? (column[i] - v->y[i]) / (2 * STEP) : v->y[i];
        const double *z = v->z;
        int64_t at = b->n_out;
        for (int k = 0; k < b->l->n_latents; k++) {
            int64_t n = type_count(&b->m->latents[b->l->first_latent + k].type);
            for (int64_t i = 0; i < n; i++, at++)
                column[at] = side ? (column[at] - z[i]) / (2 * STEP) : z[i];
            z += SAMPLES * n;
        }
    }
    *slope = (s[0] - s[1]) / (2 * STEP);
    return GLOW_OK;
}

static glow_status check_jacobian(struct bench *b, struct program *p, const struct values *v)
{
    int64_t n = b->n_in;
    struct values w;
    double *own = values_alloc(b, &w), *jacobian = calloc((size_t)(n * n) + 1, sizeof *jacobian);
    double *column = calloc((size_t)(b->n_out + b->n_latent) + 1, sizeof *column), worst = 0, slope;
    glow_status status = GLOW_OK;
    if (!own || !jacobian || !column) {
        status = fail_memory((size_t)(n * n) * sizeof *jacobian, "conformance");
        goto out;
    }
    bool square = b->n_out + b->n_latent == n;
    for (int64_t j = 0; j < n; j++) {
        TRY_OUT(difference(b, p, j, &w, column, &slope));
        for (int64_t i = 0; square && i < n; i++) jacobian[i * n + j] = column[i];
        double d = fabs(slope - v->dx[j]) / (1 + largest(v->dx, n));
        if (!(d <= worst)) worst = isnan(d) ? INFINITY : d;
    }
    conform_bound(b->r, b->subject, "gradient of x = differences", worst, 1e-6);
    if (square) {
        double numeric = log_abs_determinant(jacobian, n),
               d = fabs(numeric - v->logdet[0]) / (1 + fabs(numeric));
        conform_add(b->r, b->subject, "logdet = numeric Jacobian",
                    d <= 1e-6 ? VERDICT_PASS : VERDICT_FAIL, "%.9g, numeric %.9g", v->logdet[0],
                    numeric);
    } else
        conform_add(b->r, b->subject, "logdet = numeric Jacobian", VERDICT_SKIP,
                    "not square: %lld to %lld", (long long)n, (long long)(b->n_out + b->n_latent));
out:
    free(own);
    free(jacobian);
    free(column);
    return status;
}

/* Up to 8 elements of every parameter. The gradients of the first run are copied before. */
static glow_status check_parameters(struct bench *b, struct program *p)
{
    struct model *m = b->m;
    struct values v;
    double *own = values_alloc(b, &v), worst = 0;
    char who[80] = "";
    glow_status status = own ? run_forward(b, p, b->x, &v) : fail_memory(64, "conformance");
    for (int i = 0; i < b->l->n_params && status == GLOW_OK; i++) {
        int64_t n = m->params[i].count, stride = n / 8 + 1;
        double *w = calloc(2 * (size_t)n, sizeof *w), *g = w ? w + n : NULL;
        if (!w) {
            status = fail_memory((size_t)n * sizeof *w, "conformance");
            break;
        }
        model_get(m, m->weights, i, w);
        TRY_OUT(run_forward(b, p, b->x, &v));
        model_get(m, m->gradients, i, g);
        for (int64_t k = 0; k < n && status == GLOW_OK && !(m->params[i].flags & GLOW_PARAM_FROZEN);
             k += stride) {
            double keep = w[k], s[2] = { 0, 0 };
            for (int side = 0; side < 2 && status == GLOW_OK; side++) {
                w[k] = keep + (side ? -STEP : STEP);
                model_set(m, m->weights, i, w);
                status = run_forward(b, p, b->x, &v);
                for (int q = 0; q < SAMPLES; q++) s[side] += v.s[q];
            }
            w[k] = keep;
            model_set(m, m->weights, i, w);
            double d = fabs((s[0] - s[1]) / (2 * STEP) - g[k]) / (1 + largest(g, n));
            if (d <= worst) continue;
            worst = isnan(d) ? INFINITY : d;
            snprintf(who, sizeof who, "%.79s", m->params[i].spec.name);
        }
        free(w);
    }
    if (status == GLOW_OK && b->l->n_params)
        conform_add(b->r, b->subject, "parameter gradients = differences",
                    worst <= 1e-6 ? VERDICT_PASS : VERDICT_FAIL, "%.1e (bound 1.0e-06)%s%s", worst,
                    worst > 0 ? ", worst in " : "", who);
out:
    free(own);
    return status;
}

/* Sample 2 alone, in a batch of other neighbours, must come out the same. */
static glow_status check_neighbours(struct bench *b, struct program *p, const struct values *v)
{
    struct values w;
    double *own = values_alloc(b, &w), *x = calloc(SAMPLES * (size_t)b->n_in, sizeof *x);
    glow_status status = own && x ? GLOW_OK : fail_memory(64, "conformance");
    if (status == GLOW_OK) {
        memcpy(x, b->x, SAMPLES * (size_t)b->n_in * sizeof *x);
        for (int64_t i = 0; i < 2 * b->n_in; i++) x[i] = b->x[2 * b->n_in - 1 - i];
        TRY_OUT(run_forward(b, p, x, &w));
        double d = largest_difference(w.y + 2 * b->n_out, v->y + 2 * b->n_out, b->n_out);
        d = fmax(d, fabs(w.logdet[2] - v->logdet[2]));
        d = fmax(d, largest_difference(w.dx + 2 * b->n_in, v->dx + 2 * b->n_in, b->n_in));
        conform_bound(b->r, b->subject, "independent of batch mates", d,
                      1e-12 * (1 + largest(v->y, SAMPLES * b->n_out)));
        TRY_OUT(run_forward(b, p, b->x, &w));
        bool same = !memcmp(w.y, v->y, SAMPLES * (size_t)b->n_out * sizeof *w.y) &&
                    !memcmp(w.dx, v->dx, SAMPLES * (size_t)b->n_in * sizeof *w.dx);
        conform_add(b->r, b->subject, "deterministic", same ? VERDICT_PASS : VERDICT_FAIL, "%s",
                    same ? "the same bits again" : "another result");
    }
out:
    free(own);
    free(x);
    return status;
}

/* Another build of the same model must agree: single precision, two threads, decomposed operations.
 */
static glow_status check_other(struct bench *b, struct registry *registry, const char *layer,
                               const char *input, const struct values *v, int32_t real, int threads,
                               bool decompose, const char *check, double bound)
{
    struct bench other = *b;
    struct program *p = NULL;
    struct values w;
    double *own = values_alloc(b, &w);
    glow_status status = own ? GLOW_OK : fail_memory(64, "conformance");
    other.m = NULL;
    if (status != GLOW_OK) goto out;
    TRY_OUT(open_model(registry, layer, input, real, threads, &other.m));
    other.l = &other.m->layers[0];
    other.decompose = decompose;
    TRY_OUT(model_training_arenas(other.m, 0, false));
    perturb(other.m);
    TRY_OUT(program_compile(&p, other.m, 0, SAMPLES, false, describe_forward, &other));
    TRY_OUT(run_forward(&other, p, b->x, &w));
    double size = 1 + largest(v->y, SAMPLES * b->n_out);
    double d = largest_difference(w.y, v->y, SAMPLES * b->n_out) / size;
    d = fmax(d, largest_difference(w.dx, v->dx, SAMPLES * b->n_in) /
                    (1 + largest(v->dx, SAMPLES * b->n_in)));
    d = fmax(d,
             largest_difference(w.logdet, v->logdet, SAMPLES) / (1 + largest(v->logdet, SAMPLES)));
    conform_bound(b->r, b->subject, check, d, bound);
out:
    if (status != GLOW_OK) conform_add(b->r, b->subject, check, VERDICT_FAIL, "%s", fail_message());
    program_free(p);
    model_free(other.m);
    free(own);
    return GLOW_OK;
}

/* The three memory policies must give the gradients of `store`. */
static glow_status check_policies(struct bench *b)
{
    struct model *m = b->m;
    size_t bytes = (size_t)m->n_elements * sizeof(double);
    double *first = calloc(2, bytes), worst = 0;
    glow_status status = first ? GLOW_OK : fail_memory(2 * bytes, "conformance");
    for (int policy = MEMORY_STORE; policy <= MEMORY_INVERT && status == GLOW_OK; policy++) {
        struct program *p;
        struct program_options o = { .kind = PROGRAM_TRAIN,
                                     .batch = SAMPLES,
                                     .memory = (enum memory_policy)policy };
        TRY_OUT(program_make(&p, m, &o));
        TRY_OUT(program_set(p, program_input(p, "x"), b->x));
        status = program_run(p, 5, 9, 0);
        double *g = policy == MEMORY_STORE ? first : first + m->n_elements;
        if (status == GLOW_OK)
            status = backend_download(m->backend, m->engine, g, m->gradients, bytes);
        if (policy != MEMORY_STORE)
            worst = fmax(worst, largest_difference(g, first, m->n_elements) /
                                    (1 + largest(first, m->n_elements)));
        program_free(p);
    }
    if (b->l->n_params && status == GLOW_OK)
        conform_bound(b->r, b->subject, "memory policies agree", worst, 1e-9);
out:
    free(first);
    return status;
}

static glow_status initialise(struct bench *b)
{
    struct program *p;
    struct program_options o = { .kind = PROGRAM_INIT, .batch = SAMPLES };
    TRY(program_make(&p, b->m, &o));
    glow_status status = program_set(p, program_input(p, "x"), b->x);
    if (status == GLOW_OK) status = program_run(p, 5, 9, 0);
    double loss = program_scalar(p, "loss");
    program_free(p);
    if (status == GLOW_OK)
        conform_add(b->r, b->subject, "initialisation from data",
                    isfinite(loss) ? VERDICT_PASS : VERDICT_FAIL, "loss %.4g", loss);
    return status;
}

static glow_status run_checks(struct bench *b, struct registry *registry, const char *layer,
                              const char *input)
{
    struct program *p = NULL;
    struct values v;
    double *own = values_alloc(b, &v);
    glow_status status = own ? GLOW_OK : fail_memory(64, "conformance");
    if (status != GLOW_OK) goto out;
    make_input(b);
    perturb(b->m);
    TRY_OUT(model_training_arenas(b->m, 0, false));
    TRY_OUT(program_compile(&p, b->m, 0, SAMPLES, false, describe_forward, b));
    TRY_OUT(run_forward(b, p, b->x, &v));
    bool has_inverse = ((const struct glow_layer *)b->l->self->info->desc)->inverse != NULL;
    if (has_inverse)
        TRY_OUT(check_inverse(b, p, &v));
    else
        conform_add(b->r, b->subject, "inverse(forward(x)) = x", VERDICT_SKIP,
                    "the layer has no inverse");
    if (b->l->traits.right != GLOW_INV_NONE || !(b->l->traits.flags & GLOW_STOCHASTIC))
        TRY_OUT(check_jacobian(b, p, &v));
    else
        conform_add(b->r, b->subject, "logdet = numeric Jacobian", VERDICT_SKIP,
                    "stochastic and not onto");
    TRY_OUT(check_parameters(b, p));
    TRY_OUT(check_neighbours(b, p, &v));
    TRY_OUT(check_other(b, registry, layer, input, &v, DT_F64, 2, false, "two threads agree", 0));
    TRY_OUT(check_other(b, registry, layer, input, &v, DT_F32, 1, false, "single precision agrees",
                        2e-4));
    TRY_OUT(check_other(b, registry, layer, input, &v, DT_F64, 1, true, "kernel = decomposition",
                        1e-9));
    TRY_OUT(check_policies(b));
    TRY_OUT(initialise(b));
out:
    program_free(p);
    free(own);
    return status;
}

glow_status conform_layer_case(struct registry *registry, const char *subject, const char *layer,
                               const char *input, struct conform_report *r, bool *accepted)
{
    struct bench b = { .subject = subject, .r = r };
    *accepted = false;
    if (open_model(registry, layer, input, DT_F64, 1, &b.m) != GLOW_OK) {
        conform_add(r, subject, "accepts the input", VERDICT_SKIP, "%s", fail_message());
        return GLOW_OK;
    }
    *accepted = true;
    b.l = &b.m->layers[0];
    b.n_in = model_dimensions(b.m);
    b.n_out = type_count(&b.l->out);
    for (int k = 0; k < b.l->n_latents; k++)
        b.n_latent += type_count(&b.m->latents[b.l->first_latent + k].type);
    b.x = calloc(SAMPLES * (size_t)b.n_in, sizeof *b.x);
    glow_status status =
        b.x ? run_checks(&b, registry, layer, input) : fail_memory(64, "conformance");
    if (status != GLOW_OK && status != GLOW_ENOMEM) {
        conform_add(r, subject, "describes and runs", VERDICT_FAIL, "%s", fail_message());
        status = GLOW_OK;
    }
    free(b.x);
    model_free(b.m);
    return status;
}

/* ---------------------------------------------------------------- the cases */

struct cases {
    struct registry *registry;
    const struct plugin_info *info;
    const char *extra;
    struct conform_report *r;
    int accepted;
};

/* A small network for a CHILD option, for images or rows; "" when there is none. */
static const char *small_net(struct registry *registry, bool image)
{
    const struct plugin_info *info;
    const char *id = image ? "openai" : "mlp";
    if (registry_find(registry, GLOW_NET, id, &info) != GLOW_OK) return "";
    return image ? "{ type = \"openai\"; width = 8; }" : "{ type = \"mlp\"; }";
}

static const struct glow_option *child_slot(const struct glow_desc *d, uint32_t kind)
{
    for (uint32_t i = 0; i < d->n_options; i++) {
        const struct glow_option *o =
            (const void *)((const char *)d->options + (size_t)i * d->option_size);
        if (o->type == GLOW_OPT_CHILD && o->slot_kind == kind) return o;
    }
    return NULL;
}

static glow_status visit_variant(void *context, const char *variant)
{
    static const char *const inputs[] = { "[4, 4, 4]", "[2, 6, 3]", "[5]" };
    struct cases *c = context;
    const struct glow_desc *d = c->info->desc;
    const struct glow_option *slot = d->kind == GLOW_LAYER ? child_slot(d, GLOW_NET) : NULL;
    for (size_t i = 0; i < GLOW_COUNT(inputs); i++) {
        char layer[1024], subject[160], net[300] = "";
        bool image = i < 2, accepted;
        if (slot) snprintf(net, sizeof net, "%s = %s;", slot->key, small_net(c->registry, image));
        if (d->kind == GLOW_NET) {
            bool wide = false;
            for (uint32_t k = 0; k < d->n_options; k++) {
                const struct glow_option *o =
                    (const void *)((const char *)d->options + (size_t)k * d->option_size);
                wide |= o->type == GLOW_OPT_INT && !strcmp(o->key, "width");
            }
            snprintf(layer, sizeof layer, "layer = \"affine\"; net = { type = \"%s\"; %s %s %s };",
                     d->id, wide && !strstr(c->extra, "width") ? "width = 8;" : "", variant,
                     c->extra);
        } else
            snprintf(layer, sizeof layer, "layer = \"%s\"; %s %s %s", d->id, net, variant,
                     c->extra);
        snprintf(subject, sizeof subject, "%s %s, %s%s%s", kind_name(d->kind), d->id,
                 *variant ? variant : "defaults", " input ", inputs[i]);
        TRY(conform_layer_case(c->registry, subject, layer, inputs[i], c->r, &accepted));
        c->accepted += accepted;
    }
    return GLOW_OK;
}

glow_status conform_layer(struct registry *registry, const struct plugin_info *info,
                          const char *extra, struct conform_report *r)
{
    static const char *const priors[] = { "prior = \"normal\";", "prior = \"learned\";" };
    struct cases c = { registry, info, extra, r, 0 };
    TRY(conform_variants(info->desc, visit_variant, &c));
    if (info->desc->kind == GLOW_LAYER && child_slot(info->desc, GLOW_PRIOR))
        for (size_t i = 0; i < GLOW_COUNT(priors); i++) TRY(visit_variant(&c, priors[i]));
    conform_add(r, info->desc->id, "accepts some input", c.accepted ? VERDICT_PASS : VERDICT_FAIL,
                "%d cases", c.accepted);
    return GLOW_OK;
}

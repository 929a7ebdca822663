/* conform_layer.c - what a layer, or a network in a coupling, must satisfy: its forward, its
 * inverse and its gradient are held against each other and against differences, on a specimen
 * (specimen.h) of three samples in float64. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "conform.h"
#include "specimen.h"

enum { SAMPLES = SPECIMEN_SAMPLES };
#define STEP 1e-6 /* of central differences */

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

static glow_status check_inverse(struct specimen *it, const struct readings *v,
                                 struct conform_report *r)
{
    struct program *back = NULL;
    struct readings again;
    glow_status status = GLOW_OK;
    const struct glow_traits *t = &it->layer->traits;
    size_t n = SAMPLES * (size_t)it->n_in + 2 * SAMPLES;
    double *x, *ld;
    TRY(readings_alloc(&again, it));
    x = calloc(n, sizeof *x);
    if (!x) TRY_OUT(fail_memory(n * sizeof *x, "conformance"));
    ld = x + SAMPLES * it->n_in;
    if (specimen_inverse(it, &back) != GLOW_OK) {
        conform_add(r, it->subject, "inverse(forward(x)) = x", VERDICT_FAIL, "%s", fail_message());
        goto out;
    }
    TRY_OUT(program_set(back, program_input(back, "y"), v->y));
    const double *z = v->z;
    for (int k = 0; k < it->layer->n_latents; k++) {
        struct tensor *in = &back->inputs[1 + k].tensor;
        TRY_OUT(program_set(back, in, z));
        z += tensor_count(in);
    }
    TRY_OUT(program_run(back, 5, 9, 0));
    TRY_OUT(program_read(back, program_output(back, "x"), SAMPLES, x));
    TRY_OUT(program_read(back, program_output(back, "logdet"), SAMPLES, ld));
    double size = 1 + largest(it->x, SAMPLES * it->n_in);
    if (t->left != GLOW_INV_NONE)
        conform_bound(r, it->subject, "inverse(forward(x)) = x",
                      largest_difference(x, it->x, SAMPLES * it->n_in) / size,
                      t->left == GLOW_INV_EXACT ? 1e-9 : t->rtol);
    if (t->right == GLOW_INV_NONE) goto out;
    for (int i = 0; i < SAMPLES; i++) ld[SAMPLES + i] = -v->logdet[i];
    conform_bound(r, it->subject, "logdet(inverse) = -logdet",
                  largest_difference(ld, ld + SAMPLES, SAMPLES) / (1 + largest(ld, SAMPLES)),
                  t->right == GLOW_INV_EXACT ? 1e-9 : t->rtol);
    TRY_OUT(specimen_run(it, x, &again));
    conform_bound(r, it->subject, "forward(inverse(y)) = y",
                  fmax(largest_difference(again.y, v->y, SAMPLES * it->n_out),
                       largest_difference(again.z, v->z, SAMPLES * it->n_latent)) /
                      (1 + largest(v->y, SAMPLES * it->n_out)),
                  t->right == GLOW_INV_EXACT ? 1e-9 : t->rtol);
out:
    program_free(back);
    free(x);
    readings_free(&again);
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
static glow_status difference(struct specimen *it, int64_t j, struct readings *v, double *column,
                              double *slope)
{
    double keep = it->x[j], s[2];
    for (int side = 0; side < 2; side++) {
        it->x[j] = keep + (side ? -STEP : STEP);
        glow_status status = specimen_run(it, it->x, v);
        it->x[j] = keep;
        TRY(status);
        s[side] = v->s[0];
        for (int64_t i = 0; i < it->n_out; i++)
            column[i] = side ? (column[i] - v->y[i]) / (2 * STEP) : v->y[i];
        const double *z = v->z;
        int64_t at = it->n_out;
        for (int k = 0; k < it->layer->n_latents; k++) {
            int64_t n = type_count(&it->model->latents[it->layer->first_latent + k].type);
            for (int64_t i = 0; i < n; i++, at++)
                column[at] = side ? (column[at] - z[i]) / (2 * STEP) : z[i];
            z += SAMPLES * n;
        }
    }
    *slope = (s[0] - s[1]) / (2 * STEP);
    return GLOW_OK;
}

static glow_status check_jacobian(struct specimen *it, const struct readings *v,
                                  struct conform_report *r)
{
    int64_t n = it->n_in;
    struct readings w;
    double *jacobian, *column, worst = 0, slope;
    glow_status status = GLOW_OK;
    TRY(readings_alloc(&w, it));
    jacobian = calloc((size_t)(n * n) + 1, sizeof *jacobian);
    column = calloc((size_t)(it->n_out + it->n_latent) + 1, sizeof *column);
    if (!jacobian || !column)
        TRY_OUT(fail_memory((size_t)(n * n) * sizeof *jacobian, "conformance"));
    bool square = it->n_out + it->n_latent == n;
    for (int64_t j = 0; j < n; j++) {
        TRY_OUT(difference(it, j, &w, column, &slope));
        for (int64_t i = 0; square && i < n; i++) jacobian[i * n + j] = column[i];
        double d = fabs(slope - v->dx[j]) / (1 + largest(v->dx, n));
        if (!(d <= worst)) worst = isnan(d) ? INFINITY : d;
    }
    conform_bound(r, it->subject, "gradient of x = differences", worst, 1e-6);
    if (square) {
        double numeric = log_abs_determinant(jacobian, n),
               d = fabs(numeric - v->logdet[0]) / (1 + fabs(numeric));
        conform_add(r, it->subject, "logdet = numeric Jacobian",
                    d <= 1e-6 ? VERDICT_PASS : VERDICT_FAIL, "%.9g, numeric %.9g", v->logdet[0],
                    numeric);
    } else
        conform_add(r, it->subject, "logdet = numeric Jacobian", VERDICT_SKIP,
                    "not square: %lld to %lld", (long long)n,
                    (long long)(it->n_out + it->n_latent));
out:
    readings_free(&w);
    free(jacobian);
    free(column);
    return status;
}

/* The largest difference of up to 8 elements of the gradient of parameter i from differences of the
 * sum of s, relative to the gradient. */
static glow_status check_parameter(struct specimen *it, int i, struct readings *v, double *worst)
{
    struct model *m = it->model;
    int64_t n = m->params[i].count, stride = n / 8 + 1;
    double *w = calloc(2 * (size_t)n, sizeof *w), *g;
    glow_status status = GLOW_OK;
    *worst = 0;
    if (!w) return fail_memory(2 * (size_t)n * sizeof *w, "conformance");
    g = w + n;
    model_get(m, m->weights, i, w);
    TRY_OUT(specimen_run(it, it->x, v));
    model_get(m, m->gradients, i, g);
    for (int64_t k = 0; k < n; k += stride) {
        double keep = w[k], sums[2] = { 0, 0 };
        for (int side = 0; side < 2 && status == GLOW_OK; side++) {
            w[k] = keep + (side ? -STEP : STEP);
            model_set(m, m->weights, i, w);
            status = specimen_run(it, it->x, v);
            for (int q = 0; q < SAMPLES; q++) sums[side] += v->s[q];
        }
        w[k] = keep;
        model_set(m, m->weights, i, w);
        if (status != GLOW_OK) break;
        double d = fabs((sums[0] - sums[1]) / (2 * STEP) - g[k]) / (1 + largest(g, n));
        if (!(d <= *worst)) *worst = isnan(d) ? INFINITY : d;
    }
out:
    free(w);
    return status;
}

static glow_status check_parameters(struct specimen *it, struct conform_report *r)
{
    const struct model *m = it->model;
    struct readings v;
    double worst = 0, d;
    char who[80] = "";
    glow_status status = GLOW_OK;
    TRY(readings_alloc(&v, it));
    for (int i = 0; i < it->layer->n_params; i++) {
        if (m->params[i].flags & GLOW_PARAM_FROZEN) continue;
        TRY_OUT(check_parameter(it, i, &v, &d));
        if (d <= worst) continue;
        worst = d;
        snprintf(who, sizeof who, "%.79s", m->params[i].spec.name);
    }
    if (it->layer->n_params)
        conform_add(r, it->subject, "parameter gradients = differences",
                    worst <= 1e-6 ? VERDICT_PASS : VERDICT_FAIL, "%.1e (bound 1.0e-06)%s%s", worst,
                    worst > 0 ? ", worst in " : "", who);
out:
    readings_free(&v);
    return status;
}

/* Sample 2 alone, in a batch of other neighbours, must come out the same. */
static glow_status check_neighbours(struct specimen *it, const struct readings *v,
                                    struct conform_report *r)
{
    struct readings w;
    size_t bytes = SAMPLES * (size_t)it->n_in * sizeof(double);
    double *x = malloc(bytes);
    glow_status status;
    if (!x) return fail_memory(bytes, "conformance");
    w.y = NULL;
    TRY_OUT(readings_alloc(&w, it));
    memcpy(x, it->x, bytes);
    for (int64_t i = 0; i < 2 * it->n_in; i++) x[i] = it->x[2 * it->n_in - 1 - i];
    TRY_OUT(specimen_run(it, x, &w));
    double d = largest_difference(w.y + 2 * it->n_out, v->y + 2 * it->n_out, it->n_out);
    d = fmax(d, fabs(w.logdet[2] - v->logdet[2]));
    d = fmax(d, largest_difference(w.dx + 2 * it->n_in, v->dx + 2 * it->n_in, it->n_in));
    conform_bound(r, it->subject, "independent of batch mates", d,
                  1e-12 * (1 + largest(v->y, SAMPLES * it->n_out)));
    TRY_OUT(specimen_run(it, it->x, &w));
    bool same = !memcmp(w.y, v->y, SAMPLES * (size_t)it->n_out * sizeof *w.y) &&
                !memcmp(w.dx, v->dx, bytes);
    conform_add(r, it->subject, "deterministic", same ? VERDICT_PASS : VERDICT_FAIL, "%s",
                same ? "the same bits again" : "another result");
out:
    readings_free(&w);
    free(x);
    return status;
}

struct variation { /* another build of the same model, which must agree */
    const char *check;
    int32_t real;
    int threads;
    bool decompose;
    double bound;
};

static glow_status compare_variation(struct specimen *other, const struct specimen *it,
                                     const struct readings *v, const struct variation *how,
                                     struct conform_report *r)
{
    struct readings w;
    glow_status status;
    TRY(readings_alloc(&w, it));
    other->decompose = how->decompose;
    TRY_OUT(specimen_forward(other));
    TRY_OUT(specimen_run(other, it->x, &w));
    double d = largest_difference(w.y, v->y, SAMPLES * it->n_out) /
               (1 + largest(v->y, SAMPLES * it->n_out));
    d = fmax(d, largest_difference(w.dx, v->dx, SAMPLES * it->n_in) /
                    (1 + largest(v->dx, SAMPLES * it->n_in)));
    d = fmax(d,
             largest_difference(w.logdet, v->logdet, SAMPLES) / (1 + largest(v->logdet, SAMPLES)));
    conform_bound(r, it->subject, how->check, d, how->bound);
out:
    readings_free(&w);
    return status;
}

static void check_variation(const struct specimen *it, const struct readings *v,
                            const struct variation *how, struct conform_report *r)
{
    struct specimen other = { .registry = it->registry, .text = it->text, .input = it->input };
    glow_status status = specimen_open(&other, how->real, how->threads);
    if (status == GLOW_OK) {
        status = compare_variation(&other, it, v, how, r);
        specimen_close(&other);
    }
    if (status != GLOW_OK)
        conform_add(r, it->subject, how->check, VERDICT_FAIL, "%s", fail_message());
}

/* The three memory policies must give the gradients of `store`. */
static glow_status check_policies(struct specimen *it, struct conform_report *r)
{
    struct model *m = it->model;
    size_t bytes = (size_t)m->n_elements * sizeof(double);
    double *first = calloc(2, bytes), worst = 0;
    glow_status status = first ? GLOW_OK : fail_memory(2 * bytes, "conformance");
    for (int policy = MEMORY_STORE; policy <= MEMORY_INVERT && status == GLOW_OK; policy++) {
        struct program *p;
        struct program_options o = { .kind = PROGRAM_TRAIN,
                                     .batch = SAMPLES,
                                     .memory = (enum memory_policy)policy };
        TRY_OUT(program_make(&p, m, &o));
        TRY_OUT(program_set(p, program_input(p, "x"), it->x));
        status = program_run(p, 5, 9, 0);
        double *g = policy == MEMORY_STORE ? first : first + m->n_elements;
        if (status == GLOW_OK)
            status = backend_download(m->backend, m->engine, g, m->gradients, bytes);
        if (policy != MEMORY_STORE)
            worst = fmax(worst, largest_difference(g, first, m->n_elements) /
                                    (1 + largest(first, m->n_elements)));
        program_free(p);
    }
    if (it->layer->n_params && status == GLOW_OK)
        conform_bound(r, it->subject, "memory policies agree", worst, 1e-9);
out:
    free(first);
    return status;
}

static glow_status check_initialisation(struct specimen *it, struct conform_report *r)
{
    struct program *p;
    struct program_options o = { .kind = PROGRAM_INIT, .batch = SAMPLES };
    TRY(program_make(&p, it->model, &o));
    glow_status status = program_set(p, program_input(p, "x"), it->x);
    if (status == GLOW_OK) status = program_run(p, 5, 9, 0);
    double loss = program_scalar(p, "loss");
    program_free(p);
    if (status == GLOW_OK)
        conform_add(r, it->subject, "initialisation from data",
                    isfinite(loss) ? VERDICT_PASS : VERDICT_FAIL, "loss %.4g", loss);
    return status;
}

static glow_status run_checks(struct specimen *it, struct conform_report *r)
{
    static const struct variation variations[] = {
        { "two threads agree", DT_F64, 2, false, 0 },
        { "single precision agrees", DT_F32, 1, false, 2e-4 },
        { "kernel = decomposition", DT_F64, 1, true, 1e-9 },
    };
    struct readings v;
    glow_status status;
    TRY(readings_alloc(&v, it));
    TRY_OUT(specimen_forward(it));
    TRY_OUT(specimen_run(it, it->x, &v));
    bool has_inverse = ((const struct glow_layer *)it->layer->self->info->desc)->inverse != NULL;
    if (has_inverse)
        TRY_OUT(check_inverse(it, &v, r));
    else
        conform_add(r, it->subject, "inverse(forward(x)) = x", VERDICT_SKIP,
                    "the layer has no inverse");
    if (it->layer->traits.right != GLOW_INV_NONE || !(it->layer->traits.flags & GLOW_STOCHASTIC))
        TRY_OUT(check_jacobian(it, &v, r));
    else
        conform_add(r, it->subject, "logdet = numeric Jacobian", VERDICT_SKIP,
                    "stochastic and not onto");
    TRY_OUT(check_parameters(it, r));
    TRY_OUT(check_neighbours(it, &v, r));
    for (size_t i = 0; i < GLOW_COUNT(variations); i++) check_variation(it, &v, &variations[i], r);
    TRY_OUT(check_policies(it, r));
    TRY_OUT(check_initialisation(it, r));
out:
    readings_free(&v);
    return status;
}

glow_status conform_layer_case(struct registry *registry, const char *subject, const char *layer,
                               const char *input, struct conform_report *r, bool *accepted)
{
    struct specimen it = {
        .registry = registry, .subject = subject, .text = layer, .input = input
    };
    glow_status status = specimen_open(&it, DT_F64, 1);
    *accepted = status == GLOW_OK;
    if (status == GLOW_ENOMEM) return status;
    if (status != GLOW_OK) {
        conform_add(r, subject, "accepts the input", VERDICT_SKIP, "%s", fail_message());
        return GLOW_OK;
    }
    status = run_checks(&it, r);
    if (status != GLOW_OK && status != GLOW_ENOMEM) {
        conform_add(r, subject, "describes and runs", VERDICT_FAIL, "%s", fail_message());
        status = GLOW_OK;
    }
    specimen_close(&it);
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

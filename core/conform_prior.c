/* conform_prior.c - priors and datasets. A prior is a flow without layers: its density must
 * integrate to 1, its samples must have the moments of that density, and standardise and restore
 * must undo each other. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "conform.h"
#include "data.h"
#include "program.h"

enum { GRID = 4096 }; /* points of the integral, also the number of samples */
#define EXTENT 12.0   /* the integral is taken over [-EXTENT, EXTENT] */

static glow_status open_prior(struct registry *registry, const char *id, const char *extra,
                              const char *input, struct model **m)
{
    struct config *c;
    char text[1024];
    snprintf(text, sizeof text,
             "model: { input = %s; flow = ( ); prior: { y = { type = \"%s\"; %s }; }; };", input,
             id, extra);
    TRY(config_parse(&c, text, "check"));
    return model_new(m, c, registry,
                     &(struct model_options){ .threads = 1, .real = DT_F64, .seed = 7 });
}

/* 1-D: the integral of the density, and its moments against those of samples. */
static glow_status check_density(const char *subject, struct model *m, struct conform_report *r)
{
    struct program *eval = NULL, *sample = NULL;
    const double one = 1, zero = 0;
    double *p = calloc(2 * GRID, sizeof *p), *z = p + GRID, total = 0, mean = 0, square = 0, m1 = 0,
           m2 = 0, h = 2 * EXTENT / GRID;
    glow_status status = p ? GLOW_OK : fail_memory(2 * GRID * sizeof *p, "conformance");
    if (status != GLOW_OK) return status;
    TRY_OUT(
        program_make(&eval, m, &(struct program_options){ .kind = PROGRAM_EVAL, .batch = GRID }));
    for (int i = 0; i < GRID; i++) z[i] = -EXTENT + (i + 0.5) * h;
    TRY_OUT(program_set(eval, program_input(eval, "x"), z));
    TRY_OUT(program_run(eval, 1, 1, 0));
    TRY_OUT(program_read(eval, program_output(eval, "loglik"), GRID, p));
    for (int i = 0; i < GRID; i++) {
        double mass = exp(p[i]) * h, at = -EXTENT + (i + 0.5) * h;
        total += mass;
        mean += mass * at;
        square += mass * at * at;
    }
    conform_bound(r, subject, "density integrates to 1", fabs(total - 1), 1e-3);
    TRY_OUT(program_make(&sample, m,
                         &(struct program_options){ .kind = PROGRAM_SAMPLE, .batch = GRID }));
    TRY_OUT(program_set(sample, &sample->inputs[0].tensor, &one));
    TRY_OUT(program_run(sample, 1, 1, 0));
    TRY_OUT(program_read(sample, program_output(sample, "x"), GRID, z));
    for (int i = 0; i < GRID; i++) {
        m1 += z[i] / GRID;
        m2 += z[i] * z[i] / GRID;
    }
    double deviation = sqrt(fmax(square - mean * mean, 1e-12)), error = 5 * deviation / sqrt(GRID);
    conform_bound(r, subject, "samples have the mean", fabs(m1 - mean), error);
    conform_bound(r, subject, "samples have the deviation",
                  fabs(sqrt(fmax(m2 - m1 * m1, 0)) - deviation), error);
    TRY_OUT(program_set(sample, &sample->inputs[0].tensor, &zero));
    TRY_OUT(program_run(sample, 1, 1, 0));
    TRY_OUT(program_read(sample, program_output(sample, "x"), GRID, z));
    double finite = 0;
    for (int i = 0; i < GRID; i++) finite += isfinite(z[i]) ? 0 : 1;
    conform_bound(r, subject, "temperature 0 is finite", finite, 0);
out:
    program_free(eval);
    program_free(sample);
    free(p);
    return status;
}

/* encode, then decode: the latent as noise and back. */
static glow_status check_round_trip(const char *subject, struct model *m, struct conform_report *r)
{
    enum { N = 4 };
    struct program *encode = NULL, *decode = NULL;
    int64_t n = N * model_dimensions(m);
    double *x = calloc(2 * (size_t)n, sizeof *x), worst = 0;
    glow_status status = x ? GLOW_OK : fail_memory(2 * (size_t)n * sizeof *x, "conformance");
    if (status != GLOW_OK) return status;
    conform_noise(3, GLOW_GAUSS, x, n);
    TRY_OUT(
        program_make(&encode, m, &(struct program_options){ .kind = PROGRAM_ENCODE, .batch = N }));
    TRY_OUT(
        program_make(&decode, m, &(struct program_options){ .kind = PROGRAM_DECODE, .batch = N }));
    TRY_OUT(program_set(encode, program_input(encode, "x"), x));
    TRY_OUT(program_run(encode, 1, 1, 0));
    TRY_OUT(program_read(encode, program_output(encode, "latent:y"), N, x + n));
    TRY_OUT(program_set(decode, &decode->inputs[0].tensor, x + n));
    TRY_OUT(program_run(decode, 1, 1, 0));
    TRY_OUT(program_read(decode, program_output(decode, "x"), N, x + n));
    for (int64_t i = 0; i < n; i++) worst = fmax(worst, fabs(x[i] - x[n + i]));
    conform_bound(r, subject, "decode(encode(z)) = z", worst, 1e-9);
out:
    program_free(encode);
    program_free(decode);
    free(x);
    return status;
}

/* The training gradient against differences of the evaluation's loss. */
static glow_status check_gradient(const char *subject, struct model *m, struct conform_report *r)
{
    enum { N = 3 };
    struct program *train = NULL, *eval = NULL;
    double worst = 0, *x = NULL;
    int64_t n = N * model_dimensions(m);
    glow_status status = GLOW_OK;
    if (!m->n_params) return GLOW_OK;
    x = calloc((size_t)n + 2 * (size_t)m->n_elements, sizeof *x);
    if (!x) return fail_memory((size_t)n * sizeof *x, "conformance");
    double *w = x + n, *g = w + m->n_elements;
    TRY_OUT(
        program_make(&train, m, &(struct program_options){ .kind = PROGRAM_TRAIN, .batch = N }));
    TRY_OUT(program_make(&eval, m, &(struct program_options){ .kind = PROGRAM_EVAL, .batch = N }));
    conform_noise(3, GLOW_GAUSS, x, n);
    TRY_OUT(program_set(train, program_input(train, "x"), x));
    TRY_OUT(program_set(eval, program_input(eval, "x"), x));
    TRY_OUT(program_run(train, 1, 1, 0));
    for (int i = 0; i < m->n_params; i++) {
        model_get(m, m->weights, i, w);
        model_get(m, m->gradients, i, g);
        for (int64_t k = 0; k < m->params[i].count && k < 8; k++) {
            double keep = w[k], loss[2];
            for (int side = 0; side < 2; side++) {
                w[k] = keep + (side ? -1e-6 : 1e-6);
                model_set(m, m->weights, i, w);
                TRY_OUT(program_run(eval, 1, 1, 0));
                loss[side] = program_scalar(eval, "loss");
            }
            w[k] = keep;
            model_set(m, m->weights, i, w);
            worst = fmax(worst, fabs((loss[0] - loss[1]) / 2e-6 - g[k]));
        }
    }
    conform_bound(r, subject, "parameter gradients = differences", worst, 1e-6);
out:
    program_free(train);
    program_free(eval);
    free(x);
    return status;
}

struct cases {
    struct registry *registry;
    const struct plugin_info *info;
    const char *extra;
    struct conform_report *r;
    int accepted;
};

static glow_status visit_variant(void *context, const char *variant)
{
    static const char *const inputs[] = { "[1]", "[5]", "[1, 1, 1]", "[4, 4, 3]" };
    struct cases *c = context;
    for (size_t i = 0; i < GLOW_COUNT(inputs); i++) {
        struct model *m;
        char options[600], subject[160];
        snprintf(options, sizeof options, "%s %s", variant, c->extra);
        snprintf(subject, sizeof subject, "prior %s, %s input %s", c->info->desc->id,
                 *variant ? variant : "defaults", inputs[i]);
        if (open_prior(c->registry, c->info->desc->id, options, inputs[i], &m) != GLOW_OK) {
            conform_add(c->r, subject, "accepts the latent", VERDICT_SKIP, "%s", fail_message());
            continue;
        }
        c->accepted++;
        glow_status status = conform_perturb(m, 50);
        if (status == GLOW_OK && model_dimensions(m) == 1) status = check_density(subject, m, c->r);
        if (status == GLOW_OK) status = check_round_trip(subject, m, c->r);
        if (status == GLOW_OK) status = check_gradient(subject, m, c->r);
        if (status != GLOW_OK)
            conform_add(c->r, subject, "describes and runs", VERDICT_FAIL, "%s", fail_message());
        model_free(m);
    }
    return GLOW_OK;
}

glow_status conform_prior(struct registry *registry, const struct plugin_info *info,
                          const char *extra, struct conform_report *r)
{
    struct cases c = { registry, info, extra, r, 0 };
    TRY(conform_variants(info->desc, visit_variant, &c));
    conform_add(r, info->desc->id, "accepts some latent", c.accepted ? VERDICT_PASS : VERDICT_FAIL,
                "%d cases", c.accepted);
    return GLOW_OK;
}

/* sampling.c - see sampling.h. */
#include "sampling.h"
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "port.h"
#include "program.h"

/* ---------------------------------------------------------------- temperatures */

static glow_status bad_temperature(const struct model *m, const char *item, const char *why)
{
    char names[1024] = "";
    for (int i = 0; i < m->n_latents; i++) {
        size_t at = strlen(names);
        snprintf(names + at, sizeof names - at, "%s%s", i ? ", " : "", m->latents[i].name);
    }
    return fail(GLOW_EINVAL, "temperature %s: %s; the latents are %s, in groups by their last word",
                item, why, names);
}

/* Sets the latents that `name` of length n stands for: a latent, a group, or (NULL) latent number
 * i. */
static int set_temperature(const struct model *m, const char *name, size_t n, int i, double t,
                           double *temperature)
{
    int found = 0;
    for (int k = 0; k < m->n_latents; k++) {
        const struct latent *l = &m->latents[k];
        bool is_name = name && strlen(l->name) == n && !strncmp(l->name, name, n);
        bool is_group = name && strlen(l->group) == n && !strncmp(l->group, name, n);
        if (!is_name && !is_group && (name || k != i)) continue;
        temperature[k] = t;
        found++;
    }
    return found;
}

glow_status sampling_temperatures(const struct model *m, const char *text, double *temperature)
{
    int items = 0;
    for (int k = 0; k < m->n_latents; k++) temperature[k] = model_temperature(m, &m->latents[k]);
    if (!text) return GLOW_OK;
    for (const char *p = text; p; items++) {
        const char *comma = strchr(p, ','), *equals = strchr(p, '=');
        if (equals && comma && equals > comma) equals = NULL;
        char *end;
        double t = strtod(equals ? equals + 1 : p, &end);
        if (end == (equals ? equals + 1 : p) || (*end && *end != ',') || !(t >= 0) || !isfinite(t))
            return bad_temperature(m, text,
                                   "expected numbers of 0 or more: T, T,T,.. or NAME=T,..");
        if (!equals && strchr(text, '='))
            return bad_temperature(m, text, "expected NAME=T everywhere, or numbers alone");
        if (!equals && !comma && items == 0)
            for (int k = 0; k < m->n_latents; k++) temperature[k] = t;
        else if (!set_temperature(m, equals ? p : NULL, equals ? (size_t)(equals - p) : 0, items, t,
                                  temperature))
            return bad_temperature(m, text,
                                   equals ? "there is no such latent" : "too many numbers");
        p = comma ? comma + 1 : NULL;
    }
    if (items > 1 && !strchr(text, '=') && items != m->n_latents)
        return bad_temperature(m, text, "expected one number, or one for each latent");
    return GLOW_OK;
}

/* ---------------------------------------------------------------- drawing */

static glow_status set_inputs(const struct program *p, const double *temperature)
{
    const struct model *m = p->model;
    for (int k = 0; k < p->n_inputs; k++)
        for (int i = 0; i < m->n_latents; i++)
            if (!strcmp(p->inputs[k].name + strlen("temperature:"), m->latents[i].name))
                TRY(program_set(p, &p->inputs[k].tensor, &temperature[i]));
    return GLOW_OK;
}

glow_status sampling_draw(struct model *m, const double *temperature, int64_t n, uint64_t seed,
                          bool average, void *x)
{
    struct program_options o = { .kind = PROGRAM_SAMPLE,
                                 .batch = port_batch(n),
                                 .average = average };
    struct program *p;
    size_t row = (size_t)model_dimensions(m) * dtype_size(m->real);
    TRY(program_make(&p, m, &o));
    const struct tensor *out = program_output(p, "x");
    glow_status status = set_inputs(p, temperature);
    for (int64_t done = 0; done < n && status == GLOW_OK; done += o.batch) {
        int64_t rows = n - done < o.batch ? n - done : o.batch;
        if (cancel_requested)
            status = fail(GLOW_ECANCEL, "interrupted");
        else
            status = program_run(p, seed, 0, done);
        if (status == GLOW_OK) status = program_fetch(p, out, rows, (char *)x + (size_t)done * row);
    }
    program_free(p);
    return status;
}

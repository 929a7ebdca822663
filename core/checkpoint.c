/* checkpoint.c - see checkpoint.h and docs/checkpoint.md. */
#include "checkpoint.h"
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include "safetensors.h"

#define FORMAT         "glow-checkpoint"
#define FORMAT_VERSION "1"

struct checkpoint {
    struct safetensors *file;
    char *path;
    json_t *instances;
};

/* ---------------------------------------------------------------- saving */

struct writer {
    const struct model *m;
    void *copies[4]; /* of arenas that the host can't reach */
    int n_copies;
    struct bump memory;
    struct safetensors_tensor *tensors;
    int64_t n;
};

static void unpack(const struct safetensors_tensor *t, void *to)
{
    packing_unpack(t->layout, strcmp(t->dtype, "F64") ? DT_F32 : DT_F64, to, t->data);
}

static glow_status add_arena(struct writer *w, const char *prefix, const void *arena,
                             bool trained_only)
{
    const struct model *m = w->m;
    if (arena && m->backend->download) {
        size_t bytes = (size_t)m->n_elements * dtype_size(m->real);
        void *copy = malloc(bytes);
        if (!copy) return fail_memory(bytes, "checkpoint");
        w->copies[w->n_copies++] = copy;
        TRY(m->backend->download(m->engine, copy, arena, bytes));
        arena = copy;
    }
    for (int i = 0; arena && i < m->n_params; i++) {
        const struct param *p = &m->params[i];
        if (trained_only && (p->flags & GLOW_PARAM_FROZEN)) continue;
        struct safetensors_tensor *t = &w->tensors[w->n++];
        *t = (struct safetensors_tensor){ .dtype = m->real == DT_F64 ? "F64" : "F32",
                                          .rank = p->type.rank,
                                          .data = (const char *)arena +
                                                  p->offset * (int64_t)dtype_size(m->real) };
        for (int k = 0; k < p->type.rank; k++) t->dim[k] = p->type.dim[k];
        if (p->packing.count) {
            t->unpack = unpack;
            t->layout = &p->packing;
        }
        t->name = bump_print(&w->memory, "%s%s", prefix, p->name);
        if (!t->name) return fail_memory(64, "checkpoint");
    }
    return GLOW_OK;
}

/* What a reader that does not have our plug-ins needs to know of the flow: layers and latents in
 * order. */
static char *describe_model(const struct model *m)
{
    json_t *layers = json_array(), *latents = json_array();
    for (int i = 0; i < m->n_layers; i++) {
        const struct layer *l = &m->layers[i];
        if (!l->self) continue;
        json_t *in = json_array(), *out = json_array();
        for (int k = 0; k < l->in.rank; k++) json_array_append_new(in, json_integer(l->in.dim[k]));
        for (int k = 0; k < l->out.rank; k++)
            json_array_append_new(out, json_integer(l->out.dim[k]));
        json_array_append_new(layers, json_pack("{s:s, s:s, s:o, s:o}", "path", l->self->path, "id",
                                                l->self->info->desc->id, "in", in, "out", out));
    }
    for (int i = 0; i < m->n_latents; i++) {
        const struct latent *l = &m->latents[i];
        json_t *shape = json_array();
        for (int k = 0; k < l->type.rank; k++)
            json_array_append_new(shape, json_integer(l->type.dim[k]));
        json_array_append_new(latents,
                              json_pack("{s:s, s:s, s:s, s:s, s:o}", "name", l->name, "group",
                                        l->group, "prior", l->prior->info->desc->id, "path",
                                        l->prior->path, "shape", shape));
    }
    json_t *all = json_pack("{s:o, s:o}", "layers", layers, "latents", latents);
    char *text = all ? json_dumps(all, JSON_COMPACT) : NULL;
    json_decref(all);
    return text;
}

glow_status checkpoint_save(const char *path, const struct model *m, const struct trainer *t)
{
    glow_status status;
    struct writer w = { .m = m };
    char step[32], updates[32], seed[32];
    char *config = config_text(m->config), *shape = describe_model(m), *text = NULL;
    json_t *instances = model_instances(m);
    static const char *const policies[] = { "auto", "store", "recompute", "invert" };
    static const char *const optimizers[] = { "", "sgd", "adam", "adamax" };
    if (instances) text = json_dumps(instances, JSON_COMPACT | JSON_SORT_KEYS);
    w.tensors = bump_alloc(&w.memory, (4 * (size_t)m->n_params + 1) * sizeof *w.tensors);
    if (!config || !text || !shape || !w.tensors) {
        status = fail_memory((size_t)m->n_params * sizeof *w.tensors, "checkpoint");
        goto out;
    }
    TRY_OUT(add_arena(&w, "", m->weights, false));
    if (m->average) TRY_OUT(add_arena(&w, "average.", m->average, true));
    if (t) TRY_OUT(add_arena(&w, "optimizer.moment1.", m->moment1, true));
    if (t) TRY_OUT(add_arena(&w, "optimizer.moment2.", m->moment2, true));
    snprintf(step, sizeof step, "%" PRIu64, t ? t->step : 0);
    snprintf(updates, sizeof updates, "%" PRIu64, t ? t->updates : 0);
    snprintf(seed, sizeof seed, "%" PRIu64, m->seed);
    struct safetensors_text meta[] = { { "format", FORMAT },
                                       { "version", FORMAT_VERSION },
                                       { "config", config },
                                       { "instances", text },
                                       { "model", shape },
                                       { "step", step },
                                       { "updates", updates },
                                       { "seed", seed },
                                       { "initialised", m->initialised ? "true" : "false" },
                                       { "optimizer", t ? optimizers[t->settings->optimizer] : "" },
                                       { "memory", t ? policies[t->memory] : "" } };
    status = safetensors_write(path, w.tensors, w.n, meta, GLOW_COUNT(meta));
out:
    for (int i = 0; i < w.n_copies; i++) free(w.copies[i]);
    bump_free(&w.memory);
    json_decref(instances);
    free(config);
    free(text);
    free(shape);
    return status;
}

/* ---------------------------------------------------------------- opening */

static glow_status bad(const struct checkpoint *c, const char *what)
{
    return fail(GLOW_EINVAL, "%s: %s", c->path, what);
}

/* Steps and the seed are whole numbers that a checkpoint need not have. */
static glow_status check_numbers(const struct checkpoint *c)
{
    static const char *const keys[] = { "step", "updates", "seed" };
    for (size_t i = 0; i < GLOW_COUNT(keys); i++) {
        const char *text = safetensors_metadata(c->file, keys[i]);
        if (!text) continue;
        errno = 0;
        uint64_t n = strtoull(text, NULL, 10);
        bool good = *text && strspn(text, "0123456789") == strlen(text) && !errno;
        if (!good || (i < 2 && n > INT64_MAX))
            return fail(GLOW_EINVAL, "%s: metadata \"%s\" is \"%.40s\", expected a whole number",
                        c->path, keys[i], text);
    }
    return GLOW_OK;
}

glow_status checkpoint_open(struct checkpoint **out, const char *path)
{
    glow_status status;
    struct checkpoint *c = calloc(1, sizeof *c);
    json_error_t error;
    if (!c || !(c->path = strdup(path))) {
        free(c);
        return fail_memory(strlen(path), "checkpoint");
    }
    TRY_OUT(safetensors_open(&c->file, path));
    const char *format = safetensors_metadata(c->file, "format"),
               *version = safetensors_metadata(c->file, "version");
    const char *text = safetensors_metadata(c->file, "instances");
    if (!format || strcmp(format, FORMAT)) {
        status = bad(c, "a safetensors file, but no checkpoint of glow (metadata \"format\")");
        goto out;
    }
    if (!version || strcmp(version, FORMAT_VERSION)) {
        status = fail(GLOW_ENOTSUP, "%s: checkpoint version %s; this program reads version %s",
                      path, version ? version : "?", FORMAT_VERSION);
        goto out;
    }
    c->instances = text ? json_loads(text, 0, &error) : NULL;
    if (!json_is_object(c->instances) || !safetensors_metadata(c->file, "config")) {
        status = bad(c, "the metadata holds no configuration or no instances");
        goto out;
    }
    TRY_OUT(check_numbers(c));
    *out = c;
    return GLOW_OK;
out:
    checkpoint_close(c);
    return status;
}

void checkpoint_close(struct checkpoint *c)
{
    if (!c) return;
    safetensors_close(c->file);
    json_decref(c->instances);
    free(c->path);
    free(c);
}

static uint64_t number(const struct checkpoint *c, const char *key)
{
    const char *text = safetensors_metadata(c->file, key);
    return text ? strtoull(text, NULL, 10) : 0;
}

const char *checkpoint_path(const struct checkpoint *c) { return c->path; }
uint64_t checkpoint_step(const struct checkpoint *c) { return number(c, "step"); }
const char *checkpoint_config(const struct checkpoint *c)
{
    return safetensors_metadata(c->file, "config");
}
const json_t *checkpoint_instances(const struct checkpoint *c) { return c->instances; }

/* ---------------------------------------------------------------- loading */

static glow_status load_tensor(const struct checkpoint *c, struct model *m, const char *prefix,
                               int index, void *arena)
{
    const struct param *p = &m->params[index];
    char name[1024], have[256] = "", want[96];
    snprintf(name, sizeof name, "%s%s", prefix, p->name);
    const struct safetensors_tensor *t = safetensors_find(c->file, name);
    if (!t)
        return fail(GLOW_EINVAL, "%s: no tensor \"%s\"; the checkpoint is of another model",
                    c->path, name);
    bool same = t->rank == p->type.rank, f32 = !strcmp(t->dtype, "F32"),
         f64 = !strcmp(t->dtype, "F64");
    for (int k = 0; k < t->rank; k++) {
        size_t at = strlen(have);
        same = same && t->dim[k] == p->type.dim[k];
        snprintf(have + at, sizeof have - at, "%s%lld", k ? "," : "", (long long)t->dim[k]);
    }
    if (!same || (!f32 && !f64))
        return fail(GLOW_EINVAL,
                    "%s: tensor \"%s\" is %s (%s); this model wants real numbers of shape %s",
                    c->path, name, t->dtype, have, type_text(&p->type, want, sizeof want));
    double *x = malloc((size_t)p->count * sizeof *x);
    if (!x) return fail_memory((size_t)p->count * sizeof *x, p->name);
    for (int64_t i = 0; i < p->count; i++) {
        float f;
        if (f32) {
            memcpy(&f, (const char *)t->data + 4 * i, 4);
            x[i] = f;
        } else
            memcpy(&x[i], (const char *)t->data + 8 * i, 8);
    }
    glow_status status = model_set(m, arena, index, x);
    free(x);
    return status;
}

static glow_status load_arena(const struct checkpoint *c, struct model *m, const char *prefix,
                              void *arena, bool trained_only)
{
    for (int i = 0; i < m->n_params; i++)
        if (!trained_only || !(m->params[i].flags & GLOW_PARAM_FROZEN))
            TRY(load_tensor(c, m, prefix, i, arena));
    return GLOW_OK;
}

static bool has_prefix(const struct checkpoint *c, const char *prefix)
{
    for (int64_t i = 0; i < safetensors_count(c->file); i++)
        if (!strncmp(safetensors_at(c->file, i)->name, prefix, strlen(prefix))) return true;
    return false;
}

/* Every instance of the checkpoint has its place in the model. */
static glow_status check_instances(const struct checkpoint *c, const struct model *m)
{
    const char *path;
    json_t *entry, *have = model_instances(m);
    glow_status status = have ? GLOW_OK : fail_memory(1, "checkpoint");
    json_object_foreach(c->instances, path, entry)
    {
        const char *id = json_string_value(json_object_get(entry, "id"));
        if (status == GLOW_OK && !json_object_get(have, path))
            status = fail(GLOW_EINVAL, "%s: holds \"%s\" at %s, where this model has nothing",
                          c->path, id ? id : "?", path);
    }
    json_decref(have);
    return status;
}

glow_status checkpoint_load(struct checkpoint *c, struct model *m)
{
    const char *initialised = safetensors_metadata(c->file, "initialised");
    TRY(check_instances(c, m));
    TRY(load_arena(c, m, "", m->weights, false));
    m->initialised = initialised && !strcmp(initialised, "true");
    if (!has_prefix(c, "average.")) return GLOW_OK;
    TRY(model_training_arenas(m, 0, true));
    TRY(backend_copy(m->backend, m->engine, m->average, m->weights,
                     (size_t)m->n_elements * dtype_size(m->real))); /* frozen ones */
    return load_arena(c, m, "average.", m->average, true);
}

glow_status checkpoint_model(struct checkpoint *c, struct registry *r,
                             const struct model_options *options, struct config *config,
                             struct model **out)
{
    struct model_options o = *options;
    struct model *m;
    if (!config) TRY(config_parse(&config, checkpoint_config(c), c->path));
    o.stored = c->instances;
    o.seed = number(c, "seed");
    TRY(model_new(&m, config, r, &o));
    glow_status status = checkpoint_load(c, m);
    if (status == GLOW_OK)
        *out = m;
    else
        model_free(m);
    return status;
}

glow_status checkpoint_resume(struct checkpoint *c, struct trainer *t)
{
    static const char *const optimizers[] = { "", "sgd", "adam", "adamax" };
    struct model *m = t->model;
    const char *optimizer = safetensors_metadata(c->file, "optimizer"),
               *memory = safetensors_metadata(c->file, "memory");
    if (!optimizer || strcmp(optimizer, optimizers[t->settings->optimizer]))
        return fail(GLOW_EINVAL, "%s: trained with optimizer \"%s\"; the configuration says \"%s\"",
                    c->path, optimizer && *optimizer ? optimizer : "none",
                    optimizers[t->settings->optimizer]);
    TRY(load_arena(c, m, "optimizer.moment1.", m->moment1, true));
    if (m->moment2) TRY(load_arena(c, m, "optimizer.moment2.", m->moment2, true));
    t->step = number(c, "step");
    t->updates = number(c, "updates");
    if (memory && !strcmp(memory, "recompute") &&
        t->memory == MEMORY_INVERT) { /* inversion had been given up */
        t->memory = MEMORY_RECOMPUTE;
        return trainer_rebuild(t);
    }
    return GLOW_OK;
}

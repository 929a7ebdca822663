/* session.c - see session.h. */
#include "session.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Overrides, settings and plug-in path of a configuration that has just been read. */
static glow_status prepare(struct session *s, const struct overrides *overrides)
{
    for (int i = 0; overrides && i < overrides->n; i++)
        TRY(config_set(s->config, overrides->text[i]));
    TRY(settings_read(&s->settings, s->config));
    if (overrides && overrides->threads > 1024)
        return fail(GLOW_EINVAL,
                    "--threads %" PRId64 ": expected 1 to 1024, or 0 for all processors",
                    overrides->threads);
    if (overrides && overrides->threads) s->settings.threads = (int)overrides->threads;
    return registry_open(&s->registry, s->config);
}

/* A file that the user named and that can't be read is a mistake in the arguments. */
static glow_status load_config(struct config **config, const char *path)
{
    glow_status status = config_load(config, path);
    return status == GLOW_EIO ? GLOW_EINVAL : status;
}

glow_status session_open(struct session *s, const char *path, const struct overrides *overrides)
{
    *s = (struct session){ 0 };
    glow_status status = load_config(&s->config, path);
    if (status == GLOW_OK) status = prepare(s, overrides);
    if (status != GLOW_OK) session_close(s);
    return status;
}

void session_close(struct session *s)
{
    settings_free(&s->settings);
    if (s->model)
        model_free(s->model);
    else
        config_free(s->config);
    registry_free(s->registry);
    *s = (struct session){ 0 };
}

/* ---------------------------------------------------------------- models */

static glow_status model_options(const struct session *s, const struct glow_type *input,
                                 struct model_options *o)
{
    *o = (struct model_options){ .threads = s->settings.threads,
                                 .real = s->settings.real,
                                 .seed = s->settings.seed };
    if (input) o->input = *input;
    TRY(backend_find(s->settings.backend, &o->backend));
    if (!s->settings.bf16) return GLOW_OK;
    if (!o->backend->bf16)
        return fail(GLOW_ENOTSUP, "train.precision = \"bf16\": not with the backend \"%s\"",
                    o->backend->name);
    o->backend = o->backend->bf16;
    return GLOW_OK;
}

glow_status session_build(struct session *s, const struct glow_type *input)
{
    struct model_options o;
    struct config *config = s->config;
    TRY(model_options(s, input, &o));
    s->config = NULL; /* the model's from here on, whatever happens */
    TRY(model_new(&s->model, config, s->registry, &o));
    s->config = s->model->config;
    return GLOW_OK;
}

/* The configuration's model as a text, empty when it has none. NULL when out of memory. */
static char *model_text(const struct config *c)
{
    char *all = config_text(c), *text = NULL;
    const struct config_node *model = config_find(c, "model");
    size_t size = all ? strlen(all) + 1 : 0;
    if (all && (text = calloc(1, size)) && model) config_value_text(model, text, size);
    free(all);
    return text;
}

/* The model of `config` must be what the checkpoint was trained with. */
static glow_status compare_models(const struct checkpoint *c, const struct config *config)
{
    struct config *stored;
    TRY(config_parse(&stored, checkpoint_config(c), checkpoint_path(c)));
    char *a = model_text(stored), *b = model_text(config);
    size_t same = 0;
    glow_status status = GLOW_OK;
    if (!a || !b) status = fail_memory(1, "configuration");
    while (status == GLOW_OK && a[same] && a[same] == b[same]) same++;
    if (status == GLOW_OK && (a[same] || b[same])) {
        while (same > 0 && !strchr("{(;", a[same - 1])) same--; /* to the beginning of the key */
        status =
            fail(GLOW_EINVAL,
                 "%s: was trained with another model than the configuration's: with \"%.60s\", "
                 "not \"%.60s\"",
                 checkpoint_path(c), a + same, b + same);
    }
    free(a);
    free(b);
    config_free(stored);
    return status;
}

glow_status session_restore(struct session *s, const char *path, const char *config,
                            const struct overrides *overrides, struct checkpoint **out)
{
    char file[4200];
    glow_status status;
    struct stat st;
    struct checkpoint *c = NULL;
    struct model_options o;
    *s = (struct session){ 0 };
    snprintf(file, sizeof file, "%s", path);
    if (!stat(path, &st) && S_ISDIR(st.st_mode))
        snprintf(file, sizeof file, "%s/checkpoint.safetensors", path);
    if (access(file, R_OK))
        return fail(GLOW_EINVAL,
                    "%s: expected a checkpoint, or the directory of a run that has "
                    "saved one (no readable %s)",
                    path, file);
    TRY(checkpoint_open(&c, file));
    if (config)
        TRY_OUT(load_config(&s->config, config));
    else
        TRY_OUT(config_parse(&s->config, checkpoint_config(c), checkpoint_path(c)));
    TRY_OUT(prepare(s, overrides));
    TRY_OUT(compare_models(c, s->config));
    TRY_OUT(model_options(s, NULL, &o));
    struct config *taken = s->config;
    s->config = NULL;
    TRY_OUT(checkpoint_model(c, s->registry, &o, taken, &s->model));
    s->config = s->model->config;
    if (out) {
        *out = c;
        c = NULL;
    }
out:
    checkpoint_close(c);
    if (status != GLOW_OK) session_close(s);
    return status;
}

/* ---------------------------------------------------------------- data */

glow_status session_data(struct session *s, const char *split, struct data **data)
{
    struct glow_type want;
    if (s->model)
        want = s->model->input;
    else
        TRY(model_input_type(s->config, &want));
    return data_open(data, s->registry, s->config, split, &want, s->settings.seed);
}

/* dir/path, absolute, in quotes as configuration text. NULL when out of memory. */
static char *absolute(struct bump *memory, const struct config_node *node)
{
    char here[4096] = "", text[8300];
    const char *path = config_string(node),
               *dir = config_overridden(node) ? "." : config_dir(config_of(node));
    const char *home = getenv("HOME");
    if (*path == '/')
        snprintf(text, sizeof text, "%s", path);
    else if (*path == '~' && home)
        snprintf(text, sizeof text, "%s%s", home, path + 1);
    else {
        if (*dir != '/' && !getcwd(here, sizeof here)) *here = '\0';
        snprintf(text, sizeof text, "%s%s%s%s%s", here, *dir == '/' ? "" : "/",
                 strcmp(dir, ".") ? dir : "", strcmp(dir, ".") ? "/" : "", path);
    }
    for (const char *p = text; *p; p++)
        if (*p == '"' || *p == '\\')
            return bump_print(memory, "\"%s\"", path); /* rare; stays relative */
    return bump_print(memory, "\"%s\"", text);
}

static glow_status anchor_plugin_path(struct session *s, struct bump *memory)
{
    const struct config_node *node = config_find(s->config, "plugin_path");
    if (!node) return GLOW_OK;
    char *text = bump_print(memory, "plugin_path=%s", config_string(node) ? "" : "[");
    for (int i = 0; text && i < (config_string(node) ? 1 : config_count(node)); i++) {
        const struct config_node *item = config_string(node) ? node : config_at(node, i);
        char *path = absolute(memory, item);
        text = path ? bump_print(memory, "%s%s%s", text, i ? ", " : "", path) : NULL;
    }
    if (text && !config_string(node)) text = bump_print(memory, "%s]", text);
    if (!text) return fail_memory(64, "configuration");
    return config_set(s->config, text);
}

glow_status session_anchor(struct session *s)
{
    struct bump memory = { 0 };
    glow_status status = anchor_plugin_path(s, &memory);
    const struct config_node *id = config_find(s->config, "data.dataset");
    const struct plugin_info *info;
    if (status == GLOW_OK && id)
        status = registry_find(s->registry, GLOW_DATASET, config_string(id), &info);
    for (uint32_t i = 0; status == GLOW_OK && id && i < info->desc->n_options; i++) {
        const struct glow_option *o = &info->desc->options[i];
        char *key = bump_print(&memory, "data.%s", o->key);
        const struct config_node *node = key ? config_find(s->config, key) : NULL;
        if (o->type != GLOW_OPT_PATH || !node || !config_string(node) || !*config_string(node))
            continue;
        char *path = absolute(&memory, node),
             *text = path ? bump_print(&memory, "%s=%s", key, path) : NULL;
        status = text ? config_set(s->config, text) : fail_memory(64, "configuration");
    }
    bump_free(&memory);
    return status;
}

const char *session_shape(const struct glow_type *t, char *buf, size_t size)
{
    if (t->rank == 3) {
        snprintf(buf, size, "%" PRId64 "x%" PRId64 "x%" PRId64, t->dim[1], t->dim[2], t->dim[0]);
        return buf;
    }
    *buf = '\0';
    for (int i = 0; i < t->rank; i++) {
        size_t at = strlen(buf);
        snprintf(buf + at, size - at, "%s%" PRId64, i ? "x" : "", t->dim[i]);
    }
    return buf;
}

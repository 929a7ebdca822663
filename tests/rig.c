/* rig.c - see the header. */
#include "rig.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "compile.h"
#include "conform.h"
#include "scratch.h"

static struct registry *registry;

#define OK(call)                                                                                   \
    do {                                                                                           \
        if ((call) != GLOW_OK) ck_abort_msg("%s", fail_message());                                 \
    } while (0)

/* ---------------------------------------------------------------- plug-ins */

struct registry *rig_registry(void)
{
    if (!registry) OK(registry_open(&registry, NULL));
    return registry;
}

void rig_load(const char *source)
{
    char name[256];
    const char *base = strrchr(source, '/');
    snprintf(name, sizeof name, "%s.so", base ? base + 1 : source);
    if (!scratch_exists(name)) compile_plugin(source, scratch_path(name), "");
    OK(registry_load_file(rig_registry(), scratch_path(name)));
}

const struct plugin_info *rig_find(uint32_t kind, const char *id)
{
    const struct plugin_info *info;
    OK(registry_find(rig_registry(), kind, id, &info));
    return info;
}

/* ---------------------------------------------------------------- models */

glow_status rig_try_model(struct model **m, const char *members, const struct model_options *o)
{
    struct config *config;
    size_t size = strlen(members) + 32;
    char *text = malloc(size);
    ck_assert_ptr_nonnull(text);
    snprintf(text, size, "model: { %s };", members);
    OK(config_parse(&config, text, "test.cfg"));
    free(text);
    return model_new(m, config, rig_registry(), o);
}

struct model *rig_model(const char *members, int32_t real)
{
    struct model *m;
    OK(rig_try_model(&m, members,
                     &(struct model_options){ .threads = 1, .real = real, .seed = 7 }));
    return m;
}

const char *rig_glow(int size, int channels, int levels, int steps, int width)
{
    static char text[4000];
    char level[1500];
    int at =
        snprintf(text, sizeof text, "input = [%d, %d, %d]; flow = ( { layer = \"quantize\"; }, ",
                 size, size, channels);
    snprintf(level, sizeof level,
             "{ layer = \"squeeze\"; }, { name = \"step\"; repeat = %d; flow = ( { layer = "
             "\"actnorm\"; }, { layer = \"invconv\"; }, { layer = \"affine\"; net = { type = "
             "\"openai\"; width = %d; }; } ); }",
             steps, width);
    if (levels > 1)
        at += snprintf(text + at, sizeof text - (size_t)at,
                       "{ name = \"level\"; repeat = %d; flow = ( %s, { layer = \"factor_out\"; } "
                       "); }, ",
                       levels - 1, level);
    snprintf(text + at, sizeof text - (size_t)at, "{ name = \"last\"; flow = ( %s ); } );", level);
    return text;
}

void rig_perturb(struct model *m, double deviation)
{
    for (int i = 0; i < m->n_params; i++) {
        int64_t n = m->params[i].count;
        if (m->params[i].flags & GLOW_PARAM_FROZEN) continue;
        double *w = calloc(2 * (size_t)n, sizeof *w);
        ck_assert_ptr_nonnull(w);
        model_get(m, m->weights, i, w);
        rig_gauss(1000 + (uint64_t)i, w + n, n);
        for (int64_t k = 0; k < n; k++) w[k] += deviation * w[n + k];
        model_set(m, m->weights, i, w);
        free(w);
    }
}

int rig_param(const struct model *m, const char *name)
{
    int i = model_find_param(m, name);
    if (i < 0) ck_abort_msg("no parameter %s", name);
    return i;
}

void rig_set(struct model *m, const char *name, const double *values)
{
    model_set(m, m->weights, rig_param(m, name), values);
}

/* ---------------------------------------------------------------- programs */

struct program *rig_program_of(struct model *m, const struct program_options *o)
{
    struct program *p;
    OK(program_make(&p, m, o));
    return p;
}

struct program *rig_program(struct model *m, enum program_kind kind, int64_t batch)
{
    return rig_program_of(m, &(struct program_options){ .kind = kind, .batch = batch });
}

void rig_write(const struct program *p, const char *input, const double *values)
{
    struct tensor *t = program_input(p, input);
    if (!t) ck_abort_msg("no input %s", input);
    OK(program_set(p, t, values));
}

void rig_go(struct program *p) { OK(program_run(p, 1, 1, 0)); }

static const struct tensor *output_of(const struct program *p, const char *output)
{
    const struct tensor *t = program_output(p, output);
    if (!t) ck_abort_msg("no output %s", output);
    return t;
}

void rig_read(const struct program *p, const char *output, double *values)
{
    const struct tensor *t = output_of(p, output);
    OK(program_read(p, t, t->dim[0], values));
}

int64_t rig_count(const struct program *p, const char *output)
{
    return tensor_count(output_of(p, output));
}

/* ---------------------------------------------------------------- training */

void rig_train(struct rig_training *t, const char *members, const char *sections)
{
    rig_train_on(NULL, t, members, sections);
}

void rig_train_on(const struct backend *backend, struct rig_training *t, const char *members,
                  const char *sections)
{
    struct config *config;
    size_t size = strlen(members) + strlen(sections) + 32;
    char *text = malloc(size);
    struct data_stream_options o;
    ck_assert_ptr_nonnull(text);
    *t = (struct rig_training){ .model = NULL };
    snprintf(text, size, "model: { %s }; %s", members, sections);
    OK(config_parse(&config, text, "test.cfg"));
    free(text);
    OK(settings_read(&t->settings, config));
    OK(model_new(&t->model, config, rig_registry(),
                 &(struct model_options){ .backend = backend,
                                          .threads = t->settings.threads,
                                          .real = t->settings.real,
                                          .seed = t->settings.seed }));
    OK(trainer_open(&t->trainer, t->model, &t->settings));
    OK(data_open(&t->data, rig_registry(), t->model->config, "train", &t->model->input,
                 t->settings.seed));
    OK(data_settings(t->model->config, &o));
    o.dtype = t->model->real;
    o.seed = t->settings.seed;
    o.workers = 1;
    OK(data_stream_open(&t->stream, t->data, &o));
}

glow_status rig_step(struct rig_training *t, struct train_report *report)
{
    const struct data_batch *batch;
    OK(data_stream_next(t->stream, &batch));
    return trainer_step(&t->trainer, batch->x, report);
}

void rig_train_end(struct rig_training *t)
{
    data_stream_close(t->stream);
    data_close(t->data);
    trainer_close(&t->trainer);
    model_free(t->model);
    settings_free(&t->settings);
}

uint64_t rig_hash_params(const struct model *m, const void *arena)
{
    uint64_t h = 0;
    for (int i = 0; i < m->n_params; i++) {
        size_t n = (size_t)m->params[i].count;
        double *x = calloc(n, sizeof *x);
        ck_assert_ptr_nonnull(x);
        model_get(m, arena, i, x);
        h = 31 * h + rig_hash(x, n * sizeof *x);
        free(x);
    }
    return h;
}

/* ---------------------------------------------------------------- numbers */

void rig_gauss(uint64_t stream, double *out, int64_t n)
{
    conform_noise(stream, GLOW_GAUSS, out, n);
}

void rig_uniform(uint64_t stream, double lo, double hi, double *out, int64_t n)
{
    conform_noise(stream, GLOW_UNIFORM, out, n);
    for (int64_t i = 0; i < n; i++) out[i] = lo + (hi - lo) * out[i];
}

double rig_difference(const double *a, const double *b, int64_t n)
{
    double worst = 0, size = 0;
    for (int64_t i = 0; i < n; i++) {
        double d = fabs(a[i] - b[i]);
        if (!(d <= worst)) worst = isnan(d) ? INFINITY : d;
        size = fmax(size, fabs(b[i]));
    }
    return worst / (1 + size);
}

uint64_t rig_hash(const void *bytes, size_t n)
{
    uint64_t h = 1469598103934665603u;
    for (size_t i = 0; i < n; i++) h = (h ^ ((const unsigned char *)bytes)[i]) * 1099511628211u;
    return h;
}

uint64_t rig_hash_output(const struct program *p, const char *output)
{
    size_t n = (size_t)rig_count(p, output);
    double *x = calloc(n, sizeof *x);
    ck_assert_ptr_nonnull(x);
    rig_read(p, output, x);
    uint64_t h = rig_hash(x, n * sizeof *x);
    free(x);
    return h;
}

void rig_gradients(const struct model *m, double *out)
{
    for (int i = 0; i < m->n_params; i++) {
        if (m->params[i].flags & GLOW_PARAM_FROZEN) continue;
        model_get(m, m->gradients, i, out);
        out += m->params[i].count;
    }
}

uint64_t rig_hash_gradients(const struct model *m)
{
    double *g = calloc((size_t)m->n_trained, sizeof *g);
    ck_assert_ptr_nonnull(g);
    rig_gradients(m, g);
    uint64_t h = rig_hash(g, (size_t)m->n_trained * sizeof *g);
    free(g);
    return h;
}

/* ---------------------------------------------------------------- tests */

void rig_message(const char *part)
{
    if (!strstr(fail_message(), part))
        ck_abort_msg("the message is \"%s\", without \"%s\"", fail_message(), part);
}

const char *rig_path(const char *name) { return scratch_path(name); }
char *rig_load_file(const char *name, size_t *n) { return scratch_load(name, n); }
void rig_save_file(const char *name, const void *bytes, size_t n) { scratch_save(name, bytes, n); }

TCase *rig_case(const char *name)
{
    TCase *tests = tcase_create(name);
    tcase_set_timeout(tests, 60);
    return tests;
}

int rig_run(TCase *tests)
{
    Suite *suite = suite_create("glow");
    suite_add_tcase(suite, tests);
    int code = scratch_run(suite);
    registry_free(registry);
    return code;
}

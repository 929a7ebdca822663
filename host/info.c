/* info.c - `glow info`: what a word stands for. A plug-in or a section of the configuration: its
 * keys. A configuration or a checkpoint: the flow, layer by layer, and what its programs cost. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include "program.h"
#include "session.h"

struct request {
    const char *what;
    bool options, parameters;
    struct overrides overrides;
};

/* ---------------------------------------------------------------- manuals */

static void print_manual(const struct plugin_info *p)
{
    printf("%s ", kind_name(p->desc->kind));
    options_manual(stdout, p->desc);
    printf("  from %s %s, %s\n", p->plugin, p->version, p->file);
}

/* *found: whether it is the id of something. */
static glow_status describe_word(const char *word, bool *found)
{
    struct registry *r;
    const struct glow_desc *section = settings_section(word);
    *found = section != NULL;
    if (section) options_manual(stdout, section);
    if (section) return GLOW_OK;
    TRY(registry_open(&r, NULL));
    glow_status status = registry_load_all(r, NULL);
    for (int i = 0; i < registry_count(r) && status == GLOW_OK; i++) {
        if (strcmp(registry_at(r, i)->desc->id, word)) continue;
        if (*found) putchar('\n');
        print_manual(registry_at(r, i));
        *found = true;
    }
    registry_free(r);
    return status;
}

/* ---------------------------------------------------------------- models */

/* Whether an instance is, or belongs to, the layer at `path`. */
static bool is_inside(const char *path, const char *owner)
{
    size_t n = strlen(path);
    return !strncmp(owner, path, n) && (!owner[n] || owner[n] == '.');
}

/* Of one sample in a program of batch 1. */
static int64_t layer_flops(const struct program *p, const struct layer *l)
{
    int64_t sum = 0;
    for (int64_t i = 0; l->self && i < p->n_steps; i++)
        if (is_inside(l->self->path, p->steps[i].owner)) sum += p->steps[i].flops;
    return sum;
}

static int64_t layer_parameters(const struct model *m, const struct layer *l)
{
    int64_t n = 0;
    for (int i = 0; i < l->n_params; i++) n += m->params[l->first_param + i].count;
    return n;
}

static glow_status print_layers(struct model *m)
{
    struct program_options o = { .kind = PROGRAM_EVAL, .batch = 1 };
    struct program *p;
    char shape[64];
    int width = 24;
    TRY(program_make(&p, m, &o));
    for (int i = 0; i < m->n_layers - 1; i++) {
        int n = (int)strlen(m->layers[i].self->path);
        if (n > width) width = n;
    }
    printf("%-*s %-14s %12s %10s\n", width, "layer", "output", "parameters", "MFLOP");
    printf("%-*s %-14s\n", width, "input", session_shape(&m->input, shape, sizeof shape));
    for (int i = 0; i < m->n_layers; i++) {
        const struct layer *l = &m->layers[i];
        const char *path = l->self ? l->self->path : "(end)";
        printf("%-*s %-14s %12" PRId64 " %10.3f", width, path,
               session_shape(&l->out, shape, sizeof shape), layer_parameters(m, l),
               (double)layer_flops(p, l) / 1e6);
        for (int k = 0; k < l->n_latents; k++) {
            const struct latent *z = &m->latents[l->first_latent + k];
            printf("  latent %s %s, prior %s", z->name,
                   session_shape(&z->type, shape, sizeof shape), z->prior->info->desc->id);
        }
        putchar('\n');
    }
    int64_t frozen = 0;
    for (int i = 0; i < m->n_params; i++)
        if (m->params[i].flags & GLOW_PARAM_FROZEN) frozen += m->params[i].count;
    printf("%-*s %-14s %12" PRId64 " %10.3f\n", width, "sum", "", m->n_trained + frozen,
           (double)p->flops / 1e6);
    printf("\n%d layers, %" PRId64 " trained parameters and %" PRId64 " fixed ones, %" PRId64
           " dimensions. MFLOP: multiply-adds of\nproducts times 2, for the forward pass of one "
           "row.\n",
           m->n_layers - 1, m->n_trained, frozen, model_dimensions(m));
    program_free(p);
    return GLOW_OK;
}

static void print_program(struct model *m, const char *name, const char *policy,
                          const struct program_options *o)
{
    struct program *p;
    char stored[32] = "";
    if (program_make(&p, m, o) != GLOW_OK) {
        printf("%-8s %-10s not possible: %s\n", name, policy, fail_message());
        return;
    }
    if (o->kind == PROGRAM_TRAIN) snprintf(stored, sizeof stored, "%d/%d", p->stored, p->couplings);
    printf("%-8s %-10s %6" PRId64 " %8" PRId64 " %10.2f %10.2f %10.3f  %s\n", name, policy,
           p->batch, p->n_steps, (double)p->arena_bytes / 1e6, (double)p->fixed_bytes / 1e6,
           (double)p->flops / 1e9, stored);
    program_free(p);
}

static void print_programs(struct model *m, const struct settings *s)
{
    static const struct {
        const char *name, *policy;
        enum program_kind kind;
        enum memory_policy memory;
    } rows[] = {
        { "train", "auto", PROGRAM_TRAIN, MEMORY_AUTO },
        { "train", "store", PROGRAM_TRAIN, MEMORY_STORE },
        { "train", "recompute", PROGRAM_TRAIN, MEMORY_RECOMPUTE },
        { "train", "invert", PROGRAM_TRAIN, MEMORY_INVERT },
        { "init", "", PROGRAM_INIT, 0 },
        { "eval", "", PROGRAM_EVAL, 0 },
        { "encode", "", PROGRAM_ENCODE, 0 },
        { "decode", "", PROGRAM_DECODE, 0 },
        { "sample", "", PROGRAM_SAMPLE, 0 },
    };
    double arena = (double)m->n_elements * (double)dtype_size(m->real) / 1e6;
    printf("\n%-8s %-10s %6s %8s %10s %10s %10s  %s\n", "program", "memory", "batch", "steps",
           "arena MB", "inputs MB", "GFLOP", "couplings stored");
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct program_options o = { .kind = rows[i].kind,
                                     .batch = s->batch,
                                     .memory = rows[i].memory,
                                     .memory_budget = s->memory_budget };
        if (o.kind == PROGRAM_INIT) o.batch *= s->init_batches;
        print_program(m, rows[i].name, rows[i].policy, &o);
    }
    int n = s->optimizer == OPTIM_SGD ? 3 : 4;
    printf(
        "\nParameters take %.2f MB; training holds %d times that (with gradients and moments)%s.\n"
        "train.memory = \"%s\" is in force.\n",
        arena, n + (s->ema > 0), s->ema > 0 ? ", the moving average included" : "",
        (const char *const[]){ "auto", "store", "recompute", "invert" }[s->memory]);
}

/* What the device has handed out by now: parameters, and at most one of the programs above. */
static void print_device(const struct model *m)
{
    struct memory_report r;
    if (!m->backend->memory) return;
    m->backend->memory(m->engine, &r);
    printf("Memory of %s: %.1f MB in use, %.1f MB at most, %.1f MB reserved; %.1f of %.1f MB "
           "free.\n",
           m->backend->kernels(m->engine), (double)r.used / 1e6, (double)r.peak / 1e6,
           (double)r.reserved / 1e6, (double)r.available / 1e6, (double)r.all / 1e6);
}

static void print_parameters(const struct model *m)
{
    char shape[64];
    printf("\n%-48s %-16s %-8s %s\n", "parameter", "shape", "group", "elements");
    for (int i = 0; i < m->n_params; i++) {
        const struct param *p = &m->params[i];
        *shape = '\0';
        for (int k = 0; k < p->type.rank; k++) {
            size_t at = strlen(shape);
            snprintf(shape + at, sizeof shape - at, "%s%" PRId64, k ? "x" : "", p->type.dim[k]);
        }
        printf("%-48s %-16s %-8s %" PRId64 "%s\n", p->name, shape, p->group, p->count,
               p->flags & GLOW_PARAM_FROZEN ? " (fixed)" : "");
    }
}

static glow_status print_options(const struct model *m)
{
    json_t *all = model_instances(m);
    if (!all) return fail_memory(1, "options");
    putchar('\n');
    json_dumpf(all, stdout, JSON_INDENT(2) | JSON_SORT_KEYS | JSON_REAL_PRECISION(9));
    putchar('\n');
    json_decref(all);
    return GLOW_OK;
}

static glow_status describe_model(struct session *s, const struct request *q)
{
    TRY(print_layers(s->model));
    print_programs(s->model, &s->settings);
    print_device(s->model);
    if (q->parameters) print_parameters(s->model);
    return q->options ? print_options(s->model) : GLOW_OK;
}

static glow_status describe_config(const struct request *q)
{
    struct session s;
    struct data *data = NULL;
    struct glow_type input = { 0 };
    glow_status status = session_open(&s, q->what, &q->overrides);
    if (status == GLOW_OK) status = model_input_type(s.config, &input);
    if (status == GLOW_OK && !input.rank) {
        status = session_data(&s, "train", &data);
        if (status == GLOW_OK) input = *data_type(data);
    }
    if (status == GLOW_OK) status = session_build(&s, &input);
    if (status == GLOW_OK) status = describe_model(&s, q);
    data_close(data);
    session_close(&s);
    return status;
}

static glow_status describe_checkpoint(const struct request *q)
{
    struct session s;
    struct checkpoint *c = NULL;
    glow_status status = session_restore(&s, q->what, NULL, &q->overrides, &c);
    if (status == GLOW_OK) {
        char *text = config_text(s.config);
        printf("%s: step %" PRIu64 ", %s, %s moving average\n\n%s\n", checkpoint_path(c),
               checkpoint_step(c), s.model->initialised ? "initialised" : "not initialised",
               s.model->average ? "with a" : "no", text ? text : "");
        free(text);
        status = describe_model(&s, q);
    }
    checkpoint_close(c);
    session_close(&s);
    return status;
}

static glow_status describe(const struct request *q)
{
    struct stat st;
    const char *dot = strrchr(q->what, '.');
    bool found = false, exists = !stat(q->what, &st);
    if (!strpbrk(q->what, "./")) TRY(describe_word(q->what, &found));
    if (found) return GLOW_OK;
    if (!exists)
        return fail(
            GLOW_EINVAL,
            "info %s: no plug-in, no section (train, optimizer, sample, data) and no file of that "
            "name; `glow plugins` lists the plug-ins",
            q->what);
    if (S_ISDIR(st.st_mode) || (dot && !strcmp(dot, ".safetensors"))) return describe_checkpoint(q);
    return describe_config(q);
}

static int run(const struct command *c, int argc, char **argv)
{
    struct request q = { 0 };
    int first;
    const struct argument table[] = {
        { "parameters", 0, ARGUMENT_FLAG, NULL, "list the parameters: names in checkpoints, shapes",
          &q.parameters, NULL },
        { "options", 0, ARGUMENT_FLAG, NULL,
          "print every instance's options, with defaults, as JSON", &q.options, NULL },
        ARGUMENT_SET(&q.overrides),
    };
    int result = arguments_parse(c, table, sizeof table / sizeof *table, argc, argv, 1, 1, &first);
    if (result == GLOW_OK) {
        q.what = argv[first];
        result = describe(&q);
    }
    overrides_free(&q.overrides);
    return result;
}

const struct command info_command = {
    "info", "explain a plug-in, a section, a configuration or a checkpoint",
    "PLUGIN|SECTION|CFG|MODEL [OPTION...]", run
};

/* settings.c - option records of glow.cfg's own sections, and the learning rate schedule. */
#include "settings.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "options.h"

#define OPTION(key, help, unit, dflt, range, type)                                                 \
    {                                                                                              \
        key, help, unit, dflt, NULL, range, NULL, NULL, type, 1, 0, 0, 0                           \
    }

static const struct glow_option train_options[] = {
    OPTION("steps", "training steps", "steps", "10000", "[0,inf)", GLOW_OPT_INT),
    OPTION("seed", "of initial parameters, order, noise and samples", NULL, "1", "[0,inf)",
           GLOW_OPT_INT),
    OPTION("threads", "compute threads; 0 = all processors. Results do not depend on it", NULL, "0",
           "[0,1024]", GLOW_OPT_INT),
    OPTION("backend", "auto takes the fastest that this machine has", NULL, "\"auto\"",
           "auto|cpu|cuda", GLOW_OPT_ENUM),
    OPTION(
        "precision",
        "of values and parameters; bf16 is fp32 with convolutions that multiply numbers of 16 bits "
        "and add them up in fp32; fp64 is for checks",
        NULL, "\"fp32\"", "fp32|bf16|fp64", GLOW_OPT_ENUM),
    OPTION("memory",
           "what the backward pass keeps of each coupling: its activations (store), its input "
           "(recompute), nothing (invert), or activations as far as memory_budget goes and inputs "
           "beyond (auto)",
           NULL, "\"auto\"", "auto|store|recompute|invert", GLOW_OPT_ENUM),
    OPTION("memory_budget", "for stored activations, with memory = auto", "MB", "512", "[0,inf)",
           GLOW_OPT_REAL),
    OPTION("invert_tolerance",
           "with memory = invert: relative reconstruction error above which training goes on "
           "with recompute",
           NULL, "1e-2", "(0,inf)", GLOW_OPT_REAL),
    OPTION("clip_value", "gradients are clipped to [-v,v]; 0 = off", NULL, "0", "[0,inf)",
           GLOW_OPT_REAL),
    OPTION("clip_norm", "gradients are scaled down to this norm; 0 = off", NULL, "0", "[0,inf)",
           GLOW_OPT_REAL),
    OPTION("l2", "adds l2 * sum(w^2) / 2 over weights (not biases or scales) to the loss", NULL,
           "0", "[0,inf)", GLOW_OPT_REAL),
    OPTION("ema",
           "decay of the moving average of the parameters, at most (1 + t) / (10 + t) at update t; "
           "0 = none",
           NULL, "0", "[0,1)", GLOW_OPT_REAL),
    OPTION("init_batches", "batches that data-dependent initialisation sees, as one", "batches",
           "1", "[1,10000]", GLOW_OPT_INT),
    OPTION("log_every", "steps between lines of log.jsonl", "steps", "10", "[1,inf)", GLOW_OPT_INT),
    OPTION("eval_every", "steps between evaluations on the test split; 0 = at the end only",
           "steps", "0", "[0,inf)", GLOW_OPT_INT),
    OPTION("eval_rows", "rows of the test split that evaluations during training use; 0 = all",
           "rows", "1000", "[0,inf)", GLOW_OPT_INT),
    OPTION("checkpoint_every", "steps between checkpoints; 0 = at the end only", "steps", "1000",
           "[0,inf)", GLOW_OPT_INT),
    OPTION("sample_every", "steps between sample grids; 0 = at the end only", "steps", "0",
           "[0,inf)", GLOW_OPT_INT),
    OPTION("keep", "checkpoints kept besides the last; 0 = none", NULL, "0", "[0,inf)",
           GLOW_OPT_INT),
    OPTION("bad_steps", "steps in a row with NaN or Inf, all rejected, after which training stops",
           NULL, "20", "[1,inf)", GLOW_OPT_INT),
};
static const struct glow_option optimizer_options[] = {
    OPTION("type", "Adam (Kingma & Ba 2014), Adamax (section 7.1 there), or SGD", NULL, "\"adam\"",
           "adam|adamax|sgd", GLOW_OPT_ENUM),
    OPTION("lr", "learning rate", NULL, "1e-3", "[0,inf)", GLOW_OPT_REAL),
    OPTION("beta1", "decay of the first moment", NULL, "0.9", "[0,1)", GLOW_OPT_REAL),
    OPTION("beta2", "decay of the second moment", NULL, "0.999", "[0,1)", GLOW_OPT_REAL),
    OPTION("eps", "added to the root of the second moment", NULL, "1e-8", "(0,inf)", GLOW_OPT_REAL),
    OPTION("momentum", "of SGD", NULL, "0.9", "[0,1)", GLOW_OPT_REAL),
    OPTION("warmup", "steps over which the learning rate rises from 0, linearly", "steps", "0",
           "[0,inf)", GLOW_OPT_INT),
    OPTION("schedule",
           "constant; steps: times factors[i] from step boundaries[i] on; inverse_time: lr / (1 + "
           "decay_rate "
           "* floor(t / decay_steps)); cosine: to final_lr at decay_steps",
           NULL, "\"constant\"", "constant|steps|inverse_time|cosine", GLOW_OPT_ENUM),
    OPTION("decay_steps", "see schedule; 0 = train.steps", "steps", "0", "[0,inf)", GLOW_OPT_INT),
    OPTION("decay_rate", "of inverse_time", NULL, "0.5", "[0,inf)", GLOW_OPT_REAL),
    OPTION("final_lr", "of cosine", NULL, "0", "[0,inf)", GLOW_OPT_REAL),
    OPTION("boundaries", "of steps, rising", "steps", "[]", "#[0,32]", GLOW_OPT_REALS),
    OPTION("factors", "of steps, one per boundary", NULL, "[]", "#[0,32]", GLOW_OPT_REALS),
};
static const struct glow_option sample_options[] = {
    OPTION("n", "images of a sample grid", NULL, "100", "[1,100000]", GLOW_OPT_INT),
    OPTION("columns", "of the grid; 0 = about as many as rows", NULL, "0", "[0,10000]",
           GLOW_OPT_INT),
    OPTION("average",
           "evaluation and sampling use the moving average of the parameters, when there is one",
           NULL, "true", NULL, GLOW_OPT_BOOL),
};
static const struct glow_option data_options[] = {
    OPTION("dataset", "id of the dataset plug-in; its own options stand beside this key", NULL,
           NULL, NULL, GLOW_OPT_STRING),
    OPTION("batch", "samples per training step", "samples", "64", "[1,1000000]", GLOW_OPT_INT),
    OPTION("workers", "threads that decode ahead; 0 = as many as help", NULL, "0", "[0,256]",
           GLOW_OPT_INT),
    OPTION("shuffle", "training order; false reads the rows in order", NULL, "true", NULL,
           GLOW_OPT_BOOL),
};

#define SECTION(id, summary, options)                                                              \
    {                                                                                              \
        sizeof(struct glow_desc), 0, 1, 0, id, summary, options, GLOW_COUNT(options),              \
            sizeof *(options)                                                                      \
    }
static const struct glow_desc sections[] = {
    SECTION("train", "section train of glow.cfg; optimizer = { ... } is a section of its own",
            train_options),
    SECTION("optimizer", "section train.optimizer of glow.cfg", optimizer_options),
    SECTION(
        "sample",
        "section sample of glow.cfg; temperature = 0.7 or { y = 1.0; z = 0.7; } stands here too",
        sample_options),
    SECTION("data", "section data of glow.cfg", data_options),
};

const struct glow_desc *settings_section(const char *name)
{
    for (size_t i = 0; i < GLOW_COUNT(sections); i++)
        if (!strcmp(sections[i].id, name)) return &sections[i];
    return NULL;
}

static int choice(const struct options *o, const char *key, const char *const *names)
{
    const char *value = options_string(o, key, NULL);
    int i = 0;
    while (names[i] && strcmp(names[i], value)) i++;
    return i;
}

static glow_status read_optimizer(struct settings *s, const struct config *c)
{
    static const char *const types[] = { "", "sgd", "adam", "adamax", NULL };
    static const char *const schedules[] = { "constant", "steps", "inverse_time", "cosine", NULL };
    const struct config_node *group = config_find(c, "train.optimizer");
    struct options *o;
    if (group && config_kind(group) != CONFIG_GROUP)
        return config_fail(group, "expected a group: optimizer = { type = \"adam\"; ... }");
    TRY(options_resolve(&o, &sections[1], group, NULL, "train.optimizer"));
    s->owner[1] = o;
    s->optimizer = choice(o, "type", types);
    s->lr = options_real(o, "lr", NULL);
    s->beta1 = options_real(o, "beta1", NULL);
    s->beta2 = options_real(o, "beta2", NULL);
    s->eps = options_real(o, "eps", NULL);
    s->momentum = options_real(o, "momentum", NULL);
    s->warmup = options_int(o, "warmup", NULL);
    s->schedule = (enum schedule_kind)choice(o, "schedule", schedules);
    s->decay_steps = options_int(o, "decay_steps", NULL);
    if (!s->decay_steps) s->decay_steps = s->steps > 0 ? s->steps : 1;
    s->decay_rate = options_real(o, "decay_rate", NULL);
    s->final_lr = options_real(o, "final_lr", NULL);
    s->n_boundaries = (int)options_count(o, "boundaries", NULL);
    if (s->n_boundaries != options_count(o, "factors", NULL))
        return config_fail(options_node(o, "boundaries") ? options_node(o, "boundaries") : group,
                           "%d boundaries but %d factors: one factor belongs to each boundary",
                           s->n_boundaries, (int)options_count(o, "factors", NULL));
    if (s->schedule == SCHEDULE_STEPS && !s->n_boundaries)
        return config_fail(group, "schedule = \"steps\" needs boundaries and factors");
    for (int i = 0; i < s->n_boundaries; i++) {
        s->boundaries[i] = options_real_at(o, "boundaries", i, NULL);
        s->factors[i] = options_real_at(o, "factors", i, NULL);
        if (i && s->boundaries[i] <= s->boundaries[i - 1])
            return config_fail(options_node(o, "boundaries"), "boundaries must rise");
    }
    return GLOW_OK;
}

static glow_status read_train(struct settings *s, const struct config *c)
{
    static const char *const policies[] = { "auto", "store", "recompute", "invert", NULL };
    static const char *const also[] = { "optimizer", NULL };
    const struct config_node *group = config_find(c, "train");
    struct options *o;
    if (group && config_kind(group) != CONFIG_GROUP)
        return config_fail(group, "expected a group: train: { ... }");
    TRY(options_resolve(&o, &sections[0], group, also, "train"));
    s->owner[0] = o;
    s->steps = options_int(o, "steps", NULL);
    s->seed = (uint64_t)options_int(o, "seed", NULL);
    s->threads = (int)options_int(o, "threads", NULL);
    s->backend = options_string(o, "backend", NULL);
    s->real = strcmp(options_string(o, "precision", NULL), "fp64") ? DT_F32 : DT_F64;
    s->bf16 = !strcmp(options_string(o, "precision", NULL), "bf16");
    s->memory = (enum memory_policy)choice(o, "memory", policies);
    s->memory_budget = (int64_t)(options_real(o, "memory_budget", NULL) * 1e6);
    s->invert_tolerance = options_real(o, "invert_tolerance", NULL);
    s->clip_value = options_real(o, "clip_value", NULL);
    s->clip_norm = options_real(o, "clip_norm", NULL);
    s->l2 = options_real(o, "l2", NULL);
    s->ema = options_real(o, "ema", NULL);
    s->init_batches = options_int(o, "init_batches", NULL);
    s->log_every = options_int(o, "log_every", NULL);
    s->eval_every = options_int(o, "eval_every", NULL);
    s->eval_rows = options_int(o, "eval_rows", NULL);
    s->checkpoint_every = options_int(o, "checkpoint_every", NULL);
    s->sample_every = options_int(o, "sample_every", NULL);
    s->keep = options_int(o, "keep", NULL);
    s->bad_steps = (int)options_int(o, "bad_steps", NULL);
    return read_optimizer(s, c);
}

static glow_status check_temperatures(const struct config *c)
{
    const struct config_node *t = config_find(c, "sample.temperature");
    if (!t) return GLOW_OK;
    bool group = config_kind(t) == CONFIG_GROUP;
    for (int i = 0; i < (group ? config_count(t) : 1); i++) {
        const struct config_node *n = group ? config_at(t, i) : t;
        enum config_kind k = config_kind(n);
        if ((k != CONFIG_INT && k != CONFIG_REAL) || !(config_real(n) >= 0) ||
            !isfinite(config_real(n)))
            return config_fail(n, "a temperature is a number, 0 or more; or a group with one per "
                                  "latent: { y = 1.0; z = 0.7; }");
    }
    return GLOW_OK;
}

glow_status settings_read(struct settings *s, const struct config *c)
{
    static const char *const known[] = { "model", "data", "train", "sample", "plugin_path" };
    static const char *const also[] = { "temperature", NULL };
    const struct config_node *root = config_root(c), *group = config_find(c, "sample"),
                             *batch = config_find(c, "data.batch");
    struct options *o;
    *s = (struct settings){ 0 };
    for (int i = 0; i < config_count(root); i++) {
        size_t k = 0;
        while (k < GLOW_COUNT(known) && strcmp(known[k], config_key(config_at(root, i)))) k++;
        if (k == GLOW_COUNT(known))
            return config_fail(
                config_at(root, i),
                "unknown section; there are model, data, train, sample and plugin_path");
    }
    glow_status status = read_train(s, c);
    if (status == GLOW_OK) status = options_resolve(&o, &sections[2], group, also, "sample");
    if (status == GLOW_OK) {
        s->owner[2] = o;
        s->sample_n = options_int(o, "n", NULL);
        s->sample_columns = options_int(o, "columns", NULL);
        s->eval_average = options_int(o, "average", NULL) != 0;
        status = check_temperatures(c);
    }
    s->batch = batch ? config_int(batch) : 64;
    if (status == GLOW_OK && batch &&
        (config_kind(batch) != CONFIG_INT || s->batch < 1 || s->batch > 1000000))
        status = config_fail(batch, "batch must be a whole number from 1 to 1000000");
    if (status != GLOW_OK) settings_free(s);
    return status;
}

void settings_free(struct settings *s)
{
    for (int i = 0; i < 4; i++) options_free(s->owner[i]);
    *s = (struct settings){ 0 };
}

double settings_learning_rate(const struct settings *s, uint64_t t)
{
    double lr = s->lr, at = (double)t;
    switch (s->schedule) {
    case SCHEDULE_STEPS: {
        double factor = 1;
        for (int i = 0; i < s->n_boundaries; i++)
            if (at > s->boundaries[i]) factor = s->factors[i];
        lr *= factor;
        break;
    }
    case SCHEDULE_INVERSE_TIME:
        lr /= 1 + s->decay_rate * floor((at - 1) / (double)s->decay_steps);
        break;
    case SCHEDULE_COSINE: {
        double part = fmin(1, (at - 1) / (double)s->decay_steps);
        lr = s->final_lr + (s->lr - s->final_lr) * 0.5 * (1 + cos(M_PI * part));
        break;
    }
    default: break;
    }
    return s->warmup > 0 && at < (double)s->warmup ? lr * at / (double)s->warmup : lr;
}

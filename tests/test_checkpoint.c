/* test_checkpoint.c - checkpoints: what was saved comes back bit for bit, in a model made from the
 * file alone; stored option values outlive changed defaults; other models and damaged files are
 * errors that say what is wrong; a save that fails leaves the old file. */
#include <math.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>
#include "checkpoint.h"
#include "rig.h"
#include "safetensors.h"

static const char sections[] =
    "data: { dataset = \"glyphs\"; batch = 4; }; train: { threads = 1; ema = 0.9; seed = 11; };";

static const char *file(void) { return rig_path("checkpoint.safetensors"); }

/* A few steps of training, and what they left behind in a file. */
static void trained(struct rig_training *t, const char *optimizer)
{
    struct train_report r;
    char text[600];
    snprintf(text, sizeof text, "%s", sections);
    if (*optimizer)
        snprintf(text, sizeof text,
                 "data: { dataset = \"glyphs\"; batch = 4; }; train: { threads = 1; ema = 0.9; "
                 "seed = 11; optimizer: { type = \"%s\"; }; };",
                 optimizer);
    rig_train(t, rig_glow(8, 1, 2, 2, 6), text);
    ck_assert_int_eq(trainer_initialise(&t->trainer, t->data), GLOW_OK);
    ck_assert_int_eq(model_training_arenas(t->model, 0, true), GLOW_OK);
    for (int i = 0; i < 3; i++) ck_assert_int_eq(rig_step(t, &r), GLOW_OK);
    ck_assert_msg(checkpoint_save(file(), t->model, &t->trainer) == GLOW_OK, "%s", fail_message());
}

static struct checkpoint *opened(void)
{
    struct checkpoint *c;
    ck_assert_msg(checkpoint_open(&c, file()) == GLOW_OK, "%s", fail_message());
    return c;
}

static glow_status load_model(struct checkpoint *c, int32_t real, struct model **m)
{
    return checkpoint_model(c, rig_registry(),
                            &(struct model_options){ .threads = 1, .real = real }, NULL, m);
}

/* ---------------------------------------------------------------- there and back */

START_TEST(round_trip)
{
    struct rig_training t;
    struct model *m;
    struct trainer again;
    trained(&t, "");
    struct checkpoint *c = opened();
    ck_assert_str_eq(checkpoint_path(c), file());
    ck_assert_uint_eq(checkpoint_step(c), 3);
    ck_assert_msg(load_model(c, DT_F32, &m) == GLOW_OK, "%s", fail_message());
    ck_assert_int_eq(m->n_params, t.model->n_params);
    ck_assert_uint_eq(m->seed, t.model->seed);
    ck_assert(m->initialised);
    ck_assert(rig_hash_params(m, m->weights) == rig_hash_params(t.model, t.model->weights));
    ck_assert(rig_hash_params(m, m->average) == rig_hash_params(t.model, t.model->average));
    ck_assert(rig_hash_params(m, m->average) != rig_hash_params(m, m->weights));
    ck_assert_int_eq(trainer_open(&again, m, &t.settings), GLOW_OK);
    ck_assert_int_eq(checkpoint_resume(c, &again), GLOW_OK);
    ck_assert_uint_eq(again.step, t.trainer.step);
    ck_assert_uint_eq(again.updates, t.trainer.updates);
    ck_assert(rig_hash_params(m, m->moment1) == rig_hash_params(t.model, t.model->moment1));
    ck_assert(rig_hash_params(m, m->moment2) == rig_hash_params(t.model, t.model->moment2));
    /* and from here on both do the same */
    const struct data_batch *batch;
    struct train_report a, b;
    ck_assert_int_eq(data_stream_next(t.stream, &batch), GLOW_OK);
    ck_assert_int_eq(trainer_step(&t.trainer, batch->x, &a), GLOW_OK);
    ck_assert_int_eq(trainer_step(&again, batch->x, &b), GLOW_OK);
    ck_assert_double_eq(a.loss, b.loss);
    ck_assert(rig_hash_params(m, m->weights) == rig_hash_params(t.model, t.model->weights));
    ck_assert(rig_hash_params(m, m->average) == rig_hash_params(t.model, t.model->average));
    trainer_close(&again);
    model_free(m);
    checkpoint_close(c);
    rig_train_end(&t);
}
END_TEST

/* Saved twice, the same bytes; without a trainer, no moments. */
START_TEST(same_bytes)
{
    struct rig_training t;
    struct safetensors *s;
    size_t n, again;
    trained(&t, "");
    char *a = rig_load_file("checkpoint.safetensors", &n);
    ck_assert_int_eq(checkpoint_save(file(), t.model, &t.trainer), GLOW_OK);
    char *b = rig_load_file("checkpoint.safetensors", &again);
    ck_assert_uint_eq(n, again);
    ck_assert_mem_eq(a, b, n);
    free(a);
    free(b);
    ck_assert_int_eq(checkpoint_save(file(), t.model, NULL), GLOW_OK);
    ck_assert_int_eq(safetensors_open(&s, file()), GLOW_OK);
    ck_assert_ptr_nonnull(safetensors_find(s, "last.step.0.actnorm.b"));
    ck_assert_ptr_nonnull(safetensors_find(s, "average.last.step.0.actnorm.b"));
    ck_assert_ptr_null(safetensors_find(s, "optimizer.moment1.last.step.0.actnorm.b"));
    safetensors_close(s);
    rig_train_end(&t);
}
END_TEST

/* Single precision read into double, and the other way round. */
START_TEST(precisions)
{
    struct rig_training t;
    struct model *m;
    trained(&t, "");
    struct checkpoint *c = opened();
    ck_assert_int_eq(load_model(c, DT_F64, &m), GLOW_OK);
    checkpoint_close(c);
    ck_assert(rig_hash_params(m, m->weights) == rig_hash_params(t.model, t.model->weights));
    ck_assert_int_eq(checkpoint_save(file(), m, NULL), GLOW_OK);
    model_free(m);
    c = opened();
    ck_assert_int_eq(load_model(c, DT_F32, &m), GLOW_OK);
    checkpoint_close(c);
    ck_assert(rig_hash_params(m, m->weights) == rig_hash_params(t.model, t.model->weights));
    model_free(m);
    rig_train_end(&t);
}
END_TEST

/* ---------------------------------------------------------------- edited files */

/* Writes the file again with one piece of its metadata replaced, or with a tensor renamed, cut, or
 * left out. */
struct edit {
    const char *key, *from,
        *to; /* in the metadata `key`, text `from` becomes `to` (NULL: the key goes) */
    const char *tensor, *name; /* the tensor gets another name; "" leaves it out */
    const char *dtype;         /* or is said to be of another type */
    int64_t dim0;              /* or has another first dimension, not larger */
};

static char *replaced(const char *text, const char *from, const char *to)
{
    const char *at = strstr(text, from);
    ck_assert_msg(at, "no \"%s\" in %s", from, text);
    char *out = malloc(strlen(text) + strlen(to) + 1);
    ck_assert_ptr_nonnull(out);
    sprintf(out, "%.*s%s%s", (int)(at - text), text, to, at + strlen(from));
    return out;
}

static void edit_file(const struct edit *e)
{
    struct safetensors *s;
    ck_assert_int_eq(safetensors_open(&s, file()), GLOW_OK);
    struct safetensors_tensor *tensors = calloc((size_t)safetensors_count(s), sizeof *tensors);
    struct safetensors_text texts[32];
    char *fresh = NULL;
    int64_t n = 0, n_texts = 0;
    for (int64_t i = 0; i < safetensors_count(s); i++) {
        struct safetensors_tensor x = *safetensors_at(s, i);
        if (e->tensor && !strcmp(x.name, e->tensor)) {
            if (e->name) x.name = e->name;
            if (e->dtype) x.dtype = e->dtype;
            if (e->dim0) x.dim[0] = e->dim0;
        }
        if (*x.name) tensors[n++] = x;
    }
    for (int64_t i = 0; i < safetensors_metadata_count(s); i++) {
        struct safetensors_text x = *safetensors_metadata_at(s, i);
        if (e->key && !strcmp(x.key, e->key)) {
            if (!e->to) continue;
            x.value = fresh = replaced(x.value, e->from, e->to);
        }
        texts[n_texts++] = x;
    }
    ck_assert_msg(safetensors_write(file(), tensors, n, texts, n_texts) == GLOW_OK, "%s",
                  fail_message());
    safetensors_close(s);
    free(tensors);
    free(fresh);
}

/* A value that the file holds wins over the default of today's plug-in, which the configuration in
 * the file does not mention: as if affine's default scale had been "exp" when the model was
 * trained. */
START_TEST(stored_options)
{
    struct rig_training t;
    struct model *m;
    trained(&t, "");
    edit_file(&(struct edit){
        .key = "instances", .from = "\"scale\":\"sigmoid\"", .to = "\"scale\":\"exp\"" });
    edit_file(
        &(struct edit){ .key = "instances", .from = "\"logscale\":3.0", .to = "\"logscale\":2.5" });
    struct checkpoint *c = opened();
    ck_assert_msg(load_model(c, DT_F32, &m) == GLOW_OK, "%s", fail_message());
    int changed = 0, scaled = 0, kept = 0;
    for (int i = 0; i < m->n_layers; i++) {
        const struct instance *l = m->layers[i].self;
        if (!l || strcmp(l->info->desc->id, "affine")) continue;
        bool exp = !strcmp(l->self.host->opt_string(&l->self, "scale"), "exp");
        changed += exp;
        kept += !exp;
        scaled += l->child[0]->self.host->opt_real(&l->child[0]->self, "logscale") == 2.5;
    }
    ck_assert(changed == 1 && scaled == 1 && kept == 3); /* of four; each stores its own */
    ck_assert_str_eq(
        json_string_value(json_object_get(
            json_object_get(json_object_get(checkpoint_instances(c), "last.step.0.invconv"),
                            "options"),
            "lu"))
            ? ""
            : "boolean",
        "boolean");
    /* a model that is saved again still has them */
    ck_assert_int_eq(checkpoint_save(file(), m, NULL), GLOW_OK);
    checkpoint_close(c);
    model_free(m);
    c = opened();
    ck_assert_int_eq(load_model(c, DT_F32, &m), GLOW_OK);
    changed = 0;
    for (int i = 0; i < m->n_layers; i++) {
        const struct instance *l = m->layers[i].self;
        changed += l && !strcmp(l->info->desc->id, "affine") &&
                   !strcmp(l->self.host->opt_string(&l->self, "scale"), "exp");
    }
    ck_assert_int_eq(changed, 1);
    checkpoint_close(c);
    model_free(m);
    rig_train_end(&t);
}
END_TEST

#define B "last.step.0.actnorm.b"
static const struct {
    struct edit edit;
    const char *message;
} damages[] = {
    { { .key = "format" }, "a safetensors file, but no checkpoint of glow" },
    { { .key = "format", .from = "glow", .to = "other" },
      "a safetensors file, but no checkpoint of glow" },
    { { .key = "version", .from = "1", .to = "7" },
      "checkpoint version 7; this program reads version 1" },
    { { .key = "version" }, "checkpoint version ?; this program reads version 1" },
    { { .key = "instances" }, "the metadata holds no configuration or no instances" },
    { { .key = "instances", .from = "{", .to = "" },
      "the metadata holds no configuration or no instances" },
    { { .key = "config" }, "the metadata holds no configuration or no instances" },
    { { .key = "config", .from = "{", .to = "" }, "checkpoint.safetensors:" },
    { { .key = "config", .from = "\"invconv\"", .to = "\"permute\"" },
      "level.0.step.0.permute: the checkpoint holds nothing here, the configuration \"permute\"" },
    { { .key = "config",
        .from = "layer = \"invconv\";",
        .to = "layer = \"permute\"; name = \"invconv\";" },
      "level.0.step.0.invconv: the checkpoint holds \"invconv\" here, the configuration "
      "\"permute\"" },
    { { .key = "instances", .from = "\"last.squeeze\"", .to = "\"last.other\"" },
      "last.squeeze: the checkpoint holds nothing here" },
    { { .key = "instances", .from = "{", .to = "{\"odd\":{\"id\":\"permute\"}," },
      "holds \"permute\" at odd, where this model has nothing" },
    { { .key = "config", .from = "\"invconv\"", .to = "\"nothing\"" }, "no layer \"nothing\"" },
    { { .key = "config", .from = "repeat = 2", .to = "repeat = 3" },
      "level.0.step.2.actnorm: the checkpoint holds nothing here" },
    { { .key = "instances", .from = "\"schema\":1", .to = "\"schema\":9" },
      "was written by a newer" },
    { { .key = "instances", .from = "\"scale\":\"sigmoid\"", .to = "\"scale\":\"cubic\"" },
      "cubic" },
    { { .key = "instances", .from = "\"width\":6", .to = "\"width\":8" },
      "this model wants real numbers of shape" },
    { { .tensor = B, .name = "" }, "no tensor \"" B "\"; the checkpoint is of another model" },
    { { .tensor = B, .name = "elsewhere" }, "no tensor \"" B "\"" },
    { { .tensor = B, .dim0 = 2 },
      "tensor \"" B "\" is F32 (2,1,1); this model wants real numbers of shape (8,1,1)" },
    { { .tensor = B, .dtype = "I32" },
      "tensor \"" B "\" is I32 (8,1,1); this model wants real numbers of shape (8,1,1)" },
    { { .tensor = "average." B, .name = "" }, "no tensor \"average." B "\"" }
};

START_TEST(other_models)
{
    struct rig_training t;
    struct checkpoint *c;
    struct model *m;
    trained(&t, "");
    edit_file(&damages[_i].edit);
    glow_status status = checkpoint_open(&c, file());
    if (status == GLOW_OK) {
        status = load_model(c, DT_F32, &m);
        checkpoint_close(c);
    }
    ck_assert_msg(status == GLOW_EINVAL || status == GLOW_ENOTSUP, "accepted: %s",
                  damages[_i].message);
    rig_message(damages[_i].message);
    rig_train_end(&t);
}
END_TEST

/* What this version does not know is left alone. */
START_TEST(additions)
{
    struct rig_training t;
    struct model *m;
    trained(&t, "");
    edit_file(
        &(struct edit){ .tensor = "optimizer.moment1." B, .name = "added.by.a.later.version" });
    struct checkpoint *c = opened();
    ck_assert_msg(load_model(c, DT_F32, &m) == GLOW_OK, "%s", fail_message());
    struct trainer again;
    ck_assert_int_eq(trainer_open(&again, m, &t.settings), GLOW_OK);
    ck_assert_int_eq(checkpoint_resume(c, &again),
                     GLOW_EINVAL); /* but resuming needs all moments */
    rig_message("no tensor \"optimizer.moment1." B "\"");
    trainer_close(&again);
    checkpoint_close(c);
    model_free(m);
    rig_train_end(&t);
}
END_TEST

START_TEST(other_optimizer)
{
    struct rig_training t, other;
    trained(&t, "adamax");
    struct checkpoint *c = opened();
    rig_train(&other, rig_glow(8, 1, 2, 2, 6), sections);
    ck_assert_int_eq(checkpoint_load(c, other.model), GLOW_OK);
    ck_assert_int_eq(checkpoint_resume(c, &other.trainer), GLOW_EINVAL);
    rig_message("trained with optimizer \"adamax\"; the configuration says \"adam\"");
    checkpoint_close(c);
    ck_assert_int_eq(checkpoint_save(file(), t.model, NULL), GLOW_OK);
    c = opened();
    ck_assert_int_eq(checkpoint_resume(c, &t.trainer), GLOW_EINVAL);
    rig_message("trained with optimizer \"none\"");
    checkpoint_close(c);
    rig_train_end(&other);
    rig_train_end(&t);
}
END_TEST

/* Inversion that was given up stays given up. */
START_TEST(memory_policy)
{
    struct rig_training t, again;
    struct train_report r;
    const char *text = "data: { dataset = \"glyphs\"; batch = 4; }; train: { threads = 1; memory = "
                       "\"invert\"; invert_tolerance = 1e-30; };";
    rig_train(&t, rig_glow(8, 1, 1, 2, 6), text);
    ck_assert_int_eq(rig_step(&t, &r), GLOW_OK);
    ck_assert_int_eq(t.trainer.memory, MEMORY_RECOMPUTE);
    ck_assert_int_eq(checkpoint_save(file(), t.model, &t.trainer), GLOW_OK);
    rig_train(&again, rig_glow(8, 1, 1, 2, 6), text);
    struct checkpoint *c = opened();
    ck_assert_int_eq(checkpoint_load(c, again.model), GLOW_OK);
    ck_assert_int_eq(checkpoint_resume(c, &again.trainer), GLOW_OK);
    ck_assert_int_eq(again.trainer.memory, MEMORY_RECOMPUTE);
    ck_assert_ptr_null(program_output(again.trainer.program, "inversion_error"));
    checkpoint_close(c);
    rig_train_end(&again);
    rig_train_end(&t);
}
END_TEST

/* ---------------------------------------------------------------- damaged files */

/* Cut off anywhere, or with any of its first bytes changed: an error, or the model of an intact
 * file; never a crash. */
START_TEST(damaged_files)
{
    struct rig_training t;
    size_t n;
    trained(&t, "");
    char *good = rig_load_file("checkpoint.safetensors", &n), *bad = malloc(n);
    ck_assert(good && bad && n > 5000);
    struct checkpoint *c;
    struct model *m;
    int refused = 0;
    for (int i = 0; i < 60; i++) {
        size_t size = i < 30 ? n * (size_t)i / 30 : n;
        memcpy(bad, good, n);
        if (i >= 30) bad[(size_t)(i - 30) * 97 % 4000] ^= (char)(1 << i % 8);
        rig_save_file("checkpoint.safetensors", bad, size);
        glow_status status = checkpoint_open(&c, file());
        if (status == GLOW_OK) {
            status = load_model(c, DT_F32, &m);
            if (status == GLOW_OK) model_free(m);
            checkpoint_close(c);
        }
        refused += status != GLOW_OK;
        ck_assert_msg(status == GLOW_OK || *fail_message(), "no message");
        ck_assert_msg(i >= 30 || status != GLOW_OK, "cut at %zu of %zu", size, n);
    }
    ck_assert_int_gt(refused, 40);
    ck_assert_int_eq(checkpoint_open(&c, rig_path("missing.safetensors")), GLOW_EIO);
    rig_message("missing.safetensors");
    free(good);
    free(bad);
    rig_train_end(&t);
}
END_TEST

/* The disk is full half-way through: the old file stays as it was, and nothing else is left behind.
 */
START_TEST(failed_save)
{
    struct rig_training t;
    struct train_report r;
    size_t n, after;
    trained(&t, "");
    char *before = rig_load_file("checkpoint.safetensors", &n);
    ck_assert_int_eq(rig_step(&t, &r), GLOW_OK);
    struct rlimit limit, small;
    ck_assert_int_eq(getrlimit(RLIMIT_FSIZE, &limit), 0);
    small = limit;
    small.rlim_cur = n / 2;
    signal(SIGXFSZ, SIG_IGN);
    ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &small), 0);
    glow_status status = checkpoint_save(file(), t.model, &t.trainer);
    ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
    ck_assert_int_eq(status, GLOW_EIO);
    rig_message("checkpoint.safetensors");
    char *same = rig_load_file("checkpoint.safetensors", &after);
    ck_assert_uint_eq(n, after);
    ck_assert_mem_eq(before, same, n);
    ck_assert(access(rig_path("checkpoint.safetensors.partial"), F_OK) != 0);
    free(before);
    free(same);
    ck_assert_int_eq(checkpoint_save(rig_path("no/such/directory"), t.model, NULL), GLOW_EIO);
    rig_train_end(&t);
}
END_TEST

int main(void)
{
    TCase *tests = rig_case("checkpoint");
    tcase_add_test(tests, round_trip);
    tcase_add_test(tests, same_bytes);
    tcase_add_test(tests, precisions);
    tcase_add_test(tests, stored_options);
    tcase_add_loop_test(tests, other_models, 0, GLOW_COUNT(damages));
    tcase_add_test(tests, additions);
    tcase_add_test(tests, other_optimizer);
    tcase_add_test(tests, memory_policy);
    tcase_add_test(tests, damaged_files);
    tcase_add_test(tests, failed_save);
    return rig_run(tests);
}

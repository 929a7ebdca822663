/* rig.h - what the tests of the engine stand on: models from a few words of configuration, programs
 * of them, numbers in and out. Whatever goes wrong on the way fails the test with the engine's
 * message. */
#ifndef TESTS_RIG_H
#define TESTS_RIG_H
#include <check.h>
#undef fail /* a macro of check.h; status.h has a function */
#include "model.h"
#include "program.h"
#include "train.h"

/* The plug-ins of the search path; opened at first use, freed by rig_run. */
struct registry *rig_registry(void);
/* Compiles tests/<source> to a plug-in and loads it: rig_load("plugins/fold.c"). */
void rig_load(const char *source);
const struct plugin_info *rig_find(uint32_t kind, const char *id);

/* A model from the members of its group: "input = [4, 4, 3]; flow = ( ... );". */
glow_status rig_try_model(struct model **, const char *members, const struct model_options *);
struct model *rig_model(const char *members, int32_t real);
/* The members of a GLOW: 8-bit images of size^2 x channels; on each level squeeze and that many
 * steps, and between levels factor_out. Valid until the next call. */
const char *rig_glow(int size, int channels, int levels, int steps, int width);
/* Moves all trained parameters off their initial values by normal numbers of that deviation. */
void rig_perturb(struct model *, double deviation);
/* A parameter by its name. */
int rig_param(const struct model *, const char *name);
void rig_set(struct model *, const char *name, const double *values);

/* Programs. */
struct program *rig_program_of(struct model *, const struct program_options *);
struct program *rig_program(struct model *, enum program_kind, int64_t batch);
/* Writes an input, all of it; runs with seed 1, step 1, row 0; reads an output, all of it. */
void rig_write(const struct program *, const char *input, const double *values);
void rig_go(struct program *);
void rig_read(const struct program *, const char *output, double *values);
int64_t rig_count(const struct program *, const char *output);
/* A model in training: the members of its group, and the other sections of a configuration, `data`
 * among them: "data: { dataset = ...; }; train: { ... };". Data and stream are those of the train
 * split. */
struct rig_training {
    struct settings settings;
    struct model *model;
    struct trainer trainer;
    struct data *data;
    struct data_stream *stream;
};
void rig_train(struct rig_training *, const char *members, const char *sections);
void rig_train_on(const struct backend *, struct rig_training *, const char *members,
                  const char *sections);
/* The next batch of the stream, trained on. */
glow_status rig_step(struct rig_training *, struct train_report *);
void rig_train_end(struct rig_training *);
/* All parameters, frozen ones too, without the gaps between them. */
uint64_t rig_hash_params(const struct model *, const void *arena);

/* n normal numbers, or uniform ones of [lo, hi). */
void rig_gauss(uint64_t stream, double *out, int64_t n);
void rig_uniform(uint64_t stream, double lo, double hi, double *out, int64_t n);
/* max |a - b| / (1 + max |b|); infinite when either is no number. */
double rig_difference(const double *a, const double *b, int64_t n);

/* A value, its bits: two runs are the same, not merely close. */
uint64_t rig_hash(const void *bytes, size_t n);
uint64_t rig_hash_output(const struct program *, const char *output);
/* All gradients, parameter by parameter without the gaps between them. */
uint64_t rig_hash_gradients(const struct model *);
void rig_gradients(const struct model *, double *out); /* (n_trained) */

/* Fails the test unless the last message of the engine holds that part. */
void rig_message(const char *part);
/* Files in a directory that rig_run makes and removes. */
const char *rig_path(const char *name); /* valid until the eighth next call */
char *rig_load_file(const char *name, size_t *n);
void rig_save_file(const char *name, const void *bytes, size_t n);

/* A test case, and its program's end: runs it, cleans up, returns the exit code. */
TCase *rig_case(const char *name);
int rig_run(TCase *);
#endif

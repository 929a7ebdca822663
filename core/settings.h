/* settings.h - the sections `train`, `eval` and `sample` of glow.cfg, checked and with defaults.
 * They are described by the same option records as plug-ins, so `glow info train` prints their
 * manual. */
#ifndef CORE_SETTINGS_H
#define CORE_SETTINGS_H
#include "config.h"
#include "program.h"

enum schedule_kind { SCHEDULE_CONSTANT, SCHEDULE_STEPS, SCHEDULE_INVERSE_TIME, SCHEDULE_COSINE };

struct settings {
    /* train */
    int64_t steps, batch;
    uint64_t seed;
    int threads;
    int32_t real; /* precision: DT_F32 or DT_F64 */
    bool bf16;    /* convolutions multiply bf16 numbers; real is DT_F32 */
    enum memory_policy memory;
    int64_t memory_budget; /* bytes */
    double
        invert_tolerance; /* reconstruction error above which `invert` gives way to `recompute` */
    double clip_value, clip_norm, l2, ema; /* 0 = off */
    int64_t init_batches, log_every, eval_every, eval_rows, checkpoint_every, sample_every, keep;
    int bad_steps; /* rejected steps in a row after which training gives up */
    const char *backend;
    /* train.optimizer */
    int optimizer; /* OPTIM_* */
    double lr, beta1, beta2, eps, momentum;
    int64_t warmup; /* steps of linear warm-up */
    enum schedule_kind schedule;
    int64_t decay_steps; /* inverse time, cosine */
    double decay_rate, final_lr;
    double boundaries[32], factors[32]; /* steps: lr * factors[i] from boundaries[i] on */
    int n_boundaries;
    /* sample */
    int64_t sample_n, sample_columns;
    bool eval_average; /* evaluation and sampling read the EMA, if there is one */

    void *owner[4]; /* resolved option sets; freed with settings_free */
};

/* Reads and checks the sections; unknown sections of the file are errors too. */
glow_status settings_read(struct settings *, const struct config *);
void settings_free(struct settings *);
/* The learning rate of update t, from 1: a pure function. */
double settings_learning_rate(const struct settings *, uint64_t t);
/* Descriptors of the sections, for manuals: "train", "optimizer", "sample", "data"; NULL if
 * unknown. */
const struct glow_desc *settings_section(const char *name);
#endif

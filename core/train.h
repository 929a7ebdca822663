/* train.h - the training step: run the program, judge the gradient, update the parameters.
 *
 * A step whose loss or gradient is not finite is rejected: parameters and moments stay as they
 * were, and the report names the layer and operation where the first NaN or Inf came up. Everything
 * is a pure function of configuration, seed and data: the same bits again, with any number of
 * threads, and after a resume. */
#ifndef CORE_TRAIN_H
#define CORE_TRAIN_H
#include "data.h"
#include "program.h"
#include "settings.h"

struct trainer {
    struct model *model;
    const struct settings *settings;
    struct program *program;
    enum memory_policy memory; /* in force: RECOMPUTE after inversion was too inexact */
    uint64_t step;             /* steps done, rejected ones too: the number of the next batch */
    uint64_t updates;          /* accepted steps */
    int bad_in_a_row;
    /* A device judges and updates by itself, and the host asks only now and then. */
    int64_t report_every; /* steps between reports, counted from step 0; 1 at first */
    int64_t pending;      /* steps since the last report */
    struct train_update update;
};

struct train_report {
    int64_t steps, rejected; /* that it is about. 0 steps: a later report tells */
    double loss; /* bits per dimension and penalties, before the update; mean of accepted steps */
    double gradient_norm, learning_rate, inversion_error; /* the last; NaN where there is none */
    bool accepted;                                        /* all of them */
    char culprit[256];                                    /* of a rejected step */
};

/* Builds the training program and allocates gradients and moments. */
glow_status trainer_open(struct trainer *, struct model *, const struct settings *);
void trainer_close(struct trainer *);
/* Builds the program again, after the memory policy changed. */
glow_status trainer_rebuild(struct trainer *);
/* Data-dependent initialisation from the first batches of the training order, as one batch. */
glow_status trainer_initialise(struct trainer *, struct data *);
/* One step on a batch of x (batch, ...) in the model's real type. An error only when training can't
 * go on: out of memory, or more rejected steps in a row than settings allow. */
glow_status trainer_step(struct trainer *, const void *x, struct train_report *);
/* Reports on the steps since the last report, wherever it falls: before a checkpoint, an evaluation
 * or the end. */
glow_status trainer_report(struct trainer *, struct train_report *);

struct evaluation {
    double bits; /* bits per dimension, mean over rows */
    double nats; /* log-likelihood per row, mean */
    int64_t rows;
    int64_t bad;       /* rows whose log-likelihood is NaN or Inf */
    char culprit[200]; /* where the first of them came up */
    uint32_t kinds;    /* of terms: GLOW_BOUND and LOGDET_EST say that it is not exact */
};
/* Mean over the first `rows` (0: all; an endless dataset needs a number) of a split. The noise of
 * row i is a function of seed and i. per_row (may be NULL) takes the log-likelihood of each row. */
glow_status evaluate(struct model *, struct data *, int64_t batch, int64_t rows, bool average,
                     uint64_t seed, struct evaluation *, double *per_row);
#endif

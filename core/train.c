/* train.c - see train.h. */
#include "train.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define INIT_STEP                                                                                  \
    ((uint64_t)1 << 62) /* random-number step of initialisation, away from all others */

static int moments_of(int optimizer) { return optimizer == OPTIM_SGD ? 1 : 2; }

glow_status trainer_rebuild(struct trainer *t)
{
    struct program_options o = { .kind = PROGRAM_TRAIN,
                                 .batch = t->settings->batch,
                                 .memory = t->memory,
                                 .memory_budget = t->settings->memory_budget };
    program_free(t->program);
    t->program = NULL;
    return program_make(&t->program, t->model, &o);
}

glow_status trainer_open(struct trainer *t, struct model *m, const struct settings *s)
{
    *t = (struct trainer){ .model = m, .settings = s, .memory = s->memory };
    TRY(model_training_arenas(m, moments_of(s->optimizer), false));
    return trainer_rebuild(t);
}

void trainer_close(struct trainer *t)
{
    program_free(t->program);
    *t = (struct trainer){ 0 };
}

glow_status trainer_initialise(struct trainer *t, struct data *data)
{
    glow_status status;
    struct model *m = t->model;
    struct program *p = NULL;
    struct data_stream *stream = NULL;
    const struct data_batch *batch;
    const struct settings *s = t->settings;
    struct program_options o = { .kind = PROGRAM_INIT, .batch = s->batch * s->init_batches };
    struct data_stream_options d = {
        .batch = o.batch, .shuffle = 1, .ahead = 1, .workers = 1, .dtype = m->real, .seed = s->seed
    };
    TRY_OUT(program_make(&p, m, &o));
    TRY_OUT(data_stream_open(&stream, data, &d));
    TRY_OUT(data_stream_next(stream, &batch));
    TRY_OUT(program_write(p, program_input(p, "x"), 0, o.batch, batch->x));
    TRY_OUT(program_run(p, s->seed, INIT_STEP, 0));
    TRY_OUT(backend_finish(m->backend, m->engine));
    m->initialised = true;
    if (!isfinite(program_scalar(p, "loss"))) {
        char text[256];
        const char *who = program_find_nonfinite(p, s->seed, INIT_STEP, 0, text, sizeof text);
        status = fail(GLOW_EINVAL, "initialisation made a NaN or Inf, first in %s",
                      who ? who : "the objective");
    }
out:
    data_stream_close(stream);
    program_free(p);
    return status;
}

/* One update of the arena's elements [first, end). */
static void update(struct trainer *t, int64_t first, int64_t end, double scale, double lr,
                   double l2)
{
    const struct settings *s = t->settings;
    struct model *m = t->model;
    size_t at = (size_t)first * dtype_size(m->real);
    if (end <= first) return;
    struct optim_args a = { .kind = s->optimizer,
                            .dtype = m->real,
                            .n = end - first,
                            .w = (char *)m->weights + at,
                            .g = (char *)m->gradients + at,
                            .m = (char *)m->moment1 + at,
                            .v = m->moment2 ? (char *)m->moment2 + at : NULL,
                            .lr = lr,
                            .beta1 = s->beta1,
                            .beta2 = s->beta2,
                            .eps = s->eps,
                            .momentum = s->momentum,
                            .scale = scale,
                            .clip_value = s->clip_value,
                            .l2 = l2,
                            .t = t->updates };
    m->backend->optim(m->engine, &a);
}

static glow_status reject(struct trainer *t, struct train_report *r, uint64_t step, int64_t row)
{
    char text[200];
    const char *who =
        program_find_nonfinite(t->program, t->settings->seed, step, row, text, sizeof text);
    r->accepted = false;
    snprintf(r->culprit, sizeof r->culprit, "%s", who ? who : "the norm of the gradient");
    if (++t->bad_in_a_row < t->settings->bad_steps) return GLOW_OK;
    return fail(GLOW_EINVAL,
                "%d steps in a row made a NaN or Inf, the last at step %llu, first in %s; "
                "parameters are those of "
                "the last good step. Try a smaller learning rate, train.clip_norm, or scale = "
                "\"sigmoid\" couplings",
                t->bad_in_a_row, (unsigned long long)step, r->culprit);
}

glow_status trainer_step(struct trainer *t, const void *x, struct train_report *r)
{
    const struct settings *s = t->settings;
    struct model *m = t->model;
    uint64_t step = t->step;
    int64_t row = 0, trained = m->section[2];
    *r = (struct train_report){ .accepted = true,
                                .learning_rate = settings_learning_rate(s, t->updates + 1) };
    TRY(program_write(t->program, program_input(t->program, "x"), 0, s->batch, x));
    TRY(program_run(t->program, s->seed, step, row));
    TRY(backend_finish(m->backend, m->engine));
    r->inversion_error = program_scalar(t->program, "inversion_error");
    bool rebuilt =
        program_output(t->program, "inversion_error") != NULL; /* not when nothing is trained */
    if (t->memory == MEMORY_INVERT && rebuilt && !(r->inversion_error <= s->invert_tolerance)) {
        note(1,
             "step %llu: rebuilding activations from outputs is off by %.1e (relative; "
             "invert_tolerance is %.1e): "
             "going on with memory = recompute",
             (unsigned long long)step, r->inversion_error, s->invert_tolerance);
        t->memory = MEMORY_RECOMPUTE;
        TRY(trainer_rebuild(t));
        return trainer_step(t, x, r);
    }
    t->step++;
    r->loss = program_scalar(t->program, "loss");
    struct flat g = { m->gradients, trained, m->real };
    r->gradient_norm = sqrt(m->backend->sum_squares(m->engine, &g));
    if (!isfinite(r->loss) || !isfinite(r->gradient_norm)) return reject(t, r, step, row);
    t->bad_in_a_row = 0;
    t->updates++;
    double scale =
        s->clip_norm > 0 && r->gradient_norm > s->clip_norm ? s->clip_norm / r->gradient_norm : 1;
    update(t, 0, m->section[1], scale, r->learning_rate, s->l2);
    update(t, m->section[1], trained, scale, r->learning_rate, 0);
    if (m->average && trained) {
        struct flat average = { m->average, trained, m->real },
                    weights = { m->weights, trained, m->real };
        double t0 = (double)t->updates,
               young = (1 + t0) / (10 + t0); /* forgets the initial values soon */
        m->backend->ema(m->engine, &average, &weights, s->ema < young ? s->ema : young);
    }
    return GLOW_OK;
}

glow_status evaluate(struct model *m, struct data *data, int64_t batch, int64_t rows, bool average,
                     uint64_t seed, struct evaluation *e, double *per_row)
{
    glow_status status;
    struct program *p = NULL;
    struct data_stream *stream = NULL;
    const struct data_batch *b;
    int64_t count = data_count(data);
    if (rows <= 0 || rows > count) rows = count;
    if (rows == INT64_MAX)
        return fail(GLOW_EINVAL, "an endless dataset: say how many rows to evaluate");
    if (batch > rows) batch = rows > 0 ? rows : 1;
    struct program_options o = { .kind = PROGRAM_EVAL, .batch = batch, .average = average };
    struct data_stream_options d = { .batch = batch, .dtype = m->real, .seed = seed };
    double *nats = calloc((size_t)batch, sizeof *nats), sum = 0;
    *e = (struct evaluation){ 0 };
    if (!nats) return fail_memory((size_t)batch * sizeof *nats, "evaluation");
    TRY_OUT(program_make(&p, m, &o));
    TRY_OUT(data_stream_open(&stream, data, &d));
    struct tensor *x = program_input(p, "x");
    const struct tensor *loglik = program_output(p, "loglik");
    while (e->rows < rows) {
        TRY_OUT(data_stream_next(stream, &b));
        if (!b) break;
        if (cancel_requested) {
            status = fail(GLOW_ECANCEL, "interrupted");
            goto out;
        }
        TRY_OUT(program_write(p, x, 0, batch, b->x));
        TRY_OUT(program_run(p, seed, 0, e->rows));
        TRY_OUT(program_read(p, loglik, batch, nats));
        for (int64_t i = 0; i < b->rows && e->rows < rows; i++, e->rows++) {
            sum += nats[i];
            if (per_row) per_row[e->rows] = nats[i];
        }
    }
    e->kinds = p->term_kinds;
    e->nats = e->rows ? sum / (double)e->rows : NAN;
    e->bits = -e->nats / ((double)model_dimensions(m) * M_LN2);
out:
    data_stream_close(stream);
    program_free(p);
    free(nats);
    return status;
}

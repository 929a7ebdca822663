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
    *t = (struct trainer){ .model = m, .settings = s, .memory = s->memory, .report_every = 1 };
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

/* Says in the report who made the NaN or Inf, and gives up when there were too many in a row. */
static glow_status reject(struct trainer *t, struct train_report *r, uint64_t step, int64_t row)
{
    char text[200];
    const char *who =
        program_find_nonfinite(t->program, t->settings->seed, step, row, text, sizeof text);
    r->accepted = false;
    snprintf(r->culprit, sizeof r->culprit, "%s", who ? who : "the norm of the gradient");
    if (t->bad_in_a_row < t->settings->bad_steps) return GLOW_OK;
    return fail(GLOW_EINVAL,
                "%d steps in a row made a NaN or Inf, the last at step %llu, first in %s; "
                "parameters are those of "
                "the last good step. Try a smaller learning rate, train.clip_norm, or scale = "
                "\"sigmoid\" couplings",
                t->bad_in_a_row, (unsigned long long)step, r->culprit);
}

/* The decay of the moving average at update t, which forgets the initial values soon. */
static double average_decay(const struct settings *s, uint64_t t)
{
    double young = (1 + (double)t) / (10 + (double)t);
    return s->ema < young ? s->ema : young;
}

/* ---------------------------------------------------------------- the host decides */

/* Whether the activations that were rebuilt from outputs are good enough to go on with them. */
static bool inverts_well(const struct trainer *t, struct train_report *r)
{
    r->inversion_error = program_scalar(t->program, "inversion_error");
    bool rebuilt =
        program_output(t->program, "inversion_error") != NULL; /* not when nothing is trained */
    return t->memory != MEMORY_INVERT || !rebuilt ||
           r->inversion_error <= t->settings->invert_tolerance;
}

static glow_status step_on_host(struct trainer *t, const void *x, struct train_report *r)
{
    const struct settings *s = t->settings;
    struct model *m = t->model;
    uint64_t step = t->step;
    int64_t row = 0, trained = m->section[2];
    TRY(program_write(t->program, program_input(t->program, "x"), 0, s->batch, x));
    TRY(program_run(t->program, s->seed, step, row));
    TRY(backend_finish(m->backend, m->engine));
    if (!inverts_well(t, r)) {
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
    r->steps = 1;
    r->loss = program_scalar(t->program, "loss");
    struct flat g = { m->gradients, trained, m->real };
    r->gradient_norm = sqrt(m->backend->sum_squares(m->engine, &g));
    if (!isfinite(r->loss) || !isfinite(r->gradient_norm)) {
        r->rejected = 1;
        t->bad_in_a_row++;
        return reject(t, r, step, row);
    }
    t->bad_in_a_row = 0;
    t->updates++;
    double scale =
        s->clip_norm > 0 && r->gradient_norm > s->clip_norm ? s->clip_norm / r->gradient_norm : 1;
    update(t, 0, m->section[1], scale, r->learning_rate, s->l2);
    update(t, m->section[1], trained, scale, r->learning_rate, 0);
    if (m->average && trained) {
        struct flat average = { m->average, trained, m->real },
                    weights = { m->weights, trained, m->real };
        m->backend->ema(m->engine, &average, &weights, average_decay(s, t->updates));
    }
    return GLOW_OK;
}

/* ---------------------------------------------------------------- the device decides */

/* Tells the device the rates of the next updates. */
static glow_status begin_updates(struct trainer *t)
{
    const struct settings *s = t->settings;
    const struct model *m = t->model;
    struct update_rate rate[UPDATE_AHEAD];
    t->update = (struct train_update){ .kind = s->optimizer,
                                       .dtype = m->real,
                                       .n_decayed = m->section[1],
                                       .n = m->section[2],
                                       .w = m->weights,
                                       .g = m->gradients,
                                       .m = m->moment1,
                                       .v = m->moment2,
                                       .average = m->average,
                                       .beta1 = s->beta1,
                                       .beta2 = s->beta2,
                                       .eps = s->eps,
                                       .momentum = s->momentum,
                                       .clip_value = s->clip_value,
                                       .clip_norm = s->clip_norm,
                                       .l2 = s->l2,
                                       .loss = program_output(t->program, "loss") };
    t->program->update = &t->update;
    for (int i = 0; i < t->report_every; i++) {
        uint64_t number = t->updates + 1 + (uint64_t)i;
        rate[i] =
            (struct update_rate){ settings_learning_rate(s, number), average_decay(s, number) };
    }
    return m->backend->update_begin(m->engine, t->updates, rate, (int)t->report_every);
}

glow_status trainer_report(struct trainer *t, struct train_report *r)
{
    struct update_report report[UPDATE_AHEAD];
    const struct model *m = t->model;
    int n = (int)t->pending;
    double sum = 0;
    *r = (struct train_report){ .steps = n, .accepted = true, .inversion_error = NAN };
    if (n == 0) return GLOW_OK;
    t->pending = 0;
    TRY(m->backend->update_end(m->engine, report, n));
    for (int i = 0; i < n; i++) {
        bool good = report[i].accepted != 0;
        t->updates += good;
        t->bad_in_a_row = good ? 0 : t->bad_in_a_row + 1;
        r->rejected += !good;
        if (good) sum += report[i].loss;
    }
    r->loss = r->rejected < n ? sum / (double)(n - r->rejected) : report[n - 1].loss;
    r->gradient_norm = report[n - 1].gradient_norm;
    r->learning_rate = report[n - 1].lr;
    /* By now the parameters and the batch are those of the last step: where the NaN came up in an
     * earlier one, its culprit is named if it comes up again. */
    return r->rejected ? reject(t, r, t->step - 1, 0) : GLOW_OK;
}

static glow_status step_on_device(struct trainer *t, const void *x, struct train_report *r)
{
    const struct settings *s = t->settings;
    if (t->pending == 0) TRY(begin_updates(t));
    TRY(program_write(t->program, program_input(t->program, "x"), 0, s->batch, x));
    TRY(program_run(t->program, s->seed, t->step, 0));
    t->step++;
    t->pending++;
    if (t->step % (uint64_t)t->report_every == 0) return trainer_report(t, r);
    return GLOW_OK;
}

glow_status trainer_step(struct trainer *t, const void *x, struct train_report *r)
{
    const struct settings *s = t->settings;
    bool on_device = t->model->backend->update_begin && t->memory != MEMORY_INVERT;
    *r = (struct train_report){ .accepted = true,
                                .inversion_error = NAN,
                                .learning_rate = settings_learning_rate(s, t->updates + 1) };
    return on_device ? step_on_device(t, x, r) : step_on_host(t, x, r);
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
            if (isfinite(nats[i]) || e->bad++) continue;
            char text[sizeof e->culprit];
            const char *who = program_find_nonfinite(p, seed, 0, e->rows - i, text, sizeof text);
            snprintf(e->culprit, sizeof e->culprit, "%s", who ? who : "the objective");
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

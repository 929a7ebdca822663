/* train.c - `glow train`: from a configuration to a run directory (run.h) with a trained model.
 *
 * Everything is a pure function of the configuration, whatever happens on the way: a run that was
 * stopped, or killed, and resumed ends with the same bits as one that was left alone. */
#include <inttypes.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "clock.h"
#include "evaluation.h"
#include "file.h"
#include "output.h"
#include "plot.h"
#include "progress.h"
#include "run.h"
#include "runlog.h"
#include "sampling.h"
#include "session.h"

enum { ENDLESS_TEST_ROWS = 10000 }; /* of a test split without end, when eval_rows asks for all */

struct training {
    struct session session;
    struct trainer trainer;
    struct data *data, *test;
    struct data_stream *stream;
    struct runlog *log;
    struct progress progress;
    struct evaluation last_test;
    const char *dir;
    int lock;           /* of the directory; -1: none */
    int64_t saved_step; /* of the directory's checkpoint; -1: there is none */
    double seconds; /* of training, without evaluation and saving, since the first step of all */
    double mark;    /* when the part of it that is running began */
    double logged_seconds; /* `seconds` at the last line of the log */
    int64_t logged_step;
    double loss_sum; /* of the accepted steps since then */
    int64_t loss_count;
    double smooth; /* bits per dimension for the progress line */
    struct train_report report;
};

#define NUMBER(key, value)                                                                         \
    {                                                                                              \
        key, (double)(value), NULL                                                                 \
    }
#define TEXT(key, value)                                                                           \
    {                                                                                              \
        key, 0, value                                                                              \
    }
#define FIELDS(array) array, (int)(sizeof(array) / sizeof *(array))

/* Training time stands still between pause and proceed. */
static void pause_clock(struct training *t)
{
    t->seconds += clock_seconds() - t->mark;
    progress_clear(&t->progress);
}
static void proceed(struct training *t)
{
    t->mark = clock_seconds();
    t->progress.mark = t->mark;
    t->progress.mark_step = (int64_t)t->trainer.step;
}

/* ---------------------------------------------------------------- beginning */

static void describe(const struct training *t)
{
    char shape[64];
    static const char *const policies[] = { "auto", "store", "recompute", "invert" };
    const struct model *m = t->session.model;
    const struct program *p = t->trainer.program;
    int arenas = 2 + (m->moment1 != NULL) + (m->moment2 != NULL) + (m->average != NULL);
    fprintf(stderr, "model    %d layers, %.3f million parameters, %d latents, input %s\n",
            m->n_layers - 1, (double)m->n_trained / 1e6, m->n_latents,
            session_shape(&m->input, shape, sizeof shape));
    fprintf(stderr, "data     %s", data_describe(t->data));
    if (data_count(t->test) > 0) fprintf(stderr, "; %s", data_describe(t->test));
    fprintf(
        stderr,
        "\nprogram  %.1f MB of activations and %.1f MB of parameters, gradients and moments; %s: "
        "%d of %d couplings stored\n",
        (double)(p->arena_bytes + p->fixed_bytes) / 1e6,
        (double)arenas * (double)m->n_elements * (double)dtype_size(m->real) / 1e6,
        policies[t->trainer.memory], p->stored, p->couplings);
    if (!m->backend->memory) {
        fprintf(stderr, "threads  %d, %s kernels\n", m->backend->threads(m->engine),
                m->backend->kernels(m->engine));
        return;
    }
    struct memory_report r;
    m->backend->memory(m->engine, &r);
    fprintf(stderr, "device   %s; %.1f MB in use, %.1f of %.1f MB free\n",
            m->backend->kernels(m->engine), (double)r.used / 1e6, (double)r.available / 1e6,
            (double)r.all / 1e6);
}

/* Where the parameters come from: a checkpoint, or their initial values and the first batches. */
static glow_status prepare_parameters(struct training *t, struct checkpoint *c)
{
    struct model *m = t->session.model;
    const struct settings *s = &t->session.settings;
    if (c) TRY(checkpoint_resume(c, &t->trainer));
    if (!m->initialised) {
        double start = clock_seconds();
        TRY(trainer_initialise(&t->trainer, t->data));
        fprintf(stderr, "initial  parameters set from %" PRId64 " rows in %.2f s\n",
                s->batch * s->init_batches, clock_seconds() - start);
    }
    if (s->ema > 0) TRY(model_training_arenas(m, 0, true));
    return GLOW_OK;
}

static glow_status open_log(struct training *t, bool resumed)
{
    char path[RUN_PATH];
    struct runlog_series seconds;
    int64_t step = (int64_t)t->trainer.step;
    run_path(path, t->dir, "log.jsonl");
    TRY(runlog_open(&t->log, path, resumed ? step : -1));
    if (resumed) {
        TRY(runlog_read(&seconds, path, "train", "seconds"));
        if (seconds.n) t->seconds = seconds.value[seconds.n - 1];
        runlog_series_free(&seconds);
        struct runlog_field fields[] = { NUMBER("seconds", t->seconds) };
        return runlog_write(t->log, "resume", step, FIELDS(fields));
    }
    const struct model *m = t->session.model;
    struct runlog_field fields[] = { NUMBER("parameters", m->n_trained),
                                     NUMBER("dimensions", model_dimensions(m)),
                                     NUMBER("batch", t->session.settings.batch),
                                     NUMBER("seed", t->session.settings.seed),
                                     TEXT("data", data_describe(t->data)) };
    return runlog_write(t->log, "start", step, FIELDS(fields));
}

static glow_status open_stream(struct training *t)
{
    struct data_stream_options o;
    TRY(data_settings(t->session.config, &o));
    o.first = (int64_t)t->trainer.step;
    o.dtype = t->session.model->real;
    o.seed = t->session.settings.seed;
    o.endless = 1;
    return data_stream_open(&t->stream, t->data, &o);
}

struct request {
    const char *config; /* NULL: only to be resumed */
    const char *dir;
    bool resume, force;
    struct overrides overrides;
};

static void describe_run(const struct training *t, bool resumed, bool saved)
{
    const struct settings *s = &t->session.settings;
    fprintf(stderr, "run      %s, %" PRId64 " steps of %" PRId64 " rows, seed %" PRIu64, t->dir,
            s->steps, s->batch, s->seed);
    if (resumed && saved) fprintf(stderr, ", resumed after step %" PRIu64, t->trainer.step);
    if (resumed && !saved) fputs(", from the beginning: it had saved no checkpoint", stderr);
    fputc('\n', stderr);
    if (s->steps > 0 && (int64_t)t->trainer.step >= s->steps)
        note(0, "step %" PRIu64 " is reached already; --steps %" PRIu64 " would train on",
             t->trainer.step, 2 * t->trainer.step);
}

static glow_status begin(struct training *t, const struct request *q)
{
    char path[RUN_PATH], config[RUN_PATH];
    struct checkpoint *c = NULL;
    struct session *s = &t->session;
    glow_status status = GLOW_OK;
    bool saved = !access(run_path(path, q->dir, "checkpoint.safetensors"), F_OK);
    bool configured = !access(run_path(config, q->dir, "config.cfg"), F_OK);
    if (!q->resume && !q->force) TRY(run_check_empty(q->dir));
    if (q->resume && !configured)
        return fail(GLOW_EINVAL, "%s: no run to resume (there is no config.cfg)", q->dir);
    if (q->resume) TRY(run_lock(q->dir, &t->lock));
    if (q->resume && saved)
        TRY(session_restore(s, q->dir, config, &q->overrides, &c));
    else
        TRY(session_open(s, q->resume ? config : q->config, &q->overrides));
    TRY_OUT(session_data(s, "train", &t->data));
    if (!s->model) {
        TRY_OUT(session_anchor(s));
        TRY_OUT(session_build(s, data_type(t->data)));
    }
    TRY_OUT(session_data(s, "test", &t->test));
    TRY_OUT(trainer_open(&t->trainer, s->model, &s->settings));
    TRY_OUT(prepare_parameters(t, c));
    if (q->resume && saved) t->saved_step = (int64_t)t->trainer.step;
    if (!q->resume) TRY_OUT(run_create(q->dir, q->force, &t->lock));
    TRY_OUT(run_save_config(q->dir, s->config));
    TRY_OUT(open_log(t, q->resume));
    TRY_OUT(open_stream(t));
    describe(t);
    describe_run(t, q->resume, saved);
out:
    checkpoint_close(c);
    return status;
}

static void end(struct training *t)
{
    data_stream_close(t->stream);
    data_close(t->data);
    data_close(t->test);
    runlog_close(t->log);
    trainer_close(&t->trainer);
    session_close(&t->session);
    if (t->lock >= 0) close(t->lock);
}

/* ---------------------------------------------------------------- what happens now and then */

static glow_status log_step(struct training *t)
{
    const struct settings *s = &t->session.settings;
    const struct train_report *r = &t->report;
    double seconds = t->seconds + clock_seconds() - t->mark, passed = seconds - t->logged_seconds;
    int64_t step = (int64_t)t->trainer.step, steps = step - t->logged_step;
    struct runlog_field fields[] = {
        NUMBER("loss", t->loss_count ? t->loss_sum / (double)t->loss_count : NAN),
        NUMBER("gradient_norm", r->gradient_norm),
        NUMBER("learning_rate", r->learning_rate),
        NUMBER("rows_per_second", passed > 0 ? (double)(steps * s->batch) / passed : NAN),
        NUMBER("seconds", seconds),
        NUMBER("waited", data_stream_waited(t->stream)),
        NUMBER("inversion_error", r->inversion_error), /* the last ones are not always there */
        NUMBER("device_mb", 0),
        NUMBER("device_peak_mb", 0),
    };
    int n = (int)(sizeof fields / sizeof *fields) - 2;
    const struct model *m = t->session.model;
    if (isnan(r->inversion_error)) n--;
    if (m->backend->memory) {
        struct memory_report memory;
        m->backend->memory(m->engine, &memory);
        fields[n++] = (struct runlog_field)NUMBER("device_mb", (double)memory.used / 1e6);
        fields[n++] = (struct runlog_field)NUMBER("device_peak_mb", (double)memory.peak / 1e6);
    }
    t->logged_seconds = seconds;
    t->logged_step = step;
    t->loss_sum = 0;
    t->loss_count = 0;
    return runlog_write(t->log, "train", step, fields, n);
}

static glow_status log_rejected(struct training *t)
{
    const struct train_report *r = &t->report;
    struct runlog_field fields[] = { TEXT("culprit", r->culprit), NUMBER("loss", r->loss),
                                     NUMBER("gradient_norm", r->gradient_norm) };
    progress_clear(&t->progress);
    if (r->steps > 1)
        note(1, "%" PRId64 " of the last %" PRId64 " steps rejected: NaN or Inf, first in %s",
             r->rejected, r->steps, r->culprit);
    else
        note(1, "step %" PRIu64 " rejected: NaN or Inf, first in %s", t->trainer.step, r->culprit);
    return runlog_write(t->log, "rejected", (int64_t)t->trainer.step, FIELDS(fields));
}

/* The rows of the last evaluation in the log, if that was at this step; else 0. */
static glow_status rows_tested(const struct training *t, int64_t *rows)
{
    char path[RUN_PATH];
    struct runlog_series tests;
    TRY(runlog_read(&tests, run_path(path, t->dir, "log.jsonl"), "test", "rows"));
    bool now = tests.n && (uint64_t)tests.step[tests.n - 1] == t->trainer.step;
    *rows = now ? (int64_t)tests.value[tests.n - 1] : 0;
    runlog_series_free(&tests);
    return GLOW_OK;
}

/* Evaluates on the test split; rows 0: all of it. Sets last_test.rows to 0 when there are no rows.
 * `logged` is what rows_tested says: a run that is resumed at its end logs no evaluation twice. */
static glow_status test(struct training *t, int64_t rows, int64_t logged)
{
    const struct settings *s = &t->session.settings;
    struct evaluation *e = &t->last_test;
    *e = (struct evaluation){ 0 };
    if (data_count(t->test) == 0) return GLOW_OK;
    if (rows == 0 && data_count(t->test) == INT64_MAX)
        rows = s->eval_rows ? s->eval_rows : ENDLESS_TEST_ROWS;
    TRY(evaluate(t->session.model, t->test, s->batch, rows, s->eval_average, s->seed, e, NULL));
    if (e->rows == logged) return GLOW_OK;
    struct runlog_field fields[] = { NUMBER("bits_per_dim", e->bits), NUMBER("nats", e->nats),
                                     NUMBER("rows", e->rows) };
    return runlog_write(t->log, "test", (int64_t)t->trainer.step, FIELDS(fields));
}

static glow_status save(struct training *t)
{
    TRY(run_save_checkpoint(t->dir, &t->trainer, t->session.settings.keep));
    t->saved_step = (int64_t)t->trainer.step;
    return GLOW_OK;
}

static const char *samples_path(char *buf, const struct training *t)
{
    char name[64];
    snprintf(name, sizeof name, "samples-%" PRIu64 ".png", t->trainer.step);
    return run_path(buf, t->dir, name);
}

/* After a rejected step the parameters may be what makes every batch a NaN: not to be saved over
 * good ones before a step with them has been accepted. */
static bool doubtful(const struct training *t) { return t->trainer.bad_in_a_row > 0; }

static glow_status draw_samples(struct training *t)
{
    char path[RUN_PATH];
    struct model *m = t->session.model;
    const struct settings *s = &t->session.settings;
    if (!output_can_show(m)) return GLOW_OK;
    glow_status status = GLOW_OK;
    int64_t n =
        m->input.rank == 1 && s->sample_n < 2000 ? 2000 : s->sample_n; /* points are small */
    double *temperature = calloc((size_t)m->n_latents + 1, sizeof *temperature);
    void *x = malloc((size_t)n * output_row_bytes(m));
    if (!temperature || !x) TRY_OUT(fail_memory((size_t)n * output_row_bytes(m), "samples"));
    TRY_OUT(sampling_temperatures(m, NULL, temperature));
    TRY_OUT(sampling_draw(m, temperature, n, s->seed, s->eval_average, x));
    status = output_show(m, samples_path(path, t), x, n, s->sample_columns);
out:
    free(temperature);
    free(x);
    return status;
}

static bool due(uint64_t step, int64_t every) { return every > 0 && step % (uint64_t)every == 0; }

static glow_status look(struct training *t, bool tests, bool draws)
{
    if (tests) TRY(test(t, t->session.settings.eval_rows, 0));
    if (tests && t->last_test.rows)
        fprintf(stderr, "step %" PRIu64 ": %.4f bits/dim on %" PRId64 " test rows\n",
                t->trainer.step, t->last_test.bits, t->last_test.rows);
    if (draws) TRY(draw_samples(t));
    return GLOW_OK;
}

/* What the settings ask for after a step; training time stands still. */
static glow_status now_and_then(struct training *t)
{
    const struct settings *s = &t->session.settings;
    uint64_t step = t->trainer.step;
    bool last = (int64_t)step >= s->steps; /* finish() does all of it then */
    bool tests = due(step, s->eval_every), saves = due(step, s->checkpoint_every),
         draws = due(step, s->sample_every);
    if (last || !(tests || saves || draws)) return GLOW_OK;
    pause_clock(t);
    glow_status status = saves && !doubtful(t) ? save(t) : GLOW_OK;
    if (status == GLOW_OK) status = look(t, tests, draws);
    proceed(t);
    return status;
}

/* What a run that ended right after it had saved this step did not come to. */
static glow_status catch_up(struct training *t)
{
    char path[RUN_PATH];
    int64_t logged;
    const struct settings *s = &t->session.settings;
    uint64_t step = t->trainer.step;
    if (step == 0 || (int64_t)step >= s->steps) return GLOW_OK;
    TRY(rows_tested(t, &logged));
    bool tests = due(step, s->eval_every) && logged == 0;
    return look(t, tests, due(step, s->sample_every) && access(samples_path(path, t), F_OK));
}

/* ---------------------------------------------------------------- the loop */

static void smooth_loss(struct training *t)
{
    const double weight = 0.05;
    const int64_t good = t->report.steps - t->report.rejected;
    if (good <= 0) return;
    t->loss_sum += t->report.loss * (double)good;
    t->loss_count += good;
    t->smooth =
        isnan(t->smooth) ? t->report.loss : t->smooth + weight * (t->report.loss - t->smooth);
}

/* How often the device need be asked: whenever something is to be told or saved. */
static int64_t report_every(const struct settings *s)
{
    const int64_t every[] = { s->checkpoint_every, s->eval_every, s->sample_every };
    int64_t n = s->log_every;
    for (size_t i = 0; i < sizeof every / sizeof *every; i++)
        for (int64_t b = every[i]; b;) { /* the greatest common divisor */
            int64_t rest = n % b;
            n = b;
            b = rest;
        }
    while (n > UPDATE_AHEAD) n = n % 2 ? 1 : n / 2;
    return n;
}

/* COMMAND_FAILED: training gave up. Interrupted, also while it looks at the test rows: GLOW_OK
 * before the last step. */
static int loop(struct training *t)
{
    glow_status status = catch_up(t);
    if (status == GLOW_ECANCEL) return GLOW_OK;
    TRY(status);
    const struct settings *s = &t->session.settings;
    const struct data_batch *batch;
    t->smooth = NAN;
    t->trainer.report_every = report_every(s);
    t->logged_step = (int64_t)t->trainer.step;
    t->logged_seconds = t->seconds;
    progress_start(&t->progress, stderr, (int64_t)t->trainer.step, s->steps, "bits/dim");
    proceed(t);
    /* Once asked to stop it still waits for parameters that can be saved. */
    while ((int64_t)t->trainer.step < s->steps && (!cancel_requested || doubtful(t))) {
        TRY(data_stream_next(t->stream, &batch));
        if (!batch) return fail(GLOW_EINVAL, "%s: no rows to train on", data_describe(t->data));
        status = trainer_step(&t->trainer, batch->x, &t->report);
        bool last = (int64_t)t->trainer.step == s->steps || cancel_requested;
        if (status == GLOW_OK && t->report.steps == 0 && last)
            status = trainer_report(&t->trainer, &t->report);
        if (status == GLOW_OK || *t->report.culprit) smooth_loss(t);
        if (*t->report.culprit) TRY(log_rejected(t));
        if (status == GLOW_EINVAL) return COMMAND_FAILED;
        TRY(status);
        if (t->report.steps > 0)
            progress_update(&t->progress, (int64_t)t->trainer.step, s->batch, t->smooth);
        if (due(t->trainer.step, s->log_every) || (int64_t)t->trainer.step == s->steps)
            TRY(log_step(t));
        status = now_and_then(t);
        if (status == GLOW_ECANCEL) break;
        TRY(status);
    }
    t->seconds += clock_seconds() - t->mark;
    progress_end(&t->progress, (int64_t)t->trainer.step, t->smooth);
    return GLOW_OK;
}

/* ---------------------------------------------------------------- the end */

static glow_status save_result(const struct training *t)
{
    char path[RUN_PATH];
    const struct model *m = t->session.model;
    const struct evaluation *e = &t->last_test;
    double rows = (double)t->trainer.step * (double)t->session.settings.batch;
    json_t *result =
        json_pack("{s:I, s:I, s:I, s:f, s:o, s:f, s:o*}", "steps", (json_int_t)t->trainer.step,
                  "updates", (json_int_t)t->trainer.updates, "parameters", (json_int_t)m->n_trained,
                  "seconds", t->seconds, "rows_per_second", evaluation_number(rows / t->seconds),
                  "seconds_waited_for_data", data_stream_waited(t->stream), "evaluation",
                  e->rows ? evaluation_json("test", e) : NULL);
    char *text = result ? json_dumps(result, JSON_INDENT(2) | JSON_REAL_PRECISION(9)) : NULL;
    glow_status status = text ? file_save(run_path(path, t->dir, "result.json"), text, strlen(text))
                              : fail_memory(1024, "result.json");
    free(text);
    json_decref(result);
    return status;
}

static glow_status draw_curves(const struct training *t)
{
    char log[RUN_PATH], path[RUN_PATH];
    struct runlog_series train, tests = { 0 };
    run_path(log, t->dir, "log.jsonl");
    TRY(runlog_read(&train, log, "train", "loss"));
    glow_status status = runlog_read(&tests, log, "test", "bits_per_dim");
    const struct plot_axes axes = { .title = "training", .x_label = "step", .y_label = "bits/dim" };
    const struct plot_series series[] = {
        { "training", train.step, train.value, train.n, PLOT_SMOOTHED },
        { "test", tests.step, tests.value, tests.n, PLOT_POINTS },
    };
    if (status == GLOW_OK && train.n + tests.n > 0)
        status = plot_curves(run_path(path, t->dir, "loss.svg"), &axes, series, tests.n ? 2 : 1);
    runlog_series_free(&train);
    runlog_series_free(&tests);
    return status;
}

/* Before its time: after Ctrl-C (GLOW_OK), when training gave up, or at a failure. Saves what can
 * be saved, and says where --resume would go on. */
static int stop(struct training *t, int result)
{
    char why[2048];
    const struct trainer *r = &t->trainer;
    bool good = !doubtful(t) && r->pending == 0;
    snprintf(why, sizeof why, "%s", result == GLOW_OK ? "stopped" : fail_message());
    if ((good && t->saved_step < (int64_t)r->step) || t->saved_step < 0) {
        glow_status status = save(t);
        if (status != GLOW_OK && result == GLOW_OK) return status;
    }
    if (t->saved_step == (int64_t)r->step)
        fail(GLOW_ECANCEL,
             "%s; step %" PRIu64 " of %" PRId64
             " is saved, and  glow train %s --resume  goes on from there",
             why, r->step, t->session.settings.steps, t->dir);
    else if (t->saved_step >= 0)
        fail(GLOW_ECANCEL,
             "%s; the checkpoint of step %" PRId64
             " is left as it was, and  glow train %s --resume  goes on from there",
             why, t->saved_step, t->dir);
    else
        fail(GLOW_ECANCEL, "%s; no checkpoint could be saved", why);
    return result == GLOW_OK ? GLOW_ECANCEL : result;
}

static void tell(const struct training *t)
{
    char path[RUN_PATH];
    if (t->last_test.rows) evaluation_print(stdout, "test", &t->last_test);
    printf("model    %s/checkpoint.safetensors\n", t->dir);
    if (output_can_show(t->session.model)) printf("samples  %s\n", samples_path(path, t));
    printf("curves   %s/loss.svg, of %s/log.jsonl\n", t->dir, t->dir);
    fprintf(stderr,
            "\nTry next:\n  glow sample %s --temperature 0.7 --out samples.png\n"
            "  glow train %s --resume --set train.steps=%" PRId64 "\n",
            t->dir, t->dir, 2 * t->session.settings.steps);
}

static int finish(struct training *t)
{
    char time[32];
    int64_t logged;
    if (!doubtful(t)) TRY(save(t));
    fprintf(stderr, "trained  %s; now the test rows and samples\n",
            progress_time(t->seconds, time, sizeof time));
    TRY(rows_tested(t, &logged));
    TRY(test(t, 0, logged));
    if (t->last_test.bad) {
        fail(GLOW_EINVAL,
             "the model gives NaN or Inf for %" PRId64 " of %" PRId64
             " test rows, first in %s: expected a smaller learning rate, or train.clip_norm",
             t->last_test.bad, t->last_test.rows, t->last_test.culprit);
        return stop(t, COMMAND_FAILED);
    }
    if (doubtful(t)) TRY(save(t));
    TRY(draw_samples(t));
    TRY(draw_curves(t));
    TRY(save_result(t));
    tell(t);
    return GLOW_OK;
}

static int train(const struct request *q)
{
    struct training t = { .dir = q->dir, .lock = -1, .saved_step = -1 };
    int result = begin(&t, q);
    if (result == GLOW_OK) {
        result = loop(&t);
        if (result == GLOW_ECANCEL) result = GLOW_OK; /* Ctrl-C, in an evaluation on the way */
        if (result != GLOW_OK || (int64_t)t.trainer.step < t.session.settings.steps)
            result = stop(&t, result);
        else
            result = finish(&t);
    }
    end(&t);
    return result;
}

static bool is_directory(const char *path)
{
    struct stat st;
    return !stat(path, &st) && S_ISDIR(st.st_mode);
}

static int run(const struct command *c, int argc, char **argv)
{
    struct request q = { 0 };
    char directory[RUN_PATH];
    int first;
    const struct argument table[] = {
        ARGUMENT_SET(&q.overrides),
        { "steps", 0, ARGUMENT_OVERRIDE, "N", "training steps in all: train.steps", &q.overrides,
          "train.steps" },
        { "out", 'o', ARGUMENT_TEXT, "DIR", "run directory; default runs/<name of CFG>", &q.dir,
          NULL },
        { "resume", 0, ARGUMENT_FLAG, NULL,
          "go on from the run's checkpoint, with the run's own configuration", &q.resume, NULL },
        { "force", 0, ARGUMENT_FLAG, NULL,
          "start anew in a directory that holds a run, and delete its files", &q.force, NULL },
        ARGUMENT_THREADS(&q.overrides),
        ARGUMENT_SEED(&q.overrides),
    };
    int result = arguments_parse(c, table, sizeof table / sizeof *table, argc, argv, 0, 1, &first);
    const char *what = first < argc ? argv[first] : NULL;
    if (result != GLOW_OK) goto out;
    if (q.resume && what && !q.dir && is_directory(what))
        q.dir = what;
    else if (what)
        q.config = what;
    if (!q.config && !(q.resume && q.dir))
        result =
            fail(GLOW_EINVAL, "train: expected `glow train CFG`, or `glow train DIR --resume`");
    else if (q.resume && q.force)
        result = fail(GLOW_EINVAL, "train: --resume goes on and --force starts anew: one of them");
    else {
        if (!q.dir) q.dir = run_default_directory(directory, q.config);
        result = train(&q);
    }
out:
    overrides_free(&q.overrides);
    return result;
}

const struct command train_command = {
    "train", "train the model of a configuration",
    "CFG [OPTION...]\n       glow train DIR --resume [OPTION...]", run
};

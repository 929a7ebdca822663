/* bench.c - `glow bench`: what a configuration costs on this machine, as JSON.
 *
 * By default on random bytes of the data's shape, a fresh batch for each step, so that neither
 * disks nor decoders are measured; --data takes the real rows. The peak of the processor is
 * measured in the same run, for its clock depends on the hour.
 *
 * A device works behind the host's back. There, training is timed in groups of train.log_every
 * steps, at whose end the host waits as `glow train` does; samples are timed until they lie in the
 * host's memory; and random rows are drawn before, for the host is too slow to draw them
 * meanwhile. */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>
#include "clock.h"
#include "evaluation.h"
#include "graph.h"
#include "peak.h"
#include "philox.h"
#include "port.h"
#include "sampling.h"
#include "session.h"

enum mode { TRAIN, SAMPLE, ENCODE };
/* Steps, groups, groups; batches of random rows for a device. */
enum { WARM_UP = 2, LEAST = 3, MOST = 1000, POOL = 4 };

struct request {
    const char *config, *mode_name;
    enum mode mode;
    int64_t steps, seconds, rows;
    bool data, profile;
    struct overrides overrides;
};

struct bench {
    const struct request *request;
    struct session session;
    struct trainer trainer;
    struct program *program; /* of SAMPLE and ENCODE */
    struct data *data;       /* NULL: random rows */
    struct data_stream *stream;
    bool device;        /* what runs is not the host's own processor */
    void *x;            /* random rows: one batch, POOL on a device */
    size_t batch_bytes; /* of one */
    int64_t batch;
    int64_t group, groups;        /* steps that are timed as one; how many of these were timed */
    int64_t done;                 /* steps, with those of the warm-up */
    double wall[MOST], cpu[MOST]; /* seconds of a step, by group */
    long page_faults;             /* in all of them */
    int64_t begin, end;           /* when that was, in ms since 1970 */
    double waited;                /* seconds of it without data */
    /* From the start of the process to the end of the first step; the processor's seconds of it. */
    double start_up, start_up_cpu;
    double by_op[OP_COUNT];
    double loss, peak, bandwidth;
    long peak_rss; /* KiB */
};

/* ---------------------------------------------------------------- clocks */

static double cpu_seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static long page_faults(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return usage.ru_minflt + usage.ru_majflt;
}

static long peak_rss(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return usage.ru_maxrss;
}

/* Since the process began, by /proc in hundredths of a second; NaN where there is no /proc. */
static double seconds_of_process(void)
{
    char text[1024] = "";
    unsigned long long ticks;
    struct timespec now;
    FILE *f = fopen("/proc/self/stat", "r");
    if (!f) return NAN;
    size_t n = fread(text, 1, sizeof text - 1, f);
    fclose(f);
    text[n] = '\0';
    const char *after_name = strrchr(text, ')'); /* the 20 fields behind the name */
    if (!after_name ||
        sscanf(after_name + 1,
               " %*c %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s "
               "%*s %*s %llu",
               &ticks) != 1)
        return NAN;
    clock_gettime(CLOCK_BOOTTIME, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec -
           (double)ticks / (double)sysconf(_SC_CLK_TCK);
}

/* To find what others measured meanwhile. */
static int64_t ms_since_1970(void)
{
    struct timespec t;
    timespec_get(&t, TIME_UTC);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* ---------------------------------------------------------------- rows */

/* Bytes 0..255 over 255 for images, N(0,1) for rows: a pure function of seed and step. */
static void random_rows(const struct bench *b, uint64_t step, void *x)
{
    const struct model *m = b->session.model;
    int64_t n = b->batch * model_dimensions(m);
    uint32_t key[2] = { (uint32_t)b->session.settings.seed, (uint32_t)step };
    for (int64_t i = 0; i < n; i += 4) {
        uint32_t counter[4] = { (uint32_t)i, (uint32_t)(i >> 32), 0, 0 };
        struct philox r = philox(counter, key);
        double v[4];
        for (int k = 0; k < 4; k++) v[k] = (double)(r.v[k] >> 24) / 255;
        if (m->input.rank != 3)
            philox_gauss(r.v[0], r.v[1], v), philox_gauss(r.v[2], r.v[3], v + 2);
        for (int k = 0; k < 4 && i + k < n; k++) {
            if (m->real == DT_F64)
                ((double *)x)[i + k] = v[k];
            else
                ((float *)x)[i + k] = (float)v[k];
        }
    }
}

static glow_status next_rows(struct bench *b, uint64_t step, const void **x)
{
    const struct data_batch *batch;
    *x = (char *)b->x + (b->device ? step % POOL * b->batch_bytes : 0);
    if (!b->data) {
        if (!b->device) random_rows(b, step, b->x);
        return GLOW_OK;
    }
    TRY(data_stream_next(b->stream, &batch));
    *x = batch->x;
    return GLOW_OK;
}

static glow_status make_rows(struct bench *b)
{
    int n = b->device ? POOL : 1;
    const struct model *m = b->session.model;
    b->batch_bytes = (size_t)b->batch * (size_t)model_dimensions(m) * dtype_size(m->real);
    if (!(b->x = malloc((size_t)n * b->batch_bytes)))
        return fail_memory((size_t)n * b->batch_bytes, "rows");
    for (int i = 0; i < n; i++)
        random_rows(b, (uint64_t)i, (char *)b->x + (size_t)i * b->batch_bytes);
    return GLOW_OK;
}

/* Data-dependent initialisation on random rows. */
static glow_status initialise(struct bench *b)
{
    struct program_options o = { .kind = PROGRAM_INIT, .batch = b->batch };
    struct program *p;
    TRY(program_make(&p, b->session.model, &o));
    glow_status status = port_write(p, program_input(p, "x"), b->batch, b->x);
    if (status == GLOW_OK) status = program_run(p, b->session.settings.seed, 0, 0);
    b->session.model->initialised = true;
    program_free(p);
    return status;
}

/* ---------------------------------------------------------------- one step */

static glow_status set_temperatures(struct program *p)
{
    const double one = 1;
    for (int i = 0; i < p->n_inputs; i++) TRY(program_set(p, &p->inputs[i].tensor, &one));
    return GLOW_OK;
}

/* Waits until the result of the program is there, as whoever asked for it would. */
static glow_status take_result(struct bench *b)
{
    const struct program *p = b->program;
    if (!b->device) return GLOW_OK;
    if (b->request->mode == SAMPLE)
        return program_fetch(p, program_output(p, "x"), b->batch, b->x); /* no rows are in there */
    if (!isnan(program_scalar(p, "loglik"))) return GLOW_OK;
    return fail(GLOW_EIO, "bench: the log-likelihood of random rows is not a number");
}

static glow_status step(struct bench *b, uint64_t number)
{
    const void *x;
    struct train_report report;
    uint64_t seed = b->session.settings.seed;
    if (b->request->mode == SAMPLE) {
        TRY(program_run(b->program, seed, number, 0));
        return take_result(b);
    }
    TRY(next_rows(b, number, &x));
    if (b->request->mode == TRAIN) {
        TRY(trainer_step(&b->trainer, x, &report));
        if (report.steps) b->loss = report.loss;
        return GLOW_OK;
    }
    TRY(port_write(b->program, program_input(b->program, "x"), b->batch, x));
    TRY(program_run(b->program, seed, number, 0));
    return take_result(b);
}

/* The first steps: memory is touched, and a device records its programs. Ends where a group does.
 */
static glow_status warm_up(struct bench *b)
{
    const struct model *m = b->session.model;
    int64_t least = b->device ? WARM_UP + 1 : WARM_UP;
    int64_t n = (least + b->group - 1) / b->group * b->group;
    TRY(step(b, 1));
    TRY(backend_finish(m->backend, m->engine));
    b->start_up = seconds_of_process();
    b->start_up_cpu = cpu_seconds();
    b->trainer.report_every = b->group;
    for (int64_t i = 1; i < n; i++) TRY(step(b, (uint64_t)i + 1));
    b->done = n;
    return backend_finish(m->backend, m->engine);
}

static glow_status measure_group(struct bench *b)
{
    double wall = clock_seconds(), cpu = cpu_seconds();
    for (int64_t i = 0; i < b->group; i++) TRY(step(b, (uint64_t)++b->done));
    b->wall[b->groups] = (clock_seconds() - wall) / (double)b->group;
    b->cpu[b->groups++] = (cpu_seconds() - cpu) / (double)b->group;
    return GLOW_OK;
}

static glow_status measure(struct bench *b)
{
    const struct request *q = b->request;
    struct model *m = b->session.model;
    int64_t most = q->steps ? (q->steps + b->group - 1) / b->group : MOST;
    TRY(warm_up(b));
    if (q->profile) m->backend->profile(m->engine, b->by_op);
    double start = clock_seconds();
    b->begin = ms_since_1970();
    b->waited = b->stream ? -data_stream_waited(b->stream) : 0;
    b->page_faults = -page_faults();
    while (b->groups < most && !cancel_requested) {
        TRY(measure_group(b));
        bool enough = clock_seconds() - start > (double)q->seconds && b->groups >= LEAST;
        if (!q->steps && enough) break;
    }
    b->page_faults += page_faults();
    b->waited += b->stream ? data_stream_waited(b->stream) : 0;
    b->end = ms_since_1970();
    b->peak_rss = peak_rss();
    m->backend->profile(m->engine, NULL);
    return GLOW_OK;
}

/* ---------------------------------------------------------------- the report */

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double *v, int64_t n)
{
    qsort(v, (size_t)n, sizeof *v, ascending);
    return n ? v[n / 2] : NAN;
}

static int64_t timed_steps(const struct bench *b) { return b->group * b->groups; }

static json_t *profile_json(const struct bench *b)
{
    json_t *all = json_object();
    double sum = 0;
    for (int i = 0; i < OP_COUNT; i++) {
        sum += b->by_op[i];
        if (b->by_op[i] > 0)
            json_object_set_new(all, op_names[i],
                                json_real(1e3 * b->by_op[i] / (double)timed_steps(b)));
    }
    json_object_set_new(all, "all operations", json_real(1e3 * sum / (double)timed_steps(b)));
    return all;
}

static void report_model(const struct bench *b, const struct program *p, json_t *r)
{
    static const char *const policies[] = { "auto", "store", "recompute", "invert" };
    const struct model *m = b->session.model;
    json_object_set_new(r, "config", json_string(b->request->config));
    json_object_set_new(r, "mode", json_string(b->request->mode_name));
    json_object_set_new(r, "rows", json_string(b->data ? data_describe(b->data) : "random"));
    json_object_set_new(r, "batch", json_integer(b->batch));
    json_object_set_new(r, "backend", json_string(m->backend->name));
    json_object_set_new(r, "threads", json_integer(m->backend->threads(m->engine)));
    json_object_set_new(r, "kernels", json_string(m->backend->kernels(m->engine)));
    const char *precision = b->session.settings.bf16 ? "bf16" : m->real == DT_F64 ? "fp64" : "fp32";
    json_object_set_new(r, "precision", json_string(precision));
    json_object_set_new(r, "parameters", json_integer(m->n_trained));
    if (b->program) return;
    json_object_set_new(r, "memory", json_string(policies[b->session.settings.memory]));
    json_object_set_new(r, "couplings_stored", json_integer(p->stored));
    json_object_set_new(r, "results_kept", json_integer(p->results_kept));
    json_object_set_new(r, "couplings", json_integer(p->couplings));
    json_object_set_new(r, "last_loss", evaluation_number(b->loss));
}

static void report_speed(struct bench *b, const struct program *p, json_t *r)
{
    double cpu = median(b->cpu, b->groups), wall = median(b->wall, b->groups),
           gflop = (double)p->flops * 1e-9;
    json_object_set_new(r, "steps", json_integer(timed_steps(b)));
    json_object_set_new(r, "rows_per_second", evaluation_number((double)b->batch / wall));
    json_object_set_new(r, "ms_per_step",
                        json_pack("{s:f, s:f}", "min", 1e3 * b->wall[0], "median", 1e3 * wall));
    json_object_set_new(r, "cpu_ms_per_step",
                        json_pack("{s:f, s:f}", "min", 1e3 * b->cpu[0], "median", 1e3 * cpu));
    json_object_set_new(r, "gflop_per_step", json_real(gflop));
    json_object_set_new(r, "gflops", evaluation_number(gflop / wall));
    json_object_set_new(r, "measured_between",
                        json_pack("[I, I]", (json_int_t)b->begin, (json_int_t)b->end));
    if (b->device) return; /* whose peak is not the processor's */
    json_object_set_new(r, "peak_gflops", json_real(b->peak));
    json_object_set_new(r, "share_of_peak", evaluation_number(gflop / wall / b->peak));
}

/* Every operand of every step, once each: what a run would move if no cache held anything. */
static double operand_bytes(const struct program *p)
{
    double sum = 0;
    for (int64_t i = 0; i < p->n_steps; i++) {
        const struct step *s = &p->steps[i];
        for (int k = 0; k < s->n_in + s->n_out; k++) {
            const struct tensor *t = k < s->n_in ? &s->in[k] : &s->out[k - s->n_in];
            double n = t->data ? (double)dtype_size(t->dtype) : 0;
            for (int d = 0; d < t->rank; d++)
                if (t->stride[d]) n *= (double)t->dim[d];
            sum += n;
        }
    }
    return sum;
}

static void report_memory(const struct bench *b, const struct program *p, json_t *r)
{
    json_object_set_new(r, "peak_rss_mb", json_real((double)b->peak_rss / 1024));
    json_object_set_new(r, "page_faults_per_step",
                        json_real((double)b->page_faults / (double)timed_steps(b)));
    json_object_set_new(r, "operand_gb_per_step", json_real(operand_bytes(p) * 1e-9));
    if (!b->device) json_object_set_new(r, "peak_gb_per_second", json_real(b->bandwidth));
    json_object_set_new(r, "arena_bytes", json_integer(p->arena_bytes));
    json_object_set_new(r, "live_bytes", json_integer(p->live_bytes));
    const struct model *m = b->session.model;
    if (!m->backend->memory) return;
    struct memory_report memory;
    m->backend->memory(m->engine, &memory);
    json_object_set_new(r, "device_used_mb", json_real((double)memory.peak / 1e6));
    json_object_set_new(r, "device_reserved_mb", json_real((double)memory.reserved / 1e6));
    json_object_set_new(r, "device_free_mb", json_real((double)memory.available / 1e6));
}

static json_t *report(struct bench *b)
{
    const struct program *p = b->program ? b->program : b->trainer.program;
    json_t *r = json_object();
    report_model(b, p, r);
    report_speed(b, p, r);
    json_object_set_new(r, "start_up_seconds", evaluation_number(b->start_up));
    json_object_set_new(r, "start_up_cpu_seconds", json_real(b->start_up_cpu));
    json_object_set_new(r, "build_seconds", json_real(p->build_seconds));
    report_memory(b, p, r);
    if (b->stream) json_object_set_new(r, "seconds_waited_for_data", json_real(b->waited));
    if (b->request->profile) json_object_set_new(r, "ms_by_operation", profile_json(b));
    return r;
}

/* ---------------------------------------------------------------- the command */

static glow_status open_rows(struct bench *b)
{
    struct data_stream_options o;
    struct session *s = &b->session;
    if (!b->request->data) return GLOW_OK;
    TRY(session_data(s, "train", &b->data));
    TRY(data_settings(s->config, &o));
    o.batch = b->batch;
    o.dtype = s->model->real;
    o.seed = s->settings.seed;
    o.endless = 1;
    return data_stream_open(&b->stream, b->data, &o);
}

static glow_status build(struct bench *b)
{
    const struct request *q = b->request;
    struct session *s = &b->session;
    struct glow_type input;
    TRY(session_open(s, q->config, &q->overrides));
    TRY(model_input_type(s->config, &input));
    if (!input.rank) {
        struct data *data;
        TRY(session_data(s, "train", &data));
        input = *data_type(data);
        data_close(data);
    }
    TRY(session_build(s, &input));
    b->batch = q->rows ? q->rows : q->mode == SAMPLE ? 16 : s->settings.batch;
    s->settings.batch = b->batch;
    b->device = s->model->backend->finish != NULL;
    b->group = b->device && q->mode == TRAIN ? s->settings.log_every : 1;
    if (q->steps && q->steps < b->group) b->group = q->steps;
    if (b->group > UPDATE_AHEAD) b->group = UPDATE_AHEAD;
    TRY(make_rows(b));
    TRY(open_rows(b));
    struct program_options o = { .kind = q->mode == SAMPLE ? PROGRAM_SAMPLE : PROGRAM_ENCODE,
                                 .batch = b->batch };
    TRY(initialise(b));
    if (q->mode == TRAIN) return trainer_open(&b->trainer, s->model, &s->settings);
    TRY(program_make(&b->program, s->model, &o));
    if (q->mode == SAMPLE) TRY(set_temperatures(b->program));
    return GLOW_OK;
}

static glow_status bench(const struct request *q)
{
    struct bench *b = calloc(1, sizeof *b);
    if (!b) return fail_memory(sizeof *b, "bench");
    b->request = q;
    glow_status status = build(b);
    if (status == GLOW_OK) status = measure(b);
    if (status == GLOW_OK) {
        const struct model *m = b->session.model;
        int threads = m->backend->threads(m->engine), bits16 = b->session.settings.bf16;
        if (!b->device) {
            b->peak = peak_gflops(m->backend->kernels(m->engine), threads,
                                  bits16 ? 2 : (int)dtype_size(m->real));
            b->bandwidth = peak_bandwidth(threads);
        }
        json_t *r = report(b);
        json_dumpf(r, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(6));
        putchar('\n');
        json_decref(r);
    }
    data_stream_close(b->stream);
    data_close(b->data);
    trainer_close(&b->trainer);
    program_free(b->program);
    session_close(&b->session);
    free(b->x);
    free(b);
    return status;
}

static glow_status parse_mode(struct request *q)
{
    static const char *const names[] = { "train", "sample", "encode" };
    for (int i = 0; i < 3; i++) {
        if (strcmp(q->mode_name, names[i])) continue;
        q->mode = (enum mode)i;
        return GLOW_OK;
    }
    return fail(GLOW_EINVAL, "bench --mode %s: expected train, sample or encode", q->mode_name);
}

static int run(const struct command *c, int argc, char **argv)
{
    struct request q = { .mode_name = "train", .seconds = 5 };
    int first;
    const struct argument table[] = {
        { "mode", 'm', ARGUMENT_TEXT, "MODE", "train (default), sample or encode", &q.mode_name,
          NULL },
        { "batch", 'b', ARGUMENT_COUNT, "N", "rows a step; default data.batch, 16 for sample",
          &q.rows, NULL },
        { "steps", 0, ARGUMENT_COUNT, "N", "steps to measure; default as many as fit in --seconds",
          &q.steps, NULL },
        { "seconds", 0, ARGUMENT_COUNT, "N", "how long to measure; default 5", &q.seconds, NULL },
        { "data", 0, ARGUMENT_FLAG, NULL, "rows of the configuration's data instead of random ones",
          &q.data, NULL },
        { "profile", 0, ARGUMENT_FLAG, NULL, "milliseconds of a step by operation", &q.profile,
          NULL },
        ARGUMENT_SET(&q.overrides),
        ARGUMENT_THREADS(&q.overrides),
        ARGUMENT_SEED(&q.overrides),
    };
    int result = arguments_parse(c, table, sizeof table / sizeof *table, argc, argv, 1, 1, &first);
    if (result == GLOW_OK) result = parse_mode(&q);
    if (result == GLOW_OK && q.steps > MOST)
        result = fail(GLOW_EINVAL, "bench --steps %" PRId64 ": at most %d", q.steps, MOST);
    if (result == GLOW_OK) {
        q.config = argv[first];
        result = bench(&q);
    }
    overrides_free(&q.overrides);
    return result;
}

const struct command bench_command = { "bench", "measure speed and memory, as JSON",
                                       "CFG [OPTION...]", run };

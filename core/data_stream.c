/* data_stream.c - batches in order, decoded ahead by worker threads into a ring that is allocated
 * once.
 *
 * A batch is cut into parts of a few rows. Parts have one running number; a worker takes the next
 * one, when the ring has a slot for its batch, and reads it. So all workers decode the oldest batch
 * that is not ready, and the order in which they finish never shows. Slot i holds batches i, i +
 * slots, ... */
#include "data.h"

#include <inttypes.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include "data_private.h"
#include "shuffle.h"

#define MARGIN     256       /* bytes before and behind the ring, as backend.h asks for */
#define PART_BYTES (1 << 20) /* a part is about this size at most */
#define MAX_HELP   8         /* workers when the user leaves the number to us */

struct slot {
    struct data_batch batch;
    unsigned char *x;
    int64_t *index;
    int64_t done; /* parts that are ready */
};

struct data_stream {
    struct data *data;
    struct data_stream_options options;
    int64_t per_epoch; /* batches of an epoch, where there are several */
    int64_t total;     /* batches from the first one to the end; INT64_MAX: no end */
    int64_t part_rows, parts;
    size_t row_bytes;
    struct slot *slots;
    int64_t n_slots;
    unsigned char *arena;
    int64_t *indices;

    pthread_mutex_t lock; /* guards all below, and `done` of the slots */
    pthread_cond_t work, ready;
    int64_t taken;    /* parts that workers have taken */
    int64_t released; /* batches that the trainer is through with */
    bool holding;     /* whether it holds one more */
    bool stop;
    glow_status status; /* the error of the earliest batch that failed */
    int64_t failed;     /* its number, counted from the first one */
    char message[1024];
    double waited;

    pthread_t *threads;
    int n_threads;
};

/* ---------------------------------------------------------------- which rows */

static int64_t min64(int64_t a, int64_t b) { return a < b ? a : b; }

/* Whether epoch follows epoch; rows that are made without end have but one. */
static int is_endless(const struct data_stream *s)
{
    return (s->options.shuffle || s->options.endless) && s->data->count != INT64_MAX;
}

/* Row numbers of a part of a batch and, in key, their keys. `order` is kept between calls: making
 * the permutation of an epoch costs more than asking it. */
struct order {
    int64_t epoch;
    struct shuffle shuffle;
};

static void choose_rows(const struct data_stream *s, struct order *order, int64_t number,
                        int64_t first, int64_t n, int64_t *index, uint64_t *key)
{
    const int64_t count = s->data->count, batch = s->options.batch;
    for (int64_t i = 0; i < n; i++) {
        int64_t epoch = 0, at = number * batch + first + i;
        if (is_endless(s)) {
            if (batch <= count) { /* the remainder of an epoch is dropped */
                epoch = number / s->per_epoch;
                at -= epoch * s->per_epoch * batch;
            } else {
                epoch = at / count;
                at %= count;
            }
            if (epoch != order->epoch) {
                order->shuffle = shuffle_make(count, s->options.seed, epoch);
                order->epoch = epoch;
            }
            if (s->options.shuffle) at = shuffle_at(&order->shuffle, at);
        } else if (at >= count) {
            at = count - 1; /* padding behind the end of a pass */
        }
        index[i] = at;
        key[i] = data_row_key(s->options.seed, epoch, at);
    }
}

/* ---------------------------------------------------------------- workers */

struct worker {
    struct data_reader *reader; /* opened at the first part */
    struct order order;
};

static glow_status read_part(struct data_stream *s, struct worker *worker, int64_t part)
{
    int64_t which = part / s->parts, first = part % s->parts * s->part_rows;
    int64_t n = min64(s->part_rows, s->options.batch - first);
    struct slot *slot = &s->slots[which % s->n_slots];
    if (!worker->reader)
        TRY(data_reader_open(&worker->reader, s->data, s->part_rows, s->options.dtype));
    choose_rows(s, &worker->order, s->options.first + which, first, n, slot->index + first,
                worker->reader->key);
    return data_reader_read(worker->reader, slot->index + first, n, s->options.dtype,
                            slot->x + (size_t)first * s->row_bytes);
}

static bool may_take(const struct data_stream *s)
{
    int64_t which = s->taken / s->parts;
    return which < s->total && which < s->released + s->n_slots;
}

static void record_failure(struct data_stream *s, int64_t which, glow_status status)
{
    if (s->status != GLOW_OK && s->failed <= which) return;
    s->status = status;
    s->failed = which;
    snprintf(s->message, sizeof s->message, "%s", fail_message());
}

static void *run_worker(void *argument)
{
    struct data_stream *s = argument;
    struct worker worker = { NULL, { .epoch = -1 } };
    pthread_mutex_lock(&s->lock);
    for (;;) {
        while (!s->stop && s->status == GLOW_OK && !may_take(s))
            pthread_cond_wait(&s->work, &s->lock);
        if (s->stop || s->status != GLOW_OK) break;
        int64_t part = s->taken++, which = part / s->parts;
        pthread_mutex_unlock(&s->lock);
        glow_status status = read_part(s, &worker, part);
        pthread_mutex_lock(&s->lock);
        struct slot *slot = &s->slots[which % s->n_slots];
        if (status != GLOW_OK) {
            record_failure(s, which, status);
            pthread_cond_broadcast(&s->work);
            pthread_cond_broadcast(&s->ready);
        } else if (++slot->done == s->parts)
            pthread_cond_broadcast(&s->ready);
    }
    pthread_mutex_unlock(&s->lock);
    data_reader_close(worker.reader);
    return NULL;
}

/* ---------------------------------------------------------------- opening and closing */

static glow_status check_options(const struct data *data, const struct data_stream_options *o)
{
    int64_t last;
    if (data->count == 0)
        return fail(GLOW_EINVAL, "dataset \"%s\" has no rows in its split \"%s\"",
                    data->dataset->head.id, data->split);
    if (o->batch < 1 || o->first < 0 || o->workers < 0 || o->ahead < 0 ||
        (o->dtype != DT_F32 && o->dtype != DT_F64))
        return fail(GLOW_EINVAL, "%s: no stream of batches of %" PRId64 " rows from batch %" PRId64,
                    data->description, o->batch, o->first);
    /* Row numbers of the next 2^40 batches must not overflow. */
    if (o->first > INT64_MAX - ((int64_t)1 << 40) ||
        __builtin_mul_overflow(o->first + ((int64_t)1 << 40), o->batch, &last))
        return fail(GLOW_EINVAL, "%s: batch number %" PRId64 " of %" PRId64 " rows is too far out",
                    data->description, o->first, o->batch);
    return GLOW_OK;
}

/* Half of the processors decode at most, the others compute. */
static int choose_workers(const struct data_stream *s)
{
    long processors = sysconf(_SC_NPROCESSORS_ONLN);
    int workers = s->options.workers;
    if (workers == 0)
        workers = processors < 4 ? 1 : processors / 2 > MAX_HELP ? MAX_HELP : (int)processors / 2;
    return s->data->flags & GLOW_DATA_SERIAL ? 1 : workers;
}

static void plan_parts(struct data_stream *s, int workers)
{
    int64_t batch = s->options.batch, stored = s->data->elements[s->data->x] * 8;
    int64_t rows = min64((batch + workers - 1) / workers, PART_BYTES / stored);
    s->part_rows = rows > 0 ? rows : 1;
    s->parts = (batch + s->part_rows - 1) / s->part_rows;
    s->n_slots =
        (s->options.ahead ? s->options.ahead : 4) + 1; /* and the one that the trainer holds */
    int64_t count = s->data->count;
    s->per_epoch = count / batch > 0 ? count / batch : 1;
    s->total = INT64_MAX;
    if (!is_endless(s) && count != INT64_MAX) {
        int64_t batches = count / batch + (count % batch != 0);
        s->total = batches > s->options.first ? batches - s->options.first : 0;
    }
}

static glow_status allocate(struct data_stream *s)
{
    int64_t batch = s->options.batch;
    size_t slot_bytes, bytes;
    s->row_bytes = (size_t)s->data->elements[s->data->x] * dtype_size(s->options.dtype);
    if (__builtin_mul_overflow(s->row_bytes, (size_t)batch, &slot_bytes) ||
        __builtin_add_overflow(slot_bytes, 63, &slot_bytes) ||
        __builtin_mul_overflow(slot_bytes &= ~(size_t)63, (size_t)s->n_slots, &bytes) ||
        __builtin_add_overflow(bytes, 2 * MARGIN, &bytes))
        return fail_memory(SIZE_MAX, s->data->description);
    void *arena = NULL;
    if (posix_memalign(&arena, 64, bytes) != 0) return fail_memory(bytes, s->data->description);
    s->arena = arena;
    memset(s->arena, 0, bytes);
    s->slots = calloc((size_t)s->n_slots, sizeof *s->slots);
    s->indices = calloc((size_t)(s->n_slots * batch), sizeof *s->indices);
    if (!s->slots || !s->indices) return fail_memory(bytes, s->data->description);
    for (int64_t i = 0; i < s->n_slots; i++) {
        s->slots[i].x = s->arena + MARGIN + (size_t)i * slot_bytes;
        s->slots[i].index = s->indices + i * batch;
    }
    return GLOW_OK;
}

static glow_status start_workers(struct data_stream *s, int workers)
{
    glow_status status = GLOW_OK;
    sigset_t all, before;
    s->threads = calloc((size_t)workers, sizeof *s->threads);
    if (!s->threads) return fail_memory((size_t)workers * sizeof *s->threads, s->data->description);
    sigfillset(&all); /* signals are the main thread's */
    pthread_sigmask(SIG_SETMASK, &all, &before);
    for (int i = 0; i < workers && status == GLOW_OK; i++) {
        int error = pthread_create(&s->threads[i], NULL, run_worker, s);
        if (error)
            status = fail(GLOW_ENOMEM, "%s: can't start worker thread %d of %d: %s",
                          s->data->description, i + 1, workers, strerror(error));
        else
            s->n_threads++;
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return status;
}

glow_status data_stream_open(struct data_stream **out, struct data *data,
                             const struct data_stream_options *options)
{
    glow_status status = GLOW_OK;
    *out = NULL;
    TRY(check_options(data, options));
    struct data_stream *s = calloc(1, sizeof *s);
    if (!s) return fail_memory(sizeof *s, data->description);
    pthread_mutex_init(&s->lock, NULL);
    pthread_cond_init(&s->work, NULL);
    pthread_cond_init(&s->ready, NULL);
    s->data = data;
    s->options = *options;
    int workers = choose_workers(s);
    plan_parts(s, workers);
    TRY_OUT(allocate(s));
    TRY_OUT(start_workers(s, workers));
    *out = s;
    return GLOW_OK;
out:
    data_stream_close(s);
    return status;
}

void data_stream_close(struct data_stream *s)
{
    if (!s) return;
    pthread_mutex_lock(&s->lock);
    s->stop = true;
    pthread_cond_broadcast(&s->work);
    pthread_mutex_unlock(&s->lock);
    for (int i = 0; i < s->n_threads; i++) pthread_join(s->threads[i], NULL);
    pthread_mutex_destroy(&s->lock);
    pthread_cond_destroy(&s->work);
    pthread_cond_destroy(&s->ready);
    free(s->threads);
    free(s->slots);
    free(s->indices);
    free(s->arena);
    free(s);
}

/* ---------------------------------------------------------------- the trainer's side */

static double seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

/* Waits until batch `which` is ready, or until it can't be. */
static void wait_for(struct data_stream *s, int64_t which)
{
    const struct slot *slot = &s->slots[which % s->n_slots];
    double start = 0;
    while (slot->done < s->parts && !(s->status != GLOW_OK && s->failed <= which)) {
        if (start == 0) start = seconds();
        pthread_cond_wait(&s->ready, &s->lock);
    }
    if (start != 0) s->waited += seconds() - start;
}

glow_status data_stream_next(struct data_stream *s, const struct data_batch **out)
{
    glow_status status = GLOW_OK;
    *out = NULL;
    pthread_mutex_lock(&s->lock);
    if (s->holding) {
        s->slots[s->released % s->n_slots].done = 0;
        s->released++;
        s->holding = false;
        pthread_cond_broadcast(&s->work);
    }
    int64_t which = s->released;
    if (which < s->total) {
        struct slot *slot = &s->slots[which % s->n_slots];
        wait_for(s, which);
        if (slot->done == s->parts) {
            int64_t number = s->options.first + which, rows = s->options.batch;
            if (s->total != INT64_MAX) rows = min64(rows, s->data->count - number * rows);
            slot->batch = (struct data_batch){ slot->x, rows, number, slot->index };
            s->holding = true;
            *out = &slot->batch;
        } else
            status = fail(s->status, "%s", s->message);
    }
    pthread_mutex_unlock(&s->lock);
    return status;
}

double data_stream_waited(const struct data_stream *s) { return s->waited; }

/* data.h - batches for programs: a dataset plug-in's rows, shuffled, decoded ahead on worker
 * threads.
 *
 * The order of an epoch is a pure function of seed and epoch, batch b of a stream a pure function
 * of b: resuming at step s is opening the stream at s. The trainer only ever waits for a batch that
 * is not ready, and the time it waited is counted. */
#ifndef CORE_DATA_H
#define CORE_DATA_H
#include "instance.h"
#include "tensor.h"

struct data; /* one opened split of a dataset */
struct data_stream;

/* Opens split "train", "valid" or "test" of the dataset that the `data` group of glow.cfg names.
 * `want` is the type the model takes (rank 0: whatever comes); a dataset that can't give it is an
 * error that shows both shapes. Keys of the group that data.c itself reads: dataset, batch,
 * workers, shuffle. */
glow_status data_open(struct data **, struct registry *, const struct config *, const char *split,
                      const struct glow_type *want, uint64_t seed);
/* The same for an instance of a dataset plug-in, which stays the caller's and must outlive the
 * data. */
glow_status data_open_instance(struct data **, struct instance *, const char *split,
                               const struct glow_type *want, uint64_t seed);
void data_close(struct data *);
int64_t data_count(const struct data *);                /* rows, may be 0; INT64_MAX = endless */
const struct glow_type *data_type(const struct data *); /* of column X: one row */
const struct glow_column *data_columns(const struct data *, uint32_t *n);
const char *data_describe(const struct data *); /* "idx: 60000 rows of 1x32x32 (train)" */
/* Reads given rows of column X as reals into dst, dense (n, ...), here and now. */
glow_status data_read(struct data *, const int64_t *index, int64_t n, int32_t dtype, void *dst);
/* The same for any column as it is stored: raw bytes of its dtype. */
glow_status data_read_raw(struct data *, uint32_t column, const int64_t *index, int64_t n,
                          void *dst);

struct data_batch {
    const void *x;        /* (batch, ...) of the stream's dtype; 64-byte aligned */
    int64_t rows;         /* valid rows: fewer than batch at the end of a sequential pass */
    int64_t number;       /* batch number b */
    const int64_t *index; /* row numbers */
};
struct data_stream_options {
    int64_t batch, first; /* batch size; number of the first batch */
    int shuffle;          /* 1: shuffled, epochs without end, remainder dropped (a split smaller
                           * than the batch repeats rows); 0: one pass in order, the last batch
                           * padded with repeats of its last row */
    int endless;          /* the same epochs where rows are not shuffled */
    int workers;          /* decoding threads; 0 = as many as help */
    int ahead;            /* batches decoded ahead; 0 = 4 */
    int32_t dtype;        /* DT_F32 or DT_F64 */
    uint64_t seed;
};
/* batch (64), workers (0) and shuffle (1) as the `data` group sets them, checked; the rest is zero.
 */
glow_status data_settings(const struct config *, struct data_stream_options *);
/* Threads start at once. The data must stay open; a split without rows is an error. */
glow_status data_stream_open(struct data_stream **, struct data *,
                             const struct data_stream_options *);
/* The next batch, valid until the next call; *batch = NULL at the end of a sequential pass. A row
 * that can't be read is an error when its batch is due, and from then on. */
glow_status data_stream_next(struct data_stream *, const struct data_batch **batch);
double data_stream_waited(const struct data_stream *); /* seconds that next has waited in all */
void data_stream_close(struct data_stream *);          /* stops the workers, frees */
#endif

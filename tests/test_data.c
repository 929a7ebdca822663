/* test_data.c - batches of a data set made for this test (made_data.h): which rows come, in what
 * order, as what numbers, whatever the number of workers; and what happens when the data set fails.
 */
#include "data.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "made_data.h"

#undef fail /* an old name of ck_abort_msg; here it is that of status.h */

static const struct glow_type anything;

static struct data *open_data(void)
{
    struct data *data;
    ck_assert_msg(data_open_instance(&data, &made_instance, "train", &anything, 1) == GLOW_OK, "%s",
                  fail_message());
    return data;
}

static struct data_stream *open_stream(struct data *data, const struct data_stream_options *options)
{
    struct data_stream *stream;
    ck_assert_msg(data_stream_open(&stream, data, options) == GLOW_OK, "%s", fail_message());
    return stream;
}

static const struct data_batch *next(struct data_stream *stream)
{
    const struct data_batch *batch;
    ck_assert_msg(data_stream_next(stream, &batch) == GLOW_OK, "%s", fail_message());
    return batch;
}

/* Reads batches first .. first + n - 1 and keeps their row numbers. */
static void collect(struct data *data, struct data_stream_options options, int64_t n,
                    int64_t *index)
{
    struct data_stream *stream = open_stream(data, &options);
    for (int64_t b = 0; b < n; b++) {
        const struct data_batch *batch = next(stream);
        ck_assert_ptr_nonnull(batch);
        ck_assert_int_eq(batch->number, options.first + b);
        ck_assert_int_eq(batch->rows, options.batch);
        memcpy(index + b * options.batch, batch->index, (size_t)options.batch * sizeof *index);
        for (int64_t i = 0; i < options.batch; i++)
            for (int k = 0; k < WIDTH; k++)
                ck_assert(((const float *)batch->x)[i * WIDTH + k] ==
                          (float)(made_content(batch->index[i], k) / 255.0));
    }
    data_stream_close(stream);
}

static void assert_all_different(const int64_t *index, int64_t n, int64_t count)
{
    char *seen = calloc((size_t)count, 1);
    for (int64_t i = 0; i < n; i++) {
        ck_assert(index[i] >= 0 && index[i] < count);
        ck_assert_msg(!seen[index[i]], "row %d came twice", (int)index[i]);
        seen[index[i]] = 1;
    }
    free(seen);
}

/* ---------------------------------------------------------------- order */

START_TEST(shuffled_epochs)
{
    int64_t index[3 * 6 * 16];
    int moved = 0;
    struct data *data = open_data();
    collect(data,
            (struct data_stream_options){ .batch = 16, .shuffle = 1, .dtype = DT_F32, .seed = 4 },
            3 * 6, index); /* 100 rows: six batches an epoch, four rows are left out */
    for (int epoch = 0; epoch < 3; epoch++) assert_all_different(index + epoch * 96, 96, 100);
    for (int i = 0; i < 96; i++) moved += index[i] != index[96 + i];
    ck_assert_int_gt(moved, 80);
    data_close(data);
    ck_assert_int_eq(opened, 1);
    ck_assert_int_eq(closed, 1);
    ck_assert_int_eq(workers_opened, workers_closed);
}
END_TEST

/* The same rows in order, epoch after epoch, where they are not shuffled. */
START_TEST(epochs_in_order)
{
    int64_t index[13 * 16];
    struct data *data = open_data();
    collect(data, (struct data_stream_options){ .batch = 16, .endless = 1, .dtype = DT_F32 }, 13,
            index);
    for (int i = 0; i < 13 * 16; i++) ck_assert_int_eq(index[i], i % 96); /* of 100 */
    data_close(data);
}
END_TEST

/* Batch b is a function of b: whatever workers, look-ahead and first batch. */
START_TEST(resumed_and_parallel)
{
    static const int workers[] = { 1, 2, 5, 3 }, ahead[] = { 0, 1, 2, 9 };
    static const int64_t counts[] = { 1000, 64, 40, 7, 1 }; /* of rows; batches have 64 */
    for (int c = 0; c < 5; c++) {
        int64_t reference[40 * 64], index[40 * 64];
        struct data_stream_options options = {
            .batch = 64, .shuffle = 1, .dtype = DT_F32, .seed = 9
        };
        make.count = counts[c];
        struct data *data = open_data();
        collect(data, options, 40, reference);
        for (int k = 0; k < 4; k++) {
            options.workers = workers[k];
            options.ahead = ahead[k];
            options.first = 13 * k;
            collect(data, options, 40 - options.first, index);
            ck_assert_mem_eq(index, reference + options.first * 64,
                             (size_t)(40 - options.first) * 64 * sizeof *index);
        }
        if (counts[c] > 40) {
            options.first = 0;
            options.seed = 10;
            collect(data, options, 1, index);
            ck_assert(memcmp(index, reference, 64 * sizeof *index) != 0);
        }
        data_close(data);
    }
}
END_TEST

/* Fewer rows than a batch: it goes on with the next epoch, and each epoch holds each row once. */
START_TEST(small_split)
{
    int64_t index[7 * 64];
    make.count = 28;
    struct data *data = open_data();
    collect(data, (struct data_stream_options){ .batch = 64, .shuffle = 1, .dtype = DT_F32 }, 7,
            index);
    for (int epoch = 0; epoch < 16; epoch++) assert_all_different(index + epoch * 28, 28, 28);
    data_close(data);
}
END_TEST

START_TEST(one_pass_in_order)
{
    static const int64_t counts[] = { 100, 96, 5, 1 };
    const struct data_batch *batch;
    for (int c = 0; c < 4; c++)
        for (int64_t first = 0; first < 9; first++) {
            int64_t count = make.count = counts[c], row = first * 16;
            struct data *data = open_data();
            struct data_stream_options options = {
                .batch = 16, .first = first, .dtype = DT_F32, .workers = 3
            };
            struct data_stream *stream = open_stream(data, &options);
            for (int64_t number = first; (batch = next(stream)); number++) {
                ck_assert_int_eq(batch->number, number);
                ck_assert_int_eq(batch->rows, count - row < 16 ? count - row : 16);
                for (int i = 0; i < 16; i++) {
                    int64_t at = row + i < count ? row + i : count - 1;
                    ck_assert_int_eq(batch->index[i], at);
                    ck_assert(((const float *)batch->x)[i * WIDTH + 5] ==
                              (float)(made_content(at, 5) / 255.0));
                }
                row += batch->rows;
            }
            ck_assert_int_eq(row, first * 16 < count ? count : first * 16);
            ck_assert_ptr_null(next(stream)); /* it stays at its end */
            data_stream_close(stream);
            data_close(data);
        }
}
END_TEST

START_TEST(endless)
{
    for (int shuffle = 0; shuffle < 2; shuffle++) {
        int64_t index[5 * 16];
        make.count = INT64_MAX;
        struct data *data = open_data();
        ck_assert_str_eq(data_describe(data), "made: endless rows of 1x2x3 (train)");
        struct data_stream_options options = {
            .batch = 16, .shuffle = shuffle, .dtype = DT_F32, .first = 1000000000000, .workers = 2
        };
        collect(data, options, 5, index);
        for (int i = 0; i < 80; i++) ck_assert_int_eq(index[i], options.first * 16 + i);
        data_close(data);
    }
}
END_TEST

/* A row's key is a function of seed, epoch and row. */
START_TEST(row_keys)
{
    uint8_t keys[2][30][WIDTH], other[30][WIDTH];
    int same_epoch = 0, same_seed = 0;
    make.count = 30;
    make.shows_keys = 1;
    make.hi = 1; /* bytes as they are */
    struct data *data = open_data();
    for (int round = 0; round < 3; round++) {
        struct data_stream_options options = {
            .batch = 10, .shuffle = 1, .dtype = DT_F64, .seed = round == 2, .workers = 1 + round
        };
        struct data_stream *stream = open_stream(data, &options);
        for (int b = 0; b < 6; b++) {
            const struct data_batch *batch = next(stream);
            for (int i = 0; i < 10; i++)
                for (int k = 0; k < WIDTH; k++) {
                    uint8_t v = (uint8_t)((const double *)batch->x)[i * WIDTH + k];
                    uint8_t *kept = &keys[b / 3][batch->index[i]][k];
                    if (round == 0) *kept = v;
                    if (round == 1) ck_assert_uint_eq(*kept, v);
                    if (round == 2 && b < 3) other[batch->index[i]][k] = v;
                }
        }
        data_stream_close(stream);
    }
    for (int i = 0; i < 30; i++) {
        same_epoch += !memcmp(keys[0][i], keys[1][i], WIDTH);
        same_seed += !memcmp(keys[0][i], other[i], WIDTH);
        for (int k = 0; k < i; k++) ck_assert(memcmp(keys[0][i], keys[0][k], WIDTH) != 0);
    }
    ck_assert_int_eq(same_epoch, 0);
    ck_assert_int_eq(same_seed, 0);
    data_close(data);
}
END_TEST

/* ---------------------------------------------------------------- numbers */

/* What element k of row i must be as a real. */
static double expected(int64_t row, int k)
{
    int v = made_content(row, k);
    switch (make.dtype) {
    case GLOW_U8: return (v - make.lo) / (make.hi - make.lo);
    case GLOW_I32: return -v;
    case GLOW_I64: return v * 1e6;
    case GLOW_F32: return (float)v / 3;
    default: return v / 3.0;
    }
}

START_TEST(conversions)
{
    static const uint32_t dtypes[] = { GLOW_U8, GLOW_U8, GLOW_I32, GLOW_I64, GLOW_F32, GLOW_F64 };
    for (int t = 0; t < 6; t++)
        for (int dtype = DT_F32; dtype <= DT_F64; dtype++) {
            double direct[100 * WIDTH];
            make.dtype = dtypes[t];
            make.lo = t == 1 ? 16 : 0;
            make.hi = t == 1 ? 235 : 255;
            struct data *data = open_data();
            struct data_stream_options options = { .batch = 33, .shuffle = 1, .dtype = dtype };
            struct data_stream *stream = open_stream(data, &options);
            for (int b = 0; b < 7; b++) {
                const struct data_batch *batch = next(stream);
                ck_assert_uint_eq((uintptr_t)batch->x % 64, 0);
                ck_assert_int_eq(data_read(data, batch->index, 33, dtype, direct), 0);
                ck_assert_mem_eq(direct, batch->x, 33 * WIDTH * dtype_size(dtype));
                for (int i = 0; i < 33 * WIDTH; i++) {
                    double want = expected(batch->index[i / WIDTH], i % WIDTH);
                    if (dtype == DT_F64)
                        ck_assert(((const double *)batch->x)[i] == want);
                    else
                        ck_assert(((const float *)batch->x)[i] == (float)want);
                }
            }
            data_stream_close(stream);
            data_close(data);
        }
}
END_TEST

START_TEST(direct_reading)
{
    int64_t index[600];
    uint8_t bytes[600 * WIDTH];
    int32_t labels[600];
    float reals[600 * WIDTH];
    uint32_t n;
    make.count = 5000;
    struct data *data = open_data();
    ck_assert_int_eq(data_count(data), 5000);
    ck_assert_str_eq(data_describe(data), "made: 5000 rows of 1x2x3 (train)");
    ck_assert_int_eq(data_type(data)->rank, 3);
    ck_assert_int_eq(data_type(data)->dim[2], 3);
    ck_assert_str_eq(data_columns(data, &n)[1].name, "label");
    ck_assert_uint_eq(n, 2);
    for (int i = 0; i < 600; i++) index[i] = (i * 77) % 5000;
    ck_assert_int_eq(data_read_raw(data, 0, index, 600, bytes), 0);
    ck_assert_int_eq(data_read_raw(data, 1, index, 600, labels), 0);
    ck_assert_int_eq(data_read(data, index, 600, DT_F32, reals), 0);
    ck_assert_int_eq(data_read(data, index, 0, DT_F32, NULL), 0);
    for (int i = 0; i < 600; i++) {
        ck_assert_int_eq(labels[i], index[i] % 10);
        for (int k = 0; k < WIDTH; k++) {
            ck_assert_int_eq(bytes[i * WIDTH + k], made_content(index[i], k));
            ck_assert(reals[i * WIDTH + k] == (float)(made_content(index[i], k) / 255.0));
        }
    }
    index[300] = 5000;
    ck_assert_int_eq(data_read(data, index, 600, DT_F32, reals), GLOW_EINVAL);
    ck_assert_ptr_nonnull(strstr(fail_message(), "no row 5000"));
    index[300] = -1;
    ck_assert_int_eq(data_read_raw(data, 0, index, 600, bytes), GLOW_EINVAL);
    ck_assert_int_eq(data_read_raw(data, 2, index, 1, bytes), GLOW_EINVAL);
    make.fail_at = index[0];
    make.why = "the disk is gone";
    ck_assert_int_eq(data_read(data, index, 1, DT_F32, reals), GLOW_EIO);
    ck_assert_ptr_nonnull(strstr(fail_message(), "the disk is gone"));
    make.why = NULL; /* an older message is not taken for its reason */
    ck_assert_int_eq(data_read(data, index, 1, DT_F32, reals), GLOW_EIO);
    ck_assert_ptr_nonnull(strstr(fail_message(), "gave no reason"));
    data_close(data);
    ck_assert_int_eq(workers_opened, workers_closed);
}
END_TEST

/* ---------------------------------------------------------------- errors */

static void assert_refused(const struct glow_type *want, glow_status status, const char *word)
{
    struct data *data;
    int before = opened - closed;
    ck_assert_int_eq(data_open_instance(&data, &made_instance, "test", want, 1), status);
    ck_assert_ptr_null(data);
    ck_assert_msg(strstr(fail_message(), word) && strstr(fail_message(), "test"),
                  "\"%s\" lacks \"%s\"", fail_message(), word);
    ck_assert_int_eq(opened - closed, before);
    made_default();
}

START_TEST(refused)
{
    struct glow_type want = { .rank = 3, .dim = { 1, 32, 32 } };
    make.flags = GLOW_DATA_STREAM;
    assert_refused(&anything, GLOW_ENOTSUP, "stream");
    make.count = -4;
    assert_refused(&anything, GLOW_EINVAL, "-4 rows");
    make.role = GLOW_ROLE_LABEL;
    assert_refused(&anything, GLOW_EINVAL, "role X");
    make.dtype = 99;
    assert_refused(&anything, GLOW_EINVAL, "unknown type (99)");
    make.hi = make.lo;
    assert_refused(&anything, GLOW_EINVAL, "value range");
    make.height = 0;
    assert_refused(&anything, GLOW_EINVAL, "impossible shape");
    make.column_size = 8;
    assert_refused(&anything, GLOW_EINVAL, "no table");
    make.open_code = GLOW_EIO;
    make.why = "can't open mnist.gz";
    assert_refused(&anything, GLOW_EIO, "can't open mnist.gz");
    assert_refused(&want, GLOW_EINVAL, "gives 1x2x3, but the model takes 1x32x32");
    want.rank = 1;
    assert_refused(&want, GLOW_EINVAL, "gives 1x2x3, but the model takes 1:");
    want = (struct glow_type){ .rank = 3, .dim = { 1, 2, 3 } };
    struct data *data;
    ck_assert_int_eq(data_open_instance(&data, &made_instance, "test", &want, 1), GLOW_OK);
    struct data_stream *stream;
    ck_assert_int_eq(data_stream_open(&stream, data,
                                      &(struct data_stream_options){ .batch = 0, .dtype = DT_F32 }),
                     GLOW_EINVAL);
    ck_assert_int_eq(
        data_stream_open(&stream, data,
                         &(struct data_stream_options){ .batch = 4, .dtype = DT_NONE }),
        GLOW_EINVAL);
    ck_assert_int_eq(
        data_stream_open(&stream, data,
                         &(struct data_stream_options){ .batch = INT64_MAX / 2, .dtype = DT_F32 }),
        GLOW_EINVAL);
    ck_assert_ptr_null(stream);
    data_stream_close(NULL);
    data_close(NULL);
    data_close(data);
}
END_TEST

/* A split may be empty, but there is no stream of it. */
START_TEST(no_rows)
{
    struct data_stream *stream;
    make.count = 0;
    struct data *data = open_data();
    ck_assert_int_eq(data_count(data), 0);
    ck_assert_str_eq(data_describe(data), "made: 0 rows of 1x2x3 (train)");
    for (int shuffle = 0; shuffle < 2; shuffle++) {
        struct data_stream_options options = { .batch = 4, .shuffle = shuffle, .dtype = DT_F32 };
        ck_assert_int_eq(data_stream_open(&stream, data, &options), GLOW_EINVAL);
        ck_assert_ptr_nonnull(strstr(fail_message(), "no rows in its split \"train\""));
    }
    data_close(data);
}
END_TEST

/* Records of a plug-in from the future are longer: they are found by their stride. */
START_TEST(wider_columns)
{
    uint32_t n;
    int64_t index = 7;
    int32_t label;
    make.column_size = sizeof(struct glow_column) + 64;
    struct data *data = open_data();
    ck_assert_str_eq(data_columns(data, &n)[1].name, "label");
    ck_assert_int_eq(data_columns(data, &n)[1].dtype, GLOW_I32);
    ck_assert_int_eq(data_read_raw(data, 1, &index, 1, &label), GLOW_OK);
    ck_assert_int_eq(label, 7);
    data_close(data);
}
END_TEST

/* The batches before the error come; then the error, with the plug-in's words, as often as asked.
 */
START_TEST(failing_read)
{
    const struct data_batch *batch;
    for (int workers = 1; workers <= 4; workers++)
        for (int named = 0; named < 2; named++) {
            struct data_stream_options options = {
                .batch = 8, .dtype = DT_F32, .workers = workers, .ahead = 3
            };
            make.count = 1000;
            make.fail_at = 8 * 11 + 5;
            make.why = named ? "row 93 is damaged" : NULL;
            struct data *data = open_data();
            struct data_stream *stream = open_stream(data, &options);
            for (int b = 0; b < 11; b++) ck_assert_int_eq(next(stream)->number, b);
            for (int again = 0; again < 3; again++) {
                ck_assert_int_eq(data_stream_next(stream, &batch), GLOW_EIO);
                ck_assert_ptr_null(batch);
                ck_assert_msg(
                    strstr(fail_message(), named ? "row 93 is damaged" : "gave no reason"), "%s",
                    fail_message());
                ck_assert_ptr_nonnull(strstr(fail_message(), "train split"));
            }
            data_stream_close(stream);
            data_close(data);
            ck_assert_int_eq(workers_opened, workers_closed);
        }
}
END_TEST

/* A later batch may fail first; the error that comes out is that of the earlier one. */
START_TEST(failing_twice)
{
    const struct data_batch *batch;
    struct data_stream_options options = { .batch = 1, .dtype = DT_F32, .workers = 3 };
    make.fail_at = 3;
    make.fail_slowly = 1;
    make.fail_also = 4;
    make.why = "unreadable";
    struct data *data = open_data();
    struct data_stream *stream = open_stream(data, &options);
    for (int b = 0; b < 3; b++) ck_assert_int_eq(next(stream)->number, b);
    ck_assert_int_eq(data_stream_next(stream, &batch), GLOW_EIO);
    ck_assert_msg(strstr(fail_message(), "unreadable"), "%s", fail_message());
    data_stream_close(stream);
    data_close(data);
}
END_TEST

START_TEST(failing_worker)
{
    const struct data_batch *batch;
    struct data *data = open_data();
    make.worker_code = GLOW_ENOMEM;
    struct data_stream_options options = { .batch = 8, .dtype = DT_F32, .workers = 2 };
    struct data_stream *stream = open_stream(data, &options);
    ck_assert_int_eq(data_stream_next(stream, &batch), GLOW_ENOMEM);
    ck_assert_ptr_nonnull(strstr(fail_message(), "no worker today"));
    data_stream_close(stream);
    data_close(data);
    ck_assert_int_eq(workers_closed, 0);
}
END_TEST

/* ---------------------------------------------------------------- threads */

START_TEST(serial_or_not)
{
    for (int serial = 0; serial < 2; serial++) {
        made_default();
        make.flags = serial ? GLOW_DATA_SERIAL : 0;
        make.delay = 500;
        struct data *data = open_data();
        struct data_stream_options options = {
            .batch = 8, .shuffle = 1, .dtype = DT_F32, .workers = 4
        };
        struct data_stream *a = open_stream(data, &options), *b = open_stream(data, &options);
        for (int i = 0; i < 30; i++) {
            const struct data_batch *one = next(a), *two = next(b);
            ck_assert_mem_eq(one->x, two->x, 8 * WIDTH * sizeof(float));
        }
        data_stream_close(a);
        data_stream_close(b);
        data_close(data);
        if (serial)
            ck_assert_int_eq(most_reading, 1);
        else
            ck_assert_int_gt(most_reading, 1);
        ck_assert_int_eq(workers_opened, workers_closed);
    }
}
END_TEST

START_TEST(closed_at_any_time)
{
    for (int round = 0; round < 200; round++) {
        make.delay = round % 3 * 100;
        struct data *data = open_data();
        struct data_stream_options options = { .batch = 4,
                                               .shuffle = round & 1,
                                               .dtype = DT_F32,
                                               .workers = 1 + round % 4,
                                               .ahead = 1 + round % 3 };
        struct data_stream *stream = open_stream(data, &options);
        for (int b = 0; b < round % 7; b++) next(stream);
        data_stream_close(stream);
        data_close(data);
        ck_assert_int_eq(workers_opened, workers_closed);
        ck_assert_int_eq(opened, closed);
    }
}
END_TEST

START_TEST(waiting_is_counted)
{
    make.delay = 20000;
    struct data *data = open_data();
    struct data_stream_options options = {
        .batch = 4, .shuffle = 1, .dtype = DT_F32, .workers = 1
    };
    struct data_stream *stream = open_stream(data, &options);
    for (int b = 0; b < 3; b++) next(stream);
    double waited = data_stream_waited(stream);
    ck_assert(waited > 0.03 && waited < 50);
    while (reads < 3 + 4) usleep(1000); /* the ring fills up: the held batch and four ahead */
    usleep(50000);
    next(stream);
    ck_assert(data_stream_waited(stream) < waited + 0.015); /* a read takes longer */
    data_stream_close(stream);
    data_close(data);
}
END_TEST

/* ---------------------------------------------------------------- the data group of glow.cfg */

static glow_status settings(const char *text, struct data_stream_options *options)
{
    struct config *config;
    ck_assert_msg(config_parse(&config, text, "test.cfg") == GLOW_OK, "%s", fail_message());
    glow_status status = data_settings(config, options);
    config_free(config);
    return status;
}

START_TEST(group_settings)
{
    static const char *const wrong[][2] = {
        { "model: {};", "data" },
        { "data = 3;", "group" },
        { "data: { batch = 0; };", "1 to" },
        { "data: { batch = 2.5; };", "whole number" },
        { "data: { batch = \"64\"; };", "whole number" },
        { "data: { workers = -1; };", "0 to 256" },
        { "data: { shuffle = 1; };", "true or false" },
    };
    struct data_stream_options options;
    ck_assert_int_eq(settings("data: {};", &options), GLOW_OK);
    ck_assert_int_eq(options.batch, 64);
    ck_assert_int_eq(options.workers, 0);
    ck_assert_int_eq(options.shuffle, 1);
    ck_assert_int_eq(settings("data: { batch = 7; workers = 3; shuffle = false; };", &options),
                     GLOW_OK);
    ck_assert_int_eq(options.batch, 7);
    ck_assert_int_eq(options.workers, 3);
    ck_assert_int_eq(options.shuffle, 0);
    for (int i = 0; i < (int)(sizeof wrong / sizeof wrong[0]); i++) {
        ck_assert_int_eq(settings(wrong[i][0], &options), GLOW_EINVAL);
        ck_assert_msg(strstr(fail_message(), wrong[i][1]) && strstr(fail_message(), "test.cfg"),
                      "\"%s\" lacks \"%s\"", fail_message(), wrong[i][1]);
    }
}
END_TEST

/* A real plug-in through registry and config; the errors of the group name what is missing. */
START_TEST(opened_by_config)
{
    static const char *const wrong[][2] = {
        { "data: { batch = 3; };", "dataset" },
        { "data: { dataset = 5; };", "string" },
        { "data: { dataset = \"nothing\"; };", "nothing" },
        { "data: { dataset = \"toy2d\"; bacth = 3; };", "bacth" },
        { "data: { dataset = \"toy2d\"; batch = -3; };", "whole number" },
    };
    struct glow_type point = { .rank = 1, .dim = { 2 } }, image = { .rank = 3, .dim = { 1, 8, 8 } };
    struct registry *registry;
    struct config *config;
    struct data *data;
    ck_assert_int_eq(registry_open(&registry, NULL), GLOW_OK);
    for (int i = 0; i < 5; i++) {
        ck_assert_int_eq(config_parse(&config, wrong[i][0], "test.cfg"), GLOW_OK);
        ck_assert_int_eq(data_open(&data, registry, config, "train", &point, 1), GLOW_EINVAL);
        ck_assert_ptr_null(data);
        ck_assert_msg(strstr(fail_message(), wrong[i][1]), "\"%s\" lacks \"%s\"", fail_message(),
                      wrong[i][1]);
        config_free(config);
    }
    ck_assert_int_eq(config_parse(&config, "data: { dataset = \"toy2d\"; batch = 16; };", "t.cfg"),
                     0);
    ck_assert_int_eq(data_open(&data, registry, config, "train", &image, 1), GLOW_EINVAL);
    ck_assert_msg(data_open(&data, registry, config, "train", &point, 1) == GLOW_OK, "%s",
                  fail_message());
    ck_assert_str_eq(data_describe(data), "toy2d: endless rows of 2 (train)");
    struct data_stream_options options;
    ck_assert_int_eq(data_settings(config, &options), GLOW_OK);
    options.dtype = DT_F64;
    struct data_stream *stream = open_stream(data, &options);
    const double *x = next(stream)->x;
    for (int i = 0; i < 32; i++) ck_assert(x[i] > -10 && x[i] < 10 && x[i] != x[(i + 2) % 32]);
    data_stream_close(stream);
    data_close(data);
    config_free(config);
    registry_free(registry);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("data");
    TCase *tests = tcase_create("data");
    tcase_add_checked_fixture(tests, made_default, NULL);
    tcase_add_test(tests, shuffled_epochs);
    tcase_add_test(tests, epochs_in_order);
    tcase_add_test(tests, resumed_and_parallel);
    tcase_add_test(tests, small_split);
    tcase_add_test(tests, one_pass_in_order);
    tcase_add_test(tests, endless);
    tcase_add_test(tests, row_keys);
    tcase_add_test(tests, conversions);
    tcase_add_test(tests, direct_reading);
    tcase_add_test(tests, refused);
    tcase_add_test(tests, no_rows);
    tcase_add_test(tests, wider_columns);
    tcase_add_test(tests, failing_read);
    tcase_add_test(tests, failing_twice);
    tcase_add_test(tests, failing_worker);
    tcase_add_test(tests, serial_or_not);
    tcase_add_test(tests, closed_at_any_time);
    tcase_add_test(tests, waiting_is_counted);
    tcase_add_test(tests, group_settings);
    tcase_add_test(tests, opened_by_config);
    tcase_set_timeout(tests, 60);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

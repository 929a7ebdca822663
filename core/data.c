/* data.c - opening a split of a dataset, its columns, and reading rows as reals.
 * Bytes of column X become (v - lo) / (hi - lo), rounded once; everything else keeps its value. */
#include "data.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "data_private.h"
#include "philox.h"

static const char *const own_keys[] = { "dataset", "batch", "workers", "shuffle", NULL };

/* ---------------------------------------------------------------- small things */

/* "1x32x32", or "1" for rank 0. */
static const char *shape_text(const struct glow_type *t, char *out, size_t size)
{
    size_t used = 0;
    snprintf(out, size, "1");
    for (int i = 0; i < t->rank && used < size; i++)
        used += (size_t)snprintf(out + used, size - used, "%s%" PRId64, i ? "x" : "", t->dim[i]);
    return out;
}

size_t data_element_size(uint32_t dtype)
{
    switch (dtype) {
    case GLOW_U8: return 1;
    case GLOW_I32:
    case GLOW_F32: return 4;
    case GLOW_I64:
    case GLOW_F64: return 8;
    default: return 0;
    }
}

uint64_t data_row_key(uint64_t seed, int64_t epoch, int64_t index)
{
    return hash_mix(hash_mix(hash_mix(seed) ^ (uint64_t)epoch) ^ (uint64_t)index);
}

static const char *id_of(const struct data *data) { return data->dataset->head.id; }

/* A plug-in says why it failed through host->fail, which records it in this thread: the message is
 * emptied before a call, so that an old one is not taken for its reason. */
static void forget_message(void) { fail(GLOW_OK, "%s", ""); }

static glow_status plugin_failed(const struct data *data, int32_t code, const char *callback)
{
    glow_status status = code >= GLOW_ECANCEL && code < 0 ? code : GLOW_EINVAL;
    if (fail_message()[0] == '\0')
        fail(status, "dataset \"%s\": %s failed with code %d and gave no reason", id_of(data),
             callback, (int)code);
    return fail_context(status, "%s split", data->split);
}

/* ---------------------------------------------------------------- opening */

static glow_status check_column(const struct data *data, const struct glow_column *column,
                                int64_t *elements)
{
    const char *name = column->name ? column->name : "(no name)";
    uint64_t n = 1;
    if (!column->name || data_element_size(column->dtype) == 0)
        return fail(GLOW_EINVAL, "dataset \"%s\": column %s has no name or an unknown type (%u)",
                    id_of(data), name, column->dtype);
    if (column->type.rank < 0 || column->type.rank > GLOW_MAX_RANK)
        return fail(GLOW_EINVAL, "dataset \"%s\": column %s has rank %d, expected 0 to %d",
                    id_of(data), name, column->type.rank, GLOW_MAX_RANK);
    for (int i = 0; i < column->type.rank; i++)
        if (column->type.dim[i] < 1 ||
            __builtin_mul_overflow(n, (uint64_t)column->type.dim[i], &n) || n > INT64_MAX / 64)
            return fail(GLOW_EINVAL, "dataset \"%s\": column %s has an impossible shape",
                        id_of(data), name);
    if (column->dtype == GLOW_U8 && column->role == GLOW_ROLE_X && !(column->lo < column->hi))
        return fail(GLOW_EINVAL, "dataset \"%s\": column %s has the empty value range [%g, %g]",
                    id_of(data), name, column->lo, column->hi);
    *elements = (int64_t)n;
    return GLOW_OK;
}

/* Copies the columns: the plug-in's records may be shorter or longer than this host's. */
static glow_status take_columns(struct data *data, const struct glow_data_info *info)
{
    size_t step = info->column_size;
    if (info->n_columns < 1 || info->n_columns > 256 || !info->columns ||
        step < offsetof(struct glow_column, hi) + sizeof(double))
        return fail(GLOW_EINVAL,
                    "dataset \"%s\": %u columns of %u bytes each make no table of columns",
                    id_of(data), info->n_columns, info->column_size);
    data->columns = calloc(info->n_columns, sizeof *data->columns);
    data->elements = calloc(info->n_columns, sizeof *data->elements);
    if (!data->columns || !data->elements)
        return fail_memory(info->n_columns * sizeof *data->columns, id_of(data));
    data->n_columns = info->n_columns;
    data->x = UINT32_MAX;
    for (uint32_t i = 0; i < info->n_columns; i++) {
        memcpy(&data->columns[i], (const char *)info->columns + i * step,
               step < sizeof *data->columns ? step : sizeof *data->columns);
        TRY(check_column(data, &data->columns[i], &data->elements[i]));
        if (data->columns[i].role == GLOW_ROLE_X && data->x == UINT32_MAX) data->x = i;
    }
    if (data->x == UINT32_MAX)
        return fail(GLOW_EINVAL, "dataset \"%s\": no column has the role X", id_of(data));
    data->type = data->columns[data->x].type;
    data->type.dtype = GLOW_REAL;
    data->type.batched = 1;
    return GLOW_OK;
}

static glow_status check_type(const struct data *data, const struct glow_type *want)
{
    char have_text[192], want_text[192];
    bool same = data->type.rank == want->rank;
    for (int i = 0; same && i < want->rank; i++) same = data->type.dim[i] == want->dim[i];
    if (same || want->rank == 0) return GLOW_OK;
    return fail(GLOW_EINVAL,
                "dataset \"%s\" (%s) gives %s, but the model takes %s%s: change model.input, or "
                "options of the dataset that set its size",
                id_of(data), data->split, shape_text(&data->type, have_text, sizeof have_text),
                shape_text(want, want_text, sizeof want_text),
                want->rank == 3 ? " (channels x height x width)" : "");
}

static glow_status describe(struct data *data)
{
    char shape[192], text[512];
    shape_text(&data->type, shape, sizeof shape);
    if (data->count == INT64_MAX)
        snprintf(text, sizeof text, "%s: endless rows of %s (%s)", id_of(data), shape, data->split);
    else
        snprintf(text, sizeof text, "%s: %" PRId64 " row%s of %s (%s)", id_of(data), data->count,
                 data->count == 1 ? "" : "s", shape, data->split);
    data->description = strdup(text);
    return data->description ? GLOW_OK : fail_memory(sizeof text, id_of(data));
}

glow_status data_open_instance(struct data **out, struct instance *instance, const char *split,
                               const struct glow_type *want, uint64_t seed)
{
    glow_status status = GLOW_OK;
    struct glow_data_open request = {
        .size = sizeof request, .split = split, .want = *want, .seed = seed
    };
    struct glow_data_info info = { .size = sizeof info, .column_size = sizeof(struct glow_column) };
    struct data *data = calloc(1, sizeof *data);

    *out = NULL;
    if (!data) return fail_memory(sizeof *data, instance->path);
    pthread_mutex_init(&data->serial, NULL);
    data->instance = instance;
    data->dataset = (const struct glow_dataset *)(const void *)instance->info->desc;
    data->seed = seed;
    data->split = strdup(split);
    if (!data->split) TRY_OUT(fail_memory(strlen(split), instance->path));
    forget_message();
    int32_t code = data->dataset->open(&instance->self, &request, &data->state, &info);
    if (code != GLOW_OK) TRY_OUT(plugin_failed(data, code, "open"));
    data->is_open = 1;
    if (instance->status != GLOW_OK) /* it asked for an option that it does not have */
        TRY_OUT(plugin_failed(data, instance->status, "open"));
    data->count = info.count;
    data->flags = info.flags;
    if (info.flags & GLOW_DATA_STREAM)
        TRY_OUT(fail(GLOW_ENOTSUP,
                     "dataset \"%s\" (%s) only gives its rows in order, as a stream; this version "
                     "needs random access",
                     id_of(data), split));
    if (info.count < 0)
        TRY_OUT(fail(GLOW_EINVAL, "dataset \"%s\" says that its split \"%s\" has %" PRId64 " rows",
                     id_of(data), split, info.count));
    if ((status = take_columns(data, &info)) != GLOW_OK) {
        fail_context(status, "%s split", split);
        goto out;
    }
    TRY_OUT(check_type(data, want));
    TRY_OUT(describe(data));
    *out = data;
    return GLOW_OK;
out:
    data_close(data);
    return status;
}

glow_status data_open(struct data **out, struct registry *registry, const struct config *config,
                      const char *split, const struct glow_type *want, uint64_t seed)
{
    struct data_stream_options settings;
    struct instance *instance;
    const struct config_node *group = config_find(config, "data");
    *out = NULL;
    TRY(data_settings(config, &settings));
    const struct config_node *id = config_member(group, "dataset");
    if (!id)
        return config_fail(group,
                           "the group lacks \"dataset\", the id of a dataset such as \"idx\"");
    if (config_kind(id) != CONFIG_STRING)
        return config_fail(id, "expected the id of a dataset as a string, such as \"idx\"");
    TRY(instance_new(&instance, registry, GLOW_DATASET, config_string(id), group, own_keys, "data",
                     seed));
    glow_status status = data_open_instance(out, instance, split, want, seed);
    if (status == GLOW_OK)
        (*out)->owns_instance = 1;
    else
        instance_free(instance);
    return status;
}

void data_close(struct data *data)
{
    if (!data) return;
    if (data->is_open && data->dataset->close) data->dataset->close(data->state);
    if (data->owns_instance) instance_free(data->instance);
    pthread_mutex_destroy(&data->serial);
    free(data->columns);
    free(data->elements);
    free(data->split);
    free(data->description);
    free(data);
}

/* A whole number of the group within limits, or `otherwise` when the key is not there. */
static glow_status read_number(const struct config_node *group, const char *key, int64_t low,
                               int64_t high, int64_t otherwise, int64_t *out)
{
    const struct config_node *node = config_member(group, key);
    *out = otherwise;
    if (!node) return GLOW_OK;
    if (config_kind(node) != CONFIG_INT || config_int(node) < low || config_int(node) > high)
        return config_fail(node, "expected a whole number from %" PRId64 " to %" PRId64, low, high);
    *out = config_int(node);
    return GLOW_OK;
}

glow_status data_settings(const struct config *config, struct data_stream_options *options)
{
    int64_t workers;
    const struct config_node *group = config_find(config, "data");
    memset(options, 0, sizeof *options);
    if (!group || config_kind(group) != CONFIG_GROUP)
        return config_fail(group ? group : config_root(config),
                           "expected a group such as data: { dataset = \"idx\"; batch = 64; };");
    TRY(read_number(group, "batch", 1, 1 << 22, 64, &options->batch));
    TRY(read_number(group, "workers", 0, 256, 0, &workers));
    options->workers = (int)workers;
    const struct config_node *shuffle = config_member(group, "shuffle");
    if (shuffle && config_kind(shuffle) != CONFIG_BOOL)
        return config_fail(shuffle, "expected true or false");
    options->shuffle = shuffle ? config_int(shuffle) != 0 : 1;
    return GLOW_OK;
}

/* ---------------------------------------------------------------- asking */

int64_t data_count(const struct data *data) { return data->count; }
const struct glow_type *data_type(const struct data *data) { return &data->type; }
const char *data_describe(const struct data *data) { return data->description; }

const struct glow_column *data_columns(const struct data *data, uint32_t *n)
{
    *n = data->n_columns;
    return data->columns;
}

/* ---------------------------------------------------------------- reading */

#define CONVERT(from, to)                                                                          \
    do {                                                                                           \
        const from *restrict in_ = src;                                                            \
        to *restrict out_ = dst;                                                                   \
        for (int64_t i = 0; i < n; i++) out_[i] = (to)in_[i];                                      \
    } while (0)
/* Blocks of a fixed length, which compilers vectorise at -O2 already. The quotient of two numbers
 * that both types hold exactly is the true one, rounded once. */
#define SCALE(to)                                                                                  \
    do {                                                                                           \
        const uint8_t *restrict in_ = src;                                                         \
        to *restrict out_ = dst;                                                                   \
        const to lo_ = (to)lo, range_ = (to)(hi - lo);                                             \
        for (; n >= 64; n -= 64, in_ += 64, out_ += 64)                                            \
            for (int i = 0; i < 64; i++) out_[i] = ((to)in_[i] - lo_) / range_;                    \
        for (int64_t i = 0; i < n; i++) out_[i] = ((to)in_[i] - lo_) / range_;                     \
    } while (0)

static void scale_bytes(const void *src, int64_t n, double lo, double hi, int32_t dtype, void *dst)
{
    if (dtype == DT_F64)
        SCALE(double);
    else
        SCALE(float);
}

static void convert(uint32_t stored, const void *src, int64_t n, int32_t dtype, void *dst)
{
    bool wide = dtype == DT_F64;
    switch (stored) {
    case GLOW_I32:
        if (wide)
            CONVERT(int32_t, double);
        else
            CONVERT(int32_t, float);
        break;
    case GLOW_I64:
        if (wide)
            CONVERT(int64_t, double);
        else
            CONVERT(int64_t, float);
        break;
    case GLOW_F32: CONVERT(float, double); break;
    case GLOW_F64: CONVERT(double, float); break;
    }
}

/* Whether rows are stored as the reals that are wanted. */
static bool is_same(const struct glow_column *column, int32_t dtype)
{
    return column->dtype == (dtype == DT_F64 ? GLOW_F64 : GLOW_F32);
}

static glow_status call_read(struct data *data, const struct glow_data_read *request)
{
    bool serial = data->flags & GLOW_DATA_SERIAL;
    forget_message();
    if (serial) pthread_mutex_lock(&data->serial);
    int32_t code = data->dataset->read(&data->instance->self, data->state, request);
    if (serial) pthread_mutex_unlock(&data->serial);
    return code == GLOW_OK ? GLOW_OK : plugin_failed(data, code, "read");
}

glow_status data_reader_open(struct data_reader **out, struct data *data, int64_t max_rows,
                             int32_t dtype)
{
    glow_status status = GLOW_OK;
    const struct glow_column *column = &data->columns[data->x];
    struct data_reader *reader = calloc(1, sizeof *reader);

    *out = NULL;
    if (!reader) return fail_memory(sizeof *reader, data->description);
    reader->data = data;
    reader->max_rows = max_rows;
    size_t bytes;
    if (__builtin_mul_overflow((size_t)data->elements[data->x] * data_element_size(column->dtype),
                               (size_t)max_rows, &bytes))
        TRY_OUT(fail_memory(SIZE_MAX, data->description));
    reader->key = calloc((size_t)max_rows, sizeof *reader->key);
    reader->dst = calloc(data->n_columns, sizeof *reader->dst);
    if (!is_same(column, dtype)) reader->rows = malloc(bytes);
    if (!reader->key || !reader->dst || (!is_same(column, dtype) && !reader->rows))
        TRY_OUT(fail_memory(bytes, data->description));
    forget_message();
    if (data->dataset->worker_open) {
        int32_t code =
            data->dataset->worker_open(&data->instance->self, data->state, &reader->worker);
        if (code != GLOW_OK) TRY_OUT(plugin_failed(data, code, "worker_open"));
        reader->has_worker = 1;
    }
    *out = reader;
    return GLOW_OK;
out:
    data_reader_close(reader);
    return status;
}

void data_reader_close(struct data_reader *reader)
{
    if (!reader) return;
    const struct glow_dataset *dataset = reader->data->dataset;
    if (reader->has_worker && dataset->worker_close)
        dataset->worker_close(reader->data->state, reader->worker);
    free(reader->key);
    free(reader->dst);
    free(reader->rows);
    free(reader);
}

glow_status data_reader_read(struct data_reader *reader, const int64_t *index, int64_t n,
                             int32_t dtype, void *dst)
{
    struct data *data = reader->data;
    const struct glow_column *column = &data->columns[data->x];
    int64_t elements = n * data->elements[data->x];
    void *rows = is_same(column, dtype) ? dst : reader->rows;
    struct glow_data_read request = { sizeof request, (uint32_t)n, index,
                                      reader->key,    reader->dst, reader->worker };
    reader->dst[data->x] = rows;
    TRY(call_read(data, &request));
    if (rows == dst) return GLOW_OK;
    if (column->dtype == GLOW_U8)
        scale_bytes(rows, elements, column->lo, column->hi, dtype, dst);
    else
        convert(column->dtype, rows, elements, dtype, dst);
    return GLOW_OK;
}

/* Reads rows of one column through a reader made for this call, a piece at a time. dtype DT_NONE:
 * as they are stored. */
static glow_status read_rows(struct data *data, uint32_t column, const int64_t *index, int64_t n,
                             int32_t dtype, void *dst)
{
    enum { PIECE = 256 };
    glow_status status = GLOW_OK;
    struct data_reader *reader = NULL;
    size_t row =
        (size_t)data->elements[column] *
        (dtype == DT_NONE ? data_element_size(data->columns[column].dtype) : dtype_size(dtype));
    for (int64_t i = 0; i < n; i++)
        if (index[i] < 0 || index[i] >= data->count)
            return fail(GLOW_EINVAL, "%s: there is no row %" PRId64, data->description, index[i]);
    TRY(data_reader_open(&reader, data, n < PIECE ? n + !n : PIECE,
                         dtype == DT_NONE ? DT_F32 : dtype));
    for (int64_t done = 0, piece; done < n; done += piece) {
        void *out = (char *)dst + (size_t)done * row;
        piece = n - done < PIECE ? n - done : PIECE;
        for (int64_t i = 0; i < piece; i++)
            reader->key[i] = data_row_key(data->seed, 0, index[done + i]);
        if (dtype != DT_NONE) {
            TRY_OUT(data_reader_read(reader, index + done, piece, dtype, out));
            continue;
        }
        struct glow_data_read request = { sizeof request, (uint32_t)piece, index + done,
                                          reader->key,    reader->dst,     reader->worker };
        reader->dst[column] = out;
        TRY_OUT(call_read(data, &request));
    }
out:
    data_reader_close(reader);
    return status;
}

glow_status data_read(struct data *data, const int64_t *index, int64_t n, int32_t dtype, void *dst)
{
    return read_rows(data, data->x, index, n, dtype, dst);
}

glow_status data_read_raw(struct data *data, uint32_t column, const int64_t *index, int64_t n,
                          void *dst)
{
    if (column >= data->n_columns)
        return fail(GLOW_EINVAL, "%s: there is no column %u", data->description, column);
    return read_rows(data, column, index, n, DT_NONE, dst);
}

/* rows.c - see rows.h. */
#include "rows.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "graph.h"
#include "npy.h"
#include "picture.h"
#include "port.h"

struct source { /* one file */
    const char *path;
    bool is_array;
    struct npy array;
    int64_t first, n; /* rows */
};
struct rows {
    const struct model *model;
    struct data *data; /* NULL: files */
    int64_t first, count;
    struct source *sources;
    int n_sources;
};

static bool ends_with(const char *text, const char *end)
{
    size_t n = strlen(text), m = strlen(end);
    return n >= m && !strcmp(text + n - m, end);
}

/* ---------------------------------------------------------------- files */

/* A file that the user named and that can't be read is a mistake in the arguments. */
static glow_status mistaken(glow_status status)
{
    return status == GLOW_EIO ? GLOW_EINVAL : status;
}

/* (N, ...) with the model's shape behind the first axis. */
static glow_status open_array(struct source *s, const struct model *m)
{
    char have[96] = "", want[96];
    const struct glow_type *t = &m->input;
    TRY(mistaken(npy_open(&s->array, s->path)));
    s->is_array = true;
    bool fits = s->array.rank == t->rank + 1;
    for (int i = 0; i < s->array.rank; i++) {
        size_t at = strlen(have);
        snprintf(have + at, sizeof have - at, "%s%" PRId64, i ? "," : "", s->array.dim[i]);
        fits = fits && (i == 0 || s->array.dim[i] == t->dim[i - 1]);
    }
    s->n = s->array.rank ? s->array.dim[0] : 0;
    if (fits) return GLOW_OK;
    return fail(GLOW_EINVAL, "%s: an array (%s); the model takes rows of %s, channels first",
                s->path, have, type_text(t, want, sizeof want));
}

static glow_status open_files(struct rows *r, const struct rows_request *q)
{
    r->sources = calloc((size_t)q->n_files, sizeof *r->sources);
    if (!r->sources) return fail_memory((size_t)q->n_files * sizeof *r->sources, "files");
    for (int i = 0; i < q->n_files; i++) {
        struct source *s = &r->sources[r->n_sources++];
        *s = (struct source){ .path = q->files[i], .first = r->count, .n = 1 };
        if (ends_with(s->path, ".npy"))
            TRY(open_array(s, r->model));
        else if (r->model->input.rank != 3)
            return fail(GLOW_EINVAL,
                        "%s: the model takes rows of numbers; only .npy files hold those", s->path);
        r->count += s->n;
    }
    return GLOW_OK;
}

static const struct source *source_of(const struct rows *r, int64_t i)
{
    int k = 0;
    while (i >= r->sources[k].first + r->sources[k].n) k++;
    return &r->sources[k];
}

static double element(const struct npy *a, int64_t i)
{
    switch (a->dtype) {
    case GLOW_U8: return ((const uint8_t *)a->data)[i];
    case GLOW_I32: return ((const int32_t *)a->data)[i];
    case GLOW_I64: return (double)((const int64_t *)a->data)[i];
    case GLOW_F32: return (double)((const float *)a->data)[i];
    default: return ((const double *)a->data)[i];
    }
}

/* As from a dataset: bytes of images are in 0..255 and reach the flow as 0..1. */
static void read_array(const struct source *s, const struct model *m, int64_t row, void *x)
{
    int64_t n = model_dimensions(m);
    bool is_byte_image = s->array.dtype == GLOW_U8 && m->input.rank == 3;
    for (int64_t i = 0; i < n; i++) {
        double v = element(&s->array, row * n + i);
        if (m->real == DT_F64)
            ((double *)x)[i] = is_byte_image ? v / 255 : v;
        else
            ((float *)x)[i] = is_byte_image ? (float)v / 255 : (float)v;
    }
}

static glow_status read_file_row(const struct rows *r, int64_t i, void *x)
{
    const struct source *s = source_of(r, i);
    const struct glow_type *t = &r->model->input;
    if (!s->is_array)
        return mistaken(picture_read(s->path, t->dim[0], t->dim[1], t->dim[2], r->model->real, x));
    read_array(s, r->model, i - s->first, x);
    return GLOW_OK;
}

/* ---------------------------------------------------------------- both */

static glow_status open_split(struct rows *r, struct session *s, const struct rows_request *q)
{
    TRY(session_data(s, q->split, &r->data));
    int64_t count = data_count(r->data);
    if (q->first > 0 && q->first >= count)
        return fail(GLOW_EINVAL, "%s: there is no row %" PRId64, data_describe(r->data), q->first);
    r->first = q->first;
    r->count = count - q->first;
    if (q->count > r->count)
        return fail(GLOW_EINVAL, "%s: fewer than %" PRId64 " rows from row %" PRId64 " on",
                    data_describe(r->data), q->count, q->first);
    if (q->count) r->count = q->count;
    if (count == INT64_MAX && !q->count)
        return fail(GLOW_EINVAL, "%s: endless; say how many rows (--rows)", data_describe(r->data));
    return GLOW_OK;
}

glow_status rows_open(struct rows **out, struct session *s, const struct rows_request *q)
{
    struct rows *r = calloc(1, sizeof *r);
    if (!r) return fail_memory(sizeof *r, "rows");
    r->model = s->model;
    glow_status status = q->n_files ? open_files(r, q) : open_split(r, s, q);
    if (status == GLOW_OK && r->count == 0) status = fail(GLOW_EINVAL, "there are no rows");
    if (status == GLOW_OK)
        *out = r;
    else
        rows_close(r);
    return status;
}

void rows_close(struct rows *r)
{
    if (!r) return;
    for (int i = 0; i < r->n_sources; i++)
        if (r->sources[i].is_array) npy_close(&r->sources[i].array);
    free(r->sources);
    data_close(r->data);
    free(r);
}

int64_t rows_count(const struct rows *r) { return r->count; }
bool rows_are_files(const struct rows *r) { return !r->data; }

glow_status rows_read(struct rows *r, int64_t first, int64_t n, void *x)
{
    size_t row = (size_t)model_dimensions(r->model) * dtype_size(r->model->real);
    if (!r->data) {
        for (int64_t i = 0; i < n; i++)
            TRY(read_file_row(r, first + i, (char *)x + (size_t)i * row));
        return GLOW_OK;
    }
    int64_t *index = malloc((size_t)n * sizeof *index);
    if (!index) return fail_memory((size_t)n * sizeof *index, "rows");
    for (int64_t i = 0; i < n; i++) index[i] = r->first + first + i;
    glow_status status = data_read(r->data, index, n, r->model->real, x);
    free(index);
    return status;
}

glow_status rows_run(struct rows *r, struct program *p, uint64_t seed, int64_t first, int64_t n,
                     void *x)
{
    if (cancel_requested) return fail(GLOW_ECANCEL, "interrupted");
    TRY(rows_read(r, first, n, x));
    TRY(port_write(p, program_input(p, "x"), n, x));
    return program_run(p, seed, 0, r->first + first);
}

const char *rows_name(const struct rows *r, int64_t i, char *buf, size_t size)
{
    if (r->data) {
        snprintf(buf, size, "%" PRId64, r->first + i);
        return buf;
    }
    const struct source *s = source_of(r, i);
    if (s->is_array)
        snprintf(buf, size, "%s[%" PRId64 "]", s->path, i - s->first);
    else
        snprintf(buf, size, "%s", s->path);
    return buf;
}

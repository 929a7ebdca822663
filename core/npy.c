/* npy.c - the writers and the checking reader of npy.h. */
#include "npy.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_HEADER 512 /* enough for nine axes of 19 digits */

static const struct {
    uint32_t dtype;
    const char *descr;
    size_t size;
} dtypes[] = { { GLOW_U8, "|u1", 1 },
               { GLOW_I32, "<i4", 4 },
               { GLOW_I64, "<i8", 8 },
               { GLOW_F32, "<f4", 4 },
               { GLOW_F64, "<f8", 8 } };
#define N_DTYPES ((int)(sizeof dtypes / sizeof dtypes[0]))

static int find_dtype(uint32_t dtype)
{
    for (int i = 0; i < N_DTYPES; i++)
        if (dtypes[i].dtype == dtype) return i;
    return -1;
}

/* ---------------------------------------------------------------- writing */

/* Formats magic, length and dict, padded to `room` bytes (0: to the next multiple of 64). Returns
 * the number of bytes. */
static size_t make_header(char out[MAX_HEADER], const char *descr, int32_t rank, const int64_t *dim,
                          size_t room)
{
    char shape[256];
    size_t used = 0;
    shape[0] = '\0';
    for (int i = 0; i < rank; i++)
        used += (size_t)snprintf(shape + used, sizeof shape - used, "%" PRId64 "%s", dim[i],
                                 rank == 1      ? ","
                                 : i + 1 < rank ? ", "
                                                : "");
    memcpy(out, "\x93NUMPY\x01\x00", 8);
    size_t end = 10 + (size_t)snprintf(out + 10, MAX_HEADER - 10,
                                       "{'descr': '%s', 'fortran_order': False, 'shape': (%s), }",
                                       descr, shape);
    if (room == 0) room = (end + 1 + 63) / 64 * 64;
    memset(out + end, ' ', room - 1 - end);
    out[room - 1] = '\n';
    out[8] = (char)((room - 10) & 255);
    out[9] = (char)((room - 10) >> 8);
    return room;
}

/* Checks type and shape; *bytes = their product. */
static glow_status check_shape(const char *path, uint32_t dtype, int32_t rank, int32_t max_rank,
                               const int64_t *dim, size_t *bytes)
{
    int type = find_dtype(dtype);
    uint64_t n;
    if (type < 0) return fail(GLOW_EINVAL, "%s: no .npy type for element type %u", path, dtype);
    if (rank < 0 || rank > max_rank)
        return fail(GLOW_EINVAL, "%s: arrays of %d axes can't be written, only of 0 to %d", path,
                    rank, max_rank);
    n = dtypes[type].size;
    for (int i = 0; i < rank; i++)
        if (dim[i] < 0 || __builtin_mul_overflow(n, (uint64_t)dim[i], &n) || n > INT64_MAX)
            return fail(GLOW_EINVAL, "%s: axis %d of size %" PRId64 " is not possible", path, i,
                        dim[i]);
    *bytes = (size_t)n;
    return GLOW_OK;
}

glow_status npy_write(const char *path, uint32_t dtype, int32_t rank, const int64_t *dim,
                      const void *data)
{
    char header[MAX_HEADER];
    size_t bytes;
    struct file *file;
    TRY(check_shape(path, dtype, rank, GLOW_MAX_RANK + 1, dim, &bytes));
    size_t size = make_header(header, dtypes[find_dtype(dtype)].descr, rank, dim, 0);
    TRY(file_create(&file, path));
    glow_status status = file_write(file, header, size);
    if (status == GLOW_OK) status = file_write(file, data, bytes);
    if (status == GLOW_OK) return file_commit(file);
    file_discard(file);
    return status;
}

struct npy_writer {
    struct file *file;
    const char *descr;
    size_t row_bytes, room; /* bytes of the header */
    int32_t rank;
    int64_t dim[GLOW_MAX_RANK + 1];
};

glow_status npy_create(struct npy_writer **out, const char *path, uint32_t dtype, int32_t rank,
                       const int64_t *dim)
{
    char header[MAX_HEADER];
    size_t row_bytes;
    *out = NULL;
    TRY(check_shape(path, dtype, rank, GLOW_MAX_RANK, dim, &row_bytes));
    struct npy_writer *writer = calloc(1, sizeof *writer);
    if (!writer) return fail_memory(sizeof *writer, path);
    writer->descr = dtypes[find_dtype(dtype)].descr;
    writer->row_bytes = row_bytes;
    writer->rank = rank + 1;
    for (int i = 0; i < rank; i++) writer->dim[i + 1] = dim[i];
    /* Room for any number of rows; the true number is filled in by npy_finish. */
    writer->dim[0] = INT64_MAX;
    writer->room = make_header(header, writer->descr, writer->rank, writer->dim, 0);
    writer->dim[0] = 0;
    glow_status status = file_create(&writer->file, path);
    if (status == GLOW_OK) status = file_write(writer->file, header, writer->room);
    if (status == GLOW_OK)
        *out = writer;
    else
        npy_discard(writer);
    return status;
}

glow_status npy_append(struct npy_writer *writer, const void *rows, int64_t n)
{
    TRY(file_write(writer->file, rows, (size_t)n * writer->row_bytes));
    writer->dim[0] += n;
    return GLOW_OK;
}

glow_status npy_finish(struct npy_writer *writer)
{
    char header[MAX_HEADER];
    make_header(header, writer->descr, writer->rank, writer->dim, writer->room);
    glow_status status = file_rewrite(writer->file, header, writer->room, 0);
    if (status == GLOW_OK) {
        status = file_commit(writer->file);
        writer->file = NULL;
    }
    npy_discard(writer);
    return status;
}

void npy_discard(struct npy_writer *writer)
{
    if (!writer) return;
    file_discard(writer->file);
    free(writer);
}

/* ---------------------------------------------------------------- reading */

/* The dict of a header, as far as NumPy writes it: three keys, in any order. */
struct parser {
    const char *at, *end;
};

static void skip_spaces(struct parser *p)
{
    while (p->at < p->end && strchr(" \t\r\n", *p->at) && *p->at) p->at++;
}

static bool accept(struct parser *p, const char *token)
{
    skip_spaces(p);
    size_t n = strlen(token);
    if ((size_t)(p->end - p->at) < n || memcmp(p->at, token, n) != 0) return false;
    p->at += n;
    return true;
}

/* A quoted text without escapes. */
static bool parse_text(struct parser *p, char *out, size_t size)
{
    size_t n = 0;
    skip_spaces(p);
    if (p->at == p->end || (*p->at != '\'' && *p->at != '"')) return false;
    char quote = *p->at++;
    while (p->at < p->end && *p->at != quote && n + 1 < size) out[n++] = *p->at++;
    out[n] = '\0';
    if (p->at == p->end || *p->at != quote) return false;
    p->at++;
    return true;
}

static bool parse_shape(struct parser *p, struct npy *array)
{
    if (!accept(p, "(")) return false;
    while (!accept(p, ")")) {
        int64_t value = 0;
        bool digits = false;
        skip_spaces(p);
        for (; p->at < p->end && *p->at >= '0' && *p->at <= '9'; p->at++, digits = true)
            if (__builtin_mul_overflow(value, 10, &value) ||
                __builtin_add_overflow(value, *p->at - '0', &value))
                return false;
        if (!digits || array->rank == GLOW_MAX_RANK + 1) return false;
        array->dim[array->rank++] = value;
        if (!accept(p, ",")) return accept(p, ")");
    }
    return true;
}

/* Reads the dict into dtype text, order and shape; false when it is none. */
static bool parse_header(struct parser *p, struct npy *array, char descr[64], bool *fortran)
{
    char key[32];
    int seen = 0;
    if (!accept(p, "{")) return false;
    while (!accept(p, "}")) {
        if (!parse_text(p, key, sizeof key) || !accept(p, ":")) return false;
        if (strcmp(key, "descr") == 0 && !(seen & 1)) {
            seen |= 1;
            if (accept(p, "[")) { /* a list of fields: the caller will say so */
                strcpy(descr, "structured");
                return true;
            }
            if (!parse_text(p, descr, 64)) return false;
        } else if (strcmp(key, "fortran_order") == 0 && !(seen & 2)) {
            seen |= 2;
            *fortran = accept(p, "True");
            if (!*fortran && !accept(p, "False")) return false;
        } else if (strcmp(key, "shape") == 0 && !(seen & 4)) {
            seen |= 4;
            if (!parse_shape(p, array)) return false;
        } else
            return false;
        if (!accept(p, ",")) {
            if (!accept(p, "}")) return false;
            break;
        }
    }
    return seen == 7;
}

static glow_status read_array(struct npy *array, const char *path)
{
    const unsigned char *bytes = array->view.bytes;
    size_t size = array->view.size, start, length;
    char descr[64] = "";
    bool fortran = false;
    int type = -1;

    if (size < 12 || memcmp(bytes, "\x93NUMPY", 6) != 0 || bytes[6] < 1 || bytes[6] > 3)
        return fail(GLOW_EINVAL, "%s: not a .npy file of version 1 to 3", path);
    start = bytes[6] == 1 ? 10 : 12;
    length = bytes[8] | (size_t)bytes[9] << 8;
    if (bytes[6] > 1) length |= (size_t)bytes[10] << 16 | (size_t)bytes[11] << 24;
    if (length > size - start) return fail(GLOW_EINVAL, "%s: cut short in its header", path);
    struct parser p = { (const char *)bytes + start, (const char *)bytes + start + length };
    if (!parse_header(&p, array, descr, &fortran))
        return fail(GLOW_EINVAL, "%s: bad header, or more than %d axes: %.*s", path,
                    GLOW_MAX_RANK + 1, (int)(length < 200 ? length : 200), bytes + start);
    for (int i = 0; i < N_DTYPES; i++)
        if (strcmp(descr, dtypes[i].descr) == 0) type = i;
    if (type < 0)
        return fail(GLOW_EINVAL,
                    "%s: holds elements of type '%s'; readable are |u1, <i4, <i8, <f4 and <f8 "
                    "(convert with numpy's astype)",
                    path, descr);
    if (fortran && array->rank > 1)
        return fail(GLOW_EINVAL,
                    "%s: is in Fortran order; save it with numpy.ascontiguousarray first", path);
    if ((start + length) % dtypes[type].size != 0)
        return fail(GLOW_EINVAL, "%s: its data is not aligned; numpy.save it again", path);
    uint64_t expected;
    array->dtype = dtypes[type].dtype;
    array->count = 1;
    for (int i = 0; i < array->rank; i++)
        if (__builtin_mul_overflow(array->count, array->dim[i], &array->count))
            return fail(GLOW_EINVAL, "%s: its shape is impossible", path);
    if (__builtin_mul_overflow((uint64_t)array->count, dtypes[type].size, &expected) ||
        expected > size - start - length)
        return fail(GLOW_EINVAL,
                    "%s: cut short: %" PRId64 " elements of %zu bytes expected, %zu bytes there",
                    path, array->count, dtypes[type].size, size - start - length);
    array->data = bytes + start + length;
    return GLOW_OK;
}

glow_status npy_open(struct npy *array, const char *path)
{
    memset(array, 0, sizeof *array);
    TRY(file_map(&array->view, path));
    glow_status status = read_array(array, path);
    if (status != GLOW_OK) npy_close(array);
    return status;
}

void npy_close(struct npy *array)
{
    file_unmap(&array->view);
    memset(array, 0, sizeof *array);
}

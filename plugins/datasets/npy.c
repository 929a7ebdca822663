/* npy.c - rows or images in NumPy's .npy files, mapped: nothing is read before it is wanted.
 *
 * A file is "\x93NUMPY", the version, the length of the header and the header, a Python dictionary
 * {'descr': '<f4', 'fortran_order': False, 'shape': (N, ...), }; then the elements. Source: NumPy's
 * neps/nep-0001-npy-format. Elements of either byte order; float16 becomes f32, int8, int16 and
 * uint16 become i32, bool and uint8 are u8 with the range 0..1 and 0..255. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include "dataset.h"

static const struct glow_option options[] = {
    { .key = "path",
      .type = GLOW_OPT_PATH,
      .since = 1,
      .dflt = NULL,
      .help = "the .npy file; its first axis counts the rows" },
    { .key = "test",
      .type = GLOW_OPT_PATH,
      .since = 1,
      .dflt = "",
      .help = "another file with the test rows; none: test_fraction" },
    { .key = "test_fraction",
      .type = GLOW_OPT_REAL,
      .since = 1,
      .dflt = "0.1",
      .range = "[0,1)",
      .help =
          "part of path's rows, evenly spread, that are the test split when test is not given" },
    { .key = "valid_fraction",
      .type = GLOW_OPT_REAL,
      .since = 1,
      .dflt = "0.0",
      .range = "[0,1)",
      .help = "the same for the valid split; 0: valid reads the test rows" },
    { .key = "layout",
      .type = GLOW_OPT_ENUM,
      .since = 1,
      .dflt = "auto",
      .range = "auto|nchw|nhwc|rows",
      .help = "order of the axes of (N,.,.,.); auto: what fits the model, else where 1, 3 or 4 "
              "channels stand; rows: flatten each row" },
};

enum source { S_BOOL, S_U8, S_I8, S_I16, S_U16, S_I32, S_I64, S_F16, S_F32, S_F64 };
static const struct {
    const char *code;      /* descr without the byte order */
    uint32_t size, column; /* bytes of an element; the column's dtype */
} sources[] = {
    [S_BOOL] = { "b1", 1, GLOW_U8 }, [S_U8] = { "u1", 1, GLOW_U8 },
    [S_I8] = { "i1", 1, GLOW_I32 },  [S_I16] = { "i2", 2, GLOW_I32 },
    [S_U16] = { "u2", 2, GLOW_I32 }, [S_I32] = { "i4", 4, GLOW_I32 },
    [S_I64] = { "i8", 8, GLOW_I64 }, [S_F16] = { "f2", 2, GLOW_F32 },
    [S_F32] = { "f4", 4, GLOW_F32 }, [S_F64] = { "f8", 8, GLOW_F64 },
};

/* A mapped file. */
struct array {
    void *map;
    size_t bytes;
    const uint8_t *data;
    enum source source;
    bool swap; /* not the machine's byte order */
    int32_t rank;
    int64_t dim[GLOW_MAX_RANK];
    int64_t row_elements;
};

/* The part of the rows that a split takes. Test and valid rows are spread evenly: the held-out rows
 * are those in the middle of `held` equal stretches, and of them the valid ones likewise. */
enum part { PART_ALL, PART_REST, PART_HELD, PART_VALID, PART_TEST };

struct npy {
    struct array array;
    bool to_planar; /* (H,W,C) is stored, (C,H,W) delivered */
    enum part part;
    int64_t held, held_valid, count;
    struct glow_column column;
};

/* ---------------------------------------------------------------- header */

/* The text behind 'key': in the dictionary, or NULL. */
static const char *value_of(const char *header, const char *key)
{
    char quoted[32];
    for (const char *quote = "'\""; *quote; quote++) {
        snprintf(quoted, sizeof quoted, "%c%s%c", *quote, key, *quote);
        const char *at = strstr(header, quoted);
        if (!at) continue;
        at += strlen(quoted);
        at += strspn(at, " ");
        if (*at == ':') return at + 1 + strspn(at + 1, " ");
    }
    return NULL;
}

static int32_t parse_dtype(const struct glow_self *self, const char *path, const char *text,
                           struct array *a)
{
    const uint16_t one = 1;
    bool little = *(const uint8_t *)&one == 1;
    char descr[16] = "";
    if (text && (*text == '\'' || *text == '"')) {
        size_t n = strcspn(text + 1, "'\"");
        snprintf(descr, sizeof descr, "%.*s", n < sizeof descr ? (int)n : 15, text + 1);
    }
    for (size_t i = 0; descr[0] && i < GLOW_COUNT(sources); i++) {
        if (!strchr("<>|=", descr[0]) || strcmp(descr + 1, sources[i].code)) continue;
        a->source = (enum source)i;
        a->swap = sources[i].size > 1 && descr[0] == (little ? '>' : '<');
        return GLOW_OK;
    }
    return dataset_fail(
        self, GLOW_EINVAL,
        "%s: elements of type %.24s: expected bool, uint8, int8 to int64, uint16 or "
        "float16 to float64",
        path, text ? text : "(none)");
}

static int32_t parse_shape(const struct glow_self *self, const char *path, const char *text,
                           struct array *a)
{
    if (!text || *text != '(')
        return dataset_fail(self, GLOW_EINVAL, "%s: no shape in its header", path);
    a->row_elements = 1;
    for (text++; *text && *text != ')';) {
        char *end;
        errno = 0;
        long long n = strtoll(text, &end, 10);
        if (end == text || errno || n < 0 || a->rank == GLOW_MAX_RANK)
            return dataset_fail(self, GLOW_EINVAL, "%s: can't read the shape (%.40s in its header",
                                path, text);
        if (a->rank > 0 && n > 0 && a->row_elements > INT64_MAX / 64 / n)
            return dataset_fail(self, GLOW_EINVAL, "%s: its rows are too large", path);
        if (a->rank > 0) a->row_elements *= n;
        a->dim[a->rank++] = n;
        text = end + strspn(end, ", ");
    }
    if (a->rank < 1 || a->dim[0] < 1 || a->row_elements < 1)
        return dataset_fail(self, GLOW_EINVAL, "%s: it holds no rows: expected a shape (N, ...)",
                            path);
    return GLOW_OK;
}

static int32_t parse(const struct glow_self *self, const char *path, struct array *a)
{
    const uint8_t *p = a->map;
    if (a->bytes < 10 || memcmp(p, "\x93NUMPY", 6))
        return dataset_fail(self, GLOW_EINVAL, "%s: no .npy file: it doesn't begin with \\x93NUMPY",
                            path);
    size_t start = p[6] == 1 ? 10 : 12, length = (size_t)p[8] | (size_t)p[9] << 8;
    if (p[6] < 1 || p[6] > 3)
        return dataset_fail(self, GLOW_EINVAL, "%s: .npy version %d: expected 1 to 3", path, p[6]);
    if (p[6] > 1 && a->bytes >= 12) length |= (size_t)p[10] << 16 | (size_t)p[11] << 24;
    if (a->bytes < start || a->bytes - start < length || length > 1 << 20)
        return dataset_fail(self, GLOW_EINVAL, "%s: truncated in its header", path);
    char *header = malloc(length + 1);
    if (!header) return dataset_fail_memory(self, length);
    memcpy(header, p + start, length);
    header[length] = 0;

    const char *fortran = value_of(header, "fortran_order");
    int32_t status;
    TRY_OUT(parse_dtype(self, path, value_of(header, "descr"), a));
    TRY_OUT(parse_shape(self, path, value_of(header, "shape"), a));
    if (a->rank > 1 && (!fortran || strncmp(fortran, "False", 5))) {
        status =
            dataset_fail(self, GLOW_EINVAL,
                         "%s: stored in Fortran order: save numpy.ascontiguousarray(array)", path);
        goto out;
    }
    a->data = p + start + length;
    double expected = (double)a->dim[0] * (double)a->row_elements * sources[a->source].size;
    double found = (double)(a->bytes - start - length);
    if (expected != found)
        status = dataset_fail(self, GLOW_EINVAL,
                              "%s: wrong length: %.0f bytes of elements, its header speaks of %.0f",
                              path, found, expected);
out:
    free(header);
    return status;
}

static int32_t map_array(const struct glow_self *self, const char *path, struct array *a)
{
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return dataset_fail(self, GLOW_EIO, "%s: %s", path, strerror(errno));
    void *map = MAP_FAILED;
    bool regular = fstat(fd, &st) == 0 && S_ISREG(st.st_mode);
    if (regular && st.st_size > 0)
        map = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_SHARED, fd, 0);
    int error = errno;
    close(fd);
    if (!regular || st.st_size == 0)
        return dataset_fail(self, GLOW_EINVAL, "%s: %s: expected a .npy file", path,
                            regular ? "it is empty" : "no file");
    if (map == MAP_FAILED) return dataset_fail(self, GLOW_EIO, "%s: %s", path, strerror(error));
    *a = (struct array){ .map = map, .bytes = (size_t)st.st_size };
    return parse(self, path, a);
}

/* ---------------------------------------------------------------- shape */

static bool same_shape(const struct glow_type *a, const struct glow_type *b)
{
    if (a->rank != b->rank) return false;
    for (int32_t i = 0; i < a->rank; i++)
        if (a->dim[i] != b->dim[i]) return false;
    return true;
}

static bool channels(int64_t n) { return n == 1 || n == 3 || n == 4; }

/* How rows of the array are delivered: the column's type and whether axes move. */
static int32_t choose_shape(const struct glow_self *self, const char *path, struct npy *npy,
                            const struct glow_type *want, struct glow_type *row)
{
    const struct array *a = &npy->array;
    const char *layout = self->host->opt_string(self, "layout");
    struct glow_type planar = { .rank = a->rank - 1 }, moved, flat = { .rank = 1 };
    char found[DATASET_SHAPE_TEXT], wanted[DATASET_SHAPE_TEXT];
    memcpy(planar.dim, a->dim + 1, (size_t)planar.rank * sizeof planar.dim[0]);
    flat.dim[0] = a->row_elements;
    moved = planar;
    if (planar.rank == 3) {
        moved.dim[0] = planar.dim[2];
        moved.dim[1] = planar.dim[0];
        moved.dim[2] = planar.dim[1];
    } else if (!strcmp(layout, "nchw") || !strcmp(layout, "nhwc")) {
        return dataset_fail(self, GLOW_EINVAL,
                            "%s: layout = \"%s\": the array has %d axes: expected 4", path, layout,
                            a->rank);
    }
    if (planar.rank == 2) { /* (N,H,W) is grey */
        planar = (struct glow_type){ .rank = 3, .dim = { 1, a->dim[1], a->dim[2] } };
        moved = planar;
    }
    if (!strcmp(layout, "rows") || planar.rank == 0) planar = moved = flat;

    bool fits = same_shape(&planar, want), fits_moved = same_shape(&moved, want);
    bool automatic = !strcmp(layout, "auto") && a->rank == 4;
    npy->to_planar = !strcmp(layout, "nhwc");
    if (automatic && fits != fits_moved)
        npy->to_planar = fits_moved;
    else if (automatic)
        npy->to_planar = channels(planar.dim[2]) && !channels(planar.dim[0]);
    *row = npy->to_planar ? moved : planar;
    if (want->rank == 0 || same_shape(row, want)) return GLOW_OK;
    if (same_shape(&flat, want)) {
        *row = flat;
        npy->to_planar = npy->to_planar && !automatic; /* a flat row keeps the file's order */
        return GLOW_OK;
    }
    return dataset_fail(self, GLOW_EINVAL,
                        "%s: its rows are %s, the model takes %s: .npy data are not "
                        "resized",
                        path, dataset_shape_text(row, found), dataset_shape_text(want, wanted));
}

/* ---------------------------------------------------------------- rows of a split */

/* The j-th of `part` rows that are spread evenly over `total`: in the middle of its stretch. */
static int64_t spread(int64_t j, int64_t part, int64_t total)
{
    return (int64_t)((__int128)(2 * j + 1) * total / (2 * (__int128)part));
}

/* The k-th row that is not one of those. */
static int64_t unspread(int64_t k, int64_t part, int64_t total)
{
    int64_t lo = 0, hi = part; /* how many of the spread rows stand before it */
    while (lo < hi) {
        int64_t j = lo + (hi - lo) / 2;
        if (spread(j, part, total) - j <= k)
            lo = j + 1;
        else
            hi = j;
    }
    return k + lo;
}

static int64_t file_row(const struct npy *npy, int64_t i)
{
    int64_t total = npy->array.dim[0];
    switch (npy->part) {
    case PART_ALL: return i;
    case PART_REST: return unspread(i, npy->held, total);
    case PART_HELD: return spread(i, npy->held, total);
    case PART_VALID: return spread(spread(i, npy->held_valid, npy->held), npy->held, total);
    case PART_TEST: return spread(unspread(i, npy->held_valid, npy->held), npy->held, total);
    }
    return i;
}

static int32_t choose_rows(const struct glow_self *self, const char *path, enum dataset_split split,
                           bool test_file, struct npy *npy)
{
    int64_t total = npy->array.dim[0];
    double valid_part = self->host->opt_real(self, "valid_fraction");
    double test_part = test_file ? 0 : self->host->opt_real(self, "test_fraction");
    int64_t test = test_part > 0 ? (int64_t)ceil((double)total * test_part - 1e-9) : 0;
    int64_t valid = valid_part > 0 ? (int64_t)ceil((double)total * valid_part - 1e-9) : 0;
    if (split == DATASET_VALID && !valid) split = DATASET_TEST;
    npy->held = test + valid;
    npy->held_valid = valid;
    if (split == DATASET_TRAIN) {
        npy->part = npy->held ? PART_REST : PART_ALL;
        npy->count = total - npy->held;
    } else if (split == DATASET_VALID) {
        npy->part = test ? PART_VALID : PART_HELD;
        npy->count = valid;
    } else if (test_file) {
        npy->part = PART_ALL;
        npy->count = total;
    } else {
        npy->part = valid ? PART_TEST : PART_HELD;
        npy->count = test;
    }
    if (npy->count > 0) return GLOW_OK;
    return dataset_fail(self, GLOW_EINVAL,
                        "%s: %" PRId64 " rows, %" PRId64 " of them for test and %" PRId64
                        " for valid, leave none for this split",
                        path, total, test, valid);
}

/* ---------------------------------------------------------------- open and read */

static void close_split(void *state)
{
    struct npy *npy = state;
    if (npy->array.map) munmap(npy->array.map, npy->array.bytes);
    free(npy);
}

/* Of the header and 64 blocks: hashing all of a large file would read all of it. */
static uint64_t fingerprint(const struct array *a)
{
    const size_t block = 4096;
    uint64_t hash = dataset_hash_int(DATASET_HASH, (int64_t)a->bytes);
    for (size_t i = 0; i < 64; i++) {
        size_t at = (size_t)((double)a->bytes * (double)i / 64), n = a->bytes - at;
        hash = dataset_hash(hash, (const uint8_t *)a->map + at, n < block ? n : block);
    }
    return dataset_mix(hash);
}

static int32_t open_split(const struct glow_self *self, const struct glow_data_open *request,
                          void **state, struct glow_data_info *info)
{
    enum dataset_split split;
    struct glow_type row;
    int32_t status;
    struct npy *npy = calloc(1, sizeof *npy);
    if (!npy) return dataset_fail_memory(self, sizeof *npy);
    TRY_OUT(dataset_split(self, request->split, &split));
    const char *path = self->host->opt_string(self, "path");
    const char *test = self->host->opt_string(self, "test");
    bool held_out = self->host->opt_real(self, "valid_fraction") > 0;
    if (test[0] && (split == DATASET_TEST || (split == DATASET_VALID && !held_out))) path = test;
    TRY_OUT(map_array(self, path, &npy->array));
    TRY_OUT(choose_shape(self, path, npy, &request->want, &row));
    TRY_OUT(choose_rows(self, path, split, test[0] != 0, npy));

    enum source source = npy->array.source;
    npy->column = (struct glow_column){ .name = "x",
                                        .dtype = sources[source].column,
                                        .role = GLOW_ROLE_X,
                                        .type = row,
                                        .hi = source == S_U8 ? 255 : 1 };
    info->column_size = sizeof npy->column;
    info->n_columns = 1;
    info->columns = &npy->column;
    info->flags = 0;
    info->count = npy->count;
    info->fingerprint = fingerprint(&npy->array);
    *state = npy;
    return GLOW_OK;
out:
    close_split(npy);
    return status;
}

/* IEEE half to single precision. */
static float from_half(uint16_t h)
{
    int exponent = h >> 10 & 31, mantissa = h & 1023;
    double v = exponent == 31  ? (mantissa ? NAN : INFINITY)
               : exponent == 0 ? ldexp(mantissa, -24)
                               : ldexp(mantissa + 1024, exponent - 25);
    return (float)(h & 0x8000 ? -v : v);
}

/* One element, in the machine's byte order, as the column stores it. */
static void convert(enum source source, const uint8_t *src, uint8_t *dst)
{
    union { /* of the file's element */
        int8_t i1;
        int16_t i2;
        uint16_t u2;
    } in;
    int32_t integer;
    float real;
    switch (source) {
    case S_BOOL: *dst = *src != 0; return;
    case S_I8:
        memcpy(&in.i1, src, 1);
        integer = in.i1;
        break;
    case S_I16:
        memcpy(&in.i2, src, 2);
        integer = in.i2;
        break;
    case S_U16:
        memcpy(&in.u2, src, 2);
        integer = in.u2;
        break;
    case S_F16:
        memcpy(&in.u2, src, 2);
        real = from_half(in.u2);
        memcpy(dst, &real, sizeof real);
        return;
    default: memcpy(dst, src, sources[source].size); return;
    }
    memcpy(dst, &integer, sizeof integer);
}

static uint32_t column_bytes(uint32_t dtype)
{
    return dtype == GLOW_U8 ? 1 : dtype == GLOW_I64 || dtype == GLOW_F64 ? 8 : 4;
}

/* One row; element i of the row goes to the place that the planar order gives it. */
static void read_row(const struct npy *npy, const uint8_t *src, uint8_t *dst)
{
    const struct array *a = &npy->array;
    const uint32_t in = sources[a->source].size, out = column_bytes(npy->column.dtype);
    bool plain = a->source == S_U8 || a->source >= S_I32;
    if (plain && a->source != S_F16 && !a->swap && !npy->to_planar) {
        memcpy(dst, src, (size_t)a->row_elements * in);
        return;
    }
    int64_t c_n = npy->to_planar ? a->dim[3] : 1, positions = a->row_elements / c_n;
    for (int64_t p = 0; p < positions; p++) {
        for (int64_t c = 0; c < c_n; c++, src += in) {
            uint8_t element[8];
            for (uint32_t b = 0; b < in; b++) element[b] = src[a->swap ? in - 1 - b : b];
            convert(a->source, element, dst + (c * positions + p) * out);
        }
    }
}

static int32_t read_rows(const struct glow_self *self, void *state,
                         const struct glow_data_read *request)
{
    const struct npy *npy = state;
    const struct array *a = &npy->array;
    TRY(dataset_check_rows(self, request, npy->count));
    uint8_t *dst = request->dst[0];
    for (uint32_t i = 0; dst && i < request->n; i++) {
        int64_t row = file_row(npy, request->index[i]);
        read_row(npy, a->data + row * a->row_elements * sources[a->source].size, dst);
        dst += a->row_elements * column_bytes(npy->column.dtype);
    }
    return GLOW_OK;
}

static const struct glow_dataset dataset = {
    GLOW_HEAD(struct glow_dataset, GLOW_DATASET, 1, "npy", "rows or images in NumPy's .npy files",
              options, GLOW_COUNT(options)),
    .open = open_split,
    .close = close_split,
    .read = read_rows,
};

static const struct glow_desc *const descs[] = { &dataset.head, NULL };
GLOW_EXPORT const struct glow_plugin glow_plugin_v1 = {
    sizeof glow_plugin_v1, GLOW_ABI_MINOR, "npy", "1", "", descs
};

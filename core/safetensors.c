/* safetensors.c - the writer and the checking reader of safetensors.h. */
#include "safetensors.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include "file.h"

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "safetensors data is little-endian");

#define MAX_HEADER  (100u << 20) /* the limit of the reference implementation */
#define HEADER_UNIT 64           /* data starts at a multiple of this */

static const struct {
    const char *name;
    size_t size;
} dtypes[] = { { "F64", 8 },  { "F32", 4 }, { "F16", 2 },     { "BF16", 2 },
               { "I64", 8 },  { "I32", 4 }, { "I16", 2 },     { "I8", 1 },
               { "U64", 8 },  { "U32", 4 }, { "U16", 2 },     { "U8", 1 },
               { "BOOL", 1 }, { "C64", 8 }, { "F8_E4M3", 1 }, { "F8_E5M2", 1 } };
#define N_DTYPES ((int)(sizeof dtypes / sizeof dtypes[0]))

static int find_dtype(const char *name)
{
    for (int i = 0; i < N_DTYPES; i++)
        if (strcmp(dtypes[i].name, name) == 0) return i;
    return -1;
}

size_t safetensors_element(const char *dtype)
{
    int i = find_dtype(dtype);
    return i < 0 ? 0 : dtypes[i].size;
}

/* Bytes of a tensor; false when the numbers make no sense. */
static bool count_bytes(const struct safetensors_tensor *t, uint64_t *bytes)
{
    *bytes = safetensors_element(t->dtype);
    if (*bytes == 0 || t->rank < 0 || t->rank > SAFETENSORS_MAX_RANK) return false;
    for (int i = 0; i < t->rank; i++)
        if (t->dim[i] < 0 || __builtin_mul_overflow(*bytes, (uint64_t)t->dim[i], bytes))
            return false;
    return *bytes <= INT64_MAX;
}

size_t safetensors_bytes(const struct safetensors_tensor *t)
{
    uint64_t bytes;
    return count_bytes(t, &bytes) ? (size_t)bytes : 0;
}

/* ---------------------------------------------------------------- writing */

/* Tensors in the order of their data: elements of 8 bytes first, so that all are aligned without
 * holes, which the format forbids. */
static int64_t next_in_data(const struct safetensors_tensor *tensors, int64_t n, int64_t i,
                            size_t size)
{
    while (i < n && safetensors_element(tensors[i].dtype) != size) i++;
    return i;
}

static json_t *describe(const struct safetensors_tensor *t, uint64_t begin, uint64_t end)
{
    json_t *shape = json_array();
    for (int i = 0; i < t->rank; i++) json_array_append_new(shape, json_integer(t->dim[i]));
    return json_pack("{s:s, s:o, s:[I,I]}", "dtype", t->dtype, "shape", shape, "data_offsets",
                     (json_int_t)begin, (json_int_t)end);
}

static glow_status make_header(const char *path, const struct safetensors_tensor *tensors,
                               int64_t n, const struct safetensors_text *metadata,
                               int64_t n_metadata, json_t **out)
{
    glow_status status = GLOW_OK;
    json_t *header = json_object(), *texts = json_object();
    uint64_t *begin = calloc((size_t)n + 1, sizeof *begin), end = 0, bytes;

    *out = NULL;
    if (!header || !texts || !begin) TRY_OUT(fail_memory((size_t)n * sizeof *begin, path));
    for (int64_t i = 0; i < n_metadata; i++)
        if (json_object_set_new(texts, metadata[i].key, json_string(metadata[i].value)) != 0)
            TRY_OUT(
                fail(GLOW_EINVAL, "%s: metadata \"%s\" is not UTF-8 text", path, metadata[i].key));
    if (json_object_set(header, "__metadata__", texts) != 0) TRY_OUT(fail_memory(64, path));
    for (size_t size = 8; size > 0; size /= 2)
        for (int64_t i = next_in_data(tensors, n, 0, size); i < n;
             i = next_in_data(tensors, n, i + 1, size)) {
            if (!count_bytes(&tensors[i], &bytes) || bytes > INT64_MAX - end)
                TRY_OUT(fail(GLOW_EINVAL, "%s: tensor \"%s\" has an impossible shape", path,
                             tensors[i].name));
            begin[i] = end;
            end += bytes;
        }
    for (int64_t i = 0; i < n; i++) {
        const char *name = tensors[i].name;
        if (safetensors_element(tensors[i].dtype) == 0)
            TRY_OUT(fail(GLOW_EINVAL, "%s: tensor \"%s\" has the unknown dtype \"%s\"", path, name,
                         tensors[i].dtype));
        if (json_object_get(header, name))
            TRY_OUT(fail(GLOW_EINVAL, "%s: two tensors have the name \"%s\"", path, name));
        bytes = safetensors_bytes(&tensors[i]);
        if (json_object_set_new(header, name, describe(&tensors[i], begin[i], begin[i] + bytes)) !=
            0)
            TRY_OUT(fail(GLOW_EINVAL, "%s: tensor name \"%s\" is not UTF-8 text", path, name));
    }
    *out = json_incref(header);
out:
    json_decref(header);
    json_decref(texts);
    free(begin);
    return status;
}

static glow_status write_tensor(struct file *file, const struct safetensors_tensor *t)
{
    const size_t bytes = safetensors_bytes(t);
    if (!t->unpack) return file_write(file, t->data, bytes);
    void *plain = malloc(bytes + 1);
    if (!plain) return fail_memory(bytes, t->name);
    t->unpack(t, plain);
    glow_status status = file_write(file, plain, bytes);
    free(plain);
    return status;
}

static glow_status write_data(struct file *file, const struct safetensors_tensor *tensors,
                              int64_t n)
{
    for (size_t size = 8; size > 0; size /= 2)
        for (int64_t i = next_in_data(tensors, n, 0, size); i < n;
             i = next_in_data(tensors, n, i + 1, size))
            TRY(write_tensor(file, &tensors[i]));
    return GLOW_OK;
}

glow_status safetensors_write(const char *path, const struct safetensors_tensor *tensors, int64_t n,
                              const struct safetensors_text *metadata, int64_t n_metadata)
{
    glow_status status = GLOW_OK;
    struct file *file = NULL;
    json_t *header = NULL;
    char *text = NULL, spaces[HEADER_UNIT];

    TRY_OUT(make_header(path, tensors, n, metadata, n_metadata, &header));
    text = json_dumps(header, JSON_COMPACT);
    if (!text) TRY_OUT(fail_memory(64 * (size_t)n, path));
    uint64_t size = strlen(text),
             room = (8 + size + HEADER_UNIT - 1) / HEADER_UNIT * HEADER_UNIT - 8;
    if (room > MAX_HEADER)
        TRY_OUT(fail(GLOW_EINVAL, "%s: a header of %llu bytes is more than readers take (%u)", path,
                     (unsigned long long)room, MAX_HEADER));
    memset(spaces, ' ', sizeof spaces);
    TRY_OUT(file_create(&file, path));
    TRY_OUT(file_write(file, &room, sizeof room));
    TRY_OUT(file_write(file, text, size));
    TRY_OUT(file_write(file, spaces, room - size));
    TRY_OUT(write_data(file, tensors, n));
    status = file_commit(file);
    file = NULL;
out:
    file_discard(file);
    free(text);
    json_decref(header);
    return status;
}

/* ---------------------------------------------------------------- reading */

struct entry { /* a tensor and where its data lies */
    struct safetensors_tensor tensor;
    uint64_t begin, end;
};
struct safetensors {
    struct file_view view;
    json_t *header;         /* owns names and metadata texts */
    struct entry *entries;  /* in the order of the header */
    struct entry **by_name; /* sorted */
    int64_t n, n_metadata;
    struct safetensors_text *metadata;
};

static int compare_names(const void *a, const void *b)
{
    const struct entry *const *p = a, *const *q = b;
    return strcmp((*p)->tensor.name, (*q)->tensor.name);
}

static int compare_places(const void *a, const void *b)
{
    const struct entry *const *p = a, *const *q = b;
    if ((*p)->begin != (*q)->begin) return (*p)->begin < (*q)->begin ? -1 : 1;
    return ((*p)->end > (*q)->end) - ((*p)->end < (*q)->end); /* empty tensors come first */
}

/* Reads an offset or a dimension: a whole number that is not negative. */
static bool read_size(const json_t *value, uint64_t *out)
{
    if (!json_is_integer(value) || json_integer_value(value) < 0) return false;
    *out = (uint64_t)json_integer_value(value);
    return true;
}

static glow_status read_entry(struct entry *entry, const char *path, const char *name,
                              const json_t *value, uint64_t data_size)
{
    struct safetensors_tensor *t = &entry->tensor;
    const json_t *shape = json_object_get(value, "shape");
    const json_t *offsets = json_object_get(value, "data_offsets");
    const char *dtype = json_string_value(json_object_get(value, "dtype"));
    uint64_t number, bytes;

    t->name = name;
    if (!json_is_object(value) || !dtype || !json_is_array(shape) || !json_is_array(offsets))
        return fail(GLOW_EINVAL, "%s: tensor \"%s\" lacks dtype, shape or data_offsets", path,
                    name);
    int known = find_dtype(dtype);
    if (known < 0)
        return fail(GLOW_EINVAL, "%s: tensor \"%s\" has the unknown dtype \"%s\"", path, name,
                    dtype);
    t->dtype = dtypes[known].name;
    if (json_array_size(shape) > SAFETENSORS_MAX_RANK)
        return fail(GLOW_EINVAL, "%s: tensor \"%s\" has %zu dimensions, at most %d are possible",
                    path, name, json_array_size(shape), SAFETENSORS_MAX_RANK);
    t->rank = (int32_t)json_array_size(shape);
    for (int i = 0; i < t->rank; i++) {
        if (!read_size(json_array_get(shape, (size_t)i), &number))
            return fail(GLOW_EINVAL, "%s: dimension %d of tensor \"%s\" is not a size", path, i,
                        name);
        t->dim[i] = (int64_t)number;
    }
    if (json_array_size(offsets) != 2 || !read_size(json_array_get(offsets, 0), &entry->begin) ||
        !read_size(json_array_get(offsets, 1), &entry->end) || entry->begin > entry->end)
        return fail(GLOW_EINVAL, "%s: data_offsets of tensor \"%s\" are not [begin, end]", path,
                    name);
    if (entry->end > data_size)
        return fail(GLOW_EINVAL,
                    "%s: tensor \"%s\" ends at byte %llu of the data, the file holds %llu: it is "
                    "cut short or damaged",
                    path, name, (unsigned long long)entry->end, (unsigned long long)data_size);
    if (!count_bytes(t, &bytes) || bytes != entry->end - entry->begin)
        return fail(GLOW_EINVAL, "%s: shape and dtype of tensor \"%s\" do not fit its %llu bytes",
                    path, name, (unsigned long long)(entry->end - entry->begin));
    return GLOW_OK;
}

/* The tensors must cover the data from the first to the last byte, each byte once. */
static glow_status check_cover(struct safetensors *file, const char *path, uint64_t data_size)
{
    uint64_t expected = 0;
    qsort(file->by_name, (size_t)file->n, sizeof *file->by_name, compare_places);
    for (int64_t i = 0; i < file->n; i++) {
        const struct entry *entry = file->by_name[i];
        if (entry->begin != expected)
            return fail(
                GLOW_EINVAL, "%s: %s before tensor \"%s\": its data begins at %llu, not %llu", path,
                entry->begin < expected ? "data overlaps" : "there is a hole", entry->tensor.name,
                (unsigned long long)entry->begin, (unsigned long long)expected);
        expected = entry->end;
    }
    if (expected != data_size)
        return fail(GLOW_EINVAL, "%s: %llu bytes at the end belong to no tensor", path,
                    (unsigned long long)(data_size - expected));
    qsort(file->by_name, (size_t)file->n, sizeof *file->by_name, compare_names);
    return GLOW_OK;
}

static glow_status read_metadata(struct safetensors *file, const char *path, json_t *texts)
{
    const char *key;
    json_t *value;
    if (!json_is_object(texts))
        return fail(GLOW_EINVAL, "%s: __metadata__ is not a table of texts", path);
    file->metadata = calloc(json_object_size(texts) + 1, sizeof *file->metadata);
    if (!file->metadata) return fail_memory(json_object_size(texts) * sizeof *file->metadata, path);
    json_object_foreach(texts, key, value)
    {
        if (!json_is_string(value))
            return fail(GLOW_EINVAL, "%s: metadata \"%s\" is not a text", path, key);
        file->metadata[file->n_metadata].key = key;
        file->metadata[file->n_metadata++].value = json_string_value(value);
    }
    return GLOW_OK;
}

static glow_status read_header(struct safetensors *file, const char *path)
{
    const unsigned char *bytes = file->view.bytes;
    uint64_t size;
    json_error_t error;
    const char *name;
    json_t *value;

    if (file->view.size < 8)
        return fail(GLOW_EINVAL, "%s: not a safetensors file: only %zu bytes long", path,
                    file->view.size);
    memcpy(&size, bytes, 8);
    if (size > MAX_HEADER || size > file->view.size - 8 || size < 2 || bytes[8] != '{')
        return fail(GLOW_EINVAL,
                    "%s: not a safetensors file, or one cut short: no header of %llu bytes in a "
                    "file of %zu",
                    path, (unsigned long long)size, file->view.size);
    file->header =
        json_loadb((const char *)bytes + 8, (size_t)size, JSON_REJECT_DUPLICATES, &error);
    if (!json_is_object(file->header))
        return fail(GLOW_EINVAL, "%s: bad header: %s (byte %d)", path, error.text,
                    error.position + 8);
    size_t n = json_object_size(file->header);
    uint64_t data_size = file->view.size - 8 - size;
    file->entries = calloc(n + 1, sizeof *file->entries);
    file->by_name = calloc(n + 1, sizeof *file->by_name);
    if (!file->entries || !file->by_name) return fail_memory(n * sizeof *file->entries, path);
    json_object_foreach(file->header, name, value)
    {
        if (strcmp(name, "__metadata__") == 0) {
            TRY(read_metadata(file, path, value));
            continue;
        }
        struct entry *entry = &file->entries[file->n];
        TRY(read_entry(entry, path, name, value, data_size));
        entry->tensor.data = bytes + 8 + size + entry->begin;
        file->by_name[file->n++] = entry;
    }
    return check_cover(file, path, data_size);
}

glow_status safetensors_open(struct safetensors **out, const char *path)
{
    *out = NULL;
    struct safetensors *file = calloc(1, sizeof *file);
    if (!file) return fail_memory(sizeof *file, path);
    glow_status status = file_map(&file->view, path);
    if (status == GLOW_OK) status = read_header(file, path);
    if (status == GLOW_OK)
        *out = file;
    else
        safetensors_close(file);
    return status;
}

void safetensors_close(struct safetensors *file)
{
    if (!file) return;
    file_unmap(&file->view);
    json_decref(file->header);
    free(file->entries);
    free(file->by_name);
    free(file->metadata);
    free(file);
}

int64_t safetensors_count(const struct safetensors *file) { return file->n; }

const struct safetensors_tensor *safetensors_at(const struct safetensors *file, int64_t i)
{
    return &file->entries[i].tensor;
}

const struct safetensors_tensor *safetensors_find(const struct safetensors *file, const char *name)
{
    struct entry key = { .tensor = { .name = name } };
    struct entry *probe = &key, **found;
    found = bsearch(&probe, file->by_name, (size_t)file->n, sizeof *file->by_name, compare_names);
    return found ? &(*found)->tensor : NULL;
}

const char *safetensors_metadata(const struct safetensors *file, const char *key)
{
    for (int64_t i = 0; i < file->n_metadata; i++)
        if (strcmp(file->metadata[i].key, key) == 0) return file->metadata[i].value;
    return NULL;
}

int64_t safetensors_metadata_count(const struct safetensors *file) { return file->n_metadata; }

const struct safetensors_text *safetensors_metadata_at(const struct safetensors *file, int64_t i)
{
    return &file->metadata[i];
}

/* dataset.c - what the dataset plug-ins share: messages, splits, shapes, hashes, files. */
#include "dataset.h"
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MESSAGE_SIZE = 2048 };

int32_t dataset_fail(const struct glow_self *self, int32_t code, const char *format, ...)
{
    char why[MESSAGE_SIZE];
    va_list args;
    va_start(args, format);
    vsnprintf(why, sizeof why, format, args);
    va_end(args);
    self->host->fail(self, why);
    return code;
}

int32_t dataset_fail_memory(const struct glow_self *self, size_t bytes)
{
    return dataset_fail(self, GLOW_ENOMEM, "out of memory: %zu bytes for the data set", bytes);
}

void dataset_log(const struct glow_self *self, int32_t level, const char *format, ...)
{
    char text[MESSAGE_SIZE];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    self->host->log(self, level, text);
}

int32_t dataset_split(const struct glow_self *self, const char *name, enum dataset_split *split)
{
    static const char *const known[] = { "train", "valid", "test" };
    for (int i = 0; i < 3; i++) {
        if (name && !strcmp(name, known[i])) {
            *split = (enum dataset_split)i;
            return GLOW_OK;
        }
    }
    return dataset_fail(self, GLOW_EINVAL, "no split \"%s\": expected train, valid or test",
                        name ? name : "");
}

const char *dataset_shape_text(const struct glow_type *type, char text[DATASET_SHAPE_TEXT])
{
    if (type->rank <= 0) return strcpy(text, "scalar");
    size_t at = 0;
    for (int32_t i = 0; i < type->rank && i < GLOW_MAX_RANK; i++)
        at += (size_t)snprintf(text + at, DATASET_SHAPE_TEXT - at, "%s%" PRId64, i ? "x" : "",
                               type->dim[i]);
    return text;
}

int32_t dataset_image_shape(const struct glow_self *self, const struct glow_type *want,
                            const struct image_shape *native, struct image_shape *shape,
                            struct glow_type *row)
{
    char text[DATASET_SHAPE_TEXT];
    memset(row, 0, sizeof *row);
    *shape = *native;
    if (want->rank == 1 && want->dim[0] == image_bytes(native)) {
        row->rank = 1;
        row->dim[0] = want->dim[0];
        return GLOW_OK;
    }
    if (want->rank == 3) {
        *shape = (struct image_shape){ want->dim[0], want->dim[1], want->dim[2] };
        bool sane = shape->height > 0 && shape->width > 0 && shape->height <= 1 << 14 &&
                    shape->width <= 1 << 14;
        if (!sane || (shape->channels != 1 && shape->channels != 3))
            return dataset_fail(self, GLOW_EINVAL,
                                "can't give images of %s (C x H x W): expected 1 or 3 channels and "
                                "sides of 1 to 16384",
                                dataset_shape_text(want, text));
    } else if (want->rank != 0) {
        return dataset_fail(self, GLOW_EINVAL,
                            "the model takes rows of %s, the images are %" PRId64 "x%" PRId64
                            "x%" PRId64 " (C x H x W): expected a shape of rank 3",
                            dataset_shape_text(want, text), native->channels, native->height,
                            native->width);
    }
    row->rank = 3;
    row->dim[0] = shape->channels;
    row->dim[1] = shape->height;
    row->dim[2] = shape->width;
    return GLOW_OK;
}

struct glow_column dataset_image_column(const struct glow_type *row)
{
    return (struct glow_column){ .name = "x",
                                 .unit = "intensity",
                                 .dtype = GLOW_U8,
                                 .role = GLOW_ROLE_X,
                                 .type = *row,
                                 .lo = 0,
                                 .hi = 255 };
}

struct glow_column dataset_label_column(const char *const *names, uint32_t n_names)
{
    return (struct glow_column){ .name = "label",
                                 .names = names,
                                 .n_names = n_names,
                                 .dtype = GLOW_I32,
                                 .role = GLOW_ROLE_LABEL,
                                 .lo = 0,
                                 .hi = n_names ? n_names - 1 : 255 };
}

int32_t dataset_check_rows(const struct glow_self *self, const struct glow_data_read *request,
                           int64_t count)
{
    for (uint32_t i = 0; i < request->n; i++) {
        if (request->index[i] < 0 || request->index[i] >= count)
            return dataset_fail(self, GLOW_EINVAL, "row %" PRId64 " of %" PRId64, request->index[i],
                                count);
    }
    return GLOW_OK;
}

uint64_t dataset_hash(uint64_t hash, const void *bytes, size_t n)
{
    const uint8_t *p = bytes;
    for (size_t i = 0; i < n; i++) hash = (hash ^ p[i]) * 1099511628211u;
    return hash;
}

uint64_t dataset_hash_int(uint64_t hash, int64_t value)
{
    return dataset_hash(hash, &value, sizeof value);
}

/* With the terminating zero, so that "ab","c" and "a","bc" differ. */
uint64_t dataset_hash_text(uint64_t hash, const char *text)
{
    return dataset_hash(hash, text, strlen(text) + 1);
}

/* The finaliser of splitmix64: every bit of the result depends on every bit of the argument. */
uint64_t dataset_mix(uint64_t z)
{
    z += 0x9E3779B97F4A7C15u;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
}

char *dataset_path(const char *directory, const char *name)
{
    size_t n = strlen(directory), m = strlen(name);
    char *path = malloc(n + m + 2);
    if (!path) return NULL;
    bool slash = m && n && directory[n - 1] != '/';
    memcpy(path, directory, n);
    if (slash) path[n++] = '/';
    memcpy(path + n, name, m + 1);
    return path;
}

bool dataset_is_directory(const char *path)
{
    struct stat s;
    return stat(path, &s) == 0 && S_ISDIR(s.st_mode);
}

bool dataset_is_file(const char *path)
{
    struct stat s;
    return stat(path, &s) == 0 && S_ISREG(s.st_mode);
}

bool dataset_reserve(struct dataset_buffer *buffer, size_t size)
{
    if (size > buffer->capacity) {
        free(buffer->data);
        buffer->data = malloc(size);
        buffer->capacity = buffer->data ? size : 0;
    }
    buffer->size = buffer->data ? size : 0;
    return buffer->data || !size;
}

int dataset_slurp(const char *path, struct dataset_buffer *buffer)
{
    int error = 0, fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return errno;
    struct stat s;
    if (fstat(fd, &s) != 0) {
        error = errno;
    } else if (!S_ISREG(s.st_mode)) {
        error = EINVAL;
    } else if (!dataset_reserve(buffer, (size_t)s.st_size)) {
        error = ENOMEM;
    }
    for (size_t done = 0; !error && done < buffer->size;) {
        ssize_t got = read(fd, buffer->data + done, buffer->size - done);
        if (got > 0)
            done += (size_t)got;
        else if (got == 0)
            buffer->size = done; /* the file shrank meanwhile */
        else if (errno != EINTR)
            error = errno;
    }
    close(fd);
    return error;
}

bool dataset_names_add(struct dataset_names *list, const char *name)
{
    if (list->count == list->capacity) {
        int64_t capacity = list->capacity ? 2 * list->capacity : 64;
        char **grown = realloc(list->name, (size_t)capacity * sizeof *grown);
        if (!grown) return false;
        list->name = grown;
        list->capacity = capacity;
    }
    list->name[list->count] = strdup(name);
    return list->name[list->count] && ++list->count;
}

void dataset_names_free(struct dataset_names *list)
{
    for (int64_t i = 0; i < list->count; i++) free(list->name[i]);
    free(list->name);
    *list = (struct dataset_names){ 0 };
}

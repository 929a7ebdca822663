/* dataset.h - what the dataset plug-ins share: messages, splits, shapes, hashes, files. Compiled
 * into each of them; like them it needs glow/plugin.h alone, never the host. Functions that return
 * int32_t return GLOW_OK or GLOW_E* and have then reported why through host->fail. */
#ifndef DATASETS_DATASET_H
#define DATASETS_DATASET_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "glow/plugin.h"

#define TRY(expr)                                                                                  \
    do {                                                                                           \
        int32_t try_status_ = (expr);                                                              \
        if (try_status_ != GLOW_OK) return try_status_;                                            \
    } while (0)
/* The same in functions that clean up behind a label `out:` and return `status`. */
#define TRY_OUT(expr)                                                                              \
    do {                                                                                           \
        if ((status = (expr)) != GLOW_OK) goto out;                                                \
    } while (0)

/* Reports why a callback fails and returns code, so that `return dataset_fail(self, GLOW_EINVAL,
 * ...)`. */
int32_t dataset_fail(const struct glow_self *, int32_t code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
int32_t dataset_fail_memory(const struct glow_self *, size_t bytes);
/* A line in the log; level 0 info, 1 warning. */
void dataset_log(const struct glow_self *, int32_t level, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

enum dataset_split { DATASET_TRAIN = 0, DATASET_VALID = 1, DATASET_TEST = 2 };
int32_t dataset_split(const struct glow_self *, const char *name, enum dataset_split *);

/* The shape of an image row, planar (C,H,W). */
struct image_shape {
    int64_t channels, height, width;
};
static inline int64_t image_bytes(const struct image_shape *s)
{
    return s->channels * s->height * s->width;
}
/* "3x48x48", "2", "scalar": into text, which is returned. */
enum { DATASET_SHAPE_TEXT = 8 * 21 };
const char *dataset_shape_text(const struct glow_type *, char text[DATASET_SHAPE_TEXT]);
/* What to deliver to a model that takes `want` when the data are images of `native` shape: *shape
 * gets the wanted (C,H,W), or the native one when the model takes anything or a row (D) of exactly
 * that many values; *row gets the column's type. Refuses shapes that are no grey or RGB image. */
int32_t dataset_image_shape(const struct glow_self *, const struct glow_type *want,
                            const struct image_shape *native, struct image_shape *shape,
                            struct glow_type *row);
/* The column X of u8 images of a type. */
struct glow_column dataset_image_column(const struct glow_type *row);
/* The column of class labels, int32 scalars. names may be NULL. */
struct glow_column dataset_label_column(const char *const *names, uint32_t n_names);
/* Row numbers of a request lie in [0, count)? */
int32_t dataset_check_rows(const struct glow_self *, const struct glow_data_read *, int64_t count);

/* A running hash (FNV-1a) of bytes and numbers; start with DATASET_HASH, end with dataset_mix. */
#define DATASET_HASH 1469598103934665603u
uint64_t dataset_hash(uint64_t hash, const void *bytes, size_t n);
uint64_t dataset_hash_int(uint64_t hash, int64_t value);
uint64_t dataset_hash_text(uint64_t hash, const char *text);
uint64_t dataset_mix(uint64_t hash);

/* "directory/name" on the heap, NULL for want of memory; `directory` itself when name is "". */
char *dataset_path(const char *directory, const char *name);
bool dataset_is_directory(const char *path);
bool dataset_is_file(const char *path);

/* Bytes that grow and are used again. */
struct dataset_buffer {
    uint8_t *data;
    size_t size, capacity;
};
/* Makes room for `size` bytes; the content is lost when it grows. False for want of memory. */
bool dataset_reserve(struct dataset_buffer *, size_t size);
/* Reads a whole file; 0 or an errno. Nothing is reported: the caller knows whether that is an
 * error. */
int dataset_slurp(const char *path, struct dataset_buffer *);

/* A list of names on the heap. */
struct dataset_names {
    char **name;
    int64_t count, capacity;
};
bool dataset_names_add(struct dataset_names *, const char *name);
void dataset_names_free(struct dataset_names *);
#endif

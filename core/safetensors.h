/* safetensors.h - tensors in a file, in the safetensors format: 8 bytes with the length of a JSON
 * header (little-endian), the header {"__metadata__": {..}, "name": {"dtype", "shape",
 * "data_offsets"}, ..}, and the data. Any safetensors library reads what is written here. A file
 * that is damaged or hostile is an error, never a crash: the header is checked whole before a
 * tensor can be had. Format: github.com/huggingface/safetensors, README "Format". */
#ifndef CORE_SAFETENSORS_H
#define CORE_SAFETENSORS_H
#include "status.h"

#define SAFETENSORS_MAX_RANK 16

struct safetensors_tensor {
    const char *name;
    const char *dtype; /* "F32", "F64", "I64", "U8", ... as the format spells them */
    int32_t rank;
    int64_t dim[SAFETENSORS_MAX_RANK];
    const void *data; /* dense, C order. In files of others it may be unaligned */
    /* Of a tensor to write, unless NULL: makes C order of data that lies otherwise, as `layout`
     * says. */
    void (*unpack)(const struct safetensors_tensor *, void *to);
    const void *layout;
};
struct safetensors_text {
    const char *key, *value;
}; /* metadata; UTF-8 */

/* Bytes of one element, 0 for an unknown dtype; bytes of a tensor that was read or written. */
size_t safetensors_element(const char *dtype);
size_t safetensors_bytes(const struct safetensors_tensor *);

/* Writes a file, atomically (file.h). Data is aligned to its element size. */
glow_status safetensors_write(const char *path, const struct safetensors_tensor *tensors,
                              int64_t n_tensors, const struct safetensors_text *metadata,
                              int64_t n_metadata);

struct safetensors; /* an open file; its pages are read when they are touched */
glow_status safetensors_open(struct safetensors **, const char *path);
void safetensors_close(struct safetensors *);
/* Everything below lives until close. Tensors come in the order of the header. */
int64_t safetensors_count(const struct safetensors *);
const struct safetensors_tensor *safetensors_at(const struct safetensors *, int64_t i);
const struct safetensors_tensor *safetensors_find(const struct safetensors *, const char *name);
/* The value of a metadata key, or NULL. */
const char *safetensors_metadata(const struct safetensors *, const char *key);
int64_t safetensors_metadata_count(const struct safetensors *);
const struct safetensors_text *safetensors_metadata_at(const struct safetensors *, int64_t i);
#endif

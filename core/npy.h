/* npy.h - arrays in NumPy's .npy files: a magic, a Python dict with dtype and shape, the data in C
 * order. Written in version 1.0, atomically (file.h), at once or row by row. Format:
 * numpy.lib.format. */
#ifndef CORE_NPY_H
#define CORE_NPY_H
#include "file.h"

/* Element types are GLOW_U8, GLOW_I32, GLOW_I64, GLOW_F32 and GLOW_F64. */

/* Writes a whole array; rank 0 is a scalar. */
glow_status npy_write(const char *path, uint32_t dtype, int32_t rank, const int64_t *dim,
                      const void *data);

struct npy_writer; /* an array whose first axis grows; the header is written last */
/* rank and dim are those of ONE row: the array has one axis more. */
glow_status npy_create(struct npy_writer **, const char *path, uint32_t dtype, int32_t rank,
                       const int64_t *dim);
glow_status npy_append(struct npy_writer *, const void *rows, int64_t n);
/* Puts the file in its place; frees the writer, also on failure. */
glow_status npy_finish(struct npy_writer *);
/* Gives up, leaving what was there. NULL is allowed. */
void npy_discard(struct npy_writer *);

struct npy { /* an array that was opened for reading */
    uint32_t dtype;
    int32_t rank;
    int64_t dim[GLOW_MAX_RANK + 1];
    int64_t count;    /* elements */
    const void *data; /* lives until npy_close */
    struct file_view view;
};
/* Anything but a plain, little-endian, C-order array of the types above is an error that says what
 * was found. */
glow_status npy_open(struct npy *, const char *path);
void npy_close(struct npy *);
#endif

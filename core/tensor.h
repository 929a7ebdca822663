/* tensor.h - what a kernel sees: a typed, strided view of memory. The batch axis comes first, so a
 * batch of images is (N,C,H,W) and of rows (N,D); an unbatched tensor has dim[0] = 1. */
#ifndef CORE_TENSOR_H
#define CORE_TENSOR_H
#include <stddef.h>
#include <stdint.h>

struct packing;
enum dtype { DT_NONE = 0, DT_F32 = 1, DT_F64 = 2 };
#define MAX_DIMS 9 /* the batch axis and GLOW_MAX_RANK */

struct tensor {
    void *data;          /* NULL: an absent input or an unwanted output */
    int32_t dtype, rank; /* rank counts the batch axis: 1..9 */
    int64_t dim[MAX_DIMS];
    int64_t stride[MAX_DIMS];      /* in elements; 0 along a stretched axis */
    const struct packing *packing; /* weights of a chain kept in panels; NULL: strides hold */
};

static inline size_t dtype_size(int32_t dtype) { return dtype == DT_F64 ? 8 : 4; }
static inline int64_t tensor_count(const struct tensor *t)
{
    int64_t n = 1;
    for (int i = 0; i < t->rank; i++) n *= t->dim[i];
    return n;
}
/* Whether the elements lie in one run, in C order. */
static inline int tensor_is_dense(const struct tensor *t)
{
    int64_t expected = 1;
    for (int i = t->rank - 1; i >= 0; expected *= t->dim[i], i--)
        if (t->dim[i] > 1 && t->stride[i] != expected) return 0;
    return 1;
}
#endif

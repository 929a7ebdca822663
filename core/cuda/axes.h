/* axes.h - several tensors walked through in step: axes of size 1 go, and neighbours merge where
 * all tensors' strides allow it, so that most walks have one axis. Passed to kernels by value. */
#ifndef CORE_CUDA_AXES_H
#define CORE_CUDA_AXES_H
#include "launch.h"

template <int TENSORS> struct walk {
    int32_t rank, n; /* n tensors, at most TENSORS */
    int64_t count;
    int64_t dim[MAX_DIMS];
    int64_t stride[TENSORS][MAX_DIMS]; /* in elements; 0 along a stretched axis */
};
typedef walk<4> axes;

/* Over the shape of t[0]; the others broadcast to it: shapes are aligned at the right, the batch
 * axes at the left. */
template <int TENSORS = 4> static inline walk<TENSORS> axes_of(const struct tensor *const *t, int n)
{
    walk<TENSORS> a = {};
    a.n = n;
    a.count = 1;
    for (int i = 0; i < t[0]->rank; i++) {
        int64_t dim = t[0]->dim[i], stride[TENSORS];
        if (dim == 1) continue;
        bool merges = a.rank > 0;
        for (int k = 0; k < n; k++) {
            int own = i == 0 ? 0 : i - (t[0]->rank - t[k]->rank);
            bool absent = (i > 0 && own < 1) || t[k]->dim[own] == 1;
            stride[k] = absent ? 0 : t[k]->stride[own];
            merges = merges && a.stride[k][a.rank - 1] == stride[k] * dim;
        }
        int at = merges ? a.rank - 1 : a.rank++;
        a.dim[at] = merges ? a.dim[at] * dim : dim;
        for (int k = 0; k < n; k++) a.stride[k][at] = stride[k];
        a.count *= dim;
    }
    if (a.rank == 0) a.dim[a.rank++] = 1;
    return a;
}

/* The index along each axis of element i, axis 0 last. */
template <int TENSORS, class Visit>
__device__ static inline void axes_visit(const walk<TENSORS> &a, int64_t i, Visit visit)
{
    for (int axis = a.rank - 1; axis > 0; axis--) {
        int64_t rest =
            a.count <= INT32_MAX ? (int64_t)((uint32_t)i / (uint32_t)a.dim[axis]) : i / a.dim[axis];
        visit(axis, i - rest * a.dim[axis]);
        i = rest;
    }
    visit(0, i);
}

/* Where element i lies in the first N tensors. */
template <int N, int TENSORS>
__device__ static inline void axes_offsets(const walk<TENSORS> &a, int64_t i, int64_t *offset)
{
    for (int k = 0; k < N; k++) offset[k] = 0;
    axes_visit(a, i, [&](int axis, int64_t index) {
        for (int k = 0; k < N; k++) offset[k] += index * a.stride[k][axis];
    });
}
#endif

/* reduce.h - the order in which sums are added up, which fused.c shares with reduce.c. */
#ifndef CORE_CPU_ISA_REDUCE_H
#define CORE_CPU_ISA_REDUCE_H
#include "kernels.h"
#if defined(__AVX512F__)
#include <immintrin.h>
#endif

struct axes {
    int rank;
    int64_t dim[MAX_DIMS + 1], stride[MAX_DIMS + 1], count;
};

static inline int64_t axes_offset(const struct axes *a, int64_t index)
{
    int64_t offset = 0;
    for (int i = a->rank - 1; i >= 0; i--) {
        offset += index % a->dim[i] * a->stride[i];
        index /= a->dim[i];
    }
    return offset;
}

/* How a reduction is cut: the merged axes of the input, and parts of what is reduced. */
struct cut {
    struct axes kept, reduced;   /* kept in the order of the output */
    int64_t width, width_stride; /* the last axis, if it is kept, else 1: taken off `kept` */
    int64_t row, row_stride;     /* the last axis, if it is reduced, else 1: taken off `reduced` */
    int64_t parts;               /* of the reduced elements */
    int split;                   /* axis of `reduced` that is cut into parts; -1: the row is */
};
void NAME(reduce_cut)(struct cut *, const struct tensor *in, const struct tensor *out);
/* One part of what is reduced under a kept index: the axes and the row that are left; returns the
 * offset of its first element. */
int64_t NAME(reduce_part)(const struct cut *, int64_t part, int64_t kept, struct axes *over,
                          int64_t *row);

/* Numbers become f64 so many at a time. */
enum { SUM_LANES = VEC_BYTES / 8 };
typedef double sum_vec __attribute__((vector_size(VEC_BYTES), may_alias));
typedef real sum_part
    __attribute__((vector_size(SUM_LANES * sizeof(real)), aligned(sizeof(real)), may_alias));

ALWAYS_INLINE sum_vec load_sum(const real *p)
{
#if defined(__AVX512F__) && REAL_BITS == 32 /* GCC 12 makes two halves of it */
    return (sum_vec)_mm512_cvtps_pd(_mm256_loadu_ps(p));
#else
    return __builtin_convertvector(*(const sum_part *)p, sum_vec);
#endif
}

/* Element i of a row goes to lane i % ROW_LANES, row after row; the sum of the lanes, which change.
 */
enum { ROW_LANES = VEC_BYTES / 2 };
void NAME(reduce_row)(double *lane, const real *, int64_t n);
double NAME(reduce_lanes)(double *lane);
/* out[at] = x, in the type of out. */
void NAME(reduce_store)(const struct tensor *out, int64_t at, double x);
#endif

/* kernels.h - the kernels that the files of this directory define, and the table that hands them to
 * cpu.c. Every operation of ops.def with a kernel is NAME(kernel_OP), so one that is missing does
 * not link. A kernel that wants scratch also has NAME(scratch_OP), listed in SCRATCH_OPS.
 *
 * The tables of b16 hold only what multiplies bfloats, CONVOLUTION_OPS; those of f32 serve the
 * rest.
 *
 * Which type's table serves a step: that of its first input, or of its output where it has no
 * input. */
#ifndef CORE_CPU_ISA_KERNELS_H
#define CORE_CPU_ISA_KERNELS_H
#include "../../backend.h"
#include "../pool.h"

struct kernel_table {
    kernel_fn kernel[OP_COUNT];
    /* Bytes of scratch of a step, NULL: none. Sees shapes and strides only, must not depend on
     * data. */
    size_t (*scratch[OP_COUNT])(const struct step *, int threads);
    int64_t (*chain_hidden)(const struct step *, int i);
    void (*chain_packing)(const struct step *, int stage, struct packing *);
    void (*optim)(struct pool *, const struct optim_args *);
    double (*sum_squares)(struct pool *, const void *x, int64_t n);
    void (*ema)(struct pool *, void *average, const void *x, int64_t n, double decay);
    /* What host->random promises; in f64's table only. */
    void (*random_stream)(uint64_t seed, uint64_t stream, int32_t kind, double *out, int64_t n);
};

/* clang-format off */
#define SCRATCH_OPS(X)                                                                             \
    X(SUM) X(REDUCE_MAX) X(REDUCE_MIN) X(FUSED)         /* reduce, fused */                        \
    X(LU) X(LU_VJP) X(SLOGDET) X(INVERSE) X(CUSTOM)     /* linalg, custom */                       \
    X(MATC) X(MATC_DW) X(MATMUL)                        /* matmul */                               \
    CONVOLUTION_OPS(X)
#define CONVOLUTION_OPS(X)                                                                         \
    X(CONV) X(CONV_DX) X(CONV_DW)                       /* conv */                                 \
    X(CHAIN) X(CHAIN_VJP)                               /* chain */
/* clang-format on */

#ifdef ISA /* in the files of this directory */
#include "../isa.h"

#define KERNEL_LEAF(op)
#define KERNEL_VIEW(op)
#define KERNEL_FILL(op)               void NAME(kernel_##op)(const struct step *, struct run *);
#define KERNEL_ELEM(op)               void NAME(kernel_##op)(const struct step *, struct run *);
#define KERNEL_KERN(op)               void NAME(kernel_##op)(const struct step *, struct run *);
#define OP(name, text, class, layout) KERNEL_##class(name)
#include "../../ops.def"
#undef OP
#undef KERNEL_LEAF
#undef KERNEL_VIEW
#undef KERNEL_FILL
#undef KERNEL_ELEM
#undef KERNEL_KERN

#define SCRATCH(op) size_t NAME(scratch_##op)(const struct step *, int threads);
SCRATCH_OPS(SCRATCH)
#undef SCRATCH

int64_t NAME(chain_hidden)(const struct step *, int i);
void NAME(chain_packing)(const struct step *, int stage, struct packing *);
void NAME(optim)(struct pool *, const struct optim_args *);
double NAME(sum_squares)(struct pool *, const void *x, int64_t n);
void NAME(ema)(struct pool *, void *average, const void *x, int64_t n, double decay);
void NAME(random_stream)(uint64_t seed, uint64_t stream, int32_t kind, double *out, int64_t n);

extern const struct kernel_table NAME(kernel_table);
#endif
#endif

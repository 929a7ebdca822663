/* fused_code.h - chains of elementwise operations as programs of their own: text for NVRTC
 * (fused_code.c), and what came of compiling it (fused_compile.c). */
#ifndef CORE_CUDA_FUSED_CODE_H
#define CORE_CUDA_FUSED_CODE_H
#include "cuda.h"
#ifdef __cplusplus
extern "C" {
#endif

/* The walk over the operands, axes merged (axes.h), and how sums over samples are cut. */
struct fused_shape {
    int32_t rank, sums; /* sums: whether there are any */
    int64_t count, samples, parts;
    int64_t dim[MAX_DIMS];
    int64_t stride[FUSED_INPUTS][MAX_DIMS]; /* of the step's inputs */
};

/* What a compiled chain is called with. */
struct fused_operands {
    const void *in[FUSED_INPUTS];
    void *out[FUSED_OUTPUTS];
    double *partial;
};

/* C++ of a kernel `chain(struct fused_operands)` for a step, to be freed; NULL: no memory. Blocks
 * and sums are those of the interpreter in fused.cu, to the bit. */
char *fused_text(const struct step *, const struct fused_shape *);

/* Compiles the chain if it is worth it and NVRTC is there, and keeps it; before any step runs. */
void fused_prepare(const struct engine *, const struct step *, const struct fused_shape *);
/* The kernel that came of it, or NULL. */
cudaKernel_t fused_find(const struct engine *, const struct step *, const struct fused_shape *);
cudaError_t fused_launch(cudaKernel_t, const unsigned grid[2], unsigned block,
                         const struct fused_operands *, cudaStream_t);
#ifdef __cplusplus
}
#endif
#endif

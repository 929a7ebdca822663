/* launch.h - what a .cu file includes first: CUDA's own words under nvcc, those of the emulator
 * (tests/cuda/emulator.h) where the same file is compiled for the CPU. Kernels start through
 * CU_LAUNCH(kernel, grid, block, shared bytes, stream, arguments...) and take dynamic shared memory
 * through CU_DYN_SHARED(type, name). */
#ifndef CORE_CUDA_LAUNCH_H
#define CORE_CUDA_LAUNCH_H
#ifdef CUDA_EMULATOR
#include "emulator.h"
#else
#include <cuda_runtime.h>
#define CU_LAUNCH(kernel, grid, block, shared, stream, ...)                                        \
    kernel<<<(grid), (block), (shared), (stream)>>>(__VA_ARGS__)
#define CU_DYN_SHARED(type, name) extern __shared__ type name[]
#endif
#include <math.h>
#include "cuda.h"

enum { BLOCK = 256 }; /* threads, where nothing speaks for another number */

static inline int64_t divide_up(int64_t a, int64_t b) { return (a + b - 1) / b; }
static inline int64_t min_int(int64_t a, int64_t b) { return a < b ? a : b; }
static inline int64_t max_int(int64_t a, int64_t b) { return a > b ? a : b; }
/* Blocks for n threads; kernels walk on in strides of the whole grid. */
static inline unsigned grid_for(int64_t n)
{
    return (unsigned)max_int(1, min_int(divide_up(n, BLOCK), 65535));
}
/* Their threads: few where n is small. */
static inline unsigned block_for(int64_t n)
{
    unsigned threads = 32;
    while (threads < BLOCK && threads < n) threads *= 2;
    return threads;
}
/* The first element of this thread and the distance of its next. */
#define FIRST_ELEMENT ((int64_t)blockIdx.x * blockDim.x + threadIdx.x)
#define NEXT_ELEMENT  ((int64_t)gridDim.x * blockDim.x)
#endif

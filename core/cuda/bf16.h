/* bf16.h - numbers of 16 bits, the upper half of an f32: stored so, computed with as f32. From an
 * f32 to the nearest, halves to even, on every card and on the emulator alike. */
#ifndef CORE_CUDA_BF16_H
#define CORE_CUDA_BF16_H
#include <string.h>
#include "launch.h"

struct bf16 {
    uint16_t bits;

    bf16() = default;
    __host__ __device__ explicit bf16(float x)
    {
        uint32_t u;
        memcpy(&u, &x, sizeof u);
        bits = x != x ? 0x7fff : (uint16_t)((u + 0x7fff + (u >> 16 & 1)) >> 16);
    }
    __host__ __device__ operator float() const
    {
        uint32_t u = (uint32_t)bits << 16;
        float x;
        memcpy(&x, &u, sizeof x);
        return x;
    }
};
#endif

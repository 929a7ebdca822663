/* element.h - the elementwise operations of element_table.h as functions. What alone or fused
 * kernels make of an element is the same. */
#ifndef CORE_CUDA_ELEMENT_H
#define CORE_CUDA_ELEMENT_H
#include "element_table.h"
#include "launch.h"

ELEMENT_HELPERS(__device__ static inline)

#define ELEMENT_FUNCTION(op, operands, result)                                                     \
    struct element_##op {                                                                          \
        template <class T> __device__ static T apply(T x, T y, T z)                                \
        {                                                                                          \
            (void)x;                                                                               \
            (void)y;                                                                               \
            (void)z;                                                                               \
            return result;                                                                         \
        }                                                                                          \
    };
ELEMENTS(ELEMENT_FUNCTION)
#undef ELEMENT_FUNCTION
#endif

/* isa.h - what the kernel files in isa/ see. Each of them is compiled once per instruction set and
 * real type, with -DISA=base|avx2|avx512 and -DREAL_BITS=32|64 and the flags that local.mk lists.
 * They use `real`, vectors of it, and NAME() around every symbol that leaves the file.
 * Convolutions are compiled once more, for real = float, with -DBF16: the numbers that products
 * multiply have 16 bits then (word.h).
 *
 * Two ways to be fast, in this order: a plain loop over contiguous memory marked INDEPENDENT, which
 * the compiler vectorises; or GCC/clang vectors, where the registers matter (products). */
#ifndef CORE_CPU_ISA_H
#define CORE_CPU_ISA_H
#include "../tensor.h"

#if REAL_BITS == 64
typedef double real;
typedef int64_t real_int; /* an integer of the same size: bits, masks */
#define REAL_DTYPE DT_F64
#else
typedef float real;
typedef int32_t real_int;
#define REAL_DTYPE DT_F32
#endif

/* NAME(x) is x_avx2_f32 and the like. */
#if defined(BF16)
#define TYPE_NAME b16
#elif REAL_BITS == 64
#define TYPE_NAME f64
#else
#define TYPE_NAME f32
#endif
#define NAME_JOIN(x, isa, type)   x##_##isa##_##type
#define NAME_EXPAND(x, isa, type) NAME_JOIN(x, isa, type)
#define NAME(x)                   NAME_EXPAND(x, ISA, TYPE_NAME)

#if defined(__AVX512F__)
#define VEC_BYTES     64
#define VEC_REGISTERS 32
#elif defined(__AVX2__)
#define VEC_BYTES     32
#define VEC_REGISTERS 16
#elif defined(__x86_64__) || defined(__i386__)
#define VEC_BYTES     16
#define VEC_REGISTERS 16
#else
#define VEC_BYTES     16
#define VEC_REGISTERS 32 /* AArch64, POWER, RISC-V */
#endif
#define LANES (VEC_BYTES / (int)sizeof(real))

typedef real vec __attribute__((vector_size(VEC_BYTES)));
typedef real vec_unaligned
    __attribute__((vector_size(VEC_BYTES), aligned(sizeof(real)), may_alias));
typedef real_int vec_int
    __attribute__((vector_size(VEC_BYTES))); /* what comparing two vec gives: 0 or -1 */

#define ALWAYS_INLINE static inline __attribute__((always_inline))

ALWAYS_INLINE vec vec_load(const real *p) { return *(const vec_unaligned *)p; }
ALWAYS_INLINE void vec_store(real *p, vec v) { *(vec_unaligned *)p = v; }
ALWAYS_INLINE vec vec_splat(real x) { return x - (vec){ 0 }; }
/* mask ? a : b, lane by lane; the mask comes from a comparison. */
ALWAYS_INLINE vec vec_select(vec_int mask, vec a, vec b)
{
    return (vec)(((vec_int)a & mask) | ((vec_int)b & ~mask));
}

/* Stands before a loop whose iterations do not depend on each other, though two of its pointers may
 * be equal (work in place). */
#if defined(__clang__)
#define INDEPENDENT _Pragma("clang loop vectorize(assume_safety) interleave(enable)")
#else
#define INDEPENDENT _Pragma("GCC ivdep")
#endif

ALWAYS_INLINE int64_t min_int(int64_t a, int64_t b) { return a < b ? a : b; }
ALWAYS_INLINE int64_t max_int(int64_t a, int64_t b) { return a > b ? a : b; }
ALWAYS_INLINE int64_t divide_up(int64_t a, int64_t b) { return (a + b - 1) / b; }
#endif

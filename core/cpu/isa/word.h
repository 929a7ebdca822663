/* word.h - what products multiply: words of the size of a real. A word is one real, or, where BF16
 * is defined, a pair of bfloats (the upper 16 bits of a float) that follow each other along the
 * depth of the product, the first in the lower half:  sum += a0 b0 + a1 b1  in one step, added up
 * in float.
 *
 * Processors with AVX512-BF16 have instructions for this; elsewhere the halves are moved up into
 * floats, so that bf16 runs, if not faster, everywhere. */
#ifndef CORE_CPU_ISA_WORD_H
#define CORE_CPU_ISA_WORD_H
#include "../isa.h"

#ifndef BF16
#define PER_WORD 1
typedef real word;
typedef vec vec_word;
typedef vec_unaligned vec_word_unaligned;
#else
#define PER_WORD 2
typedef uint32_t word __attribute__((may_alias));
typedef uint32_t vec_word __attribute__((vector_size(VEC_BYTES)));
typedef uint32_t vec_word_unaligned
    __attribute__((vector_size(VEC_BYTES), aligned(sizeof(word)), may_alias));
#endif

ALWAYS_INLINE vec_word word_load(const word *p) { return *(const vec_word_unaligned *)p; }
ALWAYS_INLINE void word_store(word *p, vec_word v) { *(vec_word_unaligned *)p = v; }
ALWAYS_INLINE vec_word word_splat(word x) { return x - (vec_word){ 0 }; }

#ifndef BF16
ALWAYS_INLINE vec word_multiply_add(vec sum, vec_word a, vec_word b) { return sum + a * b; }
#else
typedef uint16_t vec_half __attribute__((vector_size(VEC_BYTES / 2), aligned(2), may_alias));

/* The first and the second number of each word. */
ALWAYS_INLINE vec word_first(vec_word x) { return (vec)(x << 16); }
ALWAYS_INLINE vec word_second(vec_word x) { return (vec)(x & 0xffff0000); }

#ifdef __AVX512BF16__
#include <immintrin.h>
ALWAYS_INLINE vec word_multiply_add(vec sum, vec_word a, vec_word b)
{
    return (vec)_mm512_dpbf16_ps((__m512)sum, (__m512bh)a, (__m512bh)b);
}
/* Words (first, second), rounded to nearest even. */
ALWAYS_INLINE vec_word word_pair(vec first, vec second)
{
    const __m512i halves = (__m512i)_mm512_cvtne2ps_pbh((__m512)second, (__m512)first);
    const __m512i turn =
        _mm512_set_epi16(31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24, 8, 23, 7, 22, 6,
                         21, 5, 20, 4, 19, 3, 18, 2, 17, 1, 16, 0);
    return (vec_word)_mm512_permutexvar_epi16(turn, halves);
}
/* n vectors of numbers, 1 or 2, rounded and one behind the other. */
ALWAYS_INLINE void word_store_row(word *to, const vec x[2], const int n)
{
    if (n == 2)
        _mm512_storeu_si512(to, (__m512i)_mm512_cvtne2ps_pbh((__m512)x[1], (__m512)x[0]));
    else
        _mm256_storeu_si256((__m256i *)to, (__m256i)_mm512_cvtneps_pbh((__m512)x[0]));
}
/* Number v LANES .. of a row that word_store_row wrote. */
ALWAYS_INLINE vec word_load_row(const word *from, const int v)
{
    const __m256i half = _mm256_loadu_si256((const __m256i *)from + v);
    return (vec)_mm512_slli_epi32(_mm512_cvtepu16_epi32(half), 16);
}
#else
ALWAYS_INLINE vec word_multiply_add(vec sum, vec_word a, vec_word b)
{
    sum += word_second(a) * word_second(b);
    return sum + word_first(a) * word_first(b);
}
/* The bfloat in the upper half, rounded to nearest even; a NaN stays one. */
ALWAYS_INLINE vec_word word_round(vec x)
{
    const vec_word bits = (vec_word)x, number = (vec_word)(x == x);
    return (number & (bits + 0x7fff + (bits >> 16 & 1))) | (~number & (bits | 0x400000));
}
ALWAYS_INLINE vec_word word_pair(vec first, vec second)
{
    return word_round(first) >> 16 | (word_round(second) & 0xffff0000);
}
ALWAYS_INLINE void word_store_row(word *to, const vec x[2], const int n)
{
    vec_half *half = (vec_half *)(void *)to;
    for (int v = 0; v < n; v++) half[v] = __builtin_convertvector(word_round(x[v]) >> 16, vec_half);
}
ALWAYS_INLINE vec word_load_row(const word *from, const int v)
{
    const vec_half half = ((const vec_half *)(const void *)from)[v];
    return (vec)(__builtin_convertvector(half, vec_word) << 16);
}
#endif
#endif

/* A number as a product sees it. */
ALWAYS_INLINE vec word_rounded(vec x)
{
#ifdef BF16
    x = word_first(word_pair(x, x));
#endif
    return x;
}
#endif

/* real_math.h - elementary functions of one real, written so that a loop over them vectorises: no
 * branches and no calls in f32. In f64, where only checks run, they are those of libm.
 *
 * f32: argument reduction and polynomials as in Cephes (S. Moshier). Largest errors, in ulp, over
 * one float in eleven, with or without FMA: exp 1.0, log 0.8, expm1 1.6, log1p 0.9, sigmoid 2.4,
 * log_sigmoid and softplus 1.7, tanh 2.5. NaN, infinities, overflow and denormals give what the
 * exact functions give. */
#ifndef CORE_CPU_ISA_REAL_MATH_H
#define CORE_CPU_ISA_REAL_MATH_H
#include <math.h>
#include <string.h>
#include "../isa.h"

#if REAL_BITS == 64

#define real_abs   fabs
#define real_sqrt  sqrt
#define real_floor floor
#define real_sin   sin
#define real_cos   cos
#define real_pow   pow
#define real_exp   exp
#define real_log   log
#define real_expm1 expm1
#define real_log1p log1p
#define real_tanh  tanh

#else

#define real_abs   fabsf
#define real_sqrt  sqrtf
#define real_floor floorf
#define real_sin   sinf
#define real_cos   cosf
#define real_pow   powf

ALWAYS_INLINE uint32_t bits_of(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

ALWAYS_INLINE float float_of(uint32_t bits)
{
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

/* x = n ln 2 + r with |r| <= ln 2 / 2. Adding 1.5 * 2^23 rounds to an integer and leaves it in the
 * low bits. ln 2 is split so that n times its upper part is exact. */
struct reduced {
    float r;
    uint32_t n;
};

ALWAYS_INLINE struct reduced reduce_by_ln2(float x)
{
    const float rounder = 12582912.0f;
    float shifted = x * 1.44269504f + rounder;
    float n = shifted - rounder;
    float r = x - n * 0.693359375f;
    return (struct reduced){ r - n * -2.12194440e-4f, bits_of(shifted) - bits_of(rounder) };
}

/* 2^n, -126 <= n <= 127 */
ALWAYS_INLINE float power_of_two(uint32_t n) { return float_of((n + 127u) << 23); }

/* (exp(r) - 1 - r) / r^2, |r| <= ln 2 / 2 */
ALWAYS_INLINE float exp_polynomial(float r)
{
    float p = 1.9875691500e-4f;
    p = p * r + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    return p * r + 5.0000001201e-1f;
}

ALWAYS_INLINE float real_exp(float x)
{
    x = x > 89.0f ? 89.0f : x; /* beyond these it is inf and 0 anyway; NaN passes */
    x = x < -104.0f ? -104.0f : x;
    struct reduced e = reduce_by_ln2(x);
    float y = exp_polynomial(e.r) * (e.r * e.r) + e.r + 1.0f;
    uint32_t half = (uint32_t)((int32_t)e.n >> 1); /* in two factors: 2^n itself may overflow */
    return y * power_of_two(half) * power_of_two(e.n - half);
}

ALWAYS_INLINE float real_expm1(float x)
{
    x = x > 89.0f ? 89.0f : x;
    float clamped = x < -20.0f ? -20.0f : x;
    struct reduced e = reduce_by_ln2(clamped);
    float y = exp_polynomial(e.r) * (e.r * e.r) + e.r;
    uint32_t half = (uint32_t)((int32_t)e.n >> 1);
    float a = power_of_two(half), b = power_of_two(e.n - half);
    return (y * a + (a - power_of_two(half - e.n))) * b; /* (y + 1) 2^n - 1 */
}

/* log(x) + c, for the c that log1p adds; x normal and positive, else see the callers. */
ALWAYS_INLINE float log_normal(float x, float exponent, float c)
{
    /* x = m 2^k, sqrt(1/2) <= m < sqrt(2) */
    uint32_t k = (bits_of(x) - 0x3F3504F3u) & 0xFF800000u;
    float m = float_of(bits_of(x) - k) - 1.0f;
    exponent += (float)((int32_t)k >> 23);
    float square = m * m, p = 7.0376836292e-2f;
    p = p * m - 1.1514610310e-1f;
    p = p * m + 1.1676998740e-1f;
    p = p * m - 1.2420140846e-1f;
    p = p * m + 1.4249322787e-1f;
    p = p * m - 1.6668057665e-1f;
    p = p * m + 2.0000714765e-1f;
    p = p * m - 2.4999993993e-1f;
    p = p * m + 3.3333331174e-1f;
    float tail = p * m * square + (exponent * -2.12194440e-4f + c);
    return exponent * 0.693359375f + (m + (tail - 0.5f * square));
}

/* What log gives outside the positive finite numbers; y is what it gives inside. */
ALWAYS_INLINE float log_edges(float x, float y)
{
    y = x > 3.402823466e38f ? x : y;
    y = x == 0.0f ? -INFINITY : y;
    return x >= 0.0f ? y : NAN;
}

ALWAYS_INLINE float real_log(float x)
{
    int tiny = x < 1.17549435e-38f;
    float scaled = tiny ? x * 8388608.0f : x;
    return log_edges(x, log_normal(scaled, tiny ? -23.0f : 0.0f, 0.0f));
}

/* log(u) + (x - (u - 1)) / u with u = 1 + x rounded */
ALWAYS_INLINE float log1p_inside(float x)
{
    float u = 1.0f + x;
    float lost = x < 1.0f ? x - (u - 1.0f) : 1.0f - (u - x);
    return log_normal(u, 0.0f, lost / u);
}

ALWAYS_INLINE float real_log1p(float x)
{
    float y = log1p_inside(x);
    y = x == 0.0f ? x : y; /* keeps -0 */
    y = x > 3.402823466e38f ? x : y;
    y = x == -1.0f ? -INFINITY : y;
    return x >= -1.0f ? y : NAN;
}

/* tanh |x| = (e - 1) / (e + 1), e = exp(2 |x|) */
ALWAYS_INLINE float real_tanh(float x)
{
    float size = fabsf(x);
    size = size > 10.0f ? 10.0f : size; /* tanh is 1 from 9.02 on */
    float e = real_expm1(2.0f * size);
    return copysignf(e / (e + 2.0f), x);
}

#endif

/* 1 / (1 + exp(-x)), by the exponential of -|x|, which can't overflow */
ALWAYS_INLINE real real_sigmoid(real x)
{
    real e = real_exp(-real_abs(x));
    return (x < 0 ? e : 1) / (1 + e);
}

/* log(1 + exp(-|x|)) */
ALWAYS_INLINE real softplus_tail(real x)
{
    real e = real_exp(-real_abs(x));
#if REAL_BITS == 64
    return log1p(e);
#else
    return log1p_inside(e);
#endif
}
ALWAYS_INLINE real real_log_sigmoid(real x) { return (x < 0 ? x : 0) - softplus_tail(x); }
ALWAYS_INLINE real real_softplus(real x) { return (x > 0 ? x : 0) + softplus_tail(x); }
#endif

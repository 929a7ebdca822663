/* real_math.h - elementary functions of one real, written so that a loop over them vectorises: no
 * branches and no calls.
 *
 * f32: argument reduction and polynomials as in Cephes (S. Moshier); sin, cos and pow by the series
 * in f64. Largest errors, in ulp, with or without FMA: exp 1.0, log 0.8, expm1 1.6, log1p 0.9,
 * sigmoid 2.4, log_sigmoid and softplus 1.7, tanh 2.5, sin, cos and pow 0.6.
 * f64: exp 1.0, log 0.9, sin and cos 0.9, by series.h; the others, which only checks need, are
 * those of libm, and do not vectorise. NaN, infinities, overflow and denormals give what the exact
 * functions give. tests/test_kernels.c holds all of them to this. */
#ifndef CORE_CPU_ISA_REAL_MATH_H
#define CORE_CPU_ISA_REAL_MATH_H
#include <float.h>
#include <math.h>
#include "../../series.h"
#include "../isa.h"

/* ---------------------------------------------------------------- in f64, for both types */

/* The integer nearest to x, |x| < 2^51: adding 1.5 * 2^52 rounds, and leaves it in the low bits. */
struct nearest {
    double value;
    uint64_t bits; /* two's complement, in the low bits */
};
ALWAYS_INLINE struct nearest nearest(double x)
{
    const double rounder = 6755399441055744.0;
    double shifted = x + rounder;
    return (struct nearest){ shifted - rounder, series_bits(shifted) };
}

/* Sines hold only where |x| <= FAR; elementwise.c has others computed one by one. */
#define FAR 1e6
/* sin or cos by the number of quarters that x is reduced by, cos(x) = sin(x + 1 quarter). */
ALWAYS_INLINE double in_quarter(uint64_t quarter, double s, double c)
{
    double y = quarter & 1 ? c : s;
    return quarter & 2 ? -y : y;
}

/* What log gives outside the positive finite numbers; y is what it gives inside. */
ALWAYS_INLINE real log_edges(real x, real y)
{
    y = x > (REAL_BITS == 64 ? (real)DBL_MAX : (real)FLT_MAX) ? x : y;
    y = x == 0 ? -(real)INFINITY : y;
    return x >= 0 ? y : (real)NAN;
}

#if REAL_BITS == 64

#define real_abs      fabs
#define real_sqrt     sqrt
#define real_floor    floor
#define real_far_sin  sin
#define real_far_cos  cos
#define real_copysign copysign
#define real_pow      pow
#define real_expm1    expm1
#define real_log1p    log1p
#define real_tanh     tanh
#define log1p_inside  log1p

/* x less n quarters, pi / 2 being in three parts, the first two of 33 bits: as if in f128. */
ALWAYS_INLINE double turned(double x, uint64_t more_quarters)
{
    struct nearest n = nearest(x * 6.36619772367581382433e-01);
    double first = x - n.value * 1.57079632673412561417e+00;
    double part = n.value * 6.07710050630396597660e-11, second = first - part;
    double low = n.value * 2.02226624879595063154e-21 - ((first - second) - part);
    double t = second - low, rest = (second - t) - low;
    return in_quarter(n.bits + more_quarters, series_sin(t, rest), series_cos(t, rest));
}
ALWAYS_INLINE double real_sin(double x) { return turned(x, 0); }
ALWAYS_INLINE double real_cos(double x) { return turned(x, 1); }

ALWAYS_INLINE double real_exp(double x)
{
    x = x > 710 ? 710 : x; /* beyond these it is inf and 0 anyway; NaN passes */
    x = x < -746 ? -746 : x;
    struct nearest n = nearest(x * 1.44269504088896340736);
    double r = x - n.value * 6.93147180369123816490e-01 - n.value * 1.90821492927058770002e-10;
    double y = 1 + (r + series_exp(r));
    /* 2^n in two factors: itself it may overflow. The low bits are n + 2048. */
    uint64_t power = n.bits - series_bits(6755399441055744.0) + 2048, half = power >> 1;
    return y * series_number((half - 1) << 52) * series_number((power - half - 1) << 52);
}

ALWAYS_INLINE double real_log(double x)
{
    int tiny = x < DBL_MIN;
    struct series_split a = series_split(tiny ? x * 18014398509481984.0 : x);
    return log_edges(x, series_log(a.m - 1, tiny ? a.k - 54 : a.k));
}

#else

#define real_abs      fabsf
#define real_sqrt     sqrtf
#define real_floor    floorf
#define real_far_sin  sinf
#define real_far_cos  cosf
#define real_copysign copysignf

/* In f64, with series as short as f32 allows (S. Nagy, ARM optimized routines, 2018). */
ALWAYS_INLINE float turned(float x, uint64_t more_quarters)
{
    struct nearest n = nearest((double)x * 6.36619772367581382433e-01);
    double t =
        ((double)x - n.value * 1.57079632673412561417e+00) - n.value * 6.07710050650619224932e-11;
    double z = t * t, s = -0x1.994eb3774cf24p-13, c = 0x1.99343027bf8c3p-16;
    s = s * z + 0x1.1107605230bc4p-7;
    s = s * z - 0x1.555545995a603p-3;
    c = c * z - 0x1.6c087e89a359dp-10;
    c = c * z + 0x1.55553e1068f19p-5;
    c = c * z - 0x1.ffffffd0c621cp-2;
    return (float)in_quarter(n.bits + more_quarters, t + t * z * s, 1 + z * c);
}
ALWAYS_INLINE float real_sin(float x) { return turned(x, 0); }
ALWAYS_INLINE float real_cos(float x) { return turned(x, 1); }

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

/* condition ? a : b, by masks: of ?: the compiler makes a branch around all that a branch may save,
 * and does not vectorise. */
ALWAYS_INLINE float choose(int condition, float a, float b)
{
    const uint32_t mask = -(uint32_t)condition;
    return float_of((bits_of(a) & mask) | (bits_of(b) & ~mask));
}

/* exp(x), |x| < 700, in f64 for f32 */
ALWAYS_INLINE double short_exp(double x)
{
    struct nearest n = nearest(x * 1.44269504088896340736);
    double r = x - n.value * 6.93147180559945309417e-01, p = 1.0 / 5040;
    p = p * r + 1.0 / 720;
    p = p * r + 1.0 / 120;
    p = p * r + 1.0 / 24;
    p = p * r + 1.0 / 6;
    p = p * r + 0.5;
    return (1 + (r + p * r * r)) * series_number((n.bits + 1023) << 52);
}

#if VEC_BYTES == 16 /* two doubles at a time: libm is faster */
#define real_pow powf
#else
/* exp(y log|x|) in f64, with the sign and the exceptions of C's pow. */
ALWAYS_INLINE float real_pow(float x, float y)
{
    const float size = fabsf(x);
    const struct series_split a = series_split((double)size);
    const double exponent = (double)y * series_log(a.m - 1, a.k);
    const float e = (float)exponent, large = y > 0 ? (float)INFINITY : 0,
                tiny = y > 0 ? 0 : INFINITY;
    float power = (float)short_exp(exponent);
    power = choose(e > 89, INFINITY, power);
    power = choose(e < -104, 0, power);
    power = choose(size == 0, tiny, power);
    power = choose(size > FLT_MAX, large, power);
    power = choose((size == 1) & (fabsf(y) > FLT_MAX), 1, power);
    /* the sign of x if y is an odd integer; from 2^24 on all are even */
    const float small = choose(fabsf(y) < 16777216, y, 0);
    const int32_t whole = (int32_t)small;
    const int integer = (float)whole == small;
    power = float_of(bits_of(power) | (bits_of(x) & (uint32_t)whole << 31 & -(uint32_t)integer));
    power = choose((x < 0) & (x >= -FLT_MAX) & !integer, NAN, power);
    power = choose((x != x) | (y != y), x + y, power);
    return choose((x == 1) | (y == 0), 1, power);
}
#endif

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
    return log1p_inside(e);
}
ALWAYS_INLINE real real_log_sigmoid(real x) { return (x < 0 ? x : 0) - softplus_tail(x); }
ALWAYS_INLINE real real_softplus(real x) { return (x > 0 ? x : 0) + softplus_tail(x); }
#endif

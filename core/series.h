/* series.h - the series in f64 that elementary functions and normal numbers are made of: near
 * powers of two, near zero. No branches nor calls, so that loops over them vectorise. Coefficients
 * of log, sin and cos are those of fdlibm (Sun Microsystems, 1993), of exp Taylor's. */
#ifndef CORE_SERIES_H
#define CORE_SERIES_H
#include <stdint.h>
#include <string.h>

#ifdef __CUDACC__
#define SERIES_INLINE static __host__ __device__ __forceinline__
#else
#define SERIES_INLINE static inline __attribute__((always_inline)) /* or loops do not vectorise */
#endif

SERIES_INLINE double series_number(uint64_t bits)
{
    double x;
    memcpy(&x, &bits, sizeof x);
    return x;
}
SERIES_INLINE uint64_t series_bits(double x)
{
    uint64_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

/* x = m 2^k with sqrt(1/2) <= m < sqrt(2); x is positive and normal. */
struct series_split {
    double m, k;
};
SERIES_INLINE struct series_split series_split(double x)
{
    const uint64_t root = 0x3FE6A09E667F3BCDu, unit = 0x4330000000000000u; /* sqrt(1/2), 2^52 */
    uint64_t bits = series_bits(x);
    uint64_t above = bits - root + ((uint64_t)1024 << 52); /* k + 1024 in the exponent's place */
    double k = series_number(above >> 52 | unit) - (4503599627370496.0 + 1024);
    return (struct series_split){
        series_number(bits - ((above - ((uint64_t)1024 << 52)) & 0xFFF0000000000000u)), k
    };
}

/* k log 2 + log(1 + f), sqrt(1/2) <= 1 + f < sqrt(2): log(1 + f) = 2 atanh(f / (2 + f)). */
SERIES_INLINE double series_log(double f, double k)
{
    const double half = 0.5 * f * f, s = f / (2 + f), z = s * s;
    double p = 1.479819860511658591e-01;
    p = p * z + 1.531383769920937332e-01;
    p = p * z + 1.818357216161805012e-01;
    p = p * z + 2.222219843214978396e-01;
    p = p * z + 2.857142874366239149e-01;
    p = p * z + 3.999999999940941908e-01;
    p = p * z + 6.666666666666735130e-01;
    const double low = s * (half + p * z) + k * 1.90821492927058770002e-10;
    return k * 6.93147180369123816490e-01 - ((half - low) - f);
}

/* sin and cos of t + rest, |t| <= pi / 4, rest far smaller */
SERIES_INLINE double series_sin(double t, double rest)
{
    const double z = t * t;
    double p = 1.58969099521155010221e-10;
    p = p * z - 2.50507602534068634195e-08;
    p = p * z + 2.75573137070700676789e-06;
    p = p * z - 1.98412698298579493134e-04;
    p = p * z + 8.33333333332248946124e-03;
    const double v = z * t;
    return t - ((z * (0.5 * rest - v * p) - rest) - v * -1.66666666666666324348e-01);
}
SERIES_INLINE double series_cos(double t, double rest)
{
    const double z = t * t, half = 0.5 * z, w = 1 - half;
    double q = -1.13596475577881948265e-11;
    q = q * z + 2.08757232129817482790e-09;
    q = q * z - 2.75573143513906633035e-07;
    q = q * z + 2.48015872894767294178e-05;
    q = q * z - 1.38888888888741095749e-03;
    q = q * z + 4.16666666666666019037e-02;
    return w + ((1 - w - half) + (z * z * q - t * rest));
}

/* exp(r) - 1 - r, |r| <= log(2) / 2 */
SERIES_INLINE double series_exp(double r)
{
    double p = 1.0 / 6227020800;
    p = p * r + 1.0 / 479001600;
    p = p * r + 1.0 / 39916800;
    p = p * r + 1.0 / 3628800;
    p = p * r + 1.0 / 362880;
    p = p * r + 1.0 / 40320;
    p = p * r + 1.0 / 5040;
    p = p * r + 1.0 / 720;
    p = p * r + 1.0 / 120;
    p = p * r + 1.0 / 24;
    p = p * r + 1.0 / 6;
    p = p * r + 0.5;
    return p * r * r;
}
#endif

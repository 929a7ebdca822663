/* philox.h - counter-based random numbers: Philox4x32-10 (Salmon et al., "Parallel random numbers:
 * as easy as 1, 2, 3", SC 2011). A pure function of key and counter, so every draw is the same on
 * every processor, with any number of threads, and after a resume. Plain C, also compiled for CUDA
 * later. */
#ifndef CORE_PHILOX_H
#define CORE_PHILOX_H
#include <math.h>
#include <stdint.h>
#include "series.h"

enum { PHILOX_ROUNDS = 10 };
struct philox {
    uint32_t v[4];
};
struct philox_key {
    uint32_t v[2];
};

SERIES_INLINE struct philox philox_round(struct philox x, struct philox_key k)
{
    uint64_t a = (uint64_t)0xD2511F53u * x.v[0], b = (uint64_t)0xCD9E8D57u * x.v[2];
    return (struct philox){ { (uint32_t)(b >> 32) ^ x.v[1] ^ k.v[0], (uint32_t)b,
                              (uint32_t)(a >> 32) ^ x.v[3] ^ k.v[1], (uint32_t)a } };
}
SERIES_INLINE void philox_next_key(struct philox_key *k)
{
    k->v[0] += 0x9E3779B9u;
    k->v[1] += 0xBB67AE85u;
}
SERIES_INLINE struct philox philox(const uint32_t counter[4], const uint32_t key[2])
{
    struct philox x = { { counter[0], counter[1], counter[2], counter[3] } };
    struct philox_key k = { { key[0], key[1] } };
    for (int round = 0; round < PHILOX_ROUNDS; round++, philox_next_key(&k)) x = philox_round(x, k);
    return x;
}
/* [0,1), 24 bits: the same number in f32 and f64. */
SERIES_INLINE double philox_uniform(uint32_t v) { return (double)(v >> 8) * (1.0 / 16777216.0); }
/* log((a + 1/2) / 2^32), within 0.9 ulp. */
SERIES_INLINE double philox_log(uint32_t a)
{
    struct series_split x = series_split((double)(int32_t)(a ^ 0x80000000u) + 2147483648.5);
    return series_log(x.m - 1, x.k - 32);
}
/* sin and cos of b / 2^32 of a full turn, within 1.9 ulp: a whole number of quarters, which is
 * exact, and at most half a quarter more. */
SERIES_INLINE void philox_turn(uint32_t b, double *sine, double *cosine)
{
    const uint32_t quarter = (b + 0x20000000u) >> 30;
    const double t =
        (double)(int32_t)(b - (quarter << 30)) * (6.283185307179586476925 / 4294967296);
    const double s = series_sin(t, 0), c = series_cos(t, 0);
    const int odd = quarter & 1;
    const double size_sine = odd ? c : s, size_cosine = odd ? s : c;
    *sine = quarter & 2 ? -size_sine : size_sine;
    *cosine = (quarter + 1) & 2 ? -size_cosine : size_cosine;
}
/* Two independent N(0,1) from two words (Box-Muller), computed in f64. Compiled without fused
 * multiply-adds it is the same to the bit on every processor. */
SERIES_INLINE void philox_gauss(uint32_t a, uint32_t b, double out[2])
{
    double sine, cosine, r = sqrt(-2 * philox_log(a));
    philox_turn(b, &sine, &cosine);
    out[0] = r * cosine;
    out[1] = r * sine;
}
/* Mixes 64 bits (splitmix64's finaliser) and hashes a string (FNV-1a): keys of instances and slots.
 */
static inline uint64_t hash_mix(uint64_t z)
{
    z += 0x9E3779B97F4A7C15u;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
}
static inline uint64_t hash_string(const char *s)
{
    uint64_t h = 1469598103934665603u;
    for (; *s; s++) h = (h ^ (unsigned char)*s) * 1099511628211u;
    return h;
}
#endif

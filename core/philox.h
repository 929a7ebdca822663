/* philox.h - counter-based random numbers: Philox4x32-10 (Salmon et al., "Parallel random numbers:
 * as easy as 1, 2, 3", SC 2011). A pure function of key and counter, so every draw is the same on
 * every processor, with any number of threads, and after a resume. Plain C, also compiled for CUDA
 * later. */
#ifndef CORE_PHILOX_H
#define CORE_PHILOX_H
#include <math.h>
#include <stdint.h>

struct philox {
    uint32_t v[4];
};

static inline struct philox philox(const uint32_t counter[4], const uint32_t key[2])
{
    struct philox x = { { counter[0], counter[1], counter[2], counter[3] } };
    uint32_t k0 = key[0], k1 = key[1];
    for (int round = 0; round < 10; round++) {
        uint64_t a = (uint64_t)0xD2511F53u * x.v[0], b = (uint64_t)0xCD9E8D57u * x.v[2];
        struct philox y = { { (uint32_t)(b >> 32) ^ x.v[1] ^ k0, (uint32_t)b,
                              (uint32_t)(a >> 32) ^ x.v[3] ^ k1, (uint32_t)a } };
        x = y;
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    return x;
}
/* [0,1), 24 bits: the same number in f32 and f64. */
static inline double philox_uniform(uint32_t v) { return (double)(v >> 8) * (1.0 / 16777216.0); }
/* Two independent N(0,1) from two words (Box-Muller), computed in f64. */
static inline void philox_gauss(uint32_t a, uint32_t b, double out[2])
{
    double u = ((double)a + 0.5) * (1.0 / 4294967296.0),
           w = (double)b * (6.283185307179586476925 / 4294967296.0);
    double r = sqrt(-2.0 * log(u));
    out[0] = r * cos(w);
    out[1] = r * sin(w);
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

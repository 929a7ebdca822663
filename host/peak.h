/* peak.h - what the machine can do at most: fused multiply-adds that wait for nothing, copies. */
#ifndef HOST_PEAK_H
#define HOST_PEAK_H
#include <stdint.h>

/* GFLOP/s of `threads` threads at once with the instruction set of that name ("avx512bf16",
 * "avx512", "avx2", other: the compiler's baseline) for numbers of `bytes` bytes: 4, 8, or 2 for
 * products of bfloats, which are those of floats where there are no instructions for them. The best
 * of some bursts; 0 when it can't be measured. */
double peak_gflops(const char *kernels, int threads, int bytes);
/* GB/s that `threads` threads at once read and write, both counted, when they copy memory that no
 * cache holds; the best of some copies. 0 when it can't be measured. */
double peak_bandwidth(int threads);
#endif

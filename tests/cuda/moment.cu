/* moment.cu - the kernels of tests/plugins/moment.c: a block for each sample, dynamic shared
 * memory, scratch, an input that may be absent, outputs that may be unwanted. */
#include <stdint.h>
#ifndef CUDA_EMULATOR
#define CU_DYN_SHARED(type, name) extern __shared__ type name[]
#endif

/* x (n, length), w (length); m = r mean(w x), s = r mean(w x^2). scratch: (n, 2) */
template <class real>
static __device__ void moment(const real *x, const real *w, real *m, real *s, double *scratch,
                              int64_t length, double r)
{
    CU_DYN_SHARED(double, part); /* (2, threads) */
    unsigned thread = threadIdx.x, threads = blockDim.x;
    double first = 0, second = 0;
    x += blockIdx.x * length;
    scratch += 2 * (gridDim.x - 1 - blockIdx.x); /* backwards: it is no output's memory by chance */
    for (int64_t i = thread; i < length; i += threads) {
        double v = x[i], weighted = w ? w[i] * v : v;
        first += weighted;
        second += weighted * v;
    }
    part[thread] = first;
    part[threads + thread] = second;
    for (unsigned half = threads / 2; half > 0; half /= 2) {
        __syncthreads();
        if (thread < half) {
            part[thread] += part[thread + half];
            part[threads + thread] += part[threads + thread + half];
        }
    }
    if (thread == 0) {
        scratch[0] = r * part[0] / (double)length;
        scratch[1] = r * part[threads] / (double)length;
    }
    __syncthreads();
    if (thread == threads - 1 && m) m[blockIdx.x] = (real)scratch[0];
    if (thread == threads - 1 && s) s[blockIdx.x] = (real)scratch[1];
}

extern "C" __global__ void moment_f32(const float *x, const float *w, float *m, float *s,
                                      double *scratch, int64_t length, double r)
{
    moment<float>(x, w, m, s, scratch, length, r);
}

extern "C" __global__ void moment_f64(const double *x, const double *w, double *m, double *s,
                                      double *scratch, int64_t length, double r)
{
    moment<double>(x, w, m, s, scratch, length, r);
}

/* Not as plugin.h asks: a parameter of four bytes. */
extern "C" __global__ void moment_narrow(const float *x, const float *w, float *m, float *s,
                                         double *scratch, int length, double r)
{
    moment<float>(x, w, m, s, scratch, length, r);
}

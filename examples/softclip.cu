/* softclip.cu - the kernels of softclip.c for a GPU. Parameters are those that plugin.h states for
 * a kernel of an image: pointers to inputs and outputs (NULL where nobody wants one), the number of
 * elements of all samples, the attribute r.
 *
 *   nvcc -fatbin -arch=all-major softclip.cu -o softclip.fatbin */
#include <stdint.h>

template <class real>
static __device__ void softclip(const real *x, real *y, real *slope, int64_t n, real r)
{
    int64_t i = (int64_t)blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    real v = x[i], d = 1 / (1 + (v < 0 ? -v : v));
    if (y) y[i] = v * (r + (1 - r) * d);
    if (slope) slope[i] = r + (1 - r) * d * d;
}

extern "C" __global__ void softclip_f32(const float *x, float *y, float *slope, int64_t n, double r)
{
    softclip<float>(x, y, slope, n, (float)r);
}

extern "C" __global__ void softclip_f64(const double *x, double *y, double *slope, int64_t n,
                                        double r)
{
    softclip<double>(x, y, slope, n, r);
}

/* gemm.cu - products of matrices in memory with any strides, for operands that cuBLAS does not
 * take: stretched, reversed, every second column. Tiles of both operands go through shared memory.
 */
#include "launch.h"

enum { TILE = 16 };

template <class T>
__global__ void multiply_tiles(struct strided_product p, int64_t items, const T *a, const T *b,
                               T *c)
{
    __shared__ T left[TILE][TILE + 1], right[TILE][TILE + 1];
    int64_t row = (int64_t)blockIdx.x * TILE + threadIdx.y;
    int64_t column = (int64_t)blockIdx.y * TILE + threadIdx.x;
    for (int64_t item = blockIdx.z; item < items; item += gridDim.z) {
        const T *from_a = a, *from_b = b;
        int64_t rest = item;
        for (int i = p.n_axes - 1; i >= 0; i--) {
            from_a += rest % p.axis[i] * p.a_axis[i];
            from_b += rest % p.axis[i] * p.b_axis[i];
            rest /= p.axis[i];
        }
        double sum = 0;
        for (int64_t k = 0; k < p.depth; k += TILE) {
            int64_t ka = k + threadIdx.x, kb = k + threadIdx.y;
            left[threadIdx.y][threadIdx.x] =
                row < p.rows && ka < p.depth ? from_a[row * p.a_row + ka * p.a_column] : T(0);
            right[threadIdx.y][threadIdx.x] = column < p.columns && kb < p.depth
                                                  ? from_b[kb * p.b_row + column * p.b_column]
                                                  : T(0);
            __syncthreads();
            T part = 0;
            for (int i = 0; i < TILE; i++) part += left[threadIdx.y][i] * right[i][threadIdx.x];
            sum += (double)part;
            __syncthreads();
        }
        if (row < p.rows && column < p.columns)
            c[(item * p.rows + row) * p.columns + column] = (T)sum;
    }
}

extern "C" void strided_product_run(const struct strided_product *p, struct run *run)
{
    int64_t items = 1;
    for (int i = 0; i < p->n_axes; i++) items *= p->axis[i];
    dim3 block(TILE, TILE);
    dim3 grid((unsigned)divide_up(p->rows, TILE), (unsigned)divide_up(p->columns, TILE),
              (unsigned)min_int(items, 65535));
    if (p->dtype == DT_F64)
        CU_LAUNCH(multiply_tiles<double>, grid, block, 0, run->engine->stream, *p, items,
                  (const double *)p->a, (const double *)p->b, (double *)p->c);
    else
        CU_LAUNCH(multiply_tiles<float>, grid, block, 0, run->engine->stream, *p, items,
                  (const float *)p->a, (const float *)p->b, (float *)p->c);
}

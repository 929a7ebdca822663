/* gemm.cu - products of matrices in memory with any strides, for operands that cuBLAS does not
 * take: stretched, reversed, every second column. Tiles of both operands go through shared memory.
 */
#include "launch.h"

enum { TILE = 16, MOST_BLOCKS = CUT(65535, 2) }; /* of a grid's second and third axis */

/* Element (row, column) of A B; all threads of the block take part in a tile. */
template <class T>
__device__ static inline double tile_element(const struct strided_product &p, const T *a,
                                             const T *b, int64_t row, int64_t column)
{
    __shared__ T left[TILE][TILE + 1], right[TILE][TILE + 1];
    double sum = 0;
    for (int64_t k = 0; k < p.depth; k += TILE) {
        int64_t ka = k + threadIdx.x, kb = k + threadIdx.y;
        left[threadIdx.y][threadIdx.x] =
            row < p.rows && ka < p.depth ? a[row * p.a_row + ka * p.a_column] : T(0);
        right[threadIdx.y][threadIdx.x] =
            column < p.columns && kb < p.depth ? b[kb * p.b_row + column * p.b_column] : T(0);
        __syncthreads();
        T part = 0;
        for (int i = 0; i < TILE; i++) part += left[threadIdx.y][i] * right[i][threadIdx.x];
        sum += (double)part;
        __syncthreads();
    }
    return sum;
}

template <class T>
__global__ void multiply_tiles(struct strided_product p, int64_t items, const T *a, const T *b,
                               T *c)
{
    int64_t row = (int64_t)blockIdx.x * TILE + threadIdx.y, tiles = (p.columns + TILE - 1) / TILE;
    for (int64_t item = blockIdx.z; item < items; item += gridDim.z) {
        const T *from_a = a, *from_b = b;
        int64_t rest = item;
        for (int i = p.n_axes - 1; i >= 0; i--) {
            from_a += rest % p.axis[i] * p.a_axis[i];
            from_b += rest % p.axis[i] * p.b_axis[i];
            rest /= p.axis[i];
        }
        for (int64_t tile = blockIdx.y; tile < tiles; tile += gridDim.y) {
            int64_t column = tile * TILE + threadIdx.x;
            double sum = tile_element(p, from_a, from_b, row, column);
            if (row < p.rows && column < p.columns)
                c[(item * p.rows + row) * p.columns + column] = (T)sum;
        }
    }
}

extern "C" void strided_product_run(const struct strided_product *p, struct run *run)
{
    int64_t items = 1;
    for (int i = 0; i < p->n_axes; i++) items *= p->axis[i];
    dim3 block(TILE, TILE);
    dim3 grid((unsigned)divide_up(p->rows, TILE),
              (unsigned)min_int(divide_up(p->columns, TILE), MOST_BLOCKS),
              (unsigned)min_int(items, MOST_BLOCKS));
    if (p->dtype == DT_F64)
        CU_LAUNCH(multiply_tiles<double>, grid, block, 0, run->engine->stream, *p, items,
                  (const double *)p->a, (const double *)p->b, (double *)p->c);
    else
        CU_LAUNCH(multiply_tiles<float>, grid, block, 0, run->engine->stream, *p, items,
                  (const float *)p->a, (const float *)p->b, (float *)p->c);
}

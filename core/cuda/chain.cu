/* chain.cu - what stands around the products of a chain: windows and sums of shifted columns,
 * biases and activations that did not ride along, gradients of edges. Blocks take rows of images,
 * so that no index is divided per element but once; sums of gradients run in f64, in an order that
 * the shapes alone decide. */
#include "chain.h"
#include "bf16.h"
#include "launch.h"

struct image {
    int32_t height, width;
};
static struct image image_of(const struct chain *c)
{
    struct image m = { (int32_t)c->height, (int32_t)c->width };
    return m;
}

/* What numbers are computed in. */
template <class T> struct computed {
    typedef T type;
};
template <> struct computed<bf16> {
    typedef float type;
};

template <class T> __device__ static inline T activate(T x, int act)
{
    if (act == GLOW_ACT_RELU) return x < 0 ? T(0) : x;
    if (act == GLOW_ACT_TANH) return tanh(x);
    if (act == GLOW_ACT_SIGMOID) return 1 / (1 + exp(-x));
    return x;
}
/* From the activation's result. */
template <class T> __device__ static inline T slope(T y, int act)
{
    if (act == GLOW_ACT_RELU) return y > 0 ? T(1) : T(0);
    if (act == GLOW_ACT_TANH) return 1 - y * y;
    if (act == GLOW_ACT_SIGMOID) return y * (1 - y);
    return T(1);
}

/* ---------------------------------------------------------------- windows */

/* Threads (k, column of the image). */
template <class F, class T>
__global__ void windows(struct image m, int rows, struct planes from, int channels,
                        struct window look, int direction, T *to, int pitch)
{
    const int taps = look.taps, size = (channels + look.edge) * taps;
    for (int row = (int)blockIdx.x; row < rows; row += (int)gridDim.x) {
        int image = row / m.height, y = row % m.height;
        for (int k = (int)threadIdx.x; k < pitch; k += (int)blockDim.x) {
            int channel = k / taps, tap = k % taps;
            int from_y = y + direction * (tap / look.kw - look.kh / 2);
            int dx = direction * (tap % look.kw - look.kw / 2);
            bool inside_y = from_y >= 0 && from_y < m.height;
            const F *line = (const F *)from.data + image * from.batch +
                            (channel < channels ? channel * from.channel : 0) +
                            (int64_t)(inside_y ? from_y : 0) * m.width * from.pixel;
            for (int x = (int)threadIdx.y; x < m.width; x += (int)blockDim.y) {
                int from_x = x + dx;
                bool inside = inside_y && from_x >= 0 && from_x < m.width;
                T value = T(0);
                if (channel < channels && inside)
                    value = T(line[from_x * from.pixel]);
                else if (channel == channels && k < size && !inside)
                    value = T(1);
                to[((int64_t)row * m.width + x) * pitch + k] = value;
            }
        }
    }
}

template <class F, class T>
static void launch_windows(struct run *run, const struct chain *c, int64_t images,
                           const struct planes *from, int64_t channels, const struct window *look,
                           int direction, void *to, int64_t pitch)
{
    const int64_t rows = images * c->height;
    const unsigned x = block_for(pitch);
    CU_LAUNCH((windows<F, T>), (unsigned)min_int(rows, INT32_MAX), dim3(x, BLOCK / x), 0,
              run->engine->stream, image_of(c), (int)rows, *from, (int)channels, *look, direction,
              (T *)to, (int)pitch);
}

extern "C" void chain_windows(struct run *run, const struct chain *c, int64_t images,
                              const struct planes *from, int64_t channels,
                              const struct window *look, int direction, void *to, int64_t pitch)
{
    struct window w = *look;
    if (direction < 0) w.edge = 0; /* gradients have no channel outside */
    if (from->dtype == DT_BF16)
        launch_windows<bf16, bf16>(run, c, images, from, channels, &w, direction, to, pitch);
    else if (c->inner == DT_BF16)
        launch_windows<float, bf16>(run, c, images, from, channels, &w, direction, to, pitch);
    else if (c->inner == DT_F64)
        launch_windows<double, double>(run, c, images, from, channels, &w, direction, to, pitch);
    else
        launch_windows<float, float>(run, c, images, from, channels, &w, direction, to, pitch);
}

/* ---------------------------------------------------------------- sums of shifted columns */

/* Threads go along what lies closest in memory: channels of a matrix, columns of a plane. */
template <class T, class U>
__global__ void shift_sums(struct image m, int rows, struct chain_sums s, int channels, int matrix)
{
    const T *from = (const T *)s.from, *bias = (const T *)s.bias, *edge = (const T *)s.edge;
    const int taps = s.look.taps, real = (int)s.channels;
    for (int row = (int)blockIdx.x; row < rows; row += (int)gridDim.x) {
        int image = row / m.height, y = row % m.height;
        const T *rows_of_image = from + (int64_t)image * m.height * m.width * s.stride;
        for (int i = (int)threadIdx.x; i < channels * m.width; i += (int)blockDim.x) {
            int channel = matrix ? i % channels : i / m.width;
            int x = matrix ? i / channels : i % m.width;
            T sum = bias && channel < real ? bias[channel] : T(0);
            for (int t = 0; t < taps && channel < real; t++) {
                int from_y = y + s.direction * (t / s.look.kw - s.look.kh / 2);
                int from_x = x + s.direction * (t % s.look.kw - s.look.kw / 2);
                if (from_y >= 0 && from_y < m.height && from_x >= 0 && from_x < m.width)
                    sum += rows_of_image[((int64_t)from_y * m.width + from_x) * s.stride +
                                         channel * taps + t];
                else if (edge)
                    sum += edge[channel * taps + t];
            }
            int64_t at = image * s.to.batch + channel * s.to.channel +
                         ((int64_t)y * m.width + x) * s.to.pixel;
            ((U *)s.to.data)[at] = channel < real ? U(activate(sum, s.act)) : U(0);
        }
    }
}

extern "C" void chain_shift_sums(struct run *run, const struct chain *c, int64_t images,
                                 const struct chain_sums *s)
{
    const int matrix = s->to.channel == 1 && s->to.pixel >= s->channels;
    const int64_t rows = images * c->height, channels = matrix ? s->to.pixel : s->channels;
    const unsigned grid = (unsigned)min_int(rows, INT32_MAX),
                   block = block_for(channels * c->width);
    cudaStream_t stream = run->engine->stream;
    if (s->to.dtype == DT_BF16)
        CU_LAUNCH((shift_sums<float, bf16>), grid, block, 0, stream, image_of(c), (int)rows, *s,
                  (int)channels, matrix);
    else if (c->dtype == DT_F64)
        CU_LAUNCH((shift_sums<double, double>), grid, block, 0, stream, image_of(c), (int)rows, *s,
                  (int)channels, matrix);
    else
        CU_LAUNCH((shift_sums<float, float>), grid, block, 0, stream, image_of(c), (int)rows, *s,
                  (int)channels, matrix);
}

/* ---------------------------------------------------------------- activations */

template <class T> __global__ void bias_act(T *x, int64_t n, int pitch, const T *bias, int act)
{
    typedef typename computed<T>::type C;
    for (int64_t row = (int64_t)blockIdx.x * blockDim.y + threadIdx.y; row < n;
         row += (int64_t)gridDim.x * blockDim.y)
        for (int k = (int)threadIdx.x; k < pitch; k += (int)blockDim.x) {
            T *at = x + row * pitch + k;
            *at = T(activate((C)*at + (bias ? (C)bias[k] : C(0)), act));
        }
}

template <class T>
static void launch_bias_act(struct run *run, void *x, int64_t n, int64_t pitch, const void *bias,
                            int act)
{
    const unsigned width = block_for(pitch), height = BLOCK / width;
    CU_LAUNCH(bias_act<T>, (unsigned)min_int(divide_up(n, height), 65535), dim3(width, height), 0,
              run->engine->stream, (T *)x, n, (int)pitch, (const T *)bias, act);
}

extern "C" void chain_bias_act(struct run *run, const struct chain *c, void *x, int64_t n,
                               int64_t pitch, const void *inner_bias, int act)
{
    if (!inner_bias && act == GLOW_ACT_NONE) return;
    if (c->inner == DT_BF16)
        launch_bias_act<bf16>(run, x, n, pitch, inner_bias, act);
    else if (c->inner == DT_F64)
        launch_bias_act<double>(run, x, n, pitch, inner_bias, act);
    else
        launch_bias_act<float>(run, x, n, pitch, inner_bias, act);
}

template <class T> __global__ void act_vjp(int64_t n, T *d, const T *h, int act)
{
    typedef typename computed<T>::type C;
    for (int64_t i = FIRST_ELEMENT; i < n; i += NEXT_ELEMENT)
        d[i] = T((C)d[i] * slope((C)h[i], act));
}

extern "C" void chain_act_vjp(struct run *run, const struct chain *c, int64_t n, void *d,
                              const void *h, int act)
{
    cudaStream_t stream = run->engine->stream;
    if (act == GLOW_ACT_NONE) return;
    if (c->inner == DT_BF16)
        CU_LAUNCH(act_vjp<bf16>, grid_for(n), block_for(n), 0, stream, n, (bf16 *)d,
                  (const bf16 *)h, act);
    else if (c->inner == DT_F64)
        CU_LAUNCH(act_vjp<double>, grid_for(n), block_for(n), 0, stream, n, (double *)d,
                  (const double *)h, act);
    else
        CU_LAUNCH(act_vjp<float>, grid_for(n), block_for(n), 0, stream, n, (float *)d,
                  (const float *)h, act);
}

template <class T>
__global__ void last_vjp(int64_t images, int64_t channels, int64_t plane, struct planes d,
                         struct planes h, int act, struct planes to)
{
    for (int64_t i = FIRST_ELEMENT; i < images * channels * plane; i += NEXT_ELEMENT) {
        int64_t image = i / (channels * plane), channel = i / plane % channels, p = i % plane;
        T y = ((const T *)h.data)[image * h.batch + channel * h.channel + p];
        ((T *)to.data)[image * to.batch + channel * to.channel + p] =
            ((const T *)d.data)[image * d.batch + channel * d.channel + p] * slope(y, act);
    }
}

extern "C" void chain_last_vjp(struct run *run, const struct chain *c, int64_t images,
                               int64_t channels, const struct planes *d, const struct planes *h,
                               int act, const struct planes *to)
{
    const int64_t n = images * channels * c->plane;
    if (c->dtype == DT_F64)
        CU_LAUNCH(last_vjp<double>, grid_for(n), block_for(n), 0, run->engine->stream, images,
                  channels, c->plane, *d, *h, act, *to);
    else
        CU_LAUNCH(last_vjp<float>, grid_for(n), block_for(n), 0, run->engine->stream, images,
                  channels, c->plane, *d, *h, act, *to);
}

/* ---------------------------------------------------------------- gradients of edges */

/* A block for each (channel, tap), over the pixels whose tap lies outside: whole rows at the top or
 * the bottom, and ends of the other rows. */
template <class T, class U>
__global__ void edge_sums(struct image m, int64_t images, struct planes d, struct window look,
                          U *dedge)
{
    __shared__ double lane[BLOCK];
    const int channel = (int)blockIdx.x / look.taps, tap = (int)blockIdx.x % look.taps;
    const int dy = tap / look.kw - look.kh / 2, dx = tap % look.kw - look.kw / 2;
    const int lines = abs(dy) < m.height ? abs(dy) : m.height;
    const int ends = abs(dx) < m.width ? abs(dx) : m.width;
    const int above = dy < 0 ? lines : 0, whole = lines * m.width;
    const int each = whole + (m.height - lines) * ends;
    double sum = 0;
    for (int64_t i = threadIdx.x; i < images * each; i += BLOCK) {
        int64_t image = i / each;
        int j = (int)(i - image * each), y, x;
        if (j < whole) {
            y = j / m.width + (dy < 0 ? 0 : m.height - lines);
            x = j % m.width;
        } else {
            y = (j - whole) / ends + above;
            x = (j - whole) % ends + (dx < 0 ? 0 : m.width - ends);
        }
        sum += (double)((const T *)d.data)[image * d.batch + channel * d.channel +
                                           ((int64_t)y * m.width + x) * d.pixel];
    }
    lane[threadIdx.x] = sum;
    __syncthreads();
    for (int half = BLOCK / 2; half > 0; half /= 2) {
        if ((int)threadIdx.x < half) lane[threadIdx.x] += lane[threadIdx.x + half];
        __syncthreads();
    }
    if (threadIdx.x == 0) dedge[blockIdx.x] = (U)lane[0];
}

extern "C" void chain_edge_sums(struct run *run, const struct chain *c, int64_t images,
                                const struct planes *d, int64_t channels, const struct window *look,
                                void *dedge)
{
    const unsigned grid = (unsigned)(channels * look->taps);
    cudaStream_t stream = run->engine->stream;
    if (d->dtype == DT_BF16)
        CU_LAUNCH((edge_sums<bf16, float>), grid, BLOCK, 0, stream, image_of(c), images, *d, *look,
                  (float *)dedge);
    else if (d->dtype == DT_F64)
        CU_LAUNCH((edge_sums<double, double>), grid, BLOCK, 0, stream, image_of(c), images, *d,
                  *look, (double *)dedge);
    else
        CU_LAUNCH((edge_sums<float, float>), grid, BLOCK, 0, stream, image_of(c), images, *d, *look,
                  (float *)dedge);
}

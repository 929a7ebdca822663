/* chain.cu - what stands around the products of a chain: weights folded with their scale, windows
 * and their sums, biases and activations, and the gradients of all that. Sums run in f64, in an
 * order that the shapes alone decide. */
#include "chain.h"
#include "launch.h"

#define BY_TYPE(dtype, launch)                                                                     \
    do {                                                                                           \
        if ((dtype) == DT_F64) {                                                                   \
            typedef double T;                                                                      \
            launch;                                                                                \
        } else {                                                                                   \
            typedef float T;                                                                       \
            launch;                                                                                \
        }                                                                                          \
    } while (0)

/* ---------------------------------------------------------------- weights */

struct folding {
    int64_t out, in, taps, edge, w_stride;
    int64_t row; /* weights of an output, with those of an edge channel that is 0 everywhere */
    double logscale;
    int32_t scatter;
};

static struct folding folding_of(const struct chain_stage *s)
{
    struct folding f = { s->out,       s->in,
                         s->look.taps, s->look.edge,
                         s->w_stride,  s->w->dim[2] * s->look.taps,
                         s->logscale,  s->kind == STAGE_SCATTER };
    return f;
}

template <class T>
__device__ static inline T scale_of(const T *logs, const struct folding &f, int64_t o)
{
    return logs ? (T)exp((T)f.logscale * logs[o]) : T(1);
}

template <class T>
__global__ void fold(struct folding f, const T *w, const T *logs, const T *b, T *weights, T *bias,
                     T *edge)
{
    int64_t taps = f.taps, size = (f.in + f.edge) * taps;
    for (int64_t i = FIRST_ELEMENT; i < f.out * size; i += NEXT_ELEMENT) {
        int64_t o = i / size, k = i % size;
        T x = w[o * f.w_stride + k] * scale_of(logs, f, o);
        if (k == 0 && b) bias[o] = b[o] * scale_of(logs, f, o);
        if (!f.scatter)
            weights[o * size + k] = x;
        else if (k / taps < f.in)
            weights[(o * taps + k % taps) * f.in + k / taps] = x;
        else
            edge[o * taps + k % taps] = x;
    }
}

extern "C" void chain_fold(struct run *run, int32_t dtype, const struct chain_stage *s)
{
    struct folding f = folding_of(s);
    if (s->weights == s->w->data) return; /* as they are, and the bias, too */
    BY_TYPE(dtype, CU_LAUNCH(fold<T>, grid_for(s->rows * s->depth), block_for(s->rows * s->depth),
                             0, run->engine->stream, f, (const T *)s->w->data,
                             (const T *)(s->logs ? s->logs->data : NULL),
                             (const T *)(s->logs && s->b ? s->b->data : NULL), (T *)s->weights,
                             (T *)s->bias, (T *)s->edge));
}

/* One block for each output. */
template <class T>
__global__ void unfold(struct folding f, int64_t groups, const T *weights, const T *edge,
                       const T *bias, const T *logs, const T *dweights, const T *dedge,
                       const T *dbias, T *dw, T *db, T *dlogs)
{
    __shared__ double lane[BLOCK];
    int64_t o = blockIdx.x, taps = f.taps, size = (f.in + f.edge) * taps;
    T scale = scale_of(logs, f, o);
    double sum = 0;
    for (int64_t k = threadIdx.x; k < size; k += BLOCK) {
        int64_t at = f.scatter ? (o * taps + k % taps) * f.in + k / taps : o * size + k;
        T w, d;
        if (f.scatter && k / taps == f.in) {
            double total = 0;
            for (int64_t g = 0; g < groups; g++)
                total += (double)dedge[(g * f.out + o) * taps + k % taps];
            w = edge[o * taps + k % taps];
            d = (T)total;
        } else {
            w = weights[at];
            d = dweights[at];
        }
        if (dw) dw[o * f.row + k] = d * scale;
        sum += (double)w * (double)d;
    }
    for (int64_t k = size + threadIdx.x; k < f.row && dw; k += BLOCK) dw[o * f.row + k] = 0;
    lane[threadIdx.x] = sum;
    __syncthreads();
    for (int half = BLOCK / 2; half > 0; half /= 2) {
        if ((int)threadIdx.x < half) lane[threadIdx.x] += lane[threadIdx.x + half];
        __syncthreads();
    }
    if (threadIdx.x != 0) return;
    double total = 0;
    for (int64_t g = 0; g < groups && dbias; g++) total += (double)dbias[g * f.out + o];
    if (db) db[o] = (T)(total * (double)scale);
    if (dlogs) dlogs[o] = (T)(f.logscale * (lane[0] + (bias ? (double)bias[o] * total : 0.0)));
}

extern "C" void chain_unfold(struct run *run, const struct chain *c, const struct chain_stage *s,
                             void *dw, void *db, void *dlogs)
{
    struct folding f = folding_of(s);
    if (!dw && !db && !dlogs) return;
    if (!s->want_dw) f.in = f.edge = f.row = 0; /* only a bias: no products to read */
    BY_TYPE(c->dtype,
            CU_LAUNCH(unfold<T>, (unsigned)s->out, BLOCK, 0, run->engine->stream, f, c->groups,
                      (const T *)s->weights, (const T *)s->edge, (const T *)s->bias,
                      (const T *)(s->logs ? s->logs->data : NULL), (const T *)s->dweights,
                      (const T *)s->dedge, (const T *)s->dbias, (T *)dw, (T *)db, (T *)dlogs));
}

/* ---------------------------------------------------------------- windows */

struct image {
    int64_t height, width;
};

/* Where tap t of pixel p looks: *inside tells whether that is in the image. */
__device__ static inline int64_t look_at(const struct image &m, const struct window &w, int64_t p,
                                         int64_t t, int direction, bool *inside)
{
    int64_t y = p / m.width + direction * (t / w.kw - w.kh / 2);
    int64_t x = p % m.width + direction * (t % w.kw - w.kw / 2);
    *inside = y >= 0 && y < m.height && x >= 0 && x < m.width;
    return y * m.width + x;
}

template <class T>
__global__ void windows(struct image m, int64_t images, struct planes from, int64_t channels,
                        struct window look, int direction, T *to)
{
    int64_t depth = (channels + look.edge) * look.taps, plane = m.height * m.width;
    for (int64_t i = FIRST_ELEMENT; i < images * plane * depth; i += NEXT_ELEMENT) {
        int64_t k = i % depth, p = i / depth % plane, n = i / depth / plane;
        int64_t channel = k / look.taps;
        bool inside;
        int64_t at = look_at(m, look, p, k % look.taps, direction, &inside);
        if (channel == channels)
            to[i] = inside ? T(0) : T(1);
        else
            to[i] = inside
                        ? ((const T *)
                               from.data)[n * from.batch + channel * from.channel + at * from.pixel]
                        : T(0);
    }
}

static struct image image_of(const struct chain *c)
{
    struct image m = { c->height, c->width };
    return m;
}

extern "C" void chain_windows(struct run *run, const struct chain *c, int64_t images,
                              const struct planes *from, int64_t channels,
                              const struct window *look, int direction, void *to)
{
    struct window w = *look;
    if (direction < 0) w.edge = 0; /* gradients have no channel outside */
    int64_t n = images * c->plane * (channels + w.edge) * w.taps;
    BY_TYPE(c->dtype, CU_LAUNCH(windows<T>, grid_for(n), block_for(n), 0, run->engine->stream,
                                image_of(c), images, *from, channels, w, direction, (T *)to));
}

/* ---------------------------------------------------------------- activations */

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

template <class T>
__global__ void bias_act(T *x, int64_t n, int64_t channels, const T *bias, int act)
{
    for (int64_t i = FIRST_ELEMENT; i < n * channels; i += NEXT_ELEMENT)
        x[i] = activate(bias ? x[i] + bias[i % channels] : x[i], act);
}

extern "C" void chain_bias_act(struct run *run, int32_t dtype, void *x, int64_t n, int64_t channels,
                               const void *bias, int act)
{
    if (!bias && act == GLOW_ACT_NONE) return;
    BY_TYPE(dtype, CU_LAUNCH(bias_act<T>, grid_for(n * channels), block_for(n * channels), 0,
                             run->engine->stream, (T *)x, n, channels, (const T *)bias, act));
}

/* Element i of (images, channels, plane), whichever of channel and pixel lies closer in memory
 * counting fastest. */
struct place {
    int64_t image, channel, pixel;
};
__device__ static inline struct place place_of(int64_t i, int64_t channels, int64_t plane,
                                               bool by_pixel)
{
    struct place at;
    at.image = i / (channels * plane);
    int64_t rest = i % (channels * plane);
    at.channel = by_pixel ? rest % channels : rest / plane;
    at.pixel = by_pixel ? rest / channels : rest % plane;
    return at;
}
__device__ static inline int64_t offset_in(const struct planes &p, const struct place &at)
{
    return at.image * p.batch + at.channel * p.channel + at.pixel * p.pixel;
}

template <class T>
__global__ void act_vjp(int64_t images, int64_t channels, int64_t plane, struct planes d,
                        struct planes h, int act, struct planes to)
{
    for (int64_t i = FIRST_ELEMENT; i < images * channels * plane; i += NEXT_ELEMENT) {
        struct place at = place_of(i, channels, plane, to.channel == 1);
        ((T *)to.data)[offset_in(to, at)] = ((const T *)d.data)[offset_in(d, at)] *
                                            slope(((const T *)h.data)[offset_in(h, at)], act);
    }
}

extern "C" void chain_act_vjp(struct run *run, const struct chain *c, int64_t images,
                              int64_t channels, const struct planes *d, const struct planes *h,
                              int act, const struct planes *to)
{
    if (act == GLOW_ACT_NONE && d->data == to->data) return;
    BY_TYPE(c->dtype, CU_LAUNCH(act_vjp<T>, grid_for(images * channels * c->plane),
                                block_for(images * channels * c->plane), 0, run->engine->stream,
                                images, channels, c->plane, *d, *h, act, *to));
}

/* ---------------------------------------------------------------- sums of shifted columns */

template <class T> __global__ void shift_sums(struct image m, int64_t images, struct chain_sums s)
{
    int64_t plane = m.height * m.width, taps = s.look.taps;
    const T *from = (const T *)s.from, *bias = (const T *)s.bias, *edge = (const T *)s.edge;
    for (int64_t i = FIRST_ELEMENT; i < images * s.channels * plane; i += NEXT_ELEMENT) {
        struct place at = place_of(i, s.channels, plane, s.to.channel == 1);
        T sum = bias ? bias[at.channel] : T(0);
        for (int64_t t = 0; t < taps; t++) {
            bool inside;
            int64_t p = look_at(m, s.look, at.pixel, t, s.direction, &inside);
            if (inside)
                sum += from[(at.image * plane + p) * s.stride + at.channel * taps + t];
            else if (edge)
                sum += edge[at.channel * taps + t];
        }
        ((T *)s.to.data)[offset_in(s.to, at)] = activate(sum, s.act);
    }
}

extern "C" void chain_shift_sums(struct run *run, const struct chain *c, int64_t images,
                                 const struct chain_sums *s)
{
    BY_TYPE(c->dtype, CU_LAUNCH(shift_sums<T>, grid_for(images * s->channels * c->plane),
                                block_for(images * s->channels * c->plane), 0, run->engine->stream,
                                image_of(c), images, *s));
}

/* A block for each (channel, tap). */
template <class T>
__global__ void edge_sums(struct image m, int64_t images, struct planes d, struct window look,
                          T *dedge)
{
    __shared__ double lane[BLOCK];
    int64_t channel = blockIdx.x / look.taps, tap = blockIdx.x % look.taps;
    int64_t plane = m.height * m.width;
    double sum = 0;
    for (int64_t i = threadIdx.x; i < images * plane; i += BLOCK) {
        bool inside;
        look_at(m, look, i % plane, tap, 1, &inside);
        if (!inside)
            sum += (double)((const T *)d.data)[i / plane * d.batch + channel * d.channel +
                                               i % plane * d.pixel];
    }
    lane[threadIdx.x] = sum;
    __syncthreads();
    for (int half = BLOCK / 2; half > 0; half /= 2) {
        if ((int)threadIdx.x < half) lane[threadIdx.x] += lane[threadIdx.x + half];
        __syncthreads();
    }
    if (threadIdx.x == 0) dedge[blockIdx.x] = (T)lane[0];
}

extern "C" void chain_edge_sums(struct run *run, const struct chain *c, int64_t images,
                                const struct planes *d, int64_t channels, const struct window *look,
                                void *dedge)
{
    BY_TYPE(c->dtype, CU_LAUNCH(edge_sums<T>, (unsigned)(channels * look->taps), BLOCK, 0,
                                run->engine->stream, image_of(c), images, *d, *look, (T *)dedge));
}

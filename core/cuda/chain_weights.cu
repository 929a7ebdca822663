/* chain_weights.cu - weights of a chain folded with their scale, in the type and the rows that
 * products take, and gradients of weights, scales and biases from those of the folded ones. All
 * stages in one launch: blocks (row or output, stage). */
#include "bf16.h"
#include "chain.h"
#include "launch.h"

struct folding {
    int32_t out, in, taps, edge, rows, depth, pitch, scatter, centre;
    int64_t w_stride, b_stride, logs_stride;
    int64_t row; /* of dw, with an edge channel that is 0 everywhere */
    double logscale;
    const void *w, *b, *logs;
    void *weights, *bias, *inner_bias, *edge_weights;
    const void *dweights, *dbias, *dedge;
    int64_t dbias_size;
    int32_t sums_ride;
    void *dw, *db, *dlogs;
};
struct foldings {
    struct folding stage[CHAIN_STAGES];
};

static struct folding folding_of(const struct chain_stage *s)
{
    struct folding f = {};
    f.out = (int32_t)s->out;
    f.in = (int32_t)s->in;
    f.taps = s->look.taps;
    f.edge = s->look.edge;
    f.rows = (int32_t)s->rows;
    f.depth = (int32_t)s->depth;
    f.pitch = (int32_t)s->pitch;
    f.scatter = s->kind == STAGE_SCATTER;
    f.centre = s->look.kh / 2 * s->look.kw + s->look.kw / 2;
    f.w_stride = s->w_stride;
    f.row = s->w->dim[2] * s->look.taps;
    f.logscale = s->logscale;
    f.w = s->w->data;
    f.b = s->b ? s->b->data : NULL;
    f.b_stride = s->b ? s->b->stride[1] : 0;
    f.logs = s->logs ? s->logs->data : NULL;
    f.logs_stride = s->logs ? s->logs->stride[1] : 0;
    f.weights = s->weights;
    f.bias = s->bias;
    f.inner_bias = s->inner_bias;
    f.edge_weights = s->edge;
    return f;
}

template <class T> __device__ static inline T scale_of(const struct folding &f, int o)
{
    return f.logs ? (T)exp((T)f.logscale * ((const T *)f.logs)[o * f.logs_stride]) : T(1);
}

/* T: of the tensors, W: of what products multiply. */
template <class T, class W> __global__ void fold(struct foldings all)
{
    const struct folding &f = all.stage[blockIdx.y];
    const int size = f.scatter ? f.in : (f.in + f.edge) * f.taps;
    for (int r = (int)blockIdx.x; r < f.rows; r += (int)gridDim.x) {
        int o = f.scatter ? r / f.taps : r, tap = f.scatter ? r % f.taps : 0;
        bool real = o < f.out; /* else padding */
        T scale = real ? scale_of<T>(f, o) : T(0);
        const T *w = (const T *)f.w + (real ? o * f.w_stride : 0);
        W *to = (W *)f.weights + (int64_t)r * f.depth;
        for (int k = (int)threadIdx.x; k < f.depth; k += (int)blockDim.x)
            to[k] = W(real && k < size ? w[f.scatter ? k * f.taps + tap : k] * scale : T(0));
        if (threadIdx.x != 0) continue;
        if (f.edge_weights && real)
            ((T *)f.edge_weights)[o * f.taps + tap] = w[f.in * f.taps + tap] * scale;
        if (!f.b || tap != 0 || o >= f.pitch) continue;
        T bias = real ? ((const T *)f.b)[o * f.b_stride] * scale : T(0);
        ((T *)f.bias)[o] = bias;
        ((W *)f.inner_bias)[o] = W(bias);
    }
}

extern "C" void chain_fold(struct run *run, const struct chain *c)
{
    struct foldings all = {};
    int64_t rows = 1;
    for (int i = 0; i < c->n; i++) {
        all.stage[i] = folding_of(&c->stage[i]);
        rows = max_int(rows, c->stage[i].rows);
    }
    dim3 grid((unsigned)min_int(rows, 65535), (unsigned)c->n);
    if (c->inner == DT_BF16)
        CU_LAUNCH((fold<float, bf16>), grid, 128, 0, run->engine->stream, all);
    else if (c->inner == DT_F64)
        CU_LAUNCH((fold<double, double>), grid, 128, 0, run->engine->stream, all);
    else
        CU_LAUNCH((fold<float, float>), grid, 128, 0, run->engine->stream, all);
}

/* Over the groups, in f64, in order. */
template <class T>
__device__ static inline double total_of(const void *x, int groups, int64_t stride, int64_t at)
{
    double total = 0;
    for (int g = 0; g < groups; g++) total += (double)((const T *)x)[g * stride + at];
    return total;
}

/* The gradients of output o's bias, and of its edge weight of a tap (see chain_stage.sums_ride). */
template <class T>
__device__ static inline double bias_total(const struct folding &f, int groups, int o)
{
    int64_t at = f.sums_ride && f.scatter ? o * f.taps + f.centre : o;
    return f.dbias ? total_of<T>(f.dbias, groups, f.dbias_size, at) : 0.0;
}
template <class T>
__device__ static inline double edge_total(const struct folding &f, int groups, int o, int tap)
{
    int64_t at = o * f.taps + tap;
    if (!f.sums_ride) return total_of<T>(f.dedge, groups, (int64_t)f.out * f.taps, at);
    return bias_total<T>(f, groups, o) - total_of<T>(f.dbias, groups, f.dbias_size, at);
}

/* Sums run in f64, in an order that the shapes alone decide. */
template <class T> __global__ void unfold(struct foldings all, int groups)
{
    __shared__ double lane[BLOCK];
    const struct folding &f = all.stage[blockIdx.y];
    int o = (int)blockIdx.x, size = f.dweights ? (f.in + f.edge) * f.taps : 0;
    if (o >= f.out || (!f.dw && !f.db && !f.dlogs)) return;
    T scale = scale_of<T>(f, o);
    const T *w = (const T *)f.w + o * f.w_stride, *dweights = (const T *)f.dweights;
    T *dw = f.dw ? (T *)f.dw + o * f.row : NULL;
    double sum = 0;
    for (int k = (int)threadIdx.x; k < size; k += BLOCK) {
        int channel = k / f.taps, tap = k % f.taps;
        T d = f.scatter && channel == f.in
                  ? (T)edge_total<T>(f, groups, o, tap)
                  : dweights[f.scatter ? (int64_t)(o * f.taps + tap) * f.depth + channel
                                       : (int64_t)o * f.depth + k];
        if (dw) dw[k] = d * scale;
        sum += (double)(w[k] * scale) * (double)d;
    }
    for (int64_t k = size + threadIdx.x; k < f.row && dw; k += BLOCK) dw[k] = 0;
    lane[threadIdx.x] = sum;
    __syncthreads();
    for (int half = BLOCK / 2; half > 0; half /= 2) {
        if ((int)threadIdx.x < half) lane[threadIdx.x] += lane[threadIdx.x + half];
        __syncthreads();
    }
    if (threadIdx.x != 0) return;
    double total = bias_total<T>(f, groups, o);
    if (f.db) ((T *)f.db)[o] = (T)(total * (double)scale);
    double bias = f.b ? (double)(((const T *)f.b)[o * f.b_stride] * scale) : 0.0;
    if (f.dlogs) ((T *)f.dlogs)[o] = (T)(f.logscale * (lane[0] + bias * total));
}

extern "C" void chain_unfold(struct run *run, const struct chain *c, const struct tensor *out)
{
    struct foldings all = {};
    int64_t most = 0;
    for (int i = 0; i < c->n; i++) {
        const struct chain_stage *s = &c->stage[i];
        struct folding *f = &all.stage[i];
        *f = folding_of(s);
        f->dweights = s->dweights;
        f->dbias = s->dbias;
        f->dedge = s->dedge;
        f->dbias_size = s->dbias_size;
        f->sums_ride = s->sums_ride;
        f->dw = out[3 * i].data;
        f->db = out[3 * i + 1].data;
        f->dlogs = out[3 * i + 2].data;
        if (f->dw || f->db || f->dlogs) most = max_int(most, s->out);
    }
    if (most == 0) return;
    dim3 grid((unsigned)most, (unsigned)c->n);
    if (c->dtype == DT_F64)
        CU_LAUNCH(unfold<double>, grid, BLOCK, 0, run->engine->stream, all, (int)c->groups);
    else
        CU_LAUNCH(unfold<float>, grid, BLOCK, 0, run->engine->stream, all, (int)c->groups);
}

/* update.cu - flat loops over parameters: optimizers, the sum of squares, moving averages; and the
 * second half of a training step, which the device does without the host: the gradient's norm, the
 * verdict, the update, a report. The formulas are those of core/cpu/isa/optim.c. */
#include "launch.h"

enum { SQUARES = 256 }; /* parts of a sum of squares, each a block's */

struct rates { /* what an update multiplies with */
    double scale, rate, root, ema;
    int32_t go;
};

/* In device memory, but for what the host reads. */
struct device_update {
    uint64_t done, first; /* updates; the number of the table's first rate */
    int64_t steps;        /* since update_begin */
    struct update_rate rate[UPDATE_AHEAD];
    struct rates now;
    double partial[SQUARES];
};
/* Host memory that the device writes. */
struct host_update {
    double squares;
    struct update_report report[UPDATE_AHEAD];
};

/* ---------------------------------------------------------------- sums of squares */

/* Folds what the threads of a block hold, as a tree; the result is thread 0's. */
__device__ static double fold_block(double x)
{
    __shared__ double lane[BLOCK];
    lane[threadIdx.x] = x;
    __syncthreads();
    for (unsigned half = BLOCK / 2; half > 0; half /= 2) {
        if (threadIdx.x < half) lane[threadIdx.x] += lane[threadIdx.x + half];
        __syncthreads();
    }
    return lane[0];
}

template <class T> __global__ void square_parts(const T *x, int64_t n, double *partial)
{
    int64_t from = n * blockIdx.x / gridDim.x, end = n * (blockIdx.x + 1) / gridDim.x;
    double sum = 0;
    for (int64_t i = from + threadIdx.x; i < end; i += BLOCK) sum += (double)x[i] * (double)x[i];
    sum = fold_block(sum);
    if (threadIdx.x == 0) partial[blockIdx.x] = sum;
}

static int square_blocks(int64_t n)
{
    return (int)max_int(1, min_int(SQUARES, divide_up(n, 4096)));
}

static void launch_squares(struct engine *e, int32_t dtype, const void *x, int64_t n)
{
    double *partial = e->update->partial;
    if (dtype == DT_F64)
        CU_LAUNCH(square_parts<double>, square_blocks(n), BLOCK, 0, e->stream, (const double *)x, n,
                  partial);
    else
        CU_LAUNCH(square_parts<float>, square_blocks(n), BLOCK, 0, e->stream, (const float *)x, n,
                  partial);
}

__global__ void add_parts(const double *partial, int n, double *to)
{
    double sum = fold_block((int)threadIdx.x < n ? partial[threadIdx.x] : 0.0);
    if (threadIdx.x == 0) *to = sum;
}

extern "C" double cuda_sum_squares(struct engine *e, const struct flat *x)
{
    struct host_update *host = e->host_update;
    if (x->n == 0) return 0;
    launch_squares(e, x->dtype, x->data, x->n);
    CU_LAUNCH(add_parts, 1, BLOCK, 0, e->stream, e->update->partial, square_blocks(x->n),
              &host->squares);
    return engine_finish(e) == GLOW_OK ? host->squares : NAN;
}

/* ---------------------------------------------------------------- optimizers */

struct flat_update {
    void *w, *m, *v, *average;
    const void *g;
    int64_t n, n_decayed;
    double clip, l2, momentum, beta1, beta2, eps;
};

template <class T> __device__ static inline T clip(T g, T bound)
{
    g = g > bound ? bound : g; /* NaN passes */
    return g < -bound ? -bound : g;
}

/* `from` (NULL: `own`) tells the rates and whether there is to be an update at all. */
template <class T, int KIND>
__global__ void update_elements(struct flat_update u, struct rates own, const struct rates *from)
{
    struct rates r = from ? *from : own;
    T *w = (T *)u.w, *m = (T *)u.m, *v = (T *)u.v, *average = (T *)u.average;
    T rate = (T)r.rate, root = (T)r.root, eps = (T)u.eps, ema = (T)r.ema, bound = (T)u.clip;
    T beta1 = (T)u.beta1, beta2 = (T)u.beta2;
    if (!r.go) return;
    for (int64_t i = FIRST_ELEMENT; i < u.n; i += NEXT_ELEMENT) {
        T x = w[i], g = clip(((const T *)u.g)[i] * (T)r.scale, bound);
        if (i < u.n_decayed) g += (T)u.l2 * x;
        if (KIND == OPTIM_SGD) {
            if (m) g = m[i] = (T)u.momentum * m[i] + g;
            x -= rate * g;
        } else {
            T mean = beta1 * m[i] + (1 - beta1) * g, size;
            if (KIND == OPTIM_ADAM) {
                v[i] = beta2 * v[i] + (1 - beta2) * g * g;
                size = sqrt(v[i]) * root;
            } else {
                T old = beta2 * v[i], magnitude = fabs(g);
                size = v[i] = magnitude > old ? magnitude : old;
            }
            m[i] = mean;
            x -= rate * mean / (size + eps);
        }
        w[i] = x;
        if (average) average[i] = ema * average[i] + (1 - ema) * x;
    }
}

template <class T>
static void launch_update(struct engine *e, int kind, const struct flat_update *u,
                          const struct rates *own, const struct rates *from)
{
    unsigned grid = grid_for(u->n), threads = block_for(u->n);
    if (kind == OPTIM_ADAM)
        CU_LAUNCH((update_elements<T, OPTIM_ADAM>), grid, threads, 0, e->stream, *u, *own, from);
    else if (kind == OPTIM_ADAMAX)
        CU_LAUNCH((update_elements<T, OPTIM_ADAMAX>), grid, threads, 0, e->stream, *u, *own, from);
    else
        CU_LAUNCH((update_elements<T, OPTIM_SGD>), grid, threads, 0, e->stream, *u, *own, from);
}

__device__ __host__ static inline struct rates rates_of(int kind, double lr, double beta1,
                                                        double beta2, double t)
{
    struct rates r = {};
    r.scale = 1;
    r.rate = kind == OPTIM_SGD ? lr : lr / (1 - pow(beta1, t));
    r.root = 1 / sqrt(1 - pow(beta2, t));
    r.go = 1;
    return r;
}

extern "C" void cuda_optim(struct engine *e, const struct optim_args *a)
{
    struct rates r = rates_of(a->kind, a->lr, a->beta1, a->beta2, (double)a->t);
    struct flat_update u = {};
    r.scale = a->scale;
    u.w = a->w;
    u.m = a->m;
    u.v = a->v;
    u.g = a->g;
    u.n = u.n_decayed = a->n;
    u.clip = a->clip_value > 0 ? a->clip_value : INFINITY;
    u.l2 = a->l2;
    u.momentum = a->momentum;
    u.beta1 = a->beta1;
    u.beta2 = a->beta2;
    u.eps = a->eps;
    if (a->dtype == DT_F64)
        launch_update<double>(e, a->kind, &u, &r, NULL);
    else
        launch_update<float>(e, a->kind, &u, &r, NULL);
}

/* ---------------------------------------------------------------- moving average */

template <class T> __global__ void average_elements(T *average, const T *x, int64_t n, T decay)
{
    for (int64_t i = FIRST_ELEMENT; i < n; i += NEXT_ELEMENT)
        average[i] = decay * average[i] + (1 - decay) * x[i];
}

extern "C" void cuda_ema(struct engine *e, const struct flat *average, const struct flat *x,
                         double decay)
{
    if (x->dtype == DT_F64)
        CU_LAUNCH(average_elements<double>, grid_for(x->n), block_for(x->n), 0, e->stream,
                  (double *)average->data, (const double *)x->data, x->n, decay);
    else
        CU_LAUNCH(average_elements<float>, grid_for(x->n), block_for(x->n), 0, e->stream,
                  (float *)average->data, (const float *)x->data, x->n, (float)decay);
}

/* ---------------------------------------------------------------- a whole update */

struct verdict {
    int kind, n_parts;
    double beta1, beta2, clip_norm;
    const void *loss;
    int loss_wide;
};

/* Judges the step, sets the rates of its update, and reports. One block. */
__global__ void judge(struct device_update *d, struct host_update *host, struct verdict v)
{
    double squares = fold_block((int)threadIdx.x < v.n_parts ? d->partial[threadIdx.x] : 0.0);
    if (threadIdx.x != 0) return;
    double loss = v.loss_wide ? *(const double *)v.loss : (double)*(const float *)v.loss;
    double norm = sqrt(squares);
    struct update_rate rate = d->rate[d->done + 1 - d->first];
    bool good = isfinite(loss) && isfinite(norm);
    d->now = rates_of(v.kind, rate.lr, v.beta1, v.beta2, (double)(d->done + 1));
    if (v.clip_norm > 0 && norm > v.clip_norm) d->now.scale = v.clip_norm / norm;
    d->now.ema = rate.ema;
    d->now.go = good;
    struct update_report report = { loss, norm, rate.lr, good };
    host->report[d->steps++] = report;
    d->done += good;
}

__global__ void begin_updates(struct device_update *d, uint64_t done)
{
    d->done = done;
    d->first = done + 1;
    d->steps = 0;
}

extern "C" void update_launch(struct engine *e, const struct train_update *a)
{
    struct verdict v = {
        a->kind,       a->n ? square_blocks(a->n) : 0, a->beta1, a->beta2, a->clip_norm,
        a->loss->data, a->loss->dtype == DT_F64
    };
    struct flat_update u = {};
    struct rates none = {};
    u.w = a->w;
    u.m = a->m;
    u.v = a->v;
    u.average = a->average;
    u.g = a->g;
    u.n = a->n;
    u.n_decayed = a->n_decayed;
    u.clip = a->clip_value > 0 ? a->clip_value : INFINITY;
    u.l2 = a->l2;
    u.momentum = a->momentum;
    u.beta1 = a->beta1;
    u.beta2 = a->beta2;
    u.eps = a->eps;
    if (a->n) launch_squares(e, a->dtype, a->g, a->n);
    CU_LAUNCH(judge, 1, BLOCK, 0, e->stream, e->update, e->host_update, v);
    if (!a->n) return;
    if (a->dtype == DT_F64)
        launch_update<double>(e, a->kind, &u, &none, &e->update->now);
    else
        launch_update<float>(e, a->kind, &u, &none, &e->update->now);
}

extern "C" glow_status update_begin(struct engine *e, uint64_t done, const struct update_rate *rate,
                                    int n)
{
    TRY(memory_upload(e, e->update->rate, rate, (size_t)n * sizeof *rate));
    CU_LAUNCH(begin_updates, 1, 1, 0, e->stream, e->update, done);
    return GLOW_OK;
}

extern "C" glow_status update_end(struct engine *e, struct update_report *report, int n)
{
    TRY(engine_finish(e));
    for (int i = 0; i < n; i++) report[i] = e->host_update->report[i];
    return GLOW_OK;
}

extern "C" glow_status update_open(struct engine *e)
{
    void *device, *host;
    TRY(memory_alloc(e, sizeof(struct device_update), "updates", &device));
    e->update = (struct device_update *)device;
    TRY_CUDA(cudaHostAlloc(&host, sizeof(struct host_update), cudaHostAllocDefault));
    e->host_update = (struct host_update *)host;
    return GLOW_OK;
}

extern "C" void update_close(struct engine *e)
{
    memory_release(e, e->update);
    cudaFreeHost(e->host_update);
}

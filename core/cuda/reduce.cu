/* reduce.cu - sums and extremes over axes. Everything accumulates in f64, in an order that the
 * shapes alone decide: no atomics.
 *
 * Where the reduced axes lie innermost a block of threads folds what one output needs, and its
 * threads' results are folded as a tree; where kept axes lie innermost each thread folds for an
 * output of its own, so that neighbours read neighbours. When outputs are few the reduced elements
 * are cut into parts, whose results are folded in order by a second kernel. */
#include "axes.h"
#include "bf16.h"

enum { SUM, LARGEST, SMALLEST };
enum { MAX_PARTS = 256, FEW = 64 };

template <int FOLD> __device__ static inline double fold_start()
{
    return FOLD == SUM ? 0.0 : FOLD == LARGEST ? -INFINITY : INFINITY;
}
/* NaN wins over everything. */
template <int FOLD> __device__ static inline double fold(double a, double b)
{
    if (FOLD == SUM) return a + b;
    if (FOLD == LARGEST) return a >= b || a != a ? a : b;
    return a <= b || a != a ? a : b;
}

struct reduction {
    axes kept, reduced; /* of the input, outermost first */
    int64_t parts;
    int32_t by_column; /* a thread for each output */
    int32_t wide_out;
    void *out;
    double *partial; /* (parts, outputs), with parts > 1 */
};

__device__ static inline void store_result(const struct reduction &r, int64_t part, int64_t output,
                                           double x)
{
    if (r.parts > 1)
        r.partial[part * r.kept.count + output] = x;
    else if (r.wide_out)
        ((double *)r.out)[output] = x;
    else
        ((float *)r.out)[output] = (float)x;
}

template <class T, int FOLD> __global__ void fold_rows(const T *in, struct reduction r)
{
    __shared__ double lane[BLOCK];
    int64_t base, at, output = blockIdx.x, part = blockIdx.y;
    int64_t from = r.reduced.count * part / r.parts, end = r.reduced.count * (part + 1) / r.parts;
    double x = fold_start<FOLD>();
    axes_offsets<1>(r.kept, output, &base);
    for (int64_t i = from + threadIdx.x; i < end; i += blockDim.x) {
        axes_offsets<1>(r.reduced, i, &at);
        x = fold<FOLD>(x, (double)in[base + at]);
    }
    lane[threadIdx.x] = x;
    __syncthreads();
    for (unsigned half = blockDim.x / 2; half > 0; half /= 2) {
        if (threadIdx.x < half)
            lane[threadIdx.x] = fold<FOLD>(lane[threadIdx.x], lane[threadIdx.x + half]);
        __syncthreads();
    }
    if (threadIdx.x == 0) store_result(r, part, output, lane[0]);
}

template <class T, int FOLD> __global__ void fold_columns(const T *in, struct reduction r)
{
    int64_t part = blockIdx.y;
    int64_t from = r.reduced.count * part / r.parts, end = r.reduced.count * (part + 1) / r.parts;
    for (int64_t output = FIRST_ELEMENT; output < r.kept.count; output += NEXT_ELEMENT) {
        int64_t base, at;
        double x = fold_start<FOLD>();
        axes_offsets<1>(r.kept, output, &base);
        for (int64_t i = from; i < end; i++) {
            axes_offsets<1>(r.reduced, i, &at);
            x = fold<FOLD>(x, (double)in[base + at]);
        }
        store_result(r, part, output, x);
    }
}

template <int FOLD> __global__ void fold_parts(struct reduction r)
{
    for (int64_t output = FIRST_ELEMENT; output < r.kept.count; output += NEXT_ELEMENT) {
        double x = r.partial[output];
        for (int64_t part = 1; part < r.parts; part++)
            x = fold<FOLD>(x, r.partial[part * r.kept.count + output]);
        if (r.wide_out)
            ((double *)r.out)[output] = x;
        else
            ((float *)r.out)[output] = (float)x;
    }
}

static void append(axes *a, int64_t dim, int64_t stride)
{
    a->dim[a->rank] = dim;
    a->stride[0][a->rank++] = stride;
    a->count *= dim;
}

/* Sorts the merged axes of the input into kept and reduced ones, and cuts the work. */
static struct reduction plan(const struct tensor *in, const struct tensor *out)
{
    const struct tensor *t[2] = { in, out };
    axes all = axes_of(t, 2);
    struct reduction r = {};
    int64_t kept = 0, reduced = 0; /* smallest strides */
    r.kept.count = r.reduced.count = 1;
    for (int i = 0; i < all.rank; i++) {
        bool keeps = all.stride[1][i] != 0;
        append(keeps ? &r.kept : &r.reduced, all.dim[i], all.stride[0][i]);
        *(keeps ? &kept : &reduced) = all.stride[0][i];
    }
    if (r.kept.rank == 0) append(&r.kept, 1, 0);
    if (r.reduced.rank == 0) append(&r.reduced, 1, 0);
    r.by_column = r.kept.count >= 8 && kept == 1 && reduced != 1;
    if (r.reduced.count <= 8) r.by_column = 1;
    int64_t workers = r.by_column ? divide_up(r.kept.count, BLOCK) : r.kept.count;
    r.parts = min_int(MAX_PARTS / min_int(workers, MAX_PARTS), divide_up(r.reduced.count, FEW));
    r.parts = max_int(1, r.parts);
    r.wide_out = out->dtype == DT_F64;
    r.out = out->data;
    return r;
}

template <class T, int FOLD>
static void launch(struct reduction *r, const void *in, cudaStream_t stream)
{
    unsigned parts = (unsigned)r->parts, threads = 32;
    while (threads < BLOCK && threads < r->reduced.count / r->parts) threads *= 2;
    if (r->by_column) {
        dim3 grid((unsigned)min_int(divide_up(r->kept.count, BLOCK), INT32_MAX), parts);
        CU_LAUNCH((fold_columns<T, FOLD>), grid, block_for(r->kept.count), 0, stream, (const T *)in,
                  *r);
    } else {
        dim3 grid((unsigned)r->kept.count, parts);
        CU_LAUNCH((fold_rows<T, FOLD>), grid, threads, 0, stream, (const T *)in, *r);
    }
    if (r->parts > 1)
        CU_LAUNCH(fold_parts<FOLD>, grid_for(r->kept.count), block_for(r->kept.count), 0, stream,
                  *r);
}

static size_t scratch(const struct step *step)
{
    struct reduction r = plan(&step->in[0], &step->out[0]);
    return r.parts > 1 ? (size_t)(r.parts * r.kept.count) * sizeof(double) : 0;
}

template <int FOLD> static void reduce(const struct step *step, struct run *run)
{
    struct reduction r = plan(&step->in[0], &step->out[0]);
    r.partial = (double *)step->scratch;
    if (step->in[0].dtype == DT_F64)
        launch<double, FOLD>(&r, step->in[0].data, run->engine->stream);
    else
        launch<float, FOLD>(&r, step->in[0].data, run->engine->stream);
}

#define REDUCE(op, how)                                                                            \
    extern "C" size_t cuda_scratch_##op(const struct engine *, const struct step *step)            \
    {                                                                                              \
        return scratch(step);                                                                      \
    }                                                                                              \
    extern "C" void cuda_kernel_##op(const struct step *step, struct run *run)                     \
    {                                                                                              \
        reduce<how>(step, run);                                                                    \
    }
REDUCE(SUM, SUM)
REDUCE(REDUCE_MAX, LARGEST)
REDUCE(REDUCE_MIN, SMALLEST)

/* ---------------------------------------------------------------- for chains */

static struct reduction columns_plan(int32_t dtype, int64_t rows, int64_t columns, int64_t stride)
{
    struct tensor in = {}, out = {};
    in.dtype = out.dtype = dtype;
    in.rank = out.rank = 2;
    in.dim[0] = rows;
    in.dim[1] = out.dim[1] = columns;
    in.stride[0] = stride;
    in.stride[1] = out.stride[1] = 1;
    out.dim[0] = 1;
    out.stride[0] = columns;
    return plan(&in, &out);
}

extern "C" int64_t column_sums_room(int64_t rows, int64_t columns)
{
    struct reduction r = columns_plan(DT_F32, rows, columns, columns);
    return r.parts > 1 ? r.parts * columns : 0;
}

extern "C" void column_sums(struct run *run, int32_t dtype, const void *x, int64_t rows,
                            int64_t columns, int64_t stride, void *to, double *room)
{
    struct reduction r = columns_plan(dtype, rows, columns, stride);
    r.out = to;
    r.partial = room;
    if (dtype == DT_F64)
        launch<double, SUM>(&r, x, run->engine->stream);
    else
        launch<float, SUM>(&r, x, run->engine->stream);
}

extern "C" int64_t channel_sums_room(int64_t channels) { return MAX_PARTS * channels; }

extern "C" void channel_sums(struct run *run, int32_t dtype, const void *x, const int64_t dim[3],
                             const int64_t stride[3], void *to, double *room)
{
    struct tensor in = {}, out = {};
    in.dtype = dtype;
    out.dtype = dtype == DT_F64 ? DT_F64 : DT_F32;
    in.rank = out.rank = 3;
    for (int i = 0; i < 3; i++) {
        in.dim[i] = dim[i];
        in.stride[i] = stride[i];
        out.dim[i] = out.stride[i] = 1;
    }
    out.dim[1] = dim[1];
    struct reduction r = plan(&in, &out);
    r.out = to;
    r.partial = room;
    if (dtype == DT_BF16)
        launch<bf16, SUM>(&r, x, run->engine->stream);
    else if (dtype == DT_F64)
        launch<double, SUM>(&r, x, run->engine->stream);
    else
        launch<float, SUM>(&r, x, run->engine->stream);
}

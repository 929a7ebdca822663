/* layout.cu - operations that move elements: copies, concatenation, lookups, running sums, space to
 * depth. */
#include <string.h>
#include "axes.h"

/* ---------------------------------------------------------------- copy, cast, place */

template <class To, class From> __global__ void copy_elements(To *to, const From *from, axes axes)
{
    for (int64_t i = FIRST_ELEMENT; i < axes.count; i += NEXT_ELEMENT) {
        int64_t at[2];
        axes_offsets<2>(axes, i, at);
        to[at[0]] = (To)from[at[1]];
    }
}

template <class To, class From>
static void launch_copy(struct run *run, const struct tensor *to, const struct tensor *from)
{
    const struct tensor *t[2] = { to, from };
    axes axes = axes_of(t, 2);
    CU_LAUNCH((copy_elements<To, From>), grid_for(axes.count), block_for(axes.count), 0,
              run->engine->stream, (To *)to->data, (const From *)from->data, axes);
}

/* to = from, which broadcasts; any strides, any types. */
static void copy(struct run *run, const struct tensor *to, const struct tensor *from)
{
    bool wide = to->dtype == DT_F64, from_wide = from->dtype == DT_F64;
    if (wide && from_wide)
        launch_copy<double, double>(run, to, from);
    else if (wide)
        launch_copy<double, float>(run, to, from);
    else if (from_wide)
        launch_copy<float, double>(run, to, from);
    else
        launch_copy<float, float>(run, to, from);
}

extern "C" void cuda_kernel_COPY(const struct step *step, struct run *run)
{
    copy(run, &step->out[0], &step->in[0]);
}
extern "C" void cuda_kernel_CAST(const struct step *step, struct run *run)
{
    copy(run, &step->out[0], &step->in[0]);
}

static void set_zero(struct run *run, const struct tensor *t)
{
    cudaMemsetAsync(t->data, 0, (size_t)tensor_count(t) * dtype_size(t->dtype),
                    run->engine->stream);
}

/* Whether the ranges (start, step, n) cover 0..extent-1. */
static bool covers(const int64_t *range, int n_ranges, int64_t extent)
{
    enum { WIDEST = 4096 };
    char covered[WIDEST] = { 0 };
    int64_t count = 0;
    if (extent > WIDEST) return false; /* then the zeros are written, needed or not */
    for (int k = 0; k < n_ranges; k++)
        for (int64_t i = 0; i < range[3 * k + 2]; i++) {
            int64_t at = range[3 * k] + i * range[3 * k + 1];
            count += !covered[at];
            covered[at] = 1;
        }
    return count == extent;
}

extern "C" void cuda_kernel_PLACE(const struct step *step, struct run *run)
{
    int64_t axis = step->ai[0];
    const int64_t *range = step->ai + 2;
    if (!covers(range, step->n_in, step->ai[1])) set_zero(run, &step->out[0]);
    for (int k = 0; k < step->n_in; k++, range += 3) {
        struct tensor to = step->out[0];
        to.data = (char *)to.data + range[0] * to.stride[axis] * (int64_t)dtype_size(to.dtype);
        to.stride[axis] *= range[1];
        to.dim[axis] = range[2];
        copy(run, &to, &step->in[k]);
    }
}

/* ---------------------------------------------------------------- take */

/* Indices travel as an argument of the launch, some at a time: nothing to keep in memory. */
enum { LOOKUP = CUT(768, 3) };
struct lookup {
    int64_t out_stride, in_stride; /* of the axis that is looked up */
    int32_t n, adjoint;
    int32_t index[LOOKUP];
};

/* A thread has one position of all axes but that one, so sums are made in order. */
template <class T> __global__ void take_lines(T *out, const T *in, axes axes, struct lookup l)
{
    for (int64_t i = FIRST_ELEMENT; i < axes.count; i += NEXT_ELEMENT) {
        int64_t at[2];
        axes_offsets<2>(axes, i, at);
        for (int k = 0; k < l.n; k++) {
            if (l.adjoint)
                out[at[0] + l.index[k] * l.out_stride] += in[at[1] + k * l.in_stride];
            else
                out[at[0] + k * l.out_stride] = in[at[1] + l.index[k] * l.in_stride];
        }
    }
}

template <class T> static void launch_take(const struct step *step, struct run *run, bool adjoint)
{
    int64_t axis = step->ai[0], n = step->ai[adjoint ? 2 : 1];
    const int64_t *index = step->ai + (adjoint ? 3 : 2);
    struct tensor out = step->out[0], in = step->in[0];
    const struct tensor *t[2] = { &out, &in };
    struct lookup l = {};
    l.out_stride = out.stride[axis];
    l.in_stride = in.dim[axis] == 1 ? 0 : in.stride[axis];
    l.adjoint = adjoint;
    if (adjoint) set_zero(run, &out);
    out.dim[axis] = in.dim[axis] = 1;
    axes axes = axes_of(t, 2);
    T *to = (T *)out.data;
    const T *from = (const T *)in.data;
    for (int64_t first = 0; first < n; first += LOOKUP) {
        l.n = (int32_t)min_int(LOOKUP, n - first);
        for (int k = 0; k < l.n; k++) l.index[k] = (int32_t)index[first + k];
        CU_LAUNCH(take_lines<T>, grid_for(axes.count), block_for(axes.count), 0,
                  run->engine->stream, adjoint ? to : to + first * l.out_stride,
                  adjoint ? from + first * l.in_stride : from, axes, l);
    }
}

static void take(const struct step *step, struct run *run, bool adjoint)
{
    if (step->in[0].dtype == DT_F64)
        launch_take<double>(step, run, adjoint);
    else
        launch_take<float>(step, run, adjoint);
}
extern "C" void cuda_kernel_TAKE(const struct step *step, struct run *run)
{
    take(step, run, false);
}
extern "C" void cuda_kernel_TAKE_ADJ(const struct step *step, struct run *run)
{
    take(step, run, true);
}

/* ---------------------------------------------------------------- running sums */

template <class T>
__global__ void sum_lines(T *out, const T *in, axes axes, int64_t n, int64_t out_stride,
                          int64_t in_stride)
{
    for (int64_t i = FIRST_ELEMENT; i < axes.count; i += NEXT_ELEMENT) {
        int64_t at[2];
        double sum = 0;
        axes_offsets<2>(axes, i, at);
        for (int64_t k = 0; k < n; k++) {
            sum += (double)in[at[1] + k * in_stride];
            out[at[0] + k * out_stride] = (T)sum;
        }
    }
}

template <class T> static void launch_sums(const struct step *step, struct run *run)
{
    int64_t axis = step->ai[0], n = step->out[0].dim[axis];
    struct tensor out = step->out[0], in = step->in[0];
    const struct tensor *t[2] = { &out, &in };
    int64_t so = out.stride[axis], si = in.stride[axis];
    T *to = (T *)out.data;
    const T *from = (const T *)in.data;
    if (step->ai[1]) { /* backwards */
        to += (n - 1) * so;
        from += (n - 1) * si;
        so = -so;
        si = -si;
    }
    out.dim[axis] = in.dim[axis] = 1;
    axes axes = axes_of(t, 2);
    CU_LAUNCH(sum_lines<T>, grid_for(axes.count), block_for(axes.count), 0, run->engine->stream, to,
              from, axes, n, so, si);
}

extern "C" void cuda_kernel_CUMSUM(const struct step *step, struct run *run)
{
    if (step->in[0].dtype == DT_F64)
        launch_sums<double>(step, run);
    else
        launch_sums<float>(step, run);
}

/* ---------------------------------------------------------------- space to depth */

/* wide (N,C,H,W), deep (N,4C,H/2,W/2) */
struct squeeze {
    int64_t samples, channels, height, width;
    int64_t wide_batch, wide_channel, deep_batch, deep_channel; /* strides */
    int32_t by_block, to_depth;
};

template <class T> __global__ void squeeze_elements(T *wide, T *deep, struct squeeze s)
{
    int64_t plane = s.height * s.width, half = s.width / 2;
    for (int64_t i = FIRST_ELEMENT; i < s.samples * s.channels * plane; i += NEXT_ELEMENT) {
        int64_t x = i % s.width, y = i / s.width % s.height, c = i / plane % s.channels,
                n = i / plane / s.channels;
        int64_t inner = 2 * (y % 2) + x % 2;
        int64_t to = s.by_block ? inner * s.channels + c : 4 * c + inner;
        T *a = &wide[n * s.wide_batch + c * s.wide_channel + y * s.width + x];
        T *b = &deep[n * s.deep_batch + to * s.deep_channel + y / 2 * half + x / 2];
        if (s.to_depth)
            *b = *a;
        else
            *a = *b;
    }
}

static void squeeze(const struct step *step, struct run *run, bool to_depth)
{
    const struct tensor *wide = to_depth ? &step->in[0] : &step->out[0];
    const struct tensor *deep = to_depth ? &step->out[0] : &step->in[0];
    struct squeeze s = {};
    s.samples = wide->dim[0];
    s.channels = wide->dim[1];
    s.height = wide->dim[2];
    s.width = wide->dim[3];
    s.wide_batch = wide->stride[0];
    s.wide_channel = wide->stride[1];
    s.deep_batch = deep->stride[0];
    s.deep_channel = deep->stride[1];
    s.by_block = step->ai[0] == GLOW_ORDER_BLOCK;
    s.to_depth = to_depth;
    unsigned grid = grid_for(tensor_count(wide)), threads = block_for(tensor_count(wide));
    if (wide->dtype == DT_F64)
        CU_LAUNCH(squeeze_elements<double>, grid, threads, 0, run->engine->stream,
                  (double *)wide->data, (double *)deep->data, s);
    else
        CU_LAUNCH(squeeze_elements<float>, grid, threads, 0, run->engine->stream,
                  (float *)wide->data, (float *)deep->data, s);
}
extern "C" void cuda_kernel_S2D(const struct step *step, struct run *run)
{
    squeeze(step, run, true);
}
extern "C" void cuda_kernel_D2S(const struct step *step, struct run *run)
{
    squeeze(step, run, false);
}

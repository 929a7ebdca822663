/* fused.cu - chains of elementwise operations in one pass over memory: each thread reads an element
 * of every input, interprets the operations on it, and writes an element of every output; long
 * chains may have been compiled instead (fused_compile.c), with the same bits. All threads of a
 * launch take the same way through the interpreter. An output may be the memory of an
 * input, since an element is read before it is written.
 *
 * Sums over each sample ride along: a block has a part of one sample, folds what its threads have
 * added up as a tree, in f64, and the parts are added in order by a second kernel. */
#include "axes.h"
#include "element.h"
#include "fused_code.h"

enum {
    SUM_PART = CUT(2048, 16),
    MAX_PARTS = 256
}; /* elements of a part, at least; parts of a sample */

struct chain_code {
    int32_t n, n_in, n_out;
    const void *in[FUSED_INPUTS];
    void *out[FUSED_OUTPUTS]; /* NULL: unwanted */
    uint8_t op[FUSED_OPS];
    int8_t operand[FUSED_OPS][3]; /* < n_in: an input; -1: none */
    int8_t made_by[FUSED_OUTPUTS];
    int8_t is_sum[FUSED_OUTPUTS], wide[FUSED_OUTPUTS];
    int32_t *watch; /* the first operation that made a NaN or Inf; NULL: nobody asks */
    int64_t samples, parts;
    double *partial; /* (output, sample, part) */
};
typedef walk<FUSED_INPUTS> chain_axes;

template <class T> __device__ static inline T apply(int op, T x, T y, T z)
{
    switch (op) {
#define ELEMENT_CASE(name, operands, result)                                                       \
    case OP_##name: return element_##name::template apply<T>(x, y, z);
        ELEMENTS(ELEMENT_CASE)
    default: return x; /* OP_COPY, OP_SUM */
    }
}

/* All results at element i, the inputs first; writes what is an output of its own. */
template <class T>
__device__ static inline void run_element(const struct chain_code &code, const chain_axes &axes,
                                          int64_t i, T *value)
{
    int64_t at[FUSED_INPUTS];
    for (int k = 0; k < code.n_in; k++) at[k] = 0;
    axes_visit(axes, i, [&](int axis, int64_t index) {
        for (int k = 0; k < code.n_in; k++) at[k] += index * axes.stride[k][axis];
    });
    for (int k = 0; k < code.n_in; k++) value[k] = ((const T *)code.in[k])[at[k]];
    for (int j = 0; j < code.n; j++) {
        const int8_t *o = code.operand[j];
        T x = value[o[0]], y = o[1] >= 0 ? value[o[1]] : x, z = o[2] >= 0 ? value[o[2]] : x;
        T result = apply(code.op[j], x, y, z);
        value[code.n_in + j] = result;
        if (code.watch && !isfinite(result)) atomicMin(code.watch, j);
    }
    for (int k = 0; k < code.n_out; k++)
        if (code.out[k] && !code.is_sum[k])
            ((T *)code.out[k])[i] = value[code.n_in + code.made_by[k]];
}

template <class T> __global__ void run_chain(struct chain_code code, chain_axes axes)
{
    T value[FUSED_INPUTS + FUSED_OPS];
    for (int64_t i = FIRST_ELEMENT; i < axes.count; i += NEXT_ELEMENT)
        run_element(code, axes, i, value);
}

/* Block (part, sample). */
template <class T> __global__ void run_chain_sums(struct chain_code code, chain_axes axes)
{
    __shared__ double lane[BLOCK];
    T value[FUSED_INPUTS + FUSED_OPS];
    double sum[FUSED_OUTPUTS];
    for (int64_t sample = blockIdx.y; sample < code.samples; sample += gridDim.y) {
        int64_t each = axes.count / code.samples, first = sample * each;
        int64_t from = first + each * blockIdx.x / code.parts;
        int64_t end = first + each * (blockIdx.x + 1) / code.parts;
        for (int k = 0; k < code.n_out; k++) sum[k] = 0;
        for (int64_t i = from + threadIdx.x; i < end; i += blockDim.x) {
            run_element(code, axes, i, value);
            for (int k = 0; k < code.n_out; k++)
                if (code.is_sum[k]) sum[k] += (double)value[code.n_in + code.made_by[k]];
        }
        for (int k = 0; k < code.n_out; k++) {
            if (!code.is_sum[k]) continue;
            lane[threadIdx.x] = sum[k];
            __syncthreads();
            for (unsigned half = blockDim.x / 2; half > 0; half /= 2) {
                if (threadIdx.x < half) lane[threadIdx.x] += lane[threadIdx.x + half];
                __syncthreads();
            }
            if (threadIdx.x == 0)
                code.partial[(k * code.samples + sample) * code.parts + blockIdx.x] = lane[0];
        }
    }
}

__global__ void add_chain_parts(struct chain_code code)
{
    for (int64_t i = FIRST_ELEMENT; i < code.n_out * code.samples; i += NEXT_ELEMENT) {
        int64_t k = i / code.samples, sample = i % code.samples;
        if (!code.is_sum[k] || !code.out[k]) continue;
        double sum = 0;
        for (int64_t part = 0; part < code.parts; part++)
            sum += code.partial[i * code.parts + part];
        if (code.wide[k])
            ((double *)code.out[k])[sample] = sum;
        else
            ((float *)code.out[k])[sample] = (float)sum;
    }
}

static bool has_sums(const struct step *step)
{
    for (int64_t j = 0; j < step->ai[0]; j++)
        if (step->ai[1 + 4 * j] == OP_SUM) return true;
    return false;
}

static int64_t parts_of(const struct step *step)
{
    int64_t each = tensor_count(&step->in[0]) / step->in[0].dim[0];
    return max_int(1, min_int(MAX_PARTS, each / SUM_PART));
}

static struct chain_code code_of(const struct step *step, const struct run *run)
{
    struct chain_code c = {};
    c.n = (int32_t)step->ai[0];
    c.n_in = step->n_in;
    c.n_out = step->n_out;
    c.watch = run->nonfinite ? run->engine->watch : NULL;
    c.samples = step->in[0].dim[0];
    c.parts = parts_of(step);
    c.partial = (double *)step->scratch;
    for (int k = 0; k < c.n_in; k++) c.in[k] = step->in[k].data;
    for (int j = 0; j < c.n; j++) {
        const int64_t *ai = step->ai + 1 + 4 * j;
        c.op[j] = (uint8_t)ai[0];
        for (int k = 0; k < 3; k++) c.operand[j][k] = (int8_t)ai[1 + k];
    }
    for (int k = 0; k < c.n_out; k++) {
        c.out[k] = step->out[k].data;
        c.wide[k] = step->out[k].dtype == DT_F64;
        c.made_by[k] = (int8_t)step->ai[1 + 4 * c.n + k];
        c.is_sum[k] = c.op[c.made_by[k]] == OP_SUM;
    }
    return c;
}

static chain_axes axes_of_step(const struct step *step)
{
    const struct tensor *t[FUSED_INPUTS];
    for (int k = 0; k < step->n_in; k++) t[k] = &step->in[k];
    return axes_of<FUSED_INPUTS>(t, step->n_in);
}

static struct fused_shape shape_of(const struct step *step, const chain_axes &axes)
{
    struct fused_shape s = {};
    s.rank = axes.rank;
    s.sums = has_sums(step);
    s.count = axes.count;
    s.samples = step->in[0].dim[0];
    s.parts = parts_of(step);
    for (int i = 0; i < axes.rank; i++) {
        s.dim[i] = axes.dim[i];
        for (int k = 0; k < step->n_in; k++) s.stride[k][i] = axes.stride[k][i];
    }
    return s;
}

extern "C" size_t cuda_scratch_FUSED(const struct engine *e, const struct step *step)
{
    struct fused_shape shape = shape_of(step, axes_of_step(step));
    fused_prepare(e, step, &shape);
    if (!shape.sums) return 0;
    return (size_t)(step->n_out * shape.samples * shape.parts) * sizeof(double);
}

/* False: the chain was not compiled, or somebody watches what each operation makes. */
static bool launch_compiled(const struct step *step, struct run *run, const chain_axes &axes,
                            const struct chain_code &code, const unsigned grid[2], unsigned block)
{
    struct fused_shape shape = shape_of(step, axes);
    struct fused_operands o = {};
    cudaKernel_t kernel = code.watch ? NULL : fused_find(run->engine, step, &shape);
    if (!kernel) return false;
    for (int k = 0; k < code.n_in; k++) o.in[k] = code.in[k];
    for (int k = 0; k < code.n_out; k++) o.out[k] = code.out[k];
    o.partial = code.partial;
    cudaError_t error = fused_launch(kernel, grid, block, &o, run->engine->stream);
    if (error != cudaSuccess) step_failed(step, run, "a compiled chain", cudaGetErrorString(error));
    return true;
}

template <class T> static void launch(const struct step *step, struct run *run)
{
    struct chain_code code = code_of(step, run);
    chain_axes axes = axes_of_step(step);
    cudaStream_t stream = run->engine->stream;
    const bool sums = has_sums(step);
    unsigned grid[2] = { grid_for(axes.count), 1 }, block = block_for(axes.count);
    if (sums) {
        grid[0] = (unsigned)code.parts;
        grid[1] = (unsigned)min_int(code.samples, 65535);
        block = block_for(axes.count / code.samples / code.parts);
    }
    if (!launch_compiled(step, run, axes, code, grid, block)) {
        if (sums)
            CU_LAUNCH(run_chain_sums<T>, dim3(grid[0], grid[1]), block, 0, stream, code, axes);
        else
            CU_LAUNCH(run_chain<T>, grid[0], block, 0, stream, code, axes);
    }
    if (!sums) return;
    int64_t n = code.n_out * code.samples;
    CU_LAUNCH(add_chain_parts, grid_for(n), block_for(n), 0, stream, code);
}

extern "C" void cuda_kernel_FUSED(const struct step *step, struct run *run)
{
    if (step->in[0].dtype == DT_F64)
        launch<double>(step, run);
    else
        launch<float>(step, run);
}

/* fused.cu - chains of elementwise operations in one pass over memory: each thread reads an element
 * of every input, interprets the operations on it, and writes an element of every output. All
 * threads of a launch take the same way through the interpreter. An output may be the memory of an
 * input that is read there and nowhere else. */
#include "axes.h"
#include "element.h"

struct chain_code {
    int32_t n, n_in, n_out;
    const void *in[FUSED_INPUTS];
    void *out[FUSED_OUTPUTS]; /* NULL: unwanted */
    uint8_t op[FUSED_OPS];
    int8_t operand[FUSED_OPS][3]; /* < n_in: an input; -1: none */
    int8_t made_by[FUSED_OUTPUTS];
    int32_t *watch; /* the first operation that made a NaN or Inf; NULL: nobody asks */
};
typedef walk<1 + FUSED_INPUTS> chain_axes;

template <class T> __device__ static inline T apply(int op, T x, T y, T z)
{
    switch (op) {
#define ELEMENT_CASE(name, operands, result)                                                       \
    case OP_##name: return element_##name::template apply<T>(x, y, z);
        ELEMENTS(ELEMENT_CASE)
    default: return x; /* OP_COPY */
    }
}

template <class T> __global__ void run_chain(struct chain_code code, chain_axes axes)
{
    for (int64_t i = FIRST_ELEMENT; i < axes.count; i += NEXT_ELEMENT) {
        T value[FUSED_INPUTS + FUSED_OPS];
        int64_t at[1 + FUSED_INPUTS];
        for (int k = 0; k <= code.n_in; k++) at[k] = 0;
        axes_visit(axes, i, [&](int axis, int64_t index) {
            for (int k = 0; k <= code.n_in; k++) at[k] += index * axes.stride[k][axis];
        });
        for (int k = 0; k < code.n_in; k++) value[k] = ((const T *)code.in[k])[at[1 + k]];
        for (int j = 0; j < code.n; j++) {
            const int8_t *o = code.operand[j];
            T x = value[o[0]], y = o[1] >= 0 ? value[o[1]] : x, z = o[2] >= 0 ? value[o[2]] : x;
            T result = apply(code.op[j], x, y, z);
            value[code.n_in + j] = result;
            if (code.watch && !isfinite(result)) atomicMin(code.watch, j);
        }
        for (int k = 0; k < code.n_out; k++)
            if (code.out[k]) ((T *)code.out[k])[at[0]] = value[code.n_in + code.made_by[k]];
    }
}

static struct chain_code code_of(const struct step *step, const struct run *run)
{
    struct chain_code c = {};
    c.n = (int32_t)step->ai[0];
    c.n_in = step->n_in;
    c.n_out = step->n_out;
    c.watch = run->nonfinite ? run->engine->watch : NULL;
    for (int k = 0; k < c.n_in; k++) c.in[k] = step->in[k].data;
    for (int j = 0; j < c.n; j++) {
        const int64_t *ai = step->ai + 1 + 4 * j;
        c.op[j] = (uint8_t)ai[0];
        for (int k = 0; k < 3; k++) c.operand[j][k] = (int8_t)ai[1 + k];
    }
    for (int k = 0; k < c.n_out; k++) {
        c.out[k] = step->out[k].data;
        c.made_by[k] = (int8_t)step->ai[1 + 4 * c.n + k];
    }
    return c;
}

extern "C" void cuda_kernel_FUSED(const struct step *step, struct run *run)
{
    const struct tensor *t[1 + FUSED_INPUTS] = { &step->out[0] };
    for (int k = 0; k < step->n_in; k++) t[1 + k] = &step->in[k];
    chain_axes axes = axes_of<1 + FUSED_INPUTS>(t, 1 + step->n_in);
    struct chain_code code = code_of(step, run);
    if (step->out[0].dtype == DT_F64)
        CU_LAUNCH(run_chain<double>, grid_for(axes.count), block_for(axes.count), 0, run->engine->stream, code,
                  axes);
    else
        CU_LAUNCH(run_chain<float>, grid_for(axes.count), block_for(axes.count), 0, run->engine->stream, code,
                  axes);
}

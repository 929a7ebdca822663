/* fused_code.c - the text of a chain of elementwise operations, for NVRTC: one statement for each
 * operand and operation, sizes and strides as numbers, so that nothing is interpreted, results stay
 * in registers and no index is divided by a number that the compiler does not know. */
#include "fused_code.h"
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "element_table.h"

#define AS_TEXT_(...) #__VA_ARGS__
#define AS_TEXT(...)  AS_TEXT_(__VA_ARGS__)
static const char helpers[] = AS_TEXT(ELEMENT_HELPERS(DEVICE));

#define EXPRESSION(op, operands, result) [OP_##op] = #result,
static const char *const expressions[OP_COUNT] = { ELEMENTS(EXPRESSION)[OP_COPY] = "x", [OP_SUM] =
                                                                                            "x" };

struct text {
    char *start;
    size_t n, size;
    int failed;
};

__attribute__((format(printf, 2, 3))) static void add(struct text *t, const char *format, ...)
{
    va_list list;
    va_start(list, format);
    int n = t->failed ? 0 : vsnprintf(t->start + t->n, t->size - t->n, format, list);
    va_end(list);
    if (t->failed || n < 0 || t->n + (size_t)n < t->size) {
        t->n += n > 0 ? (size_t)n : 0;
        return;
    }
    char *more = realloc(t->start, t->size = 2 * (t->size + (size_t)n));
    t->failed = !more;
    if (!more) return;
    t->start = more;
    va_start(list, format);
    t->n += (size_t)vsnprintf(t->start + t->n, t->size - t->n, format, list);
    va_end(list);
}

/* Whether all elements and offsets can be counted in 32 bits. */
static int is_small(const struct fused_shape *s, int n_in)
{
    if (s->count > INT32_MAX) return 0;
    for (int k = 0; k < n_in; k++) {
        int64_t reach = 0;
        for (int axis = 0; axis < s->rank; axis++)
            reach +=
                s->dim[axis] * (s->stride[k][axis] < 0 ? -s->stride[k][axis] : s->stride[k][axis]);
        if (reach > INT32_MAX) return 0;
    }
    return 1;
}

static void add_input(struct text *t, const struct fused_shape *s, int k)
{
    add(t, "    const T v%d = ((const T *)o.in[%d])[0", k, k);
    for (int axis = 0; axis < s->rank; axis++)
        if (s->stride[k][axis])
            add(t, " + i%d * (number)%lld", axis, (long long)s->stride[k][axis]);
    add(t, "];\n");
}

static void add_operation(struct text *t, const struct step *step, int j)
{
    static const char names[3] = { 'x', 'y', 'z' };
    const int64_t *ai = step->ai + 1 + 4 * j;
    add(t, "    T v%d;\n    {\n        const T", step->n_in + j);
    for (int k = 0; k < 3; k++) /* as the interpreter has it: one that is not there is x */
        add(t, " %c = v%d%s", names[k], (int)(ai[1 + k] >= 0 ? ai[1 + k] : ai[1]),
            k < 2 ? "," : ";\n");
    add(t, "        (void)x, (void)y, (void)z;\n        v%d = (T)(%s);\n    }\n", step->n_in + j,
        expressions[ai[0]]);
}

/* An element: reads, computes, writes; sums are added to. */
static void add_element(struct text *t, const struct step *step, const struct fused_shape *s)
{
    const int n = (int)step->ai[0];
    add(t, "DEVICE void element(const operands &o, const number at, double *sum)\n{\n"
           "    number rest = at;\n    (void)sum;\n");
    for (int axis = s->rank - 1; axis > 0; axis--)
        add(t, "    const number i%d = rest %% (number)%lld;\n    rest /= (number)%lld;\n", axis,
            (long long)s->dim[axis], (long long)s->dim[axis]);
    add(t, "    const number i0 = rest;\n    (void)i0;\n");
    for (int k = 0; k < step->n_in; k++) add_input(t, s, k);
    for (int j = 0; j < n; j++) add_operation(t, step, j);
    for (int k = 0; k < step->n_out; k++) {
        const int made_by = (int)step->ai[1 + 4 * n + k];
        if (step->ai[1 + 4 * made_by] == OP_SUM)
            add(t, "    sum[%d] += (double)v%d;\n", k, step->n_in + made_by);
        else if (step->out[k].data)
            add(t, "    ((T *)o.out[%d])[at] = v%d;\n", k, step->n_in + made_by);
    }
    add(t, "}\n");
}

static const char loop[] =
    "extern \"C\" __global__ void chain(operands o)\n{\n"
    "    for (long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x; i < COUNT;\n"
    "         i += (long long)gridDim.x * blockDim.x)\n"
    "        element(o, (number)i, 0);\n}\n";

/* Block (part, sample), as run_chain_sums in fused.cu. */
static const char loop_of_sums[] =
    "extern \"C\" __global__ void chain(operands o)\n{\n"
    "    __shared__ double lane[256];\n    double sum[OUTPUTS];\n"
    "    for (long long sample = blockIdx.y; sample < SAMPLES; sample += gridDim.y) {\n"
    "        const long long each = COUNT / SAMPLES, first = sample * each;\n"
    "        const long long from = first + each * blockIdx.x / PARTS;\n"
    "        const long long end = first + each * (blockIdx.x + 1) / PARTS;\n"
    "        for (int k = 0; k < OUTPUTS; k++) sum[k] = 0;\n"
    "        for (long long i = from + threadIdx.x; i < end; i += blockDim.x)\n"
    "            element(o, (number)i, sum);\n"
    "        for (int k = 0; k < OUTPUTS; k++) {\n"
    "            if (!(SUMS >> k & 1)) continue;\n"
    "            lane[threadIdx.x] = sum[k];\n            __syncthreads();\n"
    "            for (unsigned half = blockDim.x / 2; half > 0; half /= 2) {\n"
    "                if (threadIdx.x < half) lane[threadIdx.x] += lane[threadIdx.x + half];\n"
    "                __syncthreads();\n            }\n"
    "            if (threadIdx.x == 0)\n"
    "                o.partial[(k * SAMPLES + sample) * PARTS + blockIdx.x] = lane[0];\n"
    "        }\n    }\n}\n";

char *fused_text(const struct step *step, const struct fused_shape *s)
{
    struct text t = { .size = 16384 };
    int sums = 0;
    t.start = malloc(t.size);
    if (!t.start) return NULL;
    for (int k = 0; k < step->n_out; k++)
        sums |= (step->ai[1 + 4 * step->ai[1 + 4 * step->ai[0] + k]] == OP_SUM) << k;
    add(&t, "#define DEVICE static __device__ inline\n%s\n", helpers);
    add(&t, "typedef %s T;\ntypedef %s number;\n", step->in[0].dtype == DT_F64 ? "double" : "float",
        is_small(s, step->n_in) ? "int" : "long long");
    add(&t, "struct operands { const void *in[%d]; void *out[%d]; double *partial; };\n",
        FUSED_INPUTS, FUSED_OUTPUTS);
    add(&t, "static const long long COUNT = %lld, SAMPLES = %lld, PARTS = %lld;\n",
        (long long)s->count, (long long)s->samples, (long long)s->parts);
    add(&t, "enum { OUTPUTS = %d, SUMS = %d };\n", step->n_out, sums);
    add_element(&t, step, s);
    add(&t, "%s", sums ? loop_of_sums : loop);
    if (!t.failed) return t.start;
    free(t.start);
    return NULL;
}

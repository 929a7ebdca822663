/* elementwise.cu - the operations that act on each element alone. Operands broadcast by stride 0;
 * the output may be an operand's memory, since each thread reads an element of every operand before
 * it writes that element. */
#include "axes.h"
#include "element.h"

/* What F makes of the operands x, y and z at each element. */
template <class F, int N, class T>
__global__ void map_elements(T *out, const T *a, const T *b, const T *c, axes axes)
{
    for (int64_t i = FIRST_ELEMENT; i < axes.count; i += NEXT_ELEMENT) {
        int64_t at[1 + N];
        axes_offsets<1 + N>(axes, i, at);
        T x = a[at[1]], y = N > 1 ? b[at[N > 1 ? 2 : 1]] : x, z = N > 2 ? c[at[N]] : x;
        out[at[0]] = F::template apply<T>(x, y, z);
    }
}

template <class F, int N, class T> static void launch(const struct step *s, struct run *run)
{
    const struct tensor *t[4] = { &s->out[0], &s->in[0], &s->in[N > 1 ? 1 : 0],
                                  &s->in[N > 2 ? 2 : 0] };
    axes axes = axes_of(t, 1 + N);
    CU_LAUNCH((map_elements<F, N, T>), grid_for(axes.count), block_for(axes.count), 0,
              run->engine->stream, (T *)t[0]->data, (const T *)t[1]->data, (const T *)t[2]->data,
              (const T *)t[3]->data, axes);
}

#define ELEMENT_KERNEL(op, operands, result)                                                       \
    extern "C" void cuda_kernel_##op(const struct step *step, struct run *run)                     \
    {                                                                                              \
        if (step->out[0].dtype == DT_F64)                                                          \
            launch<element_##op, operands, double>(step, run);                                     \
        else                                                                                       \
            launch<element_##op, operands, float>(step, run);                                      \
    }
ELEMENTS(ELEMENT_KERNEL)

/* custom.c - a plug-in's own operation: its "cuda" kernel is a function that gets views of the
 * operands, in memory of the device, and launches what it brings. Plug-ins without one are
 * decomposed into core operations. */
#include <stdlib.h>
#include "cuda.h"

enum { MAX_OPERANDS = 128 };

static struct glow_array view(const struct tensor *t, const struct glow_type *type)
{
    struct glow_array array = { t->data, type->batched && t->data ? t->dim[0] : 1, *type };
    array.type.dtype = t->dtype == DT_F64 ? GLOW_F64 : GLOW_F32;
    return array;
}

void cuda_kernel_CUSTOM(const struct step *step, struct run *run)
{
    struct glow_array array[MAX_OPERANDS];
    for (int i = 0; i < step->n_in; i++) array[i] = view(&step->in[i], &step->types[i]);
    for (int i = 0; i < step->n_out; i++)
        array[step->n_in + i] = view(&step->out[i], &step->types[step->n_in + i]);
    struct glow_kernel_call call = {
        .size = sizeof call,
        .n_in = (uint32_t)step->n_in,
        .n_out = (uint32_t)step->n_out,
        .n_attr = (uint32_t)step->n_ad,
        .in = array,
        .out = array + step->n_in,
        .attr = step->ad,
        .scratch = step->scratch,
    };
    int32_t code = step->custom->run(&call);
    if (code != GLOW_OK)
        run->status = fail(code, "%s: the plug-in's kernel failed with code %d",
                           step->owner ? step->owner : "?", (int)code);
}

size_t cuda_scratch_CUSTOM(const struct engine *e, const struct step *step)
{
    char why[256] = "";
    struct glow_custom_infer infer = {
        .size = sizeof infer,
        .n_in = (uint32_t)step->n_in,
        .n_out = (uint32_t)step->n_out,
        .n_attr = (uint32_t)step->n_ad,
        .in = step->types,
        .attr = step->ad,
        .out = (struct glow_type *)(uintptr_t)(step->types + step->n_in),
        .why = why,
        .why_size = sizeof why,
    };
    (void)e;
    int64_t wanted = step->custom->scratch ? step->custom->scratch(&infer) : 0;
    return wanted > 0 ? (size_t)wanted : 0;
}

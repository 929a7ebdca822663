/* custom.c - a plug-in's own operation. Either its kernel is device code, an image that images.c
 * has loaded, and is launched here; or it is a function that gets views of the operands, in memory
 * of the device, and launches what it brings. Plug-ins without either are decomposed into core
 * operations. */
#include <stdlib.h>
#include "cuda.h"

enum { MAX_OPERANDS = 128, MAX_ATTRIBUTES = 256 };

static struct glow_array view(const struct tensor *t, const struct glow_type *type)
{
    struct glow_array array = { t->data, type->batched && t->data ? t->dim[0] : 1, *type };
    array.type.dtype = t->dtype == DT_F64 ? GLOW_F64 : GLOW_F32;
    return array;
}

/* The same without memory: what `launch` sees, whoever wants which output. */
static struct glow_array shape(const struct tensor *t, const struct glow_type *type)
{
    struct glow_array array = { .n = 1, .type = { .rank = -1 } };
    if (type->rank < 0) return array;
    array.n = type->batched ? t->dim[0] : 1;
    array.type = *type;
    array.type.dtype = t->dtype == DT_F64 ? GLOW_F64 : GLOW_F32;
    return array;
}

/* The operands of a step: their views, or their shapes alone. */
static struct glow_kernel_call describe(const struct step *step, struct glow_array *array,
                                        struct glow_array (*see)(const struct tensor *,
                                                                 const struct glow_type *))
{
    for (int i = 0; i < step->n_in; i++) array[i] = see(&step->in[i], &step->types[i]);
    for (int i = 0; i < step->n_out; i++)
        array[step->n_in + i] = see(&step->out[i], &step->types[step->n_in + i]);
    return (struct glow_kernel_call){ .size = sizeof(struct glow_kernel_call),
                                      .n_in = (uint32_t)step->n_in,
                                      .n_out = (uint32_t)step->n_out,
                                      .n_attr = (uint32_t)step->n_ad,
                                      .in = array,
                                      .out = array + step->n_in,
                                      .attr = step->ad };
}

static glow_status geometry_of(const struct step *step, struct glow_launch *l)
{
    struct glow_array array[MAX_OPERANDS];
    struct glow_kernel_call shapes = describe(step, array, shape);
    return images_geometry(images_find(step->custom), step->custom, &shapes, l);
}

/* Parameters: pointers to inputs, outputs and scratch, integers, attributes. */
static void launch_image(const struct step *step, struct run *run)
{
    struct glow_launch l;
    void *data[MAX_OPERANDS + 1], *argument[MAX_OPERANDS + 1 + GLOW_MAX_INTEGERS + MAX_ATTRIBUTES];
    int n_data = 0, n = 0;
    run->status = geometry_of(step, &l);
    if (run->status != GLOW_OK) {
        fail_context(run->status, "%s", step->owner ? step->owner : "?");
        return;
    }
    for (int i = 0; i < step->n_in; i++) data[n_data++] = step->in[i].data;
    for (int i = 0; i < step->n_out; i++) data[n_data++] = step->out[i].data;
    if (l.scratch) data[n_data++] = step->scratch;
    for (int i = 0; i < n_data; i++) argument[n++] = &data[i];
    for (uint32_t i = 0; i < l.n_integers; i++) argument[n++] = &l.integers[i];
    for (int i = 0; i < step->n_ad; i++) argument[n++] = (void *)(uintptr_t)&step->ad[i];
    cudaError_t error = images_launch(images_find(step->custom), &l, argument, run->engine->stream);
    if (error != cudaSuccess) step_failed(step, run, "cuda", cudaGetErrorString(error));
}

/* It knows no stream of ours and launches on one of its own: the host waits before and behind it.
 */
static void call_function(const struct step *step, struct run *run)
{
    struct glow_array array[MAX_OPERANDS];
    struct glow_kernel_call call = describe(step, array, view);
    call.scratch = step->scratch;
    run->status = engine_finish(run->engine);
    if (run->status != GLOW_OK) return;
    int32_t code = step->custom->run(&call);
    cudaError_t error = cudaDeviceSynchronize();
    if (error != cudaSuccess)
        step_failed(step, run, "cuda", cudaGetErrorString(error));
    else if (code != GLOW_OK)
        run->status = fail(code, "%s: the plug-in's kernel failed with code %d",
                           step->owner ? step->owner : "?", (int)code);
}

void cuda_kernel_CUSTOM(const struct step *step, struct run *run)
{
    if (step->custom->image)
        launch_image(step, run);
    else
        call_function(step, run);
}

size_t cuda_scratch_CUSTOM(const struct engine *e, const struct step *step)
{
    char why[256] = "";
    struct glow_launch l;
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
    if (step->custom->image) return geometry_of(step, &l) == GLOW_OK ? (size_t)l.scratch : 0;
    int64_t wanted = step->custom->scratch ? step->custom->scratch(&infer) : 0;
    return wanted > 0 ? (size_t)wanted : 0;
}

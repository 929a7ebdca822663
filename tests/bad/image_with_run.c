/* image_with_run.c - a custom operation that brings device code and a function of the host in one
 * record. */
#include "bad_custom.h"

static const unsigned char bytes[4] = { 1, 2, 3, 4 };
static int32_t run(const struct glow_kernel_call *c)
{
    (void)c;
    return GLOW_OK;
}
static const struct glow_kernel kernels[] = { { .backend = "cuda",
                                                .dtype = GLOW_F32,
                                                .run = run,
                                                .image = bytes,
                                                .image_end = bytes + 4,
                                                .entry = "x" } };
CUSTOM_PLUGIN("image_with_run", kernels, 1, sizeof kernels[0]);

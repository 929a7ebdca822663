/* larger_kernels.c - built with a later header whose records of kernels are longer: the host reads
 * what it knows, with their stride, so that a layer of the file trains. */
#include "bad_custom.h"

static int32_t run(const struct glow_kernel_call *c)
{
    (void)c;
    return GLOW_OK;
}
static const struct later_kernel {
    struct glow_kernel kernel;
    const char *more[3];
} kernels[] = {
    { { .backend = "cpu", .dtype = GLOW_F32, .run = run }, { "x", "y", "z" } },
    { { .backend = "cpu", .dtype = GLOW_F64, .run = run }, { "x", "y", "z" } },
};
CUSTOM_PLUGIN("larger_kernels", kernels, 2, sizeof kernels[0]);

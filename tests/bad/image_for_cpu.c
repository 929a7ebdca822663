/* image_for_cpu.c - a custom operation that brings device code for the CPU. */
#include "bad_custom.h"

static const unsigned char bytes[4] = { 1, 2, 3, 4 };
static const struct glow_kernel kernels[] = {
    { .backend = "cpu", .dtype = GLOW_F32, .image = bytes, .image_end = bytes + 4, .entry = "x" }
};
CUSTOM_PLUGIN("image_for_cpu", kernels, 1, sizeof kernels[0]);

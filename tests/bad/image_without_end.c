/* image_without_end.c - a custom operation that brings device code that ends before it begins. */
#include "bad_custom.h"

static const unsigned char bytes[4] = { 1, 2, 3, 4 };
static const struct glow_kernel kernels[] = {
    { .backend = "cuda", .dtype = GLOW_F32, .image = bytes, .image_end = bytes, .entry = "x" }
};
CUSTOM_PLUGIN("image_without_end", kernels, 1, sizeof kernels[0]);

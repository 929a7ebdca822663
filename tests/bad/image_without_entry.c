/* image_without_entry.c - a custom operation that brings device code, but not the name of its
 * kernel. */
#include "bad_custom.h"

static const unsigned char bytes[4] = { 1, 2, 3, 4 };
static const struct glow_kernel kernels[] = {
    { .backend = "cuda", .dtype = GLOW_F32, .image = bytes, .image_end = bytes + 4 }
};
CUSTOM_PLUGIN("image_without_entry", kernels, 1, sizeof kernels[0]);

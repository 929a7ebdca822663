/* short_option.c - option records of another size. */
#include "bad.h"

static const struct glow_layer layer = {
    .head = { sizeof(struct glow_layer), GLOW_LAYER, 1, 0, "short_option", "", NULL, 0, 40 },
    .forward = same,
    .inverse = same,
    .traits = GLOW_BIJECTION,
};
PLUGIN(&layer.head, NULL);

/* short_struct.c - a layer without its traits, as no version ever had it. */
#include "bad.h"

static const struct glow_layer layer = {
    .head = { sizeof(struct glow_layer) - sizeof(struct glow_traits), GLOW_LAYER, 1, 0,
              "short_struct", "a short one", NULL, 0, sizeof(struct glow_option) },
    .forward = same,
    .inverse = same,
};
PLUGIN(&layer.head, NULL);

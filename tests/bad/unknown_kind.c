/* unknown_kind.c - offers something that this glow does not know, and a layer: it is loaded. */
#include "bad.h"

static const struct glow_desc sampler = { sizeof sampler,  77,   1, 0, "hmc",
                                          "of the future", NULL, 0, 0 };
static const struct glow_layer layer = LAYER("unknown_kind");
PLUGIN(&sampler, &layer.head);

/* no_forward.c - a required callback is missing. */
#include "bad.h"

static const struct glow_layer layer = { .head = HEAD("no_forward"),
                                         .inverse = same,
                                         .traits = GLOW_BIJECTION };
PLUGIN(&layer.head, NULL);

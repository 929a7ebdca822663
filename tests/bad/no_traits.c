/* no_traits.c - forgets what its inverse is worth. */
#include "bad.h"

static const struct glow_layer layer = { .head = HEAD("no_traits"),
                                         .forward = same,
                                         .inverse = same };
PLUGIN(&layer.head, NULL);

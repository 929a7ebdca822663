/* claims_inverse.c - calls itself a bijection and has no inverse. */
#include "bad.h"

static const struct glow_layer layer = { .head = HEAD("claims_inverse"),
                                         .forward = same,
                                         .traits = GLOW_BIJECTION };
PLUGIN(&layer.head, NULL);

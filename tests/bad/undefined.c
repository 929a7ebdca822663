/* undefined.c - needs a function that nobody has. */
#include "bad.h"

void no_such_function(const struct glow_self *, struct glow_graph *, struct glow_flow *);
static const struct glow_layer layer = { .head = HEAD("undefined"),
                                         .forward = no_such_function,
                                         .traits = { sizeof(struct glow_traits), 0, 0, 0, 0 } };
PLUGIN(&layer.head, NULL);

/* good.c - nothing is wrong with this one. */
#include "bad.h"

static const struct glow_layer layer = LAYER("good");
PLUGIN(&layer.head, NULL);

/* null_id.c - a layer without a name. */
#include "bad.h"

static const struct glow_layer layer = LAYER(NULL);
PLUGIN(&layer.head, NULL);

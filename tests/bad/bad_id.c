/* bad_id.c - a name that could lead out of the directory of plug-ins. */
#include "bad.h"

static const struct glow_layer layer = LAYER("../bad id");
PLUGIN(&layer.head, NULL);

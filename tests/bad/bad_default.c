/* bad_default.c - a default outside its own range. */
#include "bad.h"

static const struct glow_option options[] = {
    { .key = "bits",
      .help = "bits per channel",
      .dflt = "9",
      .range = "[1,8]",
      .type = GLOW_OPT_INT },
};
static const struct glow_layer layer = {
    .head = GLOW_HEAD(struct glow_layer, GLOW_LAYER, 1, "bad_default", "", options, 1),
    .forward = same,
    .inverse = same,
    .traits = GLOW_BIJECTION,
};
PLUGIN(&layer.head, NULL);

/* long_plugin.c - claims more bytes than the constant has. */
#include "bad.h"

static const struct glow_layer layer = LAYER("long_plugin");
static const struct glow_desc *const descs[] = { &layer.head, NULL };
GLOW_EXPORT const struct glow_plugin glow_plugin_v1 = {
    sizeof glow_plugin_v1 + 4096, GLOW_ABI_MINOR, "bad", "1", "", descs
};

/* newer_minor.c - built for a later glow. */
#include "bad.h"

static const struct glow_layer layer = LAYER("newer_minor");
static const struct glow_desc *const descs[] = { &layer.head, NULL };
GLOW_EXPORT const struct glow_plugin glow_plugin_v1 = {
    sizeof glow_plugin_v1, GLOW_ABI_MINOR + 6, "bad", "1", "", descs
};

/* no_descs.c - no list of descriptors. */
#include "bad.h"

GLOW_EXPORT const struct glow_plugin glow_plugin_v1 = {
    sizeof glow_plugin_v1, GLOW_ABI_MINOR, "bad", "1", "", NULL
};

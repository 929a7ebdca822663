/* short_plugin.c - the constant is too small to hold what version 1.0 has. */
#include "bad.h"

struct small {
    uint32_t size, minor;
    const char *name;
};
GLOW_EXPORT const struct small glow_plugin_v1 = { sizeof(struct small), GLOW_ABI_MINOR, "bad" };

/* function.c - exports a function where a constant should be. */
#include "bad.h"

GLOW_EXPORT void glow_plugin_v1(void);
void glow_plugin_v1(void) {}

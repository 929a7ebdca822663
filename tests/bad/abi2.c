/* abi2.c - a plug-in for another major version. */
#include "bad.h"

GLOW_EXPORT int glow_plugin_v2 = 1;

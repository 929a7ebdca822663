/* no_symbol.c - a shared object, but no plug-in. */
#include "bad.h"

GLOW_EXPORT int something_else = 1;

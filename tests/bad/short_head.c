/* short_head.c - even the head is incomplete. */
#include "bad.h"

static const struct glow_layer layer = { .head = { 16, GLOW_LAYER, 1, 0, "short_head", "", NULL, 0,
                                                   0 } };
PLUGIN(&layer.head, NULL);

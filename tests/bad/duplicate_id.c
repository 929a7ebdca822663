/* duplicate_id.c - two layers of one name. */
#include "bad.h"

static const struct glow_layer one = LAYER("duplicate_id"), two = LAYER("duplicate_id");
PLUGIN(&one.head, &two.head);

/* model_private.h - what model.c and model_params.c share. */
#ifndef CORE_MODEL_PRIVATE_H
#define CORE_MODEL_PRIVATE_H
#include "graph.h"
#include "model.h"

/* The array with room for `need` elements, or NULL after fail. */
void *model_grow(void *array, int *cap, int need, size_t size);
/* Gives every parameter its packing and its place in the arenas, by what the traced forward pass
 * does with it; none can be declared any more. */
glow_status model_lay_out(struct model *, const struct graph *);
/* Allocates an arena unless it is there. */
glow_status model_arena(struct model *, void **, const char *owner);
#endif

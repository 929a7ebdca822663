/* custom.h - operations that plug-ins bring: as a node when the backend has a kernel, else
 * decomposed. */
#ifndef CORE_CUSTOM_H
#define CORE_CUSTOM_H
#include "graph.h"
#include "instance.h"

/* Adds the operation; fills c->out (error handles on failure). */
void custom_call(struct graph *, const struct instance *self, struct glow_custom_call *c);
/* The gradient of a CUSTOM node (a copy of it): din[i] = 0 where there is none. */
glow_status custom_gradient(struct graph *, const struct node *, const value_id *dout,
                            value_id *din);
/* The kernel for the graph's backend and real type, or NULL. */
const struct glow_kernel *custom_kernel(const struct graph *, const struct glow_custom *);
/* What a kernel is told of a CUSTOM node: the types of n_in inputs, rank -1 for absent ones, then
 * those of n_out outputs. */
void custom_types(const struct graph *, const struct node *, struct glow_type *types);
#endif

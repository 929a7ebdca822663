/* types.c - a library that uses every type of the header, so that abidw can describe them all. */
#include "glow/plugin.h"

struct everything {
    const struct glow_plugin *plugin;
    const struct glow_layer *layer;
    const struct glow_net *net;
    const struct glow_prior *prior;
    const struct glow_dataset *dataset;
    const struct glow_custom *custom;
    const struct glow_self *self;
    const struct glow_graph *graph;
    const struct glow_flow *flow;
    const struct glow_param *param;
    const struct glow_stage *stage;
    const struct glow_custom_vjp *vjp;
};
GLOW_EXPORT const struct everything abi_everything = { 0 };

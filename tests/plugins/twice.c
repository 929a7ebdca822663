/* twice: a coupling network that reads one weight in two chains: v * relu(w * relu(w * x)). */
#include "glow/plugin.h"

static glow_value weight(const struct glow_self *self, struct glow_graph *g, const char *name,
                         int64_t out, int64_t in, int64_t k)
{
    struct glow_param p = { .size = sizeof p,
                            .name = name,
                            .group = "weight",
                            .type = glow_real_type(4, out, in, k, k),
                            .init = GLOW_INIT_NORMAL,
                            .b = 0.1 };
    return g->op->param(g, self, &p);
}

static glow_value stage(struct glow_graph *g, glow_value x, glow_value w, int32_t k, int32_t act)
{
    const struct glow_stage s = { .w = w, .logscale = 1, .ksize = k, .act = act };
    return g->op->conv_chain(g, x, 1, &s, sizeof s);
}

static void forward(const struct glow_self *self, struct glow_graph *g, struct glow_net_call *call)
{
    glow_value x = call->in[0];
    int64_t in = glow_channels(g, x), out = call->out_type[0].dim[0];
    glow_value w = weight(self, g, "w", in, in, 3), v = weight(self, g, "v", out, in, 1);
    x = stage(g, stage(g, x, w, 3, GLOW_ACT_RELU), w, 3, GLOW_ACT_RELU);
    call->out[0] = stage(g, x, v, 1, GLOW_ACT_NONE);
}

static const struct glow_net net = {
    GLOW_HEAD(struct glow_net, GLOW_NET, 1, "twice", "one weight in two chains", NULL, 0),
    .forward = forward,
    .properties = GLOW_NET_IMAGE,
};

static const struct glow_desc *const descs[] = { &net.head, NULL };
GLOW_EXPORT const struct glow_plugin glow_plugin_v1 = {
    sizeof glow_plugin_v1, GLOW_ABI_MINOR, "twice", "1", "", descs
};

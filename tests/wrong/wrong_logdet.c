/* wrong_logdet: a scale per channel whose logdet forgets that an image has many positions. */
#include "glow/plugin.h"

static glow_value logs_of(const struct glow_self *self, struct glow_graph *g, struct glow_flow *f)
{
    return glow_channel_param(g, self, "logs", "scale", f->op->x(f));
}

static void forward(const struct glow_self *self, struct glow_graph *g, struct glow_flow *f)
{
    glow_value logs = logs_of(self, g, f);
    f->op->term(f, GLOW_LOGDET, "logdet", glow_sum_all(g, logs)); /* right for rows alone */
    f->op->set_x(f, glow_mul(g, f->op->x(f), glow_exp(g, logs)));
}

static void inverse(const struct glow_self *self, struct glow_graph *g, struct glow_flow *f)
{
    glow_value minus = glow_neg(g, logs_of(self, g, f));
    f->op->term(f, GLOW_LOGDET, "logdet", glow_sum_all(g, minus));
    f->op->set_x(f, glow_mul(g, f->op->x(f), glow_exp(g, minus)));
}

static const struct glow_layer layer = {
    GLOW_HEAD(struct glow_layer, GLOW_LAYER, 1, "wrong_logdet", "a wrong logdet", NULL, 0),
    .forward = forward,
    .inverse = inverse,
    .traits = GLOW_BIJECTION,
};

static const struct glow_desc *const descs[] = { &layer.head, NULL };
GLOW_EXPORT const struct glow_plugin glow_plugin_v1 = {
    sizeof glow_plugin_v1, GLOW_ABI_MINOR, "wrong", "1", "", descs
};

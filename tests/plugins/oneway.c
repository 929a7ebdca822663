/* oneway: y = x + a tanh(x), elementwise and without an inverse: a flow with it learns and judges,
 * but can't sample. */
#include "glow/plugin.h"

static void forward(const struct glow_self *self, struct glow_graph *g, struct glow_flow *f)
{
    glow_value x = f->op->x(f), t = glow_unary(g, GLOW_TANH, x);
    struct glow_param p = { .size = sizeof p,
                            .name = "a",
                            .group = "scale",
                            .type = glow_real_type(0, 0, 0, 0, 0),
                            .init = GLOW_INIT_CONSTANT,
                            .a = 0.5 };
    glow_value a = g->op->param(g, self, &p);
    glow_value slope = glow_mul(g, a, glow_sub(g, glow_num(g, 1), glow_unary(g, GLOW_SQUARE, t)));
    f->op->term(f, GLOW_LOGDET, "logdet", glow_sum_all(g, glow_unary(g, GLOW_LOG1P, slope)));
    f->op->set_x(f, glow_add(g, x, glow_mul(g, a, t)));
}

static const struct glow_layer layer = {
    GLOW_HEAD(struct glow_layer, GLOW_LAYER, 1, "oneway", "no inverse", NULL, 0),
    .forward = forward,
    .traits = { sizeof(struct glow_traits), GLOW_INV_NONE, GLOW_INV_NONE, 0, 0.0 },
};

static const struct glow_desc *const descs[] = { &layer.head, NULL };
GLOW_EXPORT const struct glow_plugin glow_plugin_v1 = {
    sizeof glow_plugin_v1, GLOW_ABI_MINOR, "oneway", "1", "", descs
};

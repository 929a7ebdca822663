/* approximate: y = x + sin(x)/4. The inverse takes eight steps of x <- y - sin(x)/4, each of which
 * leaves at most a quarter of the error: it is off by some 1e-5. */
#include "glow/plugin.h"

static glow_value quarter(struct glow_graph *g, uint32_t code, glow_value x)
{
    return glow_scale(g, glow_unary(g, code, x), 0.25);
}

static glow_value logdet(struct glow_graph *g, glow_value x)
{
    return glow_sum_all(g, glow_unary(g, GLOW_LOG1P, quarter(g, GLOW_COS, x)));
}

static void forward(const struct glow_self *self, struct glow_graph *g, struct glow_flow *f)
{
    glow_value x = f->op->x(f);
    (void)self;
    f->op->term(f, GLOW_LOGDET, "logdet", logdet(g, x));
    f->op->set_x(f, glow_add(g, x, quarter(g, GLOW_SIN, x)));
}

static void inverse(const struct glow_self *self, struct glow_graph *g, struct glow_flow *f)
{
    glow_value y = f->op->x(f), x = y;
    (void)self;
    for (int i = 0; i < 8; i++) x = glow_sub(g, y, quarter(g, GLOW_SIN, x));
    f->op->term(f, GLOW_LOGDET, "logdet", glow_neg(g, logdet(g, x)));
    f->op->set_x(f, x);
}

static const struct glow_layer layer = {
    GLOW_HEAD(struct glow_layer, GLOW_LAYER, 1, "approximate", "an iterated inverse", NULL, 0),
    .forward = forward,
    .inverse = inverse,
    .traits = { sizeof(struct glow_traits), GLOW_INV_APPROX, GLOW_INV_APPROX, 0, 1e-4 },
};

static const struct glow_desc *const descs[] = { &layer.head, NULL };
GLOW_EXPORT const struct glow_plugin glow_plugin_v1 = {
    sizeof glow_plugin_v1, GLOW_ABI_MINOR, "approximate", "1", "", descs
};

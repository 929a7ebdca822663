/* wrong_inverse: y = (x + b) exp(logs), whose inverse adds b where it should subtract it. At the
 * initial values, all 0, nobody would notice. */
#include "glow/plugin.h"

struct params {
    glow_value b, logs;
};

static struct params params_of(const struct glow_self *self, struct glow_graph *g, glow_value x)
{
    return (struct params){ glow_channel_param(g, self, "b", "bias", x),
                            glow_channel_param(g, self, "logs", "scale", x) };
}

static glow_value logdet(struct glow_graph *g, struct glow_flow *f, struct params p)
{
    return glow_mul(g, f->op->positions(f), glow_sum_all(g, p.logs));
}

static void forward(const struct glow_self *self, struct glow_graph *g, struct glow_flow *f)
{
    glow_value x = f->op->x(f);
    struct params p = params_of(self, g, x);
    f->op->term(f, GLOW_LOGDET, "logdet", logdet(g, f, p));
    f->op->set_x(f, glow_mul(g, glow_add(g, x, p.b), glow_exp(g, p.logs)));
}

static void inverse(const struct glow_self *self, struct glow_graph *g, struct glow_flow *f)
{
    glow_value y = f->op->x(f);
    struct params p = params_of(self, g, y);
    f->op->term(f, GLOW_LOGDET, "logdet", glow_neg(g, logdet(g, f, p)));
    f->op->set_x(f, glow_add(g, glow_mul(g, y, glow_exp(g, glow_neg(g, p.logs))), p.b));
}

static const struct glow_layer layer = {
    GLOW_HEAD(struct glow_layer, GLOW_LAYER, 1, "wrong_inverse", "a wrong inverse", NULL, 0),
    .forward = forward,
    .inverse = inverse,
    .traits = GLOW_BIJECTION,
};

static const struct glow_desc *const descs[] = { &layer.head, NULL };
GLOW_EXPORT const struct glow_plugin glow_plugin_v1 = {
    sizeof glow_plugin_v1, GLOW_ABI_MINOR, "wrong", "1", "", descs
};

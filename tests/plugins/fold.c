/* fold: y = |x|. Many x have the same y: forward keeps the signs for restore, and inverse draws
 * them. log p(x) = log p(y) - log 2 per element, the share of one of the two signs (a bound's).
 *
 * Nielsen et al., "SurVAE Flows" (NeurIPS 2020), section 4. */
#include <math.h>
#include "glow/plugin.h"

static void add_term(struct glow_graph *g, struct glow_flow *f, double sign)
{
    double channels = (double)glow_channels(g, f->op->x(f));
    f->op->term(f, GLOW_BOUND, "signs",
                glow_scale(g, f->op->positions(f), -sign * channels * log(2.0)));
}

static void forward(const struct glow_self *self, struct glow_graph *g, struct glow_flow *f)
{
    glow_value x = f->op->x(f);
    (void)self;
    f->op->keep(f, "sign", glow_unary(g, GLOW_SIGN, x));
    add_term(g, f, 1);
    f->op->set_x(f, glow_unary(g, GLOW_ABS, x));
}

static void restore(const struct glow_self *self, struct glow_graph *g, struct glow_flow *f)
{
    (void)self;
    f->op->set_x(f, glow_mul(g, f->op->x(f), f->op->kept(f, "sign")));
}

static void inverse(const struct glow_self *self, struct glow_graph *g, struct glow_flow *f)
{
    struct glow_type t = glow_type_of(g, f->op->x(f));
    add_term(g, f, -1);
    f->op->set_x(f, glow_mul(g, f->op->x(f), g->op->random(g, self, "sign", GLOW_SIGNS, &t)));
}

static const struct glow_layer layer = {
    GLOW_HEAD(struct glow_layer, GLOW_LAYER, 1, "fold", "|x|", NULL, 0),
    .forward = forward,
    .inverse = inverse,
    .restore = restore,
    .traits = { sizeof(struct glow_traits), GLOW_INV_NONE, GLOW_INV_EXACT, 0, 0.0 },
};

static const struct glow_desc *const descs[] = { &layer.head, NULL };
GLOW_EXPORT const struct glow_plugin glow_plugin_v1 = {
    sizeof glow_plugin_v1, GLOW_ABI_MINOR, "fold", "1", "", descs
};

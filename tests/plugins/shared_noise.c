/* shared_noise: y = x + a n, where n is drawn once per step for all samples: the draw of forward
 * comes again in inverse, or x does not come back. */
#include "glow/plugin.h"

static glow_value noise_of(const struct glow_self *self, struct glow_graph *g, struct glow_flow *f)
{
    struct glow_type t = glow_type_of(g, f->op->x(f));
    struct glow_param p = { .size = sizeof p,
                            .name = "a",
                            .group = "scale",
                            .type = glow_real_type(0, 0, 0, 0, 0),
                            .init = GLOW_INIT_CONSTANT,
                            .a = 0.1 };
    t.batched = 0;
    return glow_mul(g, g->op->param(g, self, &p), g->op->random(g, self, "n", GLOW_GAUSS, &t));
}

static void forward(const struct glow_self *self, struct glow_graph *g, struct glow_flow *f)
{
    f->op->set_x(f, glow_add(g, f->op->x(f), noise_of(self, g, f)));
}

static void inverse(const struct glow_self *self, struct glow_graph *g, struct glow_flow *f)
{
    f->op->set_x(f, glow_sub(g, f->op->x(f), noise_of(self, g, f)));
}

static const struct glow_layer layer = {
    GLOW_HEAD(struct glow_layer, GLOW_LAYER, 1, "shared_noise", "one draw for all", NULL, 0),
    .forward = forward,
    .inverse = inverse,
    .traits = GLOW_BIJECTION,
};

static const struct glow_desc *const descs[] = { &layer.head, NULL };
GLOW_EXPORT const struct glow_plugin glow_plugin_v1 = {
    sizeof glow_plugin_v1, GLOW_ABI_MINOR, "shared_noise", "1", "", descs
};

/* fragile: y = x + b, and NaN as soon as an element of x is above `limit`: a layer that breaks down
 * at the step where a test wants it to. */
#include "glow/plugin.h"

static void forward(const struct glow_self *self, struct glow_graph *g, struct glow_flow *f)
{
    glow_value x = f->op->x(f), limit = glow_num(g, self->host->opt_real(self, "limit"));
    glow_value root = glow_unary(g, GLOW_SQRT, glow_sub(g, limit, x));
    glow_value b = glow_channel_param(g, self, "b", "bias", x);
    f->op->set_x(f, glow_add(g, glow_add(g, x, b), glow_sub(g, root, root)));
}

static void inverse(const struct glow_self *self, struct glow_graph *g, struct glow_flow *f)
{
    glow_value y = f->op->x(f);
    f->op->set_x(f, glow_sub(g, y, glow_channel_param(g, self, "b", "bias", y)));
}

static const struct glow_option options[] = {
    { .key = "limit",
      .type = GLOW_OPT_REAL,
      .since = 1,
      .dflt = "100",
      .help = "of what it can take" },
};

static const struct glow_layer layer = {
    GLOW_HEAD(struct glow_layer, GLOW_LAYER, 1, "fragile", "breaks above a limit", options,
              GLOW_COUNT(options)),
    .forward = forward,
    .inverse = inverse,
    .traits = GLOW_BIJECTION,
};

static const struct glow_desc *const descs[] = { &layer.head, NULL };
GLOW_EXPORT const struct glow_plugin glow_plugin_v1 = {
    sizeof glow_plugin_v1, GLOW_ABI_MINOR, "fragile", "1", "", descs
};

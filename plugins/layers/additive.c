/* additive: an additive coupling. The first half of the channels, x1, shifts the rest:
 *   y1 = x1,   y2 = x2 + net(x1),   logdet = 0. An odd channel belongs to the second half.
 *
 * Dinh, Krueger, Bengio, "NICE: non-linear independent components estimation" (2014), section 3. */
#include <stdio.h>
#include "glow/plugin.h"

static int32_t create(const struct glow_self *self, const struct glow_create *c,
                      struct glow_traits *traits, void **data)
{
    char why[96];
    int64_t channels = c->in.rank > 0 ? c->in.dim[0] : 0;
    (void)traits, (void)data;
    if (channels >= 2) return GLOW_OK;
    snprintf(why, sizeof why, "additive splits the channels and needs at least 2, got %lld",
             (long long)channels);
    self->host->fail(self, why);
    return GLOW_EINVAL;
}

/* The moved half plus (sign 1) or minus (sign -1) what the net makes of the kept one. */
static void couple(const struct glow_self *self, struct glow_graph *g, struct glow_flow *f,
                   double sign)
{
    glow_value x = f->op->x(f);
    int64_t c = glow_channels(g, x), half = c / 2;
    int kept = self->host->opt_int(self, "swap") ? 1 : 0, moved = 1 - kept;
    glow_value part[2] = { g->op->slice(g, x, 0, 0, 1, half),
                           g->op->slice(g, x, 0, half, 1, c - half) };
    glow_value t = glow_run_net(g, self, "net", part[kept], glow_channels(g, part[moved]));
    part[moved] = sign > 0 ? glow_add(g, part[moved], t) : glow_sub(g, part[moved], t);
    f->op->set_x(f, g->op->concat(g, 0, 2, part));
}

static void forward(const struct glow_self *self, struct glow_graph *g, struct glow_flow *f)
{
    couple(self, g, f, 1);
}

static void inverse(const struct glow_self *self, struct glow_graph *g, struct glow_flow *f)
{
    couple(self, g, f, -1);
}

static const struct glow_option options[] = {
    { .key = "net",
      .type = GLOW_OPT_CHILD,
      .since = 1,
      .dflt = "openai",
      .slot_kind = GLOW_NET,
      .help = "the network that computes the shift" },
    { .key = "swap",
      .type = GLOW_OPT_BOOL,
      .since = 1,
      .dflt = "false",
      .help = "transform the first half of the channels and keep the rest" },
};

static const struct glow_layer layer = {
    GLOW_HEAD(struct glow_layer, GLOW_LAYER, 1, "additive", "additive coupling", options,
              GLOW_COUNT(options)),
    .create = create,
    .forward = forward,
    .inverse = inverse,
    .traits = GLOW_BIJECTION,
};

static const struct glow_desc *const descs[] = { &layer.head, NULL };
GLOW_EXPORT const struct glow_plugin glow_plugin_v1 = {
    sizeof glow_plugin_v1, GLOW_ABI_MINOR, "additive", "1", "", descs
};

/* squeeze: each 2x2 block of pixels becomes one pixel with four times the channels,
 * (C,H,W) -> (4C,H/2,W/2). A permutation: its logdet is 0.
 *
 * order = "block":   new channel (2 dy + dx) C + c
 * order = "channel": new channel 4 c + 2 dy + dx, as openai/glow has it
 *
 * Dinh, Sohl-Dickstein, Bengio, "Density estimation using Real NVP" (ICLR 2017), section 3.6. */
#include <stdio.h>
#include <string.h>
#include "glow/plugin.h"

static int32_t create(const struct glow_self *self, const struct glow_create *c,
                      struct glow_traits *traits, void **data)
{
    char why[128];
    int64_t height = c->in.dim[1], width = c->in.dim[2];
    (void)traits, (void)data;
    if (c->in.rank != 3)
        snprintf(why, sizeof why, "squeeze needs images (C,H,W), got %d axes", (int)c->in.rank);
    else if (height % 2 || width % 2)
        snprintf(why, sizeof why, "squeeze needs an even height and width, got %lldx%lld",
                 (long long)height, (long long)width);
    else
        return GLOW_OK;
    self->host->fail(self, why);
    return GLOW_EINVAL;
}

static int32_t order_of(const struct glow_self *self)
{
    const char *order = self->host->opt_string(self, "order");
    return strcmp(order, "channel") == 0 ? GLOW_ORDER_CHANNEL : GLOW_ORDER_BLOCK;
}

static void forward(const struct glow_self *self, struct glow_graph *g, struct glow_flow *f)
{
    f->op->set_x(f, g->op->space_to_depth(g, f->op->x(f), order_of(self)));
}

static void inverse(const struct glow_self *self, struct glow_graph *g, struct glow_flow *f)
{
    f->op->set_x(f, g->op->depth_to_space(g, f->op->x(f), order_of(self)));
}

static const struct glow_option options[] = {
    { .key = "order",
      .type = GLOW_OPT_ENUM,
      .since = 1,
      .dflt = "block",
      .range = "block|channel",
      .help = "order of the new channels: (dy,dx,c) or (c,dy,dx)" },
};

static const struct glow_layer layer = {
    GLOW_HEAD(struct glow_layer, GLOW_LAYER, 1, "squeeze", "2x2 blocks of pixels into channels",
              options, GLOW_COUNT(options)),
    .create = create,
    .forward = forward,
    .inverse = inverse,
    .traits = GLOW_BIJECTION,
};

static const struct glow_desc *const descs[] = { &layer.head, NULL };
GLOW_EXPORT const struct glow_plugin glow_plugin_v1 = {
    sizeof glow_plugin_v1, GLOW_ABI_MINOR, "squeeze", "1", "", descs
};

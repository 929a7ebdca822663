/* deaf: the standard normal prior, but for its samples, which know no temperature. */
#include "glow/plugin.h"

static void log_density(const struct glow_self *self, struct glow_graph *g,
                        struct glow_prior_call *call)
{
    (void)self;
    glow_value square = glow_unary(g, GLOW_SQUARE, call->z);
    call->out = glow_sum_all(g, glow_scale(g, glow_add_num(g, square, 1.8378770664093453), -0.5));
}

static void sample(const struct glow_self *self, struct glow_graph *g, struct glow_prior_call *call)
{
    call->out = g->op->random(g, self, "noise", GLOW_GAUSS, &call->type);
}

static const struct glow_prior prior = {
    GLOW_HEAD(struct glow_prior, GLOW_PRIOR, 1, "deaf", "normal at any temperature", NULL, 0),
    .log_density = log_density,
    .sample = sample,
};

static const struct glow_desc *const descs[] = { &prior.head, NULL };
GLOW_EXPORT const struct glow_plugin glow_plugin_v1 = {
    sizeof glow_plugin_v1, GLOW_ABI_MINOR, "deaf", "1", "", descs
};

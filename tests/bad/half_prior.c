/* half_prior.c - standardises latents, but cannot restore them. */
#include "bad.h"

static void nothing(const struct glow_self *self, struct glow_graph *g, struct glow_prior_call *c)
{
    (void)self;
    (void)g;
    (void)c;
}
static const struct glow_prior prior = {
    .head = GLOW_HEAD(struct glow_prior, GLOW_PRIOR, 1, "half_prior", "half a prior", NULL, 0),
    .log_density = nothing,
    .sample = nothing,
    .standardise = nothing,
};
PLUGIN(&prior.head, NULL);

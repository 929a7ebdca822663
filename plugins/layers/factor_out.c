/* factor_out: half of the channels leaves the flow as the latent "z", the rest goes on:
 *   log p(x) = log p(z | kept) + log p(kept); no logdet.
 * keep = "last": the first C/2 channels leave; keep = "first": all but the first C/2.
 * The prior is the model's prior "z", or, with the option `prior`, one of this layer's own. It is
 * offered the kept half, which "learned" conditions on (openai/glow) and "normal" does not look at.
 *
 * Dinh, Sohl-Dickstein, Bengio, "Density estimation using Real NVP" (ICLR 2017), section 3.6. */
#include <stdio.h>
#include <string.h>
#include "glow/plugin.h"

static int32_t create(const struct glow_self *self, const struct glow_create *c,
                      struct glow_traits *traits, void **data)
{
    char why[96];
    int64_t channels = c->in.rank > 0 ? c->in.dim[0] : 0;
    (void)traits, (void)data;
    if (channels >= 2) return GLOW_OK;
    snprintf(why, sizeof why, "factor_out splits the channels and needs at least 2, got %lld",
             (long long)channels);
    self->host->fail(self, why);
    return GLOW_EINVAL;
}

static int keeps_first(const struct glow_self *self)
{
    return strcmp(self->host->opt_string(self, "keep"), "first") == 0;
}

/* The slot of this layer's own prior; NULL is the model's. */
static const char *prior_slot(const struct glow_self *self)
{
    return self->host->opt_string(self, "prior")[0] ? "prior" : NULL;
}

static void forward(const struct glow_self *self, struct glow_graph *g, struct glow_flow *f)
{
    glow_value x = f->op->x(f);
    int64_t c = glow_channels(g, x), half = c / 2;
    glow_value first = g->op->slice(g, x, 0, 0, 1, half);
    glow_value last = g->op->slice(g, x, 0, half, 1, c - half);
    glow_value kept = keeps_first(self) ? first : last, z = keeps_first(self) ? last : first;
    f->op->emit(f, "z", prior_slot(self), z, kept);
    f->op->set_x(f, kept);
}

static void inverse(const struct glow_self *self, struct glow_graph *g, struct glow_flow *f)
{
    glow_value kept = f->op->x(f), z = f->op->take(f, "z", prior_slot(self), kept);
    glow_value parts[2] = { keeps_first(self) ? kept : z, keeps_first(self) ? z : kept };
    f->op->set_x(f, g->op->concat(g, 0, 2, parts));
}

static const struct glow_option options[] = {
    { .key = "keep",
      .type = GLOW_OPT_ENUM,
      .since = 1,
      .dflt = "last",
      .range = "last|first",
      .help = "the half of the channels that stays in the flow" },
    { .key = "prior",
      .type = GLOW_OPT_CHILD,
      .since = 1,
      .dflt = "",
      .slot_kind = GLOW_PRIOR,
      .help = "prior of the half that leaves; none = the model's prior \"z\"" },
};

static const struct glow_layer layer = {
    GLOW_HEAD(struct glow_layer, GLOW_LAYER, 1, "factor_out",
              "half of the channels leaves the flow as a latent", options, GLOW_COUNT(options)),
    .create = create,
    .forward = forward,
    .inverse = inverse,
    .traits = GLOW_BIJECTION,
};

static const struct glow_desc *const descs[] = { &layer.head, NULL };
GLOW_EXPORT const struct glow_plugin glow_plugin_v1 = {
    sizeof glow_plugin_v1, GLOW_ABI_MINOR, "factor_out", "1", "", descs
};

/* normal: independent normal numbers,
 *   log p(z) = sum -((z - m)/s)^2 / 2 - log s - log(2 pi) / 2
 * form = "standard": m = 0, s = 1. form = "diagonal": each element of the latent has a learned mean
 * m and log-deviation log s, which start at 0. The temperature multiplies s in samples. */
#include <string.h>
#include "glow/plugin.h"

static const double LOG_2PI = 1.837877066409345483561;

struct moments {
    glow_value mean, logs; /* of one sample, unbatched */
};

static glow_value parameter(const struct glow_self *self, struct glow_graph *g, const char *name,
                            const char *group, struct glow_type type)
{
    type.dtype = GLOW_REAL;
    type.batched = 0;
    struct glow_param p = {
        .size = sizeof p, .name = name, .group = group, .type = type, .init = GLOW_INIT_ZERO
    };
    return g->op->param(g, self, &p);
}

static int is_standard(const struct glow_self *self)
{
    return strcmp(self->host->opt_string(self, "form"), "standard") == 0;
}

static struct moments moments_of(const struct glow_self *self, struct glow_graph *g,
                                 struct glow_type type)
{
    struct moments m = { parameter(self, g, "mean", "bias", type),
                         parameter(self, g, "logs", "scale", type) };
    return m;
}

/* (z - m) / s */
static void standardise(const struct glow_self *self, struct glow_graph *g,
                        struct glow_prior_call *call)
{
    call->out = call->z;
    if (is_standard(self)) return;
    struct moments m = moments_of(self, g, call->type);
    call->out = glow_mul(g, glow_sub(g, call->z, m.mean), glow_exp(g, glow_neg(g, m.logs)));
}

/* m + s z */
static void restore(const struct glow_self *self, struct glow_graph *g,
                    struct glow_prior_call *call)
{
    call->out = call->z;
    if (is_standard(self)) return;
    struct moments m = moments_of(self, g, call->type);
    call->out = glow_add(g, m.mean, glow_mul(g, call->z, glow_exp(g, m.logs)));
}

static void log_density(const struct glow_self *self, struct glow_graph *g,
                        struct glow_prior_call *call)
{
    standardise(self, g, call);
    glow_value square = glow_unary(g, GLOW_SQUARE, call->out);
    call->out = glow_sum_all(g, glow_scale(g, glow_add_num(g, square, LOG_2PI), -0.5));
    if (is_standard(self)) return;
    struct moments m = moments_of(self, g, call->type);
    call->out = glow_sub(g, call->out, glow_sum_all(g, m.logs));
}

static void sample(const struct glow_self *self, struct glow_graph *g, struct glow_prior_call *call)
{
    glow_value noise = g->op->random(g, self, "noise", GLOW_GAUSS, &call->type);
    call->z = glow_mul(g, noise, call->temperature);
    restore(self, g, call);
}

static const struct glow_option options[] = {
    { .key = "form",
      .type = GLOW_OPT_ENUM,
      .since = 1,
      .dflt = "standard",
      .range = "standard|diagonal",
      .help = "N(0,1), or a learned mean and deviation per element" },
};

static const struct glow_prior prior = {
    GLOW_HEAD(struct glow_prior, GLOW_PRIOR, 1, "normal", "independent normal numbers", options,
              GLOW_COUNT(options)),
    .log_density = log_density,
    .sample = sample,
    .standardise = standardise,
    .restore = restore,
};

static const struct glow_desc *const descs[] = { &prior.head, NULL };
GLOW_EXPORT const struct glow_plugin glow_plugin_v1 = {
    sizeof glow_plugin_v1, GLOW_ABI_MINOR, "normal", "1", "", descs
};

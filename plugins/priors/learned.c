/* learned: normal numbers whose mean m and log-deviation log s are learned,
 *   log p(z | c) = sum -((z - m)/s)^2 / 2 - log s - log(2 pi) / 2
 * With a condition c (C,H,W), as factor_out gives one, both are
 *   (conv3x3(c, w) + b) exp(logscale logs),  interleaved over the channels: m 0::2, log s 1::2
 * and with a row (D) a matrix w takes the place of the convolution. Without a condition they are
 * one number per channel, b exp(logscale logs). All parameters start at 0: the standard normal.
 * The temperature multiplies s in samples.
 *
 * openai/glow, model.py: split2d_prior and prior (learntop). */
#include <stdio.h>
#include "glow/plugin.h"

static const double LOG_2PI = 1.837877066409345483561;

struct moments {
    glow_value mean, logs;
};

static glow_value parameter(const struct glow_self *self, struct glow_graph *g, const char *name,
                            const char *group, struct glow_type type)
{
    struct glow_param p = {
        .size = sizeof p, .name = name, .group = group, .type = type, .init = GLOW_INIT_ZERO
    };
    return g->op->param(g, self, &p);
}

/* The condition must have the latent's size, but for its channels. */
static int fits(struct glow_graph *g, struct glow_type z, struct glow_type c)
{
    if (c.rank == z.rank && (c.rank == 1 || c.rank == 3) && c.dim[1] == z.dim[1] &&
        c.dim[2] == z.dim[2])
        return 1;
    char why[128];
    snprintf(why, sizeof why,
             "the prior learned needs a condition of the latent's size: %d axes of %lldx%lld, "
             "got %d axes of %lldx%lld",
             (int)z.rank, (long long)z.dim[1], (long long)z.dim[2], (int)c.rank,
             (long long)c.dim[1], (long long)c.dim[2]);
    g->op->fail(g, why);
    return 0;
}

/* Mean and log-deviation of all channels, interleaved: (2C,H,W), (2D), or without a condition
 * (2C,1,1). */
static glow_value both(const struct glow_self *self, struct glow_graph *g,
                       const struct glow_prior_call *call)
{
    double logscale = self->host->opt_real(self, "logscale");
    int edge = self->host->opt_int(self, "edge_bias") != 0;
    int64_t n = 2 * call->type.dim[0];
    struct glow_type column = glow_real_type(1, n, 0, 0, 0);
    glow_value b = parameter(self, g, "b", "bias", column);
    glow_value logs = parameter(self, g, "logs", "scale", column);

    if (call->cond.id != 0 && call->type.rank == 3) {
        struct glow_type kernel = glow_real_type(4, n, glow_channels(g, call->cond) + edge, 3, 3);
        struct glow_stage stage = { .w = parameter(self, g, "w", "weight", kernel),
                                    .b = b,
                                    .logs = logs,
                                    .logscale = logscale,
                                    .ksize = 3,
                                    .flags = edge ? GLOW_EDGE_BIAS : 0 };
        return g->op->conv_chain(g, call->cond, 1, &stage, sizeof stage);
    }
    if (call->cond.id != 0) {
        struct glow_type matrix = glow_real_type(2, n, glow_channels(g, call->cond), 0, 0);
        glow_value w = parameter(self, g, "w", "weight", matrix);
        b = glow_add(g, g->op->matmul_channels(g, call->cond, w, 0), b);
    }
    glow_value h = glow_mul(g, b, glow_exp(g, glow_scale(g, logs, logscale)));
    const int64_t per_channel[GLOW_MAX_RANK] = { n, 1, 1, 1, 1, 1, 1, 1 };
    return call->type.rank == 1 ? h : g->op->reshape(g, h, call->type.rank, per_channel);
}

static struct moments moments_of(const struct glow_self *self, struct glow_graph *g,
                                 const struct glow_prior_call *call)
{
    struct moments m = { glow_none, glow_none };
    struct glow_type cond = glow_type_of(g, call->cond);
    if (cond.dtype != 0 && !fits(g, call->type, cond)) return m;
    int64_t c = call->type.dim[0];
    glow_value h = both(self, g, call);
    m.mean = g->op->slice(g, h, 0, 0, 2, c);
    m.logs = g->op->slice(g, h, 0, 1, 2, c);
    return m;
}

static void log_density(const struct glow_self *self, struct glow_graph *g,
                        struct glow_prior_call *call)
{
    struct moments m = moments_of(self, g, call);
    glow_value e = glow_mul(g, glow_sub(g, call->z, m.mean), glow_exp(g, glow_neg(g, m.logs)));
    glow_value square = glow_add_num(g, glow_unary(g, GLOW_SQUARE, e), LOG_2PI);
    call->out = glow_sum_all(g, glow_sub(g, glow_scale(g, square, -0.5), m.logs));
}

/* (z - m) / s */
static void standardise(const struct glow_self *self, struct glow_graph *g,
                        struct glow_prior_call *call)
{
    struct moments m = moments_of(self, g, call);
    call->out = glow_mul(g, glow_sub(g, call->z, m.mean), glow_exp(g, glow_neg(g, m.logs)));
}

/* m + s z */
static void restore(const struct glow_self *self, struct glow_graph *g,
                    struct glow_prior_call *call)
{
    struct moments m = moments_of(self, g, call);
    call->out = glow_add(g, m.mean, glow_mul(g, call->z, glow_exp(g, m.logs)));
}

static void sample(const struct glow_self *self, struct glow_graph *g, struct glow_prior_call *call)
{
    glow_value noise = g->op->random(g, self, "noise", GLOW_GAUSS, &call->type);
    call->z = glow_mul(g, noise, call->temperature);
    restore(self, g, call);
}

static const struct glow_option options[] = {
    { .key = "logscale",
      .type = GLOW_OPT_REAL,
      .since = 1,
      .dflt = "3.0",
      .range = "(0,inf)",
      .help = "factor of the learned log-scales: how fast they learn" },
    { .key = "edge_bias",
      .type = GLOW_OPT_BOOL,
      .since = 1,
      .dflt = "true",
      .help = "let the 3x3 convolution see where the padding is" },
};

static const struct glow_prior prior = {
    GLOW_HEAD(struct glow_prior, GLOW_PRIOR, 1, "learned",
              "normal with a learned mean and deviation, conditional or not", options,
              GLOW_COUNT(options)),
    .log_density = log_density,
    .sample = sample,
    .standardise = standardise,
    .restore = restore,
};

static const struct glow_desc *const descs[] = { &prior.head, NULL };
GLOW_EXPORT const struct glow_plugin glow_plugin_v1 = {
    sizeof glow_plugin_v1, GLOW_ABI_MINOR, "learned", "1", "", descs
};

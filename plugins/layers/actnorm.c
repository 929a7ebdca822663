/* actnorm: each channel is shifted and scaled, y = (x + b) exp(logscale logs);
 * logdet = positions * logscale * sum(logs), positions = H W of an image and 1 of a row.
 * An INIT program sets b = -mean and logscale logs = log(scale / (deviation + 1e-6)) over the batch
 * and the positions, so that every channel of y starts with mean 0 and deviation `scale`.
 *
 * Kingma, Dhariwal, "Glow" (NeurIPS 2018), section 3.1; openai/glow, tfops.py (logscale = 3). */
#include "glow/plugin.h"

struct params {
    glow_value b, logs; /* (C,1,1) or (C) */
    double logscale;
};

static struct params params_of(const struct glow_self *self, struct glow_graph *g, glow_value x)
{
    struct params p = { glow_channel_param(g, self, "b", "bias", x),
                        glow_channel_param(g, self, "logs", "scale", x),
                        self->host->opt_real(self, "logscale") };
    return p;
}

/* The mean of each channel over the batch and the positions. */
static glow_value channel_mean(struct glow_graph *g, glow_value x)
{
    int32_t rank = glow_type_of(g, x).rank;
    uint32_t positions = ((1u << rank) - 1) & ~1u;
    return g->op->batch_mean(g, positions ? g->op->reduce(g, GLOW_MEAN, x, positions) : x);
}

/* The parameters as an INIT program sets them. */
static struct params init_from_batch(const struct glow_self *self, struct glow_graph *g,
                                     glow_value x, struct params p)
{
    double scale = self->host->opt_real(self, "scale");
    p.b = g->op->init_from(g, p.b, glow_neg(g, channel_mean(g, x)));
    glow_value variance = channel_mean(g, glow_unary(g, GLOW_SQUARE, glow_add(g, x, p.b)));
    glow_value deviation = glow_add_num(g, glow_unary(g, GLOW_SQRT, variance), 1e-6);
    glow_value log_scale = glow_log(g, glow_div(g, glow_num(g, scale), deviation));
    p.logs = g->op->init_from(g, p.logs, glow_scale(g, log_scale, 1 / p.logscale));
    return p;
}

/* The logarithm of each channel's factor. */
static glow_value log_factor(struct glow_graph *g, struct params p)
{
    return glow_scale(g, p.logs, p.logscale);
}

static glow_value logdet(struct glow_graph *g, struct glow_flow *f, struct params p)
{
    return glow_mul(g, f->op->positions(f), glow_sum_all(g, log_factor(g, p)));
}

static void forward(const struct glow_self *self, struct glow_graph *g, struct glow_flow *f)
{
    glow_value x = f->op->x(f);
    struct params p = params_of(self, g, x);
    if (g->op->phase(g) & GLOW_PHASE_INIT) p = init_from_batch(self, g, x, p);
    f->op->term(f, GLOW_LOGDET, "logdet", logdet(g, f, p));
    f->op->set_x(f, glow_mul(g, glow_add(g, x, p.b), glow_exp(g, log_factor(g, p))));
}

static void inverse(const struct glow_self *self, struct glow_graph *g, struct glow_flow *f)
{
    glow_value y = f->op->x(f);
    struct params p = params_of(self, g, y);
    f->op->term(f, GLOW_LOGDET, "logdet", glow_neg(g, logdet(g, f, p)));
    f->op->set_x(f, glow_sub(g, glow_mul(g, y, glow_exp(g, glow_neg(g, log_factor(g, p)))), p.b));
}

static const struct glow_option options[] = {
    { .key = "scale",
      .type = GLOW_OPT_REAL,
      .since = 1,
      .dflt = "1.0",
      .range = "(0,inf)",
      .help = "standard deviation of each channel after initialisation" },
    { .key = "logscale",
      .type = GLOW_OPT_REAL,
      .since = 1,
      .dflt = "1.0",
      .range = "(0,inf)",
      .help = "factor of the log-scales: how fast they learn; 3 in openai/glow" },
};

static const struct glow_layer layer = {
    GLOW_HEAD(struct glow_layer, GLOW_LAYER, 1, "actnorm",
              "shift and scale per channel, initialised from data", options, GLOW_COUNT(options)),
    .forward = forward,
    .inverse = inverse,
    .traits = GLOW_BIJECTION,
};

static const struct glow_desc *const descs[] = { &layer.head, NULL };
GLOW_EXPORT const struct glow_plugin glow_plugin_v1 = {
    sizeof glow_plugin_v1, GLOW_ABI_MINOR, "actnorm", "1", "", descs
};

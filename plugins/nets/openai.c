/* openai: the coupling network of GLOW, one conv_chain of three stages:
 *   conv3x3 - actnorm - relu - conv1x1 - actnorm - relu - conv3x3 (zeros)
 * Each stage is act((conv(x, w) + b) exp(logscale logs)). In the first two b and logs are an
 * actnorm, which an INIT program sets from the batch; the last stage starts at 0, so that a
 * coupling starts as (nearly) the identity. The 3x3 convolutions see an extra input channel that is
 * 1 on the padding.
 *
 * Kingma, Dhariwal, "Glow" (NeurIPS 2018), section 3.3 and appendix B; openai/glow, tfops.py. */
#include <stdio.h>
#include "glow/plugin.h"

enum { STAGES = 3 };
static const char *const W[STAGES] = { "w1", "w2", "w3" };
static const char *const B[STAGES] = { "b1", "b2", "b3" };
static const char *const LOGS[STAGES] = { "logs1", "logs2", "logs3" };

static glow_value parameter(const struct glow_self *self, struct glow_graph *g, const char *name,
                            const char *group, struct glow_type type, double deviation)
{
    struct glow_param p = { .size = sizeof p,
                            .name = name,
                            .group = group,
                            .type = type,
                            .init = deviation > 0 ? GLOW_INIT_NORMAL : GLOW_INIT_ZERO,
                            .b = deviation };
    return g->op->param(g, self, &p);
}

/* The stages for `in` input and `out` output channels. */
static void make_stages(const struct glow_self *self, struct glow_graph *g, int64_t in, int64_t out,
                        struct glow_stage stage[STAGES])
{
    int64_t width = self->host->opt_int(self, "width");
    int64_t channels[STAGES + 1] = { in, width, width, out };
    int edge = self->host->opt_int(self, "edge_bias") != 0;
    int actnorm = self->host->opt_int(self, "actnorm") != 0;
    for (int i = 0; i < STAGES; i++) {
        int last = i == STAGES - 1, k = i == 1 ? 1 : 3, border = edge && k > 1;
        int64_t n = channels[i + 1];
        struct glow_type kernel = glow_real_type(4, n, channels[i] + border, k, k);
        struct glow_type column = glow_real_type(1, n, 0, 0, 0);
        stage[i] = (struct glow_stage){
            .w = parameter(self, g, W[i], "weight", kernel, last ? 0 : 0.05),
            .b = parameter(self, g, B[i], "bias", column, 0),
            .logscale = self->host->opt_real(self, "logscale"),
            .ksize = k,
            .flags = border ? GLOW_EDGE_BIAS : 0,
            .act = last ? GLOW_ACT_NONE : GLOW_ACT_RELU,
        };
        if (last || actnorm) stage[i].logs = parameter(self, g, LOGS[i], "scale", column, 0);
    }
}

/* The mean of each channel over the batch and the positions: (C,1,1), unbatched. Over the batch
 * first, for that adds long rows up. */
static glow_value channel_mean(struct glow_graph *g, glow_value x)
{
    return g->op->reduce(g, GLOW_MEAN, g->op->batch_mean(g, x), 1u << 1 | 1u << 2);
}

/* One stage of an INIT program: b and logs take the values that leave each channel of the
 * convolution's output with mean 0 and deviation init_scale. */
static glow_value init_stage(struct glow_graph *g, glow_value x, const struct glow_stage *s,
                             double init_scale)
{
    const struct glow_ops *op = g->op;
    glow_value h = op->conv2d(g, x, s->w, (uint32_t)s->flags);
    int64_t n = glow_channels(g, h), column[3] = { n, 1, 1 };

    glow_value minus_mean = op->reshape(g, glow_neg(g, channel_mean(g, h)), 1, &n);
    glow_value b = op->init_from(g, s->b, minus_mean);
    h = glow_add(g, h, op->reshape(g, b, 3, column));

    glow_value variance = channel_mean(g, glow_unary(g, GLOW_SQUARE, h));
    glow_value deviation = glow_add_num(g, glow_unary(g, GLOW_SQRT, variance), 1e-6);
    glow_value log_scale = glow_log(g, glow_div(g, glow_num(g, init_scale), deviation));
    log_scale = op->reshape(g, log_scale, 1, &n);
    glow_value logs = op->init_from(g, s->logs, glow_scale(g, log_scale, 1 / s->logscale));
    glow_value scale = glow_exp(g, glow_scale(g, logs, s->logscale));
    return glow_unary(g, GLOW_RELU, glow_mul(g, h, op->reshape(g, scale, 3, column)));
}

static void forward(const struct glow_self *self, struct glow_graph *g, struct glow_net_call *call)
{
    struct glow_stage stage[STAGES];
    glow_value x = call->in[0];
    struct glow_type in = glow_type_of(g, x), out = call->out_type[0];
    if (in.rank != 3) {
        char why[128];
        snprintf(why, sizeof why, "the net openai needs images (C,H,W), got %d axes%s",
                 (int)in.rank, in.rank == 1 ? "; rows take the net mlp" : "");
        call->out[0] = g->op->fail(g, why);
        return;
    }
    make_stages(self, g, in.dim[0], out.dim[0], stage);
    int init = g->op->phase(g) & GLOW_PHASE_INIT && self->host->opt_int(self, "actnorm");
    int done = init ? STAGES - 1 : 0;
    double init_scale = self->host->opt_real(self, "init_scale");
    for (int i = 0; i < done; i++) x = init_stage(g, x, &stage[i], init_scale);
    call->out[0] = g->op->conv_chain(g, x, (uint32_t)(STAGES - done), stage + done, sizeof *stage);
}

static const struct glow_option options[] = {
    { .key = "width",
      .type = GLOW_OPT_INT,
      .since = 1,
      .dflt = "512",
      .range = "[1,65536]",
      .unit = "channels",
      .help = "of both hidden layers" },
    { .key = "edge_bias",
      .type = GLOW_OPT_BOOL,
      .since = 1,
      .dflt = "true",
      .help = "let the 3x3 convolutions see where the padding is" },
    { .key = "actnorm",
      .type = GLOW_OPT_BOOL,
      .since = 1,
      .dflt = "true",
      .help = "scale the hidden channels and initialise them from data; else a bias only" },
    { .key = "init_scale",
      .type = GLOW_OPT_REAL,
      .since = 1,
      .dflt = "1.0",
      .range = "(0,inf)",
      .help = "deviation of the hidden channels after initialisation; smaller is steadier at high "
              "learning rates" },
    { .key = "logscale",
      .type = GLOW_OPT_REAL,
      .since = 1,
      .dflt = "3.0",
      .range = "(0,inf)",
      .help = "factor of all log-scales: how fast they learn" },
};

static const struct glow_net net = {
    GLOW_HEAD(struct glow_net, GLOW_NET, 1, "openai", "GLOW's three-layer convolutional network",
              options, GLOW_COUNT(options)),
    .forward = forward,
    .properties = GLOW_NET_IMAGE,
};

static const struct glow_desc *const descs[] = { &net.head, NULL };
GLOW_EXPORT const struct glow_plugin glow_plugin_v1 = {
    sizeof glow_plugin_v1, GLOW_ABI_MINOR, "openai", "1", "", descs
};

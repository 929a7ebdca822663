/* mlp: a multilayer perceptron for rows, x <- act(W x + b) for each hidden width, then W x + b
 * without an activation. Hidden weights are drawn with variance 2 / fan-in (1 / fan-in for tanh),
 * hidden biases evenly within +-1 / sqrt(fan-in): with biases of 0 all units of a net of one input
 * would bend at 0. The last layer starts at 0, so that a coupling starts as (nearly) the identity.
 *
 * He, Zhang, Ren, Sun, "Delving deep into rectifiers" (ICCV 2015), section 2.2. */
#include <math.h>
#include <stdio.h>
#include <string.h>
#include "glow/plugin.h"

/* W x + b, with "<name>.w" of (out, in) and "<name>.b" of (out) */
static glow_value affine(const struct glow_self *self, struct glow_graph *g, const char *name,
                         glow_value x, int64_t out, double gain)
{
    char weight[32], bias[32];
    int64_t in = glow_channels(g, x);
    double bound = 1 / sqrt((double)in);
    snprintf(weight, sizeof weight, "%s.w", name);
    snprintf(bias, sizeof bias, "%s.b", name);
    struct glow_param w = { .size = sizeof w,
                            .name = weight,
                            .group = "weight",
                            .type = glow_real_type(2, out, in, 0, 0),
                            .init = gain > 0 ? GLOW_INIT_NORMAL : GLOW_INIT_ZERO,
                            .b = sqrt(gain / (double)in) };
    struct glow_param b = { .size = sizeof b,
                            .name = bias,
                            .group = "bias",
                            .type = glow_real_type(1, out, 0, 0, 0),
                            .init = gain > 0 ? GLOW_INIT_UNIFORM : GLOW_INIT_ZERO,
                            .a = -bound,
                            .b = bound };
    glow_value y = g->op->matmul_channels(g, x, g->op->param(g, self, &w), 0);
    return glow_add(g, y, g->op->param(g, self, &b));
}

static glow_value activate(struct glow_graph *g, const char *activation, glow_value x)
{
    if (strcmp(activation, "tanh") == 0) return glow_unary(g, GLOW_TANH, x);
    if (strcmp(activation, "silu") == 0) return glow_mul(g, x, glow_unary(g, GLOW_SIGMOID, x));
    return glow_unary(g, GLOW_RELU, x);
}

/* Every width has to be a number of units. */
static int32_t create(const struct glow_self *self, const struct glow_create *c, void **data)
{
    (void)c, (void)data;
    for (int64_t i = 0; i < self->host->opt_count(self, "widths"); i++) {
        double width = self->host->opt_real_at(self, "widths", i);
        if (width >= 1 && width <= 65536) continue;
        char why[96];
        snprintf(why, sizeof why, "widths of mlp are from 1 to 65536, got %g", width);
        self->host->fail(self, why);
        return GLOW_EINVAL;
    }
    return GLOW_OK;
}

static void forward(const struct glow_self *self, struct glow_graph *g, struct glow_net_call *call)
{
    glow_value x = call->in[0];
    struct glow_type in = glow_type_of(g, x);
    const char *activation = self->host->opt_string(self, "activation");
    if (in.rank != 1) {
        char why[128];
        snprintf(why, sizeof why, "the net mlp needs rows (D), got %d axes%s", (int)in.rank,
                 in.rank == 3 ? "; images take the nets openai and resnet" : "");
        call->out[0] = g->op->fail(g, why);
        return;
    }
    for (int64_t i = 0; i < self->host->opt_count(self, "widths"); i++) {
        char name[24];
        snprintf(name, sizeof name, "%lld", (long long)i);
        int64_t width = (int64_t)self->host->opt_real_at(self, "widths", i);
        double gain = strcmp(activation, "tanh") == 0 ? 1 : 2;
        x = activate(g, activation, affine(self, g, name, x, width, gain));
    }
    call->out[0] = affine(self, g, "last", x, call->out_type[0].dim[0], 0);
}

static const struct glow_option options[] = {
    { .key = "widths",
      .type = GLOW_OPT_INTS,
      .since = 1,
      .dflt = "[64, 64]",
      .range = "#[0,64]",
      .unit = "units",
      .help = "of the hidden layers; none = a linear map" },
    { .key = "activation",
      .type = GLOW_OPT_ENUM,
      .since = 1,
      .dflt = "relu",
      .range = "relu|tanh|silu",
      .help = "of the hidden layers" },
};

static const struct glow_net net = {
    GLOW_HEAD(struct glow_net, GLOW_NET, 1, "mlp", "multilayer perceptron for rows", options,
              GLOW_COUNT(options)),
    .create = create,
    .forward = forward,
    .properties = GLOW_NET_ROW,
};

static const struct glow_desc *const descs[] = { &net.head, NULL };
GLOW_EXPORT const struct glow_plugin glow_plugin_v1 = {
    sizeof glow_plugin_v1, GLOW_ABI_MINOR, "mlp", "1", "", descs
};

/* resnet: a residual convolutional network of u hidden channels; u is `width`, or, when that is 0,
 * units_factor times the number of input channels.
 *   each block   h = conv1x1(act(conv3x3(x))),   x = act(h + skip(x))
 *   at the end   conv3x3(x), drawn so small that a coupling starts as nearly the identity
 * skip(x) is x, or act(conv1x1(x)) in a block that changes the number of channels. A coupling clips
 * the log-scales that come out (affine: scale = "exp", clip = 15); their order is pairs = "halves".
 *
 * He, Zhang, Ren, Sun, "Deep residual learning" (CVPR 2016), section 3. */
#include <math.h>
#include <stdio.h>
#include <string.h>
#include "glow/plugin.h"

/* A stage with a weight and a bias, "<name>.w" and "<name>.b", drawn with variance gain / fan-in.
 */
static struct glow_stage make_stage(const struct glow_self *self, struct glow_graph *g,
                                    const char *name, int64_t in, int64_t out, int32_t ksize,
                                    double gain, int32_t act)
{
    char weight[32], bias[32];
    snprintf(weight, sizeof weight, "%s.w", name);
    snprintf(bias, sizeof bias, "%s.b", name);
    double fan_in = (double)(in * ksize * ksize);
    struct glow_param w = { .size = sizeof w,
                            .name = weight,
                            .group = "weight",
                            .type = glow_real_type(4, out, in, ksize, ksize),
                            .init = GLOW_INIT_NORMAL,
                            .b = sqrt(gain / fan_in) };
    struct glow_param b = { .size = sizeof b,
                            .name = bias,
                            .group = "bias",
                            .type = glow_real_type(1, out, 0, 0, 0),
                            .init = GLOW_INIT_ZERO };
    return (struct glow_stage){
        .w = g->op->param(g, self, &w), .b = g->op->param(g, self, &b), .ksize = ksize, .act = act
    };
}

static glow_value block(const struct glow_self *self, struct glow_graph *g, glow_value x,
                        int number, int64_t units)
{
    char name[3][24];
    static const char *const part[3] = { "conv3", "conv1", "skip" };
    for (int i = 0; i < 3; i++) snprintf(name[i], sizeof name[i], "%d.%s", number, part[i]);

    int is_tanh = strcmp(self->host->opt_string(self, "activation"), "tanh") == 0;
    int32_t act = is_tanh ? GLOW_ACT_TANH : GLOW_ACT_RELU;
    int64_t in = glow_channels(g, x);
    struct glow_stage stage[2] = {
        make_stage(self, g, name[0], in, units, 3, 2, act),
        make_stage(self, g, name[1], units, units, 1, 1, GLOW_ACT_NONE),
    };
    glow_value h = g->op->conv_chain(g, x, 2, stage, sizeof *stage);
    if (self->host->opt_int(self, "skip")) {
        if (in != units) {
            struct glow_stage widen = make_stage(self, g, name[2], in, units, 1, 2, act);
            x = g->op->conv_chain(g, x, 1, &widen, sizeof widen);
        }
        h = glow_add(g, h, x);
    }
    return glow_unary(g, is_tanh ? GLOW_TANH : GLOW_RELU, h);
}

static void forward(const struct glow_self *self, struct glow_graph *g, struct glow_net_call *call)
{
    glow_value x = call->in[0];
    struct glow_type in = glow_type_of(g, x);
    if (in.rank != 3) {
        char why[128];
        snprintf(why, sizeof why, "the net resnet needs images (C,H,W), got %d axes%s",
                 (int)in.rank, in.rank == 1 ? "; rows take the net mlp" : "");
        call->out[0] = g->op->fail(g, why);
        return;
    }
    int64_t units = self->host->opt_int(self, "width");
    if (units == 0) units = self->host->opt_int(self, "units_factor") * in.dim[0];
    int blocks = (int)self->host->opt_int(self, "blocks");
    for (int i = 0; i < blocks; i++) x = block(self, g, x, i, units);
    struct glow_stage last =
        make_stage(self, g, "last", units, call->out_type[0].dim[0], 3, 1e-3, GLOW_ACT_NONE);
    call->out[0] = g->op->conv_chain(g, x, 1, &last, sizeof last);
}

static const struct glow_option options[] = {
    { .key = "units_factor",
      .type = GLOW_OPT_INT,
      .since = 1,
      .dflt = "2",
      .range = "[1,1024]",
      .help = "hidden channels per input channel" },
    { .key = "width",
      .type = GLOW_OPT_INT,
      .since = 1,
      .dflt = "0",
      .range = "[0,65536]",
      .unit = "channels",
      .help = "hidden channels; 0 = by units_factor" },
    { .key = "blocks",
      .type = GLOW_OPT_INT,
      .since = 1,
      .dflt = "1",
      .range = "[1,1000]",
      .help = "number of residual blocks" },
    { .key = "skip",
      .type = GLOW_OPT_BOOL,
      .since = 1,
      .dflt = "true",
      .help = "add the block's input to its output" },
    { .key = "activation",
      .type = GLOW_OPT_ENUM,
      .since = 1,
      .dflt = "relu",
      .range = "relu|tanh",
      .help = "of the hidden channels" },
};

static const struct glow_net net = {
    GLOW_HEAD(struct glow_net, GLOW_NET, 1, "resnet", "residual convolutional network", options,
              GLOW_COUNT(options)),
    .forward = forward,
    .properties = GLOW_NET_IMAGE,
};

static const struct glow_desc *const descs[] = { &net.head, NULL };
GLOW_EXPORT const struct glow_plugin glow_plugin_v1 = {
    sizeof glow_plugin_v1, GLOW_ABI_MINOR, "resnet", "1", "", descs
};

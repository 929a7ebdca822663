/* affine: an affine coupling. The first half of the channels, x1, decides what happens to the rest:
 *   (t, a) = net(x1),   y1 = x1,   y2 = (x2 + t) s(a),   logdet = sum log s(a)
 * scale = "sigmoid": s = sigmoid(a + 2), as openai/glow; scale = "exp": s = exp(a), a clipped.
 * The net puts out twice as many channels as x2 has: t and a interleaved (0::2, 1::2) or in halves.
 * An odd channel belongs to the second half.
 *
 * Dinh, Sohl-Dickstein, Bengio, "Density estimation using Real NVP" (ICLR 2017), section 3.2;
 * Kingma, Dhariwal, "Glow" (NeurIPS 2018), section 3.3. */
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
    snprintf(why, sizeof why, "affine splits the channels and needs at least 2, got %lld",
             (long long)channels);
    self->host->fail(self, why);
    return GLOW_EINVAL;
}

static int option_is(const struct glow_self *self, const char *key, const char *value)
{
    return strcmp(self->host->opt_string(self, key), value) == 0;
}

struct halves {
    glow_value kept, moved;
};

static struct halves split(const struct glow_self *self, struct glow_graph *g, glow_value x)
{
    int64_t c = glow_channels(g, x), half = c / 2;
    glow_value first = g->op->slice(g, x, 0, 0, 1, half);
    glow_value rest = g->op->slice(g, x, 0, half, 1, c - half);
    struct halves h = { first, rest }, swapped = { rest, first };
    return self->host->opt_int(self, "swap") ? swapped : h;
}

static glow_value merge(const struct glow_self *self, struct glow_graph *g, struct halves h)
{
    int swap = self->host->opt_int(self, "swap") != 0;
    glow_value parts[2] = { swap ? h.moved : h.kept, swap ? h.kept : h.moved };
    return g->op->concat(g, 0, 2, parts);
}

struct map {
    glow_value shift, scale, logdet; /* logdet: a number per sample */
};

/* What the net makes of the kept half. */
static struct map map_of(const struct glow_self *self, struct glow_graph *g, struct halves h)
{
    const struct glow_ops *op = g->op;
    int64_t c = glow_channels(g, h.moved);
    glow_value out = glow_run_net(g, self, "net", h.kept, 2 * c), a;
    struct map m;
    if (option_is(self, "pairs", "interleaved")) {
        m.shift = op->slice(g, out, 0, 0, 2, c);
        a = op->slice(g, out, 0, 1, 2, c);
    } else {
        m.shift = op->slice(g, out, 0, 0, 1, c);
        a = op->slice(g, out, 0, c, 1, c);
    }
    if (option_is(self, "scale", "exp")) {
        double clip = self->host->opt_real(self, "clip");
        a = glow_binary(g, GLOW_MAX, a, glow_num(g, -clip));
        a = glow_binary(g, GLOW_MIN, a, glow_num(g, clip));
        m.scale = glow_exp(g, a);
        m.logdet = glow_sum_all(g, a);
    } else {
        a = glow_add_num(g, a, 2);
        m.scale = glow_unary(g, GLOW_SIGMOID, a);
        m.logdet = glow_sum_all(g, glow_unary(g, GLOW_LOG_SIGMOID, a));
    }
    return m;
}

static void forward(const struct glow_self *self, struct glow_graph *g, struct glow_flow *f)
{
    struct halves h = split(self, g, f->op->x(f));
    struct map m = map_of(self, g, h);
    h.moved = glow_mul(g, glow_add(g, h.moved, m.shift), m.scale);
    f->op->term(f, GLOW_LOGDET, "logdet", m.logdet);
    f->op->set_x(f, merge(self, g, h));
}

static void inverse(const struct glow_self *self, struct glow_graph *g, struct glow_flow *f)
{
    struct halves h = split(self, g, f->op->x(f));
    struct map m = map_of(self, g, h);
    h.moved = glow_sub(g, glow_div(g, h.moved, m.scale), m.shift);
    f->op->term(f, GLOW_LOGDET, "logdet", glow_neg(g, m.logdet));
    f->op->set_x(f, merge(self, g, h));
}

static const struct glow_option options[] = {
    { .key = "net",
      .type = GLOW_OPT_CHILD,
      .since = 1,
      .dflt = "openai",
      .slot_kind = GLOW_NET,
      .help = "the network that computes shift and scale" },
    { .key = "scale",
      .type = GLOW_OPT_ENUM,
      .since = 1,
      .dflt = "sigmoid",
      .range = "sigmoid|exp",
      .help = "sigmoid(a + 2), or exp(a) with a clipped" },
    { .key = "clip",
      .type = GLOW_OPT_REAL,
      .since = 1,
      .dflt = "15.0",
      .range = "(0,inf)",
      .help = "bound of |a| for scale = \"exp\"" },
    { .key = "pairs",
      .type = GLOW_OPT_ENUM,
      .since = 1,
      .dflt = "interleaved",
      .range = "interleaved|halves",
      .help = "how the net's channels alternate: t a t a, or t t a a" },
    { .key = "swap",
      .type = GLOW_OPT_BOOL,
      .since = 1,
      .dflt = "false",
      .help = "transform the first half of the channels and keep the rest" },
};

static const struct glow_layer layer = {
    GLOW_HEAD(struct glow_layer, GLOW_LAYER, 1, "affine", "affine coupling", options,
              GLOW_COUNT(options)),
    .create = create,
    .forward = forward,
    .inverse = inverse,
    .traits = GLOW_BIJECTION,
};

static const struct glow_desc *const descs[] = { &layer.head, NULL };
GLOW_EXPORT const struct glow_plugin glow_plugin_v1 = {
    sizeof glow_plugin_v1, GLOW_ABI_MINOR, "affine", "1", "", descs
};

/* quantize: an image of whole grey values becomes a continuous one, by uniform dequantisation.
 *
 * x in [0,1] is v/255 for an 8-bit value v. With n = 2^bits bins of w = 256/n values each:
 *   forward   k = floor((255 x + r) / w),   y = (k + u) / n - 1/2,   u ~ U[0,1)
 *   inverse   k = floor((y + 1/2) n) clipped to 0..n-1,   x = k w / 255
 * With 8 bits r = 1/2 (the nearest value) and inverse(forward(x)) is x; with fewer it is the first
 * value of x's bin, and r = 1/64 only makes up for 255 (v/255) coming out a hair below v.
 *
 * A point of the grid stands for a bin of volume n^-D, so log P(k) >= E[log p(y)] - D log n, which
 * is the term. All terms and prior log-densities of a model thus sum to the log-likelihood of the
 * discrete image in nats, and bits/dim = -sum / (D log 2).
 *
 * Theis, van den Oord, Bethge, "A note on the evaluation of generative models" (ICLR 2016), 3.1;
 * Kingma, Dhariwal, "Glow" (NeurIPS 2018), equation 2. */
#include "glow/plugin.h"

static const double LOG_2 = 0.693147180559945309417;

struct grid {
    double bits, bins, width;
};

static struct grid grid_of(const struct glow_self *self)
{
    int64_t bits = self->host->opt_int(self, "bits");
    struct grid q = { (double)bits, (double)(1 << bits), (double)(256 >> bits) };
    return q;
}

static int32_t create(const struct glow_self *self, const struct glow_create *c,
                      struct glow_traits *traits, void **data)
{
    (void)c, (void)data;
    if (self->host->opt_int(self, "bits") < 8) traits->left = GLOW_INV_NONE;
    return GLOW_OK;
}

/* sign * D log n; D = positions * channels */
static void add_term(struct glow_graph *g, struct glow_flow *f, struct grid q, double sign)
{
    double channels = (double)glow_channels(g, f->op->x(f));
    f->op->term(f, GLOW_BOUND, "dequantise",
                glow_scale(g, f->op->positions(f), sign * channels * q.bits * LOG_2));
}

static void forward(const struct glow_self *self, struct glow_graph *g, struct glow_flow *f)
{
    struct grid q = grid_of(self);
    glow_value x = f->op->x(f);
    struct glow_type t = glow_type_of(g, x);
    glow_value v = glow_add_num(g, glow_scale(g, x, 255), q.bits < 8 ? 1.0 / 64 : 0.5);
    glow_value k = glow_unary(g, GLOW_FLOOR, glow_scale(g, v, 1 / q.width));
    glow_value u = g->op->random(g, self, "u", GLOW_UNIFORM, &t);
    /* In single precision k + u rounds up to k + 1 for the last few u, which is the next bin. */
    u = glow_binary(g, GLOW_MIN, u, glow_num(g, 1 - 1.0 / 4096));
    add_term(g, f, q, -1);
    f->op->set_x(f, glow_add_num(g, glow_scale(g, glow_add(g, k, u), 1 / q.bins), -0.5));
}

static void inverse(const struct glow_self *self, struct glow_graph *g, struct glow_flow *f)
{
    struct grid q = grid_of(self);
    glow_value k = glow_scale(g, glow_add_num(g, f->op->x(f), 0.5), q.bins);
    k = glow_unary(g, GLOW_FLOOR, k);
    k = glow_binary(g, GLOW_MAX, k, glow_num(g, 0));
    k = glow_binary(g, GLOW_MIN, k, glow_num(g, q.bins - 1));
    add_term(g, f, q, 1);
    f->op->set_x(f, glow_div(g, glow_scale(g, k, q.width), glow_num(g, 255)));
}

static const struct glow_option options[] = {
    { .key = "bits",
      .type = GLOW_OPT_INT,
      .since = 1,
      .dflt = "8",
      .range = "[1,8]",
      .unit = "bits",
      .help = "depth that a channel keeps; fewer bits drop the lowest ones" },
};

static const struct glow_layer layer = {
    GLOW_HEAD(struct glow_layer, GLOW_LAYER, 1, "quantize",
              "grey values to reals by uniform dequantisation", options, GLOW_COUNT(options)),
    .create = create,
    .forward = forward,
    .inverse = inverse,
    .traits = { sizeof(struct glow_traits), GLOW_INV_EXACT, GLOW_INV_NONE, GLOW_STOCHASTIC, 0.0 },
};

static const struct glow_desc *const descs[] = { &layer.head, NULL };
GLOW_EXPORT const struct glow_plugin glow_plugin_v1 = {
    sizeof glow_plugin_v1, GLOW_ABI_MINOR, "quantize", "1", "", descs
};

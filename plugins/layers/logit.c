/* logit: an 8-bit image becomes a point of the whole space: dequantised, then through the logit.
 *
 * x in [0,1] is v/255 for a grey value v. With a = alpha, which keeps both ends finite:
 *   forward   p = (v + u)/256, u ~ U[0,1);   q = p (1 - a) + a/2;   y = log q - log(1 - q)
 *   inverse   p = (sigmoid(y) - a/2) / (1 - a),   x = floor(256 p) clipped to 0..255, over 255
 *   log |dy/dp| = sum log(1 - a) - log q - log(1 - q)
 * Further, the bin of v has the volume 256^-D among the p: the bound -D log 256, as in quantize.
 * Terms and prior log-densities of a model thus sum to the log-likelihood of the discrete image.
 *
 * Dinh, Sohl-Dickstein, Bengio, "Density estimation using Real NVP" (ICLR 2017), section 4.1. */
#include <math.h>
#include "glow/plugin.h"

static const double LOG_256 = 5.545177444479562475;

/* Both terms, of p -> y (sign 1) or y -> p (sign -1). q and 1 - q are given apart because near 1
 * the latter keeps its digits only if it never was a difference. */
static void add_terms(const struct glow_self *self, struct glow_graph *g, struct glow_flow *f,
                      glow_value log_q, glow_value log_1q, double sign)
{
    double channels = (double)glow_channels(g, f->op->x(f));
    double per_value = log1p(-self->host->opt_real(self, "alpha"));
    glow_value size = glow_scale(g, f->op->positions(f), channels);
    glow_value logs = glow_sum_all(g, glow_add(g, log_q, log_1q));
    glow_value logdet = glow_sub(g, glow_scale(g, size, per_value), logs);
    f->op->term(f, GLOW_LOGDET, "logit", glow_scale(g, logdet, sign));
    f->op->term(f, GLOW_BOUND, "dequantise", glow_scale(g, size, -sign * LOG_256));
}

/* p (1 - a) + a/2 */
static glow_value inset(struct glow_graph *g, glow_value p, double a)
{
    return glow_add_num(g, glow_scale(g, p, 1 - a), a / 2);
}

static void forward(const struct glow_self *self, struct glow_graph *g, struct glow_flow *f)
{
    double a = self->host->opt_real(self, "alpha");
    glow_value x = f->op->x(f);
    struct glow_type t = glow_type_of(g, x);
    glow_value v = glow_unary(g, GLOW_FLOOR, glow_add_num(g, glow_scale(g, x, 255), 0.5));
    glow_value u = g->op->random(g, self, "u", GLOW_UNIFORM, &t);
    /* A sliver of each bin is left out: in single precision the inverse would take it for the
     * neighbour's. */
    u = glow_binary(g, GLOW_MIN, u, glow_num(g, 1 - 1.0 / 1024));
    u = glow_binary(g, GLOW_MAX, u, glow_num(g, 1.0 / 1024));
    glow_value p = glow_scale(g, glow_add(g, v, u), 1.0 / 256);
    glow_value log_q = glow_log(g, inset(g, p, a));
    /* 1 - p, of its own parts: near white the rounding of v + u would show in what is left to 1. */
    glow_value rest = glow_add(g, glow_sub(g, glow_num(g, 255), v), glow_sub(g, glow_num(g, 1), u));
    glow_value log_1q = glow_log(g, inset(g, glow_scale(g, rest, 1.0 / 256), a));
    add_terms(self, g, f, log_q, log_1q, 1);
    f->op->set_x(f, glow_sub(g, log_q, log_1q));
}

static void inverse(const struct glow_self *self, struct glow_graph *g, struct glow_flow *f)
{
    double a = self->host->opt_real(self, "alpha");
    glow_value y = f->op->x(f);
    glow_value p = glow_add_num(g, glow_unary(g, GLOW_SIGMOID, y), -a / 2);
    glow_value v = glow_unary(g, GLOW_FLOOR, glow_scale(g, p, 256 / (1 - a)));
    v = glow_binary(g, GLOW_MAX, v, glow_num(g, 0));
    v = glow_binary(g, GLOW_MIN, v, glow_num(g, 255));
    add_terms(self, g, f, glow_unary(g, GLOW_LOG_SIGMOID, y),
              glow_unary(g, GLOW_LOG_SIGMOID, glow_neg(g, y)), -1);
    f->op->set_x(f, glow_div(g, v, glow_num(g, 255)));
}

static const struct glow_option options[] = {
    { .key = "alpha",
      .type = GLOW_OPT_REAL,
      .since = 1,
      .dflt = "1e-5",
      .range = "(0,1)",
      .help = "how far from 0 and 1 the logit's argument stays, both ends together" },
};

static const struct glow_layer layer = {
    GLOW_HEAD(struct glow_layer, GLOW_LAYER, 1, "logit",
              "8-bit values to reals by dequantisation and the logit", options,
              GLOW_COUNT(options)),
    .forward = forward,
    .inverse = inverse,
    .traits = { sizeof(struct glow_traits), GLOW_INV_EXACT, GLOW_INV_NONE, GLOW_STOCHASTIC, 0.0 },
};

static const struct glow_desc *const descs[] = { &layer.head, NULL };
GLOW_EXPORT const struct glow_plugin glow_plugin_v1 = {
    sizeof glow_plugin_v1, GLOW_ABI_MINOR, "logit", "1", "", descs
};

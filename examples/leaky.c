/* leaky: an elementwise layer in forty lines; copy it to start your own.
 *   y = x where x > 0, else x exp(logs);  logdet = sum of logs where x <= 0
 * with one learned logs per channel, of images and of rows alike.
 *
 *   cc -shared -fPIC -I/usr/local/include leaky.c -o leaky.so
 *   GLOW_PLUGIN_PATH=. glow check leaky.so      # does it invert, is the logdet right, ...
 * and in glow.cfg  { layer = "leaky"; } */
#include <glow/plugin.h>

/* v where x is not positive, else 0: x and y have the same sign. */
static glow_value if_negative(struct glow_graph *g, glow_value x, glow_value v)
{
    glow_value negative = glow_binary(g, GLOW_LE, x, glow_num(g, 0));
    return g->op->where(g, negative, v, glow_num(g, 0));
}

static void forward(const struct glow_self *self, struct glow_graph *g, struct glow_flow *f)
{
    glow_value x = f->op->x(f), logs = glow_channel_param(g, self, "logs", "scale", x);
    glow_value log_slope = if_negative(g, x, logs);
    f->op->term(f, GLOW_LOGDET, "logdet", glow_sum_all(g, log_slope));
    f->op->set_x(f, glow_mul(g, x, glow_exp(g, log_slope)));
}

static void inverse(const struct glow_self *self, struct glow_graph *g, struct glow_flow *f)
{
    glow_value y = f->op->x(f), logs = glow_channel_param(g, self, "logs", "scale", y);
    glow_value log_slope = glow_neg(g, if_negative(g, y, logs));
    f->op->term(f, GLOW_LOGDET, "logdet", glow_sum_all(g, log_slope));
    f->op->set_x(f, glow_mul(g, y, glow_exp(g, log_slope)));
}

static const struct glow_layer layer = {
    GLOW_HEAD(struct glow_layer, GLOW_LAYER, 1, "leaky", "leaky ReLU, learned slope", NULL, 0),
    .forward = forward,
    .inverse = inverse,
    .traits = GLOW_BIJECTION,
};

static const struct glow_desc *const descs[] = { &layer.head, NULL };
GLOW_EXPORT const struct glow_plugin glow_plugin_v1 = {
    sizeof glow_plugin_v1, GLOW_ABI_MINOR, "leaky", "1", "", descs
};

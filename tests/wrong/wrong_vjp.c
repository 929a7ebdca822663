/* wrong_vjp: y = x + sin(x)/2 by a custom operation whose gradient has the wrong sign in its
 * cosine. The forward direction is right in all its parts, and there is no inverse to tell on it.
 */
#include <math.h>
#include <stdio.h>
#include "glow/plugin.h"

static int32_t infer(struct glow_custom_infer *c)
{
    if (c->n_in != 1 || c->n_out != 1 || c->in[0].rank < 0) {
        snprintf(c->why, c->why_size, "one input, one output");
        return GLOW_EINVAL;
    }
    c->out[0] = c->in[0];
    return GLOW_OK;
}

static glow_value half(struct glow_graph *g, uint32_t code, glow_value x)
{
    return glow_scale(g, glow_unary(g, code, x), 0.5);
}

static void decompose(const struct glow_self *self, struct glow_graph *g,
                      struct glow_custom_call *c)
{
    (void)self;
    c->out[0] = glow_add(g, c->in[0], half(g, GLOW_SIN, c->in[0]));
}

static void vjp(const struct glow_self *self, struct glow_graph *g, struct glow_custom_vjp *c)
{
    (void)self;
    glow_value slope = glow_sub(g, glow_num(g, 1), half(g, GLOW_COS, c->in[0]));
    c->din[0] = glow_mul(g, c->dout[0], slope);
}

static int64_t count(const struct glow_array *a)
{
    int64_t n = a->n;
    for (int32_t i = 0; i < a->type.rank; i++) n *= a->type.dim[i];
    return n;
}

#define KERNEL(name, real, sine)                                                                   \
    static int32_t name(const struct glow_kernel_call *c)                                          \
    {                                                                                              \
        const real *x = c->in[0].data;                                                             \
        real *y = c->out[0].data;                                                                  \
        for (int64_t i = 0, n = count(&c->in[0]); i < n; i++) y[i] = x[i] + sine(x[i]) / 2;        \
        return GLOW_OK;                                                                            \
    }
KERNEL(run_f32, float, sinf)
KERNEL(run_f64, double, sin)

static const struct glow_kernel kernels[] = {
    { .backend = "cpu", .dtype = GLOW_F32, .run = run_f32 },
    { .backend = "cpu", .dtype = GLOW_F64, .run = run_f64 },
};

static const struct glow_custom custom = {
    GLOW_HEAD(struct glow_custom, GLOW_CUSTOM, 1, "wrong_vjp", "x + sin(x)/2", NULL, 0),
    .infer = infer,
    .decompose = decompose,
    .vjp = vjp,
    .kernels = kernels,
    .n_kernels = GLOW_COUNT(kernels),
    .kernel_size = sizeof kernels[0],
};

static void forward(const struct glow_self *self, struct glow_graph *g, struct glow_flow *f)
{
    glow_value x = f->op->x(f), y;
    struct glow_custom_call c = { sizeof c, 1, 1, 0, "wrong_vjp", &x, NULL, &y };
    g->op->custom(g, self, &c);
    glow_value slope = glow_add(g, glow_num(g, 1), half(g, GLOW_COS, x));
    f->op->term(f, GLOW_LOGDET, "logdet", glow_sum_all(g, glow_log(g, slope)));
    f->op->set_x(f, y);
}

static const struct glow_layer layer = {
    GLOW_HEAD(struct glow_layer, GLOW_LAYER, 1, "wrong_vjp", "a wrong gradient", NULL, 0),
    .forward = forward,
    .traits = { sizeof(struct glow_traits), GLOW_INV_NONE, GLOW_INV_NONE, 0, 0.0 },
};

static const struct glow_desc *const descs[] = { &layer.head, &custom.head, NULL };
GLOW_EXPORT const struct glow_plugin glow_plugin_v1 = {
    sizeof glow_plugin_v1, GLOW_ABI_MINOR, "wrong", "1", "", descs
};

/* gate: a custom operation with all that one can have: an input that may be absent, an attribute,
 * two outputs that may be unwanted, scratch memory, kernels, and no gradient of its own. y = x s,
 * s = sigmoid(r a), or 1/2 where a is absent */
#include <math.h>
#include <stdio.h>
#include "glow/plugin.h"

static int32_t infer(struct glow_custom_infer *c)
{
    if (c->n_in != 2 || c->n_out != 2 || c->n_attr != 1 || c->in[0].rank < 0) {
        snprintf(c->why, c->why_size, "gate takes x and a, and gives y and s");
        return GLOW_EINVAL;
    }
    c->out[0] = c->out[1] = c->in[0];
    return GLOW_OK;
}

static void decompose(const struct glow_self *self, struct glow_graph *g,
                      struct glow_custom_call *c)
{
    glow_value x = c->in[0], a = c->in[1];
    (void)self;
    if (!a.id) a = glow_scale(g, x, 0);
    c->out[1] = glow_unary(g, GLOW_SIGMOID, glow_scale(g, a, c->attr[0]));
    c->out[0] = glow_mul(g, x, c->out[1]);
}

static int64_t elements(const struct glow_type *t)
{
    int64_t n = 1;
    for (int32_t i = 0; i < t->rank; i++) n *= t->dim[i];
    return n;
}

/* s of one sample at a time goes through the scratch. */
static int64_t scratch_f32(const struct glow_custom_infer *c)
{
    return elements(&c->in[0]) * (int64_t)sizeof(float);
}
static int64_t scratch_f64(const struct glow_custom_infer *c)
{
    return elements(&c->in[0]) * (int64_t)sizeof(double);
}

#define KERNEL(name, real)                                                                         \
    static int32_t name(const struct glow_kernel_call *c)                                          \
    {                                                                                              \
        int64_t n = elements(&c->in[0].type);                                                      \
        real *scratch = c->scratch;                                                                \
        for (int64_t k = 0; k < c->in[0].n; k++) {                                                 \
            const real *x = (const real *)c->in[0].data + k * n;                                   \
            const real *a = c->in[1].data ? (const real *)c->in[1].data + k * n : NULL;            \
            real *y = c->out[0].data, *s = c->out[1].data;                                         \
            for (int64_t i = 0; i < n; i++)                                                        \
                scratch[i] = a ? (real)(1 / (1 + exp(-c->attr[0] * a[i]))) : (real)0.5;            \
            for (int64_t i = 0; i < n && y; i++) y[k * n + i] = x[i] * scratch[i];                 \
            for (int64_t i = 0; i < n && s; i++) s[k * n + i] = scratch[i];                        \
        }                                                                                          \
        return GLOW_OK;                                                                            \
    }
KERNEL(run_f32, float)
KERNEL(run_f64, double)

static const struct glow_kernel kernels[] = {
    { .backend = "cpu", .dtype = GLOW_F32, .run = run_f32, .scratch = scratch_f32 },
    { .backend = "cpu", .dtype = GLOW_F64, .run = run_f64, .scratch = scratch_f64 },
};

static const struct glow_custom custom = {
    GLOW_HEAD(struct glow_custom, GLOW_CUSTOM, 1, "gate", "x sigmoid(r a)", NULL, 0),
    .infer = infer,
    .decompose = decompose,
    .kernels = kernels,
    .n_kernels = GLOW_COUNT(kernels),
    .kernel_size = sizeof kernels[0],
};

static const struct glow_desc *const descs[] = { &custom.head, NULL };
GLOW_EXPORT const struct glow_plugin glow_plugin_v1 = {
    sizeof glow_plugin_v1, GLOW_ABI_MINOR, "gate", "1", "", descs
};

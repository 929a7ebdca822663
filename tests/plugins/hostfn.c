/* hostfn: a custom operation with "cuda" kernels as version 1.0 had them, functions of the host,
 * built against that header (-DHEADER): its records are shorter than today's. The function for f64
 * stands first and claims success, and says so; that for f32 refuses, so that a test sees it
 * called. */
#include HEADER
#include <stdio.h>

static int32_t infer(struct glow_custom_infer *c)
{
    c->out[0] = c->in[0];
    return GLOW_OK;
}
static void decompose(const struct glow_self *self, struct glow_graph *g,
                      struct glow_custom_call *c)
{
    (void)self;
    c->out[0] = glow_scale(g, c->in[0], 1);
}
static int32_t succeed(const struct glow_kernel_call *c)
{
    (void)c;
    fputs("hostfn runs\n", stderr);
    return GLOW_OK;
}
static int32_t refuse(const struct glow_kernel_call *c)
{
    (void)c;
    return GLOW_ENOTSUP;
}
static const struct glow_kernel kernels[] = {
    { .backend = "cuda", .dtype = GLOW_F64, .run = succeed },
    { .backend = "cuda", .dtype = GLOW_F32, .run = refuse },
};
static const struct glow_custom custom = {
    .head = GLOW_HEAD(struct glow_custom, GLOW_CUSTOM, 1, "hostfn", "a copy", NULL, 0),
    .infer = infer,
    .decompose = decompose,
    .kernels = kernels,
    .n_kernels = GLOW_COUNT(kernels),
    .kernel_size = sizeof kernels[0],
};
static void pass(const struct glow_self *self, struct glow_graph *g, struct glow_flow *f)
{
    glow_value x = f->op->x(f), y = glow_none;
    struct glow_custom_call c = { sizeof c, 1, 1, 0, "hostfn", &x, NULL, &y };
    g->op->custom(g, self, &c);
    f->op->set_x(f, y);
}
static const struct glow_layer layer = {
    .head = GLOW_HEAD(struct glow_layer, GLOW_LAYER, 1, "hostfn", "the identity", NULL, 0),
    .forward = pass,
    .inverse = pass,
    .traits = GLOW_BIJECTION,
};
static const struct glow_desc *const descs[] = { &layer.head, &custom.head, NULL };
GLOW_EXPORT const struct glow_plugin glow_plugin_v1 = {
    sizeof glow_plugin_v1, GLOW_ABI_MINOR, "hostfn", "1", "", descs
};

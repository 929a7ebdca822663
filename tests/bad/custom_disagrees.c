/* custom_disagrees.c - a custom operation that promises one shape and decomposes to another. */
#include "bad.h"

static int32_t infer(struct glow_custom_infer *c)
{
    c->out[0] = c->in[0];
    return GLOW_OK;
}
static void decompose(const struct glow_self *self, struct glow_graph *g,
                      struct glow_custom_call *c)
{
    (void)self;
    c->out[0] = glow_sum_all(g, c->in[0]);
}
static const struct glow_custom custom = {
    .head = GLOW_HEAD(struct glow_custom, GLOW_CUSTOM, 1, "lie", "", NULL, 0),
    .infer = infer,
    .decompose = decompose,
};
static void use(const struct glow_self *self, struct glow_graph *g, struct glow_flow *f)
{
    glow_value x = f->op->x(f), y = glow_none;
    struct glow_custom_call c = { sizeof c, 1, 1, 0, "lie", &x, NULL, &y };
    g->op->custom(g, self, &c);
    f->op->set_x(f, y);
}
static const struct glow_layer layer = {
    .head = HEAD("custom_disagrees"), .forward = use, .inverse = same, .traits = GLOW_BIJECTION
};
PLUGIN(&custom.head, &layer.head);

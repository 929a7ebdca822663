/* bad_graph.c - multiplies shapes that do not fit. */
#include "bad.h"

static void misfit(const struct glow_self *self, struct glow_graph *g, struct glow_flow *f)
{
    struct glow_type t = glow_real_type(1, 7, 0, 0, 0);
    const double seven[7] = { 1, 2, 3, 4, 5, 6, 7 };
    (void)self;
    f->op->set_x(f, glow_mul(g, f->op->x(f), g->op->array(g, &t, seven)));
}
static const struct glow_layer layer = {
    .head = HEAD("bad_graph"), .forward = misfit, .inverse = same, .traits = GLOW_BIJECTION
};
PLUGIN(&layer.head, NULL);

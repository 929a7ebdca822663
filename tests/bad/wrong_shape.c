/* wrong_shape.c - its inverse gives back another shape than forward took. */
#include "bad.h"

static void flatten(const struct glow_self *self, struct glow_graph *g, struct glow_flow *f)
{
    struct glow_type t = glow_type_of(g, f->op->x(f));
    int64_t n = 1;
    (void)self;
    for (int32_t i = 0; i < t.rank; i++) n *= t.dim[i];
    f->op->set_x(f, g->op->reshape(g, f->op->x(f), 1, &n));
}
static const struct glow_layer layer = {
    .head = HEAD("wrong_shape"), .forward = flatten, .inverse = flatten, .traits = GLOW_BIJECTION
};
PLUGIN(&layer.head, NULL);

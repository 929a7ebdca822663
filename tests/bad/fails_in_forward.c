/* fails_in_forward.c - reports an error while it describes its graph. */
#include "bad.h"

static void give_up(const struct glow_self *self, struct glow_graph *g, struct glow_flow *f)
{
    (void)self;
    f->op->set_x(f, g->op->fail(g, "the moon is in the wrong phase"));
}
static const struct glow_layer layer = {
    .head = HEAD("fails_in_forward"), .forward = give_up, .inverse = same, .traits = GLOW_BIJECTION
};
PLUGIN(&layer.head, NULL);

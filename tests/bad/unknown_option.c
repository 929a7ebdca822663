/* unknown_option.c - reads an option that its descriptor does not list. */
#include "bad.h"

static void ask(const struct glow_self *self, struct glow_graph *g, struct glow_flow *f)
{
    f->op->set_x(f, glow_scale(g, f->op->x(f), 1.0 + self->host->opt_real(self, "gain")));
}
static const struct glow_layer layer = {
    .head = HEAD("unknown_option"), .forward = ask, .inverse = same, .traits = GLOW_BIJECTION
};
PLUGIN(&layer.head, NULL);

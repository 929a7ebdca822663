/* create_fails.c - refuses every shape. */
#include "bad.h"

static int32_t refuse(const struct glow_self *self, const struct glow_create *c,
                      struct glow_traits *traits, void **data)
{
    (void)c;
    (void)traits;
    (void)data;
    self->host->fail(self, "expected an even number of channels");
    return GLOW_EINVAL;
}
static const struct glow_layer layer = { .head = HEAD("create_fails"),
                                         .create = refuse,
                                         .forward = same,
                                         .inverse = same,
                                         .traits = GLOW_BIJECTION };
PLUGIN(&layer.head, NULL);

/* no_decompose.c - a custom operation that says not what it computes. */
#include "bad.h"

static int32_t infer(struct glow_custom_infer *c)
{
    c->out[0] = c->in[0];
    return GLOW_OK;
}
static const struct glow_custom custom = {
    .head = GLOW_HEAD(struct glow_custom, GLOW_CUSTOM, 1, "no_decompose", "a secret", NULL, 0),
    .infer = infer,
};
PLUGIN(&custom.head, NULL);

/* bad_custom.h - a plug-in with a custom operation, the identity, and a layer of the same id, for
 * files that spoil its kernels. */
#ifndef BAD_CUSTOM_H
#define BAD_CUSTOM_H
#include "bad.h"

static inline int32_t bad_infer(struct glow_custom_infer *c)
{
    c->out[0] = c->in[0];
    return GLOW_OK;
}
static inline void bad_decompose(const struct glow_self *self, struct glow_graph *g,
                                 struct glow_custom_call *c)
{
    (void)self;
    (void)g;
    c->out[0] = c->in[0];
}
#define CUSTOM_PLUGIN(id, table, n, stride)                                                        \
    static const struct glow_custom custom = {                                                     \
        .head = GLOW_HEAD(struct glow_custom, GLOW_CUSTOM, 1, id, "", NULL, 0),                    \
        .infer = bad_infer,                                                                        \
        .decompose = bad_decompose,                                                                \
        .kernels = (const void *)(table),                                                          \
        .n_kernels = n,                                                                            \
        .kernel_size = stride,                                                                     \
    };                                                                                             \
    static const struct glow_layer layer = LAYER(id);                                              \
    PLUGIN(&custom.head, &layer.head)
#endif

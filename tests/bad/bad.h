/* bad.h - a valid plug-in with one layer, the identity, which every file here spoils in one way.
 * The id of a layer is the name of its file. test_registry.c and run.sh say how each is refused. */
#ifndef BAD_H
#define BAD_H
#include "glow/plugin.h"

static inline void same(const struct glow_self *self, struct glow_graph *g, struct glow_flow *f)
{
    (void)self;
    (void)g;
    (void)f;
}
#define HEAD(id) GLOW_HEAD(struct glow_layer, GLOW_LAYER, 1, id, "the identity", NULL, 0)
#define LAYER(id)                                                                                  \
    {                                                                                              \
        .head = HEAD(id), .forward = same, .inverse = same, .traits = GLOW_BIJECTION               \
    }
/* The exported constant, for up to two descriptors. */
#define PLUGIN(first, second)                                                                      \
    static const struct glow_desc *const descs[] = { first, second, NULL };                        \
    GLOW_EXPORT const struct glow_plugin glow_plugin_v1 = {                                        \
        sizeof glow_plugin_v1, GLOW_ABI_MINOR, "bad", "1", "", descs                               \
    }
#endif

/* larger_structs.c - built with a later header whose structs are longer; needs nothing new of it,
 * so it is loaded, and the host reads its options with their stride. */
#include "bad.h"

struct later_option {
    struct glow_option record;
    const char *more[3];
};
static const struct later_option options[] = {
    { { .key = "first", .help = "one", .dflt = "1", .type = GLOW_OPT_INT }, { "x", "y", "z" } },
    { { .key = "second", .help = "two", .dflt = "2", .type = GLOW_OPT_INT }, { "x", "y", "z" } },
};
static const struct later_layer {
    struct glow_layer layer;
    uint64_t more[4];
} later = { { .head = { sizeof later, GLOW_LAYER, 1, 0, "larger_structs", "", &options[0].record, 2,
                        sizeof options[0] },
              .forward = same,
              .inverse = same,
              .traits = GLOW_BIJECTION },
            { 1, 2, 3, 4 } };
PLUGIN(&later.layer.head, NULL);

/* plan.h - lays a graph out: which nodes run, in what order, and where every value lives.
 * All temporaries share ONE arena; offsets are found once, so that a run allocates nothing. */
#ifndef CORE_PLAN_H
#define CORE_PLAN_H
#include "graph.h"

enum place_kind {
    PLACE_NONE,  /* unwanted: nobody reads it */
    PLACE_ARENA, /* shared by values whose lifetimes don't meet */
    PLACE_FIXED, /* inputs and constants: own memory for as long as the program lives */
    PLACE_WEIGHT,
    PLACE_GRADIENT /* the model's arenas; offset in bytes */
};
struct place {
    int32_t kind, first, last;
    int64_t offset;
};

struct plan {
    uint32_t *order; /* nodes to run */
    uint32_t n_order;
    struct place *places; /* per value; of a view: its base's */
    int64_t *scratch;     /* per position in order: offset in the arena, -1 = none */
    int64_t arena_bytes, fixed_bytes;
    int64_t live_bytes;  /* the most bytes alive at once: the lower bound of arena_bytes */
    uint32_t n_in_place; /* results written over an operand */
    struct bump memory;
};

/* gradient_offset(model, index): bytes of a parameter in the arenas. The graph must be simplified.
 */
glow_status plan_make(struct plan **, const struct graph *, struct engine *);
void plan_free(struct plan *);
/* The operand tensors of node n as its kernel will see them, without data pointers (absent: NULL
 * data). */
void plan_tensors(const struct graph *, const struct plan *, const struct node *n,
                  struct tensor *in, struct tensor *out);
#endif

/* describe.h - a model whose first layer describes what a test describes: graphs of its own, and
 * inputs for them. */
#ifndef TESTS_DESCRIBE_H
#define TESTS_DESCRIBE_H
#include "rig.h"

static struct model *model; /* f64; its instance "first" describes what the tests describe */

static inline void setup(void)
{
    model = rig_model("input = [2]; flow = ( { layer = \"actnorm\"; name = \"first\"; }, { layer = "
                      "\"actnorm\"; } );",
                      DT_F64);
}
static inline void teardown(void) { model_free(model); }

static inline struct graph *new_graph(uint32_t phase)
{
    struct graph *g;
    ck_assert_int_eq(graph_new(&g, model, model->backend, DT_F64, 2, phase), GLOW_OK);
    g->who = model->layers[0].self;
    return g;
}

static inline const struct glow_self *self(int layer) { return &model->layers[layer].self->self; }

static inline glow_value input(struct graph *g, int batched, int rank, int64_t d0, int64_t d1,
                               int64_t d2)
{
    struct glow_type t = glow_real_type(rank, d0, d1, d2, 0);
    t.batched = batched;
    return graph_handle(g, graph_input(g, (int64_t)g->n_nodes, &t));
}
#endif

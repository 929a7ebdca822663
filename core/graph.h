/* graph.h - a program under construction: values, nodes, types. Plug-ins see it through the op
 * table (optable.c); grad.c adds gradients as ordinary nodes; rewrite.c simplifies; plan.c lays it
 * out.
 *
 * Values are numbered; 0 is absent, GRAPH_ERROR absorbs. Nodes with equal operation, inputs and
 * attributes are one node (hash-consing), within an epoch: each layer of the backward walk has an
 * epoch of its own, or a value of the forward pass would be kept alive for it.
 *
 * Parameters that a convolution chain reads may be kept in the backend's panels (packing.h), and so
 * are their gradients. Chains that want just that packing take such a value as it is; any other use
 * gets UNPACK in between, a bind to the parameter PACK. */
#ifndef CORE_GRAPH_H
#define CORE_GRAPH_H
#include <stdbool.h>
#include "backend.h"
#include "bump.h"
#include "packing.h"

struct model;
struct instance;

typedef uint32_t value_id;
#define GRAPH_ERROR UINT32_MAX

struct value {
    uint32_t node, out, base;         /* maker, which output, the value that owns the memory */
    int32_t real;                     /* physical type: DT_F32 or DT_F64 */
    struct glow_type type;            /* logical type: GLOW_REAL, GLOW_HI or GLOW_BOOL */
    int64_t stride[MAX_DIMS], offset; /* in elements of base's memory; axis 0 is the batch */
    const struct packing *packing;    /* weights kept in panels (the model's); NULL: C order */
};

struct node {
    uint16_t op, n_in, n_out;
    uint16_t n_ad;
    uint32_t n_ai, out0, epoch;
    value_id *in;
    int64_t *ai;
    double *ad;
    const struct instance *who;       /* the instance that described it; NULL: the core */
    const struct glow_custom *custom; /* OP_CUSTOM */
    const struct instance *custom_self;
    const struct instance *const *whose; /* OP_FUSED: who described each of its operations */
};

/* Everything that graph_add needs to know. */
struct op_call {
    int op;
    uint32_t n_in, n_ai, n_ad, n_out; /* n_out: FUSED and CUSTOM only */
    const value_id *in;
    const int64_t *ai;
    const double *ad;
    const struct glow_type
        *type; /* INPUT, ARRAY, RANDOM, BROADCAST, RESHAPE: the output; FUSED, CUSTOM: all */
    const struct glow_custom *custom;
    const struct instance *custom_self;
};

/* What the program has to leave behind. */
enum bind_kind { BIND_OUTPUT = 1, BIND_GRADIENT = 2, BIND_ASSIGN = 3 };
struct bind {
    int32_t kind, index; /* index: of the output, or of the parameter */
    value_id value;
};

/* See graph_replace. */
struct replacement {
    value_id value, by;
};

struct draw {
    const struct instance *who;
    uint64_t slot;
    uint32_t count;
};

struct graph {
    const struct glow_ops *op; /* first: struct glow_graph */
    struct model *model;
    const struct backend *backend;
    int32_t real; /* DT_F32 or DT_F64: what GLOW_REAL means */
    int64_t batch;
    uint32_t phase; /* GLOW_PHASE_* */
    uint32_t serial, epoch;
    const struct instance *who; /* whose callback is running */
    bool plain;                 /* build nodes as written: no rewriting (tests, roundtrips) */
    bool decompose;             /* custom operations are always decomposed (conformance) */
    bool separate; /* no result takes the place of an operand, nothing is fused (tests) */

    struct value *values;
    struct node *nodes;
    uint32_t *table; /* hash table of nodes */
    uint32_t n_values, cap_values, n_nodes, cap_nodes, cap_table;
    struct bind *binds;
    uint32_t n_binds, cap_binds;
    struct draw *draws; /* how often each random slot was asked for */
    uint32_t n_draws, cap_draws;
    value_id *results; /* of networks, in the order of the calls */
    uint32_t n_results, cap_results;
    struct replacement *replacements;
    uint32_t n_replacements, cap_replacements;
    value_id *assigned; /* per parameter: what init_from gave it, or 0 */
    uint32_t cap_assigned;
    int64_t n_alias;
    struct bump memory; /* inputs and attributes */
    glow_status status; /* the first error; its message is the thread's */
};

glow_status graph_new(struct graph **, struct model *, const struct backend *, int32_t real,
                      int64_t batch, uint32_t phase);
void graph_free(struct graph *);
/* Adds a node (or finds its equal, or a simpler value that equals it). Returns its first output. */
value_id graph_add(struct graph *, const struct op_call *);
/* Records an error, prefixed by the current instance's path, file and id; returns GRAPH_ERROR. */
value_id graph_fail(struct graph *, glow_status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
glow_status graph_bind(struct graph *, enum bind_kind, int32_t index, value_id);
/* Records what a network gave to the layer that called it. */
void graph_add_result(struct graph *, value_id);
/* In the rebuilt graph what reads `value`, operation or bind, reads `by`, which is made earlier; 0:
 * nothing. */
void graph_replace(struct graph *, value_id value, value_id by);
/* Bytes that a value which owns its memory takes. */
int64_t graph_value_bytes(const struct graph *, const struct value *);
/* Forgets how often random slots were asked for: before each callback of an instance's layer. */
void graph_reset_draws(struct graph *);
/* The same graph, simplified: aliases vanish, so that what they hid from rewriting and hash-consing
 * becomes visible; what no bind needs is dropped, but for inputs. Binds keep their order. */
glow_status graph_rebuild(const struct graph *, struct graph **out);
/* Adds a node of graph src; map: values of src to values here, its inputs before, its outputs then.
 */
glow_status graph_copy(struct graph *, const struct graph *src, const struct node *, value_id *map);

/* Types. */
int64_t type_count(const struct glow_type *); /* elements of one sample */
bool type_equal(const struct glow_type *, const struct glow_type *);
/* "(3,32,32)" into buf; returns buf. With a batch axis as N. */
const char *type_text(const struct glow_type *, char *buf, size_t size);
/* Output types of an operation (type rules, one for each op); returns the number of outputs, or -1
 * after graph_fail. */
int infer_types(struct graph *, const struct op_call *, struct glow_type *out, int max_out);
/* How the backend wants the weights in input `input` of a call kept; count is 0: in C order. */
struct packing wanted_packing(const struct graph *, const struct op_call *, uint32_t input);
/* Bytes of scratch that the gradient of a CHAIN needs, which is given its hidden activations or
 * computes them again. */
int64_t chain_vjp_scratch(const struct graph *, const struct node *chain, bool keeps_hidden);
/* A simpler value equal to the call, or 0. */
value_id rewrite(struct graph *, const struct op_call *);

/* Shorthands of the core's own code; a value of 0 or GRAPH_ERROR is passed on. */
value_id graph_op(struct graph *, int op, uint32_t n_in, const value_id *in, uint32_t n_ai,
                  const int64_t *ai);
value_id graph_unary(struct graph *, int op, value_id);
value_id graph_binary(struct graph *, int op, value_id, value_id);
value_id graph_constant(struct graph *, double);
value_id graph_input(struct graph *, int64_t slot, const struct glow_type *);
value_id graph_param(struct graph *, int64_t index);
value_id graph_alias(struct graph *, value_id);
value_id graph_cast(struct graph *, value_id, int32_t dtype);
value_id graph_reshape(struct graph *, value_id, int32_t rank, const int64_t *dim);
value_id graph_broadcast(struct graph *, value_id, const struct glow_type *);
value_id graph_sum(struct graph *, value_id, int64_t mask, bool hi); /* mask: bit 0 = batch */
/* The op that makes a value, and handles for plug-ins. */
static inline struct value *graph_value(const struct graph *g, value_id v) { return &g->values[v]; }
static inline struct node *graph_maker(const struct graph *g, value_id v)
{
    return &g->nodes[g->values[v].node];
}
glow_value graph_handle(const struct graph *, value_id);
value_id graph_open_handle(struct graph *, glow_value);
static inline struct graph *graph_of(struct glow_graph *g) { return (struct graph *)g; }

extern const char *const op_names[OP_COUNT];
enum op_class { CLASS_LEAF, CLASS_FILL, CLASS_VIEW, CLASS_ELEM, CLASS_KERN };
enum op_layout { LAYOUT_ANY, LAYOUT_PLANE, LAYOUT_ROW, LAYOUT_DENSE };
extern const uint8_t op_classes[OP_COUNT], op_layouts[OP_COUNT];

/* grad.c: d(sum of y[i] . seed[i]) / d wrt[j] as nodes of the graph; gradient[j] = 0 where there is
 * none. seed[i] = 0 leaves y[i] out. Does not look behind wrt. */
glow_status graph_gradient(struct graph *, uint32_t n_y, const value_id *y, const value_id *seed,
                           uint32_t n_wrt, const value_id *wrt, value_id *gradient);
/* Whether there is a rule for the operation; a gradient through one without is an error. */
bool graph_has_gradient(int op);

extern const struct glow_ops optable; /* optable.c: what plug-ins see */
#endif

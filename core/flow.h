/* flow.h - describing layers into a graph: what `struct glow_flow` is on the host's side. A trace
 * runs layer callbacks forward or inverse, collects their terms, and carries latents between the
 * two. */
#ifndef CORE_FLOW_H
#define CORE_FLOW_H
#include "graph.h"
#include "model.h"

enum trace_mode {
    TRACE_FORWARD, /* emit evaluates priors; latents are remembered */
    TRACE_RESTORE, /* inverse in the backward walk: take gives the forward's latents */
    TRACE_DECODE,  /* take gives inputs of the program */
    TRACE_SAMPLE   /* take draws from the prior */
};

struct term {
    uint32_t kind; /* GLOW_LOGDET ... */
    const char *name;
    const struct instance *who; /* NULL: the end of the flow */
    value_id value;             /* rank 0, batched or not */
};
struct keep {
    int layer;
    const char *slot;
    value_id value;
};

struct trace {
    struct glow_flow flow; /* first: the plug-ins' view */
    struct graph *g;
    struct model *model;
    enum trace_mode mode;
    bool building; /* the model is being built: latents are created */
    int layer;     /* index of the layer whose callback runs */
    value_id x;
    value_id *latents;      /* per latent of the model: raw value, or 0 */
    value_id *reported;     /* the same, standardised where the prior can */
    value_id *temperatures; /* TRACE_SAMPLE: scalars, per latent */
    value_id *given;        /* TRACE_DECODE: inputs, per latent */
    int taken;              /* latents that the current callback has met */
    struct term *terms;
    int n_terms, cap_terms;
    struct keep *keeps;
    int n_keeps, cap_keeps;
};

glow_status trace_open(struct trace *, struct graph *, enum trace_mode);
void trace_close(struct trace *);
/* Describes one layer on t->x; afterwards t->x is its result. inverse: the layer's inverse (or, in
 * TRACE_RESTORE, its restore). Terms are appended. The index n_layers - 1 is the end of the flow.
 */
glow_status trace_layer(struct trace *, int layer, bool inverse);
/* The sum of the terms whose kind is in the mask: a HI scalar per sample. */
value_id trace_sum(struct trace *, uint32_t kinds);
#endif

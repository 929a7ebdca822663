/* model.h - a configured flow: its layers in order, their parameters in contiguous arenas, its
 * latents. Built from the `model` group of glow.cfg (or from a checkpoint's copy of it); programs
 * (program.h) are traced from it. */
#ifndef CORE_MODEL_H
#define CORE_MODEL_H
#include <stdbool.h>
#include "backend.h"
#include "bump.h"
#include "instance.h"
#include "packing.h"

struct param {
    const char *name; /* "level.0.step.3.affine.net.w1": in checkpoints */
    const struct instance *owner;
    struct glow_type type;
    uint32_t flags; /* GLOW_PARAM_* */
    const char *group;
    struct glow_param spec; /* how it is initialised */
    int64_t count;
    struct packing packing; /* how every arena keeps its elements; its count is 0: in C order */
    int64_t offset, stored; /* where that begins, and how many elements it takes */
};

struct latent {
    const char *name;  /* "level.0.factor_out.z", "y" */
    const char *group; /* "z", "y": key of priors and temperatures */
    struct glow_type type;
    struct instance *prior;
    bool standardised; /* encode gives noise, decode takes it */
};

struct layer {
    struct instance *self; /* NULL: the end of the flow, which emits y */
    struct glow_traits traits;
    struct glow_type in, out;
    int first_latent, n_latents; /* in model->latents */
    int first_param, n_params;   /* in model->params: its own and its children's */
    bool coupling;               /* has a network */
};

struct model {
    struct registry *registry;
    struct config *config; /* owned: the text it was built from */
    const struct backend *backend;
    struct engine *engine;
    int32_t real; /* DT_F32 or DT_F64 */
    uint64_t seed;
    const json_t *stored;   /* while building only */
    struct glow_type input; /* one sample, batched */
    struct layer *layers;
    int n_layers, cap_layers; /* the last is the end of the flow */
    struct instance **priors; /* made from model.prior, one per latent that has none of its own */
    int n_priors, cap_priors;
    struct latent *latents;
    int n_latents, cap_latents;
    struct param *params;
    int n_params, cap_params;
    int64_t n_elements, n_trained; /* of an arena, padding too; of trained parameters, without */
    int64_t
        section[4]; /* arenas hold: weights with L2 | other trained | frozen |; starts and end */
    void *weights, *gradients, *moment1, *moment2, *average; /* arenas; NULL until needed */
    bool sealed;                                             /* parameters are complete */
    bool initialised;   /* data-dependent initialisation has run */
    struct bump memory; /* names */
};

struct model_options {
    const struct backend *backend; /* NULL: backend_default */
    int threads;                   /* 0: all */
    int32_t real;                  /* DT_F32 (0 too) or DT_F64 */
    uint64_t seed;                 /* of initial parameters */
    struct glow_type input; /* used when the config has no model.input; rank 0: an error then */
    const json_t *stored;   /* of a checkpoint: {path: {id, schema, options}}, or NULL. Options take
                             * the values that they had then, whatever the defaults are now, and
                             * parameters stay 0, to be loaded */
};

/* Builds the model and draws its initial parameters. Takes over *config: it is freed with the
 * model, also when this fails. */
glow_status model_new(struct model **, struct config *, struct registry *,
                      const struct model_options *);
void model_free(struct model *);
/* The input type that the configuration states (rank 0 if it does not); no plug-in is loaded. */
glow_status model_input_type(const struct config *, struct glow_type *);
/* Allocates gradients and `moments` (0..2) arenas, and the EMA arena when `average`. Idempotent. */
glow_status model_training_arenas(struct model *, int moments, bool average);
/* Index of the parameter, created at first mention while the model is being built; -1 after fail.
 */
int model_param(struct model *, const struct instance *, const struct glow_param *);
int model_find_param(const struct model *, const char *name); /* or -1 */
/* Where the arenas hold element k, in C order, of a parameter. */
static inline int64_t param_position(const struct param *p, int64_t k)
{
    return p->offset + (p->packing.count ? packing_position(&p->packing, k) : k);
}
/* Adds latent `name` of a layer, with the prior of its CHILD option `slot`, or else the model's
 * own; returns its index, or -1 after fail. For flow.c, while the model is being built. */
int model_add_latent(struct model *, int layer, const char *name, const char *slot,
                     const struct glow_type *);
/* Draws a parameter's initial value into the weights. */
glow_status model_draw_param(struct model *, int index);
/* The dimensions of one sample (D), and whether it is an image. */
int64_t model_dimensions(const struct model *);
/* Temperature of a latent: `sample.temperature`, or its member of the latent's group; default 1. */
double model_temperature(const struct model *, const struct latent *);
/* Every instance of the model, children and priors too: path, kind, id, schema and resolved options
 * as a JSON object by path. The caller decrefs. NULL when out of memory. */
json_t *model_instances(const struct model *);
/* Copies a parameter of an arena to or from doubles in C order. */
glow_status model_get(const struct model *, const void *arena, int index, double *out);
glow_status model_set(struct model *, void *arena, int index, const double *in);
#endif

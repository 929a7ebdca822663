/* specimen.h - a layer under test, for conform_layer.c: a model of that layer alone, its parameters
 * off their initial values, an input, and the programs that take it forward (with the gradients of
 * a sum that everything it makes has a part in) and back. */
#ifndef CORE_SPECIMEN_H
#define CORE_SPECIMEN_H
#include "program.h"

enum { SPECIMEN_SAMPLES = 3 };

struct specimen {
    /* Set by the caller, and to outlive the specimen. */
    struct registry *registry;
    const char *subject;      /* what findings about it call it */
    const char *text, *input; /* the members of the layer's group; "[4, 4, 4]" */
    bool decompose;           /* custom operations, in the programs to come */
    /* Set by specimen_open. */
    struct model *model;
    const struct layer *layer;
    int64_t n_in, n_out, n_latent; /* elements of x, of y, of all latents of the layer */
    double *x;                     /* (SPECIMEN_SAMPLES, n_in) */
    /* Set by specimen_forward. */
    struct program *forward;
};

/* GLOW_EINVAL, among others, when the layer does not take the input. */
glow_status specimen_open(struct specimen *, int32_t real, int threads);
void specimen_close(struct specimen *);
/* Compiles the program that specimen_run runs; it also fills the model's gradients. */
glow_status specimen_forward(struct specimen *);
/* Makes a program with inputs "y" and "latent:NAME" and outputs "x" and "logdet". */
glow_status specimen_inverse(struct specimen *, struct program **);

/* What a run forward gave. */
struct readings {
    double *y;      /* (SPECIMEN_SAMPLES, n_out) */
    double *z;      /* n_latent a sample: latent after latent, each with all its samples */
    double *logdet; /* (SPECIMEN_SAMPLES) */
    double *s;      /* (SPECIMEN_SAMPLES): the sum whose gradients are taken */
    double *dx;     /* (SPECIMEN_SAMPLES, n_in): ds/dx */
};
glow_status readings_alloc(struct readings *, const struct specimen *);
void readings_free(struct readings *);
/* Runs forward on x. */
glow_status specimen_run(const struct specimen *, const double *x, struct readings *);
#endif

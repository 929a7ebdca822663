/* program.h - what a model yields: static programs, built once for a batch size, then run any
 * number of times without allocating. Inputs and outputs are tensors of the program, found by name.
 *
 *   kind     inputs                    outputs
 *   INIT     x                         loss; sets the parameters that layers initialise from data
 *   TRAIN    x                         loss, inversion_error (memory = invert); fills the gradients
 *   EVAL     x                         loss, loglik, logdet, logp, bound (per sample)
 *   ENCODE   x                         those of EVAL, and latent:NAME for every latent
 *   DECODE   latent:NAME               x, logdet
 *   SAMPLE   temperature:NAME          x
 *
 * loss: mean over the batch of bits per dimension, penalties added, f64. loglik: nats per sample,
 * f64. */
#ifndef CORE_PROGRAM_H
#define CORE_PROGRAM_H
#include "model.h"
#include "plan.h"

enum program_kind {
    PROGRAM_INIT = 1,
    PROGRAM_TRAIN,
    PROGRAM_EVAL,
    PROGRAM_ENCODE,
    PROGRAM_DECODE,
    PROGRAM_SAMPLE
};
/* What the backward walk keeps of each coupling. AUTO stores the top couplings whose hidden
 * activations fit the budget and recomputes the others. */
enum memory_policy { MEMORY_AUTO = 0, MEMORY_STORE, MEMORY_RECOMPUTE, MEMORY_INVERT };

struct program_options {
    enum program_kind kind;
    int64_t batch;
    enum memory_policy memory; /* TRAIN */
    int64_t memory_budget;     /* bytes, for AUTO */
    bool average;              /* read the moving average instead of the weights */
};
struct program_port {
    const char *name;
    struct tensor tensor;
};

struct program {
    struct model *model;
    enum program_kind kind;
    int64_t batch;
    struct program_port *inputs, *outputs;
    int n_inputs, n_outputs;
    struct step *steps;
    int64_t n_steps;
    void *arena;
    int64_t arena_bytes, live_bytes, fixed_bytes;
    int64_t flops; /* multiply-adds of products, times 2, per run */
    /* Couplings whose activations are stored; of the others, those whose networks' results are;
     * couplings in all. */
    int stored, results_kept, couplings;
    uint32_t term_kinds; /* kinds of the terms in loglik: exact, estimate or bound */
    double build_seconds;
    struct recording *recording; /* of the steps, after the first run, where the backend has that */
    bool has_run;
    const struct train_update *update; /* what follows each run on the device; NULL: nothing */
    struct bump memory;
};

glow_status program_make(struct program **, struct model *, const struct program_options *);
void program_free(struct program *);
/* seed, step and row key the random numbers: row is the number of the first sample in the global
 * batch. */
glow_status program_run(struct program *, uint64_t seed, uint64_t step, int64_t row);
struct tensor *program_input(const struct program *, const char *name);        /* or NULL */
const struct tensor *program_output(const struct program *, const char *name); /* or NULL */
/* One element of an output as a double; NaN when there is none, or it can't be read. */
double program_scalar(const struct program *, const char *name);
/* Sets samples [first, first + n) of an input, from dense rows of its own type. */
glow_status program_write(const struct program *, const struct tensor *, int64_t first, int64_t n,
                          const void *rows);
/* Sets all of an input, from doubles. */
glow_status program_set(const struct program *, const struct tensor *, const double *x);
/* Copies the samples [0, n) of an output, dense: in its own type, and as doubles. */
glow_status program_fetch(const struct program *, const struct tensor *, int64_t n, void *rows);
glow_status program_read(const struct program *, const struct tensor *, int64_t n, double *out);
/* Runs again step by step and names the first that makes a NaN or Inf ("level.0.step.3.affine:
 * exp"), or returns NULL when there is none. `text` is where the name goes. */
const char *program_find_nonfinite(struct program *, uint64_t seed, uint64_t step, int64_t row,
                                   char *text, size_t size);

/* What describes a program: a graph, and names of inputs and outputs are in the order of their
 * slots and BIND_OUTPUT indices. */
struct program_graph {
    struct graph *g;
    struct bump *memory;            /* of port names */
    const char **inputs, **outputs; /* by slot, by BIND_OUTPUT index */
    int n_inputs, n_outputs, cap;
    int stored, results_kept, couplings;
    uint32_t term_kinds;
};
/* Names an input or output and adds it to the graph. */
value_id program_graph_input(struct program_graph *, const char *prefix, const char *name,
                             const struct glow_type *);
glow_status program_graph_output(struct program_graph *, const char *prefix, const char *name,
                                 value_id);
/* Simplifies, plans and compiles a graph that `describe` leaves in d->g (for the conformance suite
 * and tests; kind may be 0). */
glow_status program_compile(struct program **, struct model *, enum program_kind kind,
                            int64_t batch, bool average,
                            glow_status (*describe)(struct program_graph *, void *context),
                            void *context);
glow_status walk_describe(struct program_graph *, struct model *, const struct program_options *);
#endif

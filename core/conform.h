/* conform.h - the conformance suite: what any plug-in, ours or a stranger's, must satisfy, tried on
 * small models in float64. `glow check some.so` prints the table. docs/abi.md states the promises
 * behind it. */
#ifndef CORE_CONFORM_H
#define CORE_CONFORM_H
#include <stdbool.h>
#include <stdio.h>
#include "registry.h"

enum verdict { VERDICT_PASS, VERDICT_FAIL, VERDICT_SKIP };
struct finding {
    char subject[160]; /* "layer affine, scale = exp, 4x4x4" */
    char check[40];    /* "logdet = numeric Jacobian" */
    enum verdict verdict;
    char detail[240]; /* numbers, or why not */
};
struct conform_report {
    struct finding *findings;
    int n, cap, passed, failed, skipped;
};

/* Runs the suite on one descriptor and appends what it found. An error only if the suite itself
 * could not go on (out of memory). `extra` (may be NULL) is configuration text with options for
 * every case, such as "path = \"/data\";" for a dataset. */
glow_status conform_run(struct registry *, const struct plugin_info *, const char *extra,
                        struct conform_report *);
void conform_print(FILE *, const struct conform_report *, bool everything);
void conform_free(struct conform_report *);

/* For the parts of the suite (conform_*.c). */
void conform_add(struct conform_report *, const char *subject, const char *check, enum verdict,
                 const char *format, ...) __attribute__((format(printf, 5, 6)));
/* PASS if value <= bound (and is no NaN), with both in the detail. */
void conform_bound(struct conform_report *, const char *subject, const char *check, double value,
                   double bound);
glow_status conform_layer(struct registry *, const struct plugin_info *, const char *extra,
                          struct conform_report *);
glow_status conform_prior(struct registry *, const struct plugin_info *, const char *extra,
                          struct conform_report *);
glow_status conform_dataset(struct registry *, const struct plugin_info *, const char *extra,
                            struct conform_report *);
/* One case of the layer checks: a flow of one layer, given as the members of its group, on an input
 * "[4,4,4]". *accepted tells whether the layer took the input. */
glow_status conform_layer_case(struct registry *, const char *subject, const char *layer,
                               const char *input, struct conform_report *, bool *accepted);
/* Option settings to try, one change from the defaults each: calls visit with configuration text.
 */
glow_status conform_variants(const struct glow_desc *,
                             glow_status (*visit)(void *, const char *text), void *);
/* Whether options outside their records are refused. */
glow_status conform_options(struct registry *, const struct plugin_info *, struct conform_report *);
/* Deterministic numbers for inputs and perturbations. */
void conform_noise(uint64_t stream, uint32_t dist, double *out, int64_t n);
/* Moves the parameters that are trained off their initial values, which are often special. */
struct model;
glow_status conform_perturb(struct model *, uint64_t stream);
#endif

/* plugin_suite.h - the conformance suite (core/conform.h) as a test of one plug-in. */
#ifndef TESTS_PLUGIN_SUITE_H
#define TESTS_PLUGIN_SUITE_H
#include "conform.h"
#include "rig.h"

/* Fails the test unless every check passes that is not skipped, at least `least` of them, and
 * exactly `skipped` are skipped: inputs that the plug-in refuses by design. */
void suite_conforms(uint32_t kind, const char *id, int least, int skipped);

/* A layer on its own, for cases worked by hand in f64: x (batch, ...) of `input` ("[1, 1, 2]") goes
 * through it. Sets y (also that of a latent z behind it, if there is one) and one logdet a sample.
 */
struct suite_layer {
    struct model *model;
    struct program *encode, *decode;
};
struct suite_layer suite_layer(const char *layer, const char *input, int64_t batch);
void suite_layer_free(struct suite_layer *);
/* Runs forward: reads the latent ("y") and the terms of the likelihood by their names in program.h.
 */
void suite_forward(const struct suite_layer *, const double *x, double *y, double *logdet);
/* Runs the inverse on y. */
void suite_inverse(const struct suite_layer *, const double *y, double *x);
/* Fails unless a and b agree to 1e-12, relative to 1 + max |b|. */
void suite_equal(const char *what, const double *a, const double *b, int64_t n);
#endif

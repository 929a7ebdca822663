/* kernels_reference.h - every operation once more, in the plainest possible way: loops over
 * coordinates in double, dense arrays only. The yardstick of the kernel tests, written from ops.def
 * and plugin.h and not from the kernels. */
#ifndef TESTS_KERNELS_REFERENCE_H
#define TESTS_KERNELS_REFERENCE_H
#include "backend.h"

/* Computes a step whose tensors are all f64 and dense (a size-1 axis broadcasts). Reads in, out,
 * ai, ad, and for OP_RANDOM seed, step and row of the run. */
typedef void (*reference_fn)(const struct step *, const struct run *);

/* From now on convolutions round what they multiply in this way; NULL: not at all. */
void reference_round(double (*round)(double));

/* The reference of an operation; NULL for leaves, views, and OP_CUSTOM, whose reference is the
 * plug-in's. */
reference_fn reference(int op);
#endif

/* flows.h - flows that between them hold every layer there is, the odd ones of tests/plugins too.
 */
#ifndef TESTS_FLOWS_H
#define TESTS_FLOWS_H
#include "rig.h"

enum { FLOWS = 4, ODD_FLOW = 3 }; /* the odd one has layers without an inverse */

/* Loads the layers and the prior of tests/plugins: one without an inverse, one that restores from
 * what it keeps, one with an inexact inverse, one with noise that all samples share, one that makes
 * NaN, and a prior that knows no temperature. */
extern const char *const flows_odd[];
void flows_load_odd(void);

/* 0: a GLOW of three levels; 1: of the other layers, nets and priors; 2: of rows; 3: the odd one.
 * Their parameters are off their initial values. */
struct model *flows_model(int which, int32_t real, int threads);
/* Writes the input x: grey values if the flow begins with a dequantiser, else normal numbers. */
void flows_write(const struct program *, uint64_t stream);
#endif

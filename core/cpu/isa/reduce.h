/* reduce.h - the order in which sums are added up, which fused.c shares with reduce.c. */
#ifndef CORE_CPU_ISA_REDUCE_H
#define CORE_CPU_ISA_REDUCE_H
#include "kernels.h"

/* Element i of a row goes to lane i % ROW_LANES; the sum of the lanes, which change. */
enum { ROW_LANES = VEC_BYTES / 2 };
double NAME(reduce_lanes)(double *lane);
/* Adds n elements to the lanes, the first to lane 0. */
void NAME(reduce_row)(double *lane, const real *, int64_t n);

/* Into how many parts the reduced elements of each output are cut, part k of a row being
 * row k / parts .. row (k + 1) / parts - 1. At most `longest`. */
int64_t NAME(reduce_parts)(int64_t outputs, int64_t reduced, int64_t longest);
/* The same where whole rows are reduced. */
int64_t NAME(reduce_row_parts)(int64_t outputs, int64_t row);
/* out[at] = x, in the type of out. */
void NAME(reduce_store)(const struct tensor *out, int64_t at, double x);
#endif

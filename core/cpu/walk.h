/* walk.h - several tensors walked through in step, as few and as long loops as their strides allow. */
#ifndef CORE_CPU_WALK_H
#define CORE_CPU_WALK_H
#include "../tensor.h"

enum { WALK_MAX = 4 };                  /* tensors at once */

struct walk {
    int rank;                           /* at least 2; the last axis is the innermost loop */
    int64_t dim[MAX_DIMS + 1];
    int64_t stride[WALK_MAX][MAX_DIMS + 1];   /* in elements */
    int64_t rows;                       /* product of all dims but the last */
};

/* Walks over the shape of t[0]; the others broadcast to it: shapes are aligned at the right, the batch
 * axes at the left. Axes of size 1 go, and neighbours merge where all tensors' strides allow it. */
void walk_make(struct walk *, const struct tensor *const *t, int n);
/* The offsets, in elements, of row r (0 <= r < rows) of n tensors. */
void walk_offsets(const struct walk *, int64_t r, int n, int64_t *offset);
#endif

/* walk.h - several tensors walked through in step, in as few and as long rows as their strides
 * allow. */
#ifndef CORE_CPU_WALK_H
#define CORE_CPU_WALK_H
#include "../tensor.h"
#include "pool.h"

enum { WALK_MAX = 4 }; /* tensors at once */

struct walk {
    int n_tensors, rank; /* rank is at least 2; the last axis is the row */
    int64_t dim[MAX_DIMS + 1];
    int64_t stride[WALK_MAX][MAX_DIMS + 1]; /* in elements */
    int64_t rows;                           /* product of all dims but the last */
};

/* m rows of n elements, with the first element's offset in each tensor, the distance of rows and
 * that of elements. */
struct walk_part {
    int64_t m, n;
    int64_t offset[WALK_MAX], step[WALK_MAX], stride[WALK_MAX];
};
typedef void (*walk_fn)(const void *arg, const struct walk_part *);

/* Walks over the shape of t[0]; the others broadcast to it: shapes are aligned at the right, the
 * batch axes at the left. Axes of size 1 go, and neighbours merge where all tensors' strides allow
 * it. */
void walk_make(struct walk *, const struct tensor *const *t, int n_tensors);
/* The offsets of row r, 0 <= r < rows. */
void walk_offsets(const struct walk *, int64_t r, int64_t *offset);
/* Calls fn on parts that cover the walk, from several threads. A task has some task_size elements;
 * the parts depend on the shapes and on task_size only. */
void walk_run(struct pool *, const struct walk *, int64_t task_size, walk_fn, const void *arg);
#endif

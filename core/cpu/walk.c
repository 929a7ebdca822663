/* walk.c - merges axes. Two neighbours i, i+1 are one loop when stride[i] = stride[i+1] * dim[i+1]
 * holds for every tensor, as in dense memory, or with both strides 0 along a stretched axis. */
#include "walk.h"
#include <stdbool.h>

/* The stride of t along axis i of a shape of that rank. */
static int64_t stride_at(const struct tensor *t, int axis, int rank)
{
    int own = axis == 0 ? 0 : axis - (rank - t->rank);
    if (axis > 0 && own < 1) return 0;
    return t->dim[own] == 1 ? 0 : t->stride[own];
}

static bool merges(const struct walk *w, const int64_t *stride, int64_t dim)
{
    for (int k = 0; k < w->n_tensors; k++)
        if (w->stride[k][w->rank - 1] != stride[k] * dim) return false;
    return true;
}

static void append(struct walk *w, int64_t dim, const int64_t *stride)
{
    w->dim[w->rank] = dim;
    for (int k = 0; k < w->n_tensors; k++) w->stride[k][w->rank] = stride[k];
    w->rank++;
}

/* Shifts the axes right by one and puts an axis of size 1 in front. */
static void pad(struct walk *w)
{
    for (int i = w->rank; i > 0; i--) {
        w->dim[i] = w->dim[i - 1];
        for (int k = 0; k < w->n_tensors; k++) w->stride[k][i] = w->stride[k][i - 1];
    }
    w->dim[0] = 1;
    for (int k = 0; k < w->n_tensors; k++) w->stride[k][0] = 0;
    w->rank++;
}

void walk_make(struct walk *w, const struct tensor *const *t, int n_tensors)
{
    w->n_tensors = n_tensors;
    w->rank = 0;
    for (int i = 0; i < t[0]->rank; i++) {
        int64_t dim = t[0]->dim[i], stride[WALK_MAX];
        if (dim == 1) continue;
        for (int k = 0; k < n_tensors; k++) stride[k] = stride_at(t[k], i, t[0]->rank);
        if (w->rank > 0 && merges(w, stride, dim)) {
            w->dim[w->rank - 1] *= dim;
            for (int k = 0; k < n_tensors; k++) w->stride[k][w->rank - 1] = stride[k];
        } else {
            append(w, dim, stride);
        }
    }
    if (w->rank == 0) append(w, 1, (const int64_t[WALK_MAX]){ 1, 1, 1, 1 });
    if (w->rank == 1) pad(w);
    w->rows = 1;
    for (int i = 0; i < w->rank - 1; i++) w->rows *= w->dim[i];
}

void walk_offsets(const struct walk *w, int64_t r, int64_t *offset)
{
    for (int k = 0; k < w->n_tensors; k++) offset[k] = 0;
    for (int i = w->rank - 2; i >= 0; i--) {
        int64_t index = r % w->dim[i];
        r /= w->dim[i];
        for (int k = 0; k < w->n_tensors; k++) offset[k] += index * w->stride[k][i];
    }
}

/* ---------------------------------------------------------------- parts */

enum { PIECE = 8192 }; /* longer rows are cut into pieces of that many elements */

struct job {
    const struct walk *walk;
    walk_fn fn;
    const void *arg;
    int64_t pieces, units, units_per_task; /* a unit is a row or, with pieces > 1, a piece of one */
};

static void run_units(void *arg, int64_t task, int worker)
{
    const struct job *job = arg;
    const struct walk *w = job->walk;
    int last = w->rank - 1;
    int64_t unit = task * job->units_per_task, end = unit + job->units_per_task;
    (void)worker;
    if (end > job->units) end = job->units;
    while (unit < end) {
        int64_t row = unit / job->pieces, from = unit % job->pieces * PIECE;
        struct walk_part part = { .m = 1, .n = w->dim[last] - from };
        if (part.n > PIECE) part.n = PIECE;
        if (job->pieces == 1) { /* rows that are neighbours along the axis before the last */
            part.m = w->dim[last - 1] - row % w->dim[last - 1];
            if (part.m > end - unit) part.m = end - unit;
        }
        walk_offsets(w, row, part.offset);
        for (int k = 0; k < w->n_tensors; k++) {
            part.step[k] = w->stride[k][last - 1];
            part.stride[k] = w->stride[k][last];
            part.offset[k] += from * part.stride[k];
        }
        job->fn(job->arg, &part);
        unit += part.m;
    }
}

void walk_run(struct pool *pool, const struct walk *w, int64_t task_size, walk_fn fn,
              const void *arg)
{
    struct job job = { .walk = w, .fn = fn, .arg = arg };
    int64_t n = w->dim[w->rank - 1], unit_size = n < PIECE ? n : PIECE;
    job.pieces = (n + PIECE - 1) / PIECE;
    job.units = w->rows * job.pieces;
    job.units_per_task = (task_size + unit_size - 1) / unit_size;
    pool_run(pool, (job.units + job.units_per_task - 1) / job.units_per_task, run_units, &job);
}

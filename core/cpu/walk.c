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

static bool merges(const struct walk *w, int n, const int64_t *stride, int64_t dim)
{
    for (int k = 0; k < n; k++)
        if (w->stride[k][w->rank - 1] != stride[k] * dim) return false;
    return true;
}

static void append(struct walk *w, int n, int64_t dim, const int64_t *stride)
{
    w->dim[w->rank] = dim;
    for (int k = 0; k < n; k++) w->stride[k][w->rank] = stride[k];
    w->rank++;
}

/* Shifts the axes right by one and puts an axis of size 1 in front. */
static void pad(struct walk *w, int n)
{
    for (int i = w->rank; i > 0; i--) {
        w->dim[i] = w->dim[i - 1];
        for (int k = 0; k < n; k++) w->stride[k][i] = w->stride[k][i - 1];
    }
    w->dim[0] = 1;
    for (int k = 0; k < n; k++) w->stride[k][0] = 0;
    w->rank++;
}

void walk_make(struct walk *w, const struct tensor *const *t, int n)
{
    w->rank = 0;
    for (int i = 0; i < t[0]->rank; i++) {
        int64_t dim = t[0]->dim[i], stride[WALK_MAX];
        if (dim == 1) continue;
        for (int k = 0; k < n; k++) stride[k] = stride_at(t[k], i, t[0]->rank);
        if (w->rank > 0 && merges(w, n, stride, dim)) {
            w->dim[w->rank - 1] *= dim;
            for (int k = 0; k < n; k++) w->stride[k][w->rank - 1] = stride[k];
        } else {
            append(w, n, dim, stride);
        }
    }
    if (w->rank == 0) append(w, n, 1, (const int64_t[WALK_MAX]){ 1, 1, 1, 1 });
    if (w->rank == 1) pad(w, n);
    w->rows = 1;
    for (int i = 0; i < w->rank - 1; i++) w->rows *= w->dim[i];
}

void walk_offsets(const struct walk *w, int64_t r, int n, int64_t *offset)
{
    for (int k = 0; k < n; k++) offset[k] = 0;
    for (int i = w->rank - 2; i >= 0; i--) {
        int64_t index = r % w->dim[i];
        r /= w->dim[i];
        for (int k = 0; k < n; k++) offset[k] += index * w->stride[k][i];
    }
}

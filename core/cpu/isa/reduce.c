/* reduce.c - sums and extremes over axes, and running sums.
 *
 * Everything accumulates in f64. The reduced part of the shape is cut into ranges along its longest
 * axis when there are few outputs; each range has accumulators of its own in scratch, added up in
 * order at the end. Where the last axis is reduced, a row folds into one accumulator; where it is
 * kept, rows fold into a block of accumulators. */
#include <stdlib.h>
#include <string.h>
#include "reduce.h"
#include "real_math.h"
#include "../walk.h"

enum {
    TASK = 16384, /* elements */
    BLOCK = 256,  /* accumulators at a time */
    MAX_PARTS = 64,
};

/* ---------------------------------------------------------------- folds of rows */

#define SUM_LANES (VEC_BYTES / 8)
typedef double sum_vec __attribute__((vector_size(VEC_BYTES), may_alias));
typedef real sum_part
    __attribute__((vector_size(SUM_LANES * sizeof(real)), aligned(sizeof(real)), may_alias));

ALWAYS_INLINE sum_vec load_sum(const real *p)
{
    return __builtin_convertvector(*(const sum_part *)p, sum_vec);
}

/* Rows fold into this many accumulators side by side; which element goes where, its place in the
 * row decides. In the end halves are folded upon each other. */
#define FOLD_LANES(name, choose)                                                                   \
    static double name(double *lane)                                                               \
    {                                                                                              \
        for (int half = ROW_LANES / 2; half > 0; half /= 2)                                        \
            for (int i = 0; i < half; i++) lane[i] = choose(lane[i], lane[i + half]);              \
        return lane[0];                                                                            \
    }

static void sum_row(double *lane, const real *a, int64_t n, int64_t stride)
{
    int64_t i = 0;
    if (stride == 1) {
        sum_vec *sum = (sum_vec *)lane, s0 = sum[0], s1 = sum[1], s2 = sum[2], s3 = sum[3];
        for (; i + ROW_LANES <= n; i += ROW_LANES) {
            s0 += load_sum(a + i);
            s1 += load_sum(a + i + SUM_LANES);
            s2 += load_sum(a + i + 2 * SUM_LANES);
            s3 += load_sum(a + i + 3 * SUM_LANES);
        }
        sum[0] = s0;
        sum[1] = s1;
        sum[2] = s2;
        sum[3] = s3;
        for (int k = 0; i + SUM_LANES <= n; i += SUM_LANES) sum[k++] += load_sum(a + i);
    }
    for (; i < n; i++) lane[i % ROW_LANES] += (double)a[i * stride];
}

void NAME(reduce_row)(double *lane, const real *a, int64_t n) { sum_row(lane, a, n, 1); }

static void sum_columns(double *sum, const real *a, int64_t n, int64_t stride)
{
    if (stride == 1) {
        INDEPENDENT
        for (int64_t i = 0; i < n; i++) sum[i] += (double)a[i];
    } else {
        for (int64_t i = 0; i < n; i++) sum[i] += (double)a[i * stride];
    }
}

/* NaN wins over everything. */
ALWAYS_INLINE double larger(double a, double b) { return a >= b || a != a ? a : b; }
ALWAYS_INLINE double smaller(double a, double b) { return a <= b || a != a ? a : b; }

#define EXTREME(choose)                                                                            \
    static void choose##_row(double *lane, const real *a, int64_t n, int64_t stride)               \
    {                                                                                              \
        int64_t i = 0;                                                                             \
        for (; stride == 1 && i + ROW_LANES <= n; i += ROW_LANES)                                  \
            for (int k = 0; k < ROW_LANES; k++) lane[k] = choose(lane[k], (double)a[i + k]);       \
        for (; i < n; i++)                                                                         \
            lane[i % ROW_LANES] = choose(lane[i % ROW_LANES], (double)a[i * stride]);              \
    }                                                                                              \
    static void choose##_columns(double *best, const real *a, int64_t n, int64_t stride)           \
    {                                                                                              \
        for (int64_t i = 0; i < n; i++) best[i] = choose(best[i], (double)a[i * stride]);          \
    }
EXTREME(larger)
EXTREME(smaller)

static double add(double a, double b) { return a + b; }
static double larger_of(double a, double b) { return larger(a, b); }
static double smaller_of(double a, double b) { return smaller(a, b); }
FOLD_LANES(sum_lanes, add)
double NAME(reduce_lanes)(double *lane) { return sum_lanes(lane); }
FOLD_LANES(larger_lanes, larger)
FOLD_LANES(smaller_lanes, smaller)

struct fold {
    double start;
    void (*row)(double *lane, const real *, int64_t n, int64_t stride);
    void (*columns)(double *, const real *, int64_t n, int64_t stride);
    double (*lanes)(double *lane);
    double (*combine)(double, double);
};
static const struct fold fold_sum = { 0, sum_row, sum_columns, sum_lanes, add };
static const struct fold fold_max = { -INFINITY, larger_row, larger_columns, larger_lanes,
                                      larger_of };
static const struct fold fold_min = { INFINITY, smaller_row, smaller_columns, smaller_lanes,
                                      smaller_of };

/* ---------------------------------------------------------------- how a reduction is cut */

struct axes {
    int rank;
    int64_t dim[MAX_DIMS + 1], stride[MAX_DIMS + 1], count;
};

struct reduction {
    const struct fold *fold;
    const real *in;
    const struct tensor *out;
    struct axes kept, reduced;   /* of the input; kept in the order of the output */
    int64_t width, width_stride; /* the last axis, if it is kept, else 1: taken off `kept` */
    int64_t row, row_stride;     /* the last axis, if it is reduced, else 1: taken off `reduced` */
    int64_t blocks;              /* of the width */
    int64_t parts;               /* of the reduced elements */
    int split;                   /* axis of `reduced` that is cut into parts; -1: the row is */
    int64_t units, units_per_task; /* a unit is one block of one kept index of one part */
    double *partial;               /* [parts][outputs], with parts > 1 */
};

static void axes_append(struct axes *a, int64_t dim, int64_t stride)
{
    a->dim[a->rank] = dim;
    a->stride[a->rank++] = stride;
    a->count *= dim;
}

static int64_t axes_offset(const struct axes *a, int64_t index)
{
    int64_t offset = 0;
    for (int i = a->rank - 1; i >= 0; i--) {
        offset += index % a->dim[i] * a->stride[i];
        index /= a->dim[i];
    }
    return offset;
}

/* Sorts the merged axes of the input into kept and reduced ones. */
static void sort_axes(struct reduction *r, const struct step *step)
{
    const struct tensor *t[2] = { &step->in[0], &step->out[0] };
    struct walk walk;
    walk_make(&walk, t, 2);
    int last = walk.rank - 1, all_one = walk.dim[last] == 1;
    r->kept = r->reduced = (struct axes){ .count = 1 };
    r->width = r->row = 1;
    for (int i = 0; i < last; i++) {
        if (walk.dim[i] == 1) continue;
        axes_append(walk.stride[1][i] ? &r->kept : &r->reduced, walk.dim[i], walk.stride[0][i]);
    }
    if (walk.stride[1][last] && !all_one) {
        r->width = walk.dim[last];
        r->width_stride = walk.stride[0][last];
    } else {
        r->row = walk.dim[last];
        r->row_stride = walk.stride[0][last];
    }
}

int64_t NAME(reduce_parts)(int64_t outputs, int64_t reduced, int64_t longest)
{
    /* Enough parts for a task each, but fewer when the outputs make tasks by themselves. */
    int64_t parts = min_int(outputs * reduced / TASK, MAX_PARTS / min_int(outputs, MAX_PARTS));
    return max_int(1, min_int(parts, longest));
}

int64_t NAME(reduce_row_parts)(int64_t outputs, int64_t row)
{
    return NAME(reduce_parts)(outputs, row, row / BLOCK);
}

static void cut(struct reduction *r, const struct step *step)
{
    sort_axes(r, step);
    int64_t outputs = r->kept.count * r->width, reduced = r->reduced.count * r->row, longest = 0;
    r->split = -1;
    for (int i = 0; i < r->reduced.rank; i++)
        if (r->reduced.dim[i] > longest) longest = r->reduced.dim[r->split = i];
    if (r->row / BLOCK > longest) {
        r->split = -1;
        longest = r->row / BLOCK;
    }
    r->parts = NAME(reduce_parts)(outputs, reduced, longest);
    r->blocks = divide_up(r->width, BLOCK);
    r->units = r->kept.count * r->blocks * r->parts;
    r->units_per_task = max_int(1, TASK * r->units / max_int(1, outputs * reduced));
}

static size_t scratch(const struct step *step)
{
    struct reduction r;
    cut(&r, step);
    return r.parts > 1 ? (size_t)(r.parts * r.kept.count * r.width) * sizeof(double) : 0;
}

/* ---------------------------------------------------------------- reductions */

void NAME(reduce_store)(const struct tensor *out, int64_t at, double x)
{
    if (out->dtype == DT_F64)
        ((double *)out->data)[at] = x;
    else
        ((float *)out->data)[at] = (float)x;
}

/* Folds what lies under `base` along the reduced axes: into the lanes of one accumulator, or into
 * n. */
static void fold_under(const struct reduction *r, struct axes over, const real *base, int64_t row,
                       double *to, int64_t n)
{
    int64_t inner = 1, stride = 0;
    if (over.rank > 0) { /* the innermost axis is a loop, the others are counted */
        inner = over.dim[--over.rank];
        stride = over.stride[over.rank];
        over.count = 1;
        for (int i = 0; i < over.rank; i++) over.count *= over.dim[i];
    }
    for (int64_t i = 0; i < over.count; i++) {
        const real *a = base + axes_offset(&over, i);
        for (int64_t j = 0; j < inner; j++, a += stride) {
            if (r->width == 1)
                r->fold->row(to, a, row, r->row_stride);
            else
                r->fold->columns(to, a, n, r->width_stride);
        }
    }
}

/* Block `block` of kept index `kept`, part `part`. */
static void reduce_unit(const struct reduction *r, int64_t part, int64_t kept, int64_t block)
{
    _Alignas(64) double sum[BLOCK];
    struct axes over = r->reduced;
    int64_t first = block * BLOCK, n = min_int(BLOCK, r->width - first), row = r->row;
    const real *base = r->in + axes_offset(&r->kept, kept) + first * r->width_stride;
    int64_t *dim = r->split < 0 ? &row : &over.dim[r->split];
    int64_t stride = r->split < 0 ? r->row_stride : over.stride[r->split];
    int64_t from = *dim * part / r->parts, to = *dim * (part + 1) / r->parts;
    base += from * stride;
    *dim = to - from;
    for (int64_t i = 0; i < max_int(n, ROW_LANES); i++) sum[i] = r->fold->start;
    fold_under(r, over, base, row, sum, n);
    if (r->width == 1) sum[0] = r->fold->lanes(sum);

    int64_t at = kept * r->width + first;
    if (r->parts > 1)
        memcpy(r->partial + part * r->kept.count * r->width + at, sum, (size_t)n * sizeof *sum);
    else
        for (int64_t i = 0; i < n; i++) NAME(reduce_store)(r->out, at + i, sum[i]);
}

static void reduce_units(void *arg, int64_t task, int worker)
{
    const struct reduction *r = arg;
    int64_t unit = task * r->units_per_task, end = min_int(unit + r->units_per_task, r->units);
    (void)worker;
    for (; unit < end; unit++) {
        int64_t rest = unit / r->blocks;
        reduce_unit(r, rest / r->kept.count, rest % r->kept.count, unit % r->blocks);
    }
}

static void reduce(const struct step *step, struct run *run, const struct fold *fold)
{
    struct reduction r = { .fold = fold, .out = &step->out[0], .partial = step->scratch };
    r.in = step->in[0].data;
    cut(&r, step);
    pool_run(engine_pool(run->engine), divide_up(r.units, r.units_per_task), reduce_units, &r);
    if (r.parts == 1) return;
    int64_t outputs = r.kept.count * r.width;
    for (int64_t i = 0; i < outputs; i++) {
        double sum = r.partial[i];
        for (int64_t k = 1; k < r.parts; k++) sum = fold->combine(sum, r.partial[k * outputs + i]);
        NAME(reduce_store)(r.out, i, sum);
    }
}

#define REDUCE(op, fold)                                                                           \
    size_t NAME(scratch_##op)(const struct step *step, int threads)                                \
    {                                                                                              \
        (void)threads;                                                                             \
        return scratch(step);                                                                      \
    }                                                                                              \
    void NAME(kernel_##op)(const struct step *step, struct run *run) { reduce(step, run, fold); }
REDUCE(SUM, &fold_sum)
REDUCE(REDUCE_MAX, &fold_max)
REDUCE(REDUCE_MIN, &fold_min)

/* ---------------------------------------------------------------- running sums */

struct scan {
    real *out;
    const real *in;
    int64_t n, out_stride, in_stride; /* of the axis; negative when it runs backwards */
};

/* A part of all axes but the one that is summed, and the whole of that one. */
static void scan_part(const void *arg, const struct walk_part *part)
{
    const struct scan *s = arg;
    int64_t so = part->stride[0], si = part->stride[1];
    int64_t block = min_int(BLOCK, llabs(s->out_stride) < so ? 1 : part->n);
    for (int64_t j = 0; j < part->m; j++) {
        for (int64_t first = 0; first < part->n; first += block) {
            double sum[BLOCK] = { 0 };
            real *out = s->out + part->offset[0] + j * part->step[0] + first * so;
            const real *in = s->in + part->offset[1] + j * part->step[1] + first * si;
            int64_t n = min_int(block, part->n - first);
            for (int64_t k = 0; k < s->n; k++, out += s->out_stride, in += s->in_stride) {
                for (int64_t i = 0; i < n; i++) {
                    sum[i] += (double)in[i * si];
                    out[i * so] = (real)sum[i];
                }
            }
        }
    }
}

void NAME(kernel_CUMSUM)(const struct step *step, struct run *run)
{
    int64_t axis = step->ai[0], backwards = step->ai[1];
    struct tensor out = step->out[0], in = step->in[0];
    const struct tensor *t[2] = { &out, &in };
    struct scan scan = { out.data, in.data, out.dim[axis], out.stride[axis], in.stride[axis] };
    struct walk walk;
    if (backwards) {
        scan.out += (scan.n - 1) * scan.out_stride;
        scan.in += (scan.n - 1) * scan.in_stride;
        scan.out_stride = -scan.out_stride;
        scan.in_stride = -scan.in_stride;
    }
    out.dim[axis] = in.dim[axis] = 1;
    walk_make(&walk, t, 2);
    walk_run(engine_pool(run->engine), &walk, divide_up(TASK, scan.n), scan_part, &scan);
}

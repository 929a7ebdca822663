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

struct reduction {
    struct cut cut;
    const struct fold *fold;
    const real *in;
    const struct tensor *out;
    int64_t blocks;                /* of the width */
    int64_t units, units_per_task; /* a unit is one block of one kept index of one part */
    double *partial;               /* [parts][outputs], with parts > 1 */
};

static void axes_append(struct axes *a, int64_t dim, int64_t stride)
{
    a->dim[a->rank] = dim;
    a->stride[a->rank++] = stride;
    a->count *= dim;
}

/* Sorts the merged axes of the input into kept and reduced ones. */
static void sort_axes(struct cut *c, const struct tensor *in, const struct tensor *out)
{
    const struct tensor *t[2] = { in, out };
    struct walk walk;
    walk_make(&walk, t, 2);
    int last = walk.rank - 1, all_one = walk.dim[last] == 1;
    c->kept = c->reduced = (struct axes){ .count = 1 };
    c->width = c->row = c->width_stride = c->row_stride = 1;
    for (int i = 0; i < last; i++) {
        if (walk.dim[i] == 1) continue;
        axes_append(walk.stride[1][i] ? &c->kept : &c->reduced, walk.dim[i], walk.stride[0][i]);
    }
    if (walk.stride[1][last] && !all_one) {
        c->width = walk.dim[last];
        c->width_stride = walk.stride[0][last];
    } else {
        c->row = walk.dim[last];
        c->row_stride = walk.stride[0][last];
    }
}

void NAME(reduce_cut)(struct cut *c, const struct tensor *in, const struct tensor *out)
{
    sort_axes(c, in, out);
    int64_t outputs = c->kept.count * c->width, reduced = c->reduced.count * c->row, longest = 0;
    c->split = -1;
    for (int i = 0; i < c->reduced.rank; i++)
        if (c->reduced.dim[i] > longest) longest = c->reduced.dim[c->split = i];
    if (c->row / BLOCK > longest) {
        c->split = -1;
        longest = c->row / BLOCK;
    }
    /* Enough parts for a task each, but fewer when the outputs make tasks by themselves. */
    c->parts = min_int(outputs * reduced / TASK, MAX_PARTS / min_int(outputs, MAX_PARTS));
    c->parts = max_int(1, min_int(c->parts, longest));
}

int64_t NAME(reduce_part)(const struct cut *c, int64_t part, int64_t kept, struct axes *over,
                          int64_t *row)
{
    *over = c->reduced;
    *row = c->row;
    int64_t *dim = c->split < 0 ? row : &over->dim[c->split];
    int64_t stride = c->split < 0 ? c->row_stride : over->stride[c->split];
    int64_t from = *dim * part / c->parts, to = *dim * (part + 1) / c->parts;
    if (c->split < 0) { /* at whole blocks */
        from -= from % BLOCK;
        if (part < c->parts - 1) to -= to % BLOCK;
    }
    *dim = to - from;
    over->count = 1;
    for (int i = 0; i < over->rank; i++) over->count *= over->dim[i];
    return axes_offset(&c->kept, kept) + from * stride;
}

static size_t scratch(const struct step *step)
{
    struct cut c;
    NAME(reduce_cut)(&c, &step->in[0], &step->out[0]);
    return c.parts > 1 ? (size_t)(c.parts * c.kept.count * c.width) * sizeof(double) : 0;
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
            if (r->cut.width == 1)
                r->fold->row(to, a, row, r->cut.row_stride);
            else
                r->fold->columns(to, a, n, r->cut.width_stride);
        }
    }
}

/* Block `block` of kept index `kept`, part `part`. */
static void reduce_unit(const struct reduction *r, int64_t part, int64_t kept, int64_t block)
{
    _Alignas(64) double sum[BLOCK];
    const struct cut *c = &r->cut;
    struct axes over;
    int64_t row, first = block * BLOCK, n = min_int(BLOCK, c->width - first);
    const real *base = r->in + NAME(reduce_part)(c, part, kept, &over, &row);
    for (int64_t i = 0; i < max_int(n, ROW_LANES); i++) sum[i] = r->fold->start;
    fold_under(r, over, base + first * c->width_stride, row, sum, n);
    if (c->width == 1) sum[0] = r->fold->lanes(sum);

    int64_t at = kept * c->width + first;
    if (c->parts > 1)
        memcpy(r->partial + part * c->kept.count * c->width + at, sum, (size_t)n * sizeof *sum);
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
        reduce_unit(r, rest / r->cut.kept.count, rest % r->cut.kept.count, unit % r->blocks);
    }
}

static void reduce(const struct step *step, struct run *run, const struct fold *fold)
{
    struct reduction r = { .fold = fold, .out = &step->out[0], .partial = step->scratch };
    r.in = step->in[0].data;
    NAME(reduce_cut)(&r.cut, &step->in[0], &step->out[0]);
    const int64_t outputs = r.cut.kept.count * r.cut.width, parts = r.cut.parts;
    r.blocks = divide_up(r.cut.width, BLOCK);
    r.units = r.cut.kept.count * r.blocks * parts;
    r.units_per_task =
        max_int(1, TASK * r.units / max_int(1, outputs * r.cut.reduced.count * r.cut.row));
    pool_run(engine_pool(run->engine), divide_up(r.units, r.units_per_task), reduce_units, &r);
    for (int64_t i = 0; i < outputs && parts > 1; i++) {
        double sum = r.partial[i];
        for (int64_t k = 1; k < parts; k++) sum = fold->combine(sum, r.partial[k * outputs + i]);
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

/* layout.c - operations that move elements: copies, concatenation, lookups, space to depth. */
#include <string.h>
#include "kernels.h"
#include "../../packing.h"
#include "../walk.h"

enum { TASK = 32768 }; /* elements */

/* ---------------------------------------------------------------- copy, cast, place */

struct copy {
    char *to;
    const char *from;
    int32_t to_dtype, from_dtype;
};

#define COPY_ROWS(to_type, from_type)                                                              \
    for (int64_t j = 0; j < part->m; j++) {                                                        \
        to_type *to = (to_type *)copy->to + part->offset[0] + j * part->step[0];                   \
        const from_type *from =                                                                    \
            (const from_type *)copy->from + part->offset[1] + j * part->step[1];                   \
        if (part->stride[0] == 1 && part->stride[1] == 1) {                                        \
            INDEPENDENT                                                                            \
            for (int64_t i = 0; i < part->n; i++) to[i] = (to_type)from[i];                        \
        } else {                                                                                   \
            for (int64_t i = 0; i < part->n; i++)                                                  \
                to[i * part->stride[0]] = (to_type)from[i * part->stride[1]];                      \
        }                                                                                          \
    }

static void copy_part(const void *arg, const struct walk_part *part)
{
    const struct copy *copy = arg;
    if (copy->to_dtype == DT_F32 && copy->from_dtype == DT_F32) {
        COPY_ROWS(float, float)
    } else if (copy->to_dtype == DT_F32) {
        COPY_ROWS(float, double)
    } else if (copy->from_dtype == DT_F32) {
        COPY_ROWS(double, float)
    } else {
        COPY_ROWS(double, double)
    }
}

/* to = from, which broadcasts; any strides, any types. */
static void copy(struct pool *pool, const struct tensor *to, const struct tensor *from)
{
    struct copy job = { to->data, from->data, to->dtype, from->dtype };
    const struct tensor *t[2] = { to, from };
    struct walk walk;
    walk_make(&walk, t, 2);
    walk_run(pool, &walk, TASK, copy_part, &job);
}

void NAME(kernel_COPY)(const struct step *step, struct run *run)
{
    copy(engine_pool(run->engine), &step->out[0], &step->in[0]);
}

void NAME(kernel_CAST)(const struct step *step, struct run *run)
{
    copy(engine_pool(run->engine), &step->out[0], &step->in[0]);
}

static void set_zero(const struct tensor *t)
{
    memset(t->data, 0, (size_t)tensor_count(t) * dtype_size(t->dtype));
}

/* Whether the ranges (start, step, n) cover 0..extent-1. */
static int covers(const int64_t *range, int n_ranges, int64_t extent)
{
    enum { WIDEST = 4096 };
    char covered[WIDEST] = { 0 };
    int64_t count = 0;
    if (extent > WIDEST) return 0; /* then the zeros are written, needed or not */
    for (int k = 0; k < n_ranges; k++) {
        for (int64_t i = 0; i < range[3 * k + 2]; i++) {
            int64_t at = range[3 * k] + i * range[3 * k + 1];
            count += !covered[at];
            covered[at] = 1;
        }
    }
    return count == extent;
}

void NAME(kernel_PLACE)(const struct step *step, struct run *run)
{
    int64_t axis = step->ai[0];
    const int64_t *range = step->ai + 2;
    if (!covers(range, step->n_in, step->ai[1])) set_zero(&step->out[0]);
    for (int k = 0; k < step->n_in; k++, range += 3) {
        struct tensor to = step->out[0];
        to.data = (real *)to.data + range[0] * to.stride[axis];
        to.stride[axis] *= range[1];
        to.dim[axis] = range[2];
        copy(engine_pool(run->engine), &to, &step->in[k]);
    }
}

/* ---------------------------------------------------------------- packed weights */

void NAME(kernel_PACK)(const struct step *step, struct run *run)
{
    const struct tensor *out = &step->out[0];
    (void)run;
    packing_pack(out->packing, out->dtype, out->data, step->in[0].data);
}

void NAME(kernel_UNPACK)(const struct step *step, struct run *run)
{
    const struct tensor *in = &step->in[0];
    (void)run;
    packing_unpack(in->packing, in->dtype, step->out[0].data, in->data);
}

/* ---------------------------------------------------------------- take */

struct take {
    real *out;
    const real *in;
    const int64_t *index;
    int64_t n, out_stride, in_stride; /* of the axis */
    int adjoint;
};

/* to[i * so] = (or +=) from[i * si] */
static void take_run(const struct take *t, real *to, const real *from, int64_t n, int64_t so,
                     int64_t si)
{
    if (t->adjoint)
        for (int64_t i = 0; i < n; i++) to[i * so] += from[i * si];
    else if (so == 1 && si == 1)
        memcpy(to, from, (size_t)n * sizeof *to);
    else
        for (int64_t i = 0; i < n; i++) to[i * so] = from[i * si];
}

/* A part of all axes but the one that is looked up, and the whole of that one: it is the inner loop
 * where it is the one that lies close in memory. */
static void take_part(const void *arg, const struct walk_part *part)
{
    const struct take *t = arg;
    int64_t so = part->stride[0], si = part->stride[1], block = t->out_stride < so ? 1 : part->n;
    for (int64_t j = 0; j < part->m; j++) {
        for (int64_t i = 0; i < part->n; i += block) {
            real *out = t->out + part->offset[0] + j * part->step[0] + i * so;
            const real *in = t->in + part->offset[1] + j * part->step[1] + i * si;
            for (int64_t k = 0; k < t->n; k++) {
                real *to = out + (t->adjoint ? t->index[k] : k) * t->out_stride;
                const real *from = in + (t->adjoint ? k : t->index[k]) * t->in_stride;
                take_run(t, to, from, block, so, si);
            }
        }
    }
}

static void take(const struct step *step, struct run *run, int adjoint)
{
    int64_t axis = step->ai[0];
    struct tensor out = step->out[0], in = step->in[0];
    const struct tensor *t[2] = { &out, &in };
    struct take job = { .out = out.data, .in = in.data, .adjoint = adjoint };
    struct walk walk;
    job.n = step->ai[adjoint ? 2 : 1];
    job.index = step->ai + (adjoint ? 3 : 2);
    job.out_stride = out.stride[axis];
    job.in_stride = in.dim[axis] == 1 ? 0 : in.stride[axis];
    if (adjoint) set_zero(&out);
    out.dim[axis] = in.dim[axis] = 1;
    walk_make(&walk, t, 2);
    walk_run(engine_pool(run->engine), &walk, divide_up(TASK, job.n), take_part, &job);
}

void NAME(kernel_TAKE)(const struct step *step, struct run *run) { take(step, run, 0); }
void NAME(kernel_TAKE_ADJ)(const struct step *step, struct run *run) { take(step, run, 1); }

/* ---------------------------------------------------------------- space to depth */

struct squeeze {
    const struct tensor *wide, *deep; /* (N,C,H,W), (N,4C,H/2,W/2) */
    int64_t order;
    int to_depth;
    int64_t planes_per_task;
};

/* Row y of channel c of the wide tensor falls into two channels of the deep one, for dx = 0 and 1.
 */
static void squeeze_plane(const struct squeeze *s, int64_t n, int64_t c)
{
    const struct tensor *wide = s->wide, *deep = s->deep;
    int64_t channels = wide->dim[1], half = wide->dim[3] / 2;
    for (int64_t y = 0; y < wide->dim[2]; y++) {
        int64_t dy = y % 2, first = 4 * c + 2 * dy, second = first + 1;
        if (s->order == GLOW_ORDER_BLOCK) {
            first = 2 * dy * channels + c;
            second = first + channels;
        }
        real *row =
            (real *)wide->data + n * wide->stride[0] + c * wide->stride[1] + y * wide->dim[3];
        real *plane = (real *)deep->data + n * deep->stride[0] + y / 2 * half;
        real *left = plane + first * deep->stride[1], *right = plane + second * deep->stride[1];
        if (s->to_depth) {
            INDEPENDENT
            for (int64_t x = 0; x < half; x++) {
                left[x] = row[2 * x];
                right[x] = row[2 * x + 1];
            }
        } else {
            INDEPENDENT
            for (int64_t x = 0; x < half; x++) {
                row[2 * x] = left[x];
                row[2 * x + 1] = right[x];
            }
        }
    }
}

static void squeeze_task(void *arg, int64_t task, int worker)
{
    const struct squeeze *s = arg;
    int64_t plane = task * s->planes_per_task, channels = s->wide->dim[1];
    int64_t end = min_int(plane + s->planes_per_task, s->wide->dim[0] * channels);
    (void)worker;
    for (; plane < end; plane++) squeeze_plane(s, plane / channels, plane % channels);
}

static void squeeze(const struct step *step, struct run *run, int to_depth)
{
    struct squeeze s = { .order = step->ai[0], .to_depth = to_depth };
    s.wide = to_depth ? &step->in[0] : &step->out[0];
    s.deep = to_depth ? &step->out[0] : &step->in[0];
    s.planes_per_task = divide_up(TASK, s.wide->dim[2] * s.wide->dim[3]);
    int64_t planes = s.wide->dim[0] * s.wide->dim[1];
    pool_run(engine_pool(run->engine), divide_up(planes, s.planes_per_task), squeeze_task, &s);
}

void NAME(kernel_S2D)(const struct step *step, struct run *run) { squeeze(step, run, 1); }
void NAME(kernel_D2S)(const struct step *step, struct run *run) { squeeze(step, run, 0); }

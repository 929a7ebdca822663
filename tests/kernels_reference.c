/* kernels_reference.c - see the header. Speed is of no interest here, likeness to the definition
 * is. */
#include "kernels_reference.h"
#include "philox.h"
#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---------------------------------------------------------------- coordinates */

/* The coordinates of the element of that number. */
static void coordinates(const struct tensor *t, int64_t number, int64_t *at)
{
    for (int i = t->rank - 1; i >= 0; i--) {
        at[i] = number % t->dim[i];
        number /= t->dim[i];
    }
}

/* The element of t at the coordinates of a tensor of that rank: the batch axis is the first of
 * both, the others are aligned at the right, size 1 stretches. */
static double *element(const struct tensor *t, const int64_t *at, int rank)
{
    int64_t number = 0;
    for (int i = 0; i < t->rank; i++) {
        int64_t coordinate = i == 0 ? at[0] : at[i + rank - t->rank];
        number = number * t->dim[i] + (t->dim[i] == 1 ? 0 : coordinate);
    }
    return (double *)t->data + number;
}

static double *at4(const struct tensor *t, int64_t a, int64_t b, int64_t c, int64_t d)
{
    assert(t->rank == 4);
    int64_t at[4] = { a, b, c, d };
    return element(t, at, 4);
}

static double *data(const struct tensor *t) { return t->data; }

static void clear(const struct tensor *t)
{
    for (int64_t i = 0; i < tensor_count(t); i++) data(t)[i] = 0;
}

/* ---------------------------------------------------------------- elementwise */

static double apply(int op, double x, double y, double z)
{
    switch (op) {
    case OP_COPY:
    case OP_CAST: return x;
    case OP_NEG: return -x;
    case OP_EXP: return exp(x);
    case OP_LOG: return log(x);
    case OP_SQRT: return sqrt(x);
    case OP_ABS: return fabs(x);
    case OP_SQUARE: return x * x;
    case OP_RECIP: return 1 / x;
    case OP_SIGMOID: return 1 / (1 + exp(-x));
    case OP_LOG_SIGMOID: return fmin(x, 0) - log1p(exp(-fabs(x)));
    case OP_SOFTPLUS: return fmax(x, 0) + log1p(exp(-fabs(x)));
    case OP_TANH: return tanh(x);
    case OP_RELU: return isnan(x) ? x : fmax(x, 0);
    case OP_EXPM1: return expm1(x);
    case OP_LOG1P: return log1p(x);
    case OP_SIN: return sin(x);
    case OP_COS: return cos(x);
    case OP_FLOOR: return floor(x);
    case OP_SIGN: return isnan(x) ? x : (x > 0) - (x < 0);
    case OP_ADD: return x + y;
    case OP_SUB: return x - y;
    case OP_MUL: return x * y;
    case OP_DIV: return x / y;
    case OP_POW: return pow(x, y);
    case OP_MIN: return isnan(x) || isnan(y) ? NAN : fmin(x, y);
    case OP_MAX: return isnan(x) || isnan(y) ? NAN : fmax(x, y);
    case OP_LT: return x < y;
    case OP_LE: return x <= y;
    case OP_GT: return x > y;
    case OP_GE: return x >= y;
    case OP_EQ: return x == y;
    case OP_WHERE: return x != 0 ? y : z;
    default: assert(0); return 0;
    }
}

static void elementwise(const struct step *s, const struct run *run)
{
    const struct tensor *out = &s->out[0];
    (void)run;
    for (int64_t i = 0; i < tensor_count(out); i++) {
        int64_t at[MAX_DIMS] = { 0 };
        double x[3] = { 0, 0, 0 };
        coordinates(out, i, at);
        for (int k = 0; k < s->n_in; k++) x[k] = *element(&s->in[k], at, out->rank);
        data(out)[i] = apply(s->op, x[0], x[1], x[2]);
    }
}

/* Operation by operation, for one element: see ops.def. Outputs that are sums have size
 * 1 along the axes that are summed. */
static void fused(const struct step *s, const struct run *run)
{
    const struct tensor *shape = &s->in[0];
    const int64_t n = s->ai[0];
    (void)run;
    for (int k = 0; k < s->n_out; k++)
        if (s->out[k].data) clear(&s->out[k]);
    for (int64_t i = 0; i < tensor_count(shape); i++) {
        int64_t at[MAX_DIMS] = { 0 };
        double value[FUSED_INPUTS + FUSED_OPS];
        coordinates(shape, i, at);
        for (int k = 0; k < s->n_in; k++) value[k] = *element(&s->in[k], at, shape->rank);
        for (int64_t j = 0; j < n; j++) {
            const int64_t *o = s->ai + 1 + 4 * j;
            double x[3] = { 0, 0, 0 };
            for (int k = 0; k < 3 && o[1 + k] >= 0; k++) x[k] = value[o[1 + k]];
            value[s->n_in + j] = o[0] == OP_SUM ? x[0] : apply((int)o[0], x[0], x[1], x[2]);
        }
        for (int k = 0; k < s->n_out; k++) {
            int64_t maker = s->ai[1 + 4 * n + k];
            double y = value[s->n_in + maker];
            if (!s->out[k].data) continue;
            if (s->ai[1 + 4 * maker] == OP_SUM)
                *element(&s->out[k], at, shape->rank) += y;
            else
                data(&s->out[k])[i] = y;
        }
    }
}

/* ---------------------------------------------------------------- random */

static void random_numbers(const struct step *s, const struct run *run)
{
    const struct tensor *out = &s->out[0];
    int64_t samples = out->dim[0], n = tensor_count(out) / samples;
    uint64_t mixed = run->seed ^ (uint64_t)s->ai[1];
    uint32_t key[2] = { (uint32_t)mixed, (uint32_t)(mixed >> 32) };
    for (int64_t sample = 0; sample < samples; sample++) {
        for (int64_t i = 0; i < n; i++) {
            uint64_t block = (uint64_t)i / 4;
            uint32_t counter[4] = { (uint32_t)block, s->ai[2] ? (uint32_t)(sample + run->row) : 0,
                                    (uint32_t)run->step,
                                    (uint32_t)(run->step >> 32) ^ (uint32_t)(block >> 32) };
            struct philox word = philox(counter, key);
            double pair[2], *x = data(out) + sample * n + i;
            philox_gauss(word.v[i % 4 / 2 * 2], word.v[i % 4 / 2 * 2 + 1], pair);
            if (s->ai[0] == GLOW_UNIFORM) *x = philox_uniform(word.v[i % 4]);
            if (s->ai[0] == GLOW_GAUSS) *x = pair[i % 2];
            if (s->ai[0] == GLOW_SIGNS) *x = word.v[i % 4] & 0x80000000u ? 1 : -1;
        }
    }
}

/* ---------------------------------------------------------------- reductions and layout */

static void reduce(const struct step *s, const struct run *run)
{
    const struct tensor *in = &s->in[0], *out = &s->out[0];
    (void)run;
    for (int64_t i = 0; i < tensor_count(out); i++)
        data(out)[i] = s->op == OP_SUM ? 0 : s->op == OP_REDUCE_MAX ? -INFINITY : INFINITY;
    for (int64_t i = 0; i < tensor_count(in); i++) {
        int64_t at[MAX_DIMS] = { 0 };
        double x = data(in)[i];
        coordinates(in, i, at);
        double *to = element(out, at, in->rank);
        int op = s->op == OP_SUM ? OP_ADD : s->op == OP_REDUCE_MAX ? OP_MAX : OP_MIN;
        *to = apply(op, *to, x, 0);
    }
}

static void cumsum(const struct step *s, const struct run *run)
{
    const struct tensor *in = &s->in[0], *out = &s->out[0];
    int64_t axis = s->ai[0], n = in->dim[axis];
    (void)run;
    for (int64_t i = 0; i < tensor_count(out); i++) {
        int64_t at[MAX_DIMS] = { 0 };
        double sum = 0;
        coordinates(out, i, at);
        int64_t own = at[axis], from = s->ai[1] ? own : 0, to = s->ai[1] ? n - 1 : own;
        for (at[axis] = from; at[axis] <= to; at[axis]++) sum += *element(in, at, in->rank);
        data(out)[i] = sum;
    }
}

static void place(const struct step *s, const struct run *run)
{
    const struct tensor *out = &s->out[0];
    int64_t axis = s->ai[0];
    (void)run;
    clear(out);
    for (int k = 0; k < s->n_in; k++) {
        for (int64_t i = 0; i < tensor_count(&s->in[k]); i++) {
            int64_t at[MAX_DIMS] = { 0 };
            coordinates(&s->in[k], i, at);
            at[axis] = s->ai[2 + 3 * k] + s->ai[3 + 3 * k] * at[axis];
            *element(out, at, out->rank) = data(&s->in[k])[i];
        }
    }
}

static void take(const struct step *s, const struct run *run)
{
    int adjoint = s->op == OP_TAKE_ADJ;
    const struct tensor *in = &s->in[0], *out = &s->out[0], *over = adjoint ? in : out;
    const int64_t *index = s->ai + (adjoint ? 3 : 2);
    (void)run;
    if (adjoint) clear(out);
    for (int64_t i = 0; i < tensor_count(over); i++) {
        int64_t at[MAX_DIMS] = { 0 };
        coordinates(over, i, at);
        at[s->ai[0]] = index[at[s->ai[0]]];
        if (adjoint)
            *element(out, at, out->rank) += data(in)[i];
        else
            data(out)[i] = *element(in, at, in->rank);
    }
}

static void squeeze(const struct step *s, const struct run *run)
{
    const struct tensor *wide = s->op == OP_S2D ? &s->in[0] : &s->out[0];
    const struct tensor *deep = s->op == OP_S2D ? &s->out[0] : &s->in[0];
    (void)run;
    for (int64_t i = 0; i < tensor_count(wide); i++) {
        int64_t at[MAX_DIMS] = { 0 }, channels = wide->dim[1];
        coordinates(wide, i, at);
        int64_t c = at[1], dy = at[2] % 2, dx = at[3] % 2;
        int64_t channel =
            s->ai[0] == GLOW_ORDER_BLOCK ? (2 * dy + dx) * channels + c : 4 * c + 2 * dy + dx;
        double *x = at4(deep, at[0], channel, at[2] / 2, at[3] / 2);
        if (s->op == OP_S2D)
            *x = data(wide)[i];
        else
            data(wide)[i] = *x;
    }
}

/* ---------------------------------------------------------------- products */

static void matmul_channels(const struct step *s, const struct run *run)
{
    const struct tensor *x = &s->in[0], *w = &s->in[1], *out = &s->out[0];
    (void)run;
    for (int64_t i = 0; i < tensor_count(out); i++) {
        int64_t at[MAX_DIMS] = { 0 };
        coordinates(out, i, at);
        int64_t o = at[1];
        double sum = 0;
        for (int64_t c = 0; c < x->dim[1]; c++) {
            at[1] = c;
            double weight = s->ai[0] ? data(w)[c * w->dim[2] + o] : data(w)[o * w->dim[2] + c];
            sum += weight * *element(x, at, x->rank);
        }
        data(out)[i] = sum;
    }
}

static void matmul_channels_dw(const struct step *s, const struct run *run)
{
    const struct tensor *dy = &s->in[0], *x = &s->in[1], *out = &s->out[0];
    (void)run;
    clear(out);
    for (int64_t i = 0; i < tensor_count(dy); i++) {
        int64_t at[MAX_DIMS] = { 0 };
        coordinates(dy, i, at);
        int64_t o = at[1];
        for (at[1] = 0; at[1] < x->dim[1]; at[1]++)
            data(out)[o * x->dim[1] + at[1]] += data(dy)[i] * *element(x, at, x->rank);
    }
}

static void matmul(const struct step *s, const struct run *run)
{
    const struct tensor *a = &s->in[0], *b = &s->in[1], *out = &s->out[0];
    int r = out->rank;
    int64_t depth = a->dim[s->ai[0] ? a->rank - 2 : a->rank - 1];
    (void)run;
    for (int64_t i = 0; i < tensor_count(out); i++) {
        int64_t at[MAX_DIMS] = { 0 }, to_a[MAX_DIMS], to_b[MAX_DIMS];
        double sum = 0;
        coordinates(out, i, at);
        for (int64_t k = 0; k < depth; k++) {
            memcpy(to_a, at, sizeof at);
            memcpy(to_b, at, sizeof at);
            to_a[r - 2] = s->ai[0] ? k : at[r - 2];
            to_a[r - 1] = s->ai[0] ? at[r - 2] : k;
            to_b[r - 2] = s->ai[1] ? at[r - 1] : k;
            to_b[r - 1] = s->ai[1] ? k : at[r - 1];
            sum += *element(a, to_a, r) * *element(b, to_b, r);
        }
        data(out)[i] = sum;
    }
}

/* Pixel (y, x) of channel c of an image with zero padding; channel C is 1 on the padding, 0 inside.
 */
static double padded(const struct tensor *image, int64_t n, int64_t c, int64_t y, int64_t x)
{
    int outside = y < 0 || x < 0 || y >= image->dim[2] || x >= image->dim[3];
    if (c == image->dim[1]) return outside;
    return outside ? 0 : *at4(image, n, c, y, x);
}

/* Calls `visit` for every pair of an output pixel and a weight that meet in a convolution. */
struct meeting {
    double *y, *w;
    const struct tensor *image;
    int64_t n, c, py, px; /* where in the image */
};
static void convolve(const struct tensor *y, const struct tensor *w, const struct tensor *image,
                     void (*visit)(const struct meeting *))
{
    const int64_t pad_y = w->dim[3] / 2, pad_x = w->dim[4] / 2;
    const int64_t weights = tensor_count(w) / w->dim[1]; /* of an output channel */
    for (int64_t i = 0; i < tensor_count(y); i++) {
        int64_t at[MAX_DIMS] = { 0 };
        coordinates(y, i, at);
        for (int64_t j = at[1] * weights; j < (at[1] + 1) * weights; j++) {
            int64_t of[MAX_DIMS] = { 0 };
            coordinates(w, j, of);
            struct meeting m = { data(y) + i,           data(w) + j,          image, at[0], of[2],
                                 at[2] + of[3] - pad_y, at[3] + of[4] - pad_x };
            visit(&m);
        }
    }
}
static double (*rounding)(double);
void reference_round(double (*round)(double)) { rounding = round; }
static double rounded(double x) { return rounding ? rounding(x) : x; }

static void visit_y(const struct meeting *m)
{
    *m->y += rounded(*m->w) * rounded(padded(m->image, m->n, m->c, m->py, m->px));
}
static void visit_w(const struct meeting *m)
{
    *m->w += rounded(*m->y) * rounded(padded(m->image, m->n, m->c, m->py, m->px));
}
static void visit_x(const struct meeting *m)
{
    const struct tensor *x = m->image;
    if (m->c == x->dim[1] || m->py < 0 || m->px < 0 || m->py >= x->dim[2] || m->px >= x->dim[3])
        return;
    *at4(x, m->n, m->c, m->py, m->px) += rounded(*m->w) * rounded(*m->y);
}

static void conv(const struct step *s, const struct run *run)
{
    (void)run;
    clear(&s->out[0]);
    convolve(&s->out[0], &s->in[1], &s->in[0], visit_y);
}
static void conv_dx(const struct step *s, const struct run *run)
{
    (void)run;
    clear(&s->out[0]);
    convolve(&s->in[0], &s->in[1], &s->out[0], visit_x);
}
static void conv_dw(const struct step *s, const struct run *run)
{
    (void)run;
    clear(&s->out[0]);
    convolve(&s->in[1], &s->out[0], &s->in[0], visit_w);
}

/* ---------------------------------------------------------------- chains of convolutions */

static struct tensor new_like(const struct tensor *shape, int64_t channels)
{
    struct tensor t = *shape;
    t.dim[1] = channels;
    t.data = calloc((size_t)tensor_count(&t), sizeof(double));
    assert(t.data);
    return t;
}

static double activate(int64_t act, double x)
{
    if (act == GLOW_ACT_RELU) return x > 0 ? x : 0;
    if (act == GLOW_ACT_TANH) return tanh(x);
    if (act == GLOW_ACT_SIGMOID) return 1 / (1 + exp(-x));
    return x;
}

static double activate_slope(int64_t act, double x)
{
    double y = activate(act, x);
    if (act == GLOW_ACT_RELU) return x > 0;
    if (act == GLOW_ACT_TANH) return 1 - y * y;
    if (act == GLOW_ACT_SIGMOID) return y * (1 - y);
    return 1;
}

struct stage {
    struct tensor before, after;
}; /* of the activation */

static double factor(const struct step *s, int64_t k, int64_t channel)
{
    const struct tensor *logs = &s->in[3 + 3 * k];
    return logs->data ? exp(s->ad[k] * data(logs)[channel]) : 1;
}

static struct stage *chain_stages(const struct step *s)
{
    int64_t n = s->ai[0];
    struct stage *stage = calloc((size_t)n, sizeof *stage);
    assert(stage);
    for (int64_t k = 0; k < n; k++) {
        const struct tensor *x = k > 0 ? &stage[k - 1].after : &s->in[0];
        const struct tensor *w = &s->in[1 + 3 * k], *b = &s->in[2 + 3 * k];
        struct stage *to = &stage[k];
        to->before = new_like(&s->in[0], w->dim[1]);
        to->after = new_like(&s->in[0], w->dim[1]);
        convolve(&to->before, w, x, visit_y);
        for (int64_t i = 0; i < tensor_count(&to->before); i++) {
            int64_t at[MAX_DIMS] = { 0 };
            coordinates(&to->before, i, at);
            double *v = data(&to->before) + i;
            *v = (*v + (b->data ? data(b)[at[1]] : 0)) * factor(s, k, at[1]);
            data(&to->after)[i] = activate(s->ai[3 + 3 * k], *v);
        }
    }
    return stage;
}

static void chain_free(const struct step *s, struct stage *stage)
{
    for (int64_t k = 0; k < s->ai[0]; k++) {
        free(stage[k].before.data);
        free(stage[k].after.data);
    }
    free(stage);
}

static void chain(const struct step *s, const struct run *run)
{
    struct stage *stage = chain_stages(s);
    (void)run;
    memcpy(s->out[0].data, stage[s->ai[0] - 1].after.data,
           (size_t)tensor_count(&s->out[0]) * sizeof(double));
    chain_free(s, stage);
}

/* dy becomes the gradient of conv + b; db and dlogs are added up on the way. */
static void stage_vjp(const struct step *s, int64_t k, const struct stage *stage,
                      const struct tensor *dy)
{
    const struct tensor *db = &s->out[2 + 3 * k], *dlogs = &s->out[3 + 3 * k];
    if (db->data) clear(db);
    if (dlogs->data) clear(dlogs);
    for (int64_t i = 0; i < tensor_count(dy); i++) {
        int64_t at[MAX_DIMS] = { 0 };
        coordinates(dy, i, at);
        double v = data(&stage->before)[i], *d = data(dy) + i;
        *d *= activate_slope(s->ai[3 + 3 * k], v);
        if (dlogs->data) data(dlogs)[at[1]] += *d * v * s->ad[k];
        *d *= factor(s, k, at[1]);
        if (db->data) data(db)[at[1]] += *d;
    }
}

static void chain_vjp(const struct step *s, const struct run *run)
{
    int64_t n = s->ai[0];
    struct stage *stage = chain_stages(s);
    const struct tensor *given = &s->in[1 + 3 * n];
    struct tensor dy = new_like(given, given->dim[1]);
    (void)run;
    memcpy(dy.data, given->data, (size_t)tensor_count(given) * sizeof(double));
    for (int64_t k = n - 1; k >= 0; k--) {
        const struct tensor *x = k > 0 ? &stage[k - 1].after : &s->in[0];
        const struct tensor *w = &s->in[1 + 3 * k], *dw = &s->out[1 + 3 * k];
        stage_vjp(s, k, &stage[k], &dy);
        if (dw->data) {
            clear(dw);
            convolve(&dy, dw, x, visit_w);
        }
        struct tensor dx = new_like(x, x->dim[1]);
        convolve(&dy, w, &dx, visit_x);
        free(dy.data);
        dy = dx;
    }
    if (s->out[0].data) memcpy(s->out[0].data, dy.data, (size_t)tensor_count(&dy) * sizeof(double));
    free(dy.data);
    chain_free(s, stage);
}

/* ---------------------------------------------------------------- linear algebra */

/* Gauss-Jordan: a becomes its inverse; returns log |det a|. */
static double invert(double *a, int64_t n)
{
    double *x = calloc((size_t)(n * n), sizeof *x), sum = 0;
    assert(x);
    for (int64_t i = 0; i < n; i++) x[i * n + i] = 1;
    for (int64_t k = 0; k < n; k++) {
        int64_t pivot = k;
        for (int64_t i = k; i < n; i++)
            if (fabs(a[i * n + k]) > fabs(a[pivot * n + k])) pivot = i;
        for (int64_t j = 0; j < n; j++) {
            double u = a[k * n + j], v = x[k * n + j];
            a[k * n + j] = a[pivot * n + j], a[pivot * n + j] = u;
            x[k * n + j] = x[pivot * n + j], x[pivot * n + j] = v;
        }
        double p = a[k * n + k];
        sum += log(fabs(p));
        for (int64_t j = 0; j < n; j++) a[k * n + j] /= p, x[k * n + j] /= p;
        for (int64_t i = 0; i < n; i++) {
            double f = a[i * n + k];
            for (int64_t j = 0; i != k && j < n; j++) {
                a[i * n + j] -= f * a[k * n + j];
                x[i * n + j] -= f * x[k * n + j];
            }
        }
    }
    memcpy(a, x, (size_t)(n * n) * sizeof *x);
    free(x);
    return sum;
}

static void inverse(const struct step *s, const struct run *run)
{
    int64_t n = s->in[0].dim[1];
    double *a = malloc((size_t)(n * n) * sizeof *a);
    (void)run;
    assert(a);
    memcpy(a, s->in[0].data, (size_t)(n * n) * sizeof *a);
    double logdet = invert(a, n);
    if (s->op == OP_SLOGDET)
        *data(&s->out[0]) = logdet;
    else
        memcpy(s->out[0].data, a, (size_t)(n * n) * sizeof *a);
    free(a);
}

/* W = P (L + I) (U + diag(sign exp log_s)), and its inverse where wanted. */
static void lu_matrix(const double *lu, const double *log_s, const double *perm, const double *sign,
                      int64_t n, double *w, double *winv)
{
    for (int64_t i = 0; i < n; i++) {
        for (int64_t j = 0; j < n; j++) {
            double sum = 0;
            for (int64_t k = 0; k < n; k++) {
                double l = k < i ? lu[i * n + k] : k == i;
                double u = k < j ? lu[k * n + j] : k == j ? sign[k] * exp(log_s[k]) : 0;
                sum += l * u;
            }
            w[(int64_t)perm[i] * n + j] = sum;
        }
    }
    if (!winv) return;
    memcpy(winv, w, (size_t)(n * n) * sizeof *w);
    invert(winv, n);
}

static void lu_compose(const struct step *s, const struct run *run)
{
    int64_t n = s->in[1].dim[1];
    double *w = malloc((size_t)(2 * n * n) * sizeof *w);
    (void)run;
    assert(w);
    lu_matrix(data(&s->in[0]), data(&s->in[1]), data(&s->in[2]), data(&s->in[3]), n, w, w + n * n);
    for (int k = 0; k < 2; k++)
        if (s->out[k].data) memcpy(s->out[k].data, w + k * n * n, (size_t)(n * n) * sizeof *w);
    free(w);
}

/* By central differences of <dW, W> + <dW^-1, W^-1>: good to some 1e-9. */
static void lu_compose_vjp(const struct step *s, const struct run *run)
{
    int64_t n = s->in[1].dim[1], count = n * n + n;
    double *at = malloc((size_t)(count + 2 * n * n) * sizeof *at), *w = at + count;
    (void)run;
    assert(at);
    memcpy(at, s->in[0].data, (size_t)(n * n) * sizeof *at);
    memcpy(at + n * n, s->in[1].data, (size_t)n * sizeof *at);
    for (int64_t i = 0; i < count; i++) {
        double middle = at[i], slope = 0, h = 1e-4;
        /* Richardson: the error is O(h^4) */
        const double offset[4] = { 1, -1, 2, -2 }, weight[4] = { 8, -8, -1, 1 };
        for (int k = 0; k < 4; k++) {
            double value = 0;
            at[i] = middle + offset[k] * h;
            lu_matrix(at, at + n * n, data(&s->in[2]), data(&s->in[3]), n, w, w + n * n);
            for (int64_t j = 0; j < 2 * n * n; j++) {
                const double *d = s->in[4 + j / (n * n)].data;
                if (d) value += d[j % (n * n)] * w[j];
            }
            slope += weight[k] * value / (12 * h);
        }
        at[i] = middle;
        if (i < n * n && s->out[0].data) data(&s->out[0])[i] = slope;
        if (i >= n * n && s->out[1].data) data(&s->out[1])[i - n * n] = slope;
    }
    free(at);
}

reference_fn reference(int op)
{
    static const reference_fn table[OP_COUNT] = {
        [OP_RANDOM] = random_numbers,
        [OP_SUM] = reduce,
        [OP_REDUCE_MAX] = reduce,
        [OP_REDUCE_MIN] = reduce,
        [OP_FUSED] = fused,
        [OP_CUMSUM] = cumsum,
        [OP_PLACE] = place,
        [OP_TAKE] = take,
        [OP_TAKE_ADJ] = take,
        [OP_S2D] = squeeze,
        [OP_D2S] = squeeze,
        [OP_MATC] = matmul_channels,
        [OP_MATC_DW] = matmul_channels_dw,
        [OP_MATMUL] = matmul,
        [OP_CONV] = conv,
        [OP_CONV_DX] = conv_dx,
        [OP_CONV_DW] = conv_dw,
        [OP_CHAIN] = chain,
        [OP_CHAIN_VJP] = chain_vjp,
        [OP_LU] = lu_compose,
        [OP_LU_VJP] = lu_compose_vjp,
        [OP_SLOGDET] = inverse,
        [OP_INVERSE] = inverse,
    };
    static const unsigned char is_elementwise[OP_COUNT] = {
#define IS_LEAF                       0
#define IS_FILL                       0
#define IS_VIEW                       0
#define IS_KERN                       0
#define IS_ELEM                       1
#define OP(name, text, class, layout) [OP_##name] = IS_##class,
#include "ops.def"
#undef OP
    };
    return is_elementwise[op] ? elementwise : table[op];
}

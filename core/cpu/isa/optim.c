/* optim.c - flat loops over parameters: optimizers, the sum of squares, moving averages.
 *
 * g <- clip(scale g) + l2 w, then
 *   SGD     m <- momentum m + g;                     w -= lr m
 *   Adam    m <- b1 m + (1-b1) g; v <- b2 v + (1-b2) g^2;
 *           w -= lr m / (1-b1^t) / (sqrt(v / (1-b2^t)) + eps)
 *   Adamax  m as in Adam; v <- max(b2 v, |g|);       w -= lr m / (1-b1^t) / (v + eps)
 * (Kingma and Ba, "Adam: a method for stochastic optimization", 2015.) */
#include <string.h>
#include "kernels.h"
#include "real_math.h"

enum { CHUNK = 16384 }; /* elements of a task */

struct update {
    real *w, *m, *v;
    const real *g;
    int64_t n;
    int32_t kind;
    real scale, clip, l2, momentum, beta1, beta2, rate, root, eps;
};

ALWAYS_INLINE real gradient(const struct update *u, real g, real w)
{
    g *= u->scale;
    g = g > u->clip ? u->clip : g; /* NaN passes */
    g = g < -u->clip ? -u->clip : g;
    return g + u->l2 * w;
}

static void sgd(const struct update *u, int64_t from, int64_t to)
{
    INDEPENDENT
    for (int64_t i = from; i < to; i++) u->w[i] -= u->rate * gradient(u, u->g[i], u->w[i]);
}

static void sgd_momentum(const struct update *u, int64_t from, int64_t to)
{
    INDEPENDENT
    for (int64_t i = from; i < to; i++) {
        u->m[i] = u->momentum * u->m[i] + gradient(u, u->g[i], u->w[i]);
        u->w[i] -= u->rate * u->m[i];
    }
}

static void adam(const struct update *u, int64_t from, int64_t to)
{
    real *w = u->w, *m = u->m, *v = u->v;
    INDEPENDENT
    for (int64_t i = from; i < to; i++) {
        real g = gradient(u, u->g[i], w[i]);
        real mean = u->beta1 * m[i] + (1 - u->beta1) * g;
        real square = u->beta2 * v[i] + (1 - u->beta2) * g * g;
        m[i] = mean;
        v[i] = square;
        w[i] -= u->rate * mean / (real_sqrt(square) * u->root + u->eps);
    }
}

static void adamax(const struct update *u, int64_t from, int64_t to)
{
    real *w = u->w, *m = u->m, *v = u->v;
    INDEPENDENT
    for (int64_t i = from; i < to; i++) {
        real g = gradient(u, u->g[i], w[i]);
        real mean = u->beta1 * m[i] + (1 - u->beta1) * g;
        real old = u->beta2 * v[i], size = real_abs(g);
        real largest = size > old ? size : old;
        m[i] = mean;
        v[i] = largest;
        w[i] -= u->rate * mean / (largest + u->eps);
    }
}

static void update_task(void *arg, int64_t task, int worker)
{
    const struct update *u = arg;
    int64_t from = task * CHUNK, to = min_int(from + CHUNK, u->n);
    (void)worker;
    if (u->kind == OPTIM_ADAM)
        adam(u, from, to);
    else if (u->kind == OPTIM_ADAMAX)
        adamax(u, from, to);
    else if (u->m)
        sgd_momentum(u, from, to);
    else
        sgd(u, from, to);
}

void NAME(optim)(struct pool *pool, const struct optim_args *a)
{
    struct update u = { .w = a->w, .m = a->m, .v = a->v, .g = a->g, .n = a->n, .kind = a->kind };
    double t = (double)a->t;
    u.scale = (real)a->scale;
    u.clip = a->clip_value > 0 ? (real)a->clip_value : (real)INFINITY;
    u.l2 = (real)a->l2;
    u.momentum = (real)a->momentum;
    u.beta1 = (real)a->beta1;
    u.beta2 = (real)a->beta2;
    u.eps = (real)a->eps;
    u.rate = (real)(a->kind == OPTIM_SGD ? a->lr : a->lr / (1 - pow(a->beta1, t)));
    u.root = (real)(1 / sqrt(1 - pow(a->beta2, t)));
    pool_run(pool, divide_up(u.n, CHUNK), update_task, &u);
}

/* ---------------------------------------------------------------- sum of squares */

enum { MAX_CHUNKS = 1024 };
struct squares {
    const real *x;
    int64_t n, chunk;
    double partial[MAX_CHUNKS];
};

static void squares_task(void *arg, int64_t task, int worker)
{
    enum { SUMS = 32 }; /* independent ones, so that they vectorise */
    struct squares *s = arg;
    int64_t i = task * s->chunk, end = min_int(i + s->chunk, s->n);
    double sum[SUMS] = { 0 }, total = 0;
    (void)worker;
    for (; i + SUMS <= end; i += SUMS)
        for (int k = 0; k < SUMS; k++) sum[k] += (double)s->x[i + k] * (double)s->x[i + k];
    for (; i < end; i++) sum[0] += (double)s->x[i] * (double)s->x[i];
    for (int k = 0; k < SUMS; k++) total += sum[k];
    s->partial[task] = total;
}

double NAME(sum_squares)(struct pool *pool, const void *x, int64_t n)
{
    struct squares s = { .x = x, .n = n };
    double total = 0;
    s.chunk = max_int(CHUNK, divide_up(divide_up(n, MAX_CHUNKS), 64) * 64);
    int64_t chunks = divide_up(n, s.chunk);
    pool_run(pool, chunks, squares_task, &s);
    for (int64_t i = 0; i < chunks; i++) total += s.partial[i];
    return total;
}

/* ---------------------------------------------------------------- moving average */

struct average {
    real *average;
    const real *x;
    int64_t n;
    real decay;
};

static void ema_task(void *arg, int64_t task, int worker)
{
    const struct average *a = arg;
    int64_t from = task * CHUNK, to = min_int(from + CHUNK, a->n);
    (void)worker;
    INDEPENDENT
    for (int64_t i = from; i < to; i++)
        a->average[i] = a->decay * a->average[i] + (1 - a->decay) * a->x[i];
}

void NAME(ema)(struct pool *pool, void *average, const void *x, int64_t n, double decay)
{
    struct average a = { average, x, n, (real)decay };
    pool_run(pool, divide_up(n, CHUNK), ema_task, &a);
}

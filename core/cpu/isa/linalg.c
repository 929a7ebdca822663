/* linalg.c - small dense matrices, always in float64: the LU form of the 1x1 convolution, log
 * |det|, inverses. All loops run along rows of C-ordered matrices.
 *
 * Factors are packed as usual: f holds L below the diagonal (its own diagonal is 1) and U on and
 * above it. LU_COMPOSE: M = L U with U's diagonal sign * exp(log_s), and row perm[i] of W is row i
 * of M: W = P M, W^-1 = M^-1 P^T. Its gradient, with dM = P^T dW - M^-T (dW^-1 P) M^-T: dL = dM U^T
 * (below the diagonal), dU = L^T dM (above), dlog_s = diag(L^T dM) * diag(U). */
#include <math.h>
#include <string.h>
#include "kernels.h"

/* ---------------------------------------------------------------- rows of numbers */

static double get(const struct tensor *t, int64_t i)
{
    return t->dtype == DT_F64 ? ((const double *)t->data)[i] : (double)((const float *)t->data)[i];
}

static void put(const struct tensor *t, int64_t i, double x)
{
    if (t->dtype == DT_F64)
        ((double *)t->data)[i] = x;
    else
        ((float *)t->data)[i] = (float)x;
}

/* n numbers from number `at` on */
static void get_row(double *restrict to, const struct tensor *t, int64_t at, int64_t n)
{
    if (t->dtype == DT_F64)
        memcpy(to, (const double *)t->data + at, (size_t)n * sizeof *to);
    else
        for (int64_t i = 0; i < n; i++) to[i] = (double)((const float *)t->data)[at + i];
}

static void put_row(const struct tensor *t, int64_t at, const double *restrict from, int64_t n)
{
    if (t->dtype == DT_F64) {
        memcpy((double *)t->data + at, from, (size_t)n * sizeof *from);
    } else {
        float *restrict to = (float *)t->data + at;
        for (int64_t i = 0; i < n; i++) to[i] = (float)from[i];
    }
}

/* y += a x */
static void add_scaled(double *restrict y, double a, const double *restrict x, int64_t n)
{
    for (int64_t i = 0; i < n; i++) y[i] += a * x[i];
}

static double dot(const double *x, const double *y, int64_t n)
{
    double part[8] = { 0 }, sum = 0;
    int64_t i = 0;
    for (; i + 8 <= n; i += 8)
        for (int k = 0; k < 8; k++) part[k] += x[i + k] * y[i + k];
    for (; i < n; i++) sum += x[i] * y[i];
    for (int k = 0; k < 8; k++) sum += part[k];
    return sum;
}

static void set_identity(double *a, int64_t n)
{
    memset(a, 0, (size_t)(n * n) * sizeof *a);
    for (int64_t i = 0; i < n; i++) a[i * n + i] = 1;
}

/* x <- (L U)^-1 x for an n by n matrix x */
static void substitute(const double *f, double *x, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        for (int64_t k = 0; k < i; k++) add_scaled(x + i * n, -f[i * n + k], x + k * n, n);
    for (int64_t i = n - 1; i >= 0; i--) {
        for (int64_t k = i + 1; k < n; k++) add_scaled(x + i * n, -f[i * n + k], x + k * n, n);
        for (int64_t j = 0; j < n; j++) x[i * n + j] /= f[i * n + i];
    }
}

/* c += a^T b, scaled */
static void add_product_transposed(double *c, double scale, const double *a, const double *b,
                                   int64_t n)
{
    for (int64_t k = 0; k < n; k++)
        for (int64_t i = 0; i < n; i++) add_scaled(c + i * n, scale * a[k * n + i], b + k * n, n);
}

/* ---------------------------------------------------------------- the LU form */

enum { LU_MATRIX, LU_LOG_S, LU_PERM, LU_SIGN, LU_DW, LU_DINVERSE };

/* Reads the factors into f and checks the permutation, which comes from a file: `seen` has n
 * entries. */
static glow_status read_factors(const struct step *step, double *f, double *seen)
{
    const struct tensor *in = step->in;
    int64_t n = in[LU_LOG_S].dim[1];
    get_row(f, &in[LU_MATRIX], 0, n * n);
    for (int64_t i = 0; i < n; i++) {
        f[i * n + i] = get(&in[LU_SIGN], i) * exp(get(&in[LU_LOG_S], i));
        seen[i] = 0;
    }
    for (int64_t i = 0; i < n; i++) {
        double at = get(&in[LU_PERM], i);
        if (!(at >= 0 && at < (double)n && at == floor(at)) || seen[(int64_t)at]++ > 0)
            return fail(GLOW_EINVAL,
                        "%s: lu_compose: perm is not a permutation of 0..%lld: entry %lld "
                        "is %g",
                        step->owner ? step->owner : "?", (long long)(n - 1), (long long)i, at);
    }
    return GLOW_OK;
}

static int64_t perm_at(const struct step *step, int64_t i)
{
    return (int64_t)get(&step->in[LU_PERM], i);
}

/* m <- L U */
static void compose(const double *f, double *m, int64_t n)
{
    memset(m, 0, (size_t)(n * n) * sizeof *m);
    for (int64_t i = 0; i < n; i++)
        for (int64_t k = 0; k <= i; k++)
            add_scaled(m + i * n + k, k < i ? f[i * n + k] : 1, f + k * n + k, n - k);
}

void NAME(kernel_LU)(const struct step *step, struct run *run)
{
    int64_t n = step->in[LU_LOG_S].dim[1];
    double *f = step->scratch, *m = f + n * n;
    const struct tensor *w = &step->out[0], *inverse = &step->out[1];
    if ((run->status = read_factors(step, f, m)) != GLOW_OK) return;
    if (w->data) {
        compose(f, m, n);
        for (int64_t i = 0; i < n; i++) put_row(w, perm_at(step, i) * n, m + i * n, n);
    }
    if (inverse->data) {
        set_identity(m, n);
        substitute(f, m, n);
        for (int64_t i = 0; i < n; i++)
            for (int64_t j = 0; j < n; j++) put(inverse, i * n + perm_at(step, j), m[i * n + j]);
    }
}

size_t NAME(scratch_LU)(const struct step *step, int threads)
{
    int64_t n = step->in[LU_LOG_S].dim[1];
    (void)threads;
    return (size_t)(2 * n * n) * sizeof(double);
}

/* dm <- P^T dW - M^-T (dW^-1 P) M^-T; work has three matrices. */
static void gradient_of_product(const struct step *step, const double *f, double *dm, double *work)
{
    int64_t n = step->in[LU_LOG_S].dim[1];
    const struct tensor *dw = &step->in[LU_DW], *dinverse = &step->in[LU_DINVERSE];
    double *inverse = work, *given = work + n * n, *product = work + 2 * n * n;
    memset(dm, 0, (size_t)(n * n) * sizeof *dm);
    for (int64_t i = 0; i < n && dw->data; i++) get_row(dm + i * n, dw, perm_at(step, i) * n, n);
    if (!dinverse->data) return;
    set_identity(inverse, n);
    substitute(f, inverse, n);
    for (int64_t i = 0; i < n; i++)
        for (int64_t j = 0; j < n; j++) given[i * n + j] = get(dinverse, i * n + perm_at(step, j));
    memset(product, 0, (size_t)(n * n) * sizeof *product);
    add_product_transposed(product, 1, inverse, given, n);
    /* (product M^-T)[i][j] is the product of row i and row j of M^-1 */
    for (int64_t i = 0; i < n; i++) {
        for (int64_t j = 0; j < n; j++) dm[i * n + j] -= dot(product + i * n, inverse + j * n, n);
    }
}

void NAME(kernel_LU_VJP)(const struct step *step, struct run *run)
{
    int64_t n = step->in[LU_LOG_S].dim[1];
    double *f = step->scratch, *dm = f + n * n, *du = dm + n * n;
    const struct tensor *dlu = &step->out[0], *dlog_s = &step->out[1];
    if ((run->status = read_factors(step, f, dm)) != GLOW_OK) return;
    gradient_of_product(step, f, dm, du);
    /* du <- L^T dm: row k of dm goes to rows i <= k, times L[k][i] */
    memset(du, 0, (size_t)(n * n) * sizeof *du);
    for (int64_t k = 0; k < n; k++)
        for (int64_t i = 0; i <= k; i++)
            add_scaled(du + i * n, i < k ? f[k * n + i] : 1, dm + k * n, n);
    if (dlog_s->data)
        for (int64_t i = 0; i < n; i++) put(dlog_s, i, du[i * n + i] * f[i * n + i]);
    if (!dlu->data) return;
    for (int64_t i = 0; i < n; i++) {
        double *row = du + i * n; /* L^T dM above the diagonal, dM U^T below */
        for (int64_t j = 0; j < i; j++) row[j] = dot(dm + i * n + j, f + j * n + j, n - j);
        row[i] = 0;
        put_row(dlu, i * n, row, n);
    }
}

size_t NAME(scratch_LU_VJP)(const struct step *step, int threads)
{
    int64_t n = step->in[LU_LOG_S].dim[1];
    (void)threads;
    return (size_t)(5 * n * n) * sizeof(double);
}

/* ---------------------------------------------------------------- general matrices */

static void swap_rows(double *a, double *b, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        double x = a[i];
        a[i] = b[i];
        b[i] = x;
    }
}

/* Factors a = P^T L U in place with partial pivoting; the rows of x (may be NULL) are swapped
 * along. Returns 0 when a pivot is exactly 0. NaN goes through. */
static int factor(double *a, double *x, int64_t n)
{
    for (int64_t k = 0; k < n; k++) {
        int64_t pivot = k;
        for (int64_t i = k + 1; i < n; i++)
            if (!(fabs(a[i * n + k]) <= fabs(a[pivot * n + k]))) pivot = i;
        if (a[pivot * n + k] == 0) return 0;
        if (pivot != k) {
            swap_rows(a + k * n, a + pivot * n, n);
            if (x) swap_rows(x + k * n, x + pivot * n, n);
        }
        for (int64_t i = k + 1; i < n; i++) {
            double l = a[i * n + k] /= a[k * n + k];
            add_scaled(a + i * n + k + 1, -l, a + k * n + k + 1, n - k - 1);
        }
    }
    return 1;
}

void NAME(kernel_SLOGDET)(const struct step *step, struct run *run)
{
    int64_t n = step->in[0].dim[1];
    double *a = step->scratch, sum = 0;
    (void)run;
    get_row(a, &step->in[0], 0, n * n);
    if (factor(a, NULL, n))
        for (int64_t i = 0; i < n; i++) sum += log(fabs(a[i * n + i]));
    else
        sum = -INFINITY;
    put(&step->out[0], 0, sum);
}

size_t NAME(scratch_SLOGDET)(const struct step *step, int threads)
{
    (void)threads;
    return (size_t)tensor_count(&step->in[0]) * sizeof(double);
}

void NAME(kernel_INVERSE)(const struct step *step, struct run *run)
{
    int64_t n = step->in[0].dim[1];
    double *a = step->scratch, *x = a + n * n;
    get_row(a, &step->in[0], 0, n * n);
    set_identity(x, n);
    if (!factor(a, x, n)) {
        run->status = fail(GLOW_EINVAL, "%s: inverse: the %lld by %lld matrix is singular",
                           step->owner ? step->owner : "?", (long long)n, (long long)n);
        return;
    }
    substitute(a, x, n);
    put_row(&step->out[0], 0, x, n * n);
}

size_t NAME(scratch_INVERSE)(const struct step *step, int threads)
{
    (void)threads;
    return 2 * (size_t)tensor_count(&step->in[0]) * sizeof(double);
}

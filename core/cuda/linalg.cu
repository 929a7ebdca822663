/* linalg.cu - small dense matrices in float64: the LU form of the 1x1 convolution, log |det|,
 * inverses. One block of threads does a matrix, so that nothing goes to the host and back and a
 * training step stays one graph; the formulas are those of core/cpu/isa/linalg.c.
 *
 * Factors are packed as usual: f holds L below the diagonal (its own diagonal is 1) and U on and
 * above it. */
#include <string.h>
#include "launch.h"

struct matrix { /* (n,n) or (n) of either real type; data NULL: absent */
    void *data;
    int32_t wide;
};

__device__ static inline double get(const struct matrix &m, int64_t i)
{
    return m.wide ? ((const double *)m.data)[i] : (double)((const float *)m.data)[i];
}
__device__ static inline void put(const struct matrix &m, int64_t i, double x)
{
    if (m.wide)
        ((double *)m.data)[i] = x;
    else
        ((float *)m.data)[i] = (float)x;
}
static struct matrix matrix_of(const struct tensor *t)
{
    struct matrix m = { t->data, t->dtype == DT_F64 };
    return m;
}
static struct owner owner_of(const struct step *step)
{
    struct owner o = {};
    strncpy(o.text, step->owner ? step->owner : "?", sizeof o.text - 1);
    return o;
}

/* Only the first fault is kept. */
__device__ static void set_fault(struct fault *f, int code, int64_t size, int64_t entry,
                                 double value, const struct owner &owner)
{
    if (f->code) return;
    f->size = size;
    f->entry = (int32_t)entry;
    f->value = value;
    for (int i = 0; i < OWNER_TEXT; i++) f->owner[i] = owner.text[i];
    f->code = code;
}

/* Loops of one block: each thread takes its share of n. */
#define EACH(i, n) for (int64_t i = threadIdx.x; i < (n); i += blockDim.x)

/* x <- (L U)^-1 x for n columns; a thread has a column of its own. */
__device__ static void substitute(const double *f, double *x, int64_t n)
{
    EACH (j, n) {
        for (int64_t i = 0; i < n; i++) {
            double sum = x[i * n + j];
            for (int64_t k = 0; k < i; k++) sum -= f[i * n + k] * x[k * n + j];
            x[i * n + j] = sum;
        }
        for (int64_t i = n - 1; i >= 0; i--) {
            double sum = x[i * n + j];
            for (int64_t k = i + 1; k < n; k++) sum -= f[i * n + k] * x[k * n + j];
            x[i * n + j] = sum / f[i * n + i];
        }
    }
    __syncthreads();
}

__device__ static void set_identity(double *x, int64_t n)
{
    EACH (i, n * n) x[i] = i / n == i % n;
    __syncthreads();
}

/* ---------------------------------------------------------------- the LU form */

struct factors {
    struct matrix lu, log_s, perm, sign;
    int64_t n;
    struct fault *fault;
    struct owner owner;
};

static struct factors factors_of(const struct step *step, struct run *run)
{
    struct factors f = { matrix_of(&step->in[0]), matrix_of(&step->in[1]), matrix_of(&step->in[2]),
                         matrix_of(&step->in[3]), step->in[1].dim[1],      run->engine->fault,
                         owner_of(step) };
    return f;
}

/* Reads the factors into f and checks the permutation, which comes from a file; `seen` has n
 * entries. Returns false to all threads when it is none. */
__device__ static bool read_factors(const struct factors &in, double *f, double *seen)
{
    __shared__ int good;
    int64_t n = in.n;
    EACH (i, n * n) f[i] = get(in.lu, i);
    EACH (i, n) seen[i] = 0;
    if (threadIdx.x == 0) good = 1;
    __syncthreads();
    EACH (i, n) f[i * n + i] = get(in.sign, i) * exp(get(in.log_s, i));
    if (threadIdx.x == 0)
        for (int64_t i = 0; i < n && good; i++) {
            double at = get(in.perm, i);
            if (at >= 0 && at < (double)n && at == floor(at) && seen[(int64_t)at] == 0) {
                seen[(int64_t)at] = 1;
                continue;
            }
            good = 0;
            set_fault(in.fault, FAULT_PERMUTATION, n, i, at, in.owner);
        }
    __syncthreads();
    return good != 0;
}

__global__ void compose(struct factors in, double *f, double *x, struct matrix w,
                        struct matrix inverse)
{
    int64_t n = in.n;
    if (!read_factors(in, f, x)) return;
    if (w.data)
        EACH (at, n * n) {
            int64_t i = at / n, j = at % n;
            double sum = 0;
            for (int64_t k = 0; k <= i && k <= j; k++)
                sum += (k < i ? f[i * n + k] : 1.0) * f[k * n + j];
            put(w, (int64_t)get(in.perm, i) * n + j, sum);
        }
    if (!inverse.data) return;
    set_identity(x, n);
    substitute(f, x, n);
    EACH (at, n * n) put(inverse, at / n * n + (int64_t)get(in.perm, at % n), x[at]);
}

extern "C" size_t cuda_scratch_LU(const struct engine *, const struct step *step)
{
    int64_t n = step->in[1].dim[1];
    return (size_t)(2 * n * n) * sizeof(double);
}

extern "C" void cuda_kernel_LU(const struct step *step, struct run *run)
{
    struct factors in = factors_of(step, run);
    double *f = (double *)step->scratch;
    CU_LAUNCH(compose, 1, BLOCK, 0, run->engine->stream, in, f, f + in.n * in.n,
              matrix_of(&step->out[0]), matrix_of(&step->out[1]));
}

/* dm <- P^T dW - M^-T (dW^-1 P) M^-T; inverse and product are work. */
__device__ static void gradient_of_product(const struct factors &in, const double *f, double *dm,
                                           double *inverse, double *product,
                                           const struct matrix &dw, const struct matrix &dinverse)
{
    int64_t n = in.n;
    EACH (at, n * n) dm[at] = dw.data ? get(dw, (int64_t)get(in.perm, at / n) * n + at % n) : 0.0;
    __syncthreads();
    if (!dinverse.data) return;
    set_identity(inverse, n);
    substitute(f, inverse, n);
    EACH (at, n * n) { /* M^-T (dW^-1 P) */
        int64_t i = at / n, to = (int64_t)get(in.perm, at % n);
        double sum = 0;
        for (int64_t k = 0; k < n; k++) sum += inverse[k * n + i] * get(dinverse, k * n + to);
        product[at] = sum;
    }
    __syncthreads();
    EACH (at, n * n) {
        int64_t i = at / n, j = at % n;
        double sum = 0;
        for (int64_t k = 0; k < n; k++) sum += product[i * n + k] * inverse[j * n + k];
        dm[at] -= sum;
    }
    __syncthreads();
}

__global__ void compose_vjp(struct factors in, double *work, struct matrix dw,
                            struct matrix dinverse, struct matrix dlu, struct matrix dlog_s)
{
    int64_t n = in.n;
    double *f = work, *dm = f + n * n, *inverse = dm + n * n, *product = inverse + n * n;
    if (!read_factors(in, f, dm)) return;
    gradient_of_product(in, f, dm, inverse, product, dw, dinverse);
    EACH (at, n * n) {
        int64_t i = at / n, j = at % n;
        double sum = 0;
        if (j >= i) /* (L^T dM)[i][j] */
            for (int64_t k = i; k < n; k++) sum += (k > i ? f[k * n + i] : 1.0) * dm[k * n + j];
        else /* (dM U^T)[i][j] */
            for (int64_t k = j; k < n; k++) sum += dm[i * n + k] * f[j * n + k];
        if (dlu.data) put(dlu, at, i == j ? 0.0 : sum);
        if (dlog_s.data && i == j) put(dlog_s, i, sum * f[at]);
    }
}

extern "C" size_t cuda_scratch_LU_VJP(const struct engine *, const struct step *step)
{
    int64_t n = step->in[1].dim[1];
    return (size_t)(4 * n * n) * sizeof(double);
}

extern "C" void cuda_kernel_LU_VJP(const struct step *step, struct run *run)
{
    CU_LAUNCH(compose_vjp, 1, BLOCK, 0, run->engine->stream, factors_of(step, run),
              (double *)step->scratch, matrix_of(&step->in[4]), matrix_of(&step->in[5]),
              matrix_of(&step->out[0]), matrix_of(&step->out[1]));
}

/* ---------------------------------------------------------------- general matrices */

__device__ static inline void swap(double *a, double *b)
{
    double x = *a;
    *a = *b;
    *b = x;
}

/* Factors a = P^T L U in place with partial pivoting; the rows of x (may be NULL) are swapped
 * along. Returns false to all threads when a pivot is exactly 0. NaN goes through. */
__device__ static bool factor(double *a, double *x, int64_t n)
{
    __shared__ int64_t pivot;
    for (int64_t k = 0; k < n; k++) {
        if (threadIdx.x == 0) {
            pivot = k;
            for (int64_t i = k + 1; i < n; i++)
                if (!(fabs(a[i * n + k]) <= fabs(a[pivot * n + k]))) pivot = i;
        }
        __syncthreads();
        if (a[pivot * n + k] == 0) return false;
        __syncthreads(); /* all have seen the pivot before rows move */
        if (pivot != k)
            EACH (j, n) {
                swap(&a[k * n + j], &a[pivot * n + j]);
                if (x) swap(&x[k * n + j], &x[pivot * n + j]);
            }
        __syncthreads();
        EACH (i, n - k - 1) a[(k + 1 + i) * n + k] /= a[k * n + k];
        __syncthreads();
        int64_t m = n - k - 1;
        EACH (at, m * m) {
            int64_t i = k + 1 + at / m, j = k + 1 + at % m;
            a[i * n + j] -= a[i * n + k] * a[k * n + j];
        }
        __syncthreads();
    }
    return true;
}

__global__ void log_determinant(struct matrix in, int64_t n, double *a, struct matrix out)
{
    EACH (i, n * n) a[i] = get(in, i);
    __syncthreads();
    bool regular = factor(a, NULL, n);
    if (threadIdx.x != 0) return;
    double sum = regular ? 0 : -INFINITY;
    for (int64_t i = 0; i < n && regular; i++) sum += log(fabs(a[i * n + i]));
    put(out, 0, sum);
}

__global__ void invert(struct matrix in, int64_t n, double *a, struct matrix out,
                       struct fault *fault, struct owner owner)
{
    double *x = a + n * n;
    EACH (i, n * n) a[i] = get(in, i);
    set_identity(x, n);
    bool regular = factor(a, x, n);
    if (!regular && threadIdx.x == 0) set_fault(fault, FAULT_SINGULAR, n, 0, 0, owner);
    if (regular) substitute(a, x, n);
    EACH (i, n * n) put(out, i, regular ? x[i] : NAN);
}

extern "C" size_t cuda_scratch_SLOGDET(const struct engine *, const struct step *step)
{
    return (size_t)tensor_count(&step->in[0]) * sizeof(double);
}

extern "C" void cuda_kernel_SLOGDET(const struct step *step, struct run *run)
{
    CU_LAUNCH(log_determinant, 1, BLOCK, 0, run->engine->stream, matrix_of(&step->in[0]),
              step->in[0].dim[1], (double *)step->scratch, matrix_of(&step->out[0]));
}

extern "C" size_t cuda_scratch_INVERSE(const struct engine *, const struct step *step)
{
    return 2 * (size_t)tensor_count(&step->in[0]) * sizeof(double);
}

extern "C" void cuda_kernel_INVERSE(const struct step *step, struct run *run)
{
    CU_LAUNCH(invert, 1, BLOCK, 0, run->engine->stream, matrix_of(&step->in[0]), step->in[0].dim[1],
              (double *)step->scratch, matrix_of(&step->out[0]), run->engine->fault,
              owner_of(step));
}

/* elementwise.c - the operations that act on each element alone. Operands broadcast by stride 0.
 *
 * Each operation is a plain loop over rows of contiguous memory. The driver merges axes until the
 * rows are as long as they can be; an operand whose row is not contiguous is gathered into a small
 * buffer first. An operand may be the output itself (in place): every loop reads an element before
 * it writes it. */
#include "kernels.h"
#include "real_math.h"
#include "../walk.h"

enum { BUFFER = 512 }; /* elements gathered at a time */

/* How much a task takes on, in elements: enough to outweigh handing it to a thread. */
enum cost { COST_LIGHT = 32768, COST_EXP = REAL_BITS == 32 ? 8192 : 2048, COST_LIBM = 2048 };

/* m rows of n elements. Along a row the output's stride is 1, an operand's is in_stride. */
struct rows {
    real *out;
    const real *in[3];
    int64_t n, m;
    int64_t out_step, in_step[3]; /* from row to row */
    int64_t in_stride[3];
};
typedef void (*rows_fn)(const struct rows *);

struct elementwise {
    const struct step *step;
    rows_fn fn;
};

/* Whether a kernel can read operand k as it lies: contiguous, or a scalar beside a contiguous one.
 */
static int is_direct(const struct rows *r, int n_in, int k)
{
    if (r->in_stride[k] == 1) return 1;
    return n_in == 2 && r->in_stride[k] == 0 && r->in_stride[1 - k] == 1;
}

/* Rows of which some operand must be gathered: one row, one buffer at a time. */
static void run_gathered(rows_fn fn, const struct rows *all, int n_in)
{
    real buffer[3][BUFFER];
    for (int64_t j = 0; j < all->m; j++) {
        for (int64_t i = 0; i < all->n; i += BUFFER) {
            struct rows part = { .out = all->out + j * all->out_step + i, .m = 1 };
            part.n = min_int(BUFFER, all->n - i);
            for (int k = 0; k < n_in; k++) {
                int64_t stride = all->in_stride[k];
                const real *from = all->in[k] + j * all->in_step[k] + i * stride;
                int direct = is_direct(all, n_in, k);
                part.in[k] = direct ? from : buffer[k];
                part.in_stride[k] = direct ? stride : 1;
                if (direct) continue;
                for (int64_t l = 0; l < part.n; l++) buffer[k][l] = from[l * stride];
            }
            fn(&part);
        }
    }
}

static void run_part(const void *arg, const struct walk_part *part)
{
    const struct elementwise *e = arg;
    int n_in = e->step->n_in, direct = 1;
    struct rows rows = { .n = part->n, .m = part->m, .out_step = part->step[0] };
    rows.out = (real *)e->step->out[0].data + part->offset[0];
    for (int k = 0; k < n_in; k++) {
        rows.in[k] = (const real *)e->step->in[k].data + part->offset[1 + k];
        rows.in_step[k] = part->step[1 + k];
        rows.in_stride[k] = part->stride[1 + k];
    }
    for (int k = 0; k < n_in; k++) direct &= is_direct(&rows, n_in, k);
    if (direct)
        e->fn(&rows);
    else
        run_gathered(e->fn, &rows, n_in);
}

static void elementwise(const struct step *step, struct run *run, rows_fn fn, enum cost cost)
{
    struct elementwise e = { step, fn };
    const struct tensor *t[WALK_MAX] = { &step->out[0] };
    struct walk walk;
    for (int k = 0; k < step->n_in; k++) t[1 + k] = &step->in[k];
    walk_make(&walk, t, 1 + step->n_in);
    walk_run(engine_pool(run->engine), &walk, cost, run_part, &e);
}

/* ---------------------------------------------------------------- operations */

/* Defines the kernel of an operation of one operand x. */
#define UNARY(op, cost, result)                                                                    \
    static void rows_##op(const struct rows *r)                                                    \
    {                                                                                              \
        for (int64_t j = 0; j < r->m; j++) {                                                       \
            const real *in = r->in[0] + j * r->in_step[0];                                         \
            real *out = r->out + j * r->out_step;                                                  \
            INDEPENDENT                                                                            \
            for (int64_t i = 0; i < r->n; i++) {                                                   \
                real x = in[i];                                                                    \
                out[i] = (result);                                                                 \
            }                                                                                      \
        }                                                                                          \
    }                                                                                              \
    void NAME(kernel_##op)(const struct step *step, struct run *run)                               \
    {                                                                                              \
        elementwise(step, run, rows_##op, cost);                                                   \
    }

/* One row of an operation of two operands x and y, whose strides are 0 or 1. */
#define BINARY_ROW(result, stride_x, stride_y)                                                     \
    INDEPENDENT                                                                                    \
    for (int64_t i = 0; i < r->n; i++) {                                                           \
        real x = stride_x ? in0[i] : x0, y = stride_y ? in1[i] : y0;                               \
        out[i] = (result);                                                                         \
    }

#define BINARY(op, cost, result)                                                                   \
    static void rows_##op(const struct rows *r)                                                    \
    {                                                                                              \
        for (int64_t j = 0; j < r->m; j++) {                                                       \
            const real *in0 = r->in[0] + j * r->in_step[0], *in1 = r->in[1] + j * r->in_step[1];   \
            real *out = r->out + j * r->out_step;                                                  \
            real x0 = *in0, y0 = *in1;                                                             \
            if (!r->in_stride[0]) {                                                                \
                BINARY_ROW(result, 0, 1)                                                           \
            } else if (!r->in_stride[1]) {                                                         \
                BINARY_ROW(result, 1, 0)                                                           \
            } else {                                                                               \
                BINARY_ROW(result, 1, 1)                                                           \
            }                                                                                      \
        }                                                                                          \
    }                                                                                              \
    void NAME(kernel_##op)(const struct step *step, struct run *run)                               \
    {                                                                                              \
        elementwise(step, run, rows_##op, cost);                                                   \
    }

UNARY(NEG, COST_LIGHT, -x)
UNARY(EXP, COST_EXP, real_exp(x))
UNARY(LOG, COST_EXP, real_log(x))
UNARY(SQRT, COST_LIGHT, real_sqrt(x))
UNARY(ABS, COST_LIGHT, real_abs(x))
UNARY(SQUARE, COST_LIGHT, x *x)
UNARY(RECIP, COST_LIGHT, 1 / x)
UNARY(SIGMOID, COST_EXP, real_sigmoid(x))
UNARY(LOG_SIGMOID, COST_EXP, real_log_sigmoid(x))
UNARY(SOFTPLUS, COST_EXP, real_softplus(x))
UNARY(TANH, COST_EXP, real_tanh(x))
UNARY(RELU, COST_LIGHT, x < 0 ? 0 : x) /* NaN stays NaN */
UNARY(EXPM1, COST_EXP, real_expm1(x))
UNARY(LOG1P, COST_EXP, real_log1p(x))
UNARY(SIN, COST_LIBM, real_sin(x))
UNARY(COS, COST_LIBM, real_cos(x))
UNARY(FLOOR, COST_LIGHT, real_floor(x))
UNARY(SIGN, COST_LIGHT, x > 0 ? 1 : x < 0 ? -1 : x) /* of 0: 0, of NaN: NaN */

BINARY(ADD, COST_LIGHT, x + y)
BINARY(SUB, COST_LIGHT, x - y)
BINARY(MUL, COST_LIGHT, x *y)
BINARY(DIV, COST_LIGHT, x / y)
BINARY(POW, COST_LIBM, real_pow(x, y))
/* The first when equal; NaN when either is. */
BINARY(MIN, COST_LIGHT, x <= y || x != x ? x : y)
BINARY(MAX, COST_LIGHT, x >= y || x != x ? x : y)
BINARY(LT, COST_LIGHT, x < y ? 1 : 0)
BINARY(LE, COST_LIGHT, x <= y ? 1 : 0)
BINARY(GT, COST_LIGHT, x > y ? 1 : 0)
BINARY(GE, COST_LIGHT, x >= y ? 1 : 0)
BINARY(EQ, COST_LIGHT, x == y ? 1 : 0)

static void rows_WHERE(const struct rows *r)
{
    for (int64_t j = 0; j < r->m; j++) {
        const real *condition = r->in[0] + j * r->in_step[0];
        const real *a = r->in[1] + j * r->in_step[1], *b = r->in[2] + j * r->in_step[2];
        real *out = r->out + j * r->out_step;
        INDEPENDENT
        for (int64_t i = 0; i < r->n; i++) {
            real x = a[i], y = b[i];
            out[i] = condition[i] != 0 ? x : y;
        }
    }
}

void NAME(kernel_WHERE)(const struct step *step, struct run *run)
{
    elementwise(step, run, rows_WHERE, COST_LIGHT);
}

/* products.c - products of matrices through cuBLAS: plain ones, the operations MATMUL, MATC (y = W
 * x at each position) and its gradient. cuBLAS keeps matrices by columns; ours, row by row, are
 * their transposes, so C = A B is asked for as C^T = B^T A^T. */
#include "cuda.h"

/* ---------------------------------------------------------------- cuBLAS */

static cudaDataType_t type_of(int32_t dtype)
{
    return dtype == DT_F64 ? CUDA_R_64F : dtype == DT_BF16 ? CUDA_R_16BF : CUDA_R_32F;
}

static int fits(int64_t n) { return n <= INT32_MAX; }

int product_is_plain(const struct product *p)
{
    return fits(p->rows) && fits(p->columns) && fits(p->depth) && fits(p->a_stride) &&
           fits(p->b_stride) && fits(p->c_stride) && fits(p->batch) &&
           p->a_stride >= (p->a_turned ? p->rows : p->depth) &&
           p->b_stride >= (p->b_turned ? p->depth : p->columns) && p->a_batch >= 0 &&
           p->b_batch >= 0;
}

static void run_blas(const struct product *p, const struct step *step, struct run *run)
{
    const struct engine *e = run->engine;
    const int wide = p->dtype == DT_F64;
    const double one = 1, beta = p->beta;
    const float one_f = 1, beta_f = (float)p->beta;
    const cudaDataType_t type = type_of(p->dtype), to = p->result ? type_of(p->result) : type;
    const cublasComputeType_t how = wide                            ? CUBLAS_COMPUTE_64F
                                    : p->fast && p->dtype == DT_F32 ? e->products
                                                                    : CUBLAS_COMPUTE_32F;
    cublasStatus_t status = cublasGemmStridedBatchedEx(
        e->blas, p->b_turned ? CUBLAS_OP_T : CUBLAS_OP_N, p->a_turned ? CUBLAS_OP_T : CUBLAS_OP_N,
        (int)p->columns, (int)p->rows, (int)p->depth,
        wide ? (const void *)&one : (const void *)&one_f, p->b, type, (int)p->b_stride, p->b_batch,
        p->a, type, (int)p->a_stride, p->a_batch,
        wide ? (const void *)&beta : (const void *)&beta_f, p->c, to, (int)p->c_stride, p->c_batch,
        (int)p->batch, how, CUBLAS_GEMM_DEFAULT);
    if (status != CUBLAS_STATUS_SUCCESS)
        step_failed(step, run, "cuBLAS", cublasGetStatusString(status));
}

void product_run(const struct product *p, const struct step *step, struct run *run)
{
    if (run->status != GLOW_OK) return;
    if (!p->rides) {
        run_blas(p, step, run);
        return;
    }
    cublasStatus_t status = plan_run(p, run->engine);
    if (status != CUBLAS_STATUS_SUCCESS)
        step_failed(step, run, "cuBLASLt", cublasGetStatusString(status));
}

/* ---------------------------------------------------------------- any strides */

/* How a matrix with these strides can be told to cuBLAS, if it can. */
static int operand(int64_t rows, int64_t columns, int64_t row, int64_t column, int64_t *stride,
                   int *turned)
{
    *turned = 0;
    if (column == 1 || columns == 1) {
        *stride = rows == 1 ? columns : row;
        if (*stride >= columns) return 1;
    }
    *turned = 1;
    if (row == 1 || rows == 1) {
        *stride = columns == 1 ? rows : column;
        if (*stride >= rows) return 1;
    }
    return 0;
}

static void run_any(const struct strided_product *s, const struct step *step, struct run *run)
{
    struct product p = {
        .dtype = s->dtype,
        .rows = s->rows,
        .columns = s->columns,
        .depth = s->depth,
        .a = s->a,
        .b = s->b,
        .c = s->c,
        .c_stride = s->columns,
        .batch = s->n_axes ? s->axis[0] : 1,
        .a_batch = s->n_axes ? s->a_axis[0] : 0,
        .b_batch = s->n_axes ? s->b_axis[0] : 0,
        .c_batch = s->rows * s->columns,
    };
    if (s->n_axes <= 1 &&
        operand(s->rows, s->depth, s->a_row, s->a_column, &p.a_stride, &p.a_turned) &&
        operand(s->depth, s->columns, s->b_row, s->b_column, &p.b_stride, &p.b_turned) &&
        product_is_plain(&p))
        product_run(&p, step, run);
    else
        strided_product_run(s, run);
}

/* ---------------------------------------------------------------- MATMUL */

/* The stride along axis i of a result of that rank: leading axes are aligned at the right, but the
 * batch axis with the batch axis. */
static int64_t leading_stride(const struct tensor *t, int rank, int i)
{
    const int own = i == 0 ? 0 : i - (rank - t->rank);
    if (i > 0 && own < 1) return 0;
    return t->dim[own] == 1 ? 0 : t->stride[own];
}

/* Adds a leading axis of C, or makes the last one longer where the strides allow it. */
static void add_axis(struct strided_product *p, int64_t n, int64_t a, int64_t b)
{
    const int last = p->n_axes - 1;
    if (n == 1) return;
    if (last >= 0 && p->a_axis[last] == a * n && p->b_axis[last] == b * n) {
        p->axis[last] *= n;
        p->a_axis[last] = a;
        p->b_axis[last] = b;
        return;
    }
    p->axis[p->n_axes] = n;
    p->a_axis[p->n_axes] = a;
    p->b_axis[p->n_axes++] = b;
}

void cuda_kernel_MATMUL(const struct step *step, struct run *run)
{
    const struct tensor *a = &step->in[0], *b = &step->in[1], *c = &step->out[0];
    const int ta = step->ai[0] != 0, tb = step->ai[1] != 0;
    struct strided_product p = {
        .dtype = c->dtype,
        .rows = c->dim[c->rank - 2],
        .columns = c->dim[c->rank - 1],
        .depth = a->dim[a->rank - 1 - ta],
        .a = a->data,
        .b = b->data,
        .c = c->data,
        .a_row = a->stride[a->rank - 2 + ta],
        .a_column = a->stride[a->rank - 1 - ta],
        .b_row = b->stride[b->rank - 2 + tb],
        .b_column = b->stride[b->rank - 1 - tb],
    };
    for (int i = 0; i < c->rank - 2; i++)
        add_axis(&p, c->dim[i], leading_stride(a, c->rank, i), leading_stride(b, c->rank, i));
    /* A leading axis along which B stays the same is more rows of A. */
    const int last = p.n_axes - 1;
    if (last >= 0 && !p.b_axis[last] && (p.rows == 1 || p.a_axis[last] == p.rows * p.a_row)) {
        if (p.rows == 1) p.a_row = p.a_axis[last];
        p.rows *= p.axis[last];
        p.n_axes--;
    }
    run_any(&p, step, run);
}

/* ---------------------------------------------------------------- MATC */

static int64_t plane_of(const struct tensor *x)
{
    int64_t n = 1;
    for (int i = 2; i < x->rank; i++) n *= x->dim[i];
    return n;
}

void cuda_kernel_MATC(const struct step *step, struct run *run)
{
    const struct tensor *x = &step->in[0], *w = &step->in[1], *y = &step->out[0];
    const int64_t plane = plane_of(x), turned = step->ai[0];
    const int64_t w_out = w->stride[turned ? 2 : 1], w_in = w->stride[turned ? 1 : 2];
    struct strided_product p = { .dtype = y->dtype, .depth = x->dim[1], .c = y->data };
    if (plane == 1) { /* rows (N,C): y = x W^T */
        p.rows = x->dim[0];
        p.columns = y->dim[1];
        p.a = x->data;
        p.a_row = x->stride[0];
        p.a_column = x->stride[1];
        p.b = w->data;
        p.b_row = w_in;
        p.b_column = w_out;
    } else { /* each image: (O,P) = W (O,C) x (C,P) */
        p.rows = y->dim[1];
        p.columns = plane;
        p.a = w->data;
        p.a_row = w_out;
        p.a_column = w_in;
        p.b = x->data;
        p.b_row = x->stride[1];
        p.b_column = 1;
        add_axis(&p, x->dim[0], 0, x->stride[0]);
    }
    run_any(&p, step, run);
}

/* Images: a product for each, in scratch, then their sum. */
static int adds_up(const struct step *step)
{
    return step->in[1].dim[0] > 1 && plane_of(&step->in[1]) > 1;
}

size_t cuda_scratch_MATC_DW(const struct engine *e, const struct step *step)
{
    const int64_t images = step->in[1].dim[0], size = step->in[0].dim[1] * step->in[1].dim[1];
    struct carve room = { NULL, 0 };
    (void)e;
    if (!adds_up(step)) return 0;
    carve(&room, images * size, dtype_size(step->in[0].dtype));
    carve(&room, column_sums_room(images, size), sizeof(double));
    return room.used;
}

void cuda_kernel_MATC_DW(const struct step *step, struct run *run)
{
    const struct tensor *dy = &step->in[0], *x = &step->in[1];
    const int64_t images = x->dim[0], plane = plane_of(x), size = dy->dim[1] * x->dim[1];
    struct carve room = { step->scratch, 0 };
    struct strided_product p = { .dtype = dy->dtype,
                                 .rows = dy->dim[1],
                                 .columns = x->dim[1],
                                 .a = dy->data,
                                 .b = x->data,
                                 .c = step->out[0].data,
                                 .a_row = dy->stride[1],
                                 .b_column = x->stride[1] };
    if (plane == 1) { /* dw = dy^T x */
        p.depth = images;
        p.a_column = dy->stride[0];
        p.b_row = x->stride[0];
    } else {
        p.depth = plane;
        p.a_column = p.b_row = 1;
        add_axis(&p, images, dy->stride[0], x->stride[0]);
    }
    if (adds_up(step)) p.c = carve(&room, images * size, dtype_size(p.dtype));
    run_any(&p, step, run);
    if (adds_up(step))
        column_sums(run, p.dtype, p.c, images, size, size, step->out[0].data,
                    carve(&room, column_sums_room(images, size), sizeof(double)));
}

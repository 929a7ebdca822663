/* matmul.c - products of matrices in memory: MATMUL with any strides and broadcast leading axes,
 * and MATC, y = W x at each position, with its gradient. Images are used where they lie, a vector
 * of pixels at a time; rows (N,C) are an ordinary product. */
#include "chain.h"

enum {
    CHUNK = 256,       /* rows and columns of C in a task */
    DEPTH = 512,       /* of what is packed at a time */
    IMAGE_PIXELS = 512 /* of MATC, in a task */
};

/* C = A B, C row after row. Element (i,k) of A is a[i a_row + k a_column], and so on. */
struct multiply {
    int64_t rows, columns, depth;
    const real *a, *b;
    real *c;
    int64_t a_row, a_column, b_row, b_column;
    /* The same again for each index of up to MAX_DIMS leading axes. */
    int n_axes;
    int64_t axis[MAX_DIMS], a_axis[MAX_DIMS], b_axis[MAX_DIMS];
    char *work;
};

static size_t work_size(const struct multiply *m)
{
    const int64_t depth = divide_up(min_int(m->depth, DEPTH), PANEL) * PANEL;
    const int64_t rows = divide_up(min_int(m->rows, CHUNK), PANEL) * PANEL;
    const int64_t columns = divide_up(min_int(m->columns, CHUNK), PANEL) * PANEL;
    struct carve room = { NULL, 0 };
    CARVE(&room, real, depth * rows);
    CARVE(&room, real, depth * columns);
    return room.used;
}

/* A is packed as it lies, so that reading it is contiguous. */
static void pack_a(struct product *p, real *to, const real *a, int64_t row, int64_t column)
{
    p->a_turned = row == 1 && column != 1;
    const struct matrix m = p->a_turned ? matrix_of(a, p->depth, p->rows, column, row)
                                        : matrix_of(a, p->rows, p->depth, row, column);
    p->a_panel = m.rows * PANEL;
    NAME(pack_panels)(to, p->a_panel, &m, 0, m.rows);
    p->a = to;
}

static void multiply_chunk(void *arg, int64_t task, int worker)
{
    const struct multiply *m = arg;
    const int64_t down = divide_up(m->rows, CHUNK), across = divide_up(m->columns, CHUNK);
    const int64_t column = task % across * CHUNK, row = task / across % down * CHUNK;
    const int64_t item = task / across / down;
    const real *a = m->a + row * m->a_row, *b = m->b + column * m->b_column;
    struct carve room = { m->work + (size_t)worker * work_size(m), 0 };
    struct product p = {
        .rows = min_int(CHUNK, m->rows - row),
        .columns = min_int(CHUNK, m->columns - column),
        .b_stride = PANEL,
        .c = m->c + (item * m->rows + row) * m->columns + column,
        .c_stride = m->columns,
        .c_panel = PANEL,
        .exact = 1,
    };
    const int64_t depth = divide_up(min_int(m->depth, DEPTH), PANEL) * PANEL;
    real *a_room = CARVE(&room, real, depth * divide_up(min_int(m->rows, CHUNK), PANEL) * PANEL);
    real *b_room = CARVE(&room, real, depth * divide_up(min_int(m->columns, CHUNK), PANEL) * PANEL);

    for (int64_t i = m->n_axes - 1, rest = item; i >= 0; rest /= m->axis[i], i--) {
        a += rest % m->axis[i] * m->a_axis[i];
        b += rest % m->axis[i] * m->b_axis[i];
    }
    for (int64_t k = 0; k < m->depth; k += DEPTH) {
        p.depth = min_int(DEPTH, m->depth - k);
        p.add = k > 0;
        pack_a(&p, a_room, a + k * m->a_column, m->a_row, m->a_column);
        const struct matrix right =
            matrix_of(b + k * m->b_row, p.depth, p.columns, m->b_row, m->b_column);
        p.b = b_room;
        p.b_panel = p.depth * PANEL;
        NAME(pack_panels)(b_room, p.b_panel, &right, 0, p.depth);
        NAME(product)(&p);
    }
}

static size_t multiply_scratch(const struct multiply *m, int threads)
{
    return work_size(m) * (size_t)threads;
}

static void multiply_run(struct multiply *m, const struct step *step, struct run *run)
{
    int64_t tasks = divide_up(m->rows, CHUNK) * divide_up(m->columns, CHUNK);
    for (int i = 0; i < m->n_axes; i++) tasks *= m->axis[i];
    m->work = step->scratch;
    pool_run(engine_pool(run->engine), tasks, multiply_chunk, m);
}

/* The stride along axis i of a result of that rank; leading axes are aligned at the right, but the
 * batch axis with the batch axis. */
static int64_t leading_stride(const struct tensor *t, int rank, int i)
{
    const int own = i == 0 ? 0 : i - (rank - t->rank);
    if (i > 0 && own < 1) return 0;
    return t->dim[own] == 1 ? 0 : t->stride[own];
}

static struct multiply matmul_of(const struct step *step)
{
    const struct tensor *a = &step->in[0], *b = &step->in[1], *c = &step->out[0];
    const int ta = step->ai[0] != 0, tb = step->ai[1] != 0;
    struct multiply m = {
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
        .n_axes = c->rank - 2,
    };
    for (int i = 0; i < m.n_axes; i++) {
        m.axis[i] = c->dim[i];
        m.a_axis[i] = leading_stride(a, c->rank, i);
        m.b_axis[i] = leading_stride(b, c->rank, i);
    }
    /* Leading axes along which B stays the same are more rows of A. */
    while (m.n_axes > 0) {
        const int i = m.n_axes - 1;
        if (m.axis[i] > 1 && (m.b_axis[i] || (m.rows > 1 && m.a_axis[i] != m.rows * m.a_row)))
            break;
        if (m.axis[i] > 1 && m.rows == 1) m.a_row = m.a_axis[i];
        m.rows *= m.axis[i];
        m.n_axes--;
    }
    return m;
}

size_t NAME(scratch_MATMUL)(const struct step *step, int threads)
{
    const struct multiply m = matmul_of(step);
    return multiply_scratch(&m, threads);
}

void NAME(kernel_MATMUL)(const struct step *step, struct run *run)
{
    struct multiply m = matmul_of(step);
    multiply_run(&m, step, run);
}

/* ---- MATC */

static int64_t plane_of(const struct tensor *x)
{
    int64_t n = 1;
    for (int i = 2; i < x->rank; i++) n *= x->dim[i];
    return n;
}

/* Rows (N,C): y = x W^T, or x W where transposed. */
static struct multiply rows_of(const struct step *step)
{
    const struct tensor *x = &step->in[0], *w = &step->in[1], *y = &step->out[0];
    const int64_t w_row = w->stride[1], w_column = w->stride[2];
    return (struct multiply){
        .rows = x->dim[0],
        .columns = y->dim[1],
        .depth = x->dim[1],
        .a = x->data,
        .b = w->data,
        .c = y->data,
        .a_row = x->stride[0],
        .a_column = x->stride[1],
        .b_row = step->ai[0] ? w_row : w_column,
        .b_column = step->ai[0] ? w_column : w_row,
    };
}

/* Images: W is packed once, pixels are used where they lie. */
struct images {
    struct planes x, y;
    int64_t n, plane, in, out;
    int64_t images, chunks; /* images in a task, or tasks in an image */
    const real *w;
    int64_t w_panel;
};

static struct images images_of(const struct step *step)
{
    const struct tensor *x = &step->in[0], *y = &step->out[0];
    const int64_t plane = plane_of(x);
    return (struct images){
        .x = planes_of(x),
        .y = planes_of(y),
        .n = x->dim[0],
        .plane = plane,
        .in = x->dim[1],
        .out = y->dim[1],
        .images = max_int(1, IMAGE_PIXELS / plane),
        .chunks = divide_up(plane, IMAGE_PIXELS),
        .w_panel = y->dim[1] * PANEL,
    };
}

static void images_task(void *arg, int64_t task, int worker)
{
    const struct images *m = arg;
    const int64_t first = task / m->chunks * m->images, end = min_int(m->n, first + m->images);
    const int64_t pixel = task % m->chunks * IMAGE_PIXELS;
    (void)worker;
    for (int64_t i = first; i < end; i++) {
        const struct product p = {
            .rows = m->out,
            .columns = min_int(IMAGE_PIXELS, m->plane - pixel),
            .depth = m->in,
            .a = m->w,
            .a_panel = m->w_panel,
            .b = m->x.data + i * m->x.batch_stride + pixel,
            .b_stride = m->x.channel_stride,
            .b_panel = PANEL,
            .c = m->y.data + i * m->y.batch_stride + pixel,
            .c_stride = m->y.channel_stride,
            .c_panel = PANEL,
            .exact = 1,
        };
        NAME(product)(&p);
    }
}

size_t NAME(scratch_MATC)(const struct step *step, int threads)
{
    if (plane_of(&step->in[0]) == 1) {
        const struct multiply m = rows_of(step);
        return multiply_scratch(&m, threads);
    }
    const struct images m = images_of(step);
    return (size_t)panels_words(m.out, m.in) * sizeof(word);
}

void NAME(kernel_MATC)(const struct step *step, struct run *run)
{
    if (plane_of(&step->in[0]) == 1) {
        struct multiply rows = rows_of(step);
        multiply_run(&rows, step, run);
        return;
    }
    struct images m = images_of(step);
    const struct tensor *w = &step->in[1];
    const int64_t row = step->ai[0] ? w->stride[2] : w->stride[1];
    const int64_t column = step->ai[0] ? w->stride[1] : w->stride[2];
    const struct matrix from = matrix_of(w->data, m.out, m.in, row, column);
    NAME(pack_panels)(step->scratch, m.w_panel, &from, 0, m.out);
    m.w = step->scratch;
    pool_run(engine_pool(run->engine), divide_up(m.n, m.images) * m.chunks, images_task, &m);
}

/* Rows: dw = dy^T x. */
static struct multiply dw_rows_of(const struct step *step)
{
    const struct tensor *dy = &step->in[0], *x = &step->in[1];
    return (struct multiply){
        .rows = dy->dim[1],
        .columns = x->dim[1],
        .depth = x->dim[0],
        .a = dy->data,
        .b = x->data,
        .c = step->out[0].data,
        .a_row = dy->stride[1],
        .a_column = dy->stride[0],
        .b_row = x->stride[0],
        .b_column = x->stride[1],
    };
}

/* Images: a chain of one stage, of which only dw is wanted. */
static void dw_chain_of(struct chain *c, struct chain_backward *b, const struct step *step)
{
    const struct tensor *dy = &step->in[0], *x = &step->in[1];
    NAME(chain_begin)(c, x);
    NAME(chain_add)(c, &step->out[0], dy->dim[1], 1, 1, 0)->want_dw = 1;
    NAME(chain_end)(c);
    b->x = planes_of(x);
    b->dy = planes_of(dy);
}

static const struct tensor unwanted;

size_t NAME(scratch_MATC_DW)(const struct step *step, int threads)
{
    if (plane_of(&step->in[1]) == 1) {
        const struct multiply m = dw_rows_of(step);
        return multiply_scratch(&m, threads);
    }
    struct chain c;
    struct chain_backward b = { 0 };
    struct carve room = { NULL, 0 };
    const struct tensor out[3] = { step->out[0], unwanted, unwanted };
    dw_chain_of(&c, &b, step);
    NAME(chain_carve_backward)(&b, &c, &room, out, threads);
    return room.used;
}

void NAME(kernel_MATC_DW)(const struct step *step, struct run *run)
{
    if (plane_of(&step->in[1]) == 1) {
        struct multiply m = dw_rows_of(step);
        multiply_run(&m, step, run);
        return;
    }
    struct chain c;
    struct chain_backward b = { .pool = engine_pool(run->engine) };
    struct carve room = { step->scratch, 0 };
    dw_chain_of(&c, &b, step);
    const struct tensor out[3] = { step->out[0], unwanted, unwanted };
    NAME(chain_carve_backward)(&b, &c, &room, out, pool_threads(b.pool));
    NAME(chain_run_backward)(&b, out);
}

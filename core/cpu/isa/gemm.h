/* gemm.h - matrix products by one thread on matrices in panels: what every product of the CPU
 * backend stands on, so that no shape falls off a cliff.
 *
 * A panel matrix (rows, columns) is cut into panels of PANEL columns; element (r,c) lies at
 * [c / PANEL][r][c % PANEL]. A panel is two vectors wide: a kernel keeps BLOCK_ROWS x PANEL
 * elements of the result in registers, loads a row of two vectors of B, and multiplies it with one
 * number of A after the other. */
#ifndef CORE_CPU_ISA_GEMM_H
#define CORE_CPU_ISA_GEMM_H
#include "../isa.h"

#define PANEL (2 * LANES)
#if VEC_REGISTERS == 32
#define BLOCK_ROWS 14 /* 28 sums, 2 vectors of B and one number of A */
#else
#define BLOCK_ROWS 6 /* 12 sums */
#endif

/* Memory that is needed soon, in regions. Products ask for it in small steps, each for its share of
 * all the work until then: a burst of requests would be dropped, or stand in the way of others. */
#define AHEAD_REGIONS 16
struct ahead {
    struct {
        const char *at, *end;
    } region[AHEAD_REGIONS];
    int n, now;    /* regions, the one that is being asked for */
    int64_t bytes; /* left */
    int64_t work;  /* multiply-adds left */
    int to_write;  /* it will be written, not read */
};
ALWAYS_INLINE void ahead_add(struct ahead *a, const void *start, int64_t bytes)
{
    if (!start || a->n == AHEAD_REGIONS) return;
    a->region[a->n].at = start;
    a->region[a->n++].end = (const char *)start + bytes;
    a->bytes += bytes;
}

/* C = A B, or C += A B, where C is (rows, columns). */
struct product {
    int64_t rows, columns, depth;
    /* A panel matrix (rows, depth), or when a_turned one (depth, rows): A is its transpose. Its
     * panels lie a_panel elements apart. */
    const real *a;
    int64_t a_panel;
    int a_turned;
    /* Panels (depth, PANEL) lie b_panel apart, their rows b_stride. Whole vectors are loaded: what
     * lies behind the last column is read and never shows in the result. */
    const real *b;
    int64_t b_stride, b_panel;
    real *c; /* the same for C */
    int64_t c_stride, c_panel;
    int exact; /* nothing is written behind the last column */
    int add;   /* C += */
    /* What is done to C on the way, in this order; NULL and 0: nothing. */
    const real *scale;   /* C[r][...] *= scale[r] */
    const real *bias;    /* C[r][...] += bias[r] */
    int relu;            /* C = max(C, 0) */
    const real *mask;    /* C = 0 where mask <= 0; laid out like C; not with exact */
    real *sums;          /* (rows, LANES): sums[r] += vectors of C[r]; not with exact */
    struct ahead *ahead; /* what to ask for on the way; NULL: nothing */
};

void NAME(product)(const struct product *);

/* Elements of a panel matrix with `rows` rows in a panel. */
ALWAYS_INLINE int64_t panels_count(int64_t rows, int64_t columns)
{
    return divide_up(columns, PANEL) * rows * PANEL;
}

/* A matrix in any layout: element (r,c) is data[r row_stride + c column_stride]. */
struct matrix {
    const real *data;
    int64_t rows, columns;
    int64_t row_stride, column_stride;
};
ALWAYS_INLINE struct matrix matrix_of(const real *data, int64_t rows, int64_t columns,
                                      int64_t row_stride, int64_t column_stride)
{
    return (struct matrix){ data, rows, columns, row_stride, column_stride };
}

/* Rows first .. first+n-1 of m into a panel matrix whose panels lie `panel` elements apart. */
void NAME(pack_panels)(real *panels, int64_t panel, const struct matrix *m, int64_t first,
                       int64_t n);
/* The transpose of a panel matrix (rows, columns) as a panel matrix with `columns` rows, rounded up
 * to LANES, whose panels lie `to_panel` apart. Columns behind the last are 0 up to the next vector.
 */
void NAME(transpose_panels)(real *to, int64_t to_panel, const real *from, int64_t rows,
                            int64_t columns);

/* Hands out pieces of a scratch buffer; with base NULL it only counts. Pieces start at 64 bytes and
 * have a vector to spare before and behind. */
struct carve {
    char *base;
    size_t used;
};
ALWAYS_INLINE void *carve(struct carve *c, int64_t bytes)
{
    size_t at = c->used + 64;
    c->used = at + (((size_t)bytes + 63) & ~(size_t)63) + 64;
    return c->base ? c->base + at : NULL;
}
#define CARVE(c, type, n) ((type *)carve(c, (int64_t)sizeof(type) * (n)))
#endif

/* gemm.h - matrix products on matrices in panels: what every product of the CPU backend stands on,
 * so that no shape falls off a cliff.
 *
 * A panel matrix (rows, columns) is cut into panels of PANEL columns; element (r,c) lies at
 * [c / PANEL][r][c % PANEL]. A panel is two vectors wide: a kernel keeps BLOCK_ROWS x PANEL
 * elements of the result in registers, loads a row of two vectors of B, and multiplies it with one
 * number of A after the other.
 *
 * Operands are words (word.h). Where a word is two numbers, what follows each other along the depth
 * shares one, so that a panel matrix has two forms: "plain", as above, whose words run along a row,
 * and "paired", [c / PANEL][r / 2][c % PANEL][r % 2], whose words run down a column; an odd last
 * row has zeros for company. Where a word is one number the two are the same. */
#ifndef CORE_CPU_ISA_GEMM_H
#define CORE_CPU_ISA_GEMM_H
#include "word.h"

#define PANEL       (2 * LANES)
#define PANEL_WORDS (PANEL / PER_WORD) /* in a row of a panel */
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
/* A matrix of operands in both forms; one that nobody wants is NULL. Panels are as far apart as the
 * number of rows makes them. */
struct panels {
    word *plain, *paired;
};

/* C = A B, or C += A B, where C is (rows, columns). */
struct product {
    int64_t rows, columns, depth; /* depth in words */
    /* A plain panel matrix (rows, depth), or when a_turned a paired one (depth, rows): A is its
     * transpose. Its panels lie a_panel words apart. */
    const word *a;
    int64_t a_panel;
    int a_turned;
    /* Paired panels (depth, PANEL) lie b_panel words apart, their rows b_stride. Whole vectors are
     * loaded: what lies behind the last column is read and never shows in the result. */
    const word *b;
    int64_t b_stride, b_panel;
    real *c; /* the same for C, in reals */
    int64_t c_stride, c_panel;
    struct panels to; /* C as operands, where c is NULL */
    int exact;        /* nothing is written behind the last column */
    int add;          /* C += */
    /* What is done to C on the way, in this order; NULL and 0: nothing. */
    const real *border;  /* (kinds, rows, LANES): C[r] += the vector of its kind, if not kind 0 */
    const real *scale;   /* C[r][...] *= scale[r] */
    const real *bias;    /* C[r][...] += bias[r] */
    int relu;            /* C = max(C, 0) */
    const word *mask;    /* C = 0 where mask <= 0: plain panels (rows, columns) */
    real *sums;          /* (kinds, rows, LANES): sums[r] += vectors of C[r]; not with exact */
    const int8_t *kinds; /* of the vectors in a row of C; NULL: all are of kind 0 */
    struct ahead *ahead; /* what to ask for on the way; NULL: nothing */
    struct pool *pool;   /* threads that share the rows; NULL: the caller alone */
};

void NAME(product)(const struct product *);

/* Words in a panel with that many rows, plain and paired, and in a whole matrix. */
ALWAYS_INLINE int64_t plain_panel(int64_t rows) { return rows * PANEL_WORDS; }
ALWAYS_INLINE int64_t paired_panel(int64_t rows) { return divide_up(rows, PER_WORD) * PANEL; }
ALWAYS_INLINE int64_t panels_words(int64_t rows, int64_t columns)
{
    return divide_up(columns, PANEL) * paired_panel(rows);
}
/* Both forms in one place where they are the same; else each where it may be. */
ALWAYS_INLINE struct panels panels_of(word *plain, word *paired)
{
    if (PER_WORD == 1)
        return plain ? (struct panels){ plain, plain } : (struct panels){ paired, paired };
    return (struct panels){ plain, paired };
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

/* Rows first .. first+n-1 of m into a panel matrix of reals whose panels lie `panel` elements
 * apart.
 */
void NAME(pack_panels)(real *panels, int64_t panel, const struct matrix *m, int64_t first,
                       int64_t n);
/* The transpose of a plain panel matrix (rows, columns) as a paired one with `columns` rows,
 * rounded up to vectors, whose panels lie `to_panel` words apart, by the threads of a pool or NULL.
 * Columns behind the last are 0 up to the next vector. */
void NAME(transpose_panels)(struct pool *, word *to, int64_t to_panel, const word *from,
                            int64_t rows, int64_t columns);
#ifdef BF16
/* n panels of reals with `rows` rows, in memory for `room` rows each, as operands. */
void NAME(round_panels)(const struct panels *to, const real *from, int64_t rows, int64_t room,
                        int64_t n);
#endif

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
/* Room for the forms of a panel matrix, in words; 0: unwanted. */
ALWAYS_INLINE struct panels carve_panels(struct carve *c, int64_t plain, int64_t paired)
{
    if (PER_WORD == 1) return panels_of(CARVE(c, word, max_int(plain, paired)), NULL);
    return (struct panels){ plain ? CARVE(c, word, plain) : NULL,
                            paired ? CARVE(c, word, paired) : NULL };
}
#endif

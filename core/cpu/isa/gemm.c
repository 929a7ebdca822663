/* gemm.c - the register-blocked kernels and the loops around them. For each number of rows up to
 * BLOCK_ROWS, one or two vectors of columns, and both forms of A there is a kernel of its own,
 * because only constant bounds let the compiler keep the sums in registers. */
#include <string.h>
#include "gemm.h"

#if defined(__clang__)
#define UNROLL _Pragma("clang loop unroll(full)")
#else
#define UNROLL _Pragma("GCC unroll 16")
#endif

/* Depths beyond this are cut, so that a panel of B and a block of A stay near the processor. */
#define DEPTH_BLOCK 1024

enum { A_BLOCKS, A_PANELS };

/* One block of rows times one panel of columns. */
struct tile_product {
    int64_t depth;
    const real *a, *b;
    int64_t a_panel, b_stride;
    real *c;
    int64_t c_stride;
    int add, relu;
    const real *bias, *mask;
    real *sums;
};

ALWAYS_INLINE void multiply_add(const int rows, const int vectors, vec sum[BLOCK_ROWS][2],
                                const real *a, int64_t a_stride, const real *b)
{
    vec row[2];
    UNROLL for (int v = 0; v < vectors; v++) row[v] = vec_load(b + v * LANES);
    UNROLL for (int r = 0; r < rows; r++)
    {
        vec x = vec_splat(a[r * a_stride]);
        UNROLL for (int v = 0; v < vectors; v++) sum[r][v] += x * row[v];
    }
}

/* C row by row: one pointer that moves on costs less than an address for each row. */
ALWAYS_INLINE void finish(const int rows, const int vectors, vec sum[BLOCK_ROWS][2],
                          const struct tile_product *p)
{
    const int64_t stride = p->c_stride;
    const real *mask = p->mask;
    real *c = p->c, *sums = p->sums;
    UNROLL for (int r = 0; r < rows; r++)
    {
        UNROLL for (int v = 0; v < vectors; v++)
        {
            vec x = sum[r][v];
            if (p->add) x += vec_load(c + v * LANES);
            /* Not max(x, 0), which would swallow NaN. */
            if (p->relu) x = (vec)((vec_int)x & ~(vec_int)(x < vec_splat(0)));
            if (mask) x = (vec)((vec_int)x & (vec_int)(vec_load(mask + v * LANES) > vec_splat(0)));
            vec_store(c + v * LANES, x);
            sum[r][v] = x;
        }
        c += stride;
        if (mask) mask += stride;
    }
    if (!sums) return;
    UNROLL for (int r = 0; r < rows; r++)
    {
        const vec total = vectors == 2 ? sum[r][0] + sum[r][1] : sum[r][0];
        vec_store(sums + r * LANES, vec_load(sums + r * LANES) + total);
    }
}

ALWAYS_INLINE void kernel(const int rows, const int vectors, const int form,
                          const struct tile_product *p)
{
    vec sum[BLOCK_ROWS][2];
    const real *a = p->a, *b = p->b;
    const int64_t depth = p->depth, b_stride = p->b_stride;

    if (p->add) {
        const real *c = p->c;
        for (int r = 0; r < rows; r++, c += p->c_stride) {
            __builtin_prefetch(c, 1);
            if (vectors == 2) __builtin_prefetch(c + LANES, 1);
        }
    }
    UNROLL for (int r = 0; r < rows; r++)
    {
        sum[r][0] = vec_splat(p->bias ? p->bias[r] : 0);
        if (vectors == 2) sum[r][1] = sum[r][0];
    }
    if (form == A_BLOCKS) {
        for (int64_t k = 0; k < depth; k++, a += rows, b += b_stride)
            multiply_add(rows, vectors, sum, a, 1, b);
    } else {
        for (int64_t left = depth; left > 0; left -= PANEL, a += p->a_panel) {
            const int64_t n = min_int(left, PANEL);
            for (int64_t k = 0; k < n; k++, b += b_stride)
                multiply_add(rows, vectors, sum, a + k, PANEL, b);
        }
    }
    finish(rows, vectors, sum, p);
}

#if BLOCK_ROWS == 14
#define FOR_EACH_ROWS(X, form, vectors)                                                            \
    X(form, vectors, 1)                                                                            \
    X(form, vectors, 2)                                                                            \
    X(form, vectors, 3)                                                                            \
    X(form, vectors, 4)                                                                            \
    X(form, vectors, 5)                                                                            \
    X(form, vectors, 6)                                                                            \
    X(form, vectors, 7)                                                                            \
    X(form, vectors, 8)                                                                            \
    X(form, vectors, 9)                                                                            \
    X(form, vectors, 10)                                                                           \
    X(form, vectors, 11) X(form, vectors, 12) X(form, vectors, 13) X(form, vectors, 14)
#else
#define FOR_EACH_ROWS(X, form, vectors)                                                            \
    X(form, vectors, 1)                                                                            \
    X(form, vectors, 2)                                                                            \
    X(form, vectors, 3) X(form, vectors, 4) X(form, vectors, 5) X(form, vectors, 6)
#endif
#define FOR_EACH_KERNEL(X)                                                                         \
    FOR_EACH_ROWS(X, A_BLOCKS, 1)                                                                  \
    FOR_EACH_ROWS(X, A_BLOCKS, 2)                                                                  \
    FOR_EACH_ROWS(X, A_PANELS, 1)                                                                  \
    FOR_EACH_ROWS(X, A_PANELS, 2)

#define DEFINE(form, vectors, rows)                                                                \
    static void kernel_##form##_##vectors##_##rows(const struct tile_product *p)                   \
    {                                                                                              \
        kernel(rows, vectors, form, p);                                                            \
    }
#define ENTER(form, vectors, rows) [form][vectors - 1][rows] = kernel_##form##_##vectors##_##rows,

FOR_EACH_KERNEL(DEFINE)
static void (*const kernels[2][2][BLOCK_ROWS + 1])(const struct tile_product *) = {
    FOR_EACH_KERNEL(ENTER)
};

/* The last panel of a C that must not be written beyond its columns goes by a detour. */
static void run_exact(int form, int vectors, int rows, int64_t columns, struct tile_product *p)
{
    real detour[BLOCK_ROWS * PANEL];
    real *c = p->c;
    const int64_t stride = p->c_stride;
    const size_t bytes = (size_t)columns * sizeof(real);
    if (p->add)
        for (int r = 0; r < rows; r++) memcpy(detour + r * PANEL, c + r * stride, bytes);
    p->c = detour;
    p->c_stride = PANEL;
    kernels[form][vectors - 1][rows](p);
    for (int r = 0; r < rows; r++) memcpy(c + r * stride, detour + r * PANEL, bytes);
}

/* A block of rows times panel `panel`, at depth first .. first+depth-1. */
static void run_tile(const struct product *p, int64_t row, int64_t rows, int64_t panel,
                     int64_t first, int64_t depth)
{
    const int64_t columns = min_int(PANEL, p->columns - panel * PANEL);
    const int vectors = columns > LANES ? 2 : 1;
    const int form = p->a_panel ? A_PANELS : A_BLOCKS;
    const int64_t c_at = row * p->c_stride + panel * p->c_panel;
    const int last = first + depth == p->depth;
    struct tile_product t = {
        .depth = depth,
        .a = form == A_BLOCKS ? p->a + row * p->depth + first * rows
                              : p->a + first / PANEL * p->a_panel + row * PANEL,
        .a_panel = p->a_panel,
        .b = p->b + panel * p->b_panel + first * p->b_stride,
        .b_stride = p->b_stride,
        .c = p->c + c_at,
        .c_stride = p->c_stride,
        .add = p->add || first > 0,
        .bias = p->bias && first == 0 ? p->bias + row : NULL,
        .relu = last && p->relu,
        .mask = last && p->mask ? p->mask + c_at : NULL,
        .sums = last && p->sums ? p->sums + row * LANES : NULL,
    };
    if (p->exact && columns < vectors * LANES)
        run_exact(form, vectors, (int)rows, columns, &t);
    else
        kernels[form][vectors - 1][rows](&t);
}

/* Cache lines on their way from memory to the second-level cache, some before each tile. */
struct ahead {
    const char *at, *end;
    int64_t step;
};
static struct ahead look_ahead(const struct product *p, int64_t tiles)
{
    const char *at = p->ahead;
    return (struct ahead){ at, at ? at + p->ahead_bytes : at, divide_up(p->ahead_bytes, tiles) };
}
ALWAYS_INLINE void fetch(struct ahead *a)
{
    const char *stop = a->end - a->at > a->step ? a->at + a->step : a->end;
    for (; a->at < stop; a->at += 64) __builtin_prefetch(a->at, 0, 2);
}

/* A in blocks is a matrix of weights: each block is read once, and the panels of B come out of the
 * second-level cache. Where C grows (the gradient of weights) its panels are walked one by one. */
void NAME(product)(const struct product *p)
{
    const int64_t blocks = block_count(p->rows), panels = divide_up(p->columns, PANEL);
    const int64_t short_block = p->rows / blocks, longer = p->rows % blocks;
    struct ahead ahead = look_ahead(p, blocks * panels);
    for (int64_t first = 0; first < p->depth; first += DEPTH_BLOCK) {
        const int64_t depth = min_int(DEPTH_BLOCK, p->depth - first);
        const int64_t outer = p->add ? panels : 1, inner = p->add ? 1 : panels;
        for (int64_t i = 0; i < outer; i++)
            for (int64_t block = 0, row = 0; block < blocks; block++) {
                const int64_t rows = short_block + (block < longer);
                for (int64_t j = 0; j < inner; j++) {
                    fetch(&ahead);
                    run_tile(p, row, rows, i + j, first, depth);
                }
                row += rows;
            }
    }
}

/* gemm.c - the register-blocked kernels and the loops around them. For each number of rows up to
 * BLOCK_ROWS, one or two vectors of columns, and both forms of A there is a kernel of its own,
 * because only constant bounds let the compiler keep the sums in registers. */
#include <string.h>
#include "gemm.h"
#include "../pool.h"

#if defined(__clang__)
#define UNROLL _Pragma("clang loop unroll(full)")
#else
#define UNROLL _Pragma("GCC unroll 16")
#endif

/* Words; depths beyond this are cut, so that a panel of B and a block of A stay near the processor,
 * unless there is no place for the sums so far. */
#define DEPTH_BLOCK 1024

/* Multiply-adds in words that are worth a thread's while. */
#define SHARED_WORK (1 << 17)

enum { A_PANELS, A_TURNED };

/* One block of rows times one panel of columns. Pointers are those of row 0, but c. */
struct tile_product {
    int64_t row, depth;
    const word *a, *b;
    int64_t a_panel, b_stride;
    real *c;
    int64_t c_stride;
    struct panels to;
    int add, relu;
    const real *scale, *bias;
    const word *mask;
    const real *border[2]; /* of each vector */
    real *sums[2];
    const char *ahead; /* asked for, ahead_step bytes in each piece of the depth */
    int64_t ahead_step;
    int ahead_write;
};

ALWAYS_INLINE void multiply_add(const int rows, const int vectors, vec sum[BLOCK_ROWS][2],
                                const word *a, const int a_stride, const word *b)
{
    vec_word row[2];
    UNROLL for (int v = 0; v < vectors; v++) row[v] = word_load(b + v * LANES);
    UNROLL for (int r = 0; r < rows; r++)
    {
        const vec_word x = word_splat(a[r * a_stride]);
        UNROLL for (int v = 0; v < vectors; v++) sum[r][v] =
            word_multiply_add(sum[r][v], x, row[v]);
    }
}

#ifdef BF16
ALWAYS_INLINE vec mask_load(const word *mask, int v) { return word_load_row(mask, v); }

ALWAYS_INLINE void store_operands(const int rows, const int vectors, vec sum[BLOCK_ROWS][2],
                                  const struct panels *to, int64_t row)
{
    word *plain = to->plain ? to->plain + row * PANEL_WORDS : NULL;
    word *paired = to->paired ? to->paired + row / 2 * PANEL : NULL;
    if (plain)
        UNROLL for (int r = 0; r < rows; r++)
            word_store_row(plain + r * PANEL_WORDS, sum[r], vectors);
    if (paired) UNROLL for (int r = 0; r < rows; r += 2) UNROLL for (int v = 0; v < vectors; v++)
        {
            const vec second = r + 1 < rows ? sum[r + 1][v] : vec_splat(0);
            word_store(paired + r / 2 * PANEL + v * LANES, word_pair(sum[r][v], second));
        }
}
#else
ALWAYS_INLINE vec mask_load(const word *mask, int v) { return vec_load(mask + v * LANES); }
#endif

#define FOR_EACH_SUM UNROLL for (int r = 0; r < rows; r++) UNROLL for (int v = 0; v < vectors; v++)

ALWAYS_INLINE vec keep_if(vec_int mask, vec x) { return (vec)((vec_int)x & mask); }

/* Bias, activation, and the like. */
ALWAYS_INLINE void transform(const int rows, const int vectors, vec sum[BLOCK_ROWS][2],
                             const struct tile_product *p)
{
    const real *scale = p->scale ? p->scale + p->row : NULL;
    const real *bias = p->bias ? p->bias + p->row : NULL;
    const word *mask = p->mask ? p->mask + p->row * PANEL_WORDS : NULL;
    UNROLL for (int v = 0; v < vectors; v++)
    {
        const real *border = p->border[v] ? p->border[v] + p->row * LANES : NULL;
        if (border) UNROLL for (int r = 0; r < rows; r++) sum[r][v] += vec_load(border + r * LANES);
    }
    if (scale) FOR_EACH_SUM sum[r][v] *= vec_splat(scale[r]);
    if (bias) FOR_EACH_SUM sum[r][v] += vec_splat(bias[r]);
    /* Not max(x, 0), which would swallow NaN. */
    if (p->relu) FOR_EACH_SUM sum[r][v] = keep_if(~(sum[r][v] < vec_splat(0)), sum[r][v]);
    if (mask)
        FOR_EACH_SUM sum[r][v] =
            keep_if(mask_load(mask + r * PANEL_WORDS, v) > vec_splat(0), sum[r][v]);
}

/* C row by row: one pointer that moves on costs less than an address for each row. */
ALWAYS_INLINE void finish(const int rows, const int vectors, vec sum[BLOCK_ROWS][2],
                          const struct tile_product *p)
{
    if (p->add) {
        const real *c = p->c;
        UNROLL for (int r = 0; r < rows; r++, c += p->c_stride)
            UNROLL for (int v = 0; v < vectors; v++) sum[r][v] += vec_load(c + v * LANES);
    }
    transform(rows, vectors, sum, p);
    if (PER_WORD == 1 || p->c) {
        real *c = p->c;
        UNROLL for (int r = 0; r < rows; r++, c += p->c_stride)
            UNROLL for (int v = 0; v < vectors; v++) vec_store(c + v * LANES, sum[r][v]);
    }
#ifdef BF16
    if (!p->c) store_operands(rows, vectors, sum, &p->to, p->row);
#endif
    if (!p->sums[0]) return;
    const int together = vectors == 2 && p->sums[0] == p->sums[1];
    real *sums = p->sums[0] + p->row * LANES;
    UNROLL for (int r = 0; r < rows; r++)
    {
        const vec total = together ? sum[r][0] + sum[r][1] : sum[r][0];
        vec_store(sums + r * LANES, vec_load(sums + r * LANES) + total);
    }
    if (vectors == 1 || together) return;
    sums = p->sums[1] + p->row * LANES;
    UNROLL for (int r = 0; r < rows; r++)
        vec_store(sums + r * LANES, vec_load(sums + r * LANES) + sum[r][1]);
}

ALWAYS_INLINE void kernel(const int rows, const int vectors, const int form,
                          const struct tile_product *p)
{
    vec sum[BLOCK_ROWS][2];
    const word *a = p->a, *b = p->b;
    const int64_t depth = p->depth, b_stride = p->b_stride;
    a += form == A_TURNED ? p->row / PANEL * p->a_panel + p->row % PANEL : p->row * PANEL_WORDS;
    const char *ahead = p->ahead;

    if (p->add) {
        const real *c = p->c;
        for (int r = 0; r < rows; r++, c += p->c_stride) {
            __builtin_prefetch(c, 1);
            if (vectors == 2) __builtin_prefetch(c + LANES, 1);
        }
    }
    UNROLL for (int r = 0; r < rows; r++) sum[r][0] = sum[r][1] = vec_splat(0);
    /* In pieces of a panel's depth, each of which asks for some memory. */
    for (int64_t left = depth; left > 0; left -= PANEL_WORDS) {
        const int64_t n = min_int(left, PANEL_WORDS);
        if (p->ahead_write)
            for (const char *end = ahead + p->ahead_step; ahead < end; ahead += 64)
                __builtin_prefetch(ahead, 1, 2);
        else
            for (const char *end = ahead + p->ahead_step; ahead < end; ahead += 64)
                __builtin_prefetch(ahead, 0, 2);
        if (form == A_TURNED) {
            for (int64_t k = 0; k < n; k++, a += PANEL, b += b_stride)
                multiply_add(rows, vectors, sum, a, 1, b);
        } else {
            for (int64_t k = 0; k < n; k++, b += b_stride)
                multiply_add(rows, vectors, sum, a + k, PANEL_WORDS, b);
            a += p->a_panel;
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
    FOR_EACH_ROWS(X, A_PANELS, 1)                                                                  \
    FOR_EACH_ROWS(X, A_PANELS, 2)                                                                  \
    FOR_EACH_ROWS(X, A_TURNED, 1)                                                                  \
    FOR_EACH_ROWS(X, A_TURNED, 2)

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
static void run_exact(int form, int vectors, int rows, int64_t columns,
                      const struct tile_product *p)
{
    real detour[BLOCK_ROWS * PANEL], *c = p->c;
    const size_t bytes = (size_t)columns * sizeof(real);
    struct tile_product there = *p;
    there.c = detour;
    there.c_stride = PANEL;
    for (int r = 0; r < rows && p->add; r++) memcpy(detour + r * PANEL, c + r * p->c_stride, bytes);
    kernels[form][vectors - 1][rows](&there);
    for (int r = 0; r < rows; r++) memcpy(c + r * p->c_stride, detour + r * PANEL, bytes);
}

/* Memory asked for in each piece of each block. */
static void look_ahead(const struct product *p, struct tile_product *t)
{
    struct ahead *a = p->ahead;
    t->ahead_step = 0;
    if (!a || a->bytes <= 0) return;
    const int64_t work = p->rows * p->columns * p->depth * PER_WORD;
    const int64_t blocks = divide_up(p->rows, BLOCK_ROWS) * divide_up(p->columns, PANEL);
    const int64_t share = work < a->work ? (int64_t)((double)a->bytes * work / a->work) : a->bytes;
    t->ahead_step = divide_up(share, 64 * blocks * divide_up(p->depth, PANEL_WORDS)) * 64;
    t->ahead_write = a->to_write;
    a->work -= work;
}

/* The next block asks for memory from here on. */
ALWAYS_INLINE void move_ahead(struct ahead *a, struct tile_product *t)
{
    const int64_t bytes = t->ahead_step * divide_up(t->depth, PANEL_WORDS);
    if (a->now < a->n && a->region[a->now].at >= a->region[a->now].end) a->now++;
    if (a->now == a->n) {
        t->ahead_step = 0;
        return;
    }
    t->ahead = a->region[a->now].at;
    a->region[a->now].at += bytes;
    a->bytes -= bytes;
}

/* Panel `panel` at depth first .. first+t->depth-1. */
static void set_panel(const struct product *p, struct tile_product *t, int64_t panel, int64_t first,
                      int vectors)
{
    const int is_last = first + t->depth == p->depth;
    const int64_t plain_at = panel * plain_panel(p->rows);
    t->a = p->a + (p->a_turned ? first * PANEL : first / PANEL_WORDS * p->a_panel);
    t->b = p->b + panel * p->b_panel + first * p->b_stride;
    t->to.plain = p->to.plain ? p->to.plain + plain_at : NULL;
    t->to.paired = p->to.paired ? p->to.paired + panel * paired_panel(p->rows) : NULL;
    if (!is_last) return;
    t->scale = p->scale;
    t->bias = p->bias;
    t->relu = p->relu;
    t->mask = p->mask ? p->mask + plain_at : NULL;
    for (int v = 0; v < vectors; v++) {
        const int64_t kind = p->kinds ? p->kinds[2 * panel + v] : 0, at = kind * p->rows * LANES;
        t->border[v] = p->border && kind > 0 ? p->border + at : NULL;
        t->sums[v] = p->sums ? p->sums + at : NULL;
    }
}

/* Rows begin .. end-1 of C. */
struct rows {
    int64_t begin, end;
};

/* Rows go in blocks of at most BLOCK_ROWS, as equal as can be where words stay whole. */
struct blocks {
    int64_t rows, n, words, longer; /* so many have one word more */
};
static struct blocks blocks_of(int64_t rows)
{
    const int64_t n = divide_up(rows, BLOCK_ROWS), words = divide_up(rows, PER_WORD);
    return (struct blocks){ rows, n, words / n, words % n };
}

/* All blocks of rows times one panel, region by region: a turned A has all rows of a block in one
 * panel. */
static void run_panel(const struct product *p, struct tile_product *t, struct rows of,
                      int64_t panel, int64_t first)
{
    const int64_t columns = min_int(PANEL, p->columns - panel * PANEL);
    const int vectors = columns > LANES ? 2 : 1, form = p->a_turned ? A_TURNED : A_PANELS;
    const int is_exact = p->exact && columns < vectors * LANES;
    const int64_t region = p->a_turned ? PANEL : of.end - of.begin;
    struct blocks blocks = blocks_of(min_int(region, of.end - of.begin));
    set_panel(p, t, panel, first, vectors);
    for (int64_t start = of.begin; start < of.end; start += region) {
        const int64_t end = min_int(of.end, start + region);
        if (end - start != blocks.rows) blocks = blocks_of(end - start);
        t->row = start;
        for (int64_t block = 0, rows; block < blocks.n; block++, t->row += rows) {
            rows = min_int((blocks.words + (block < blocks.longer)) * PER_WORD, end - t->row);
            if (p->c) t->c = p->c + panel * p->c_panel + t->row * p->c_stride;
            if (t->ahead_step > 0) move_ahead(p->ahead, t);
            if (is_exact)
                run_exact(form, vectors, (int)rows, columns, t);
            else
                kernels[form][vectors - 1][rows](t);
        }
    }
}

/* Panels of B and C are walked one by one: a panel of B stays near the processor while the blocks
 * of A, which are narrower, come from the second-level cache. */
static void run_rows(const struct product *p, struct rows of)
{
    struct tile_product t = { .a_panel = p->a_panel, .b_stride = p->b_stride };
    const int64_t deepest = p->c ? DEPTH_BLOCK : p->depth;
    look_ahead(p, &t);
    for (int64_t first = 0; first < p->depth; first += deepest) {
        t.depth = min_int(deepest, p->depth - first);
        t.c_stride = p->c_stride;
        t.add = p->add || first > 0;
        for (int64_t panel = 0; panel * PANEL < p->columns; panel++)
            run_panel(p, &t, of, panel, first);
    }
}

/* Some panels of rows. Each number of C is computed as it is by one thread alone. */
static void run_part(void *arg, int64_t first, int64_t end)
{
    const struct product *p = arg;
    const struct rows of = { first * PANEL, min_int(p->rows, end * PANEL) };
    struct product part = *p;
    if (of.end - of.begin < p->rows) part.ahead = NULL; /* what it counts belongs to one thread */
    run_rows(&part, of);
}

void NAME(product)(const struct product *p)
{
    const int64_t work = PANEL * p->columns * p->depth, least = divide_up(SHARED_WORK, work);
    if (p->pool)
        pool_share(p->pool, divide_up(p->rows, PANEL), least, run_part, (void *)(uintptr_t)p);
    else
        run_rows(p, (struct rows){ 0, p->rows });
}

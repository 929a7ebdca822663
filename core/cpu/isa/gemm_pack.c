/* gemm_pack.c - matrices into the order in which the kernels of gemm.c read them. Tensors are read
 * in whole vectors, which may reach into the margin behind them. */
#include "gemm.h"

/* The first and second half of a and b interleaved: a0 b0 a1 b1 ... */
#define LANE_COUNT (VEC_BYTES * 8 / REAL_BITS) /* LANES, for the preprocessor */
#if LANE_COUNT == 16
#define LOW_HALF  0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23
#define HIGH_HALF 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31
#elif LANE_COUNT == 8
#define LOW_HALF  0, 8, 1, 9, 2, 10, 3, 11
#define HIGH_HALF 4, 12, 5, 13, 6, 14, 7, 15
#elif LANE_COUNT == 4
#define LOW_HALF  0, 4, 1, 5
#define HIGH_HALF 2, 6, 3, 7
#else
#define LOW_HALF  0, 2
#define HIGH_HALF 1, 3
#endif
#if defined(__clang__)
#define SHUFFLE(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#define UNROLL             _Pragma("clang loop unroll(full)")
#else
#define SHUFFLE(a, b, ...) __builtin_shuffle(a, b, (vec_int){ __VA_ARGS__ })
#define UNROLL             _Pragma("GCC unroll 16")
#endif

/* Transposes LANES x LANES numbers. The number of a row and the lane in it are one index;
 * interleaving row i with row i + LANES/2 turns that index by one bit, and after log2(LANES) turns
 * they have changed places. */
ALWAYS_INLINE void transpose(vec x[LANES])
{
    vec y[LANES];
    for (int turn = 1; turn < LANES; turn *= 2) {
        UNROLL for (int i = 0; i < LANES / 2; i++)
        {
            y[2 * i] = SHUFFLE(x[i], x[i + LANES / 2], LOW_HALF);
            y[2 * i + 1] = SHUFFLE(x[i], x[i + LANES / 2], HIGH_HALF);
        }
        UNROLL for (int i = 0; i < LANES; i++) x[i] = y[i];
    }
}

void NAME(transpose_panels)(real *to, int64_t to_panel, const real *from, int64_t rows,
                            int64_t columns)
{
    for (int64_t r = 0; r < rows; r += LANES) {
        real *out = to + r / PANEL * to_panel + r % PANEL;
        for (int64_t c = 0; c < columns; c += LANES) {
            const real *in = from + c / PANEL * rows * PANEL + r * PANEL + c % PANEL;
            vec x[LANES];
            if (r + LANES <= rows) {
                UNROLL for (int i = 0; i < LANES; i++) x[i] = vec_load(in + i * PANEL);
            } else {
                for (int i = 0; i < LANES; i++)
                    x[i] = i < rows - r ? vec_load(in + i * PANEL) : vec_splat(0);
            }
            transpose(x);
            UNROLL for (int i = 0; i < LANES; i++) vec_store(out + (c + i) * PANEL, x[i]);
        }
    }
}

ALWAYS_INLINE const real *row_of(const struct matrix *m, int64_t r)
{
    return m->data + r / m->group * m->group_stride + r % m->group * m->row_stride;
}
ALWAYS_INLINE real scale_of(const struct matrix *m, int64_t r)
{
    return m->scale ? m->scale[r / m->group] : 1;
}
/* Rows that lie beside each other are read as vectors and transposed. */
ALWAYS_INLINE int is_turned(const struct matrix *m)
{
    return m->group > 1 && m->row_stride == 1 && m->column_stride != 1;
}
/* How many of the rows from r on, up to LANES of them and to `end`, lie beside each other. */
ALWAYS_INLINE int64_t run_of(const struct matrix *m, int64_t r, int64_t end)
{
    return min_int(LANES, min_int(end, (r / m->group + 1) * m->group) - r);
}

/* x[i] = columns c .. c+LANES-1 (0 behind the last) of row r + i, times scale. */
ALWAYS_INLINE void load_turned(vec x[LANES], const struct matrix *m, int64_t r, int64_t c,
                               int64_t n)
{
    const real *in = row_of(m, r) + c * m->column_stride, scale = scale_of(m, r);
    for (int64_t i = 0; i < LANES; i++)
        x[i] = i < n ? vec_load(in + i * m->column_stride) * scale : vec_splat(0);
    transpose(x);
}

static void pack_panels_turned(real *panels, int64_t panel, const struct matrix *m, int64_t first,
                               int64_t end)
{
    vec x[LANES];
    for (int64_t r = first, n; r < end; r += n) {
        n = run_of(m, r, end);
        for (int64_t c = 0; c < m->columns; c += LANES) {
            real *out = panels + c / PANEL * panel + r * PANEL + c % PANEL;
            load_turned(x, m, r, c, min_int(LANES, m->columns - c));
            for (int64_t i = 0; i < n; i++) vec_store(out + i * PANEL, x[i]);
        }
    }
}

void NAME(pack_panels)(real *panels, int64_t panel, const struct matrix *m, int64_t first,
                       int64_t n)
{
    if (is_turned(m)) {
        pack_panels_turned(panels, panel, m, first, first + n);
        return;
    }
    for (int64_t r = first; r < first + n; r++) {
        const real *in = row_of(m, r), scale = scale_of(m, r);
        for (int64_t c = 0; c < m->columns; c += PANEL) {
            const int64_t width = min_int(PANEL, m->columns - c), step = m->column_stride;
            real *out = panels + c / PANEL * panel + r * PANEL;
            if (step == 1) { /* whole vectors: what lies behind the last column is never used */
                vec_store(out, vec_load(in + c) * scale);
                if (width > LANES) vec_store(out + LANES, vec_load(in + c + LANES) * scale);
            } else {
                for (int64_t i = 0; i < width; i++) out[i] = in[(c + i) * step] * scale;
            }
        }
    }
}

/* The first n lanes. */
ALWAYS_INLINE void store_part(real *to, vec x, int64_t n)
{
    real all[LANES];
    vec_store(all, x);
    for (int64_t i = 0; i < n; i++) to[i] = all[i];
}

/* A block is packed with whole vectors, whose ends are overwritten by what comes next. So a row's
 * last vector goes first where several rows are at hand, and only the end of the block needs care.
 */
static void pack_block_turned(real *out, const struct matrix *m, int64_t column, int64_t width)
{
    vec x[LANES];
    for (int64_t r = 0, n; r < m->rows; r += n) {
        n = run_of(m, r, m->rows);
        for (int64_t at = (width - 1) / LANES * LANES; at >= 0; at -= LANES) {
            const int64_t columns = min_int(LANES, width - at);
            load_turned(x, m, r, column + at, columns);
            for (int64_t i = 0; i < n; i++) {
                real *to = out + (r + i) * width + at;
                if (r + i < m->rows - 1)
                    vec_store(to, x[i]);
                else
                    store_part(to, x[i], columns);
            }
        }
    }
}

void NAME(pack_blocks)(real *blocks, const struct matrix *m, int64_t block)
{
    const int64_t column = block_first(m->columns, block);
    const int64_t width = block_first(m->columns, block + 1) - column;
    real *out = blocks + column * m->rows;
    if (is_turned(m)) {
        pack_block_turned(out, m, column, width);
        return;
    }
    for (int64_t r = 0; r < m->rows; r++, out += width) {
        const real *in = row_of(m, r) + column * m->column_stride, scale = scale_of(m, r);
        if (m->column_stride == 1 && r < m->rows - 1)
            for (int64_t i = 0; i < width; i += LANES) vec_store(out + i, vec_load(in + i) * scale);
        else
            for (int64_t i = 0; i < width; i++) out[i] = in[i * m->column_stride] * scale;
    }
}

void NAME(unpack_taps)(real *to, const real *panels, int64_t panel, int64_t row, int64_t taps,
                       int64_t columns)
{
    vec x[LANES];
    for (int64_t c = 0; c < columns; c += LANES)
        for (int64_t tap = (taps - 1) / LANES * LANES; tap >= 0; tap -= LANES) {
            const real *in = panels + c / PANEL * panel + (row + tap) * PANEL + c % PANEL;
            for (int64_t i = 0; i < LANES; i++)
                x[i] = tap + i < taps ? vec_load(in + i * PANEL) : vec_splat(0);
            transpose(x);
            for (int64_t i = 0; i < LANES && c + i < columns; i++)
                vec_store(to + (c + i) * taps + tap, x[i]);
        }
}

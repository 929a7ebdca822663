/* gemm_pack.c - matrices into the order in which the kernels of gemm.c read them. Tensors are read
 * in whole vectors, which may reach into the margin behind them. */
#include "gemm.h"
#include "../pool.h"

/* Words to transpose that are worth a thread's while. */
#define SHARED_WORDS (1 << 14)

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

/* LANES rows and words, of which n rows exist. */
ALWAYS_INLINE void transpose_block(word *to, const word *from, int64_t n)
{
    vec x[LANES];
    if (n >= LANES) {
        UNROLL for (int i = 0; i < LANES; i++) x[i] = (vec)word_load(from + i * PANEL_WORDS);
    } else {
        for (int i = 0; i < LANES; i++)
            x[i] = i < n ? (vec)word_load(from + i * PANEL_WORDS) : vec_splat(0);
    }
    transpose(x);
    UNROLL for (int i = 0; i < LANES; i++) word_store(to + i * PANEL, (vec_word)x[i]);
}

struct transposition {
    word *to;
    const word *from;
    int64_t to_panel, rows, words;
};

/* Panels first .. end-1 of what is read, in the order of memory, which may have to come from afar.
 */
static void transpose_part(void *arg, int64_t first, int64_t end)
{
    const struct transposition t = *(const struct transposition *)arg;
    const word *from = t.from + first * plain_panel(t.rows);
    for (int64_t c = first * PANEL_WORDS; c < end * PANEL_WORDS; c += PANEL_WORDS) {
        for (int64_t r = 0; r < t.rows; r += LANES)
            for (int64_t i = 0; i < PANEL_WORDS && c + i < t.words; i += LANES)
                transpose_block(t.to + r / PANEL * t.to_panel + r % PANEL + (c + i) * PANEL,
                                from + r * PANEL_WORDS + i, t.rows - r);
        from += plain_panel(t.rows);
    }
}

void NAME(transpose_panels)(struct pool *pool, word *to, int64_t to_panel, const word *from,
                            int64_t rows, int64_t columns)
{
    struct transposition t = { to, from, to_panel, rows, divide_up(columns, PER_WORD) };
    pool_share(pool, divide_up(t.words, PANEL_WORDS), divide_up(SHARED_WORDS, rows * PANEL_WORDS),
               transpose_part, &t);
}

#ifdef BF16
void NAME(round_panels)(const struct panels *to, const real *from, int64_t rows, int64_t room,
                        int64_t n)
{
    for (int64_t panel = 0; panel < n; panel++) {
        const real *in = from + panel * room * PANEL;
        word *plain = to->plain ? to->plain + panel * plain_panel(room) : NULL;
        word *paired = to->paired ? to->paired + panel * paired_panel(room) : NULL;
        for (int64_t r = 0; r < rows; r += 2, in += 2 * PANEL) {
            const int both = r + 1 < rows;
            const vec first[2] = { vec_load(in), vec_load(in + LANES) };
            const vec second[2] = { both ? vec_load(in + PANEL) : vec_splat(0),
                                    both ? vec_load(in + PANEL + LANES) : vec_splat(0) };
            if (plain) {
                word_store_row(plain + r * PANEL_WORDS, first, 2);
                if (both) word_store_row(plain + (r + 1) * PANEL_WORDS, second, 2);
            }
            if (!paired) continue;
            word_store(paired + r / 2 * PANEL, word_pair(first[0], second[0]));
            word_store(paired + r / 2 * PANEL + LANES, word_pair(first[1], second[1]));
        }
    }
}
#endif

/* x[i] = columns c .. c+n-1 (0 behind them) of rows r .. r+LANES-1, which lie beside each other. */
ALWAYS_INLINE void load_turned(vec x[LANES], const struct matrix *m, int64_t r, int64_t c,
                               int64_t n)
{
    const real *in = m->data + r + c * m->column_stride;
    for (int64_t i = 0; i < LANES; i++)
        x[i] = i < n ? vec_load(in + i * m->column_stride) : vec_splat(0);
    transpose(x);
}

static void pack_panels_turned(real *panels, int64_t panel, const struct matrix *m, int64_t first,
                               int64_t end)
{
    vec x[LANES];
    for (int64_t r = first; r < end; r += LANES) {
        const int64_t n = min_int(LANES, end - r);
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
    if (m->row_stride == 1 && m->column_stride != 1) {
        pack_panels_turned(panels, panel, m, first, first + n);
        return;
    }
    for (int64_t r = first; r < first + n; r++) {
        const real *in = m->data + r * m->row_stride;
        for (int64_t c = 0; c < m->columns; c += PANEL) {
            const int64_t width = min_int(PANEL, m->columns - c), step = m->column_stride;
            real *out = panels + c / PANEL * panel + r * PANEL;
            if (step == 1) { /* whole vectors: what lies behind the last column is never used */
                vec_store(out, vec_load(in + c));
                if (width > LANES) vec_store(out + LANES, vec_load(in + c + LANES));
            } else {
                for (int64_t i = 0; i < width; i++) out[i] = in[(c + i) * step];
            }
        }
    }
}

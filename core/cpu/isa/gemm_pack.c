/* gemm_pack.c - matrices into the order in which the kernels of gemm.c read them. Tensors are read
 * in whole vectors, which may reach into the margin behind them. */
#include "gemm.h"
#include "../pool.h"

/* Words to transpose that are worth a thread's while. */
#define SHARED_WORDS (1 << 14)

/* Shuffles of two vectors a and b, as numbers of lanes: 0 .. LANES-1 are those of a. A quarter is
 * 16 bytes, within which processors shuffle fastest.
 * - LOW and HIGH interleave the first, or the second, half of each quarter: a0 b0 a1 b1 ...
 * - EVEN and ODD take every other quarter of a, then of b. */
#define LANE_COUNT      (VEC_BYTES * 8 / REAL_BITS) /* LANES, for the preprocessor */
#define QUARTER         (128 / REAL_BITS)           /* lanes */
#define LOW(i)          ((i) % 2 * LANE_COUNT + (i) / QUARTER * QUARTER + (i) % QUARTER / 2)
#define HIGH(i)         (LOW(i) + QUARTER / 2)
#define EVEN(i)         ((i) / QUARTER * 2 * QUARTER + (i) % QUARTER)
#define ODD(i)          (EVEN(i) + QUARTER)
#define TWO(index, i)   index(i), index(i + 1)
#define FOUR(index, i)  TWO(index, i), TWO(index, i + 2)
#define EIGHT(index, i) FOUR(index, i), FOUR(index, i + 4)
#if LANE_COUNT == 16
#define ALL(index) EIGHT(index, 0), EIGHT(index, 8)
#elif LANE_COUNT == 8
#define ALL(index) EIGHT(index, 0)
#elif LANE_COUNT == 4
#define ALL(index) FOUR(index, 0)
#else
#define ALL(index) TWO(index, 0)
#endif
#if defined(__clang__)
#define SHUFFLE(a, b, index) __builtin_shufflevector(a, b, ALL(index))
#define UNROLL               _Pragma("clang loop unroll(full)")
#else
#define SHUFFLE(a, b, index) __builtin_shuffle(a, b, (vec_int){ ALL(index) })
#define UNROLL               _Pragma("GCC unroll 16")
#endif

/* Pairs of rows whose numbers differ in `bit` become two shuffles of the pair. */
#define SHUFFLE_ROWS(x, bit, first, second)                                                        \
    UNROLL for (int i = 0; i < LANES; i++)                                                         \
    {                                                                                              \
        const vec a = x[i & ~(bit)], b = x[i | (bit)];                                             \
        if (i & (bit)) continue;                                                                   \
        x[i] = SHUFFLE(a, b, first);                                                               \
        x[i | (bit)] = SHUFFLE(a, b, second);                                                      \
    }

/* Transposes LANES x LANES numbers, whose places are a row, a quarter in it and a lane in that.
 * LOW and HIGH of rows that differ in one bit of their number turn that bit and those of the lane
 * by one place: when each bit of the lane has had its turn, rows and lanes have changed places
 * within blocks of a quarter's size. EVEN and ODD do the same with the row's other bits and those
 * of the quarter. */
ALWAYS_INLINE void transpose(vec x[LANES])
{
#if QUARTER == 4
    SHUFFLE_ROWS(x, 2, LOW, HIGH)
#endif
    SHUFFLE_ROWS(x, 1, LOW, HIGH)
#if LANE_COUNT >= 2 * QUARTER
    SHUFFLE_ROWS(x, QUARTER, EVEN, ODD)
#endif
#if LANE_COUNT >= 4 * QUARTER
    SHUFFLE_ROWS(x, 2 * QUARTER, EVEN, ODD)
#endif
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

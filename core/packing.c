/* packing.c - see packing.h. */
#include <string.h>
#include "packing.h"
#include "tensor.h"

static int64_t matrix_rows(const struct packing *p)
{
    return p->scatter ? p->out * p->taps : p->out;
}
static int64_t matrix_columns(const struct packing *p)
{
    return p->scatter ? p->in : (p->in + p->edge) * p->taps;
}
int64_t packing_rows(const struct packing *p)
{
    return p->turned ? matrix_columns(p) : matrix_rows(p);
}
int64_t packing_columns(const struct packing *p)
{
    return p->turned ? matrix_rows(p) : matrix_columns(p);
}

/* Panels whose distance is a large power of two would fall into the same sets of the cache. */
static int64_t apart(int64_t rows) { return rows % 8 == 0 ? rows + 2 : rows; }

void packing_complete(struct packing *p)
{
    const int64_t rows = packing_rows(p), panels = (packing_columns(p) + p->panel - 1) / p->panel;
    p->panel_stride = (panels > 1 ? apart(rows) : rows) * p->panel;
    p->edge_offset = panels * p->panel_stride;
    p->count = p->edge_offset + (p->scatter ? p->out * p->edge * p->taps : 0);
    p->count = (p->count + 15) / 16 * 16;
}

int packing_equal(const struct packing *a, const struct packing *b)
{
    return a->out == b->out && a->in == b->in && a->taps == b->taps && a->edge == b->edge &&
           a->scatter == b->scatter && a->turned == b->turned && a->panel == b->panel;
}

int64_t packing_position(const struct packing *p, int64_t element)
{
    const int64_t channels = p->in + p->edge, tap = element % p->taps,
                  i = element / p->taps % channels, o = element / p->taps / channels;
    if (p->scatter && i == p->in) return p->edge_offset + o * p->taps + tap;
    const int64_t r = p->scatter ? o * p->taps + tap : o, c = p->scatter ? i : i * p->taps + tap;
    const int64_t row = p->turned ? c : r, column = p->turned ? r : c;
    return column / p->panel * p->panel_stride + row * p->panel + column % p->panel;
}

/* A run of n elements: in C order `plain_step` apart from `plain` on, in panels at `packed`, one
 * after the other up to the end of a panel, or `panel` apart when turned. */
struct run {
    int64_t plain, plain_step, packed, n;
};

#define COPY_RUN(type)                                                                             \
    for (int64_t i = 0; i < run->n; i++) {                                                         \
        type *one = (type *)packed + run->packed + i * step;                                       \
        type *other = (type *)plain + run->plain + i * run->plain_step;                            \
        if (to_packed)                                                                             \
            *one = *other;                                                                         \
        else                                                                                       \
            *other = *one;                                                                         \
    }

static void copy_run(int32_t dtype, char *packed, char *plain, const struct run *run, int64_t step,
                     int to_packed)
{
    if (dtype == DT_F64) {
        COPY_RUN(double)
    } else {
        COPY_RUN(float)
    }
}

/* Row r of the matrix. */
static void copy_row(const struct packing *p, int32_t dtype, char *packed, char *plain, int64_t r,
                     int to_packed)
{
    const int64_t taps = p->scatter ? p->taps : 1, columns = matrix_columns(p);
    const int64_t output = (p->in + p->edge) * p->taps; /* elements of one, in C order */
    struct run run = { .plain = r / taps * output + r % taps, .plain_step = taps, .n = columns };
    if (p->turned) {
        run.packed = r / p->panel * p->panel_stride + r % p->panel;
        copy_run(dtype, packed, plain, &run, p->panel, to_packed);
        return;
    }
    run.packed = r * p->panel;
    for (int64_t c = 0; c < columns; c += p->panel) {
        run.n = columns - c < p->panel ? columns - c : p->panel;
        copy_run(dtype, packed, plain, &run, 1, to_packed);
        run.plain += run.n * taps;
        run.packed += p->panel_stride;
    }
}

static void copy(const struct packing *p, int32_t dtype, void *packed, void *plain, int64_t first,
                 int64_t n, int to_packed)
{
    const int64_t taps = p->scatter ? p->taps : 1, output = (p->in + p->edge) * p->taps;
    for (int64_t r = first * taps; r < (first + n) * taps; r++)
        copy_row(p, dtype, packed, plain, r, to_packed);
    for (int64_t o = first; p->scatter && p->edge && o < first + n; o++) {
        const struct run run = { o * output + p->in * taps, 1, p->edge_offset + o * taps, taps };
        copy_run(dtype, packed, plain, &run, 1, to_packed);
    }
}

void packing_pack_outputs(const struct packing *p, int32_t dtype, void *packed, const void *plain,
                          int64_t first, int64_t n)
{
    copy(p, dtype, packed, (void *)(uintptr_t)plain, first, n, 1);
}

void packing_unpack_outputs(const struct packing *p, int32_t dtype, void *plain, const void *packed,
                            int64_t first, int64_t n)
{
    copy(p, dtype, (void *)(uintptr_t)packed, plain, first, n, 0);
}

void packing_pack(const struct packing *p, int32_t dtype, void *packed, const void *plain)
{
    memset(packed, 0, (size_t)p->count * dtype_size(dtype));
    packing_pack_outputs(p, dtype, packed, plain, 0, p->out);
}

void packing_unpack(const struct packing *p, int32_t dtype, void *plain, const void *packed)
{
    packing_unpack_outputs(p, dtype, plain, packed, 0, p->out);
}

/* packing.c - see packing.h. */
#include <string.h>
#include "packing.h"
#include "tensor.h"

static int64_t rows_of(const struct packing *p) { return p->scatter ? p->out * p->taps : p->out; }
static int64_t columns_of(const struct packing *p)
{
    return p->scatter ? p->in : (p->in + p->edge) * p->taps;
}

/* Panels whose distance is a large power of two would fall into the same sets of the cache. */
static int64_t apart(int64_t rows) { return rows % 8 == 0 ? rows + 2 : rows; }

void packing_complete(struct packing *p)
{
    const int64_t rows = p->turned ? columns_of(p) : rows_of(p);
    const int64_t columns = p->turned ? rows_of(p) : columns_of(p);
    const int64_t panels = (columns + p->panel - 1) / p->panel;
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

/* Where the weights of output o and channel i begin, and how far its taps lie apart. */
static int64_t place(const struct packing *p, int64_t o, int64_t i, int64_t tap)
{
    if (p->scatter && i == p->in) return p->edge_offset + o * p->taps + tap;
    int64_t r = p->scatter ? o * p->taps + tap : o;
    int64_t c = p->scatter ? i : i * p->taps + tap;
    if (p->turned) {
        int64_t swap = r;
        r = c;
        c = swap;
    }
    return c / p->panel * p->panel_stride + r * p->panel + c % p->panel;
}

int64_t packing_position(const struct packing *p, int64_t element)
{
    const int64_t column = element / p->taps, channels = p->in + p->edge;
    return place(p, column / channels, column % channels, element % p->taps);
}

#define COPY(type)                                                                                 \
    for (int64_t o = 0, at = 0; o < p->out; o++)                                                   \
        for (int64_t i = 0; i < p->in + p->edge; i++)                                              \
            for (int64_t tap = 0; tap < p->taps; tap++, at++)                                      \
                if (to_packed)                                                                     \
                    ((type *)to)[place(p, o, i, tap)] = ((const type *)from)[at];                  \
                else                                                                               \
                    ((type *)to)[at] = ((const type *)from)[place(p, o, i, tap)];

static void copy(const struct packing *p, int32_t dtype, void *to, const void *from, int to_packed)
{
    if (dtype == DT_F64) {
        COPY(double)
    } else {
        COPY(float)
    }
}

void packing_pack(const struct packing *p, int32_t dtype, void *packed, const void *plain)
{
    memset(packed, 0, (size_t)p->count * dtype_size(dtype));
    copy(p, dtype, packed, plain, 1);
}

void packing_unpack(const struct packing *p, int32_t dtype, void *plain, const void *packed)
{
    copy(p, dtype, plain, packed, 0);
}

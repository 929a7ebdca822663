/* im2col.c - a tap is a shift of the numbering of pixels: what the pixels of a vector see through
 * it are LANES numbers in a row, some of which lie in the next row of the image or outside, and are
 * masked.
 *
 * A vector is loaded only if at least one of its lanes lies in the plane, so that less than a
 * vector is read before or behind it. */
#include "im2col.h"
#include "../pool.h"

/* Vectors to copy that are worth a thread's while. */
#define SHARED_VECTORS 1024

void NAME(tile_set)(struct tile *t, int64_t first, int64_t count, int64_t height, int64_t width)
{
    int64_t y = first / width % height, x = first % width, image = 0;
    t->first = first;
    t->first_image = first / (height * width);
    t->count = count;
    t->height = height;
    t->width = width;
    for (int64_t i = 0; i < count; i++) {
        t->x[i] = (real_int)x;
        t->y[i] = (real_int)y;
        t->image[i] = (real_int)image;
        if (++x < width) continue;
        x = 0;
        if (++y < height) continue;
        y = 0;
        image++;
    }
    for (int64_t i = count; i % PANEL; i++) t->x[i] = t->y[i] = FAR_AWAY, t->image[i] = -1;
}

ALWAYS_INLINE vec_int load_int(const real_int *p) { return (vec_int)vec_load((const real *)p); }
ALWAYS_INLINE vec_int splat_int(int64_t x) { return (real_int)x - (vec_int){ 0 }; }
ALWAYS_INLINE vec masked(vec_int mask, vec x) { return (vec)((vec_int)x & mask); }

/* Pixels of a vector that are inside the image when moved by dy, or by dx. */
ALWAYS_INLINE vec_int inside_rows(const struct tile *t, int64_t at, int64_t dy)
{
    const vec_int y = load_int(t->y + at) + (real_int)dy;
    return (y >= 0) & (y < (real_int)t->height);
}
ALWAYS_INLINE vec_int inside_columns(const struct tile *t, int64_t at, int64_t dx)
{
    const vec_int x = load_int(t->x + at) + (real_int)dx;
    return (x >= 0) & (x < (real_int)t->width);
}

/* Taps one after the other, without a division for each. */
struct tap {
    int64_t number, i, j, dy, dx;
};
#define FOR_EACH_TAP(tap, w) for (struct tap tap = first_tap(w); tap.i < (w)->kh; next_tap(&tap, w))
ALWAYS_INLINE struct tap first_tap(const struct window *w)
{
    return (struct tap){ 0, 0, 0, -w->direction * (w->kh / 2), -w->direction * (w->kw / 2) };
}
ALWAYS_INLINE void next_tap(struct tap *tap, const struct window *w)
{
    tap->number++;
    tap->dx += w->direction;
    if (++tap->j < w->kw) return;
    tap->j = 0;
    tap->dx = -w->direction * (w->kw / 2);
    tap->i++;
    tap->dy += w->direction;
}

ALWAYS_INLINE vec_int inside(const struct tile *t, int64_t at, const struct tap *tap)
{
    return inside_rows(t, at, tap->dy) & inside_columns(t, at, tap->dx);
}

/* Writes, or where the vector holds an image's end already, merges a column of rows. */
ALWAYS_INLINE void put_rows(real *out, int64_t step, const real *in, int64_t in_step, int64_t n,
                            const real *scale, vec_int mask, int merge)
{
    for (int64_t c = 0; c < n; c++, out += step, in += in_step) {
        vec x = vec_load(in);
        if (scale) x *= vec_splat(scale[c]);
        x = masked(mask, x);
        if (merge) x = (vec)((vec_int)x | (vec_int)vec_load(out));
        vec_store(out, x);
    }
}

/* The rows of one vector of pixels as far as they belong to one image. */
static void put_image(const struct tile *t, const struct window *w, const struct planes *from,
                      int64_t at, int64_t image, real *out, int merge)
{
    const int64_t step = window_taps(w) * PANEL, plane = t->height * t->width;
    const int64_t start = t->first + at - image * plane; /* of the vector, in this image */
    const vec_int here = load_int(t->image + at) == splat_int(image - t->first_image);
    const real *in = from->data + image * from->batch_stride + start;
    FOR_EACH_TAP(tap, w)
    {
        const int64_t shift = tap.dy * t->width + tap.dx;
        real *row = out + tap.number * PANEL;
        if (start + shift > -LANES && start + shift < plane)
            put_rows(row, step, in + shift, from->channel_stride, w->channels, w->scale,
                     inside(t, at, &tap) & here, merge);
        else if (!merge)
            for (int64_t c = 0; c < w->channels; c++) vec_store(row + c * step, vec_splat(0));
    }
}

struct gather {
    const struct tile *tile;
    const struct window *window;
    const struct planes *from;
    real *panels;
};

/* Vectors first .. end-1. */
static void gather_vectors(void *arg, int64_t first, int64_t end)
{
    const struct gather g = *(const struct gather *)arg;
    const struct tile *t = g.tile;
    const struct window *w = g.window;
    const int64_t taps = window_taps(w), rows = window_rows(w);
    for (int64_t at = first * LANES; at < min_int(t->count, end * LANES); at += LANES) {
        real *out = g.panels + at / PANEL * rows * PANEL + at % PANEL;
        const int64_t from = t->first_image + t->image[at];
        const int64_t last = t->first_image + t->image[min_int(at + LANES, t->count) - 1];
        for (int64_t image = from; image <= last; image++)
            put_image(t, w, g.from, at, image, out, image > from);
        if (!w->edge) continue;
        FOR_EACH_TAP(tap, w)
        vec_store(out + (w->channels * taps + tap.number) * PANEL,
                  masked(~inside(t, at, &tap), vec_splat(1)));
    }
}

void NAME(im2col)(const struct tile *t, const struct window *w, const struct planes *from,
                  real *panels)
{
    struct gather g = { t, w, from, panels };
    pool_share(t->pool, divide_up(t->count, LANES), divide_up(SHARED_VECTORS, window_rows(w)),
               gather_vectors, &g);
}

void NAME(planes_fetch)(const struct planes *from, int64_t channels, int64_t plane, int64_t first,
                        int64_t count)
{
    const int64_t line = 64 / (int64_t)sizeof(real);
    for (int64_t end = first + count; first < end;) {
        const int64_t image = first / plane, stop = min_int(end, (image + 1) * plane);
        const real *in = from->data + image * from->batch_stride + (first - image * plane);
        for (int64_t c = 0; c < channels; c++, in += from->channel_stride)
            for (int64_t i = 0; i < stop - first; i += line) __builtin_prefetch(in + i, 0, 2);
        first = stop;
    }
}

struct scatter {
    const struct tile *tile;
    const struct window *window;
    const real *panels;
    real *sums;
    int64_t pitch;
};

/* Channels first .. end-1. Taps go outermost: sums that overlap the ones just stored would wait for
 * the store. */
static void scatter_channels(void *arg, int64_t first, int64_t end)
{
    const struct scatter s = *(const struct scatter *)arg;
    const struct tile *t = s.tile;
    const int64_t taps = window_taps(s.window), rows = s.window->channels * taps;
    FOR_EACH_TAP(tap, s.window)
    {
        const int64_t row = first * taps + tap.number, shift = tap.dy * t->width + tap.dx;
        for (int64_t at = 0; at < t->count; at += LANES) {
            const vec_int seen = inside(t, at, &tap);
            const real *in = s.panels + at / PANEL * rows * PANEL + row * PANEL + at % PANEL;
            real *out = s.sums + first * s.pitch + at + shift;
            for (int64_t c = first; c < end; c++, out += s.pitch, in += taps * PANEL)
                vec_store(out, vec_load(out) + masked(seen, vec_load(in)));
        }
    }
}

void NAME(col2im)(const struct tile *t, const struct window *w, const real *panels, real *sums,
                  int64_t pitch)
{
    struct scatter s = { t, w, panels, sums, pitch };
    const int64_t vectors = window_taps(w) * divide_up(t->count, LANES);
    pool_share(t->pool, w->channels, divide_up(SHARED_VECTORS, vectors), scatter_channels, &s);
}

void NAME(edge_add)(const struct tile *t, const struct window *w, const real *weight, real *sums,
                    int64_t pitch)
{
    const int64_t taps = window_taps(w);
    FOR_EACH_TAP(tap, w)
    {
        for (int64_t at = 0; at < t->count; at += LANES) {
            const vec_int off = ~inside(t, at, &tap);
            real *out = sums + at;
            for (int64_t c = 0; c < w->channels; c++, out += pitch)
                vec_store(out,
                          vec_load(out) + masked(off, vec_splat(weight[c * taps + tap.number])));
        }
    }
}

void NAME(edge_totals)(const struct tile *t, const struct window *w, const real *panels,
                       real *totals)
{
    const int64_t taps = window_taps(w), rows = w->channels * taps;
    FOR_EACH_TAP(tap, w)
    {
        for (int64_t at = 0; at < t->count; at += LANES) {
            const vec_int off = ~inside(t, at, &tap);
            const real *in = panels + at / PANEL * rows * PANEL + taps / 2 * PANEL + at % PANEL;
            for (int64_t c = 0; c < w->channels; c++) {
                real *total = totals + (c * taps + tap.number) * LANES;
                vec_store(total, vec_load(total) + masked(off, vec_load(in + c * taps * PANEL)));
            }
        }
    }
}

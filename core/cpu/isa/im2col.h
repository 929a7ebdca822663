/* im2col.h - between images and the matrices whose columns are pixels. The pixels of a batch
 * (N,C,H,W) are numbered through: pixel p is number p % (H W) of image p / (H W). A tile is a run
 * of pixels, wherever rows and images begin, so that every shape makes tiles of the same size. */
#ifndef CORE_CPU_ISA_IM2COL_H
#define CORE_CPU_ISA_IM2COL_H
#include "gemm.h"

#define TILE_MAX 256 /* pixels; a multiple of PANEL */

/* A batch of planes: pixel q of channel c of image n is data[n batch_stride + c channel_stride +
 * q]. */
struct planes {
    real *data;
    int64_t batch_stride, channel_stride;
};

struct tile {
    int64_t first, count, first_image; /* pixels */
    int64_t height, width;             /* of an image */
    /* Of each pixel: where it is, and in which image, counted from the tile's first. Up to the next
     * whole panel there are pixels that are nowhere, y = FAR_AWAY. */
    real_int x[TILE_MAX], y[TILE_MAX], image[TILE_MAX];
    int8_t border[TILE_MAX / LANES]; /* kinds of vectors, for those who want them */
    struct pool *pool;               /* threads that share what is done with this tile, or NULL */
};
#define FAR_AWAY (-(1 << 30))

/* What a pixel sees: tap (i,j) of kh x kw is `direction` times (i - kh/2, j - kw/2) away. */
struct window {
    int64_t channels, kh, kw;
    int direction;     /* 1, or -1: the mirrored window */
    int edge;          /* one channel more, that is 1 outside the image */
    const real *scale; /* im2col multiplies each channel by its number; NULL: by 1 */
};
ALWAYS_INLINE int64_t window_taps(const struct window *w) { return w->kh * w->kw; }
ALWAYS_INLINE int64_t window_rows(const struct window *w)
{
    return (w->channels + w->edge) * w->kh * w->kw;
}
/* The farthest that pixels see, in pixels. */
ALWAYS_INLINE int64_t window_reach(const struct window *w, int64_t width)
{
    return w->kh / 2 * width + w->kw / 2;
}

void NAME(tile_set)(struct tile *, int64_t first, int64_t count, int64_t height, int64_t width);
/* The panel matrix ((channel,tap), pixel) of what the tile's pixels see; 0 outside the image. */
void NAME(im2col)(const struct tile *, const struct window *, const struct planes *, real *panels);
/* Asks for the pixels first .. first+count-1 of planes that are read next. */
void NAME(planes_fetch)(const struct planes *, int64_t channels, int64_t plane, int64_t first,
                        int64_t count);
/* The adjoint of im2col: adds each row ((channel,tap), pixel) to the pixels that were seen. Channel
 * c of the tile's first pixel is sums[c pitch]; around the tile there is room for the reach and a
 * vector. */
void NAME(col2im)(const struct tile *, const struct window *, const real *panels, real *sums,
                  int64_t pitch);
/* sums[c pitch + pixel] += the sum over taps outside the image of weight[c taps + tap]. */
void NAME(edge_add)(const struct tile *, const struct window *, const real *weight, real *sums,
                    int64_t pitch);
/* The adjoint: totals[c taps + tap][...] += vectors of row (c, middle tap) of panels, as im2col
 * makes them, where the tap is outside. */
void NAME(edge_totals)(const struct tile *, const struct window *, const real *panels,
                       real *totals);
#endif

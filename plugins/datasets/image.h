/* image.h - PNG and JPEG files to rows of u8 pixels, planar (C,H,W): decode, crop, resize, grey and
 * RGB. Shared by the dataset plug-ins; a decoder belongs to one thread. */
#ifndef DATASETS_IMAGE_H
#define DATASETS_IMAGE_H
#include "dataset.h"

/* How an image changes its size.
 * ANTIALIAS: a triangle filter as wide as the step between two output pixels (at least one input
 * pixel), centres aligned. Shrinking averages all that it covers; enlarging is bilinear.
 * BILINEAR: two taps at the source position i * in/out, corners aligned, no averaging: what
 * TensorFlow 1's resize_bilinear does. Aliases when it shrinks by more than 2; kept for comparison.
 */
enum image_filter { IMAGE_ANTIALIAS = 0, IMAGE_BILINEAR = 1 };
#define IMAGE_FILTER_RANGE "antialias|bilinear"
enum image_filter image_filter_named(const char *);

/* A part of a picture, in pixels from its upper left corner. */
struct image_box {
    double left, top, width, height;
};
/* The largest centred box of a width x height picture with the aspect of `shape`. */
struct image_box image_centre(int64_t width, int64_t height, const struct image_shape *shape);

/* ---- resizing */

struct image_axis { /* out pixel i = sum over k of weight[i*taps + k] * in[first[i] + k] */
    int64_t out;
    int taps;
    int32_t *first;
    float *weight;
};
struct image_resizer {
    int64_t in_width, in_height, channels; /* of the source, interleaved (H,W,C), C = 1 or 3 */
    struct image_box box;
    int64_t out_width, out_height;
    enum image_filter filter;
    struct image_axis x, y;
    float *line; /* one filtered row, (W,C) */
};
/* Prepares for pictures of one size; cheap when nothing changed. A zeroed struct is a fresh one.
 * False for want of memory. */
bool image_resizer_set(struct image_resizer *, int64_t in_width, int64_t in_height,
                       int64_t channels, const struct image_box *, int64_t out_width,
                       int64_t out_height, enum image_filter);
/* src: interleaved u8 (in_height, in_width, C); dst: planar u8 (C, out_height, out_width). */
void image_resize(struct image_resizer *, const uint8_t *src, uint8_t *dst);
void image_resizer_free(struct image_resizer *);

/* ---- decoding */

enum { IMAGE_WHY = 256 }; /* room for the reason of a refusal */
struct image_decoder;
struct image_decoder *image_decoder_open(void); /* NULL for want of memory */
void image_decoder_close(struct image_decoder *);

/* The size of a file's picture and its channels: 1 grey, 3 colour. GLOW_EINVAL with the reason. */
int32_t image_probe(struct image_decoder *, const uint8_t *file, size_t n, struct image_shape *,
                    char why[IMAGE_WHY]);
/* Decodes a file into dst, planar u8 of `shape`. box NULL: the centre with the wanted aspect.
 * Grey becomes RGB by copying, RGB grey by 0.299 R + 0.587 G + 0.114 B; transparent pixels lie on
 * white. A JPEG more than four times too large is decoded at 1/2, 1/4 or 1/8 of its size, so that
 * the filter still shrinks by two. GLOW_EINVAL with the reason: not an image, damaged, cut off. */
int32_t image_decode(struct image_decoder *, const uint8_t *file, size_t n,
                     const struct image_shape *shape, const struct image_box *box,
                     enum image_filter, uint8_t *dst, char why[IMAGE_WHY]);
#endif

/* picture.h - PNG files from images of reals, and PNG or JPEG files as images of reals.
 * Images are planar, (C,H,W), values in [0,1]. */
#ifndef CORE_PICTURE_H
#define CORE_PICTURE_H
#include "status.h"

/* Writes 8-bit pixels (H,W,C), C = 1 or 3, as PNG, atomically; the same pixels give the same file.
 */
glow_status picture_write(const char *path, int64_t height, int64_t width, int channels,
                          const uint8_t *pixels);

struct picture_grid {
    int columns; /* 0: about as many as rows */
    int scale;   /* pixels per pixel; 0: chosen so that small images show */
    int gap;     /* pixels between images */
};
/* Writes n images (n,C,H,W) of DT_F32 or DT_F64 as one PNG. One channel is grey and three are RGB;
 * with two the first is shown, with more than three the first three. A pixel is floor(256 v), which
 * takes back both v = u / 255 and v = (u + noise) / 256; values outside are clipped, NaN is 0. */
glow_status picture_grid(const char *path, const void *images, int32_t dtype, int64_t n,
                         int64_t channels, int64_t height, int64_t width,
                         const struct picture_grid *);

/* Reads a PNG or JPEG file as an image (C,H,W), C = 1 or 3, of DT_F32 or DT_F64: the largest
 * centred part of the right proportions, resized by averaging areas, in steps of 1/255. Colours
 * become grey by ITU-R 601 luma; transparency is ignored. */
glow_status picture_read(const char *path, int64_t channels, int64_t height, int64_t width,
                         int32_t dtype, void *image);
#endif

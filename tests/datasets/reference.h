/* reference.h - resampling as it is defined, one output value at a time in double: what the tests
 * hold image rows against. Shares nothing with plugins/datasets/resize.c. */
#ifndef TESTS_DATASETS_REFERENCE_H
#define TESTS_DATASETS_REFERENCE_H
#include <check.h>
#include <math.h>
#include <stdint.h>
#include <stdlib.h>

/* Weight of input pixel k in output pixel i of an axis whose part [start, start + length) becomes
 * n. */
static inline double reference_weight(int antialias, double start, double length, int n, int i,
                                      int k)
{
    double step = length / n;
    if (antialias) {
        double reach = step > 1 ? step : 1, away = fabs(k + 0.5 - (start + (i + 0.5) * step));
        return away < reach ? 1 - away / reach : 0;
    }
    double at = start + i * step, last = start + length - 1;
    if (at > last) at = last;
    return fabs(k - at) < 1 ? 1 - fabs(k - at) : 0;
}

/* The input pixels [first, last) of an axis that can matter to output pixel i. */
static inline void reference_range(int start, int length, int n, int i, int *first, int *last)
{
    double step = (double)length / n, centre = start + (i + 0.5) * step, reach = fmax(step, 1) + 1;
    *first = (int)fmax(start, floor(centre - reach));
    *last = (int)fmin(start + length, ceil(centre + reach));
}

/* Output pixel (c, y, x) of a (height, width, channels) picture's part, unrounded. Whole-pixel
 * parts. */
static inline double reference_pixel(const uint8_t *src, int width, int channels, int antialias,
                                     int left, int top, int part_width, int part_height,
                                     int out_width, int out_height, int c, int y, int x)
{
    double sum = 0, weights = 0;
    int x0, x1, y0, y1;
    reference_range(left, part_width, out_width, x, &x0, &x1);
    reference_range(top, part_height, out_height, y, &y0, &y1);
    for (int j = y0; j < y1; j++) {
        double wy = reference_weight(antialias, top, part_height, out_height, y, j);
        for (int i = x0; i < x1; i++) {
            double w = wy * reference_weight(antialias, left, part_width, out_width, x, i);
            sum += w * src[(j * width + i) * channels + c];
            weights += w;
        }
    }
    return sum / weights;
}

/* Every pixel of planar `found` is the reference's, rounded: half a level, and a little for floats.
 */
static inline void reference_check(const uint8_t *found, const uint8_t *src, int width,
                                   int channels, int antialias, int left, int top, int part_width,
                                   int part_height, int out_width, int out_height)
{
    for (int c = 0; c < channels; c++) {
        for (int y = 0; y < out_height; y++) {
            for (int x = 0; x < out_width; x++) {
                double right =
                    reference_pixel(src, width, channels, antialias, left, top, part_width,
                                    part_height, out_width, out_height, c, y, x);
                int is = found[(c * out_height + y) * out_width + x];
                ck_assert_msg(fabs(right - is) < 0.501, "pixel (%d,%d,%d): %d, expected %.3f", c, y,
                              x, is, right);
            }
        }
    }
}

/* A picture with structure at all scales, (height, width, channels). The caller frees. */
static inline uint8_t *reference_picture(int width, int height, int channels, int variant)
{
    uint8_t *p = malloc((size_t)(width * height * channels));
    ck_assert_ptr_nonnull(p);
    for (int y = 0; y < height; y++) {
        for (int x = 0; x < width; x++) {
            for (int c = 0; c < channels; c++) {
                double v = 128 + 60 * sin(0.13 * x + variant) * cos(0.09 * y + c) +
                           40 * sin(0.021 * (x + 2 * y) * (1 + c)) +
                           (x * 7 + y * 13 + variant) % 23;
                p[(y * width + x) * channels + c] = (uint8_t)(v < 0 ? 0 : v > 255 ? 255 : v);
            }
        }
    }
    return p;
}
#endif

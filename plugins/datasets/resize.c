/* resize.c - separable resampling of u8 images. Rows first: each output row is a weighted sum of
 * whole input rows, which vectorises, and only one line of floats is kept. */
#include "image.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum image_filter image_filter_named(const char *name)
{
    return strcmp(name, "bilinear") ? IMAGE_ANTIALIAS : IMAGE_BILINEAR;
}

static int64_t clamp(int64_t v, int64_t lo, int64_t hi) { return v < lo ? lo : v > hi ? hi : v; }

/* Two taps at start + i * step. */
static void bilinear_weights(struct image_axis *a, double start, double step, int64_t lo,
                             int64_t hi)
{
    for (int64_t i = 0; i < a->out; i++) {
        double at = start + (double)i * step;
        int64_t below = clamp((int64_t)floor(at), lo, hi - 1);
        double part = at - (double)below;
        if (part < 0 || below + 1 >= hi) part = 0;
        /* The second tap must lie inside the image even when its weight is zero. */
        int64_t first = a->taps == 2 && below + 1 >= hi && below > lo ? below - 1 : below;
        float *w = a->weight + i * a->taps;
        memset(w, 0, (size_t)a->taps * sizeof *w);
        a->first[i] = (int32_t)first;
        w[below - first] += (float)(1 - part);
        if (part > 0) w[below + 1 - first] += (float)part;
    }
}

/* A triangle of half width max(step, 1) around the centre of the output pixel. */
static void triangle_weights(struct image_axis *a, double start, double step, int64_t lo,
                             int64_t hi)
{
    double reach = fmax(step, 1);
    for (int64_t i = 0; i < a->out; i++) {
        double centre = start + ((double)i + 0.5) * step;
        int64_t first = clamp((int64_t)floor(centre - reach), lo, hi - a->taps);
        float *w = a->weight + i * a->taps;
        double sum = 0;
        a->first[i] = (int32_t)first;
        for (int k = 0; k < a->taps; k++) {
            double v = fmax(0, 1 - fabs((double)(first + k) + 0.5 - centre) / reach);
            w[k] = (float)v;
            sum += v;
        }
        for (int k = 0; k < a->taps; k++) w[k] = (float)(w[k] / sum);
    }
}

/* The weights of one axis for the part [start, start + length) of `in` pixels. */
static bool axis_set(struct image_axis *a, int64_t in, double start, double length, int64_t out,
                     enum image_filter filter)
{
    int64_t lo = clamp((int64_t)floor(start + 1e-6), 0, in - 1);
    int64_t hi = clamp((int64_t)ceil(start + length - 1e-6), lo + 1, in);
    double step = length / (double)out;
    /* A triangle 2 r wide covers at most 2 r - 1/2 pixels' centres beyond the one it begins in. */
    double taps = filter == IMAGE_BILINEAR ? 2 : ceil(2 * fmax(step, 1) + 0.5);
    a->out = out;
    a->taps = (int)fmin(taps, (double)(hi - lo));
    free(a->first);
    free(a->weight);
    a->first = malloc((size_t)out * sizeof *a->first);
    a->weight = malloc((size_t)(out * a->taps) * sizeof *a->weight);
    if (!a->first || !a->weight) return false;
    if (filter == IMAGE_BILINEAR)
        bilinear_weights(a, start, step, lo, hi);
    else
        triangle_weights(a, start, step, lo, hi);
    return true;
}

bool image_resizer_set(struct image_resizer *r, int64_t in_width, int64_t in_height,
                       int64_t channels, const struct image_box *box, int64_t out_width,
                       int64_t out_height, enum image_filter filter)
{
    if (r->line && r->in_width == in_width && r->in_height == in_height &&
        r->channels == channels && r->out_width == out_width && r->out_height == out_height &&
        r->filter == filter && !memcmp(&r->box, box, sizeof *box))
        return true;
    r->in_width = in_width;
    r->in_height = in_height;
    r->channels = channels;
    r->box = *box;
    r->out_width = out_width;
    r->out_height = out_height;
    r->filter = filter;
    free(r->line);
    r->line = NULL;
    if (!axis_set(&r->x, in_width, box->left, box->width, out_width, filter) ||
        !axis_set(&r->y, in_height, box->top, box->height, out_height, filter))
        return false;
    r->line = malloc((size_t)(in_width * channels) * sizeof *r->line);
    return r->line != NULL;
}

void image_resizer_free(struct image_resizer *r)
{
    free(r->x.first);
    free(r->x.weight);
    free(r->y.first);
    free(r->y.weight);
    free(r->line);
    *r = (struct image_resizer){ 0 };
}

/* line = 1/2 + sum over k of weight[k] * row k of src, n columns. As the weights of either axis sum
 * to 1, the half reaches the end and rounds there. Blocks of constant size are what compilers
 * vectorise. */
static void add_rows(float *line, const uint8_t *src, int64_t stride, int64_t n,
                     const float *weight, int taps)
{
    enum { BLOCK = 16 };
    int64_t i = 0;
    for (; i + BLOCK <= n; i += BLOCK) {
        float sum[BLOCK];
        for (int j = 0; j < BLOCK; j++) sum[j] = 0.5f;
        for (int k = 0; k < taps; k++) {
            const uint8_t *row = src + k * stride + i;
            for (int j = 0; j < BLOCK; j++) sum[j] += weight[k] * (float)row[j];
        }
        memcpy(line + i, sum, sizeof sum);
    }
    for (; i < n; i++) {
        float sum = 0.5f;
        for (int k = 0; k < taps; k++) sum += weight[k] * (float)src[k * stride + i];
        line[i] = sum;
    }
}

static uint8_t to_byte(float v) { return (uint8_t)(v < 0 ? 0 : v > 255 ? 255 : v); }

static void filter_grey(const struct image_axis *axis, const float *line, uint8_t *dst)
{
    for (int64_t x = 0; x < axis->out; x++) {
        const float *w = axis->weight + x * axis->taps, *in = line + axis->first[x];
        float v = 0;
        for (int k = 0; k < axis->taps; k++) v += w[k] * in[k];
        dst[x] = to_byte(v);
    }
}

/* Interleaved to planar. The sums are three variables: as an array they would live in memory. */
static void filter_rgb(const struct image_axis *axis, const float *line, int64_t plane,
                       uint8_t *dst)
{
    for (int64_t x = 0; x < axis->out; x++) {
        const float *w = axis->weight + x * axis->taps, *in = line + 3 * axis->first[x];
        float r = 0, g = 0, b = 0;
        for (int k = 0; k < axis->taps; k++, in += 3) {
            r += w[k] * in[0];
            g += w[k] * in[1];
            b += w[k] * in[2];
        }
        dst[x] = to_byte(r);
        dst[plane + x] = to_byte(g);
        dst[2 * plane + x] = to_byte(b);
    }
}

void image_resize(struct image_resizer *r, const uint8_t *src, uint8_t *dst)
{
    const int64_t c_n = r->channels, stride = r->in_width * c_n;
    const int64_t plane = r->out_width * r->out_height;
    const int64_t left = r->x.first[0] * c_n; /* columns that any output needs */
    const int64_t right = (r->x.first[r->out_width - 1] + r->x.taps) * c_n;
    for (int64_t y = 0; y < r->out_height; y++, dst += r->out_width) {
        add_rows(r->line + left, src + r->y.first[y] * stride + left, stride, right - left,
                 r->y.weight + y * r->y.taps, r->y.taps);
        if (c_n == 3)
            filter_rgb(&r->x, r->line, plane, dst);
        else
            filter_grey(&r->x, r->line, dst);
    }
}

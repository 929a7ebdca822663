/* picture.c - PNG through libspng, JPEG through libjpeg-turbo, grids and area resizing. */
#include "picture.h"

#include <math.h>
#include <spng.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <turbojpeg.h>
#include "file.h"
#include "tensor.h"

#define MAX_SIDE   65500
#define MAX_PIXELS ((int64_t)1 << 28)
#define BACKGROUND 255 /* of grids */
#define VISIBLE    84  /* pixels that a small image is magnified to */

/* ---------------------------------------------------------------- writing */

static glow_status encode_png(const char *path, struct spng_ihdr *header, const uint8_t *pixels,
                              void **png, size_t *size)
{
    int error = SPNG_EMEM;
    size_t bytes = (size_t)header->width * header->height;
    if (header->color_type == SPNG_COLOR_TYPE_TRUECOLOR) bytes *= 3;
    spng_ctx *context = spng_ctx_new(SPNG_CTX_ENCODER);
    *png = NULL;
    if (context) error = spng_set_option(context, SPNG_ENCODE_TO_BUFFER, 1);
    if (!error) error = spng_set_ihdr(context, header);
    if (!error)
        error = spng_encode_image(context, pixels, bytes, SPNG_FMT_PNG, SPNG_ENCODE_FINALIZE);
    if (!error) *png = spng_get_png_buffer(context, size, &error);
    spng_ctx_free(context);
    if (error == SPNG_EMEM) return fail_memory(bytes, path);
    return error ? fail(GLOW_EINVAL, "can't encode %s: %s", path, spng_strerror(error)) : GLOW_OK;
}

glow_status picture_write(const char *path, int64_t height, int64_t width, int channels,
                          const uint8_t *pixels)
{
    struct spng_ihdr header = { .bit_depth = 8 };
    void *png;
    size_t size;
    if (height < 1 || width < 1 || height > INT32_MAX || width > INT32_MAX)
        return fail(GLOW_EINVAL, "%s: a picture of %lld x %lld pixels is not possible", path,
                    (long long)width, (long long)height);
    header.height = (uint32_t)height;
    header.width = (uint32_t)width;
    header.color_type = channels == 3 ? SPNG_COLOR_TYPE_TRUECOLOR : SPNG_COLOR_TYPE_GRAYSCALE;
    TRY(encode_png(path, &header, pixels, &png, &size));
    glow_status status = file_save(path, png, size);
    free(png);
    return status;
}

static double load(const void *data, int32_t dtype, int64_t i)
{
    return dtype == DT_F64 ? ((const double *)data)[i] : (double)((const float *)data)[i];
}

static uint8_t to_byte(double v)
{
    if (!(v > 0)) return 0; /* NaN, too */
    return v >= 1 ? 255 : (uint8_t)(v * 256);
}

/* Paints one image (C,H,W) with its top left corner at `out`, magnified. */
static void paint(uint8_t *out, int64_t row_bytes, const void *images, int32_t dtype, int64_t first,
                  int64_t height, int64_t width, int channels, int scale)
{
    for (int64_t y = 0; y < height * scale; y++)
        for (int64_t x = 0; x < width; x++)
            for (int c = 0; c < channels; c++) {
                int64_t from = first + (c * height + y / scale) * width + x;
                uint8_t v = to_byte(load(images, dtype, from));
                uint8_t *to = out + y * row_bytes + x * scale * channels + c;
                for (int i = 0; i < scale; i++) to[i * channels] = v;
            }
}

glow_status picture_grid(const char *path, const void *images, int32_t dtype, int64_t n,
                         int64_t channels, int64_t height, int64_t width,
                         const struct picture_grid *grid)
{
    int shown = channels >= 3 ? 3 : 1;
    if (n < 1 || channels < 1 || height < 1 || width < 1 || height > MAX_SIDE || width > MAX_SIDE ||
        n > MAX_PIXELS)
        return fail(GLOW_EINVAL, "%s: a grid of %lld images of %lld x %lld x %lld is not possible",
                    path, (long long)n, (long long)channels, (long long)height, (long long)width);
    int64_t longest = height > width ? height : width;
    int64_t columns = grid->columns > 0 ? grid->columns : (int64_t)ceil(sqrt((double)n));
    if (columns > n) columns = n;
    int64_t rows = (n + columns - 1) / columns;
    int scale = grid->scale > 0 ? grid->scale : longest < VISIBLE ? (int)(VISIBLE / longest) : 1;
    int64_t cell_height = height * scale + grid->gap, cell_width = width * scale + grid->gap;
    int64_t out_height = rows * cell_height + grid->gap,
            out_width = columns * cell_width + grid->gap;
    if (grid->gap < 0 || scale > MAX_SIDE || out_width > MAX_PIXELS / shown / out_height)
        return fail(GLOW_EINVAL, "%s: a grid of %lld x %lld pixels is more than fits a picture",
                    path, (long long)out_width, (long long)out_height);
    size_t bytes = (size_t)(out_height * out_width * shown);
    uint8_t *pixels = malloc(bytes);
    if (!pixels) return fail_memory(bytes, path);
    memset(pixels, BACKGROUND, bytes);
    for (int64_t i = 0; i < n; i++) {
        int64_t top = i / columns * cell_height + grid->gap;
        int64_t left = i % columns * cell_width + grid->gap;
        paint(pixels + (top * out_width + left) * shown, out_width * shown, images, dtype,
              i * channels * height * width, height, width, shown, scale);
    }
    glow_status status = picture_write(path, out_height, out_width, shown, pixels);
    free(pixels);
    return status;
}

/* ---------------------------------------------------------------- reading */

struct pixels { /* (H,W,3) */
    int64_t height, width;
    uint8_t *rgb;
};

static glow_status allocate(struct pixels *p, const char *path, int64_t height, int64_t width)
{
    if (height < 1 || width < 1 || height > MAX_PIXELS / width)
        return fail(GLOW_EINVAL, "%s: %lld x %lld pixels are more than can be read", path,
                    (long long)width, (long long)height);
    p->height = height;
    p->width = width;
    p->rgb = malloc((size_t)(height * width * 3));
    return p->rgb ? GLOW_OK : fail_memory((size_t)(height * width * 3), path);
}

static glow_status decode_png(struct pixels *p, const char *path, const struct file_view *view)
{
    glow_status status = GLOW_OK;
    struct spng_ihdr header;
    spng_ctx *context = spng_ctx_new(0);
    if (!context) return fail_memory(1 << 16, path);
    spng_set_image_limits(context, MAX_SIDE, MAX_SIDE);
    spng_set_chunk_limits(context, 1 << 26, 1 << 26);
    int error = spng_set_png_buffer(context, view->bytes, view->size);
    if (!error) error = spng_get_ihdr(context, &header);
    if (!error) {
        TRY_OUT(allocate(p, path, header.height, header.width));
        error = spng_decode_image(context, p->rgb, (size_t)(p->height * p->width * 3),
                                  SPNG_FMT_RGB8, 0);
    }
    if (error) status = fail(GLOW_EINVAL, "%s: can't decode PNG: %s", path, spng_strerror(error));
out:
    spng_ctx_free(context);
    return status;
}

static glow_status decode_jpeg(struct pixels *p, const char *path, const struct file_view *view)
{
    glow_status status = GLOW_OK;
    int width = 0, height = 0, sampling, colours;
    tjhandle jpeg = tjInitDecompress();
    if (!jpeg) return fail_memory(1 << 16, path);
    /* A file that ends before its size is stated is a warning to this library, of 0 x 0 pixels. */
    if (tjDecompressHeader3(jpeg, view->bytes, view->size, &width, &height, &sampling, &colours) !=
            0 ||
        width < 1 || height < 1)
        TRY_OUT(fail(GLOW_EINVAL, "%s: can't decode JPEG: %s", path, tjGetErrorStr2(jpeg)));
    TRY_OUT(allocate(p, path, height, width));
    /* A damaged end is a warning: the picture is there, partly grey. */
    if (tjDecompress2(jpeg, view->bytes, view->size, p->rgb, width, 0, height, TJPF_RGB,
                      TJFLAG_ACCURATEDCT) != 0 &&
        tjGetErrorCode(jpeg) != TJERR_WARNING)
        status = fail(GLOW_EINVAL, "%s: can't decode JPEG: %s", path, tjGetErrorStr2(jpeg));
out:
    tjDestroy(jpeg);
    return status;
}

static glow_status decode(struct pixels *p, const char *path)
{
    static const unsigned char png[] = { 0x89, 'P', 'N', 'G' }, jpeg[] = { 0xFF, 0xD8, 0xFF };
    struct file_view view;
    glow_status status;
    TRY(file_map(&view, path));
    if (view.size > 8 && memcmp(view.bytes, png, sizeof png) == 0)
        status = decode_png(p, path, &view);
    else if (view.size > 8 && memcmp(view.bytes, jpeg, sizeof jpeg) == 0)
        status = decode_jpeg(p, path, &view);
    else
        status = fail(GLOW_EINVAL, "%s: neither a PNG nor a JPEG file", path);
    file_unmap(&view);
    return status;
}

/* The largest centred part whose sides are as height : width. */
struct crop {
    double top, left, height, width;
};

static struct crop centre_crop(const struct pixels *p, int64_t height, int64_t width)
{
    struct crop crop = { 0, 0, (double)p->height, (double)p->width };
    if (p->width * height > p->height * width)
        crop.width = floor((double)(p->height * width) / (double)height + 0.5);
    else
        crop.height = floor((double)(p->width * height) / (double)width + 0.5);
    if (crop.width < 1) crop.width = 1;
    if (crop.height < 1) crop.height = 1;
    crop.top = floor(((double)p->height - crop.height) / 2);
    crop.left = floor(((double)p->width - crop.width) / 2);
    return crop;
}

/* The mean of colour c over a rectangle, border pixels counted by the part that lies inside. */
static double area_mean(const struct pixels *p, int c, double top, double bottom, double left,
                        double right)
{
    double sum = 0, weight = 0;
    for (int64_t y = (int64_t)top; y < p->height && (double)y < bottom; y++) {
        double wy = fmin(bottom, (double)(y + 1)) - fmax(top, (double)y);
        for (int64_t x = (int64_t)left; x < p->width && (double)x < right; x++) {
            double w = wy * (fmin(right, (double)(x + 1)) - fmax(left, (double)x));
            sum += w * p->rgb[(y * p->width + x) * 3 + c];
            weight += w;
        }
    }
    return weight > 0 ? sum / weight : 0;
}

glow_status picture_read(const char *path, int64_t channels, int64_t height, int64_t width,
                         int32_t dtype, void *image)
{
    static const double luma[3] = { 0.299, 0.587, 0.114 };
    struct pixels p = { 0, 0, NULL };
    if ((channels != 1 && channels != 3) || height < 1 || width < 1)
        return fail(GLOW_EINVAL,
                    "%s: a picture can't be read as %lld x %lld x %lld: only 1 or 3 "
                    "channels are possible",
                    path, (long long)channels, (long long)height, (long long)width);
    glow_status status = decode(&p, path);
    if (status != GLOW_OK) goto out;
    struct crop crop = centre_crop(&p, height, width);
    for (int64_t y = 0; y < height; y++)
        for (int64_t x = 0; x < width; x++) {
            double top = crop.top + crop.height * (double)y / (double)height;
            double left = crop.left + crop.width * (double)x / (double)width;
            double bottom = top + crop.height / (double)height;
            double right = left + crop.width / (double)width, colour[3], grey = 0;
            for (int c = 0; c < 3; c++) {
                colour[c] = area_mean(&p, c, top, bottom, left, right);
                grey += luma[c] * colour[c];
            }
            for (int64_t c = 0; c < channels; c++) {
                double v = floor((channels == 1 ? grey : colour[c]) + 0.5) / 255;
                int64_t to = (c * height + y) * width + x;
                if (dtype == DT_F64)
                    ((double *)image)[to] = v;
                else
                    ((float *)image)[to] = (float)v;
            }
        }
out:
    free(p.rgb);
    return status;
}

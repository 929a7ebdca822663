/* image.c - PNG (libspng) and JPEG (libturbojpeg) files to rows of u8 pixels. Every size in a file
 * is checked against a limit and against the file's length before memory is asked for: headers lie.
 */
#include "image.h"
#include <math.h>
#include <spng.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <turbojpeg.h>

enum {
    MAX_SIDE = 1 << 16,
    MAX_PIXELS = 1 << 27, /* of one picture: 128 million */
    DEFLATE_RATIO = 1040, /* deflate can't expand by more than 1032 */
    PNG_CHUNK_LIMIT = 64 << 20
};

struct image_decoder {
    tjhandle jpeg;                /* NULL: to be made */
    struct dataset_buffer pixels; /* the decoded picture, interleaved */
    struct dataset_buffer rgba;   /* PNG and CMYK before conversion */
    struct image_resizer resizer;
};

/* A decoded picture, interleaved, with as many channels as are wanted. */
struct picture {
    int64_t width, height;           /* as decoded */
    int64_t true_width, true_height; /* as the file has it */
    double scale;                    /* of the first to the second */
};

struct image_decoder *image_decoder_open(void) { return calloc(1, sizeof(struct image_decoder)); }

void image_decoder_close(struct image_decoder *d)
{
    if (!d) return;
    if (d->jpeg) tjDestroy(d->jpeg);
    free(d->pixels.data);
    free(d->rgba.data);
    image_resizer_free(&d->resizer);
    free(d);
}

struct image_box image_centre(int64_t width, int64_t height, const struct image_shape *shape)
{
    double w = (double)width, h = (double)height;
    double aspect = (double)shape->width / (double)shape->height;
    if (w > h * aspect)
        w = fmax(1, round(h * aspect));
    else
        h = fmax(1, round(w / aspect));
    return (struct image_box){ floor(((double)width - w) / 2), floor(((double)height - h) / 2), w,
                               h };
}

static int32_t refuse(char why[IMAGE_WHY], const char *text)
{
    snprintf(why, IMAGE_WHY, "%s", text);
    return GLOW_EINVAL;
}

static int32_t check_size(int64_t width, int64_t height, char why[IMAGE_WHY])
{
    if (width < 1 || height < 1 || width > MAX_SIDE || height > MAX_SIDE ||
        width * height > MAX_PIXELS) {
        snprintf(why, IMAGE_WHY, "its size %lldx%lld is beyond %d pixels", (long long)width,
                 (long long)height, MAX_PIXELS);
        return GLOW_EINVAL;
    }
    return GLOW_OK;
}

/* ---------------------------------------------------------------- JPEG */

static bool is_jpeg(const uint8_t *file, size_t n)
{
    return n >= 3 && file[0] == 0xFF && file[1] == 0xD8 && file[2] == 0xFF;
}

/* A handle that has met a bad file can't be trusted with the next one (2.1 keeps the state of a
 * header that it gave up): a fresh one takes its place when needed. */
static void jpeg_forget(struct image_decoder *d)
{
    tjDestroy(d->jpeg);
    d->jpeg = NULL;
}

/* The reason that the library gives. */
static int32_t jpeg_refuse(struct image_decoder *d, char why[IMAGE_WHY])
{
    refuse(why, tjGetErrorStr2(d->jpeg));
    jpeg_forget(d);
    return GLOW_EINVAL;
}

static int32_t jpeg_header(struct image_decoder *d, const uint8_t *file, size_t n, int *width,
                           int *height, int *colours, char why[IMAGE_WHY])
{
    int subsampling;
    if (!d->jpeg) d->jpeg = tjInitDecompress();
    if (!d->jpeg) {
        refuse(why, "out of memory");
        return GLOW_ENOMEM;
    }
    *width = *height = *colours = 0; /* a file of tables alone leaves them as they are */
    if (tjDecompressHeader3(d->jpeg, file, n, width, height, &subsampling, colours) != 0 &&
        tjGetErrorCode(d->jpeg) != TJERR_WARNING)
        return jpeg_refuse(d, why);
    int32_t status = check_size(*width, *height, why);
    if (status != GLOW_OK) jpeg_forget(d);
    return status;
}

/* The largest of 1, 1/2, 1/4, 1/8 that leaves twice the wanted pixels in both directions. */
static tjscalingfactor jpeg_scale(const struct image_box *box, const struct image_shape *shape)
{
    tjscalingfactor scale = { 1, 1 };
    for (int d = 2; d <= 8; d *= 2) {
        if (box->width / d < 2.0 * (double)shape->width ||
            box->height / d < 2.0 * (double)shape->height)
            break;
        scale.denom = d;
    }
    return scale;
}

/* Adobe's CMYK files hold inverted inks: 255 is none. */
static void cmyk_to_pixels(const uint8_t *cmyk, int64_t n, int64_t channels, uint8_t *dst)
{
    for (int64_t i = 0; i < n; i++, cmyk += 4, dst += channels) {
        int rgb[3];
        for (int c = 0; c < 3; c++) rgb[c] = (cmyk[c] * cmyk[3] + 127) / 255;
        if (channels == 1) {
            dst[0] = (uint8_t)((299 * rgb[0] + 587 * rgb[1] + 114 * rgb[2] + 500) / 1000);
        } else {
            for (int c = 0; c < 3; c++) dst[c] = (uint8_t)rgb[c];
        }
    }
}

static int32_t jpeg_decode(struct image_decoder *d, const uint8_t *file, size_t n,
                           const struct image_shape *shape, const struct image_box *box,
                           bool may_scale, struct picture *p, char why[IMAGE_WHY])
{
    int width, height, colours;
    TRY(jpeg_header(d, file, n, &width, &height, &colours, why));
    struct image_box centre = image_centre(width, height, shape);
    tjscalingfactor scale = { 1, 1 };
    if (may_scale) scale = jpeg_scale(box ? box : &centre, shape);
    p->width = TJSCALED(width, scale);
    p->height = TJSCALED(height, scale);
    p->true_width = width;
    p->true_height = height;
    p->scale = (double)scale.num / scale.denom;

    bool cmyk = colours == TJCS_CMYK || colours == TJCS_YCCK;
    size_t pixels = (size_t)(p->width * p->height);
    if (!dataset_reserve(&d->pixels, pixels * (size_t)shape->channels) ||
        (cmyk && !dataset_reserve(&d->rgba, pixels * 4))) {
        refuse(why, "out of memory");
        return GLOW_ENOMEM;
    }
    int format = cmyk ? TJPF_CMYK : shape->channels == 1 ? TJPF_GRAY : TJPF_RGB;
    if (tjDecompress2(d->jpeg, file, n, cmyk ? d->rgba.data : d->pixels.data, (int)p->width, 0,
                      (int)p->height, format, TJFLAG_ACCURATEDCT) != 0) {
        /* A warning means that pixels are missing or wrong, except for stray bytes between
         * segments. */
        const char *text = tjGetErrorStr2(d->jpeg);
        if (tjGetErrorCode(d->jpeg) != TJERR_WARNING || !strstr(text, "extraneous bytes"))
            return jpeg_refuse(d, why);
    }
    if (cmyk) cmyk_to_pixels(d->rgba.data, (int64_t)pixels, shape->channels, d->pixels.data);
    return GLOW_OK;
}

/* ---------------------------------------------------------------- PNG */

static const uint8_t png_magic[8] = { 0x89, 'P', 'N', 'G', '\r', '\n', 0x1A, '\n' };

static bool is_png(const uint8_t *file, size_t n)
{
    return n >= sizeof png_magic && !memcmp(file, png_magic, sizeof png_magic);
}

/* An open PNG whose header has been read and checked; the caller frees *png. */
static int32_t png_open(const uint8_t *file, size_t n, spng_ctx **png, struct spng_ihdr *header,
                        char why[IMAGE_WHY])
{
    *png = spng_ctx_new(0);
    if (!*png) {
        refuse(why, "out of memory");
        return GLOW_ENOMEM;
    }
    spng_set_image_limits(*png, MAX_SIDE, MAX_SIDE);
    spng_set_chunk_limits(*png, PNG_CHUNK_LIMIT, PNG_CHUNK_LIMIT);
    int error = spng_set_png_buffer(*png, file, n);
    if (!error) error = spng_get_ihdr(*png, header);
    if (error) return refuse(why, spng_strerror(error));
    TRY(check_size(header->width, header->height, why));
    size_t bits = (size_t)header->width * header->height * header->bit_depth;
    if (bits / 8 / DEFLATE_RATIO > n) return refuse(why, "the file is too short for its size");
    return GLOW_OK;
}

/* Over white, and to grey where one channel is wanted. */
static void rgba_to_pixels(const uint8_t *rgba, int64_t n, int64_t channels, uint8_t *dst)
{
    for (int64_t i = 0; i < n; i++, rgba += 4, dst += channels) {
        int rgb[3], alpha = rgba[3];
        for (int c = 0; c < 3; c++) rgb[c] = (rgba[c] * alpha + 255 * (255 - alpha) + 127) / 255;
        if (channels == 1) {
            dst[0] = (uint8_t)((299 * rgb[0] + 587 * rgb[1] + 114 * rgb[2] + 500) / 1000);
        } else {
            for (int c = 0; c < 3; c++) dst[c] = (uint8_t)rgb[c];
        }
    }
}

static int32_t png_decode(struct image_decoder *d, const uint8_t *file, size_t n, int64_t channels,
                          struct picture *p, char why[IMAGE_WHY])
{
    spng_ctx *png;
    struct spng_ihdr header;
    int32_t status;
    TRY_OUT(png_open(file, n, &png, &header, why));
    p->width = p->true_width = header.width;
    p->height = p->true_height = header.height;
    p->scale = 1;
    size_t pixels = (size_t)(p->width * p->height);
    if (!dataset_reserve(&d->rgba, pixels * 4) ||
        !dataset_reserve(&d->pixels, pixels * (size_t)channels)) {
        refuse(why, "out of memory");
        status = GLOW_ENOMEM;
        goto out;
    }
    int error =
        spng_decode_image(png, d->rgba.data, d->rgba.size, SPNG_FMT_RGBA8, SPNG_DECODE_TRNS);
    if (error)
        status = refuse(why, spng_strerror(error));
    else
        rgba_to_pixels(d->rgba.data, (int64_t)pixels, channels, d->pixels.data);
out:
    spng_ctx_free(png);
    return status;
}

/* A palette counts as colour, whatever it holds. */
static int32_t png_probe(const uint8_t *file, size_t n, struct image_shape *shape,
                         char why[IMAGE_WHY])
{
    spng_ctx *png;
    struct spng_ihdr header;
    int32_t status = png_open(file, n, &png, &header, why);
    if (status == GLOW_OK) {
        bool grey = header.color_type == SPNG_COLOR_TYPE_GRAYSCALE ||
                    header.color_type == SPNG_COLOR_TYPE_GRAYSCALE_ALPHA;
        *shape = (struct image_shape){ grey ? 1 : 3, header.height, header.width };
    }
    spng_ctx_free(png);
    return status;
}

/* ---------------------------------------------------------------- either */

int32_t image_probe(struct image_decoder *d, const uint8_t *file, size_t n,
                    struct image_shape *shape, char why[IMAGE_WHY])
{
    if (is_png(file, n)) return png_probe(file, n, shape, why);
    if (!is_jpeg(file, n)) return refuse(why, "it is neither PNG nor JPEG");
    int width, height, colours;
    TRY(jpeg_header(d, file, n, &width, &height, &colours, why));
    *shape = (struct image_shape){ colours == TJCS_GRAY ? 1 : 3, height, width };
    return GLOW_OK;
}

int32_t image_decode(struct image_decoder *d, const uint8_t *file, size_t n,
                     const struct image_shape *shape, const struct image_box *box,
                     enum image_filter filter, uint8_t *dst, char why[IMAGE_WHY])
{
    struct picture p;
    if (is_png(file, n)) {
        TRY(png_decode(d, file, n, shape->channels, &p, why));
    } else if (is_jpeg(file, n)) {
        TRY(jpeg_decode(d, file, n, shape, box, filter == IMAGE_ANTIALIAS, &p, why));
    } else {
        return refuse(why, "it is neither PNG nor JPEG");
    }
    struct image_box part = box ? *box : image_centre(p.true_width, p.true_height, shape);
    if (part.left < 0 || part.top < 0 || part.left + part.width > (double)p.true_width ||
        part.top + part.height > (double)p.true_height)
        return refuse(why, "the crop lies outside of the picture");
    part = (struct image_box){ part.left * p.scale, part.top * p.scale, part.width * p.scale,
                               part.height * p.scale };
    if (!image_resizer_set(&d->resizer, p.width, p.height, shape->channels, &part, shape->width,
                           shape->height, filter)) {
        refuse(why, "out of memory");
        return GLOW_ENOMEM;
    }
    image_resize(&d->resizer, d->pixels.data, dst);
    return GLOW_OK;
}

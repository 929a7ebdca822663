/* test_image.c - image files and resampling: every PNG kind, JPEG, crops and filters against a
 * plain reference; files that are cut off or changed never crash. */
#include "image.h"
#include <check.h>
#include <spng.h>
#include <stdlib.h>
#include <string.h>
#include <turbojpeg.h>
#include <zlib.h>
#include "fixtures.h"
#include "harness.h"
#include "reference.h"

/* Decodes a file; must succeed. */
static void decode(const char *name, int channels, int height, int width, uint8_t *dst)
{
    struct image_shape shape = { channels, height, width };
    struct image_decoder *d = image_decoder_open();
    char why[IMAGE_WHY] = "";
    size_t n;
    uint8_t *bytes = fixture_read(name, &n);
    int32_t status = image_decode(d, bytes, n, &shape, NULL, IMAGE_ANTIALIAS, dst, why);
    ck_assert_msg(status == GLOW_OK, "%s: %s", name, why);
    free(bytes);
    image_decoder_close(d);
}

START_TEST(resampling)
{
    static const int cases[][8] = {
        /* in W, H, C; part left, top, W, H; */
        { 28, 28, 1, 0, 0, 28, 28, 24 },
        { 148, 148, 3, 0, 0, 148, 148, 48 },
        { 178, 218, 3, 15, 40, 148, 148, 64 },
        { 5, 4, 1, 0, 0, 5, 4, 13 },
        { 9, 7, 3, 2, 1, 1, 1, 6 },
        { 200, 3, 1, 0, 0, 200, 3, 2 },
        { 31, 33, 3, 3, 5, 20, 20, 20 },
        { 1, 1, 1, 0, 0, 1, 1, 8 },
    };
    const int *k = cases[_i];
    uint8_t *src = reference_picture(k[0], k[1], k[2], _i),
            *dst = malloc((size_t)(k[7] * (k[7] + 3) * k[2]));
    struct image_box box = { k[3], k[4], k[5], k[6] };
    struct image_resizer r = { 0 };
    for (int filter = 0; filter < 2; filter++) {
        ck_assert(image_resizer_set(&r, k[0], k[1], k[2], &box, k[7], k[7] + 3,
                                    filter ? IMAGE_BILINEAR : IMAGE_ANTIALIAS));
        image_resize(&r, src, dst);
        reference_check(dst, src, k[0], k[2], !filter, k[3], k[4], k[5], k[6], k[7], k[7] + 3);
    }
    image_resizer_free(&r);
    free(src);
    free(dst);
}
END_TEST

/* The filters by hand: 4 pixels to 2. Antialias: taps 3/8 3/8 1/8 at the left end (normalised 3 3 1
 * over 7, as nothing lies beyond); bilinear: pixels 0 and 2. */
START_TEST(by_hand)
{
    const uint8_t line[4] = { 0, 70, 140, 210 };
    struct image_box box = { 0, 0, 4, 1 };
    struct image_resizer r = { 0 };
    uint8_t out[2];
    ck_assert(image_resizer_set(&r, 4, 1, 1, &box, 2, 1, IMAGE_ANTIALIAS));
    image_resize(&r, line, out);
    ck_assert_int_eq(out[0], (3 * 0 + 3 * 70 + 1 * 140 + 3) / 7);
    ck_assert_int_eq(out[1], (1 * 70 + 3 * 140 + 3 * 210 + 3) / 7);
    ck_assert(image_resizer_set(&r, 4, 1, 1, &box, 2, 1, IMAGE_BILINEAR));
    image_resize(&r, line, out);
    ck_assert_int_eq(out[0], 0);
    ck_assert_int_eq(out[1], 140);
    image_resizer_free(&r);
}
END_TEST

START_TEST(centre)
{
    struct image_shape wide = { 3, 32, 64 }, square = { 3, 8, 8 };
    struct image_box b = image_centre(100, 100, &wide);
    ck_assert(b.left == 0 && b.top == 25 && b.width == 100 && b.height == 50);
    b = image_centre(301, 100, &square);
    ck_assert(b.left == 100 && b.top == 0 && b.width == 100 && b.height == 100);
    b = image_centre(1, 1000, &wide);
    ck_assert(b.left == 0 && b.top == 499 && b.width == 1 && b.height == 1);
}
END_TEST

static int luma(int r, int g, int b) { return (299 * r + 587 * g + 114 * b + 500) / 1000; }

enum { W = 7, H = 5, N = W * H };

/* Each kind of PNG at its own size: the very pixels, as RGB and as grey. */
START_TEST(png_kinds)
{
    uint8_t data[N * 4], rgb[N * 3], grey[N], palette[256][4];
    uint16_t deep[N];
    for (int i = 0; i < N * 4; i++) data[i] = (uint8_t)(i * 37 + 11);
    for (int i = 0; i < 256; i++)
        for (int c = 0; c < 4; c++) palette[i][c] = c == 3 ? 255 : (uint8_t)(i * (3 + 2 * c) + c);
    for (int i = 0; i < N; i++)
        deep[i] = (uint16_t)(data[i] | i << 8); /* big-endian: the high byte first */

    fixture_png("grey.png", W, H, SPNG_COLOR_TYPE_GRAYSCALE, 8, data, NULL);
    decode("grey.png", 1, H, W, grey);
    ck_assert_mem_eq(grey, data, N);
    decode("grey.png", 3, H, W, rgb);
    for (int c = 0; c < 3; c++) ck_assert_mem_eq(rgb + c * N, data, N);

    fixture_png("rgb.png", W, H, SPNG_COLOR_TYPE_TRUECOLOR, 8, data, NULL);
    decode("rgb.png", 3, H, W, rgb);
    for (int i = 0; i < N * 3; i++) ck_assert_int_eq(rgb[i % 3 * N + i / 3], data[i]);
    decode("rgb.png", 1, H, W, grey);
    for (int i = 0; i < N; i++)
        ck_assert_int_eq(grey[i], luma(data[3 * i], data[3 * i + 1], data[3 * i + 2]));

    fixture_png("alpha.png", W, H, SPNG_COLOR_TYPE_TRUECOLOR_ALPHA, 8, data, NULL);
    decode("alpha.png", 3, H, W, rgb);
    for (int i = 0; i < N * 3; i++) {
        int alpha = data[i / 3 * 4 + 3], v = data[i / 3 * 4 + i % 3];
        ck_assert_int_eq(rgb[i % 3 * N + i / 3], (v * alpha + 255 * (255 - alpha) + 127) / 255);
    }
    fixture_png("palette.png", W, H, SPNG_COLOR_TYPE_INDEXED, 8, data,
                (const uint8_t(*)[4])palette);
    decode("palette.png", 3, H, W, rgb);
    for (int i = 0; i < N * 3; i++)
        ck_assert_int_eq(rgb[i % 3 * N + i / 3], palette[data[i / 3]][i % 3]);

    fixture_png("deep.png", W, H, SPNG_COLOR_TYPE_GRAYSCALE, 16, deep, NULL);
    decode("deep.png", 1, H, W, grey);
    for (int i = 0; i < N; i++) ck_assert_int_eq(grey[i], data[i]);
}
END_TEST

static double mean_difference(const uint8_t *a, const uint8_t *b, int n)
{
    double sum = 0;
    for (int i = 0; i < n; i++) sum += abs(a[i] - b[i]);
    return sum / n;
}

/* JPEG: near the picture that was written; grey, RGB and CMYK; probes tell sizes. */
START_TEST(jpeg_kinds)
{
    enum { JW = 40, JH = 24 };
    uint8_t *rgb = reference_picture(JW, JH, 3, 1), planar[JW * JH * 3], found[JW * JH * 3],
            grey[JW * JH];
    for (int i = 0; i < JW * JH * 3; i++) planar[i % 3 * JW * JH + i / 3] = rgb[i];
    fixture_jpeg("rgb.jpg", JW, JH, 3, rgb, 98);
    decode("rgb.jpg", 3, JH, JW, found);
    ck_assert(mean_difference(found, planar, sizeof found) < 3);
    for (int i = 0; i < JW * JH; i++)
        planar[i] = (uint8_t)luma(rgb[3 * i], rgb[3 * i + 1], rgb[3 * i + 2]);
    decode("rgb.jpg", 1, JH, JW, grey);
    ck_assert(mean_difference(grey, planar, sizeof grey) < 3);
    fixture_jpeg("grey.jpg", JW, JH, 1, planar, 98);
    decode("grey.jpg", 3, JH, JW, found);
    ck_assert(mean_difference(found + 2 * JW * JH, planar, JW * JH) < 3);

    /* CMYK as Adobe stores it: C M Y over K = 255, so the inks are the colours. */
    uint8_t cmyk[JW * JH * 4];
    unsigned char *bytes = NULL;
    unsigned long n = 0;
    for (int i = 0; i < JW * JH * 4; i++) cmyk[i] = i % 4 == 3 ? 255 : rgb[i / 4 * 3 + i % 4];
    tjhandle jpeg = tjInitCompress();
    ck_assert_int_eq(tjCompress2(jpeg, cmyk, JW, 0, JH, TJPF_CMYK, &bytes, &n, TJSAMP_444, 98, 0),
                     0);
    fixture_file("cmyk.jpg", bytes, n);
    tjFree(bytes);
    tjDestroy(jpeg);
    for (int i = 0; i < JW * JH * 3; i++) planar[i % 3 * JW * JH + i / 3] = rgb[i];
    decode("cmyk.jpg", 3, JH, JW, found);
    ck_assert(mean_difference(found, planar, sizeof found) < 4);

    size_t size;
    uint8_t *file = fixture_read("rgb.jpg", &size);
    struct image_decoder *d = image_decoder_open();
    struct image_shape shape;
    char why[IMAGE_WHY];
    ck_assert_int_eq(image_probe(d, file, size, &shape, why), GLOW_OK);
    ck_assert(shape.channels == 3 && shape.height == JH && shape.width == JW);
    image_decoder_close(d);
    free(file);
    free(rgb);
}
END_TEST

/* A large JPEG is decoded at 1/8 of its size; a smooth picture comes out as by the whole way, and
 * in place: the crop begins in the middle of a reduced pixel. */
START_TEST(jpeg_scaled)
{
    enum { JW = 900, JH = 700, OUT = 32 };
    uint8_t *src = malloc(JW * JH * 3), found[3 * OUT * OUT];
    double worst = 0;
    for (int i = 0; i < JW * JH * 3; i++) {
        int c = i % 3, x = i / 3 % JW, y = i / 3 / JW;
        src[i] = (uint8_t)(128 + 100 * sin(0.02 * x + c) * cos(0.015 * y));
    }
    fixture_jpeg("large.jpg", JW, JH, 3, src, 98);
    decode("large.jpg", 3, OUT, OUT, found);
    for (int i = 0; i < 3 * OUT * OUT; i += 7) {
        double right = reference_pixel(src, JW, 3, 1, 100, 0, 700, 700, OUT, OUT, i / (OUT * OUT),
                                       i / OUT % OUT, i % OUT);
        worst = fmax(worst, fabs(right - found[i]));
    }
    /* The slope is 2 levels a pixel; half a reduced pixel off would be 8. */
    ck_assert_msg(worst < 4, "differs by %f", worst);
    free(src);
}
END_TEST

/* Cut off anywhere or with a flipped bit: a reason or an image, never a crash. Cut-off files are
 * refused. */
START_TEST(damage)
{
    static const char *const names[] = { "hurt.png", "hurt.jpg" };
    struct image_shape shape = { 3, 6, 6 }, probed;
    uint8_t *src = reference_picture(19, 17, 3, 3), dst[3 * 6 * 6];
    struct image_decoder *d = image_decoder_open();
    char why[IMAGE_WHY];
    size_t n;
    if (_i)
        fixture_jpeg(names[1], 19, 17, 3, src, 90);
    else
        fixture_png(names[0], 19, 17, SPNG_COLOR_TYPE_TRUECOLOR, 8, src, NULL);
    uint8_t *bytes = fixture_read(names[_i], &n);
    for (size_t cut = 0; cut < n; cut++) {
        uint8_t *part = malloc(cut + 1); /* of its own, so that reading beyond it is noticed */
        memcpy(part, bytes, cut);
        why[0] = 0;
        int32_t status = image_decode(d, part, cut, &shape, NULL, IMAGE_ANTIALIAS, dst, why);
        /* Without its end a file is complete all the same: JPEG's mark; PNG's last CRC and chunk.
         */
        ck_assert_msg(status != GLOW_OK || cut + (_i ? 2 : 16) >= n, "%zu of %zu bytes were enough",
                      cut, n);
        ck_assert(status == GLOW_OK || why[0]);
        free(part);
        /* A bad file spoils nothing for the next one. */
        status = image_decode(d, bytes, n, &shape, NULL, IMAGE_ANTIALIAS, dst, why);
        ck_assert_msg(status == GLOW_OK, "after %zu of %zu bytes: %s", cut, n, why);
    }
    for (size_t at = 0; at < 8 * n; at++) {
        bytes[at / 8] ^= (uint8_t)(1 << at % 8);
        why[0] = 0;
        int32_t status = image_probe(d, bytes, n, &probed, why);
        /* A size that needs a huge picture is left alone: the test is to stay quick. */
        if (status == GLOW_OK && probed.width * probed.height < 1 << 22)
            status = image_decode(d, bytes, n, &shape, NULL, IMAGE_ANTIALIAS, dst, why);
        ck_assert(status == GLOW_OK || why[0]);
        bytes[at / 8] ^= (uint8_t)(1 << at % 8);
        status = image_decode(d, bytes, n, &shape, NULL, IMAGE_ANTIALIAS, dst, why);
        ck_assert_msg(status == GLOW_OK, "after bit %zu: %s", at, why);
    }
    free(bytes);
    free(src);
    image_decoder_close(d);
}
END_TEST

/* A PNG of 60 bytes whose header, with a right checksum, speaks of 11000 x 11000 pixels. */
START_TEST(lying_header)
{
    struct image_shape shape = { 3, 6, 6 };
    uint8_t *src = reference_picture(12, 12, 1, 3), dst[3 * 6 * 6];
    struct image_decoder *d = image_decoder_open();
    char why[IMAGE_WHY] = "";
    size_t n;
    fixture_png("lying.png", 12, 12, SPNG_COLOR_TYPE_GRAYSCALE, 8, src, NULL);
    uint8_t *bytes = fixture_read("lying.png", &n);
    for (int i = 0; i < 2; i++) {
        bytes[16 + 4 * i + 2] = 11000 / 256;
        bytes[16 + 4 * i + 3] = 11000 % 256;
    }
    uint32_t crc = (uint32_t)crc32(0, bytes + 12, 17);
    for (int i = 0; i < 4; i++) bytes[29 + i] = (uint8_t)(crc >> (24 - 8 * i));
    ck_assert_int_eq(image_decode(d, bytes, n, &shape, NULL, IMAGE_ANTIALIAS, dst, why),
                     GLOW_EINVAL);
    ck_assert_msg(strstr(why, "too short for its size") != NULL, "%s", why);
    free(bytes);
    free(src);
    image_decoder_close(d);
}
END_TEST

START_TEST(refusals)
{
    struct image_shape shape = { 3, 6, 6 };
    struct image_box outside = { 0, 10, 8, 8 };
    uint8_t *src = reference_picture(12, 12, 1, 3), dst[3 * 6 * 6];
    struct image_decoder *d = image_decoder_open();
    char why[IMAGE_WHY];
    size_t n;
    ck_assert_int_eq(
        image_decode(d, (const uint8_t *)"GIF89a", 6, &shape, NULL, IMAGE_ANTIALIAS, dst, why),
        GLOW_EINVAL);
    ck_assert(strstr(why, "neither PNG nor JPEG") != NULL);
    fixture_png("small.png", 12, 12, SPNG_COLOR_TYPE_GRAYSCALE, 8, src, NULL);
    uint8_t *bytes = fixture_read("small.png", &n);
    ck_assert_int_eq(image_decode(d, bytes, n, &shape, &outside, IMAGE_ANTIALIAS, dst, why),
                     GLOW_EINVAL);
    ck_assert(strstr(why, "outside") != NULL);
    free(bytes);
    free(src);
    image_decoder_close(d);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("image");
    TCase *tests = tcase_create("image");
    harness_directory();
    suite_add_tcase(suite, tests);
    tcase_set_timeout(tests, 60);
    tcase_add_loop_test(tests, resampling, 0, 8);
    tcase_add_test(tests, by_hand);
    tcase_add_test(tests, centre);
    tcase_add_test(tests, png_kinds);
    tcase_add_test(tests, jpeg_kinds);
    tcase_add_test(tests, jpeg_scaled);
    tcase_add_loop_test(tests, damage, 0, 2);
    tcase_add_test(tests, lying_header);
    tcase_add_test(tests, refusals);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}

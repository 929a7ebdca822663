/* test_picture.c - grids as PNG, and PNG and JPEG files as reals; the decoder here is libspng's
 * own. */
#include "picture.h"

#include <check.h>
#include <math.h>
#include <spng.h>
#include <turbojpeg.h>
#include "scratch.h"
#include "tensor.h"

/* Decodes a PNG into `format`; the caller frees. */
static uint8_t *decode(const char *name, struct spng_ihdr *header, int format)
{
    size_t n, size;
    char *png = scratch_load(name, &n);
    ck_assert_ptr_nonnull(png);
    spng_ctx *context = spng_ctx_new(0);
    ck_assert_int_eq(spng_set_png_buffer(context, png, n), 0);
    ck_assert_int_eq(spng_get_ihdr(context, header), 0);
    ck_assert_int_eq(spng_decoded_image_size(context, format, &size), 0);
    uint8_t *pixels = malloc(size);
    ck_assert_int_eq(spng_decode_image(context, pixels, size, format, 0), 0);
    spng_ctx_free(context);
    free(png);
    return pixels;
}

/* Three 1x2 images in two columns, twice the size, with a gap of one pixel. */
START_TEST(grid_by_hand)
{
    static const float images[6] = { 0, 1, 0.25f, 0.5f, -3, NAN };
    static const uint8_t expected[7][11] = {
        { 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255 },
        { 255, 0, 0, 255, 255, 255, 64, 64, 128, 128, 255 },
        { 255, 0, 0, 255, 255, 255, 64, 64, 128, 128, 255 },
        { 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255 },
        { 255, 0, 0, 0, 0, 255, 255, 255, 255, 255, 255 },
        { 255, 0, 0, 0, 0, 255, 255, 255, 255, 255, 255 },
        { 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255 },
    };
    struct picture_grid grid = { .columns = 2, .scale = 2, .gap = 1 };
    struct spng_ihdr header;
    ck_assert_int_eq(picture_grid(scratch_path("g.png"), images, DT_F32, 3, 1, 1, 2, &grid), 0);
    uint8_t *pixels = decode("g.png", &header, SPNG_FMT_PNG);
    ck_assert_uint_eq(header.width, 11);
    ck_assert_uint_eq(header.height, 7);
    ck_assert_uint_eq(header.color_type, SPNG_COLOR_TYPE_GRAYSCALE);
    ck_assert_mem_eq(pixels, expected, sizeof expected);
    free(pixels);
}
END_TEST

/* With four channels the first three are shown, with two the first. */
START_TEST(grid_channels)
{
    struct picture_grid grid = { .columns = 1, .scale = 1, .gap = 0 };
    struct spng_ihdr header;
    double images[2 * 5 * 2]; /* (n,C,1,2), value c/8 + x/16 + i/256 */
    for (int channels = 1; channels <= 5; channels++) {
        int shown = channels >= 3 ? 3 : 1;
        for (int i = 0; i < 2; i++)
            for (int c = 0; c < channels; c++)
                for (int x = 0; x < 2; x++)
                    images[(i * channels + c) * 2 + x] = c / 8.0 + x / 16.0 + i / 256.0;
        ck_assert_int_eq(
            picture_grid(scratch_path("c.png"), images, DT_F64, 2, channels, 1, 2, &grid), 0);
        uint8_t *pixels = decode("c.png", &header, SPNG_FMT_PNG);
        ck_assert_uint_eq(header.width, 2);
        ck_assert_uint_eq(header.height, 2);
        for (int i = 0; i < 2; i++)
            for (int x = 0; x < 2; x++)
                for (int c = 0; c < shown; c++)
                    ck_assert_int_eq(pixels[(i * 2 + x) * shown + c], c * 32 + x * 16 + i);
        free(pixels);
    }
}
END_TEST

START_TEST(automatic_layout)
{
    struct picture_grid grid = { .gap = 2 };
    struct spng_ihdr header;
    float *images = calloc(10 * 28 * 28, sizeof *images);
    ck_assert_int_eq(picture_grid(scratch_path("a.png"), images, DT_F32, 10, 1, 28, 28, &grid), 0);
    free(decode("a.png", &header, SPNG_FMT_PNG));
    ck_assert_uint_eq(header.width, 4 * (3 * 28 + 2) + 2);
    ck_assert_uint_eq(header.height, 3 * (3 * 28 + 2) + 2);
    ck_assert_int_eq(picture_grid(scratch_path("a.png"), images, DT_F32, 0, 1, 28, 28, &grid),
                     GLOW_EINVAL);
    grid.scale = 65000;
    ck_assert_int_eq(picture_grid(scratch_path("a.png"), images, DT_F32, 10, 1, 28, 28, &grid),
                     GLOW_EINVAL);
    free(images);
}
END_TEST

/* u / 255 and (u + noise) / 256 are both written as u, for every u, in both precisions. */
START_TEST(levels)
{
    struct picture_grid grid = { .columns = 1, .scale = 1 };
    struct spng_ihdr header;
    float narrow[256];
    double wide[256];
    for (int kind = 0; kind < 3; kind++) {
        for (int u = 0; u < 256; u++) {
            wide[u] = kind == 0 ? u / 255.0 : kind == 1 ? u / 256.0 : (u + 0.999) / 256;
            narrow[u] = (float)wide[u];
        }
        for (int dtype = DT_F32; dtype <= DT_F64; dtype++) {
            const void *images = dtype == DT_F64 ? (const void *)wide : narrow;
            picture_grid(scratch_path("l.png"), images, dtype, 1, 1, 1, 256, &grid);
            uint8_t *pixels = decode("l.png", &header, SPNG_FMT_PNG);
            for (int u = 0; u < 256; u++) ck_assert_int_eq(pixels[u], u);
            free(pixels);
        }
    }
}
END_TEST

START_TEST(deterministic)
{
    uint8_t pixels[64 * 64 * 3];
    size_t n, m;
    for (int i = 0; i < (int)sizeof pixels; i++) pixels[i] = (uint8_t)(i * i >> 5);
    picture_write(scratch_path("a.png"), 64, 64, 3, pixels);
    picture_write(scratch_path("b.png"), 64, 64, 3, pixels);
    char *a = scratch_load("a.png", &n), *b = scratch_load("b.png", &m);
    ck_assert_uint_eq(n, m);
    ck_assert_mem_eq(a, b, n);
    free(a);
    free(b);
}
END_TEST

/* What was written is read back exactly; grey from colours that are equal is exact, too. */
START_TEST(read_png)
{
    uint8_t pixels[4 * 6 * 3];
    double colour[3 * 4 * 6], grey[4 * 6];
    float narrow[3 * 4 * 6];
    for (int i = 0; i < (int)sizeof pixels; i++) pixels[i] = (uint8_t)(i * 37);
    ck_assert_int_eq(picture_write(scratch_path("r.png"), 4, 6, 3, pixels), 0);
    ck_assert_int_eq(picture_read(scratch_path("r.png"), 3, 4, 6, DT_F64, colour), 0);
    ck_assert_int_eq(picture_read(scratch_path("r.png"), 3, 4, 6, DT_F32, narrow), 0);
    for (int c = 0; c < 3; c++)
        for (int i = 0; i < 24; i++) {
            ck_assert(colour[c * 24 + i] == pixels[i * 3 + c] / 255.0);
            ck_assert(narrow[c * 24 + i] == (float)(pixels[i * 3 + c] / 255.0));
        }
    for (int i = 0; i < 24; i++) pixels[i] = (uint8_t)(i * 11);
    ck_assert_int_eq(picture_write(scratch_path("r.png"), 4, 6, 1, pixels), 0);
    ck_assert_int_eq(picture_read(scratch_path("r.png"), 1, 4, 6, DT_F64, grey), 0);
    for (int i = 0; i < 24; i++) ck_assert(grey[i] == pixels[i] / 255.0);
}
END_TEST

/* 4x6 read as 2x2: the centred 4x4 part, means of 2x2 pixels; as 3x3: areas that share pixels. */
START_TEST(crop_and_resize)
{
    uint8_t pixels[4 * 6];
    double image[9];
    for (int y = 0; y < 4; y++)
        for (int x = 0; x < 6; x++) pixels[y * 6 + x] = (uint8_t)(40 * y + 8 * x);
    picture_write(scratch_path("r.png"), 4, 6, 1, pixels);
    ck_assert_int_eq(picture_read(scratch_path("r.png"), 1, 2, 2, DT_F64, image), 0);
    for (int y = 0; y < 2; y++)
        for (int x = 0; x < 2; x++)
            ck_assert_double_eq_tol(image[y * 2 + x], (80 * y + 20 + 16 * x + 12) / 255.0, 1e-12);
    ck_assert_int_eq(picture_read(scratch_path("r.png"), 1, 3, 3, DT_F64, image), 0);
    /* The corner covers pixel (0,1) wholly, a third of its neighbours, a ninth of the diagonal one:
     * (8 + (16 + 48) / 3 + 56 / 9) / (16 / 9) = 20. */
    ck_assert_double_eq_tol(image[0], 20 / 255.0, 1e-12);
    ck_assert_double_eq_tol(image[4], 80 / 255.0, 1e-12);
    /* Magnified: each pixel becomes 2x2. */
    double large[8 * 12];
    ck_assert_int_eq(picture_read(scratch_path("r.png"), 1, 8, 12, DT_F64, large), 0);
    for (int y = 0; y < 8; y++)
        for (int x = 0; x < 12; x++)
            ck_assert_double_eq_tol(large[y * 12 + x], pixels[y / 2 * 6 + x / 2] / 255.0, 1e-12);
}
END_TEST

START_TEST(read_jpeg)
{
    uint8_t pixels[32 * 48 * 3];
    unsigned char *bytes = NULL;
    unsigned long size = 0;
    double image[3 * 32 * 48];
    for (int y = 0; y < 32; y++)
        for (int x = 0; x < 48; x++) {
            uint8_t *p = pixels + (y * 48 + x) * 3;
            p[0] = (uint8_t)(4 * x);
            p[1] = (uint8_t)(6 * y);
            p[2] = 100;
        }
    tjhandle jpeg = tjInitCompress();
    ck_assert_int_eq(
        tjCompress2(jpeg, pixels, 48, 0, 32, TJPF_RGB, &bytes, &size, TJSAMP_444, 98, 0), 0);
    tjDestroy(jpeg);
    scratch_save("a.jpg", bytes, size);
    ck_assert_msg(picture_read(scratch_path("a.jpg"), 3, 32, 48, DT_F64, image) == 0, "%s",
                  fail_message());
    for (int c = 0; c < 3; c++)
        for (int i = 0; i < 32 * 48; i++)
            ck_assert_double_eq_tol(image[c * 32 * 48 + i], pixels[i * 3 + c] / 255.0, 6 / 255.0);
    scratch_save("short.jpg", bytes, 20);
    ck_assert_int_eq(picture_read(scratch_path("short.jpg"), 3, 8, 8, DT_F64, image), GLOW_EINVAL);
    ck_assert_ptr_nonnull(strstr(fail_message(), "JPEG"));
    tjFree(bytes);
}
END_TEST

START_TEST(refused)
{
    uint8_t pixels[64] = { 0 };
    double image[64];
    size_t n;
    picture_write(scratch_path("a.png"), 8, 8, 1, pixels);
    char *png = scratch_load("a.png", &n);
    for (size_t cut = 0; cut < n - 16; cut++) { /* a CRC and the end chunk, without pixels */
        scratch_save("cut.png", png, cut);
        ck_assert_int_eq(picture_read(scratch_path("cut.png"), 1, 8, 8, DT_F64, image),
                         GLOW_EINVAL);
    }
    png[16] = 0x7f; /* a width of two thousand million */
    scratch_save("huge.png", png, n);
    ck_assert_int_eq(picture_read(scratch_path("huge.png"), 1, 8, 8, DT_F64, image), GLOW_EINVAL);
    free(png);
    scratch_save("text.png", "a text, not a picture", 21);
    ck_assert_int_eq(picture_read(scratch_path("text.png"), 1, 8, 8, DT_F64, image), GLOW_EINVAL);
    ck_assert_ptr_nonnull(strstr(fail_message(), "neither a PNG nor a JPEG"));
    ck_assert_int_eq(picture_read(scratch_path("not-there.png"), 1, 8, 8, DT_F64, image), GLOW_EIO);
    ck_assert_int_eq(picture_read(scratch_path("a.png"), 2, 8, 8, DT_F64, image), GLOW_EINVAL);
    ck_assert_int_eq(picture_write(scratch_path("no/a.png"), 8, 8, 1, pixels), GLOW_EIO);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("picture");
    TCase *tests = tcase_create("picture");
    tcase_add_test(tests, grid_by_hand);
    tcase_add_test(tests, grid_channels);
    tcase_add_test(tests, automatic_layout);
    tcase_add_test(tests, levels);
    tcase_add_test(tests, deterministic);
    tcase_add_test(tests, read_png);
    tcase_add_test(tests, crop_and_resize);
    tcase_add_test(tests, read_jpeg);
    tcase_add_test(tests, refused);
    tcase_set_timeout(tests, 60);
    suite_add_tcase(suite, tests);
    return scratch_run(suite);
}

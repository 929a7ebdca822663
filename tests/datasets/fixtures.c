/* fixtures.c - files for the tests of dataset plug-ins. */
#include "fixtures.h"
#include <check.h>
#include <errno.h>
#include <spng.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <turbojpeg.h>
#include <unistd.h>
#include <zip.h>
#include <zlib.h>
#include "harness.h"

/* Makes the folders of a path, up to its last slash. */
static void make_folders(const char *path)
{
    char copy[4096];
    snprintf(copy, sizeof copy, "%s", path);
    for (char *slash = strchr(copy + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = 0;
        ck_assert_msg(mkdir(copy, 0755) == 0 || errno == EEXIST, "%s: %s", copy, strerror(errno));
        *slash = '/';
    }
}

void fixture_folder(const char *name)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/", harness_path(name));
    make_folders(path);
}

void fixture_file(const char *name, const void *bytes, size_t n)
{
    const char *path = harness_path(name);
    make_folders(path);
    unlink(path); /* ext4 writes a file that is truncated and refilled to disk at once: slow */
    FILE *f = fopen(path, "wb");
    ck_assert_msg(f != NULL, "%s: %s", path, strerror(errno));
    ck_assert_uint_eq(fwrite(bytes, 1, n, f), n);
    ck_assert_int_eq(fclose(f), 0);
}

void fixture_text(const char *name, const char *text) { fixture_file(name, text, strlen(text)); }

uint8_t *fixture_read(const char *name, size_t *n)
{
    const char *path = harness_path(name);
    struct stat st;
    FILE *f = fopen(path, "rb");
    ck_assert_msg(f && fstat(fileno(f), &st) == 0, "%s: %s", path, strerror(errno));
    *n = (size_t)st.st_size;
    uint8_t *bytes = malloc(*n + 1);
    ck_assert_ptr_nonnull(bytes);
    ck_assert_uint_eq(fread(bytes, 1, *n, f), *n);
    fclose(f);
    return bytes;
}

void fixture_idx(const char *name, int rank, const uint32_t *sizes, const uint8_t *elements)
{
    uint8_t head[16] = { 0, 0, 8, (uint8_t)rank };
    size_t n = 1;
    for (int i = 0; i < rank; i++) {
        for (int b = 0; b < 4; b++) head[4 + 4 * i + b] = (uint8_t)(sizes[i] >> (24 - 8 * b));
        n *= sizes[i];
    }
    const char *path = harness_path(name);
    bool zipped = strlen(name) > 3 && !strcmp(name + strlen(name) - 3, ".gz");
    make_folders(path);
    gzFile f = gzopen(path, zipped ? "wb" : "wbT"); /* T: as it is */
    ck_assert_ptr_nonnull(f);
    ck_assert_int_eq(gzwrite(f, head, 4 + 4 * (unsigned)rank), 4 + 4 * rank);
    ck_assert_int_eq(gzwrite(f, elements, (unsigned)n), (int)n);
    ck_assert_int_eq(gzclose(f), Z_OK);
}

void fixture_jpeg(const char *name, int width, int height, int channels, const uint8_t *pixels,
                  int quality)
{
    unsigned char *bytes = NULL;
    unsigned long n = 0;
    tjhandle jpeg = tjInitCompress();
    ck_assert_int_eq(tjCompress2(jpeg, pixels, width, 0, height,
                                 channels == 1 ? TJPF_GRAY : TJPF_RGB, &bytes, &n,
                                 channels == 1 ? TJSAMP_GRAY : TJSAMP_444, quality, 0),
                     0);
    fixture_file(name, bytes, n);
    tjFree(bytes);
    tjDestroy(jpeg);
}

void fixture_png(const char *name, int width, int height, int colour, int depth, const void *pixels,
                 const uint8_t (*palette)[4])
{
    static const int samples[] = { 1, 0, 3, 1, 2, 0, 4 };
    size_t n = (size_t)width * (size_t)height * (size_t)samples[colour] * (size_t)depth / 8, bytes;
    struct spng_ihdr header = { .width = (uint32_t)width,
                                .height = (uint32_t)height,
                                .bit_depth = (uint8_t)depth,
                                .color_type = (uint8_t)colour };
    spng_ctx *png = spng_ctx_new(SPNG_CTX_ENCODER);
    int error;
    spng_set_option(png, SPNG_ENCODE_TO_BUFFER, 1);
    ck_assert_int_eq(spng_set_ihdr(png, &header), 0);
    if (palette) {
        struct spng_plte colours = { .n_entries = 256 };
        struct spng_trns alphas = { .n_type3_entries = 256 };
        for (int i = 0; i < 256; i++) {
            colours.entries[i] =
                (struct spng_plte_entry){ palette[i][0], palette[i][1], palette[i][2], 0 };
            alphas.type3_alpha[i] = palette[i][3];
        }
        ck_assert_int_eq(spng_set_plte(png, &colours), 0);
        ck_assert_int_eq(spng_set_trns(png, &alphas), 0);
    }
    /* RAW takes 16-bit samples as the file has them, big-endian. */
    error = spng_encode_image(png, pixels, n, depth == 16 ? SPNG_FMT_RAW : SPNG_FMT_PNG,
                              SPNG_ENCODE_FINALIZE);
    ck_assert_msg(!error, "%s: %s", name, spng_strerror(error));
    void *buffer = spng_get_png_buffer(png, &bytes, &error);
    ck_assert_ptr_nonnull(buffer);
    fixture_file(name, buffer, bytes);
    free(buffer);
    spng_ctx_free(png);
}

void fixture_zip(const char *name, const char *entry, const char *folder, int n,
                 const char *const *bases)
{
    int code = 0;
    const char *path = harness_path(name);
    make_folders(path);
    zip_t *zip = zip_open(path, ZIP_CREATE | ZIP_TRUNCATE, &code);
    ck_assert_msg(zip != NULL, "%s: %d", path, code);
    for (int i = 0; i < n; i++) {
        char from[512], to[512];
        size_t size;
        snprintf(from, sizeof from, "%s/%s", folder, bases[i]);
        snprintf(to, sizeof to, "%s%s%s", entry, entry[0] ? "/" : "", bases[i]);
        uint8_t *bytes = fixture_read(from, &size);
        zip_source_t *source = zip_source_buffer(zip, bytes, size, 1); /* frees bytes */
        zip_int64_t at = zip_file_add(zip, to, source, 0);
        ck_assert_int_ge(at, 0);
        ck_assert_int_eq(zip_set_file_compression(zip, (zip_uint64_t)at, ZIP_CM_STORE, 0), 0);
    }
    ck_assert_int_eq(zip_close(zip), 0);
}

void fixture_npy(const char *name, int version, const char *dictionary, const void *data, size_t n)
{
    size_t start = version == 1 ? 10 : 12, length = strlen(dictionary) + 1;
    length += (64 - (start + length) % 64) % 64;
    uint8_t *bytes = malloc(start + length + n);
    ck_assert_ptr_nonnull(bytes);
    memset(bytes, ' ', start + length);
    memcpy(bytes, "\x93NUMPY", 6);
    bytes[6] = (uint8_t)version;
    bytes[7] = 0;
    for (size_t i = 8; i < start; i++) bytes[i] = (uint8_t)(length >> (8 * (i - 8)));
    memcpy(bytes + start, dictionary, strlen(dictionary));
    bytes[start + length - 1] = '\n';
    memcpy(bytes + start + length, data, n);
    fixture_file(name, bytes, start + length + n);
    free(bytes);
}

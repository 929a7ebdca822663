/* test_idx.c - idx files: values, splits, fitting, and files that are wrong in every way. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "fixtures.h"
#include "harness.h"
#include "reference.h"

enum { TRAIN = 20, TEST = 10, H = 5, W = 4, PIXELS = H * W };

static uint8_t pixel(int seed, int i, int y, int x)
{
    return (uint8_t)(seed + i * 31 + y * 57 + x * 11);
}

/* n images and labels; the labels are optional. */
static void write_set(const char *images, const char *labels, int n, int seed)
{
    uint8_t pixels[TRAIN * PIXELS], classes[TRAIN];
    for (int i = 0; i < n; i++) {
        classes[i] = (uint8_t)((i + seed) % 10);
        for (int k = 0; k < PIXELS; k++) pixels[i * PIXELS + k] = pixel(seed, i, k / W, k % W);
    }
    fixture_idx(images, 3, (uint32_t[]){ (uint32_t)n, H, W }, pixels);
    if (labels) fixture_idx(labels, 1, (uint32_t[]){ (uint32_t)n }, classes);
}

static void check_rows(struct harness *h, int seed, int first, int count)
{
    ck_assert_int_eq(h->info.count, count);
    for (int i = 0; i < count; i++) {
        uint8_t row[PIXELS];
        int32_t label;
        harness_read(h, 0, i, row);
        for (int k = 0; k < PIXELS; k++)
            ck_assert_int_eq(row[k], pixel(seed, first + i, k / W, k % W));
        if (h->info.n_columns < 2) continue;
        harness_read(h, 1, i, &label);
        ck_assert_int_eq(label, (first + i + seed) % 10);
    }
}

/* Both spellings, gzipped and not; both splits. */
START_TEST(values)
{
    static const char *const forms[][2] = {
        { "%s-images-idx3-ubyte", "%s-labels-idx1-ubyte" },
        { "%s-images-idx3-ubyte.gz", "%s-labels-idx1-ubyte.gz" },
        { "%s-images.idx3-ubyte", "%s-labels.idx1-ubyte" },
        { "%s-images.idx3-ubyte.gz", "%s-labels.idx1-ubyte" },
    };
    char images[2][128], labels[2][128], folder[32];
    struct harness *h = harness_load("idx");
    snprintf(folder, sizeof folder, "set%d", _i);
    for (int t = 0; t < 2; t++) {
        char form[64];
        snprintf(form, sizeof form, "%s/%s", folder, forms[_i][0]);
        snprintf(images[t], sizeof images[t], form, t ? "t10k" : "train");
        snprintf(form, sizeof form, "%s/%s", folder, forms[_i][1]);
        snprintf(labels[t], sizeof labels[t], form, t ? "t10k" : "train");
    }
    write_set(images[0], labels[0], TRAIN, 0);
    write_set(images[1], labels[1], TEST, 3);
    harness_set_path(h, "path", folder);
    harness_open(h, "train", harness_any());
    const struct glow_column *x = &h->info.columns[0], *label = &h->info.columns[1];
    ck_assert_uint_eq(h->info.n_columns, 2);
    ck_assert_int_eq(x->type.rank, 3);
    ck_assert_int_eq(x->type.dim[0], 1);
    ck_assert_int_eq(x->type.dim[1], H);
    ck_assert_int_eq(x->type.dim[2], W);
    ck_assert(x->dtype == GLOW_U8 && x->lo == 0 && x->hi == 255);
    ck_assert(label->role == GLOW_ROLE_LABEL && label->dtype == GLOW_I32 && label->n_names == 10);
    ck_assert_str_eq(label->names[3], "3");
    check_rows(h, 0, 0, TRAIN);
    harness_conforms(h);
    harness_open(h, "test", harness_image(1, H, W));
    check_rows(h, 3, 0, TEST);
    harness_open(h, "valid", harness_row(PIXELS));
    check_rows(h, 3, 0, TEST);
    harness_set(h, "valid", "6");
    harness_open(h, "valid", harness_any());
    check_rows(h, 0, TRAIN - 6, 6);
    harness_open(h, "train", harness_any());
    check_rows(h, 0, 0, TRAIN - 6);
    harness_free(h);
}
END_TEST

/* One file only: its rows are divided, and the log says so. */
START_TEST(holdout)
{
    struct harness *h = harness_load("idx");
    write_set("alone/t10k-images-idx3-ubyte.gz", "alone/t10k-labels-idx1-ubyte.gz", TRAIN, 0);
    harness_set_path(h, "path", _i ? "alone/t10k-images-idx3-ubyte.gz" : "alone");
    harness_set(h, "holdout", "0.25");
    harness_open(h, "train", harness_any());
    check_rows(h, 0, 0, 15);
    ck_assert(harness_logged(h, "the only file: its first 15 rows train, its last 5 test"));
    harness_open(h, "test", harness_any());
    check_rows(h, 0, 15, 5);
    harness_open(h, "valid", harness_any());
    check_rows(h, 0, 15, 5);
    harness_set(h, "valid", "4");
    harness_open(h, "valid", harness_any());
    check_rows(h, 0, 11, 4);
    harness_open(h, "train", harness_any());
    check_rows(h, 0, 0, 11);
    harness_free(h);
}
END_TEST

/* Larger: zeros around, in every channel; smaller: resized. */
START_TEST(fitting)
{
    struct harness *h = harness_load("idx");
    uint8_t src[PIXELS], row[3 * 8 * 9], small[3 * 3];
    write_set("fit/train-images-idx3-ubyte", NULL, TRAIN, 0);
    write_set("fit/t10k-images-idx3-ubyte", NULL, TEST, 3);
    for (int k = 0; k < PIXELS; k++) src[k] = pixel(0, 2, k / W, k % W);
    harness_set_path(h, "path", "fit");
    harness_open(h, "train", harness_image(3, 8, 9));
    ck_assert_uint_eq(h->info.n_columns, 1);
    harness_read(h, 0, 2, row);
    for (int c = 0; c < 3; c++) {
        for (int y = 0; y < 8; y++) {
            for (int x = 0; x < 9; x++) {
                bool inside = y >= 1 && y < 1 + H && x >= 2 && x < 2 + W;
                ck_assert_int_eq(row[(c * 8 + y) * 9 + x], inside ? src[(y - 1) * W + x - 2] : 0);
            }
        }
    }
    harness_conforms(h);
    for (int filter = 0; filter < 2; filter++) {
        harness_set(h, "filter", filter ? "antialias" : "bilinear");
        harness_open(h, "train", harness_image(1, 3, 3));
        harness_read(h, 0, 2, small);
        reference_check(small, src, W, 1, filter, 0, 0, W, H, 3, 3);
        harness_conforms(h);
    }
    harness_set(h, "fit", "resize");
    harness_open(h, "train", harness_image(1, 8, 9));
    harness_read(h, 0, 2, row);
    reference_check(row, src, W, 1, 1, 0, 0, W, H, 9, 8);
    harness_free(h);
}
END_TEST

START_TEST(refusals)
{
    struct harness *h = harness_load("idx");
    write_set("bad/train-images-idx3-ubyte", "bad/train-labels-idx1-ubyte", TRAIN, 0);
    write_set("bad/t10k-images-idx3-ubyte", "bad/t10k-labels-idx1-ubyte", TEST, 3);
    harness_set_path(h, "path", "nowhere");
    harness_refuses(h, "train", harness_any(), GLOW_EIO, "nowhere", "No such file", NULL);
    fixture_folder("empty");
    harness_set_path(h, "path", "empty");
    harness_refuses(h, "train", harness_any(), GLOW_EINVAL, "empty", "train-images-idx3-ubyte",
                    NULL);
    harness_set_path(h, "path", "bad");
    harness_refuses(h, "train", harness_row(3), GLOW_EINVAL, "rows of 3", "1x5x4", NULL);
    harness_set(h, "fit", "exact");
    harness_refuses(h, "train", harness_image(1, 8, 8), GLOW_EINVAL, "exact", "5x4", "8x8", NULL);
    harness_set(h, "fit", "pad");
    harness_refuses(h, "train", harness_image(1, 3, 8), GLOW_EINVAL, "pad", "5x4", "3x8", "resize",
                    NULL);
    harness_set(h, "fit", NULL);
    harness_set(h, "valid", "20");
    harness_refuses(h, "train", harness_any(), GLOW_EINVAL, "valid = 20", "20 training rows", NULL);
    harness_set(h, "valid", NULL);

    fixture_text("bad/t10k-images-idx3-ubyte", "this is text, not an idx file");
    harness_refuses(h, "test", harness_any(), GLOW_EINVAL, "t10k-images", "begins with 74 68 69 73",
                    "00 00 08 03", NULL);
    fixture_text("bad/t10k-images-idx3-ubyte", "");
    harness_refuses(h, "test", harness_any(), GLOW_EINVAL, "truncated", NULL);
    write_set("bad/t10k-images-idx3-ubyte", NULL, TEST, 3);
    fixture_idx("bad/t10k-labels-idx1-ubyte", 1, (uint32_t[]){ 9 }, (const uint8_t *)"123456789");
    harness_refuses(h, "test", harness_any(), GLOW_EINVAL, "9 labels", "10 images", NULL);
    harness_free(h);
}
END_TEST

/* Every truncation and many single bit flips of a file: refused with a reason, or opened and read.
 */
START_TEST(damage)
{
    struct harness *h = harness_load("idx");
    const char *name = _i ? "hurt/train-images-idx3-ubyte.gz" : "hurt/train-images-idx3-ubyte";
    size_t n;
    write_set(name, NULL, TRAIN, 0);
    uint8_t *bytes = fixture_read(name, &n), row[PIXELS];
    harness_set_path(h, "path", name);
    for (size_t cut = 0; cut < n; cut++) {
        fixture_file(name, bytes, cut);
        ck_assert_msg(harness_try(h, "train", harness_any()) != GLOW_OK,
                      "%zu of %zu bytes were enough", cut, n);
    }
    for (size_t at = 0; at < n; at++) {
        bytes[at] ^= (uint8_t)(1 << at % 8);
        fixture_file(name, bytes, n);
        int32_t status = harness_try(h, "train", harness_image(1, H, W));
        /* Beyond gzip's header its checksum finds any change, but for the bits that fill up the
         * last byte of the compressed data, before the 8 bytes of the checksum and the length. */
        ck_assert_msg(!_i || at < 10 || at + 9 == n || status != GLOW_OK,
                      "a changed byte %zu was not noticed", at);
        if (status == GLOW_OK && h->info.count > 0) harness_read(h, 0, h->info.count - 1, row);
        bytes[at] ^= (uint8_t)(1 << at % 8);
    }
    fixture_file(name, bytes, n);
    harness_open(h, "train", harness_any());
    fixture_file(name, bytes, n - 1);
    harness_refuses(h, "train", harness_any(), GLOW_EINVAL, name, NULL);
    free(bytes);
    harness_free(h);
}
END_TEST

/* A header that promises far more than the file holds asks for no memory. */
START_TEST(huge_header)
{
    struct harness *h = harness_load("idx");
    fixture_file("huge-images-idx3", "\0\0\10\3\377\377\377\377\0\0\20\0\0\0\20\0", 16);
    harness_set_path(h, "path", "huge-images-idx3");
    harness_refuses(h, "train", harness_any(), GLOW_EINVAL, "wrong length", "found 16", NULL);
    harness_free(h);
}
END_TEST

/* Debian's package, where it is installed. */
START_TEST(fashion_mnist)
{
    struct harness *h = harness_load("idx");
    FILE *there = fopen("/usr/share/datasets/fashion-mnist/train-images-idx3-ubyte.gz", "rb");
    if (there) {
        int32_t label;
        fclose(there);
        harness_open(h, "train", harness_image(1, 32, 32));
        ck_assert_int_eq(h->info.count, 60000);
        harness_read(h, 1, 0, &label);
        ck_assert_str_eq(h->info.columns[1].names[label], "Ankle boot");
        harness_conforms(h);
        harness_open(h, "test", harness_any());
        ck_assert_int_eq(h->info.count, 10000);
    }
    harness_free(h);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("idx");
    TCase *tests = tcase_create("idx");
    harness_directory();
    suite_add_tcase(suite, tests);
    tcase_set_timeout(tests, 60);
    tcase_add_loop_test(tests, values, 0, 4);
    tcase_add_loop_test(tests, holdout, 0, 2);
    tcase_add_test(tests, fitting);
    tcase_add_test(tests, refusals);
    tcase_add_loop_test(tests, damage, 0, 2);
    tcase_add_test(tests, huge_header);
    tcase_add_test(tests, fashion_mnist);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}

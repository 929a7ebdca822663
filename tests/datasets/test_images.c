/* test_images.c - a folder of pictures of any size and kind: crop and resize, splits, flips, files
 * that can't be read, the cache. */
#include <math.h>
#include <spng.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "fixtures.h"
#include "harness.h"
#include "reference.h"

static void write_grey(const char *name, int width, int height, int variant)
{
    uint8_t *src = reference_picture(width, height, 1, variant);
    fixture_png(name, width, height, SPNG_COLOR_TYPE_GRAYSCALE, 8, src, NULL);
    free(src);
}

/* A folder of n small grey pictures, picture i of the one level 2 i. */
static void write_levels(const char *folder, int n)
{
    for (int i = 0; i < n; i++) {
        char name[128];
        uint8_t level[4 * 4];
        memset(level, 2 * i, sizeof level);
        snprintf(name, sizeof name, "%s/picture%03d.png", folder, i);
        fixture_png(name, 4, 4, SPNG_COLOR_TYPE_GRAYSCALE, 8, level, NULL);
    }
}

static void count_levels(struct harness *h, const char *split, int *times)
{
    uint8_t row[16];
    harness_open(h, split, harness_image(1, 4, 4));
    for (int64_t i = 0; i < h->info.count; i++) {
        harness_read(h, 0, i, row);
        times[row[5] / 2]++;
    }
}

/* Names sort a < b < sub/d < sub/deeper/c; each row is the centre of its picture, resized. */
START_TEST(rows)
{
    struct harness *h = harness_load("images");
    uint8_t *rgb = reference_picture(60, 40, 3, 1), *tall = reference_picture(20, 50, 3, 2),
            found[3 * 16 * 24];
    fixture_png("mixed/a.png", 60, 40, SPNG_COLOR_TYPE_TRUECOLOR, 8, rgb, NULL);
    fixture_png("mixed/sub/deeper/c.PNG", 20, 50, SPNG_COLOR_TYPE_TRUECOLOR, 8, tall, NULL);
    write_grey("mixed/b.png", 33, 35, 3);
    fixture_jpeg("mixed/sub/d.JPeG", 60, 40, 3, rgb, 95);
    fixture_text("mixed/readme.txt", "not an image");
    fixture_text("mixed/.hidden.png", "not counted");
    harness_set_path(h, "path", "mixed");
    harness_set(h, "test_fraction", "0");
    harness_open(h, "train", harness_image(3, 16, 24));
    ck_assert_int_eq(h->info.count, 4);
    harness_read(h, 0, 0, found);
    reference_check(found, rgb, 60, 3, 1, 0, 0, 60, 40, 24, 16);
    harness_read(h, 0, 3, found); /* 20 wide at 3:2 is 13 high, from row (50 - 13) / 2 */
    reference_check(found, tall, 20, 3, 1, 0, 18, 20, 13, 24, 16);
    harness_conforms(h);
    harness_set(h, "filter", "bilinear");
    harness_open(h, "train", harness_image(3, 16, 24));
    harness_read(h, 0, 0, found);
    reference_check(found, rgb, 60, 3, 0, 0, 0, 60, 40, 24, 16);
    harness_open(h, "train", harness_any()); /* as the first picture */
    ck_assert_int_eq(h->info.columns[0].type.dim[0], 3);
    ck_assert_int_eq(h->info.columns[0].type.dim[1], 40);
    ck_assert_int_eq(h->info.columns[0].type.dim[2], 60);
    harness_open(h, "train", harness_row(3 * 40 * 60));
    ck_assert_int_eq(h->info.columns[0].type.rank, 1);
    free(rgb);
    free(tall);
    harness_free(h);
}
END_TEST

/* Disjoint and complete; near the wanted fractions; a new file moves no other. */
START_TEST(splits_by_hash)
{
    enum { N = 120 };
    struct harness *h = harness_load("images");
    int train[128] = { 0 }, test[128] = { 0 }, valid[128] = { 0 }, later[128] = { 0 };
    write_levels("levels", N);
    harness_set_path(h, "path", "levels");
    harness_set(h, "test_fraction", "0.2");
    harness_set(h, "valid_fraction", "0.2");
    count_levels(h, "train", train);
    count_levels(h, "valid", valid);
    ck_assert(h->info.count > 10 && h->info.count < 40);
    count_levels(h, "test", test);
    ck_assert(h->info.count > 10 && h->info.count < 40);
    for (int i = 0; i < N; i++) ck_assert_int_eq(train[i] + valid[i] + test[i], 1);
    unlink(harness_path("levels/picture007.png"));
    count_levels(h, "test", later);
    for (int i = 0; i < N; i++) ck_assert(i == 7 || later[i] == test[i]);
    harness_set(h, "valid_fraction", NULL);
    memset(valid, 0, sizeof valid);
    count_levels(h, "valid", valid);
    ck_assert_mem_eq(valid, later, sizeof valid);

    write_levels("few", 3); /* too few for the fractions: one each all the same */
    harness_set_path(h, "path", "few");
    harness_set(h, "test_fraction", "0.01");
    harness_set(h, "valid_fraction", "0.01");
    memset(train, 0, sizeof train);
    count_levels(h, "test", train);
    count_levels(h, "valid", train);
    count_levels(h, "train", train);
    for (int i = 0; i < 3; i++) ck_assert_int_eq(train[i], 1);
    harness_free(h);
}
END_TEST

START_TEST(splits_by_folder)
{
    struct harness *h = harness_load("images");
    write_levels("divided/train", 9);
    write_levels("divided/test", 4);
    harness_set_path(h, "path", "divided");
    harness_open(h, "train", harness_image(1, 4, 4));
    ck_assert_int_eq(h->info.count, 9);
    harness_open(h, "test", harness_image(1, 4, 4));
    ck_assert_int_eq(h->info.count, 4);
    harness_open(h, "valid", harness_image(1, 4, 4));
    ck_assert_int_eq(h->info.count, 4);
    write_levels("divided/val", 2);
    harness_open(h, "valid", harness_image(1, 4, 4));
    ck_assert_int_eq(h->info.count, 2);
    harness_free(h);
}
END_TEST

/* About half of the keys mirror a training row; test rows are never mirrored. */
START_TEST(flip)
{
    struct harness *h = harness_load("images");
    uint8_t straight[3 * 6 * 5], row[3 * 6 * 5];
    int mirrored = 0;
    write_grey("one/a.png", 30, 36, 1);
    write_grey("one/b.png", 30, 36, 2);
    harness_set_path(h, "path", "one");
    harness_open(h, "train", harness_image(3, 6, 5));
    harness_read_keyed(h, 0, 0, 1, straight);
    harness_set(h, "flip", "true");
    harness_open(h, "train", harness_image(3, 6, 5));
    for (uint64_t key = 0; key < 200; key++) {
        harness_read_keyed(h, 0, 0, key, row);
        int differs = memcmp(row, straight, sizeof row) != 0;
        for (int i = 0; differs && i < (int)sizeof row; i++)
            ck_assert_int_eq(row[i], straight[i / 5 * 5 + 4 - i % 5]);
        mirrored += differs;
    }
    ck_assert_msg(mirrored > 60 && mirrored < 140, "%d of 200", mirrored);
    harness_conforms(h);
    harness_open(h, "test", harness_image(3, 6, 5));
    harness_read_keyed(h, 0, 0, 0, straight);
    for (uint64_t key = 1; key < 50; key++) {
        harness_read_keyed(h, 0, 0, key, row);
        ck_assert_mem_eq(row, straight, sizeof row);
    }
    harness_free(h);
}
END_TEST

/* Named, counted, left out; with a cache the second time too. */
START_TEST(unreadable)
{
    struct harness *h = harness_load("images");
    int times[128] = { 0 };
    size_t n;
    write_levels("part", 6);
    uint8_t *bytes = fixture_read("part/picture003.png", &n);
    fixture_file("part/picture003.png", bytes, n / 2);
    fixture_text("part/picture005.png", "");
    fixture_text("part/nonsense.jpg", "nonsense");
    free(bytes);
    if (_i) fixture_folder("part-cache");
    if (_i) harness_set_cache(h, harness_path("part-cache"));
    harness_set_path(h, "path", "part");
    harness_set(h, "test_fraction", "0");
    for (int time = 0; time < 1 + _i; time++) {
        memset(times, 0, sizeof times);
        count_levels(h, "train", times);
        ck_assert_int_eq(h->info.count, 4);
        for (int i = 0; i < 6; i++) ck_assert_int_eq(times[i], i != 3 && i != 5);
        ck_assert(
            harness_logged(h, "3 of 7 files can't be read and are left out, first nonsense.jpg"));
        ck_assert_int_eq(harness_logged(h, "nonsense.jpg: it is neither PNG nor JPEG: left out"),
                         time == 0);
        harness_conforms(h);
    }
    unlink(harness_path("part/nonsense.jpg"));
    for (int i = 0; i < 6; i++) {
        char name[64];
        snprintf(name, sizeof name, "part/picture%03d.png", i);
        fixture_text(name, "nonsense");
    }
    harness_refuses(h, "train", harness_image(1, 4, 4), GLOW_EINVAL, "none of 6 files",
                    "picture000.png", NULL);
    harness_refuses(h, "train", harness_any(), GLOW_EINVAL, "none of 6 files", NULL);
    harness_free(h);
}
END_TEST

START_TEST(refusals)
{
    struct harness *h = harness_load("images");
    struct glow_type want = harness_image(1, 4, 4);
    harness_set_path(h, "path", "absent");
    harness_refuses(h, "train", want, GLOW_EIO, "absent", "No such file", NULL);
    fixture_text("others/a.gif", "GIF89a");
    fixture_text("others/b.txt", "text");
    harness_set_path(h, "path", "others");
    harness_refuses(h, "train", want, GLOW_EINVAL, "no images", "2 other files", ".png", NULL);
    write_levels("others", 2);
    harness_refuses(h, "train", harness_image(4, 4, 4), GLOW_EINVAL, "4x4x4", "1 or 3 channels",
                    NULL);
    harness_refuses(h, "train", harness_image(3, 0, 4), GLOW_EINVAL, "3x0x4", NULL);
    harness_set(h, "test_fraction", "0");
    harness_refuses(h, "test", want, GLOW_EINVAL, "2 images, none for the split test", NULL);
    harness_free(h);
}
END_TEST

/* Links in a circle end. */
START_TEST(circle)
{
    struct harness *h = harness_load("images");
    write_levels("circle", 1);
    ck_assert_int_eq(symlink(".", harness_path("circle/again")), 0);
    harness_set_path(h, "path", "circle");
    harness_set(h, "test_fraction", "0");
    harness_open(h, "train", harness_image(1, 4, 4));
    ck_assert_int_ge(h->info.count, 1);
    harness_free(h);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("images");
    TCase *tests = tcase_create("images");
    harness_directory();
    suite_add_tcase(suite, tests);
    tcase_set_timeout(tests, 60);
    tcase_add_test(tests, rows);
    tcase_add_test(tests, splits_by_hash);
    tcase_add_test(tests, splits_by_folder);
    tcase_add_test(tests, flip);
    tcase_add_loop_test(tests, unreadable, 0, 2);
    tcase_add_test(tests, refusals);
    tcase_add_test(tests, circle);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}

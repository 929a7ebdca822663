/* test_celeba.c - aligned faces from a folder and from a zip: the crop, pixel by pixel; the splits;
 * the cache; what is missing or wrong. */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <turbojpeg.h>
#include "fixtures.h"
#include "harness.h"
#include "reference.h"

enum { WIDTH = 178, HEIGHT = 218, FACES = 12 };
static const char *const bases[FACES] = { "000001.jpg", "000002.jpg", "000003.jpg", "000004.jpg",
                                          "000005.jpg", "000006.jpg", "000007.jpg", "000008.jpg",
                                          "000009.jpg", "000010.jpg", "000011.jpg", "000012.jpg" };
static const int part[FACES] = { 0, 2, 0, 1, 0, 0, 2, 1, 0, 0, 2, 0 };

/* Faces under NAME/inner and the list in NAME. */
static void write_faces(const char *name, const char *inner)
{
    char list[1024] = "", path[128];
    for (int i = 0; i < FACES; i++) {
        uint8_t *src = reference_picture(WIDTH, HEIGHT, 3, i);
        snprintf(path, sizeof path, "%s/%s%s", name, inner, bases[i]);
        fixture_jpeg(path, WIDTH, HEIGHT, 3, src, 95);
        free(src);
        snprintf(list + strlen(list), sizeof list - strlen(list), "%s %d\r\n", bases[i], part[i]);
    }
    snprintf(path, sizeof path, "%s/list_eval_partition.txt", name);
    fixture_text(path, list);
}

/* The whole picture as libturbojpeg gives it, interleaved. */
static uint8_t *decoded(const char *name)
{
    size_t n;
    uint8_t *bytes = fixture_read(name, &n), *rgb = malloc(WIDTH * HEIGHT * 3);
    tjhandle jpeg = tjInitDecompress();
    ck_assert_int_eq(
        tjDecompress2(jpeg, bytes, n, rgb, WIDTH, 0, HEIGHT, TJPF_RGB, TJFLAG_ACCURATEDCT), 0);
    tjDestroy(jpeg);
    free(bytes);
    return rgb;
}

/* Row `row` of the open split is face `face` of NAME/inner. */
static void check_face(struct harness *h, int64_t row, const char *folder, int face, int side,
                       int antialias)
{
    char path[128];
    uint8_t *found = malloc((size_t)(3 * side * side));
    snprintf(path, sizeof path, "%s%s", folder, bases[face]);
    uint8_t *src = decoded(path);
    harness_read(h, 0, row, found);
    reference_check(found, src, WIDTH, 3, antialias, 15, 40, 148, 148, side, side);
    free(src);
    free(found);
}

static void check_split(struct harness *h, const char *split, int number, const char *folder)
{
    int64_t row = 0;
    harness_open(h, split, harness_image(3, 48, 48));
    for (int i = 0; i < FACES; i++)
        if (part[i] == number) check_face(h, row++, folder, i, 48, 1);
    ck_assert_int_eq(h->info.count, row);
    ck_assert(h->info.columns[0].dtype == GLOW_U8 && h->info.columns[0].hi == 255);
    ck_assert_uint_ne(h->info.fingerprint, 0);
    harness_conforms(h);
}

/* A folder, a folder with img_align_celeba/, a zip with and without a folder; the list in several
 * places. */
START_TEST(faces)
{
    struct harness *h = harness_load("celeba");
    fixture_folder("cache");
    harness_set_cache(h, harness_path("cache"));
    const char *folder = "flat/";
    if (_i == 0) {
        write_faces("flat", "");
        harness_set_path(h, "path", "flat");
    } else if (_i == 1) {
        write_faces("nested", "img_align_celeba/");
        harness_set_path(h, "path", "nested");
        folder = "nested/img_align_celeba/";
    } else {
        write_faces("flat", "");
        fixture_zip(_i == 2 ? "flat/img_align_celeba.zip" : "other/faces.zip",
                    _i == 2 ? "img_align_celeba" : "", "flat", FACES, bases);
        harness_set_path(h, "path", _i == 2 ? "flat/img_align_celeba.zip" : "other/faces.zip");
        if (_i == 3) harness_set_path(h, "partition", "flat/list_eval_partition.txt");
    }
    check_split(h, "train", 0, folder);
    check_split(h, "valid", 1, folder);
    check_split(h, "test", 2, folder);
    harness_free(h);
}
END_TEST

START_TEST(shapes_and_filters)
{
    struct harness *h = harness_load("celeba");
    write_faces("flat", "");
    harness_set_path(h, "path", "flat");
    harness_open(h, "train", harness_any());
    ck_assert_int_eq(h->info.columns[0].type.dim[1], 148);
    check_face(h, 0, "flat/", 0, 148, 1);
    ck_assert_uint_eq(h->info.fingerprint, 0); /* no cache, no hash */
    harness_set(h, "filter", "bilinear");
    harness_open(h, "test", harness_image(3, 64, 64));
    check_face(h, 1, "flat/", 6, 64, 0);
    harness_conforms(h);
    harness_open(h, "test", harness_image(1, 20, 30));
    ck_assert_uint_eq(harness_row_bytes(h, 0), 600);
    harness_conforms(h);
    harness_refuses(h, "test", harness_row(7), GLOW_EINVAL, "rows of 7", "3x148x148", NULL);
    harness_free(h);
}
END_TEST

static int cached_files(void)
{
    int n = 0;
    DIR *dir = opendir(harness_path("once"));
    for (struct dirent *e; (e = readdir(dir));) n += e->d_name[0] != '.';
    closedir(dir);
    return n;
}

/* Decoded once for each shape; a changed source is decoded again; cache = false makes no file. */
START_TEST(cache)
{
    struct harness *h = harness_load("celeba");
    write_faces("changing", "");
    fixture_folder("once");
    harness_set_path(h, "path", "changing");
    harness_set_cache(h, harness_path("once"));
    harness_set(h, "cache", "false");
    harness_open(h, "test", harness_image(3, 48, 48));
    ck_assert_int_eq(cached_files(), 0);
    harness_set(h, "cache", NULL);
    for (int time = 0; time < 2; time++) {
        harness_open(h, "test", harness_image(3, 48, 48));
        ck_assert_int_eq(harness_logged(h, "decoding 3 rows"), time == 0);
        ck_assert_int_eq(cached_files(), 1);
    }
    harness_open(h, "test", harness_image(3, 32, 32));
    ck_assert(harness_logged(h, "decoding 3 rows"));
    uint8_t *src = reference_picture(WIDTH, HEIGHT, 3, 99);
    fixture_jpeg("changing/000007.jpg", WIDTH, HEIGHT, 3, src, 95);
    free(src);
    harness_open(h, "test", harness_image(3, 48, 48));
    ck_assert(harness_logged(h, "decoding 3 rows"));
    check_face(h, 1, "changing/", 6, 48, 1);
    harness_free(h);
}
END_TEST

START_TEST(refusals)
{
    struct harness *h = harness_load("celeba");
    struct glow_type want = harness_image(3, 48, 48);
    harness_set_path(h, "path", "nowhere.zip");
    harness_refuses(h, "train", want, GLOW_EIO, "nowhere.zip", "no such file", NULL);
    fixture_folder("bare/in");
    harness_set_path(h, "path", "bare/in");
    harness_refuses(h, "train", want, GLOW_EIO, "list_eval_partition.txt", "option partition",
                    NULL);
    fixture_text("bare/list_eval_partition.txt", "000001.jpg 0\n000002.jpg 0\n000003.jpg 1\n");
    harness_refuses(h, "train", want, GLOW_EINVAL, "2 of the 2 images", "first 000001.jpg", NULL);
    harness_refuses(h, "test", want, GLOW_EINVAL, "no image of split 2", NULL);
    fixture_text("bare/list_eval_partition.txt", "000001.jpg 0\n000002.jpg three\n");
    harness_refuses(h, "train", want, GLOW_EINVAL, "line 2", "000002.jpg three", NULL);
    fixture_text("bare/list_eval_partition.txt", "../secret.jpg 0\n");
    harness_refuses(h, "train", want, GLOW_EINVAL, "line 1", NULL);
    fixture_text("bare/list_eval_partition.txt", "000001.jpg 0\n");
    fixture_text("bare/img.zip", "this is no archive");
    harness_set_path(h, "path", "bare/img.zip");
    harness_refuses(h, "train", want, GLOW_EIO, "img.zip", "zip", NULL);
    harness_free(h);
}
END_TEST

/* A face that is damaged, or has another size, is an error that names it: at open with a cache, at
 * the read without one. */
START_TEST(bad_faces)
{
    struct harness *h = harness_load("celeba");
    uint8_t *src = reference_picture(100, 100, 3, 1);
    fixture_text("wrong/list_eval_partition.txt", "000001.jpg 0\n000002.jpg 1\n000003.jpg 2\n");
    fixture_jpeg("wrong/000001.jpg", 100, 100, 3, src, 90);
    fixture_text("wrong/000002.jpg", "no image");
    fixture_text("wrong/000003.jpg", "");
    free(src);
    fixture_folder("cache");
    harness_set_path(h, "path", "wrong");
    harness_set_cache(h, harness_path("cache"));
    harness_refuses(h, "train", harness_image(3, 48, 48), GLOW_EINVAL, "000001.jpg", "100x100",
                    "178x218", NULL);
    harness_refuses(h, "valid", harness_image(3, 48, 48), GLOW_EINVAL, "000002.jpg",
                    "neither PNG nor JPEG", NULL);
    harness_refuses(h, "test", harness_image(3, 48, 48), GLOW_EINVAL, "000003.jpg", NULL);
    harness_set_cache(h, NULL);
    harness_open(h, "train", harness_image(3, 48, 48));
    static uint8_t row[3 * 48 * 48];
    void *dst[1] = { row };
    int64_t zero = 0;
    struct glow_data_read request = { sizeof request, 1, &zero, NULL, dst, NULL };
    ck_assert_int_eq(h->dataset->read(&h->self, h->state, &request), GLOW_EINVAL);
    ck_assert(strstr(harness_failure(h), "000001.jpg") != NULL);
    harness_free(h);
}
END_TEST

/* Cut-off and changed archives: refused or read, never a crash. */
START_TEST(damaged_zip)
{
    struct harness *h = harness_load("celeba");
    static uint8_t row[3 * 48 * 48];
    void *dst[1] = { row };
    size_t n;
    write_faces("flat", "");
    fixture_zip("hurt/img.zip", "img_align_celeba", "flat", FACES, bases);
    fixture_text("hurt/list_eval_partition.txt", "000002.jpg 0\n000011.jpg 0\n");
    uint8_t *bytes = fixture_read("hurt/img.zip", &n);
    harness_set_path(h, "path", "hurt/img.zip");
    for (int i = 0; i < 200; i++) {
        size_t at =
            n - 1 - (i < 100 ? (size_t)i * 19 : (size_t)i * n / 201); /* the directory, then all */
        if (i % 2) bytes[at] ^= (uint8_t)(1 << i / 2 % 8);
        fixture_file("hurt/img.zip", bytes, i % 2 ? n : at);
        if (harness_try(h, "train", harness_image(3, 48, 48)) == GLOW_OK) {
            for (int64_t k = 0; k < 2; k++) {
                struct glow_data_read request = { sizeof request, 1, &k, NULL, dst, NULL };
                if (h->dataset->read(&h->self, h->state, &request) != GLOW_OK)
                    ck_assert(harness_failure(h)[0] != 0);
            }
        }
        if (i % 2) bytes[at] ^= (uint8_t)(1 << i / 2 % 8);
    }
    free(bytes);
    harness_free(h);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("celeba");
    TCase *tests = tcase_create("celeba");
    harness_directory();
    suite_add_tcase(suite, tests);
    tcase_set_timeout(tests, 120);
    tcase_add_loop_test(tests, faces, 0, 4);
    tcase_add_test(tests, shapes_and_filters);
    tcase_add_test(tests, cache);
    tcase_add_test(tests, refusals);
    tcase_add_test(tests, bad_faces);
    tcase_add_test(tests, damaged_zip);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}

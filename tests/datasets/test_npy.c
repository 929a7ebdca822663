/* test_npy.c - .npy files: element types, layouts, splits, and files that are wrong. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "fixtures.h"
#include "harness.h"

enum { N = 23, D = 3 };

static const struct {
    const char *code;
    size_t size;
    uint32_t column;
    double lo, step; /* element i is lo + step * i, exact in the type */
} types[] = {
    { "|b1", 1, GLOW_U8, 0, 1 },         { "|u1", 1, GLOW_U8, 0, 1 },
    { "|i1", 1, GLOW_I32, -60, 1 },      { "<i2", 2, GLOW_I32, -3000, 100 },
    { ">i2", 2, GLOW_I32, -3000, 100 },  { "<u2", 2, GLOW_I32, 0, 900 },
    { "<i4", 4, GLOW_I32, -7e8, 1e7 },   { ">i4", 4, GLOW_I32, -7e8, 1e7 },
    { "<i8", 8, GLOW_I64, -7e12, 1e11 }, { "<f2", 2, GLOW_F32, -3, 0.25 },
    { "<f4", 4, GLOW_F32, -3, 0.125 },   { ">f4", 4, GLOW_F32, -3, 0.125 },
    { "<f8", 8, GLOW_F64, -3, 0.1 },     { ">f8", 8, GLOW_F64, -3, 0.1 },
};

static double value(int type, int i)
{
    return types[type].code[1] == 'b' ? i % 2 : types[type].lo + types[type].step * i;
}

/* IEEE half of a multiple of 1/4 below 16 in size. */
static uint16_t half(double v)
{
    int e;
    if (v == 0) return 0;
    double m = frexp(fabs(v), &e);
    return (uint16_t)((v < 0) << 15 | (e + 14) << 10 | (int)((2 * m - 1) * 1024));
}

static void store(int type, double v, uint8_t *dst)
{
    const char *code = types[type].code;
    union {
        int8_t i1;
        uint8_t u1;
        int16_t i2;
        uint16_t u2;
        int32_t i4;
        int64_t i8;
        float f4;
        double f8;
        uint8_t bytes[8];
    } u;
    memset(&u, 0, sizeof u);
    switch (code[1] << 8 | code[2]) {
    case 'b' << 8 | '1':
    case 'u' << 8 | '1': u.u1 = (uint8_t)v; break;
    case 'i' << 8 | '1': u.i1 = (int8_t)v; break;
    case 'i' << 8 | '2': u.i2 = (int16_t)v; break;
    case 'u' << 8 | '2': u.u2 = (uint16_t)v; break;
    case 'i' << 8 | '4': u.i4 = (int32_t)v; break;
    case 'i' << 8 | '8': u.i8 = (int64_t)v; break;
    case 'f' << 8 | '2': u.u2 = half(v); break;
    case 'f' << 8 | '4': u.f4 = (float)v; break;
    default: u.f8 = v;
    }
    for (size_t b = 0; b < types[type].size; b++)
        dst[b] = u.bytes[code[0] == '>' ? types[type].size - 1 - b : b];
}

/* Element k of row i of the open split, as a number. */
static double element(struct harness *h, int64_t i, int k)
{
    uint8_t row[4096];
    ck_assert_uint_le(harness_row_bytes(h, 0), sizeof row);
    harness_read(h, 0, i, row);
    switch (h->info.columns[0].dtype) {
    case GLOW_U8: return row[k];
    case GLOW_I32: return ((int32_t *)(void *)row)[k];
    case GLOW_I64: return (double)((int64_t *)(void *)row)[k];
    case GLOW_F32: return (double)((float *)(void *)row)[k];
    default: return ((double *)(void *)row)[k];
    }
}

START_TEST(element_types)
{
    struct harness *h = harness_load("npy");
    uint8_t data[N * D * 8];
    char dictionary[128];
    for (int i = 0; i < N * D; i++) store(_i, value(_i, i), data + (size_t)i * types[_i].size);
    snprintf(dictionary, sizeof dictionary,
             "{'descr': '%s', 'fortran_order': False, 'shape': (%d, %d), }", types[_i].code, N, D);
    fixture_npy("rows.npy", 1 + _i % 2, dictionary, data, N * D * types[_i].size);
    harness_set_path(h, "path", "rows.npy");
    harness_set(h, "test_fraction", "0");
    harness_open(h, "train", harness_row(D));
    ck_assert_int_eq(h->info.count, N);
    ck_assert_uint_eq(h->info.columns[0].dtype, types[_i].column);
    if (!strcmp(types[_i].code, "|u1")) ck_assert(h->info.columns[0].hi == 255);
    if (!strcmp(types[_i].code, "|b1")) ck_assert(h->info.columns[0].hi == 1);
    for (int i = 0; i < N * D; i++) ck_assert_double_eq(element(h, i / D, i % D), value(_i, i));
    harness_conforms(h);
    harness_free(h);
}
END_TEST

/* Writes a u8 array whose element i is i mod 251. */
static void write_u8(const char *name, const char *shape, size_t n)
{
    uint8_t *data = malloc(n);
    char dictionary[128];
    for (size_t i = 0; i < n; i++) data[i] = (uint8_t)(i % 251);
    snprintf(dictionary, sizeof dictionary,
             "{\"descr\": \"|u1\", \"fortran_order\": False, \"shape\": (%s)}", shape);
    fixture_npy(name, 1, dictionary, data, n);
    free(data);
}

static void check_shape(const struct harness *h, int rank, int64_t d0, int64_t d1, int64_t d2)
{
    const struct glow_type *t = &h->info.columns[0].type;
    const int64_t dim[3] = { d0, d1, d2 };
    ck_assert_int_eq(t->rank, rank);
    for (int i = 0; i < rank; i++) ck_assert_int_eq(t->dim[i], dim[i]);
}

START_TEST(layouts)
{
    struct harness *h = harness_load("npy");
    uint8_t row[3 * 4 * 5];
    harness_set(h, "test_fraction", "0");
    write_u8("channels_first.npy", "4, 3, 4, 5", 4 * 60);
    harness_set_path(h, "path", "channels_first.npy");
    harness_open(h, "train", harness_any());
    check_shape(h, 3, 3, 4, 5);
    harness_read(h, 0, 1, row);
    for (int i = 0; i < 60; i++) ck_assert_int_eq(row[i], 60 + i);

    write_u8("channels_last.npy", "4, 5, 4, 3", 4 * 60);
    harness_set_path(h, "path", "channels_last.npy");
    for (int given = 0; given < 3;
         given++) { /* by the place of the 3, by the model, by the option */
        harness_set(h, "layout", given == 2 ? "nhwc" : NULL);
        harness_open(h, "train", given == 1 ? harness_image(3, 5, 4) : harness_any());
        check_shape(h, 3, 3, 5, 4);
        harness_read(h, 0, 1, row);
        for (int i = 0; i < 60; i++) ck_assert_int_eq(row[i], 60 + i % 20 * 3 + i / 20);
        harness_conforms(h);
    }
    harness_set(h, "layout", "nchw");
    harness_open(h, "train", harness_any());
    check_shape(h, 3, 5, 4, 3);
    harness_set(h, "layout", "rows");
    harness_open(h, "train", harness_row(60));
    check_shape(h, 1, 60, 0, 0);
    harness_set(h, "layout", NULL);
    harness_open(h, "train", harness_row(60)); /* flat rows keep the file's order */
    harness_read(h, 0, 1, row);
    for (int i = 0; i < 60; i++) ck_assert_int_eq(row[i], 60 + i);

    write_u8("grey.npy", "6, 4, 5", 6 * 20);
    harness_set_path(h, "path", "grey.npy");
    harness_open(h, "train", harness_any());
    check_shape(h, 3, 1, 4, 5);
    write_u8("numbers.npy", "6,", 6);
    harness_set_path(h, "path", "numbers.npy");
    harness_open(h, "train", harness_row(1));
    check_shape(h, 1, 1, 0, 0);
    ck_assert_double_eq(element(h, 4, 0), 4);
    harness_free(h);
}
END_TEST

/* Collects the first elements of a split's rows: which rows of the file it holds. */
static void collect(struct harness *h, const char *split, int *times)
{
    harness_open(h, split, harness_any());
    for (int64_t i = 0; i < h->info.count; i++) times[(int)element(h, i, 0)]++;
}

/* The splits are disjoint, complete, of the right size, and the held-out rows are spread. */
START_TEST(splits)
{
    enum { ROWS = 200 };
    struct harness *h = harness_load("npy");
    int train[251] = { 0 }, valid[251] = { 0 }, test[251] = { 0 };
    write_u8("many.npy", "200, 1", ROWS);
    harness_set_path(h, "path", "many.npy");
    harness_set(h, "valid_fraction", _i ? "0.05" : NULL);
    collect(h, "train", train);
    ck_assert_int_eq(h->info.count, _i ? 170 : 180);
    collect(h, "valid", valid);
    ck_assert_int_eq(h->info.count, _i ? 10 : 20);
    collect(h, "test", test);
    ck_assert_int_eq(h->info.count, 20);
    for (int i = 0; i < ROWS; i++) ck_assert_int_eq(train[i] + test[i] + (_i ? valid[i] : 0), 1);
    if (!_i) ck_assert_mem_eq(valid, test, sizeof test);
    int early = 0;
    for (int i = 0; i < ROWS / 2; i++) early += test[i];
    ck_assert(early >= 8 && early <= 12);

    write_u8("other.npy", "5, 1", 5);
    harness_set_path(h, "test", "other.npy");
    harness_open(h, "test", harness_any());
    ck_assert_int_eq(h->info.count, 5);
    harness_open(h, "train", harness_any());
    ck_assert_int_eq(h->info.count, _i ? 190 : 200);
    harness_open(h, "valid", harness_any());
    ck_assert_int_eq(h->info.count, _i ? 10 : 5);
    harness_free(h);
}
END_TEST

static void refuses(struct harness *h, const char *dictionary, const char *word)
{
    uint8_t data[64] = { 0 };
    fixture_npy("bad.npy", 1, dictionary, data, sizeof data);
    harness_refuses(h, "train", harness_any(), GLOW_EINVAL, "bad.npy", word, NULL);
}

START_TEST(refusals)
{
    struct harness *h = harness_load("npy");
    harness_set_path(h, "path", "none.npy");
    harness_refuses(h, "train", harness_any(), GLOW_EIO, "none.npy", "No such file", NULL);
    harness_set(h, "path", harness_directory());
    harness_refuses(h, "train", harness_any(), GLOW_EINVAL, "expected a .npy file", NULL);
    harness_set_path(h, "path", "bad.npy");
    fixture_text("bad.npy", "");
    harness_refuses(h, "train", harness_any(), GLOW_EINVAL, "it is empty", NULL);
    fixture_text("bad.npy", "PK\3\4 an archive and no array");
    harness_refuses(h, "train", harness_any(), GLOW_EINVAL, "NUMPY", NULL);
    refuses(h, "{'descr': '<c8', 'fortran_order': False, 'shape': (4, 2)}", "type '<c8'");
    refuses(h, "{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (4, 2)}", "type [('a'");
    refuses(h, "{'descr': '<f8', 'fortran_order': True, 'shape': (4, 2)}", "Fortran order");
    refuses(h, "{'descr': '<f8', 'fortran_order': False, 'shape': (5, 2)}", "64 bytes of elements");
    refuses(h, "{'descr': '<f8', 'fortran_order': False, 'shape': (0, 2)}", "no rows");
    refuses(h, "{'descr': '<f8', 'fortran_order': False, 'shape': ()}", "no rows");
    refuses(h, "{'descr': '<f8', 'fortran_order': False}", "no shape");
    refuses(h, "{'descr': '<f8', 'fortran_order': False, 'shape': (1, 9999999999, 9999999999)}",
            "too large");
    refuses(h, "{'descr': '<f8', 'fortran_order': False, 'shape': (1,1,1,1,1,1,1,1,8)}",
            "can't read the shape");
    refuses(h, "{'descr': '<f8', 'fortran_order': False, 'shape': (-4, -2)}",
            "can't read the shape");
    write_u8("bad.npy", "6, 4, 5", 120);
    harness_refuses(h, "train", harness_image(1, 8, 8), GLOW_EINVAL, "1x4x5", "1x8x8", NULL);
    harness_set(h, "test_fraction", "0");
    harness_refuses(h, "test", harness_any(), GLOW_EINVAL, "none for this split", NULL);
    harness_set(h, "layout", "nhwc");
    harness_refuses(h, "train", harness_any(), GLOW_EINVAL, "nhwc", "expected 4", NULL);
    harness_free(h);
}
END_TEST

START_TEST(damage)
{
    struct harness *h = harness_load("npy");
    size_t n;
    harness_set(h, "test_fraction", "0");
    write_u8("hurt.npy", "6, 2, 2", 24);
    uint8_t *bytes = fixture_read("hurt.npy", &n), *row = malloc(1 << 20);
    harness_set_path(h, "path", "hurt.npy");
    for (size_t cut = 0; cut < n; cut++) {
        fixture_file("hurt.npy", bytes, cut);
        ck_assert_int_ne(harness_try(h, "train", harness_any()), GLOW_OK);
    }
    for (size_t at = 0; at < 8 * n; at++) {
        bytes[at / 8] ^= (uint8_t)(1 << at % 8);
        fixture_file("hurt.npy", bytes, n);
        if (harness_try(h, "train", harness_any()) == GLOW_OK) {
            ck_assert_uint_le(harness_row_bytes(h, 0), 1 << 20);
            harness_read(h, 0, h->info.count - 1, row);
        }
        bytes[at / 8] ^= (uint8_t)(1 << at % 8);
    }
    free(bytes);
    free(row);
    harness_free(h);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("npy");
    TCase *tests = tcase_create("npy");
    harness_directory();
    suite_add_tcase(suite, tests);
    tcase_set_timeout(tests, 60);
    tcase_add_loop_test(tests, element_types, 0, GLOW_COUNT(types));
    tcase_add_test(tests, layouts);
    tcase_add_loop_test(tests, splits, 0, 2);
    tcase_add_test(tests, refusals);
    tcase_add_test(tests, damage);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}

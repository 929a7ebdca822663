/* test_npy.c - arrays come back, the bytes are NumPy's, growing arrays and refused files. */
#include "npy.h"

#include <check.h>
#include "scratch.h"

START_TEST(round_trip)
{
    static const struct {
        uint32_t dtype;
        size_t size;
    } types[] = {
        { GLOW_U8, 1 }, { GLOW_I32, 4 }, { GLOW_I64, 8 }, { GLOW_F32, 4 }, { GLOW_F64, 8 }
    };
    static const int64_t dims[][3] = { { 2, 3, 4 }, { 24, 1, 1 }, { 1, 0, 4 } };
    unsigned char data[24 * 8];
    struct npy array;
    for (int i = 0; i < (int)sizeof data; i++) data[i] = (unsigned char)(i * 7);
    for (int type = 0; type < 5; type++)
        for (int shape = 0; shape < 3; shape++)
            for (int rank = 0; rank <= 3; rank++) {
                size_t count = 1;
                for (int i = 0; i < rank; i++) count *= (size_t)dims[shape][i];
                ck_assert_int_eq(
                    npy_write(scratch_path("a.npy"), types[type].dtype, rank, dims[shape], data),
                    0);
                ck_assert_msg(npy_open(&array, scratch_path("a.npy")) == 0, "%s", fail_message());
                ck_assert_uint_eq(array.dtype, types[type].dtype);
                ck_assert_int_eq(array.rank, rank);
                ck_assert_int_eq(array.count, (int64_t)count);
                for (int i = 0; i < rank; i++) ck_assert_int_eq(array.dim[i], dims[shape][i]);
                ck_assert_mem_eq(array.data, data, count * types[type].size);
                npy_close(&array);
            }
}
END_TEST

/* What numpy.save(f, numpy.arange(3, dtype="f4")) wrote. */
START_TEST(bytes_are_those_of_numpy)
{
    static const char header[] =
        "\x93NUMPY\x01\x00\x76\x00{'descr': '<f4', 'fortran_order': False, "
        "'shape': (3,), }";
    static const float values[3] = { 0, 1, 2 };
    static const int64_t dim = 3;
    size_t n;
    ck_assert_int_eq(npy_write(scratch_path("a.npy"), GLOW_F32, 1, &dim, values), 0);
    char *bytes = scratch_load("a.npy", &n);
    ck_assert_uint_eq(n, 128 + 12);
    ck_assert_mem_eq(bytes, header, sizeof header - 1);
    for (size_t i = sizeof header - 1; i < 127; i++) ck_assert_int_eq(bytes[i], ' ');
    ck_assert_int_eq(bytes[127], '\n');
    ck_assert_mem_eq(bytes + 128, values, 12);
    free(bytes);
}
END_TEST

START_TEST(growing)
{
    struct npy_writer *writer;
    struct npy array;
    static const int64_t dim[2] = { 1, 2 };
    double rows[6] = { 1, 2, 3, 4, 5, 6 };
    ck_assert_int_eq(npy_create(&writer, scratch_path("g.npy"), GLOW_F64, 2, dim), 0);
    ck_assert_int_eq(npy_append(writer, rows, 1), 0);
    ck_assert_int_eq(npy_append(writer, rows + 2, 2), 0);
    ck_assert(!scratch_exists("g.npy"));
    ck_assert_int_eq(npy_finish(writer), 0);
    ck_assert(!scratch_exists("g.npy.partial"));
    ck_assert_msg(npy_open(&array, scratch_path("g.npy")) == 0, "%s", fail_message());
    ck_assert_int_eq(array.rank, 3);
    ck_assert_int_eq(array.dim[0], 3);
    ck_assert_int_eq(array.dim[1], 1);
    ck_assert_int_eq(array.dim[2], 2);
    ck_assert_mem_eq(array.data, rows, sizeof rows);
    npy_close(&array);

    ck_assert_int_eq(npy_create(&writer, scratch_path("none.npy"), GLOW_F64, 0, NULL), 0);
    npy_discard(writer);
    ck_assert(!scratch_exists("none.npy"));
    ck_assert(!scratch_exists("none.npy.partial"));
}
END_TEST

START_TEST(refused_by_writer)
{
    static const int64_t negative = -1, huge[2] = { INT64_MAX, INT64_MAX };
    struct npy_writer *writer;
    ck_assert_int_eq(npy_write(scratch_path("x"), GLOW_F32, 1, &negative, NULL), GLOW_EINVAL);
    ck_assert_int_eq(npy_write(scratch_path("x"), GLOW_F32, 2, huge, NULL), GLOW_EINVAL);
    ck_assert_int_eq(npy_write(scratch_path("x"), GLOW_BOOL, 1, huge, NULL), GLOW_EINVAL);
    ck_assert_int_eq(npy_write(scratch_path("x"), GLOW_F32, 10, huge, NULL), GLOW_EINVAL);
    ck_assert_int_eq(npy_create(&writer, scratch_path("x"), GLOW_F32, GLOW_MAX_RANK + 1, huge),
                     GLOW_EINVAL);
    ck_assert_int_eq(npy_create(&writer, scratch_path("no/x"), GLOW_F32, 0, NULL), GLOW_EIO);
    ck_assert(!scratch_exists("x"));
}
END_TEST

/* Dicts of a version 1 header with 64 bytes of data behind, and a word of the message (NULL: fine).
 */
static const struct {
    const char *dict, *word;
} headers[] = {
    { "{'descr': '<f4', 'fortran_order': False, 'shape': (4, 4), }", NULL },
    { "{\"shape\":(16,),\"fortran_order\":False,\"descr\":\"<f4\"}", NULL },
    { "{'descr': '<f4', 'fortran_order': True, 'shape': (16,), }", NULL },
    { "{'descr': '<f4', 'fortran_order': True, 'shape': (4, 4), }", "Fortran" },
    { "{'descr': '>f4', 'fortran_order': False, 'shape': (4, 4), }", ">f4" },
    { "{'descr': '<U4', 'fortran_order': False, 'shape': (4, 4), }", "<U4" },
    { "{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (4,), }", "structured" },
    { "{'descr': '<f4', 'fortran_order': False, 'shape': (4, 5), }", "cut short" },
    { "{'descr': '<f4', 'fortran_order': False, 'shape': (-4, 4), }", "bad header" },
    { "{'descr': '<f4', 'fortran_order': False, 'shape': (4 4), }", "bad header" },
    { "{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999999999999,), }",
      "bad header" },
    { "{'descr': '<f4', 'fortran_order': False, 'shape': (4294967296, 4294967296), }",
      "impossible" },
    { "{'descr': '<f8', 'fortran_order': False, 'shape': (2305843009213693952,), }", "cut short" },
    { "{'descr': '<f4', 'fortran_order': False, 'shape': (1,1,1,1,1,1,1,1,1,1), }", "bad header" },
    { "{'descr': '<f4', 'fortran_order': False, }", "bad header" },
    { "{'descr': '<f4', 'descr': '<f4', 'fortran_order': False, 'shape': (1,)}", "bad header" },
    { "{'descr': '<f4', 'fortran_order': 0, 'shape': (1,), }", "bad header" },
    { "{'descr': '<f4", "bad header" },
    { "", "bad header" },
};

static void save_array(const char *dict, int version)
{
    char buffer[256];
    size_t start = version == 1 ? 10 : 12;
    memset(buffer, ' ', sizeof buffer);
    memcpy(buffer, "\x93NUMPY", 6);
    buffer[6] = (char)version;
    buffer[7] = 0;
    memset(buffer + 8, 0, 4);
    buffer[8] = (char)(128 - start);
    memcpy(buffer + start, dict, strlen(dict));
    memset(buffer + 128, 1, 64);
    scratch_save("h.npy", buffer, 128 + 64);
}

START_TEST(headers_read)
{
    struct npy array;
    for (int version = 1; version <= 3; version++) {
        save_array(headers[_i].dict, version);
        glow_status status = npy_open(&array, scratch_path("h.npy"));
        if (!headers[_i].word) {
            ck_assert_msg(status == GLOW_OK, "%s", fail_message());
            ck_assert_int_eq(array.count, 16);
            npy_close(&array);
        } else {
            ck_assert_int_eq(status, GLOW_EINVAL);
            ck_assert_msg(strstr(fail_message(), headers[_i].word), "\"%s\" lacks \"%s\"",
                          fail_message(), headers[_i].word);
        }
    }
}
END_TEST

START_TEST(cut_short)
{
    struct npy array;
    save_array(headers[0].dict, 1);
    size_t n;
    char *bytes = scratch_load("h.npy", &n);
    for (size_t cut = 0; cut < n; cut++) {
        scratch_save("cut.npy", bytes, cut);
        ck_assert_int_eq(npy_open(&array, scratch_path("cut.npy")), GLOW_EINVAL);
    }
    save_array(headers[0].dict, 4);
    ck_assert_int_eq(npy_open(&array, scratch_path("h.npy")), GLOW_EINVAL);
    ck_assert_int_eq(npy_open(&array, scratch_path("not-there.npy")), GLOW_EIO);
    free(bytes);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("npy");
    TCase *tests = tcase_create("npy");
    tcase_add_test(tests, round_trip);
    tcase_add_test(tests, bytes_are_those_of_numpy);
    tcase_add_test(tests, growing);
    tcase_add_test(tests, refused_by_writer);
    tcase_add_loop_test(tests, headers_read, 0, (int)(sizeof headers / sizeof headers[0]));
    tcase_add_test(tests, cut_short);
    tcase_set_timeout(tests, 60);
    suite_add_tcase(suite, tests);
    return scratch_run(suite);
}

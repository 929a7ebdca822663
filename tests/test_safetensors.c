/* test_safetensors.c - files written come back; damaged and hostile files are errors that say why;
 * and the atomic writing beneath (file.h) leaves the old file alone when something goes wrong. */
#include "safetensors.h"

#include <check.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include "file.h"
#include "scratch.h"

static const float weights[6] = { 1, 2, 3, 4, 5, 6.5f };
static const double scalar = 3.25;
static const int64_t steps[2] = { -7, INT64_MAX };
static const uint8_t bytes[3] = { 9, 8, 255 };

static glow_status write_sample(const char *path)
{
    const struct safetensors_tensor tensors[] = {
        { "odd", "U8", 1, { 3 }, bytes, NULL, NULL },
        { "level.0.weight", "F32", 2, { 2, 3 }, weights, NULL, NULL },
        { "scalar", "F64", 0, { 0 }, &scalar, NULL, NULL },
        { "empty", "F32", 2, { 0, 5 }, NULL, NULL, NULL },
        { "steps", "I64", 1, { 2 }, steps, NULL, NULL },
    };
    const struct safetensors_text texts[] = { { "config", "model: { a = \"b\\c\"; };\n" },
                                              { "step", "12" } };
    return safetensors_write(path, tensors, 5, texts, 2);
}

START_TEST(round_trip)
{
    struct safetensors *file;
    const char *path = scratch_path("a.safetensors");
    ck_assert_msg(write_sample(path) == GLOW_OK, "%s", fail_message());
    ck_assert(!scratch_exists("a.safetensors.partial"));
    ck_assert_msg(safetensors_open(&file, path) == GLOW_OK, "%s", fail_message());
    ck_assert_int_eq(safetensors_count(file), 5);
    ck_assert_str_eq(safetensors_at(file, 0)->name, "odd"); /* the order that they were given in */
    ck_assert_str_eq(safetensors_at(file, 4)->name, "steps");
    const struct safetensors_tensor *t = safetensors_find(file, "level.0.weight");
    ck_assert_ptr_nonnull(t);
    ck_assert_str_eq(t->dtype, "F32");
    ck_assert_int_eq(t->rank, 2);
    ck_assert_int_eq(t->dim[0], 2);
    ck_assert_int_eq(t->dim[1], 3);
    ck_assert_uint_eq((uintptr_t)t->data % 4, 0);
    ck_assert_mem_eq(t->data, weights, sizeof weights);
    ck_assert_uint_eq(safetensors_bytes(t), sizeof weights);
    ck_assert_mem_eq(safetensors_find(file, "scalar")->data, &scalar, 8);
    ck_assert_uint_eq((uintptr_t)safetensors_find(file, "steps")->data % 8, 0);
    ck_assert_mem_eq(safetensors_find(file, "steps")->data, steps, 16);
    ck_assert_mem_eq(safetensors_find(file, "odd")->data, bytes, 3);
    ck_assert_uint_eq(safetensors_bytes(safetensors_find(file, "empty")), 0);
    ck_assert_ptr_null(safetensors_find(file, "none"));
    ck_assert_ptr_null(safetensors_find(file, "__metadata__"));
    ck_assert_str_eq(safetensors_metadata(file, "config"), "model: { a = \"b\\c\"; };\n");
    ck_assert_ptr_null(safetensors_metadata(file, "none"));
    ck_assert_int_eq(safetensors_metadata_count(file), 2);
    ck_assert_str_eq(safetensors_metadata_at(file, 1)->key, "step");
    safetensors_close(file);
}
END_TEST

START_TEST(deterministic)
{
    size_t n, m;
    write_sample(scratch_path("a"));
    write_sample(scratch_path("b"));
    char *a = scratch_load("a", &n), *b = scratch_load("b", &m);
    ck_assert_uint_eq(n, m);
    ck_assert_mem_eq(a, b, n);
    uint64_t header;
    memcpy(&header, a, 8);
    ck_assert_uint_eq((header + 8) % 64, 0);
    ck_assert_uint_eq(n, 8 + header + 24 + 8 + 16 + 3);
    free(a);
    free(b);
}
END_TEST

START_TEST(refused_by_writer)
{
    const struct safetensors_tensor twice[] = { { "a", "U8", 1, { 3 }, bytes, NULL, NULL },
                                                { "a", "U8", 1, { 3 }, bytes, NULL, NULL } };
    const struct safetensors_tensor unknown = { "a", "F80", 1, { 3 }, bytes, NULL, NULL };
    const struct safetensors_tensor latin1 = { "\xe9t\xe9", "U8", 1, { 3 }, bytes, NULL, NULL };
    const struct safetensors_tensor huge = { "a", "U8", 2, { INT64_MAX, 4 }, bytes, NULL, NULL };
    const struct safetensors_text text = { "key", "\xff" };
    const char *path = scratch_path("refused");
    ck_assert_int_eq(safetensors_write(path, twice, 2, NULL, 0), GLOW_EINVAL);
    ck_assert_ptr_nonnull(strstr(fail_message(), "two tensors"));
    ck_assert_int_eq(safetensors_write(path, &unknown, 1, NULL, 0), GLOW_EINVAL);
    ck_assert_ptr_nonnull(strstr(fail_message(), "F80"));
    ck_assert_int_eq(safetensors_write(path, &latin1, 1, NULL, 0), GLOW_EINVAL);
    ck_assert_int_eq(safetensors_write(path, &huge, 1, NULL, 0), GLOW_EINVAL);
    ck_assert_int_eq(safetensors_write(path, NULL, 0, &text, 1), GLOW_EINVAL);
    ck_assert(!scratch_exists("refused"));
}
END_TEST

/* Headers that must be refused, and a word of the message. `data` bytes follow each. */
static const struct {
    const char *header, *word;
    int data;
} hostile[] = {
    { "{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}", "bad header", 8 },
    { "[1,2]", "no header", 0 },
    { "{\"a\":3}", "lacks", 0 },
    { "{\"a\":{\"dtype\":\"F32\",\"shape\":[2]}}", "lacks", 8 },
    { "{\"a\":{\"dtype\":\"F32\",\"shape\":{},\"data_offsets\":[0,8]}}", "lacks", 8 },
    { "{\"a\":{\"dtype\":7,\"shape\":[2],\"data_offsets\":[0,8]}}", "lacks", 8 },
    { "{\"a\":{\"dtype\":\"F31\",\"shape\":[2],\"data_offsets\":[0,8]}}", "F31", 8 },
    { "{\"a\":{\"dtype\":\"F32\",\"shape\":[-2],\"data_offsets\":[0,8]}}", "not a size", 8 },
    { "{\"a\":{\"dtype\":\"F32\",\"shape\":[2.0],\"data_offsets\":[0,8]}}", "not a size", 8 },
    { "{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[8,0]}}", "begin", 8 },
    { "{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8,9]}}", "begin", 8 },
    { "{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[-8,0]}}", "begin", 8 },
    { "{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,4]}}", "do not fit", 4 },
    { "{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}", "cut short", 7 },
    { "{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}", "belong to no", 9 },
    { "{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[4,12]}}", "hole", 12 },
    { "{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]},"
      "\"b\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[4,12]}}",
      "overlaps", 12 },
    { "{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]},"
      "\"b\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}",
      "overlaps", 4 },
    { "{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]},"
      "\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[1,2]}}",
      "duplicate", 2 },
    { "{\"a\":{\"dtype\":\"F32\",\"shape\":[4611686018427387905],\"data_offsets\":[0,4]}}",
      "do not fit", 4 },
    { "{\"a\":{\"dtype\":\"U8\",\"shape\":[4294967296,4294967296],\"data_offsets\":[0,0]}}",
      "do not fit", 0 },
    { "{\"a\":{\"dtype\":\"U8\",\"shape\":[99999999999999999999],\"data_offsets\":[0,0]}}",
      "bad header", 0 },
    { "{\"a\":{\"dtype\":\"U8\",\"shape\":[1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1],\"data_offsets\":[0,"
      "1]}}",
      "dimensions", 1 },
    { "{\"__metadata__\":[]}", "not a table", 0 },
    { "{\"__metadata__\":{\"a\":1}}", "not a text", 0 },
    { "{\"a\xff\":{}}", "bad header", 0 },
    { "{\"a\\u0000\":{}}", "bad header", 0 },
};

static void save_hostile(const char *header, uint64_t claimed, int data)
{
    char buffer[1024] = "";
    memcpy(buffer, &claimed, 8);
    memcpy(buffer + 8, header, strlen(header));
    scratch_save("hostile", buffer, 8 + strlen(header) + (size_t)data);
}

START_TEST(hostile_header)
{
    struct safetensors *file;
    save_hostile(hostile[_i].header, strlen(hostile[_i].header), hostile[_i].data);
    ck_assert_int_eq(safetensors_open(&file, scratch_path("hostile")), GLOW_EINVAL);
    ck_assert_ptr_null(file);
    ck_assert_msg(strstr(fail_message(), hostile[_i].word) && strstr(fail_message(), "hostile"),
                  "\"%s\" lacks \"%s\"", fail_message(), hostile[_i].word);
}
END_TEST

START_TEST(hostile_length)
{
    static const uint64_t lengths[] = { 0, 1, 3, 1000, 100u << 20, UINT64_MAX, UINT64_MAX - 7 };
    struct safetensors *file;
    for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
        save_hostile("{}", lengths[i], 0);
        ck_assert_int_eq(safetensors_open(&file, scratch_path("hostile")), GLOW_EINVAL);
    }
    for (size_t n = 0; n < 8; n++) {
        scratch_save("hostile", "\2\0\0\0\0\0\0\0", n);
        ck_assert_int_eq(safetensors_open(&file, scratch_path("hostile")), GLOW_EINVAL);
    }
    save_hostile("{}", 2, 0);
    ck_assert_int_eq(safetensors_open(&file, scratch_path("hostile")), GLOW_OK);
    ck_assert_int_eq(safetensors_count(file), 0);
    safetensors_close(file);
    ck_assert_int_eq(safetensors_open(&file, scratch_path("not-there")), GLOW_EIO);
    ck_assert_ptr_nonnull(strstr(fail_message(), "No such file"));
    ck_assert_int_eq(safetensors_open(&file, scratch_dir), GLOW_EIO);
}
END_TEST

/* Every file cut short is refused; every changed byte is refused or harmless. */
START_TEST(damaged)
{
    struct safetensors *file;
    size_t n;
    write_sample(scratch_path("good"));
    char *good = scratch_load("good", &n);
    for (size_t cut = 0; cut < n; cut++) {
        scratch_save("cut", good, cut);
        ck_assert_int_eq(safetensors_open(&file, scratch_path("cut")), GLOW_EINVAL);
    }
    uint64_t random = 1;
    for (int round = 0; round < 1000; round++) {
        random = random * 6364136223846793005u + 1442695040888963407u;
        size_t at = (size_t)(random >> 33) % n;
        char saved = good[at];
        good[at] = (char)(random >> 20);
        scratch_save("changed", good, n);
        if (safetensors_open(&file, scratch_path("changed")) == GLOW_OK) {
            unsigned sum = 0;
            for (int64_t i = 0; i < safetensors_count(file); i++) {
                const struct safetensors_tensor *t = safetensors_at(file, i);
                for (size_t k = 0; k < safetensors_bytes(t); k++)
                    sum += ((const uint8_t *)t->data)[k];
            }
            ck_assert_uint_le(sum, 255 * 51);
            safetensors_close(file);
        }
        good[at] = saved;
    }
    free(good);
}
END_TEST

/* ---------------------------------------------------------------- file.h */

START_TEST(failed_write_leaves_the_old_file)
{
    size_t n;
    struct rlimit limit, small = { 4096, RLIM_INFINITY };
    char *big = calloc(1, 1 << 16);
    ck_assert_int_eq(file_save(scratch_path("kept"), "old", 3), GLOW_OK);
    getrlimit(RLIMIT_FSIZE, &limit);
    small.rlim_max = limit.rlim_max;
    signal(SIGXFSZ, SIG_IGN);
    setrlimit(RLIMIT_FSIZE, &small);
    glow_status status = file_save(scratch_path("kept"), big, 1 << 16);
    setrlimit(RLIMIT_FSIZE, &limit);
    ck_assert_int_eq(status, GLOW_EIO);
    ck_assert_ptr_nonnull(strstr(fail_message(), "File too large"));
    ck_assert_ptr_nonnull(strstr(fail_message(), "kept"));
    char *kept = scratch_load("kept", &n);
    ck_assert_str_eq(kept, "old");
    ck_assert(!scratch_exists("kept.partial"));
    free(kept);
    free(big);
}
END_TEST

START_TEST(discarded_and_locked)
{
    struct file *file, *second;
    size_t n;
    file_save(scratch_path("kept"), "old", 3);
    scratch_save("kept.partial", "left by a killed process", 24);
    ck_assert_int_eq(file_create(&file, scratch_path("kept")), GLOW_OK);
    ck_assert_int_eq(file_write(file, "new", 3), GLOW_OK);
    ck_assert_int_eq(file_create(&second, scratch_path("kept")), GLOW_EIO);
    ck_assert_ptr_nonnull(strstr(fail_message(), "another process"));
    ck_assert(scratch_exists("kept.partial"));
    file_discard(file);
    ck_assert(!scratch_exists("kept.partial"));
    char *kept = scratch_load("kept", &n);
    ck_assert_str_eq(kept, "old");
    free(kept);
    ck_assert_int_eq(file_create(&file, scratch_path("kept")), GLOW_OK);
    ck_assert_int_eq(file_write(file, "newer", 5), GLOW_OK);
    ck_assert_int_eq(file_rewrite(file, "NE", 2, 0), GLOW_OK);
    ck_assert_int_eq(file_commit(file), GLOW_OK);
    kept = scratch_load("kept", &n);
    ck_assert_str_eq(kept, "NEwer");
    free(kept);
    scratch_save("kept.partial", "left by a killed process", 24);
    ck_assert_int_eq(file_save(scratch_path("kept"), "short", 5), GLOW_OK);
    kept = scratch_load("kept", &n);
    ck_assert_str_eq(kept, "short");
    free(kept);
}
END_TEST

START_TEST(odd_places)
{
    struct stat info;
    size_t n;
    char received[4] = "";
    ck_assert_int_eq(mkfifo(scratch_path("pipe"), 0600), 0);
    int pipe = open(scratch_path("pipe"), O_RDWR);
    ck_assert_int_eq(file_save(scratch_path("pipe"), "abc", 3), GLOW_OK);
    ck_assert_int_eq(lstat(scratch_path("pipe"), &info), 0);
    ck_assert(S_ISFIFO(info.st_mode)); /* as /dev/null would stay a device */
    ck_assert_int_eq((int)read(pipe, received, 3), 3);
    ck_assert_str_eq(received, "abc");
    close(pipe);
    ck_assert_int_eq(file_save(scratch_dir, "abc", 3), GLOW_EIO);
    ck_assert_int_eq(file_save(scratch_path("no/such/place"), "abc", 3), GLOW_EIO);
    ck_assert_ptr_nonnull(strstr(fail_message(), "No such file"));
    file_save(scratch_path("target"), "old", 3);
    ck_assert_int_eq(symlink("target", scratch_path("link")), 0);
    ck_assert_int_eq(file_save(scratch_path("link"), "new", 3), GLOW_OK);
    char *target = scratch_load("target", &n);
    ck_assert_str_eq(target, "new");
    ck_assert_int_eq(lstat(scratch_path("link"), &info), 0);
    ck_assert(S_ISLNK(info.st_mode));
    free(target);
    /* A link that somebody laid where the temporary file goes is not followed. */
    ck_assert_int_eq(symlink("target", scratch_path("trap.partial")), 0);
    ck_assert_int_eq(file_save(scratch_path("trap"), "bad", 3), GLOW_EIO);
    target = scratch_load("target", &n);
    ck_assert_str_eq(target, "new");
    free(target);
}
END_TEST

START_TEST(directories)
{
    ck_assert_int_eq(file_make_directories(scratch_path("a1/b/c/")), GLOW_OK);
    ck_assert(scratch_exists("a1/b/c"));
    ck_assert_int_eq(file_make_directories(scratch_path("a1/b")), GLOW_OK);
    file_save(scratch_path("in-the-way"), "x", 1);
    ck_assert_int_eq(file_make_directories(scratch_path("in-the-way")), GLOW_EIO);
    ck_assert_int_eq(file_make_directories(scratch_path("in-the-way/below")), GLOW_EIO);
    ck_assert_int_eq(file_make_directories(""), GLOW_EIO);
    rmdir(scratch_path("a1/b/c"));
    rmdir(scratch_path("a1/b"));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("safetensors");
    TCase *tests = tcase_create("safetensors"), *files = tcase_create("file");
    tcase_add_test(tests, round_trip);
    tcase_add_test(tests, deterministic);
    tcase_add_test(tests, refused_by_writer);
    tcase_add_loop_test(tests, hostile_header, 0, (int)(sizeof hostile / sizeof hostile[0]));
    tcase_add_test(tests, hostile_length);
    tcase_add_test(tests, damaged);
    tcase_set_timeout(tests, 60);
    tcase_add_test(files, failed_write_leaves_the_old_file);
    tcase_add_test(files, discarded_and_locked);
    tcase_add_test(files, odd_places);
    tcase_add_test(files, directories);
    suite_add_tcase(suite, tests);
    suite_add_tcase(suite, files);
    return scratch_run(suite);
}

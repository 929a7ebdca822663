/* test_cache.c - the cache of decoded rows: made once, found again, repaired, shared by processes,
 * and done without when there is no room. */
#include "cache.h"
#include <check.h>
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>
#include "fixtures.h"
#include "harness.h"

enum { ROWS = 1000, BYTES = 700 };

/* A source that counts. Row i holds bytes of i; rows that `skip` divides are unreadable. */
struct counter {
    atomic_int decoded, workers;
    int skip, fail_at, delay;
};

static void fill(int64_t row, uint8_t *dst)
{
    for (int k = 0; k < BYTES; k++) dst[k] = (uint8_t)(row * 7 + k * (row % 13 + 1));
}

static int32_t worker_open(const struct glow_self *self, void *context, void **worker)
{
    (void)self;
    atomic_fetch_add(&((struct counter *)context)->workers, 1);
    *worker = malloc(1);
    return GLOW_OK;
}

static void worker_close(void *context, void *worker)
{
    atomic_fetch_sub(&((struct counter *)context)->workers, 1);
    free(worker);
}

static int32_t decode(const struct glow_self *self, void *context, void *worker, int64_t row,
                      uint8_t *dst)
{
    struct counter *c = context;
    atomic_fetch_add(&c->decoded, 1);
    if (!worker) return dataset_fail(self, GLOW_EINVAL, "no worker");
    if (c->delay) usleep((unsigned)c->delay);
    if (c->fail_at && row == c->fail_at)
        return dataset_fail(self, GLOW_EINVAL, "row %d is bad", (int)row);
    if (c->skip && row % c->skip == 0) return CACHE_SKIP;
    fill(row, dst);
    return GLOW_OK;
}

/* A host is at hand in every plug-in's harness. */
static struct harness *host;
static char folder[64];

/* A fresh folder for the caches of one test. */
static void setup(void)
{
    static int number;
    host = harness_load("toy2d");
    snprintf(folder, sizeof folder, "cache%d-%d", (int)getpid(), number++);
    fixture_folder(folder);
    harness_set_cache(host, harness_path(folder));
    harness_open(host, "train", harness_any()); /* empties the log */
}

static void teardown(void) { harness_free(host); }

static struct cache_source source_of(struct counter *c, uint64_t key)
{
    return (struct cache_source){ .name = "test",
                                  .key = key,
                                  .count = ROWS,
                                  .row_bytes = BYTES,
                                  .tolerant = c->skip != 0,
                                  .context = c,
                                  .worker_open = worker_open,
                                  .worker_close = worker_close,
                                  .decode = decode };
}

/* Opens, checks every row that is there, closes; the number of rows decoded meanwhile. */
static int use(struct counter *c, uint64_t key, bool use_file)
{
    struct cache *cache;
    struct cache_source source = source_of(c, key);
    uint8_t right[BYTES], found[BYTES];
    atomic_store(&c->decoded, 0);
    int32_t status = cache_open(&cache, &host->self, &source, use_file);
    ck_assert_msg(status == GLOW_OK, "%s", harness_failure(host));
    for (int64_t i = 0; i < ROWS; i++) {
        ck_assert(cache_has(cache, i) == !(c->skip && i % c->skip == 0));
        if (!cache_has(cache, i)) continue;
        fill(i, right);
        ck_assert_int_eq(cache_read(cache, &host->self, NULL, i, found), GLOW_OK);
        ck_assert_msg(!memcmp(right, found, BYTES), "row %d is wrong", (int)i);
    }
    cache_close(cache);
    ck_assert_int_eq(atomic_load(&c->workers), 0);
    return atomic_load(&c->decoded);
}

/* The names in the folder, and the only one that ends in `ending`. */
static int files(const char *ending, char name[256])
{
    int n = 0;
    DIR *dir = opendir(harness_path(folder));
    ck_assert_ptr_nonnull(dir);
    for (struct dirent *e; (e = readdir(dir));) {
        size_t length = strlen(e->d_name), m = strlen(ending);
        if (length < m || strcmp(e->d_name + length - m, ending)) continue;
        snprintf(name, 256, "%.60s/%.180s", folder, e->d_name);
        n++;
    }
    closedir(dir);
    return n;
}

START_TEST(made_once)
{
    struct counter c = { .skip = _i ? 10 : 0 };
    char name[256];
    ck_assert_int_eq(use(&c, 1, true), ROWS);
    ck_assert(harness_logged(host, "decoding 1000 rows, once"));
    ck_assert_int_eq(use(&c, 1, true), 0);
    ck_assert_int_eq(use(&c, 2, true), ROWS); /* another key, another file */
    ck_assert_int_eq(use(&c, 1, true), 0);
    ck_assert_int_eq(files(".rows", name), 2);
    ck_assert_int_eq(files(".part", name), 0);
    ck_assert(!harness_logged(host, "warning"));
}
END_TEST

/* Without a file every read decodes; unreadable rows are found out at open. */
START_TEST(without_file)
{
    struct counter c = { 0 }, skipping = { .skip = 10 };
    char name[256];
    ck_assert_int_eq(use(&c, 1, false), ROWS);
    ck_assert_int_eq(use(&skipping, 1, false), ROWS + ROWS - ROWS / 10);
    harness_set_cache(host, NULL);
    ck_assert_int_eq(use(&c, 1, true), ROWS);
    ck_assert_int_eq(files("", name), 2); /* . and .. */
}
END_TEST

START_TEST(fingerprint)
{
    struct counter c = { 0 };
    struct cache *cache;
    struct cache_source source = source_of(&c, 1);
    ck_assert_int_eq(cache_open(&cache, &host->self, &source, true), GLOW_OK);
    uint64_t first = cache_fingerprint(cache);
    cache_close(cache);
    source.key = 2;
    ck_assert_int_eq(cache_open(&cache, &host->self, &source, true), GLOW_OK);
    ck_assert_uint_eq(cache_fingerprint(cache), first); /* of the rows, not of the key */
    cache_close(cache);
    ck_assert_int_eq(cache_open(&cache, &host->self, &source, false), GLOW_OK);
    ck_assert_uint_eq(cache_fingerprint(cache), 0);
    cache_close(cache);
    ck_assert_uint_ne(first, 0);
}
END_TEST

/* A changed byte anywhere in header or table, a cut, garbage, another key's file: made anew. */
START_TEST(damaged_head)
{
    struct counter c = { 0 };
    char name[256], other[256];
    size_t n;
    use(&c, 1, true);
    ck_assert_int_eq(files(".rows", name), 1);
    uint8_t *bytes = fixture_read(name, &n);
    static const size_t places[] = { 0, 9, 17, 25, 33, 37, 40, 44, 40 + 8 * ROWS - 1 };
    for (size_t i = 0; i < GLOW_COUNT(places); i++) {
        bytes[places[i]] ^= 4;
        fixture_file(name, bytes, n);
        bytes[places[i]] ^= 4;
        ck_assert_msg(use(&c, 1, true) == ROWS, "a changed byte %zu was not noticed", places[i]);
        ck_assert(harness_logged(host, "decoding again"));
    }
    fixture_file(name, bytes, n - 1);
    ck_assert_int_eq(use(&c, 1, true), ROWS);
    fixture_file(name, bytes, 0);
    ck_assert_int_eq(use(&c, 1, true), ROWS);
    fixture_text(name, "no cache at all");
    ck_assert_int_eq(use(&c, 1, true), ROWS);
    fixture_file(name, bytes, n);
    ck_assert_int_eq(use(&c, 1, true), 0);

    snprintf(other, sizeof other, "%s/test-0000000000000002.rows", folder);
    fixture_file(other, bytes, n);
    ck_assert_int_eq(use(&c, 2, true), ROWS);
    ck_assert(harness_logged(host, "belongs to other data"));
    free(bytes);
}
END_TEST

/* A changed row is decoded from the source, told once, and the file goes. */
START_TEST(damaged_row)
{
    struct counter c = { 0 };
    char name[256];
    size_t n;
    use(&c, 1, true);
    ck_assert_int_eq(files(".rows", name), 1);
    uint8_t *bytes = fixture_read(name, &n);
    bytes[n - 1] ^= 1;                              /* the last row */
    bytes[n - (size_t)BYTES * (ROWS - 500)] ^= 128; /* row 500 */
    fixture_file(name, bytes, n);
    ck_assert_int_eq(use(&c, 1, true), 2);
    ck_assert(harness_logged(host, "row 500 is damaged"));
    ck_assert(!harness_logged(host, "row 999 is damaged"));
    ck_assert_int_eq(files(".rows", name), 0);
    ck_assert_int_eq(use(&c, 1, true), ROWS);
    ck_assert_int_eq(use(&c, 1, true), 0);
    free(bytes);
}
END_TEST

/* Several processes at once: all read right rows, and the rows are decoded by one of them. */
START_TEST(processes)
{
    enum { CHILDREN = 4 };
    pid_t child[CHILDREN];
    int made = 0;
    char name[256];
    for (int i = 0; i < CHILDREN; i++) {
        child[i] = fork();
        ck_assert_int_ge(child[i], 0);
        if (child[i]) continue;
        struct counter c = { .delay = 200 };
        struct cache *cache;
        struct cache_source source = source_of(&c, 1);
        uint8_t right[BYTES], found[BYTES];
        int wrong = cache_open(&cache, &host->self, &source, true) != GLOW_OK;
        int decoded = atomic_load(&c.decoded);
        for (int64_t row = 0; !wrong && row < ROWS; row++) {
            fill(row, right);
            wrong = cache_read(cache, &host->self, NULL, row, found) != GLOW_OK ||
                    memcmp(right, found, BYTES);
        }
        _exit(wrong ? 2 : decoded == ROWS ? 1 : decoded == 0 ? 0 : 3);
    }
    for (int i = 0; i < CHILDREN; i++) {
        int status;
        waitpid(child[i], &status, 0);
        ck_assert(WIFEXITED(status) && WEXITSTATUS(status) <= 1);
        made += WEXITSTATUS(status);
    }
    ck_assert_int_eq(made, 1);
    ck_assert_int_eq(files(".rows", name), 1);
    ck_assert_int_eq(files(".part", name), 0);
}
END_TEST

/* What a killed process left behind is used again; a live one's lock is waited for. */
START_TEST(left_behind)
{
    struct counter c = { 0 };
    struct cache *cache;
    struct cache_source source = source_of(&c, 1);
    char part[256];
    snprintf(part, sizeof part, "%s/test-0000000000000001.rows.part", folder);
    fixture_text(part, "half a cache of a process that was killed");
    ck_assert_int_eq(use(&c, 1, true), ROWS);
    ck_assert_int_eq(files(".part", part), 0);

    source.key = 3;
    snprintf(part, sizeof part, "%s/test-0000000000000003.rows.part", folder);
    fixture_text(part, "");
    int fd = open(harness_path(part), O_RDWR);
    ck_assert_int_eq(flock(fd, LOCK_EX), 0);
    harness_stop_after(host, 2);
    ck_assert_int_eq(cache_open(&cache, &host->self, &source, true), GLOW_ECANCEL);
    ck_assert(harness_logged(host, "another process writes"));
    ck_assert_ptr_null(cache);
    close(fd);
}
END_TEST

/* Opens with little room for files and reads all rows; what went wrong, or NULL. Runs in a process
 * of its own, as Check writes files too. */
static const char *use_little_room(struct counter *c)
{
    const struct rlimit small = { 100000, 100000 };
    struct cache *cache;
    struct cache_source source = source_of(c, 1);
    uint8_t right[BYTES], found[BYTES];
    signal(SIGXFSZ, SIG_IGN);
    if (setrlimit(RLIMIT_FSIZE, &small) != 0) return "setrlimit";
    if (cache_open(&cache, &host->self, &source, true) != GLOW_OK) return harness_failure(host);
    /* Rows that go nowhere are decoded only where each has to be tried. */
    if (c->skip ? c->decoded != ROWS : c->decoded >= ROWS) return "the pass did not end in time";
    if (!harness_logged(host, "warning: can't write the cache")) return "no warning";
    for (int64_t row = 0; row < ROWS; row++) {
        if (cache_has(cache, row) == (c->skip && row % c->skip == 0)) return "the wrong rows";
        if (!cache_has(cache, row)) continue;
        fill(row, right);
        if (cache_read(cache, &host->self, NULL, row, found) != GLOW_OK)
            return harness_failure(host);
        if (memcmp(right, found, BYTES)) return "a wrong row";
    }
    cache_close(cache);
    return NULL;
}

/* A limit on the size of files stands for a full disk: rows are decoded at each read, with a
 * warning. */
START_TEST(disk_full)
{
    struct counter c = { .skip = _i ? 10 : 0 };
    char name[256];
    int status;
    pid_t child = fork();
    ck_assert_int_ge(child, 0);
    if (child == 0) {
        const char *problem = use_little_room(&c);
        if (problem) fprintf(stderr, "%s\n", problem);
        _exit(problem != NULL);
    }
    waitpid(child, &status, 0);
    ck_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    ck_assert_int_eq(files(".rows", name), 0);
    ck_assert_int_eq(files(".part", name), 0);
    ck_assert_int_eq(use(&c, 1, true), ROWS); /* with room again */
    ck_assert_int_eq(use(&c, 1, true), 0);
}
END_TEST

/* A directory that is not there, or is a file: the same. */
START_TEST(no_place)
{
    struct counter c = { 0 };
    harness_set_cache(host, harness_path("no/such/folder"));
    ck_assert_int_eq(use(&c, 1, true), ROWS);
    ck_assert(harness_logged(host, "warning: can't write the cache"));
}
END_TEST

START_TEST(errors_and_cancel)
{
    struct counter c = { .fail_at = 700 };
    struct cache *cache;
    struct cache_source source = source_of(&c, 1);
    char name[256];
    ck_assert_int_eq(cache_open(&cache, &host->self, &source, true), GLOW_EINVAL);
    ck_assert_str_eq(harness_failure(host), "row 700 is bad");
    ck_assert_int_eq(files(".rows", name) + files(".part", name), 0);
    c = (struct counter){ .delay = 100 };
    harness_stop_after(host, 3);
    ck_assert_int_eq(cache_open(&cache, &host->self, &source, true), GLOW_ECANCEL);
    ck_assert_int_lt(atomic_load(&c.decoded), ROWS);
    ck_assert_int_eq(files(".rows", name) + files(".part", name), 0);
    harness_stop_after(host, -1);
    ck_assert_int_eq(use(&c, 1, true), ROWS);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("cache");
    TCase *tests = tcase_create("cache");
    harness_directory();
    suite_add_tcase(suite, tests);
    tcase_set_timeout(tests, 60);
    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_add_loop_test(tests, made_once, 0, 2);
    tcase_add_test(tests, without_file);
    tcase_add_test(tests, fingerprint);
    tcase_add_test(tests, damaged_head);
    tcase_add_test(tests, damaged_row);
    tcase_add_test(tests, processes);
    tcase_add_test(tests, left_behind);
    tcase_add_loop_test(tests, disk_full, 0, 2);
    tcase_add_test(tests, no_place);
    tcase_add_test(tests, errors_and_cancel);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}

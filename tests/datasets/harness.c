/* harness.c - a small host for the tests of dataset plug-ins. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* nftw */
#endif
#include "harness.h"
#include <dlfcn.h>
#include <ftw.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "philox.h"

enum { MAX_OPTIONS = 16, TEXT = 4096, LOG = 1 << 16 };

struct host { /* the harness and what the plug-in does not see of it */
    struct harness harness;
    char *value[MAX_OPTIONS]; /* set options; NULL: default */
    char cache[TEXT], failure[TEXT], log[LOG];
    int stop_after;
    pthread_mutex_t mutex;
};

static struct host *host_of(const struct glow_self *self)
{
    return (struct host *)((char *)self - offsetof(struct harness, self));
}

/* ---------------------------------------------------------------- host functions */

/* The text of an option, of one of the types in a mask of 1 << GLOW_OPT_*. */
static const char *option_text(const struct glow_self *self, const char *key, uint32_t types)
{
    const struct host *h = host_of(self);
    const struct glow_desc *desc = &h->harness.dataset->head;
    for (uint32_t i = 0; i < desc->n_options; i++) {
        if (strcmp(desc->options[i].key, key)) continue;
        ck_assert_msg(types & 1u << desc->options[i].type, "option %s asked for by a wrong type",
                      key);
        const char *text = h->value[i] ? h->value[i] : desc->options[i].dflt;
        ck_assert_msg(text != NULL, "option %s is required", key);
        return text;
    }
    ck_abort_msg("the plug-in asks for an option %s that it doesn't list", key);
    return "";
}

static int64_t opt_int(const struct glow_self *self, const char *key)
{
    const char *text = option_text(self, key, 1u << GLOW_OPT_INT | 1u << GLOW_OPT_BOOL);
    return !strcmp(text, "true") ? 1 : !strcmp(text, "false") ? 0 : strtoll(text, NULL, 10);
}

static double opt_real(const struct glow_self *self, const char *key)
{
    return strtod(option_text(self, key, 1u << GLOW_OPT_INT | 1u << GLOW_OPT_REAL), NULL);
}

static const char *opt_string(const struct glow_self *self, const char *key)
{
    return option_text(self, key,
                       1u << GLOW_OPT_STRING | 1u << GLOW_OPT_ENUM | 1u << GLOW_OPT_PATH);
}

static void host_fail(const struct glow_self *self, const char *why)
{
    struct host *h = host_of(self);
    pthread_mutex_lock(&h->mutex);
    snprintf(h->failure, sizeof h->failure, "%s", why);
    pthread_mutex_unlock(&h->mutex);
}

static void host_log(const struct glow_self *self, int32_t level, const char *message)
{
    struct host *h = host_of(self);
    pthread_mutex_lock(&h->mutex);
    size_t n = strlen(h->log);
    snprintf(h->log + n, sizeof h->log - n, "%s%s\n", level ? "warning: " : "", message);
    pthread_mutex_unlock(&h->mutex);
}

static int32_t host_progress(const struct glow_self *self, int64_t done, int64_t total)
{
    struct host *h = host_of(self);
    ck_assert(done >= 0 && done <= total);
    return h->stop_after >= 0 && h->stop_after-- == 0;
}

static void host_random(uint64_t seed, uint64_t stream, uint32_t dist, double *out, int64_t n)
{
    const uint32_t key[2] = { (uint32_t)seed, (uint32_t)(seed >> 32) };
    for (int64_t i = 0; i < n; i += 2) {
        const uint32_t counter[4] = { (uint32_t)stream, (uint32_t)(stream >> 32), (uint32_t)(i / 2),
                                      dist };
        struct philox x = philox(counter, key);
        double pair[2] = { philox_uniform(x.v[0]), philox_uniform(x.v[1]) };
        if (dist == GLOW_GAUSS) philox_gauss(x.v[0], x.v[1], pair);
        out[i] = pair[0];
        if (i + 1 < n) out[i + 1] = pair[1];
    }
}

static const char *cache_dir(const struct glow_self *self) { return host_of(self)->cache; }

static const struct glow_host host_table = {
    .size = sizeof(struct glow_host),
    .minor = GLOW_ABI_MINOR,
    .opt_int = opt_int,
    .opt_real = opt_real,
    .opt_string = opt_string,
    .fail = host_fail,
    .log = host_log,
    .progress = host_progress,
    .random = host_random,
    .cache_dir = cache_dir,
};

/* ---------------------------------------------------------------- loading */

/* Opens DIRECTORY/FORM for the first form that is there. */
static void *open_module(const char *directory, const char *id)
{
    static const char *const forms[] = { "%s/%s.so", "%s/.libs/%s.so", "%s/datasets/.libs/%s.so" };
    for (size_t i = 0; i < GLOW_COUNT(forms); i++) {
        char path[TEXT];
        snprintf(path, sizeof path, forms[i], directory, id);
        if (access(path, F_OK) != 0) continue;
        void *module = dlopen(path, RTLD_NOW | RTLD_LOCAL);
        ck_assert_msg(module != NULL, "%s: %s", path, dlerror());
        return module;
    }
    return NULL;
}

/* In the directories of GLOW_PLUGIN_PATH, then in the build tree. */
static void *find_module(const char *id)
{
    const char *list = getenv("GLOW_PLUGIN_PATH");
    char copy[TEXT], *rest = copy;
    void *module = NULL;
    snprintf(copy, sizeof copy, "%s", list ? list : "");
    for (char *directory; !module && (directory = strsep(&rest, ":"));)
        module = open_module(directory, id);
    if (!module) module = open_module("plugins", id);
    ck_assert_msg(module != NULL, "no %s.so in GLOW_PLUGIN_PATH or plugins/datasets/.libs", id);
    return module;
}

struct harness *harness_load(const char *id)
{
    struct host *h = calloc(1, sizeof *h);
    ck_assert_ptr_nonnull(h);
    const struct glow_plugin *plugin = dlsym(find_module(id), GLOW_PLUGIN_SYMBOL);
    ck_assert_ptr_nonnull(plugin);
    ck_assert_uint_eq(plugin->size, sizeof *plugin);
    const struct glow_dataset *dataset = (const struct glow_dataset *)plugin->descs[0];
    ck_assert_ptr_null(plugin->descs[1]);
    ck_assert_uint_eq(dataset->head.kind, GLOW_DATASET);
    ck_assert_uint_eq(dataset->head.size, sizeof *dataset);
    ck_assert_uint_eq(dataset->head.option_size, sizeof(struct glow_option));
    ck_assert_uint_le(dataset->head.n_options, MAX_OPTIONS);
    ck_assert_str_eq(dataset->head.id, id);
    h->harness.dataset = dataset;
    h->harness.self = (struct glow_self){ &host_table, "data", NULL };
    h->stop_after = -1;
    pthread_mutex_init(&h->mutex, NULL);
    return &h->harness;
}

void harness_free(struct harness *harness)
{
    struct host *h = (struct host *)harness;
    harness_close(harness);
    for (int i = 0; i < MAX_OPTIONS; i++) free(h->value[i]);
    pthread_mutex_destroy(&h->mutex);
    free(h);
}

void harness_set(struct harness *harness, const char *key, const char *value)
{
    struct host *h = (struct host *)harness;
    const struct glow_desc *desc = &harness->dataset->head;
    for (uint32_t i = 0; i < desc->n_options; i++) {
        if (strcmp(desc->options[i].key, key)) continue;
        free(h->value[i]);
        h->value[i] = value ? strdup(value) : NULL;
        return;
    }
    ck_abort_msg("no option %s", key);
}

void harness_set_path(struct harness *harness, const char *key, const char *name)
{
    harness_set(harness, key, harness_path(name));
}

void harness_set_cache(struct harness *harness, const char *directory)
{
    snprintf(((struct host *)harness)->cache, TEXT, "%s", directory ? directory : "");
}

void harness_stop_after(struct harness *harness, int calls)
{
    ((struct host *)harness)->stop_after = calls;
}

/* ---------------------------------------------------------------- opening and reading */

int32_t harness_try(struct harness *harness, const char *split, struct glow_type want)
{
    struct host *h = (struct host *)harness;
    struct glow_data_open open = { sizeof open, 0, split, want, 7 };
    harness_close(harness);
    h->failure[0] = h->log[0] = 0;
    harness->info = (struct glow_data_info){ .size = sizeof harness->info };
    int32_t status = harness->dataset->open(&harness->self, &open, &harness->state, &harness->info);
    if (status != GLOW_OK) {
        harness->state = NULL;
        ck_assert_msg(h->failure[0], "open failed with %d and gave no reason", status);
    }
    return status;
}

void harness_open(struct harness *harness, const char *split, struct glow_type want)
{
    int32_t status = harness_try(harness, split, want);
    ck_assert_msg(status == GLOW_OK, "open %s: %d: %s", split, status, harness_failure(harness));
}

void harness_refuses(struct harness *harness, const char *split, struct glow_type want,
                     int32_t code, ...)
{
    int32_t status = harness_try(harness, split, want);
    const char *failure = harness_failure(harness);
    ck_assert_msg(status != GLOW_OK, "open %s was expected to fail", split);
    ck_assert_msg(status == code, "status %d, expected %d: %s", status, code, failure);
    va_list words;
    va_start(words, code);
    for (const char *word; (word = va_arg(words, const char *));)
        ck_assert_msg(strstr(failure, word) != NULL, "\"%s\" does not speak of \"%s\"", failure,
                      word);
    va_end(words);
}

void harness_close(struct harness *harness)
{
    if (harness->state) harness->dataset->close(harness->state);
    harness->state = NULL;
}

const char *harness_failure(const struct harness *harness)
{
    return ((const struct host *)harness)->failure;
}

bool harness_logged(const struct harness *harness, const char *text)
{
    return strstr(((const struct host *)harness)->log, text) != NULL;
}

static size_t type_bytes(const struct glow_column *c)
{
    size_t n = c->dtype == GLOW_U8 ? 1 : c->dtype == GLOW_I64 || c->dtype == GLOW_F64 ? 8 : 4;
    for (int32_t i = 0; i < c->type.rank; i++) n *= (size_t)c->type.dim[i];
    return n;
}

size_t harness_row_bytes(const struct harness *harness, uint32_t column)
{
    ck_assert_uint_lt(column, harness->info.n_columns);
    return type_bytes(&harness->info.columns[column]);
}

static int32_t read_batch(struct harness *harness, uint32_t n, const int64_t *index,
                          const uint64_t *key, void *const *dst, void *worker)
{
    struct glow_data_read request = { sizeof request, n, index, key, dst, worker };
    return harness->dataset->read(&harness->self, harness->state, &request);
}

void harness_read_keyed(struct harness *harness, uint32_t column, int64_t row, uint64_t key,
                        void *dst)
{
    void *columns[8] = { NULL };
    ck_assert_uint_lt(column, harness->info.n_columns);
    columns[column] = dst;
    int32_t status = read_batch(harness, 1, &row, &key, columns, NULL);
    ck_assert_msg(status == GLOW_OK, "read row %lld: %s", (long long)row, harness_failure(harness));
}

void harness_read(struct harness *harness, uint32_t column, int64_t row, void *dst)
{
    harness_read_keyed(harness, column, row, 0, dst);
}

/* ---------------------------------------------------------------- rules for all data sets */

enum { ROWS = 64, BATCH = 5, ROUNDS = 40 };

static void check_columns(const struct harness *h)
{
    ck_assert_int_gt(h->info.count, 0);
    ck_assert_uint_ge(h->info.n_columns, 1);
    ck_assert_uint_eq(h->info.column_size, sizeof(struct glow_column));
    ck_assert_uint_eq(h->info.columns[0].role, GLOW_ROLE_X);
    for (uint32_t i = 0; i < h->info.n_columns; i++) {
        const struct glow_column *c = &h->info.columns[i];
        ck_assert(c->name && c->name[0]);
        ck_assert_uint_ge(c->dtype, GLOW_U8);
        ck_assert_uint_le(c->dtype, GLOW_F64);
        ck_assert(c->type.rank >= 0 && c->type.rank <= GLOW_MAX_RANK);
        ck_assert(c->lo < c->hi);
        for (uint32_t k = 0; k < c->n_names; k++) ck_assert(c->names[k] && c->names[k][0]);
    }
}

/* Some rows spread over the split, the first and the last among them. */
static int64_t sample_row(int64_t count, int64_t i)
{
    if (count == INT64_MAX) return i * 1000003;
    return count <= ROWS ? i % count : (int64_t)((double)i * (double)(count - 1) / (ROWS - 1));
}

struct reader {
    struct harness *harness;
    uint8_t *const *expected; /* per column, ROWS rows */
    unsigned seed;
    const char *problem;
};

/* Reads batches in random order and compares. Threads must not use Check's assertions. */
static void *read_randomly(void *argument)
{
    struct reader *r = argument;
    struct harness *h = r->harness;
    const struct glow_dataset *d = h->dataset;
    void *worker = NULL, *dst[8] = { NULL };
    if (d->worker_open && d->worker_open(&h->self, h->state, &worker) != GLOW_OK) {
        r->problem = "worker_open failed";
        return NULL;
    }
    for (uint32_t c = 0; c < h->info.n_columns; c++)
        dst[c] = malloc(BATCH * harness_row_bytes(h, c));
    for (int round = 0; round < ROUNDS && !r->problem; round++) {
        int64_t which[BATCH], index[BATCH];
        uint64_t key[BATCH] = { 0 };
        for (int i = 0; i < BATCH; i++) {
            which[i] = rand_r(&r->seed) % ROWS;
            index[i] = sample_row(h->info.count, which[i]);
        }
        if (read_batch(h, BATCH, index, key, dst, worker) != GLOW_OK) r->problem = "read failed";
        for (uint32_t c = 0; c < h->info.n_columns && !r->problem; c++) {
            size_t bytes = harness_row_bytes(h, c);
            for (int i = 0; i < BATCH; i++) {
                if (memcmp((uint8_t *)dst[c] + (size_t)i * bytes,
                           r->expected[c] + (size_t)which[i] * bytes, bytes))
                    r->problem = "a row differs from its first reading";
            }
        }
    }
    for (uint32_t c = 0; c < h->info.n_columns; c++) free(dst[c]);
    if (worker) d->worker_close(h->state, worker);
    return NULL;
}

void harness_conforms(struct harness *h)
{
    uint8_t *expected[8] = { NULL };
    check_columns(h);
    ck_assert_uint_le(h->info.n_columns, 8);
    for (uint32_t c = 0; c < h->info.n_columns; c++) {
        size_t bytes = harness_row_bytes(h, c);
        expected[c] = malloc(ROWS * bytes);
        ck_assert_ptr_nonnull(expected[c]);
        for (int64_t i = 0; i < ROWS; i++)
            harness_read(h, c, sample_row(h->info.count, i), expected[c] + (size_t)i * bytes);
    }
    struct reader readers[2] = { { h, expected, 1, NULL }, { h, expected, 2, NULL } };
    pthread_t thread;
    ck_assert_int_eq(pthread_create(&thread, NULL, read_randomly, &readers[0]), 0);
    read_randomly(&readers[1]);
    pthread_join(thread, NULL);
    for (int i = 0; i < 2; i++)
        ck_assert_msg(!readers[i].problem, "%s: %s", readers[i].problem, harness_failure(h));

    void *dst[8] = { expected[0] };
    int64_t wrong[2] = { -1, h->info.count };
    for (int i = 0; i < 2; i++)
        ck_assert_int_eq(read_batch(h, 1, &wrong[i], NULL, dst, NULL), GLOW_EINVAL);
    for (uint32_t c = 0; c < h->info.n_columns; c++) free(expected[c]);
}

/* ---------------------------------------------------------------- types and paths */

struct glow_type harness_any(void) { return (struct glow_type){ 0 }; }

struct glow_type harness_row(int64_t n)
{
    return (struct glow_type){ .dtype = GLOW_REAL, .batched = 1, .rank = 1, .dim = { n } };
}

struct glow_type harness_image(int64_t channels, int64_t height, int64_t width)
{
    return (struct glow_type){
        .dtype = GLOW_REAL, .batched = 1, .rank = 3, .dim = { channels, height, width }
    };
}

static char directory[TEXT];
static pid_t directory_owner;

static int remove_entry(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st;
    (void)type;
    (void)ftw;
    return remove(path);
}

static void remove_directory(void)
{
    if (getpid() == directory_owner) nftw(directory, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

/* Made by the first call; main makes it before Check forks, so that it has one owner. */
const char *harness_directory(void)
{
    if (directory[0]) return directory;
    const char *base = getenv("TMPDIR");
    snprintf(directory, sizeof directory, "%s/glow-test-XXXXXX", base && base[0] ? base : "/tmp");
    if (!mkdtemp(directory)) {
        perror(directory);
        exit(99);
    }
    directory_owner = getpid();
    atexit(remove_directory);
    return directory;
}

const char *harness_path(const char *name)
{
    static char ring[16][TEXT];
    static unsigned next;
    char *path = ring[next++ % 16];
    snprintf(path, TEXT, "%.2000s/%.2000s", harness_directory(), name);
    return path;
}

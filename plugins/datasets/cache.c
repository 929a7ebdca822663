/* cache.c - rows decoded once into a file that later runs map.
 *
 * The file: a header, one entry per row {CRC-32, 1 or 0 = left out}, and from a multiple of 4096
 * the rows, all in the machine's own byte order (another order reads as a wrong magic number). The
 * header holds the CRC of the entries and its own. Nothing is synced to disk: after a power failure
 * the CRCs find what is missing. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* sched_getaffinity */
#endif
#include "cache.h"
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include <zlib.h>

#define MAGIC UINT64_C(0x315357524F574C47) /* "GLOWRWS1" */
enum { BLOCK_BYTES = 1 << 20, MAX_THREADS = 16, ALIGNMENT = 4096, WAIT_NS = 50 * 1000 * 1000 };

struct header {
    uint64_t magic, key;
    int64_t count, row_bytes;
    uint32_t entries_crc, header_crc; /* header_crc: of all that stands before it */
};
struct entry {
    uint32_t crc, present;
};

struct cache {
    struct cache_source source;
    char *path; /* of the file; NULL: none */
    void *map;
    size_t map_bytes;
    const struct entry *entries; /* in the map, or own_entries after a pass without a file */
    struct entry *own_entries;
    const uint8_t *rows; /* NULL: decode */
    atomic_bool damaged; /* reported */
};

/* One pass over all rows, by several threads. */
struct pass {
    const struct glow_self *self;
    struct cache *cache;
    struct entry *entries;
    int fd;
    atomic_bool storing; /* rows go to fd; ends at the first failed write */
    atomic_int write_error;
    atomic_int status;       /* first error; stops everybody */
    atomic_llong next, done; /* rows taken, rows finished */
    int64_t block;           /* rows taken at a time */
};

static uint32_t crc_of(const void *bytes, size_t n) { return (uint32_t)crc32_z(0, bytes, n); }

static uint64_t rows_offset(int64_t count)
{
    uint64_t end = sizeof(struct header) + (uint64_t)count * sizeof(struct entry);
    return (end + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
}

static uint64_t file_bytes(const struct cache_source *s)
{
    return rows_offset(s->count) + (uint64_t)s->count * (uint64_t)s->row_bytes;
}

/* ---------------------------------------------------------------- an existing file */

static const char *header_problem(const struct header *h, const struct cache_source *s)
{
    if (h->magic != MAGIC) return "it is no cache of this version and machine";
    if (h->header_crc != crc_of(h, offsetof(struct header, header_crc)))
        return "its header is damaged";
    if (h->key != s->key || h->count != s->count || h->row_bytes != s->row_bytes)
        return "it belongs to other data";
    const struct entry *entries = (const struct entry *)(h + 1);
    if (h->entries_crc != crc_of(entries, (size_t)s->count * sizeof *entries))
        return "its table of rows is damaged";
    return NULL;
}

/* Maps the file if there is a good one. A bad one is named in a warning. */
static bool map_file(struct cache *c, const struct glow_self *self, bool warn)
{
    const struct cache_source *s = &c->source;
    int fd = open(c->path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return false;
    struct stat st;
    const char *problem = NULL;
    uint64_t bytes = file_bytes(s);
    if (fstat(fd, &st) != 0 || (uint64_t)st.st_size != bytes) {
        problem = "its length is wrong";
    } else {
        void *map = mmap(NULL, bytes, PROT_READ, MAP_SHARED, fd, 0);
        if (map == MAP_FAILED) {
            problem = strerror(errno);
        } else if ((problem = header_problem(map, s)) != NULL) {
            munmap(map, bytes);
        } else {
            c->map = map;
            c->map_bytes = bytes;
            c->entries = (const struct entry *)((const struct header *)map + 1);
            c->rows = (const uint8_t *)map + rows_offset(s->count);
        }
    }
    close(fd);
    if (problem && warn) dataset_log(self, 1, "cache %s: %s: decoding again", c->path, problem);
    return !problem;
}

/* ---------------------------------------------------------------- decoding all rows */

static int write_at(int fd, const void *bytes, size_t n, uint64_t at)
{
    for (const uint8_t *p = bytes; n;) {
        ssize_t put = pwrite(fd, p, n, (off_t)at);
        if (put < 0 && errno == EINTR) continue;
        if (put <= 0) return put < 0 ? errno : ENOSPC;
        p += put;
        at += (uint64_t)put;
        n -= (size_t)put;
    }
    return 0;
}

static void stop(struct pass *p, int32_t status)
{
    int none = GLOW_OK;
    atomic_compare_exchange_strong(&p->status, &none, status);
}

/* Decodes rows [first, end) into buffer and writes them. */
static int32_t pass_block(struct pass *p, void *worker, int64_t first, int64_t end, uint8_t *buffer)
{
    const struct cache_source *s = &p->cache->source;
    size_t row_bytes = (size_t)s->row_bytes;
    for (int64_t row = first; row < end; row++) {
        uint8_t *dst = buffer + (size_t)(row - first) * row_bytes;
        int32_t status = s->decode(p->self, s->context, worker, row, dst);
        if (status == CACHE_SKIP && s->tolerant)
            memset(dst, 0, row_bytes);
        else if (status != GLOW_OK)
            return status == CACHE_SKIP ? GLOW_EINVAL : status;
        p->entries[row].present = status == GLOW_OK;
        p->entries[row].crc = crc_of(dst, row_bytes);
    }
    if (!atomic_load(&p->storing)) return GLOW_OK;
    int error = write_at(p->fd, buffer, (size_t)(end - first) * row_bytes,
                         rows_offset(s->count) + (uint64_t)first * row_bytes);
    if (error) {
        atomic_store(&p->write_error, error);
        atomic_store(&p->storing, false);
    }
    return GLOW_OK;
}

/* Takes blocks until none is left. The main thread alone reports progress. */
static void pass_run(struct pass *p, bool is_main)
{
    const struct cache_source *s = &p->cache->source;
    void *worker = NULL;
    uint8_t *buffer = malloc((size_t)(p->block * s->row_bytes));
    int32_t status = buffer ? s->worker_open(p->self, s->context, &worker)
                            : dataset_fail_memory(p->self, (size_t)(p->block * s->row_bytes));
    while (status == GLOW_OK && atomic_load(&p->status) == GLOW_OK) {
        if (!atomic_load(&p->storing) && !s->tolerant) break; /* nothing left to do */
        int64_t first = atomic_fetch_add(&p->next, p->block);
        if (first >= s->count) break;
        int64_t end = first + p->block < s->count ? first + p->block : s->count;
        status = pass_block(p, worker, first, end, buffer);
        int64_t done = atomic_fetch_add(&p->done, end - first) + end - first;
        if (is_main && status == GLOW_OK && p->self->host->progress(p->self, done, s->count)) {
            dataset_fail(p->self, GLOW_ECANCEL, "stopped while decoding");
            status = GLOW_ECANCEL;
        }
    }
    if (status != GLOW_OK) stop(p, status);
    if (worker) s->worker_close(s->context, worker);
    free(buffer);
}

static void *pass_thread(void *p)
{
    pass_run(p, false);
    return NULL;
}

static int processors(void)
{
    cpu_set_t set;
    int n = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 1;
    return n < 1 ? 1 : n > MAX_THREADS ? MAX_THREADS : n;
}

static int32_t pass_all(struct pass *p)
{
    const struct cache_source *s = &p->cache->source;
    pthread_t thread[MAX_THREADS];
    int n = 0, wanted = processors() - 1;
    p->block = BLOCK_BYTES / s->row_bytes;
    if (p->block > 64) p->block = 64;
    if (p->block < 1) p->block = 1;
    if (wanted > s->count / p->block) wanted = (int)(s->count / p->block);
    while (n < wanted && pthread_create(&thread[n], NULL, pass_thread, p) == 0) n++;
    pass_run(p, true);
    for (int i = 0; i < n; i++) pthread_join(thread[i], NULL);
    return atomic_load(&p->status);
}

/* ---------------------------------------------------------------- the file while it is written */

/* Opens and locks PATH.part. *fd = -1 when another process holds it; otherwise 0 or an errno. A
 * file that its last owner renamed or removed between our open and our lock is no longer PATH.part.
 */
static int part_lock(const char *part, int *fd)
{
    for (;;) {
        struct stat ours, named;
        *fd = open(part, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
        if (*fd < 0) return errno;
        int error = 0;
        if (flock(*fd, LOCK_EX | LOCK_NB) != 0) {
            error = errno == EWOULDBLOCK ? 0 : errno;
        } else if (fstat(*fd, &ours) == 0 && stat(part, &named) == 0 &&
                   ours.st_ino == named.st_ino && ours.st_dev == named.st_dev) {
            return 0;
        } else {
            close(*fd);
            continue;
        }
        close(*fd);
        *fd = -1;
        return error;
    }
}

static int write_head(struct pass *p)
{
    const struct cache_source *s = &p->cache->source;
    size_t entry_bytes = (size_t)s->count * sizeof(struct entry);
    struct header h = { MAGIC, s->key, s->count, s->row_bytes, crc_of(p->entries, entry_bytes), 0 };
    h.header_crc = crc_of(&h, offsetof(struct header, header_crc));
    int error = write_at(p->fd, p->entries, entry_bytes, sizeof h);
    return error ? error : write_at(p->fd, &h, sizeof h, 0);
}

/* Decodes everything into the locked part file and renames it. On a full disk the pass ends without
 * a file: c->rows stays NULL. */
static int32_t fill_file(struct cache *c, const struct glow_self *self, const char *part, int fd)
{
    const struct cache_source *s = &c->source;
    size_t entry_bytes = (size_t)s->count * sizeof(struct entry);
    c->own_entries = calloc(1, entry_bytes);
    if (!c->own_entries) return dataset_fail_memory(self, entry_bytes);
    struct pass p = {
        .self = self, .cache = c, .entries = c->own_entries, .fd = fd, .storing = fd >= 0
    };
    if (fd >= 0 && ftruncate(fd, 0) == 0)
        dataset_log(self, 0, "decoding %" PRId64 " rows, once, into %s", s->count, c->path);
    int32_t status = pass_all(&p);
    int error = atomic_load(&p.write_error);
    if (status == GLOW_OK && fd >= 0 && !error) {
        error = write_head(&p);
        if (!error && rename(part, c->path) != 0) error = errno;
    }
    if (fd < 0) return status;
    if (status != GLOW_OK || error) unlink(part);
    if (status == GLOW_OK && error)
        dataset_log(self, 1, "can't write the cache %s: %s: decoding at each read instead", c->path,
                    strerror(error));
    else if (status == GLOW_OK)
        map_file(c, self, true);
    return status;
}

/* Finds or makes the file. Waits while another process makes it. */
static int32_t make_file(struct cache *c, const struct glow_self *self)
{
    const struct cache_source *s = &c->source;
    size_t n = strlen(c->path);
    char *part = malloc(n + 6);
    if (!part) return dataset_fail_memory(self, n + 6);
    memcpy(part, c->path, n);
    memcpy(part + n, ".part", 6);
    int32_t status = GLOW_OK;
    for (bool told = false;; told = true) {
        int fd;
        int error = part_lock(part, &fd);
        if (error) {
            dataset_log(self, 1, "can't write the cache %s: %s: decoding at each read instead",
                        part, strerror(error));
            status = s->tolerant ? fill_file(c, self, part, -1) : GLOW_OK;
            break;
        }
        if (fd >= 0) { /* ours; but the last owner may just have finished */
            if (map_file(c, self, false))
                unlink(part);
            else
                status = fill_file(c, self, part, fd);
            close(fd);
            break;
        }
        if (!told) dataset_log(self, 0, "another process writes %s: waiting for it", c->path);
        if (self->host->progress(self, 0, s->count)) {
            status = dataset_fail(self, GLOW_ECANCEL, "stopped while waiting for %s", c->path);
            break;
        }
        nanosleep(&(struct timespec){ 0, WAIT_NS }, NULL);
    }
    free(part);
    return status;
}

/* ---------------------------------------------------------------- */

static bool name_file(struct cache *c, const char *directory)
{
    char name[128];
    snprintf(name, sizeof name, "%s-%016" PRIx64 ".rows", c->source.name, c->source.key);
    c->path = dataset_path(directory, name);
    return c->path != NULL;
}

int32_t cache_open(struct cache **out, const struct glow_self *self,
                   const struct cache_source *source, bool use_file)
{
    *out = NULL;
    struct cache *c = calloc(1, sizeof *c);
    if (!c) return dataset_fail_memory(self, sizeof *c);
    c->source = *source;
    int32_t status = GLOW_OK;
    const char *directory = use_file ? self->host->cache_dir(self) : "";
    if (directory && directory[0]) {
        if (!name_file(c, directory)) TRY_OUT(dataset_fail_memory(self, strlen(directory) + 128));
        if (!map_file(c, self, true)) TRY_OUT(make_file(c, self));
    } else if (source->tolerant) {
        TRY_OUT(fill_file(c, self, NULL, -1));
    }
    if (c->rows) { /* the table in the file serves from now on */
        free(c->own_entries);
        c->own_entries = NULL;
    } else {
        c->entries = c->own_entries;
    }
    *out = c;
    return GLOW_OK;
out:
    cache_close(c);
    return status;
}

void cache_close(struct cache *c)
{
    if (!c) return;
    if (c->map) munmap(c->map, c->map_bytes);
    free(c->own_entries);
    free(c->path);
    free(c);
}

bool cache_has(const struct cache *c, int64_t row)
{
    return !c->entries || !c->source.tolerant || c->entries[row].present;
}

static int32_t decode_row(struct cache *c, const struct glow_self *self, void *worker, int64_t row,
                          uint8_t *dst)
{
    const struct cache_source *s = &c->source;
    void *own = NULL;
    if (!worker) TRY(s->worker_open(self, s->context, &own));
    int32_t status = s->decode(self, s->context, worker ? worker : own, row, dst);
    if (own) s->worker_close(s->context, own);
    return status == CACHE_SKIP ? GLOW_EINVAL : status;
}

int32_t cache_read(struct cache *c, const struct glow_self *self, void *worker, int64_t row,
                   uint8_t *dst)
{
    const struct cache_source *s = &c->source;
    size_t n = (size_t)s->row_bytes;
    if (!c->rows) return decode_row(c, self, worker, row, dst);
    memcpy(dst, c->rows + (size_t)row * n, n);
    if (crc_of(dst, n) == c->entries[row].crc) return GLOW_OK;
    if (!atomic_exchange(&c->damaged, true)) {
        dataset_log(self, 1,
                    "cache %s: row %" PRId64 " is damaged: decoding such rows from the source; the "
                    "file is removed and made anew at the next start",
                    c->path, row);
        unlink(c->path);
    }
    return decode_row(c, self, worker, row, dst);
}

uint64_t cache_fingerprint(const struct cache *c)
{
    if (!c->rows) return 0;
    return dataset_mix(
        dataset_hash(DATASET_HASH, c->entries, (size_t)c->source.count * sizeof(struct entry)));
}

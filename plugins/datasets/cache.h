/* cache.h - rows that are slow to decode, decoded once into a file that later runs map.
 *
 * The file's name holds a key: the fingerprint of sources, options and shape, so a changed source
 * is another file. It is written as NAME.part under a lock and renamed when complete: a killed
 * process leaves nothing that is read, the next one takes its place, and two at once decode only
 * once. Every row has a CRC that is checked when the row is read; what is damaged is decoded from
 * the source and the file removed. Without a directory, or when the disk is full, rows are decoded
 * at each read. */
#ifndef DATASETS_CACHE_H
#define DATASETS_CACHE_H
#include "dataset.h"

struct cache;

/* Where rows come from. The callbacks are called from several threads, each with its own worker;
 * worker_open and worker_close are those of struct glow_dataset, context is the dataset's state. */
struct cache_source {
    const char *name; /* start of the file's name: "celeba-train" */
    uint64_t key;
    int64_t count;
    int64_t row_bytes;
    bool tolerant; /* CACHE_SKIP is allowed: every row is tried at open */
    void *context;
    int32_t (*worker_open)(const struct glow_self *, void *context, void **worker);
    void (*worker_close)(void *context, void *worker);
    /* Decodes a row into dst; reports its errors. CACHE_SKIP: the row is unreadable, leave it out.
     */
    int32_t (*decode)(const struct glow_self *, void *context, void *worker, int64_t row,
                      uint8_t *dst);
};
enum { CACHE_SKIP = 1 };

/* Maps the file of this key, after writing it where needed, with the processors that there are.
 * When use_file is false, or there is no place for a file, reads decode. *source is copied; its
 * context must live until close. */
int32_t cache_open(struct cache **, const struct glow_self *, const struct cache_source *source,
                   bool use_file);
void cache_close(struct cache *);
/* False for a row that decode has left out. */
bool cache_has(const struct cache *, int64_t row);
/* A row into dst. `worker` is one of worker_open's, or NULL: then one is opened for this call if
 * the row has to be decoded. Any thread. */
int32_t cache_read(struct cache *, const struct glow_self *, void *worker, int64_t row,
                   uint8_t *dst);
/* A hash of all rows when they are in a file, else 0. */
uint64_t cache_fingerprint(const struct cache *);
#endif

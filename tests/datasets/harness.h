/* harness.h - a small host for the tests of dataset plug-ins: it opens the built .so through
 * dlopen, gives it options, and keeps what the plug-in reports. */
#ifndef TESTS_DATASETS_HARNESS_H
#define TESTS_DATASETS_HARNESS_H
#include <check.h>
#include <stdbool.h>
#include "glow/plugin.h"

struct harness {
    const struct glow_dataset *dataset;
    struct glow_self self;      /* of the instance */
    struct glow_data_info info; /* of the open split */
    void *state;                /* NULL: nothing is open */
};

/* Loads the plug-in `id` and checks its descriptor. Ends the test when it can't be found. */
struct harness *harness_load(const char *id);
void harness_free(struct harness *);
/* Sets an option, as text; NULL: its default. */
void harness_set(struct harness *, const char *key, const char *value);
void harness_set_path(struct harness *, const char *key,
                      const char *name); /* in harness_directory */
/* Where rows may be cached; NULL: nowhere, as at the start. */
void harness_set_cache(struct harness *, const char *directory);
/* The number of calls of host->progress after which it asks to stop; -1: never. */
void harness_stop_after(struct harness *, int calls);

/* Opens a split for a model that takes `want`; closes the one that was open. */
int32_t harness_try(struct harness *, const char *split, struct glow_type want);
void harness_open(struct harness *, const char *split, struct glow_type want); /* must succeed */
/* Must fail with `code` and a message that holds each of the words, NULL-terminated. */
void harness_refuses(struct harness *, const char *split, struct glow_type want, int32_t code, ...)
    __attribute__((sentinel));
void harness_close(struct harness *);
/* The last failure, and whether a line of the log holds some text since the last try. */
const char *harness_failure(const struct harness *);
bool harness_logged(const struct harness *, const char *text);

/* Bytes of one row of a column. */
size_t harness_row_bytes(const struct harness *, uint32_t column);
/* Reads one row of a column; any worker. Must succeed. */
void harness_read(struct harness *, uint32_t column, int64_t row, void *dst);
void harness_read_keyed(struct harness *, uint32_t column, int64_t row, uint64_t key, void *dst);
/* The rules that hold for every open data set: columns are named and typed, rows are the same in
 * any order, any batch and from two threads with workers of their own; rows out of range are
 * refused. */
void harness_conforms(struct harness *);

/* Types that models take. */
struct glow_type harness_any(void);
struct glow_type harness_row(int64_t n);
struct glow_type harness_image(int64_t channels, int64_t height, int64_t width);

/* A directory for this test program, removed at its end, and paths in it (a ring of 16 texts). */
const char *harness_directory(void);
const char *harness_path(const char *name);
#endif

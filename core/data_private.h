/* data_private.h - what data.c and data_stream.c share: an open split, and one request for rows. */
#ifndef CORE_DATA_PRIVATE_H
#define CORE_DATA_PRIVATE_H
#include <pthread.h>
#include "data.h"

struct data {
    struct instance *instance;
    int owns_instance;
    const struct glow_dataset *dataset;
    void *state; /* the plug-in's */
    int is_open;
    int64_t count;
    struct glow_column *columns; /* full-size copies */
    int64_t *elements;           /* per column: elements of a row */
    uint32_t n_columns, flags, x;
    struct glow_type type; /* of column x */
    uint64_t seed;
    char *split, *description;
    pthread_mutex_t serial; /* held while a GLOW_DATA_SERIAL data set reads */
};

/* What one thread needs to read rows. */
struct data_reader {
    struct data *data;
    void *worker; /* the plug-in's, NULL: none */
    int has_worker;
    uint64_t *key;       /* of max_rows rows */
    void **dst;          /* per column */
    unsigned char *rows; /* max_rows rows as they are stored; NULL: they need no conversion */
    int64_t max_rows;
};
/* Everything is allocated here; `dtype` is the real type that data_reader_read will give. */
glow_status data_reader_open(struct data_reader **, struct data *, int64_t max_rows, int32_t dtype);
void data_reader_close(struct data_reader *);
/* Reads n <= max_rows rows of column X as reals; reader->key[0..n) holds their keys. */
glow_status data_reader_read(struct data_reader *, const int64_t *index, int64_t n, int32_t dtype,
                             void *dst);
/* The key of a row: what an augmentation may depend on. */
uint64_t data_row_key(uint64_t seed, int64_t epoch, int64_t index);
size_t data_element_size(uint32_t dtype); /* 0: not a type of columns */
#endif

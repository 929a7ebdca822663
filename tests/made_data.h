/* made_data.h - a data set made for test_data.c, which misbehaves as `make` says and counts what is
 * done with it. Row i of column "x" is 6 numbers from made_content(i, k); column "label" is i % 10
 * as i32. */
#ifndef TESTS_MADE_DATA_H
#define TESTS_MADE_DATA_H
#include <stdatomic.h>
#include "instance.h"

enum { WIDTH = 6 };
extern struct make {
    int64_t count;
    uint32_t dtype, flags, role, column_size;
    double lo, hi;
    int64_t fail_at;   /* read fails at this row, -1: never */
    int64_t fail_also; /* and, without a word, at this one; 0: never */
    int fail_slowly;
    const char *why; /* what it says then */
    int open_code, worker_code;
    int delay;      /* microseconds of a read */
    int shows_keys; /* X holds the low bits of the row's key */
    int height;
} make;
extern atomic_int opened, closed, workers_opened, workers_closed, reading, most_reading, reads;

/* Sets `make` to what misbehaves in nothing, and the counts to 0. */
void made_default(void);
int made_content(int64_t row, int k);
extern struct instance made_instance;
#endif

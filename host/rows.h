/* rows.h - what a command works on: a range of a split of the data, or files that the user names:
 * PNG and JPEG images, and .npy arrays with one row each along the first axis. */
#ifndef HOST_ROWS_H
#define HOST_ROWS_H
#include "session.h"

struct rows;

struct rows_request {
    char **files; /* files; none: the split */
    int n_files;
    const char *split;
    int64_t first, count; /* the range; count 0: all from first on */
};
glow_status rows_open(struct rows **, struct session *, const struct rows_request *);
void rows_close(struct rows *);
int64_t rows_count(const struct rows *);
/* Rows [first, first + n) as (n, ...) of the model's real type. */
glow_status rows_read(struct rows *, int64_t first, int64_t n, void *x);
/* "17", "face.png", "faces.npy[3]": the row's number in the split, or its file. */
const char *rows_name(const struct rows *, int64_t i, char *buf, size_t size);
/* Whether the rows come from files. */
bool rows_are_files(const struct rows *);
/* The number of a row in the split (or among the files): the key of its noise. */
int64_t rows_number(const struct rows *, int64_t i);
#endif

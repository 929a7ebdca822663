/* rows.h - what a command works on: a range of a split of the data, or files that the user names:
 * PNG and JPEG images, and .npy arrays with one row each along the first axis. */
#ifndef HOST_ROWS_H
#define HOST_ROWS_H
#include "program.h"
#include "session.h"

struct rows;

struct rows_request {
    char **files; /* files; none: the split */
    int n_files;
    const char *split;
    int64_t first, count; /* the range; count 0: all from first on */
};
/* The options that choose a range. */
/* clang-format off */
#define ROWS_ARGUMENTS(request)                                                                    \
    { "split", 0, ARGUMENT_TEXT, "NAME", "without files: train, valid or test; default test",      \
      &(request)->split, NULL },                                                                   \
    { "first", 0, ARGUMENT_COUNT, "N", "of the split: number of the first row",                    \
      &(request)->first, NULL },                                                                   \
    { "rows", 'n', ARGUMENT_COUNT, "N", "of the split: how many; 0 = all",                         \
      &(request)->count, NULL }
/* clang-format on */

glow_status rows_open(struct rows **, struct session *, const struct rows_request *);
void rows_close(struct rows *);
int64_t rows_count(const struct rows *);
/* Rows [first, first + n) as (n, ...) of the model's real type. */
glow_status rows_read(struct rows *, int64_t first, int64_t n, void *x);
/* Puts rows [first, first + n) into a program's input "x", by way of x, and runs it. The noise of a
 * row depends on the seed and its number in the split, or among the files. GLOW_ECANCEL after an
 * interrupt. */
glow_status rows_run(struct rows *, struct program *, uint64_t seed, int64_t first, int64_t n,
                     void *x);
/* "17", "face.png", "faces.npy[3]": the row's number in the split, or its file. */
const char *rows_name(const struct rows *, int64_t i, char *buf, size_t size);
/* Whether the rows come from files. */
bool rows_are_files(const struct rows *);
#endif

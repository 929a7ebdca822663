/* output.h - where rows that a model made go: pictures and arrays. */
#ifndef HOST_OUTPUT_H
#define HOST_OUTPUT_H
#include "arguments.h"
#include "model.h"

struct output {
    const char *png;    /* one picture: a grid of images, or the points of the plane */
    const char *npy;    /* an array (n, ...) */
    const char *images; /* a directory for one PNG a row */
    int64_t columns;    /* of the grid; 0: about as many as rows */
};

/* The options for all but the picture, whose default has another name in each command. */
/* clang-format off */
#define OUTPUT_ARGUMENTS(output)                                                                   \
    { "columns", 0, ARGUMENT_COUNT, "N", "of the picture; 0 = about as many as rows",              \
      &(output)->columns, NULL },                                                                  \
    { "npy", 0, ARGUMENT_TEXT, "FILE.npy",                                                         \
      "an array (n, channels, height, width) or (n, dimensions)", &(output)->npy, NULL },          \
    { "images", 0, ARGUMENT_TEXT, "DIR", "a PNG for each row", &(output)->images, NULL }
/* clang-format on */

/* Bytes of one row of the model's real type. */
size_t output_row_bytes(const struct model *);
/* Whether the rows are images or points of the plane: what `png` takes. */
bool output_can_show(const struct model *);
/* Asks for "<name>.png", or "<name>.npy" where there is no picture, when nothing is asked for.
 * Refuses pictures of what has none. */
glow_status output_check(struct output *, const struct model *, const char *png, const char *npy);
/* Whether n numbers of the model's real type are. */
bool output_finite(const struct model *, const void *x, int64_t n);
/* Writes n rows and prints the names of the files on stdout. Warns of rows with NaN or Inf, and
 * refuses to write nothing else. */
glow_status output_write(const struct output *, const struct model *, const void *x, int64_t n);
/* The picture alone. */
glow_status output_show(const struct model *, const char *path, const void *x, int64_t n,
                        int64_t columns);
#endif

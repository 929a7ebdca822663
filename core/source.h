/* source.h - the text of a configuration before libconfig parses it: includes put in place,
 * integers made 64 bits wide, and for each line of the result the file and line that it came from.
 */
#ifndef CORE_SOURCE_H
#define CORE_SOURCE_H
#include "bump.h"
#include "status.h"

struct source_line {
    const char *file;
    int line;
};
struct source {
    struct bump *memory; /* of file names; lives longer than this */
    char *text;
    size_t n, cap;
    struct source_line *lines; /* of each line of text, counted from 0 */
    int n_lines, cap_lines;
};

/* Appends a file, or a text under a name that errors show. `memory` must be set, the rest zero. */
glow_status source_add_file(struct source *, const char *path);
glow_status source_add_text(struct source *, const char *text, const char *name);
void source_free(struct source *);
/* Where a line of the text (counted from 1, as parsers do) came from. */
struct source_line source_origin(const struct source *, int line);
#endif

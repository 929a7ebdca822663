/* bump.h - memory of build-time objects: many small pieces, freed all at once with their owner. */
#ifndef CORE_BUMP_H
#define CORE_BUMP_H
#include <stddef.h>

struct bump_block;
struct bump {
    struct bump_block *blocks;
};

/* n zeroed bytes, aligned for any type; NULL when out of memory. */
void *bump_alloc(struct bump *, size_t n);
/* A copy of n bytes at p (NULL when n is 0 or memory is out). */
void *bump_copy(struct bump *, const void *p, size_t n);
/* snprintf into new memory. NULL when out of memory. */
char *bump_print(struct bump *, const char *format, ...) __attribute__((format(printf, 2, 3)));
void bump_free(struct bump *);
#endif

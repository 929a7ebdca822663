/* bump.c - blocks of growing size; a piece is cut from the newest. */
#include "bump.h"
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct bump_block {
    struct bump_block *next;
    size_t used, size;
    max_align_t data[];
};

void *bump_alloc(struct bump *b, size_t n)
{
    const size_t unit = sizeof(max_align_t);
    if (n > SIZE_MAX / 2) return NULL;
    n = (n + unit - 1) / unit * unit;
    struct bump_block *block = b->blocks;
    if (!block || block->size - block->used < n) {
        size_t size = block && block->size < (1u << 20) ? 2 * block->size : (1u << 10);
        if (size < n) size = n;
        struct bump_block *fresh = calloc(1, sizeof *fresh + size);
        if (!fresh) return NULL;
        fresh->size = size;
        fresh->next = block;
        b->blocks = block = fresh;
    }
    void *p = (char *)block->data + block->used;
    block->used += n;
    return p;
}

void *bump_copy(struct bump *b, const void *p, size_t n)
{
    void *copy = n ? bump_alloc(b, n) : NULL;
    if (copy) memcpy(copy, p, n);
    return copy;
}

char *bump_print(struct bump *b, const char *format, ...)
{
    va_list list;
    va_start(list, format);
    int n = vsnprintf(NULL, 0, format, list);
    va_end(list);
    char *s = n < 0 ? NULL : bump_alloc(b, (size_t)n + 1);
    if (!s) return NULL;
    va_start(list, format);
    vsnprintf(s, (size_t)n + 1, format, list);
    va_end(list);
    return s;
}

void bump_free(struct bump *b)
{
    while (b->blocks) {
        struct bump_block *next = b->blocks->next;
        free(b->blocks);
        b->blocks = next;
    }
}

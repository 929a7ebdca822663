/* port.c - see port.h. */
#include "port.h"
#include <string.h>

enum { MAX_BATCH = 64 };

int64_t port_batch(int64_t n)
{
    int64_t parts = (n + MAX_BATCH - 1) / MAX_BATCH;
    return parts > 0 ? (n + parts - 1) / parts : 1;
}

size_t port_row_bytes(const struct tensor *t)
{
    return (size_t)(tensor_count(t) / t->dim[0]) * dtype_size(t->dtype);
}

void port_write(struct tensor *t, int64_t n, const void *rows)
{
    size_t row = port_row_bytes(t);
    char *to = t->data;
    memcpy(to, rows, (size_t)n * row);
    for (int64_t i = n; i < t->dim[0]; i++)
        memcpy(to + (size_t)i * row, to + (size_t)(n - 1) * row, row);
}

/* Copies what lies below `axis` of a view; returns where the copy ends. */
static char *copy_view(const struct tensor *t, int axis, int64_t n, const char *from, char *to)
{
    size_t size = dtype_size(t->dtype);
    if (axis == t->rank) {
        memcpy(to, from, size);
        return to + size;
    }
    for (int64_t i = 0; i < n; i++)
        to = copy_view(t, axis + 1, axis + 1 < t->rank ? t->dim[axis + 1] : 1,
                       from + i * t->stride[axis] * (int64_t)size, to);
    return to;
}

void port_read(const struct tensor *t, int64_t n, void *rows)
{
    if (tensor_is_dense(t))
        memcpy(rows, t->data, (size_t)n * port_row_bytes(t));
    else
        copy_view(t, 0, n, t->data, rows);
}

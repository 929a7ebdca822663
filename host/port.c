/* port.c - see port.h. */
#include "port.h"

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

glow_status port_write(const struct program *p, const struct tensor *t, int64_t n, const void *rows)
{
    const char *last = (const char *)rows + (size_t)(n - 1) * port_row_bytes(t);
    TRY(program_write(p, t, 0, n, rows));
    for (int64_t i = n; i < t->dim[0]; i++) TRY(program_write(p, t, i, 1, last));
    return GLOW_OK;
}

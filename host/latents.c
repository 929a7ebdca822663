/* latents.c - see latents.h. */
#include "latents.h"
#include <stdio.h>
#include "graph.h"
#include "port.h"

static const char *port_name(const struct program *p, int i, char *buf, size_t size)
{
    snprintf(buf, size, "latent:%s", p->model->latents[i].name);
    return buf;
}

const struct tensor *latents_output(const struct program *p, int i)
{
    char name[1024];
    return program_output(p, port_name(p, i, name, sizeof name));
}

struct tensor *latents_input(const struct program *p, int i)
{
    char name[1024];
    return program_input(p, port_name(p, i, name, sizeof name));
}

size_t latents_row_bytes(const struct model *m, int i)
{
    return (size_t)type_count(&m->latents[i].type) * dtype_size(m->real);
}

glow_status latents_decode(struct model *m, void *const *latent, int64_t n, uint64_t seed,
                           bool average, void *x)
{
    struct program_options o = { .kind = PROGRAM_DECODE,
                                 .batch = port_batch(n),
                                 .average = average };
    struct program *p;
    glow_status status = GLOW_OK;
    TRY(program_make(&p, m, &o));
    const struct tensor *out = program_output(p, "x");
    size_t row = port_row_bytes(out);
    for (int64_t done = 0; done < n && status == GLOW_OK; done += o.batch) {
        int64_t rows = n - done < o.batch ? n - done : o.batch;
        if (cancel_requested) status = fail(GLOW_ECANCEL, "interrupted");
        for (int i = 0; i < m->n_latents && status == GLOW_OK; i++)
            status = port_write(p, latents_input(p, i), rows,
                                (const char *)latent[i] + (size_t)done * latents_row_bytes(m, i));
        if (status == GLOW_OK) status = program_run(p, seed, 0, done);
        if (status == GLOW_OK) status = program_fetch(p, out, rows, (char *)x + (size_t)done * row);
    }
    program_free(p);
    return status;
}

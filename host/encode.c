/* encode.c - `glow encode`: rows to their latents, all of them, one .npy file each. */
#include <inttypes.h>
#include <stdlib.h>
#include "file.h"
#include "latents.h"
#include "npy.h"
#include "output.h"
#include "port.h"
#include "rows.h"

struct request {
    const char *model, *dir;
    struct rows_request rows;
    bool raw;
    struct overrides overrides;
};

static glow_status open_writers(const struct model *m, const char *dir, struct npy_writer **writers)
{
    char path[4200];
    TRY(file_make_directories(dir));
    for (int i = 0; i < m->n_latents; i++) {
        const struct latent *l = &m->latents[i];
        snprintf(path, sizeof path, "%s/%s.npy", dir, l->name);
        TRY(npy_create(&writers[i], path, m->real == DT_F64 ? GLOW_F64 : GLOW_F32, l->type.rank,
                       l->type.dim));
    }
    return GLOW_OK;
}

/* Runs all rows through the program and appends their latents. */
static glow_status encode_rows(struct session *s, struct rows *rows, bool average,
                               struct npy_writer **writers)
{
    char first[512], last[512];
    struct model *m = s->model;
    int64_t n = rows_count(rows);
    struct program_options o = { .kind = PROGRAM_ENCODE,
                                 .batch = port_batch(n),
                                 .average = average };
    struct program *p = NULL;
    glow_status status = GLOW_OK;
    size_t row = (size_t)model_dimensions(m) * dtype_size(m->real); /* no latent is larger */
    void *buffer = malloc((size_t)o.batch * row);
    if (!buffer) return fail_memory((size_t)o.batch * row, "rows");
    TRY_OUT(program_make(&p, m, &o));
    for (int64_t done = 0; done < n; done += o.batch) {
        int64_t part = n - done < o.batch ? n - done : o.batch;
        TRY_OUT(rows_run(rows, p, s->settings.seed, done, part, buffer));
        for (int i = 0; i < m->n_latents; i++) {
            TRY_OUT(program_fetch(p, latents_output(p, i), part, buffer));
            const int64_t numbers = part * (int64_t)(latents_row_bytes(m, i) / dtype_size(m->real));
            if (!output_finite(m, buffer, numbers))
                TRY_OUT(fail(GLOW_EIO,
                             "%s: NaN or Inf in the latents of rows %s to %s; `glow score` says "
                             "which",
                             m->latents[i].name, rows_name(rows, done, first, sizeof first),
                             rows_name(rows, done + part - 1, last, sizeof last)));
            TRY_OUT(npy_append(writers[i], buffer, part));
        }
    }
out:
    program_free(p);
    free(buffer);
    return status;
}

static glow_status encode(const struct request *q)
{
    struct session s;
    struct rows *rows = NULL;
    struct npy_writer **writers = NULL;
    int n = 0;
    TRY(session_restore(&s, q->model, NULL, &q->overrides, NULL));
    glow_status status = rows_open(&rows, &s, &q->rows);
    if (status != GLOW_OK) goto out;
    n = s.model->n_latents;
    writers = calloc((size_t)n + 1, sizeof(struct npy_writer *));
    if (!writers) TRY_OUT(fail_memory((size_t)n * sizeof *writers, "latents"));
    TRY_OUT(open_writers(s.model, q->dir, writers));
    TRY_OUT(encode_rows(&s, rows, s.settings.eval_average && !q->raw, writers));
    for (int i = 0; i < n; i++) {
        struct npy_writer *w = writers[i];
        writers[i] = NULL;
        TRY_OUT(npy_finish(w));
        printf("%s/%s.npy\n", q->dir, s.model->latents[i].name);
    }
out:
    for (int i = 0; i < n && writers; i++) npy_discard(writers[i]);
    free(writers);
    rows_close(rows);
    session_close(&s);
    return status;
}

static int run(const struct command *c, int argc, char **argv)
{
    struct request q = { .dir = "latents", .rows = { .split = "test" } };
    int first;
    const struct argument table[] = {
        { "out", 'o', ARGUMENT_TEXT, "DIR", "where the arrays go; default latents", &q.dir, NULL },
        ROWS_ARGUMENTS(&q.rows),
        ARGUMENT_RAW(&q.raw),
        ARGUMENT_SET(&q.overrides),
        ARGUMENT_THREADS(&q.overrides),
        ARGUMENT_SEED(&q.overrides),
    };
    int result = arguments_parse(c, table, sizeof table / sizeof *table, argc, argv, 1, -1, &first);
    if (result == GLOW_OK) {
        q.model = argv[first];
        q.rows.files = argv + first + 1;
        q.rows.n_files = argc - first - 1;
        result = encode(&q);
    }
    overrides_free(&q.overrides);
    return result;
}

const struct command encode_command = { "encode", "rows or image files to latents",
                                        "MODEL [FILE...] [OPTION...]", run };

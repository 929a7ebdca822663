/* score.c - `glow score`: the log-likelihood of each row, as CSV. */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include "port.h"
#include "rows.h"

struct request {
    const char *model;
    struct rows_request rows;
    bool raw;
    struct overrides overrides;
};

/* A name as a field: in quotes, for files are called what they like. */
static void print_name(const char *name, bool quoted)
{
    if (!quoted) {
        fputs(name, stdout);
        return;
    }
    putchar('"');
    for (; *name; name++) {
        if (*name == '"') putchar('"');
        putchar(*name);
    }
    putchar('"');
}

static int score_rows(struct session *s, struct rows *rows, bool average)
{
    struct model *m = s->model;
    int64_t n = rows_count(rows);
    struct program_options o = { .kind = PROGRAM_EVAL, .batch = port_batch(n), .average = average };
    struct program *p = NULL;
    int status = GLOW_OK;
    int64_t bad = 0;
    char name[4200];
    size_t bytes = (size_t)o.batch * (size_t)model_dimensions(m) * dtype_size(m->real);
    double *nats = malloc((size_t)o.batch * sizeof *nats),
           per_dim = (double)model_dimensions(m) * M_LN2;
    void *x = malloc(bytes);
    if (!nats || !x) TRY_OUT(fail_memory(bytes, "rows"));
    TRY_OUT(program_make(&p, m, &o));
    printf("%s,nats,bits_per_dim\n", rows_are_files(rows) ? "file" : "index");
    for (int64_t done = 0; done < n; done += o.batch) {
        int64_t part = n - done < o.batch ? n - done : o.batch;
        TRY_OUT(rows_run(rows, p, s->settings.seed, done, part, x));
        TRY_OUT(program_read(p, program_output(p, "loglik"), o.batch, nats));
        for (int64_t i = 0; i < part; i++) {
            print_name(rows_name(rows, done + i, name, sizeof name), rows_are_files(rows));
            printf(",%.6f,%.6f\n", nats[i], -nats[i] / per_dim);
            bad += !isfinite(nats[i]);
        }
    }
    if (bad) {
        fail(GLOW_EINVAL, "NaN or Inf for %" PRId64 " of %" PRId64 " rows; `glow eval` says where",
             bad, n);
        status = COMMAND_FAILED;
    }
out:
    program_free(p);
    free(nats);
    free(x);
    return status;
}

static int score(const struct request *q)
{
    struct session s;
    struct rows *rows = NULL;
    TRY(session_restore(&s, q->model, NULL, &q->overrides, NULL));
    int status = rows_open(&rows, &s, &q->rows);
    if (status == GLOW_OK) status = score_rows(&s, rows, s.settings.eval_average && !q->raw);
    rows_close(rows);
    session_close(&s);
    return status;
}

static int run(const struct command *c, int argc, char **argv)
{
    struct request q = { .rows = { .split = "test" } };
    int first;
    const struct argument table[] = {
        ROWS_ARGUMENTS(&q.rows),        ARGUMENT_RAW(&q.raw),        ARGUMENT_SET(&q.overrides),
        ARGUMENT_THREADS(&q.overrides), ARGUMENT_SEED(&q.overrides),
    };
    int result = arguments_parse(c, table, sizeof table / sizeof *table, argc, argv, 1, -1, &first);
    if (result == GLOW_OK) {
        q.model = argv[first];
        q.rows.files = argv + first + 1;
        q.rows.n_files = argc - first - 1;
        result = score(&q);
    }
    overrides_free(&q.overrides);
    return result;
}

const struct command score_command = { "score", "log-likelihood of each row or image file, as CSV",
                                       "MODEL [FILE...] [OPTION...]", run };

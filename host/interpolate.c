/* interpolate.c - `glow interpolate`: what lies between two rows, on a straight line of their
 * latents. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include "latents.h"
#include "output.h"
#include "port.h"
#include "rows.h"

struct request {
    const char *model, *between;
    struct rows_request rows;
    struct output output;
    int64_t n;
    bool raw;
    struct overrides overrides;
};

/* The row pair (2, ...): files, or two rows of a split. */
static glow_status read_ends(struct session *s, const struct request *q, int64_t number[2], void *x)
{
    struct rows *rows;
    size_t row = output_row_bytes(s->model);
    glow_status status = GLOW_OK;
    if (q->rows.n_files) {
        TRY(rows_open(&rows, s, &q->rows));
        if (rows_count(rows) != 2)
            status = fail(GLOW_EINVAL, "interpolate: expected two rows, the files hold %" PRId64,
                          rows_count(rows));
        if (status == GLOW_OK) status = rows_read(rows, 0, 2, x);
        rows_close(rows);
        return status;
    }
    for (int k = 0; k < 2 && status == GLOW_OK; k++) {
        struct rows_request one = { .split = q->rows.split, .first = number[k], .count = 1 };
        TRY(rows_open(&rows, s, &one));
        status = rows_read(rows, 0, 1, (char *)x + (size_t)k * row);
        rows_close(rows);
    }
    return status;
}

static glow_status parse_between(const char *text, int64_t number[2])
{
    char *end = NULL;
    number[0] = strtoll(text, &end, 10);
    bool good = end != text && *end == ',' && number[0] >= 0;
    const char *second = end + 1;
    if (good) number[1] = strtoll(second, &end, 10);
    if (good && end != second && !*end && number[1] >= 0) return GLOW_OK;
    return fail(GLOW_EINVAL, "interpolate --between %s: expected two row numbers, as in 3,17",
                text);
}

/* (2, size) to (n, size): from the first to the second in equal steps. */
static void mix(const void *ends, int64_t size, int64_t n, int32_t dtype, void *out)
{
    for (int64_t i = 0; i < n; i++) {
        double t = n > 1 ? (double)i / (double)(n - 1) : 0;
        for (int64_t k = 0; k < size; k++) {
            if (dtype == DT_F64)
                ((double *)out)[i * size + k] =
                    (1 - t) * ((const double *)ends)[k] + t * ((const double *)ends)[size + k];
            else
                ((float *)out)[i * size + k] = (float)((1 - t) * ((const float *)ends)[k] +
                                                       t * ((const float *)ends)[size + k]);
        }
    }
}

static glow_status encode_ends(struct session *s, const void *x, int64_t n, bool average,
                               void **latent)
{
    struct model *m = s->model;
    struct program_options o = { .kind = PROGRAM_ENCODE, .batch = 2, .average = average };
    struct program *p = NULL;
    glow_status status;
    void *ends = malloc(2 * output_row_bytes(m));
    if (!ends) return fail_memory(2 * output_row_bytes(m), "latents");
    TRY_OUT(program_make(&p, m, &o));
    status = port_write(p, program_input(p, "x"), 2, x);
    if (status == GLOW_OK) status = program_run(p, s->settings.seed, 0, 0);
    for (int i = 0; i < m->n_latents && status == GLOW_OK; i++) {
        size_t row = latents_row_bytes(m, i);
        latent[i] = malloc((size_t)n * row);
        if (!latent[i])
            status = fail_memory((size_t)n * row, "latents");
        else {
            TRY_OUT(program_fetch(p, latents_output(p, i), 2, ends));
            mix(ends, (int64_t)(row / dtype_size(m->real)), n, m->real, latent[i]);
        }
    }
out:
    program_free(p);
    free(ends);
    return status;
}

static glow_status interpolate(struct request *q)
{
    struct session s;
    int64_t number[2];
    void **latent = NULL, *x = NULL;
    bool average;
    TRY(parse_between(q->between, number));
    TRY(session_restore(&s, q->model, NULL, &q->overrides, NULL));
    struct model *m = s.model;
    size_t bytes = (size_t)(q->n > 2 ? q->n : 2) * output_row_bytes(m);
    glow_status status = output_check(&q->output, m, "interpolation.png", "interpolation.npy");
    if (status != GLOW_OK) goto out;
    average = s.settings.eval_average && !q->raw;
    latent = calloc((size_t)m->n_latents + 1, sizeof(void *));
    x = malloc(bytes);
    if (!latent || !x) TRY_OUT(fail_memory(bytes, "rows"));
    TRY_OUT(read_ends(&s, q, number, x));
    TRY_OUT(encode_ends(&s, x, q->n, average, latent));
    TRY_OUT(latents_decode(m, latent, q->n, s.settings.seed, average, x));
    status = output_write(&q->output, m, x, q->n);
out:
    for (int i = 0; latent && i < m->n_latents; i++) free(latent[i]);
    free(latent);
    free(x);
    session_close(&s);
    return status;
}

static int run(const struct command *c, int argc, char **argv)
{
    struct request q = { .n = 16, .between = "0,1", .rows = { .split = "test" } };
    int first;
    const struct argument table[] = {
        { "number", 'n', ARGUMENT_COUNT, "N", "rows, the two ends among them; default 16", &q.n,
          NULL },
        { "between", 0, ARGUMENT_TEXT, "A,B", "without files: two row numbers; default 0,1",
          &q.between, NULL },
        { "split", 0, ARGUMENT_TEXT, "NAME", "their split: train, valid or test; default test",
          &q.rows.split, NULL },
        { "out", 'o', ARGUMENT_TEXT, "FILE.png", "the picture; default interpolation.png",
          &q.output.png, NULL },
        OUTPUT_ARGUMENTS(&q.output),
        ARGUMENT_RAW(&q.raw),
        ARGUMENT_SET(&q.overrides),
        ARGUMENT_THREADS(&q.overrides),
        ARGUMENT_SEED(&q.overrides),
    };
    int result = arguments_parse(c, table, sizeof table / sizeof *table, argc, argv, 1, 3, &first);
    if (result == GLOW_OK && q.n < 2)
        result = fail(GLOW_EINVAL, "interpolate -n %" PRId64 ": expected 2 or more", q.n);
    if (result == GLOW_OK) {
        q.model = argv[first];
        q.rows.files = argv + first + 1;
        q.rows.n_files = argc - first - 1;
        result = interpolate(&q);
    }
    overrides_free(&q.overrides);
    return result;
}

const struct command interpolate_command = { "interpolate",
                                             "a grid of what lies between two rows or images",
                                             "MODEL [FILE FILE] [OPTION...]", run };

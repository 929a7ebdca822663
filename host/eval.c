/* eval.c - `glow eval`: the mean log-likelihood of a split, and a picture of a density in the
 * plane. */
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include "evaluation.h"
#include "plot.h"
#include "port.h"
#include "session.h"

struct request {
    const char *model, *split, *density;
    int64_t rows, side; /* side: of the density's picture, in points */
    bool json, raw;
    struct overrides overrides;
};

/* p at the centres of side x side cells of [lo, hi]^2; the first row is the lowest. */
static glow_status density_grid(struct session *s, double lo, double hi, int64_t side,
                                double *density)
{
    struct program_options o = { .kind = PROGRAM_EVAL,
                                 .batch = side,
                                 .average = s->settings.eval_average };
    struct program *p = NULL;
    glow_status status = GLOW_OK;
    bool wide = s->model->real == DT_F64;
    double width = (hi - lo) / (double)side;
    char *x = malloc((size_t)side * 2 * dtype_size(s->model->real));
    if (!x) return fail_memory((size_t)side * 16, "density");
    TRY_OUT(program_make(&p, s->model, &o));
    for (int64_t row = 0; row < side; row++) {
        for (int64_t i = 0; i < 2 * side; i++) {
            double v = lo + width * ((double)(i % 2 ? row : i / 2) + 0.5);
            if (wide)
                ((double *)x)[i] = v;
            else
                ((float *)x)[i] = (float)v;
        }
        TRY_OUT(port_write(p, program_input(p, "x"), side, x));
        TRY_OUT(program_run(p, s->settings.seed, 0, row * side));
        TRY_OUT(program_read(p, program_output(p, "loglik"), side, density + row * side));
    }
    for (int64_t i = 0; i < side * side; i++) density[i] = exp(density[i]);
out:
    program_free(p);
    free(x);
    return status;
}

static glow_status show_density(struct session *s, const struct data *data, const struct request *q)
{
    uint32_t n;
    double lo = -4, hi = 4;
    const struct glow_column *columns = data_columns(data, &n);
    if (s->model->input.rank != 1 || s->model->input.dim[0] != 2)
        return fail(GLOW_EINVAL, "eval --density: the model's input is no point of the plane");
    for (uint32_t i = 0; i < n; i++) {
        if (columns[i].role != GLOW_ROLE_X || columns[i].hi - columns[i].lo <= 1) continue;
        lo = columns[i].lo;
        hi = columns[i].hi;
    }
    double *density = malloc((size_t)(q->side * q->side) * sizeof *density);
    if (!density) return fail_memory((size_t)(q->side * q->side) * sizeof *density, "density");
    glow_status status = density_grid(s, lo, hi, q->side, density);
    struct plot_map map = { .title = "density of the model",
                            .density = density,
                            .rows = q->side,
                            .columns = q->side,
                            .left = lo,
                            .right = hi,
                            .bottom = lo,
                            .top = hi };
    if (status == GLOW_OK) status = plot_density(q->density, &map);
    free(density);
    return status;
}

static int evaluate_split(const struct request *q)
{
    struct session s;
    struct data *data = NULL;
    struct evaluation e;
    TRY(session_restore(&s, q->model, NULL, &q->overrides, NULL));
    glow_status status = session_data(&s, q->split, &data);
    if (status == GLOW_OK && data_count(data) == 0)
        status = fail(GLOW_EINVAL, "%s: there are no rows", data_describe(data));
    if (status == GLOW_OK)
        status = evaluate(s.model, data, s.settings.batch, q->rows,
                          s.settings.eval_average && !q->raw, s.settings.seed, &e, NULL);
    if (status == GLOW_OK && q->density) status = show_density(&s, data, q);
    if (status == GLOW_OK && q->json) {
        json_t *object = evaluation_json(q->split, &e);
        json_dumpf(object, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(9));
        putchar('\n');
        json_decref(object);
    } else if (status == GLOW_OK)
        evaluation_print(stdout, q->split, &e);
    data_close(data);
    session_close(&s);
    if (status != GLOW_OK || !e.bad) return status;
    fail(GLOW_EINVAL, "%s: NaN or Inf for %" PRId64 " of %" PRId64 " rows, first in %s", q->model,
         e.bad, e.rows, e.culprit);
    return COMMAND_FAILED;
}

static int run(const struct command *c, int argc, char **argv)
{
    struct request q = { .split = "test", .side = 256 };
    int first;
    const struct argument table[] = {
        { "split", 0, ARGUMENT_TEXT, "NAME", "train, valid or test; default test", &q.split, NULL },
        { "rows", 'n', ARGUMENT_COUNT, "N", "the first N rows only; 0 = all", &q.rows, NULL },
        ARGUMENT_RAW(&q.raw),
        { "json", 0, ARGUMENT_FLAG, NULL, "print an object", &q.json, NULL },
        { "density", 0, ARGUMENT_TEXT, "FILE.png", "models of the plane: a picture of the density",
          &q.density, NULL },
        { "side", 0, ARGUMENT_COUNT, "N", "of that picture, in points; default 256", &q.side,
          NULL },
        ARGUMENT_SET(&q.overrides),
        ARGUMENT_THREADS(&q.overrides),
        ARGUMENT_SEED(&q.overrides),
    };
    int result = arguments_parse(c, table, sizeof table / sizeof *table, argc, argv, 1, 1, &first);
    if (result == GLOW_OK && (q.side < 2 || q.side > 8192))
        result = fail(GLOW_EINVAL, "eval --side %" PRId64 ": expected 2 to 8192", q.side);
    if (result == GLOW_OK) {
        q.model = argv[first];
        result = evaluate_split(&q);
    }
    overrides_free(&q.overrides);
    return result;
}

const struct command eval_command = { "eval", "log-likelihood of a split of the data",
                                      "MODEL [OPTION...]", run };

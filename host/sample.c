/* sample.c - `glow sample`: images or points drawn from a model. */
#include <stdlib.h>
#include "output.h"
#include "sampling.h"
#include "session.h"

struct request {
    const char *model, *temperature;
    struct output output;
    int64_t n;
    bool raw;
    struct overrides overrides;
};

static glow_status draw(struct request *q)
{
    struct session s;
    double *temperature = NULL;
    void *x = NULL;
    TRY(session_restore(&s, q->model, NULL, &q->overrides, NULL));
    const struct settings *settings = &s.settings;
    int64_t n = q->n >= 0 ? q->n : settings->sample_n;
    size_t bytes = (size_t)n * output_row_bytes(s.model);
    bool average = settings->eval_average && !q->raw;
    if (q->output.columns < 0) q->output.columns = settings->sample_columns;
    glow_status status = output_check(&q->output, s.model, "samples.png", "samples.npy");
    if (status != GLOW_OK) goto out;
    if (n < 1) TRY_OUT(fail(GLOW_EINVAL, "sample -n 0: expected 1 or more"));
    temperature = calloc((size_t)s.model->n_latents + 1, sizeof *temperature);
    x = malloc(bytes);
    if (!temperature || !x) TRY_OUT(fail_memory(bytes, "samples"));
    TRY_OUT(sampling_temperatures(s.model, q->temperature, temperature));
    TRY_OUT(sampling_draw(s.model, temperature, n, settings->seed, average, x));
    status = output_write(&q->output, s.model, x, n);
out:
    free(temperature);
    free(x);
    session_close(&s);
    return status;
}

static int run(const struct command *c, int argc, char **argv)
{
    struct request q = { .n = -1, .output.columns = -1 };
    int first;
    const struct argument table[] = {
        { "number", 'n', ARGUMENT_COUNT, "N", "samples; default sample.n of the configuration",
          &q.n, NULL },
        { "temperature", 't', ARGUMENT_TEXT, "T",
          "0.7 for all latents; 0.2,0.5,1 for each in order; or y=1,z=0.7 by group or name",
          &q.temperature, NULL },
        { "out", 'o', ARGUMENT_TEXT, "FILE.png", "the picture; default samples.png", &q.output.png,
          NULL },
        OUTPUT_ARGUMENTS(&q.output),
        ARGUMENT_RAW(&q.raw),
        ARGUMENT_SET(&q.overrides),
        ARGUMENT_THREADS(&q.overrides),
        ARGUMENT_SEED(&q.overrides),
    };
    int result = arguments_parse(c, table, sizeof table / sizeof *table, argc, argv, 1, 1, &first);
    if (result == GLOW_OK) {
        q.model = argv[first];
        result = draw(&q);
    }
    overrides_free(&q.overrides);
    return result;
}

const struct command sample_command = { "sample", "draw samples: a picture, an array",
                                        "MODEL [OPTION...]", run };

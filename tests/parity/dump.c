/* dump.c - what the engine makes of given rows, in full precision, for the independent witness:
 *
 *   dump CHECKPOINT ROWS.npy BATCH raw|average DIR
 *
 * Runs the program ENCODE on the rows, BATCH at a time, and writes to DIR, all in float64, each
 * latent as NAME.npy, and a number per row in loglik.npy, logdet.npy, logp.npy and bound.npy.
 * ROWS are (N,C,H,W) or (N,D), bytes of images (then 0..255 becomes 0..1) or float64; BATCH has to
 * divide N. Row i draws its noise as row i of seed `train.seed`, step 0. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "checkpoint.h"
#include "npy.h"
#include "settings.h"

static const char *const sums[] = { "loglik", "logdet", "logp", "bound" };
enum { SUMS = 4 };

struct dump {
    struct config *config; /* the model's */
    struct settings settings;
    struct registry *registry;
    struct model *model;
    struct program *program;
    struct npy rows;
};

static glow_status open_model(struct dump *d, const char *path)
{
    struct checkpoint *c;
    struct config *config;
    TRY(checkpoint_open(&c, path));
    glow_status status = config_parse(&config, checkpoint_config(c), path);
    if (status != GLOW_OK) goto out;
    status = settings_read(&d->settings, config);
    if (status == GLOW_OK) status = registry_open(&d->registry, config);
    if (status != GLOW_OK) {
        config_free(config);
        goto out;
    }
    struct model_options o = { .threads = 1, .real = d->settings.real, .seed = d->settings.seed };
    status = checkpoint_model(c, d->registry, &o, config, &d->model);
out:
    checkpoint_close(c);
    return status;
}

/* Row `row` of the array into the program's input, as sample i. */
static void put_row(struct dump *d, struct tensor *x, int64_t i, int64_t row)
{
    int64_t n = model_dimensions(d->model);
    for (int64_t k = 0; k < n; k++) {
        int64_t at = row * n + k;
        bool bytes = d->rows.dtype == GLOW_U8;
        double v = bytes ? ((const uint8_t *)d->rows.data)[at] : ((const double *)d->rows.data)[at];
        if (d->model->real == DT_F64)
            ((double *)x->data)[i * n + k] = bytes ? v / 255 : v;
        else
            ((float *)x->data)[i * n + k] = bytes ? (float)v / 255 : (float)v;
    }
}

/* All samples of an output, appended to a file. */
static glow_status append(const struct program *p, const struct tensor *t, struct npy_writer *w)
{
    int64_t n = t->dim[0], count = tensor_count(t);
    double *value = malloc((size_t)count * sizeof *value);
    if (!value) return fail_memory((size_t)count * sizeof *value, "output");
    glow_status status = program_read(p, t, n, value);
    if (status == GLOW_OK) status = npy_append(w, value, n);
    free(value);
    return status;
}

static const struct tensor *output(const struct program *p, int i, char *name, size_t size)
{
    if (i < SUMS) {
        snprintf(name, size, "%s", sums[i]);
        return program_output(p, name);
    }
    char port[1100];
    snprintf(name, size, "%s", p->model->latents[i - SUMS].name);
    snprintf(port, sizeof port, "latent:%s", name);
    return program_output(p, port);
}

static glow_status write_outputs(struct dump *d, int64_t batch, const char *dir)
{
    struct npy_writer *writers[64] = { 0 };
    struct program *p = d->program;
    char path[4200], name[1024];
    int n = SUMS + d->model->n_latents;
    glow_status status = GLOW_OK;
    if (n > 64) return fail(GLOW_EINVAL, "more than 60 latents");
    for (int i = 0; i < n; i++) {
        const struct tensor *t = output(p, i, name, sizeof name);
        snprintf(path, sizeof path, "%s/%s.npy", dir, name);
        TRY_OUT(npy_create(&writers[i], path, GLOW_F64, t->rank - 1, t->dim + 1));
    }
    for (int64_t row = 0; row < d->rows.dim[0]; row += batch) {
        for (int64_t i = 0; i < batch; i++) put_row(d, program_input(p, "x"), i, row + i);
        TRY_OUT(program_run(p, d->settings.seed, 0, row));
        for (int i = 0; i < n; i++) TRY_OUT(append(p, output(p, i, name, sizeof name), writers[i]));
    }
    for (int i = 0; i < n; i++) {
        struct npy_writer *w = writers[i];
        writers[i] = NULL;
        TRY_OUT(npy_finish(w));
    }
out:
    for (int i = 0; i < n; i++) npy_discard(writers[i]);
    return status;
}

static glow_status dump(struct dump *d, char **argument)
{
    int64_t batch = atoll(argument[3]), elements = 1;
    struct npy *rows = &d->rows;
    TRY(open_model(d, argument[1]));
    TRY(npy_open(rows, argument[2]));
    for (int k = 1; k < rows->rank; k++) elements *= rows->dim[k];
    if ((rows->dtype != GLOW_U8 && rows->dtype != GLOW_F64) || rows->rank < 2 || batch < 1 ||
        rows->dim[0] % batch || elements != model_dimensions(d->model))
        return fail(GLOW_EINVAL,
                    "%s: expected a multiple of %s rows of the model's input, of "
                    "bytes or float64",
                    argument[2], argument[3]);
    TRY(program_make(&d->program, d->model,
                     &(struct program_options){ .kind = PROGRAM_ENCODE,
                                                .batch = batch,
                                                .average = !strcmp(argument[4], "average") }));
    return write_outputs(d, batch, argument[5]);
}

int main(int n, char **argument)
{
    struct dump d = { 0 };
    if (n != 6) {
        fputs("usage: dump CHECKPOINT ROWS.npy BATCH raw|average DIR\n", stderr);
        return 2;
    }
    glow_status status = dump(&d, argument);
    if (status != GLOW_OK) fprintf(stderr, "dump: %s\n", fail_message());
    program_free(d.program);
    npy_close(&d.rows);
    settings_free(&d.settings);
    model_free(d.model);
    registry_free(d.registry);
    return status != GLOW_OK;
}

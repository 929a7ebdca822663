/* decode.c - `glow decode`: latents, as `glow encode` wrote them, back to rows. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "graph.h"
#include "latents.h"
#include "npy.h"
#include "output.h"
#include "session.h"

struct request {
    const char *model, *dir;
    struct output output;
    bool raw;
    struct overrides overrides;
};

/* Reads DIR/NAME.npy of latent i as the model's real type; *n is the number of rows, -1 at first.
 */
static glow_status read_latent(const struct model *m, const char *dir, int i, int64_t *n,
                               void **out)
{
    char path[4200], want[96];
    struct npy a;
    const struct latent *l = &m->latents[i];
    snprintf(path, sizeof path, "%s/%s.npy", dir, l->name);
    glow_status status = npy_open(&a, path);
    if (status != GLOW_OK) return status == GLOW_EIO ? GLOW_EINVAL : status;
    bool fits = a.rank == l->type.rank + 1 && (a.dtype == GLOW_F32 || a.dtype == GLOW_F64);
    for (int k = 1; fits && k < a.rank; k++) fits = a.dim[k] == l->type.dim[k - 1];
    if (!fits)
        status = fail(GLOW_EINVAL, "%s: expected reals of shape (rows, ...) with %s for each row",
                      path, type_text(&l->type, want, sizeof want));
    else if (*n >= 0 && a.dim[0] != *n)
        status = fail(GLOW_EINVAL, "%s: %" PRId64 " rows, but the other latents have %" PRId64,
                      path, a.dim[0], *n);
    else if (!(*out = malloc((size_t)a.count * dtype_size(m->real) + 1)))
        status = fail_memory((size_t)a.count * dtype_size(m->real), path);
    if (status == GLOW_OK) *n = a.dim[0];
    for (int64_t k = 0; k < a.count && status == GLOW_OK; k++) {
        double v =
            a.dtype == GLOW_F64 ? ((const double *)a.data)[k] : (double)((const float *)a.data)[k];
        if (m->real == DT_F64)
            ((double *)*out)[k] = v;
        else
            ((float *)*out)[k] = (float)v;
    }
    npy_close(&a);
    return status;
}

static glow_status decode(struct request *q)
{
    struct session s;
    int64_t n = -1;
    void **latent = NULL, *x = NULL;
    TRY(session_restore(&s, q->model, NULL, &q->overrides, NULL));
    struct model *m = s.model;
    glow_status status = output_check(&q->output, m, "decoded.png", "decoded.npy");
    if (status != GLOW_OK) goto out;
    latent = calloc((size_t)m->n_latents + 1, sizeof(void *));
    if (!latent) TRY_OUT(fail_memory((size_t)m->n_latents * sizeof *latent, "latents"));
    for (int i = 0; i < m->n_latents; i++) TRY_OUT(read_latent(m, q->dir, i, &n, &latent[i]));
    if (n < 1) TRY_OUT(fail(GLOW_EINVAL, "%s: there are no rows", q->dir));
    x = malloc((size_t)n * output_row_bytes(m));
    if (!x) TRY_OUT(fail_memory((size_t)n * output_row_bytes(m), "rows"));
    TRY_OUT(latents_decode(m, latent, n, s.settings.seed, s.settings.eval_average && !q->raw, x));
    status = output_write(&q->output, m, x, n);
out:
    for (int i = 0; latent && i < m->n_latents; i++) free(latent[i]);
    free(latent);
    free(x);
    session_close(&s);
    return status;
}

static int run(const struct command *c, int argc, char **argv)
{
    struct request q = { 0 };
    int first;
    const struct argument table[] = {
        { "out", 'o', ARGUMENT_TEXT, "FILE.png", "one picture of all; default decoded.png",
          &q.output.png, NULL },
        OUTPUT_ARGUMENTS(&q.output),
        ARGUMENT_RAW(&q.raw),
        ARGUMENT_SET(&q.overrides),
        ARGUMENT_THREADS(&q.overrides),
        ARGUMENT_SEED(&q.overrides),
    };
    int result = arguments_parse(c, table, sizeof table / sizeof *table, argc, argv, 2, 2, &first);
    if (result == GLOW_OK) {
        q.model = argv[first];
        q.dir = argv[first + 1];
        result = decode(&q);
    }
    overrides_free(&q.overrides);
    return result;
}

const struct command decode_command = { "decode", "latents back to rows or images",
                                        "MODEL DIR [OPTION...]", run };

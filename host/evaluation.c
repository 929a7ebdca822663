/* evaluation.c - see evaluation.h. */
#include "evaluation.h"
#include <inttypes.h>
#include <math.h>

static const struct {
    const char *name, *note;
} kinds[] = { { "exact", "" },
              { "bound", "; the true value is at most that, as pixels are dequantised" },
              { "estimate", "; an unbiased estimate" } };

static int kind_of(const struct evaluation *e)
{
    return e->kinds & GLOW_LOGDET_EST ? 2 : e->kinds & GLOW_BOUND ? 1 : 0;
}

void evaluation_print(FILE *f, const char *split, const struct evaluation *e)
{
    fprintf(f, "%s %.4f bits/dim (%.2f nats a row, %" PRId64 " rows%s)\n", split, e->bits, e->nats,
            e->rows, kinds[kind_of(e)].note);
}

json_t *evaluation_number(double x) { return isfinite(x) ? json_real(x) : json_null(); }

json_t *evaluation_json(const char *split, const struct evaluation *e)
{
    return json_pack("{s:s, s:o, s:o, s:I, s:s}", "split", split, "bits_per_dim",
                     evaluation_number(e->bits), "nats", evaluation_number(e->nats), "rows",
                     (json_int_t)e->rows, "likelihood", kinds[kind_of(e)].name);
}

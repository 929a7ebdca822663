/* invconv: a learned invertible 1x1 convolution, y[:,p] = W x[:,p] at each position p;
 * logdet = positions * log|det W|. W starts as a random rotation.
 *
 * lu = true:  W = P (L + I) (U + diag(sign exp(log_s))), L and U strictly triangular and stored in
 *             one matrix `lu`, P (`perm`) and `sign` fixed; log|det W| = sum(log_s).
 * lu = false: W itself is the parameter `weight`; the determinant and the inverse are computed.
 *
 * Kingma, Dhariwal, "Glow" (NeurIPS 2018), section 3.2. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "glow/plugin.h"

static int32_t create(const struct glow_self *self, const struct glow_create *c,
                      struct glow_traits *traits, void **data)
{
    (void)traits, (void)data;
    if (c->in.rank == 1 || c->in.rank == 3) return GLOW_OK;
    self->host->fail(self, "invconv needs images (C,H,W) or rows (D)");
    return GLOW_EINVAL;
}

/* w -= sum(w v) v */
static void remove_part(double *w, const double *v, int64_t n)
{
    double dot = 0;
    for (int64_t i = 0; i < n; i++) dot += w[i] * v[i];
    for (int64_t i = 0; i < n; i++) w[i] -= dot * v[i];
}

/* A random rotation (n,n): the Q of normal numbers, by Gram-Schmidt, twice for orthogonality. */
static void rotation(const struct glow_self *self, uint64_t seed, double *w, int64_t n)
{
    self->host->random(seed, 0, GLOW_GAUSS, w, n * n);
    for (int64_t i = 0; i < n; i++) {
        double *row = w + i * n, square = 0;
        for (int pass = 0; pass < 2; pass++)
            for (int64_t j = 0; j < i; j++) remove_part(row, w + j * n, n);
        for (int64_t k = 0; k < n; k++) square += row[k] * row[k];
        for (int64_t k = 0; k < n; k++) row[k] /= sqrt(square);
    }
}

static void swap_rows(double *a, double *b, int64_t n)
{
    for (int64_t k = 0; k < n; k++) {
        double t = a[k];
        a[k] = b[k];
        b[k] = t;
    }
}

/* LU in place with partial pivoting; afterwards row i belongs to row perm[i] of the original. */
static void factorise(double *w, double *perm, int64_t n)
{
    for (int64_t i = 0; i < n; i++) perm[i] = (double)i;
    for (int64_t i = 0; i < n; i++) {
        int64_t pivot = i;
        for (int64_t r = i + 1; r < n; r++)
            if (fabs(w[r * n + i]) > fabs(w[pivot * n + i])) pivot = r;
        swap_rows(w + i * n, w + pivot * n, n);
        swap_rows(perm + i, perm + pivot, 1);
        for (int64_t r = i + 1; r < n; r++) {
            double q = w[r * n + i] /= w[i * n + i];
            for (int64_t k = i + 1; k < n; k++) w[r * n + k] -= q * w[i * n + k];
        }
    }
}

/* One of weight, lu, log_s, perm, sign; the host gives all of an instance the same seed. */
static void fill(const struct glow_self *self, const struct glow_param *p, uint64_t seed,
                 double *dst, int64_t count)
{
    int64_t n = p->type.dim[0];
    double *w = malloc(sizeof *w * (size_t)(n * n)), *perm = malloc(sizeof *perm * (size_t)n);
    if (!w || !perm) {
        self->host->fail(self, "out of memory for the initial rotation");
        goto out;
    }
    rotation(self, seed, w, n);
    if (strcmp(p->name, "weight") != 0) factorise(w, perm, n);
    for (int64_t i = 0; i < count; i++) {
        if (strcmp(p->name, "weight") == 0)
            dst[i] = w[i];
        else if (strcmp(p->name, "lu") == 0)
            dst[i] = i / n == i % n ? 0 : w[i];
        else if (strcmp(p->name, "log_s") == 0)
            dst[i] = log(fabs(w[i * n + i]));
        else if (strcmp(p->name, "sign") == 0)
            dst[i] = w[i * n + i] < 0 ? -1 : 1;
        else
            dst[i] = perm[i];
    }
out:
    free(w);
    free(perm);
}

static glow_value parameter(const struct glow_self *self, struct glow_graph *g, const char *name,
                            int32_t rank, int64_t n, uint32_t flags)
{
    struct glow_param p = { .size = sizeof p,
                            .flags = flags,
                            .init = GLOW_INIT_FILL,
                            .name = name,
                            .type = glow_real_type(rank, n, n, 0, 0),
                            .fill = fill };
    p.group = rank == 2 ? "weight" : "scale";
    return g->op->param(g, self, &p);
}

struct matrix {
    glow_value w, w_inverse, log_det;
};

static struct matrix matrix_of(const struct glow_self *self, struct glow_graph *g, glow_value x)
{
    int64_t n = glow_channels(g, x);
    struct matrix m;
    if (self->host->opt_int(self, "lu")) {
        glow_value in[4] = { parameter(self, g, "lu", 2, n, GLOW_PARAM_NO_L2),
                             parameter(self, g, "log_s", 1, n, GLOW_PARAM_NO_L2),
                             parameter(self, g, "perm", 1, n, GLOW_PARAM_FROZEN),
                             parameter(self, g, "sign", 1, n, GLOW_PARAM_FROZEN) };
        glow_value out[2];
        g->op->linalg(g, GLOW_LU_COMPOSE, in, out);
        m.w = out[0];
        m.w_inverse = out[1];
        m.log_det = glow_sum_all(g, in[1]);
    } else {
        m.w = parameter(self, g, "weight", 2, n, GLOW_PARAM_NO_L2);
        g->op->linalg(g, GLOW_INVERSE, &m.w, &m.w_inverse);
        g->op->linalg(g, GLOW_SLOGDET, &m.w, &m.log_det);
    }
    return m;
}

static void forward(const struct glow_self *self, struct glow_graph *g, struct glow_flow *f)
{
    glow_value x = f->op->x(f);
    struct matrix m = matrix_of(self, g, x);
    f->op->term(f, GLOW_LOGDET, "logdet", glow_mul(g, f->op->positions(f), m.log_det));
    f->op->set_x(f, g->op->matmul_channels(g, x, m.w, 0));
}

static void inverse(const struct glow_self *self, struct glow_graph *g, struct glow_flow *f)
{
    glow_value y = f->op->x(f);
    struct matrix m = matrix_of(self, g, y);
    f->op->term(f, GLOW_LOGDET, "logdet", glow_neg(g, glow_mul(g, f->op->positions(f), m.log_det)));
    f->op->set_x(f, g->op->matmul_channels(g, y, m.w_inverse, 0));
}

static const struct glow_option options[] = {
    { .key = "lu",
      .type = GLOW_OPT_BOOL,
      .since = 1,
      .dflt = "true",
      .help = "learn the LU factors, whose determinant is cheap and never 0" },
};

static const struct glow_layer layer = {
    GLOW_HEAD(struct glow_layer, GLOW_LAYER, 1, "invconv", "invertible 1x1 convolution", options,
              GLOW_COUNT(options)),
    .create = create,
    .forward = forward,
    .inverse = inverse,
    .traits = GLOW_BIJECTION,
};

static const struct glow_desc *const descs[] = { &layer.head, NULL };
GLOW_EXPORT const struct glow_plugin glow_plugin_v1 = {
    sizeof glow_plugin_v1, GLOW_ABI_MINOR, "invconv", "1", "", descs
};

/* moment: a custom operation whose only kernels are device code, and that uses all there is: a
 * geometry of its own, shared memory, scratch, an absent input, an unwanted output. For x of one
 * sample, m = r mean(w x) and s = r mean(w x^2); the layer of the same name couples two halves,
 *   y_a = x_a, y_b = x_b exp(tanh s(x_a)) + m(x_a)
 * IMAGE names the file of the image; the other macros make one mistake each (tests/cuda/images.sh).
 */
#include <stdio.h>
#include "glow/plugin.h"

#ifndef ENTRY
#define ENTRY "moment_f32"
#endif
#ifndef BLOCK
#define BLOCK 64
#endif
#ifndef SHARED
#define SHARED (2 * BLOCK * sizeof(double))
#endif
#ifndef INTEGERS
#define INTEGERS 1
#endif
#ifndef ROWS
#define ROWS 1
#endif
#ifndef COLUMNS
#define COLUMNS 1
#endif
#ifndef REASON
#define REASON NULL
#endif
#ifndef LIMIT
#define LIMIT INT64_MAX
#endif

static int32_t infer(struct glow_custom_infer *c)
{
    if (c->n_in != 2 || c->n_out != 2 || c->n_attr != 1 || c->in[0].rank < 0) {
        snprintf(c->why, c->why_size, "moment takes x, w and r, and gives m and s");
        return GLOW_EINVAL;
    }
    c->out[0] = c->out[1] = (struct glow_type){ c->in[0].dtype, c->in[0].batched, 0, 0, { 0 } };
    return GLOW_OK;
}

static void decompose(const struct glow_self *self, struct glow_graph *g,
                      struct glow_custom_call *c)
{
    glow_value x = c->in[0], weighted = c->in[1].id ? glow_mul(g, x, c->in[1]) : x;
    (void)self;
    c->out[0] = glow_scale(g, g->op->reduce(g, GLOW_MEAN, weighted, UINT32_MAX), c->attr[0]);
    c->out[1] = glow_scale(g, g->op->reduce(g, GLOW_MEAN, glow_mul(g, weighted, x), UINT32_MAX),
                           c->attr[0]);
}

#ifdef IMAGE
/* A block for each sample. */
static int32_t launch(const struct glow_kernel_call *c, struct glow_launch *l)
{
    const struct glow_array *x = &c->in[0];
    const char *reason = REASON;
    l->grid[0] = (uint32_t)x->n;
    l->grid[1] = COLUMNS;
    l->block[0] = BLOCK;
    l->block[1] = ROWS;
    l->shared = SHARED;
    l->scratch = (uint64_t)x->n * 2 * sizeof(double);
    l->n_integers = INTEGERS;
    l->integers[0] = 1;
    for (int32_t i = 0; i < x->type.rank; i++) l->integers[0] *= x->type.dim[i];
    if (reason) {
        snprintf(l->why, l->why_size, "%s", reason);
        return GLOW_EINVAL;
    }
    return l->integers[0] > LIMIT ? GLOW_ENOTSUP : GLOW_OK;
}

GLOW_EMBED(moment_image, IMAGE);
#define CUDA(number, name)                                                                         \
    {                                                                                              \
        .backend = "cuda", .dtype = number, .image = moment_image, .image_end = moment_image_end,  \
        .entry = name, .launch = launch                                                            \
    }
static const struct glow_kernel kernels[] = { CUDA(GLOW_F32, ENTRY), CUDA(GLOW_F64, "moment_f64") };
#endif

static const struct glow_custom custom = {
    GLOW_HEAD(struct glow_custom, GLOW_CUSTOM, 1, "moment", "means of x and x^2", NULL, 0),
    .infer = infer,
    .decompose = decompose,
#ifdef IMAGE
    .kernels = kernels,
    .n_kernels = GLOW_COUNT(kernels),
    .kernel_size = sizeof kernels[0],
#endif
};

/* ---- the layer */

static glow_value weights(const struct glow_self *self, struct glow_graph *g, glow_value a)
{
    struct glow_param p = { .size = sizeof p,
                            .init = GLOW_INIT_CONSTANT,
                            .name = "w",
                            .type = glow_type_of(g, a),
                            .a = 1 };
    p.type.batched = 0;
    return g->op->param(g, self, &p);
}

static void couple(const struct glow_self *self, struct glow_graph *g, struct glow_flow *f,
                   int inverse)
{
    glow_value x = f->op->x(f), out[2], in[2] = { glow_none, glow_none };
    int64_t channels = glow_channels(g, x), half = channels / 2;
    double r = self->host->opt_real(self, "r");
    int scaled = self->host->opt_int(self, "scaled") != 0;
    if (half < 1) {
        f->op->set_x(f, g->op->fail(g, "moment needs at least two channels"));
        return;
    }
    in[0] = g->op->slice(g, x, 0, 0, 1, half);
    if (self->host->opt_int(self, "weighted")) in[1] = weights(self, g, in[0]);
    struct glow_custom_call c = { sizeof c, 2, 2, 1, "moment", in, &r, out };
    g->op->custom(g, self, &c);
    glow_value b = g->op->slice(g, x, 0, half, 1, channels - half), shift = out[0];
    glow_value logs = scaled ? glow_unary(g, GLOW_TANH, out[1]) : glow_num(g, 0);
    if (inverse) {
        logs = glow_neg(g, logs);
        b = glow_sub(g, b, shift);
    }
    struct glow_type t = glow_type_of(g, b);
    double n = 1;
    for (int32_t i = 0; i < t.rank; i++) n *= (double)t.dim[i];
    if (scaled) {
        b = glow_mul(g, b, glow_exp(g, logs));
        f->op->term(f, GLOW_LOGDET, "logdet", glow_scale(g, logs, n));
    }
    glow_value parts[2] = { in[0], inverse ? b : glow_add(g, b, shift) };
    f->op->set_x(f, g->op->concat(g, 0, 2, parts));
}

static void forward(const struct glow_self *self, struct glow_graph *g, struct glow_flow *f)
{
    couple(self, g, f, 0);
}
static void inverse(const struct glow_self *self, struct glow_graph *g, struct glow_flow *f)
{
    couple(self, g, f, 1);
}

static const struct glow_option options[] = {
    { .key = "r",
      .type = GLOW_OPT_REAL,
      .since = 1,
      .dflt = "0.5",
      .range = "[-2,2]",
      .help = "factor of the moments" },
    { .key = "weighted",
      .type = GLOW_OPT_BOOL,
      .since = 1,
      .dflt = "false",
      .help = "weigh the elements" },
    { .key = "scaled",
      .type = GLOW_OPT_BOOL,
      .since = 1,
      .dflt = "false",
      .help = "scale by the second moment" },
};

static const struct glow_layer layer = {
    GLOW_HEAD(struct glow_layer, GLOW_LAYER, 1, "moment", "a coupling by moments", options,
              GLOW_COUNT(options)),
    .forward = forward,
    .inverse = inverse,
    .traits = GLOW_BIJECTION,
};

static const struct glow_desc *const descs[] = { &layer.head, &custom.head, NULL };
GLOW_EXPORT const struct glow_plugin glow_plugin_v1 = {
    sizeof glow_plugin_v1, GLOW_ABI_MINOR, "moment", "1", "", descs
};

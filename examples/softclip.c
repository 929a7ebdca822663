/* softclip: a layer with kernels of its own. Large values are damped, small ones pass:
 *   y = r x + (1 - r) x / (1 + |x|),   dy/dx = r + (1 - r) / (1 + |x|)^2,   0 < r <= 1
 * which maps the whole line onto itself. The custom operation "softclip" computes y and the slope
 * in one pass. It also says how core operations compute the same (decompose): what runs on backends
 * that have no kernel here, and what the kernels are tested against.
 *
 *   cc -shared -fPIC -I/usr/local/include softclip.c -o softclip.so
 *
 * With kernels for NVIDIA's GPUs in the same file, where nvcc is at hand; no part of CUDA is
 * linked:
 *
 *   nvcc -fatbin -arch=all-major softclip.cu -o softclip.fatbin
 *   cc -shared -fPIC -I/usr/local/include -DIMAGE='"softclip.fatbin"' softclip.c -o softclip.so */
#include <stdio.h>
#include <glow/plugin.h>

/* ---- the operation: in x; attribute r; out y, slope */

static int32_t infer(struct glow_custom_infer *c)
{
    if (c->n_in != 1 || c->n_out != 2 || c->n_attr != 1 || c->in[0].rank < 0) {
        snprintf(c->why, c->why_size, "softclip takes x and r, and gives y and the slope");
        return GLOW_EINVAL;
    }
    c->out[0] = c->out[1] = c->in[0];
    return GLOW_OK;
}

/* 1 / (1 + |x|) */
static glow_value damping(struct glow_graph *g, glow_value x)
{
    return glow_unary(g, GLOW_RECIP, glow_add_num(g, glow_unary(g, GLOW_ABS, x), 1));
}

static void decompose(const struct glow_self *self, struct glow_graph *g,
                      struct glow_custom_call *c)
{
    double r = c->attr[0];
    glow_value x = c->in[0], d = damping(g, x);
    (void)self;
    c->out[0] = glow_mul(g, x, glow_add_num(g, glow_scale(g, d, 1 - r), r));
    c->out[1] = glow_add_num(g, glow_scale(g, glow_unary(g, GLOW_SQUARE, d), 1 - r), r);
}

/* dx = dy slope + dslope d(slope)/dx. An output that nothing depends on has no gradient. */
static void vjp(const struct glow_self *self, struct glow_graph *g, struct glow_custom_vjp *c)
{
    glow_value x = c->in[0], dx = glow_none;
    (void)self;
    if (c->dout[0].id) dx = glow_mul(g, c->dout[0], c->out[1]);
    if (c->dout[1].id) {
        glow_value d = damping(g, x), cube = glow_mul(g, d, glow_unary(g, GLOW_SQUARE, d));
        glow_value bend = glow_mul(g, glow_unary(g, GLOW_SIGN, x), cube);
        glow_value more = glow_mul(g, c->dout[1], glow_scale(g, bend, -2 * (1 - c->attr[0])));
        dx = dx.id ? glow_add(g, dx, more) : more;
    }
    c->din[0] = dx;
}

static int64_t count(const struct glow_array *a)
{
    int64_t n = a->n;
    for (int32_t i = 0; i < a->type.rank; i++) n *= a->type.dim[i];
    return n;
}

/* The kernel for one type of number. An output is NULL when nobody wants it. */
#define KERNEL(name, real)                                                                         \
    static int32_t name(const struct glow_kernel_call *c)                                          \
    {                                                                                              \
        const real *x = c->in[0].data, r = (real)c->attr[0];                                       \
        real *y = c->out[0].data, *slope = c->out[1].data;                                         \
        for (int64_t i = 0, n = count(&c->in[0]); i < n; i++) {                                    \
            real v = x[i], d = 1 / (1 + (v < 0 ? -v : v));                                         \
            if (y) y[i] = v * (r + (1 - r) * d);                                                   \
            if (slope) slope[i] = r + (1 - r) * d * d;                                             \
        }                                                                                          \
        return GLOW_OK;                                                                            \
    }
KERNEL(run_f32, float)
KERNEL(run_f64, double)

/* softclip.cu, compiled; one thread for each element, which is what the host presets. */
#ifdef IMAGE
GLOW_EMBED(softclip_image, IMAGE);
#define CUDA(number, name)                                                                         \
    {                                                                                              \
        .backend = "cuda", .dtype = number, .image = softclip_image,                               \
        .image_end = softclip_image_end, .entry = name                                             \
    }
#endif

static const struct glow_kernel kernels[] = {
    { .backend = "cpu", .dtype = GLOW_F32, .run = run_f32 },
    { .backend = "cpu", .dtype = GLOW_F64, .run = run_f64 },
#ifdef IMAGE
    CUDA(GLOW_F32, "softclip_f32"),
    CUDA(GLOW_F64, "softclip_f64"),
#endif
};

static const struct glow_custom custom = {
    GLOW_HEAD(struct glow_custom, GLOW_CUSTOM, 1, "softclip", "y and dy/dx of a soft clipper", NULL,
              0),
    .infer = infer,
    .decompose = decompose,
    .vjp = vjp,
    .kernels = kernels,
    .n_kernels = GLOW_COUNT(kernels),
    .kernel_size = sizeof kernels[0],
};

/* ---- the layer */

struct clipped {
    glow_value y, slope;
};

static struct clipped clip(const struct glow_self *self, struct glow_graph *g, glow_value x)
{
    double r = self->host->opt_real(self, "rest");
    glow_value out[2];
    struct glow_custom_call c = { sizeof c, 1, 2, 1, "softclip", &x, &r, out };
    g->op->custom(g, self, &c);
    return (struct clipped){ out[0], out[1] };
}

static void forward(const struct glow_self *self, struct glow_graph *g, struct glow_flow *f)
{
    struct clipped c = clip(self, g, f->op->x(f));
    f->op->term(f, GLOW_LOGDET, "logdet", glow_sum_all(g, glow_log(g, c.slope)));
    f->op->set_x(f, c.y);
}

/* With a = |x|, b = |y|: r a^2 + (1 - b) a - b = 0. Of the two forms of the root, each is accurate
 * where it adds numbers of equal sign. */
static void inverse(const struct glow_self *self, struct glow_graph *g, struct glow_flow *f)
{
    double r = self->host->opt_real(self, "rest");
    glow_value y = f->op->x(f), b = glow_unary(g, GLOW_ABS, y);
    glow_value p = glow_sub(g, glow_num(g, 1), b), size = glow_unary(g, GLOW_ABS, p);
    glow_value square = glow_add(g, glow_unary(g, GLOW_SQUARE, p), glow_scale(g, b, 4 * r));
    glow_value q = glow_add(g, size, glow_unary(g, GLOW_SQRT, square));
    glow_value small = glow_binary(g, GLOW_LT, b, glow_num(g, 1));
    glow_value a =
        g->op->where(g, small, glow_div(g, glow_scale(g, b, 2), q), glow_scale(g, q, 0.5 / r));
    glow_value x = glow_mul(g, glow_unary(g, GLOW_SIGN, y), a);
    glow_value log_slope = glow_log(g, clip(self, g, x).slope);
    f->op->term(f, GLOW_LOGDET, "logdet", glow_neg(g, glow_sum_all(g, log_slope)));
    f->op->set_x(f, x);
}

static const struct glow_option options[] = {
    { .key = "rest",
      .type = GLOW_OPT_REAL,
      .since = 1,
      .dflt = "0.2",
      .range = "(0,1]",
      .help = "slope that is left far from 0" },
};

static const struct glow_layer layer = {
    GLOW_HEAD(struct glow_layer, GLOW_LAYER, 1, "softclip", "damps large values", options,
              GLOW_COUNT(options)),
    .forward = forward,
    .inverse = inverse,
    .traits = GLOW_BIJECTION,
};

static const struct glow_desc *const descs[] = { &layer.head, &custom.head, NULL };
GLOW_EXPORT const struct glow_plugin glow_plugin_v1 = {
    sizeof glow_plugin_v1, GLOW_ABI_MINOR, "softclip", "1", "", descs
};

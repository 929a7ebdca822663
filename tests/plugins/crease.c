/* crease: a layer of nothing but elementwise maths, 31 operations one after another for each
 * element. Four times x is scaled and shifted and the line is bent where it crosses zero:
 *   u = x exp(logs) + shift;  x = u + tanh(bend) |u|
 *   logdet = sum of logs + log(1 - tanh(bend)^2) / 2 + sign(u) bend
 * with one logs, shift and bend per channel. */
#include "glow/plugin.h"

enum { CREASES = 4 };

struct crease {
    glow_value logs, shift, bend; /* (C,1,..) */
};

static struct crease crease_of(const struct glow_self *self, struct glow_graph *g, glow_value x,
                               int i)
{
    static const char *const names[3][CREASES] = { { "logs0", "logs1", "logs2", "logs3" },
                                                   { "shift0", "shift1", "shift2", "shift3" },
                                                   { "bend0", "bend1", "bend2", "bend3" } };
    glow_value v[3];
    struct glow_type t = glow_type_of(g, x);
    for (int k = 0; k < 3; k++) {
        struct glow_param p = { .size = sizeof p,
                                .name = names[k][i],
                                .init = GLOW_INIT_NORMAL,
                                .type = glow_real_type(t.rank, t.dim[0], 1, 1, 1),
                                .b = 0.3 };
        v[k] = g->op->param(g, self, &p);
    }
    return (struct crease){ v[0], v[1], v[2] };
}

/* What all elements of a channel add to the logdet. */
static glow_value flat(struct glow_graph *g, struct crease c)
{
    glow_value slope = glow_unary(g, GLOW_SQUARE, glow_unary(g, GLOW_TANH, c.bend));
    glow_value middle = glow_scale(g, glow_unary(g, GLOW_LOG1P, glow_neg(g, slope)), 0.5);
    return glow_sum_all(g, glow_add(g, c.logs, middle));
}

static glow_value plus(struct glow_graph *g, glow_value a, glow_value b)
{
    return a.id ? glow_add(g, a, b) : b;
}

static void forward(const struct glow_self *self, struct glow_graph *g, struct glow_flow *f)
{
    glow_value x = f->op->x(f), bent = glow_none, all = glow_none;
    for (int i = 0; i < CREASES; i++) {
        struct crease c = crease_of(self, g, x, i);
        glow_value u = glow_add(g, glow_mul(g, x, glow_exp(g, c.logs)), c.shift);
        glow_value size = glow_unary(g, GLOW_ABS, u);
        x = glow_add(g, u, glow_mul(g, size, glow_unary(g, GLOW_TANH, c.bend)));
        bent = plus(g, bent, glow_mul(g, glow_unary(g, GLOW_SIGN, u), c.bend));
        all = plus(g, all, flat(g, c));
    }
    f->op->term(f, GLOW_LOGDET, "bent", glow_sum_all(g, bent));
    f->op->term(f, GLOW_LOGDET, "flat", glow_mul(g, f->op->positions(f), all));
    f->op->set_x(f, x);
}

static void inverse(const struct glow_self *self, struct glow_graph *g, struct glow_flow *f)
{
    glow_value y = f->op->x(f), bent = glow_none, all = glow_none;
    for (int i = CREASES - 1; i >= 0; i--) {
        struct crease c = crease_of(self, g, y, i);
        glow_value slope = glow_unary(g, GLOW_TANH, c.bend);
        glow_value size = glow_mul(g, glow_unary(g, GLOW_ABS, y), slope);
        glow_value both = glow_sub(g, glow_num(g, 1), glow_unary(g, GLOW_SQUARE, slope));
        bent = plus(g, bent, glow_mul(g, glow_unary(g, GLOW_SIGN, y), c.bend));
        all = plus(g, all, flat(g, c));
        glow_value u = glow_div(g, glow_sub(g, y, size), both);
        y = glow_mul(g, glow_sub(g, u, c.shift), glow_exp(g, glow_neg(g, c.logs)));
    }
    f->op->term(f, GLOW_LOGDET, "bent", glow_neg(g, glow_sum_all(g, bent)));
    f->op->term(f, GLOW_LOGDET, "flat", glow_neg(g, glow_mul(g, f->op->positions(f), all)));
    f->op->set_x(f, y);
}

static const struct glow_layer layer = {
    GLOW_HEAD(struct glow_layer, GLOW_LAYER, 1, "crease", "four creases in a line", NULL, 0),
    .forward = forward,
    .inverse = inverse,
    .traits = GLOW_BIJECTION,
};

static const struct glow_desc *const descs[] = { &layer.head, NULL };
GLOW_EXPORT const struct glow_plugin glow_plugin_v1 = {
    sizeof glow_plugin_v1, GLOW_ABI_MINOR, "crease", "1", "", descs
};

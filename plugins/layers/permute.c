/* permute: reorders the channels, y[i] = x[index[i]]; logdet 0.
 * mode = "reverse": index[i] = C-1-i. mode = "shuffle": an order drawn once from the option `seed`
 * and the layer's path, so that layers differ. Both stand in checkpoints, and a model keeps its
 * order.
 *
 * Dinh, Krueger, Bengio, "NICE" (2014), section 3; Kingma, Dhariwal, "Glow" (2018), section 3.2. */
#include <stdlib.h>
#include <string.h>
#include "glow/plugin.h"

struct order {
    int64_t n;
    int64_t *index, *back; /* back[index[i]] = i; both in one block */
};

/* FNV-1a */
static uint64_t hash(const char *text)
{
    uint64_t h = 1469598103934665603u;
    for (; *text; text++) h = (h ^ (unsigned char)*text) * 1099511628211u;
    return h;
}

/* Fisher-Yates */
static void shuffle(const struct glow_self *self, struct order *order)
{
    uint64_t seed = (uint64_t)self->host->opt_int(self, "seed");
    for (int64_t i = order->n - 1; i > 0; i--) {
        double u;
        self->host->random(seed ^ hash(self->path), (uint64_t)i, GLOW_UNIFORM, &u, 1);
        int64_t j = (int64_t)(u * (double)(i + 1)), swapped = order->index[j];
        order->index[j] = order->index[i];
        order->index[i] = swapped;
    }
}

static int32_t create(const struct glow_self *self, const struct glow_create *c,
                      struct glow_traits *traits, void **data)
{
    (void)traits;
    if (c->in.rank < 1) {
        self->host->fail(self, "permute needs channels, got one number per sample");
        return GLOW_EINVAL;
    }
    int64_t n = c->in.dim[0];
    struct order *order = malloc(sizeof *order + 2 * sizeof(int64_t) * (size_t)n);
    if (!order) {
        self->host->fail(self, "out of memory for the order of the channels");
        return GLOW_ENOMEM;
    }
    order->n = n;
    order->index = (int64_t *)(order + 1);
    order->back = order->index + n;
    int reverse = strcmp(self->host->opt_string(self, "mode"), "reverse") == 0;
    for (int64_t i = 0; i < n; i++) order->index[i] = reverse ? n - 1 - i : i;
    if (!reverse) shuffle(self, order);
    for (int64_t i = 0; i < n; i++) order->back[order->index[i]] = i;
    *data = order;
    return GLOW_OK;
}

static void forward(const struct glow_self *self, struct glow_graph *g, struct glow_flow *f)
{
    const struct order *order = self->data;
    f->op->set_x(f, g->op->take(g, f->op->x(f), 0, order->n, order->index));
}

static void inverse(const struct glow_self *self, struct glow_graph *g, struct glow_flow *f)
{
    const struct order *order = self->data;
    f->op->set_x(f, g->op->take(g, f->op->x(f), 0, order->n, order->back));
}

static const struct glow_option options[] = {
    { .key = "mode",
      .type = GLOW_OPT_ENUM,
      .since = 1,
      .dflt = "reverse",
      .range = "reverse|shuffle",
      .help = "last channel first, or a fixed random order" },
    { .key = "seed",
      .type = GLOW_OPT_INT,
      .since = 1,
      .dflt = "0",
      .range = "[0,inf)",
      .help = "of the order of mode = \"shuffle\"" },
};

static const struct glow_layer layer = {
    GLOW_HEAD(struct glow_layer, GLOW_LAYER, 1, "permute", "fixed permutation of the channels",
              options, GLOW_COUNT(options)),
    .create = create,
    .destroy = free,
    .forward = forward,
    .inverse = inverse,
    .traits = GLOW_BIJECTION,
};

static const struct glow_desc *const descs[] = { &layer.head, NULL };
GLOW_EXPORT const struct glow_plugin glow_plugin_v1 = {
    sizeof glow_plugin_v1, GLOW_ABI_MINOR, "permute", "1", "", descs
};

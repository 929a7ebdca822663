/* plugin.c - a plug-in with one descriptor of every kind and one option of every type. Tests build
 * it against each frozen copy of the header, -DHEADER='"plugin-1.0.h"', and today's host must load
 * it. */
#ifndef HEADER
#define HEADER "glow/plugin.h"
#endif
#include HEADER

static const struct glow_option options[] = {
    { .key = "count", .help = "an integer", .dflt = "3", .range = "[1,8]", .type = GLOW_OPT_INT },
    { .key = "rate",
      .help = "a number",
      .dflt = "0.5",
      .range = "(0,inf)",
      .type = GLOW_OPT_REAL,
      .aliases = "lr" },
    { .key = "on", .help = "a truth value", .dflt = "true", .type = GLOW_OPT_BOOL },
    { .key = "label", .help = "a text", .dflt = "plain", .type = GLOW_OPT_STRING },
    { .key = "form", .help = "a word", .dflt = "exp", .range = "exp|tanh", .type = GLOW_OPT_ENUM },
    { .key = "file", .help = "a path", .dflt = "", .type = GLOW_OPT_PATH },
    { .key = "sizes",
      .help = "integers",
      .dflt = "[1, 2]",
      .range = "#[1,4]",
      .type = GLOW_OPT_INTS },
    { .key = "knots", .help = "numbers", .dflt = "[0.25]", .type = GLOW_OPT_REALS },
    { .key = "tags", .help = "texts", .dflt = "[\"a\"]", .type = GLOW_OPT_STRINGS },
    { .key = "net",
      .help = "a network",
      .dflt = "abi-net",
      .type = GLOW_OPT_CHILD,
      .slot_kind = GLOW_NET,
      .slot_needs = GLOW_NET_IMAGE },
    { .key = "prior",
      .help = "a prior",
      .dflt = "",
      .type = GLOW_OPT_CHILD,
      .slot_kind = GLOW_PRIOR },
};
static const struct glow_option net_options[] = {
    { .key = "width",
      .help = "hidden channels",
      .dflt = "16",
      .range = "[1,512]",
      .type = GLOW_OPT_INT },
};

/* ---- a layer: y = x + net(x), and the net gives zeros; x passes through the custom operation */

static void layer_pass(const struct glow_self *self, struct glow_graph *g, struct glow_flow *f)
{
    glow_value x = f->op->x(f), y = glow_none;
    struct glow_custom_call c = { sizeof c, 1, 1, 0, "abi-custom", &x, NULL, &y };
    g->op->custom(g, self, &c);
    f->op->set_x(f, glow_add(g, y, glow_run_net(g, self, "net", y, glow_channels(g, y))));
}
static const struct glow_layer layer = {
    .head = GLOW_HEAD(struct glow_layer, GLOW_LAYER, 1, "abi-layer", "the identity", options,
                      GLOW_COUNT(options)),
    .forward = layer_pass,
    .inverse = layer_pass,
    .traits = GLOW_BIJECTION,
};

/* ---- networks: zeros; the second is none for images */

static void net_forward(const struct glow_self *self, struct glow_graph *g, struct glow_net_call *c)
{
    (void)self;
    c->out[0] = glow_scale(g, c->in[0], 0.0);
}
static const struct glow_port ports[] = { { "x", GLOW_PORT_IN, 0 }, { "y", GLOW_PORT_OUT, 0 } };
static const struct glow_net net = {
    .head = GLOW_HEAD(struct glow_net, GLOW_NET, 1, "abi-net", "zeros", net_options, 1),
    .forward = net_forward,
    .ports = ports,
    .n_ports = 2,
    .port_size = sizeof(struct glow_port),
    .properties = GLOW_NET_IMAGE | GLOW_NET_ROW,
};
static const struct glow_net row_net = {
    .head =
        GLOW_HEAD(struct glow_net, GLOW_NET, 1, "abi-row-net", "zeros, for rows", net_options, 1),
    .forward = net_forward,
    .properties = GLOW_NET_ROW,
};

/* ---- a prior: N(0,1) without its constant */

static void prior_log_density(const struct glow_self *self, struct glow_graph *g,
                              struct glow_prior_call *c)
{
    (void)self;
    c->out = glow_scale(g, glow_sum_all(g, glow_unary(g, GLOW_SQUARE, c->z)), -0.5);
}
static void prior_sample(const struct glow_self *self, struct glow_graph *g,
                         struct glow_prior_call *c)
{
    c->out = glow_mul(g, g->op->random(g, self, "z", GLOW_GAUSS, &c->type), c->temperature);
}
static const struct glow_prior prior = {
    .head = GLOW_HEAD(struct glow_prior, GLOW_PRIOR, 1, "abi-prior", "a normal", NULL, 0),
    .log_density = prior_log_density,
    .sample = prior_sample,
};

/* ---- a dataset: ten rows of two numbers */

static const struct glow_column columns[] = {
    { .name = "x", .dtype = GLOW_F32, .role = GLOW_ROLE_X, .type = { GLOW_REAL, 0, 1, 0, { 2 } } },
};
static int32_t data_open(const struct glow_self *self, const struct glow_data_open *o, void **state,
                         struct glow_data_info *info)
{
    (void)self;
    (void)o;
    *state = NULL;
    info->columns = columns;
    info->column_size = sizeof columns[0];
    info->n_columns = 1;
    info->count = 10;
    return GLOW_OK;
}
static void data_close(void *state) { (void)state; }
static int32_t data_read(const struct glow_self *self, void *state, const struct glow_data_read *r)
{
    float *x = r->dst[0];
    (void)self;
    (void)state;
    for (uint32_t i = 0; x && i < 2 * r->n; i++) x[i] = (float)r->index[i / 2];
    return GLOW_OK;
}
static const struct glow_dataset dataset = {
    .head = GLOW_HEAD(struct glow_dataset, GLOW_DATASET, 1, "abi-dataset", "ten rows", NULL, 0),
    .open = data_open,
    .close = data_close,
    .read = data_read,
};

/* ---- a custom operation: y = x, with a kernel */

static int32_t custom_infer(struct glow_custom_infer *c)
{
    c->out[0] = c->in[0];
    return GLOW_OK;
}
static void custom_decompose(const struct glow_self *self, struct glow_graph *g,
                             struct glow_custom_call *c)
{
    (void)self;
    (void)g;
    c->out[0] = c->in[0];
}
static int32_t custom_run(const struct glow_kernel_call *c)
{
    const float *x = c->in[0].data;
    float *y = c->out[0].data;
    int64_t n = c->in[0].n;
    for (int32_t i = 0; i < c->in[0].type.rank; i++) n *= c->in[0].type.dim[i];
    for (int64_t i = 0; i < n; i++) y[i] = x[i];
    return GLOW_OK;
}
static const struct glow_kernel kernels[] = { { "cpu", GLOW_F32, 0, custom_run, NULL } };
static const struct glow_custom custom = {
    .head = GLOW_HEAD(struct glow_custom, GLOW_CUSTOM, 1, "abi-custom", "a copy", NULL, 0),
    .infer = custom_infer,
    .decompose = custom_decompose,
    .kernels = kernels,
    .n_kernels = 1,
    .kernel_size = sizeof kernels[0],
};

static const struct glow_desc *const descs[] = { &layer.head, &net.head,     &row_net.head,
                                                 &prior.head, &dataset.head, &custom.head,
                                                 NULL };
GLOW_EXPORT const struct glow_plugin glow_plugin_v1 = {
    sizeof glow_plugin_v1, GLOW_ABI_MINOR, "abi", "1", "", descs
};

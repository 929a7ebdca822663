/* custom.c - a custom operation is a node when its plug-in brings a kernel for the backend and real
 * type at hand, and the device can run it; otherwise, and for gradients that it does not give
 * itself, its decomposition stands in. What it infers is held against what it decomposes to, so
 * that a shape function can't lie. */
#include "custom.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "model.h"

#define MAX_PORTS 64

const struct glow_kernel *custom_kernel(const struct graph *g, const struct glow_custom *op)
{
    uint32_t dtype = g->real == DT_F64 ? GLOW_F64 : GLOW_F32;
    if (g->decompose) return NULL;
    for (uint32_t i = 0; i < op->n_kernels; i++) {
        const struct glow_kernel *k =
            (const void *)((const char *)op->kernels + (size_t)i * op->kernel_size);
        if (k->dtype == dtype && k->backend && !strcmp(k->backend, g->backend->name)) return k;
    }
    return NULL;
}

void custom_types(const struct graph *g, const struct node *n, struct glow_type *types)
{
    for (uint32_t k = 0; k < n->n_in; k++) {
        if (n->in[k])
            types[k] = g->values[n->in[k]].type;
        else
            types[k].rank = -1;
    }
    for (uint32_t k = 0; k < n->n_out; k++) types[n->n_in + k] = g->values[n->out0 + k].type;
}

static const struct plugin_info *find(struct graph *g, const char *id)
{
    const struct plugin_info *info;
    if (registry_find(g->model->registry, GLOW_CUSTOM, id, &info) != GLOW_OK) {
        graph_fail(g, GLOW_EINVAL, "custom operation \"%s\": %s", id, fail_message());
        return NULL;
    }
    return info;
}

/* Whether the kernel's image is ready to run; else g has an error, or a decomposition is wanted. */
static bool load_image(struct graph *g, const struct plugin_info *info,
                       const struct glow_kernel *kernel, const struct glow_custom_call *c,
                       const struct glow_type *types)
{
    struct glow_array shapes[2 * MAX_PORTS];
    char name[600];
    if (!g->backend->load_image) return false;
    for (uint32_t i = 0; i < c->n_in + c->n_out; i++) {
        bool wide = types[i].dtype == GLOW_HI || g->real == DT_F64;
        shapes[i] = (struct glow_array){ NULL, types[i].batched ? g->batch : 1, types[i] };
        shapes[i].type.dtype = wide ? GLOW_F64 : GLOW_F32;
    }
    const struct glow_kernel_call call = { .size = sizeof call,
                                           .n_in = c->n_in,
                                           .n_out = c->n_out,
                                           .n_attr = c->n_attr,
                                           .in = shapes,
                                           .out = shapes + c->n_in,
                                           .attr = c->attr };
    snprintf(name, sizeof name, "custom operation \"%s\" of %s", info->desc->id, info->file);
    glow_status status = g->backend->load_image(g->model->engine, name, kernel, &call);
    if (status != GLOW_OK && status != GLOW_ENOTSUP)
        graph_fail(g, status, "custom operation \"%s\": %s", info->desc->id, fail_message());
    return status == GLOW_OK;
}

static bool infer(struct graph *g, const struct glow_custom *op, const struct glow_custom_call *c,
                  const value_id *in, struct glow_type *types)
{
    char why[200] = "";
    struct glow_custom_infer query = { sizeof query, c->n_in,         c->n_out, c->n_attr, types,
                                       c->attr,      types + c->n_in, why,      sizeof why };
    memset(types, 0, (c->n_in + c->n_out) * sizeof *types);
    for (uint32_t i = 0; i < c->n_in; i++)
        if (in[i])
            types[i] = graph_value(g, in[i])->type;
        else
            types[i].rank = -1;
    int32_t status = op->infer(&query);
    why[sizeof why - 1] = 0;
    if (status != GLOW_OK) {
        graph_fail(g, GLOW_EINVAL, "custom operation \"%s\": %s", op->head.id,
                   *why ? why : "its types do not fit");
        return false;
    }
    return true;
}

/* Describes the decomposition on fresh inputs of the same types and compares the outcome. */
static bool decomposes_to(struct graph *g, const struct glow_custom *op,
                          const struct instance *self, const struct glow_custom_call *c,
                          const struct glow_type *types)
{
    struct graph *probe;
    glow_value in[MAX_PORTS], out[MAX_PORTS] = { 0 };
    if (graph_new(&probe, g->model, g->backend, g->real, g->batch, g->phase) != GLOW_OK) {
        g->status = GLOW_ENOMEM;
        return false;
    }
    probe->who = self;
    for (uint32_t i = 0; i < c->n_in; i++)
        in[i] =
            types[i].rank < 0 ? glow_none : graph_handle(probe, graph_input(probe, i, &types[i]));
    struct glow_custom_call call = *c;
    call.in = in;
    call.out = out;
    op->decompose(&self->self, (struct glow_graph *)probe, &call);
    for (uint32_t i = 0; i < c->n_out && probe->status == GLOW_OK; i++) {
        struct glow_type have;
        char a[96], b[96];
        probe->op->type((struct glow_graph *)probe, out[i], &have);
        if (!type_equal(&have, &types[c->n_in + i]))
            graph_fail(probe, GLOW_EINVAL,
                       "custom operation \"%s\": output %u is %s by infer, but %s by decompose",
                       op->head.id, i + 1, type_text(&types[c->n_in + i], a, sizeof a),
                       type_text(&have, b, sizeof b));
    }
    if (g->status == GLOW_OK) g->status = probe->status; /* the message is the thread's */
    graph_free(probe);
    return g->status == GLOW_OK;
}

void custom_call(struct graph *g, const struct instance *self, struct glow_custom_call *c)
{
    struct glow_type types[2 * MAX_PORTS];
    value_id in[MAX_PORTS];
    for (uint32_t i = 0; i < c->n_out; i++) c->out[i] = (glow_value){ UINT64_MAX };
    if (g->status != GLOW_OK) return;
    if (c->n_in > MAX_PORTS || c->n_out > MAX_PORTS || c->n_attr > 256) {
        graph_fail(g, GLOW_EINVAL,
                   "custom operation \"%s\": at most 64 inputs and outputs, 256 attributes", c->id);
        return;
    }
    for (uint32_t i = 0; i < c->n_in; i++)
        if ((in[i] = graph_open_handle(g, c->in[i])) == GRAPH_ERROR) return;
    const struct plugin_info *info = find(g, c->id);
    if (!info) return;
    const struct glow_custom *op = (const struct glow_custom *)info->desc;
    if (!infer(g, op, c, in, types) || !decomposes_to(g, op, self, c, types)) return;
    const struct glow_kernel *kernel = custom_kernel(g, op);
    bool ready = kernel && (!kernel->image || load_image(g, info, kernel, c, types));
    if (g->status != GLOW_OK) return;
    if (!ready) {
        op->decompose(&self->self, (struct glow_graph *)g, c);
        return;
    }
    struct op_call call = { .op = OP_CUSTOM,
                            .n_in = c->n_in,
                            .n_out = c->n_out,
                            .in = in,
                            .n_ad = c->n_attr,
                            .ad = c->attr,
                            .type = types + c->n_in,
                            .custom = op,
                            .custom_self = self };
    value_id v = graph_add(g, &call);
    for (uint32_t i = 0; i < c->n_out; i++)
        c->out[i] = graph_handle(g, v == GRAPH_ERROR ? v : v + i);
}

/* The gradient through the decomposition, described on the node's own inputs. */
static glow_status gradient_of_decomposition(struct graph *g, const struct node *n,
                                             const value_id *dout, value_id *din)
{
    glow_value in[MAX_PORTS], out[MAX_PORTS] = { 0 };
    value_id y[MAX_PORTS], wrt[MAX_PORTS];
    for (uint32_t i = 0; i < n->n_in; i++) { /* aliases: the gradient must stop here */
        wrt[i] = graph_alias(g, n->in[i]);
        in[i] = graph_handle(g, wrt[i]);
    }
    struct glow_custom_call c = { sizeof c,           n->n_in, n->n_out, n->n_ad,
                                  n->custom->head.id, in,      n->ad,    out };
    n->custom->decompose(&n->custom_self->self, (struct glow_graph *)g, &c);
    for (uint32_t i = 0; i < n->n_out; i++)
        if ((y[i] = graph_open_handle(g, out[i])) == GRAPH_ERROR) return g->status;
    return graph_gradient(g, n->n_out, y, dout, n->n_in, wrt, din);
}

glow_status custom_gradient(struct graph *g, const struct node *n, const value_id *dout,
                            value_id *din)
{
    glow_value in[MAX_PORTS], out[MAX_PORTS], dy[MAX_PORTS], dx[MAX_PORTS] = { 0 };
    if (!n->custom->vjp) return gradient_of_decomposition(g, n, dout, din);
    for (uint32_t i = 0; i < n->n_in; i++) in[i] = graph_handle(g, n->in[i]);
    for (uint32_t i = 0; i < n->n_out; i++) {
        out[i] = graph_handle(g, n->out0 + i);
        dy[i] = graph_handle(g, dout[i]);
    }
    struct glow_custom_vjp c = { sizeof c, n->n_in, n->n_out, n->n_ad, in, out, dy, n->ad, dx };
    n->custom->vjp(&n->custom_self->self, (struct glow_graph *)g, &c);
    for (uint32_t i = 0; i < n->n_in; i++) {
        din[i] = graph_open_handle(g, dx[i]);
        if (din[i] == GRAPH_ERROR) return g->status;
        if (!din[i]) continue;
        struct glow_type want = graph_value(g, n->in[i])->type, have = graph_value(g, din[i])->type;
        char a[96], b[96];
        want.dtype = have.dtype;
        if (!type_equal(&want, &have)) {
            graph_fail(g, GLOW_EINVAL, "custom operation \"%s\": gradient %u is %s, the input %s",
                       n->custom->head.id, i + 1, type_text(&have, a, sizeof a),
                       type_text(&want, b, sizeof b));
            return g->status;
        }
    }
    return g->status;
}

/* model.c - from the `model` group of glow.cfg to layers, latents and parameters.
 *
 * Building traces the flow forward once, layer by layer, on a sample of the input's type: that
 * gives each layer's types, declares parameters at their first mention (model_params.c), and
 * creates latents with their priors. Then the arenas are laid out. */
#include <stdlib.h>
#include <string.h>
#include "flow.h"
#include "model_private.h"

/* ---------------------------------------------------------------- the list of layers */

static glow_status add_layer(struct model *m, struct instance *self)
{
    struct layer *fresh = model_grow(m->layers, &m->cap_layers, m->n_layers + 1, sizeof *fresh);
    if (!fresh) {
        instance_free(self);
        return GLOW_ENOMEM;
    }
    m->layers = fresh;
    m->layers[m->n_layers++] = (struct layer){ .self = self };
    return GLOW_OK;
}

/* What an element of a flow is called before equal names are told apart. */
static const char *given_name(const struct config_node *e)
{
    const struct config_node *name = config_member(e, "name"), *id = config_member(e, "layer");
    const char *text = name ? config_string(name) : id ? config_string(id) : "chain";
    return text ? text : "layer";
}

static int count_name(const struct config_node *list, int n, const char *name)
{
    int same = 0;
    for (int i = 0; i < n; i++) same += !strcmp(given_name(config_at(list, i)), name);
    return same;
}

/* A name inside its chain: `name` if given, else the id; the second of the same name gets "_2".
 * Names of parameters begin with it, so that a checkpoint's other tensors must not. */
static glow_status element_name(struct model *m, const struct config_node *list, int index,
                                int depth, const char **own)
{
    const struct config_node *e = config_at(list, index);
    const char *mine = given_name(e);
    int same = count_name(list, index, mine);
    *own =
        same ? bump_print(&m->memory, "%s_%d", mine, same + 1) : bump_print(&m->memory, "%s", mine);
    if (!*own) return fail_memory(64, "model");
    if (same && count_name(list, config_count(list), *own))
        return config_fail(e,
                           "number %d of the name \"%s\" is called \"%s\", but so is another "
                           "element of this flow: expected another name",
                           same + 1, mine, *own);
    if (depth == 0 && (!strcmp(*own, "average") || !strcmp(*own, "optimizer")))
        return config_fail(e,
                           "the name \"%s\" is kept for other tensors of a checkpoint: expected "
                           "another name",
                           *own);
    return GLOW_OK;
}

static bool only_keys(const struct config_node *group, const char *const *allowed,
                      const struct config_node **odd)
{
    for (int i = 0; i < config_count(group); i++) {
        const char *const *k = allowed;
        *odd = config_at(group, i);
        while (*k && strcmp(*k, config_key(*odd))) k++;
        if (!*k) return false;
    }
    return true;
}

static bool good_name(const char *s)
{
    return s && *s &&
           strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-") ==
               strlen(s);
}

static glow_status add_flow(struct model *m, const struct config_node *list, const char *path,
                            int depth);

static glow_status add_chain(struct model *m, const struct config_node *e, const char *path,
                             int depth)
{
    static const char *const keys[] = { "flow", "repeat", "name", NULL };
    const struct config_node *repeat = config_member(e, "repeat"), *odd;
    if (!only_keys(e, keys, &odd))
        return config_fail(odd, "unknown key in a chain; allowed are flow, repeat and name");
    if (repeat &&
        (config_kind(repeat) != CONFIG_INT || config_int(repeat) < 1 || config_int(repeat) > 10000))
        return config_fail(repeat, "repeat must be a whole number from 1 to 10000");
    const struct config_node *flow = config_member(e, "flow");
    if (config_kind(flow) == CONFIG_LIST && config_count(flow) == 0)
        return config_fail(flow, "an empty chain: expected one layer at least");
    for (int64_t i = 0; i < (repeat ? config_int(repeat) : 1); i++) {
        char *inner = repeat ? bump_print(&m->memory, "%s.%lld", path, (long long)i)
                             : bump_print(&m->memory, "%s", path);
        if (!inner) return fail_memory(64, "model");
        TRY(add_flow(m, flow, inner, depth + 1));
    }
    return GLOW_OK;
}

static glow_status add_flow(struct model *m, const struct config_node *list, const char *path,
                            int depth)
{
    static const char *const also[] = { "layer", "name", NULL };
    if (config_kind(list) != CONFIG_LIST)
        return config_fail(list, "flow must be a list: ( { layer = \"...\"; }, ... )");
    if (depth > 20) return config_fail(list, "chains are nested more than 20 deep");
    for (int i = 0; i < config_count(list); i++) {
        const struct config_node *e = config_at(list, i);
        if (config_kind(e) != CONFIG_GROUP)
            return config_fail(e, "expected a group: { layer = \"...\"; } or { flow = ( ... ); }");
        const struct config_node *id = config_member(e, "layer"), *name = config_member(e, "name");
        if (name && !good_name(config_string(name)))
            return config_fail(name, "a name is made of letters, digits, _ and -");
        const char *own;
        TRY(element_name(m, list, i, depth, &own));
        char *inner = bump_print(&m->memory, "%s%s%s", path, *path ? "." : "", own);
        if (!inner) return fail_memory(64, "model");
        if (config_member(e, "flow")) {
            TRY(add_chain(m, e, inner, depth));
            continue;
        }
        if (!id)
            return config_fail(e, "needs `layer` (a plug-in's id) or `flow` (a list of layers)");
        if (!config_string(id))
            return config_fail(id, "layer must be a string, the id of a plug-in");
        if (m->n_layers >= 100000) return config_fail(e, "more than 100000 layers");
        struct instance *self;
        glow_status status = instance_new(&self, m->registry, GLOW_LAYER, config_string(id), e,
                                          also, inner, m->seed);
        if (status != GLOW_OK) return status;
        TRY(add_layer(m, self));
    }
    return GLOW_OK;
}

glow_status model_input_type(const struct config *c, struct glow_type *t)
{
    const struct config_node *n = config_find(c, "model.input");
    *t = (struct glow_type){ .dtype = GLOW_REAL, .batched = 1 };
    if (!n) return GLOW_OK;
    int rank = config_count(n);
    if ((config_kind(n) != CONFIG_ARRAY && config_kind(n) != CONFIG_LIST) ||
        (rank != 1 && rank != 3))
        return config_fail(
            n, "input must be [height, width, channels] for images or [dimensions] for rows");
    for (int i = 0; i < rank; i++) {
        const struct config_node *e = config_at(n, i);
        if (config_kind(e) != CONFIG_INT || config_int(e) < 1 || config_int(e) > 1 << 20)
            return config_fail(n, "input: element %d must be a whole number from 1 to %d", i + 1,
                               1 << 20);
        t->dim[rank == 1 ? 0 : (i + 1) % 3] = config_int(e); /* H,W,C -> C,H,W */
    }
    t->rank = rank;
    return GLOW_OK;
}

/* ---------------------------------------------------------------- stored options */

/* Gives an instance and its children the option values that a checkpoint holds. A child may be one
 * that the plug-in did not have then. */
static glow_status use_stored(const struct model *m, struct instance *self)
{
    const json_t *entry = json_object_get(m->stored, self->path);
    if (entry) {
        const char *id = json_string_value(json_object_get(entry, "id"));
        const json_t *options = json_object_get(entry, "options");
        struct options *old;
        if (!id || strcmp(id, self->info->desc->id))
            return fail(GLOW_EINVAL,
                        "%s: the checkpoint holds \"%s\" here, the configuration \"%s\"",
                        self->path, id ? id : "", self->info->desc->id);
        uint32_t schema = (uint32_t)json_integer_value(json_object_get(entry, "schema"));
        if (schema > self->info->desc->schema)
            return fail(
                GLOW_EINVAL,
                "%s: the checkpoint was written by a newer \"%s\" (schema %u, this one has %u)",
                self->path, id, schema, self->info->desc->schema);
        TRY(options_from_json(&old, self->info->desc, options, schema, self->path));
        options_free(self->options);
        self->options = old;
    }
    for (int i = 0; i < self->n_children; i++) TRY(use_stored(m, self->child[i]));
    return GLOW_OK;
}

/* The same for a layer or prior of the configuration, which must be the checkpoint's. */
static glow_status use_stored_whole(const struct model *m, struct instance *self)
{
    if (!json_object_get(m->stored, self->path))
        return fail(GLOW_EINVAL, "%s: the checkpoint holds nothing here, the configuration \"%s\"",
                    self->path, self->info->desc->id);
    return use_stored(m, self);
}

static int record_instance(json_t *all, const struct instance *self)
{
    const struct glow_desc *d = self->info->desc;
    json_t *options = options_json(self->options);
    json_t *entry =
        json_pack("{s:s, s:s, s:i, s:s, s:s, s:o?}", "kind", kind_name(d->kind), "id", d->id,
                  "schema", (int)d->schema, "plugin", self->info->plugin ? self->info->plugin : "",
                  "version", self->info->version ? self->info->version : "", "options", options);
    if (json_object_set_new(all, self->path, entry)) return -1;
    for (int i = 0; i < self->n_children; i++)
        if (record_instance(all, self->child[i])) return -1;
    return 0;
}

json_t *model_instances(const struct model *m)
{
    json_t *all = json_object();
    int bad = !all;
    for (int i = 0; i < m->n_layers && !bad; i++)
        if (m->layers[i].self) bad = record_instance(all, m->layers[i].self);
    for (int i = 0; i < m->n_priors && !bad; i++) bad = record_instance(all, m->priors[i]);
    if (!bad) return all;
    json_decref(all);
    return NULL;
}

/* ---------------------------------------------------------------- latents */

int model_add_latent(struct model *m, int layer, const char *name, const char *slot,
                     const struct glow_type *type)
{
    struct layer *l = &m->layers[layer];
    const char *path = l->self ? bump_print(&m->memory, "%s.%s", l->self->path, name)
                               : bump_print(&m->memory, "%s", name);
    struct instance *prior = slot && l->self ? instance_child(l->self, slot) : NULL;
    struct latent *fresh = model_grow(m->latents, &m->cap_latents, m->n_latents + 1, sizeof *fresh);
    if (!path || !fresh) return -1;
    m->latents = fresh;
    if (!prior) { /* the model's own prior for latents of that name, one instance each */
        static const char *const also[] = { "type", NULL };
        char *key = bump_print(&m->memory, "model.prior.%s", name);
        const struct config_node *node = key ? config_find(m->config, key) : NULL;
        const struct config_node *id =
            node && config_kind(node) == CONFIG_GROUP ? config_member(node, "type") : node;
        struct instance **list =
            model_grow(m->priors, &m->cap_priors, m->n_priors + 1, sizeof *list);
        if (!list) return -1;
        m->priors = list;
        if (node && (!id || !config_string(id))) {
            config_fail(node, "a prior is a group { type = \"...\"; } or the id of a prior");
            return -1;
        }
        if (instance_new(&prior, m->registry, GLOW_PRIOR, id ? config_string(id) : "normal",
                         node && config_kind(node) == CONFIG_GROUP ? node : NULL, also, path,
                         m->seed) != GLOW_OK)
            return -1;
        m->priors[m->n_priors++] = prior;
        if (m->stored && use_stored_whole(m, prior) != GLOW_OK) return -1;
    }
    if (prior->info->desc->kind != GLOW_PRIOR) {
        fail(GLOW_EINVAL, "%s: option \"%s\" is no prior", path, slot);
        return -1;
    }
    const struct glow_prior *p = (const struct glow_prior *)prior->info->desc;
    struct glow_create c = { sizeof c, 0, *type };
    void *data = NULL;
    if (p->create && p->create(&prior->self, &c, &data) != GLOW_OK) {
        fail_context(GLOW_EINVAL, "%s", path);
        return -1;
    }
    prior->self.data = data;
    const char *group = bump_print(&m->memory, "%s", name);
    if (!group) return -1;
    m->latents[m->n_latents] = (struct latent){ path, group, *type, prior, p->standardise != NULL };
    l->n_latents++;
    return m->n_latents++;
}

double model_temperature(const struct model *m, const struct latent *l)
{
    const struct config_node *group = config_find(m->config, "sample.temperature"), *n = NULL;
    if (!group) return 1;
    if (config_kind(group) == CONFIG_REAL || config_kind(group) == CONFIG_INT)
        return config_real(group);
    for (int i = 0; i < config_count(group) && config_kind(group) == CONFIG_GROUP; i++) {
        const struct config_node *e = config_at(group, i);
        if (!strcmp(config_key(e), l->group) && !n) n = e;
    }
    return n ? config_real(n) : 1;
}

/* ---------------------------------------------------------------- building */

static glow_status create_nets(struct instance *self)
{
    for (int i = 0; i < self->n_children; i++) {
        struct instance *c = self->child[i];
        const struct glow_net *net = (const struct glow_net *)c->info->desc;
        struct glow_create request = { .size = sizeof request };
        void *data = NULL;
        if (net->head.kind == GLOW_NET && net->create &&
            net->create(&c->self, &request, &data) != GLOW_OK)
            return fail_context(GLOW_EINVAL, "%s", c->path);
        if (net->head.kind == GLOW_NET) c->self.data = data;
        TRY(create_nets(c));
    }
    return GLOW_OK;
}

static bool has_net(const struct instance *self)
{
    for (int i = 0; i < self->n_children; i++)
        if (self->child[i]->info->desc->kind == GLOW_NET || has_net(self->child[i])) return true;
    return false;
}

static glow_status create_layer(struct layer *l, const struct glow_type *in)
{
    const struct glow_layer *d = (const struct glow_layer *)l->self->info->desc;
    struct glow_create request = { sizeof request, 0, *in };
    void *data = NULL;
    char text[96];
    l->traits = d->traits;
    l->traits.size = sizeof l->traits;
    l->coupling = has_net(l->self);
    TRY(create_nets(l->self));
    if (d->create && d->create(&l->self->self, &request, &l->traits, &data) != GLOW_OK)
        return fail_context(GLOW_EINVAL, "%s, input %s", l->self->path,
                            type_text(in, text, sizeof text));
    l->self->self.data = data;
    return GLOW_OK;
}

static glow_status build(struct model *m)
{
    glow_status status;
    struct graph *g = NULL;
    struct trace t = { 0 };
    TRY(graph_new(&g, m, m->backend, m->real, 1, GLOW_PHASE_TRAIN));
    TRY_OUT(trace_open(&t, g, TRACE_FORWARD));
    t.building = true;
    t.x = graph_input(g, 0, &m->input);
    for (int i = 0; i < m->n_layers; i++) {
        struct layer *l = &m->layers[i];
        l->in = graph_value(g, t.x)->type;
        l->first_latent = m->n_latents;
        l->first_param = m->n_params;
        if (l->self) TRY_OUT(create_layer(l, &l->in));
        TRY_OUT(trace_layer(&t, i, false));
        l->out = graph_value(g, t.x)->type;
        l->n_params = m->n_params - l->first_param;
    }
    status = g->status;
    if (status == GLOW_OK) status = model_lay_out(m, g);
out:
    trace_close(&t);
    graph_free(g);
    return status;
}

/* The members of a group of the configuration, NULL or anything else than a group being fine, are
 * named like groups of latents. */
static glow_status check_latent_names(const struct model *m, const struct config_node *group)
{
    char have[512] = "";
    for (int i = 0; i < m->n_latents; i++) {
        size_t at = strlen(have);
        bool again = false;
        for (int k = 0; k < i; k++)
            again = again || !strcmp(m->latents[k].group, m->latents[i].group);
        if (!again)
            snprintf(have + at, sizeof have - at, "%s%s", at ? ", " : "", m->latents[i].group);
    }
    for (int i = 0; group && config_kind(group) == CONFIG_GROUP && i < config_count(group); i++) {
        const struct config_node *e = config_at(group, i);
        int k = 0;
        while (k < m->n_latents && strcmp(m->latents[k].group, config_key(e))) k++;
        if (k == m->n_latents)
            return config_fail(e, "this model has no such latents; expected one of %s", have);
    }
    return GLOW_OK;
}

glow_status model_new(struct model **out, struct config *config, struct registry *registry,
                      const struct model_options *o)
{
    glow_status status = GLOW_OK;
    struct model *m = calloc(1, sizeof *m);
    if (!m) {
        config_free(config);
        return fail_memory(sizeof *m, "model");
    }
    m->config = config;
    m->registry = registry;
    m->backend = o->backend;
    m->real = o->real == DT_F64 ? DT_F64 : DT_F32;
    m->seed = o->seed;
    m->stored = o->stored;
    const struct config_node *model = config_find(config, "model"), *odd, *prior;
    static const char *const keys[] = { "input", "flow", "prior", NULL };
    if (!model || config_kind(model) != CONFIG_GROUP || !config_member(model, "flow")) {
        status = config_fail(model ? model : config_root(config),
                             "the configuration has no model: { flow = ( ... ); }");
        goto out;
    }
    if (!only_keys(model, keys, &odd)) {
        status = config_fail(odd, "unknown key in model; allowed are input, flow and prior");
        goto out;
    }
    prior = config_member(model, "prior");
    if (prior && config_kind(prior) != CONFIG_GROUP) {
        status = config_fail(prior, "expected a group with a prior for each kind of latents, as in "
                                    "prior: { y = \"learned\"; }");
        goto out;
    }
    TRY_OUT(model_input_type(config, &m->input));
    if (!m->input.rank) m->input = o->input;
    if (!m->input.rank) {
        status = config_fail(model, "needs input = [height, width, channels] or [dimensions]");
        goto out;
    }
    m->input.dtype = GLOW_REAL;
    m->input.batched = 1;
    if (!m->backend) TRY_OUT(backend_default(&m->backend));
    TRY_OUT(m->backend->open(&m->engine, o->threads));
    TRY_OUT(add_flow(m, config_member(model, "flow"), "", 0));
    for (int i = 0; i < m->n_layers && m->stored; i++)
        TRY_OUT(use_stored_whole(m, m->layers[i].self));
    TRY_OUT(add_layer(m, NULL));
    TRY_OUT(build(m));
    if (!m->stored) TRY_OUT(check_latent_names(m, prior)); /* an older program let them pass */
    TRY_OUT(check_latent_names(m, config_find(config, "sample.temperature")));
    TRY_OUT(model_arena(m, &m->weights, "weights"));
    /* a checkpoint's are read over them */
    for (int i = 0; i < m->n_params && !m->stored; i++) TRY_OUT(model_draw_param(m, i));
    m->stored = NULL;
    *out = m;
    m = NULL;
out:
    model_free(m);
    return status;
}

void model_free(struct model *m)
{
    if (!m) return;
    void *arenas[] = { m->weights, m->gradients, m->moment1, m->moment2, m->average };
    for (size_t i = 0; i < sizeof arenas / sizeof *arenas; i++)
        if (arenas[i]) m->backend->release(m->engine, arenas[i]);
    for (int i = 0; i < m->n_layers; i++) instance_free(m->layers[i].self);
    for (int i = 0; i < m->n_priors; i++) instance_free(m->priors[i]);
    free(m->layers);
    free(m->priors);
    free(m->latents);
    free(m->params);
    if (m->engine) m->backend->close(m->engine);
    config_free(m->config);
    bump_free(&m->memory);
    free(m);
}

int64_t model_dimensions(const struct model *m)
{
    int64_t n = 1;
    for (int i = 0; i < m->input.rank; i++) n *= m->input.dim[i];
    return n;
}

/* model_params.c - parameters of a model: declared at first mention while the flow is traced, then
 * laid out one behind the other. Weights, gradients, moments and averages are arenas of that one
 * layout, so that an optimizer runs over whole sections. */
#include <stdlib.h>
#include <string.h>
#include "model_private.h"
#include "philox.h"

void *model_grow(void *array, int *cap, int need, size_t size)
{
    if (need <= *cap) return array;
    int fresh = *cap ? 2 * *cap : 16;
    void *p = realloc(array, (size_t)fresh * size);
    if (p)
        *cap = fresh;
    else
        fail_memory((size_t)fresh * size, "model");
    return p;
}

int model_find_param(const struct model *m, const char *name)
{
    for (int i = 0; i < m->n_params; i++)
        if (!strcmp(m->params[i].name, name)) return i;
    return -1;
}

static bool good_param(const struct glow_param *p)
{
    return p->size >= sizeof *p && p->name && p->init <= GLOW_INIT_FILL &&
           (p->init != GLOW_INIT_FILL || p->fill) && p->type.rank >= 0 &&
           p->type.rank <= GLOW_MAX_RANK && !p->type.batched;
}

int model_param(struct model *m, const struct instance *who, const struct glow_param *p)
{
    char a[96], b[96];
    if (!good_param(p)) {
        fail(GLOW_EINVAL,
             "%s: a parameter request that is malformed (size, name, init, fill or type)",
             who->path);
        return -1;
    }
    struct glow_type type = p->type;
    type.dtype = GLOW_REAL;
    for (int i = 0; i < type.rank; i++)
        if (type.dim[i] < 1) {
            fail(GLOW_EINVAL, "%s.%s: an empty shape %s", who->path, p->name,
                 type_text(&type, a, sizeof a));
            return -1;
        }
    for (int i = m->n_params - 1; i >= 0; i--) {
        struct param *q = &m->params[i];
        if (q->owner != who || strcmp(q->spec.name, p->name)) continue;
        if (type_equal(&q->type, &type)) return i;
        fail(GLOW_EINVAL, "%s: the parameter is %s, asked for as %s", q->name,
             type_text(&q->type, a, sizeof a), type_text(&type, b, sizeof b));
        return -1;
    }
    if (m->sealed) {
        fail(GLOW_EINVAL, "%s.%s: forward never mentions this parameter", who->path, p->name);
        return -1;
    }
    struct param *fresh = model_grow(m->params, &m->cap_params, m->n_params + 1, sizeof *fresh);
    if (!fresh) return -1;
    m->params = fresh;
    struct param q = {
        .owner = who, .type = type, .flags = p->flags, .spec = *p, .count = type_count(&type)
    };
    q.name = bump_print(&m->memory, "%s.%s", who->path, p->name);
    q.spec.name = bump_print(&m->memory, "%s", p->name);
    q.group = p->group ? bump_print(&m->memory, "%s", p->group) : "";
    q.spec.group = q.group;
    if (!q.name || !q.spec.name || !q.group) {
        fail_memory(64, "model");
        return -1;
    }
    m->params[m->n_params] = q;
    return m->n_params++;
}

/* L2 applies to the first section of an arena, training to the first two, nothing to the third. */
static int section(const struct param *p)
{
    if (p->flags & GLOW_PARAM_FROZEN) return 2;
    return strcmp(p->group, "weight") || (p->flags & GLOW_PARAM_NO_L2) ? 1 : 0;
}

/* A parameter that one chain alone reads, in one place, is kept as the backend likes it there. */
static glow_status choose_packings(struct model *m, const struct graph *g)
{
    int *uses = calloc((size_t)m->n_params + 1, sizeof *uses);
    if (!uses) return fail_memory((size_t)m->n_params * sizeof *uses, "model");
    for (uint32_t i = 1; i < g->n_nodes; i++) {
        const struct node *n = &g->nodes[i];
        const struct op_call c = { .op = n->op,
                                   .n_in = n->n_in,
                                   .n_ai = n->n_ai,
                                   .n_ad = n->n_ad,
                                   .in = n->in,
                                   .ai = n->ai,
                                   .ad = n->ad };
        for (uint32_t k = 0; k < n->n_in; k++) {
            const struct node *maker = graph_maker(g, n->in[k]);
            if (!n->in[k] || maker->op != OP_PARAM) continue;
            struct param *p = &m->params[maker->ai[0]];
            p->packing = uses[maker->ai[0]]++ ? (struct packing){ 0 } : wanted_packing(g, &c, k);
        }
    }
    free(uses);
    return GLOW_OK;
}

glow_status model_lay_out(struct model *m, const struct graph *g)
{
    TRY(choose_packings(m, g));
    for (int s = 0; s < 3; s++) {
        m->section[s] = m->n_elements;
        for (int i = 0; i < m->n_params; i++) {
            struct param *p = &m->params[i];
            if (section(p) != s) continue;
            p->offset = m->n_elements;
            p->stored = p->packing.count ? p->packing.count : p->count;
            m->n_elements += (p->stored + 15) / 16 * 16;
            if (s < 2) m->n_trained += p->count;
        }
    }
    m->section[3] = m->n_elements;
    if (!m->n_elements) m->n_elements = 16;
    m->sealed = true;
    return GLOW_OK;
}

glow_status model_arena(struct model *m, void **p, const char *owner)
{
    if (*p) return GLOW_OK;
    return m->backend->alloc(m->engine, (size_t)m->n_elements * dtype_size(m->real), owner, p);
}

glow_status model_training_arenas(struct model *m, int moments, bool average)
{
    TRY(model_arena(m, &m->gradients, "gradients"));
    if (moments > 0) TRY(model_arena(m, &m->moment1, "first moments"));
    if (moments > 1) TRY(model_arena(m, &m->moment2, "second moments"));
    if (average && !m->average) {
        TRY(model_arena(m, &m->average, "moving average"));
        return backend_copy(m->backend, m->engine, m->average, m->weights,
                            (size_t)m->n_elements * dtype_size(m->real));
    }
    return GLOW_OK;
}

/* Where a parameter lies in an arena, in host memory: the arena's own, or fresh, to be freed. */
static void *host_param(const struct model *m, const void *arena, const struct param *p,
                        void **fresh)
{
    size_t size = dtype_size(m->real);
    *fresh = NULL;
    if (!m->backend->download) return (char *)(uintptr_t)arena + (size_t)p->offset * size;
    *fresh = calloc((size_t)p->stored, size);
    if (!*fresh) fail_memory((size_t)p->stored * size, p->name);
    return *fresh;
}

glow_status model_get(const struct model *m, const void *from, int index, double *out)
{
    const struct param *p = &m->params[index];
    size_t size = dtype_size(m->real);
    void *fresh, *x = host_param(m, from, p, &fresh);
    if (!x) return GLOW_ENOMEM;
    glow_status status = GLOW_OK;
    if (fresh)
        status = m->backend->download(m->engine, x, (const char *)from + (size_t)p->offset * size,
                                      (size_t)p->stored * size);
    for (int64_t i = 0; i < p->count && status == GLOW_OK; i++) {
        const int64_t at = param_position(p, i) - p->offset;
        out[i] = m->real == DT_F64 ? ((const double *)x)[at] : (double)((const float *)x)[at];
    }
    free(fresh);
    return status;
}

glow_status model_set(struct model *m, void *to, int index, const double *in)
{
    const struct param *p = &m->params[index];
    size_t size = dtype_size(m->real);
    void *fresh, *x = host_param(m, to, p, &fresh);
    if (!x) return GLOW_ENOMEM;
    for (int64_t i = 0; i < p->count; i++) {
        const int64_t at = param_position(p, i) - p->offset;
        if (m->real == DT_F64)
            ((double *)x)[at] = in[i];
        else
            ((float *)x)[at] = (float)in[i];
    }
    glow_status status = GLOW_OK;
    if (fresh)
        status = m->backend->upload(m->engine, (char *)to + (size_t)p->offset * size, x,
                                    (size_t)p->stored * size);
    free(fresh);
    return status;
}

glow_status model_draw_param(struct model *m, int index)
{
    const struct param *p = &m->params[index];
    const struct glow_param *s = &p->spec;
    const struct glow_host *host = p->owner->self.host;
    if (s->init == GLOW_INIT_ZERO) return GLOW_OK; /* arenas start zeroed */
    double *x = calloc((size_t)p->count, sizeof *x);
    if (!x) return fail_memory((size_t)p->count * sizeof *x, p->name);
    switch (s->init) {
    case GLOW_INIT_CONSTANT:
        for (int64_t i = 0; i < p->count; i++) x[i] = s->a;
        break;
    case GLOW_INIT_NORMAL:
        host->random(p->owner->seed, hash_string(s->name), GLOW_GAUSS, x, p->count);
        for (int64_t i = 0; i < p->count; i++) x[i] = s->a + s->b * x[i];
        break;
    case GLOW_INIT_UNIFORM:
        host->random(p->owner->seed, hash_string(s->name), GLOW_UNIFORM, x, p->count);
        for (int64_t i = 0; i < p->count; i++) x[i] = s->a + (s->b - s->a) * x[i];
        break;
    default: s->fill(&p->owner->self, s, p->owner->seed, x, p->count);
    }
    glow_status status = model_set(m, m->weights, index, x);
    free(x);
    return status == GLOW_OK ? p->owner->status : status;
}

/* descriptor.c - what a plug-in declares. A struct may be as short as in version 1.0, its missing
 * tail reads as zero; what a newer one has beyond our size is not read. */
#include "descriptor.h"
#include "options.h"
#include <ctype.h>
#include <stddef.h>
#include <string.h>

/* The size of a struct in version 1.0, whose last member is given. Never change a member here. */
#define SIZE_1_0(type, last) (offsetof(struct type, last) + sizeof(((struct type *)0)->last))

enum { MAX_COUNT = 1000 }; /* of options, ports, kernels */

static const struct {
    const char *name;
    size_t oldest, size;
} kinds[] = {
    { "?", 0, 0 },
    { "layer", SIZE_1_0(glow_layer, traits), sizeof(struct glow_layer) },
    { "net", SIZE_1_0(glow_net, properties), sizeof(struct glow_net) },
    { "prior", SIZE_1_0(glow_prior, restore), sizeof(struct glow_prior) },
    { "dataset", SIZE_1_0(glow_dataset, worker_close), sizeof(struct glow_dataset) },
    { "custom", SIZE_1_0(glow_custom, kernel_size), sizeof(struct glow_custom) },
};

const char *descriptor_kind_name(uint32_t kind)
{
    return kinds[kind < GLOW_COUNT(kinds) ? kind : 0].name;
}

glow_status descriptor_check_plugin(const struct glow_plugin *p, size_t available)
{
    const size_t oldest = SIZE_1_0(glow_plugin, descs);
    if (available < oldest || p->size < oldest)
        return fail(GLOW_EINVAL, GLOW_PLUGIN_SYMBOL ": size: %zu bytes; version 1.0 has %zu",
                    available < oldest ? available : p->size, oldest);
    if (p->size > available)
        return fail(GLOW_EINVAL, GLOW_PLUGIN_SYMBOL ": size: it claims %u bytes, but has %zu",
                    p->size, available);
    if (p->minor > GLOW_ABI_MINOR)
        return fail(GLOW_EINVAL,
                    GLOW_PLUGIN_SYMBOL ": minor: it needs ABI 1.%u, this glow has 1.%u", p->minor,
                    GLOW_ABI_MINOR);
    if (!p->descs) return fail(GLOW_EINVAL, GLOW_PLUGIN_SYMBOL ": descs: NULL");
    return GLOW_OK;
}

static glow_status bad_field(const struct glow_desc *d, const char *field, const char *why)
{
    return fail(GLOW_EINVAL, "%s \"%s\": %s: %s", descriptor_kind_name(d->kind), d->id, field, why);
}

static glow_status required(const struct glow_desc *d, const char *field, bool present)
{
    return present ? GLOW_OK : bad_field(d, field, "NULL, but a callback is required");
}

static glow_status both_or_none(const struct glow_desc *d, const char *fields, bool a, bool b)
{
    return a == b ? GLOW_OK : bad_field(d, fields, "both or none must be given");
}

/* Copies a table of n records, `stride` bytes apart, into records of `size` bytes. */
static glow_status copy_table(const struct glow_desc *d, const char *field, const void *table,
                              uint32_t n, uint32_t stride, size_t oldest, size_t size,
                              struct bump *memory, const void **copy)
{
    *copy = NULL;
    if (n == 0) return GLOW_OK;
    if (n > MAX_COUNT || !table) return bad_field(d, field, table ? "too many" : "NULL");
    if (stride < oldest)
        return fail(GLOW_EINVAL, "%s \"%s\": %s: records of %u bytes; version 1.0 has %zu",
                    descriptor_kind_name(d->kind), d->id, field, stride, oldest);
    char *records = bump_alloc(memory, n * size);
    if (!records) return fail_memory(n * size, d->id);
    for (uint32_t i = 0; i < n; i++)
        memcpy(records + i * size, (const char *)table + (size_t)i * stride,
               stride < size ? stride : size);
    *copy = records;
    return GLOW_OK;
}

static glow_status check_layer(const struct glow_layer *l)
{
    const struct glow_desc *d = &l->head;
    const struct glow_traits *t = &l->traits;
    TRY(required(d, "forward", l->forward));
    if (t->size < SIZE_1_0(glow_traits, rtol))
        return fail(GLOW_EINVAL,
                    "layer \"%s\": traits.size: %u; version 1.0 has %zu (GLOW_BIJECTION)", d->id,
                    t->size, SIZE_1_0(glow_traits, rtol));
    if (t->left > GLOW_INV_EXACT || t->right > GLOW_INV_EXACT)
        return bad_field(d, "traits", "left and right are GLOW_INV_NONE, _APPROX or _EXACT");
    if (!l->inverse && (t->left || t->right))
        return bad_field(d, "traits", "an inverse is claimed, but `inverse` is NULL");
    return GLOW_OK;
}

static glow_status check_net(struct glow_net *n, struct bump *memory)
{
    const void *ports;
    TRY(required(&n->head, "forward", n->forward));
    TRY(copy_table(&n->head, "ports", n->ports, n->n_ports, n->port_size,
                   SIZE_1_0(glow_port, reserved), sizeof *n->ports, memory, &ports));
    n->ports = ports;
    n->port_size = sizeof *n->ports;
    for (uint32_t i = 0; i < n->n_ports; i++)
        if (!n->ports[i].name || n->ports[i].direction > GLOW_PORT_OUT)
            return bad_field(&n->head, "ports", "a port needs a name and a direction");
    return GLOW_OK;
}

static glow_status check_prior(const struct glow_prior *p)
{
    TRY(required(&p->head, "log_density", p->log_density));
    TRY(required(&p->head, "sample", p->sample));
    return both_or_none(&p->head, "standardise, restore", p->standardise, p->restore);
}

static glow_status check_dataset(const struct glow_dataset *d)
{
    TRY(required(&d->head, "open", d->open));
    TRY(required(&d->head, "close", d->close));
    TRY(required(&d->head, "read", d->read));
    return both_or_none(&d->head, "worker_open, worker_close", d->worker_open, d->worker_close);
}

/* What the bytes hold is for the backend to say. */
static glow_status check_image(const struct glow_desc *d, const struct glow_kernel *k)
{
    if (!strcmp(k->backend, "cpu"))
        return bad_field(d, "kernels", "an image is for \"cuda\"; \"cpu\" takes a function, run");
    if (k->run || k->scratch)
        return bad_field(d, "kernels", "an image goes without run and scratch");
    if (!k->entry || !*k->entry)
        return bad_field(d, "kernels", "an image needs the name of an entry");
    if ((uintptr_t)k->image_end <= (uintptr_t)k->image)
        return bad_field(d, "kernels", "image_end must stand behind image");
    return GLOW_OK;
}

static glow_status check_custom(struct glow_custom *c, struct bump *memory)
{
    const void *kernels;
    TRY(required(&c->head, "infer", c->infer));
    TRY(required(&c->head, "decompose", c->decompose));
    TRY(copy_table(&c->head, "kernels", c->kernels, c->n_kernels, c->kernel_size,
                   SIZE_1_0(glow_kernel, scratch), sizeof *c->kernels, memory, &kernels));
    c->kernels = kernels;
    c->kernel_size = sizeof *c->kernels;
    for (uint32_t i = 0; i < c->n_kernels; i++) {
        const struct glow_kernel *k = &c->kernels[i];
        if (!k->backend || (!k->run && !k->image))
            return bad_field(&c->head, "kernels", "backend and run, or an image, are required");
        if (k->dtype != GLOW_F32 && k->dtype != GLOW_F64)
            return bad_field(&c->head, "kernels", "dtype is GLOW_F32 or GLOW_F64");
        if (k->image) TRY(check_image(&c->head, k));
    }
    return GLOW_OK;
}

bool descriptor_is_id(const char *id)
{
    size_t n = strlen(id);
    for (const char *p = id; *p; p++)
        if (!isalnum((unsigned char)*p) && *p != '_' && *p != '-') return false;
    return n > 0 && n < 64 && isalpha((unsigned char)id[0]);
}

/* What a descriptor of that kind must hold beyond its head. */
static glow_status check_kind(struct glow_desc *d, struct bump *memory)
{
    switch (d->kind) {
    case GLOW_LAYER: return check_layer((const struct glow_layer *)d);
    case GLOW_NET: return check_net((struct glow_net *)d, memory);
    case GLOW_PRIOR: return check_prior((const struct glow_prior *)d);
    case GLOW_DATASET: return check_dataset((const struct glow_dataset *)d);
    default: return check_custom((struct glow_custom *)d, memory);
    }
}

glow_status descriptor_copy(const struct glow_desc *given, struct bump *memory,
                            const struct glow_desc **copy)
{
    *copy = NULL;
    const char *id = given->id ? given->id : "(NULL)";
    if (given->size < sizeof *given)
        return fail(GLOW_EINVAL, "a descriptor: size: %u; its head alone has %zu", given->size,
                    sizeof *given);
    if (given->kind == 0 || given->kind >= GLOW_COUNT(kinds)) {
        note(0, "\"%s\": skipped, this glow knows no plug-ins of kind %u", id, given->kind);
        return GLOW_OK;
    }
    const char *kind = kinds[given->kind].name;
    size_t size = kinds[given->kind].size, oldest = kinds[given->kind].oldest;
    if (!given->id) return fail(GLOW_EINVAL, "a %s: id: NULL", kind);
    if (!descriptor_is_id(id))
        return fail(GLOW_EINVAL,
                    "%s \"%.80s\": id: a letter, then letters, digits, _ or -, at most 63", kind,
                    id);
    if (given->size < oldest)
        return fail(GLOW_EINVAL, "%s \"%s\": size: %u; version 1.0 has %zu, this glow (1.%u) %zu",
                    kind, id, given->size, oldest, GLOW_ABI_MINOR, size);
    struct glow_desc *d = bump_alloc(memory, size);
    if (!d) return fail_memory(size, id);
    memcpy(d, given, given->size < size ? given->size : size);
    d->size = (uint32_t)size;
    const void *options;
    if (d->option_size < SIZE_1_0(glow_option, slot_needs))
        return fail(GLOW_EINVAL, "%s \"%s\": option_size: %u; version 1.0 has %zu", kind, id,
                    d->option_size, SIZE_1_0(glow_option, slot_needs));
    TRY(copy_table(d, "options", given->options, given->n_options, given->option_size,
                   SIZE_1_0(glow_option, slot_needs), sizeof *d->options, memory, &options));
    d->options = options;
    d->option_size = sizeof *d->options;
    if (!d->summary) d->summary = "";
    TRY(check_kind(d, memory));
    TRY(options_check_records(d));
    *copy = d;
    return GLOW_OK;
}

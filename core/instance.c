/* instance.c - instances of plug-ins: options, children, and the services that their callbacks find
 * in self->host. The services are pure functions of the instance but for `fail`, which sets its
 * status. */
#include "instance.h"
#include "backend.h"
#include "philox.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MAX_DEPTH = 16 }; /* of children of children */

static const char *const type_key[] = { "type", NULL };

/* ---------------------------------------------------------------- the host table */

/* Records an error and its message. Datasets call this from several threads. */
static void set_status(const struct glow_self *self, const char *why)
{
    struct instance *instance = instance_of(self);
    fail(GLOW_EINVAL, "%s (%s, %s): %s", instance->path, instance->info->desc->id,
         instance->info->file, why);
    __atomic_store_n(&instance->status, GLOW_EINVAL, __ATOMIC_RELAXED);
}

static const struct options *options_of(const struct glow_self *self)
{
    return instance_of(self)->options;
}

static void check_found(const struct glow_self *self, const char *key, bool found)
{
    char why[200];
    /* what fails later often follows from the first wrong key */
    if (found || __atomic_load_n(&instance_of(self)->status, __ATOMIC_RELAXED)) return;
    snprintf(why, sizeof why,
             "it reads the option \"%.80s\", which its descriptor does not list with "
             "that type",
             key);
    set_status(self, why);
}

static int64_t host_opt_int(const struct glow_self *self, const char *key)
{
    bool found;
    int64_t value = options_int(options_of(self), key, &found);
    check_found(self, key, found);
    return value;
}

static double host_opt_real(const struct glow_self *self, const char *key)
{
    bool found;
    double value = options_real(options_of(self), key, &found);
    check_found(self, key, found);
    return value;
}

static const char *host_opt_string(const struct glow_self *self, const char *key)
{
    bool found;
    const char *value = options_string(options_of(self), key, &found);
    check_found(self, key, found);
    return value;
}

static int64_t host_opt_count(const struct glow_self *self, const char *key)
{
    bool found;
    int64_t value = options_count(options_of(self), key, &found);
    check_found(self, key, found);
    return value;
}

static double host_opt_real_at(const struct glow_self *self, const char *key, int64_t i)
{
    bool found;
    double value = options_real_at(options_of(self), key, i, &found);
    check_found(self, key, found);
    return value;
}

static const char *host_opt_string_at(const struct glow_self *self, const char *key, int64_t i)
{
    bool found;
    const char *value = options_string_at(options_of(self), key, i, &found);
    check_found(self, key, found);
    return value;
}

static void host_fail(const struct glow_self *self, const char *why)
{
    set_status(self, why ? why : "no reason given");
}

static void host_log(const struct glow_self *self, int32_t level, const char *msg)
{
    note(level > 0, "%s: %s", instance_of(self)->path, msg ? msg : "");
}

static int32_t host_progress(const struct glow_self *self, int64_t done, int64_t total)
{
    int64_t part = total > 100 ? total / 100 : 1;
    if (isatty(STDERR_FILENO) && total > 0 && (done >= total || done % part == 0))
        fprintf(stderr, "\r%s: %lld of %lld (%d%%)%s", instance_of(self)->path, (long long)done,
                (long long)total, (int)(100.0 * (double)done / (double)total),
                done >= total ? "\n" : "");
    return cancel_requested != 0;
}

/* Element i is word i % 4 of block i / 4 of the stream; GAUSS takes the words in pairs. */
static void host_random(uint64_t seed, uint64_t stream, uint32_t dist, double *out, int64_t n)
{
    cpu_random(seed, stream, dist == GLOW_GAUSS ? GLOW_GAUSS : GLOW_UNIFORM, out, n);
}

/* Makes a directory and those above it. */
static bool make_directories(char *path)
{
    for (char *p = path + 1; *p; p++) {
        if (*p != '/') continue;
        *p = '\0';
        int bad = mkdir(path, 0700) && errno != EEXIST;
        *p = '/';
        if (bad) return false;
    }
    return (mkdir(path, 0700) == 0 || errno == EEXIST) && access(path, W_OK | X_OK) == 0;
}

static const char *host_cache_dir(const struct glow_self *self)
{
    static _Thread_local char path[4096];
    const char *own = getenv("GLOW_CACHE_DIR"), *xdg = getenv("XDG_CACHE_HOME"),
               *home = getenv("HOME");
    int n = -1;
    (void)self;
    if (own && *own)
        n = snprintf(path, sizeof path, "%s", own);
    else if (xdg && *xdg)
        n = snprintf(path, sizeof path, "%s/glow", xdg);
    else if (home && *home)
        n = snprintf(path, sizeof path, "%s/.cache/glow", home);
    return n > 0 && n < (int)sizeof path && make_directories(path) ? path : "";
}

/* This host has no tables beyond version 1.0. */
static const void *host_get(const struct glow_host *host, const char *id)
{
    (void)host;
    (void)id;
    return NULL;
}

static const struct glow_host host_table = {
    .size = sizeof(struct glow_host),
    .minor = GLOW_ABI_MINOR,
    .get = host_get,
    .opt_int = host_opt_int,
    .opt_real = host_opt_real,
    .opt_string = host_opt_string,
    .opt_count = host_opt_count,
    .opt_real_at = host_opt_real_at,
    .opt_string_at = host_opt_string_at,
    .fail = host_fail,
    .log = host_log,
    .progress = host_progress,
    .random = host_random,
    .cache_dir = host_cache_dir,
};

/* ---------------------------------------------------------------- making instances */

/* Puts the place in glow.cfg, or else the path, before the message. */
static glow_status locate(glow_status status, const struct config_node *node, const char *path)
{
    if (status != GLOW_EINVAL) return status;
    return node ? config_fail(node, "%s", fail_message()) : fail_context(status, "%s", path);
}

/* A child network must have the properties that its slot asks for. */
static glow_status check_needs(const struct glow_option *slot, const struct glow_desc *child)
{
    static const char *const names[] = { "autoregressive", "lipschitz", "monotone", "image",
                                         "row" };
    char missing[200] = "";
    if (child->kind != GLOW_NET) return GLOW_OK;
    uint64_t lacks = slot->slot_needs & ~((const struct glow_net *)child)->properties;
    for (unsigned bit = 0; bit < 64; bit++) {
        if (!(lacks >> bit & 1)) continue;
        size_t used = strlen(missing);
        if (bit < GLOW_COUNT(names))
            snprintf(missing + used, sizeof missing - used, "%s%s", used ? ", " : "", names[bit]);
        else
            snprintf(missing + used, sizeof missing - used, "%sproperty %u", used ? ", " : "", bit);
    }
    if (!lacks) return GLOW_OK;
    return fail(GLOW_EINVAL, "net \"%s\" does not serve here, it is not: %s", child->id, missing);
}

/* `named` is the setting that names the plug-in: the group itself, or a child's id as a string. */
static glow_status make(struct instance **, struct registry *, uint32_t kind, const char *id,
                        const struct config_node *group, const struct config_node *named,
                        const char *const *also, const char *path, uint64_t model_seed, int depth);

static glow_status make_child(struct instance *parent, struct registry *registry,
                              const struct glow_option *slot, uint64_t model_seed, int depth)
{
    char path[1024];
    struct instance *child;
    const char *id = options_string(parent->options, slot->key, NULL);
    const struct config_node *node = options_child(parent->options, slot->key);
    bool is_group = node && config_kind(node) == CONFIG_GROUP;
    if (!*id) return GLOW_OK;
    if (snprintf(path, sizeof path, "%s.%s", parent->path, slot->key) >= (int)sizeof path)
        return locate(fail(GLOW_EINVAL, "the path of this instance is too long"), node,
                      parent->path);
    TRY(make(&child, registry, slot->slot_kind, id, is_group ? node : NULL, node, type_key, path,
             model_seed, depth + 1));
    parent->slot[parent->n_children] = slot->key;
    parent->child[parent->n_children++] = child;
    return locate(check_needs(slot, child->info->desc), node, path);
}

static glow_status make_children(struct instance *instance, struct registry *registry,
                                 uint64_t model_seed, int depth)
{
    const struct glow_desc *desc = instance->info->desc;
    uint32_t n = 0;
    for (uint32_t i = 0; i < desc->n_options; i++) n += desc->options[i].type == GLOW_OPT_CHILD;
    if (n == 0) return GLOW_OK;
    instance->child = calloc(n, sizeof *instance->child);
    instance->slot = calloc(n, sizeof *instance->slot);
    if (!instance->child || !instance->slot) return fail_memory(n * sizeof(void *), instance->path);
    for (uint32_t i = 0; i < desc->n_options; i++)
        if (desc->options[i].type == GLOW_OPT_CHILD)
            TRY(make_child(instance, registry, &desc->options[i], model_seed, depth));
    return GLOW_OK;
}

static glow_status make(struct instance **out, struct registry *registry, uint32_t kind,
                        const char *id, const struct config_node *group,
                        const struct config_node *named, const char *const *also, const char *path,
                        uint64_t model_seed, int depth)
{
    const struct plugin_info *info;
    *out = NULL;
    if (depth > MAX_DEPTH)
        return locate(fail(GLOW_EINVAL, "plug-ins nest more than %d deep", MAX_DEPTH), named, path);
    glow_status status = registry_find(registry, kind, id, &info);
    if (status) return locate(status, named, path);
    struct instance *instance = calloc(1, sizeof *instance);
    if (!instance) return fail_memory(sizeof *instance, path);
    instance->info = info;
    instance->path = strdup(path);
    instance->self = (struct glow_self){ &host_table, instance->path, NULL };
    instance->seed = hash_mix(model_seed ^ hash_string(path));
    if (!instance->path) {
        status = fail_memory(strlen(path), path);
        goto out;
    }
    status = options_resolve(&instance->options, info->desc, group, also, path);
    if (status && named && !group) locate(status, named, path);
    TRY_OUT(status);
    TRY_OUT(make_children(instance, registry, model_seed, depth));
    *out = instance;
    return GLOW_OK;
out:
    instance_free(instance);
    return status;
}

glow_status instance_new(struct instance **out, struct registry *registry, uint32_t kind,
                         const char *id, const struct config_node *group, const char *const *also,
                         const char *path, uint64_t model_seed)
{
    return make(out, registry, kind, id, group, group, also, path, model_seed, 0);
}

/* Gives what `create` returned back to the plug-in. */
static void destroy_data(const struct instance *instance)
{
    void *data = (void *)(uintptr_t)instance->self.data;
    const struct glow_desc *desc = instance->info->desc;
    void (*destroy)(void *) = NULL;
    if (desc->kind == GLOW_LAYER)
        destroy = ((const struct glow_layer *)desc)->destroy;
    else if (desc->kind == GLOW_NET)
        destroy = ((const struct glow_net *)desc)->destroy;
    else if (desc->kind == GLOW_PRIOR)
        destroy = ((const struct glow_prior *)desc)->destroy;
    if (data && destroy) destroy(data);
}

void instance_free(struct instance *instance)
{
    if (!instance) return;
    destroy_data(instance);
    for (int i = 0; i < instance->n_children; i++) instance_free(instance->child[i]);
    free(instance->child);
    free(instance->slot);
    options_free(instance->options);
    free(instance->path);
    free(instance);
}

struct instance *instance_child(const struct instance *instance, const char *slot)
{
    for (int i = 0; i < instance->n_children; i++)
        if (!strcmp(instance->slot[i], slot)) return instance->child[i];
    return NULL;
}

glow_status instance_status(const struct instance *instance)
{
    glow_status status = __atomic_load_n(&instance->status, __ATOMIC_RELAXED);
    for (int i = 0; i < instance->n_children && !status; i++)
        status = instance_status(instance->child[i]);
    return status;
}

/* instance.h - one configured use of a plug-in: what its callbacks know as `self`. Holds the
 * resolved options, the children of its CHILD options, and the host's service table. */
#ifndef CORE_INSTANCE_H
#define CORE_INSTANCE_H
#include "options.h"
#include "registry.h"

struct instance {
    struct glow_self self; /* first: the plug-in's view. self.data is set by `create` */
    const struct plugin_info *info;
    struct options *options;
    char *path;
    uint64_t seed;           /* of initial parameters: a function of model seed and path */
    struct instance **child; /* one per CHILD option that is not "" */
    const char **slot;       /* its option key */
    int n_children;
    glow_status status; /* what host->fail recorded, GLOW_OK if nothing */
};

/* Makes an instance and, recursively, its children, at path "<path>.<slot>". `group` (may be NULL)
 * holds the options; `also` lists further keys that the caller reads (NULL-terminated, may be
 * NULL). */
glow_status instance_new(struct instance **, struct registry *, uint32_t kind, const char *id,
                         const struct config_node *group, const char *const *also, const char *path,
                         uint64_t model_seed);
void instance_free(struct instance *); /* children too; calls the plug-in's destroy on self.data */
struct instance *instance_child(const struct instance *, const char *slot); /* or NULL */
/* The status of the instance or else of a child: what it did wrong in a callback that returns
 * nothing. */
glow_status instance_status(const struct instance *);
static inline struct instance *instance_of(const struct glow_self *self)
{
    return (struct instance *)(uintptr_t)self;
}
/* Where datasets may cache decoded data: $GLOW_CACHE_DIR, or $XDG_CACHE_HOME/glow, or
 * ~/.cache/glow. */
#endif

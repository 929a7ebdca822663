/* registry.h - finds, checks and loads plug-ins. dlfcn.h is included in registry.c only.
 *
 * Search path, first match wins: GLOW_PLUGIN_PATH (colon-separated), then `plugin_path` of
 * glow.cfg, then the build tree or ./plugins and its subdirectories, then the installed directory.
 * Data is checked before anything is called: symbol, sizes, minor, kinds, ids, options, required
 * callbacks. */
#ifndef CORE_REGISTRY_H
#define CORE_REGISTRY_H
#include "config.h"

struct registry;
struct plugin_info { /* one descriptor and where it came from */
    const struct glow_desc
        *desc; /* a full-size, zero-extended copy: as large as this host's struct */
    const char *file, *plugin, *version, *license;
    uint32_t minor;
};

/* Opens a registry over the search path; `cfg` (may be NULL) gives plugin_path. Nothing is loaded
 * yet but a list of files; plug-ins are loaded when an id is first asked for. */
glow_status registry_open(struct registry **, const struct config *cfg);
void registry_free(struct registry *);
/* When this program runs from its build tree, BUILD/host or BUILD/tests/.., then BUILD; else false.
 */
bool registry_build_tree(char *dir, size_t size);
/* Loads one file, whatever its directory. Errors name file, id, field and versions. */
glow_status registry_load_file(struct registry *, const char *path);
/* Loads all plug-ins of the search path; files that are refused are listed on stderr as warnings,
 * and their number is returned in *refused (may be NULL). */
glow_status registry_load_all(struct registry *, int *refused);
/* The descriptor of that kind and id; the error lists what is there and where was looked, and why
 * a file of that name was refused. */
glow_status registry_find(struct registry *, uint32_t kind, const char *id,
                          const struct plugin_info **);
int registry_count(const struct registry *); /* loaded descriptors */
const struct plugin_info *registry_at(const struct registry *, int i);
const char *kind_name(uint32_t kind); /* "layer", "net", ... */
#endif

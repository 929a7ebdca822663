/* plugins.c - `glow plugins`: every plug-in of the search path. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "config.h"
#include "registry.h"
#include "arguments.h"

static int compare(const void *a, const void *b)
{
    const struct plugin_info *x = *(const struct plugin_info *const *)a,
                             *y = *(const struct plugin_info *const *)b;
    if (x->desc->kind != y->desc->kind) return x->desc->kind < y->desc->kind ? -1 : 1;
    return strcmp(x->desc->id, y->desc->id);
}

static glow_status print_table(struct registry *r, int refused)
{
    int n = registry_count(r);
    const struct plugin_info **list = calloc((size_t)n + 1, sizeof *list);
    if (!list) return fail_memory((size_t)n * sizeof *list, "plug-ins");
    for (int i = 0; i < n; i++) list[i] = registry_at(r, i);
    qsort(list, (size_t)n, sizeof *list, compare);
    printf("%-8s %-16s %-8s %-52s %s\n", "kind", "id", "version", "summary", "file");
    for (int i = 0; i < n; i++)
        printf("%-8s %-16s %-8s %-52s %s\n", kind_name(list[i]->desc->kind), list[i]->desc->id,
               list[i]->version, list[i]->desc->summary, list[i]->file);
    free(list);
    if (refused)
        note(1, "%d file%s refused, for the reasons above", refused,
             refused == 1 ? " was" : "s were");
    return GLOW_OK;
}

static int run(const struct command *c, int argc, char **argv)
{
    const char *path = NULL;
    int first, refused;
    struct config *config = NULL;
    struct registry *r = NULL;
    const struct argument table[] = {
        { "config", 0, ARGUMENT_TEXT, "CFG", "a configuration whose plugin_path is searched too",
          &path, NULL },
    };
    TRY(arguments_parse(c, table, sizeof table / sizeof *table, argc, argv, 0, 0, &first));
    glow_status status = path ? config_load(&config, path) : GLOW_OK;
    if (status == GLOW_OK) status = registry_open(&r, config);
    if (status == GLOW_OK) status = registry_load_all(r, &refused);
    if (status == GLOW_OK) status = print_table(r, refused);
    registry_free(r);
    config_free(config);
    return status;
}

const struct command plugins_command = { "plugins", "list the plug-ins and where they come from",
                                         "[OPTION...]", run };

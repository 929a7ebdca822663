/* check.c - `glow check`: the conformance suite on plug-ins, ours or a stranger's. */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "arguments.h"
#include "config.h"
#include "conform.h"

struct request {
    const char *config;
    bool verbose;
    struct overrides options;
    char *extra; /* the options as configuration text, for every case */
    int checked, failed;
};

/* "path=/data" becomes `path = "/data";`, as config_set understands it. */
static glow_status options_text(const struct overrides *options, char **text)
{
    struct config *c = NULL;
    char assignment[4096], value[4096];
    size_t size;
    glow_status status = GLOW_OK;
    FILE *f = open_memstream(text, &size);
    if (!f) return fail_memory(1, "options");
    TRY_OUT(config_parse(&c, "plugin = { };", "--set"));
    for (int i = 0; i < options->n; i++) {
        snprintf(assignment, sizeof assignment, "plugin.%s", options->text[i]);
        TRY_OUT(config_set(c, assignment));
    }
    const struct config_node *group = config_find(c, "plugin");
    for (int i = 0; i < config_count(group); i++) {
        const struct config_node *option = config_at(group, i);
        fprintf(f, "%s = %s; ", config_key(option), config_value_text(option, value, sizeof value));
    }
out:
    fclose(f);
    config_free(c);
    return status;
}

static glow_status check_plugin(struct request *q, struct registry *r, const struct plugin_info *p)
{
    struct conform_report report = { 0 };
    printf("%s %s, %s\n", kind_name(p->desc->kind), p->desc->id, p->file);
    glow_status status = conform_run(r, p, q->extra, &report);
    if (status == GLOW_OK) conform_print(stdout, &report, q->verbose);
    fflush(stdout);
    q->checked++;
    q->failed += report.failed > 0;
    conform_free(&report);
    return status;
}

/* Everything in a file. */
static glow_status check_file(struct request *q, struct registry *r, const char *path)
{
    glow_status status = registry_load_file(r, path);
    if (status != GLOW_OK)
        return status == GLOW_EIO ? GLOW_EINVAL : status; /* a name that is wrong */
    int n = registry_count(r);
    if (n == 0) return fail(GLOW_EINVAL, "%s: it offers nothing that this glow knows", path);
    for (int i = 0; i < n; i++) TRY(check_plugin(q, r, registry_at(r, i)));
    return GLOW_OK;
}

/* Everything of that id: a layer and a custom operation may share one. */
static glow_status check_id(struct request *q, struct registry *r, const char *id)
{
    bool found = false;
    TRY(registry_load_all(r, NULL));
    for (int i = 0, n = registry_count(r); i < n; i++) {
        if (strcmp(registry_at(r, i)->desc->id, id)) continue;
        found = true;
        TRY(check_plugin(q, r, registry_at(r, i)));
    }
    if (found) return GLOW_OK;
    return fail(GLOW_EINVAL,
                "no plug-in \"%s\", nor a file of that name; `glow plugins` lists them", id);
}

static bool is_file(const char *word)
{
    size_t n = strlen(word);
    return strchr(word, '/') || (n > 3 && !strcmp(word + n - 3, ".so"));
}

/* Each argument has a registry of its own: the plug-in that is named is the one that is checked,
 * though another one of the same id stands in the search path. */
static glow_status check(struct request *q, const char *word)
{
    struct config *config = NULL;
    struct registry *r = NULL;
    glow_status status = q->config ? config_load(&config, q->config) : GLOW_OK;
    if (status == GLOW_OK) status = registry_open(&r, config);
    if (status == GLOW_OK) status = is_file(word) ? check_file(q, r, word) : check_id(q, r, word);
    registry_free(r);
    config_free(config);
    return status;
}

static int run(const struct command *c, int argc, char **argv)
{
    struct request q = { 0 };
    int first;
    const struct argument table[] = {
        { "set", 0, ARGUMENT_OVERRIDE, "KEY=VALUE",
          "an option of the plug-in in every case: --set path=/data; may be repeated", &q.options,
          NULL },
        { "verbose", 'v', ARGUMENT_FLAG, NULL,
          "list all checks, with their numbers, not only those that fail", &q.verbose, NULL },
        { "config", 0, ARGUMENT_TEXT, "CFG", "a configuration whose plugin_path is searched too",
          &q.config, NULL },
    };
    int result = arguments_parse(c, table, sizeof table / sizeof *table, argc, argv, 1, -1, &first);
    if (result == GLOW_OK) result = options_text(&q.options, &q.extra);
    for (int i = first; i < argc && result == GLOW_OK; i++) result = check(&q, argv[i]);
    if (result == GLOW_OK && q.failed) {
        fail(GLOW_EINVAL, "%d of %d plug-ins failed", q.failed, q.checked);
        result = COMMAND_FAILED;
    }
    overrides_free(&q.options);
    free(q.extra);
    return result;
}

const struct command check_command = { "check", "test whether plug-ins keep their promises",
                                       "FILE.so|ID... [OPTION...]", run };

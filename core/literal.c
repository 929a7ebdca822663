/* literal.c - values as they were written, and their check against an option record. */
#include "literal.h"
#include "range.h"
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---------------------------------------------------------------- where they come from */

static const char *copy_string(struct bump *memory, const char *s)
{
    return bump_copy(memory, s, strlen(s) + 1);
}

glow_status literal_from_node(struct literal *l, const struct config_node *node,
                              struct bump *memory)
{
    *l = (struct literal){ .kind = config_kind(node), .n = config_count(node) };
    l->integer = config_int(node);
    l->real = config_real(node);
    const struct config_node *type = l->kind == CONFIG_GROUP ? config_member(node, "type") : node;
    const char *s = type ? config_string(type) : NULL;
    if (s && !(l->string = copy_string(memory, s))) return fail_memory(strlen(s), "options");
    if ((l->kind != CONFIG_LIST && l->kind != CONFIG_ARRAY) || l->n == 0) return GLOW_OK;
    struct literal *item = bump_alloc(memory, (size_t)l->n * sizeof *item);
    if (!item) return fail_memory((size_t)l->n * sizeof *item, "options");
    for (int i = 0; i < l->n; i++) TRY(literal_from_node(&item[i], config_at(node, i), memory));
    l->item = item;
    return GLOW_OK;
}

static bool is_text(uint32_t type)
{
    return type == GLOW_OPT_STRING || type == GLOW_OPT_ENUM || type == GLOW_OPT_PATH ||
           type == GLOW_OPT_CHILD;
}

glow_status literal_from_text(struct literal *l, const char *text, uint32_t type,
                              struct bump *memory)
{
    char *end;
    *l = (struct literal){ .kind = CONFIG_STRING, .string = text };
    if (is_text(type) && text[0] != '"') return GLOW_OK;
    if (!strcmp(text, "true") || !strcmp(text, "false")) {
        *l = (struct literal){ .kind = CONFIG_BOOL, .integer = text[0] == 't' };
        return GLOW_OK;
    }
    /* plain numbers need no parser, and a model asks for thousands of them */
    errno = 0;
    l->integer = strtoll(text, &end, 10);
    if (end > text && !*end && !errno) {
        l->kind = CONFIG_INT;
        return GLOW_OK;
    }
    l->real = strtod(text, &end);
    if (end > text && !*end && strpbrk(text, "0123456789")) {
        l->kind = CONFIG_REAL;
        return GLOW_OK;
    }
    struct config *config = NULL;
    char *line = bump_print(memory, "value = %s;", text);
    if (!line) return fail_memory(strlen(text), "options");
    if (config_parse(&config, line, text))
        return fail(GLOW_EINVAL, "%s is no configuration text", text);
    glow_status status = literal_from_node(l, config_at(config_root(config), 0), memory);
    config_free(config);
    return status;
}

glow_status literal_from_json(struct literal *l, const json_t *json, struct bump *memory)
{
    *l = (struct literal){ .kind = CONFIG_GROUP };
    switch (json_typeof(json)) {
    case JSON_INTEGER:
        l->kind = CONFIG_INT;
        l->integer = json_integer_value(json);
        return GLOW_OK;
    case JSON_REAL:
        l->kind = CONFIG_REAL;
        l->real = json_real_value(json);
        return GLOW_OK;
    case JSON_TRUE:
    case JSON_FALSE:
        l->kind = CONFIG_BOOL;
        l->integer = json_is_true(json);
        return GLOW_OK;
    case JSON_STRING:
        l->kind = CONFIG_STRING;
        l->string = copy_string(memory, json_string_value(json));
        return l->string ? GLOW_OK : fail_memory(1, "options");
    case JSON_ARRAY: break;
    default: return fail(GLOW_EINVAL, "expected a number, a string, a truth value or a list");
    }
    l->kind = CONFIG_LIST;
    l->n = (int)json_array_size(json);
    struct literal *item = l->n ? bump_alloc(memory, (size_t)l->n * sizeof *item) : NULL;
    if (l->n && !item) return fail_memory((size_t)l->n * sizeof *item, "options");
    for (int i = 0; i < l->n; i++)
        TRY(literal_from_json(&item[i], json_array_get(json, (size_t)i), memory));
    l->item = item;
    return GLOW_OK;
}

/* ---------------------------------------------------------------- the check */

/* What was found, for messages. */
static const char *literal_text(const struct literal *l, char *buf, size_t size)
{
    switch (l->kind) {
    case CONFIG_INT: snprintf(buf, size, "%lld", (long long)l->integer); break;
    case CONFIG_REAL: snprintf(buf, size, "%.10g", l->real); break;
    case CONFIG_BOOL: snprintf(buf, size, "%s", l->integer ? "true" : "false"); break;
    case CONFIG_STRING: snprintf(buf, size, "\"%s\"", l->string); break;
    case CONFIG_GROUP: snprintf(buf, size, "a group { }"); break;
    default: snprintf(buf, size, "a list of %d", l->n); break;
    }
    return buf;
}

static glow_status wrong_type(const struct literal *l, const char *expected)
{
    char found[200];
    return fail(GLOW_EINVAL, "expected %s, found %s", expected,
                literal_text(l, found, sizeof found));
}

static glow_status check_number(const struct literal *l, bool integer, const struct range *range,
                                const char *range_text, int64_t *i, double *r)
{
    char found[64];
    bool whole = l->kind == CONFIG_REAL && l->real == floor(l->real) && fabs(l->real) < 0x1p63;
    if (l->kind != CONFIG_INT && !(l->kind == CONFIG_REAL && (whole || !integer)))
        return wrong_type(l, integer ? "an integer" : "a number");
    if (l->kind == CONFIG_REAL && !isfinite(l->real)) return wrong_type(l, "a finite number");
    *i = l->kind == CONFIG_INT ? l->integer : whole ? (int64_t)l->real : 0;
    *r = l->kind == CONFIG_INT ? (double)l->integer : l->real;
    if (!range_holds(range, *r))
        return fail(GLOW_EINVAL, "%s is outside %s", literal_text(l, found, sizeof found),
                    range_text);
    return GLOW_OK;
}

static glow_status check_word(const struct literal *l, const char *words)
{
    char list[512];
    size_t used = 0, n = l->string ? strlen(l->string) : 0;
    for (const char *p = words; *p; p += strcspn(p, "|"), p += *p == '|') {
        size_t m = strcspn(p, "|");
        if (l->kind == CONFIG_STRING && m == n && !memcmp(p, l->string, n)) return GLOW_OK;
        int k =
            snprintf(list + used, sizeof list - used, "%s\"%.*s\"", used ? ", " : "", (int)m, p);
        used = used + (size_t)k < sizeof list ? used + (size_t)k : sizeof list - 1;
    }
    char found[200];
    return fail(GLOW_EINVAL, "%s is not one of %s", literal_text(l, found, sizeof found), list);
}

/* Checkpoints keep strings as JSON, which is UTF-8. */
static glow_status check_utf8(const char *s)
{
    json_t *json = json_string(s);
    if (!json) return fail(GLOW_EINVAL, "expected UTF-8 text");
    json_decref(json);
    return GLOW_OK;
}

static glow_status check_list(const struct literal *l, const struct glow_option *record,
                              struct option_value *value, struct bump *memory)
{
    struct range range, length;
    bool strings = record->type == GLOW_OPT_STRINGS,
         list = l->kind == CONFIG_LIST || l->kind == CONFIG_ARRAY;
    const struct literal *item = list ? l->item : l; /* a scalar is a list of one */
    int n = list ? l->n : 1;
    if (!range_parse(record->range, &range, &length))
        return fail(GLOW_EINVAL, "bad range \"%s\"", record->range);
    if (l->kind == CONFIG_GROUP)
        return wrong_type(l, strings ? "a list of strings" : "a list of numbers");
    if (!range_holds(&length, n))
        return fail(GLOW_EINVAL, "%d elements; the length is outside %s", n, record->range);
    double *reals = strings ? NULL : bump_alloc(memory, ((size_t)n + 1) * sizeof *reals);
    const char **texts = strings ? bump_alloc(memory, ((size_t)n + 1) * sizeof *texts) : NULL;
    if (!reals && !texts) return fail_memory((size_t)n * sizeof *reals, "options");
    for (int i = 0; i < n; i++) {
        int64_t integer;
        glow_status status = GLOW_OK;
        if (!strings)
            status = check_number(&item[i], record->type == GLOW_OPT_INTS, &range, record->range,
                                  &integer, &reals[i]);
        else if (item[i].kind != CONFIG_STRING)
            status = wrong_type(&item[i], "a string");
        else
            status = check_utf8(texts[i] = item[i].string);
        if (status) return list ? fail_context(status, "element %d", i) : status;
    }
    value->n = n;
    value->reals = reals;
    value->strings = texts;
    return GLOW_OK;
}

glow_status literal_check(const struct literal *l, const struct glow_option *record,
                          struct option_value *value, struct bump *memory)
{
    struct range range, length;
    value->string = "";
    switch (record->type) {
    case GLOW_OPT_INT:
    case GLOW_OPT_REAL:
        if (!range_parse(record->range, &range, &length))
            return fail(GLOW_EINVAL, "bad range \"%s\"", record->range);
        return check_number(l, record->type == GLOW_OPT_INT, &range, record->range, &value->integer,
                            &value->real);
    case GLOW_OPT_BOOL:
        if (l->kind != CONFIG_BOOL) return wrong_type(l, "true or false");
        value->integer = l->integer;
        value->real = (double)l->integer;
        return GLOW_OK;
    case GLOW_OPT_ENUM: TRY(check_word(l, record->range ? record->range : "")); break;
    case GLOW_OPT_CHILD:
        if (l->kind == CONFIG_GROUP && !l->string)
            return fail(GLOW_EINVAL, "the group needs type = \"...\", the name of a plug-in");
        if (l->kind != CONFIG_STRING && l->kind != CONFIG_GROUP)
            return wrong_type(l, "the name of a plug-in or a group { type = \"...\"; }");
        break;
    case GLOW_OPT_STRING:
    case GLOW_OPT_PATH:
        if (l->kind != CONFIG_STRING) return wrong_type(l, "a string");
        break;
    case GLOW_OPT_INTS:
    case GLOW_OPT_REALS:
    case GLOW_OPT_STRINGS: return check_list(l, record, value, memory);
    default: return fail(GLOW_EINVAL, "unknown option type %u", record->type);
    }
    TRY(check_utf8(l->string));
    value->string = l->string;
    return GLOW_OK;
}

glow_status literal_anchor(struct option_value *value, const struct config_node *node,
                           struct bump *memory)
{
    const char *path = value->string, *dir = config_dir(config_of(node)), *home = getenv("HOME");
    if (path[0] == '~' && (path[1] == '/' || !path[1])) {
        if (!home || !*home) return config_fail(node, "\"~\" needs the environment variable HOME");
        value->string = bump_print(memory, "%s%s", home, path + 1);
    } else if (path[0] && path[0] != '/' && strcmp(dir, ".") && !config_overridden(node)) {
        value->string = bump_print(memory, "%s/%s", dir, path);
    }
    return value->string ? GLOW_OK : fail_memory(strlen(path), "options");
}

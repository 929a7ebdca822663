/* options.c - values of option records: taken from glow.cfg, from the records' defaults, or from
 * the JSON of a checkpoint. All three become a `literal`, which one function checks against the
 * record. */
#include "options.h"
#include "bump.h"
#include "literal.h"
#include <stdlib.h>
#include <string.h>

struct options {
    const struct glow_desc *desc;
    struct bump memory;
    struct option_value *values; /* one per record */
};

static const struct glow_option *record_at(const struct glow_desc *desc, uint32_t i)
{
    return &desc->options[i];
}

/* Whether name is one of the words of "a|b|c". */
static bool is_word_of(const char *words, const char *name)
{
    size_t n = strlen(name);
    for (const char *p = words; p && *p; p += strcspn(p, "|"), p += *p == '|')
        if (strcspn(p, "|") == n && !memcmp(p, name, n)) return true;
    return false;
}

/* The record of a key or of one of its older names, or -1. */
static int find_record(const struct glow_desc *desc, const char *key)
{
    for (uint32_t i = 0; i < desc->n_options; i++) {
        const struct glow_option *o = record_at(desc, i);
        if (!strcmp(o->key, key) || is_word_of(o->aliases, key)) return (int)i;
    }
    return -1;
}

static glow_status new_options(struct options **out, const struct glow_desc *desc,
                               const char *owner)
{
    *out = NULL;
    struct options *o = calloc(1, sizeof *o);
    if (!o) return fail_memory(sizeof *o, owner);
    o->desc = desc;
    o->values = bump_alloc(&o->memory, (desc->n_options + 1) * sizeof *o->values);
    if (!o->values) {
        options_free(o);
        return fail_memory(desc->n_options * sizeof *o->values, owner);
    }
    *out = o;
    return GLOW_OK;
}

void options_free(struct options *o)
{
    if (!o) return;
    bump_free(&o->memory);
    free(o);
}

/* ---------------------------------------------------------------- from glow.cfg */

/* The number of single-letter edits that turn a into b (Levenshtein), at most 99. */
static int edit_distance(const char *a, const char *b)
{
    enum { MOST = 64 };
    int row[MOST + 1], n = (int)strlen(b);
    if (n > MOST || strlen(a) > MOST) return 99;
    for (int j = 0; j <= n; j++) row[j] = j;
    for (int i = 1; *a; a++, i++) {
        int diagonal = row[0];
        row[0] = i;
        for (int j = 1; j <= n; j++) {
            int best = diagonal + (*a != b[j - 1]);
            if (row[j] + 1 < best) best = row[j] + 1;
            if (row[j - 1] + 1 < best) best = row[j - 1] + 1;
            diagonal = row[j];
            row[j] = best;
        }
    }
    return row[n];
}

static bool is_listed(const char *const *keys, const char *key)
{
    for (; keys && *keys; keys++)
        if (!strcmp(*keys, key)) return true;
    return false;
}

static glow_status unknown_key(const struct glow_desc *desc, const struct config_node *node,
                               const char *const *also)
{
    char all[1024] = "";
    const char *key = config_key(node), *nearest = NULL;
    size_t used = 0;
    int best = (int)strlen(key) / 3 + 2; /* farther away is no likeness */
    uint32_t n_also = 0;
    while (also && also[n_also]) n_also++;
    for (uint32_t i = 0; i < desc->n_options + n_also; i++) {
        const char *known =
            i < desc->n_options ? record_at(desc, i)->key : also[i - desc->n_options];
        int distance = edit_distance(key, known);
        if (distance < best) {
            best = distance;
            nearest = known;
        }
        int n = snprintf(all + used, sizeof all - used, "%s%s", used ? ", " : "", known);
        used = used + (size_t)n < sizeof all ? used + (size_t)n : sizeof all - 1;
    }
    return config_fail(node, "%s has no such key%s%s%s; its keys are: %s", desc->id,
                       nearest ? "; did you mean \"" : "", nearest ? nearest : "",
                       nearest ? "\"?" : "", all[0] ? all : "(none)");
}

/* One member of the group. */
static glow_status take_member(struct options *o, const struct config_node *node,
                               const char *const *also)
{
    const struct glow_desc *desc = o->desc;
    int i = find_record(desc, config_key(node));
    if (i < 0) return is_listed(also, config_key(node)) ? GLOW_OK : unknown_key(desc, node, also);
    const struct glow_option *record = record_at(desc, (uint32_t)i);
    struct option_value *value = &o->values[i];
    struct literal literal;
    if (value->node)
        return config_fail(node, "the same option of %s as \"%s\", which is given too", desc->id,
                           config_key(value->node));
    TRY(literal_from_node(&literal, node, &o->memory));
    glow_status status = literal_check(&literal, record, value, &o->memory);
    if (status == GLOW_EINVAL)
        return config_fail(node, "%s (%s: %s)", fail_message(), desc->id, record->help);
    TRY(status);
    value->node = node;
    value->given = true;
    if (record->type == GLOW_OPT_PATH) TRY(literal_anchor(value, node, &o->memory));
    if (record->deprecated) {
        char text[1024];
        config_fail(node, "deprecated: %s", record->deprecated);
        snprintf(text, sizeof text, "%s", fail_message());
        note(1, "%s", text);
    }
    return GLOW_OK;
}

/* The value that a record gives itself. */
static glow_status take_default(struct options *o, uint32_t i, const char *text, const char *owner)
{
    const struct glow_option *record = record_at(o->desc, i);
    struct literal literal;
    glow_status status = literal_from_text(&literal, text, record->type, &o->memory);
    if (!status) status = literal_check(&literal, record, &o->values[i], &o->memory);
    return status ? fail_context(status, "%s: default of \"%s\"", owner, record->key) : GLOW_OK;
}

static glow_status missing(const struct glow_desc *desc, const struct glow_option *record,
                           const struct config_node *group, const char *owner)
{
    if (group)
        return config_fail(group, "%s needs \"%s\" (%s)", desc->id, record->key, record->help);
    return fail(GLOW_EINVAL, "%s: %s needs \"%s\" (%s)", owner, desc->id, record->key,
                record->help);
}

glow_status options_resolve(struct options **out, const struct glow_desc *desc,
                            const struct config_node *group, const char *const *also,
                            const char *owner)
{
    glow_status status = GLOW_OK;
    struct options *o = NULL;
    TRY(new_options(out, desc, owner));
    o = *out;
    if (group && config_kind(group) != CONFIG_GROUP) {
        status = config_fail(group, "expected a group { } with the options of %s", desc->id);
        goto out;
    }
    for (int i = 0; group && i < config_count(group); i++)
        TRY_OUT(take_member(o, config_at(group, i), also));
    for (uint32_t i = 0; i < desc->n_options; i++) {
        const struct glow_option *record = record_at(desc, i);
        if (o->values[i].given) continue;
        TRY_OUT(record->dflt ? take_default(o, i, record->dflt, owner)
                             : missing(desc, record, group, owner));
    }
out:
    if (status) {
        options_free(o);
        *out = NULL;
    }
    return status;
}

/* ---------------------------------------------------------------- reading */

/* The value of a key whose type is one of a mask of bits 1 << GLOW_OPT_*. */
static const struct option_value *find_value(const struct options *o, const char *key,
                                             uint32_t types, bool *found)
{
    static const struct option_value none = { .string = "" };
    if (found) *found = true;
    for (uint32_t i = 0; i < o->desc->n_options; i++)
        if (!strcmp(record_at(o->desc, i)->key, key) && (types >> record_at(o->desc, i)->type & 1))
            return &o->values[i];
    if (found) *found = false;
    return &none;
}

enum {
    TYPES_INT = 1 << GLOW_OPT_INT | 1 << GLOW_OPT_BOOL,
    TYPES_REAL = 1 << GLOW_OPT_REAL | 1 << GLOW_OPT_INT,
    TYPES_STRING =
        1 << GLOW_OPT_STRING | 1 << GLOW_OPT_ENUM | 1 << GLOW_OPT_PATH | 1 << GLOW_OPT_CHILD,
    TYPES_REALS = 1 << GLOW_OPT_INTS | 1 << GLOW_OPT_REALS,
    TYPES_STRINGS = 1 << GLOW_OPT_STRINGS,
    TYPES_LIST = TYPES_REALS | TYPES_STRINGS,
    TYPES_ANY = -1
};

int64_t options_int(const struct options *o, const char *key, bool *found)
{
    return find_value(o, key, TYPES_INT, found)->integer;
}

double options_real(const struct options *o, const char *key, bool *found)
{
    return find_value(o, key, TYPES_REAL, found)->real;
}

const char *options_string(const struct options *o, const char *key, bool *found)
{
    return find_value(o, key, TYPES_STRING, found)->string;
}

int64_t options_count(const struct options *o, const char *key, bool *found)
{
    return find_value(o, key, TYPES_LIST, found)->n;
}

double options_real_at(const struct options *o, const char *key, int64_t i, bool *found)
{
    const struct option_value *value = find_value(o, key, TYPES_REALS, found);
    return i >= 0 && i < value->n ? value->reals[i] : 0.0;
}

const char *options_string_at(const struct options *o, const char *key, int64_t i, bool *found)
{
    const struct option_value *value = find_value(o, key, TYPES_STRINGS, found);
    return i >= 0 && i < value->n ? value->strings[i] : "";
}

const struct config_node *options_node(const struct options *o, const char *key)
{
    return find_value(o, key, TYPES_ANY, NULL)->node;
}

const struct config_node *options_child(const struct options *o, const char *key)
{
    return options_node(o, key);
}

bool options_given(const struct options *o, const char *key)
{
    return find_value(o, key, TYPES_ANY, NULL)->given;
}

/* ---------------------------------------------------------------- JSON */

static json_t *value_json(const struct option_value *value, uint32_t type)
{
    switch (type) {
    case GLOW_OPT_INT: return json_integer(value->integer);
    case GLOW_OPT_REAL: return json_real(value->real);
    case GLOW_OPT_BOOL: return json_boolean(value->integer != 0);
    case GLOW_OPT_INTS:
    case GLOW_OPT_REALS:
    case GLOW_OPT_STRINGS: {
        json_t *list = json_array();
        for (int64_t i = 0; list && i < value->n; i++) {
            json_t *item = type == GLOW_OPT_STRINGS ? json_string(value->strings[i])
                           : type == GLOW_OPT_REALS ? json_real(value->reals[i])
                                                    : json_integer((json_int_t)value->reals[i]);
            if (json_array_append_new(list, item)) {
                json_decref(list);
                return NULL;
            }
        }
        return list;
    }
    default: return json_string(value->string);
    }
}

json_t *options_json(const struct options *o)
{
    json_t *all = json_object();
    for (uint32_t i = 0; all && i < o->desc->n_options; i++) {
        const struct glow_option *record = record_at(o->desc, i);
        if (json_object_set_new(all, record->key, value_json(&o->values[i], record->type))) {
            json_decref(all);
            return NULL;
        }
    }
    return all;
}

/* One key of a checkpoint. */
static glow_status take_json(struct options *o, const char *key, const json_t *json,
                             uint32_t schema, const char *owner)
{
    struct literal literal;
    int i = find_record(o->desc, key);
    if (i < 0)
        return fail(GLOW_EINVAL,
                    "%s: the checkpoint (schema %u) has \"%s\", which %s (schema %u) has not",
                    owner, schema, key, o->desc->id, o->desc->schema);
    const struct glow_option *record = record_at(o->desc, (uint32_t)i);
    glow_status status = literal_from_json(&literal, json, &o->memory);
    if (!status) status = literal_check(&literal, record, &o->values[i], &o->memory);
    o->values[i].given = true;
    return status ? fail_context(status, "%s: \"%s\" of the checkpoint", owner, key) : GLOW_OK;
}

glow_status options_from_json(struct options **out, const struct glow_desc *desc,
                              const json_t *values, uint32_t schema, const char *owner)
{
    glow_status status = GLOW_OK;
    struct options *o = NULL;
    TRY(new_options(out, desc, owner));
    o = *out;
    /* jansson iterates over const objects with a cast only */
    json_t *object = (json_t *)(uintptr_t)values;
    if (!json_is_object(object)) {
        status = fail(GLOW_EINVAL, "%s: the options of the checkpoint are no JSON object", owner);
        goto out;
    }
    for (void *at = json_object_iter(object); at; at = json_object_iter_next(object, at))
        TRY_OUT(take_json(o, json_object_iter_key(at), json_object_iter_value(at), schema, owner));
    for (uint32_t i = 0; i < desc->n_options; i++) {
        const struct glow_option *record = record_at(desc, i);
        const char *text = record->since > schema && record->legacy ? record->legacy : record->dflt;
        if (o->values[i].given) continue;
        TRY_OUT(text ? take_default(o, i, text, owner) : missing(desc, record, NULL, owner));
    }
out:
    if (status) {
        options_free(o);
        *out = NULL;
    }
    return status;
}

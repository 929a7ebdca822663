/* options_records.c - option records themselves: their check when a plug-in is loaded, and the
 * manual that is printed from them. */
#include "literal.h"
#include "range.h"
#include <ctype.h>
#include <string.h>

/* ---------------------------------------------------------------- the check */

static glow_status bad_field(const struct glow_desc *desc, const char *key, const char *field,
                             const char *why)
{
    return fail(GLOW_EINVAL, "%s: option \"%s\": %s: %s", desc->id, key, field, why);
}

static bool is_key(const char *s, size_t n)
{
    if (n == 0 || n > 64 || !isalpha((unsigned char)s[0])) return false;
    for (size_t i = 1; i < n; i++)
        if (!isalnum((unsigned char)s[i]) && s[i] != '_' && s[i] != '-') return false;
    return true;
}

/* How often the key or older name stands in the records. */
static int uses(const struct glow_desc *desc, const char *name, size_t n)
{
    int count = 0;
    for (uint32_t i = 0; i < desc->n_options; i++) {
        const struct glow_option *o = &desc->options[i];
        count += o->key && strlen(o->key) == n && !memcmp(o->key, name, n);
        for (const char *p = o->aliases; p && *p; p += strcspn(p, "|"), p += *p == '|')
            count += strcspn(p, "|") == n && !memcmp(p, name, n);
    }
    return count;
}

/* The key by which a group of glow.cfg names a plug-in of that kind: no option can have it. */
static const char *naming_key(uint32_t kind)
{
    switch (kind) {
    case GLOW_LAYER: return "layer";
    case GLOW_NET:
    case GLOW_PRIOR: return "type";
    case GLOW_DATASET: return "dataset";
    default: return ""; /* custom operations, and sections such as `train` */
    }
}

static glow_status check_names(const struct glow_desc *desc, const struct glow_option *o)
{
    const char *reserved = naming_key(desc->kind);
    if (!is_key(o->key, strlen(o->key)))
        return bad_field(desc, o->key, "key",
                         "letters, digits, _ and - are allowed, a letter first");
    if (!strcmp(o->key, reserved)) return bad_field(desc, o->key, "key", "the host uses this key");
    if (uses(desc, o->key, strlen(o->key)) > 1)
        return bad_field(desc, o->key, "key", "stands in two records");
    for (const char *p = o->aliases; p && *p; p += strcspn(p, "|"), p += *p == '|') {
        size_t n = strcspn(p, "|");
        if (!is_key(p, n)) return bad_field(desc, o->key, "aliases", "not \"name|name\"");
        if (uses(desc, p, n) > 1) return bad_field(desc, o->key, "aliases", "a name stands twice");
    }
    return GLOW_OK;
}

static glow_status check_range(const struct glow_desc *desc, const struct glow_option *o)
{
    struct range value, length;
    switch (o->type) {
    case GLOW_OPT_INT:
    case GLOW_OPT_REAL:
    case GLOW_OPT_INTS:
    case GLOW_OPT_REALS:
    case GLOW_OPT_STRINGS:
        if (!range_parse(o->range, &value, &length))
            return bad_field(desc, o->key, "range", "not of the form [1,8], (0,inf) or #[1,4]");
        if (o->range && strchr(o->range, '#') && o->type < GLOW_OPT_INTS)
            return bad_field(desc, o->key, "range", "a length (#) of what is no list");
        return GLOW_OK;
    case GLOW_OPT_ENUM:
        if (!o->range || !*o->range)
            return bad_field(desc, o->key, "range", "an ENUM needs \"a|b\"");
        return GLOW_OK;
    default:
        if (o->range) return bad_field(desc, o->key, "range", "has no meaning for this type");
        return GLOW_OK;
    }
}

static glow_status check_text(const struct glow_desc *desc, const struct glow_option *o,
                              const char *field, const char *text)
{
    struct bump memory = { 0 };
    struct literal literal;
    struct option_value value = { 0 };
    if (!text) return GLOW_OK;
    glow_status status = literal_from_text(&literal, text, o->type, &memory);
    if (!status) status = literal_check(&literal, o, &value, &memory);
    bump_free(&memory);
    return status == GLOW_EINVAL ? bad_field(desc, o->key, field, fail_message()) : status;
}

glow_status options_check_records(const struct glow_desc *desc)
{
    if (desc->n_options > 1000)
        return fail(GLOW_EINVAL, "%s: n_options: %u is more than 1000", desc->id, desc->n_options);
    if (desc->n_options > 0 && !desc->options)
        return fail(GLOW_EINVAL, "%s: options: NULL, but n_options is %u", desc->id,
                    desc->n_options);
    for (uint32_t i = 0; i < desc->n_options; i++) {
        const struct glow_option *o = &desc->options[i];
        if (!o->key) return fail(GLOW_EINVAL, "%s: option record %u: key: NULL", desc->id, i);
        if (!o->help) return bad_field(desc, o->key, "help", "NULL");
        if (o->type < GLOW_OPT_INT || o->type > GLOW_OPT_CHILD) {
            char why[64];
            snprintf(why, sizeof why, "unknown option type %u", o->type);
            return bad_field(desc, o->key, "type", why);
        }
        TRY(check_names(desc, o));
        TRY(check_range(desc, o));
        if (o->type == GLOW_OPT_CHILD && o->slot_kind != GLOW_NET && o->slot_kind != GLOW_PRIOR)
            return bad_field(desc, o->key, "slot_kind", "expected GLOW_NET or GLOW_PRIOR");
        if (o->since > desc->schema)
            return bad_field(desc, o->key, "since", "newer than the descriptor's schema");
        TRY(check_text(desc, o, "dflt", o->dflt));
        TRY(check_text(desc, o, "legacy", o->legacy));
    }
    return GLOW_OK;
}

/* ---------------------------------------------------------------- the manual */

static void print_words(FILE *f, const char *label, const char *words)
{
    fprintf(f, "      %s: ", label);
    for (; *words; words++) {
        if (*words == '|')
            fputs(", ", f);
        else
            fputc(*words, f);
    }
    fputc('\n', f);
}

static const char *const type_names[] = {
    "?",    "integer",          "real",          "true|false",     "string", "word",
    "path", "list of integers", "list of reals", "list of strings"
};

/* "integer in [1,8]", "exp|sigmoid", "list of reals, length in [1,3], elements in [0,1)". */
static void print_type(FILE *f, const struct glow_option *o)
{
    if (o->type == GLOW_OPT_ENUM) {
        fputs(o->range, f);
        return;
    }
    if (o->type == GLOW_OPT_CHILD) {
        fputs(o->slot_kind == GLOW_PRIOR ? "prior" : "net", f);
        return;
    }
    fputs(o->type < GLOW_OPT_CHILD ? type_names[o->type] : type_names[0], f);
    bool list = o->type >= GLOW_OPT_INTS;
    for (const char *p = o->range ? o->range : ""; *p; p += strcspn(p, " "), p += *p == ' ') {
        bool length = *p == '#';
        fprintf(f, "%s in %.*s",
                length ? ", length"
                : list ? ", elements"
                       : "",
                (int)strcspn(p, " ") - length, p + length);
    }
}

void options_manual(FILE *f, const struct glow_desc *desc)
{
    fprintf(f, "%s - %s\n", desc->id, desc->summary ? desc->summary : "");
    if (desc->n_options == 0) fputs("  (no options)\n", f);
    for (uint32_t i = 0; i < desc->n_options; i++) {
        const struct glow_option *o = &desc->options[i];
        if (!o->dflt)
            fprintf(f, "  %s  (required)  ", o->key);
        else
            fprintf(f, "  %s = %s  ", o->key, *o->dflt ? o->dflt : "\"\"");
        print_type(f, o);
        if (o->unit) fprintf(f, ", %s", o->unit);
        fprintf(f, "\n      %s\n", o->help);
        if (o->aliases) print_words(f, "older names", o->aliases);
        if (o->deprecated) fprintf(f, "      deprecated: %s\n", o->deprecated);
    }
}

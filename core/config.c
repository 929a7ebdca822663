/* config.c - the tree of glow.cfg. libconfig parses; its tree is copied into nodes of our own,
 * which carry their position, keep 64-bit integers, and can be replaced by overrides of any type.
 * Nodes live in one bump until config_free, so that a replaced node stays valid. */
#include "config.h"
#include "bump.h"
#include "source.h"
#include <ctype.h>
#include <libconfig.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

struct config {
    struct bump memory;
    struct config_node *root;
    char *dir;
};

struct config_node {
    struct config *config;
    struct config_node *parent;
    const char *key; /* NULL for elements and the root */
    enum config_kind kind;
    union {
        int64_t integer;
        double real;
        const char *string;
    } value;
    struct config_node **child;
    int n_child, cap_child;
    const char *file; /* where it stands, or the assignment that made it */
    int line;         /* 0: made by an assignment */
};

/* ---------------------------------------------------------------- building the tree */

static struct config_node *new_node(struct config *c, struct config_node *parent, const char *key,
                                    enum config_kind kind)
{
    struct config_node *node = bump_alloc(&c->memory, sizeof *node);
    if (!node || (key && !(node->key = bump_print(&c->memory, "%s", key)))) return NULL;
    node->config = c;
    node->parent = parent;
    node->kind = kind;
    return node;
}

static glow_status append_child(struct config_node *parent, struct config_node *node)
{
    if (parent->n_child == parent->cap_child) {
        int cap = parent->cap_child * 2 + 4;
        struct config_node **child =
            bump_alloc(&parent->config->memory, (size_t)cap * sizeof *child);
        if (!child) return fail_memory((size_t)cap * sizeof *child, "configuration");
        if (parent->n_child > 0)
            memcpy(child, parent->child, (size_t)parent->n_child * sizeof *child);
        parent->child = child;
        parent->cap_child = cap;
    }
    parent->child[parent->n_child++] = node;
    return GLOW_OK;
}

static enum config_kind kind_of(const config_setting_t *s)
{
    switch (config_setting_type(s)) {
    case CONFIG_TYPE_GROUP: return CONFIG_GROUP;
    case CONFIG_TYPE_LIST: return CONFIG_LIST;
    case CONFIG_TYPE_ARRAY: return CONFIG_ARRAY;
    case CONFIG_TYPE_FLOAT: return CONFIG_REAL;
    case CONFIG_TYPE_BOOL: return CONFIG_BOOL;
    case CONFIG_TYPE_STRING: return CONFIG_STRING;
    default: return CONFIG_INT;
    }
}

/* Copies the members of a setting of libconfig's tree into node. */
static glow_status copy_setting(struct config_node *node, const config_setting_t *s,
                                const struct source *source)
{
    struct source_line origin = source_origin(source, (int)config_setting_source_line(s));
    node->file = origin.file;
    node->line = origin.line;
    switch (node->kind) {
    case CONFIG_INT: node->value.integer = config_setting_get_int64(s); return GLOW_OK;
    case CONFIG_BOOL: node->value.integer = config_setting_get_bool(s); return GLOW_OK;
    case CONFIG_REAL: node->value.real = config_setting_get_float(s); return GLOW_OK;
    case CONFIG_STRING: {
        const char *text = config_setting_get_string(s);
        node->value.string = bump_print(&node->config->memory, "%s", text ? text : "");
        return node->value.string ? GLOW_OK : fail_memory(1, "configuration");
    }
    default: break;
    }
    for (int i = 0; i < config_setting_length(s); i++) {
        const config_setting_t *element = config_setting_get_elem(s, (unsigned)i);
        struct config_node *child =
            new_node(node->config, node, config_setting_name(element), kind_of(element));
        if (!child) return fail_memory(sizeof *child, "configuration");
        TRY(copy_setting(child, element, source));
        TRY(append_child(node, child));
    }
    return GLOW_OK;
}

/* Parses source into a new root group. */
static glow_status parse(struct config *c, const struct source *source, struct config_node **root)
{
    glow_status status = GLOW_OK;
    config_t tree;
    config_init(&tree);
    if (!config_read_string(&tree, source->text ? source->text : "")) {
        const char *text = config_error_text(&tree) ? config_error_text(&tree) : "syntax error";
        struct source_line at = source_origin(source, config_error_line(&tree));
        const char *more = "";
        if (strstr(text, "mismatched element"))
            more = " (elements of [ ] have one type; write 1.0, or use a list ( ))";
        if (strstr(text, "memory exhausted")) /* of the parser's stack, which has 10000 places */
            more = " (groups and lists are nested too deeply)";
        status = fail(GLOW_EINVAL, "%s:%d: %s%s", at.file, at.line, text, more);
        goto out;
    }
    *root = new_node(c, NULL, NULL, CONFIG_GROUP);
    if (!*root) {
        status = fail_memory(sizeof **root, "configuration");
        goto out;
    }
    status = copy_setting(*root, config_root_setting(&tree), source);
out:
    config_destroy(&tree);
    return status;
}

/* Opens a configuration from a file, or from a text under that name. */
static glow_status open_config(struct config **out, const char *path, const char *text)
{
    glow_status status;
    struct config *c = calloc(1, sizeof *c);
    struct source source = { 0 };
    *out = NULL;
    if (!c) return fail_memory(sizeof *c, path);
    source.memory = &c->memory;
    const char *slash = text ? NULL : strrchr(path, '/');
    c->dir = slash ? bump_print(&c->memory, "%.*s", slash > path ? (int)(slash - path) : 1, path)
                   : bump_print(&c->memory, ".");
    if (!c->dir) {
        status = fail_memory(strlen(path) + 1, path);
        goto out;
    }
    TRY_OUT(text ? source_add_text(&source, text, path) : source_add_file(&source, path));
    TRY_OUT(parse(c, &source, &c->root));
    *out = c;
    c = NULL;
out:
    source_free(&source);
    config_free(c);
    return status;
}

glow_status config_load(struct config **out, const char *path)
{
    return open_config(out, path, NULL);
}

glow_status config_parse(struct config **out, const char *text, const char *name)
{
    return open_config(out, name, text);
}

void config_free(struct config *c)
{
    if (!c) return;
    bump_free(&c->memory);
    free(c);
}

/* ---------------------------------------------------------------- paths and overrides */

/* The next part of a path: a key, or [n] as an element number (*index >= 0). Parts are divided by
 * dots, which may be left out before "[". Returns false when the path is malformed. */
static bool next_part(const char **path, char key[], size_t size, int *index)
{
    const char *p = *path;
    *index = -1;
    if (*p == '[') {
        char *end;
        long i = isdigit((unsigned char)p[1]) ? strtol(p + 1, &end, 10) : -1;
        if (i < 0 || i > 1000000000 || *end != ']') return false;
        *index = (int)i;
        p = end + 1;
    } else {
        size_t n = 0;
        if (!isalpha((unsigned char)*p) && *p != '*') return false;
        for (; isalnum((unsigned char)*p) || (*p && strchr("-_*", *p)); p++) {
            if (n + 1 >= size) return false;
            key[n++] = *p;
        }
        key[n] = '\0';
        if (!strcasecmp(key, "true") || !strcasecmp(key, "false")) return false; /* are values */
    }
    if (*p == '.') {
        p++;
        if (!*p) return false;
    } else if (*p && *p != '[') {
        return false;
    }
    *path = p;
    return true;
}

static int find_member(const struct config_node *group, const char *key)
{
    for (int i = 0; group->kind == CONFIG_GROUP && i < group->n_child; i++)
        if (!strcmp(group->child[i]->key, key)) return i;
    return -1;
}

/* Puts node at place i of parent (n_child: behind the last). An array of one scalar type that gets
 * an element of another becomes a list. */
static glow_status place(struct config_node *parent, int i, struct config_node *node)
{
    node->parent = parent;
    if (parent->kind == CONFIG_ARRAY) {
        bool fits = node->kind > CONFIG_ARRAY;
        for (int k = 0; k < parent->n_child; k++)
            if (k != i && parent->child[k]->kind != node->kind) fits = false;
        if (!fits) parent->kind = CONFIG_LIST;
    }
    if (i == parent->n_child) return append_child(parent, node);
    parent->child[i] = node;
    return GLOW_OK;
}

static void set_origin(struct config_node *node, const char *assignment)
{
    node->file = assignment;
    node->line = 0;
    for (int i = 0; i < node->n_child; i++) set_origin(node->child[i], assignment);
}

/* Makes a node of the text behind "=": configuration text or else a bare word. */
static glow_status parse_value(struct config *c, const char *text, const char *assignment,
                               struct config_node **out)
{
    struct config_node *root = NULL;
    struct source source = { .memory = &c->memory };
    char *line = bump_print(&c->memory, "value = %s\n;", text);
    if (!line) return fail_memory(strlen(text), assignment);
    glow_status status = source_add_text(&source, line, "value");
    if (!status) status = parse(c, &source, &root);
    source_free(&source);
    if (status == GLOW_ENOMEM) return status;
    if (!status && root->n_child == 1) {
        *out = root->child[0];
    } else if (strchr("\"[({", *text) && *text) {
        if (!status) fail(GLOW_EINVAL, "more than one value");
        const char *why =
            strncmp(fail_message(), "value:", 6) ? fail_message() : strchr(fail_message(), ' ') + 1;
        return fail(GLOW_EINVAL, "override %s: %s", assignment, why);
    } else {
        *out = new_node(c, NULL, NULL, CONFIG_STRING);
        if (!*out || !((*out)->value.string = bump_print(&c->memory, "%s", text)))
            return fail_memory(strlen(text), assignment);
    }
    set_origin(*out, assignment);
    return GLOW_OK;
}

/* The place that a path names below the root; groups that are missing on the way are made. */
static glow_status find_place(struct config *c, const char *path, const char *assignment,
                              struct config_node **parent, int *place_index, char key[],
                              size_t size)
{
    struct config_node *node = c->root;
    for (const char *p = path;;) {
        int i;
        if (!next_part(&p, key, size, &i))
            return fail(GLOW_EINVAL,
                        "override %s: expected key=value, the key like train.steps or "
                        "model.flow.[1].bits",
                        assignment);
        bool element = i >= 0, list = node->kind == CONFIG_LIST || node->kind == CONFIG_ARRAY;
        int before = (int)(p - path) - (p[-1] == '.');
        if (element ? !list : node->kind != CONFIG_GROUP)
            return fail(GLOW_EINVAL, "override %s: what stands before %.*s is not a %s", assignment,
                        before, path, element ? "list" : "group");
        if (element && i > node->n_child - (*p != '\0'))
            return fail(GLOW_EINVAL, "override %s: %.*s is beyond the list's %d elements",
                        assignment, before, path, node->n_child);
        if (!element && (i = find_member(node, key)) < 0) i = node->n_child;
        *parent = node;
        *place_index = i;
        if (!*p) {
            if (element) key[0] = '\0';
            return GLOW_OK;
        }
        if (i == node->n_child) {
            struct config_node *group = new_node(c, NULL, key, CONFIG_GROUP);
            if (!group) return fail_memory(sizeof *group, assignment);
            set_origin(group, assignment);
            TRY(place(node, i, group));
        }
        node = node->child[i];
    }
}

/* s without the blanks around it, as a new string. */
static char *trimmed(struct bump *memory, const char *s, size_t n)
{
    while (n > 0 && isspace((unsigned char)*s)) s++, n--;
    while (n > 0 && isspace((unsigned char)s[n - 1])) n--;
    return bump_print(memory, "%.*s", (int)n, s);
}

glow_status config_set(struct config *c, const char *assignment)
{
    char key[128];
    int i = 0;
    struct config_node *parent = NULL, *node = NULL;
    const char *equals = strchr(assignment, '=');
    if (!equals) return fail(GLOW_EINVAL, "override %s: expected key=value", assignment);
    char *name = bump_print(&c->memory, "%s", assignment);
    char *path = trimmed(&c->memory, assignment, (size_t)(equals - assignment));
    char *text = trimmed(&c->memory, equals + 1, strlen(equals + 1));
    if (!name || !path || !text) return fail_memory(strlen(assignment), "configuration");
    TRY(parse_value(c, text, name, &node));
    TRY(find_place(c, path, name, &parent, &i, key, sizeof key));
    node->key = key[0] ? bump_print(&c->memory, "%s", key) : NULL;
    if (key[0] && !node->key) return fail_memory(strlen(key), "configuration");
    return place(parent, i, node);
}

/* ---------------------------------------------------------------- reading */

const char *config_dir(const struct config *c) { return c->dir; }
const struct config_node *config_root(const struct config *c) { return c->root; }
const struct config *config_of(const struct config_node *node) { return node->config; }

const struct config_node *config_find(const struct config *c, const char *path)
{
    char key[128];
    int i;
    const struct config_node *node = c->root;
    while (node && *path) {
        if (!next_part(&path, key, sizeof key, &i)) return NULL;
        node = i < 0 ? config_member(node, key) : config_at(node, i);
    }
    return node;
}

enum config_kind config_kind(const struct config_node *node) { return node->kind; }
const char *config_key(const struct config_node *node) { return node->key; }
int config_count(const struct config_node *node) { return node->n_child; }

const struct config_node *config_at(const struct config_node *node, int i)
{
    return i >= 0 && i < node->n_child ? node->child[i] : NULL;
}

const struct config_node *config_member(const struct config_node *group, const char *key)
{
    int i = find_member(group, key);
    return i < 0 ? NULL : group->child[i];
}

int64_t config_int(const struct config_node *node)
{
    if (node->kind == CONFIG_INT || node->kind == CONFIG_BOOL) return node->value.integer;
    bool fits =
        node->kind == CONFIG_REAL && node->value.real >= -0x1p63 && node->value.real < 0x1p63;
    return fits ? (int64_t)node->value.real : 0;
}

double config_real(const struct config_node *node)
{
    if (node->kind == CONFIG_REAL) return node->value.real;
    return node->kind == CONFIG_INT ? (double)node->value.integer : 0.0;
}

const char *config_string(const struct config_node *node)
{
    return node->kind == CONFIG_STRING ? node->value.string : NULL;
}

bool config_overridden(const struct config_node *node) { return node->line == 0 && node->file; }

/* ---------------------------------------------------------------- writing */

static void write_string(FILE *f, const char *s)
{
    fputc('"', f);
    for (; *s; s++) {
        unsigned char c = (unsigned char)*s;
        if (c == '"' || c == '\\')
            fprintf(f, "\\%c", c);
        else if (c == '\n')
            fputs("\\n", f);
        else if (c == '\t')
            fputs("\\t", f);
        else if (c < 32)
            fprintf(f, "\\x%02X", c);
        else
            fputc(c, f);
    }
    fputc('"', f);
}

/* The shortest text that reads back as the same number, always with a point or an exponent. */
static void write_real(FILE *f, double x)
{
    char text[40];
    for (int digits = 15; digits <= 17; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, x);
        if (strtod(text, NULL) == x) break;
    }
    if (strstr(text, "inf")) strcpy(text, x > 0 ? "1e999" : "-1e999");
    fputs(text, f);
    if (!strpbrk(text, ".e")) fputs(".0", f);
}

static void new_line(FILE *f, int indent)
{
    if (indent < 0)
        fputc(' ', f);
    else
        fprintf(f, "\n%*s", 2 * indent, "");
}

/* Writes a value; indent < 0: on one line. */
static void write_value(FILE *f, const struct config_node *node, int indent)
{
    int inner = indent < 0 ? -1 : indent + 1;
    switch (node->kind) {
    case CONFIG_INT: fprintf(f, "%lld", (long long)node->value.integer); break;
    case CONFIG_BOOL: fputs(node->value.integer ? "true" : "false", f); break;
    case CONFIG_REAL: write_real(f, node->value.real); break;
    case CONFIG_STRING: write_string(f, node->value.string); break;
    case CONFIG_GROUP:
        fputc('{', f);
        for (int i = 0; i < node->n_child; i++) {
            new_line(f, inner);
            fprintf(f, "%s = ", node->child[i]->key);
            write_value(f, node->child[i], inner);
            fputc(';', f);
        }
        new_line(f, indent);
        fputc('}', f);
        break;
    case CONFIG_LIST:
    case CONFIG_ARRAY: {
        bool lines = node->kind == CONFIG_LIST && indent >= 0 && node->n_child > 0;
        fputc(node->kind == CONFIG_LIST ? '(' : '[', f);
        for (int i = 0; i < node->n_child; i++) {
            if (i > 0) fputc(',', f);
            if (lines)
                new_line(f, inner);
            else if (i > 0)
                fputc(' ', f);
            write_value(f, node->child[i], lines ? inner : -1);
        }
        if (lines) new_line(f, indent);
        fputc(node->kind == CONFIG_LIST ? ')' : ']', f);
        break;
    }
    }
}

char *config_text(const struct config *c)
{
    char *text = NULL;
    size_t n;
    FILE *f = open_memstream(&text, &n);
    if (!f) return NULL;
    for (int i = 0; i < c->root->n_child; i++) {
        fprintf(f, "%s = ", c->root->child[i]->key);
        write_value(f, c->root->child[i], 0);
        fputs(";\n", f);
    }
    bool bad = ferror(f);
    if (fclose(f) || bad) {
        free(text);
        return NULL;
    }
    return text;
}

const char *config_value_text(const struct config_node *node, char *buf, size_t size)
{
    char *text = NULL;
    size_t n;
    FILE *f = open_memstream(&text, &n);
    if (f) {
        write_value(f, node, -1);
        if (fclose(f)) n = 0;
    }
    snprintf(buf, size, "%s", text && n ? text : "?");
    if (text && n >= size && size > 4) strcpy(buf + size - 4, "...");
    free(text);
    return buf;
}

/* "model.flow[2].bits" of a node. */
static void write_path(FILE *f, const struct config_node *node)
{
    const struct config_node *parent = node->parent;
    if (!parent) return;
    write_path(f, parent);
    if (node->key) {
        fprintf(f, "%s%s", parent->parent ? "." : "", node->key);
        return;
    }
    int i = 0;
    while (i < parent->n_child && parent->child[i] != node) i++;
    fprintf(f, "[%d]", i);
}

glow_status config_fail(const struct config_node *node, const char *format, ...)
{
    char text[2048], path[512] = "";
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    if (!node) return fail(GLOW_EINVAL, "%s", text);
    FILE *f = fmemopen(path, sizeof path, "w");
    if (f) {
        write_path(f, node);
        fclose(f);
    }
    path[sizeof path - 1] = '\0';
    const char *colon = path[0] ? ": " : "";
    if (node->line == 0)
        return fail(GLOW_EINVAL, "override %s: %s%s%s", node->file ? node->file : "", path, colon,
                    text);
    return fail(GLOW_EINVAL, "%s:%d: %s%s%s", node->file, node->line, path, colon, text);
}

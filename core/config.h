/* config.h - glow.cfg: libconfig's tree with overrides, positions, and errors that name them.
 * libconfig.h is included in config.c only. */
#ifndef CORE_CONFIG_H
#define CORE_CONFIG_H
#include <stdbool.h>
#include "status.h"

struct config;      /* one configuration: a file's text and the overrides */
struct config_node; /* one setting in it; lives as long as the config */

enum config_kind {
    CONFIG_GROUP = 1,
    CONFIG_LIST /* ( ) */,
    CONFIG_ARRAY /* [ ] */,
    CONFIG_INT,
    CONFIG_REAL,
    CONFIG_BOOL,
    CONFIG_STRING
};

/* Reads a file, or a text under a name that errors show. @include works relative to the file. */
glow_status config_load(struct config **, const char *path);
glow_status config_parse(struct config **, const char *text, const char *name);
void config_free(struct config *);
/* "train.steps=100": sets or adds a key; the value is configuration text, and a bare word is a
 * string. List elements by number: model.flow.[1].bits=5. Errors quote the assignment. */
glow_status config_set(struct config *, const char *assignment);
/* The whole configuration as text, overrides included; the caller frees. Parsing it again gives the
 * same tree. NULL when out of memory. */
char *config_text(const struct config *);
/* The directory of the file ("." for texts): relative paths in a config start there. */
const char *config_dir(const struct config *);

const struct config_node *config_root(const struct config *);
const struct config *config_of(const struct config_node *); /* the one that a node belongs to */
/* The setting at a dotted path below the root ("train.optimizer.lr"), or NULL. */
const struct config_node *config_find(const struct config *, const char *path);

enum config_kind config_kind(const struct config_node *);
const char *config_key(const struct config_node *); /* NULL for elements of lists */
int config_count(const struct config_node *);       /* members or elements; 0 for scalars */
const struct config_node *config_at(const struct config_node *, int i);
const struct config_node *config_member(const struct config_node *group,
                                        const char *key); /* or NULL */
int64_t config_int(const struct config_node *);        /* INT, BOOL; REAL with an integral value */
double config_real(const struct config_node *);        /* INT, REAL */
const char *config_string(const struct config_node *); /* STRING, else NULL */
bool config_overridden(const struct config_node *);    /* whether it comes from config_set */
/* A setting as configuration text ("0.5", "\"openai\""), into buf. Returns buf. */
const char *config_value_text(const struct config_node *, char *buf, size_t size);

/* fail() with the position in front: "glow.cfg:12: model.flow[2].bits: ...". Returns GLOW_EINVAL.
 */
glow_status config_fail(const struct config_node *, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
#endif

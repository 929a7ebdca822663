/* options.h - the options of a plug-in instance, or of a section such as `train`: a group of
 * glow.cfg checked against glow_option records, with defaults filled in. */
#ifndef CORE_OPTIONS_H
#define CORE_OPTIONS_H
#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>
#include "config.h"

struct options;

/* Checks every member of `group` (NULL: all defaults) against the descriptor's records: unknown
 * keys (with the nearest known one and the list of all), types, ranges, enums, list lengths,
 * required keys, aliases, deprecations (a warning). `also` lists keys that the caller handles
 * itself, NULL-terminated, may be NULL. `owner` names the instance in messages. */
glow_status options_resolve(struct options **, const struct glow_desc *,
                            const struct config_node *group, const char *const *also,
                            const char *owner);
void options_free(struct options *);

/* Values by key. Asking for a key that the descriptor lacks, or as another type, is the plug-in's
 * bug: *found (if not NULL) becomes false and the result is 0 or "". */
int64_t options_int(const struct options *, const char *key, bool *found); /* INT, BOOL */
double options_real(const struct options *, const char *key, bool *found); /* REAL, INT */
const char *options_string(const struct options *, const char *key, bool *found);
int64_t options_count(const struct options *, const char *key, bool *found);
double options_real_at(const struct options *, const char *key, int64_t i, bool *found);
const char *options_string_at(const struct options *, const char *key, int64_t i, bool *found);
/* A CHILD: the setting as written: a group { type = "id"; ... }, a string "id", or NULL when the
 * default (options_string, an id; "" = none) applies. */
const struct config_node *options_child(const struct options *, const char *key);
/* Whether the key stood in the configuration. */
bool options_given(const struct options *, const char *key);
/* The node of a key that was given (for config_fail), or NULL. */
const struct config_node *options_node(const struct options *, const char *key);
/* All resolved values as a JSON object, for checkpoints and `glow info`. The caller decrefs. */
json_t *options_json(const struct options *);
/* The inverse direction, for checkpoints: the same record with values from JSON (written by schema
 * `schema`); keys that the JSON lacks take `legacy` when since > schema, else the default. */
glow_status options_from_json(struct options **, const struct glow_desc *, const json_t *values,
                              uint32_t schema, const char *owner);

/* A manual page of a descriptor: key, type, default, range, unit, help, aliases, deprecations. */
void options_manual(FILE *, const struct glow_desc *);
/* Checks the records themselves (defaults parse and lie in range, no duplicate keys): a plug-in's
 * descriptor that fails is refused at load. The message names key and field. */
glow_status options_check_records(const struct glow_desc *);
#endif

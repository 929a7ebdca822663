/* session.h - what most commands begin with: a configuration with its overrides, its settings, the
 * plug-ins it names, and the model, new or out of a checkpoint. */
#ifndef HOST_SESSION_H
#define HOST_SESSION_H
#include "arguments.h"
#include "checkpoint.h"
#include "data.h"
#include "model.h"
#include "settings.h"

struct session {
    struct config *config; /* the model's as soon as there is one */
    struct settings settings;
    struct registry *registry;
    struct model *model; /* NULL: only the configuration is open */
};

/* The two that begin a session leave a closed one behind when they fail.
 *
 * Reads a configuration file and applies the overrides; no plug-in is loaded, no model made. */
glow_status session_open(struct session *, const char *path, const struct overrides *);
/* The configuration and the model of a checkpoint: a file, or a run directory, whose latest is
 * taken. `config` (may be NULL) is a file to read in place of the stored configuration; its model
 * must be the checkpoint's. The checkpoint stays open for checkpoint_resume if `out` is not NULL.
 */
glow_status session_restore(struct session *, const char *path, const char *config,
                            const struct overrides *, struct checkpoint **out);
/* Builds the model, with initial parameters. `input` is used when the configuration has no
 * model.input. */
glow_status session_build(struct session *, const struct glow_type *input);
/* Opens a split of the data, as the model takes it. */
glow_status session_data(struct session *, const char *split, struct data **);
/* Makes the relative paths of the configuration absolute, so that a copy of it means the same
 * anywhere. Before the model is built. */
glow_status session_anchor(struct session *);
void session_close(struct session *);

/* "32x32x1" (height, width, channels) or "2": into buf, which is returned. */
const char *session_shape(const struct glow_type *, char *buf, size_t size);
#endif

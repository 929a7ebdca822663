/* checkpoint.h - a model and the state of its training in one safetensors file. docs/checkpoint.md
 * lists names and metadata. Written atomically: an interrupted save leaves the old file. */
#ifndef CORE_CHECKPOINT_H
#define CORE_CHECKPOINT_H
#include "model.h"
#include "train.h"

struct checkpoint; /* an open file */

/* Saves parameters and, when `t` is not NULL, the optimizer's moments and counters. */
glow_status checkpoint_save(const char *path, const struct model *, const struct trainer *t);

/* Opens and checks a file: format, version, configuration, instances. */
glow_status checkpoint_open(struct checkpoint **, const char *path);
void checkpoint_close(struct checkpoint *);
const char *checkpoint_path(const struct checkpoint *);
uint64_t checkpoint_step(const struct checkpoint *);
const char *checkpoint_config(const struct checkpoint *); /* text */
/* Resolved options by instance path: for model_options.stored and `glow info`. */
const json_t *checkpoint_instances(const struct checkpoint *);
/* Builds the checkpoint's model with its parameters (and moving average); *config, if not NULL, is
 * used in place of the stored text (taken over, also on failure), so that a caller can add
 * overrides. */
glow_status checkpoint_model(struct checkpoint *, struct registry *, const struct model_options *,
                             struct config *config, struct model **);
/* Fills the parameters of a model of the same shape. Errors name the parameter and both shapes. */
glow_status checkpoint_load(struct checkpoint *, struct model *);
/* Continues training: moments, counters, memory policy. */
glow_status checkpoint_resume(struct checkpoint *, struct trainer *);
#endif

/* run.h - the directory of a training run:
 *   config.cfg                    the configuration, overrides included
 *   log.jsonl                     a JSON object a line: kinds start, train, test, done
 * (core/runlog.h) checkpoint.safetensors        the latest; checkpoint-<step>.safetensors: older
 * ones that are kept samples-<step>.png            samples loss.svg                      the curves
 * of log.jsonl result.json                   what the end of training measured */
#ifndef HOST_RUN_H
#define HOST_RUN_H
#include "checkpoint.h"

enum { RUN_PATH = 4096 };

/* dir/name into buf of RUN_PATH bytes, which is returned. */
const char *run_path(char *buf, const char *dir, const char *name);
/* "runs/<name of the file without .cfg>" into buf of RUN_PATH bytes, which is returned. */
const char *run_default_directory(char *buf, const char *config_path);
/* Refuses a directory that holds anything. */
glow_status run_check_empty(const char *dir);
/* Refuses a directory that another process trains in. *lock is a descriptor, to be closed at the
 * end, or -1. */
glow_status run_lock(const char *dir, int *lock);
/* Makes the directory, locks it, and clears it of the files of an older run, and of nothing else;
 * without `force` there must be none. */
glow_status run_create(const char *dir, bool force, int *lock);
/* Writes config.cfg. */
glow_status run_save_config(const char *dir, const struct config *);
/* Saves the latest checkpoint; then keeps it and the `keep` - 1 before it under names with steps.
 */
glow_status run_save_checkpoint(const char *dir, const struct trainer *, int64_t keep);
#endif

/* runlog.h - log.jsonl of a run: one JSON object a line, {"kind": "train", "step": 100, ...},
 * written out at once so that a killed run loses nothing but its last line. Resuming cuts off what
 * was logged behind the checkpoint, so that the curve stays true. */
#ifndef CORE_RUNLOG_H
#define CORE_RUNLOG_H
#include "status.h"

struct runlog;
struct runlog_field {
    const char *key;
    double value;     /* whole numbers are written as such, NaN and infinities as null */
    const char *text; /* when not NULL: a text instead of the number; UTF-8 */
};

/* Opens a log for appending. Lines that are there stay up to step `resumed` (lines without a step
 * and those of other steps alike keep their order); a negative `resumed` starts an empty log. */
glow_status runlog_open(struct runlog **, const char *path, int64_t resumed);
/* Appends one line; a negative step is left out. */
glow_status runlog_write(struct runlog *, const char *kind, int64_t step,
                         const struct runlog_field *fields, int n);
void runlog_close(struct runlog *);

/* The numbers under `key` in all lines of a kind, over their steps. */
struct runlog_series {
    double *step, *value; /* n of them; runlog_series_free frees */
    int64_t n;
};
/* Lines that lack the key, or hold null there, are left out; a last line cut short is ignored. */
glow_status runlog_read(struct runlog_series *, const char *path, const char *kind,
                        const char *key);
void runlog_series_free(struct runlog_series *);
#endif

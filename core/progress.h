/* progress.h - the line that shows how far a training is: on a terminal one that rewrites itself,
 *   step 1200/2000  60%   3.412 bits/dim   512 images/s   1:34 left
 * elsewhere (a log file, a pipe) a plain line now and then. */
#ifndef CORE_PROGRESS_H
#define CORE_PROGRESS_H
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

struct progress {
    FILE *stream;
    bool terminal, shown; /* shown: the cursor stands behind a line that can be rewritten */
    const char *unit;     /* of the loss: "bits/dim", "nats" */
    int64_t first, total; /* steps done before, and in the end */
    double start, last;   /* seconds: when it began, when it was drawn last */
    double mark, rate;    /* when the speed was measured last; images a second, smoothed */
    int64_t mark_step;
    double step_time; /* seconds a step, smoothed */
};

/* `first` steps are done already (a resumed run), `total` will be in the end. */
void progress_start(struct progress *, FILE *stream, int64_t first, int64_t total,
                    const char *unit);
/* After `step` steps of `batch` images each. Cheap enough for every step: draws ten times a second
 * on a terminal, else after 1, 2, 5 and 10 seconds and then every ten. */
void progress_update(struct progress *, int64_t step, int64_t batch, double loss);
/* Clears the line, so that something else can be printed; the next update draws it again. */
void progress_clear(struct progress *);
/* Leaves the last state as a finished line. */
void progress_end(struct progress *, int64_t step, double loss);
/* The smoothed speed, for logs: images a second. */
static inline double progress_rate(const struct progress *p) { return p->rate; }
/* "1:34", "2:05:09"; "?" for what is not known. Returns buf. */
const char *progress_time(double seconds, char *buf, size_t size);
#endif

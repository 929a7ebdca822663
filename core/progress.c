/* progress.c - measuring the speed and drawing the line of progress.h. */
#include "progress.h"

#include <math.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define SMOOTHING  10.0 /* seconds over which the speed is averaged */
#define REDRAW     0.1
#define PLAIN_TIME 10.0

static double seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

const char *progress_time(double left, char *buf, size_t size)
{
    if (!(left >= 0 && left < 1e8)) {
        snprintf(buf, size, "?");
        return buf;
    }
    long s = (long)(left + 0.5);
    if (s >= 3600)
        snprintf(buf, size, "%ld:%02ld:%02ld", s / 3600, s / 60 % 60, s % 60);
    else
        snprintf(buf, size, "%ld:%02ld", s / 60, s % 60);
    return buf;
}

void progress_start(struct progress *p, FILE *stream, int64_t first, int64_t total,
                    const char *unit)
{
    int descriptor = fileno(stream);
    memset(p, 0, sizeof *p);
    p->stream = stream;
    p->terminal = descriptor >= 0 && isatty(descriptor);
    p->unit = unit;
    p->first = p->mark_step = first;
    p->total = total;
    p->start = p->mark = seconds();
    p->last = -INFINITY;
}

/* Averages the time of a step over the last SMOOTHING seconds or so; the weight of the newest is
 * larger while there is little to average. */
static void measure(struct progress *p, double now, int64_t step, int64_t batch)
{
    double passed = now - p->mark;
    int64_t steps = step - p->mark_step;
    if (steps < 1 || passed <= 0 || (passed < 0.05 && p->step_time > 0)) return;
    double weight = 1 - exp(-passed / fmin(SMOOTHING, now - p->start));
    double newest = passed / (double)steps;
    p->step_time = p->step_time > 0 ? p->step_time + weight * (newest - p->step_time) : newest;
    p->rate = (double)batch / p->step_time;
    p->mark = now;
    p->mark_step = step;
}

static void draw(struct progress *p, int64_t step, double loss, const char *time, const char *word)
{
    double part = p->total > 0 ? 100 * (double)step / (double)p->total : 100;
    fprintf(p->stream, "%sstep %lld/%lld %3.0f%%   %.3f %s   %.*f images/s   %s %s%s",
            p->terminal ? "\r" : "", (long long)step, (long long)p->total, floor(part), loss,
            p->unit,
            p->rate < 9.95   ? 2
            : p->rate < 99.5 ? 1
                             : 0,
            p->rate, time, word, p->terminal ? "\033[K" : "\n");
    fflush(p->stream);
    p->shown = p->terminal;
}

/* Without a terminal: after 1, 2, 5 and 10 seconds, then every ten. */
static double plain_interval(const struct progress *p, double now)
{
    double age = now - p->start;
    return isinf(p->last) ? 0 : age < 3 ? 1 : age < 6 ? 3 : age < 11 ? 5 : PLAIN_TIME;
}

void progress_update(struct progress *p, int64_t step, int64_t batch, double loss)
{
    char text[32];
    double now = seconds();
    measure(p, now, step, batch);
    if (now - p->last < (p->terminal ? REDRAW : plain_interval(p, now))) return;
    p->last = now;
    draw(p, step, loss, progress_time((double)(p->total - step) * p->step_time, text, sizeof text),
         "left");
}

void progress_clear(struct progress *p)
{
    if (!p->shown) return;
    fputs("\r\033[K", p->stream);
    fflush(p->stream);
    p->shown = false;
    p->last = -INFINITY;
}

void progress_end(struct progress *p, int64_t step, double loss)
{
    char text[32];
    if (step <= p->first) {
        progress_clear(p);
        return;
    }
    draw(p, step, loss, progress_time(seconds() - p->start, text, sizeof text), "in all");
    if (p->terminal) fputc('\n', p->stream);
    fflush(p->stream);
    p->shown = false;
}

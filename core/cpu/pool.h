/* pool.h - the threads that share a kernel's work. A kernel cuts its work into tasks by shapes
 * alone, and the pool hands them to its threads, the caller among them: to each the same part of
 * all tasks, because what one task wrote is often read by that of the same number in the next job,
 * and then what others have not begun: results can't depend on the number of threads. Idle threads
 * spin for some 50 us, then sleep. */
#ifndef CORE_CPU_POOL_H
#define CORE_CPU_POOL_H
#include <stdint.h>
#include "../status.h"

struct pool;
struct engine;

/* One task. `worker` is 0 (the caller) .. threads-1: the index of scratch of its own. */
typedef void (*pool_task)(void *arg, int64_t task, int worker);

/* A pool of that many threads, the caller included (threads >= 1). */
glow_status pool_new(struct pool **, int threads);
void pool_free(struct pool *);
int pool_threads(const struct pool *);
/* Runs tasks 0..n-1 and returns when all are done; plain calls when n = 1 or there is one thread. A
 * task must not run another pool_run, unless it is the only one, nor fail(): messages belong to the
 * calling thread. */
void pool_run(struct pool *, int64_t n, pool_task, void *arg);

/* Items first .. end-1 of some work. */
typedef void (*pool_part)(void *arg, int64_t first, int64_t end);
/* Cuts items 0..n-1 into a part for each thread, none with less than `least` items but the last.
 * Only for work whose result is the same however it is cut. Pool NULL: the caller does it all. */
void pool_share(struct pool *, int64_t n, int64_t least, pool_part, void *arg);

struct pool *engine_pool(struct engine *); /* of run->engine, for kernels */
#endif

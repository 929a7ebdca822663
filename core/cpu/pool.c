/* pool.c - threads that take task numbers from atomic words.
 *
 * Each thread has a ticket, which holds the job's number (high half) and the next task (low half)
 * of its share of the tasks. A thread takes a task by adding one to a ticket with compare-and-swap:
 * when that succeeds, the ticket was still the one it had read, so the job that it read in between
 * is the right one. It takes the tasks of its own share first, then what others have left. No
 * thread is waited for but those that hold a task: one that sleeps through a job costs nothing.
 * Only sleeping and waking take a lock. */
#include "pool.h"
#include <assert.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <time.h>

enum { SPIN_NANOSECONDS = 50000, SPINS_PER_CLOCK = 64, SPINS_BEFORE_YIELD = 2000 };
#define TASKS_CLOSED UINT32_MAX /* low half of a ticket while a job is being written */

/* Of one thread, alone in its cache line. */
struct worker {
    _Alignas(64) atomic_uint_fast64_t ticket;
    struct pool *pool;
    pthread_t thread;
    int index;
};

struct pool {
    _Alignas(64) atomic_uint_fast64_t job; /* that was opened last */
    _Atomic(pool_task) task;
    _Atomic(void *) arg;
    atomic_uint_fast32_t n_tasks;
    atomic_bool stop;
    _Alignas(64) atomic_uint_fast32_t done; /* tasks of this job that have returned */
    _Alignas(64) atomic_int sleepers;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    int threads, started;   /* started: without the caller */
    struct worker worker[]; /* the caller's first */
};

static void pause_processor(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

static int64_t nanoseconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

/* The first task of a thread's share of n; that of the next is its end. */
static uint32_t share(const struct pool *pool, uint32_t n, int index)
{
    const uint64_t threads = (uint64_t)pool->threads;
    return (uint32_t)(((uint64_t)n * (uint64_t)index + threads - 1) / threads);
}

/* Takes and runs tasks of one thread's share until it has none left. */
static void work_on(struct pool *pool, int owner, int index)
{
    atomic_uint_fast64_t *at = &pool->worker[owner].ticket;
    uint64_t ticket = atomic_load(at);
    for (;;) {
        /* Acquire: whoever sees a new job's fields also sees that the old tickets are closed. */
        uint32_t n = (uint32_t)atomic_load_explicit(&pool->n_tasks, memory_order_acquire);
        pool_task task = atomic_load_explicit(&pool->task, memory_order_acquire);
        void *arg = atomic_load_explicit(&pool->arg, memory_order_acquire);
        uint32_t next = (uint32_t)ticket;
        if (next == TASKS_CLOSED || next >= share(pool, n, owner + 1)) return;
        if (!atomic_compare_exchange_weak(at, &ticket, ticket + 1)) continue;
        task(arg, next, index);
        atomic_fetch_add(&pool->done, 1);
        ticket = atomic_load(at);
    }
}

static void work(struct pool *pool, int index)
{
    for (int i = 0; i < pool->threads; i++) work_on(pool, (index + i) % pool->threads, index);
}

/* Waits for a job after the last one seen, at first awake. False when the pool is closing. */
static bool wait_for_job(struct pool *pool, uint64_t *seen)
{
    int64_t until = nanoseconds() + SPIN_NANOSECONDS;
    uint64_t job;
    do {
        for (int i = 0; i < SPINS_PER_CLOCK; i++) {
            if ((job = atomic_load(&pool->job)) != *seen) {
                *seen = job;
                return true;
            }
            pause_processor();
        }
    } while (nanoseconds() < until && !atomic_load(&pool->stop));
    pthread_mutex_lock(&pool->lock);
    atomic_fetch_add(&pool->sleepers, 1);
    while ((job = atomic_load(&pool->job)) == *seen && !atomic_load(&pool->stop))
        pthread_cond_wait(&pool->wake, &pool->lock);
    atomic_fetch_sub(&pool->sleepers, 1);
    pthread_mutex_unlock(&pool->lock);
    *seen = job;
    return !atomic_load(&pool->stop);
}

static void *worker_main(void *arg)
{
    struct worker *self = arg;
    uint64_t seen = 0;
    while (wait_for_job(self->pool, &seen)) work(self->pool, self->index);
    return NULL;
}

/* A thread counts itself as a sleeper before it looks at the job for the last time, and the job is
 * written before the sleepers are counted here: one of the two sees the other. */
static void wake_sleepers(struct pool *pool)
{
    if (atomic_load(&pool->sleepers) == 0) return;
    pthread_mutex_lock(&pool->lock);
    pthread_cond_broadcast(&pool->wake);
    pthread_mutex_unlock(&pool->lock);
}

static void run_job(struct pool *pool, uint32_t n, pool_task task, void *arg)
{
    const uint64_t job = atomic_load(&pool->job) + 1;
    for (int i = 0; i < pool->threads; i++)
        atomic_store(&pool->worker[i].ticket, job << 32 | TASKS_CLOSED);
    atomic_store(&pool->done, 0);
    atomic_store(&pool->task, task);
    atomic_store(&pool->arg, arg);
    atomic_store(&pool->n_tasks, n);
    for (int i = 0; i < pool->threads; i++)
        atomic_store(&pool->worker[i].ticket, job << 32 | share(pool, n, i));
    atomic_store(&pool->job, job);
    wake_sleepers(pool);
    work(pool, 0);
    for (int spins = 0; atomic_load(&pool->done) < n; spins++) {
        if (spins < SPINS_BEFORE_YIELD)
            pause_processor();
        else
            sched_yield();
    }
}

void pool_run(struct pool *pool, int64_t n, pool_task task, void *arg)
{
    if (n <= 1 || pool->threads == 1) {
        for (int64_t i = 0; i < n; i++) task(arg, i, 0);
        return;
    }
    assert(n < TASKS_CLOSED);
    run_job(pool, (uint32_t)n, task, arg);
}

struct parts {
    pool_part part;
    void *arg;
    int64_t n, size;
};

static void run_part(void *arg, int64_t task, int worker)
{
    const struct parts *p = arg;
    const int64_t first = task * p->size, end = first + p->size;
    (void)worker;
    p->part(p->arg, first, end < p->n ? end : p->n);
}

void pool_share(struct pool *pool, int64_t n, int64_t least, pool_part part, void *arg)
{
    const int64_t threads = pool ? pool->threads : 1, even = (n + threads - 1) / threads;
    struct parts parts = { part, arg, n, even > least ? even : least };
    if (parts.size >= n)
        part(arg, 0, n);
    else
        pool_run(pool, (n + parts.size - 1) / parts.size, run_part, &parts);
}

glow_status pool_new(struct pool **out, int threads)
{
    size_t bytes = sizeof(struct pool) + (size_t)threads * sizeof(struct worker);
    struct pool *pool = aligned_alloc(64, bytes);
    *out = NULL;
    if (!pool) return fail_memory(bytes, "thread pool");
    atomic_init(&pool->job, 0);
    for (int i = 0; i < threads; i++) atomic_init(&pool->worker[i].ticket, 0);
    atomic_init(&pool->task, NULL);
    atomic_init(&pool->arg, NULL);
    atomic_init(&pool->n_tasks, 0);
    atomic_init(&pool->done, 0);
    atomic_init(&pool->stop, false);
    atomic_init(&pool->sleepers, 0);
    pthread_mutex_init(&pool->lock, NULL);
    pthread_cond_init(&pool->wake, NULL);
    pool->threads = threads;
    for (pool->started = 0; pool->started < threads - 1; pool->started++) {
        struct worker *worker = &pool->worker[pool->started + 1];
        worker->pool = pool;
        worker->index = pool->started + 1;
        if (pthread_create(&worker->thread, NULL, worker_main, worker) != 0) {
            int started = pool->started + 1;
            pool_free(pool);
            return fail(GLOW_ENOMEM, "thread pool: the system gives %d of %d threads", started,
                        threads);
        }
    }
    *out = pool;
    return GLOW_OK;
}

void pool_free(struct pool *pool)
{
    if (!pool) return;
    pthread_mutex_lock(&pool->lock);
    atomic_store(&pool->stop, true);
    pthread_cond_broadcast(&pool->wake);
    pthread_mutex_unlock(&pool->lock);
    for (int i = 0; i < pool->started; i++) pthread_join(pool->worker[i + 1].thread, NULL);
    pthread_cond_destroy(&pool->wake);
    pthread_mutex_destroy(&pool->lock);
    free(pool);
}

int pool_threads(const struct pool *pool) { return pool->threads; }

/* pool.c - threads that take task numbers from one atomic word.
 *
 * The ticket holds the job's number (high half) and the next task (low half). A thread takes a task
 * by adding one to it with compare-and-swap: when that succeeds, the ticket was still the one it
 * had read, so the job that it read in between is the right one. No thread is waited for but those
 * that hold a task: one that sleeps through a job costs nothing. Only sleeping and waking take a
 * lock. */
#include "pool.h"
#include <assert.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <time.h>

enum { SPIN_NANOSECONDS = 50000, SPINS_PER_CLOCK = 64, SPINS_BEFORE_YIELD = 2000 };
#define TASKS_CLOSED UINT32_MAX /* low half of the ticket while a job is being written */

struct worker {
    struct pool *pool;
    pthread_t thread;
    int index;
};

struct pool {
    _Alignas(64) atomic_uint_fast64_t ticket;
    _Atomic(pool_task) task;
    _Atomic(void *) arg;
    atomic_uint_fast32_t n_tasks;
    atomic_bool stop;
    _Alignas(64) atomic_uint_fast32_t done; /* tasks of this job that have returned */
    _Alignas(64) atomic_int sleepers;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    int threads, started;
    struct worker worker[]; /* threads - 1 */
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

/* Takes and runs tasks until the job has none left. */
static void work(struct pool *pool, int index)
{
    uint64_t ticket = atomic_load(&pool->ticket);
    for (;;) {
        /* Acquire: whoever sees a new job's fields also sees that the old ticket is closed. */
        uint32_t n = (uint32_t)atomic_load_explicit(&pool->n_tasks, memory_order_acquire);
        pool_task task = atomic_load_explicit(&pool->task, memory_order_acquire);
        void *arg = atomic_load_explicit(&pool->arg, memory_order_acquire);
        uint32_t next = (uint32_t)ticket;
        if (next == TASKS_CLOSED || next >= n) return;
        if (!atomic_compare_exchange_weak(&pool->ticket, &ticket, ticket + 1)) continue;
        task(arg, next, index);
        atomic_fetch_add(&pool->done, 1);
        ticket = atomic_load(&pool->ticket);
    }
}

/* Whether there is something to do. Read while a job is being written it may be wrong: work()
 * isn't. */
static bool has_tasks(struct pool *pool)
{
    uint32_t next = (uint32_t)atomic_load(&pool->ticket);
    return next != TASKS_CLOSED && next < (uint32_t)atomic_load(&pool->n_tasks);
}

/* Waits for tasks, at first awake. False when the pool is closing. */
static bool wait_for_tasks(struct pool *pool)
{
    int64_t until = nanoseconds() + SPIN_NANOSECONDS;
    do {
        for (int i = 0; i < SPINS_PER_CLOCK; i++) {
            if (has_tasks(pool)) return true;
            pause_processor();
        }
    } while (nanoseconds() < until && !atomic_load(&pool->stop));
    pthread_mutex_lock(&pool->lock);
    atomic_fetch_add(&pool->sleepers, 1);
    while (!has_tasks(pool) && !atomic_load(&pool->stop))
        pthread_cond_wait(&pool->wake, &pool->lock);
    atomic_fetch_sub(&pool->sleepers, 1);
    pthread_mutex_unlock(&pool->lock);
    return !atomic_load(&pool->stop);
}

static void *worker_main(void *arg)
{
    struct worker *self = arg;
    while (wait_for_tasks(self->pool)) work(self->pool, self->index);
    return NULL;
}

/* A thread counts itself as a sleeper before it looks at the ticket for the last time, and the
 * ticket is written before the sleepers are counted here: one of the two sees the other. */
static void wake_sleepers(struct pool *pool)
{
    if (atomic_load(&pool->sleepers) == 0) return;
    pthread_mutex_lock(&pool->lock);
    pthread_cond_broadcast(&pool->wake);
    pthread_mutex_unlock(&pool->lock);
}

static void run_job(struct pool *pool, uint32_t n, pool_task task, void *arg)
{
    uint64_t job = (atomic_load(&pool->ticket) >> 32) + 1;
    atomic_store(&pool->ticket, job << 32 | TASKS_CLOSED);
    atomic_store(&pool->done, 0);
    atomic_store(&pool->task, task);
    atomic_store(&pool->arg, arg);
    atomic_store(&pool->n_tasks, n);
    atomic_store(&pool->ticket, job << 32);
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

glow_status pool_new(struct pool **out, int threads)
{
    size_t bytes = sizeof(struct pool) + (size_t)(threads - 1) * sizeof(struct worker);
    bytes = (bytes + 63) / 64 * 64;
    struct pool *pool = aligned_alloc(64, bytes);
    *out = NULL;
    if (!pool) return fail_memory(bytes, "thread pool");
    atomic_init(&pool->ticket, 0);
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
        struct worker *worker = &pool->worker[pool->started];
        *worker = (struct worker){ .pool = pool, .index = pool->started + 1 };
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
    for (int i = 0; i < pool->started; i++) pthread_join(pool->worker[i].thread, NULL);
    pthread_cond_destroy(&pool->wake);
    pthread_mutex_destroy(&pool->lock);
    free(pool);
}

int pool_threads(const struct pool *pool) { return pool->threads; }

/* test_pool.c - the thread pool: each task runs once, threads sleep and wake, each has a fixed
 * share of every job and takes from what others have not begun. Tasks that wait for others make the
 * order certain: no test here depends on which thread is quick. */
#include "cpu/pool.h"
#include <check.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

enum { TASKS = 1000 };
struct tally {
    atomic_int count[TASKS];
    atomic_int by_worker[8];
};

static void tally_task(void *arg, int64_t task, int worker)
{
    struct tally *t = arg;
    atomic_fetch_add(&t->count[task], 1);
    atomic_fetch_add(&t->by_worker[worker], 1);
}

START_TEST(each_task_runs_once)
{
    static const int threads[] = { 1, 2, 3, 8 };
    for (int i = 0; i < 4; i++) {
        struct pool *pool;
        struct tally *t = calloc(1, sizeof *t);
        ck_assert_ptr_nonnull(t);
        ck_assert_int_eq(pool_new(&pool, threads[i]), GLOW_OK);
        ck_assert_int_eq(pool_threads(pool), threads[i]);
        int wanted[TASKS] = { 0 }, total = 0;
        for (int round = 0; round < 2000; round++) {
            int n = round % 7 == 0 ? TASKS : round % 23;
            for (int k = 0; k < n; k++) wanted[k]++;
            total += n;
            pool_run(pool, n, tally_task, t);
            if (round % 500 == 0) usleep(1000); /* let them fall asleep */
        }
        for (int k = 0; k < TASKS; k++)
            if (t->count[k] != wanted[k]) ck_abort_msg("task %d ran %d times", k, t->count[k]);
        for (int k = 0; k < 8; k++) total -= t->by_worker[k];
        ck_assert_int_eq(total, 0);
        for (int k = threads[i]; k < 8; k++) ck_assert_int_eq(t->by_worker[k], 0);
        pool_free(pool);
        free(t);
    }
    pool_free(NULL);
}
END_TEST

static void meet_task(void *arg, int64_t task, int worker)
{
    pthread_barrier_t *barrier = arg;
    (void)task, (void)worker;
    pthread_barrier_wait(barrier);
}

/* Tasks that wait for each other end only if so many threads really work, also those that slept. */
START_TEST(sleeping_threads_are_woken)
{
    struct pool *pool;
    pthread_barrier_t barrier;
    ck_assert_int_eq(pool_new(&pool, 3), GLOW_OK);
    pthread_barrier_init(&barrier, NULL, 3);
    for (int round = 0; round < 20; round++) {
        usleep(2000);
        pool_run(pool, 3, meet_task, &barrier);
    }
    pthread_barrier_destroy(&barrier);
    pool_free(pool);
}
END_TEST

static double processor_seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

START_TEST(idle_threads_sleep)
{
    struct pool *pool;
    struct tally *t = calloc(1, sizeof *t);
    ck_assert_ptr_nonnull(t);
    ck_assert_int_eq(pool_new(&pool, 4), GLOW_OK);
    pool_run(pool, TASKS, tally_task, t);
    usleep(20000);
    double before = processor_seconds();
    usleep(200000);
    ck_assert(processor_seconds() - before < 0.02);
    pool_free(pool);
    free(t);
}
END_TEST

/* ---------------------------------------------------------------- who does what */

enum { SHARERS = 4, MOST_ROUNDS = 3 };
struct lockstep {
    pthread_barrier_t barrier;
    int worker[SHARERS * MOST_ROUNDS]; /* of each task */
};

static void lockstep_task(void *arg, int64_t task, int worker)
{
    struct lockstep *l = arg;
    l->worker[task] = worker;
    pthread_barrier_wait(&l->barrier);
}

/* A task ends when all threads have one. So no thread has done its share before every other has
 * begun the last of its own: there is nothing left to take, and each must have done its own share.
 */
START_TEST(each_thread_has_the_same_share_of_every_job)
{
    struct pool *pool;
    struct lockstep l;
    ck_assert_int_eq(pool_new(&pool, SHARERS), GLOW_OK);
    pthread_barrier_init(&l.barrier, NULL, SHARERS);
    for (int job = 0; job < 300; job++) {
        int rounds = 1 + job % MOST_ROUNDS, n = SHARERS * rounds;
        if (job % 100 == 0) usleep(1000); /* let them fall asleep */
        pool_run(pool, n, lockstep_task, &l);
        for (int k = 0; k < n; k++) ck_assert_int_eq(l.worker[k], k / rounds);
    }
    pthread_barrier_destroy(&l.barrier);
    pool_free(pool);
}
END_TEST

enum { LATE = 16 };
struct late {
    atomic_int done;
    int count[LATE], worker[LATE];
};

/* The first task of the second share, LATE / 2, takes until all others are done. */
static void late_task(void *arg, int64_t task, int worker)
{
    struct late *l = arg;
    while (task == LATE / 2 && atomic_load(&l->done) < LATE - 1) usleep(100);
    l->count[task]++;
    l->worker[task] = worker;
    atomic_fetch_add(&l->done, 1);
}

START_TEST(others_take_what_a_late_thread_has_not_begun)
{
    struct pool *pool;
    ck_assert_int_eq(pool_new(&pool, 2), GLOW_OK);
    for (int job = 0; job < 20; job++) {
        struct late l = { 0 };
        pool_run(pool, LATE, late_task, &l);
        for (int k = 0; k < LATE; k++) ck_assert_int_eq(l.count[k], 1);
        for (int k = LATE / 2 + 1; k < LATE; k++) ck_assert_int_ne(l.worker[k], l.worker[LATE / 2]);
    }
    pool_free(pool);
}
END_TEST

/* ---------------------------------------------------------------- parts */

struct cut {
    atomic_int count[TASKS], parts, small;
    int64_t n, least;
};

static void cut_part(void *arg, int64_t first, int64_t end)
{
    struct cut *c = arg;
    for (int64_t i = first; i < end; i++) atomic_fetch_add(&c->count[i], 1);
    atomic_fetch_add(&c->parts, 1);
    if (end - first < c->least && end < c->n) atomic_fetch_add(&c->small, 1);
}

START_TEST(parts_cover_all_items)
{
    static const int64_t sizes[] = { 1, 2, 7, 64, TASKS }, least[] = { 1, 10, TASKS + 1 };
    for (int threads = 0; threads <= 4; threads++) {
        struct pool *pool = NULL;
        if (threads > 0) ck_assert_int_eq(pool_new(&pool, threads), GLOW_OK);
        for (int k = 0; k < 15; k++) {
            struct cut *c = calloc(1, sizeof *c);
            ck_assert_ptr_nonnull(c);
            c->n = sizes[k % 5];
            c->least = least[k / 5];
            pool_share(pool, c->n, c->least, cut_part, c);
            for (int64_t i = 0; i < TASKS; i++) ck_assert_int_eq(c->count[i], i < c->n);
            ck_assert_int_le(c->parts, threads > 1 ? threads : 1);
            ck_assert_int_eq(c->small, 0);
            if (c->least == 1 && c->n == TASKS) /* to all of them */
                ck_assert_int_eq(c->parts, threads > 1 ? threads : 1);
            free(c);
        }
        pool_free(pool);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("pool");
    TCase *tcase = tcase_create("pool");
    tcase_set_timeout(tcase, 60);
    tcase_add_test(tcase, each_task_runs_once);
    tcase_add_test(tcase, sleeping_threads_are_woken);
    tcase_add_test(tcase, idle_threads_sleep);
    tcase_add_test(tcase, each_thread_has_the_same_share_of_every_job);
    tcase_add_test(tcase, others_take_what_a_late_thread_has_not_begun);
    tcase_add_test(tcase, parts_cover_all_items);
    suite_add_tcase(suite, tcase);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed > 0;
}

/* test_steady.c - once warm, a training step takes no memory from anyone: no allocation by any
 * thread, the data's workers included, and no page that the process has not touched before. The
 * same for programs that sample, encode, decode and evaluate.
 *
 * This program's own malloc and its relatives stand before libc's for every library and plug-in;
 * they count and pass on. What a step touches first only by chance (the code that puts an idle
 * thread to sleep, say) costs a page once: of several windows one must be free of page faults, all
 * of them of allocations. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* RTLD_NEXT */
#endif
#include <dlfcn.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include "rig.h"

/* Sanitizers have an allocator of their own. */
#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANITIZED
#endif
#endif
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED
#endif
#ifdef SANITIZED
int main(void) { return 77; }
#else

/* ---------------------------------------------------------------- the counting allocator */

static atomic_bool counting;
static atomic_long allocations;

/* What the search for libc's functions itself asks for. Never given back. */
static _Alignas(64) char early[1 << 14];
static size_t early_used;

static struct {
    void *(*malloc)(size_t);
    void *(*calloc)(size_t, size_t);
    void *(*realloc)(void *, size_t);
    void *(*aligned_alloc)(size_t, size_t);
    void *(*mmap)(void *, size_t, int, int, int, off_t);
    int (*posix_memalign)(void **, size_t, size_t);
    void (*free)(void *);
    bool finding;
} next;

static void find(void *function, const char *name)
{
    void *found = dlsym(RTLD_NEXT, name);
    if (!found) abort();
    memcpy(function, &found, sizeof found);
}

/* False while the functions are being looked for. */
static bool ready(void)
{
    if (atomic_load_explicit(&counting, memory_order_relaxed)) atomic_fetch_add(&allocations, 1);
    if (next.free) return true;
    if (next.finding) return false;
    next.finding = true;
    find(&next.malloc, "malloc");
    find(&next.calloc, "calloc");
    find(&next.realloc, "realloc");
    find(&next.aligned_alloc, "aligned_alloc");
    find(&next.mmap, "mmap");
    find(&next.posix_memalign, "posix_memalign");
    find(&next.free, "free");
    return true;
}

static void *early_take(size_t n)
{
    n = (n + 63) / 64 * 64;
    if (n > sizeof early - early_used) abort();
    early_used += n;
    return early + early_used - n;
}

#pragma GCC visibility push(default)
void *malloc(size_t n) { return ready() ? next.malloc(n) : early_take(n); }
void *calloc(size_t n, size_t size)
{
    return ready() ? next.calloc(n, size) : early_take(n * size);
}
void *realloc(void *p, size_t n) { return ready() ? next.realloc(p, n) : NULL; }
void *aligned_alloc(size_t alignment, size_t n)
{
    return ready() ? next.aligned_alloc(alignment, n) : NULL;
}
int posix_memalign(void **p, size_t alignment, size_t n)
{
    return ready() ? next.posix_memalign(p, alignment, n) : ENOMEM;
}
void *mmap(void *p, size_t n, int protection, int flags, int file, off_t offset)
{
    return ready() ? next.mmap(p, n, protection, flags, file, offset) : MAP_FAILED;
}
void free(void *p)
{
    if ((char *)p >= early && (char *)p < early + sizeof early) return;
    if (next.free) next.free(p);
}
#pragma GCC visibility pop

/* ---------------------------------------------------------------- windows */

enum { WARM_UP = 5, WINDOWS = 5, STEPS = 20, BATCH = 16 };

static long page_faults(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return usage.ru_minflt + usage.ru_majflt;
}

/* Runs step(context) until it is warm, then in windows. */
static void check_steady(const char *what, void (*step)(void *), void *context)
{
    long least = -1;
    for (int i = 0; i < WARM_UP; i++) step(context);
    for (int window = 0; window < WINDOWS && least != 0; window++) {
        long before = page_faults();
        atomic_store(&allocations, 0);
        atomic_store(&counting, true);
        for (int i = 0; i < STEPS; i++) step(context);
        atomic_store(&counting, false);
        long faults = page_faults() - before, n = atomic_load(&allocations);
        if (n) ck_abort_msg("%s: %ld allocations in %d steps", what, n, STEPS);
        if (least < 0 || faults < least) least = faults;
    }
    if (least) ck_abort_msg("%s: %ld page faults in the best %d steps", what, least, STEPS);
}

static void touch_fresh_pages(int n)
{
    volatile char *p =
        mmap(NULL, (size_t)n << 12, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    ck_assert(p != MAP_FAILED);
    for (int i = 0; i < n; i++) p[i << 12] = 1;
    munmap((void *)(uintptr_t)p, (size_t)n << 12);
}

/* The allocator above is the one that everybody calls, and faults are seen. */
START_TEST(counts)
{
    atomic_store(&allocations, 0);
    atomic_store(&counting, true);
    char *volatile by_libc = strdup("libc"); /* volatile: or the compiler sees through it */
    free(by_libc);
    long n = atomic_load(&allocations);
    ck_assert_int_eq(n, 1);
    struct model *m = rig_model("input = [2]; flow = ( );", DT_F32);
    atomic_store(&counting, false);
    n = atomic_load(&allocations);
    ck_assert_int_ge(n, 10);
    model_free(m);
    long before = page_faults();
    touch_fresh_pages(5000); /* may be huge ones */
    ck_assert_int_ge(page_faults() - before, 5000 / 512);
}
END_TEST

/* ---------------------------------------------------------------- training */

static void train(void *context)
{
    struct train_report report;
    if (rig_step(context, &report) != GLOW_OK || !report.accepted)
        ck_abort_msg("%s", fail_message());
}

static void check_training(int threads, const char *memory, const char *precision)
{
    char sections[400], what[100];
    struct rig_training t;
    snprintf(what, sizeof what, "training, %d threads, %s, %s", threads, memory, precision);
    snprintf(sections, sizeof sections,
             "data: { dataset = \"glyphs\"; batch = %d; }; train: { threads = %d; memory = \"%s\"; "
             "memory_budget = 1.0; precision = \"%s\"; ema = 0.99; clip_norm = 1.0; optimizer: { "
             "type = \"adam\"; lr = 1e-4; }; };",
             BATCH, threads, memory, precision);
    rig_train(&t, rig_glow(16, 1, 3, 4, 32), sections);
    ck_assert_int_eq(trainer_initialise(&t.trainer, t.data), GLOW_OK);
    check_steady(what, train, &t);
    rig_train_end(&t);
}

START_TEST(training)
{
    static const char *const memory[] = { "auto", "store", "recompute", "invert" };
    for (int i = 0; i < 4; i++) check_training(_i, memory[i], "fp32");
    check_training(_i, "auto", "fp64");
}
END_TEST

/* ---------------------------------------------------------------- other programs */

static void run(void *context)
{
    if (program_run(context, 1, 1, 0) != GLOW_OK) ck_abort_msg("%s", fail_message());
}

START_TEST(programs)
{
    static const enum program_kind kinds[] = { PROGRAM_EVAL, PROGRAM_ENCODE, PROGRAM_DECODE,
                                               PROGRAM_SAMPLE };
    static const char *const names[] = { "evaluating", "encoding", "decoding", "sampling" };
    struct model *m;
    ck_assert_int_eq(rig_try_model(&m, rig_glow(16, 3, 3, 4, 32),
                                   &(struct model_options){ .threads = _i, .seed = 7 }),
                     GLOW_OK);
    for (int i = 0; i < 4; i++) {
        struct program *p = rig_program(m, kinds[i], BATCH);
        check_steady(names[i], run, p);
        program_free(p);
    }
    model_free(m);
}
END_TEST

int main(void)
{
    TCase *tests = rig_case("steady");
    tcase_add_test(tests, counts);
    tcase_add_loop_test(tests, training, 1, 3); /* threads */
    tcase_add_loop_test(tests, programs, 1, 3);
    return rig_run(tests);
}
#endif

/* cpu.c - the CPU backend: memory, threads, and the choice of an instruction set.
 *
 * The best instruction set of this processor is taken when an engine opens, unless GLOW_CPU names
 * one. The choice holds for the process: the latest open wins, and programs keep the kernels that
 * they were built with. */
#include "../backend.h"
#include "isa/kernels.h"
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

struct engine {
    struct pool *pool;
    double *seconds_by_op; /* NULL: not wanted */
};

/* ---------------------------------------------------------------- instruction sets */

#define DECLARE_SET(isa)                                                                           \
    extern const struct kernel_table kernel_table_##isa##_f32, kernel_table_##isa##_f64,           \
        kernel_table_##isa##_b16;
DECLARE_SET(base)
#ifdef X86_KERNELS
DECLARE_SET(avx2)
DECLARE_SET(avx512)
extern const struct kernel_table kernel_table_avx512bf16_b16;
#endif

struct instruction_set {
    const char *name;
    const struct kernel_table *f32, *f64;
    const struct kernel_table *b16; /* what it has not is f32's */
    bool (*available)(void);
};

static bool always(void) { return true; }
#ifdef X86_KERNELS
static bool has_avx2(void)
{
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
}
static bool has_avx512(void)
{
    return has_avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
           __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512bw");
}
static bool has_avx512bf16(void) { return has_avx512() && __builtin_cpu_supports("avx512bf16"); }
#endif

#define TABLES(isa) &kernel_table_##isa##_f32, &kernel_table_##isa##_f64
/* Best first. */
static const struct instruction_set sets[] = {
#ifdef X86_KERNELS
    { "avx512bf16", TABLES(avx512), &kernel_table_avx512bf16_b16, has_avx512bf16 },
    { "avx512", TABLES(avx512), &kernel_table_avx512_b16, has_avx512 },
    { "avx2", TABLES(avx2), &kernel_table_avx2_b16, has_avx2 },
#endif
    { "base", TABLES(base), &kernel_table_base_b16, always },
};
enum { N_SETS = sizeof sets / sizeof *sets };
static const struct instruction_set *chosen;

static const struct instruction_set *best_set(void)
{
    int i = 0;
    while (!sets[i].available()) i++;
    return &sets[i];
}

static glow_status choose_set(void)
{
    const char *wanted = getenv("GLOW_CPU");
    char there[64] = "";
    if (!wanted || !*wanted) {
        chosen = best_set();
        return GLOW_OK;
    }
    for (int i = 0; i < N_SETS; i++) {
        if (!sets[i].available()) continue;
        if (strcmp(wanted, sets[i].name) == 0) {
            chosen = &sets[i];
            return GLOW_OK;
        }
        snprintf(there + strlen(there), sizeof there - strlen(there), "%s%s", *there ? ", " : "",
                 sets[i].name);
    }
    return fail(GLOW_EINVAL,
                "GLOW_CPU=%s: not an instruction set of this program and processor; "
                "there are: %s",
                wanted, there);
}

static const struct kernel_table *table_of(int32_t dtype)
{
    if (!chosen) chosen = best_set();
    return dtype == DT_F64 ? chosen->f64 : chosen->f32;
}

/* The type whose table serves a step: see kernels.h. */
static int32_t dtype_of(const struct step *step)
{
    return step->n_in > 0 ? step->in[0].dtype : step->out[0].dtype;
}

/* The table for an operation when floats are multiplied as bfloats. */
static const struct kernel_table *bf16_table_of(int op, int32_t dtype)
{
    const struct kernel_table *table = table_of(dtype);
    return dtype == DT_F32 && chosen->b16->kernel[op] ? chosen->b16 : table;
}

static size_t scratch_by(const struct kernel_table *table, const struct engine *engine,
                         const struct step *step)
{
    if (!table->scratch[step->op]) return 0;
    return table->scratch[step->op](step, pool_threads(engine->pool));
}

static kernel_fn cpu_kernel(int op, int32_t dtype) { return table_of(dtype)->kernel[op]; }
static kernel_fn bf16_kernel(int op, int32_t dtype) { return bf16_table_of(op, dtype)->kernel[op]; }

static size_t cpu_scratch(const struct engine *engine, const struct step *step)
{
    return scratch_by(table_of(dtype_of(step)), engine, step);
}
static size_t bf16_scratch(const struct engine *engine, const struct step *step)
{
    return scratch_by(bf16_table_of(step->op, dtype_of(step)), engine, step);
}

static int64_t cpu_chain_hidden(const struct step *step, int i)
{
    return table_of(dtype_of(step))->chain_hidden(step, i);
}
static int64_t bf16_chain_hidden(const struct step *step, int i)
{
    return bf16_table_of(OP_CHAIN, dtype_of(step))->chain_hidden(step, i);
}

static void cpu_chain_packing(const struct step *step, int stage, struct packing *packing)
{
    table_of(dtype_of(step))->chain_packing(step, stage, packing);
}
static void bf16_chain_packing(const struct step *step, int stage, struct packing *packing)
{
    bf16_table_of(OP_CHAIN, dtype_of(step))->chain_packing(step, stage, packing);
}

/* ---------------------------------------------------------------- memory */

/* What stands before each block, in the margin that kernels may read. */
enum { MARGIN = 512, LARGE = 1 << 20 };
struct block {
    size_t mapped; /* bytes, 0: from the heap */
};

/* Zeroed memory in whole pages. Whether they are huge is left to the system: steps take the same
 * time either way, while clearing huge ones that a virtual machine has not touched yet can take
 * longer than all the rest of a start-up. */
static void *map_pages(size_t bytes)
{
    void *start = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return start == MAP_FAILED ? NULL : start;
}

static glow_status cpu_alloc(struct engine *engine, size_t bytes, const char *owner, void **out)
{
    (void)engine;
    *out = NULL;
    if (bytes > SIZE_MAX / 2) return fail_memory(bytes, owner);
    size_t total = bytes + 2 * MARGIN;
    bool large = total >= LARGE;
    size_t page = large ? (size_t)sysconf(_SC_PAGESIZE) : 64;
    total = (total + page - 1) / page * page;
    char *start = large ? map_pages(total) : aligned_alloc(64, total);
    if (!start) return fail_memory(bytes, owner);
    if (!large) memset(start, 0, total);
    *(struct block *)start = (struct block){ large ? total : 0 };
    *out = start + MARGIN;
    return GLOW_OK;
}

static void cpu_release(struct engine *engine, void *data)
{
    (void)engine;
    if (!data) return;
    char *start = (char *)data - MARGIN;
    size_t mapped = ((struct block *)start)->mapped;
    if (mapped > 0)
        munmap(start, mapped);
    else
        free(start);
}

/* ---------------------------------------------------------------- engines */

/* The processors that this process may run on. */
static int processors(void)
{
#ifdef CPU_COUNT
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) == 0) return CPU_COUNT(&set);
#endif
    long n = sysconf(_SC_NPROCESSORS_ONLN);
    return n > 0 ? (int)n : 1;
}

enum { MAX_THREADS = 1024 };

static glow_status cpu_open(struct engine **out, int threads)
{
    *out = NULL;
    if (threads < 0 || threads > MAX_THREADS)
        return fail(GLOW_EINVAL, "cpu: %d threads: expected 1 to %d, or 0 for all processors",
                    threads, MAX_THREADS);
    TRY(choose_set());
    struct engine *engine = calloc(1, sizeof *engine);
    if (!engine) return fail_memory(sizeof *engine, "cpu engine");
    glow_status status = pool_new(&engine->pool, threads > 0 ? threads : processors());
    if (status != GLOW_OK) {
        free(engine);
        return status;
    }
    *out = engine;
    return GLOW_OK;
}

static void cpu_close(struct engine *engine)
{
    if (!engine) return;
    pool_free(engine->pool);
    free(engine);
}

static int cpu_threads(const struct engine *engine) { return pool_threads(engine->pool); }

static const char *cpu_kernels(const struct engine *engine)
{
    (void)engine;
    return chosen->name;
}

struct pool *engine_pool(struct engine *engine) { return engine->pool; }

static double seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

static void cpu_profile(struct engine *engine, double *seconds_by_op)
{
    engine->seconds_by_op = seconds_by_op;
}

static glow_status run_profiled(struct engine *engine, const struct step *step, int64_t n,
                                struct run *run)
{
    double before = seconds();
    for (int64_t i = 0; i < n && run->status == GLOW_OK; i++) {
        step[i].run(&step[i], run);
        double after = seconds();
        engine->seconds_by_op[step[i].op] += after - before;
        before = after;
    }
    return run->status;
}

static glow_status cpu_run(struct engine *engine, const struct step *step, int64_t n,
                           struct run *run)
{
    run->engine = engine;
    run->status = GLOW_OK;
    if (engine->seconds_by_op) return run_profiled(engine, step, n, run);
    for (int64_t i = 0; i < n && run->status == GLOW_OK; i++) step[i].run(&step[i], run);
    return run->status;
}

/* ---------------------------------------------------------------- flat loops */

static void cpu_optim(struct engine *engine, const struct optim_args *args)
{
    table_of(args->dtype)->optim(engine->pool, args);
}

static double cpu_sum_squares(struct engine *engine, const struct flat *x)
{
    return table_of(x->dtype)->sum_squares(engine->pool, x->data, x->n);
}

static void cpu_ema(struct engine *engine, const struct flat *average, const struct flat *x,
                    double decay)
{
    table_of(x->dtype)->ema(engine->pool, average->data, x->data, x->n, decay);
}

void cpu_random(uint64_t seed, uint64_t stream, int32_t kind, double *out, int64_t n)
{
    const struct instruction_set *set = chosen ? chosen : best_set();
    set->f64->random_stream(seed, stream, kind, out, n);
}

#define COMMON                                                                                     \
    .name = "cpu", .fuses_all_sums = true, .open = cpu_open, .close = cpu_close,                   \
    .threads = cpu_threads, .kernels = cpu_kernels, .alloc = cpu_alloc, .release = cpu_release,    \
    .run = cpu_run, .optim = cpu_optim, .sum_squares = cpu_sum_squares, .ema = cpu_ema,            \
    .profile = cpu_profile

static const struct backend backend_cpu_bf16 = {
    COMMON,
    .kernel = bf16_kernel,
    .scratch = bf16_scratch,
    .chain_hidden = bf16_chain_hidden,
    .chain_packing = bf16_chain_packing,
};

const struct backend backend_cpu = {
    COMMON,
    .kernel = cpu_kernel,
    .scratch = cpu_scratch,
    .chain_hidden = cpu_chain_hidden,
    .chain_packing = cpu_chain_packing,
    .bf16 = &backend_cpu_bf16,
};

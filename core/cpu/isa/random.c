/* random.c - random numbers by counter: element i of a sample is a pure function of the run's seed
 * and step, the sample's row in the global batch, the value's own key, and i. Block b of four words
 * serves elements 4b .. 4b+3. The numbers are made in f64, with philox.h's own logarithm, sine and
 * cosine, and without fused multiply-adds: they are the same with every instruction set, and the
 * same in f32 up to rounding. */
#if defined(__clang__)
#pragma clang fp contract(off)
#elif defined(__GNUC__)
#pragma GCC optimize("fp-contract=off")
#endif
#include "kernels.h"
#include "../../philox.h"

enum { BLOCKS = 64, FEW = 4, BLOCKS_PER_TASK = 4 * BLOCKS };

/* Word k of n blocks from counter[0] on, whose number does not overflow. */
ALWAYS_INLINE void words(const uint32_t counter[4], const uint32_t key[2], uint32_t word[4][BLOCKS],
                         int n)
{
    uint32_t *a = word[0], *b = word[1], *c = word[2], *d = word[3];
    struct philox_key k = { { key[0], key[1] } };
    for (int i = 0; i < n; i++) {
        a[i] = counter[0] + (uint32_t)i;
        b[i] = counter[1];
        c[i] = counter[2];
        d[i] = counter[3];
    }
    for (int round = 0; round < PHILOX_ROUNDS; round++, philox_next_key(&k)) {
        INDEPENDENT
        for (int i = 0; i < n; i++) {
            struct philox x = { { a[i], b[i], c[i], d[i] } };
            x = philox_round(x, k);
            a[i] = x.v[0];
            b[i] = x.v[1];
            c[i] = x.v[2];
            d[i] = x.v[3];
        }
    }
}

/* number[k][i] of word k of block i */
ALWAYS_INLINE void numbers(int64_t kind, uint32_t word[4][BLOCKS], double number[4][BLOCKS], int n)
{
    for (int k = 0; k < 4 && kind == GLOW_GAUSS; k += 2) {
        INDEPENDENT
        for (int i = 0; i < n; i++) {
            double pair[2];
            philox_gauss(word[k][i], word[k + 1][i], pair);
            number[k][i] = pair[0];
            number[k + 1][i] = pair[1];
        }
    }
    for (int k = 0; k < 4 && kind != GLOW_GAUSS; k++) {
        INDEPENDENT
        for (int i = 0; i < n; i++)
            number[k][i] = kind == GLOW_UNIFORM       ? philox_uniform(word[k][i])
                           : word[k][i] & 0x80000000u ? 1
                                                      : -1;
    }
}

ALWAYS_INLINE void draw_blocks(int64_t kind, const uint32_t counter[4], const uint32_t key[2],
                               real *out, int64_t n, int blocks)
{
    uint32_t word[4][BLOCKS];
    double number[4][BLOCKS];
    words(counter, key, word, blocks);
    numbers(kind, word, number, blocks);
    int64_t whole = n / 4;
    for (int64_t i = 0; i < whole; i++)
        for (int k = 0; k < 4; k++) out[4 * i + k] = (real)number[k][i];
    for (int64_t i = 4 * whole; i < n; i++) out[i] = (real)number[i % 4][whole];
}

/* The first n numbers, or 4 BLOCKS if that is less, from the block at the counter on. */
static void draw(int64_t kind, const uint32_t counter[4], const uint32_t key[2], real *out,
                 int64_t n)
{
    if (n <= 4 * FEW)
        draw_blocks(kind, counter, key, out, n, FEW);
    else
        draw_blocks(kind, counter, key, out, min_int(n, 4 * BLOCKS), BLOCKS);
}

/* ---------------------------------------------------------------- a kernel */

struct random {
    const struct step *step;
    const struct run *run;
    int64_t elements, tasks_per_sample; /* elements of one sample */
    uint32_t key[2];
};

static void random_task(void *arg, int64_t task, int worker)
{
    const struct random *r = arg;
    int64_t sample = task / r->tasks_per_sample;
    int64_t first = task % r->tasks_per_sample * 4 * BLOCKS_PER_TASK;
    int64_t end = min_int(first + 4 * BLOCKS_PER_TASK, r->elements);
    int64_t row = r->step->ai[2] ? r->run->row : 0;
    real *out = (real *)r->step->out[0].data + sample * r->elements;
    (void)worker;
    for (; first < end; first += 4 * BLOCKS) {
        uint64_t block = (uint64_t)first / 4, step = r->run->step;
        uint32_t counter[4] = { (uint32_t)block, (uint32_t)(row + sample), (uint32_t)step,
                                (uint32_t)(step >> 32) ^ (uint32_t)(block >> 32) };
        draw(r->step->ai[0], counter, r->key, out + first, end - first);
    }
}

void NAME(kernel_RANDOM)(const struct step *step, struct run *run)
{
    const struct tensor *out = &step->out[0];
    uint64_t key = run->seed ^ (uint64_t)step->ai[1];
    int64_t samples = out->dim[0];
    struct random r = { .step = step,
                        .run = run,
                        .elements = tensor_count(out) / samples,
                        .key = { (uint32_t)key, (uint32_t)(key >> 32) } };
    r.tasks_per_sample = divide_up(r.elements, 4 * BLOCKS_PER_TASK);
    pool_run(engine_pool(run->engine), samples * r.tasks_per_sample, random_task, &r);
}

#if REAL_BITS == 64
/* A stream of host->random. */
void NAME(random_stream)(uint64_t seed, uint64_t stream, int32_t kind, double *out, int64_t n)
{
    const uint32_t key[2] = { (uint32_t)seed, (uint32_t)(seed >> 32) };
    for (int64_t first = 0; first < n; first += 4 * BLOCKS) {
        uint64_t block = (uint64_t)first / 4;
        uint32_t counter[4] = { (uint32_t)block, (uint32_t)(block >> 32), (uint32_t)stream,
                                (uint32_t)(stream >> 32) };
        draw(kind, counter, key, out + first, n - first);
    }
}
#endif

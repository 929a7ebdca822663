/* peak.c - see peak.h. For arithmetic, each thread keeps twelve vectors in registers, enough to
 * hide an FMA's latency on two ports, and runs a = a * x + y on them. Without FMA a multiplication
 * and an addition count as one; products of bfloats are a = a + x0 y0 + x1 y1, of 24 vectors,
 * because they take longer. For memory, each
 * thread copies blocks that no cache holds. */
#include "peak.h"
#ifdef __x86_64__
#include <immintrin.h>
#endif
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include "clock.h"

enum { CHAINS = 12, ROUNDS = 20000, BURSTS = 400, COPIES = 5, MAX_THREADS = 1024 };
#define COPIED ((size_t)48 << 20) /* bytes */

typedef void (*burst_fn)(void);

/* Unrolled, for an array becomes registers only then. */
#ifdef __clang__
#define UNROLL _Pragma("clang loop unroll(full)")
#else
#define UNROLL _Pragma("GCC unroll 16")
#endif
/* The sum keeps the compiler from dropping the work. */
#define BURST(name, target, type, width)                                                           \
    target static void name(void)                                                                  \
    {                                                                                              \
        typedef type vector __attribute__((vector_size(width)));                                   \
        vector a[CHAINS], x = (vector){ 0 } + (type)0.999, y = (vector){ 0 } + (type)1e-4;         \
        UNROLL for (int i = 0; i < CHAINS; i++) a[i] = (vector){ 0 } + (type)i;                    \
        for (int n = 0; n < ROUNDS; n++) {                                                         \
            UNROLL for (int i = 0; i < CHAINS; i++) a[i] = a[i] * x + y;                           \
        }                                                                                          \
        UNROLL for (int i = 1; i < CHAINS; i++) a[0] += a[i];                                      \
        static volatile type sink;                                                                 \
        sink = a[0][0];                                                                            \
        (void)sink;                                                                                \
    }

#define NO_TARGET
BURST(burst_base_f32, NO_TARGET, float, 16)
BURST(burst_base_f64, NO_TARGET, double, 16)
#ifdef __x86_64__
#define AVX2   __attribute__((target("avx2,fma")))
#define AVX512 __attribute__((target("avx512f,avx512vl,avx512dq,avx512bw,fma")))
BURST(burst_avx2_f32, AVX2, float, 32)
BURST(burst_avx2_f64, AVX2, double, 32)
BURST(burst_avx512_f32, AVX512, float, 64)
BURST(burst_avx512_f64, AVX512, double, 64)
#define AVX512BF16 __attribute__((target("avx512f,avx512vl,avx512bw,avx512bf16")))
AVX512BF16 static void burst_avx512_b16(void)
{
    __m512 a[CHAINS], b[CHAINS];
    const __m512bh x = (__m512bh)_mm512_set1_epi32(0x3f803f80), y = x;
    /* Not the same numbers: the compiler would notice. */
    UNROLL for (int i = 0; i < CHAINS; i++) a[i] = _mm512_set1_ps((float)i);
    UNROLL for (int i = 0; i < CHAINS; i++) b[i] = _mm512_set1_ps((float)(i + CHAINS));
    for (int n = 0; n < ROUNDS / 2; n++) {
        UNROLL for (int i = 0; i < CHAINS; i++) a[i] = _mm512_dpbf16_ps(a[i], x, y);
        UNROLL for (int i = 0; i < CHAINS; i++) b[i] = _mm512_dpbf16_ps(b[i], x, y);
    }
    UNROLL for (int i = 0; i < CHAINS; i++) a[0] += a[i] + b[i];
    static volatile float sink;
    sink = a[0][0];
    (void)sink;
}
#endif

struct method {
    burst_fn f32, f64, b16; /* b16 NULL: as f32 */
    int width;              /* bytes of a vector */
};

static struct method method_of(const char *kernels)
{
#ifdef __x86_64__
    if (!strcmp(kernels, "avx512bf16"))
        return (struct method){ burst_avx512_f32, burst_avx512_f64, burst_avx512_b16, 64 };
    if (!strcmp(kernels, "avx512"))
        return (struct method){ burst_avx512_f32, burst_avx512_f64, NULL, 64 };
    if (!strcmp(kernels, "avx2"))
        return (struct method){ burst_avx2_f32, burst_avx2_f64, NULL, 32 };
#endif
    (void)kernels;
    return (struct method){ burst_base_f32, burst_base_f64, NULL, 16 };
}

/* ---------------------------------------------------------------- many threads at once */

struct worker {
    pthread_t thread;
    pthread_barrier_t *start;
    burst_fn burst;  /* of arithmetic; NULL: copies */
    char *to, *from; /* what is copied */
    double seconds;  /* of the best burst */
};

static void burst(const struct worker *w)
{
    if (w->burst)
        w->burst();
    else
        memcpy(w->to, w->from, COPIED);
}

static void *work(void *argument)
{
    struct worker *w = argument;
    int bursts = w->burst ? BURSTS : COPIES;
    pthread_barrier_wait(w->start);
    w->seconds = 1e9;
    for (int i = 0; i < bursts; i++) {
        double before = clock_seconds();
        burst(w);
        double passed = clock_seconds() - before;
        if (passed < w->seconds) w->seconds = passed;
    }
    return NULL;
}

/* The sum of `amount` over each worker's best seconds; 0 when they can't all run. */
static double rate(struct worker *w, int threads, double amount)
{
    pthread_barrier_t start;
    double sum = 0;
    int running = 1;
    if (pthread_barrier_init(&start, NULL, (unsigned)threads)) return 0;
    for (int i = 0; i < threads; i++) w[i].start = &start;
    while (running < threads && !pthread_create(&w[running].thread, NULL, work, &w[running]))
        running++;
    bool complete = running == threads;
    if (complete) work(&w[0]);
    for (int i = 1; i < running; i++) {
        if (!complete) pthread_cancel(w[i].thread); /* it waits for the others in vain */
        pthread_join(w[i].thread, NULL);
    }
    for (int i = 0; i < threads && complete; i++) sum += amount / w[i].seconds;
    if (complete) pthread_barrier_destroy(&start);
    return sum;
}

double peak_gflops(const char *kernels, int threads, int bytes)
{
    struct method m = method_of(kernels);
    if (bytes == 2 && !m.b16) bytes = 4;
    if (threads < 1 || threads > MAX_THREADS) return 0;
    struct worker *w = calloc((size_t)threads, sizeof *w);
    if (!w) return 0;
    for (int i = 0; i < threads; i++) w[i].burst = bytes == 8 ? m.f64 : bytes == 2 ? m.b16 : m.f32;
    double sum = rate(w, threads, 2.0 * CHAINS * ROUNDS * m.width / bytes);
    free(w);
    return sum * 1e-9;
}

double peak_bandwidth(int threads)
{
    double sum = 0;
    if (threads < 1 || threads > MAX_THREADS) return 0;
    struct worker *w = calloc((size_t)threads, sizeof *w);
    char *memory = malloc(2 * COPIED * (size_t)threads);
    if (w && memory) {
        memset(memory, 1, 2 * COPIED * (size_t)threads);
        for (int i = 0; i < threads; i++) {
            w[i].to = memory + 2 * COPIED * (size_t)i;
            w[i].from = w[i].to + COPIED;
        }
        sum = rate(w, threads, 2.0 * COPIED);
    }
    free(memory);
    free(w);
    return sum * 1e-9;
}

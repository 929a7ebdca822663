/* kernels.c - how fast the products are: GFLOP/s and the share of this processor's multiply-add
 * peak, which is measured in the same run, between the shapes. One thread unless the first argument
 * says otherwise; the second is the time for each line, in seconds; the third is the part to run:
 * S, M, C, odd, single or all; the fourth "bf16" for products of bfloats, beside the peak of such.
 * GLOW_CPU chooses the instruction set.
 *
 * The coupling networks are those of bench-s, bench-m and bench-c at each level. FLOPs are those of
 * the convolutions alone, three times the forward pass for a training step. */
#if defined(__x86_64__)
#include <immintrin.h>
#endif
#include "backend.h"
#include "packing.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static const struct backend *backend = &backend_cpu; /* or its variant for bf16 */
static struct engine *engine;
static double seconds_per_line = 0.3;
static double best_peak;

/* With one thread processor time counts, which other programs disturb less. */
static double now(void)
{
    const int alone = !engine || backend_cpu.threads(engine) == 1;
    struct timespec t;
    clock_gettime(alone ? CLOCK_PROCESS_CPUTIME_ID : CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* ---------------------------------------------------------------- the peak */

#if defined(__clang__)
#define UNROLL _Pragma("clang loop unroll(full)")
#else
#define UNROLL _Pragma("GCC unroll 16")
#endif

#if defined(__x86_64__)
/* Twelve independent sums in registers; the empty asm keeps the loop. */
#define PEAK(name, bytes, features)                                                                \
    __attribute__((noinline, target(features))) static double name(long rounds)                    \
    {                                                                                              \
        typedef float vec __attribute__((vector_size(bytes)));                                     \
        vec s[12], x = { 0 }, y = { 0 }, sum = { 0 };                                              \
        x += 0.999f, y += 0.0001f;                                                                 \
        UNROLL for (int i = 0; i < 12; i++) s[i] = x * (float)i;                                   \
        for (long n = 0; n < rounds; n++) {                                                        \
            UNROLL for (int i = 0; i < 12; i++) s[i] = s[i] * x + y;                               \
            __asm__ volatile("" : "+v"(s[0]));                                                     \
        }                                                                                          \
        UNROLL for (int i = 0; i < 12; i++) sum += s[i];                                           \
        __asm__ volatile("" : "+v"(sum));                                                          \
        return (double)rounds * 12 * 2 * (double)(bytes / 4);                                      \
    }
PEAK(peak_avx512, 64, "avx512f,fma")
PEAK(peak_avx2, 32, "avx2,fma")
PEAK(peak_base, 16, "sse2")

__attribute__((noinline, target("avx512f,avx512bf16"))) static double peak_avx512bf16(long rounds)
{
    __m512 s[12], sum = _mm512_setzero_ps();
    const __m512bh x = (__m512bh)_mm512_set1_epi32(0x3f803f80);
    UNROLL for (int i = 0; i < 12; i++) s[i] = _mm512_set1_ps((float)i);
    for (long n = 0; n < rounds; n++) {
        UNROLL for (int i = 0; i < 12; i++) s[i] = _mm512_dpbf16_ps(s[i], x, x);
        __asm__ volatile("" : "+v"(s[0]));
    }
    UNROLL for (int i = 0; i < 12; i++) sum += s[i];
    __asm__ volatile("" : "+v"(sum));
    return (double)rounds * 12 * 2 * 32;
}

static double peak_flops(long rounds)
{
    const char *set = getenv("GLOW_CPU");
    const int bf16 = set ? !strcmp(set, "avx512bf16") : __builtin_cpu_supports("avx512bf16");
    if (bf16 && backend != &backend_cpu) return peak_avx512bf16(rounds);
    if (set ? !strncmp(set, "avx512", 6) : __builtin_cpu_supports("avx512f"))
        return peak_avx512(rounds);
    if (set ? !strcmp(set, "avx2") : __builtin_cpu_supports("fma")) return peak_avx2(rounds);
    return peak_base(rounds);
}
#else
static double peak_flops(long rounds)
{
    float s[64];
    for (int i = 0; i < 64; i++) s[i] = (float)i;
    for (long n = 0; n < rounds; n++)
        for (int i = 0; i < 64; i++) s[i] = s[i] * 0.999f + 0.0001f;
    volatile float keep = 0;
    for (int i = 0; i < 64; i++) keep += s[i];
    return (double)rounds * 128;
}
#endif

/* GFLOP/s of one thread; the best so far, because other programs only ever slow it down. */
static double peak(void)
{
    for (int i = 0; i < 40; i++) {
        double begin = now(), flops = peak_flops(100000);
        best_peak = fmax(best_peak, flops / (now() - begin) * 1e-9);
    }
    return best_peak;
}

/* ---------------------------------------------------------------- steps */

enum { MOST = 24 };
struct work {
    struct step step;
    struct tensor in[MOST], out[MOST];
    int64_t ai[16];
    double ad[4];
};

static void *memory(int64_t elements, int random)
{
    float *x = NULL;
    if (backend_cpu.alloc(engine, (size_t)elements * sizeof *x, "bench", (void **)&x)) exit(1);
    for (int64_t i = 0; i < elements && random; i++)
        x[i] = (float)((uint32_t)(i * 2654435761u) >> 8) / 16777216.0f - 0.5f;
    return x;
}

static struct tensor image(int64_t a, int64_t b, int64_t c, int64_t d, int64_t e)
{
    struct tensor t = { .dtype = DT_F32, .rank = 5, .dim = { a, b, c, d, e } };
    int64_t stride = 1;
    while (t.rank > 1 && t.dim[t.rank - 1] == 0) t.rank--;
    for (int i = t.rank - 1; i >= 0; stride *= t.dim[i], i--) t.stride[i] = stride;
    t.data = memory(tensor_count(&t), 1);
    return t;
}

static void prepare(struct work *w)
{
    w->step.in = w->in;
    w->step.out = w->out;
    w->step.ai = w->ai;
    w->step.ad = w->ad;
    w->step.run = backend->kernel(w->step.op, DT_F32);
    w->step.scratch = memory((int64_t)backend->scratch(engine, &w->step) / 4 + 16, 0);
}

static void release(struct work *w)
{
    backend_cpu.release(engine, w->step.scratch);
    for (int i = 0; i < MOST; i++) backend_cpu.release(engine, w->out[i].data);
}

/* The shortest time of a call, in seconds. */
static double time_of(const struct work *w)
{
    struct run run = { .engine = engine };
    double best = INFINITY, stop = now() + seconds_per_line;
    w->step.run(&w->step, &run);
    for (int i = 0; i < 3 || now() < stop; i++) {
        double begin = now();
        w->step.run(&w->step, &run);
        best = fmin(best, now() - begin);
    }
    return best;
}

static void report(const char *name, double flops, double seconds)
{
    printf("  %-26s %9.1f us %7.1f GFLOP/s %5.1f%%\n", name, seconds * 1e6, flops / seconds * 1e-9,
           100 * flops / seconds * 1e-9 / best_peak / backend_cpu.threads(engine));
    fflush(stdout);
}

/* ---------------------------------------------------------------- coupling networks */

/* As the engine keeps them. */
static struct packing packings[3];

static struct work chain_work(int64_t n, int64_t size, int64_t in, int64_t width, int64_t out)
{
    const int64_t widths[3] = { width, width, out };
    struct work w = { .step = { .op = OP_CHAIN, .n_in = 10, .n_out = 3, .n_ai = 10, .n_ad = 3 },
                      .ai = { 3, 3, 1, GLOW_ACT_RELU, 1, 0, GLOW_ACT_RELU, 3, 1, GLOW_ACT_NONE },
                      .ad = { 3, 3, 3 } };
    int64_t before = in;
    w.in[0] = image(n, in, size, size, 0);
    for (int i = 0; i < 3; i++) {
        w.in[1 + 3 * i] = image(1, widths[i], before + (i != 1), i == 1 ? 1 : 3, i == 1 ? 1 : 3);
        w.in[2 + 3 * i] = image(1, widths[i], 0, 0, 0);
        w.in[3 + 3 * i] = image(1, widths[i], 0, 0, 0);
        before = widths[i];
    }
    w.out[0] = image(n, out, size, size, 0);
    w.step.in = w.in;
    w.step.ai = w.ai;
    w.step.ad = w.ad;
    for (int i = 0; i < 2; i++) w.out[1 + i] = image(1, backend->chain_hidden(&w.step, i), 0, 0, 0);
    for (int i = 0; i < 3; i++) {
        struct tensor *weights = &w.in[1 + 3 * i];
        backend->chain_packing(&w.step, i, &packings[i]);
        backend_cpu.release(engine, weights->data);
        weights->data = memory(packings[i].count, 0);
        float *plain = memory(tensor_count(weights), 1);
        packing_pack(&packings[i], DT_F32, weights->data, plain);
        backend_cpu.release(engine, plain);
        weights->packing = &packings[i];
    }
    return w;
}

static struct work vjp_work(const struct work *f, int again)
{
    struct work w = *f;
    w.step.op = OP_CHAIN_VJP;
    w.step.n_in = 13;
    w.step.n_out = 10;
    w.in[10] = image(f->out[0].dim[0], f->out[0].dim[1], f->out[0].dim[2], f->out[0].dim[3], 0);
    w.in[11] = f->out[1];
    w.in[12] = f->out[2];
    if (again) w.in[11].data = w.in[12].data = NULL;
    for (int i = 0; i < 10; i++) {
        w.out[i] = w.in[i];
        w.out[i].data =
            memory(w.in[i].packing ? w.in[i].packing->count : tensor_count(&w.in[i]), 0);
    }
    return w;
}

struct net {
    const char *name;
    int64_t n, size, in, width, out;
};

static void coupling_network(const struct net *net, double *flops, double *seconds)
{
    struct work f = chain_work(net->n, net->size, net->in, net->width, net->out);
    prepare(&f);
    struct work v = vjp_work(&f, 0), a = vjp_work(&f, 1);
    prepare(&v);
    prepare(&a);
    peak();
    const double work = 2.0 * (double)(net->n * net->size * net->size * net->width) *
                        (double)(9 * net->in + net->width + 9 * net->out);
    /* The last convolution need not be computed again. */
    const double work_again =
        work - 18.0 * (double)(net->n * net->size * net->size * net->width * net->out);
    const double forward = time_of(&f), backward = time_of(&v), again = time_of(&a);
    printf("%s: %dx%dx%dx%d, width %d, out %d\n", net->name, (int)net->n, (int)net->in,
           (int)net->size, (int)net->size, (int)net->width, (int)net->out);
    report("forward", work, forward);
    report("backward", 2 * work, backward);
    report("backward, recomputing", 2 * work + work_again, again);
    report("training step", 3 * work, forward + backward);
    *flops += 3 * work;
    *seconds += forward + backward;
    release(&a);
    release(&v);
    for (int i = 0; i < 10; i++) backend_cpu.release(engine, f.in[i].data);
    backend_cpu.release(engine, v.in[10].data);
    backend_cpu.release(engine, a.in[10].data);
    release(&f);
}

static void model(const char *name, const struct net *nets, int levels)
{
    double flops = 0, seconds = 0;
    for (int i = 0; i < levels; i++) coupling_network(&nets[i], &flops, &seconds);
    printf("%s, all levels\n", name);
    report("training step", flops, seconds);
}

/* ---------------------------------------------------------------- single products */

struct conv {
    int64_t n, size, in, out, k;
};

static void convolutions(const struct conv *c)
{
    static const struct {
        int op;
        const char *name;
    } ops[] = { { OP_CONV, "conv2d" }, { OP_CONV_DX, "conv2d_dx" }, { OP_CONV_DW, "conv2d_dw" } };
    printf("conv2d: %dx%dx%dx%d to %d channels, %dx%d\n", (int)c->n, (int)c->in, (int)c->size,
           (int)c->size, (int)c->out, (int)c->k, (int)c->k);
    peak();
    for (int i = 0; i < 3; i++) {
        struct tensor x = image(c->n, c->in, c->size, c->size, 0);
        struct tensor y = image(c->n, c->out, c->size, c->size, 0);
        struct tensor weights = image(1, c->out, c->in, c->k, c->k);
        struct work w = {
            .step = { .op = ops[i].op, .n_in = 2, .n_out = 1, .n_ai = i == 2 ? 3 : 1 },
            .ai = { 0, c->k, c->k }
        };
        w.in[0] = i == 1 ? y : x;
        w.in[1] = i == 2 ? y : weights;
        w.out[0] = i == 0 ? y : i == 1 ? x : weights;
        prepare(&w);
        report(ops[i].name, 2.0 * (double)(c->n * c->size * c->size * c->in * c->out * c->k * c->k),
               time_of(&w));
        backend_cpu.release(engine, w.in[0].data);
        backend_cpu.release(engine, w.in[1].data);
        release(&w);
    }
}

static void channels(int64_t n, int64_t size, int64_t c)
{
    printf("matmul_channels: %dx%dx%dx%d\n", (int)n, (int)c, (int)size, (int)size);
    peak();
    for (int i = 0; i < 2; i++) {
        struct tensor x = image(n, c, size, size, 0), y = image(n, c, size, size, 0);
        struct tensor weights = image(1, c, c, 0, 0);
        struct work w = { .step = {
                              .op = i ? OP_MATC_DW : OP_MATC, .n_in = 2, .n_out = 1, .n_ai = 1 } };
        w.in[0] = x;
        w.in[1] = i ? y : weights;
        w.out[0] = i ? weights : y;
        prepare(&w);
        report(i ? "matmul_channels_dw" : "matmul_channels",
               2.0 * (double)(n * size * size * c * c), time_of(&w));
        backend_cpu.release(engine, w.in[0].data);
        backend_cpu.release(engine, w.in[1].data);
        release(&w);
    }
}

static void matrices(int64_t m, int64_t n, int64_t k)
{
    struct work w = { .step = { .op = OP_MATMUL, .n_in = 2, .n_out = 1, .n_ai = 2 } };
    char name[64];
    w.in[0] = image(1, m, k, 0, 0);
    w.in[1] = image(1, k, n, 0, 0);
    w.out[0] = image(1, m, n, 0, 0);
    prepare(&w);
    peak();
    snprintf(name, sizeof name, "matmul %dx%dx%d", (int)m, (int)n, (int)k);
    report(name, 2.0 * (double)(m * n * k), time_of(&w));
    backend_cpu.release(engine, w.in[0].data);
    backend_cpu.release(engine, w.in[1].data);
    release(&w);
}

static void singles(void)
{
    static const struct conv convs[] = { { 16, 32, 3, 32, 3 },
                                         { 16, 16, 64, 64, 3 },
                                         { 16, 16, 128, 128, 3 },
                                         { 16, 32, 32, 3, 3 },
                                         { 1, 28, 1, 16, 5 } };
    for (size_t i = 0; i < sizeof convs / sizeof *convs; i++) convolutions(&convs[i]);
    channels(16, 16, 12);
    channels(16, 8, 24);
    channels(16, 4, 48);
    matrices(512, 512, 512);
    matrices(1000, 100, 30);
    matrices(64, 64, 4096);
}

static int wanted(int argc, char **argv, const char *part)
{
    return argc <= 3 || !strcmp(argv[3], "all") || !strcmp(argv[3], part);
}

int main(int argc, char **argv)
{
    static const struct net s[] = { { "S16", 64, 16, 2, 128, 4 },
                                    { "S8", 64, 8, 4, 128, 8 },
                                    { "S4", 64, 4, 8, 128, 16 } };
    static const struct net m[] = { { "M16", 16, 16, 6, 256, 12 },
                                    { "M8", 16, 8, 12, 256, 24 },
                                    { "M4", 16, 4, 24, 256, 48 } };
    static const struct net c[] = { { "C32", 4, 32, 6, 512, 12 },
                                    { "C16", 4, 16, 12, 512, 24 },
                                    { "C8", 4, 8, 24, 512, 48 },
                                    { "C4", 4, 4, 48, 512, 96 } };
    static const struct net odd[] = { { "28x28, one image", 1, 28, 2, 100, 4 },
                                      { "39x39, three images", 3, 39, 3, 77, 6 } };
    if (argc > 2) seconds_per_line = atof(argv[2]);
    if (argc > 4 && !strcmp(argv[4], "bf16")) backend = backend_cpu.bf16;
    if (backend_cpu.open(&engine, argc > 1 ? atoi(argv[1]) : 1)) {
        fprintf(stderr, "%s\n", fail_message());
        return 1;
    }
    peak();
    if (wanted(argc, argv, "S")) model("S", s, 3);
    if (wanted(argc, argv, "M")) model("M", m, 3);
    if (wanted(argc, argv, "C")) model("C", c, 4);
    if (wanted(argc, argv, "odd")) model("odd shapes", odd, 2);
    if (wanted(argc, argv, "single")) singles();
    printf("peak of one thread: %.1f GFLOP/s\n", peak());
    backend_cpu.close(engine);
    return 0;
}

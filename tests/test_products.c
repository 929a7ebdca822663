/* test_products.c - matmul, matmul_channels, conv2d and conv_chain, forward and backward, against
 * the plain references, over shapes that fit no vector, tile or block, for all instruction sets of
 * this processor, both types, and for convolutions bf16. Inputs lie in memory full of NaN, so that
 * whatever a kernel reads beside them and uses shows; what lies behind outputs must not change.
 * Each runs with 1, 2 and 3 threads, with identical bits. With GLOW_BACKEND=cuda in the environment
 * all of it runs on the device, twice, for there are no threads to be told. */
#include "problem.h"
#include <check.h>
#undef fail /* a macro of check.h; status.h has a function */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DIMS(...)                                                                                  \
    (sizeof((int64_t[]){ __VA_ARGS__ }) / sizeof(int64_t)), (const int64_t[]) { __VA_ARGS__ }

/* ---------------------------------------------------------------- matmul */

static void check_matmul(int rank_a, const int64_t *a, int rank_b, const int64_t *b, int rank_c,
                         const int64_t *c, int flags)
{
    struct problem p = { .op = OP_MATMUL,
                         .n_in = 2,
                         .n_out = 1,
                         .n_known = 1,
                         .n_ai = 2,
                         .ai = { flags & 1, flags >> 1 } };
    char what[100];
    p.in[0] = pair_input(rank_a, a, 1);
    p.in[1] = pair_input(rank_b, b, 1);
    p.out[0] = pair_new(rank_c, c);
    snprintf(what, sizeof what, "matmul %dx%d, rank %d, flags %d", (int)c[rank_c - 2],
             (int)c[rank_c - 1], rank_c, flags);
    problem_check(&p, REVERSED, what);
    problem_free(&p);
}

START_TEST(matmul)
{
    static const int64_t sizes[][3] = { { 1, 1, 1 },    { 1, 7, 5 },     { 5, 1, 3 },
                                        { 3, 4, 1 },    { 15, 17, 33 },  { 14, 32, 64 },
                                        { 29, 65, 2 },  { 130, 50, 70 }, { 300, 270, 20 },
                                        { 9, 10, 1100 } };
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        for (int flags = 0; flags < 4; flags++) {
            const int64_t m = sizes[i][0], n = sizes[i][1], k = sizes[i][2];
            const int ta = flags & 1, tb = flags >> 1;
            const int64_t a[3] = { 1, ta ? k : m, ta ? m : k },
                          b[3] = { 1, tb ? n : k, tb ? k : n };
            const int64_t c[3] = { 1, m, n };
            check_matmul(3, a, 3, b, 3, c, flags);
        }
}
END_TEST

/* Leading axes broadcast, the batch axis among them. */
START_TEST(matmul_broadcast)
{
    check_matmul(DIMS(3, 2, 5, 4), DIMS(3, 2, 4, 6), DIMS(3, 2, 5, 6), 0);
    check_matmul(DIMS(3, 2, 5, 4), DIMS(1, 4, 6), DIMS(3, 2, 5, 6), 0);
    check_matmul(DIMS(3, 1, 4), DIMS(1, 4, 6), DIMS(3, 1, 6), 0);
    check_matmul(DIMS(1, 2, 1, 5, 4), DIMS(3, 7, 4, 6), DIMS(3, 2, 7, 5, 6), 0);
    check_matmul(DIMS(3, 7, 5, 4), DIMS(3, 1, 6, 4), DIMS(3, 7, 5, 6), 2);
    check_matmul(DIMS(3, 4, 5), DIMS(1, 2, 4, 6), DIMS(3, 2, 5, 6), 1);
}
END_TEST

/* ---------------------------------------------------------------- matmul_channels */

struct channels_case {
    int64_t n, in, out, h, w;
}; /* h = 0: rows */
static const struct channels_case channels_cases[] = {
    { 1, 1, 1, 1, 1 },     { 2, 3, 5, 2, 2 },     { 3, 12, 12, 5, 7 },  { 2, 48, 48, 4, 4 },
    { 1, 13, 29, 33, 31 }, { 2, 200, 40, 3, 3 },  { 5, 4, 4, 16, 16 },  { 1, 3, 3, 0, 0 },
    { 70, 33, 17, 0, 0 },  { 300, 5, 260, 0, 0 }, { 600, 30, 2, 0, 0 }, { 40, 6, 6, 1, 1 },
};
enum { N_CHANNELS = sizeof channels_cases / sizeof *channels_cases };

static struct pair channels_image(const struct channels_case *c, int64_t channels, int is_input)
{
    const int64_t dim[] = { c->n, channels, c->h, c->w };
    return is_input ? pair_input(c->h ? 4 : 2, dim, 1) : pair_new(c->h ? 4 : 2, dim);
}

START_TEST(matmul_channels)
{
    for (int i = 0; i < 2 * N_CHANNELS; i++) {
        const struct channels_case *c = &channels_cases[i / 2];
        const int transposed = i & 1;
        const int64_t w[] = { 1, transposed ? c->in : c->out, transposed ? c->out : c->in };
        struct problem p = {
            .op = OP_MATC, .n_in = 2, .n_out = 1, .n_known = 1, .n_ai = 1, .ai = { transposed }
        };
        char what[80];
        p.in[0] = channels_image(c, c->in, 1);
        p.in[1] = pair_input(3, w, 1);
        p.out[0] = channels_image(c, c->out, 0);
        snprintf(what, sizeof what, "matmul_channels case %d, transposed %d", i / 2, transposed);
        problem_check(&p, SPREAD, what);
        problem_free(&p);
    }
}
END_TEST

START_TEST(matmul_channels_dw)
{
    for (int i = 0; i < N_CHANNELS; i++) {
        const struct channels_case *c = &channels_cases[i];
        struct problem p = { .op = OP_MATC_DW, .n_in = 2, .n_out = 1, .n_known = 1 };
        char what[80];
        p.in[0] = channels_image(c, c->out, 1);
        p.in[1] = channels_image(c, c->in, 1);
        p.out[0] = pair_new(3, (int64_t[]){ 1, c->out, c->in });
        snprintf(what, sizeof what, "matmul_channels_dw case %d", i);
        problem_check(&p, SPREAD, what);
        problem_free(&p);
    }
}
END_TEST

/* ---------------------------------------------------------------- conv2d */

struct conv_case {
    int64_t n, in, h, w, out, kh, kw;
};
static const struct conv_case conv_cases[] = {
    { 1, 1, 1, 1, 1, 1, 1 },   { 1, 1, 1, 1, 1, 3, 3 },     { 2, 3, 5, 7, 4, 3, 3 },
    { 3, 2, 4, 4, 9, 3, 5 },   { 1, 5, 9, 1, 2, 5, 1 },     { 1, 2, 1, 40, 3, 1, 7 },
    { 2, 1, 28, 28, 3, 3, 3 }, { 1, 17, 13, 11, 5, 1, 1 },  { 40, 2, 2, 3, 3, 3, 3 },
    { 1, 3, 50, 45, 8, 3, 3 }, { 1, 8, 50, 45, 3, 3, 3 },   { 2, 20, 6, 6, 17, 5, 5 },
    { 1, 2, 3, 3, 2, 9, 9 },   { 1, 1, 40, 80, 1, 15, 15 }, { 1, 300, 4, 5, 3, 3, 3 },
    { 1, 3, 4, 5, 60, 3, 3 },
};

START_TEST(conv2d)
{
    static const int ops[] = { OP_CONV, OP_CONV_DX, OP_CONV_DW };
    for (size_t i = 0; i < sizeof conv_cases / sizeof *conv_cases; i++)
        for (int variant = 0; variant < 6; variant++) {
            const struct conv_case *c = &conv_cases[i];
            const int edge = variant & 1, kind = variant / 2;
            const int64_t x[] = { c->n, c->in, c->h, c->w }, y[] = { c->n, c->out, c->h, c->w };
            const int64_t w[] = { 1, c->out, c->in + edge, c->kh, c->kw };
            struct problem p = { .op = ops[kind],
                                 .n_in = 2,
                                 .n_out = 1,
                                 .n_known = 1,
                                 .n_ai = kind == 2 ? 3 : 1,
                                 .ai = { edge, c->kh, c->kw } };
            char what[80];
            p.in[0] = pair_input(4, kind == 1 ? y : x, 1);
            p.in[1] = kind == 2 ? pair_input(4, y, 1) : pair_input(5, w, 1);
            p.out[0] = kind == 2 ? pair_new(5, w) : pair_new(4, kind == 0 ? y : x);
            snprintf(what, sizeof what, "%s case %zu, edge %d",
                     kind == 0   ? "conv2d"
                     : kind == 1 ? "conv2d_dx"
                                 : "conv2d_dw",
                     i, edge);
            /* Edge weights that are not gathered are not rounded either. */
            const double usual = tried.bound;
            if (!edge && tried.bound > 2e-5) tried.bound = 2e-5;
            problem_check(&p, SPREAD, what);
            tried.bound = usual;
            problem_free(&p);
        }
}
END_TEST

/* ---------------------------------------------------------------- conv_chain */

enum { NO_B = 1, NO_LOGS = 2 };
struct chain_case {
    int64_t n, in, h, w;
    int stages;
    struct {
        int64_t out, k;
        int edge, act, absent;
    } stage[9];
};
#define R GLOW_ACT_RELU
#define T GLOW_ACT_TANH
#define S GLOW_ACT_SIGMOID
static const struct chain_case chain_cases[] = {
    { 2, 2, 8, 8, 3, { { 16, 3, 1, R, 0 }, { 16, 1, 0, R, 0 }, { 4, 3, 1, 0, 0 } } },
    { 1, 1, 1, 1, 3, { { 5, 3, 1, R, 0 }, { 5, 1, 1, R, 0 }, { 2, 3, 1, 0, 0 } } },
    { 1, 1, 1, 1, 1, { { 1, 1, 0, 0, NO_B | NO_LOGS } } },
    { 1, 3, 28, 28, 3, { { 10, 3, 0, R, NO_LOGS }, { 19, 1, 0, R, NO_B }, { 3, 3, 0, 0, 0 } } },
    { 3, 6, 5, 9, 3, { { 33, 5, 1, R, 0 }, { 7, 1, 0, T, 0 }, { 12, 5, 1, 0, 0 } } },
    { 1, 2, 40, 45, 3, { { 9, 3, 1, R, 0 }, { 14, 1, 0, R, 0 }, { 4, 3, 1, R, 0 } } },
    { 2, 3, 6, 7, 3, { { 8, 3, 0, R, 0 }, { 9, 3, 1, R, 0 }, { 5, 3, 0, 0, 0 } } },
    { 2,
      3,
      30,
      20,
      4,
      { { 8, 1, 1, S, 0 }, { 9, 3, 1, T, 0 }, { 5, 3, 0, R, 0 }, { 3, 1, 0, S, 0 } } },
    { 2, 4, 6, 6, 2, { { 3, 3, 1, T, 0 }, { 20, 3, 1, T, 0 } } },
    { 1, 9, 7, 5, 1, { { 3, 3, 1, S, 0 } } },
    { 1, 3, 7, 5, 1, { { 9, 7, 1, R, NO_LOGS } } },
    { 5, 3, 1, 1, 3, { { 8, 1, 0, R, 0 }, { 8, 1, 0, 0, 0 }, { 4, 1, 0, 0, NO_LOGS } } },
    { 1,
      2,
      4,
      6,
      8,
      { { 4, 3, 0, R, 0 },
        { 5, 1, 0, R, 0 },
        { 3, 5, 1, R, 0 },
        { 6, 1, 0, 0, 0 },
        { 4, 1, 1, T, 0 },
        { 4, 3, 0, S, 0 },
        { 2, 3, 0, R, 0 },
        { 3, 3, 1, 0, 0 } } },
    { 40, 3, 2, 2, 3, { { 10, 3, 1, R, 0 }, { 10, 1, 0, R, 0 }, { 4, 3, 1, 0, 0 } } },
    { 1, 20, 4, 4, 3, { { 70, 3, 1, R, 0 }, { 70, 1, 0, R, 0 }, { 40, 3, 1, 0, 0 } } },
    /* The last group of images is smaller (40 pixels on the emulator). */
    { 13, 3, 2, 2, 3, { { 10, 3, 1, R, 0 }, { 10, 1, 0, R, 0 }, { 4, 3, 1, 0, 0 } } },
    /* Units that end within images. */
    { 3, 2, 25, 31, 3, { { 5, 3, 1, R, 0 }, { 6, 1, 0, R, 0 }, { 4, 3, 1, T, 0 } } },
    /* Depths of products that are cut. */
    { 1, 120, 2, 2, 2, { { 4, 3, 1, R, 0 }, { 2, 1, 0, 0, 0 } } },
    { 2, 2, 2, 2, 2, { { 3, 1, 0, R, 0 }, { 120, 3, 1, 0, 0 } } },
};
#undef R
#undef T
#undef S
enum { N_CHAINS = sizeof chain_cases / sizeof *chain_cases };

static struct problem new_chain(const struct chain_case *c)
{
    struct problem p = { .op = OP_CHAIN,
                         .n_in = 1 + 3 * c->stages,
                         .n_out = c->stages,
                         .n_known = 1,
                         .n_ai = 1 + 3 * c->stages,
                         .n_ad = c->stages,
                         .ai = { c->stages } };
    int64_t in = c->in;
    p.in[0] = pair_input(4, (int64_t[]){ c->n, c->in, c->h, c->w }, 1);
    for (int i = 0; i < c->stages; i++) {
        const int64_t out = c->stage[i].out, k = c->stage[i].k, edge = c->stage[i].edge;
        struct pair *to = &p.in[1 + 3 * i];
        p.ai[1 + 3 * i] = k;
        p.ai[2 + 3 * i] = edge;
        p.ai[3 + 3 * i] = tried.whole && c->stage[i].act                      ? GLOW_ACT_RELU
                          : tried.by_norm && c->stage[i].act == GLOW_ACT_RELU ? GLOW_ACT_TANH
                                                                              : c->stage[i].act;
        p.ad[i] = i % 2 ? 1 : 3;
        to[0] =
            pair_input(5, (int64_t[]){ 1, out, in + edge, k, k }, 1 / sqrt((double)(in * k * k)));
        /* Whether a ReLU's derivative at 0 is 0 or 1 is for each library to say: no sum is 0. */
        const int apart = tried.whole && p.ai[3 + 3 * i] == GLOW_ACT_RELU;
        tried.aside = apart ? ldexp(0.5, -i) : 0;
        if (!(c->stage[i].absent & NO_B) || apart)
            to[1] = pair_input(2, (int64_t[]){ 1, out }, 0.5);
        tried.aside = 0;
        if (!(c->stage[i].absent & NO_LOGS) && !tried.whole)
            to[2] = pair_input(2, (int64_t[]){ 1, out }, 0.3);
        in = out;
    }
    p.out[0] = pair_new(4, (int64_t[]){ c->n, in, c->h, c->w });
    return p;
}

/* Hidden buffers as large as the instruction set wants them; without: all unwanted. */
static void add_hidden(struct problem *p)
{
    struct tensor in[MOST], out[MOST];
    const struct step step = problem_step(p, 0, in, out);
    for (int i = 1; i < p->n_out; i++) {
        const int64_t n = tried.backend->chain_hidden(&step, i - 1);
        ck_assert_int_gt(n, 0);
        pair_free(&p->out[i]);
        p->out[i] = pair_new(1, &n);
    }
}

START_TEST(conv_chain)
{
    for (int i = 0; i < N_CHAINS; i++) {
        struct problem p = new_chain(&chain_cases[i]);
        char what[80];
        snprintf(what, sizeof what, "conv_chain case %d, hidden unwanted", i);
        problem_check(&p, SPREAD, what);
        for (int k = 0; k < tried.n_sets; k++) {
            snprintf(what, sizeof what, "conv_chain case %d, hidden kept, %s", i, tried.sets[k]);
            problem_choose(tried.sets[k]);
            add_hidden(&p);
            problem_check_kernel(&p, what);
        }
        problem_free(&p);
    }
}
END_TEST

/* The gradient of f at random dy; takes over the inputs of f. */
static struct problem new_chain_vjp(struct problem *f)
{
    const int n = f->n_out;
    struct problem v = *f;
    v.op = OP_CHAIN_VJP;
    v.n_in = 1 + 3 * n + n;
    v.n_out = v.n_known = 1 + 3 * n;
    v.in[1 + 3 * n] = pair_input(4, f->out[0].exact.dim, 1);
    for (int i = 0; i < v.n_out; i++)
        v.out[i] =
            v.in[i].block ? pair_new(v.in[i].exact.rank, v.in[i].exact.dim) : (struct pair){ 0 };
    return v;
}

/* Runs f on the inputs of v, and gives it the hidden buffers but those in `drop`. */
static void keep_hidden(struct problem *f, struct problem *v, unsigned drop)
{
    const int n = f->n_out;
    memcpy(f->in, v->in, sizeof *f->in * (size_t)f->n_in);
    add_hidden(f);
    problem_run(f, tried.engines[0]);
    for (int i = 0; i < n - 1; i++) {
        struct pair *to = &v->in[2 + 3 * n + i];
        pair_free(to);
        if (drop >> i & 1) continue;
        *to = f->out[1 + i];
        f->out[1 + i] = (struct pair){ 0 };
    }
}

START_TEST(conv_chain_vjp)
{
    static const struct {
        unsigned drop;
        uint64_t unwanted;
    } variants[] = {
        { 0, 0 },
        { ~0u, 0 },
        { 1, 1 },
        { 2, 0x12 },
        { 0, 0xfffe },
        { ~0u, ~(uint64_t)8 },
        { 0, ~(uint64_t)4 },
    };
    for (int i = 0; i < N_CHAINS; i++) {
        struct problem f = new_chain(&chain_cases[i]), v = new_chain_vjp(&f);
        problem_reference(&v);
        for (size_t k = 0; k < sizeof variants / sizeof *variants; k++) {
            for (int j = 0; j < 2 + 3 * f.n_out; j++)
                if (v.in[j].block) pair_move(&v.in[j], k % 2 ? SPREAD : DENSE);
            for (int set = 0; set < tried.n_sets; set++) {
                char what[80];
                problem_choose(tried.sets[set]);
                snprintf(what, sizeof what, "conv_chain_vjp case %d, variant %zu, %s", i, k,
                         tried.sets[set]);
                keep_hidden(&f, &v, variants[k].drop);
                v.unwanted = variants[k].unwanted;
                problem_check_kernel(&v, what);
            }
        }
        memset(f.in, 0, sizeof f.in); /* they are v's */
        problem_free(&f);
        problem_free(&v);
    }
}
END_TEST

/* Activations that are computed again are those that were kept. */
START_TEST(kept_or_again)
{
    for (int i = 0; i < N_CHAINS; i++) {
        struct problem f = new_chain(&chain_cases[i]), v = new_chain_vjp(&f);
        for (int set = 0; set < tried.n_sets; set++) {
            void *first[MOST] = { NULL };
            problem_choose(tried.sets[set]);
            for (int again = 0; again < 2; again++) {
                for (int k = 0; k < v.n_out; k++)
                    if (v.out[k].block) memset(v.out[k].block, 0xff, v.out[k].block_size);
                keep_hidden(&f, &v, again ? ~0u : 0);
                problem_run(&v, tried.engines[0]);
                for (int k = 0; k < v.n_out; k++) {
                    const struct pair *o = &v.out[k];
                    if (!o->block) continue;
                    if (again)
                        ck_assert_msg(!memcmp(first[k], o->block, o->block_size),
                                      "case %d, output %d, %s: other bits", i, k, tried.sets[set]);
                    else
                        memcpy(first[k] = malloc(o->block_size), o->block, o->block_size);
                }
            }
            for (int k = 0; k < v.n_out; k++) free(first[k]);
        }
        memset(f.in, 0, sizeof f.in); /* they are v's */
        problem_free(&f);
        problem_free(&v);
    }
}
END_TEST

/* ---------------------------------------------------------------- finite differences */

/* The sum of dy y. */
static double loss(struct problem *f, const struct pair *dy)
{
    double sum = 0;
    problem_run(f, tried.engines[0]);
    for (int64_t i = 0; i < tensor_count(&dy->real); i++)
        sum += pair_get(&f->out[0].real, i) * pair_get(&dy->real, i);
    return sum;
}

static void move_by(const struct pair *x, double step, const struct pair *way)
{
    for (int64_t i = 0; i < tensor_count(&x->real); i++)
        pair_put(&x->real, i, pair_get(&x->real, i) + step * pair_get(&way->real, i));
}

/* Along a random direction of each input the kernel's gradient is the kernel's slope: a witness
 * that does not know the reference. Activations are smooth here. */
static void check_slopes(struct problem *f, const struct problem *v, int number)
{
    const struct pair *dy = &v->in[1 + 3 * f->n_out];
    const double step = 1e-5;
    for (int i = 0; i < f->n_in; i++) {
        if (!f->in[i].block) continue;
        const int64_t n = tensor_count(&f->in[i].real);
        struct pair way = pair_input(1, &n, 1);
        double inner = 0, size = 0;
        for (int64_t k = 0; k < n; k++) {
            inner += pair_get(&v->out[i].real, k) * pair_get(&way.real, k);
            size += fabs(pair_get(&v->out[i].real, k) * pair_get(&way.real, k));
        }
        move_by(&f->in[i], step, &way);
        double slope = loss(f, dy);
        move_by(&f->in[i], -2 * step, &way);
        slope = (slope - loss(f, dy)) / (2 * step);
        move_by(&f->in[i], step, &way);
        if (!(fabs(slope - inner) <= 1e-6 * (1 + size)))
            ck_abort_msg("case %d, input %d: slope %.9g, gradient %.9g", number, i, slope, inner);
        pair_free(&way);
    }
}

START_TEST(slopes)
{
    problem_choose(tried.sets[tried.n_sets - 1]);
    for (int i = 0; i < N_CHAINS; i++) {
        struct chain_case c = chain_cases[i];
        for (int k = 0; k < c.stages; k++)
            if (c.stage[k].act == GLOW_ACT_RELU) c.stage[k].act = GLOW_ACT_TANH;
        struct problem f = new_chain(&c), v = new_chain_vjp(&f);
        keep_hidden(&f, &v, 0);
        problem_run(&v, tried.engines[0]);
        check_slopes(&f, &v, i);
        memset(f.in, 0, sizeof f.in);
        problem_free(&f);
        problem_free(&v);
    }
}
END_TEST

/* NaN in one pixel reaches the result: activations must not swallow it; but for a ReLU that rides
 * along with a product of a library that has it so (docs/gpu.md). */
START_TEST(nan_shows)
{
    struct chain_case c = chain_cases[0];
    for (int i = 0; i < c.stages && tried.processor != &backend_cpu; i++)
        if (c.stage[i].act == GLOW_ACT_RELU) c.stage[i].act = GLOW_ACT_TANH;
    struct problem p = new_chain(&c);
    pair_put(&p.in[0].real, 5, NAN);
    for (int k = 0; k < tried.n_sets; k++) {
        int seen = 0;
        problem_choose(tried.sets[k]);
        problem_run(&p, tried.engines[0]);
        for (int64_t i = 0; i < tensor_count(&p.out[0].real); i++)
            seen |= isnan(pair_get(&p.out[0].real, i));
        ck_assert_msg(seen, "%s: NaN is lost", tried.sets[k]);
    }
    problem_free(&p);
}
END_TEST

/* ---------------------------------------------------------------- the suite */

static TCase *new_case(const char *name, void (*begin)(void))
{
    TCase *tc = tcase_create(name);
    tcase_add_checked_fixture(tc, begin, problem_close);
    tcase_set_timeout(tc, 300);
    tcase_add_test(tc, conv2d);
    tcase_add_test(tc, conv_chain);
    tcase_add_test(tc, conv_chain_vjp);
    return tc;
}

static TCase *add_matmul(TCase *tc)
{
    tcase_add_test(tc, matmul);
    tcase_add_test(tc, matmul_broadcast);
    tcase_add_test(tc, matmul_channels);
    tcase_add_test(tc, matmul_channels_dw);
    return tc;
}
static TCase *add_others(TCase *tc)
{
    tcase_add_test(tc, kept_or_again);
    tcase_add_test(tc, nan_shows);
    return tc;
}

int main(void)
{
    Suite *suite = suite_create("products");
    TCase *f64 = new_case("f64", problem_f64);
    tcase_add_test(f64, slopes);
    suite_add_tcase(suite, add_others(add_matmul(new_case("f32", problem_f32))));
    suite_add_tcase(suite, add_others(add_matmul(f64)));
    suite_add_tcase(suite, add_others(new_case("bf16", problem_bf16)));
    suite_add_tcase(suite, new_case("bf16, whole numbers", problem_whole));
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    const int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

/* test_products.c - matmul, matmul_channels, conv2d and conv_chain, forward and backward, against
 * the plain references, over shapes that fit no vector, tile or block, for all instruction sets of
 * this processor, both types, and for convolutions bf16. Inputs lie in memory full of NaN, so that
 * whatever a kernel reads beside them and uses shows; what lies behind outputs must not change.
 * Each runs with 1, 2 and 3 threads, with identical bits. With GLOW_BACKEND=cuda in the environment
 * all of it runs on the device, twice, for there are no threads to be told. */
#include "kernels_reference.h"
#include <check.h>
#undef fail /* a macro of check.h; status.h has a function */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MARGIN = 256 }; /* bytes around tensors that kernels may read: backend.h */
enum { MOST = 80 };    /* tensors of a step */
enum { THREADS = 3 };  /* the most that are tried */

enum layout {
    DENSE,
    SPREAD /* free channel and batch strides */,
    REVERSED /* last axis outermost */
};

static const char *const all_sets[] = { "base", "avx2", "avx512", "avx512bf16" };
static const char *sets[4]; /* those of this processor */
static int n_sets;
static const struct backend *processor; /* that the environment names */
static const struct backend *backend;   /* that, or its variant for bf16 */
static int32_t dtype;
static double bound; /* of errors, relative to the largest value */
static int by_norm;  /* of errors and values as a whole instead; no activation is a ReLU */
static int whole;    /* values are small whole numbers: bf16 represents them and their sums */
static double aside; /* by which they lie beside them */
static struct engine *engines[THREADS]; /* with 1, 2 and 3 threads */

/* Kernels are those of the instruction set that was named when an engine was last opened. */
static int choose(const char *set)
{
    struct engine *e;
    if (processor != &backend_cpu) return 1;
    setenv("GLOW_CPU", set, 1);
    if (backend_cpu.open(&e, 1) != GLOW_OK) return 0;
    backend_cpu.close(e);
    return 1;
}

/* ---------------------------------------------------------------- tensors */

static uint64_t state = 1;
static double next_number(void) /* in [-1, 1) */
{
    state = state * 6364136223846793005u + 1442695040888963407u;
    return (double)(int64_t)(state >> 11) / 4503599627370496.0 - 1;
}
/* A number of that size; as a whole number 0 the more often, the smaller the size, or up to 2. */
static double next_value(double scale)
{
    const double x = next_number();
    if (!whole) return scale * x;
    if (scale >= 1) return aside + round(2 * x);
    return aside + (fabs(x) > scale * scale ? 0 : x < 0 ? -1 : 1);
}

struct pair {
    struct tensor exact; /* f64, dense: for the reference */
    struct tensor real;  /* dtype, laid out: for the kernel */
    void *block;
    size_t block_size;
};

static struct tensor dense(int rank, const int64_t *dim, int32_t type)
{
    struct tensor t = { .dtype = type, .rank = rank };
    int64_t stride = 1;
    for (int i = rank - 1; i >= 0; stride *= dim[i], i--) {
        t.dim[i] = dim[i];
        t.stride[i] = stride;
    }
    return t;
}

static void lay_out(struct tensor *t, enum layout layout)
{
    int64_t stride = 1;
    if (layout == SPREAD) {
        for (int i = t->rank - 1; i >= 0; i--) {
            if (i < 2) stride += 3;
            t->stride[i] = stride;
            stride *= t->dim[i];
        }
    }
    if (layout == REVERSED) {
        for (int i = 0; i < t->rank; i++) {
            t->stride[i] = stride;
            stride *= t->dim[i];
        }
    }
}

static int64_t offset_of(const struct tensor *t, int64_t number)
{
    int64_t offset = 0;
    for (int i = t->rank - 1; i >= 0; i--) {
        offset += number % t->dim[i] * t->stride[i];
        number /= t->dim[i];
    }
    return offset;
}

static double get(const struct tensor *t, int64_t number)
{
    int64_t at = offset_of(t, number);
    return t->dtype == DT_F64 ? ((double *)t->data)[at] : (double)((float *)t->data)[at];
}
static void put(const struct tensor *t, int64_t number, double x)
{
    int64_t at = offset_of(t, number);
    if (t->dtype == DT_F64)
        ((double *)t->data)[at] = x;
    else
        ((float *)t->data)[at] = (float)x;
}

/* Memory for p.real, all NaN, as its surroundings. */
static void give_memory(struct pair *p, enum layout layout)
{
    free(p->block);
    p->real = dense(p->exact.rank, p->exact.dim, dtype);
    lay_out(&p->real, layout);
    const int64_t extent = offset_of(&p->real, tensor_count(&p->real) - 1) + 1;
    p->block_size = 2 * MARGIN + (size_t)extent * dtype_size(dtype);
    ck_assert_int_eq(posix_memalign(&p->block, 64, p->block_size), 0);
    memset(p->block, 0xff, p->block_size);
    p->real.data = (char *)p->block + MARGIN;
}

/* The same values in another layout. */
static void move_to(struct pair *p, enum layout layout)
{
    give_memory(p, layout);
    for (int64_t i = 0; i < tensor_count(&p->exact); i++) put(&p->real, i, get(&p->exact, i));
}

static struct pair new_pair(int rank, const int64_t *dim)
{
    struct pair p = { .exact = dense(rank, dim, DT_F64) };
    p.exact.data = malloc((size_t)tensor_count(&p.exact) * sizeof(double));
    ck_assert_ptr_nonnull(p.exact.data);
    give_memory(&p, DENSE);
    return p;
}

static struct pair new_input(int rank, const int64_t *dim, double scale)
{
    struct pair p = new_pair(rank, dim);
    for (int64_t i = 0; i < tensor_count(&p.exact); i++) {
        put(&p.real, i, next_value(scale));
        put(&p.exact, i, get(&p.real, i));
    }
    return p;
}

static void free_pair(struct pair *p)
{
    free(p->block);
    free(p->exact.data);
    memset(p, 0, sizeof *p);
}

/* ---------------------------------------------------------------- steps */

/* A step of the kernel and the same for the reference. */
struct problem {
    int op, n_in, n_out, n_ai, n_ad;
    struct pair in[MOST], out[MOST];
    int64_t ai[1 + 3 * 16];
    double ad[16];
    uint64_t unwanted; /* bit i: output i */
    int n_known;       /* outputs that have a reference */
};

static struct step step_of(const struct problem *p, int exact, struct tensor *in,
                           struct tensor *out)
{
    for (int i = 0; i < p->n_in; i++) in[i] = exact ? p->in[i].exact : p->in[i].real;
    for (int i = 0; i < p->n_out; i++) {
        out[i] = exact ? p->out[i].exact : p->out[i].real;
        if (!exact && (p->unwanted >> i & 1)) out[i].data = NULL;
    }
    return (struct step){ .op = p->op,
                          .n_in = p->n_in,
                          .n_out = exact ? p->n_known : p->n_out,
                          .n_ai = p->n_ai,
                          .n_ad = p->n_ad,
                          .in = in,
                          .out = out,
                          .ai = p->ai,
                          .ad = p->ad };
}

static void run_reference(const struct problem *p)
{
    struct tensor in[MOST], out[MOST];
    const struct step step = step_of(p, 1, in, out);
    const struct run run = { 0 };
    reference(p->op)(&step, &run);
}

/* A block of the host where the engine can reach it; `data` lies in it. */
static void *lend(struct engine *e, const char *block, size_t bytes, void **data)
{
    void *there;
    ck_assert_int_eq(backend->alloc(e, bytes, "test", &there), GLOW_OK);
    ck_assert_int_eq(backend->upload(e, there, block, bytes), GLOW_OK);
    *data = (char *)there + ((char *)*data - block);
    return there;
}
static void take_back(struct engine *e, void *there, char *block, size_t bytes)
{
    ck_assert_msg(backend->download(e, block, there, bytes) == GLOW_OK, "%s", fail_message());
    backend->release(e, there);
}

/* On a device: everything goes there, surroundings too, and comes back. */
static void run_there(const struct problem *p, struct engine *e, struct step *step,
                      struct tensor *in, struct tensor *out, char *scratch, size_t bytes)
{
    void *ins[MOST] = { NULL }, *outs[MOST] = { NULL };
    struct run run = { 0 };
    for (int i = 0; i < p->n_in; i++)
        if (in[i].data) ins[i] = lend(e, p->in[i].block, p->in[i].block_size, &in[i].data);
    for (int i = 0; i < p->n_out; i++)
        if (out[i].data) outs[i] = lend(e, p->out[i].block, p->out[i].block_size, &out[i].data);
    void *room = lend(e, scratch, bytes, &step->scratch);
    ck_assert_msg(backend->run(e, step, 1, &run) == GLOW_OK, "%s", fail_message());
    for (int i = 0; i < p->n_in; i++)
        if (ins[i]) take_back(e, ins[i], p->in[i].block, p->in[i].block_size);
    for (int i = 0; i < p->n_out; i++)
        if (outs[i]) take_back(e, outs[i], p->out[i].block, p->out[i].block_size);
    take_back(e, room, scratch, bytes);
}

static void run_kernel(const struct problem *p, struct engine *e)
{
    struct tensor in[MOST], out[MOST];
    struct step step = step_of(p, 0, in, out);
    struct run run = { .engine = e };
    const size_t bytes = backend->scratch(e, &step);
    char *block = NULL;
    ck_assert_int_eq(posix_memalign((void **)&block, 64, bytes + 2 * MARGIN), 0);
    memset(block, 0xff, bytes + 2 * MARGIN);
    step.scratch = block + MARGIN;
    step.run = backend->kernel(p->op, dtype);
    if (backend->upload)
        run_there(p, e, &step, in, out, block, bytes + 2 * MARGIN);
    else
        step.run(&step, &run);
    for (size_t i = 0; i < MARGIN; i++)
        if ((unsigned char)block[i] != 0xff || (unsigned char)block[MARGIN + bytes + i] != 0xff)
            ck_abort_msg("op %d: written beside its scratch", p->op);
    free(block);
}

static void check_surroundings(const struct pair *p, const char *what)
{
    const unsigned char *block = p->block;
    for (size_t i = 0; i < MARGIN; i++)
        if (block[i] != 0xff || block[p->block_size - 1 - i] != 0xff)
            ck_abort_msg("%s: written beside an output", what);
}

/* The largest error of an output, or their norm, against the size of its values. */
static void check_close(const struct pair *p, const char *what, int number)
{
    double scale = 1e-3, error = 0, squares = 1e-6, errors = 0;
    for (int64_t i = 0; i < tensor_count(&p->exact); i++) {
        const double want = get(&p->exact, i), got = get(&p->real, i);
        scale = fmax(scale, fabs(want));
        error = isnan(got) ? INFINITY : fmax(error, fabs(got - want));
        squares += want * want;
        errors += (got - want) * (got - want);
    }
    if (by_norm && isfinite(error)) {
        scale = sqrt(squares);
        error = sqrt(errors);
    }
    if (!(error <= bound * scale))
        ck_abort_msg("%s, output %d: error %.3g of %.3g", what, number, error, scale);
}

/* The kernel with one thread agrees with the reference, and with more threads, or a second time on
 * a device, bit by bit with itself. */
static void check_kernel(struct problem *p, const char *what)
{
    const int most = backend->upload ? 2 : THREADS;
    void *first[MOST] = { NULL };
    for (int threads = 1; threads <= most; threads++) {
        for (int i = 0; i < p->n_out; i++)
            if (p->out[i].block) memset(p->out[i].block, 0xff, p->out[i].block_size);
        run_kernel(p, engines[threads - 1]);
        for (int i = 0; i < p->n_out; i++) {
            struct pair *o = &p->out[i];
            if (!o->block || (p->unwanted >> i & 1)) continue;
            check_surroundings(o, what);
            if (threads == 1) {
                if (i < p->n_known) check_close(o, what, i);
                first[i] = malloc(o->block_size);
                ck_assert_ptr_nonnull(first[i]);
                memcpy(first[i], o->block, o->block_size);
            } else if (memcmp(first[i], o->block, o->block_size)) {
                ck_abort_msg("%s, output %d: other bits with %d threads", what, i, threads);
            }
        }
    }
    for (int i = 0; i < p->n_out; i++) free(first[i]);
}

/* Against the reference in all layouts up to `most`, with all instruction sets. */
static void check_problem(struct problem *p, enum layout most, const char *what)
{
    run_reference(p);
    for (enum layout layout = DENSE; layout <= most; layout++) {
        for (int i = 0; i < p->n_in; i++)
            if (p->in[i].block) move_to(&p->in[i], layout);
        for (int i = 0; i < n_sets; i++) {
            char where[160];
            snprintf(where, sizeof where, "%s, layout %d, %s", what, layout, sets[i]);
            choose(sets[i]);
            check_kernel(p, where);
        }
    }
}

static void free_problem(struct problem *p)
{
    for (int i = 0; i < p->n_in; i++) free_pair(&p->in[i]);
    for (int i = 0; i < p->n_out; i++) free_pair(&p->out[i]);
}

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
    p.in[0] = new_input(rank_a, a, 1);
    p.in[1] = new_input(rank_b, b, 1);
    p.out[0] = new_pair(rank_c, c);
    snprintf(what, sizeof what, "matmul %dx%d, rank %d, flags %d", (int)c[rank_c - 2],
             (int)c[rank_c - 1], rank_c, flags);
    check_problem(&p, REVERSED, what);
    free_problem(&p);
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
    return is_input ? new_input(c->h ? 4 : 2, dim, 1) : new_pair(c->h ? 4 : 2, dim);
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
        p.in[1] = new_input(3, w, 1);
        p.out[0] = channels_image(c, c->out, 0);
        snprintf(what, sizeof what, "matmul_channels case %d, transposed %d", i / 2, transposed);
        check_problem(&p, SPREAD, what);
        free_problem(&p);
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
        p.out[0] = new_pair(3, (int64_t[]){ 1, c->out, c->in });
        snprintf(what, sizeof what, "matmul_channels_dw case %d", i);
        check_problem(&p, SPREAD, what);
        free_problem(&p);
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
            p.in[0] = new_input(4, kind == 1 ? y : x, 1);
            p.in[1] = kind == 2 ? new_input(4, y, 1) : new_input(5, w, 1);
            p.out[0] = kind == 2 ? new_pair(5, w) : new_pair(4, kind == 0 ? y : x);
            snprintf(what, sizeof what, "%s case %zu, edge %d",
                     kind == 0   ? "conv2d"
                     : kind == 1 ? "conv2d_dx"
                                 : "conv2d_dw",
                     i, edge);
            /* Edge weights that are not gathered are not rounded either. */
            const double usual = bound;
            if (!edge && bound > 2e-5) bound = 2e-5;
            check_problem(&p, SPREAD, what);
            bound = usual;
            free_problem(&p);
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
    p.in[0] = new_input(4, (int64_t[]){ c->n, c->in, c->h, c->w }, 1);
    for (int i = 0; i < c->stages; i++) {
        const int64_t out = c->stage[i].out, k = c->stage[i].k, edge = c->stage[i].edge;
        struct pair *to = &p.in[1 + 3 * i];
        p.ai[1 + 3 * i] = k;
        p.ai[2 + 3 * i] = edge;
        p.ai[3 + 3 * i] = whole && c->stage[i].act                      ? GLOW_ACT_RELU
                          : by_norm && c->stage[i].act == GLOW_ACT_RELU ? GLOW_ACT_TANH
                                                                        : c->stage[i].act;
        p.ad[i] = i % 2 ? 1 : 3;
        to[0] =
            new_input(5, (int64_t[]){ 1, out, in + edge, k, k }, 1 / sqrt((double)(in * k * k)));
        /* Whether a ReLU's derivative at 0 is 0 or 1 is for each library to say: no sum is 0. */
        const int apart = whole && p.ai[3 + 3 * i] == GLOW_ACT_RELU;
        aside = apart ? ldexp(0.5, -i) : 0;
        if (!(c->stage[i].absent & NO_B) || apart) to[1] = new_input(2, (int64_t[]){ 1, out }, 0.5);
        aside = 0;
        if (!(c->stage[i].absent & NO_LOGS) && !whole)
            to[2] = new_input(2, (int64_t[]){ 1, out }, 0.3);
        in = out;
    }
    p.out[0] = new_pair(4, (int64_t[]){ c->n, in, c->h, c->w });
    return p;
}

/* Hidden buffers as large as the instruction set wants them; without: all unwanted. */
static void add_hidden(struct problem *p)
{
    struct tensor in[MOST], out[MOST];
    const struct step step = step_of(p, 0, in, out);
    for (int i = 1; i < p->n_out; i++) {
        const int64_t n = backend->chain_hidden(&step, i - 1);
        ck_assert_int_gt(n, 0);
        free_pair(&p->out[i]);
        p->out[i] = new_pair(1, &n);
    }
}

START_TEST(conv_chain)
{
    for (int i = 0; i < N_CHAINS; i++) {
        struct problem p = new_chain(&chain_cases[i]);
        char what[80];
        snprintf(what, sizeof what, "conv_chain case %d, hidden unwanted", i);
        check_problem(&p, SPREAD, what);
        for (int k = 0; k < n_sets; k++) {
            snprintf(what, sizeof what, "conv_chain case %d, hidden kept, %s", i, sets[k]);
            choose(sets[k]);
            add_hidden(&p);
            check_kernel(&p, what);
        }
        free_problem(&p);
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
    v.in[1 + 3 * n] = new_input(4, f->out[0].exact.dim, 1);
    for (int i = 0; i < v.n_out; i++)
        v.out[i] =
            v.in[i].block ? new_pair(v.in[i].exact.rank, v.in[i].exact.dim) : (struct pair){ 0 };
    return v;
}

/* Runs f on the inputs of v, and gives it the hidden buffers but those in `drop`. */
static void keep_hidden(struct problem *f, struct problem *v, unsigned drop)
{
    const int n = f->n_out;
    memcpy(f->in, v->in, sizeof *f->in * (size_t)f->n_in);
    add_hidden(f);
    run_kernel(f, engines[0]);
    for (int i = 0; i < n - 1; i++) {
        struct pair *to = &v->in[2 + 3 * n + i];
        free_pair(to);
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
        run_reference(&v);
        for (size_t k = 0; k < sizeof variants / sizeof *variants; k++) {
            for (int j = 0; j < 2 + 3 * f.n_out; j++)
                if (v.in[j].block) move_to(&v.in[j], k % 2 ? SPREAD : DENSE);
            for (int set = 0; set < n_sets; set++) {
                char what[80];
                choose(sets[set]);
                snprintf(what, sizeof what, "conv_chain_vjp case %d, variant %zu, %s", i, k,
                         sets[set]);
                keep_hidden(&f, &v, variants[k].drop);
                v.unwanted = variants[k].unwanted;
                check_kernel(&v, what);
            }
        }
        memset(f.in, 0, sizeof f.in); /* they are v's */
        free_problem(&f);
        free_problem(&v);
    }
}
END_TEST

/* Activations that are computed again are those that were kept. */
START_TEST(kept_or_again)
{
    for (int i = 0; i < N_CHAINS; i++) {
        struct problem f = new_chain(&chain_cases[i]), v = new_chain_vjp(&f);
        for (int set = 0; set < n_sets; set++) {
            void *first[MOST] = { NULL };
            choose(sets[set]);
            for (int again = 0; again < 2; again++) {
                for (int k = 0; k < v.n_out; k++)
                    if (v.out[k].block) memset(v.out[k].block, 0xff, v.out[k].block_size);
                keep_hidden(&f, &v, again ? ~0u : 0);
                run_kernel(&v, engines[0]);
                for (int k = 0; k < v.n_out; k++) {
                    const struct pair *o = &v.out[k];
                    if (!o->block) continue;
                    if (again)
                        ck_assert_msg(!memcmp(first[k], o->block, o->block_size),
                                      "case %d, output %d, %s: other bits", i, k, sets[set]);
                    else
                        memcpy(first[k] = malloc(o->block_size), o->block, o->block_size);
                }
            }
            for (int k = 0; k < v.n_out; k++) free(first[k]);
        }
        memset(f.in, 0, sizeof f.in); /* they are v's */
        free_problem(&f);
        free_problem(&v);
    }
}
END_TEST

/* ---------------------------------------------------------------- finite differences */

/* The sum of dy y. */
static double loss(struct problem *f, const struct pair *dy)
{
    double sum = 0;
    run_kernel(f, engines[0]);
    for (int64_t i = 0; i < tensor_count(&dy->real); i++)
        sum += get(&f->out[0].real, i) * get(&dy->real, i);
    return sum;
}

static void move_by(const struct pair *x, double step, const struct pair *way)
{
    for (int64_t i = 0; i < tensor_count(&x->real); i++)
        put(&x->real, i, get(&x->real, i) + step * get(&way->real, i));
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
        struct pair way = new_input(1, &n, 1);
        double inner = 0, size = 0;
        for (int64_t k = 0; k < n; k++) {
            inner += get(&v->out[i].real, k) * get(&way.real, k);
            size += fabs(get(&v->out[i].real, k) * get(&way.real, k));
        }
        move_by(&f->in[i], step, &way);
        double slope = loss(f, dy);
        move_by(&f->in[i], -2 * step, &way);
        slope = (slope - loss(f, dy)) / (2 * step);
        move_by(&f->in[i], step, &way);
        if (!(fabs(slope - inner) <= 1e-6 * (1 + size)))
            ck_abort_msg("case %d, input %d: slope %.9g, gradient %.9g", number, i, slope, inner);
        free_pair(&way);
    }
}

START_TEST(slopes)
{
    choose(sets[n_sets - 1]);
    for (int i = 0; i < N_CHAINS; i++) {
        struct chain_case c = chain_cases[i];
        for (int k = 0; k < c.stages; k++)
            if (c.stage[k].act == GLOW_ACT_RELU) c.stage[k].act = GLOW_ACT_TANH;
        struct problem f = new_chain(&c), v = new_chain_vjp(&f);
        keep_hidden(&f, &v, 0);
        run_kernel(&v, engines[0]);
        check_slopes(&f, &v, i);
        memset(f.in, 0, sizeof f.in);
        free_problem(&f);
        free_problem(&v);
    }
}
END_TEST

/* NaN in one pixel reaches the result: activations must not swallow it; but for a ReLU that rides
 * along with a product of a library that has it so (docs/gpu.md). */
START_TEST(nan_shows)
{
    struct chain_case c = chain_cases[0];
    for (int i = 0; i < c.stages && processor != &backend_cpu; i++)
        if (c.stage[i].act == GLOW_ACT_RELU) c.stage[i].act = GLOW_ACT_TANH;
    struct problem p = new_chain(&c);
    put(&p.in[0].real, 5, NAN);
    for (int k = 0; k < n_sets; k++) {
        int seen = 0;
        choose(sets[k]);
        run_kernel(&p, engines[0]);
        for (int64_t i = 0; i < tensor_count(&p.out[0].real); i++)
            seen |= isnan(get(&p.out[0].real, i));
        ck_assert_msg(seen, "%s: NaN is lost", sets[k]);
    }
    free_problem(&p);
}
END_TEST

/* ---------------------------------------------------------------- the suite */

static void find_sets(void)
{
    n_sets = 0;
    ck_assert_msg(backend_default(&processor) == GLOW_OK, "%s", fail_message());
    if (processor != &backend_cpu) {
        sets[n_sets++] = processor->name;
        return;
    }
    for (size_t i = 0; i < sizeof all_sets / sizeof *all_sets; i++)
        if (choose(all_sets[i])) sets[n_sets++] = all_sets[i];
    choose(sets[0]); /* and not one that this processor lacks */
}

static void set_up(int bf16, int32_t type, double largest)
{
    find_sets();
    backend = bf16 ? processor->bf16 : processor;
    dtype = type;
    bound = largest;
    state = 1;
    for (int i = 0; i < THREADS; i++) ck_assert_int_eq(backend->open(&engines[i], i + 1), GLOW_OK);
}
/* To the nearest number of 8 bits, halves to even. */
static double round_to_bf16(double x)
{
    int exponent;
    const double fraction = frexp(x, &exponent);
    return ldexp(nearbyint(ldexp(fraction, 8)), exponent - 8);
}

static void set_up_f32(void) { set_up(0, DT_F32, 2e-5); }
static void set_up_f64(void) { set_up(0, DT_F64, 1e-12); }
/* An activation that falls on the other side of a half is as far off as bf16 is coarse, and its
 * derivative comes from the rounded one. */
static void set_up_bf16(void)
{
    set_up(1, DT_F32, 2e-2);
    reference_round(round_to_bf16);
    /* Where the scale is folded into the weights before they are rounded, a few sums near 0 come
     * out on the other side, and the derivative of a ReLU with them: those are left to whole
     * numbers. */
    if (processor == &backend_cpu) return;
    by_norm = 1;
    bound = 5e-2;
}
/* Nothing is rounded: not a bit may differ. */
static void set_up_whole(void)
{
    set_up(1, DT_F32, 0);
    whole = 1;
}
static void tear_down(void)
{
    whole = by_norm = 0;
    reference_round(NULL);
    for (int i = 0; i < THREADS; i++) backend->close(engines[i]);
}

static TCase *new_case(const char *name, void (*begin)(void))
{
    TCase *tc = tcase_create(name);
    tcase_add_checked_fixture(tc, begin, tear_down);
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
    TCase *f64 = new_case("f64", set_up_f64);
    tcase_add_test(f64, slopes);
    suite_add_tcase(suite, add_others(add_matmul(new_case("f32", set_up_f32))));
    suite_add_tcase(suite, add_others(add_matmul(f64)));
    suite_add_tcase(suite, add_others(new_case("bf16", set_up_bf16)));
    suite_add_tcase(suite, new_case("bf16, whole numbers", set_up_whole));
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    const int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

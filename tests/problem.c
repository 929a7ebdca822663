/* problem.c - see problem.h. */
#include "problem.h"
#include <check.h>
#undef fail /* a macro of check.h; status.h has a function */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MARGIN = 256 }; /* bytes around tensors that kernels may read: backend.h */

static const char *const all_sets[] = { "base", "avx2", "avx512", "avx512bf16" };
struct tried tried;

/* Kernels are those of the instruction set that was named when an engine was last opened. */
int problem_choose(const char *set)
{
    struct engine *e;
    if (tried.processor != &backend_cpu) return 1;
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
    if (!tried.whole) return scale * x;
    if (scale >= 1) return tried.aside + round(2 * x);
    return tried.aside + (fabs(x) > scale * scale ? 0 : x < 0 ? -1 : 1);
}

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

double pair_get(const struct tensor *t, int64_t number)
{
    int64_t at = offset_of(t, number);
    return t->dtype == DT_F64 ? ((double *)t->data)[at] : (double)((float *)t->data)[at];
}
void pair_put(const struct tensor *t, int64_t number, double x)
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
    p->real = dense(p->exact.rank, p->exact.dim, tried.dtype);
    lay_out(&p->real, layout);
    const int64_t extent = offset_of(&p->real, tensor_count(&p->real) - 1) + 1;
    p->block_size = 2 * MARGIN + (size_t)extent * dtype_size(tried.dtype);
    ck_assert_int_eq(posix_memalign(&p->block, 64, p->block_size), 0);
    memset(p->block, 0xff, p->block_size);
    p->real.data = (char *)p->block + MARGIN;
}

/* The same values in another layout. */
void pair_move(struct pair *p, enum layout layout)
{
    give_memory(p, layout);
    for (int64_t i = 0; i < tensor_count(&p->exact); i++)
        pair_put(&p->real, i, pair_get(&p->exact, i));
}

struct pair pair_new(int rank, const int64_t *dim)
{
    struct pair p = { .exact = dense(rank, dim, DT_F64) };
    p.exact.data = malloc((size_t)tensor_count(&p.exact) * sizeof(double));
    ck_assert_ptr_nonnull(p.exact.data);
    give_memory(&p, DENSE);
    return p;
}

struct pair pair_input(int rank, const int64_t *dim, double scale)
{
    struct pair p = pair_new(rank, dim);
    for (int64_t i = 0; i < tensor_count(&p.exact); i++) {
        pair_put(&p.real, i, next_value(scale));
        pair_put(&p.exact, i, pair_get(&p.real, i));
    }
    return p;
}

void pair_free(struct pair *p)
{
    free(p->block);
    free(p->exact.data);
    memset(p, 0, sizeof *p);
}

/* ---------------------------------------------------------------- steps */

struct step problem_step(const struct problem *p, int exact, struct tensor *in, struct tensor *out)
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

void problem_reference(const struct problem *p)
{
    struct tensor in[MOST], out[MOST];
    const struct step step = problem_step(p, 1, in, out);
    const struct run run = { 0 };
    reference(p->op)(&step, &run);
}

/* A block of the host where the engine can reach it; `data` lies in it. */
static void *lend(struct engine *e, const char *block, size_t bytes, void **data)
{
    void *there;
    ck_assert_int_eq(tried.backend->alloc(e, bytes, "test", &there), GLOW_OK);
    ck_assert_int_eq(tried.backend->upload(e, there, block, bytes), GLOW_OK);
    *data = (char *)there + ((char *)*data - block);
    return there;
}
static void take_back(struct engine *e, void *there, char *block, size_t bytes)
{
    ck_assert_msg(tried.backend->download(e, block, there, bytes) == GLOW_OK, "%s", fail_message());
    tried.backend->release(e, there);
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
    ck_assert_msg(tried.backend->run(e, step, 1, &run) == GLOW_OK, "%s", fail_message());
    for (int i = 0; i < p->n_in; i++)
        if (ins[i]) take_back(e, ins[i], p->in[i].block, p->in[i].block_size);
    for (int i = 0; i < p->n_out; i++)
        if (outs[i]) take_back(e, outs[i], p->out[i].block, p->out[i].block_size);
    take_back(e, room, scratch, bytes);
}

void problem_run(const struct problem *p, struct engine *e)
{
    struct tensor in[MOST], out[MOST];
    struct step step = problem_step(p, 0, in, out);
    struct run run = { .engine = e };
    const size_t bytes = tried.backend->scratch(e, &step);
    char *block = NULL;
    ck_assert_int_eq(posix_memalign((void **)&block, 64, bytes + 2 * MARGIN), 0);
    memset(block, 0xff, bytes + 2 * MARGIN);
    step.scratch = block + MARGIN;
    step.run = tried.backend->kernel(p->op, tried.dtype);
    if (tried.backend->upload)
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
        const double want = pair_get(&p->exact, i), got = pair_get(&p->real, i);
        scale = fmax(scale, fabs(want));
        error = isnan(got) ? INFINITY : fmax(error, fabs(got - want));
        squares += want * want;
        errors += (got - want) * (got - want);
    }
    if (tried.by_norm && isfinite(error)) {
        scale = sqrt(squares);
        error = sqrt(errors);
    }
    if (!(error <= tried.bound * scale))
        ck_abort_msg("%s, output %d: error %.3g of %.3g", what, number, error, scale);
}

/* The kernel with one thread agrees with the reference, and with more threads bit by bit with
 * itself. */
void problem_check_kernel(struct problem *p, const char *what)
{
    const int most = tried.backend->upload ? 2 : THREADS;
    void *first[MOST] = { NULL };
    for (int threads = 1; threads <= most; threads++) {
        for (int i = 0; i < p->n_out; i++)
            if (p->out[i].block) memset(p->out[i].block, 0xff, p->out[i].block_size);
        problem_run(p, tried.engines[threads - 1]);
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
void problem_check(struct problem *p, enum layout most, const char *what)
{
    problem_reference(p);
    for (enum layout layout = DENSE; layout <= most; layout++) {
        for (int i = 0; i < p->n_in; i++)
            if (p->in[i].block) pair_move(&p->in[i], layout);
        for (int i = 0; i < tried.n_sets; i++) {
            char where[160];
            snprintf(where, sizeof where, "%s, layout %d, %s", what, layout, tried.sets[i]);
            problem_choose(tried.sets[i]);
            problem_check_kernel(p, where);
        }
    }
}

void problem_free(struct problem *p)
{
    for (int i = 0; i < p->n_in; i++) pair_free(&p->in[i]);
    for (int i = 0; i < p->n_out; i++) pair_free(&p->out[i]);
}

/* ---------------------------------------------------------------- what is tried */

static void find_sets(void)
{
    tried.n_sets = 0;
    ck_assert_msg(backend_default(&tried.processor) == GLOW_OK, "%s", fail_message());
    if (tried.processor != &backend_cpu) {
        tried.sets[tried.n_sets++] = tried.processor->name;
        return;
    }
    for (size_t i = 0; i < sizeof all_sets / sizeof *all_sets; i++)
        if (problem_choose(all_sets[i])) tried.sets[tried.n_sets++] = all_sets[i];
    problem_choose(tried.sets[0]); /* and not one that this processor lacks */
}

static void set_up(int bf16, int32_t type, double largest)
{
    find_sets();
    tried.backend = bf16 ? tried.processor->bf16 : tried.processor;
    tried.dtype = type;
    tried.bound = largest;
    state = 1;
    for (int i = 0; i < THREADS; i++)
        ck_assert_int_eq(tried.backend->open(&tried.engines[i], i + 1), GLOW_OK);
}
/* To the nearest number of 8 bits, halves to even. */
static double round_to_bf16(double x)
{
    int exponent;
    const double fraction = frexp(x, &exponent);
    return ldexp(nearbyint(ldexp(fraction, 8)), exponent - 8);
}

void problem_f32(void) { set_up(0, DT_F32, 2e-5); }
void problem_f64(void) { set_up(0, DT_F64, 1e-12); }
/* An activation that falls on the other side of a half is as far off as bf16 is coarse, and its
 * derivative comes from the rounded one. */
void problem_bf16(void)
{
    set_up(1, DT_F32, 2e-2);
    reference_round(round_to_bf16);
    /* Where the scale is folded into the weights before they are rounded, a few sums near 0 come
     * out on the other side, and the derivative of a ReLU with them: those are left to whole
     * numbers. */
    if (tried.processor == &backend_cpu) return;
    tried.by_norm = 1;
    tried.bound = 5e-2;
}
/* Nothing is rounded: not a bit may differ. */
void problem_whole(void)
{
    set_up(1, DT_F32, 0);
    tried.whole = 1;
}
void problem_close(void)
{
    tried.whole = tried.by_norm = 0;
    reference_round(NULL);
    for (int i = 0; i < THREADS; i++) tried.backend->close(tried.engines[i]);
}

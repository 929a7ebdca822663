/* test_fused.c - the kernel of fused steps: what their operations compute alone, to the bit,
 * whatever the chain, the layout of its operands, the instruction set and the number of threads. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "fuse.h"
#include "philox.h"
#include "rig.h"

/* ---------------------------------------------------------------- made-up chains */

enum { OPERATIONS = 40, INPUTS = 6, RANK = 4 };

/* Numbers that depend on the seed of a chain and on how many were asked for before. */
struct dice {
    uint64_t seed, n;
};
static int roll(struct dice *d, int sides)
{
    return (int)(hash_mix(hash_mix(d->seed) ^ d->n++) % (uint64_t)sides);
}

struct chain {
    int32_t dtype;
    int64_t dim[RANK];
    int n_in, n;
    struct tensor in[INPUTS], result[OPERATIONS];
    char *memory[INPUTS];
    int64_t ai[1 + 4 * OPERATIONS + FUSED_OUTPUTS];
    int n_out, out[FUSED_OUTPUTS];
    int64_t mask[OPERATIONS]; /* the axes that a sum adds up */
};

static const int unary_ops[] = { OP_NEG,  OP_ABS,  OP_SQUARE, OP_RECIP,   OP_SQRT,
                                 OP_RELU, OP_SIGN, OP_FLOOR,  OP_EXP,     OP_LOG,
                                 OP_TANH, OP_SIN,  OP_COPY,   OP_SIGMOID, OP_COS };
static const int binary_ops[] = { OP_ADD, OP_SUB, OP_MUL, OP_DIV, OP_MIN, OP_MAX,
                                  OP_LT,  OP_LE,  OP_GT,  OP_GE,  OP_EQ,  OP_POW };

static void put(const struct tensor *t, int64_t i, double x)
{
    if (t->dtype == DT_F64)
        ((double *)t->data)[i] = x;
    else
        ((float *)t->data)[i] = (float)x;
}

static void *allocate(int64_t elements, int32_t dtype)
{
    void *p = calloc((size_t)elements + 64, dtype_size(dtype));
    ck_assert_ptr_nonnull(p);
    return p;
}

static struct tensor dense(const int64_t *dim, int32_t dtype)
{
    struct tensor t = { .dtype = dtype, .rank = RANK };
    int64_t stride = 1;
    for (int i = RANK - 1; i >= 0; stride *= dim[i], i--) {
        t.dim[i] = dim[i];
        t.stride[i] = stride;
    }
    t.data = allocate(stride, dtype);
    return t;
}

/* An operand of that shape: all of it (kind 0 or 5), stretched along some axes (1), a scalar (2),
 * one for each channel (3), or every second element of a row (4). */
static void make_input(struct chain *c, struct dice *d, int k, int kind)
{
    int64_t dim[RANK], apart = 1;
    memcpy(dim, c->dim, sizeof dim);
    for (int i = 0; i < RANK; i++)
        if (kind == 2 || (kind == 1 && roll(d, 2))) dim[i] = 1;
    if (kind == 3) dim[0] = dim[2] = dim[3] = 1;
    if (kind == 4) apart = 2;
    dim[RANK - 1] *= apart;
    struct tensor t = dense(dim, c->dtype);
    c->memory[k] = t.data;
    for (int64_t i = 0; i < tensor_count(&t); i++) {
        static const double special[] = { 0, -0.0, 1, INFINITY, -INFINITY, NAN, 1e-40, -1e38 };
        double x = roll(d, 4000) / 1000.0 - 2;
        put(&t, i, roll(d, 50) ? x : special[roll(d, 8)]);
    }
    for (int i = 0; i < RANK; i++) {
        if (dim[i] == 1) t.stride[i] = 0;
        t.dim[i] = c->dim[i];
    }
    t.stride[RANK - 1] *= apart;
    c->in[k] = t;
}

/* A result that something may read: no sum. Often the last one. */
static int64_t pick_operand(struct chain *c, struct dice *d, int made)
{
    int k = roll(d, 3) ? c->n_in + made - 1 - roll(d, made < 4 ? made + 1 : 4) : roll(d, c->n_in);
    if (k < c->n_in) return roll(d, c->n_in);
    return c->ai[1 + 4 * (k - c->n_in)] == OP_SUM ? roll(d, c->n_in) : k;
}

static void make_chain(struct chain *c, uint64_t seed, int32_t dtype)
{
    static const int64_t shapes[][RANK] = { { 3, 3, 16, 16 },   { 2, 5, 9, 11 }, { 1, 4, 64, 64 },
                                            { 7, 2, 1, 3 },     { 1, 1, 1, 1 },  { 2, 3, 70, 80 },
                                            { 1, 3, 130, 129 }, { 2, 8, 4, 4 } };
    struct dice d = { seed, 0 };
    *c = (struct chain){ .dtype = dtype };
    memcpy(c->dim, shapes[roll(&d, 8)], sizeof c->dim);
    c->n_in = 1 + roll(&d, INPUTS);
    c->n = 1 + roll(&d, OPERATIONS);
    for (int k = 0; k < c->n_in; k++) make_input(c, &d, k, k == 0 ? 0 : roll(&d, 6));
    c->ai[0] = c->n;
    for (int i = 0; i < c->n; i++) {
        int64_t *o = c->ai + 1 + 4 * i;
        int kind = roll(&d, 12), n = kind < 4 ? 1 : kind < 10 ? 2 : kind == 10 ? 3 : 0;
        bool can_sum = n == 0 && i > 0 && c->n_out < FUSED_OUTPUTS && o[-4] != OP_SUM;
        if (n == 0 && !can_sum) n = 1;
        o[0] = n == 0   ? OP_SUM
               : n == 1 ? unary_ops[roll(&d, (int)GLOW_COUNT(unary_ops))]
               : n == 2 ? binary_ops[roll(&d, (int)GLOW_COUNT(binary_ops))]
                        : OP_WHERE;
        for (int k = 0; k < 3; k++) o[1 + k] = k < n ? pick_operand(c, &d, i) : -1;
        if (n == 0) o[1] = c->n_in + i - 1;
        c->mask[i] = 13 + roll(&d, 3); /* those of a channel, of a sample, all */
        if (n == 0 || (c->n_out < FUSED_OUTPUTS && (i == c->n - 1 || !roll(&d, 8))))
            c->out[c->n_out++] = i;
    }
    if (!c->n_out) c->out[c->n_out++] = 0;
    for (int k = 0; k < c->n_out; k++) c->ai[1 + 4 * c->n + k] = c->out[k];
    for (int i = 0; i < c->n; i++) {
        const int64_t each[RANK] = { c->mask[i] & 1 ? 1 : c->dim[0], c->mask[i] & 2 ? 1 : c->dim[1],
                                     1, 1 };
        bool sum = c->ai[1 + 4 * i] == OP_SUM;
        c->result[i] = dense(sum ? each : c->dim, sum && i % 2 ? DT_F64 : dtype);
    }
}

static void free_chain(struct chain *c)
{
    for (int k = 0; k < c->n_in; k++) free(c->memory[k]);
    for (int i = 0; i < c->n; i++) free(c->result[i].data);
}

static void run_step(struct engine *engine, struct step *s)
{
    struct run run = { .engine = engine };
    s->run = backend_cpu.kernel(s->op, s->in[0].dtype);
    size_t bytes = backend_cpu.scratch(engine, s);
    s->scratch = aligned_alloc(64, (bytes + 127) / 64 * 64);
    ck_assert_ptr_nonnull(s->scratch);
    s->run(s, &run);
    free(s->scratch);
}

/* Each operation by its own kernel. */
static void run_apart(struct chain *c, struct engine *engine)
{
    for (int i = 0; i < c->n; i++) {
        const int64_t *o = c->ai + 1 + 4 * i;
        struct tensor in[3];
        struct step s = { .op = (int32_t)o[0], .n_out = 1, .in = in, .out = &c->result[i] };
        for (; s.n_in < 3 && o[1 + s.n_in] >= 0; s.n_in++) {
            int64_t k = o[1 + s.n_in];
            in[s.n_in] = k < c->n_in ? c->in[k] : c->result[k - c->n_in];
        }
        s.ai = &c->mask[i];
        s.n_ai = 1;
        run_step(engine, &s);
    }
}

static bool same(const struct tensor *a, const struct tensor *b)
{
    size_t size = dtype_size(a->dtype);
    for (int64_t i = 0; i < tensor_count(a); i++) {
        const char *x = (const char *)a->data + (size_t)i * size,
                   *y = (const char *)b->data + (size_t)i * size;
        double u = a->dtype == DT_F64 ? *(const double *)(const void *)x
                                      : (double)*(const float *)(const void *)x;
        double v = a->dtype == DT_F64 ? *(const double *)(const void *)y
                                      : (double)*(const float *)(const void *)y;
        if (memcmp(x, y, size) && !(isnan(u) && isnan(v))) return false;
    }
    return true;
}

/* in_place: the first output lies where the first input was, if the chain allows it. */
static void check_chain(struct chain *c, struct engine *engine, uint64_t seed, bool in_place)
{
    struct tensor in[INPUTS], out[FUSED_OUTPUTS];
    struct step s = { .op = OP_FUSED, .n_in = c->n_in, .n_out = c->n_out, .in = in, .out = out };
    s.ai = c->ai;
    s.n_ai = 1 + 4 * c->n + c->n_out;
    memcpy(in, c->in, sizeof in);
    struct tensor copy = dense(c->dim, c->dtype);
    memcpy(copy.data, in[0].data, (size_t)tensor_count(&copy) * dtype_size(c->dtype));
    in[0].data = copy.data;
    for (int k = 0; k < c->n_out; k++) {
        out[k] = c->result[c->out[k]];
        out[k].data = allocate(tensor_count(&out[k]), out[k].dtype);
    }
    bool fits =
        in_place && fused_last_reader(c->ai, 0) <= c->out[0] && c->ai[1 + 4 * c->out[0]] != OP_SUM;
    void *own = out[0].data;
    if (fits) out[0].data = copy.data;
    run_step(engine, &s);
    for (int k = 0; k < c->n_out; k++)
        ck_assert_msg(same(&out[k], &c->result[c->out[k]]),
                      "chain %llu, %s, %d threads%s: output %d differs", (unsigned long long)seed,
                      c->dtype == DT_F64 ? "f64" : "f32", backend_cpu.threads(engine),
                      fits ? ", in place" : "", k);
    out[0].data = own;
    for (int k = 0; k < c->n_out; k++) free(out[k].data);
    free(copy.data);
}

/* An engine of that instruction set; NULL where the processor doesn't have it. */
static struct engine *open_set(int set, int threads)
{
    static const char *const sets[] = { "base", "avx2", "avx512" };
    struct engine *engine;
    setenv("GLOW_CPU", sets[set], 1);
    return backend_cpu.open(&engine, threads) == GLOW_OK ? engine : NULL;
}

static void close_set(struct engine *engine)
{
    if (engine) backend_cpu.close(engine);
    unsetenv("GLOW_CPU");
}

START_TEST(chains)
{
    struct engine *one = open_set(_i, 1), *three = open_set(_i, 3);
    for (uint64_t seed = 0; one && three && seed < 300; seed++) {
        struct chain c;
        make_chain(&c, seed, seed % 3 ? DT_F32 : DT_F64);
        run_apart(&c, one);
        check_chain(&c, one, seed, false);
        check_chain(&c, three, seed, true);
        free_chain(&c);
    }
    close_set(one);
    close_set(three);
}
END_TEST

/* ---------------------------------------------------------------- sums with products */

/* One way to write term + f(w) v, of operations 0: e = in1^2, 1: p = -in0, 2: f(w) or, without f,
 * p = 1 / p, 3: the product, 4: the sum or difference, or one with e instead of the product, 5:
 * what reads something once more. */
struct way {
    int f, w, v, swapped, sum, term, again;
};
enum { E = 4, P, F, PRODUCT, SUM, WAYS = 3 * 4 * 4 * 2 * 5 * 2 * 5 };

static struct way way_of(int number)
{
    static const int sides[] = { 3, 4, 4, 2, 5, 2, 5 };
    int choice[7];
    for (int i = 0; i < 7; number /= sides[i], i++) choice[i] = number % sides[i];
    return (
        struct way){ choice[0], choice[1], choice[2], choice[3], choice[4], choice[5], choice[6] };
}

static void set_operation(struct chain *c, int i, int op, int64_t x, int64_t y)
{
    const int64_t operation[4] = { op, x, y, -1 };
    memcpy(c->ai + 1 + 4 * i, operation, sizeof operation);
}

/* Operands: 0, 1 and 3 of all elements, 2 one for each channel. */
static void make_way(struct chain *c, int number)
{
    static const int64_t dim[RANK] = { 2, 3, 16, 17 };
    static const int factors[] = { OP_RECIP, OP_ABS, OP_SIGN };
    const struct way way = way_of(number);
    const int64_t p = way.f ? P : F, ws[] = { 3, E, p, 0 }, vs[] = { 2, 3, E, p };
    const int64_t again[] = { E, P, F, PRODUCT, SUM };
    struct dice d = { (uint64_t)number, 0 };
    *c = (struct chain){ .dtype = number % 7 ? DT_F32 : DT_F64, .n_in = 4, .n = 6 };
    memcpy(c->dim, dim, sizeof dim);
    c->dim[RANK - 1] -= number % 2; /* whole tiles, or not */
    for (int k = 0; k < c->n_in; k++) make_input(c, &d, k, k == 2 ? 3 : 0);
    int64_t w = way.f ? F : ws[way.w], v = vs[way.v], term = way.term ? p : 0;
    bool first = way.sum % 2 || way.sum == 4;
    set_operation(c, 0, OP_SQUARE, 1, -1);
    set_operation(c, 1, OP_NEG, 0, -1);
    set_operation(c, 2, factors[way.f], way.f ? ws[way.w] : P, -1);
    set_operation(c, 3, OP_MUL, way.swapped ? v : w, way.swapped ? w : v);
    const int64_t with = way.sum < 4 ? PRODUCT : E;
    set_operation(c, 4, way.sum < 2 || way.sum == 4 ? OP_ADD : OP_SUB, first ? with : term,
                  first ? term : with);
    set_operation(c, 5, OP_ADD, SUM, way.sum < 4 ? again[way.again] : PRODUCT);
    c->ai[0] = c->n;
    c->n_out = 1 + number % 2;
    c->out[0] = 5;
    c->out[1] = number % 5; /* any of them may be wanted too */
    for (int k = 0; k < c->n_out; k++) c->ai[1 + 4 * c->n + k] = c->out[k];
    for (int i = 0; i < c->n; i++) c->result[i] = dense(c->dim, c->dtype);
}

START_TEST(products)
{
    struct engine *one = open_set(_i, 1);
    for (int number = 0; one && number < WAYS; number++) {
        struct chain c;
        make_way(&c, number);
        run_apart(&c, one);
        check_chain(&c, one, (uint64_t)number, number % 3 == 0);
        free_chain(&c);
    }
    close_set(one);
}
END_TEST

/* Sums over two kinds of axes take two passes: the result that lies in the memory of what both read
 * is written in the last. */
START_TEST(passes)
{
    static const int64_t dim[RANK] = { 4, 3, 16, 16 };
    struct engine *one = open_set(_i, 1);
    struct dice d = { 1, 0 };
    struct chain c = { .dtype = DT_F32, .n_in = 1, .n = 3, .n_out = 3, .out = { 0, 1, 2 } };
    if (!one) return;
    memcpy(c.dim, dim, sizeof dim);
    make_input(&c, &d, 0, 0);
    for (int64_t i = 0; i < tensor_count(&c.in[0]); i++) put(&c.in[0], i, 0.25 * (double)(i % 9));
    c.ai[0] = c.n;
    set_operation(&c, 0, OP_NEG, 0, -1);
    for (int i = 0; i < 3; i++) {
        const int64_t sums[RANK] = { i == 1 ? 4 : 1, i == 2 ? 3 : 1, 1, 1 };
        c.mask[i] = i == 1 ? 14 : 13;
        c.ai[1 + 4 * c.n + i] = i;
        if (i) set_operation(&c, i, OP_SUM, 1, -1);
        c.result[i] = dense(i ? sums : dim, c.dtype);
    }
    run_apart(&c, one);
    check_chain(&c, one, 0, true);
    free_chain(&c);
    close_set(one);
}
END_TEST

/* Of a product that overflows in a sum, the product is what made the first infinity. */
START_TEST(culprit_in_a_product)
{
    struct engine *one = open_set(_i, 1);
    struct chain c;
    if (!one) return;
    make_way(&c, 1 + 12 * 1 + 48 * 1); /* in0 + in3 |in3| */
    for (int k = 0; k < c.n_in; k++)
        for (int64_t i = 0; i < c.in[k].dim[0] * 3 * 16 * 16; i++)
            if (k != 2) put(&c.in[k], i, k == 3 && i == 700 ? 1e30 : 1);
    for (int64_t i = 0; i < 3; i++) put(&c.in[2], i, 1);
    struct tensor *out[2] = { &c.result[c.out[0]], &c.result[c.out[1]] };
    struct tensor both[2] = { *out[0], *out[1] };
    struct step s = { .op = OP_FUSED, .n_in = c.n_in, .n_out = c.n_out, .in = c.in, .out = both };
    int32_t first = INT32_MAX;
    struct run run = { .engine = one, .nonfinite = &first };
    s.ai = c.ai;
    s.n_ai = 1 + 4 * c.n + c.n_out;
    ck_assert_uint_eq(backend_cpu.scratch(one, &s), 0);
    backend_cpu.kernel(OP_FUSED, DT_F32)(&s, &run);
    ck_assert_int_eq(first, PRODUCT - c.n_in);
    free_chain(&c);
    close_set(one);
}
END_TEST

int main(void)
{
    TCase *tests = rig_case("fused");
    tcase_add_loop_test(tests, chains, 0, 3);
    tcase_add_loop_test(tests, products, 0, 3);
    tcase_add_loop_test(tests, passes, 0, 3);
    tcase_add_loop_test(tests, culprit_in_a_product, 0, 3);
    return rig_run(tests);
}

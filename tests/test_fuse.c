/* test_fuse.c - fused steps: what their operations compute alone, to the bit, whatever the chain,
 * the layout of its operands, the instruction set and the number of threads; and what the planner
 * joins, and leaves apart. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "flows.h"
#include "fuse.h"
#include "philox.h"
#include "plan.h"

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

/* ---------------------------------------------------------------- what is joined */

static struct model *empty_model(void) { return rig_model("input = [2]; flow = ( );", DT_F32); }

/* How many nodes of an operation run, and how many operations are within fused ones. */
static int count(const struct graph *g, int op)
{
    int n = 0;
    for (uint32_t i = 1; i < g->n_nodes; i++) n += g->nodes[i].op == op;
    return n;
}
static int count_fused(const struct graph *g)
{
    int n = 0;
    for (uint32_t i = 1; i < g->n_nodes; i++)
        if (g->nodes[i].op == OP_FUSED) n += (int)g->nodes[i].ai[0];
    return n;
}

/* x (N,4,8,8); what a case adds to it is output "y", and more. */
struct joining {
    const char *what;
    value_id (*describe)(struct graph *, value_id x);
    int fused, operations; /* fused nodes, operations within */
    int apart;             /* elementwise nodes that are left */
};

static value_id channels(struct graph *g, value_id x) /* (1,4,1,1) */
{
    return graph_sum(g, x, 13, false);
}

static value_id a_chain(struct graph *g, value_id x)
{
    value_id c = graph_unary(g, OP_SQRT, channels(g, x));
    x = graph_binary(g, OP_MUL, graph_unary(g, OP_EXP, x), c);
    return graph_binary(g, OP_ADD, x, graph_constant(g, 3));
}

static value_id a_sum_of_a_member(struct graph *g, value_id x)
{
    x = graph_unary(g, OP_EXP, x);
    value_id s = graph_sum(g, x, 13, false); /* per channel: needs the group, and y needs it */
    x = graph_unary(g, OP_NEG, graph_unary(g, OP_ABS, x));
    return graph_unary(g, OP_TANH, graph_binary(g, OP_MUL, x, s));
}

static value_id a_view_of_a_member(struct graph *g, value_id x)
{
    const int64_t turn[4] = { 0, 1, 3, 2 };
    value_id e = graph_unary(g, OP_NEG, graph_unary(g, OP_EXP, x));
    value_id t = graph_op(g, OP_TRANSPOSE, 1, &e, 4, turn);
    return graph_unary(g, OP_COS, graph_binary(g, OP_ADD, e, t));
}

static value_id another_shape(struct graph *g, value_id x)
{
    value_id s = graph_reshape(g, graph_sum(g, x, 14, false), 0, NULL); /* per sample */
    value_id u = graph_unary(g, OP_NEG, graph_unary(g, OP_EXP, s));
    x = graph_unary(g, OP_ABS, graph_unary(g, OP_SIN, x));
    const int64_t ones[3] = { 1, 1, 1 };
    return graph_binary(g, OP_MUL, x, graph_reshape(g, u, 3, ones));
}

static value_id across_a_product(struct graph *g, value_id x)
{
    value_id a = graph_unary(g, OP_EXP, x), order = graph_unary(g, OP_SQUARE, a);
    const int64_t take[6] = { 1, 4, 3, 2, 1, 0 };
    value_id t = graph_op(g, OP_TAKE, 1, &order, 6, take);
    value_id b = graph_unary(g, OP_COS, x); /* could run before, but not across what takes long */
    return graph_binary(g, OP_ADD, graph_unary(g, OP_ABS, b), t);
}

static value_id small_between(struct graph *g, value_id x)
{
    value_id c = graph_unary(g, OP_EXP, channels(g, x)), y = graph_unary(g, OP_ABS, x);
    y = graph_binary(g, OP_MUL, y, graph_unary(g, OP_NEG, c));
    return graph_binary(g, OP_ADD, y, graph_unary(g, OP_SQUARE, c));
}

static value_id alone(struct graph *g, value_id x) { return graph_unary(g, OP_EXP, x); }

static const struct joining joinings[] = {
    { "a chain", a_chain, 1, 3, 1 },
    { "a sum of a member", a_sum_of_a_member, 2, 5, 0 },
    { "a view of a member", a_view_of_a_member, 2, 4, 0 },
    { "another shape between", another_shape, 2, 5, 0 },
    { "across a product", across_a_product, 2, 5, 0 },
    { "small ones between", small_between, 2, 6, 0 },
    { "alone", alone, 0, 0, 1 },
};

struct described {
    struct model *m;
    const struct joining *joining;
    bool separate;
};
static glow_status describe_joining(struct program_graph *d, void *context)
{
    const struct described *c = context;
    const struct glow_type t = { .dtype = GLOW_REAL, .batched = 1, .rank = 3, .dim = { 4, 8, 8 } };
    TRY(graph_new(&d->g, c->m, c->m->backend, DT_F32, 3, 0));
    d->g->separate = c->separate;
    value_id x = program_graph_input(d, "", "x", &t);
    return program_graph_output(d, "", "y", c->joining->describe(d->g, x));
}

START_TEST(joined)
{
    const struct joining *j = &joinings[_i];
    struct model *m = empty_model();
    double x[3 * 256];
    uint64_t hash[2];
    rig_gauss(3, x, 3 * 256);
    for (int separate = 0; separate < 2; separate++) {
        struct described c = { m, j, separate };
        struct bump memory = { 0 };
        struct program_graph d = { .memory = &memory };
        ck_assert_int_eq(describe_joining(&d, &c), GLOW_OK);
        uint32_t n_nodes = d.g->n_nodes;
        ck_assert_int_eq(graph_fuse(&d.g), GLOW_OK);
        int left = 0;
        for (int op = 0; op < OP_COUNT; op++)
            if (op_classes[op] == CLASS_ELEM) left += count(d.g, op);
        if (separate) {
            ck_assert_uint_eq(d.g->n_nodes, n_nodes);
            ck_assert_int_eq(count(d.g, OP_FUSED), 0);
        } else {
            ck_assert_msg(count(d.g, OP_FUSED) == j->fused && count_fused(d.g) == j->operations &&
                              left == j->apart,
                          "%s: %d fused nodes of %d operations, %d apart", j->what,
                          count(d.g, OP_FUSED), count_fused(d.g), left);
        }
        graph_free(d.g);
        free(d.inputs);
        free(d.outputs);
        bump_free(&memory);
        struct program *p;
        ck_assert_int_eq(program_compile(&p, m, 0, 3, false, describe_joining, &c), GLOW_OK);
        rig_write(p, "x", x);
        rig_go(p);
        hash[separate] = rig_hash_output(p, "y");
        program_free(p);
    }
    ck_assert_msg(hash[0] == hash[1], "%s: other bits when fused", j->what);
    model_free(m);
}
END_TEST

/* ---------------------------------------------------------------- limits */

/* Far more operations, inputs and outputs than a fused step holds. */
static value_id long_chain(struct graph *g, value_id x)
{
    for (int i = 0; i < 300; i++) x = graph_unary(g, i % 2 ? OP_NEG : OP_TANH, x);
    return x;
}
static value_id many_inputs(struct graph *g, value_id x)
{
    for (int i = 0; i < 150; i++) x = graph_binary(g, OP_ADD, x, graph_constant(g, i * 0.01));
    return x;
}
static value_id many_outputs(struct graph *g, value_id x)
{
    value_id all = 0;
    for (int i = 0; i < 30; i++) {
        x = graph_unary(g, i % 2 ? OP_SIN : OP_NEG, x);
        value_id s = channels(g, x);
        all = all ? graph_binary(g, OP_ADD, all, s) : s;
    }
    return graph_binary(g, OP_MUL, x, all);
}
static const struct joining limits[] = { { "operations", long_chain, 0, 0, 0 },
                                         { "inputs", many_inputs, 0, 0, 0 },
                                         { "outputs", many_outputs, 0, 0, 0 } };

START_TEST(limited)
{
    struct model *m = empty_model();
    double x[3 * 256];
    uint64_t hash[2];
    rig_gauss(3, x, 3 * 256);
    for (int separate = 0; separate < 2; separate++) {
        struct described c = { m, &limits[_i], separate };
        struct program *p;
        int fused = 0;
        ck_assert_int_eq(program_compile(&p, m, 0, 3, false, describe_joining, &c), GLOW_OK);
        for (int64_t i = 0; i < p->n_steps; i++) {
            const struct step *s = &p->steps[i];
            if (s->op != OP_FUSED) continue;
            fused++;
            ck_assert_int_le(s->n_in, FUSED_INPUTS);
            ck_assert_int_le(s->n_out, FUSED_OUTPUTS);
            int written = 0; /* they are alive together: no more than 4 */
            for (int k = 0; k < s->n_out; k++)
                written += s->ai[1 + 4 * fused_maker(s->ai, k)] != OP_SUM;
            ck_assert_int_le(written, 4);
            ck_assert_int_le(s->ai[0], FUSED_OPS);
        }
        if (separate)
            ck_assert_int_eq(fused, 0);
        else
            ck_assert_int_ge(fused, 3);
        rig_write(p, "x", x);
        rig_go(p);
        hash[separate] = rig_hash_output(p, "y");
        program_free(p);
    }
    ck_assert_msg(hash[0] == hash[1], "%s: other bits when fused", limits[_i].what);
    model_free(m);
}
END_TEST

/* ---------------------------------------------------------------- whole programs */

static const char *const texts[] = {
    "input = [8, 8, 3]; flow = ( { layer = \"crease\"; } );",
    "input = [24, 24, 2]; flow = ( { layer = \"crease\"; }, { layer = \"squeeze\"; }, { layer = "
    "\"crease\"; }, { layer = \"leaky\"; }, { layer = \"factor_out\"; prior = \"learned\"; }, { "
    "layer = \"crease\"; } ); prior = { y = { type = \"normal\"; form = \"diagonal\"; }; };",
    "input = [5]; flow = ( { layer = \"crease\"; }, { layer = \"affine\"; net = \"mlp\"; }, { "
    "layer "
    "= \"leaky\"; } );",
    "input = [16, 16, 1]; flow = ( { layer = \"quantize\"; bits = 5; }, { layer = \"squeeze\"; }, "
    "{ "
    "layer = \"actnorm\"; }, { layer = \"crease\"; }, { layer = \"affine\"; net = { type = "
    "\"openai\"; width = 6; }; }, { layer = \"invconv\"; }, { layer = \"crease\"; }, { layer = "
    "\"additive\"; net = { type = \"openai\"; width = 6; }; } );"
};
enum { TEXTS = 4, BATCH = 5 };

struct whole {
    struct model *m;
    const struct program_options *o;
    bool separate;
};
static glow_status describe_whole(struct program_graph *d, void *context)
{
    const struct whole *w = context;
    TRY(walk_describe(d, w->m, w->o));
    d->g->separate = w->separate;
    return GLOW_OK;
}

static uint64_t hash_of(struct whole *w)
{
    struct program *p;
    if (program_compile(&p, w->m, w->o->kind, BATCH, false, describe_whole, w) != GLOW_OK)
        ck_abort_msg("%s", fail_message());
    for (int i = 0; i < p->n_inputs; i++) {
        double *x = calloc((size_t)tensor_count(&p->inputs[i].tensor), sizeof *x);
        ck_assert_ptr_nonnull(x);
        rig_gauss(40 + (uint64_t)i, x, tensor_count(&p->inputs[i].tensor));
        rig_write(p, p->inputs[i].name, x);
        free(x);
    }
    rig_go(p);
    uint64_t h = w->o->kind == PROGRAM_TRAIN ? rig_hash_gradients(w->m) : 0;
    for (int i = 0; i < p->n_outputs; i++) h = 31 * h + rig_hash_output(p, p->outputs[i].name);
    bool fused = false;
    for (int64_t i = 0; i < p->n_steps; i++) fused |= p->steps[i].op == OP_FUSED;
    ck_assert(fused != w->separate);
    program_free(p);
    return h;
}

/* Forward, gradient and inverse programs: fused, the same bits. */
START_TEST(programs)
{
    rig_load("plugins/crease.c");
    rig_load("../examples/leaky.c");
    struct model *m = rig_model(texts[_i / 2], _i % 2 ? DT_F64 : DT_F32);
    rig_perturb(m, 0.1);
    ck_assert_int_eq(model_training_arenas(m, 0, false), GLOW_OK);
    for (int kind = PROGRAM_TRAIN; kind <= PROGRAM_SAMPLE; kind++)
        for (int memory = MEMORY_STORE; memory <= MEMORY_INVERT; memory++) {
            if (memory > MEMORY_STORE && kind != PROGRAM_TRAIN) continue;
            const struct program_options o = { .kind = (enum program_kind)kind,
                                               .batch = BATCH,
                                               .memory = (enum memory_policy)memory };
            struct whole fused = { m, &o, false }, apart = { m, &o, true };
            ck_assert_msg(hash_of(&fused) == hash_of(&apart), "%s, program %d, memory %d",
                          texts[_i / 2], kind, memory);
        }
    model_free(m);
}
END_TEST

/* What the arena of a GLOW holds does not grow by fusing, that of training a flow of elementwise
 * maths hardly, and to sample from one takes half. */
START_TEST(memory)
{
    const char *elementwise = "input = [32, 32, 3]; flow = ( { layer = \"crease\"; } );";
    rig_load("plugins/crease.c");
    for (int which = 0; which < 2; which++) {
        struct model *m = rig_model(which ? elementwise : rig_glow(32, 3, 3, 4, 64), DT_F32);
        for (int kind = PROGRAM_TRAIN; kind <= PROGRAM_SAMPLE; kind++) {
            const struct program_options o = { .kind = (enum program_kind)kind, .batch = 16 };
            struct bump names = { 0 };
            struct program_graph d = { .memory = &names };
            struct plan *before, *after;
            ck_assert_int_eq(walk_describe(&d, m, &o), GLOW_OK);
            ck_assert_int_eq(plan_make(&before, d.g, m->engine), GLOW_OK);
            ck_assert_int_eq(graph_fuse(&d.g), GLOW_OK);
            ck_assert_int_eq(plan_make(&after, d.g, m->engine), GLOW_OK);
            ck_assert_uint_lt(after->n_order, before->n_order);
            int64_t more = which && kind == PROGRAM_TRAIN ? before->arena_bytes / 20 : 0;
            ck_assert_msg(after->arena_bytes <= before->arena_bytes + more,
                          "model %d, program %d: %lld bytes, %lld before", which, kind,
                          (long long)after->arena_bytes, (long long)before->arena_bytes);
            if (which && kind == PROGRAM_SAMPLE)
                ck_assert_int_lt(2 * after->arena_bytes, before->arena_bytes + 4096);
            plan_free(before);
            plan_free(after);
            graph_free(d.g);
            free(d.inputs);
            free(d.outputs);
            bump_free(&names);
        }
        model_free(m);
    }
}
END_TEST

/* ---------------------------------------------------------------- what went wrong */

/* A NaN within a fused step is put down to the operation that made it, and to whose that is. */
START_TEST(culprits)
{
    char text[200];
    double x[BATCH * 64 * 3];
    rig_load("plugins/crease.c");
    struct model *m =
        rig_model("input = [8, 8, 3]; flow = ( { layer = \"crease\"; name = \"a\"; }, "
                  "{ layer = \"crease\"; name = \"b\"; } );",
                  DT_F32);
    struct program *p = rig_program(m, PROGRAM_ENCODE, BATCH);
    rig_gauss(1, x, BATCH * 64 * 3);
    rig_write(p, "x", x);
    ck_assert_ptr_null(program_find_nonfinite(p, 1, 1, 0, text, sizeof text));
    rig_set(m, "b.shift2", (const double[3]){ 0, NAN, 0 });
    ck_assert_ptr_nonnull(program_find_nonfinite(p, 1, 1, 0, text, sizeof text));
    ck_assert_str_eq(text, "b: add");
    rig_set(m, "b.shift2", (const double[3]){ 0, 0, 0 });
    rig_set(m, "a.logs1", (const double[3]){ 0, 0, 88.5 });
    rig_set(m, "a.logs2", (const double[3]){ 0, 0, 88.5 });
    ck_assert_ptr_nonnull(program_find_nonfinite(p, 1, 1, 0, text, sizeof text));
    ck_assert_str_eq(text, "a: mul");
    program_free(p);
    model_free(m);
}
END_TEST

int main(void)
{
    TCase *tests = rig_case("fuse");
    tcase_add_loop_test(tests, chains, 0, 3);
    tcase_add_loop_test(tests, products, 0, 3);
    tcase_add_loop_test(tests, passes, 0, 3);
    tcase_add_loop_test(tests, culprit_in_a_product, 0, 3);
    tcase_add_loop_test(tests, joined, 0, (int)GLOW_COUNT(joinings));
    tcase_add_loop_test(tests, limited, 0, (int)GLOW_COUNT(limits));
    tcase_add_loop_test(tests, programs, 0, 2 * TEXTS);
    tcase_add_test(tests, memory);
    tcase_add_test(tests, culprits);
    return rig_run(tests);
}

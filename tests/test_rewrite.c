/* test_rewrite.c - simplifications: each takes place where it should, not where it would change a
 * value, and on hundreds of random graphs the simplified program computes what the plain one does,
 * bit for bit. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "philox.h"
#include "rig.h"

static struct model *model;
static void setup(void) { model = rig_model("input = [2]; flow = ( );", DT_F64); }
static void teardown(void) { model_free(model); }

enum { BATCH = 2, MAX_OUTPUTS = 4 };

/* ---------------------------------------------------------------- shorthands */

static value_id op(struct graph *g, int code, value_id x, uint32_t n_ai, const int64_t *ai)
{
    return graph_op(g, code, 1, &x, n_ai, ai);
}
#define AI(...)                                                                                    \
    GLOW_COUNT(((int64_t[]){ __VA_ARGS__ })), (int64_t[]) { __VA_ARGS__ }
static value_id slice(struct graph *g, value_id x, int64_t axis, int64_t start, int64_t step,
                      int64_t n)
{
    return op(g, OP_SLICE, x, AI(axis, start, step, n));
}
static value_id place2(struct graph *g, int64_t axis, int64_t extent, value_id a, value_id b,
                       const int64_t where[6])
{
    int64_t ai[8] = { axis, extent };
    memcpy(ai + 2, where, 6 * sizeof *ai);
    return graph_op(g, OP_PLACE, 2, (value_id[2]){ a, b }, 8, ai);
}
static value_id place1(struct graph *g, int64_t axis, int64_t extent, value_id x, int64_t start,
                       int64_t step)
{
    return op(g, OP_PLACE, x, AI(axis, extent, start, step, graph_value(g, x)->type.dim[axis - 1]));
}

/* ---------------------------------------------------------------- each rule */

/* x (N,6,4,4), z (N,2,4,4), v (3) unbatched: returns a value that is `*same` if the rule holds;
 * *same = 0: nothing may be simplified away here. */
typedef value_id (*rule)(struct graph *, value_id x, value_id z, value_id v, value_id *same);
#define RULE(name)                                                                                 \
    static value_id name(struct graph *g, value_id x, value_id z, value_id v, value_id *same)
#define UNUSED (void)g, (void)x, (void)z, (void)v, (void)same

RULE(whole_slice)
{
    UNUSED;
    *same = x;
    return slice(g, x, 1, 0, 1, 6);
}
RULE(slice_of_place)
{
    UNUSED;
    *same = z;
    return slice(g, place2(g, 1, 8, x, z, (int64_t[6]){ 0, 1, 6, 6, 1, 2 }), 1, 6, 1, 2);
}
RULE(slice_of_strided_place)
{
    UNUSED;
    *same = z;
    return slice(g, place1(g, 1, 7, z, 1, 3), 1, 1, 3, 2);
}
RULE(slice_beside_place)
{
    UNUSED;
    return slice(g, place1(g, 1, 7, z, 1, 3), 1, 2, 3, 2);
}
RULE(slice_of_other_axis)
{
    UNUSED;
    return slice(g, place1(g, 1, 2, z, 0, 1), 2, 0, 1, 2);
}
RULE(slice_of_stretched_place) /* an unbatched part of a batched whole */
{
    value_id row = op(g, OP_SLICE, graph_reshape(g, x, 1, (int64_t[1]){ 96 }), AI(1, 0, 1, 5));
    UNUSED;
    return slice(g, place2(g, 1, 8, row, v, (int64_t[6]){ 0, 1, 5, 5, 1, 3 }), 1, 5, 1, 3);
}
RULE(slice_of_mixed_place) /* the whole is HI, the part is not */
{
    UNUSED;
    value_id both = place2(g, 1, 8, graph_cast(g, x, GLOW_HI), z, (int64_t[6]){ 0, 1, 6, 6, 1, 2 });
    return slice(g, both, 1, 6, 1, 2);
}
RULE(slice_of_slice)
{
    UNUSED;
    *same = slice(g, x, 1, 3, 2, 2);
    return slice(g, slice(g, x, 1, 1, 1, 5), 1, 2, 2, 2);
}
RULE(merge_of_split)
{
    UNUSED;
    *same = x;
    return place2(g, 1, 6, slice(g, x, 1, 0, 1, 2), slice(g, x, 1, 2, 1, 4),
                  (int64_t[6]){ 0, 1, 2, 2, 1, 4 });
}
RULE(merge_of_interleaved)
{
    UNUSED;
    *same = x;
    return place2(g, 1, 6, slice(g, x, 1, 1, 2, 3), slice(g, x, 1, 0, 2, 3),
                  (int64_t[6]){ 1, 2, 3, 0, 2, 3 });
}
RULE(merge_in_other_order)
{
    UNUSED;
    return place2(g, 1, 6, slice(g, x, 1, 3, 1, 3), slice(g, x, 1, 0, 1, 3),
                  (int64_t[6]){ 0, 1, 3, 3, 1, 3 });
}
RULE(merge_of_some)
{
    UNUSED;
    return place2(g, 1, 6, slice(g, x, 1, 0, 1, 2), slice(g, x, 1, 2, 1, 2),
                  (int64_t[6]){ 0, 1, 2, 2, 1, 2 });
}
RULE(merge_of_two)
{
    UNUSED;
    return place2(g, 1, 2, slice(g, x, 1, 0, 1, 1), slice(g, z, 1, 1, 1, 1),
                  (int64_t[6]){ 0, 1, 1, 1, 1, 1 });
}
RULE(sum_of_places_that_meet)
{
    UNUSED;
    /* 0 and 3 meet 1, 3, 5 */
    return graph_binary(g, OP_ADD, place1(g, 1, 6, z, 0, 3),
                        place1(g, 1, 6, slice(g, x, 1, 0, 1, 3), 1, 2));
}
RULE(sum_of_places_apart)
{
    UNUSED;
    *same = place2(g, 1, 6, z, slice(g, x, 1, 0, 1, 3), (int64_t[6]){ 0, 2, 2, 1, 2, 3 });
    return graph_binary(g, OP_ADD, place1(g, 1, 6, z, 0, 2),
                        place1(g, 1, 6, slice(g, x, 1, 0, 1, 3), 1, 2));
}
RULE(there_and_back)
{
    UNUSED;
    *same = x;
    return op(g, OP_TRANSPOSE, op(g, OP_TRANSPOSE, x, AI(0, 2, 3, 1)), AI(0, 3, 1, 2));
}
RULE(there_and_there)
{
    UNUSED;
    return op(g, OP_TRANSPOSE, op(g, OP_TRANSPOSE, x, AI(0, 2, 3, 1)), AI(0, 2, 3, 1));
}
RULE(no_turn)
{
    UNUSED;
    *same = x;
    return op(g, OP_TRANSPOSE, x, AI(0, 1, 2, 3));
}
RULE(permuted_back)
{
    UNUSED;
    *same = x;
    return op(g, OP_TAKE, op(g, OP_TAKE, x, AI(1, 6, 2, 0, 1, 5, 3, 4)),
              AI(1, 6, 1, 2, 0, 4, 5, 3));
}
RULE(permuted_on)
{
    UNUSED;
    return op(g, OP_TAKE, op(g, OP_TAKE, x, AI(1, 6, 2, 0, 1, 5, 3, 4)),
              AI(1, 6, 2, 0, 1, 5, 3, 4));
}
RULE(taken_from_part)
{
    UNUSED;
    return op(g, OP_TAKE, op(g, OP_TAKE, x, AI(1, 3, 2, 0, 1)), AI(1, 3, 1, 2, 0));
}
RULE(squeezed_back)
{
    UNUSED;
    *same = x;
    return op(g, OP_D2S, op(g, OP_S2D, x, AI(1)), AI(1));
}
RULE(squeezed_otherwise)
{
    UNUSED;
    return op(g, OP_D2S, op(g, OP_S2D, x, AI(1)), AI(0));
}
RULE(unsqueezed_back)
{
    value_id wide = place2(g, 1, 8, x, z, (int64_t[6]){ 0, 1, 6, 6, 1, 2 });
    UNUSED;
    *same = wide;
    return op(g, OP_S2D, op(g, OP_D2S, wide, AI(0)), AI(0));
}
RULE(reshaped_back)
{
    UNUSED;
    *same = x;
    return graph_reshape(g, graph_reshape(g, x, 1, (int64_t[1]){ 96 }), 3, (int64_t[3]){ 6, 4, 4 });
}
RULE(negated_twice)
{
    UNUSED;
    *same = x;
    return graph_unary(g, OP_NEG, graph_unary(g, OP_NEG, x));
}
RULE(plus_zero)
{
    UNUSED;
    *same = x;
    return graph_binary(g, OP_ADD, x, graph_constant(g, 0));
}
RULE(zero_plus)
{
    UNUSED;
    *same = x;
    return graph_binary(g, OP_ADD, graph_constant(g, 0), x);
}
RULE(minus_zero)
{
    UNUSED;
    *same = x;
    return graph_binary(g, OP_SUB, x, graph_constant(g, 0));
}
RULE(zero_minus)
{
    UNUSED;
    return graph_binary(g, OP_SUB, graph_constant(g, 0), x);
}
RULE(times_one)
{
    UNUSED;
    *same = x;
    return graph_binary(g, OP_MUL, x, graph_constant(g, 1));
}
RULE(one_times)
{
    UNUSED;
    *same = x;
    return graph_binary(g, OP_MUL, graph_constant(g, 1), x);
}
RULE(over_one)
{
    UNUSED;
    *same = x;
    return graph_binary(g, OP_DIV, x, graph_constant(g, 1));
}
RULE(one_over)
{
    UNUSED;
    return graph_binary(g, OP_DIV, graph_constant(g, 1), x);
}
RULE(truth_plus_zero)
{
    UNUSED;
    return graph_binary(g, OP_ADD, graph_binary(g, OP_LT, x, graph_constant(g, 0)),
                        graph_constant(g, 0));
}
RULE(folded)
{
    UNUSED;
    *same = graph_constant(g, 1.5);
    return graph_binary(g, OP_SUB,
                        graph_binary(g, OP_MUL, graph_constant(g, 2), graph_constant(g, 3)),
                        graph_constant(g, 4.5));
}
RULE(sum_of_one)
{
    value_id one = slice(g, x, 1, 2, 1, 1);
    UNUSED;
    *same = one;
    return graph_sum(g, one, 1 << 1, false);
}
RULE(sum_of_truth)
{
    UNUSED;
    return graph_sum(g, graph_binary(g, OP_LT, slice(g, x, 1, 2, 1, 1), graph_constant(g, 0)),
                     1 << 1, false);
}
RULE(sum_over_batch)
{
    UNUSED;
    return graph_sum(g, x, 1, false);
}
RULE(stretched_to_itself)
{
    UNUSED;
    *same = x;
    return graph_broadcast(g, x, &graph_value(g, x)->type);
}

static const struct {
    const char *name;
    rule build;
} rules[] = {
#define R(name)                                                                                    \
    {                                                                                              \
#name, name                                                                                \
    }
    R(whole_slice),
    R(slice_of_place),
    R(slice_of_strided_place),
    R(slice_beside_place),
    R(slice_of_other_axis),
    R(slice_of_stretched_place),
    R(slice_of_mixed_place),
    R(slice_of_slice),
    R(merge_of_split),
    R(merge_of_interleaved),
    R(merge_in_other_order),
    R(merge_of_some),
    R(merge_of_two),
    R(sum_of_places_that_meet),
    R(sum_of_places_apart),
    R(there_and_back),
    R(there_and_there),
    R(no_turn),
    R(permuted_back),
    R(permuted_on),
    R(taken_from_part),
    R(squeezed_back),
    R(squeezed_otherwise),
    R(unsqueezed_back),
    R(reshaped_back),
    R(negated_twice),
    R(plus_zero),
    R(zero_plus),
    R(minus_zero),
    R(zero_minus),
    R(times_one),
    R(one_times),
    R(over_one),
    R(one_over),
    R(truth_plus_zero),
    R(folded),
    R(sum_of_one),
    R(sum_of_truth),
    R(sum_over_batch),
    R(stretched_to_itself)
};

struct request {
    rule build;
    uint64_t seed; /* of a random graph when there is no rule */
    bool plain;
    struct glow_type type[MAX_OUTPUTS]; /* of the outputs */
};
static void random_graph(struct graph *, uint64_t seed, value_id *pool, int *n);

static glow_status describe(struct program_graph *p, void *context)
{
    struct request *r = context;
    TRY(graph_new(&p->g, model, model->backend, DT_F64, BATCH, 0));
    struct graph *g = p->g;
    g->plain = r->plain;
    const struct glow_type x = { GLOW_REAL, 1, 3, 0, { 6, 4, 4 } },
                           z = { GLOW_REAL, 1, 3, 0, { 2, 4, 4 } },
                           v = { GLOW_REAL, 0, 1, 0, { 3 } };
    value_id pool[400] = { program_graph_input(p, "", "x", &x), program_graph_input(p, "", "z", &z),
                           program_graph_input(p, "", "v", &v) };
    if (r->build) {
        value_id same = 0, y = r->build(g, pool[0], pool[1], pool[2], &same);
        if (!r->plain) ck_assert_msg(same == 0 || y == same, "not simplified");
        r->type[0] = graph_value(g, y)->type;
        return program_graph_output(p, "", "0", y);
    }
    int n = 3;
    random_graph(g, r->seed, pool, &n);
    for (int i = 0; i < MAX_OUTPUTS; i++) {
        char name[16];
        snprintf(name, sizeof name, "%d", i);
        r->type[i] = graph_value(g, pool[n - 1 - i])->type;
        TRY(program_graph_output(p, "", name, pool[n - 1 - i]));
    }
    return g->status;
}

/* All outputs of both programs on the same inputs; 0 of either sign is 0. */
static void compare(rule build, uint64_t seed, const char *name, int64_t *saved)
{
    struct program *p[2];
    struct request requests[2];
    double *y[2][MAX_OUTPUTS] = { { NULL } }, in[BATCH * 96];
    rig_gauss(77 + seed, in, BATCH * 96);
    for (int simple = 0; simple < 2; simple++) {
        requests[simple] = (struct request){ .build = build, .seed = seed, .plain = !simple };
        if (program_compile(&p[simple], model, 0, BATCH, false, describe, &requests[simple]) !=
            GLOW_OK)
            ck_abort_msg("%s: %s", name, fail_message());
        rig_write(p[simple], "x", in);
        rig_write(p[simple], "z", in);
        rig_write(p[simple], "v", in);
        rig_go(p[simple]);
        for (int i = 0; i < p[simple]->n_outputs; i++) {
            y[simple][i] =
                calloc((size_t)tensor_count(&p[simple]->outputs[i].tensor), sizeof(double));
            rig_read(p[simple], p[simple]->outputs[i].name, y[simple][i]);
        }
    }
    for (int i = 0; i < p[0]->n_outputs; i++) {
        const struct tensor *a = &p[0]->outputs[i].tensor;
        ck_assert_msg(type_equal(&requests[0].type[i], &requests[1].type[i]),
                      "%s %llu: the type of output %d", name, (unsigned long long)seed, i);
        for (int64_t k = 0; k < tensor_count(a); k++)
            if (y[0][i][k] != y[1][i][k])
                ck_abort_msg("%s %llu: output %d[%lld] is %.17g, simplified %.17g", name,
                             (unsigned long long)seed, i, (long long)k, y[0][i][k], y[1][i][k]);
        free(y[0][i]);
        free(y[1][i]);
    }
    *saved += p[0]->n_steps - p[1]->n_steps;
    program_free(p[0]);
    program_free(p[1]);
}

START_TEST(each_rule)
{
    int64_t saved = 0;
    compare(rules[_i].build, 0, rules[_i].name, &saved);
}
END_TEST

/* A sum that is wanted in HI keeps its own precision: in f32 it would end with 24 bits. */
static glow_status describe_sum(struct program_graph *p, void *context)
{
    const struct glow_type t = { GLOW_REAL, 1, 1, 0, { 96 } };
    struct model *m = context;
    TRY(graph_new(&p->g, m, m->backend, DT_F32, 1, 0));
    value_id s = graph_sum(p->g, program_graph_input(p, "", "x", &t), 2, false);
    return program_graph_output(p, "", "s",
                                graph_cast(p->g, graph_reshape(p->g, s, 0, NULL), GLOW_HI));
}

START_TEST(sums_keep_precision)
{
    struct model *single = rig_model("input = [2]; flow = ( );", DT_F32);
    struct program *p;
    double x[96], sum = 0, s;
    ck_assert_int_eq(program_compile(&p, single, 0, 1, false, describe_sum, single), GLOW_OK);
    rig_uniform(3, 0, 1, x, 96);
    rig_write(p, "x", x);
    for (int i = 0; i < 96; i++) sum += (double)(float)x[i];
    rig_go(p);
    rig_read(p, "s", &s);
    ck_assert_double_eq_tol(s, sum, 1e-12);
    ck_assert_double_ne(sum, (double)(float)sum);
    program_free(p);
    model_free(single);
}
END_TEST

/* ---------------------------------------------------------------- random graphs */

struct dice {
    uint64_t seed, n;
};
static int64_t roll(struct dice *d, int64_t sides)
{
    uint32_t counter[4] = { (uint32_t)d->n++, 0, (uint32_t)d->seed, 1 }, key[2] = { 11, 13 };
    return (int64_t)(philox(counter, key).v[0] % (uint64_t)sides);
}

static value_id random_permutation(struct graph *g, struct dice *d, value_id x, int64_t axis)
{
    int64_t n = graph_value(g, x)->type.dim[axis - 1], there[2 + 96] = { axis, n },
            back[2 + 96] = { axis, n };
    for (int64_t i = 0; i < n; i++) there[2 + i] = i;
    for (int64_t i = n - 1; i > 0; i--) {
        int64_t k = roll(d, i + 1), t = there[2 + i];
        there[2 + i] = there[2 + k];
        there[2 + k] = t;
    }
    for (int64_t i = 0; i < n; i++) back[2 + there[2 + i]] = i;
    value_id y = op(g, OP_TAKE, x, (uint32_t)n + 2, there);
    return roll(d, 2) ? op(g, OP_TAKE, y, (uint32_t)n + 2, back) : y;
}

/* Splits along an axis, and puts the pieces together again, in their order or another, or with a
 * gap. */
static value_id random_merge(struct graph *g, struct dice *d, value_id x, int64_t axis)
{
    int64_t n = graph_value(g, x)->type.dim[axis - 1];
    if (n < 2) return x;
    int64_t k = 1 + roll(d, n - 1), swap = roll(d, 3) == 0, extent = n + roll(d, 2),
            gap = roll(d, 2) * (extent - n);
    value_id a = slice(g, x, axis, 0, 1, k), b = slice(g, x, axis, k, 1, n - k);
    if (roll(d, 4) == 0) a = graph_unary(g, OP_TANH, a);
    if (swap) return place2(g, axis, extent, b, a, (int64_t[6]){ 0, 1, n - k, n - k + gap, 1, k });
    return place2(g, axis, extent, a, b, (int64_t[6]){ 0, 1, k, k + gap, 1, n - k });
}

static value_id random_slice(struct graph *g, struct dice *d, value_id x, int64_t axis)
{
    int64_t n = graph_value(g, x)->type.dim[axis - 1], start = roll(d, n), step = 1 + roll(d, 2);
    return slice(g, x, axis, start, step, 1 + roll(d, (n - 1 - start) / step + 1));
}

static value_id random_sum_of_places(struct graph *g, struct dice *d, value_id x, int64_t axis)
{
    int64_t n = graph_value(g, x)->type.dim[axis - 1];
    if (n > 8) return x;
    value_id y = graph_unary(g, OP_SIN, x);
    int64_t step = 1 + roll(d, 2), extent = 3 * n + 2, far = roll(d, 2) ? 1 : n;
    return graph_binary(g, OP_ADD, place1(g, axis, extent, x, 0, step),
                        place1(g, axis, extent, y, far, 1 + roll(d, 2)));
}

static value_id random_turn(struct graph *g, struct dice *d, value_id x)
{
    static const int64_t turns[4][4] = {
        { 0, 1, 2, 3 }, { 0, 2, 3, 1 }, { 0, 3, 1, 2 }, { 0, 1, 3, 2 }
    };
    return graph_value(g, x)->type.rank == 3 ? op(g, OP_TRANSPOSE, x, 4, turns[roll(d, 4)]) : x;
}

static value_id random_squeeze(struct graph *g, struct dice *d, value_id x)
{
    const struct glow_type t = graph_value(g, x)->type;
    int64_t order = roll(d, 2);
    if (t.rank != 3) return x;
    if (roll(d, 2) && t.dim[0] % 4 == 0) return op(g, OP_D2S, x, 1, &order);
    if (t.dim[1] % 2 || t.dim[2] % 2 || t.dim[0] > 24) return x;
    value_id y = op(g, OP_S2D, x, 1, &order);
    if (roll(d, 2)) order = roll(d, 2);
    return roll(d, 2) ? op(g, OP_D2S, y, 1, &order) : y;
}

static value_id random_arithmetic(struct graph *g, struct dice *d, value_id x, value_id other)
{
    static const int codes[] = { OP_ADD, OP_SUB, OP_MUL, OP_DIV };
    value_id c = graph_constant(g, (double)roll(d, 3));
    int code = codes[roll(d, 3)];
    if (roll(d, 5) == 0) return graph_binary(g, code, c, x);
    if (roll(d, 5) == 0)
        return graph_binary(g, code, graph_binary(g, OP_LT, x, c),
                            graph_constant(g, (double)roll(d, 2)));
    if (roll(d, 3) == 0 && type_equal(&graph_value(g, x)->type, &graph_value(g, other)->type))
        return graph_binary(g, code, x, other);
    return graph_binary(g, code, x, roll(d, 2) ? c : graph_constant(g, 1));
}

static value_id random_reshape(struct graph *g, struct dice *d, value_id x)
{
    const struct glow_type t = graph_value(g, x)->type;
    int64_t n = type_count(&t);
    if (roll(d, 3) == 0) return graph_reshape(g, graph_reshape(g, x, 1, &n), t.rank, t.dim);
    return n % 16 == 0 ? graph_reshape(g, x, 3, (int64_t[3]){ n / 16, 4, 4 })
                       : graph_reshape(g, x, 1, &n);
}

static void random_graph(struct graph *g, uint64_t seed, value_id *pool, int *n)
{
    struct dice d = { seed, 0 };
    for (int k = 0; k < 40; k++) {
        value_id x = pool[roll(&d, 2) ? *n - 1 : roll(&d, *n)], y = x, other = pool[roll(&d, *n)];
        int64_t rank = graph_value(g, x)->type.rank, axis = 1 + roll(&d, rank);
        switch (roll(&d, 11)) {
        case 0: y = random_slice(g, &d, x, axis); break;
        case 1: y = random_merge(g, &d, x, axis); break;
        case 2: y = random_permutation(g, &d, x, axis); break;
        case 3: y = random_turn(g, &d, x); break;
        case 4: y = random_squeeze(g, &d, x); break;
        case 5: y = random_arithmetic(g, &d, x, other); break;
        case 6: y = random_reshape(g, &d, x); break;
        case 7: y = random_sum_of_places(g, &d, x, axis); break;
        case 8: y = graph_sum(g, x, (int64_t)1 << axis, roll(&d, 2)); break;
        case 9: y = graph_unary(g, OP_NEG, roll(&d, 2) ? graph_unary(g, OP_NEG, x) : x); break;
        default: y = graph_cast(g, x, roll(&d, 2) ? GLOW_HI : GLOW_REAL);
        }
        if (type_count(&graph_value(g, y)->type) <= 96) pool[(*n)++] = y;
    }
}

START_TEST(random_graphs)
{
    int64_t saved = 0;
    for (uint64_t seed = 1; seed <= 400; seed++) compare(NULL, seed, "random graph", &saved);
    ck_assert_int_gt(saved, 400); /* there was something to simplify */
}
END_TEST

int main(void)
{
    TCase *tests = rig_case("rewrite");
    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_add_loop_test(tests, each_rule, 0, GLOW_COUNT(rules));
    tcase_add_test(tests, sums_keep_precision);
    tcase_add_test(tests, random_graphs);
    return rig_run(tests);
}

/* test_graph.c - graphs as plug-ins see them: handles, hash-consing, random numbers, the mean over
 * a batch, initial values. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "rig.h"

static struct model *model; /* f64; its instance "first" describes what the tests describe */

static void setup(void)
{
    model = rig_model("input = [2]; flow = ( { layer = \"actnorm\"; name = \"first\"; }, { layer = "
                      "\"actnorm\"; } );",
                      DT_F64);
}
static void teardown(void) { model_free(model); }

static struct graph *new_graph(uint32_t phase)
{
    struct graph *g;
    ck_assert_int_eq(graph_new(&g, model, model->backend, DT_F64, 2, phase), GLOW_OK);
    g->who = model->layers[0].self;
    return g;
}

static const struct glow_self *self(int layer) { return &model->layers[layer].self->self; }

static glow_value input(struct graph *g, int batched, int rank, int64_t d0, int64_t d1, int64_t d2)
{
    struct glow_type t = glow_real_type(rank, d0, d1, d2, 0);
    t.batched = batched;
    return graph_handle(g, graph_input(g, (int64_t)g->n_nodes, &t));
}

/* ---------------------------------------------------------------- handles */

START_TEST(foreign_handles)
{
    struct graph *g = new_graph(0), *other = new_graph(0);
    struct glow_graph *gg = (struct glow_graph *)g;
    glow_value mine = input(g, 1, 1, 5, 0, 0), theirs = input(other, 1, 1, 5, 0, 0);
    ck_assert(mine.id != theirs.id);
    ck_assert(GLOW_IS_ERROR(glow_add(gg, mine, theirs)));
    rig_message("first: a value handle that does not belong to this graph");
    graph_free(g);
    g = new_graph(0);
    gg = (struct glow_graph *)g;
    mine = input(g, 1, 1, 5, 0, 0);
    ck_assert(GLOW_IS_ERROR(glow_exp(gg, (glow_value){ mine.id + 1 })));
    rig_message("does not belong");
    graph_free(g);
    g = new_graph(0);
    ck_assert(GLOW_IS_ERROR(glow_exp((struct glow_graph *)g, (glow_value){ UINT64_MAX })));
    rig_message("an error handle of another graph");
    ck_assert_int_eq(g->status, GLOW_EINVAL);
    graph_free(g);
    graph_free(other);
}
END_TEST

/* ---------------------------------------------------------------- hash-consing */

START_TEST(equal_nodes)
{
    struct graph *g = new_graph(0);
    const struct glow_type t = { GLOW_REAL, 1, 2, 0, { 4, 4 } },
                           flat = { GLOW_REAL, 1, 1, 0, { 16 } };
    value_id x = graph_input(g, 0, &t), y = graph_input(g, 1, &t);
    ck_assert_uint_ne(x, y);
    ck_assert_uint_eq(graph_input(g, 0, &t), x);
    value_id e = graph_unary(g, OP_EXP, x);
    ck_assert_uint_eq(graph_unary(g, OP_EXP, x), e);
    ck_assert_uint_ne(graph_unary(g, OP_EXP, y), e);
    ck_assert_uint_ne(graph_unary(g, OP_SIN, x), e);
    ck_assert_uint_ne(graph_binary(g, OP_SUB, x, y), graph_binary(g, OP_SUB, y, x));
    const int64_t a[4] = { 1, 0, 1, 2 }, b[4] = { 1, 2, 1, 2 };
    value_id slice = graph_op(g, OP_SLICE, 1, &x, 4, a);
    ck_assert_uint_eq(graph_op(g, OP_SLICE, 1, &x, 4, a), slice);
    ck_assert_uint_ne(graph_op(g, OP_SLICE, 1, &x, 4, b), slice);
    ck_assert_uint_eq(graph_constant(g, 2), graph_constant(g, 2));
    ck_assert_uint_ne(graph_constant(g, 2), graph_constant(g, 3));
    ck_assert_uint_ne(graph_reshape(g, x, 1, flat.dim),
                      x); /* the type counts: a reshape has no attributes */
    ck_assert_uint_ne(graph_reshape(g, x, 1, (const int64_t[1]){ 16 }),
                      graph_reshape(g, x, 2, (const int64_t[2]){ 2, 8 }));
    ck_assert_uint_ne(graph_alias(g, x), graph_alias(g, x));
    /* another epoch: the same inputs and constants, but nodes of its own */
    value_id two = graph_constant(g, 2);
    g->epoch++;
    ck_assert_uint_eq(graph_input(g, 0, &t), x);
    ck_assert_uint_eq(graph_constant(g, 2), two);
    value_id later = graph_unary(g, OP_EXP, x);
    ck_assert_uint_ne(later, e);
    ck_assert_uint_eq(graph_unary(g, OP_EXP, x), later);
    g->epoch--;
    ck_assert_uint_eq(graph_unary(g, OP_EXP, x), e);
    for (int i = 0; i < 5000; i++) { /* the hash table grows; its slots are shared */
        value_id c = graph_constant(g, 10 + i);
        ck_assert(graph_maker(g, c)->ad[0] == 10 + i);
        g->epoch = 10 + (uint32_t)i;
        value_id made = graph_unary(g, i % 2 ? OP_EXP : OP_SIN, i % 3 ? x : c);
        ck_assert_uint_eq(graph_maker(g, made)->epoch, g->epoch);
    }
    g->epoch = 1;
    ck_assert_uint_eq(graph_unary(g, OP_EXP, x), e);
    ck_assert_uint_eq(graph_constant(g, 2), two);
    graph_free(g);
}
END_TEST

/* ---------------------------------------------------------------- numbers */

enum { ROWS = 4 };

/* What a description gives for a batch that begins at `row`, at a step. */
typedef glow_value (*describe_fn)(struct glow_graph *);
struct request {
    describe_fn build;
    uint32_t phase;
    int64_t batch;
};

static glow_status describe_request(struct program_graph *p, void *context)
{
    const struct request *r = context;
    const struct glow_type t = { GLOW_REAL, 1, 1, 0, { 3 } };
    TRY(graph_new(&p->g, model, model->backend, DT_F64, r->batch, r->phase));
    program_graph_input(p, "", "x", &t); /* slot 0 */
    return program_graph_output(p, "", "y",
                                graph_open_handle(p->g, r->build((struct glow_graph *)p->g)));
}

static void compute(describe_fn build, uint32_t phase, int64_t batch, uint64_t step, int64_t row,
                    double *y)
{
    struct program *p;
    struct request r = { build, phase, batch };
    double x[3 * ROWS];
    ck_assert_int_le(batch, ROWS);
    for (int i = 0; i < 3 * ROWS; i++) x[i] = i * i;
    if (program_compile(&p, model, 0, batch, false, describe_request, &r) != GLOW_OK)
        ck_abort_msg("%s", fail_message());
    rig_write(p, "x", x);
    ck_assert_int_eq(program_run(p, 1, step, row), GLOW_OK);
    rig_read(p, "y", y);
    program_free(p);
}

static glow_value x_of(struct glow_graph *g)
{
    const struct glow_type t = { GLOW_REAL, 1, 1, 0, { 3 } };
    return graph_handle(graph_of(g), graph_input(graph_of(g), 0, &t));
}

static glow_value draw(struct glow_graph *g, int who, const char *slot, uint32_t dist, int batched)
{
    const struct glow_type t = { GLOW_REAL, batched, 1, 0, { 3 } };
    return g->op->random(g, self(who), slot, dist, &t);
}
static glow_value draw_u(struct glow_graph *g) { return draw(g, 0, "u", GLOW_UNIFORM, 1); }
static glow_value draw_among_others(struct glow_graph *g)
{
    glow_value other = draw(g, 1, "u", GLOW_UNIFORM, 1), v = draw(g, 0, "v", GLOW_UNIFORM, 1);
    (void)draw(g, 0, "w", GLOW_SIGNS, 0);
    return glow_add(g, draw_u(g), glow_scale(g, glow_add(g, other, v), 0));
}
static glow_value draw_second(struct glow_graph *g)
{
    (void)draw_u(g);
    return draw_u(g);
}
static glow_value draw_v(struct glow_graph *g) { return draw(g, 0, "v", GLOW_UNIFORM, 1); }
static glow_value draw_elsewhere(struct glow_graph *g) { return draw(g, 1, "u", GLOW_UNIFORM, 1); }
static glow_value draw_for_all(struct glow_graph *g) { return draw(g, 0, "u", GLOW_UNIFORM, 0); }
static glow_value draw_signs(struct glow_graph *g) { return draw(g, 0, "u", GLOW_SIGNS, 1); }

/* A draw is a function of seed, step, row, instance, slot and how often the slot was asked for; of
 * nothing else that the graph holds, nor of the batch size. */
START_TEST(random_draws)
{
    double y[3 * ROWS], other[3 * ROWS];
    compute(draw_u, 0, ROWS, 5, 0, y);
    for (int i = 0; i < 3 * ROWS; i++) ck_assert(y[i] >= 0 && y[i] < 1);
    for (int i = 3; i < 3 * ROWS; i++) ck_assert(y[i] != y[i - 3]);
    compute(draw_among_others, 0, ROWS, 5, 0, other);
    ck_assert_mem_eq(y, other, sizeof y);
    compute(draw_u, 0, 2, 5, 2, other);
    ck_assert_mem_eq(y + 6, other, 6 * sizeof *y);
    static const describe_fn different[] = { draw_second, draw_v, draw_elsewhere };
    for (size_t k = 0; k < GLOW_COUNT(different); k++) {
        compute(different[k], 0, ROWS, 5, 0, other);
        for (int i = 0; i < 3 * ROWS; i++) ck_assert(y[i] != other[i]);
    }
    compute(draw_u, 0, ROWS, 6, 0, other);
    ck_assert(y[0] != other[0]);
    compute(draw_for_all, 0, ROWS, 5, 0, y);
    compute(draw_for_all, 0, 1, 5, 3, other);
    ck_assert_mem_eq(y, other, 3 * sizeof *y);
    compute(draw_signs, 0, ROWS, 5, 0, y);
    int positive = 0;
    for (int i = 0; i < 3 * ROWS; i++) {
        ck_assert(fabs(y[i]) == 1);
        positive += y[i] > 0;
    }
    ck_assert(positive > 0 && positive < 3 * ROWS);
}
END_TEST

/* The mean over the samples, and the same number for all of them; of an unbatched value itself. */
static glow_value mean_over_batch(struct glow_graph *g) { return g->op->batch_mean(g, x_of(g)); }
static glow_value mean_of_mean(struct glow_graph *g)
{
    return g->op->batch_mean(g, mean_over_batch(g));
}
/* BOOL into arithmetic and through a cast. */
static glow_value count_large(struct glow_graph *g)
{
    glow_value large = glow_binary(g, GLOW_GE, x_of(g), glow_num(g, 16));
    return glow_add(g, glow_sum_all(g, large),
                    glow_sum_all(g, glow_scale(g, g->op->cast(g, large, GLOW_REAL), 0.5)));
}

START_TEST(batch_means)
{
    double y[3 * ROWS];
    static const double want[3] = { (0 + 9 + 36 + 81) / 4.0, (1 + 16 + 49 + 100) / 4.0,
                                    (4 + 25 + 64 + 121) / 4.0 };
    compute(mean_over_batch, 0, ROWS, 0, 0, y);
    for (int i = 0; i < 3; i++) ck_assert_double_eq_tol(y[i], want[i], 1e-12);
    compute(mean_of_mean, 0, ROWS, 0, 0, y);
    for (int i = 0; i < 3; i++) ck_assert_double_eq_tol(y[i], want[i], 1e-12);
    compute(count_large, 0, ROWS, 0, 0, y); /* 0 1 4 | 9 16 25 | ... */
    for (int i = 0; i < ROWS; i++) ck_assert_double_eq(y[i], 1.5 * (i == 0 ? 0 : i == 1 ? 2 : 3));
}
END_TEST

/* ---------------------------------------------------------------- initial values */

static glow_value parameter(struct glow_graph *g)
{
    const struct glow_param p = { .size = sizeof p,
                                  .name = "b",
                                  .type = glow_real_type(1, 2, 0, 0, 0) };
    return g->op->param(g, self(0), &p);
}
static glow_value initialised(struct glow_graph *g)
{
    const struct glow_type t = { GLOW_REAL, 0, 1, 0, { 2 } };
    g->op->init_from(g, parameter(g), g->op->array(g, &t, (const double[2]){ 7, 8 }));
    return glow_scale(g, parameter(g), 2); /* from now on the new value */
}

/* init_from sets the parameter for good in INIT programs, and is ignored in all others. */
START_TEST(initial_values)
{
    double y[2], b[2];
    rig_set(model, "first.b", (const double[2]){ 1, 2 });
    static const uint32_t phases[] = { 0, GLOW_PHASE_TRAIN, GLOW_PHASE_SAMPLE };
    for (size_t i = 0; i < GLOW_COUNT(phases); i++) {
        compute(initialised, phases[i], 1, 0, 0, y);
        ck_assert(y[0] == 2 && y[1] == 4);
        model_get(model, model->weights, rig_param(model, "first.b"), b);
        ck_assert(b[0] == 1 && b[1] == 2);
    }
    compute(initialised, GLOW_PHASE_INIT, 1, 0, 0, y);
    ck_assert(y[0] == 14 && y[1] == 16);
    model_get(model, model->weights, rig_param(model, "first.b"), b);
    ck_assert(b[0] == 7 && b[1] == 8);
}
END_TEST

static glow_value init_twice(struct glow_graph *g)
{
    initialised(g);
    return initialised(g);
}
static glow_value init_shape(struct glow_graph *g)
{
    return g->op->init_from(g, parameter(g), mean_over_batch(g));
}
static glow_value init_batched(struct glow_graph *g)
{
    return g->op->init_from(g, parameter(g), g->op->slice(g, x_of(g), 0, 0, 1, 2));
}
static glow_value init_no_parameter(struct glow_graph *g)
{
    return g->op->init_from(g, x_of(g), x_of(g));
}

START_TEST(initial_value_errors)
{
    static const struct {
        describe_fn build;
        const char *message;
    } cases[] = {
        { init_twice,
          "first: init_from: the first argument is no parameter, or it was initialised already" },
        { init_shape, "first: init_from: parameter (2) from (3)" },
        { init_batched, "first: init_from: parameter (2) from (N,2)" },
        { init_no_parameter, "first: init_from: the first argument is no parameter" }
    };
    for (size_t i = 0; i < GLOW_COUNT(cases); i++) {
        struct graph *g = new_graph(GLOW_PHASE_INIT);
        ck_assert(GLOW_IS_ERROR(cases[i].build((struct glow_graph *)g)));
        rig_message(cases[i].message);
        graph_free(g);
    }
}
END_TEST

/* A parameter is asked for by its name, any number of times, always with the same shape, and by
 * forward first. */
static glow_value ask(struct graph *g, const struct glow_param *p)
{
    return g->op->param((struct glow_graph *)g, self(0), p);
}

START_TEST(parameter_requests)
{
    const struct {
        struct glow_param p;
        const char *message;
    } cases[] = {
        { { .size = sizeof cases[0].p, .name = "b", .type = glow_real_type(1, 3, 0, 0, 0) },
          "first.b: the parameter is (2), asked for as (3)" },
        { { .size = sizeof cases[0].p, .name = "new", .type = glow_real_type(1, 2, 0, 0, 0) },
          "first.new: forward never mentions this parameter" },
        { { .size = sizeof cases[0].p, .name = "new", .type = glow_real_type(1, 0, 0, 0, 0) },
          "first.new: an empty shape (0)" },
        { { .size = 8, .name = "b", .type = glow_real_type(1, 2, 0, 0, 0) },
          "first: a parameter request that is malformed" },
        { { .size = sizeof cases[0].p, .type = glow_real_type(1, 2, 0, 0, 0) },
          "first: a parameter request that is malformed" },
        { { .size = sizeof cases[0].p,
            .name = "b",
            .init = GLOW_INIT_FILL,
            .type = glow_real_type(1, 2, 0, 0, 0) },
          "first: a parameter request that is malformed" },
        { { .size = sizeof cases[0].p, .name = "b", .type = glow_real_type(9, 2, 0, 0, 0) },
          "first: a parameter request that is malformed" }
    };
    struct graph *g = new_graph(0);
    const struct glow_param b = { .size = sizeof b,
                                  .name = "b",
                                  .type = glow_real_type(1, 2, 0, 0, 0) };
    ck_assert(ask(g, &b).id == ask(g, &b).id);
    graph_free(g);
    for (size_t i = 0; i < GLOW_COUNT(cases); i++) {
        g = new_graph(0);
        ck_assert(GLOW_IS_ERROR(ask(g, &cases[i].p)));
        rig_message(cases[i].message);
        graph_free(g);
    }
}
END_TEST

/* ---------------------------------------------------------------- replacements */

static int count_nodes(const struct graph *g, int op)
{
    int n = 0;
    for (uint32_t i = 1; i < g->n_nodes; i++) n += g->nodes[i].op == op;
    return n;
}

/* Readers of exp(x) read abs(x), and exp(x), which nobody reads any more, goes. A bind keeps what
 * it names. */
START_TEST(replaced_values)
{
    struct graph *g = new_graph(0), *simple;
    const struct glow_type t = { .dtype = GLOW_REAL, .rank = 1, .batched = 1, .dim = { 3 } };
    const value_id x = graph_input(g, 0, &t), by = graph_unary(g, OP_ABS, x);
    const value_id v = graph_unary(g, OP_EXP, x), y = graph_binary(g, OP_MUL, v, x);
    ck_assert_int_eq(graph_bind(g, BIND_OUTPUT, 0, y), GLOW_OK);
    ck_assert_int_eq(graph_bind(g, BIND_OUTPUT, 1, v), GLOW_OK);
    graph_replace(g, v, by);
    ck_assert_int_eq(graph_rebuild(g, &simple), GLOW_OK);
    ck_assert_int_eq(count_nodes(simple, OP_EXP), 0);
    const struct node *n = graph_maker(simple, simple->binds[0].value);
    ck_assert_int_eq(n->op, OP_MUL);
    ck_assert_int_eq(graph_maker(simple, n->in[0])->op, OP_ABS);
    ck_assert_int_eq(graph_maker(simple, n->in[1])->op, OP_INPUT);
    ck_assert_int_eq(simple->binds[1].value, n->in[0]);
    graph_free(simple);
    graph_free(g);
}
END_TEST

int main(void)
{
    TCase *tests = rig_case("graph");
    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_add_test(tests, foreign_handles);
    tcase_add_test(tests, equal_nodes);
    tcase_add_test(tests, random_draws);
    tcase_add_test(tests, batch_means);
    tcase_add_test(tests, initial_values);
    tcase_add_test(tests, initial_value_errors);
    tcase_add_test(tests, parameter_requests);
    tcase_add_test(tests, replaced_values);
    return rig_run(tests);
}

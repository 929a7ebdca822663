/* test_types.c - the type rules of all operations, and what is said when values do not fit, or are
 * absent: the layer, the operation, the shapes. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "describe.h"

/* ---------------------------------------------------------------- types */

struct values {
    glow_value image, row, vector, matrix, wide, kernel, scalar, hi, none;
};

static struct values values_of(struct graph *g)
{
    struct values v = { .image = input(g, 1, 3, 3, 4, 6),
                        .row = input(g, 1, 1, 5, 0, 0),
                        .vector = input(g, 0, 1, 3, 0, 0),
                        .matrix = input(g, 0, 2, 3, 3, 0),
                        .wide = input(g, 0, 2, 4, 3, 0),
                        .scalar = input(g, 1, 0, 0, 0, 0) };
    struct glow_type t = glow_real_type(4, 2, 3, 3, 3);
    v.kernel = graph_handle(g, graph_input(g, 99, &t));
    v.hi = g->op->cast((struct glow_graph *)g, v.row, GLOW_HI);
    return v;
}

typedef glow_value (*build_fn)(struct glow_graph *, const struct values *);
#define OP(name, expression)                                                                       \
    static glow_value name(struct glow_graph *g, const struct values *v)                           \
    {                                                                                              \
        (void)v;                                                                                   \
        return expression;                                                                         \
    }

static const int64_t zeros[8] = { 0 };
static const int64_t dims[4] = { 6, 4, 3, 2 };
static const int32_t turn[3] = { 1, 2, 0 };
static glow_value concat2(struct glow_graph *g, int axis, glow_value a, glow_value b)
{
    const glow_value parts[2] = { a, b };
    return g->op->concat(g, axis, 2, parts);
}
static glow_value chain1(struct glow_graph *g, glow_value x, glow_value w, glow_value b, int ksize,
                         int flags)
{
    const struct glow_stage s = { .w = w, .b = b, .ksize = ksize, .flags = flags };
    return g->op->conv_chain(g, x, 1, &s, sizeof s);
}
static glow_value linalg(struct glow_graph *g, uint32_t code, glow_value a, glow_value b, int which)
{
    const glow_value in[4] = { a, b, b, b };
    glow_value out[2] = { { 0 }, { 0 } };
    g->op->linalg(g, code, in, out);
    return out[which];
}

OP(add_row_vector, glow_add(g, v->row, input(graph_of(g), 0, 1, 5, 0, 0)))
OP(add_image_scalar, glow_add(g, v->image, v->scalar))
OP(add_matrix_image, glow_add(g, input(graph_of(g), 0, 2, 1, 6, 0), v->image))
OP(mul_hi, glow_mul(g, v->hi, v->row))
OP(less, glow_binary(g, GLOW_LT, v->image, v->scalar))
OP(where_typed,
   g->op->where(g, glow_binary(g, GLOW_LT, v->scalar, glow_num(g, 0)), v->vector, glow_num(g, 1)))
OP(cast_hi, g->op->cast(g, v->row, GLOW_HI))
OP(sum_positions, g->op->reduce(g, GLOW_SUM, v->image, 6))
OP(sum_all, glow_sum_all(g, v->image))
OP(max_all, g->op->reduce(g, GLOW_REDUCE_MAX, v->vector, 1))
OP(sum_nothing, g->op->reduce(g, GLOW_SUM, v->image, 0))
OP(mean_batch, g->op->batch_mean(g, v->image))
OP(reshaped, g->op->reshape(g, v->image, 4, (const int64_t[4]){ 6, 4, 3, 1 }))
OP(turned, g->op->transpose(g, v->image, turn))
OP(stretched, g->op->broadcast(g, v->vector, 2, (const int64_t[2]){ 4, 3 }))
OP(sliced, g->op->slice(g, v->image, 2, 1, 2, 3))
OP(joined, concat2(g, 0, v->image, v->image))
OP(joined_unbatched, concat2(g, 0, v->row, input(graph_of(g), 0, 1, 2, 0, 0)))
OP(padded, g->op->pad(g, v->image, 1, 2, 3))
OP(taken, g->op->take(g, v->row, 0, 8, zeros))
OP(squeezed, g->op->space_to_depth(g, v->image, GLOW_ORDER_BLOCK))
OP(unsqueezed, g->op->depth_to_space(g, squeezed(g, v), GLOW_ORDER_BLOCK))
OP(matmul_batched, g->op->matmul(g, v->wide, input(graph_of(g), 1, 3, 2, 3, 5), 0))
OP(matmul_turned, g->op->matmul(g, v->wide, v->wide, GLOW_TRANSPOSE_A))
OP(channels, g->op->matmul_channels(g, v->image, v->wide, 0))
OP(convolved, g->op->conv2d(g, v->image, v->kernel, 0))
OP(chained, chain1(g, v->image, v->kernel, glow_none, 3, 0))
OP(slogdet, linalg(g, GLOW_SLOGDET, v->matrix, v->none, 0))
OP(composed, linalg(g, GLOW_LU_COMPOSE, v->matrix, v->vector, 1))
OP(softmaxed, g->op->softmax(g, v->image, 0))
OP(summed_up, g->op->cumsum(g, v->image, 1))

static const struct {
    build_fn build;
    const char *type;
    int32_t dtype;
} types[] = { { add_row_vector, "(N,5)", GLOW_REAL },
              { add_image_scalar, "(N,3,4,6)", GLOW_REAL },
              { add_matrix_image, "(N,3,4,6)", GLOW_REAL },
              { mul_hi, "(N,5)", GLOW_HI },
              { less, "(N,3,4,6)", GLOW_BOOL },
              { where_typed, "(N,3)", GLOW_REAL },
              { cast_hi, "(N,5)", GLOW_HI },
              { sum_positions, "(N,3,1,1)", GLOW_REAL },
              { sum_all, "(N)", GLOW_REAL },
              { max_all, "()", GLOW_REAL },
              { sum_nothing, "(N,3,4,6)", GLOW_REAL },
              { mean_batch, "(3,4,6)", GLOW_REAL },
              { reshaped, "(N,6,4,3,1)", GLOW_REAL },
              { turned, "(N,4,6,3)", GLOW_REAL },
              { stretched, "(4,3)", GLOW_REAL },
              { sliced, "(N,3,4,3)", GLOW_REAL },
              { joined, "(N,6,4,6)", GLOW_REAL },
              { joined_unbatched, "(N,7)", GLOW_REAL },
              { padded, "(N,3,9,6)", GLOW_REAL },
              { taken, "(N,8)", GLOW_REAL },
              { squeezed, "(N,12,2,3)", GLOW_REAL },
              { unsqueezed, "(N,3,4,6)", GLOW_REAL },
              { matmul_batched, "(N,2,4,5)", GLOW_REAL },
              { matmul_turned, "(3,3)", GLOW_REAL },
              { channels, "(N,4,4,6)", GLOW_REAL },
              { convolved, "(N,2,4,6)", GLOW_REAL },
              { chained, "(N,2,4,6)", GLOW_REAL },
              { slogdet, "()", GLOW_HI },
              { composed, "(3,3)", GLOW_REAL },
              { softmaxed, "(N,3,4,6)", GLOW_REAL },
              { summed_up, "(N,3,4,6)", GLOW_REAL } };

START_TEST(type_rules)
{
    for (size_t i = 0; i < GLOW_COUNT(types); i++) {
        struct graph *g = new_graph(0);
        const struct values v = values_of(g);
        struct glow_type t;
        char text[96];
        glow_value y = types[i].build((struct glow_graph *)g, &v);
        ck_assert_msg(g->op->type((struct glow_graph *)g, y, &t) == GLOW_OK, "case %zu: %s", i,
                      fail_message());
        ck_assert_str_eq(type_text(&t, text, sizeof text), types[i].type);
        ck_assert_msg(t.dtype == types[i].dtype, "case %zu: dtype %d", i, t.dtype);
        graph_free(g);
    }
}
END_TEST

OP(bad_add, glow_add(g, v->image, v->row))
OP(bad_where, g->op->where(g, v->row, v->image, v->image))
OP(bad_cast, g->op->cast(g, v->row, GLOW_U8))
OP(bad_unary, g->op->unary(g, 999, v->row))
OP(bad_binary, g->op->binary(g, 0, v->row, v->row))
OP(bad_reduce_axis, g->op->reduce(g, GLOW_SUM, v->row, 2))
OP(bad_reduce, g->op->reduce(g, 77, v->row, 1))
OP(bad_cumsum, g->op->cumsum(g, v->row, 1))
OP(bad_softmax, g->op->softmax(g, v->row, -1))
OP(bad_reshape, g->op->reshape(g, v->image, 4, dims))
OP(bad_rank, g->op->reshape(g, v->image, 9, dims))
OP(bad_transpose, g->op->transpose(g, v->image, (const int32_t[3]){ 0, 0, 1 }))
OP(bad_broadcast, g->op->broadcast(g, v->row, 1, dims))
OP(bad_slice, g->op->slice(g, v->row, 0, 1, 2, 3))
OP(bad_slice_start, g->op->slice(g, v->row, 0, -1, 1, 1))
OP(bad_slice_step, g->op->slice(g, v->row, 0, 0, 0, 1))
OP(bad_concat, concat2(g, 0, v->image, v->row))
OP(bad_concat_size, concat2(g, 1, v->image, squeezed(g, v)))
OP(bad_pad, g->op->pad(g, v->row, 0, -1, 0))
OP(bad_take, g->op->take(g, v->vector, 0, 4, dims))
OP(bad_take_empty, g->op->take(g, v->vector, 0, 0, dims))
OP(bad_squeeze, g->op->space_to_depth(g, g->op->slice(g, v->image, 1, 0, 1, 3), 0))
OP(bad_squeeze_row, g->op->space_to_depth(g, v->row, 0))
OP(bad_unsqueeze, g->op->depth_to_space(g, v->image, 0))
OP(bad_order, g->op->space_to_depth(g, v->image, 5))
OP(bad_matmul, g->op->matmul(g, v->wide, v->wide, 0))
OP(bad_matmul_rank, g->op->matmul(g, v->vector, v->wide, 0))
OP(bad_channels, g->op->matmul_channels(g, v->row, v->wide, 0))
OP(bad_conv, g->op->conv2d(g, v->image, v->kernel, GLOW_EDGE_BIAS))
OP(bad_conv_row, g->op->conv2d(g, v->row, v->kernel, 0))
OP(bad_chain, chain1(g, v->image, v->kernel, glow_none, 5, 0))
OP(bad_chain_bias, chain1(g, v->image, v->kernel, v->vector, 3, 0))
OP(bad_chain_weight, chain1(g, v->image, glow_none, v->vector, 3, 0))
OP(bad_chain_row, chain1(g, v->row, v->kernel, glow_none, 3, 0))
OP(bad_inverse, linalg(g, GLOW_INVERSE, v->wide, v->none, 0))
OP(bad_slogdet, linalg(g, GLOW_SLOGDET, v->image, v->none, 0))
OP(bad_lu, linalg(g, GLOW_LU_COMPOSE, v->matrix, input(graph_of(g), 0, 1, 4, 0, 0), 0))
OP(bad_linalg, linalg(g, 9, v->matrix, v->none, 0))
OP(bad_array,
   g->op->array(g, &(struct glow_type){ GLOW_REAL, 1, 1, 0, { 2 } }, (const double[2]){ 1, 2 }))
OP(bad_random, g->op->random(g, self(0), "u", 17, &(struct glow_type){ GLOW_REAL, 1, 1, 0, { 2 } }))
OP(bad_random_shape,
   g->op->random(g, self(0), "u", GLOW_GAUSS, &(struct glow_type){ GLOW_REAL, 1, 1, 0, { 0 } }))
OP(bad_fail, g->op->fail(g, "the moon is full"))

#define WHO " [layer \"actnorm\", "
static const struct {
    build_fn build;
    const char *message;
} mistakes[] = {
    { bad_add, "first: add: (N,3,4,6) and (N,5) do not broadcast" WHO },
    { bad_where, "first: where: condition (N,5) and (N,3,4,6) do not broadcast" WHO },
    { bad_cast, "first: cast: to REAL or HI only" },
    { bad_unary, "first: unary: a code that this version does not know" },
    { bad_binary, "first: binary: a code that this version does not know" },
    { bad_reduce_axis, "first: reduce: an axis that the value does not have" },
    { bad_reduce, "first: reduce: a code that this version does not know" },
    { bad_cumsum, "first: cumsum: axis 1 of (N,5)" },
    { bad_softmax, "first: softmax: axis -1 of (N,5)" },
    { bad_reshape, "first: reshape: (N,3,4,6) to (N,6,4,3,2)" },
    { bad_rank, "first: reshape: rank 9" },
    { bad_transpose, "first: transpose: not a permutation of the axes of (N,3,4,6)" },
    { bad_broadcast, "first: broadcast: (N,5) to (N,6)" },
    { bad_slice, "first: slice: 3 elements from 1 by 2 of axis 0 of (N,5)" },
    { bad_slice_start, "first: slice: 1 elements from -1 by 1 of axis 0 of (N,5)" },
    { bad_slice_step, "first: slice: 1 elements from 0 by 0 of axis 0 of (N,5)" },
    { bad_concat, "first: concat: (N,3,4,6) and (N,5)" },
    { bad_concat_size, "first: concat along axis 1: (N,3,4,6) and (N,12,2,3)" },
    { bad_pad, "first: pad: a negative width" },
    { bad_take, "first: take: index 6 of axis 0 of (3)" },
    { bad_take_empty, "first: take: an empty list" },
    { bad_squeeze, "first: space_to_depth: needs an even height and width, got (N,3,3,6)" },
    { bad_squeeze_row, "first: space_to_depth: needs (C,H,W), got (N,5)" },
    { bad_unsqueeze, "first: depth_to_space: needs a multiple of 4 channels, got (N,3,4,6)" },
    { bad_order, "first: space_to_depth: an unknown order" },
    { bad_matmul, "first: matmul: (4,3) by (4,3)" },
    { bad_matmul_rank, "first: matmul: (3) by (4,3)" },
    { bad_channels, "first: matmul_channels: x (N,5), matrix (4,3)" },
    { bad_conv, "first: conv2d: x (N,3,4,6) needs weights (out,4,kh,kw) with the edge channel, got "
                "(2,3,3,3)" },
    { bad_conv_row, "first: conv2d: needs (C,H,W), got (N,5)" },
    { bad_chain, "first: conv_chain: stage 1 needs weights (2,3,5,5), got (2,3,3,3)" },
    { bad_chain_bias, "first: conv_chain: stage 1 has 2 channels, but b is (3)" },
    { bad_chain_weight, "first: conv_chain: stage 1 has no weights" },
    { bad_chain_row, "first: conv_chain: needs (C,H,W), got (N,5)" },
    { bad_inverse, "first: inverse: needs an unbatched square matrix, got (4,3)" },
    { bad_slogdet, "first: slogdet: needs an unbatched square matrix, got (N,3,4,6)" },
    { bad_lu, "first: lu_compose: matrix (3,3) with a vector (4)" },
    { bad_linalg, "first: linalg: a code that this version does not know" },
    { bad_array, "first: array: a constant can't be batched" },
    { bad_random, "first: random: unknown distribution or no slot" },
    { bad_random_shape, "first: random: empty shape (N,0)" },
    { bad_fail, "first: the moon is full" WHO }
};

/* The message names layer, operation and shapes; the handle absorbs whatever comes after, and the
 * first error stays. */
START_TEST(type_errors)
{
    for (size_t i = 0; i < GLOW_COUNT(mistakes); i++) {
        struct graph *g = new_graph(0);
        struct glow_graph *gg = (struct glow_graph *)g;
        const struct values v = values_of(g);
        struct glow_type t;
        glow_value y = mistakes[i].build(gg, &v);
        ck_assert_msg(GLOW_IS_ERROR(y), "case %zu: no error: %s", i, mistakes[i].message);
        ck_assert_int_eq(g->status, GLOW_EINVAL);
        rig_message(mistakes[i].message);
        ck_assert_int_eq(g->op->type(gg, y, &t), GLOW_EINVAL);
        ck_assert(t.dtype == 0 && t.rank == 0);
        ck_assert(GLOW_IS_ERROR(glow_exp(gg, glow_add(gg, y, v.row))));
        ck_assert(GLOW_IS_ERROR(glow_exp(gg, v.row))); /* nothing is described any more */
        ck_assert(GLOW_IS_ERROR(g->op->fail(gg, "another one")));
        rig_message(mistakes[i].message);
        graph_free(g);
    }
}
END_TEST

/* ---------------------------------------------------------------- handles */

OP(absent_unary, glow_exp(g, v->none))
OP(absent_left, glow_add(g, v->none, v->row))
OP(absent_right, glow_mul(g, v->row, v->none))
OP(absent_where, g->op->where(g, v->row, v->row, v->none))
OP(absent_reduce, glow_sum_all(g, v->none))
OP(absent_cumsum, g->op->cumsum(g, v->none, 0))
OP(absent_mean, g->op->batch_mean(g, v->none))
OP(absent_reshape, g->op->reshape(g, v->none, 1, dims))
OP(absent_transpose, g->op->transpose(g, v->none, turn))
OP(absent_broadcast, g->op->broadcast(g, v->none, 1, dims))
OP(absent_slice, g->op->slice(g, v->none, 0, 0, 1, 1))
OP(absent_concat, concat2(g, 0, v->row, v->none))
OP(absent_take, g->op->take(g, v->none, 0, 1, zeros))
OP(absent_squeeze, g->op->space_to_depth(g, v->none, 0))
OP(absent_matmul, g->op->matmul(g, v->wide, v->none, 0))
OP(absent_channels, g->op->matmul_channels(g, v->none, v->matrix, 0))
OP(absent_conv, g->op->conv2d(g, v->image, v->none, 0))
OP(absent_chain, chain1(g, v->none, v->kernel, glow_none, 3, 0))
OP(absent_inverse, linalg(g, GLOW_INVERSE, v->none, v->none, 0))
OP(absent_lu, linalg(g, GLOW_LU_COMPOSE, v->matrix, v->none, 0))

START_TEST(absent_handles)
{
    static const build_fn builds[] = {
        absent_unary,    absent_left,   absent_right,   absent_where,     absent_reduce,
        absent_cumsum,   absent_mean,   absent_reshape, absent_transpose, absent_broadcast,
        absent_slice,    absent_concat, absent_take,    absent_squeeze,   absent_matmul,
        absent_channels, absent_conv,   absent_chain,   absent_inverse,   absent_lu
    };
    for (size_t i = 0; i < GLOW_COUNT(builds); i++) {
        struct graph *g = new_graph(0);
        const struct values v = values_of(g);
        ck_assert_msg(GLOW_IS_ERROR(builds[i]((struct glow_graph *)g, &v)), "case %zu", i);
        ck_assert_msg(strstr(fail_message(), "absent") || strstr(fail_message(), "no weights"),
                      "case %zu: %s", i, fail_message());
        graph_free(g);
    }
    struct graph *g = new_graph(0);
    struct glow_type t = { .rank = 9 };
    ck_assert_int_eq(g->op->type((struct glow_graph *)g, glow_none, &t), GLOW_EINVAL);
    ck_assert(t.rank == 0 && g->status == GLOW_OK); /* asking is no error */
    graph_free(g);
}
END_TEST

int main(void)
{
    TCase *tests = rig_case("types");
    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_add_test(tests, type_rules);
    tcase_add_test(tests, type_errors);
    tcase_add_test(tests, absent_handles);
    return rig_run(tests);
}

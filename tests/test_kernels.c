/* test_kernels.c - one table of cases, at least one for each operation that has a kernel. Each case
 * runs with every instruction set of this machine in both types against a naive reference in
 * double. */
#include "kernels_reference.h"
#include "kernels_run.h"
#include "philox.h"
#include <check.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---------------------------------------------------------------- the table */

/* Shapes for each elementwise operation, by the number of operands. */
static const char *const unary_shapes[] = { "1x1 -> 1x1",
                                            "1 -> 1",
                                            "3x37 -> 3x37",
                                            "2x3x4x5 -> 2x3x4x5",
                                            "2x3x4x5t -> 2x3x4x5",
                                            "2x3x4x7s -> 2x3x4x7",
                                            "4x9r -> 4x9",
                                            "2x3x5x7p -> 2x3x5x7",
                                            "4x3x6b -> 4x3x6",
                                            "3x5x1 -> 3x5x4",
                                            "3x17e -> 3x17",
                                            "1x19 -> 5x19",
                                            "2x1300s -> 2x1300",
                                            "2x2x2x2x2x2x2x2x3 -> 2x2x2x2x2x2x2x2x3",
                                            NULL };
static const char *const binary_shapes[] = { "1x1, 1x1 -> 1x1",
                                             "3x37, 3x37 -> 3x37",
                                             "2x3x4x5, 1x3x1x1 -> 2x3x4x5",
                                             "1x3x1x1, 2x3x4x5 -> 2x3x4x5",
                                             "2x3x4x5, 1 -> 2x3x4x5",
                                             "1, 2x3x4x5 -> 2x3x4x5",
                                             "2, 2x3x4x5 -> 2x3x4x5",
                                             "5x8, 8x1 -> 5x8",
                                             "2x3x4x5, 4x5 -> 2x3x4x5",
                                             "2x3x4x5t, 2x3x4x5 -> 2x3x4x5",
                                             "2x3x4x5p, 2x3x4x5r -> 2x3x4x5",
                                             "3x1, 1x4 -> 3x4",
                                             "1x1, 1x1 -> 3x5",
                                             "6x11s, 6x1 -> 6x11",
                                             "1x13, 7x13b -> 7x13",
                                             "2x5x3x33, 2x5x1x33 -> 2x5x3x33",
                                             NULL };
static const char *const ternary_shapes[] = { "1, 1, 1 -> 1",
                                              "3x37, 3x37, 3x37 -> 3x37",
                                              "2x3x4x5, 1x3x1x1, 1 -> 2x3x4x5",
                                              "2x1x4x5, 2x3x4x5t, 2x3x4x5p -> 2x3x4x5",
                                              "1x1x5, 4x3x5r, 1 -> 4x3x5",
                                              NULL };

/* clang-format off */
static const struct kernel_case other_cases[] = {
    /* Shapes that are cut into tasks, once for each cost and number of operands. */
    { OP_NEG, "3x20000 -> 3x20000", {0}, {0}, 1 },
    { OP_EXP, "2x3x59x61 -> 2x3x59x61", {0}, {0}, 0 },
    { OP_EXP, "2x3x59x61p -> 2x3x59x61", {0}, {0}, 0 },
    { OP_SIN, "7x1500 -> 7x1500", {0}, {0}, 0 },
    { OP_COPY, "3x130x131t -> 3x130x131", {0}, {0}, 0 },
    { OP_ADD, "2x3x130x127, 1x3x1x1 -> 2x3x130x127", {0}, {0}, 0 },
    { OP_MUL, "1x70001, 1 -> 1x70001", {0}, {0}, 0 },
    { OP_POW, "1x9001, 1x9001s -> 1x9001", {0}, {0}, 0 },
    { OP_WHERE, "2x130x300, 1x130x1, 2x130x300 -> 2x130x300", {0}, {0}, 0 },
    { OP_CAST, "3x130x131t -> 3x130x131d", {0}, {0}, 0 },

    { OP_CAST, "3x37 -> 3x37d", {0}, {0}, 0 },
    { OP_CAST, "3x37d -> 3x37", {0}, {0}, 0 },
    { OP_CAST, "2x3x4x5td -> 2x3x4x5", {0}, {0}, 1 },
    /* (x + y) x, and exp of it; z w between, for an operand on either side; where(x <= y, x y, x) */
    { OP_FUSED, "2x3x4x5, 2x3x4x5 -> 2x3x4x5, 2x3x4x5",
      { 3, OP_ADD, 0, 1, -1, OP_MUL, 2, 0, -1, OP_EXP, 3, -1, -1, 1, 2 }, {0}, 0 },
    { OP_FUSED, "3x5x40x41, 1x5x1x1, 1 -> 3x5x40x41",
      { 4, OP_SUB, 1, 0, -1, OP_DIV, 0, 2, -1, OP_SUB, 3, 4, -1, OP_TANH, 5, -1, -1, 3 }, {0}, 0 },
    /* sums of max(x, y) and min(x, y); of more than one part a sample; one that nobody wants */
    { OP_FUSED, "5x2x700, 5x2x1 -> 5x2x700, 5x1x1d, 5x1x1",
      { 4, OP_MAX, 0, 1, -1, OP_SUM, 2, -1, -1, OP_MIN, 0, 1, -1, OP_SUM, 4, -1, -1, 2, 1, 3 },
      {0}, 0 },
    { OP_FUSED, "3x301x203, 1x301x1 -> 3x1x1d, 3x1x1d",
      { 4, OP_MAX, 0, 1, -1, OP_SUM, 2, -1, -1, OP_MIN, 0, 1, -1, OP_SUM, 4, -1, -1, 1, 3 }, {0}, 0 },
    { OP_FUSED, "1x100003 -> 1x1d, -",
      { 3, OP_ABS, 0, -1, -1, OP_SUM, 1, -1, -1, OP_SQRT, 1, -1, -1, 1, 2 }, {0}, 0 },
    { OP_FUSED, "2x70x3t, 2x70x1 -> 2x70x3, -, 2x70x3",
      { 3, OP_LE, 0, 1, -1, OP_MUL, 0, 1, -1, OP_WHERE, 2, 3, 0, 0, 1, 2 }, {0}, 0 },
    { OP_FUSED, "2x70x3, 2x70x1 -> 2x70x3, -, 2x70x3",
      { 3, OP_LE, 0, 1, -1, OP_MUL, 0, 1, -1, OP_WHERE, 2, 3, 0, 0, 1, 2 }, {0}, 0 },
    { OP_FUSED, "2x70x3s, 2x70x1 -> 2x70x3, -, 2x70x3",
      { 3, OP_LE, 0, 1, -1, OP_MUL, 0, 1, -1, OP_WHERE, 2, 3, 0, 0, 1, 2 }, {0}, 0 },
    { OP_RANDOM, "-> 1x1", { GLOW_UNIFORM, 77, 1 }, {0}, 0 },
    { OP_RANDOM, "-> 3x2x5x7", { GLOW_UNIFORM, 77, 1 }, {0}, 0 },
    { OP_RANDOM, "-> 3x2x5x7", { GLOW_GAUSS, -5, 1 }, {0}, 0 },
    { OP_RANDOM, "-> 1x5003", { GLOW_GAUSS, 1, 0 }, {0}, 0 },
    { OP_RANDOM, "-> 2x33", { GLOW_SIGNS, 9, 1 }, {0}, 0 },

    { OP_SUM, "2x3x4x5 -> 2x1x1x1", { 14 }, {0}, 0 },
    { OP_SUM, "2x3x4x5 -> 1x3x1x1", { 13 }, {0}, 0 },
    { OP_SUM, "2x3x4x5 -> 1x1x1x1", { 15 }, {0}, 0 },
    { OP_SUM, "2x3x4x5 -> 1x3x4x5", { 1 }, {0}, 0 },
    { OP_SUM, "2x3x4x5 -> 2x1x4x5", { 2 }, {0}, 0 },
    { OP_SUM, "2x3x4x5 -> 2x3x1x5", { 4 }, {0}, 0 },
    { OP_SUM, "2x3x4x5 -> 1x3x1x5", { 5 }, {0}, 0 },
    { OP_SUM, "2x3x4x5 -> 2x3x4x5", { 0 }, {0}, 0 },
    { OP_SUM, "7 -> 1", { 1 }, {0}, 0 },
    { OP_SUM, "1x1 -> 1x1", { 3 }, {0}, 0 },
    { OP_SUM, "5x1x3 -> 5x1x1", { 6 }, {0}, 0 },
    { OP_SUM, "2x3x4x5t -> 2x1x1x1", { 14 }, {0}, 0 },
    { OP_SUM, "2x3x4x5p -> 1x3x1x1", { 13 }, {0}, 0 },
    { OP_SUM, "4x3x6b -> 1x3x1", { 5 }, {0}, 0 },
    { OP_SUM, "3x17e -> 3x1", { 2 }, {0}, 0 },
    { OP_SUM, "3x40r -> 3x1", { 2 }, {0}, 0 },
    { OP_SUM, "2x3x4x50 -> 2x1x1x1d", { 14 }, {0}, 0 },
    { OP_SUM, "2x3x45x50 -> 1x1x1x1d", { 15 }, {0}, 0 },
    { OP_SUM, "600x70 -> 1x70", { 1 }, {0}, 0 },
    { OP_SUM, "9x7000 -> 1x7000", { 1 }, {0}, 0 },
    { OP_SUM, "3x5x130x129 -> 1x5x1x1", { 13 }, {0}, 0 },
    { OP_SUM, "1x300000 -> 1x1", { 3 }, {0}, 0 },
    { OP_SUM, "2x90001s -> 2x1", { 2 }, {0}, 0 },
    { OP_SUM, "70x40x3x40 -> 70x1x3x1", { 10 }, {0}, 0 },
    { OP_REDUCE_MAX, "2x3x4x5 -> 2x1x1x1", { 14 }, {0}, 0 },
    { OP_REDUCE_MAX, "2x3x4x5 -> 2x1x4x5", { 2 }, {0}, 1 },
    { OP_REDUCE_MAX, "3x2x40x50 -> 3x1x1x1", { 14 }, {0}, 1 },
    { OP_REDUCE_MAX, "1x90000 -> 1x1", { 3 }, {0}, 0 },
    { OP_REDUCE_MAX, "4x9t -> 4x1", { 2 }, {0}, 0 },
    { OP_REDUCE_MIN, "2x3x4x5 -> 2x1x1x1", { 14 }, {0}, 0 },
    { OP_REDUCE_MIN, "2x3x4x5 -> 1x3x1x5", { 5 }, {0}, 1 },
    { OP_REDUCE_MIN, "1x90000 -> 1x1", { 3 }, {0}, 0 },
    { OP_CUMSUM, "2x3x4x5 -> 2x3x4x5", { 1, 0 }, {0}, 0 },
    { OP_CUMSUM, "2x3x4x5 -> 2x3x4x5", { 3, 0 }, {0}, 0 },
    { OP_CUMSUM, "2x3x4x5 -> 2x3x4x5", { 3, 1 }, {0}, 0 },
    { OP_CUMSUM, "2x3x4x5t -> 2x3x4x5", { 2, 1 }, {0}, 0 },
    { OP_CUMSUM, "3x700 -> 3x700", { 0, 0 }, {0}, 0 },
    { OP_CUMSUM, "3x700e -> 3x700", { 1, 0 }, {0}, 0 },
    { OP_CUMSUM, "1x1 -> 1x1", { 1, 0 }, {0}, 0 },
    { OP_CUMSUM, "40x50x60 -> 40x50x60", { 1, 1 }, {0}, 0 },

    { OP_PLACE, "2x3x4, 2x2x4 -> 2x5x4", { 1, 5, 0, 1, 3, 3, 1, 2 }, {0}, 0 },
    { OP_PLACE, "2x3x4, 2x3x4 -> 2x6x4", { 1, 6, 0, 2, 3, 1, 2, 3 }, {0}, 0 },
    { OP_PLACE, "2x3x4t -> 2x3x9", { 2, 9, 1, 2, 4 }, {0}, 0 },
    { OP_PLACE, "2x3x2 -> 2x3x6", { 2, 6, 4, -3, 2 }, {0}, 0 },
    { OP_PLACE, "2x3x4x5p, 2x1x4x5, 2x2x4x5 -> 2x6x4x5", { 1, 6, 0, 1, 3, 3, 1, 1, 4, 1, 2 }, {0}, 0 },
    { OP_PLACE, "2x5000 -> 2x6000", { 1, 6000, 7, 1, 5000 }, {0}, 0 },
    { OP_PLACE, "3x6x70x71, 3x6x70x71 -> 3x12x70x71", { 1, 12, 0, 1, 6, 6, 1, 6 }, {0}, 0 },
    { OP_TAKE, "2x3x4x5 -> 2x4x4x5", { 1, 4, 2, 0, 0, 1 }, {0}, 0 },
    { OP_TAKE, "2x3x4x5t -> 2x3x4x2", { 3, 2, 4, 1 }, {0}, 0 },
    { OP_TAKE, "3x7 -> 3x5", { 1, 5, 6, 5, 0, 0, 3 }, {0}, 0 },
    { OP_TAKE, "3x7p -> 3x5", { 1, 5, 6, 5, 0, 0, 3 }, {0}, 0 },
    { OP_TAKE, "1x1 -> 1x3", { 1, 3, 0, 0, 0 }, {0}, 0 },
    { OP_TAKE, "3x4x90x91 -> 3x4x90x91", { 1, 4, 3, 1, 0, 2 }, {0}, 0 },
    { OP_TAKE_ADJ, "2x4x4x5 -> 2x3x4x5", { 1, 3, 4, 2, 0, 0, 1 }, {0}, 0 },
    { OP_TAKE_ADJ, "3x5 -> 3x7", { 1, 7, 5, 6, 5, 0, 0, 3 }, {0}, 0 },
    { OP_TAKE_ADJ, "3x5t -> 3x7", { 1, 7, 5, 6, 5, 0, 0, 3 }, {0}, 0 },
    { OP_TAKE_ADJ, "3x4x90x91 -> 3x5x90x91", { 1, 5, 4, 3, 1, 0, 4 }, {0}, 0 },
    { OP_S2D, "2x3x4x6 -> 2x12x2x3", { GLOW_ORDER_BLOCK }, {0}, 0 },
    { OP_S2D, "2x3x4x6 -> 2x12x2x3", { GLOW_ORDER_CHANNEL }, {0}, 0 },
    { OP_S2D, "2x3x4x6p -> 2x12x2x3", { GLOW_ORDER_CHANNEL }, {0}, 0 },
    { OP_S2D, "1x1x2x2 -> 1x4x1x1", { GLOW_ORDER_BLOCK }, {0}, 0 },
    { OP_S2D, "5x3x64x66 -> 5x12x32x33", { GLOW_ORDER_BLOCK }, {0}, 0 },
    { OP_D2S, "2x12x2x3 -> 2x3x4x6", { GLOW_ORDER_BLOCK }, {0}, 0 },
    { OP_D2S, "2x12x2x3 -> 2x3x4x6", { GLOW_ORDER_CHANNEL }, {0}, 0 },
    { OP_D2S, "2x12x2x3p -> 2x3x4x6", { GLOW_ORDER_BLOCK }, {0}, 0 },
    { OP_D2S, "5x12x32x33 -> 5x3x64x66", { GLOW_ORDER_CHANNEL }, {0}, 0 },

    { OP_MATC, "2x3x4x5, 1x6x3 -> 2x6x4x5", { 0 }, {0}, 0 },
    { OP_MATC, "2x6x4x5, 1x6x3 -> 2x3x4x5", { 1 }, {0}, 0 },
    { OP_MATC, "3x5, 1x7x5 -> 3x7", { 0 }, {0}, 0 },
    { OP_MATC, "2x12x9x7p, 1x12x12 -> 2x12x9x7", { 0 }, {0}, 0 },
    { OP_MATC_DW, "2x6x4x5, 2x3x4x5 -> 1x6x3", { 0 }, {0}, 0 },
    { OP_MATC_DW, "3x7, 3x5p -> 1x7x5", { 0 }, {0}, 0 },
    { OP_MATMUL, "1x3x4, 1x4x5 -> 1x3x5", { 0, 0 }, {0}, 0 },
    { OP_MATMUL, "2x4x3, 1x5x4 -> 2x3x5", { 1, 1 }, {0}, 0 },
    { OP_MATMUL, "1x1x3x4, 2x6x4x5 -> 2x6x3x5", { 0, 0 }, {0}, 0 },
    { OP_MATMUL, "2x33x18t, 1x18x35s -> 2x33x35", { 0, 0 }, {0}, 0 },
    { OP_CONV, "2x3x5x6, 1x4x3x3x3 -> 2x4x5x6", { 0 }, {0}, 0 },
    { OP_CONV, "1x3x5x6p, 1x4x4x3x3 -> 1x4x5x6", { 1 }, {0}, 0 },
    { OP_CONV, "2x3x5x6, 1x4x3x1x5 -> 2x4x5x6", { 0 }, {0}, 0 },
    { OP_CONV_DX, "2x4x5x6, 1x4x3x3x3 -> 2x3x5x6", { 0 }, {0}, 0 },
    { OP_CONV_DX, "2x4x5x6, 1x4x4x3x3 -> 2x3x5x6", { 1 }, {0}, 0 },
    { OP_CONV_DW, "2x3x5x6, 2x4x5x6 -> 1x4x3x3x3", { 0, 3, 3 }, {0}, 0 },
    { OP_CONV_DW, "2x3x5x6p, 2x4x5x6 -> 1x4x4x3x3", { 1, 3, 3 }, {0}, 0 },
    { OP_CHAIN, "2x3x5x6, 1x7x4x3x3, 1x7, 1x7, 1x5x7x1x1, -, -, 1x4x5x3x3, 1x4, 1x4 -> 2x4x5x6, -, -",
      { 3, 3, 1, GLOW_ACT_RELU, 1, 0, GLOW_ACT_TANH, 3, 0, GLOW_ACT_NONE }, { 3, 0, 1 }, 0 },
    { OP_CHAIN_VJP, "2x3x5x6, 1x7x4x3x3, 1x7, 1x7, 1x5x7x1x1, -, -, 1x4x5x3x3, 1x4, 1x4, 2x4x5x6, -, - -> "
      "2x3x5x6, 1x7x4x3x3, 1x7, 1x7, 1x5x7x1x1, -, -, 1x4x5x3x3, 1x4, 1x4",
      { 3, 3, 1, GLOW_ACT_RELU, 1, 0, GLOW_ACT_TANH, 3, 0, GLOW_ACT_NONE }, { 1, 0, 0.5 }, 0 },

    { OP_LU, "1x1x1, 1x1, 1x1, 1x1 -> 1x1x1, 1x1x1", {0}, {0}, 0 },
    { OP_LU, "1x5x5, 1x5, 1x5, 1x5 -> 1x5x5, 1x5x5", {0}, {0}, 0 },
    { OP_LU, "1x12x12, 1x12, 1x12, 1x12 -> 1x12x12, -", {0}, {0}, 0 },
    { OP_LU, "1x12x12, 1x12, 1x12, 1x12 -> -, 1x12x12", {0}, {0}, 0 },
    { OP_LU_VJP, "1x5x5, 1x5, 1x5, 1x5, 1x5x5, 1x5x5 -> 1x5x5, 1x5", {0}, {0}, 0 },
    { OP_LU_VJP, "1x7x7, 1x7, 1x7, 1x7, 1x7x7, - -> 1x7x7, 1x7", {0}, {0}, 0 },
    { OP_LU_VJP, "1x7x7, 1x7, 1x7, 1x7, -, 1x7x7 -> 1x7x7, 1x7", {0}, {0}, 0 },
    { OP_LU_VJP, "1x4x4, 1x4, 1x4, 1x4, 1x4x4, - -> -, 1x4", {0}, {0}, 0 },
    { OP_SLOGDET, "1x1x1 -> 1d", {0}, {0}, 0 },
    { OP_SLOGDET, "1x13x13 -> 1d", {0}, {0}, 0 },
    { OP_INVERSE, "1x1x1 -> 1x1x1", {0}, {0}, 0 },
    { OP_INVERSE, "1x13x13 -> 1x13x13", {0}, {0}, 0 },
};
/* clang-format on */
enum { N_OTHER = sizeof other_cases / sizeof *other_cases, MAX_CASES = 2000 };

static const unsigned char n_operands[OP_COUNT] = {
    /* of elementwise operations, 0 for others */
    [OP_COPY] = 1,     [OP_NEG] = 1,    [OP_EXP] = 1,   [OP_LOG] = 1,     [OP_SQRT] = 1,
    [OP_ABS] = 1,      [OP_SQUARE] = 1, [OP_RECIP] = 1, [OP_SIGMOID] = 1, [OP_LOG_SIGMOID] = 1,
    [OP_SOFTPLUS] = 1, [OP_TANH] = 1,   [OP_RELU] = 1,  [OP_EXPM1] = 1,   [OP_LOG1P] = 1,
    [OP_SIN] = 1,      [OP_COS] = 1,    [OP_FLOOR] = 1, [OP_SIGN] = 1,    [OP_ADD] = 2,
    [OP_SUB] = 2,      [OP_MUL] = 2,    [OP_DIV] = 2,   [OP_POW] = 2,     [OP_MIN] = 2,
    [OP_MAX] = 2,      [OP_LT] = 2,     [OP_LE] = 2,    [OP_GT] = 2,      [OP_GE] = 2,
    [OP_EQ] = 2,       [OP_WHERE] = 3,
};

static struct kernel_case cases[MAX_CASES];
static int n_cases;

static void make_cases(void)
{
    static const char *const *const shapes[] = { NULL, unary_shapes, binary_shapes,
                                                 ternary_shapes };
    for (int op = 0; op < OP_COUNT; op++) {
        if (!n_operands[op]) continue;
        for (const char *const *s = shapes[n_operands[op]]; *s; s++)
            for (int special = 0; special < 2; special++)
                cases[n_cases++] = (struct kernel_case){ op, *s, { 0 }, { 0 }, special };
    }
    memcpy(cases + n_cases, other_cases, sizeof other_cases);
    n_cases += N_OTHER;
}

START_TEST(every_operation_has_a_case)
{
    struct engine *engine = open_engine("base", 1);
    for (int op = 0; op < OP_COUNT; op++) {
        int found = 0;
        for (int i = 0; i < n_cases; i++) found += cases[i].op == op;
        if (op == OP_CUSTOM) continue;                  /* has no meaning of its own: test_cpu.c */
        if (op == OP_PACK || op == OP_UNPACK) continue; /* test_packing.c */
        ck_assert_msg((kernels_backend()->kernel(op, DT_F32) != NULL) == (found > 0),
                      "operation %d: %d cases", op, found);
        ck_assert_msg((kernels_backend()->kernel(op, DT_F64) != NULL) == (reference(op) != NULL),
                      "operation %d: kernel or reference is missing", op);
    }
    kernels_backend()->close(engine);
}
END_TEST

/* ---------------------------------------------------------------- what holds for all of them */

static const int32_t dtypes[2] = { DT_F32, DT_F64 };

START_TEST(kernels_agree_with_the_reference)
{
    for (const char *const *set = instruction_sets(); *set; set++) {
        struct engine *engine = open_engine(*set, 2);
        for (int i = 0; i < n_cases; i++) {
            for (int k = 0; k < 2; k++) {
                struct case_run r;
                case_prepare(&r, &cases[i], dtypes[k]);
                case_execute(&r, engine, -1);
                case_compare(&r, *set);
                case_free(&r);
            }
        }
        kernels_backend()->close(engine);
    }
}
END_TEST

static int same_outputs(const struct case_run *a, const struct case_run *b)
{
    for (int k = a->n_in; k < a->n_in + a->n_out; k++)
        if (a->operand[k].storage &&
            memcmp(a->operand[k].tensor.data, b->operand[k].tensor.data, a->operand[k].bytes) != 0)
            return 0;
    return 1;
}

START_TEST(threads_do_not_change_a_bit)
{
    for (const char *const *set = instruction_sets(); *set; set++) {
        struct engine *engine[3];
        for (int k = 0; k < 3; k++) engine[k] = open_engine(*set, k + 1);
        for (int i = 0; i < 2 * n_cases; i++) {
            struct case_run a, b;
            case_prepare(&a, &cases[i / 2], dtypes[i % 2]);
            case_prepare(&b, &cases[i / 2], dtypes[i % 2]);
            case_execute(&a, engine[0], -1);
            for (int k = 1; k < 3; k++) {
                case_execute(&b, engine[k], -1);
                ck_assert_msg(same_outputs(&a, &b), "%s, %s: %d threads change the result",
                              case_text(&a), *set, k + 1);
            }
            case_free(&a);
            case_free(&b);
        }
        for (int k = 0; k < 3; k++) kernels_backend()->close(engine[k]);
    }
}
END_TEST

/* Whether the output may lie in the memory of that input. */
static int may_be_in_place(const struct case_run *r, int input)
{
    const struct tensor *in = &r->operand[input].tensor, *out = &r->operand[r->n_in].tensor;
    return n_operands[r->of->op] > 0 && in->rank == out->rank && tensor_is_dense(in) &&
           memcmp(in->dim, out->dim, sizeof in->dim) == 0 &&
           in->data == r->operand[input].storage + 512;
}

START_TEST(elementwise_works_in_place)
{
    int tried[4] = { 0 };
    for (const char *const *set = instruction_sets(); *set; set++) {
        struct engine *engine = open_engine(*set, 2);
        for (int i = 0; i < 2 * n_cases; i++) {
            for (int input = 0; input < n_operands[cases[i / 2].op]; input++) {
                struct case_run r;
                case_prepare(&r, &cases[i / 2], dtypes[i % 2]);
                if (may_be_in_place(&r, input)) {
                    case_execute(&r, engine, input);
                    case_compare(&r, *set);
                    tried[n_operands[r.of->op]]++;
                }
                case_free(&r);
            }
        }
        kernels_backend()->close(engine);
    }
    ck_assert(tried[1] > 100 && tried[2] > 100 && tried[3] > 10);
}
END_TEST

/* An element's result depends on the element alone, not on where in the tensor it stands. */
START_TEST(position_does_not_change_a_bit)
{
    for (const char *const *set = instruction_sets(); *set; set++) {
        struct engine *engine = open_engine(*set, 1);
        for (int op = 0; op < OP_COUNT; op++) {
            struct kernel_case c = { op, "1x1 -> 1x77", { 0 }, { 0 }, 0 };
            struct case_run r;
            if (n_operands[op] != 1) continue;
            case_prepare(&r, &c, DT_F32);
            case_execute(&r, engine, -1);
            const float *y = r.operand[1].tensor.data;
            for (int i = 1; i < 77; i++)
                if (memcmp(&y[0], &y[i], sizeof *y) != 0)
                    ck_abort_msg("%s, %s: element %d differs", case_text(&r), *set, i);
            case_free(&r);
        }
        kernels_backend()->close(engine);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("kernels");
    TCase *tcase = tcase_create("kernels");
    make_cases();
    tcase_set_timeout(tcase, 300);
    tcase_add_test(tcase, every_operation_has_a_case);
    tcase_add_test(tcase, kernels_agree_with_the_reference);
    tcase_add_test(tcase, threads_do_not_change_a_bit);
    tcase_add_test(tcase, elementwise_works_in_place);
    tcase_add_test(tcase, position_does_not_change_a_bit);
    suite_add_tcase(suite, tcase);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed > 0;
}

/* elementwise.c - the operations that act on each element alone, as instructions on tiles (tile.h).
 *
 * Each is one expression in x, y and z, its operands. It is compiled once for each operand that may
 * be the one in registers; the compiler turns the loop over a tile's elements into eight vector
 * operations. */
#include "tile.h"
#include "real_math.h"

union tile {
    vec part[8];
    real element[TILE];
};

#define TILE_TAKE    union tile t = { { t0, t1, t2, t3, t4, t5, t6, t7 } };
#define TILE_ELEMENT t.element[i]
#define TILE_PASS                                                                                  \
    at[1].run(at + 1, frame, t.part[0], t.part[1], t.part[2], t.part[3], t.part[4], t.part[5],     \
              t.part[6], t.part[7]);

/* Eight vectors to the loop: unrolled as a whole, the tile stays in registers. */
#if defined(__clang__)
#define TILE_LOOP _Pragma("clang loop vectorize(enable) unroll(full)")
#else
#define TILE_LOOP _Pragma("GCC unroll 8")
#endif

/* One instruction: x, y and z are taken from the registers (TILE_ELEMENT) or from a and b. */
#define INSTRUCTION(name, x_from, y_from, z_from, result)                                          \
    static void name(TILE_ARGUMENTS)                                                               \
    {                                                                                              \
        const real *a = frame[at->a], *b = frame[at->b];                                           \
        TILE_TAKE(void) a, (void)b;                                                                \
        TILE_LOOP                                                                                  \
        for (int i = 0; i < TILE; i++) {                                                           \
            const real x = x_from, y = y_from, z = z_from;                                         \
            (void)y, (void)z;                                                                      \
            TILE_ELEMENT = (result);                                                               \
        }                                                                                          \
        TILE_PASS                                                                                  \
    }

#define UNARY(op, result) INSTRUCTION(op##_x, TILE_ELEMENT, 0, 0, result)
#define BINARY(op, result)                                                                         \
    INSTRUCTION(op##_x, TILE_ELEMENT, a[i], 0, result)                                             \
    INSTRUCTION(op##_y, a[i], TILE_ELEMENT, 0, result)                                             \
    INSTRUCTION(op##_x_one, TILE_ELEMENT, a[0], 0, result)                                         \
    INSTRUCTION(op##_y_one, a[0], TILE_ELEMENT, 0, result)
#define TERNARY(op, result)                                                                        \
    INSTRUCTION(op##_x, TILE_ELEMENT, a[i], b[i], result)                                          \
    INSTRUCTION(op##_y, a[i], TILE_ELEMENT, b[i], result)                                          \
    INSTRUCTION(op##_z, a[i], b[i], TILE_ELEMENT, result)

/* Of angles that are far from zero, which are rare, exact() takes care one by one. */
#define UNARY_FAR(op, result, exact)                                                               \
    static void op##_x(TILE_ARGUMENTS)                                                             \
    {                                                                                              \
        TILE_TAKE                                                                                  \
        const union tile angle = t;                                                                \
        real_int far = 0;                                                                          \
        TILE_LOOP                                                                                  \
        for (int i = 0; i < TILE; i++) {                                                           \
            const real x = TILE_ELEMENT;                                                           \
            far |= !(real_abs(x) <= (real)FAR);                                                    \
            TILE_ELEMENT = (result);                                                               \
        }                                                                                          \
        for (int i = 0; i < TILE && far; i++)                                                      \
            if (!(real_abs(angle.element[i]) <= (real)FAR))                                        \
                TILE_ELEMENT = exact(angle.element[i]);                                            \
        TILE_PASS                                                                                  \
    }

UNARY(NEG, -x)
UNARY(EXP, real_exp(x))
UNARY(LOG, real_log(x))
UNARY(SQRT, real_sqrt(x))
UNARY(ABS, real_abs(x))
UNARY(SQUARE, x *x)
UNARY(RECIP, 1 / x)
UNARY(SIGMOID, real_sigmoid(x))
UNARY(LOG_SIGMOID, real_log_sigmoid(x))
UNARY(SOFTPLUS, real_softplus(x))
UNARY(TANH, real_tanh(x))
UNARY(RELU, x < 0 ? 0 : x) /* NaN stays NaN */
UNARY(EXPM1, real_expm1(x))
UNARY(LOG1P, real_log1p(x))
UNARY_FAR(SIN, real_sin(x), real_far_sin)
UNARY_FAR(COS, real_cos(x), real_far_cos)
UNARY(FLOOR, real_floor(x))
#define SIGN_OF(x) ((x < 0) | (x > 0) ? real_copysign(1, x) : x) /* of 0: 0, of NaN: NaN */
UNARY(SIGN, SIGN_OF(x))

BINARY(ADD, x + y)
BINARY(SUB, x - y)
BINARY(MUL, x *y)
BINARY(DIV, x / y)
BINARY(POW, real_pow(x, y))
/* The first when equal; NaN when either is. */
BINARY(MIN, x <= y || x != x ? x : y)
BINARY(MAX, x >= y || x != x ? x : y)
BINARY(LT, x < y ? 1 : 0)
BINARY(LE, x <= y ? 1 : 0)
BINARY(GT, x > y ? 1 : 0)
BINARY(GE, x >= y ? 1 : 0)
BINARY(EQ, x == y ? 1 : 0)

TERNARY(WHERE, x != 0 ? y : z)

/* ---------------------------------------------------------------- sums with products */

/* Products stay in registers of their own, where the compiler cannot see that a sum follows: it
 * would round but once. */
#if defined(__AVX512F__)
#define IN_REGISTER "+v"
#elif defined(__x86_64__) || defined(__i386__)
#define IN_REGISTER "+x"
#elif defined(__aarch64__)
#define IN_REGISTER "+w"
#else
#define IN_REGISTER "+m"
#endif
#define PRODUCT_KEEP(k)                                                                            \
    vec p##k = product.part[k];                                                                    \
    __asm__("" : IN_REGISTER(p##k));

#define PRODUCT(name, x_from, f, y_from, result)                                                   \
    static void name(TILE_ARGUMENTS)                                                               \
    {                                                                                              \
        const real *a = frame[at->a], *b = frame[at->b];                                           \
        union tile product;                                                                        \
        TILE_TAKE(void) a;                                                                         \
        TILE_LOOP                                                                                  \
        for (int i = 0; i < TILE; i++) {                                                           \
            const real x = x_from;                                                                 \
            product.element[i] = (f) * (y_from);                                                   \
        }                                                                                          \
        PRODUCT_KEEP(0)                                                                            \
        PRODUCT_KEEP(1)                                                                            \
        PRODUCT_KEEP(2)                                                                            \
        PRODUCT_KEEP(3)                                                                            \
        PRODUCT_KEEP(4)                                                                            \
        PRODUCT_KEEP(5)                                                                            \
        PRODUCT_KEEP(6)                                                                            \
        PRODUCT_KEEP(7)                                                                            \
        const union tile kept = { { p0, p1, p2, p3, p4, p5, p6, p7 } };                            \
        TILE_LOOP                                                                                  \
        for (int i = 0; i < TILE; i++) {                                                           \
            const real x = TILE_ELEMENT, y = kept.element[i];                                      \
            TILE_ELEMENT = (result);                                                               \
        }                                                                                          \
        TILE_PASS                                                                                  \
    }
#define PRODUCTS_OF(name, f, result)                                                               \
    PRODUCT(name##_own, TILE_ELEMENT, f, b[i], result)                                             \
    PRODUCT(name##_own_one, TILE_ELEMENT, f, b[0], result)                                         \
    PRODUCT(name##_tile, a[i], f, b[i], result)                                                    \
    PRODUCT(name##_tile_one, a[i], f, b[0], result)
#define PRODUCTS(side, f)                                                                          \
    PRODUCTS_OF(plus_##side, f, x + y)                                                             \
    PRODUCTS_OF(minus_##side, f, x - y)
PRODUCTS(PLAIN, x)
PRODUCTS(ABS, real_abs(x))
PRODUCTS(SIGN, SIGN_OF(x))

#define PRODUCT_ROW(name)                                                                          \
    {                                                                                              \
        { name##_own, name##_own_one }, { name##_tile, name##_tile_one }                           \
    }
#define PRODUCT_ROWS(side) [SIDE_##side] = { PRODUCT_ROW(plus_##side), PRODUCT_ROW(minus_##side) },
const struct tile_product NAME(tile_products)[N_SIDES][2] = {
    /* clang-format off */
    PRODUCT_ROWS(PLAIN) PRODUCT_ROWS(ABS) PRODUCT_ROWS(SIGN)
    /* clang-format on */
};

/* ---------------------------------------------------------------- instructions of their own */

static void pass(TILE_ARGUMENTS) { at[1].run(at + 1, frame, t0, t1, t2, t3, t4, t5, t6, t7); }

void NAME(tile_load)(TILE_ARGUMENTS)
{
    const real *a = frame[at->a];
    (void)t0, (void)t1, (void)t2, (void)t3, (void)t4, (void)t5, (void)t6, (void)t7;
    pass(at, frame, vec_load(a), vec_load(a + LANES), vec_load(a + 2 * LANES),
         vec_load(a + 3 * LANES), vec_load(a + 4 * LANES), vec_load(a + 5 * LANES),
         vec_load(a + 6 * LANES), vec_load(a + 7 * LANES));
}

ALWAYS_INLINE void store(real *to, vec t0, vec t1, vec t2, vec t3, vec t4, vec t5, vec t6, vec t7)
{
    vec_store(to, t0);
    vec_store(to + LANES, t1);
    vec_store(to + 2 * LANES, t2);
    vec_store(to + 3 * LANES, t3);
    vec_store(to + 4 * LANES, t4);
    vec_store(to + 5 * LANES, t5);
    vec_store(to + 6 * LANES, t6);
    vec_store(to + 7 * LANES, t7);
}

void NAME(tile_store)(TILE_ARGUMENTS)
{
    store(frame[at->a], t0, t1, t2, t3, t4, t5, t6, t7);
    pass(at, frame, t0, t1, t2, t3, t4, t5, t6, t7);
}

void NAME(tile_end)(TILE_ARGUMENTS)
{
    (void)at, (void)frame;
    (void)t0, (void)t1, (void)t2, (void)t3, (void)t4, (void)t5, (void)t6, (void)t7;
}

/* Of tiles that are not full, few enough to go by memory. */
static __attribute__((noinline)) void sum_some(TILE_ARGUMENTS)
{
    struct tile_sum *sum = (struct tile_sum *)(void *)frame[at->a];
    store(sum->element, t0, t1, t2, t3, t4, t5, t6, t7);
    NAME(reduce_row)(sum->lane, sum->element, sum->n);
    pass(at, frame, t0, t1, t2, t3, t4, t5, t6, t7);
}

void NAME(tile_sum)(TILE_ARGUMENTS)
{
    struct tile_sum *sum = (struct tile_sum *)(void *)frame[at->a];
    if (sum->n < TILE) {
        sum_some(at, frame, t0, t1, t2, t3, t4, t5, t6, t7);
        return;
    }
    TILE_TAKE
    sum_vec *lane = (sum_vec *)sum->lane, s0 = lane[0], s1 = lane[1], s2 = lane[2], s3 = lane[3];
    TILE_LOOP
    for (int i = 0; i < TILE; i += ROW_LANES) {
        s0 += load_sum(t.element + i);
        s1 += load_sum(t.element + i + SUM_LANES);
        s2 += load_sum(t.element + i + 2 * SUM_LANES);
        s3 += load_sum(t.element + i + 3 * SUM_LANES);
    }
    lane[0] = s0;
    lane[1] = s1;
    lane[2] = s2;
    lane[3] = s3;
    pass(at, frame, t0, t1, t2, t3, t4, t5, t6, t7);
}

void NAME(tile_watch)(TILE_ARGUMENTS)
{
    TILE_TAKE
    int32_t *first = (int32_t *)(void *)frame[at->a];
    int finite = 1;
    for (int i = 0; i < TILE; i++) finite &= TILE_ELEMENT - TILE_ELEMENT == 0;
    int32_t known = __atomic_load_n(first, __ATOMIC_RELAXED);
    while (!finite && at->step < known)
        if (__atomic_compare_exchange_n(first, &known, at->step, 0, __ATOMIC_RELAXED,
                                        __ATOMIC_RELAXED))
            break;
    pass(at, frame, t0, t1, t2, t3, t4, t5, t6, t7);
}

/* ---------------------------------------------------------------- the table */

enum { LIGHT = 1, HEAVY = REAL_BITS == 32 ? 4 : 16 };

#define ONE(op, weight)   [OP_##op] = { { op##_x }, { NULL }, weight },
#define TWO(op, weight)   [OP_##op] = { { op##_x, op##_y }, { op##_x_one, op##_y_one }, weight },
#define THREE(op, weight) [OP_##op] = { { op##_x, op##_y, op##_z }, { NULL }, weight },

const struct tile_operation NAME(tile_operations)[OP_COUNT] = {
    [OP_COPY] = { { pass }, { NULL }, LIGHT },
    /* clang-format off */
    ONE(NEG, LIGHT) ONE(EXP, HEAVY) ONE(LOG, HEAVY) ONE(SQRT, LIGHT) ONE(ABS, LIGHT)
    ONE(SQUARE, LIGHT) ONE(RECIP, LIGHT) ONE(SIGMOID, HEAVY) ONE(LOG_SIGMOID, HEAVY)
    ONE(SOFTPLUS, HEAVY) ONE(TANH, HEAVY) ONE(RELU, LIGHT) ONE(EXPM1, HEAVY) ONE(LOG1P, HEAVY)
    ONE(SIN, 2 * HEAVY) ONE(COS, 2 * HEAVY) ONE(FLOOR, LIGHT) ONE(SIGN, LIGHT)
    TWO(ADD, LIGHT) TWO(SUB, LIGHT) TWO(MUL, LIGHT) TWO(DIV, LIGHT) TWO(POW, 3 * HEAVY)
    TWO(MIN, LIGHT) TWO(MAX, LIGHT) TWO(LT, LIGHT) TWO(LE, LIGHT) TWO(GT, LIGHT) TWO(GE, LIGHT)
    TWO(EQ, LIGHT) THREE(WHERE, LIGHT)
    /* clang-format on */
};

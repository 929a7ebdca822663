/* element_table.h - the elementwise operations as a table of C++ expressions, one line each:
 * ELEMENT(OPERATION, operands, result), the result of operands x, y and z of type T. element.h
 * makes functions of them, fused_code.c texts that are compiled at run time, so that both compute
 * the same.
 */
#ifndef CORE_CUDA_ELEMENT_TABLE_H
#define CORE_CUDA_ELEMENT_TABLE_H

/* What the expressions use. */
#define ELEMENT_HELPERS(device)                                                                    \
    /* can't overflow */                                                                           \
    template <class T> device T sigmoid(T x)                                                       \
    {                                                                                              \
        T e = exp(-fabs(x));                                                                       \
        return (x < 0 ? e : T(1)) / (1 + e);                                                       \
    }                                                                                              \
    /* log(1 + exp(-|x|)) */                                                                       \
    template <class T> device T softplus_tail(T x) { return log1p(exp(-fabs(x))); }

/* clang-format off */
#define ELEMENTS(ELEMENT)                                                                          \
    ELEMENT(NEG, 1, -x)                                                                            \
    ELEMENT(EXP, 1, exp(x))                                                                        \
    ELEMENT(LOG, 1, log(x))                                                                        \
    ELEMENT(SQRT, 1, sqrt(x))                                                                      \
    ELEMENT(ABS, 1, fabs(x))                                                                       \
    ELEMENT(SQUARE, 1, x * x)                                                                      \
    ELEMENT(RECIP, 1, 1 / x)                                                                       \
    ELEMENT(SIGMOID, 1, sigmoid(x))                                                                \
    ELEMENT(LOG_SIGMOID, 1, (x < 0 ? x : 0) - softplus_tail(x))                                    \
    ELEMENT(SOFTPLUS, 1, (x > 0 ? x : 0) + softplus_tail(x))                                       \
    ELEMENT(TANH, 1, tanh(x))                                                                      \
    ELEMENT(RELU, 1, x < 0 ? 0 : x)                     /* NaN stays NaN */                        \
    ELEMENT(EXPM1, 1, expm1(x))                                                                    \
    ELEMENT(LOG1P, 1, log1p(x))                                                                    \
    ELEMENT(SIN, 1, sin(x))                                                                        \
    ELEMENT(COS, 1, cos(x))                                                                        \
    ELEMENT(FLOOR, 1, floor(x))                                                                    \
    ELEMENT(SIGN, 1, x > 0 ? 1 : x < 0 ? -1 : x)        /* of 0: 0, of NaN: NaN */                 \
    ELEMENT(ADD, 2, x + y)                                                                         \
    ELEMENT(SUB, 2, x - y)                                                                         \
    ELEMENT(MUL, 2, x * y)                                                                         \
    ELEMENT(DIV, 2, x / y)                                                                         \
    ELEMENT(POW, 2, pow(x, y))                                                                     \
    ELEMENT(MIN, 2, x <= y || x != x ? x : y)           /* the first when equal; NaN when */       \
    ELEMENT(MAX, 2, x >= y || x != x ? x : y)           /* either is */                            \
    ELEMENT(LT, 2, x < y ? 1 : 0)                                                                  \
    ELEMENT(LE, 2, x <= y ? 1 : 0)                                                                 \
    ELEMENT(GT, 2, x > y ? 1 : 0)                                                                  \
    ELEMENT(GE, 2, x >= y ? 1 : 0)                                                                 \
    ELEMENT(EQ, 2, x == y ? 1 : 0)                                                                 \
    ELEMENT(WHERE, 3, x != 0 ? y : z)
/* clang-format on */
#endif

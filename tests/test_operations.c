/* test_operations.c - what the table of test_kernels.c can't say of an operation: how accurate the
 * functions are, which random numbers come, what linear algebra says to matrices that have no
 * inverse and to what is no permutation. */
#include "kernels_run.h"
#include "philox.h"
#include <check.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* The vectors that the authors of Philox publish with Random123. */
START_TEST(philox_known_answers)
{
    static const struct {
        uint32_t counter[4], key[2], want[4];
    } known[] = {
        { { 0, 0, 0, 0 }, { 0, 0 }, { 0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8 } },
        { { ~0u, ~0u, ~0u, ~0u },
          { ~0u, ~0u },
          { 0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd } },
        { { 0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344 },
          { 0xa4093822, 0x299f31d0 },
          { 0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1 } },
    };
    for (int i = 0; i < 3; i++) {
        struct philox x = philox(known[i].counter, known[i].key);
        ck_assert_mem_eq(x.v, known[i].want, sizeof x.v);
    }
}
END_TEST

/* The functions of real_math.h, which states these errors, in units in the last place. */
static const struct accuracy {
    int op;
    double low, high; /* of x; far apart and positive: by their logarithms */
    double y_low, y_high;
    double f32, f64;
} accuracies[] = {
    { OP_EXP, -87, 88, 0, 0, 1.0, 1 },         { OP_EXP, -1, 1, 0, 0, 1.0, 1 },
    { OP_LOG, 1e-37, 1e38, 0, 0, 0.8, 0.9 },   { OP_LOG, 0.5, 2, 0, 0, 0.8, 0.9 },
    { OP_EXPM1, -17, 88, 0, 0, 1.6, 1 },       { OP_EXPM1, -1, 1, 0, 0, 1.6, 1 },
    { OP_LOG1P, -0.99, 1, 0, 0, 0.9, 1 },      { OP_LOG1P, 1e-30, 1e30, 0, 0, 0.9, 1 },
    { OP_SIGMOID, -80, 80, 0, 0, 2.4, 2.4 },   { OP_SIGMOID, -2, 2, 0, 0, 2.4, 2.4 },
    { OP_LOG_SIGMOID, -20, 80, 0, 0, 1.7, 2 }, { OP_SOFTPLUS, -80, 20, 0, 0, 1.7, 2 },
    { OP_TANH, -10, 10, 0, 0, 2.5, 2.5 },      { OP_TANH, 1e-30, 1, 0, 0, 2.5, 2.5 },
    { OP_SIN, -1e6, 1e6, 0, 0, 0.6, 0.9 },     { OP_SIN, -10, 10, 0, 0, 0.6, 0.9 },
    { OP_SIN, 1e6, 1e30, 0, 0, 0.6, 0.9 },     { OP_COS, -1e6, 1e6, 0, 0, 0.6, 0.9 },
    { OP_COS, -10, 10, 0, 0, 0.6, 0.9 },       { OP_COS, 1e6, 1e30, 0, 0, 0.6, 0.9 },
    { OP_POW, 1e-6, 1e6, -6, 6, 0.6, 1 },      { OP_POW, 0.9, 1.1, -300, 300, 0.6, 1 },
};

static long double exact(int op, long double x, long double y)
{
    switch (op) {
    case OP_EXP: return expl(x);
    case OP_LOG: return logl(x);
    case OP_EXPM1: return expm1l(x);
    case OP_LOG1P: return log1pl(x);
    case OP_SIGMOID: return 1 / (1 + expl(-x));
    case OP_LOG_SIGMOID: return x < 0 ? x - log1pl(expl(x)) : -log1pl(expl(-x));
    case OP_SOFTPLUS: return x > 0 ? x + log1pl(expl(-x)) : log1pl(expl(x));
    case OP_TANH: return tanhl(x);
    case OP_SIN: return sinl(x);
    case OP_COS: return cosl(x);
    default: return powl(x, y);
    }
}

/* The largest error over N numbers. */
static double error_of(const struct accuracy *a, struct engine *engine, int32_t dtype)
{
    enum { N = 5000 };
    double most = 0;
    void *data[3];
    struct tensor t[3];
    for (int k = 0; k < 3; k++) {
        ck_assert_ptr_nonnull(data[k] = calloc(N, sizeof(double)));
        t[k] = (struct tensor){ data[k], dtype, 2, { 1, N }, { N, 1 }, NULL };
    }
    for (int i = 0; i < N; i++) {
        double u = (double)(hash_mix((uint64_t)i) >> 11) / 9007199254740992.0;
        double v = (double)(hash_mix((uint64_t)i + N) >> 11) / 9007199254740992.0;
        int apart = a->low > 0 && a->high / a->low > 100;
        double x = apart ? a->low * pow(a->high / a->low, u) : a->low + u * (a->high - a->low);
        double y = a->y_low + v * (a->y_high - a->y_low);
        for (int k = 0; k < 2; k++) {
            if (dtype == DT_F64)
                ((double *)data[k])[i] = k ? y : x;
            else
                ((float *)data[k])[i] = (float)(k ? y : x);
        }
    }
    struct step step = { .op = a->op, .n_in = a->op == OP_POW ? 2 : 1, .n_out = 1, .in = t };
    struct run run = { .engine = engine };
    step.out = &t[2];
    backend_cpu.kernel(a->op, dtype)(&step, &run);
    for (int i = 0; i < N; i++) {
        if (dtype == DT_F64) {
            const double *x = data[0], *y = data[1], *z = data[2];
            long double want = exact(a->op, x[i], y[i]);
            double size = fabs((double)want);
            most = fmax(most, (double)(fabsl(z[i] - want) / (nextafter(size, INFINITY) - size)));
        } else {
            const float *x = data[0], *y = data[1], *z = data[2];
            long double want = exact(a->op, x[i], y[i]);
            float size = fabsf((float)want);
            most = fmax(most, (double)(fabsl(z[i] - want) / (nextafterf(size, INFINITY) - size)));
        }
    }
    for (int k = 0; k < 3; k++) free(data[k]);
    return most;
}

START_TEST(functions_are_accurate)
{
    for (const char *const *set = instruction_sets(); *set; set++) {
        struct engine *engine = open_engine(*set, 1);
        for (size_t i = 0; i < sizeof accuracies / sizeof *accuracies; i++) {
            const struct accuracy *a = &accuracies[i];
            double f32 = error_of(a, engine, DT_F32), f64 = error_of(a, engine, DT_F64);
            ck_assert_msg(f32 <= a->f32 && f64 <= a->f64,
                          "%s: operation %d in [%g, %g]: %.3f ulp in f32, %.3f in f64", *set, a->op,
                          a->low, a->high, f32, f64);
        }
        backend_cpu.close(engine);
    }
}
END_TEST

/* |got - want| in units in the last place of want. */
static double ulps(double got, long double want)
{
    double size = fabs((double)want);
    return (double)(fabsl((long double)got - want) /
                    (long double)(nextafter(size, INFINITY) - size));
}

/* The logarithm and the turns that normal numbers are made of, on all kinds of words. */
START_TEST(philox_functions)
{
    const long double turn = 6.283185307179586476925286766559L / 4294967296.0L;
    double most[3] = { 0 };
    uint64_t bits = 1;
    for (int i = 0; i < 400000; i++) {
        bits = hash_mix(bits);
        uint32_t a = (uint32_t)bits, b = (uint32_t)(bits >> 32);
        if (i < 1000) a = i % 2 ? (uint32_t)-i : (uint32_t)i;
        if (i < 1000) b = ((uint32_t)i % 8 << 29) + (uint32_t)(i / 8) - 60;
        double sine, cosine, error[3];
        uint32_t quarter = (b + 0x20000000u) >> 30;
        long double t = turn * (int32_t)(b - (quarter << 30)), s = sinl(t), c = cosl(t);
        const long double sines[4] = { s, c, -s, -c }, cosines[4] = { c, -s, -c, s };
        philox_turn(b, &sine, &cosine);
        error[0] = ulps(philox_log(a), logl(((long double)a + 0.5L) / 4294967296.0L));
        error[1] = ulps(sine, sines[quarter]);
        error[2] = ulps(cosine, cosines[quarter]);
        for (int k = 0; k < 3; k++) most[k] = fmax(most[k], error[k]);
    }
    ck_assert_msg(most[0] <= 0.9, "log: %.2f ulp", most[0]);
    ck_assert_msg(most[1] <= 1.9 && most[2] <= 1.9, "sin %.2f, cos %.2f ulp", most[1], most[2]);
}
END_TEST

/* Every instruction set makes the same numbers, to the bit; so does a stream of the host, however
 * many of its numbers are asked for. */
START_TEST(random_numbers_are_the_same_everywhere)
{
    static const int32_t kinds[] = { GLOW_UNIFORM, GLOW_GAUSS, GLOW_SIGNS };
    double first[3][2 * 1003], stream[700], part[700];
    const char *const *sets = instruction_sets();
    for (const char *const *set = sets; *set; set++) {
        struct engine *engine = open_engine(*set, 2);
        for (int k = 0; k < 3; k++) {
            struct kernel_case c = { OP_RANDOM, "-> 2x1003", { kinds[k], 5, 1 }, { 0 }, 0 };
            struct case_run r;
            case_prepare(&r, &c, DT_F64);
            case_execute(&r, engine, -1);
            if (set == sets)
                memcpy(first[k], r.operand[0].tensor.data, sizeof first[k]);
            else if (memcmp(first[k], r.operand[0].tensor.data, sizeof first[k]))
                ck_abort_msg("%s, %s: other numbers than with the first set", case_text(&r), *set);
            case_free(&r);
        }
        for (int64_t n = 1; n <= 700; n = n < 30 ? n + 1 : n * 3) {
            cpu_random(7, 8, GLOW_GAUSS, stream, 700);
            cpu_random(7, 8, GLOW_GAUSS, part, n);
            ck_assert_mem_eq(stream, part, (size_t)n * sizeof *part);
        }
        uint32_t counter[4] = { 174, 0, 8, 0 }, key[2] = { 7, 0 };
        struct philox x = philox(counter, key);
        philox_gauss(x.v[2], x.v[3], part);
        ck_assert_double_eq_tol(stream[699], part[1], 4e-15);
        backend_cpu.close(engine);
    }
}
END_TEST

/* Rows of a batch are numbered in the global batch: two halves give what the whole gives. */
START_TEST(random_rows_are_global)
{
    static const struct kernel_case whole = { OP_RANDOM, "-> 4x7", { GLOW_GAUSS, 3, 1 }, { 0 }, 0 };
    static const struct kernel_case half = { OP_RANDOM, "-> 2x7", { GLOW_GAUSS, 3, 1 }, { 0 }, 0 };
    static const struct kernel_case shared = {
        OP_RANDOM, "-> 1x7", { GLOW_GAUSS, 3, 0 }, { 0 }, 0
    };
    struct engine *engine = open_engine("base", 1);
    struct case_run a, b, c;
    case_prepare(&a, &whole, DT_F32);
    case_prepare(&b, &half, DT_F32);
    case_prepare(&c, &shared, DT_F32);
    a.run.row = 10;
    case_execute(&a, engine, -1);
    for (int part = 0; part < 2; part++) {
        b.run.row = 10 + 2 * part;
        case_execute(&b, engine, -1);
        ck_assert_mem_eq((float *)a.operand[0].tensor.data + 14 * part, b.operand[0].tensor.data,
                         56);
    }
    float first[7];
    case_execute(&c, engine, -1);
    memcpy(first, c.operand[0].tensor.data, sizeof first);
    c.run.row = 99; /* an unbatched draw is the same on every rank */
    case_execute(&c, engine, -1);
    ck_assert_mem_eq(first, c.operand[0].tensor.data, sizeof first);
    case_free(&a);
    case_free(&b);
    case_free(&c);
    kernels_backend()->close(engine);
}
END_TEST

/* A dense tensor where the engine can reach it, and back. */
static void lend(struct engine *engine, struct tensor *t, const struct tensor *from)
{
    const struct backend *b = kernels_backend();
    const size_t bytes = (size_t)tensor_count(from) * dtype_size(from->dtype);
    *t = *from;
    if (!b->upload || !from->data) return;
    ck_assert_int_eq(b->alloc(engine, bytes, "test", &t->data), GLOW_OK);
    ck_assert_int_eq(b->upload(engine, t->data, from->data, bytes), GLOW_OK);
}
static void take_back(struct engine *engine, const struct tensor *t, const struct tensor *to)
{
    const struct backend *b = kernels_backend();
    const size_t bytes = (size_t)tensor_count(to) * dtype_size(to->dtype);
    if (!b->upload || !to->data) return;
    ck_assert_int_eq(b->download(engine, to->data, t->data, bytes), GLOW_OK);
    b->release(engine, t->data);
}

/* One step on the engine; returns its status. */
static glow_status run_step(struct engine *engine, int op, const struct tensor *in, int n_in,
                            const struct tensor *out, int n_out)
{
    const struct backend *b = kernels_backend();
    struct tensor t[8];
    struct step step = {
        .op = op, .n_in = n_in, .n_out = n_out, .in = t, .out = t + n_in, .owner = "flow.3"
    };
    struct run run = { 0 };
    for (int k = 0; k < n_in; k++) lend(engine, &t[k], &in[k]);
    for (int k = 0; k < n_out; k++) lend(engine, &t[n_in + k], &out[k]);
    step.run = b->kernel(op, in[0].dtype);
    ck_assert_int_eq(b->alloc(engine, b->scratch(engine, &step) + 64, "test", &step.scratch),
                     GLOW_OK);
    glow_status status = b->run(engine, &step, 1, &run);
    if (status == GLOW_OK) status = backend_finish(b, engine);
    b->release(engine, step.scratch);
    for (int k = 0; k < n_in; k++) take_back(engine, &t[k], &in[k]);
    for (int k = 0; k < n_out; k++) take_back(engine, &t[n_in + k], &out[k]);
    return status;
}

START_TEST(singular_matrices)
{
    float a[4] = { 1, 2, 2, 4 }, inverse[4];
    double logdet = 0;
    struct tensor in = { a, DT_F32, 3, { 1, 2, 2 }, { 4, 2, 1 }, NULL };
    struct tensor out = { &logdet, DT_F64, 1, { 1 }, { 1 }, NULL };
    struct tensor matrix = { inverse, DT_F32, 3, { 1, 2, 2 }, { 4, 2, 1 }, NULL };
    struct engine *engine = open_engine("base", 1);
    ck_assert_int_eq(run_step(engine, OP_SLOGDET, &in, 1, &out, 1), GLOW_OK);
    ck_assert(isinf(logdet) && logdet < 0);
    ck_assert_int_eq(run_step(engine, OP_INVERSE, &in, 1, &matrix, 1), GLOW_EINVAL);
    ck_assert_str_eq(fail_message(), "flow.3: inverse: the 2 by 2 matrix is singular");
    a[0] = a[3] = 0; /* regular, but only with its rows swapped */
    a[1] = 4;
    ck_assert_int_eq(run_step(engine, OP_SLOGDET, &in, 1, &out, 1), GLOW_OK);
    ck_assert_double_eq_tol(logdet, log(8), 1e-12);
    ck_assert_int_eq(run_step(engine, OP_INVERSE, &in, 1, &matrix, 1), GLOW_OK);
    ck_assert(inverse[0] == 0 && inverse[1] == 0.5f && inverse[2] == 0.25f && inverse[3] == 0);
    a[0] = NAN;
    ck_assert_int_eq(run_step(engine, OP_SLOGDET, &in, 1, &out, 1), GLOW_OK);
    ck_assert(isnan(logdet));
    ck_assert_int_eq(run_step(engine, OP_INVERSE, &in, 1, &matrix, 1), GLOW_OK);
    ck_assert(isnan(inverse[0]));
    kernels_backend()->close(engine);
}
END_TEST

START_TEST(lu_refuses_what_is_no_permutation)
{
    static const float wrong[][2] = { { 0, 0 }, { 1, 2 }, { -1, 0 }, { 0.5f, 1 }, { NAN, 0 } };
    float lu[4] = { 0 }, log_s[2] = { 0 }, perm[2], sign[2] = { 1, 1 }, w[4];
    struct tensor in[4] = {
        { lu, DT_F32, 3, { 1, 2, 2 }, { 4, 2, 1 }, NULL },
        { log_s, DT_F32, 2, { 1, 2 }, { 2, 1 }, NULL },
        { perm, DT_F32, 2, { 1, 2 }, { 2, 1 }, NULL },
        { sign, DT_F32, 2, { 1, 2 }, { 2, 1 }, NULL },
    };
    struct tensor out[2] = { { w, DT_F32, 3, { 1, 2, 2 }, { 4, 2, 1 }, NULL }, { .data = NULL } };
    struct engine *engine = open_engine("base", 1);
    for (int i = 0; i < 5; i++) {
        memcpy(perm, wrong[i], sizeof perm);
        ck_assert_int_eq(run_step(engine, OP_LU, in, 4, out, 2), GLOW_EINVAL);
        ck_assert_ptr_nonnull(
            strstr(fail_message(), "flow.3: lu_compose: perm is not a permutation"));
    }
    perm[0] = 1;
    perm[1] = 0;
    lu[1] = 7; /* U = [1 7; 0 1], its rows swapped */
    ck_assert_int_eq(run_step(engine, OP_LU, in, 4, out, 2), GLOW_OK);
    ck_assert(w[0] == 0 && w[1] == 1 && w[2] == 1 && w[3] == 7);
    kernels_backend()->close(engine);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("operations");
    TCase *tcase = tcase_create("operations");
    tcase_set_timeout(tcase, 300);
    tcase_add_test(tcase, philox_known_answers);
    tcase_add_test(tcase, philox_functions);
    tcase_add_test(tcase, random_rows_are_global);
    tcase_add_test(tcase, singular_matrices);
    tcase_add_test(tcase, lu_refuses_what_is_no_permutation);
    if (!getenv("GLOW_BACKEND")) { /* of the CPU's own functions */
        tcase_add_test(tcase, functions_are_accurate);
        tcase_add_test(tcase, random_numbers_are_the_same_everywhere);
    }
    suite_add_tcase(suite, tcase);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed > 0;
}

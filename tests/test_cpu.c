/* test_cpu.c - the frame of the CPU backend: choice of instruction set, memory, failures
 * of a step, plug-ins' kernels, profile, and the flat loops over parameters. */
#include "kernels_run.h"
#include <check.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---------------------------------------------------------------- finding and opening */

START_TEST(backends_by_name)
{
    const struct backend *found;
    ck_assert_int_eq(backend_find("auto", &found), GLOW_OK);
    ck_assert_ptr_eq(found, &backend_cpu);
    ck_assert_int_eq(backend_find("cpu", &found), GLOW_OK);
    ck_assert_ptr_eq(found, &backend_cpu);
    ck_assert_int_eq(backend_find("abacus", &found), GLOW_EINVAL);
    ck_assert_ptr_null(found);
    ck_assert_str_eq(fail_message(),
                     "backend \"abacus\": not in this program; there are: auto, cpu, cuda");
}
END_TEST

START_TEST(instruction_set_by_environment)
{
    struct engine *engine;
    setenv("GLOW_CPU", "mmx", 1);
    ck_assert_int_eq(backend_cpu.open(&engine, 1), GLOW_EINVAL);
    ck_assert_ptr_null(engine);
    ck_assert_ptr_nonnull(strstr(fail_message(), "GLOW_CPU=mmx: "));
    ck_assert_ptr_nonnull(strstr(fail_message(), "base"));
    kernel_fn base, other;
    engine = open_engine("base", 1);
    ck_assert_str_eq(backend_cpu.kernels(engine), "base");
    base = backend_cpu.kernel(OP_ADD, DT_F32);
    ck_assert_ptr_ne(base, backend_cpu.kernel(OP_ADD, DT_F64));
    ck_assert_ptr_null(backend_cpu.kernel(OP_SLICE, DT_F32));
    backend_cpu.close(engine);
    const char *const *set = instruction_sets();
    for (set++; *set; set++) { /* every one has kernels of its own */
        engine = open_engine(*set, 1);
        ck_assert_str_eq(backend_cpu.kernels(engine), *set);
        other = backend_cpu.kernel(OP_ADD, DT_F32);
        ck_assert_ptr_ne(other, base);
        backend_cpu.close(engine);
    }
    setenv("GLOW_CPU", "", 1); /* the best there is */
    ck_assert_int_eq(backend_cpu.open(&engine, 0), GLOW_OK);
    ck_assert_str_eq(backend_cpu.kernels(engine), set[-1]);
    ck_assert_int_ge(backend_cpu.threads(engine), 1);
    backend_cpu.close(engine);
    ck_assert_int_eq(backend_cpu.open(&engine, -1), GLOW_EINVAL);
    ck_assert_int_eq(backend_cpu.open(&engine, 1000000), GLOW_EINVAL);
}
END_TEST

/* ---------------------------------------------------------------- memory */

START_TEST(memory_is_zeroed_aligned_and_has_margins)
{
    static const size_t sizes[] = { 0, 1, 64, 1000, 2097152 - 1024, 2097152, 5000001 };
    struct engine *engine = open_engine("base", 1);
    for (int round = 0; round < 2; round++) { /* the second time memory comes back used */
        for (int i = 0; i < 7; i++) {
            void *data;
            int sum = 0;
            ck_assert_int_eq(backend_cpu.alloc(engine, sizes[i], "test", &data), GLOW_OK);
            ck_assert_uint_eq((uintptr_t)data % 64, 0);
            const unsigned char *p = data;
            for (size_t k = 0; k < sizes[i]; k++) sum |= p[k];
            ck_assert_int_eq(sum, 0);
            for (int k = 0; k < 256; k++) sum += p[-1 - k] + p[sizes[i] + (size_t)k];
            ck_assert_int_ge(sum, 0); /* reading them was the test */
            memset(data, 1, sizes[i]);
            backend_cpu.release(engine, data);
        }
    }
    void *none;
    ck_assert_int_eq(backend_cpu.alloc(engine, SIZE_MAX, "arena of program train", &none),
                     GLOW_ENOMEM);
    ck_assert_ptr_null(none);
    ck_assert_ptr_nonnull(strstr(fail_message(), "arena of program train"));
    ck_assert_int_eq(backend_cpu.alloc(engine, (size_t)1 << 62, "big", &none), GLOW_ENOMEM);
    backend_cpu.release(engine, NULL);
    backend_cpu.close(engine);
}
END_TEST

/* ---------------------------------------------------------------- steps */

static const struct glow_type scalar_type = { GLOW_REAL, 1, 0, 0, { 0 } };

/* out = attr[0] * in, and the number of samples into the scratch; the second output is unwanted. */
static int32_t scale_kernel(const struct glow_kernel_call *call)
{
    if (call->size != sizeof *call || call->n_in != 3 || call->n_out != 2 || call->n_attr != 1)
        return GLOW_EINVAL;
    if (call->in[0].type.dtype != GLOW_F64 || call->in[1].data || call->in[2].data ||
        call->out[1].data)
        return GLOW_EINVAL;
    const double *x = call->in[0].data;
    double *y = call->out[0].data, *scratch = call->scratch;
    if ((uintptr_t)scratch % 64 != 0) return GLOW_EINVAL;
    scratch[0] = (double)call->in[0].n;
    for (int64_t i = 0; i < call->in[0].n; i++) y[i] = call->attr[0] * x[i] + scratch[0];
    return GLOW_OK;
}
static int64_t scale_scratch(const struct glow_custom_infer *infer)
{
    return infer->n_in == 3 && infer->attr[0] == 3 ? 8 : -1;
}
static int32_t failing_kernel(const struct glow_kernel_call *call)
{
    (void)call;
    return GLOW_ENOTSUP;
}

START_TEST(plug_in_kernels)
{
    double x[4] = { 1, 2, 3, 4 }, y[4] = { 0 }, attr = 3;
    struct glow_kernel kernel = {
        .backend = "cpu", .dtype = GLOW_F64, .run = scale_kernel, .scratch = scale_scratch
    };
    struct glow_type types[5] = {
        scalar_type, { .rank = -1 }, { .rank = -1 }, scalar_type, scalar_type
    };
    struct tensor in[3] = { { x, DT_F64, 1, { 4 }, { 1 }, NULL },
                            { .data = NULL },
                            { .data = NULL } };
    struct tensor out[2] = { { y, DT_F64, 1, { 4 }, { 1 }, NULL }, { .data = NULL } };
    struct step step = { .op = OP_CUSTOM,
                         .n_in = 3,
                         .n_out = 2,
                         .n_ad = 1,
                         .in = in,
                         .out = out,
                         .ad = &attr,
                         .owner = "flow.1",
                         .custom = &kernel,
                         .types = types };
    struct run run = { 0 };
    struct engine *engine = open_engine("base", 1);
    size_t bytes = backend_cpu.scratch(engine, &step);
    ck_assert_uint_eq(bytes % 64, 8); /* the views, and what the plug-in asked for */
    ck_assert_int_eq(backend_cpu.alloc(engine, bytes, "scratch", &step.scratch), GLOW_OK);
    step.run = backend_cpu.kernel(OP_CUSTOM, DT_F64);
    ck_assert_int_eq(backend_cpu.run(engine, &step, 1, &run), GLOW_OK);
    for (int i = 0; i < 4; i++) ck_assert(y[i] == 3 * x[i] + 4);
    kernel.run = failing_kernel;
    ck_assert_int_eq(backend_cpu.run(engine, &step, 1, &run), GLOW_ENOTSUP);
    ck_assert_str_eq(fail_message(), "flow.1: the plug-in's kernel failed with code -4");
    backend_cpu.release(engine, step.scratch);
    backend_cpu.close(engine);
}
END_TEST

static int steps_run;
static void counting_step(const struct step *step, struct run *run)
{
    steps_run++;
    usleep(2000);
    if (step->ad) run->status = GLOW_EINVAL;
}

START_TEST(run_stops_at_a_failure_and_keeps_times)
{
    double always = 1, times[OP_COUNT] = { 0 };
    struct step steps[3] = { { .op = OP_ADD, .run = counting_step },
                             { .op = OP_MUL, .run = counting_step },
                             { .op = OP_ADD, .run = counting_step } };
    struct run run = { .status = GLOW_EIO };
    struct engine *engine = open_engine("base", 1);
    ck_assert_int_eq(backend_cpu.run(engine, steps, 3, &run), GLOW_OK);
    ck_assert_int_eq(run.status, GLOW_OK);
    ck_assert_ptr_eq(run.engine, engine);
    ck_assert_int_eq(steps_run, 3);
    for (int profiled = 0; profiled < 2; profiled++) {
        steps_run = 0;
        steps[1].ad = &always;
        backend_cpu.profile(engine, profiled ? times : NULL);
        ck_assert_int_eq(backend_cpu.run(engine, steps, 3, &run), GLOW_EINVAL);
        ck_assert_int_eq(steps_run, 2);
    }
    steps[1].ad = NULL;
    ck_assert_int_eq(backend_cpu.run(engine, steps, 3, &run), GLOW_OK);
    ck_assert(times[OP_ADD] >= 0.006 && times[OP_MUL] >= 0.004 && times[OP_SUB] == 0);
    ck_assert(times[OP_ADD] < 10);
    backend_cpu.profile(engine, NULL);
    double kept = times[OP_ADD];
    ck_assert_int_eq(backend_cpu.run(engine, steps, 3, &run), GLOW_OK);
    ck_assert(times[OP_ADD] == kept);
    backend_cpu.close(engine);
}
END_TEST

/* ---------------------------------------------------------------- flat loops */

enum { N = 50000 };       /* more than one task, a multiple of 16 */
static double *vector[4]; /* w, g, m, v in double: what the reference changes */
static void *arena[4];    /* the same in the type under test */

static void fill_vectors(struct engine *engine, int32_t dtype)
{
    for (int k = 0; k < 4; k++) {
        vector[k] = malloc(N * sizeof(double));
        ck_assert_ptr_nonnull(vector[k]);
        ck_assert_int_eq(backend_cpu.alloc(engine, N * dtype_size(dtype), "test", &arena[k]),
                         GLOW_OK);
        for (int i = 0; i < N; i++) {
            float x = (float)sin(i * (k + 1.7) + k);
            vector[k][i] = k == 3 ? fabsf(x) : x;
            if (dtype == DT_F64)
                ((double *)arena[k])[i] = vector[k][i];
            else
                ((float *)arena[k])[i] = (float)vector[k][i];
        }
    }
}

static void free_vectors(struct engine *engine)
{
    for (int k = 0; k < 4; k++) {
        free(vector[k]);
        backend_cpu.release(engine, arena[k]);
    }
}

static double number(const void *data, int32_t dtype, int i)
{
    return dtype == DT_F64 ? ((const double *)data)[i] : (double)((const float *)data)[i];
}

static void optimizer_reference(const struct optim_args *a)
{
    double *w = vector[0], *g = vector[1], *m = vector[2], *v = vector[3], t = (double)a->t;
    for (int i = 0; i < N; i++) {
        double d = g[i] * a->scale;
        if (a->clip_value > 0) d = fmax(-a->clip_value, fmin(a->clip_value, d));
        d += a->l2 * w[i];
        if (a->kind == OPTIM_SGD) {
            m[i] = a->momentum * m[i] + d;
            w[i] -= a->lr * (a->m ? m[i] : d);
            continue;
        }
        m[i] = a->beta1 * m[i] + (1 - a->beta1) * d;
        double mean = m[i] / (1 - pow(a->beta1, t));
        if (a->kind == OPTIM_ADAM) {
            v[i] = a->beta2 * v[i] + (1 - a->beta2) * d * d;
            w[i] -= a->lr * mean / (sqrt(v[i] / (1 - pow(a->beta2, t))) + a->eps);
        } else {
            v[i] = fmax(a->beta2 * v[i], fabs(d));
            w[i] -= a->lr * mean / (v[i] + a->eps);
        }
    }
}

static void compare_vectors(const struct optim_args *a, const char *set)
{
    void *got[4] = { a->w, a->g, a->m, a->v };
    for (int k = 0; k < 4; k++) {
        if (!got[k]) continue;
        for (int i = 0; i < N; i++) {
            double x = number(got[k], a->dtype, i), want = vector[k][i];
            if (!(fabs(x - want) <= (a->dtype == DT_F64 ? 1e-13 : 1e-6) * (1 + fabs(want))))
                ck_abort_msg("%s, optimizer %d, vector %d, element %d: %.17g, wanted %.17g", set,
                             a->kind, k, i, x, want);
        }
    }
}

START_TEST(optimizers)
{
    static const struct optim_args base = { .n = N,
                                            .lr = 0.01,
                                            .beta1 = 0.9,
                                            .beta2 = 0.99,
                                            .eps = 1e-8,
                                            .momentum = 0.8,
                                            .scale = 1,
                                            .t = 1 };
    for (const char *const *set = instruction_sets(); *set; set++) {
        struct engine *engine = open_engine(*set, 2);
        for (int variant = 0; variant < 16; variant++) {
            struct optim_args a = base;
            a.kind = (int32_t[]){ OPTIM_SGD, OPTIM_SGD, OPTIM_ADAM, OPTIM_ADAMAX }[variant % 4];
            a.dtype = variant / 4 % 2 ? DT_F64 : DT_F32;
            if (variant / 8) a.scale = 0.7, a.clip_value = 0.5, a.l2 = 0.1, a.t = 40;
            fill_vectors(engine, a.dtype);
            a.w = arena[0], a.g = arena[1], a.m = variant % 4 ? arena[2] : NULL;
            a.v = a.kind == OPTIM_SGD ? NULL : arena[3];
            backend_cpu.optim(engine, &a);
            optimizer_reference(&a);
            compare_vectors(&a, *set);
            free_vectors(engine);
        }
        backend_cpu.close(engine);
    }
}
END_TEST

START_TEST(sum_of_squares_and_average)
{
    for (const char *const *set = instruction_sets(); *set; set++) {
        double first[2] = { 0 };
        for (int threads = 1; threads <= 3; threads++) {
            struct engine *engine = open_engine(*set, threads);
            for (int f64 = 0; f64 < 2; f64++) {
                int32_t dtype = f64 ? DT_F64 : DT_F32;
                double want = 0;
                fill_vectors(engine, dtype);
                struct flat x = { arena[0], N - 3, dtype }, average = { arena[1], N - 3, dtype };
                for (int i = 0; i < N - 3; i++) want += vector[0][i] * vector[0][i];
                double got = backend_cpu.sum_squares(engine, &x);
                ck_assert(fabs(got - want) <= 1e-10 * want);
                if (threads == 1) first[f64] = got;
                ck_assert(got == first[f64]); /* bit for bit */

                backend_cpu.ema(engine, &average, &x, 0.9);
                for (int i = 0; i < N; i++) {
                    double y = number(arena[1], dtype, i), old = vector[1][i];
                    double mean = i < N - 3 ? 0.9 * old + 0.1 * vector[0][i] : old;
                    if (fabs(y - mean) > (f64 ? 1e-15 : 2e-7))
                        ck_abort_msg("%s: average %d is %.17g, wanted %.17g", *set, i, y, mean);
                }
                if (f64)
                    ((double *)arena[0])[12345] = NAN;
                else
                    ((float *)arena[0])[12345] = INFINITY;
                got = backend_cpu.sum_squares(engine, &x);
                ck_assert(f64 ? isnan(got) : isinf(got));
                x.n = 0;
                ck_assert(backend_cpu.sum_squares(engine, &x) == 0);
                free_vectors(engine);
            }
            backend_cpu.close(engine);
        }
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("cpu");
    TCase *tcase = tcase_create("cpu");
    tcase_set_timeout(tcase, 120);
    tcase_add_test(tcase, backends_by_name);
    tcase_add_test(tcase, instruction_set_by_environment);
    tcase_add_test(tcase, memory_is_zeroed_aligned_and_has_margins);
    tcase_add_test(tcase, plug_in_kernels);
    tcase_add_test(tcase, run_stops_at_a_failure_and_keeps_times);
    tcase_add_test(tcase, optimizers);
    tcase_add_test(tcase, sum_of_squares_and_average);
    suite_add_tcase(suite, tcase);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed > 0;
}

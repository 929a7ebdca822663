/* test_cuda.c - the CUDA backend beside the CPU's: the same training, whatever is kept of the
 * couplings; what a recording must not change; memory; what goes wrong on a device. On the stand-in
 * (tests/cuda/standin.cpp), or on a GPU. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "checkpoint.h"
#include "rig.h"

static const struct backend *cuda;

static void find_backend(void)
{
    if (backend_find("cuda", &cuda) != GLOW_OK) ck_abort_msg("%s", fail_message());
}

static const char *const sections =
    "data: { dataset = \"glyphs\"; batch = 6; }; train: { threads = 1; ema = 0.9; seed = 11; l2 = "
    "1e-3; clip_norm = 50; %s optimizer: { lr = 3e-3; warmup = 4; }; };";

static void train_on(const struct backend *b, struct rig_training *t, const char *more)
{
    char text[600];
    snprintf(text, sizeof text, sections, more);
    rig_train_on(b, t, rig_glow(8, 1, 2, 2, 6), text);
    ck_assert_msg(trainer_initialise(&t->trainer, t->data) == GLOW_OK, "%s", fail_message());
    ck_assert_int_eq(model_training_arenas(t->model, 0, true), GLOW_OK);
}

static double largest_difference(const struct rig_training *a, const struct rig_training *b,
                                 bool average)
{
    double worst = 0;
    for (int i = 0; i < a->model->n_params; i++) {
        int64_t n = a->model->params[i].count;
        double *x = calloc(2 * (size_t)n, sizeof *x);
        ck_assert_ptr_nonnull(x);
        const struct model *m[2] = { a->model, b->model };
        for (int k = 0; k < 2; k++)
            ck_assert_int_eq(model_get(m[k], average ? m[k]->average : m[k]->weights, i, x + k * n),
                             GLOW_OK);
        worst = fmax(worst, rig_difference(x, x + n, n));
        free(x);
    }
    return worst;
}

/* ---------------------------------------------------------------- beside the CPU */

static const char *const policies[] = { "memory = \"store\";", "memory = \"recompute\";",
                                        "memory = \"invert\";", "memory_budget = 0.001;",
                                        "precision = \"fp64\";" };

/* In f64 the two differ by rounding alone; in f32 a little more after each step. */
START_TEST(trains_like_the_cpu)
{
    struct rig_training a, b;
    struct train_report r, s;
    bool wide = strstr(policies[_i], "fp64") != NULL;
    train_on(&backend_cpu, &a, policies[_i]);
    train_on(cuda, &b, policies[_i]);
    ck_assert_double_le(largest_difference(&a, &b, false), wide ? 1e-12 : 1e-4);
    for (int step = 0; step < 8; step++) {
        ck_assert_int_eq(rig_step(&a, &r), GLOW_OK);
        ck_assert_msg(rig_step(&b, &s) == GLOW_OK, "%s", fail_message());
        ck_assert(s.steps == 1 && s.accepted);
        ck_assert_double_eq_tol(s.loss, r.loss, wide ? 1e-10 : 2e-3);
        ck_assert_double_eq_tol(s.gradient_norm, r.gradient_norm,
                                (wide ? 1e-9 : 1e-2) * r.gradient_norm);
        ck_assert_double_eq(s.learning_rate, r.learning_rate);
    }
    ck_assert_uint_eq(a.trainer.updates, b.trainer.updates);
    ck_assert_double_le(largest_difference(&a, &b, false), wide ? 1e-9 : 5e-3);
    ck_assert_double_le(largest_difference(&a, &b, true), wide ? 1e-9 : 5e-3);
    rig_train_end(&a);
    rig_train_end(&b);
}
END_TEST

/* In bf16: near the CPU's, and the same bits whether activations are kept or computed again. */
START_TEST(trains_in_bf16)
{
    struct rig_training a, b, c;
    struct train_report r, s, t;
    train_on(backend_cpu.bf16, &a, policies[_i]);
    train_on(cuda->bf16, &b, policies[_i]);
    train_on(cuda->bf16, &c, policies[0]);
    for (int step = 0; step < 6; step++) {
        ck_assert_int_eq(rig_step(&a, &r), GLOW_OK);
        ck_assert_msg(rig_step(&b, &s) == GLOW_OK, "%s", fail_message());
        ck_assert_int_eq(rig_step(&c, &t), GLOW_OK);
        ck_assert(s.steps == 1 && s.accepted);
        ck_assert_double_eq_tol(s.loss, r.loss, 2e-2);
        ck_assert_double_eq_tol(s.gradient_norm, r.gradient_norm, 5e-2 * r.gradient_norm);
    }
    if (!strstr(policies[_i], "invert")) /* that rounds what it finds again */
        ck_assert(rig_hash_params(b.model, b.model->weights) ==
                  rig_hash_params(c.model, c.model->weights));
    rig_train_end(&a);
    rig_train_end(&b);
    rig_train_end(&c);
}
END_TEST

static double evaluated(const struct rig_training *t)
{
    struct evaluation e;
    ck_assert_msg(evaluate(t->model, t->data, 5, 12, true, 3, &e, NULL) == GLOW_OK, "%s",
                  fail_message());
    return e.bits;
}

/* A checkpoint of one backend goes on with the other. */
START_TEST(checkpoints_fit_both)
{
    struct rig_training a;
    struct train_report r;
    struct checkpoint *c;
    struct model *m;
    train_on(cuda, &a, "");
    for (int step = 0; step < 3; step++) ck_assert_int_eq(rig_step(&a, &r), GLOW_OK);
    const char *path = rig_path("c.safetensors");
    ck_assert_int_eq(checkpoint_save(path, a.model, &a.trainer), GLOW_OK);
    ck_assert_int_eq(checkpoint_open(&c, path), GLOW_OK);
    ck_assert_int_eq(
        checkpoint_model(c, rig_registry(),
                         &(struct model_options){ .backend = &backend_cpu, .threads = 1 }, NULL,
                         &m),
        GLOW_OK);
    ck_assert(rig_hash_params(m, m->weights) == rig_hash_params(a.model, a.model->weights));
    ck_assert(rig_hash_params(m, m->average) == rig_hash_params(a.model, a.model->average));
    struct rig_training b = { .model = m, .data = a.data };
    ck_assert_double_eq_tol(evaluated(&a), evaluated(&b), 1e-3);
    checkpoint_close(c);
    model_free(m);
    rig_train_end(&a);
}
END_TEST

/* ---------------------------------------------------------------- recordings and reports */

/* Reports now and then instead of after each step: the same bits. */
START_TEST(reports_change_nothing)
{
    struct rig_training a, b;
    struct train_report r, s;
    double sum = 0;
    train_on(cuda, &a, "");
    train_on(cuda, &b, "");
    b.trainer.report_every = 4;
    for (int step = 1; step <= 10; step++) {
        ck_assert_int_eq(rig_step(&a, &r), GLOW_OK);
        ck_assert_int_eq(rig_step(&b, &s), GLOW_OK);
        sum += r.loss;
        ck_assert_int_eq(s.steps, step % 4 == 0 ? 4 : 0);
        if (s.steps == 0) continue;
        ck_assert_double_eq_tol(s.loss, sum / 4, 1e-12);
        ck_assert_double_eq(s.gradient_norm, r.gradient_norm);
        ck_assert_double_eq(s.learning_rate, r.learning_rate);
        sum = 0;
    }
    ck_assert_int_eq(b.trainer.pending, 2);
    ck_assert_int_eq(trainer_report(&b.trainer, &s), GLOW_OK);
    ck_assert(s.steps == 2 && b.trainer.updates == 10 && b.trainer.pending == 0);
    ck_assert(rig_hash_params(a.model, a.model->weights) ==
              rig_hash_params(b.model, b.model->weights));
    ck_assert(rig_hash_params(a.model, a.model->average) ==
              rig_hash_params(b.model, b.model->average));
    rig_train_end(&a);
    rig_train_end(&b);
}
END_TEST

/* A replayed graph draws new numbers for a new step, and the same for the same. */
START_TEST(recordings_read_the_key)
{
    struct rig_training t;
    const struct data_batch *batch;
    uint64_t h[6];
    train_on(cuda, &t, "");
    ck_assert_int_eq(data_stream_next(t.stream, &batch), GLOW_OK);
    struct program *p = rig_program(t.model, PROGRAM_EVAL, 6);
    ck_assert_int_eq(program_write(p, program_input(p, "x"), 0, 6, batch->x), GLOW_OK);
    for (int i = 0; i < 6; i++) {
        ck_assert_int_eq(program_run(p, 5, (uint64_t)(i % 2), 0), GLOW_OK);
        h[i] = rig_hash_output(p, "loglik");
        ck_assert((p->recording != NULL) == (i >= 1));
    }
    ck_assert(h[0] != h[1] && h[0] == h[2] && h[1] == h[3] && h[2] == h[4] && h[3] == h[5]);
    program_free(p);
    rig_train_end(&t);
}
END_TEST

/* Every distribution, in both types, for the same key: the same bits as on the CPU. */
START_TEST(draws_like_the_cpu)
{
    enum { N = 3, EACH = 1001 };
    static const int64_t kinds[] = { GLOW_UNIFORM, GLOW_GAUSS, GLOW_SIGNS };
    double mine[N * EACH], theirs[N * EACH];
    for (int i = 0; i < 6; i++) {
        struct engine *e, *f;
        const int64_t ai[3] = { kinds[i / 2], INT64_C(0x123456789ABCDEF), 1 };
        struct tensor out = {
            .dtype = i % 2 ? DT_F64 : DT_F32, .rank = 2, .dim = { N, EACH }, .stride = { EACH, 1 }
        };
        const size_t bytes = N * EACH * dtype_size(out.dtype);
        struct step s = { .op = OP_RANDOM, .n_out = 1, .n_ai = 3, .out = &out, .ai = ai };
        struct run run = { .seed = 77, .step = (UINT64_C(5) << 32) + 9, .row = 12 };
        ck_assert_int_eq(backend_cpu.open(&e, 1), GLOW_OK);
        out.data = theirs;
        s.run = backend_cpu.kernel(OP_RANDOM, out.dtype);
        ck_assert_int_eq(backend_cpu.run(e, &s, 1, &run), GLOW_OK);
        backend_cpu.close(e);
        ck_assert_int_eq(cuda->open(&f, 0), GLOW_OK);
        ck_assert_int_eq(cuda->alloc(f, bytes, "test", &out.data), GLOW_OK);
        s.run = cuda->kernel(OP_RANDOM, out.dtype);
        ck_assert_int_eq(cuda->run(f, &s, 1, &run), GLOW_OK);
        ck_assert_int_eq(cuda->download(f, mine, out.data, bytes), GLOW_OK);
        cuda->release(f, out.data);
        cuda->close(f);
        ck_assert_mem_eq(mine, theirs, bytes);
    }
}
END_TEST

/* A step without a finite gradient leaves parameters alone, and is reported with a name. */
START_TEST(rejects_nan)
{
    struct rig_training t;
    struct train_report r;
    float x[6 * 64];
    train_on(cuda, &t, "bad_steps = 3;");
    ck_assert_int_eq(rig_step(&t, &r), GLOW_OK);
    uint64_t before = rig_hash_params(t.model, t.model->weights);
    uint64_t average = rig_hash_params(t.model, t.model->average);
    for (int i = 0; i < 6 * 64; i++) x[i] = NAN;
    for (int bad = 1; bad <= 3; bad++) {
        glow_status status = trainer_step(&t.trainer, x, &r);
        ck_assert_int_eq(status, bad < 3 ? GLOW_OK : GLOW_EINVAL);
        ck_assert(!r.accepted && r.rejected == 1);
        ck_assert_msg(strstr(r.culprit, "quantize") != NULL, "%s", r.culprit);
    }
    ck_assert(rig_hash_params(t.model, t.model->weights) == before);
    ck_assert(rig_hash_params(t.model, t.model->average) == average);
    ck_assert(t.trainer.updates == 1 && t.trainer.step == 4);
    ck_assert_int_eq(rig_step(&t, &r), GLOW_OK);
    ck_assert(r.accepted && t.trainer.updates == 2 && t.trainer.bad_in_a_row == 0);
    rig_train_end(&t);
}
END_TEST

/* Rejected steps between accepted ones, told of later: the rates go by the number of the update, so
 * that the result is that of reports after each step. */
START_TEST(rejects_in_between)
{
    struct rig_training t[2];
    struct train_report r;
    const struct data_batch *batch;
    float nan[6 * 64];
    for (int i = 0; i < 6 * 64; i++) nan[i] = NAN;
    for (int k = 0; k < 2; k++) {
        int64_t rejected = 0;
        train_on(cuda, &t[k], "");
        t[k].trainer.report_every = k == 0 ? 1 : 6;
        for (int step = 1; step <= 6; step++) {
            bool bad = step == 2 || step == 5;
            ck_assert_int_eq(data_stream_next(t[k].stream, &batch), GLOW_OK);
            ck_assert_int_eq(trainer_step(&t[k].trainer, bad ? nan : batch->x, &r), GLOW_OK);
            rejected += r.rejected;
            if (r.steps == 6) ck_assert(!r.accepted && r.culprit[0] && isfinite(r.loss));
        }
        ck_assert_int_eq(rejected, 2);
        ck_assert_uint_eq(t[k].trainer.updates, 4);
        ck_assert_int_eq(t[k].trainer.bad_in_a_row, 0);
    }
    ck_assert(rig_hash_params(t[0].model, t[0].model->weights) ==
              rig_hash_params(t[1].model, t[1].model->weights));
    ck_assert(rig_hash_params(t[0].model, t[0].model->average) ==
              rig_hash_params(t[1].model, t[1].model->average));
    for (int k = 0; k < 2; k++) rig_train_end(&t[k]);
}
END_TEST

/* ---------------------------------------------------------------- memory */

START_TEST(memory_is_counted)
{
    struct engine *e;
    struct memory_report before, r;
    void *a, *b;
    char text[4];
    ck_assert_int_eq(cuda->open(&e, 0), GLOW_OK);
    cuda->memory(e, &before);
    ck_assert_int_eq(cuda->alloc(e, 1000000, "first", &a), GLOW_OK);
    ck_assert_int_eq(cuda->alloc(e, 500000, "second", &b), GLOW_OK);
    ck_assert_int_eq((uintptr_t)a % 64, 0);
    cuda->memory(e, &r);
    ck_assert_uint_eq(r.used - before.used, 1500000);
    cuda->release(e, a);
    ck_assert_int_eq(cuda->download(e, text, b, 4), GLOW_OK); /* zeroed */
    ck_assert_mem_eq(text, "\0\0\0\0", 4);
    cuda->release(e, b);
    cuda->memory(e, &r);
    ck_assert_uint_eq(r.used, before.used);
    ck_assert_uint_eq(r.peak,
                      before.peak > before.used + 1500000 ? before.peak : before.used + 1500000);
    ck_assert(r.all >= r.available && r.reserved > 0);
    cuda->close(e);
}
END_TEST

START_TEST(no_room_is_told)
{
    struct engine *e;
    struct memory_report r;
    void *a, *b;
    ck_assert_int_eq(cuda->open(&e, 0), GLOW_OK);
    cuda->memory(e, &r);
    ck_assert_int_eq(cuda->alloc(e, 3000000, "weights", &a), GLOW_OK);
    ck_assert_int_eq(cuda->alloc(e, r.all + 1000000, "train program", &b), GLOW_ENOMEM);
    ck_assert_ptr_null(b);
    rig_message("train program: no room for");
    rig_message("are free");
    rig_message("weights 3.0 MB");
    rig_message("data.batch");
    /* and nothing is broken */
    char text[4];
    ck_assert_int_eq(cuda->download(e, text, a, 4), GLOW_OK);
    cuda->release(e, a);
    cuda->close(e);
}
END_TEST

/* Large transfers go in pieces, and come out in order with the kernels before and behind. */
START_TEST(transfers_keep_their_order)
{
    enum { N = 3 * (1 << 20) + 17 };
    struct engine *e;
    void *a, *b;
    int *x = malloc(N * sizeof *x);
    ck_assert_ptr_nonnull(x);
    ck_assert_int_eq(cuda->open(&e, 0), GLOW_OK);
    ck_assert_int_eq(cuda->alloc(e, N * sizeof *x, "a", &a), GLOW_OK);
    ck_assert_int_eq(cuda->alloc(e, N * sizeof *x, "b", &b), GLOW_OK);
    for (int round = 1; round <= 3; round++) {
        for (int i = 0; i < N; i++) x[i] = round * i;
        ck_assert_int_eq(cuda->upload(e, a, x, N * sizeof *x), GLOW_OK);
        if (round == 2) ck_assert_int_eq(cuda->copy(e, b, a, N * sizeof *x), GLOW_OK);
        memset(x, 0, N * sizeof *x);
    }
    ck_assert_int_eq(cuda->download(e, x, b, N * sizeof *x), GLOW_OK);
    for (int i = 0; i < N; i++)
        if (x[i] != 2 * i) ck_abort_msg("element %d is %d", i, x[i]);
    cuda->release(e, a);
    cuda->release(e, b);
    cuda->close(e);
    free(x);
}
END_TEST

/* The same numbers whatever ran before in the same memory, and on another engine. */
START_TEST(runs_are_repeatable)
{
    uint64_t h[2];
    for (int k = 0; k < 2; k++) {
        struct rig_training t;
        struct train_report r;
        train_on(cuda, &t, "memory = \"recompute\";");
        for (int i = 0; i < 4; i++) ck_assert_int_eq(rig_step(&t, &r), GLOW_OK);
        h[k] = rig_hash_params(t.model, t.model->weights);
        rig_train_end(&t);
    }
    ck_assert(h[0] == h[1]);
}
END_TEST

int main(void)
{
    TCase *tests = rig_case("cuda");
    tcase_set_timeout(tests, 300);
    tcase_add_checked_fixture(tests, find_backend, NULL);
    tcase_add_loop_test(tests, trains_like_the_cpu, 0, 5);
    tcase_add_loop_test(tests, trains_in_bf16, 0, 4);
    tcase_add_test(tests, checkpoints_fit_both);
    tcase_add_test(tests, reports_change_nothing);
    tcase_add_test(tests, recordings_read_the_key);
    tcase_add_test(tests, draws_like_the_cpu);
    tcase_add_test(tests, rejects_nan);
    tcase_add_test(tests, rejects_in_between);
    tcase_add_test(tests, memory_is_counted);
    tcase_add_test(tests, no_room_is_told);
    tcase_add_test(tests, transfers_keep_their_order);
    tcase_add_test(tests, runs_are_repeatable);
    return rig_run(tests);
}

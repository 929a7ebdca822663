/* test_train.c - the training step: optimizers against a naive loop, clipping, L2, moving averages;
 * steps with a NaN are rejected and leave no trace; training makes a model better, and evaluation
 * says so whatever the batch. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "rig.h"

/* ---------------------------------------------------------------- optimizers, naively */

static const char rows[] =
    "input = [4]; flow = ( { layer = \"actnorm\"; }, { layer = \"invconv\"; }, { layer = "
    "\"affine\"; net = { type = \"mlp\"; "
    "widths = [6]; }; } ); prior = { y = { type = \"normal\"; form = \"diagonal\"; }; };";

enum { WIDTH = 4, BATCH = 8 };

/* The state of one parameter, element by element. */
struct naive {
    double *w, *m, *v;
    double *gradient, *weight; /* of the engine */
};

static void apply(const struct settings *s, struct naive *p, double g, double norm, int decays,
                  int t, int64_t k)
{
    if (s->clip_norm > 0 && norm > s->clip_norm) g *= s->clip_norm / norm;
    if (s->clip_value > 0)
        g = g > s->clip_value ? s->clip_value : g < -s->clip_value ? -s->clip_value : g;
    if (decays) g += s->l2 * p->w[k];
    switch (s->optimizer) {
    case OPTIM_SGD:
        p->m[k] = s->momentum * p->m[k] + g;
        p->w[k] -= s->lr * p->m[k];
        return;
    case OPTIM_ADAM:
        p->m[k] = s->beta1 * p->m[k] + (1 - s->beta1) * g;
        p->v[k] = s->beta2 * p->v[k] + (1 - s->beta2) * g * g;
        p->w[k] -= s->lr * (p->m[k] / (1 - pow(s->beta1, t))) /
                   (sqrt(p->v[k] / (1 - pow(s->beta2, t))) + s->eps);
        return;
    default:
        p->m[k] = s->beta1 * p->m[k] + (1 - s->beta1) * g;
        p->v[k] = fmax(s->beta2 * p->v[k], fabs(g));
        p->w[k] -= s->lr / (1 - pow(s->beta1, t)) * p->m[k] / (p->v[k] + s->eps);
    }
}

static void open_rows(struct rig_training *t, const char *train)
{
    char sections[600];
    snprintf(sections, sizeof sections,
             "data: { dataset = \"toy2d\"; batch = %d; }; train: { threads = 1; precision = "
             "\"fp64\"; %s };",
             BATCH, train);
    *t = (struct rig_training){ .model = NULL };
    struct config *c;
    char text[1500];
    snprintf(text, sizeof text, "model: { %s }; %s", rows, sections);
    ck_assert_msg(config_parse(&c, text, "test.cfg") == GLOW_OK, "%s", fail_message());
    ck_assert_msg(settings_read(&t->settings, c) == GLOW_OK, "%s", fail_message());
    ck_assert_msg(model_new(&t->model, c, rig_registry(),
                            &(struct model_options){ .threads = 1, .real = DT_F64, .seed = 3 }) ==
                      GLOW_OK,
                  "%s", fail_message());
    ck_assert_msg(trainer_open(&t->trainer, t->model, &t->settings) == GLOW_OK, "%s",
                  fail_message());
    rig_perturb(t->model, 0.1);
}

static void step_rows(struct rig_training *t, uint64_t number, struct train_report *r)
{
    double x[BATCH * WIDTH];
    rig_gauss(100 + number, x, BATCH * WIDTH);
    for (int i = 0; i < BATCH * WIDTH; i++) x[i] = 2 * x[i] + 1;
    ck_assert_int_eq(trainer_step(&t->trainer, x, r), GLOW_OK);
    ck_assert(r->accepted);
}

static void check_optimizer(const char *train)
{
    struct rig_training t;
    open_rows(&t, train);
    struct model *m = t.model;
    struct naive *p = calloc((size_t)m->n_params, sizeof *p);
    ck_assert_ptr_nonnull(p);
    for (int i = 0; i < m->n_params; i++) {
        size_t n = (size_t)m->params[i].count;
        p[i].w = calloc(5 * n, sizeof *p[i].w);
        p[i].m = p[i].w + n;
        p[i].v = p[i].m + n;
        p[i].gradient = p[i].v + n;
        p[i].weight = p[i].gradient + n;
        model_get(m, m->weights, i, p[i].w);
    }
    for (int step = 1; step <= 5; step++) {
        struct train_report r;
        double squares = 0;
        step_rows(&t, (uint64_t)step, &r);
        for (int i = 0; i < m->n_params; i++) {
            const struct param *q = &m->params[i];
            const double *g = p[i].gradient;
            model_get(m, m->gradients, i, p[i].gradient);
            model_get(m, m->weights, i, p[i].weight);
            for (int64_t k = 0; k < q->count && !(q->flags & GLOW_PARAM_FROZEN); k++)
                squares += g[k] * g[k];
        }
        ck_assert_double_eq_tol(r.gradient_norm, sqrt(squares), 1e-12);
        for (int i = 0; i < m->n_params; i++) {
            const struct param *q = &m->params[i];
            int decays = !strcmp(q->group, "weight") && !(q->flags & GLOW_PARAM_NO_L2);
            for (int64_t k = 0; k < q->count; k++) {
                const double g = p[i].gradient[k], w = p[i].weight[k];
                if (!(q->flags & GLOW_PARAM_FROZEN))
                    apply(&t.settings, &p[i], g, sqrt(squares), decays, step, k);
                if (!(fabs(w - p[i].w[k]) <= 1e-12 * (1 + fabs(w))))
                    ck_abort_msg("%s: step %d, %s[%lld] is %.15g, naively %.15g", train, step,
                                 q->name, (long long)k, w, p[i].w[k]);
            }
        }
    }
    for (int i = 0; i < m->n_params; i++) free(p[i].w);
    free(p);
    trainer_close(&t.trainer);
    model_free(m);
    settings_free(&t.settings);
}

START_TEST(optimizers)
{
    static const char *const cases[] = {
        "optimizer: { type = \"adam\"; lr = 0.01; beta1 = 0.8; beta2 = 0.95; eps = 1e-3; };",
        "optimizer: { type = \"adamax\"; lr = 0.01; beta2 = 0.9; };",
        "optimizer: { type = \"sgd\"; lr = 0.01; momentum = 0.7; };",
        "optimizer: { type = \"sgd\"; lr = 0.01; momentum = 0; };",
        "clip_norm = 0.05; optimizer: { type = \"sgd\"; lr = 0.1; };",
        "clip_norm = 1000; optimizer: { type = \"sgd\"; lr = 0.1; };",
        "clip_value = 0.01; optimizer: { type = \"sgd\"; lr = 0.1; };",
        "clip_norm = 0.5; clip_value = 0.02; l2 = 0.3; optimizer: { type = \"adam\"; };",
        "l2 = 0.5; optimizer: { type = \"adam\"; };",
        "l2 = 0.5; optimizer: { type = \"adamax\"; };"
    };
    for (size_t i = 0; i < GLOW_COUNT(cases); i++) check_optimizer(cases[i]);
}
END_TEST

/* average = d average + (1 - d) w after update t, from where it began; d = min(ema, (1 + t)/(10 +
 * t)). */
START_TEST(moving_average)
{
    struct rig_training t;
    struct train_report r;
    open_rows(&t, "ema = 0.3; optimizer: { lr = 0.05; };"); /* reached at the third update */
    struct model *m = t.model;
    ck_assert_int_eq(model_training_arenas(m, 0, true), GLOW_OK);
    int i = rig_param(m, "affine.net.last.w");
    int64_t n = m->params[i].count;
    double w[64], average[64], want[64];
    ck_assert_int_le(n, 64);
    model_get(m, m->weights, i, want);
    for (uint64_t step = 1; step <= 4; step++) {
        double d = fmin(0.3, (1 + (double)step) / (10 + (double)step));
        step_rows(&t, step, &r);
        model_get(m, m->weights, i, w);
        model_get(m, m->average, i, average);
        for (int64_t k = 0; k < n; k++) {
            want[k] = d * want[k] + (1 - d) * w[k];
            ck_assert_double_eq_tol(average[k], want[k], 1e-14);
        }
    }
    ck_assert(memcmp(w, average, (size_t)n * sizeof *w));
    trainer_close(&t.trainer);
    model_free(m);
    settings_free(&t.settings);
}
END_TEST

/* ---------------------------------------------------------------- rejected steps */

static const char fragile[] = "input = [2]; flow = ( { layer = \"actnorm\"; }, { layer = "
                              "\"fragile\"; name = \"weak\"; limit = 50.0; }, "
                              "{ layer = \"affine\"; net = { type = \"mlp\"; widths = [4]; }; } );";

static uint64_t hash_state(const struct model *m)
{
    return rig_hash_params(m, m->weights) ^ 3 * rig_hash_params(m, m->moment1) ^
           5 * rig_hash_params(m, m->moment2) ^ 7 * rig_hash_params(m, m->average);
}

START_TEST(rejected_steps)
{
    struct rig_training t;
    struct train_report r;
    rig_load("plugins/fragile.c");
    rig_train(&t, fragile,
              "data: { dataset = \"toy2d\"; batch = 8; }; train: { threads = 1; bad_steps = 3; ema "
              "= 0.9; };");
    ck_assert_int_eq(model_training_arenas(t.model, 0, true), GLOW_OK);
    for (int i = 0; i < 3; i++) {
        ck_assert_int_eq(rig_step(&t, &r), GLOW_OK);
        ck_assert(r.accepted && isfinite(r.loss) && !*r.culprit);
    }
    uint64_t before = hash_state(t.model);
    float bad[16] = { 0 };
    bad[5] = 1000;
    for (int i = 0; i < 2; i++) {
        ck_assert_int_eq(trainer_step(&t.trainer, bad, &r), GLOW_OK);
        ck_assert(!r.accepted);
        ck_assert_str_eq(r.culprit, "weak: sqrt");
        ck_assert(hash_state(t.model) == before);
    }
    ck_assert_uint_eq(t.trainer.step, 5);
    ck_assert_uint_eq(t.trainer.updates, 3);
    ck_assert_int_eq(rig_step(&t, &r),
                     GLOW_OK); /* a good one: training goes on, the count begins anew */
    ck_assert(r.accepted && hash_state(t.model) != before);
    ck_assert_uint_eq(t.trainer.updates, 4);
    before = hash_state(t.model);
    ck_assert_int_eq(trainer_step(&t.trainer, bad, &r), GLOW_OK);
    ck_assert_int_eq(trainer_step(&t.trainer, bad, &r), GLOW_OK);
    ck_assert_int_eq(trainer_step(&t.trainer, bad, &r), GLOW_EINVAL);
    rig_message("3 steps in a row made a NaN or Inf, the last at step 8, first in weak: sqrt; "
                "parameters are those of the last good step");
    ck_assert(hash_state(t.model) == before);
    rig_train_end(&t);
}
END_TEST

/* A learning rate that is far too high: the first update is wild, and what follows is refused. */
START_TEST(exploding)
{
    struct rig_training t;
    struct train_report r;
    int refused = 0;
    rig_load("plugins/fragile.c");
    rig_train(&t, fragile,
              "data: { dataset = \"toy2d\"; batch = 8; }; train: { threads = 1; bad_steps = 4; "
              "optimizer: { lr = 1e30; }; };");
    glow_status status = GLOW_OK;
    for (int i = 0; i < 20 && status == GLOW_OK; i++) {
        status = rig_step(&t, &r);
        refused += !r.accepted;
        ck_assert(r.accepted == (*r.culprit == 0));
    }
    ck_assert_int_eq(status, GLOW_EINVAL);
    ck_assert_int_eq(refused, 4);
    rig_message("Try a smaller learning rate");
    rig_train_end(&t);
}
END_TEST

START_TEST(initialisation_fails)
{
    struct rig_training t;
    rig_load("plugins/fragile.c");
    rig_train(&t, "input = [2]; flow = ( { layer = \"fragile\"; limit = -100.0; } );",
              "data: { dataset = \"toy2d\"; batch = 8; }; train: { threads = 1; };");
    ck_assert_int_eq(trainer_initialise(&t.trainer, t.data), GLOW_EINVAL);
    rig_message("initialisation made a NaN or Inf, first in fragile: sqrt");
    rig_train_end(&t);
}
END_TEST

/* ---------------------------------------------------------------- memory */

/* When rebuilding is too inexact, training goes on with recompute, from the same step and with its
 * bits. */
START_TEST(falls_back)
{
    struct rig_training a, b;
    struct train_report r, q;
    static const char *const sections[2] = {
        "data: { dataset = \"glyphs\"; batch = 4; }; train: { threads = 1; memory = \"invert\"; "
        "invert_tolerance = 1e-30; };",
        "data: { dataset = \"glyphs\"; batch = 4; }; train: { threads = 1; memory = \"recompute\"; "
        "};"
    };
    rig_train(&a, rig_glow(8, 1, 2, 2, 6), sections[0]);
    rig_train(&b, rig_glow(8, 1, 2, 2, 6), sections[1]);
    ck_assert_int_eq(a.trainer.memory, MEMORY_INVERT);
    for (int i = 0; i < 3; i++) {
        ck_assert_int_eq(rig_step(&a, &r), GLOW_OK);
        ck_assert_int_eq(rig_step(&b, &q), GLOW_OK);
        ck_assert_double_eq(r.loss, q.loss);
    }
    ck_assert_int_eq(a.trainer.memory, MEMORY_RECOMPUTE);
    ck_assert_uint_eq(a.trainer.step, 3);
    ck_assert(rig_hash_params(a.model, a.model->weights) ==
              rig_hash_params(b.model, b.model->weights));
    rig_train_end(&a);
    rig_train_end(&b);
    rig_train(&a, rig_glow(8, 1, 2, 2, 6),
              "data: { dataset = \"glyphs\"; batch = 4; }; train: { threads = 1; memory = "
              "\"invert\"; };");
    ck_assert_int_eq(rig_step(&a, &r), GLOW_OK);
    ck_assert_int_eq(a.trainer.memory, MEMORY_INVERT); /* the default tolerance is wide enough */
    ck_assert(r.inversion_error > 0 && r.inversion_error < 1e-3);
    rig_train_end(&a);
}
END_TEST

/* A flow with nothing to train: steps go by, and nothing is rebuilt. */
START_TEST(nothing_to_train)
{
    struct rig_training t;
    struct train_report r;
    rig_train(
        &t, "input = [2]; flow = ( { layer = \"permute\"; } );",
        "data: { dataset = \"toy2d\"; batch = 8; }; train: { threads = 1; memory = \"invert\"; };");
    ck_assert_int_eq(t.model->n_params, 0);
    ck_assert_int_eq(trainer_initialise(&t.trainer, t.data), GLOW_OK);
    for (int i = 0; i < 2; i++) {
        ck_assert_int_eq(rig_step(&t, &r), GLOW_OK);
        ck_assert(r.accepted && isfinite(r.loss) && r.gradient_norm == 0 &&
                  isnan(r.inversion_error));
    }
    ck_assert_int_eq(t.trainer.memory, MEMORY_INVERT);
    rig_train_end(&t);
}
END_TEST

/* ---------------------------------------------------------------- learning */

static const char glyphs[] = "data: { dataset = \"glyphs\"; batch = 16; }; train: { threads = 1; "
                             "seed = 5; optimizer: { lr = 2e-3; warmup = 10; }; };";

/* 60 steps on drawn digits, and the same bits when it is done again. */
START_TEST(loss_falls)
{
    uint64_t hash[2];
    for (int again = 0; again < 2; again++) {
        struct rig_training t;
        struct train_report r;
        double early = 0, late = 0;
        rig_train(&t, rig_glow(8, 1, 2, 2, 16), glyphs);
        ck_assert_int_eq(trainer_initialise(&t.trainer, t.data), GLOW_OK);
        ck_assert(t.model->initialised);
        for (int i = 0; i < 60; i++) {
            ck_assert_int_eq(rig_step(&t, &r), GLOW_OK);
            ck_assert(r.accepted);
            if (i < 10) early += r.loss / 10;
            if (i >= 50) late += r.loss / 10;
        }
        ck_assert_msg(late < early - 0.3, "%.3f bits/dim at first, %.3f at last", early, late);
        hash[again] = rig_hash_params(t.model, t.model->weights);
        rig_train_end(&t);
    }
    ck_assert(hash[0] == hash[1]);
}
END_TEST

/* Initialisation sees init_batches batches of the training order, as one. */
START_TEST(initialisation)
{
    double b[2][8];
    for (int k = 0; k < 2; k++) {
        struct rig_training t;
        rig_train(&t, "input = [2]; flow = ( { layer = \"actnorm\"; } );",
                  k ? "data: { dataset = \"toy2d\"; batch = 32; }; train: { threads = 1; };"
                    : "data: { dataset = \"toy2d\"; batch = 8; }; train: { threads = 1; "
                      "init_batches = 4; };");
        ck_assert_int_eq(trainer_initialise(&t.trainer, t.data), GLOW_OK);
        model_get(t.model, t.model->weights, rig_param(t.model, "actnorm.b"), b[k]);
        model_get(t.model, t.model->weights, rig_param(t.model, "actnorm.logs"), b[k] + 2);
        double sum[2] = { 0 };
        const struct data_batch *batch;
        for (int i = 0; i < (k ? 1 : 4); i++) {
            ck_assert_int_eq(data_stream_next(t.stream, &batch), GLOW_OK);
            for (int j = 0; j < 2 * (k ? 32 : 8); j++)
                sum[j % 2] += (double)((const float *)batch->x)[j] / 32;
        }
        for (int c = 0; c < 2; c++) ck_assert_double_eq_tol(b[k][c], -sum[c], 1e-5);
        rig_train_end(&t);
    }
    for (int i = 0; i < 4; i++) ck_assert_double_eq_tol(b[0][i], b[1][i], 1e-5);
}
END_TEST

/* ---------------------------------------------------------------- evaluation */

/* The noise of a row is its own: any batch size gives the same likelihoods, in their order. */
START_TEST(evaluations)
{
    enum { ROWS = 50 };
    struct rig_training t;
    struct data *test;
    struct evaluation e, first = { 0 };
    double nats[2][ROWS + 1];
    static const int64_t batches[] = { 16, 1, 7, ROWS, 1000 };
    rig_train(&t, rig_glow(8, 1, 2, 2, 6), glyphs);
    ck_assert_int_eq(trainer_initialise(&t.trainer, t.data), GLOW_OK);
    ck_assert_int_eq(data_open(&test, rig_registry(), t.model->config, "test", &t.model->input, 5),
                     GLOW_OK);
    for (size_t i = 0; i < GLOW_COUNT(batches); i++) {
        double *out = nats[i > 0], sum = 0;
        out[ROWS] = 123;
        ck_assert_int_eq(evaluate(t.model, test, batches[i], ROWS, false, 5, &e, out), GLOW_OK);
        ck_assert_int_eq(e.rows, ROWS);
        ck_assert(out[ROWS] == 123);
        for (int k = 0; k < ROWS; k++) {
            sum += out[k] / ROWS;
            ck_assert_double_eq_tol(out[k], nats[0][k], 1e-5 * fabs(nats[0][k]));
        }
        ck_assert_double_eq_tol(e.nats, sum, 1e-9 * fabs(sum));
        ck_assert_double_eq_tol(e.bits, -e.nats / (64 * log(2)), 1e-12);
        ck_assert_uint_ne(e.kinds & GLOW_BOUND, 0);
        if (i == 0) first = e;
    }
    ck_assert_int_eq(evaluate(t.model, test, 16, ROWS, false, 6, &e, NULL), GLOW_OK);
    ck_assert_double_ne(e.nats, first.nats); /* another seed, other noise */
    ck_assert_int_eq(evaluate(t.model, t.data, 16, 0, false, 6, &e, NULL), GLOW_EINVAL);
    rig_message("an endless dataset: say how many rows to evaluate");
    data_close(test);
    rig_train_end(&t);
}
END_TEST

int main(void)
{
    TCase *tests = rig_case("train");
    tcase_add_test(tests, optimizers);
    tcase_add_test(tests, moving_average);
    tcase_add_test(tests, rejected_steps);
    tcase_add_test(tests, exploding);
    tcase_add_test(tests, initialisation_fails);
    tcase_add_test(tests, falls_back);
    tcase_add_test(tests, nothing_to_train);
    tcase_add_test(tests, loss_falls);
    tcase_add_test(tests, initialisation);
    tcase_add_test(tests, evaluations);
    return rig_run(tests);
}

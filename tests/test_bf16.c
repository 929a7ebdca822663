/* test_bf16.c - models in bf16: what is promised of any precision holds for it too, and it is close
 * to single precision, but not the same. On the CPU, or on the backend that GLOW_BACKEND names. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include "rig.h"

enum { BATCH = 6, SIZE = 8 * 8 * 3, LATENTS = 3 };

static const struct backend *processor;

static void find_backend(void)
{
    ck_assert_msg(backend_default(&processor) == GLOW_OK, "%s", fail_message());
}

/* Widths that are no multiple of a pair, a vector or a block. */
static struct model *new_model(const struct backend *backend)
{
    struct model *m;
    const struct model_options o = { .backend = backend, .threads = 1, .real = DT_F32, .seed = 7 };
    ck_assert_msg(rig_try_model(&m, rig_glow(8, 3, LATENTS, 2, 19), &o) == GLOW_OK, "%s",
                  fail_message());
    rig_perturb(m, 0.05);
    return m;
}

static void write_bytes(const struct program *p, double *x)
{
    rig_uniform(6, 0, 256, x, BATCH * SIZE);
    for (int i = 0; i < BATCH * SIZE; i++) x[i] = (float)(floor(x[i]) / 255);
    rig_write(p, "x", x);
}

/* Couplings see the same numbers in both directions, and the rest is in single precision: bytes
 * come back exactly. */
START_TEST(encode_decode)
{
    double x[BATCH * SIZE], z[BATCH * SIZE], back[BATCH * SIZE];
    struct model *m = new_model(processor->bf16);
    struct program *encode = rig_program(m, PROGRAM_ENCODE, BATCH),
                   *decode = rig_program(m, PROGRAM_DECODE, BATCH);
    write_bytes(encode, x);
    rig_go(encode);
    ck_assert_int_eq(m->n_latents, LATENTS);
    for (int k = 0; k < LATENTS; k++) {
        char name[64];
        snprintf(name, sizeof name, "latent:%s", m->latents[k].name);
        rig_read(encode, name, z);
        rig_write(decode, name, z);
    }
    rig_go(decode);
    rig_read(decode, "x", back);
    for (int i = 0; i < BATCH * SIZE; i++)
        if (back[i] != x[i]) ck_abort_msg("element %d: %.9g came back as %.9g", i, x[i], back[i]);
    program_free(encode);
    program_free(decode);
    model_free(m);
}
END_TEST

/* Likelihoods and gradients lie as near to those of single precision as 8 bits of each number let
 * them, and do differ. */
START_TEST(close_to_single)
{
    const struct backend *const backends[2] = { processor, processor->bf16 };
    double x[BATCH * SIZE], loglik[2][BATCH], *gradients[2], dot[3] = { 0 };
    int64_t n = 0;
    for (int k = 0; k < 2; k++) {
        struct model *m = new_model(backends[k]);
        ck_assert_int_eq(model_training_arenas(m, 0, false), GLOW_OK);
        struct program *p = rig_program(m, PROGRAM_EVAL, BATCH);
        write_bytes(p, x);
        rig_go(p);
        rig_read(p, "loglik", loglik[k]);
        program_free(p);
        p = rig_program(m, PROGRAM_TRAIN, BATCH);
        write_bytes(p, x);
        rig_go(p);
        n = m->n_trained;
        gradients[k] = calloc((size_t)n, sizeof *gradients[k]);
        ck_assert_ptr_nonnull(gradients[k]);
        rig_gradients(m, gradients[k]);
        program_free(p);
        model_free(m);
    }
    for (int i = 0; i < BATCH; i++) {
        ck_assert_double_ne(loglik[0][i], loglik[1][i]);
        ck_assert_double_eq_tol(loglik[0][i], loglik[1][i], 2e-3 * fabs(loglik[0][i]));
    }
    for (int64_t i = 0; i < n; i++) {
        dot[0] += gradients[0][i] * gradients[0][i];
        dot[1] += gradients[0][i] * gradients[1][i];
        dot[2] += gradients[1][i] * gradients[1][i];
    }
    const double cosine = dot[1] / sqrt(dot[0] * dot[2]);
    ck_assert_msg(cosine > 0.9995 && cosine < 1 - 1e-9, "cosine of the gradients: 1 - %g",
                  1 - cosine);
    ck_assert_double_eq_tol(dot[0] / dot[2], 1, 0.01);
    free(gradients[0]);
    free(gradients[1]);
}
END_TEST

/* Training learns, with the same bits for any number of threads, and whether activations are kept
 * or computed again. */
START_TEST(loss_falls)
{
    static const struct {
        int threads;
        const char *memory;
    } ways[] = { { 1, "store" }, { 2, "store" }, { 3, "recompute" } };
    uint64_t hash[3];
    for (int k = 0; k < 3; k++) {
        char sections[300];
        struct rig_training t;
        struct train_report r;
        double early = 0, late = 0;
        snprintf(sections, sizeof sections,
                 "data: { dataset = \"glyphs\"; batch = 16; }; train: { threads = %d; memory = "
                 "\"%s\"; precision = \"bf16\"; seed = 5; optimizer: { lr = 2e-3; warmup = 10; }; "
                 "};",
                 ways[k].threads, ways[k].memory);
        rig_train_on(processor->bf16, &t, rig_glow(8, 1, 2, 2, 19), sections);
        ck_assert(t.settings.bf16);
        ck_assert_int_eq(t.settings.real, DT_F32);
        ck_assert_int_eq(trainer_initialise(&t.trainer, t.data), GLOW_OK);
        for (int i = 0; i < 60; i++) {
            ck_assert_int_eq(rig_step(&t, &r), GLOW_OK);
            ck_assert(r.accepted);
            if (i < 10) early += r.loss / 10;
            if (i >= 50) late += r.loss / 10;
        }
        ck_assert_msg(late < early - 0.3, "%.3f bits/dim at first, %.3f at last", early, late);
        hash[k] = rig_hash_params(t.model, t.model->weights);
        rig_train_end(&t);
    }
    ck_assert(hash[0] == hash[1]);
    ck_assert(hash[0] == hash[2]);
}
END_TEST

int main(void)
{
    TCase *tests = rig_case("bf16");
    tcase_add_checked_fixture(tests, find_backend, NULL);
    tcase_add_test(tests, encode_decode);
    tcase_add_test(tests, close_to_single);
    tcase_add_test(tests, loss_falls);
    return rig_run(tests);
}

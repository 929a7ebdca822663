/* test_model.c - from configuration text to a model: names and types of layers, latents and their
 * priors, parameters and where they lie, initial values, and what is refused. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "rig.h"

/* ---------------------------------------------------------------- layers */

START_TEST(names_and_types)
{
    static const struct {
        const char *path;
        int64_t in[3], out[3];
        bool coupling;
    } want[] = { { "quantize", { 3, 8, 8 }, { 3, 8, 8 }, false },
                 { "level.0.squeeze", { 3, 8, 8 }, { 12, 4, 4 }, false },
                 { "level.0.step.0.actnorm", { 12, 4, 4 }, { 12, 4, 4 }, false },
                 { "level.0.step.0.invconv", { 12, 4, 4 }, { 12, 4, 4 }, false },
                 { "level.0.step.0.affine", { 12, 4, 4 }, { 12, 4, 4 }, true },
                 { "level.0.factor_out", { 12, 4, 4 }, { 6, 4, 4 }, false },
                 { "last.squeeze", { 6, 4, 4 }, { 24, 2, 2 }, false },
                 { "last.step.0.actnorm", { 24, 2, 2 }, { 24, 2, 2 }, false } };
    struct model *m = rig_model(rig_glow(8, 3, 2, 1, 4), DT_F32);
    for (size_t i = 0; i < GLOW_COUNT(want); i++) {
        const struct layer *l = &m->layers[i];
        ck_assert_str_eq(l->self->path, want[i].path);
        ck_assert_mem_eq(l->in.dim, want[i].in, sizeof want[i].in);
        ck_assert_mem_eq(l->out.dim, want[i].out, sizeof want[i].out);
        ck_assert(l->coupling == want[i].coupling);
        ck_assert(l->in.batched && l->in.dtype == GLOW_REAL);
    }
    ck_assert_int_eq(m->n_layers, 11);
    ck_assert_ptr_null(m->layers[10].self); /* the end of the flow */
    ck_assert_int_eq(model_dimensions(m), 192);
    model_free(m);
}
END_TEST

/* Two of a kind in one chain get numbers; names of one's own, and chains in chains, stand in paths.
 */
START_TEST(names_of_ones_own)
{
    static const char *const want[] = { "actnorm",
                                        "actnorm_2",
                                        "mine",
                                        "permute",
                                        "mine_2",
                                        "outer.actnorm",
                                        "outer.inner.0.actnorm",
                                        "outer.inner.1.actnorm",
                                        "chain.actnorm",
                                        "chain_2.actnorm" };
    struct model *m =
        rig_model("input = [4]; flow = ( { layer = \"actnorm\"; }, { layer = \"actnorm\"; }, { "
                  "layer = \"actnorm\"; name = "
                  "\"mine\"; }, { layer = \"permute\"; }, { layer = \"permute\"; name = \"mine\"; "
                  "}, { name = \"outer\"; flow = ( { "
                  "layer = \"actnorm\"; }, { name = \"inner\"; repeat = 2; flow = ( { layer = "
                  "\"actnorm\"; } ); } ); }, { flow = ( { "
                  "layer = \"actnorm\"; } ); }, { flow = ( { layer = \"actnorm\"; } ); } );",
                  DT_F32);
    for (size_t i = 0; i < GLOW_COUNT(want); i++)
        ck_assert_str_eq(m->layers[i].self->path, want[i]);
    model_free(m);
}
END_TEST

START_TEST(refusals)
{
    static const struct {
        const char *members, *message;
    } cases[] = {
        { "", "the configuration has no model: { flow = ( ... ); }" },
        { "input = [4];", "the configuration has no model: { flow = ( ... ); }" },
        { "flow = ( );", "needs input = [height, width, channels] or [dimensions]" },
        { "input = [4]; flow = ( ); depth = 3;",
          "model.depth: unknown key in model; allowed are input, flow and prior" },
        { "input = [4, 4]; flow = ( );", "model.input: input must be [height, width, channels] for "
                                         "images or [dimensions] for rows" },
        { "input = [4, 0, 1]; flow = ( );",
          "model.input: input: element 2 must be a whole number from 1 to" },
        { "input = [4.5]; flow = ( );", "model.input: input: element 1 must be a whole number" },
        { "input = 4; flow = ( );", "model.input: input must be" },
        { "input = [4]; flow = { layer = \"actnorm\"; };", "flow must be a list" },
        { "input = [4]; flow = ( 5 );", "model.flow[0]: expected a group" },
        { "input = [4]; flow = ( { scale = 1; } );",
          "model.flow[0]: needs `layer` (a plug-in's id) or `flow`" },
        { "input = [4]; flow = ( { layer = 5; } );",
          "model.flow[0].layer: layer must be a string" },
        { "input = [4]; flow = ( { layer = \"acnorm\"; } );", "no layer \"acnorm\"; there are " },
        { "input = [4]; flow = ( { layer = \"openai\"; } );",
          "no layer \"openai\" (there is a net of that name)" },
        { "input = [4]; flow = ( { layer = \"actnorm\"; scael = 2.0; } );",
          "did you mean \"scale\"?" },
        { "input = [4]; flow = ( { layer = \"actnorm\"; name = \"a.b\"; } );",
          "model.flow[0].name: a name is made of letters, digits, _ and -" },
        { "input = [4]; flow = ( { flow = ( ); repeat = 0; } );",
          "model.flow[0].repeat: repeat must be a whole number from 1 to 10000" },
        { "input = [4]; flow = ( { flow = ( ); times = 2; } );",
          "model.flow[0].times: unknown key in a chain" },
        { "input = [4]; flow = ( { layer = \"squeeze\"; } );", "squeeze, input (N,4)" },
        { "input = [4, 4, 1]; flow = ( { layer = \"affine\"; } );",
          "affine splits the channels and needs at least 2, got 1" },
        { "input = [4]; flow = ( { layer = \"affine\"; } );",
          "affine.net: the net openai needs images (C,H,W), got 1 axes; rows take the net mlp" },
        { "input = [4]; flow = ( { layer = \"affine\"; net = \"\"; } );",
          "affine: no network in option \"net\"" },
        { "input = [4]; flow = ( ); prior = { y = \"abnormal\"; };", "no prior \"abnormal\"" },
        { "input = [4]; flow = ( ); prior = { y = { form = \"standard\"; }; };",
          "model.prior.y: a prior is a group { type = \"...\"; } or the id of a prior" },
        { "input = [4]; flow = ( ); prior = { y = { type = \"normal\"; form = \"odd\"; }; };",
          "model.prior.y.form: \"odd\" is not one of" }
    };
    for (size_t i = 0; i < GLOW_COUNT(cases); i++) {
        struct model *m = NULL;
        ck_assert_msg(rig_try_model(&m, cases[i].members,
                                    &(struct model_options){ .threads = 1 }) == GLOW_EINVAL,
                      "accepted: %s", cases[i].members);
        rig_message(cases[i].message);
    }
}
END_TEST

/* Chains may be nested, but not without end. */
START_TEST(deep_nesting)
{
    char text[2000] = "input = [4]; flow = ";
    struct model *m = NULL;
    for (int i = 0; i < 30; i++) strcat(text, "( { flow = ");
    strcat(text, "( )");
    for (int i = 0; i < 30; i++) strcat(text, "; } )");
    strcat(text, ";");
    ck_assert_int_eq(rig_try_model(&m, text, &(struct model_options){ .threads = 1 }), GLOW_EINVAL);
    rig_message("chains are nested more than 20 deep");
}
END_TEST

/* Without model.input the caller's type counts; with it, the configuration's. */
START_TEST(input_from_outside)
{
    struct model *m;
    struct model_options o = { .threads = 1, .input = glow_real_type(3, 2, 4, 6, 0) };
    ck_assert_int_eq(rig_try_model(&m, "flow = ( );", &o), GLOW_OK);
    ck_assert(m->input.dim[0] == 2 && m->input.dim[1] == 4 && m->input.dim[2] == 6 &&
              m->input.batched);
    model_free(m);
    ck_assert_int_eq(rig_try_model(&m, "input = [4, 6, 2]; flow = ( );",
                                   &(struct model_options){
                                       .threads = 1, .input = glow_real_type(1, 9, 0, 0, 0) }),
                     GLOW_OK);
    ck_assert(m->input.rank == 3 && m->input.dim[0] == 2 && m->input.dim[1] == 4 &&
              m->input.dim[2] == 6); /* H,W,C in text */
    model_free(m);
}
END_TEST

/* ---------------------------------------------------------------- latents */

START_TEST(latents)
{
    struct model *m = rig_model("input = [8, 8, 1]; flow = ( { layer = \"squeeze\"; }, { layer = "
                                "\"factor_out\"; }, { layer = \"factor_out\"; prior = "
                                "\"learned\"; name = \"second\"; } ); prior = { z = { type = "
                                "\"normal\"; form = \"diagonal\"; }; y = \"learned\"; };",
                                DT_F32);
    static const struct {
        const char *name, *group, *prior, *path;
        int64_t channels;
    } want[] = { { "factor_out.z", "z", "normal", "factor_out.z", 2 },
                 { "second.z", "z", "learned", "second.prior", 1 },
                 { "y", "y", "learned", "y", 1 } };
    ck_assert_int_eq(m->n_latents, 3);
    for (int i = 0; i < 3; i++) {
        const struct latent *l = &m->latents[i];
        ck_assert_str_eq(l->name, want[i].name);
        ck_assert_str_eq(l->group, want[i].group);
        ck_assert_str_eq(l->prior->info->desc->id, want[i].prior);
        ck_assert_str_eq(l->prior->path, want[i].path);
        ck_assert_int_eq(l->type.dim[0], want[i].channels);
        ck_assert(l->standardised);
    }
    rig_param(m, "factor_out.z.mean"); /* each latent has a prior of its own */
    rig_param(m, "second.prior.w");
    rig_param(m, "y.b");
    model_free(m);
}
END_TEST

/* sample.temperature: one number, or one per group. */
START_TEST(temperatures)
{
    static const struct {
        const char *text;
        double z, y;
    } cases[] = { { "", 1, 1 },
                  { "sample = { temperature = 0.7; };", 0.7, 0.7 },
                  { "sample = { temperature = 2; };", 2, 2 },
                  { "sample = { temperature = { z = 0.5; }; };", 0.5, 1 },
                  { "sample = { temperature = { y = 0; z = 0.25; }; };", 0.25, 0 } };
    for (size_t i = 0; i < GLOW_COUNT(cases); i++) {
        struct config *c;
        struct model *m;
        char text[300];
        snprintf(text, sizeof text,
                 "model: { input = [4]; flow = ( { layer = \"factor_out\"; } ); }; %s",
                 cases[i].text);
        ck_assert_int_eq(config_parse(&c, text, "test.cfg"), GLOW_OK);
        ck_assert_int_eq(model_new(&m, c, rig_registry(), &(struct model_options){ .threads = 1 }),
                         GLOW_OK);
        ck_assert_double_eq(model_temperature(m, &m->latents[0]), cases[i].z);
        ck_assert_double_eq(model_temperature(m, &m->latents[1]), cases[i].y);
        model_free(m);
    }
}
END_TEST

/* ---------------------------------------------------------------- parameters */

/* Arenas: weights with L2, then other trained ones, then frozen ones; each parameter begins at a
 * multiple of 16 elements, none overlap, and the gaps are zero. */
START_TEST(arenas)
{
    struct model *m = rig_model(rig_glow(8, 3, 2, 2, 5), DT_F32);
    char *taken = calloc((size_t)m->n_elements, 1);
    int64_t trained = 0;
    ck_assert_ptr_nonnull(taken);
    ck_assert_int_eq(m->section[0], 0);
    ck_assert_int_eq(m->section[3], m->n_elements);
    for (int i = 0; i < m->n_params; i++) {
        const struct param *p = &m->params[i];
        bool frozen = p->flags & GLOW_PARAM_FROZEN,
             l2 = !frozen && !strcmp(p->group, "weight") && !(p->flags & GLOW_PARAM_NO_L2);
        int s = frozen ? 2 : l2 ? 0 : 1;
        ck_assert_int_eq(p->offset % 16, 0);
        ck_assert(p->offset >= m->section[s] && p->offset + p->stored <= m->section[s + 1]);
        for (int64_t k = 0; k < p->count; k++) ck_assert_int_eq(taken[param_position(p, k)]++, 0);
        if (!frozen) trained += p->count;
        ck_assert_int_eq(model_find_param(m, p->name), i);
    }
    ck_assert_int_eq(m->n_trained, trained);
    for (int64_t k = 0; k < m->n_elements; k++)
        ck_assert(taken[k] || ((const float *)m->weights)[k] == 0);
    ck_assert_int_lt(model_find_param(m, "no.such.parameter"), 0);
    free(taken);
    model_free(m);
}
END_TEST

/* get and set are inverse to each other, for both types, and touch nothing else. */
START_TEST(access)
{
    for (int32_t real = DT_F32; real <= DT_F64; real++) {
        struct model *m =
            rig_model("input = [3]; flow = ( { layer = \"invconv\"; lu = false; } );", real);
        double w[9], got[9];
        for (int i = 0; i < 9; i++) w[i] = i + 0.25;
        rig_set(m, "invconv.weight", w);
        model_get(m, m->weights, rig_param(m, "invconv.weight"), got);
        ck_assert_mem_eq(w, got, sizeof w);
        model_free(m);
    }
}
END_TEST

static uint64_t hash_param(const struct model *m, const char *name)
{
    double x[4000];
    int i = rig_param(m, name);
    ck_assert_int_le(m->params[i].count, 4000);
    model_get(m, m->weights, i, x);
    return rig_hash(x, (size_t)m->params[i].count * sizeof *x);
}

/* Initial values are a function of the seed and the parameter's name: the same again, others with
 * another seed, and no different when layers are added before. */
START_TEST(initial_values)
{
    const char *one = "input = [6, 6, 4]; flow = ( { layer = \"invconv\"; }, { layer = \"affine\"; "
                      "net = { type = \"openai\"; width = 8; }; } );";
    const char *more = "input = [6, 6, 4]; flow = ( { layer = \"actnorm\"; }, { layer = "
                       "\"invconv\"; name = \"other\"; }, { layer = \"invconv\"; }, { "
                       "layer = \"affine\"; net = { type = \"openai\"; width = 8; }; } );";
    static const char *const names[] = { "affine.net.w1", "affine.net.w2", "invconv.lu" };
    struct model *a = rig_model(one, DT_F32), *b = rig_model(one, DT_F32),
                 *c = rig_model(more, DT_F32), *d;
    ck_assert_int_eq(rig_try_model(&d, one, &(struct model_options){ .threads = 1, .seed = 8 }),
                     GLOW_OK);
    ck_assert(rig_hash_params(a, a->weights) == rig_hash_params(b, b->weights));
    for (size_t i = 0; i < GLOW_COUNT(names); i++) {
        ck_assert(hash_param(a, names[i]) == hash_param(c, names[i]));
        ck_assert(hash_param(a, names[i]) != hash_param(d, names[i]));
    }
    ck_assert(hash_param(c, "other.lu") != hash_param(c, "invconv.lu"));
    ck_assert(hash_param(a, "affine.net.w1") != hash_param(a, "affine.net.w2"));
    /* the normal numbers have the deviation that was asked for */
    double w[4000], squares = 0;
    int i = rig_param(a, "affine.net.w1");
    model_get(a, a->weights, i, w);
    for (int64_t k = 0; k < a->params[i].count; k++) squares += w[k] * w[k];
    ck_assert_double_eq_tol(sqrt(squares / (double)a->params[i].count), 0.05, 0.01);
    model_free(a), model_free(b), model_free(c), model_free(d);
}
END_TEST

/* ---------------------------------------------------------------- what checkpoints hold */

START_TEST(instances)
{
    struct model *m = rig_model("input = [4, 4, 2]; flow = ( { layer = \"affine\"; scale = "
                                "\"exp\"; net = { type = \"openai\"; width = 4; }; } );",
                                DT_F32);
    json_t *all = model_instances(m);
    json_t *affine = json_object_get(all, "affine"), *net = json_object_get(all, "affine.net"),
           *y = json_object_get(all, "y");
    ck_assert_int_eq((int)json_object_size(all), 3);
    ck_assert_str_eq(json_string_value(json_object_get(affine, "kind")), "layer");
    ck_assert_str_eq(json_string_value(json_object_get(affine, "id")), "affine");
    ck_assert_str_eq(
        json_string_value(json_object_get(json_object_get(affine, "options"), "scale")), "exp");
    ck_assert_str_eq(
        json_string_value(json_object_get(json_object_get(affine, "options"), "pairs")),
        "interleaved"); /* a default */
    ck_assert_int_eq(
        (int)json_integer_value(json_object_get(json_object_get(net, "options"), "width")), 4);
    ck_assert_str_eq(json_string_value(json_object_get(y, "kind")), "prior");
    json_decref(all);
    model_free(m);
}
END_TEST

/* Gradients and moments are allocated once, and the average begins as a copy of the weights. */
START_TEST(training_arenas)
{
    struct model *m = rig_model("input = [3]; flow = ( { layer = \"invconv\"; } );", DT_F32);
    ck_assert(!m->gradients && !m->moment1 && !m->average);
    ck_assert_int_eq(model_training_arenas(m, 1, true), GLOW_OK);
    ck_assert(m->gradients && m->moment1 && !m->moment2 && m->average);
    ck_assert(rig_hash_params(m, m->average) == rig_hash_params(m, m->weights));
    void *average = m->average;
    rig_perturb(m, 1);
    ck_assert_int_eq(model_training_arenas(m, 2, true), GLOW_OK);
    ck_assert(m->moment2 && m->average == average);
    ck_assert(rig_hash_params(m, m->average) != rig_hash_params(m, m->weights));
    model_free(m);
}
END_TEST

int main(void)
{
    TCase *tests = rig_case("model");
    tcase_add_test(tests, names_and_types);
    tcase_add_test(tests, names_of_ones_own);
    tcase_add_test(tests, refusals);
    tcase_add_test(tests, deep_nesting);
    tcase_add_test(tests, input_from_outside);
    tcase_add_test(tests, latents);
    tcase_add_test(tests, temperatures);
    tcase_add_test(tests, arenas);
    tcase_add_test(tests, access);
    tcase_add_test(tests, initial_values);
    tcase_add_test(tests, instances);
    tcase_add_test(tests, training_arenas);
    return rig_run(tests);
}

/* test_settings.c - the sections train and sample of glow.cfg: learning rates against their
 * formulas, and what is refused. */
#include <math.h>
#include <string.h>
#include "rig.h"

static glow_status read_text(struct settings *s, const char *text)
{
    struct config *c;
    ck_assert_msg(config_parse(&c, text, "test.cfg") == GLOW_OK, "%s", fail_message());
    glow_status status = settings_read(s, c);
    config_free(c);
    return status;
}

static void read_optimizer(struct settings *s, const char *optimizer)
{
    char text[400];
    snprintf(text, sizeof text, "train: { steps = 50; optimizer: { lr = 0.5; %s }; };", optimizer);
    ck_assert_msg(read_text(s, text) == GLOW_OK, "%s", fail_message());
}

#define CHECK_RATES(formula)                                                                       \
    for (int t = 1; t <= 60; t++) {                                                                \
        double want = formula, have = settings_learning_rate(&s, (uint64_t)t);                     \
        ck_assert_msg(fabs(want - have) <= 1e-14, "update %d: %.15g, not %.15g", t, have, want);   \
    }                                                                                              \
    settings_free(&s)

/* Updates count from 1, steps from 0: update t is step t - 1. */
START_TEST(learning_rates)
{
    struct settings s;
    read_optimizer(&s, "");
    CHECK_RATES(0.5);
    read_optimizer(&s, "warmup = 10;");
    CHECK_RATES(t < 10 ? 0.05 * t : 0.5);
    read_optimizer(&s, "schedule = \"steps\"; boundaries = [20, 40]; factors = [0.1, 0.01];");
    CHECK_RATES(t - 1 < 20 ? 0.5 : t - 1 < 40 ? 0.05 : 0.005);
    read_optimizer(&s, "schedule = \"inverse_time\"; decay_steps = 7; decay_rate = 0.3;");
    CHECK_RATES(0.5 / (1 + 0.3 * ((t - 1) / 7)));
    read_optimizer(&s, "schedule = \"cosine\"; decay_steps = 30; final_lr = 0.1;");
    CHECK_RATES(t - 1 < 30 ? 0.1 + 0.2 * (1 + cos(M_PI * (t - 1) / 30)) : 0.1);
    read_optimizer(&s, "schedule = \"cosine\";"); /* decay_steps = train.steps */
    CHECK_RATES(t - 1 < 50 ? 0.25 * (1 + cos(M_PI * (t - 1) / 50)) : 0);
    read_optimizer(&s, "schedule = \"inverse_time\"; decay_steps = 7; warmup = 4;");
    CHECK_RATES((t < 4 ? t / 4.0 : 1) * 0.5 / (1 + 0.5 * ((t - 1) / 7)));
}
END_TEST

START_TEST(defaults)
{
    struct settings s;
    ck_assert_int_eq(read_text(&s, "data: { batch = 17; };"), GLOW_OK);
    ck_assert_int_eq(s.steps, 10000);
    ck_assert_int_eq(s.batch, 17);
    ck_assert_int_eq(s.optimizer, OPTIM_ADAM);
    ck_assert_int_eq(s.real, DT_F32);
    ck_assert_int_eq(s.memory, MEMORY_AUTO);
    ck_assert_int_eq(s.memory_budget, 512000000);
    ck_assert(s.eval_average);
    ck_assert_double_eq(s.lr, 1e-3);
    settings_free(&s);
    ck_assert_int_eq(
        read_text(
            &s,
            "train: { precision = \"fp64\"; memory = \"invert\"; memory_budget = 0.5; optimizer: { "
            "type = \"sgd\"; }; }; sample: { average = false; n = 9; };"),
        GLOW_OK);
    ck_assert_int_eq(s.batch, 64);
    ck_assert_int_eq(s.optimizer, OPTIM_SGD);
    ck_assert_int_eq(s.real, DT_F64);
    ck_assert_int_eq(s.memory, MEMORY_INVERT);
    ck_assert_int_eq(s.memory_budget, 500000);
    ck_assert(!s.eval_average);
    ck_assert_int_eq(s.sample_n, 9);
    settings_free(&s);
}
END_TEST

START_TEST(refusals)
{
    static const struct {
        const char *text, *message;
    } cases[] = {
        { "evaluation: { };",
          "test.cfg:1: evaluation: unknown section; there are model, data, train, sample" },
        { "train = 5;", "test.cfg:1: train: expected a group" },
        { "train: {\n stops = 3; };", "test.cfg:2: train.stops: " },
        { "train: { optimizer = \"adam\"; };", "train.optimizer: expected a group" },
        { "train: { optimizer: { type = \"lion\"; }; };",
          "train.optimizer.type: \"lion\" is not one of" },
        { "train: { optimizer: { beta1 = 1.0; }; };", "train.optimizer.beta1: 1 is outside [0,1)" },
        { "train: { optimizer: { boundaries = [1, 2]; factors = [0.1]; }; };",
          "2 boundaries but 1 factors" },
        { "train: { optimizer: { schedule = \"steps\"; }; };", "needs boundaries and factors" },
        { "train: { optimizer: { schedule = \"steps\"; boundaries = [5, 5]; factors = [1, 1]; }; "
          "};",
          "boundaries must rise" },
        { "data: { batch = 0; };", "data.batch: batch must be a whole number from 1 to 1000000" },
        { "data: { batch = \"many\"; };", "data.batch: batch must be a whole number" },
        { "sample: { temperature = -1; };",
          "sample.temperature: a temperature is a number, 0 or more" },
        { "sample: { temperature = { y = \"hot\"; }; };",
          "sample.temperature.y: a temperature is a number" }
    };
    for (size_t i = 0; i < GLOW_COUNT(cases); i++) {
        struct settings s;
        ck_assert_msg(read_text(&s, cases[i].text) == GLOW_EINVAL, "%s", cases[i].text);
        rig_message(cases[i].message);
    }
}
END_TEST

/* Each section has a manual, and every key of it a value. */
START_TEST(sections)
{
    static const char *const names[] = { "train", "optimizer", "sample", "data" };
    for (size_t i = 0; i < GLOW_COUNT(names); i++) {
        const struct glow_desc *d = settings_section(names[i]);
        ck_assert_ptr_nonnull(d);
        ck_assert_str_eq(d->id, names[i]);
        ck_assert_int_eq(options_check_records(d), GLOW_OK);
    }
    ck_assert_ptr_null(settings_section("nothing"));
}
END_TEST

int main(void)
{
    TCase *tests = rig_case("settings");
    tcase_add_test(tests, learning_rates);
    tcase_add_test(tests, defaults);
    tcase_add_test(tests, refusals);
    tcase_add_test(tests, sections);
    return rig_run(tests);
}

/* test_options.c - option records against glow.cfg and JSON: every type, every refusal, the manual,
 * and the check of the records themselves. */
#include <check.h>
#undef fail /* a macro of check.h; status.h has a function */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "options.h"

static const struct glow_option records[] = {
    { .key = "bits",
      .help = "bits per channel",
      .unit = "bits",
      .dflt = "8",
      .range = "[1,8]",
      .type = GLOW_OPT_INT },
    { .key = "rate",
      .help = "learning rate",
      .dflt = "1e-3",
      .range = "(0,inf)",
      .type = GLOW_OPT_REAL,
      .aliases = "lr|eta" },
    { .key = "lu", .help = "LU form", .dflt = "true", .type = GLOW_OPT_BOOL },
    { .key = "name", .help = "a name", .dflt = "", .type = GLOW_OPT_STRING },
    { .key = "scale",
      .help = "form of the scale",
      .dflt = "exp",
      .range = "exp|sigmoid",
      .type = GLOW_OPT_ENUM },
    { .key = "path", .help = "where it is", .dflt = "", .type = GLOW_OPT_PATH },
    { .key = "widths",
      .help = "of the layers",
      .dflt = "[64, 64]",
      .range = "#[1,3] [1,100]",
      .type = GLOW_OPT_INTS },
    { .key = "knots", .help = "positions", .dflt = "[]", .range = "[0,1)", .type = GLOW_OPT_REALS },
    { .key = "tags", .help = "words", .dflt = "[\"a\", \"b\"]", .type = GLOW_OPT_STRINGS },
    { .key = "net",
      .help = "the network",
      .dflt = "openai",
      .type = GLOW_OPT_CHILD,
      .slot_kind = GLOW_NET },
    { .key = "old",
      .help = "an old key",
      .dflt = "1",
      .type = GLOW_OPT_INT,
      .deprecated = "use bits" },
    { .key = "fresh",
      .help = "since schema 2",
      .dflt = "5",
      .legacy = "3",
      .since = 2,
      .type = GLOW_OPT_INT },
    { .key = "must", .help = "no default", .type = GLOW_OPT_REAL },
};
static const struct glow_desc desc = { .size = sizeof desc,
                                       .kind = GLOW_LAYER,
                                       .schema = 2,
                                       .id = "sample",
                                       .summary = "a sample",
                                       .options = records,
                                       .n_options = GLOW_COUNT(records),
                                       .option_size = sizeof records[0] };
static const char *const also[] = { "layer", NULL };

static struct config *config;

/* Resolves the group `o` of a text; a required key is added unless the text says "none". */
static glow_status resolve(struct options **out, const char *members)
{
    char text[2000];
    snprintf(text, sizeof text, "o = {\n layer = \"sample\"; %s\n %s };",
             strstr(members, "nomust") ? "" : "must = 1.5;",
             strstr(members, "nomust") ? "" : members);
    config_free(config);
    ck_assert_msg(config_parse(&config, text, "t.cfg") == GLOW_OK, "%s", fail_message());
    return options_resolve(out, &desc, config_find(config, "o"), also, "owner");
}

static void ck_message(glow_status status, const char *part)
{
    ck_assert_int_eq(status, GLOW_EINVAL);
    ck_assert_msg(strstr(fail_message(), part) != NULL, "\"%s\" lacks \"%s\"", fail_message(),
                  part);
}

static void ck_refused(const char *members, const char *part)
{
    struct options *o;
    ck_message(resolve(&o, members), part);
    ck_assert_ptr_null(o);
}

static struct options *accepted(const char *members)
{
    struct options *o;
    ck_assert_msg(resolve(&o, members) == GLOW_OK, "%s", fail_message());
    return o;
}

static void release(struct options *o)
{
    options_free(o);
    config_free(config);
    config = NULL;
}

START_TEST(defaults)
{
    bool found = false;
    struct options *o = accepted("");
    ck_assert_int_eq(options_int(o, "bits", &found), 8);
    ck_assert(found);
    ck_assert_double_eq(options_real(o, "bits", NULL), 8.0);
    ck_assert_double_eq(options_real(o, "rate", NULL), 1e-3);
    ck_assert_int_eq(options_int(o, "lu", NULL), 1);
    ck_assert_str_eq(options_string(o, "name", NULL), "");
    ck_assert_str_eq(options_string(o, "scale", NULL), "exp");
    ck_assert_int_eq(options_count(o, "widths", NULL), 2);
    ck_assert_double_eq(options_real_at(o, "widths", 1, NULL), 64.0);
    ck_assert_double_eq(options_real_at(o, "widths", 2, NULL), 0.0);
    ck_assert_int_eq(options_count(o, "knots", NULL), 0);
    ck_assert_str_eq(options_string_at(o, "tags", 1, NULL), "b");
    ck_assert_str_eq(options_string_at(o, "tags", -1, NULL), "");
    ck_assert_str_eq(options_string(o, "net", NULL), "openai");
    ck_assert_ptr_null(options_child(o, "net"));
    ck_assert_int_eq(options_int(o, "fresh", NULL), 5);
    ck_assert(options_given(o, "must") && !options_given(o, "bits"));
    ck_assert_ptr_null(options_node(o, "bits"));
    ck_assert_double_eq(options_real(o, "none", &found), 0.0);
    ck_assert(!found);
    ck_assert_str_eq(options_string(o, "bits", &found), ""); /* another type */
    ck_assert(!found);
    ck_assert_double_eq(options_real_at(o, "tags", 0, &found), 0.0);
    ck_assert(!found);
    release(o);
}
END_TEST

START_TEST(given_values)
{
    struct options *o =
        accepted("bits = 2.0; lr = 1; lu = false; name = \"x\"; scale = \"sigmoid\";"
                 "widths = (3, 4.0, 5); knots = 0.5; tags = [\"q\"];"
                 "net = { type = \"mlp\"; widths = [1]; };");
    ck_assert_int_eq(options_int(o, "bits", NULL), 2);
    ck_assert_double_eq(options_real(o, "rate", NULL), 1.0);
    ck_assert_int_eq(options_int(o, "lu", NULL), 0);
    ck_assert_str_eq(options_string(o, "scale", NULL), "sigmoid");
    ck_assert_int_eq(options_count(o, "widths", NULL), 3);
    ck_assert_double_eq(options_real_at(o, "widths", 2, NULL), 5.0);
    ck_assert_int_eq(options_count(o, "knots", NULL), 1);
    ck_assert_double_eq(options_real_at(o, "knots", 0, NULL), 0.5);
    ck_assert_int_eq(options_count(o, "tags", NULL), 1);
    ck_assert_str_eq(options_string(o, "net", NULL), "mlp");
    ck_assert_int_eq(config_kind(options_child(o, "net")), CONFIG_GROUP);
    ck_assert(options_given(o, "rate"));
    ck_assert_str_eq(config_key(options_node(o, "rate")), "lr");
    release(o);
    o = accepted("net = \"resnet\";");
    ck_assert_str_eq(options_string(o, "net", NULL), "resnet");
    ck_assert_int_eq(config_kind(options_child(o, "net")), CONFIG_STRING);
    release(o);
}
END_TEST

START_TEST(refusals)
{
    ck_refused("bits = 9;", "t.cfg:3: o.bits: 9 is outside [1,8] (sample: bits per channel)");
    ck_refused("bits = 0;", "0 is outside [1,8]");
    ck_refused("bits = 2.5;", "expected an integer, found 2.5");
    ck_refused("bits = \"2\";", "expected an integer, found \"2\"");
    ck_refused("bits = true;", "expected an integer, found true");
    ck_refused("bits = 1.0e300;", "expected an integer");
    ck_refused("rate = 0;", "0 is outside (0,inf)");
    ck_refused("rate = 1e999;", "expected a finite number");
    ck_refused("rate = [1.0];", "expected a number, found a list of 1");
    ck_refused("rate = { };", "expected a number, found a group");
    ck_refused("lu = 1;", "expected true or false, found 1");
    ck_refused("name = 1;", "expected a string, found 1");
    ck_refused("scale = \"tanh\";", "\"tanh\" is not one of \"exp\", \"sigmoid\"");
    ck_refused("scale = \"ex\";", "\"ex\" is not one of");
    ck_refused("name = \"\xff\";", "o.name: expected UTF-8 text");
    ck_refused("tags = (\"\xff\");", "o.tags: element 0: expected UTF-8 text");
    ck_refused("path = 5;", "expected a string");
    ck_refused("widths = [1, 2, 3, 4];", "4 elements; the length is outside #[1,3]");
    ck_refused("widths = [];", "0 elements");
    ck_refused("widths = [1, 101];", "element 1: 101 is outside");
    ck_refused("widths = [1.5];", "element 0: expected an integer, found 1.5");
    ck_refused("knots = [0.5, 1.0];", "element 1: 1 is outside [0,1)");
    ck_refused("tags = (\"a\", 1);", "element 1: expected a string, found 1");
    ck_refused("tags = { };", "expected a list of strings");
    ck_refused("net = { width = 5; };", "the group needs type = ");
    ck_refused("net = 5;", "expected the name of a plug-in or a group");
    ck_refused("bitz = 5;", "o.bitz: sample has no such key; did you mean \"bits\"?");
    ck_refused("bitz = 5;", "its keys are: bits, rate, lu, name");
    ck_refused("qwertyuiop = 5;", "o.qwertyuiop: sample has no such key; its keys are: bits");
    ck_refused("lr = 1; eta = 2;", "the same option of sample as \"lr\"");
    ck_refused("rate = 1; lr = 2;", "the same option of sample as \"rate\"");
    ck_refused("nomust", "t.cfg:1: o: sample needs \"must\" (no default)");
    struct options *o;
    ck_message(options_resolve(&o, &desc, NULL, NULL, "level.0.x"),
               "level.0.x: sample needs \"must\"");
    ck_assert_int_eq(config_set(config, "o.layers=1"), GLOW_OK);
    config_set(config, "o.must=1");
    ck_message(options_resolve(&o, &desc, config_find(config, "o"), also, "x"),
               "override o.layers=1: o.layers: sample has no such key; did you mean \"layer\"?");
    ck_message(options_resolve(&o, &desc, config_find(config, "o.must"), also, "x"),
               "expected a group { }");
    release(NULL);
}
END_TEST

/* Paths of a file start at the file, those of overrides at the working directory. */
START_TEST(path_options)
{
    char dir[] = "/tmp/glow-test-XXXXXX", file[100], expected[100];
    struct options *o;
    ck_assert_ptr_nonnull(mkdtemp(dir));
    snprintf(file, sizeof file, "%s/a.cfg", dir);
    FILE *f = fopen(file, "w");
    fputs("r = { must = 1; path = \"d/x\"; }; a = { must = 1; path = \"/d/x\"; };"
          "h = { must = 1; path = \"~/x\"; }; e = { must = 1; path = \"\"; };",
          f);
    fclose(f);
    ck_assert_int_eq(config_load(&config, file), GLOW_OK);
    setenv("HOME", "/home/someone", 1);
    snprintf(expected, sizeof expected, "%s/d/x", dir);
    const char *const keys[] = { "r", "a", "h", "e" };
    const char *const paths[] = { expected, "/d/x", "/home/someone/x", "" };
    for (int i = 0; i < 4; i++) {
        ck_assert_int_eq(options_resolve(&o, &desc, config_find(config, keys[i]), NULL, "x"),
                         GLOW_OK);
        ck_assert_str_eq(options_string(o, "path", NULL), paths[i]);
        options_free(o);
    }
    config_set(config, "r.path=here/x");
    ck_assert_int_eq(options_resolve(&o, &desc, config_find(config, "r"), NULL, "x"), GLOW_OK);
    ck_assert_str_eq(options_string(o, "path", NULL), "here/x");
    options_free(o);
    unsetenv("HOME");
    ck_message(options_resolve(&o, &desc, config_find(config, "h"), NULL, "x"), "HOME");
    remove(file);
    rmdir(dir);
    release(NULL);
}
END_TEST

START_TEST(json)
{
    struct options *o = accepted("bits = 3; knots = [0.25]; net = { type = \"mlp\"; };"), *again;
    json_t *values = options_json(o);
    char *text = json_dumps(values, JSON_SORT_KEYS | JSON_COMPACT);
    ck_assert_str_eq(
        text, "{\"bits\":3,\"fresh\":5,\"knots\":[0.25],\"lu\":true,\"must\":1.5,\"name\":\"\","
              "\"net\":\"mlp\",\"old\":1,\"path\":\"\",\"rate\":0.001,\"scale\":\"exp\","
              "\"tags\":[\"a\",\"b\"],\"widths\":[64,64]}");
    ck_assert_int_eq(options_from_json(&again, &desc, values, 2, "x"), GLOW_OK);
    json_t *twice = options_json(again);
    ck_assert(json_equal(values, twice));
    json_decref(twice);
    options_free(again);

    json_object_del(values, "fresh"); /* as schema 1 wrote it */
    ck_assert_int_eq(options_from_json(&again, &desc, values, 1, "x"), GLOW_OK);
    ck_assert_int_eq(options_int(again, "fresh", NULL), 3);
    ck_assert(options_given(again, "bits") && !options_given(again, "fresh"));
    options_free(again);
    ck_assert_int_eq(options_from_json(&again, &desc, values, 2, "x"), GLOW_OK);
    ck_assert_int_eq(options_int(again, "fresh", NULL), 5);
    options_free(again);

    json_object_set_new(values, "bits", json_integer(99));
    ck_message(options_from_json(&again, &desc, values, 2, "x"),
               "x: \"bits\" of the checkpoint: 99 is outside");
    json_object_set_new(values, "bits", json_null());
    ck_message(options_from_json(&again, &desc, values, 2, "x"), "expected a number");
    json_object_set_new(values, "bits", json_integer(1));
    json_object_set_new(values, "later", json_integer(1));
    ck_message(options_from_json(&again, &desc, values, 3, "x"), "(schema 3) has \"later\"");
    json_object_del(values, "later");
    json_object_del(values, "must");
    ck_message(options_from_json(&again, &desc, values, 2, "x"), "x: sample needs \"must\"");
    ck_message(options_from_json(&again, &desc, json_object_get(values, "tags"), 2, "x"),
               "no JSON object");
    json_decref(values);
    free(text);
    release(o);
}
END_TEST

START_TEST(manual)
{
    char *text = NULL;
    size_t n;
    FILE *f = open_memstream(&text, &n);
    options_manual(f, &desc);
    fclose(f);
    static const char *const parts[] = {
        "sample - a sample\n",
        "  bits = 8  integer in [1,8], bits\n      bits per channel\n",
        "older names: lr, eta\n",
        "  scale = exp  exp|sigmoid\n",
        "  must  (required)  real\n",
        "deprecated: use bits\n",
        "  net = openai  net\n",
        "  name = \"\"  string\n",
        "  widths = [64, 64]  list of integers, length in [1,3], elements in [1,100]\n",
    };
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        ck_assert_msg(strstr(text, parts[i]) != NULL, "\"%s\" lacks \"%s\"", text, parts[i]);
    free(text);
}
END_TEST

/* One record, valid but for what the case changes. */
static void ck_record(struct glow_option record, const char *part)
{
    struct glow_option two[] = {
        { .key = "fine", .help = "fine", .type = GLOW_OPT_BOOL, .aliases = "good" }, record
    };
    struct glow_desc d = desc;
    d.options = two;
    d.n_options = 2;
    if (part)
        ck_message(options_check_records(&d), part);
    else
        ck_assert_msg(options_check_records(&d) == GLOW_OK, "%s", fail_message());
}

START_TEST(check_records)
{
    ck_assert_msg(options_check_records(&desc) == GLOW_OK, "%s", fail_message());
    struct glow_option ok = {
        .key = "k", .help = "h", .dflt = "1", .range = "[0,2]", .type = GLOW_OPT_INT
    };
    ck_record(ok, NULL);
#define CK(field_, value_, part_)                                                                  \
    do {                                                                                           \
        struct glow_option changed = ok;                                                           \
        changed.field_ = value_;                                                                   \
        ck_record(changed, part_);                                                                 \
    } while (0)
    CK(key, NULL, "sample: option record 1: key: NULL");
    CK(key, "a b", "option \"a b\": key: letters");
    CK(key, "", "key: letters");
    CK(key, "layer", "the host uses this key");
    CK(key, "fine", "stands in two records");
    CK(key, "good", "a name stands twice");
    CK(help, NULL, "option \"k\": help: NULL");
    CK(type, 99, "option \"k\": type: unknown option type 99");
    CK(type, 0, "unknown option type 0");
    CK(dflt, "3", "option \"k\": dflt: 3 is outside [0,2]");
    CK(dflt, "x", "option \"k\": dflt: x is no configuration text");
    CK(dflt, "1.5", "dflt: expected an integer");
    CK(legacy, "7", "option \"k\": legacy: 7 is outside");
    CK(range, "[2,0]", "option \"k\": range: ");
    CK(range, "1..5", "range: ");
    CK(range, "[0,2] x", "range: ");
    CK(range, "#[0,2]", "what is no list");
    CK(range, "[nan,2]", "range: ");
    CK(aliases, "fine", "stands in two records");
    CK(aliases, "good", "aliases: a name stands twice");
    CK(aliases, "k", "key: stands in two records");
    CK(aliases, "|x", "aliases: not");
    CK(since, 3, "since: newer than");
    CK(type, GLOW_OPT_BOOL, "range: has no meaning");
    ok = (struct glow_option){
        .key = "k", .help = "h", .dflt = "a", .range = "a|b", .type = GLOW_OPT_ENUM
    };
    ck_record(ok, NULL);
    CK(dflt, "c", "dflt: \"c\" is not one of");
    CK(range, NULL, "an ENUM needs");
    ok = (struct glow_option){
        .key = "k", .help = "h", .type = GLOW_OPT_CHILD, .slot_kind = GLOW_PRIOR
    };
    ck_record(ok, NULL);
    CK(slot_kind, GLOW_DATASET, "slot_kind");
    struct glow_desc d = desc;
    d.options = NULL;
    ck_message(options_check_records(&d), "options: NULL");
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("options");
    TCase *tests = tcase_create("options");
    note_level = 2; /* deprecations are noted */
    tcase_add_test(tests, defaults);
    tcase_add_test(tests, given_values);
    tcase_add_test(tests, refusals);
    tcase_add_test(tests, path_options);
    tcase_add_test(tests, json);
    tcase_add_test(tests, manual);
    tcase_add_test(tests, check_records);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}

/* test_config.c - reading glow.cfg: kinds, positions, includes, overrides, round trips, errors. */
#include <check.h>
#undef fail /* a macro of check.h; status.h has a function */
#include <stdlib.h>
#include "config.h"
#include "scratch.h"

static struct config *parse(const char *text)
{
    struct config *c;
    ck_assert_msg(config_parse(&c, text, "test.cfg") == GLOW_OK, "%s", fail_message());
    return c;
}

static void ck_refused(glow_status status, const char *part)
{
    ck_assert_int_eq(status, GLOW_EINVAL);
    ck_assert_msg(strstr(fail_message(), part) != NULL, "\"%s\" lacks \"%s\"", fail_message(),
                  part);
}

START_TEST(kinds_and_values)
{
    struct config *c =
        parse("a = 5; b = 1e-3; c = true; d = \"x\\\"y\\\\\\n\"; e = [1, 2]; f = (1, \"s\");"
              "g = { h = -2; }; big = 5000000000; hex = 0x7FFFFFFFF;");
    const struct config_node *root = config_root(c);
    ck_assert_int_eq(config_count(root), 9);
    ck_assert_int_eq(config_kind(root), CONFIG_GROUP);
    ck_assert_int_eq(config_int(config_find(c, "a")), 5);
    ck_assert_double_eq(config_real(config_find(c, "a")), 5.0);
    ck_assert_int_eq(config_kind(config_find(c, "b")), CONFIG_REAL);
    ck_assert_double_eq(config_real(config_find(c, "b")), 1e-3);
    ck_assert_int_eq(config_kind(config_find(c, "c")), CONFIG_BOOL);
    ck_assert_int_eq(config_int(config_find(c, "c")), 1);
    ck_assert_str_eq(config_string(config_find(c, "d")), "x\"y\\\n");
    ck_assert_int_eq(config_kind(config_find(c, "e")), CONFIG_ARRAY);
    ck_assert_int_eq(config_kind(config_find(c, "f")), CONFIG_LIST);
    ck_assert_str_eq(config_string(config_find(c, "f.[1]")), "s");
    ck_assert_str_eq(config_string(config_find(c, "f[1]")), "s");
    ck_assert_int_eq(config_int(config_find(c, "g.h")), -2);
    ck_assert_str_eq(config_key(config_find(c, "g.h")), "h");
    ck_assert_ptr_null(config_key(config_at(config_find(c, "e"), 0)));
    ck_assert(config_int(config_find(c, "big")) == 5000000000);
    ck_assert(config_int(config_find(c, "hex")) == 0x7FFFFFFFF);
    ck_assert_ptr_null(config_find(c, "g.none"));
    ck_assert_ptr_null(config_find(c, "a.b"));
    ck_assert_ptr_null(config_find(c, "e[2]"));
    ck_assert_ptr_null(config_find(c, ".."));
    ck_assert_ptr_null(config_string(config_find(c, "a")));
    ck_assert(config_of(config_find(c, "g.h")) == c);
    config_free(c);
}
END_TEST

/* Every double survives text, and reading the text again gives the same text. */
START_TEST(text_round_trip)
{
    static const double numbers[] = { 0.1,       1e-5,      1e-10, -2.5e-300,
                                      5.0,       1.0 / 3.0, 1e300, 123456789.123456789,
                                      0x1p-1074, -0.0,      1e22 };
    char text[2000] =
        "s = \"tab\\t quote\\\" back\\\\ \\x01 \xc3\xbc\"; n = -9223372036854775808; "
        "flow = ({ layer = \"a\"; }, { repeat = 2; flow = (); }); e = []; g = {};\nnumbers = [";
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        snprintf(text + strlen(text), 40, "%s%.17e", i ? ", " : "", numbers[i]);
    strcat(text, "];");
    struct config *first = parse(text);
    char *written = config_text(first);
    struct config *second = parse(written);
    char *again = config_text(second);
    ck_assert_str_eq(written, again);
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        const struct config_node *n = config_at(config_find(second, "numbers"), (int)i);
        ck_assert_int_eq(config_kind(n), CONFIG_REAL);
        ck_assert_msg(config_real(n) == numbers[i], "%.17g became %.17g", numbers[i],
                      config_real(n));
    }
    ck_assert_str_eq(config_string(config_find(second, "s")), "tab\t quote\" back\\ \x01 \xc3\xbc");
    ck_assert(config_int(config_find(second, "n")) == INT64_MIN);
    ck_assert_int_eq(config_kind(config_find(second, "e")), CONFIG_ARRAY);
    free(written);
    free(again);
    config_free(first);
    config_free(second);
}
END_TEST

START_TEST(value_text)
{
    char buf[64], small[8];
    struct config *c = parse("a = 0.5; b = \"openai\"; n = { type = \"x\"; w = [1, 2]; };");
    ck_assert_str_eq(config_value_text(config_find(c, "a"), buf, sizeof buf), "0.5");
    ck_assert_str_eq(config_value_text(config_find(c, "b"), buf, sizeof buf), "\"openai\"");
    ck_assert_str_eq(config_value_text(config_find(c, "n"), buf, sizeof buf),
                     "{ type = \"x\"; w = [1, 2]; }");
    ck_assert_str_eq(config_value_text(config_find(c, "n"), small, sizeof small), "{ ty...");
    config_free(c);
}
END_TEST

START_TEST(overrides)
{
    struct config *c =
        parse("model = { input = [32, 32, 1]; flow = ({ layer = \"q\"; bits = 5; }); };\n"
              "train = { steps = 10; };");
    ck_assert_int_eq(config_set(c, "train.steps=200"), GLOW_OK);
    ck_assert_int_eq(config_set(c, "train.optimizer.lr = 1e-4"), GLOW_OK);
    ck_assert_int_eq(config_set(c, "model.flow.[0].bits=2"), GLOW_OK);
    ck_assert_int_eq(config_set(c, "model.flow[0].layer=quantize"), GLOW_OK);
    ck_assert_int_eq(config_set(c, "model.input.[1]=2.5"), GLOW_OK); /* an array becomes a list */
    ck_assert_int_eq(config_set(c, "model.flow.[1]={ layer = \"w\"; }"), GLOW_OK);
    ck_assert_int_eq(config_set(c, "data.path=/a b/c-d.gz"), GLOW_OK);
    ck_assert_int_eq(config_set(c, "data.quoted=\"1\""), GLOW_OK);
    ck_assert_int_eq(config_set(c, "data.empty="), GLOW_OK);
    ck_assert_int_eq(config_set(c, "train.steps=(1, 2)"), GLOW_OK); /* another type */
    ck_assert_int_eq(config_int(config_find(c, "train.steps[1]")), 2);
    ck_assert_double_eq(config_real(config_find(c, "train.optimizer.lr")), 1e-4);
    ck_assert_int_eq(config_int(config_find(c, "model.flow[0].bits")), 2);
    ck_assert_str_eq(config_string(config_find(c, "model.flow[0].layer")), "quantize");
    ck_assert_str_eq(config_string(config_find(c, "model.flow[1].layer")), "w");
    ck_assert_str_eq(config_string(config_find(c, "data.path")), "/a b/c-d.gz");
    ck_assert_str_eq(config_string(config_find(c, "data.quoted")), "1");
    ck_assert_str_eq(config_string(config_find(c, "data.empty")), "");
    ck_assert(config_overridden(config_find(c, "data.path")));
    ck_assert(!config_overridden(config_find(c, "model.input")));
    char *text = config_text(c);
    struct config *again = parse(text);
    ck_assert_double_eq(config_real(config_find(again, "model.input[1]")), 2.5);
    ck_assert_int_eq(config_kind(config_find(again, "model.input")), CONFIG_LIST);
    free(text);
    config_free(again);
    config_free(c);
}
END_TEST

START_TEST(bad_overrides)
{
    struct config *c = parse("a = 1; l = (1, 2); g = { };");
    ck_refused(config_set(c, "train.steps"), "train.steps");
    ck_refused(config_set(c, "=1"), "override =1");
    ck_refused(config_set(c, "a.b=1"), "before a.b is not a group");
    ck_refused(config_set(c, "g.[0]=1"), "is not a list");
    ck_refused(config_set(c, "l.[5]=1"), "beyond the list's 2 elements");
    ck_refused(config_set(c, "l.[2].x=1"), "l.[2] is beyond the list's 2 elements");
    ck_refused(config_set(c, "l.[x]=1"), "override l.[x]=1");
    ck_refused(config_set(c, "l.[99999999999999999999]=1"), "override");
    ck_refused(config_set(c, "g..x=1"), "override");
    ck_refused(config_set(c, "g.True=1"), "override");
    ck_refused(config_set(c, "g.x.=1"), "override");
    ck_refused(config_set(c, "g.x=(1"), "override g.x=(1: syntax error");
    ck_refused(config_set(c, "g.x=\"1\"; b = 2"), "more than one value");
    ck_refused(config_set(c, "g.x={ y = 99999999999999999999; }"), "does not fit into 64 bits");
    ck_assert_ptr_null(config_find(c, "g.x"));
    config_set(c, "g.x=3");
    ck_refused(config_fail(config_find(c, "g.x"), "too %s", "odd"), "override g.x=3: g.x: too odd");
    config_free(c);
}
END_TEST

static void ck_bad_text(const char *text, const char *part)
{
    struct config *c;
    ck_refused(config_parse(&c, text, "test.cfg"), part);
    ck_assert_ptr_null(c);
}

START_TEST(bad_texts)
{
    ck_bad_text("a = 1;\nb = ;", "test.cfg:2: syntax error");
    ck_bad_text("a = 1;\n\na = 2;", "test.cfg:3: duplicate setting name");
    ck_bad_text("a = { b = 1;\n", "test.cfg:2: syntax error");
    ck_bad_text("a = [1, 2.5];", "write 1.0, or use a list");
    ck_bad_text("a = 1;\nb = \"x\n;\n", "test.cfg:2: the string that begins here has no end");
    ck_bad_text("a = 1;\n/* b\n", "test.cfg:2: the comment that begins here has no end");
    ck_bad_text("x = 1;\na = 99999999999999999999;",
                "test.cfg:2: the integer 99999999999999999999");
    ck_bad_text("@include \"/\"", "is a directory");
    ck_bad_text("@include nothing", "test.cfg:1: expected @include \"file\"");
    struct config *c =
        parse("# @include \"no\"\n/* 1\n99999999999999999999 */ s = \"@include \\\" 1 # x\";"
              " // @include\n a1-2 = 1;");
    ck_assert_str_eq(config_string(config_find(c, "s")), "@include \" 1 # x");
    ck_assert_int_eq(config_int(config_find(c, "a1-2")), 1);
    config_free(c);
    c = parse("");
    ck_assert_int_eq(config_count(config_root(c)), 0);
    config_free(c);
}
END_TEST

static void save(const char *name, const char *text) { scratch_save(name, text, strlen(text)); }

START_TEST(files_and_includes)
{
    struct config *c;
    char path[600];
    save("main.cfg", "a = 1;\n@include \"part.cfg\"\nz = 3;");
    save("part.cfg", "# part\nb = { c = 2;\n d = 5; };");
    save("bad.cfg", "a = 1;\n@include \"broken.cfg\"\n");
    save("broken.cfg", "b = 2;\nc = = 3;\n");
    save("loop.cfg", "@include \"loop.cfg\"\n");
    ck_assert_msg(config_load(&c, scratch_path("main.cfg")) == GLOW_OK, "%s", fail_message());
    ck_assert_str_eq(config_dir(c), scratch_dir);
    snprintf(path, sizeof path, "%s:3: b.d: wrong", scratch_path("part.cfg"));
    ck_refused(config_fail(config_find(c, "b.d"), "wrong"), path);
    snprintf(path, sizeof path, "%s:3: z: wrong", scratch_path("main.cfg"));
    ck_refused(config_fail(config_find(c, "z"), "wrong"), path);
    config_free(c);
    ck_refused(config_load(&c, scratch_path("bad.cfg")), "broken.cfg:2: syntax error");
    ck_refused(config_load(&c, scratch_path("loop.cfg")), "nest more than 16 deep");
    ck_refused(config_load(&c, scratch_dir), "is a directory");
    scratch_save("zero.cfg", "a = 1;\0b = 2;", 13);
    ck_refused(config_load(&c, scratch_path("zero.cfg")), "not a text file");
    ck_assert_int_eq(config_load(&c, scratch_path("none.cfg")), GLOW_EIO);
    ck_assert_ptr_nonnull(strstr(fail_message(), "none.cfg: No such file"));
    ck_assert_int_eq(config_parse(&c, "\n@include \"none.cfg\"", "test.cfg"), GLOW_EIO);
    ck_assert_ptr_nonnull(strstr(fail_message(), "test.cfg:2: @include: none.cfg: No such file"));
}
END_TEST

START_TEST(positions_in_lists)
{
    struct config *c = parse(
        "model = {\n flow = (\n  { layer = \"a\"; },\n  { flow = (\n    { bits = 9; } ); } );\n};");
    const struct config_node *node = config_find(c, "model.flow[1].flow[0].bits");
    ck_refused(config_fail(node, "%d is outside [1,8]", 9),
               "test.cfg:5: model.flow[1].flow[0].bits: 9 is outside [1,8]");
    ck_refused(config_fail(config_root(c), "no model"), "test.cfg:1: no model");
    ck_refused(config_fail(NULL, "nowhere"), "nowhere");
    config_free(c);
}
END_TEST

START_TEST(messages)
{
    ck_assert_int_eq(fail(GLOW_EIO, "disk %d", 7), GLOW_EIO);
    ck_assert_int_eq(fail_context(GLOW_EIO, "file %s", "x"), GLOW_EIO);
    ck_assert_str_eq(fail_message(), "file x: disk 7");
    fail(GLOW_EIO, "again %s", fail_message());
    ck_assert_str_eq(fail_message(), "again file x: disk 7");
    ck_assert_int_eq(fail_memory(12, "arena"), GLOW_ENOMEM);
    ck_assert_str_eq(fail_message(), "arena: out of memory (12 bytes were wanted)");
    for (int i = 0; i < 10; i++) fail_context(GLOW_EIO, "%0999d", 1);
    ck_assert_uint_eq(strlen(fail_message()), 4095);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("config");
    TCase *tests = tcase_create("config");
    tcase_add_test(tests, kinds_and_values);
    tcase_add_test(tests, text_round_trip);
    tcase_add_test(tests, value_text);
    tcase_add_test(tests, overrides);
    tcase_add_test(tests, bad_overrides);
    tcase_add_test(tests, bad_texts);
    tcase_add_test(tests, files_and_includes);
    tcase_add_test(tests, positions_in_lists);
    tcase_add_test(tests, messages);
    suite_add_tcase(suite, tests);
    return scratch_run(suite);
}

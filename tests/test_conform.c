/* test_conform.c - the conformance suite finds what is wrong: three layers with one mistake each
 * fail at the checks that are about it, and at no other; `glow check` says so and ends with exit
 * code 1. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include "conform.h"
#include "rig.h"

/* The exit code of `glow check ARGUMENTS`, and what it printed; -1 without a program. */
static int run_check(const char *arguments, char text[8192])
{
    char command[1500];
    const char *glow = getenv("GLOW");
    if (!glow || access(glow, X_OK) != 0) return -1;
    snprintf(command, sizeof command, "'%s' check %s 2>&1", glow, arguments);
    FILE *f = popen(command, "r");
    ck_assert_ptr_nonnull(f);
    text[fread(text, 1, 8191, f)] = 0;
    return WEXITSTATUS(pclose(f));
}

static void check_command(const char *file, const char *const *names)
{
    char text[8192];
    int code = run_check(file, text);
    if (code < 0) return;
    ck_assert_int_eq(code, 1);
    for (; *names; names++) ck_assert_msg(strstr(text, *names), "%s: %s", *names, text);
    ck_assert_msg(strstr(text, "FAIL") && strstr(text, " plug-ins failed"), "%s", text);
}

/* `names` are the checks that fail, each at least once; all others pass. */
static void check(const char *id, const char *const *names)
{
    char source[100];
    int seen[8] = { 0 };
    struct conform_report r = { 0 };
    snprintf(source, sizeof source, "wrong/%s.c", id);
    rig_load(source);
    const struct plugin_info *info = rig_find(GLOW_LAYER, id);
    ck_assert_int_eq(conform_run(rig_registry(), info, NULL, &r), GLOW_OK);
    for (int i = 0; i < r.n; i++) {
        int k = 0;
        if (r.findings[i].verdict != VERDICT_FAIL) continue;
        while (names[k] && strcmp(names[k], r.findings[i].check)) k++;
        ck_assert_msg(names[k], "%s: \"%s\" fails: %s", r.findings[i].subject, r.findings[i].check,
                      r.findings[i].detail);
        seen[k]++;
    }
    for (int k = 0; names[k]; k++) ck_assert_msg(seen[k], "\"%s\" passes", names[k]);
    ck_assert_int_gt(r.passed, 10);
    conform_free(&r);
    check_command(info->file, names);
}

START_TEST(wrong_logdet)
{
    check("wrong_logdet", (const char *const[]){ "logdet = numeric Jacobian", NULL });
}
END_TEST

START_TEST(wrong_inverse)
{
    check("wrong_inverse",
          (const char *const[]){ "inverse(forward(x)) = x", "forward(inverse(y)) = y", NULL });
}
END_TEST

/* The decomposition has the right gradient, so the kernel disagrees with it. */
START_TEST(wrong_vjp)
{
    check("wrong_vjp",
          (const char *const[]){ "gradient of x = differences", "kernel = decomposition", NULL });
}
END_TEST

/* Ids and files, several at once; a mistake of the user is exit code 2. */
START_TEST(command)
{
    static const struct {
        const char *arguments, *text;
        int code;
    } cases[] = { { "actnorm normal", " passed, 0 failed, 0 skipped", 0 },
                  { "actnorm --verbose", "logdet = numeric Jacobian", 0 },
                  { "actnorm --set scale=2", " passed, 0 failed", 0 },
                  { "actnorm --set scale=-2", "accepts some input", 1 },
                  { "--help", "usage: glow check FILE.so|ID...", 0 },
                  { "", "expected `glow check FILE.so|ID...", 2 },
                  { "nothing", "no plug-in \"nothing\"", 2 },
                  { "./nothing.so", "nothing.so", 2 },
                  { "actnorm --odd", "--odd: no such option", 2 },
                  { "actnorm --set scale", "expected key=value", 2 } };
    for (size_t i = 0; i < GLOW_COUNT(cases); i++) {
        char text[8192];
        int code = run_check(cases[i].arguments, text);
        if (code < 0) return;
        ck_assert_msg(code == cases[i].code, "check %s: exit code %d: %s", cases[i].arguments, code,
                      text);
        ck_assert_msg(strstr(text, cases[i].text), "check %s: %s", cases[i].arguments, text);
    }
}
END_TEST

/* Bounds: NaN never passes. */
START_TEST(verdicts)
{
    struct conform_report r = { 0 };
    conform_bound(&r, "it", "small", 1, 1);
    conform_bound(&r, "it", "large", 1.001, 1);
    conform_bound(&r, "it", "no number", 0.0 / 0.0, 1);
    ck_assert_int_eq(r.passed, 1);
    ck_assert_int_eq(r.failed, 2);
    conform_free(&r);
}
END_TEST

int main(void)
{
    TCase *tests = rig_case("conform");
    tcase_add_test(tests, wrong_logdet);
    tcase_add_test(tests, wrong_inverse);
    tcase_add_test(tests, wrong_vjp);
    tcase_add_test(tests, command);
    tcase_add_test(tests, verdicts);
    return rig_run(tests);
}

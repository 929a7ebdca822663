/* test_runlog.c - lines of log.jsonl are written, cut on resuming and read as series; and the
 * progress line on a terminal and elsewhere. */
#define _GNU_SOURCE
#include "runlog.h"

#include <check.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "progress.h"
#include "scratch.h"

static void write_steps(struct runlog *log, int64_t first, int64_t last, double shift)
{
    for (int64_t step = first; step <= last; step++) {
        struct runlog_field fields[] = { { "bits_per_dim", shift + 1.0 / (double)step, NULL },
                                         { "images", (double)step * 64, NULL } };
        ck_assert_int_eq(runlog_write(log, "train", step, fields, 2), GLOW_OK);
        if (step % 2 == 0) ck_assert_int_eq(runlog_write(log, "test", step, fields, 1), GLOW_OK);
    }
}

static void assert_series(const char *kind, int64_t every, int64_t n, double shift)
{
    struct runlog_series series;
    ck_assert_int_eq(runlog_read(&series, scratch_path("log.jsonl"), kind, "bits_per_dim"),
                     GLOW_OK);
    ck_assert_int_eq(series.n, n);
    for (int64_t i = 0; i < n; i++) {
        ck_assert(series.step[i] == (double)((i + 1) * every));
        ck_assert_double_eq_tol(series.value[i], shift + 1 / series.step[i], 1e-11);
    }
    runlog_series_free(&series);
}

START_TEST(lines)
{
    struct runlog *log;
    struct runlog_field fields[] = {
        { "bits_per_dim", 3.25, NULL },
        { "images", 640, NULL },
        { "bad", NAN, NULL },
        { "worse", -INFINITY, NULL },
        { "note", 0, "a \"b\"\n\xc3\xa9" },
        { "big", 1e300, NULL },
        { "third", 1.0 / 3, NULL },
    };
    size_t n;
    ck_assert_int_eq(runlog_open(&log, scratch_path("log.jsonl"), -1), GLOW_OK);
    ck_assert_int_eq(runlog_write(log, "train", 10, fields, 7), GLOW_OK);
    ck_assert_int_eq(runlog_write(log, "start", -1, NULL, 0), GLOW_OK);
    /* Written out at once: the log is still open. */
    char *text = scratch_load("log.jsonl", &n);
    ck_assert_str_eq(text, "{\"kind\":\"train\",\"step\":10,\"bits_per_dim\":3.25,\"images\":640,"
                           "\"bad\":null,\"worse\":null,\"note\":\"a \\\"b\\\"\\n\xc3\xa9\","
                           "\"big\":1e300,\"third\":0.333333333333}\n{\"kind\":\"start\"}\n");
    free(text);
    fields[0].text = "\xff";
    ck_assert_int_eq(runlog_write(log, "train", 11, fields, 1), GLOW_EINVAL);
    runlog_close(log);
    ck_assert_int_eq(runlog_open(&log, scratch_path("no/log.jsonl"), -1), GLOW_EIO);
    ck_assert_ptr_null(log);
    ck_assert_int_eq(runlog_open(&log, scratch_path("no/log.jsonl"), 5), GLOW_EIO);
    runlog_close(NULL);
}
END_TEST

START_TEST(resumed)
{
    struct runlog *log;
    struct runlog_series series;
    ck_assert_int_eq(runlog_open(&log, scratch_path("log.jsonl"), -1), GLOW_OK);
    ck_assert_int_eq(runlog_write(log, "start", -1, NULL, 0), GLOW_OK);
    write_steps(log, 1, 1000, 0);
    runlog_close(log);
    assert_series("train", 1, 1000, 0);
    assert_series("test", 2, 500, 0);
    /* What a killed process may leave: half a line; what a crashed machine may leave: zeros. */
    FILE *file = fopen(scratch_path("log.jsonl"), "a");
    for (int i = 0; i < 40; i++) fputc(0, file);
    fputs("\n{\"kind\":\"train\",\"st", file);
    fclose(file);
    note_level = 2;
    assert_series("train", 1, 1000, 0);
    ck_assert_int_eq(runlog_open(&log, scratch_path("log.jsonl"), 400), GLOW_OK);
    note_level = 0;
    assert_series("train", 1, 400, 0);
    assert_series("test", 2, 200, 0);
    write_steps(log, 401, 600, 0);
    runlog_close(log);
    assert_series("train", 1, 600, 0);
    assert_series("test", 2, 300, 0);
    size_t n;
    char *text = scratch_load("log.jsonl", &n);
    ck_assert_int_eq(strncmp(text, "{\"kind\":\"start\"}\n", 17), 0);
    free(text);
    ck_assert_int_eq(runlog_open(&log, scratch_path("log.jsonl"), -1), GLOW_OK);
    runlog_close(log);
    assert_series("train", 1, 0, 0);
    /* Resuming without a log starts one. */
    remove(scratch_path("log.jsonl"));
    ck_assert_int_eq(runlog_open(&log, scratch_path("log.jsonl"), 400), GLOW_OK);
    runlog_close(log);
    ck_assert_int_eq(runlog_read(&series, scratch_path("none"), "train", "x"), GLOW_EIO);
}
END_TEST

START_TEST(series_leaves_out)
{
    struct runlog_series series;
    static const char text[] = "{\"kind\":\"train\",\"step\":1,\"a\":1}\n"
                               "{\"kind\":\"train\",\"step\":2,\"b\":1}\n"
                               "{\"kind\":\"train\",\"step\":3,\"a\":null}\n"
                               "{\"kind\":\"train\",\"step\":4,\"a\":\"5\"}\n"
                               "{\"kind\":\"train\",\"a\":6}\n"
                               "{\"step\":7,\"a\":6}\n"
                               "{\"kind\":\"train\",\"step\":\"8\",\"a\":6}\n"
                               "{\"kind\":\"train\",\"step\":9,\"a\":-2.5}\n"
                               "{\"kind\":\"train\",\"step\":10,\"a\":3}";
    scratch_save("l", text, sizeof text - 1);
    ck_assert_int_eq(runlog_read(&series, scratch_path("l"), "train", "a"), GLOW_OK);
    ck_assert_int_eq(series.n, 2);
    ck_assert(series.step[1] == 9 && series.value[1] == -2.5);
    runlog_series_free(&series);
}
END_TEST

/* ---------------------------------------------------------------- progress */

START_TEST(times)
{
    char buf[32];
    ck_assert_str_eq(progress_time(0, buf, sizeof buf), "0:00");
    ck_assert_str_eq(progress_time(94.4, buf, sizeof buf), "1:34");
    ck_assert_str_eq(progress_time(3599.6, buf, sizeof buf), "1:00:00");
    ck_assert_str_eq(progress_time(90061, buf, sizeof buf), "25:01:01");
    ck_assert_str_eq(progress_time(NAN, buf, sizeof buf), "?");
    ck_assert_str_eq(progress_time(INFINITY, buf, sizeof buf), "?");
    ck_assert_str_eq(progress_time(-1, buf, sizeof buf), "?");
}
END_TEST

/* Elsewhere than on a terminal: few lines, no control characters. */
START_TEST(plain)
{
    struct progress p;
    size_t n;
    FILE *file = fopen(scratch_path("progress"), "w");
    progress_start(&p, file, 100, 160, "bits/dim");
    for (int step = 101; step <= 160; step++) {
        usleep(2000);
        progress_update(&p, step, 64, 4 - step / 100.0);
    }
    ck_assert(progress_rate(&p) > 64 && progress_rate(&p) < 32001);
    progress_clear(&p);
    progress_end(&p, 160, 2.4);
    fclose(file);
    char *text = scratch_load("progress", &n);
    int lines_there = 0;
    for (size_t i = 0; i < n; i++) {
        lines_there += text[i] == '\n';
        ck_assert(text[i] == '\n' || (text[i] >= ' ' && text[i] <= '~'));
    }
    ck_assert_int_le(lines_there, 12); /* of 60 steps */
    ck_assert_int_ge(lines_there, 2);
    ck_assert_int_eq(strncmp(text, "step 101/160  63%   2.990 bits/dim   ", 37), 0);
    ck_assert_ptr_nonnull(strstr(text, " left\n"));
    ck_assert_ptr_nonnull(strstr(text, "step 160/160 100%   2.400 bits/dim   "));
    ck_assert_ptr_nonnull(strstr(text, " in all\n"));
    free(text);
}
END_TEST

/* On a terminal: one line that is written again and again, and erased for others. */
START_TEST(terminal)
{
    char text[4096] = "", name[64];
    struct progress p;
    int master = posix_openpt(O_RDWR | O_NOCTTY);
    if (master < 0 || grantpt(master) || unlockpt(master) ||
        ptsname_r(master, name, sizeof name) != 0)
        return; /* a system without pseudo-terminals */
    int slave = open(name, O_RDWR | O_NOCTTY);
    ck_assert_int_ge(slave, 0);
    FILE *file = fdopen(slave, "w");
    progress_start(&p, file, 0, 10, "nats");
    progress_update(&p, 1, 1, 1.5);
    p.last += 1000; /* as if it had been drawn just now, however slow this machine is */
    progress_update(&p, 2, 1, 1.5);
    p.last -= 2000;
    progress_update(&p, 5, 1, 1.5);
    progress_clear(&p);
    progress_update(&p, 6, 1, 1.25);
    progress_end(&p, 6, 1);
    for (size_t n = 0; !strchr(text, '\n');) { /* a read may bring a part only */
        ssize_t more = read(master, text + n, sizeof text - 1 - n);
        ck_assert_int_gt((int)more, 0);
        n += (size_t)more;
    }
    ck_assert_int_eq(strncmp(text, "\rstep 1/10  10%   1.500 nats   ", 31), 0);
    ck_assert_ptr_null(strstr(text, "step 2/10")); /* too soon */
    char *cleared = strstr(text, "\r\033[K");
    ck_assert_ptr_nonnull(strstr(text, "\rstep 5/10"));
    ck_assert_ptr_nonnull(cleared);
    ck_assert_ptr_nonnull(strstr(cleared, "\rstep 6/10"));
    ck_assert_ptr_nonnull(strstr(cleared, "in all\033[K\r\n"));
    ck_assert_ptr_eq(strchr(text, '\n'), strrchr(text, '\n')); /* one finished line in all */
    fclose(file);
    close(master);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("runlog");
    TCase *tests = tcase_create("runlog"), *progress = tcase_create("progress");
    tcase_add_test(tests, lines);
    tcase_add_test(tests, resumed);
    tcase_add_test(tests, series_leaves_out);
    tcase_add_test(progress, times);
    tcase_add_test(progress, plain);
    tcase_add_test(progress, terminal);
    tcase_set_timeout(tests, 60);
    tcase_set_timeout(progress, 60);
    suite_add_tcase(suite, tests);
    suite_add_tcase(suite, progress);
    return scratch_run(suite);
}

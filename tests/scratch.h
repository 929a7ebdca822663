/* scratch.h - a directory of its own for each test program, removed when the program ends. */
#ifndef TESTS_SCRATCH_H
#define TESTS_SCRATCH_H
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char scratch_dir[64];

static inline void scratch_make(void)
{
    strcpy(scratch_dir, "/tmp/glow-test-XXXXXX");
    if (!mkdtemp(scratch_dir)) {
        perror(scratch_dir);
        exit(99);
    }
}
/* The path of a file in it; valid until the eighth next call. */
static inline const char *scratch_path(const char *name)
{
    static char paths[8][512];
    static int next;
    char *path = paths[next++ % 8];
    snprintf(path, sizeof paths[0], "%s/%s", scratch_dir, name);
    return path;
}
static inline int scratch_exists(const char *name) { return access(scratch_path(name), F_OK) == 0; }
static inline void scratch_save(const char *name, const void *bytes, size_t n)
{
    FILE *file = fopen(scratch_path(name), "wb");
    if (!file || fwrite(bytes, 1, n, file) != n || fclose(file) != 0) {
        perror(name);
        exit(99);
    }
}
/* All of a file, with a zero byte behind it; the caller frees. NULL when it is not there. */
static inline char *scratch_load(const char *name, size_t *n)
{
    FILE *file = fopen(scratch_path(name), "rb");
    *n = 0;
    if (!file) return NULL;
    char *bytes = calloc(1, 1 << 22);
    *n = fread(bytes, 1, (1 << 22) - 1, file);
    fclose(file);
    return bytes;
}
/* Removes the directory and all in it. */
static inline void scratch_remove(void)
{
    char command[100];
    snprintf(command, sizeof command, "rm -rf '%s'", scratch_dir);
    if (system(command) != 0) fprintf(stderr, "%s is left behind\n", scratch_dir);
}
/* Runs a suite in such a directory; returns what main does. */
static inline int scratch_run(Suite *suite)
{
    SRunner *runner = srunner_create(suite);
    scratch_make();
    srunner_run_all(runner, CK_ENV);
    scratch_remove();
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
#endif

/* scratch.h - a directory of its own for each test program, removed when the program ends. */
#ifndef TESTS_SCRATCH_H
#define TESTS_SCRATCH_H
#include <dirent.h>
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
/* Removes the directory with its files; subdirectories must be empty. */
static inline void scratch_remove(void)
{
    DIR *directory = opendir(scratch_dir);
    if (!directory) return;
    for (struct dirent *entry; (entry = readdir(directory));)
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            if (remove(scratch_path(entry->d_name)) != 0) perror(entry->d_name);
    closedir(directory);
    rmdir(scratch_dir);
}
#endif

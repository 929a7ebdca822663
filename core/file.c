/* file.c - atomic writing: temporary file, fsync, rename, fsync of the directory. See file.h. */
#include "file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

struct file {
    int descriptor;
    char *path, *temporary; /* temporary: NULL when `path` is written directly */
};

static glow_status fail_errno(const char *action, const char *path)
{
    int number = errno;
    return fail(number == ENOMEM ? GLOW_ENOMEM : GLOW_EIO, "can't %s %s: %s", action, path,
                strerror(number));
}

static void close_quietly(int descriptor)
{
    if (descriptor >= 0) close(descriptor);
}

/* Opens the temporary file under a lock, so that two processes can't write the same one. The loop
 * is for a writer that renamed the file away between our open and our lock. */
static glow_status open_temporary(struct file *file)
{
    for (int attempt = 0; attempt < 100; attempt++) {
        struct stat mine, there;
        file->descriptor = open(file->temporary, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0666);
        if (file->descriptor < 0) return fail_errno("create", file->temporary);
        if (flock(file->descriptor, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK) {
            close(file->descriptor);
            file->descriptor = -1;
            free(file->temporary);
            file->temporary = NULL; /* it is not ours to remove */
            return fail(GLOW_EIO, "can't write %s: another process is writing it", file->path);
        }
        if (fstat(file->descriptor, &mine) != 0) return fail_errno("examine", file->temporary);
        if (stat(file->temporary, &there) == 0 && mine.st_ino == there.st_ino &&
            mine.st_dev == there.st_dev) {
            if (ftruncate(file->descriptor, 0) != 0) return fail_errno("empty", file->temporary);
            return GLOW_OK;
        }
        close(file->descriptor);
        file->descriptor = -1;
    }
    return fail(GLOW_EIO, "can't create %s: other processes keep replacing it", file->temporary);
}

glow_status file_create(struct file **out, const char *path)
{
    glow_status status = GLOW_OK;
    struct stat existing;
    struct file *file = calloc(1, sizeof *file);
    *out = NULL;
    if (!file) return fail_memory(sizeof *file, path);
    file->descriptor = -1;

    if (stat(path, &existing) == 0 && S_ISDIR(existing.st_mode)) {
        status = fail(GLOW_EIO, "can't write %s: it is a directory", path);
        goto out;
    }
    if (stat(path, &existing) == 0 && !S_ISREG(existing.st_mode)) {
        file->path = strdup(path);
        if (!file->path) TRY_OUT(fail_memory(strlen(path), path));
        file->descriptor = open(path, O_WRONLY | O_CLOEXEC);
        if (file->descriptor < 0) TRY_OUT(fail_errno("open", path));
        *out = file;
        return GLOW_OK;
    }
    file->path = realpath(path, NULL); /* NULL when there is no such file yet */
    if (!file->path) file->path = strdup(path);
    if (!file->path) TRY_OUT(fail_memory(strlen(path), path));
    size_t size = strlen(file->path) + sizeof ".partial";
    file->temporary = malloc(size);
    if (!file->temporary) TRY_OUT(fail_memory(size, path));
    snprintf(file->temporary, size, "%s.partial", file->path);
    TRY_OUT(open_temporary(file));
    *out = file;
    return GLOW_OK;
out:
    file_discard(file);
    return status;
}

glow_status file_write(struct file *file, const void *bytes, size_t n)
{
    const char *from = bytes;
    while (n > 0) {
        ssize_t done = write(file->descriptor, from, n < (1u << 30) ? n : 1u << 30);
        if (done < 0 && errno == EINTR) continue;
        if (done < 0) return fail_errno("write", file->path);
        from += done;
        n -= (size_t)done;
    }
    return GLOW_OK;
}

glow_status file_rewrite(struct file *file, const void *bytes, size_t n, int64_t offset)
{
    const char *from = bytes;
    while (n > 0) {
        ssize_t done = pwrite(file->descriptor, from, n, (off_t)offset);
        if (done < 0 && errno == EINTR) continue;
        if (done < 0) return fail_errno("write", file->path);
        from += done;
        offset += done;
        n -= (size_t)done;
    }
    return GLOW_OK;
}

/* The rename itself must reach the disk, too. */
static glow_status sync_directory(const char *path)
{
    const char *slash = strrchr(path, '/');
    char *directory =
        slash ? strndup(path, slash == path ? 1 : (size_t)(slash - path)) : strdup(".");
    if (!directory) return fail_memory(strlen(path), path);
    glow_status status = GLOW_OK;
    int descriptor = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    /* EINVAL: a file system that knows no fsync of directories. */
    if (descriptor < 0 || (fsync(descriptor) != 0 && errno != EINVAL))
        status = fail_errno("sync directory", directory);
    close_quietly(descriptor);
    free(directory);
    return status;
}

glow_status file_commit(struct file *file)
{
    glow_status status = GLOW_OK;
    if (file->temporary) {
        if (fsync(file->descriptor) != 0) TRY_OUT(fail_errno("write", file->path));
        /* Renamed while locked: another writer then sees that its file is no longer in place. */
        if (rename(file->temporary, file->path) != 0) TRY_OUT(fail_errno("replace", file->path));
        free(file->temporary);
        file->temporary = NULL; /* nothing is left to remove */
        status = sync_directory(file->path);
    }
out:
    file_discard(file);
    return status;
}

void file_discard(struct file *file)
{
    if (!file) return;
    if (file->temporary && file->descriptor >= 0) unlink(file->temporary);
    close_quietly(file->descriptor);
    free(file->temporary);
    free(file->path);
    free(file);
}

glow_status file_save(const char *path, const void *bytes, size_t n)
{
    struct file *file;
    TRY(file_create(&file, path));
    glow_status status = file_write(file, bytes, n);
    if (status == GLOW_OK) return file_commit(file);
    file_discard(file);
    return status;
}

glow_status file_map(struct file_view *view, const char *path)
{
    glow_status status = GLOW_OK;
    struct stat existing;
    void *bytes;
    view->bytes = NULL;
    view->size = 0;
    int descriptor = open(path, O_RDONLY | O_CLOEXEC);
    if (descriptor < 0) return fail_errno("open", path);
    if (fstat(descriptor, &existing) != 0) TRY_OUT(fail_errno("read", path));
    if (!S_ISREG(existing.st_mode)) TRY_OUT(fail(GLOW_EIO, "can't read %s: not a file", path));
    if (existing.st_size == 0) goto out; /* mmap refuses empty files; a view of nothing is fine */
    bytes = mmap(NULL, (size_t)existing.st_size, PROT_READ, MAP_PRIVATE, descriptor, 0);
    if (bytes == MAP_FAILED) TRY_OUT(fail_errno("read", path));
    view->bytes = bytes;
    view->size = (size_t)existing.st_size;
out:
    close(descriptor);
    return status;
}

void file_unmap(struct file_view *view)
{
    if (view->bytes) munmap((void *)(uintptr_t)view->bytes, view->size);
    view->bytes = NULL;
    view->size = 0;
}

glow_status file_make_directories(const char *path)
{
    glow_status status = GLOW_OK;
    struct stat existing;
    char *prefix = strdup(path);
    if (!prefix) return fail_memory(strlen(path), path);
    for (char *end = prefix;; end++) {
        if ((*end != '/' && *end != '\0') || end == prefix) {
            if (*end == '\0') break; /* an empty path */
            continue;
        }
        char saved = *end;
        *end = '\0';
        if (mkdir(prefix, 0777) != 0 && errno != EEXIST) {
            status = fail_errno("make directory", prefix);
            break;
        }
        *end = saved;
        if (saved == '\0') break;
    }
    if (status == GLOW_OK && (stat(path, &existing) != 0 || !S_ISDIR(existing.st_mode)))
        status = fail(GLOW_EIO, "can't make directory %s: a file of that name is in the way", path);
    free(prefix);
    return status;
}

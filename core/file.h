/* file.h - files that are either the old ones or the new ones, never halves.
 *
 * A file is written beside its place under the name "<path>.partial" and takes its place by a
 * rename after the data has reached the disk; until then, and after any error, what was there stays
 * as it was. What a killed process left behind is overwritten by the next writer. Messages name the
 * path and what the operating system said. */
#ifndef CORE_FILE_H
#define CORE_FILE_H
#include "status.h"

struct file; /* a file being written */

/* Starts writing `path`. A path that is not a regular file (/dev/null, a pipe) is written directly;
 * a symbolic link stays, and its target is replaced. */
glow_status file_create(struct file **, const char *path);
/* Appends n bytes. */
glow_status file_write(struct file *, const void *bytes, size_t n);
/* Overwrites bytes that were written before (a header whose content is known at the end). */
glow_status file_rewrite(struct file *, const void *bytes, size_t n, int64_t offset);
/* Puts the file in its place. Frees it, also when that fails; then the old file is untouched. */
glow_status file_commit(struct file *);
/* Gives up: removes the temporary file. NULL is allowed. */
void file_discard(struct file *);
/* All of it in one call. */
glow_status file_save(const char *path, const void *bytes, size_t n);

/* The content of a file, read-only, shared with the page cache. Another process that shortens it in
 * place kills this one; writers that replace it by a rename, as this file's do, don't. */
struct file_view {
    const unsigned char *bytes;
    size_t size;
};
glow_status file_map(struct file_view *, const char *path);
void file_unmap(struct file_view *);

/* Makes a directory and those above it; one that exists is fine. */
glow_status file_make_directories(const char *path);
#endif

/* run.c - see run.h. */
#include "run.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>
#include "file.h"

const char *run_path(char *buf, const char *dir, const char *name)
{
    snprintf(buf, RUN_PATH, "%s/%s", dir, name);
    return buf;
}

const char *run_default_directory(char *buf, const char *config_path)
{
    const char *slash = strrchr(config_path, '/'), *name = slash ? slash + 1 : config_path;
    const char *dot = strrchr(name, '.');
    snprintf(buf, RUN_PATH, "runs/%.*s", dot && dot > name ? (int)(dot - name) : (int)strlen(name),
             name);
    return buf;
}

/* The step in "<prefix><step><suffix>", or -1. */
static int64_t numbered(const char *name, const char *prefix, const char *suffix)
{
    size_t n = strlen(prefix);
    if (strncmp(name, prefix, n) || name[n] < '0' || name[n] > '9') return -1;
    char *end;
    int64_t step = strtoll(name + n, &end, 10);
    return strcmp(end, suffix) ? -1 : step;
}

static bool is_of_run(const char *name)
{
    static const char *const names[] = { "config.cfg", "log.jsonl", "checkpoint.safetensors",
                                         "loss.svg", "result.json" };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        size_t n = strlen(names[i]);
        if (!strncmp(name, names[i], n) && (!name[n] || !strcmp(name + n, ".partial"))) return true;
    }
    return numbered(name, "checkpoint-", ".safetensors") >= 0 ||
           numbered(name, "samples-", ".png") >= 0 || numbered(name, "samples-", ".npy") >= 0;
}

/* Calls visit for each entry; stops at the first failure. A directory that is not there has none.
 */
static glow_status each_entry(const char *dir,
                              glow_status (*visit)(const char *dir, const char *name, void *),
                              void *context)
{
    glow_status status = GLOW_OK;
    struct dirent **entries;
    int n = scandir(dir, &entries, NULL, alphasort);
    if (n < 0 && errno == ENOENT) return GLOW_OK;
    if (n < 0)
        return fail(errno == ENOTDIR ? GLOW_EINVAL : GLOW_EIO, "%s: %s", dir, strerror(errno));
    for (int i = 0; i < n; i++) {
        const char *name = entries[i]->d_name;
        if (status == GLOW_OK && strcmp(name, ".") && strcmp(name, ".."))
            status = visit(dir, name, context);
        free(entries[i]);
    }
    free(entries);
    return status;
}

static glow_status found(const char *dir, const char *name, void *context)
{
    (void)dir, (void)name;
    *(bool *)context = true;
    return GLOW_OK;
}

glow_status run_check_empty(const char *dir)
{
    bool any = false;
    TRY(each_entry(dir, found, &any));
    if (!any) return GLOW_OK;
    return fail(GLOW_EINVAL,
                "%s is not empty: --resume goes on with the run in it, --force starts "
                "anew and deletes that run's files, --out takes another directory",
                dir);
}

static glow_status remove_file(const char *dir, const char *name)
{
    char path[RUN_PATH];
    if (!unlink(run_path(path, dir, name)) || errno == ENOENT) return GLOW_OK;
    return fail(GLOW_EIO, "can't remove %s: %s", path, strerror(errno));
}

static glow_status clear(const char *dir, const char *name, void *context)
{
    (void)context;
    return is_of_run(name) ? remove_file(dir, name) : GLOW_OK;
}

glow_status run_lock(const char *dir, int *lock)
{
    *lock = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    /* Where a file system knows no locks of directories, there is none. */
    if (*lock < 0 || !flock(*lock, LOCK_EX | LOCK_NB) || errno != EWOULDBLOCK) return GLOW_OK;
    return fail(GLOW_EINVAL,
                "%s: another process is training in it; expected a directory of its own (--out)",
                dir);
}

glow_status run_create(const char *dir, bool force, int *lock)
{
    TRY(file_make_directories(dir));
    TRY(run_lock(dir, lock));
    if (!force) TRY(run_check_empty(dir)); /* another one may have begun here meanwhile */
    return each_entry(dir, clear, NULL);
}

glow_status run_save_config(const char *dir, const struct config *c)
{
    char path[RUN_PATH], *text = config_text(c);
    if (!text) return fail_memory(1, "configuration");
    glow_status status = file_save(run_path(path, dir, "config.cfg"), text, strlen(text));
    free(text);
    return status;
}

/* ---------------------------------------------------------------- kept checkpoints */

struct kept {
    int64_t n, oldest;
    char name[64];
};

static glow_status count_kept(const char *dir, const char *name, void *context)
{
    struct kept *k = context;
    int64_t step = numbered(name, "checkpoint-", ".safetensors");
    (void)dir;
    if (step < 0) return GLOW_OK;
    if (!k->n++ || step < k->oldest) {
        k->oldest = step;
        snprintf(k->name, sizeof k->name, "%s", name);
    }
    return GLOW_OK;
}

glow_status run_save_checkpoint(const char *dir, const struct trainer *t, int64_t keep)
{
    char latest[RUN_PATH], kept[RUN_PATH], name[64];
    run_path(latest, dir, "checkpoint.safetensors");
    TRY(checkpoint_save(latest, t->model, t));
    if (keep == 0) return GLOW_OK;
    snprintf(name, sizeof name, "checkpoint-%" PRIu64 ".safetensors", t->step);
    TRY(remove_file(dir, name));
    /* A second name for the same file: the next save puts a new file under the first. */
    if (link(latest, run_path(kept, dir, name))) TRY(checkpoint_save(kept, t->model, t));
    for (;;) {
        struct kept k = { 0 };
        TRY(each_entry(dir, count_kept, &k));
        if (k.n <= keep) return GLOW_OK;
        TRY(remove_file(dir, k.name));
    }
}

/* backend.c - the choice of a backend. The CPU's is part of the program; CUDA's is a module beside
 * the plug-ins, opened when it is asked for, so that the program runs where CUDA is not. */
#include "backend.h"
#include <dlfcn.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "backend_module.h"
#include "registry.h"

#ifndef PKGLIBDIR
#define PKGLIBDIR "/usr/local/lib/glow"
#endif

/* ---------------------------------------------------------------- the module */

/* What came of looking for the CUDA backend, once for the process. */
static struct {
    bool tried, installed; /* installed: there is a module */
    const struct backend *backend;
    char why[1600]; /* there is no backend */
    char path[4200];
} cuda;

static void append(char *text, size_t size, const char *more)
{
    size_t n = strlen(text);
    snprintf(text + n, size - n, "%s%s", n ? ", " : "", more);
}

static bool try_directory(const char *dir, char *looked, size_t size)
{
    snprintf(cuda.path, sizeof cuda.path, "%.4000s/glow-cuda.so", dir);
    append(looked, size, dir);
    return access(cuda.path, R_OK) == 0;
}

/* GLOW_BACKEND_PATH, then the build tree that this program runs in, then where it is installed. */
static bool find_module(char *looked, size_t size)
{
    char dir[4000];
    const char *p = getenv("GLOW_BACKEND_PATH");
    while (p && *p) {
        size_t n = strcspn(p, ":");
        snprintf(dir, sizeof dir, "%.*s", (int)(n < 3000 ? n : 3000), p);
        if (n && try_directory(dir, looked, size)) return true;
        p += n + (p[n] == ':');
    }
    if (registry_build_tree(dir, sizeof dir - 16)) {
        strcat(dir, "/core/cuda/.libs");
        if (try_directory(dir, looked, size)) return true;
    }
    return try_directory(PKGLIBDIR, looked, size);
}

static void record_failure(glow_status code, const char *text) { fail(code, "%s", text); }
static void pass_note(int level, const char *text) { note(level, "%s", text); }

/* Opens the module and says what is missing when that does not work. The driver is looked for
 * first: without it the libraries, hundreds of megabytes, need not be read. */
static void open_module(void)
{
    static const struct backend_host host = { record_failure, pass_note };
    static const struct backend_build build = BACKEND_BUILD;
    if (!dlopen("libcuda.so.1", RTLD_LAZY | RTLD_LOCAL)) {
        snprintf(cuda.why, sizeof cuda.why,
                 "no NVIDIA driver: %s (looked for by the dynamic loader: LD_LIBRARY_PATH and the "
                 "system's directories)",
                 dlerror());
        return;
    }
    void *library = dlopen(cuda.path, RTLD_NOW | RTLD_LOCAL);
    if (!library) {
        snprintf(cuda.why, sizeof cuda.why,
                 "a library is missing: %.500s (looked for by the dynamic loader, for %.900s)",
                 dlerror(), cuda.path);
        return;
    }
    const struct backend_module *module = dlsym(library, BACKEND_SYMBOL);
    if (!module || memcmp(&module->build, &build, sizeof build) != 0) {
        snprintf(cuda.why, sizeof cuda.why, "%.900s is of another build than this program",
                 cuda.path);
        return;
    }
    cuda.backend = module->start(&host, cuda.why, sizeof cuda.why);
}

static const struct backend *find_cuda(void)
{
    char looked[1200] = "";
    if (cuda.tried) return cuda.backend;
    cuda.tried = true;
    cuda.installed = find_module(looked, sizeof looked);
    if (cuda.installed)
        open_module();
    else
        snprintf(cuda.why, sizeof cuda.why,
                 "no module glow-cuda.so: was this glow built without CUDA? (looked in %s)",
                 looked);
    return cuda.backend;
}

glow_status backend_find(const char *name, const struct backend **out)
{
    const char *wish = getenv("GLOW_BACKEND");
    bool choose = strcmp(name, "auto") == 0;
    if (choose && wish && *wish) {
        name = wish;
        choose = strcmp(name, "auto") == 0;
    }
    *out = NULL;
    if (strcmp(name, "cpu") == 0) *out = &backend_cpu;
    if (strcmp(name, "cuda") == 0 || choose) *out = find_cuda();
    if (*out) return GLOW_OK;
    if (choose) {
        if (cuda.installed) note(0, "running on the CPU; cuda: %s", cuda.why);
        *out = &backend_cpu;
        return GLOW_OK;
    }
    if (strcmp(name, "cuda") == 0) return fail(GLOW_ENOTSUP, "backend \"cuda\": %s", cuda.why);
    return fail(GLOW_EINVAL, "backend \"%s\": not in this program; there are: auto, cpu, cuda",
                name);
}

glow_status backend_default(const struct backend **out)
{
    const char *wish = getenv("GLOW_BACKEND");
    return backend_find(wish && *wish ? wish : "cpu", out);
}

/* ---------------------------------------------------------------- memory */

glow_status backend_upload(const struct backend *b, struct engine *engine, void *to,
                           const void *from, size_t bytes)
{
    if (b->upload) return b->upload(engine, to, from, bytes);
    memcpy(to, from, bytes);
    return GLOW_OK;
}

glow_status backend_download(const struct backend *b, struct engine *engine, void *to,
                             const void *from, size_t bytes)
{
    if (b->download) return b->download(engine, to, from, bytes);
    memcpy(to, from, bytes);
    return GLOW_OK;
}

glow_status backend_copy(const struct backend *b, struct engine *engine, void *to, const void *from,
                         size_t bytes)
{
    if (b->copy) return b->copy(engine, to, from, bytes);
    memcpy(to, from, bytes);
    return GLOW_OK;
}

glow_status backend_finish(const struct backend *b, struct engine *engine)
{
    return b->finish ? b->finish(engine) : GLOW_OK;
}

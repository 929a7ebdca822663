/* registry.c - plug-in files: where they are looked for, what makes one acceptable, what they
 * offer. A file is opened with RTLD_NOW | RTLD_LOCAL and stays open until the program ends:
 * instances and datasets of other threads may run its code at any time. RTLD_DEEPBIND would break
 * sanitizers. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* dladdr1 */
#endif
#include "registry.h"
#include "bump.h"
#include "descriptor.h"
#include <ctype.h>
#include <dirent.h>
#include <dlfcn.h>
#include <elf.h>
#include <errno.h>
#include <link.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#ifndef PKGLIBDIR
#define PKGLIBDIR "/usr/local/lib/glow"
#endif

static const char *const subdirs[] = { "layers", "nets", "priors", "datasets" };

struct plugin_file {
    char *path;
    dev_t device;
    ino_t inode;
    char *refused; /* why, or NULL */
};
struct registry {
    struct bump memory;
    char **dirs;
    struct plugin_file *files;
    struct plugin_info **infos;
    int n_dirs, n_files, n_infos;
    bool all_loaded;
};

const char *kind_name(uint32_t kind) { return descriptor_kind_name(kind); }

/* Room for one more element in an array of n. */
static glow_status grow(void *array, int n, size_t size)
{
    void *old, *larger;
    if (n & (n - 1)) return GLOW_OK; /* arrays double at powers of two */
    memcpy(&old, array, sizeof old);
    larger = realloc(old, (size_t)(n ? 2 * n : 1) * size);
    if (!larger) return fail_memory((size_t)n * 2 * size, "plug-ins");
    memcpy(array, &larger, sizeof larger);
    return GLOW_OK;
}

/* ---------------------------------------------------------------- the search path */

static glow_status add_dir(struct registry *r, const char *dir)
{
    struct stat info;
    if (stat(dir, &info) || !S_ISDIR(info.st_mode)) return GLOW_OK;
    TRY(grow(&r->dirs, r->n_dirs, sizeof *r->dirs));
    r->dirs[r->n_dirs] = bump_print(&r->memory, "%s", dir);
    if (!r->dirs[r->n_dirs]) return fail_memory(strlen(dir), "plug-ins");
    r->n_dirs++;
    return GLOW_OK;
}

/* A directory and its subdirectories by kind; `below` is "" or "/.libs". */
static glow_status add_tree(struct registry *r, const char *dir, const char *below)
{
    char path[4200];
    if (!*below) TRY(add_dir(r, dir));
    for (uint32_t i = 0; i < GLOW_COUNT(subdirs); i++) {
        snprintf(path, sizeof path, "%s/%s%s", dir, subdirs[i], below);
        TRY(add_dir(r, path));
    }
    return GLOW_OK;
}

/* One entry of a search path; relative ones start at base. */
static glow_status add_entry(struct registry *r, const char *entry, size_t n, const char *base)
{
    char path[4100];
    const char *home = getenv("HOME");
    if (n == 0) return GLOW_OK;
    if (entry[0] == '~' && (n == 1 || entry[1] == '/') && home)
        snprintf(path, sizeof path, "%s%.*s", home, (int)n - 1, entry + 1);
    else if (entry[0] == '/' || !strcmp(base, "."))
        snprintf(path, sizeof path, "%.*s", (int)n, entry);
    else
        snprintf(path, sizeof path, "%s/%.*s", base, (int)n, entry);
    return add_tree(r, path, "");
}

static glow_status add_configured(struct registry *r, const struct config *cfg)
{
    const struct config_node *node = cfg ? config_find(cfg, "plugin_path") : NULL;
    if (!node) return GLOW_OK;
    int n = config_kind(node) == CONFIG_STRING ? 1 : config_count(node);
    if (config_kind(node) == CONFIG_GROUP || (n == 0 && config_kind(node) > CONFIG_ARRAY))
        return config_fail(node, "expected a directory or a list of directories");
    for (int i = 0; i < n; i++) {
        const struct config_node *item = config_string(node) ? node : config_at(node, i);
        const char *path = config_string(item);
        if (!path) return config_fail(item, "expected the name of a directory");
        TRY(add_entry(r, path, strlen(path), config_overridden(item) ? "." : config_dir(cfg)));
    }
    return GLOW_OK;
}

bool registry_build_tree(char *dir, size_t size)
{
    ssize_t n = readlink("/proc/self/exe", dir, size - 1);
    if (n <= 0) return false;
    dir[n] = '\0';
    for (int up = 0; up < 4; up++) {
        char *slash = strrchr(dir, '/');
        if (!slash) return false;
        bool found = up > 0 && (!strcmp(slash + 1, "host") || !strcmp(slash + 1, "tests"));
        *slash = '\0';
        if (found) return true;
    }
    return false;
}

static glow_status add_local(struct registry *r)
{
    char path[4096];
    struct dirent **entries;
    TRY(add_dir(r, "plugins"));
    int n = scandir("plugins", &entries, NULL, alphasort);
    glow_status status = GLOW_OK;
    for (int i = 0; i < n; i++) {
        snprintf(path, sizeof path, "plugins/%s", entries[i]->d_name);
        if (!status && entries[i]->d_name[0] != '.') status = add_dir(r, path);
        free(entries[i]);
    }
    if (n >= 0) free(entries);
    if (status || !registry_build_tree(path, sizeof path - 16)) return status;
    strcat(path, "/plugins");
    return add_tree(r, path, "/.libs");
}

glow_status registry_open(struct registry **out, const struct config *cfg)
{
    glow_status status = GLOW_OK;
    *out = NULL;
    struct registry *r = calloc(1, sizeof *r);
    if (!r) return fail_memory(sizeof *r, "plug-ins");
    for (const char *p = getenv("GLOW_PLUGIN_PATH"); p && *p; p += *p == ':') {
        size_t n = strcspn(p, ":");
        TRY_OUT(add_entry(r, p, n, "."));
        p += n;
    }
    TRY_OUT(add_configured(r, cfg));
    TRY_OUT(add_local(r));
    TRY_OUT(add_tree(r, PKGLIBDIR, ""));
    *out = r;
    return GLOW_OK;
out:
    registry_free(r);
    return status;
}

void registry_free(struct registry *r)
{
    if (!r) return;
    free(r->dirs);
    free(r->files);
    free(r->infos);
    bump_free(&r->memory);
    free(r);
}

/* ---------------------------------------------------------------- one file */

static const char *machine_name(unsigned machine)
{
    switch (machine) {
    case EM_X86_64: return "x86-64";
    case EM_386: return "x86";
    case EM_AARCH64: return "AArch64";
    case EM_ARM: return "ARM";
    case EM_RISCV: return "RISC-V";
    case EM_PPC64: return "POWER";
    default: return "another machine";
    }
}

/* The first bytes of an ELF file: e_ident, type and machine are the same in both classes. */
static bool read_head(const char *path, Elf64_Ehdr *head)
{
    FILE *f = fopen(path, "rb");
    memset(head, 0, sizeof *head);
    size_t n = f ? fread(head, 1, sizeof *head, f) : 0;
    if (f) fclose(f);
    return n >= 20 && !memcmp(head->e_ident, ELFMAG, SELFMAG);
}

/* Whether all that the loader maps is there: it reads beyond the end of a file that was cut short,
 * and the process dies of that. Linkers put the table of sections at the very end. */
static bool is_whole(const char *path, const Elf64_Ehdr *head)
{
    struct stat info;
    uint64_t table = (uint64_t)head->e_shnum * head->e_shentsize;
    if (head->e_ident[EI_CLASS] != ELFCLASS64 || stat(path, &info)) return true;
    return head->e_shoff <= (uint64_t)info.st_size &&
           table <= (uint64_t)info.st_size - head->e_shoff;
}

/* Whether the file is a shared object for this machine. */
static glow_status check_format(const char *path)
{
    Elf64_Ehdr head, own;
    if (!read_head(path, &head)) return fail(GLOW_EINVAL, "not a shared object (no ELF header)");
    if (head.e_type != ET_DYN)
        return fail(GLOW_EINVAL, "not a shared object (ELF type %u)", head.e_type);
    if (!is_whole(path, &head)) return fail(GLOW_EINVAL, "the file is cut short");
    if (!read_head("/proc/self/exe", &own)) return GLOW_OK;
    if (head.e_machine != own.e_machine || head.e_ident[EI_CLASS] != own.e_ident[EI_CLASS])
        return fail(GLOW_EINVAL, "built for %s, %d bits; this glow is for %s, %d bits",
                    machine_name(head.e_machine), head.e_ident[EI_CLASS] == ELFCLASS64 ? 64 : 32,
                    machine_name(own.e_machine), own.e_ident[EI_CLASS] == ELFCLASS64 ? 64 : 32);
    return GLOW_OK;
}

/* Nobody else may be able to put another file in the place of this one. */
static glow_status check_directory(const char *path)
{
    char dir[4096];
    struct stat info;
    snprintf(dir, sizeof dir, "%s", path);
    *strrchr(dir, '/') = '\0';
    const char *name = dir[0] ? dir : "/";
    if (stat(name, &info)) return fail(GLOW_EIO, "%s: %s", name, strerror(errno));
    if ((info.st_mode & S_IWOTH) && !(info.st_mode & S_ISVTX))
        return fail(GLOW_EINVAL,
                    "every user can write to its directory %s (mode %03o); chmod o-w it", name,
                    (unsigned)info.st_mode & 0777);
    return GLOW_OK;
}

/* Nobody else may be able to change the code that we are about to run. */
static glow_status check_access(const char *path, struct stat *info)
{
    if (stat(path, info)) return fail(GLOW_EIO, "%s", strerror(errno));
    if (!S_ISREG(info->st_mode)) return fail(GLOW_EINVAL, "not a file");
    if (info->st_mode & S_IWOTH)
        return fail(GLOW_EINVAL, "every user can write to it (mode %03o); chmod o-w it",
                    (unsigned)info->st_mode & 0777);
    TRY(check_directory(path));
    char *real = realpath(path, NULL); /* where a symbolic link leads */
    glow_status status = real ? check_directory(real) : fail(GLOW_EIO, "%s", strerror(errno));
    free(real);
    return status;
}

/* Opens the file and finds its constant, which has *size bytes. */
static glow_status open_symbol(const char *path, const struct glow_plugin **plugin, size_t *size)
{
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!library) return fail(GLOW_EINVAL, "%s", dlerror());
    *plugin = dlsym(library, GLOW_PLUGIN_SYMBOL);
    if (!*plugin)
        return fail(GLOW_EINVAL, "no symbol %s: %s", GLOW_PLUGIN_SYMBOL,
                    dlsym(library, "glow_plugin_v2") ? "it is for ABI 2, this glow has ABI 1"
                                                     : "not a glow plug-in");
    *size = sizeof **plugin;
#ifdef __GLIBC__
    Dl_info info;
    void *extra = NULL;
    if (dladdr1(*plugin, &info, &extra, RTLD_DL_SYMENT) && extra) {
        const ElfW(Sym) *symbol = extra;
        if ((symbol->st_info & 15) != STT_OBJECT)
            return fail(GLOW_EINVAL, "%s is not a constant", GLOW_PLUGIN_SYMBOL);
        *size = symbol->st_size;
    }
#endif
    return GLOW_OK;
}

static struct plugin_info *find_info(const struct registry *r, uint32_t kind, const char *id,
                                     int from)
{
    for (int i = from; i < r->n_infos; i++)
        if (r->infos[i]->desc->kind == kind && !strcmp(r->infos[i]->desc->id, id))
            return r->infos[i];
    return NULL;
}

/* Takes the descriptors of a plug-in into the registry; the first of an id wins. */
static glow_status take_descriptors(struct registry *r, const struct glow_plugin *p,
                                    const char *file)
{
    int before = r->n_infos;
    for (const struct glow_desc *const *given = p->descs; *given; given++) {
        const struct glow_desc *desc;
        TRY(descriptor_copy(*given, &r->memory, &desc));
        if (!desc) continue;
        if (find_info(r, desc->kind, desc->id, before))
            return fail(GLOW_EINVAL, "%s \"%s\": id: stands twice in this file",
                        kind_name(desc->kind), desc->id);
        struct plugin_info *info = bump_alloc(&r->memory, sizeof *info);
        if (!info) return fail_memory(sizeof *info, file);
        *info = (struct plugin_info){ desc,
                                      file,
                                      p->name ? p->name : "?",
                                      p->version ? p->version : "?",
                                      p->license ? p->license : "?",
                                      p->minor };
        TRY(grow(&r->infos, r->n_infos, sizeof *r->infos));
        r->infos[r->n_infos++] = info;
    }
    int kept = before;
    for (int i = before; i < r->n_infos; i++) {
        const struct glow_desc *desc = r->infos[i]->desc;
        const struct plugin_info *first = find_info(r, desc->kind, desc->id, 0);
        if (first == r->infos[i])
            r->infos[kept++] = r->infos[i];
        else
            note(0, "%s \"%s\" of %s is not used: %s came first", kind_name(desc->kind), desc->id,
                 file, first->file);
    }
    r->n_infos = kept;
    return GLOW_OK;
}

static glow_status open_file(struct registry *r, const char *path)
{
    const struct glow_plugin *plugin = NULL;
    size_t size = 0;
    TRY(check_format(path));
    TRY(open_symbol(path, &plugin, &size));
    TRY(descriptor_check_plugin(plugin, size));
    int before = r->n_infos;
    glow_status status = take_descriptors(r, plugin, path);
    if (status) r->n_infos = before;
    return status;
}

/* The file is already known: its refusal again, or GLOW_OK. */
static struct plugin_file *known_file(struct registry *r, const struct stat *info)
{
    for (int i = 0; i < r->n_files; i++)
        if (r->files[i].device == info->st_dev && r->files[i].inode == info->st_ino)
            return &r->files[i];
    return NULL;
}

static glow_status load(struct registry *r, const char *path, bool *fresh)
{
    struct stat info = { 0 };
    *fresh = true;
    char *name = bump_print(&r->memory, "%s%s", strchr(path, '/') ? "" : "./", path);
    if (!name) return fail_memory(strlen(path), "plug-ins");
    glow_status status = check_access(name, &info);
    struct plugin_file *known = info.st_ino ? known_file(r, &info) : NULL;
    if (known) {
        *fresh = false;
        return known->refused ? fail(GLOW_EINVAL, "%s", known->refused) : GLOW_OK;
    }
    if (!status) status = open_file(r, name);
    if (status) fail_context(status, "plug-in %s", name);
    if (status == GLOW_ENOMEM) return status;
    char *refused = status ? bump_print(&r->memory, "%s", fail_message()) : NULL;
    if (status && !refused) return fail_memory(1, name);
    TRY(grow(&r->files, r->n_files, sizeof *r->files));
    r->files[r->n_files++] = (struct plugin_file){ name, info.st_dev, info.st_ino, refused };
    return status;
}

glow_status registry_load_file(struct registry *r, const char *path)
{
    bool fresh;
    return load(r, path, &fresh);
}

/* ---------------------------------------------------------------- all files, and one by its id */

static int is_module(const struct dirent *entry)
{
    size_t n = strlen(entry->d_name);
    return n > 3 && entry->d_name[0] != '.' && !strcmp(entry->d_name + n - 3, ".so");
}

static glow_status load_all(struct registry *r)
{
    char path[4400];
    glow_status status = GLOW_OK;
    for (int d = 0; d < r->n_dirs && !r->all_loaded; d++) {
        struct dirent **entries;
        int n = scandir(r->dirs[d], &entries, is_module, alphasort);
        for (int i = 0; i < n; i++) {
            bool fresh;
            snprintf(path, sizeof path, "%s/%s", r->dirs[d], entries[i]->d_name);
            if (status != GLOW_ENOMEM) status = load(r, path, &fresh);
            free(entries[i]);
        }
        if (n >= 0) free(entries);
        if (status == GLOW_ENOMEM) return status;
    }
    r->all_loaded = true;
    return GLOW_OK;
}

/* Warns of the refused files from number `from` on; returns how many files are refused in all. */
static int warn_refused(const struct registry *r, int from)
{
    int refused = 0;
    for (int i = 0; i < r->n_files; i++) {
        refused += r->files[i].refused != NULL;
        if (i >= from && r->files[i].refused) note(1, "%s", r->files[i].refused);
    }
    return refused;
}

glow_status registry_load_all(struct registry *r, int *refused)
{
    int before = r->n_files;
    TRY(load_all(r));
    int count = warn_refused(r, before);
    if (refused) *refused = count;
    return GLOW_OK;
}

/* Whether the name of a file is "<id>.so". */
static bool is_named(const char *path, const char *id)
{
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
    size_t n = strlen(id);
    return !strncmp(name, id, n) && !strcmp(name + n, ".so");
}

/* Whether a file of that name was refused. */
static bool is_refused(const struct registry *r, const char *id)
{
    for (int i = 0; i < r->n_files; i++)
        if (r->files[i].refused && is_named(r->files[i].path, id)) return true;
    return false;
}

static glow_status not_found(const struct registry *r, uint32_t kind, const char *id)
{
    char *text = NULL;
    size_t n;
    FILE *f = open_memstream(&text, &n);
    if (!f) return fail_memory(1, "plug-ins");
    fprintf(f, "no %s \"%s\"", kind_name(kind), id);
    for (int i = 0; i < r->n_infos; i++)
        if (!strcmp(r->infos[i]->desc->id, id))
            fprintf(f, " (there is a %s of that name)", kind_name(r->infos[i]->desc->kind));
    for (int i = 0; i < r->n_files; i++)
        if (r->files[i].refused && is_named(r->files[i].path, id))
            fprintf(f, "; %s", r->files[i].refused);
    int count = 0;
    for (int i = 0; i < r->n_infos; i++)
        if (r->infos[i]->desc->kind == kind)
            fprintf(f, "%s%s", count++ ? ", " : "; there are ", r->infos[i]->desc->id);
    fputs(r->n_dirs ? "; looked in " : "; there is no directory of plug-ins", f);
    for (int i = 0; i < r->n_dirs; i++) fprintf(f, "%s%s", i ? ", " : "", r->dirs[i]);
    fclose(f);
    fail(GLOW_EINVAL, "%s", text ? text : id);
    free(text);
    return GLOW_EINVAL;
}

/* Files named after the id come first, so that a start loads no more than it needs. */
glow_status registry_find(struct registry *r, uint32_t kind, const char *id,
                          const struct plugin_info **out)
{
    char path[4400];
    int before = r->n_files;
    *out = find_info(r, kind, id, 0);
    for (int d = 0; d < r->n_dirs && !*out && !r->all_loaded && descriptor_is_id(id); d++) {
        bool fresh;
        snprintf(path, sizeof path, "%s/%s.so", r->dirs[d], id);
        if (access(path, F_OK)) continue;
        if (load(r, path, &fresh) == GLOW_ENOMEM) return GLOW_ENOMEM;
        *out = find_info(r, kind, id, 0);
    }
    int named = r->n_files;
    if (!*out) {
        TRY(load_all(r));
        *out = find_info(r, kind, id, 0);
    }
    if (*out) {
        for (int i = before; i < named; i++) /* a file of that name that does not serve */
            if (r->files[i].refused) note(1, "%s", r->files[i].refused);
        return GLOW_OK;
    }
    if (!is_refused(r, id)) warn_refused(r, before); /* any of them may have been meant */
    return not_found(r, kind, id);
}

int registry_count(const struct registry *r) { return r->n_infos; }

const struct plugin_info *registry_at(const struct registry *r, int i)
{
    return i >= 0 && i < r->n_infos ? r->infos[i] : NULL;
}

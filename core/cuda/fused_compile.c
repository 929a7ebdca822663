/* fused_compile.c - chains of elementwise operations compiled at run time by NVRTC, where the
 * dynamic loader finds it, and kept by what they depend on. Without it, for short chains' sake, and
 * when anything fails, fused.cu interprets them, with the same bits: NVRTC must not make one
 * instruction of a multiplication and an addition either. */
#include <assert.h>
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "fused_code.h"

/* Below, what interpreting costs is lost in the launch; compiling takes a tenth of a second. */
enum { LEAST_COMPILED = CUT(1 << 16, 1) };

struct compiled {
    struct compiled *next;
    cudaLibrary_t library;
    cudaKernel_t kernel; /* NULL: it did not work */
    size_t n;
    int64_t key[];
};

/* ---------------------------------------------------------------- NVRTC */

typedef struct nvrtc_program *nvrtc_program; /* opaque there, too */
enum { OUT_OF_MEMORY = 1 };                  /* NVRTC_ERROR_OUT_OF_MEMORY */
struct nvrtc {
    int (*create)(nvrtc_program *, const char *text, const char *name, int n_headers,
                  const char *const *headers, const char *const *names);
    int (*compile)(nvrtc_program, int n, const char *const *options);
    int (*size)(nvrtc_program, size_t *);
    int (*code)(nvrtc_program, char *);
    int (*destroy)(nvrtc_program *);
    const char *(*error)(int);
    int (*log_size)(nvrtc_program, size_t *);
    int (*log)(nvrtc_program, char *);
};

/* That of the run time this is built with: a driver may not know the code of a newer one. */
static void *open_nvrtc(void)
{
    const char *wish = getenv("GLOW_CUDA_NVRTC");
    char name[40];
    if (wish && !strcmp(wish, "0")) return NULL;
#ifdef CUDA_EMULATOR
    snprintf(name, sizeof name, "libnvrtc-standin.so.13");
#else
    snprintf(name, sizeof name, "libnvrtc.so.%d", CUDART_VERSION / 1000);
#endif
    return dlopen(name, RTLD_NOW);
}

/* NULL: it is not there. Once opened it stays. */
static const struct nvrtc *nvrtc(void)
{
    static struct nvrtc n;
    static int asked, found;
    static const char *const names[] = { "nvrtcCreateProgram",     "nvrtcCompileProgram",
                                         "nvrtcGetCUBINSize",      "nvrtcGetCUBIN",
                                         "nvrtcDestroyProgram",    "nvrtcGetErrorString",
                                         "nvrtcGetProgramLogSize", "nvrtcGetProgramLog" };
    void *const to[] = { &n.create,  &n.compile, &n.size,     &n.code,
                         &n.destroy, &n.error,   &n.log_size, &n.log };
    if (asked) return found ? &n : NULL;
    asked = 1;
    void *library = open_nvrtc();
    found = library != NULL;
    for (int i = 0; i < 8 && found; i++) {
        void *function = dlsym(library, names[i]);
        memcpy(to[i], &function, sizeof function);
        found = function != NULL;
    }
    return found ? &n : NULL;
}

/* Says once why chains are interpreted after all. */
static void complain(const char *what, const char *why)
{
    static int told;
    if (!told) note(1, "cuda: a fused chain is interpreted: %s: %s", what, why);
    told = 1;
}

/* What NVRTC makes of it, from the first error on. */
static void complain_of_text(const struct nvrtc *n, nvrtc_program program, int error)
{
    size_t size = 0;
    char *log = NULL, why[500];
    if (program && !n->log_size(program, &size) && size && (log = calloc(1, size + 1)))
        n->log(program, log);
    const char *first = log ? strstr(log, "error") : NULL;
    snprintf(why, sizeof why, "%s%s%.*s", n->error(error), first ? ": " : "",
             first ? (int)strcspn(first, "\n") : 0, first ? first : "");
    complain("NVRTC", why);
    free(log);
}

/* A text's machine code, to be freed; NULL: it does not compile. */
static char *compile(const struct engine *e, const char *text)
{
    const struct nvrtc *n = nvrtc();
    char arch[40], *code = NULL;
    const char *const options[] = { arch, "--std=c++17", "--fmad=false" };
    nvrtc_program program = NULL;
    size_t size = 0;
    snprintf(arch, sizeof arch, "--gpu-architecture=sm_%d", e->capability);
    int error = n->create(&program, text, "chain.cu", 0, NULL, NULL);
    if (!error) error = n->compile(program, 3, options);
    if (!error) error = n->size(program, &size);
    if (!error && (code = malloc(size))) error = n->code(program, code);
    if (!error && !code) error = OUT_OF_MEMORY;
    if (error) complain_of_text(n, program, error);
    if (program) n->destroy(&program);
    if (!error) return code;
    free(code);
    return NULL;
}

/* Asking for attributes brings the code to the device, before a step is recorded. */
static cudaKernel_t load(const char *code, cudaLibrary_t *library)
{
    cudaKernel_t kernel = NULL;
    struct cudaFuncAttributes attributes;
    cudaError_t error = cudaLibraryLoadData(library, code, NULL, NULL, 0, NULL, NULL, 0);
    if (error == cudaSuccess) error = cudaLibraryGetKernel(&kernel, *library, "chain");
    if (error == cudaSuccess) error = cudaFuncGetAttributes(&attributes, kernel);
    if (error == cudaSuccess) return kernel;
    cudaGetLastError();
    complain("loading it", cudaGetErrorString(error));
    return NULL;
}

/* ---------------------------------------------------------------- what was compiled */

/* Compiled chains serve all engines: they depend on the device alone, and there is one. */
enum { BUCKETS = 64 };
static struct compiled *known[BUCKETS];

enum { MOST_KEY = 8 + MAX_DIMS * (1 + FUSED_INPUTS) + 5 * FUSED_OPS + 3 * FUSED_OUTPUTS };

static size_t key_of(const struct step *step, const struct fused_shape *s, int64_t *key)
{
    size_t n = 0;
    key[n++] = step->in[0].dtype;
    key[n++] = step->n_in;
    key[n++] = step->n_out;
    key[n++] = s->samples;
    key[n++] = s->parts;
    key[n++] = s->rank;
    for (int i = 0; i < s->rank; i++) key[n++] = s->dim[i];
    for (int k = 0; k < step->n_in; k++)
        for (int i = 0; i < s->rank; i++) key[n++] = s->stride[k][i];
    for (int i = 0; i < 1 + 4 * step->ai[0] + step->n_out; i++) key[n++] = step->ai[i];
    for (int k = 0; k < step->n_out; k++) key[n++] = step->out[k].data != NULL;
    return n;
}

static struct compiled **list_of(const int64_t *key, size_t n)
{
    uint64_t hash = 14695981039346656037u; /* FNV-1a, by words */
    for (size_t i = 0; i < n; i++) hash = (hash ^ (uint64_t)key[i]) * 1099511628211u;
    return &known[(hash >> 32) % BUCKETS];
}

static struct compiled *find(struct compiled *list, const int64_t *key, size_t n)
{
    while (list && (list->n != n || memcmp(list->key, key, n * sizeof *key) != 0))
        list = list->next;
    return list;
}

void fused_prepare(const struct engine *e, const struct step *step, const struct fused_shape *s)
{
    int64_t key[MOST_KEY];
    const size_t n = key_of(step, s, key);
    struct compiled **list = list_of(key, n);
    if (s->count < LEAST_COMPILED || !nvrtc() || find(*list, key, n)) return;
    assert(!e->launching);
    struct compiled *c = calloc(1, sizeof *c + n * sizeof *key);
    if (!c) return;
    char *text = fused_text(step, s), *code = text ? compile(e, text) : NULL;
    if (code) c->kernel = load(code, &c->library);
    free(text);
    free(code); /* the library has a copy */
    c->n = n;
    memcpy(c->key, key, n * sizeof *key);
    c->next = *list;
    *list = c;
}

cudaKernel_t fused_find(const struct engine *e, const struct step *step,
                        const struct fused_shape *s)
{
    int64_t key[MOST_KEY];
    (void)e;
    if (s->count < LEAST_COMPILED || !nvrtc()) return NULL;
    const size_t n = key_of(step, s, key);
    const struct compiled *c = find(*list_of(key, n), key, n);
    return c ? c->kernel : NULL;
}

cudaError_t fused_launch(cudaKernel_t kernel, const unsigned grid[2], unsigned block,
                         const struct fused_operands *operands, cudaStream_t stream)
{
    const dim3 blocks = { grid[0], grid[1], 1 }, threads = { block, 1, 1 };
    void *argument[] = { (void *)(uintptr_t)operands };
    return cudaLaunchKernel((const void *)kernel, blocks, threads, argument, 0, stream);
}

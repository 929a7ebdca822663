/* images.c - device code that plug-ins bring as bytes (glow_kernel.image): read, loaded by the run
 * time, and held against what a launch will give it: the device, the kernel's name, its parameters,
 * the limits of grid, block and shared memory. All of that happens while a program is built,
 * because a step may be under capture. Loaded images stay, like the plug-ins whose files hold them.
 */
#include <elf.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "cuda.h"

enum { MAX_PARAMETERS = 512 };

struct image_kernel { /* an entry of an image */
    struct image_kernel *next;
    const void *image;
    const char *entry;
    cudaLibrary_t library;
    cudaKernel_t kernel;
    struct cudaDeviceProp device;
    struct cudaFuncAttributes attributes;
    int n_parameters;
    glow_status status; /* other than GLOW_OK: why it can't run */
    char why[400];
};
static struct image_kernel *known;

static struct image_kernel *find(const void *image, const char *entry)
{
    for (struct image_kernel *k = known; k; k = k->next)
        if (k->image == image && (!entry || !strcmp(k->entry, entry))) return k;
    return NULL;
}

const struct image_kernel *images_find(const struct glow_kernel *kernel)
{
    return find(kernel->image, kernel->entry);
}

/* ---------------------------------------------------------------- the bytes */

static bool is_elf(const unsigned char *image, size_t n)
{
    return n >= sizeof(Elf64_Ehdr) && !memcmp(image, ELFMAG, SELFMAG) &&
           image[EI_CLASS] == ELFCLASS64;
}

/* A fatbin begins with 50 ed 55 ba, a version and the header's size in 16 bits each, and the size
 * of what follows it in 64. */
static bool is_fatbin(const unsigned char *image, size_t n)
{
    static const unsigned char magic[4] = { 0x50, 0xed, 0x55, 0xba };
    return n >= 16 && !memcmp(image, magic, sizeof magic);
}

/* How far a fatbin or cubin reaches by its own account: the driver is not told where it ends. */
static uint64_t claimed_size(const unsigned char *image, size_t n)
{
    if (is_fatbin(image, n)) {
        uint16_t header;
        uint64_t body;
        memcpy(&header, image + 6, sizeof header);
        memcpy(&body, image + 8, sizeof body);
        return body > UINT64_MAX - header ? UINT64_MAX : header + body;
    }
    Elf64_Ehdr h;
    memcpy(&h, image, sizeof h);
    uint64_t sections = (uint64_t)h.e_shnum * h.e_shentsize,
             segments = (uint64_t)h.e_phnum * h.e_phentsize;
    if (h.e_shoff > INT64_MAX || h.e_phoff > INT64_MAX) return UINT64_MAX;
    sections += h.e_shoff;
    segments += h.e_phoff;
    return sections > segments ? sections : segments;
}

/* PTX is text; the copy ends in a zero, as the driver wants it. NULL: it is none, or no memory. */
static char *copy_ptx(const unsigned char *image, size_t n)
{
    char *text = malloc(n + 1);
    if (!text) return NULL;
    memcpy(text, image, n);
    text[n] = '\0';
    if (strstr(text, ".version") && strstr(text, ".target")) return text;
    free(text);
    return NULL;
}

/* Whether a device takes PTX by its ".target sm_90": newer ones do, but of sm_90a that alone and of
 * sm_100f its family. The driver would call other PTX invalid. */
static bool ptx_serves(const char *text, const struct cudaDeviceProp *d)
{
    const char *target = strstr(text, ".target"), *sm = target ? strstr(target, "sm_") : NULL;
    const int capability = 10 * d->major + d->minor;
    char *end;
    if (!sm) return true;
    const long wanted = strtol(sm + 3, &end, 10);
    if (*end == 'a') return capability == wanted;
    return capability >= wanted && (*end != 'f' || d->major == wanted / 10);
}

static glow_status refuse(struct image_kernel *k, glow_status status, const char *why)
{
    snprintf(k->why, sizeof k->why, "%s", why);
    return k->status = status;
}

/* What the run time said. A device that can't run the image is nobody's mistake. */
static glow_status refused_by_cuda(struct image_kernel *k, cudaError_t error)
{
    cudaGetLastError();
    bool unserved =
        error == cudaErrorNoKernelImageForDevice || error == cudaErrorUnsupportedPtxVersion ||
        error == cudaErrorJitCompilerNotFound || error == cudaErrorJitCompilationDisabled;
    k->status = unserved                             ? GLOW_ENOTSUP
                : error == cudaErrorMemoryAllocation ? GLOW_ENOMEM
                                                     : GLOW_EINVAL;
    if (unserved)
        snprintf(k->why, sizeof k->why,
                 "its image has no code for this device, %.200s of compute capability %d.%d (%s)",
                 k->device.name, k->device.major, k->device.minor, cudaGetErrorString(error));
    else
        snprintf(k->why, sizeof k->why, "CUDA refuses its image: %s", cudaGetErrorString(error));
    return k->status;
}

/* ---------------------------------------------------------------- loading */

static glow_status load_library(struct image_kernel *k, size_t n)
{
    const unsigned char *image = k->image;
    char *ptx = NULL;
    const struct image_kernel *other = find(k->image, NULL);
    if (other && other->library) {
        k->library = other->library;
        return GLOW_OK;
    }
    if (is_fatbin(image, n) || is_elf(image, n)) {
        uint64_t claimed = claimed_size(image, n);
        if (claimed > n) {
            snprintf(k->why, sizeof k->why,
                     "its image is cut off: it has %zu bytes and speaks of %llu", n,
                     (unsigned long long)claimed);
            return k->status = GLOW_EINVAL;
        }
    } else if (!(ptx = copy_ptx(image, n))) {
        return refuse(k, GLOW_EINVAL, "its image is no fatbin, cubin or PTX");
    }
    cudaError_t error = ptx && !ptx_serves(ptx, &k->device)
                            ? cudaErrorNoKernelImageForDevice
                            : cudaLibraryLoadData(&k->library, ptx ? (void *)ptx : image, NULL,
                                                  NULL, 0, NULL, NULL, 0);
    free(ptx);
    return error == cudaSuccess ? GLOW_OK : refused_by_cuda(k, error);
}

/* All parameters have 8 bytes, so that only their number can be wrong. */
static glow_status count_parameters(struct image_kernel *k)
{
    size_t offset, size;
    cudaError_t error = cudaSuccess;
    for (k->n_parameters = 0; k->n_parameters < MAX_PARAMETERS; k->n_parameters++) {
        error = cudaFuncGetParamInfo(k->kernel, (size_t)k->n_parameters, &offset, &size);
        if (error != cudaSuccess) break;
        if (size == 8) continue;
        snprintf(k->why, sizeof k->why,
                 "parameter %d of its kernel \"%.100s\" has %zu bytes; all have 8: pointers, then "
                 "int64_t, then double",
                 k->n_parameters + 1, k->entry, size);
        return k->status = GLOW_EINVAL;
    }
    cudaGetLastError();
    return error == cudaErrorCallRequiresNewerDriver
               ? refuse(k, GLOW_ENOTSUP, "its image takes a driver of CUDA 12.4 or newer")
               : GLOW_OK;
}

/* Asking for its attributes brings the code to the device, however lazy the run time is. */
static glow_status load_kernel(struct image_kernel *k, int device, size_t n)
{
    cudaError_t error = cudaGetDeviceProperties(&k->device, device);
    if (error != cudaSuccess) return refused_by_cuda(k, error);
    TRY(load_library(k, n));
    error = cudaLibraryGetKernel(&k->kernel, k->library, k->entry);
    if (error == cudaErrorSymbolNotFound) {
        cudaGetLastError();
        snprintf(k->why, sizeof k->why,
                 "its image holds no kernel \"%.100s\"; is that declared extern \"C\" __global__?",
                 k->entry);
        return k->status = GLOW_EINVAL;
    }
    if (error == cudaSuccess) error = cudaFuncGetAttributes(&k->attributes, k->kernel);
    if (error != cudaSuccess) return refused_by_cuda(k, error);
    return count_parameters(k);
}

/* The entry of an image, loaded at its first mention. The user hears once of an image that does not
 * serve the device. */
static struct image_kernel *get(const struct engine *e, const char *name,
                                const struct glow_kernel *kernel)
{
    const struct image_kernel *other = find(kernel->image, NULL);
    struct image_kernel *k = find(kernel->image, kernel->entry);
    if (k) return k;
    k = calloc(1, sizeof *k);
    if (!k) return NULL;
    k->image = kernel->image;
    k->entry = kernel->entry;
    load_kernel(k, e->device,
                (size_t)((const char *)kernel->image_end - (const char *)kernel->image));
    k->next = known;
    known = k;
    if (k->status == GLOW_ENOTSUP && !(other && other->status == GLOW_ENOTSUP))
        note(1, "%s: %s; core operations compute it instead", name, k->why);
    return k;
}

/* ---------------------------------------------------------------- launches */

static int64_t elements(const struct glow_array *a)
{
    int64_t n = a->n;
    for (int32_t i = 0; i < a->type.rank; i++) n *= a->type.dim[i];
    return n;
}

static glow_status check_limits(const struct image_kernel *k, const struct glow_launch *l)
{
    const struct cudaDeviceProp *d = &k->device;
    uint64_t threads = 1;
    for (int i = 0; i < 3; i++) {
        if (!l->grid[i] || l->grid[i] > (uint32_t)d->maxGridSize[i])
            return fail(GLOW_EINVAL,
                        "launch: a grid of %u x %u x %u; this device takes 1 to %d x "
                        "%d x %d blocks",
                        l->grid[0], l->grid[1], l->grid[2], d->maxGridSize[0], d->maxGridSize[1],
                        d->maxGridSize[2]);
        if (!l->block[i] || l->block[i] > (uint32_t)d->maxThreadsDim[i])
            return fail(GLOW_EINVAL,
                        "launch: blocks of %u x %u x %u; this device takes 1 to %d x "
                        "%d x %d threads",
                        l->block[0], l->block[1], l->block[2], d->maxThreadsDim[0],
                        d->maxThreadsDim[1], d->maxThreadsDim[2]);
        threads *= l->block[i];
    }
    if (threads > (uint64_t)k->attributes.maxThreadsPerBlock)
        return fail(GLOW_EINVAL,
                    "launch: %llu threads in a block; this device takes %d, for what \"%s\" needs",
                    (unsigned long long)threads, k->attributes.maxThreadsPerBlock, k->entry);
    if (l->shared > d->sharedMemPerBlockOptin ||
        l->shared + k->attributes.sharedSizeBytes > d->sharedMemPerBlockOptin)
        return fail(GLOW_EINVAL,
                    "launch: %llu bytes of shared memory, and %zu in \"%s\"; a block of this "
                    "device has %zu",
                    (unsigned long long)l->shared, k->attributes.sharedSizeBytes, k->entry,
                    d->sharedMemPerBlockOptin);
    if (l->scratch > INT64_MAX / 2)
        return fail(GLOW_EINVAL, "launch: %llu bytes of scratch", (unsigned long long)l->scratch);
    return GLOW_OK;
}

glow_status images_geometry(const struct image_kernel *k, const struct glow_kernel *kernel,
                            const struct glow_kernel_call *shapes, struct glow_launch *l)
{
    char why[200] = "";
    int64_t n = elements(shapes->n_out ? shapes->out : shapes->in);
    int64_t blocks = (n + 255) / 256;
    *l =
        (struct glow_launch){ .size = sizeof *l,
                              .n_integers = 1,
                              .grid = { blocks < UINT32_MAX ? (uint32_t)blocks : UINT32_MAX, 1, 1 },
                              .block = { 256, 1, 1 },
                              .integers = { n },
                              .why = why,
                              .why_size = sizeof why };
    int32_t status = kernel->launch ? kernel->launch(shapes, l) : GLOW_OK;
    why[sizeof why - 1] = '\0';
    if (status != GLOW_OK)
        return fail(status < 0 ? status : GLOW_EINVAL, "launch: %s",
                    *why ? why : "it fails and does not say why");
    if (l->n_integers > GLOW_MAX_INTEGERS)
        return fail(GLOW_EINVAL, "launch: %u integers, at most %d", l->n_integers,
                    GLOW_MAX_INTEGERS);
    uint32_t pointers = shapes->n_in + shapes->n_out + (l->scratch > 0);
    uint32_t given = pointers + l->n_integers + shapes->n_attr;
    if (given != (uint32_t)k->n_parameters)
        return fail(GLOW_EINVAL,
                    "kernel \"%s\" has %d parameters; it gets %u: %u pointers, %u integers, "
                    "%u attributes",
                    k->entry, k->n_parameters, given, pointers, l->n_integers, shapes->n_attr);
    return check_limits(k, l);
}

/* More than 48 kB of shared memory must be asked for. */
static glow_status allow_shared(struct image_kernel *k, size_t bytes)
{
    if (bytes <= (size_t)k->attributes.maxDynamicSharedSizeBytes) return GLOW_OK;
    TRY_CUDA(
        cudaFuncSetAttribute(k->kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, (int)bytes));
    k->attributes.maxDynamicSharedSizeBytes = (int)bytes;
    return GLOW_OK;
}

glow_status images_load(struct engine *e, const char *name, const struct glow_kernel *kernel,
                        const struct glow_kernel_call *shapes)
{
    struct glow_launch l;
    struct image_kernel *k = get(e, name, kernel);
    if (!k) return fail_memory(sizeof *k, name);
    if (k->status != GLOW_OK) return fail(k->status, "%s", k->why);
    TRY(images_geometry(k, kernel, shapes, &l));
    return allow_shared(k, l.shared);
}

cudaError_t images_launch(const struct image_kernel *k, const struct glow_launch *l,
                          void **argument, cudaStream_t stream)
{
    const dim3 grid = { l->grid[0], l->grid[1], l->grid[2] };
    const dim3 block = { l->block[0], l->block[1], l->block[2] };
    return cudaLaunchKernel(k->kernel, grid, block, argument, l->shared, stream);
}

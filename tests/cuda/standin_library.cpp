/* standin_library.cpp - the stand-in's loader of device code. An image is a shared object that
 * image.h made, opened from memory; like a driver, the loader finds its end by its header, and
 * finds out only when a kernel is asked after whether the code is for this device. It knows fatbins
 * by their first bytes, of which it can run none, and has no compiler for PTX.
 *
 *   CUDA_STANDIN_LAUNCHES   a file that gets a line for each launch of a loaded kernel */
#include <dlfcn.h>
#include <elf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <string>
#include <vector>
#include "image.h"
#include "standin.h"

struct CUlib_st {
    void *object;
};
struct CUkern_st {
    std::string name;
    const image_entry *entry;
    int arch;
    size_t most_shared = 48 << 10;
};

/* Opens an ELF file that lies in memory. The file stays open: its name must not be that of another.
 */
static void *open_object(const char *code)
{
    Elf64_Ehdr h;
    memcpy(&h, code, sizeof h);
    size_t n = h.e_shoff + (size_t)h.e_shnum * h.e_shentsize;
    int file = memfd_create("image", 0);
    char path[64];
    snprintf(path, sizeof path, "/proc/self/fd/%d", file);
    void *object = nullptr;
    if (file >= 0 && write(file, code, n) == (ssize_t)n) object = dlopen(path, RTLD_NOW);
    return object;
}

static void count_launch(const std::string &name, dim3 grid, dim3 block)
{
    const char *path = getenv("CUDA_STANDIN_LAUNCHES");
    FILE *f = path && *path ? fopen(path, "a") : nullptr;
    if (!f) return;
    fprintf(f, "%s %u %u %u, %u %u %u\n", name.c_str(), grid.x, grid.y, grid.z, block.x, block.y,
            block.z);
    fclose(f);
}

extern "C" {
cudaError_t cudaLibraryLoadData(cudaLibrary_t *library, const void *code, enum cudaJitOption *,
                                void **, unsigned, enum cudaLibraryOption *, void **, unsigned)
{
    static const unsigned char fatbin[4] = { 0x50, 0xed, 0x55, 0xba };
    if (standin_records()) return standin_failed(cudaErrorStreamCaptureUnsupported);
    if (!memcmp(code, fatbin, sizeof fatbin))
        return standin_failed(cudaErrorNoKernelImageForDevice);
    /* A text, with its end. PTX for a newer device is invalid to the real one, too. */
    const char *target =
        memcmp(code, ELFMAG, SELFMAG) ? strstr((const char *)code, "sm_") : nullptr;
    if (target && (size_t)atoi(target + 3) > standin_number("CUDA_STANDIN_ARCH", 90))
        return standin_failed(cudaErrorInvalidPtx);
    if (memcmp(code, ELFMAG, SELFMAG) != 0)
        return standin_failed(strlen((const char *)code) ? cudaErrorJitCompilerNotFound
                                                         : cudaErrorInvalidKernelImage);
    void *object = open_object((const char *)code);
    if (!object || !dlsym(object, "image_arch")) return standin_failed(cudaErrorInvalidKernelImage);
    *library = new CUlib_st{ object };
    return cudaSuccess;
}

cudaError_t cudaLibraryGetKernel(cudaKernel_t *kernel, cudaLibrary_t library, const char *name)
{
    if (standin_records()) return standin_failed(cudaErrorStreamCaptureUnsupported);
    const void *entry = dlsym(library->object, (std::string("image_entry_") + name).c_str());
    if (!entry) return standin_failed(cudaErrorSymbolNotFound);
    *kernel = new CUkern_st{ name, (const image_entry *)entry,
                             *(const int *)dlsym(library->object, "image_arch") };
    return cudaSuccess;
}

static bool served(const CUkern_st *k)
{
    return (size_t)k->arch == standin_number("CUDA_STANDIN_ARCH", 90);
}

cudaError_t cudaFuncGetAttributes(struct cudaFuncAttributes *a, const void *function)
{
    const CUkern_st *k = (const CUkern_st *)function;
    if (standin_records()) return standin_failed(cudaErrorStreamCaptureUnsupported);
    if (!served(k)) return standin_failed(cudaErrorNoKernelImageForDevice);
    *a = cudaFuncAttributes{ 0, 1024, (int)k->most_shared };
    return cudaSuccess;
}

cudaError_t cudaFuncGetParamInfo(const void *function, size_t i, size_t *offset, size_t *size)
{
    const CUkern_st *k = (const CUkern_st *)function;
    if (standin_number("CUDA_STANDIN_DRIVER", 13000) < 12040)
        return standin_failed(cudaErrorCallRequiresNewerDriver);
    if (i >= k->entry->n) return standin_failed(cudaErrorInvalidValue);
    *size = k->entry->size[i];
    *offset = 8 * i;
    return cudaSuccess;
}

cudaError_t cudaFuncSetAttribute(const void *function, enum cudaFuncAttribute, int value)
{
    CUkern_st *k = (CUkern_st *)const_cast<void *>(function);
    if (standin_records()) return standin_failed(cudaErrorStreamCaptureUnsupported);
    if (value < 0 || value > 227 << 10) return standin_failed(cudaErrorInvalidValue);
    k->most_shared = (size_t)value;
    return cudaSuccess;
}

/* Arguments are copied now, and used when the stream gets there. */
cudaError_t cudaLaunchKernel(const void *function, dim3 grid, dim3 block, void **argument,
                             size_t shared, cudaStream_t stream)
{
    const CUkern_st *k = (const CUkern_st *)function;
    std::vector<std::vector<char>> copied;
    if (!served(k)) return standin_failed(cudaErrorNoKernelImageForDevice);
    if (shared > k->most_shared || block.x * block.y * block.z > 1024)
        return standin_failed(cudaErrorInvalidConfiguration);
    for (unsigned i = 0; i < k->entry->n; i++)
        copied.emplace_back((char *)argument[i], (char *)argument[i] + k->entry->size[i]);
    standin_push(stream, [=]() mutable {
        std::vector<void *> arguments;
        for (std::vector<char> &a : copied) arguments.push_back(a.data());
        count_launch(k->name, grid, block);
        if (k->entry->run(grid, block, shared, k->most_shared, arguments.data()) != cudaSuccess)
            standin_failed(cudaErrorInvalidConfiguration);
    });
    return cudaSuccess;
}
} /* extern "C" */

/* image.h - makes an image that the stand-in can load (standin_library.cpp) from a .cu file: a
 * shared object which, as a cubin does, holds kernels for one compute capability, their names and
 * the sizes of their parameters. A plug-in embeds its bytes like those of a fatbin.
 *
 *   #include "image.h"
 *   #include "../../examples/softclip.cu"
 *   IMAGE_KERNEL(softclip_f32)
 */
#ifndef TESTS_CUDA_IMAGE_H
#define TESTS_CUDA_IMAGE_H
#include "emulator.h"
/* Kernels of a plug-in have C names; the emulator's are static. */
#undef __global__
#define __global__

#ifndef IMAGE_ARCH
#define IMAGE_ARCH 90
#endif

struct image_entry {
    unsigned n;         /* parameters */
    const size_t *size; /* of each, in bytes */
    /* Runs all blocks. */
    cudaError_t (*run)(dim3 grid, dim3 block, size_t shared, size_t most_shared, void **argument);
};

template <auto kernel> struct image_of;
template <class... P, void (*kernel)(P...)> struct image_of<kernel> {
    static constexpr size_t size[sizeof...(P)] = { sizeof(P)... };
    template <size_t... i>
    static std::function<void()> bind(void **argument, std::index_sequence<i...>)
    {
        std::tuple<P...> copied(*(P *)argument[i]...);
        return [=] { std::apply(kernel, copied); };
    }
    static cudaError_t run(dim3 grid, dim3 block, size_t shared, size_t most_shared,
                           void **argument)
    {
        emulator::machine &m = emulator::the_machine();
        m.most_shared = most_shared;
        m.error = cudaSuccess;
        emulator::launch("a plug-in's kernel", grid, block, shared,
                         bind(argument, std::index_sequence_for<P...>()));
        return m.error;
    }
};
#define IMAGE_EXPORT __attribute__((visibility("default")))
#define IMAGE_KERNEL(name)                                                                         \
    extern "C" IMAGE_EXPORT const image_entry image_entry_##name;                                  \
    const image_entry image_entry_##name = { sizeof image_of<name>::size / sizeof(size_t),         \
                                             image_of<name>::size, image_of<name>::run };
extern "C" IMAGE_EXPORT const int image_arch;
const int image_arch = IMAGE_ARCH;
#endif

/* emulator.h - runs CUDA C++ kernels on the CPU, for tests. Blocks run one after another, and the
 * threads of a block are fibers of one OS thread, so that a run is the same each time. Barriers,
 * shared memory (filled with NaN before each block) and the launch's limits are those of a device;
 * a barrier that some threads never reach ends the program with the place.
 *
 * A block's threads run in order, each up to its next barrier; with CUDA_EMULATOR_REVERSE=1 in the
 * environment the last comes first, as does the last block. A missing barrier shows in one of the
 * two orders. A thread that returns hands its stack to the next: kernels without barriers stay on
 * one. */
#ifndef TESTS_CUDA_EMULATOR_H
#define TESTS_CUDA_EMULATOR_H
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>
#include <functional>
#include <tuple>
#include <vector>
#include "cuda_runtime_api.h"
#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/common_interface_defs.h>
#endif

#define __global__ static
#define __device__
#define __host__
#define __restrict__ __restrict
/* Blocks run one after another, so one copy is enough; it has a section of its own, to be filled.
 */
#define __shared__ static __attribute__((section("emulator_shared")))
extern "C" char __start_emulator_shared[] __attribute__((weak, visibility("hidden")));
extern "C" char __stop_emulator_shared[] __attribute__((weak, visibility("hidden")));

struct uint3 {
    unsigned x, y, z;
};

namespace emulator
{

/* ---------------------------------------------------------------- switching between fibers */

#if defined(__x86_64__)
/* swapcontext makes a system call each time; this one keeps what the System V ABI says a function
 * must keep, and changes stacks. */
typedef void *context;
extern "C" void emulator_switch(context *save, context to);
__asm__(".pushsection .text.emulator_switch,\"axG\",@progbits,emulator_switch,comdat\n"
        ".weak emulator_switch\n.type emulator_switch,@function\nemulator_switch:\n"
        "push %rbp\npush %rbx\npush %r12\npush %r13\npush %r14\npush %r15\n"
        "mov %rsp,(%rdi)\nmov %rsi,%rsp\n"
        "pop %r15\npop %r14\npop %r13\npop %r12\npop %rbx\npop %rbp\nret\n"
        ".size emulator_switch,.-emulator_switch\n.popsection\n");
inline void switch_context(context *from, context *to) { emulator_switch(from, *to); }
inline void make_context(context *c, char *stack, size_t size, void (*entry)())
{
    void **top = (void **)(stack + size);
    *--top = nullptr;
    *--top = (void *)entry;
    top -= 6;
    memset(top, 0, 6 * sizeof *top);
    *c = top;
}
#else
typedef ucontext_t context;
inline void switch_context(context *from, context *to) { swapcontext(from, to); }
inline void make_context(context *c, char *stack, size_t size, void (*entry)())
{
    getcontext(c);
    c->uc_stack.ss_sp = stack;
    c->uc_stack.ss_size = size;
    c->uc_link = nullptr;
    makecontext(c, entry, 0);
}
#endif

enum state { FRESH, READY, AT_BARRIER, DONE };
struct fiber {
    context at;
    enum state state;
    char *stack;
    const char *where; /* the barrier it waits at */
    void *shadow;      /* of the address sanitizer */
};

struct machine {
    static constexpr size_t STACK = 64 << 10;
    std::vector<fiber> fibers;
    std::vector<char *> stacks; /* free ones */
    context scheduler;
    void *shadow = nullptr;
    const void *bottom = nullptr;
    size_t size = 0;
    unsigned current = 0, n = 0;
    uint3 thread{}, block{};
    dim3 block_dim, grid_dim;
    const char *kernel = "";
    std::function<void()> body;
    std::vector<char> dynamic;
    size_t most_shared = 48 << 10; /* dynamic */
    cudaError_t error = cudaSuccess;
    bool reverse = getenv("CUDA_EMULATOR_REVERSE") && *getenv("CUDA_EMULATOR_REVERSE") == '1';
};
inline machine &the_machine()
{
    static machine m;
    return m;
}

inline void begin_switch(void **shadow, const void *bottom, size_t size)
{
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_start_switch_fiber(shadow, bottom, size);
#else
    (void)shadow;
    (void)bottom;
    (void)size;
#endif
}
inline void end_switch(void *shadow, const void **bottom, size_t *size)
{
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_finish_switch_fiber(shadow, bottom, size);
#else
    (void)shadow;
    (void)bottom;
    (void)size;
#endif
}

[[noreturn]] inline void die(const char *what, const char *where)
{
    machine &m = the_machine();
    fprintf(stderr, "emulator: %s in %s at %s, block (%u,%u,%u)\n", what, m.kernel, where,
            m.block.x, m.block.y, m.block.z);
    abort();
}

/* Back to the scheduler; `last`: for good. */
inline void leave(bool last)
{
    machine &m = the_machine();
    fiber &f = m.fibers[m.current];
    begin_switch(last ? nullptr : &f.shadow, m.bottom, m.size);
    switch_context(&f.at, &m.scheduler);
    end_switch(f.shadow, nullptr, nullptr);
}

inline void fiber_entry()
{
    machine &m = the_machine();
    end_switch(nullptr, &m.bottom, &m.size);
    m.body();
    m.fibers[m.current].state = DONE;
    leave(true);
    abort();
}

inline void barrier(const char *where)
{
    machine &m = the_machine();
    m.fibers[m.current].state = AT_BARRIER;
    m.fibers[m.current].where = where;
    leave(false);
}

inline uint3 thread_number(const machine &m, unsigned i)
{
    return { i % m.block_dim.x, i / m.block_dim.x % m.block_dim.y,
             i / (m.block_dim.x * m.block_dim.y) };
}

/* When all threads that have not returned wait at the same barrier, they go on. */
inline void release_barrier()
{
    machine &m = the_machine();
    const char *where = nullptr;
    for (unsigned i = 0; i < m.n; i++) {
        fiber &f = m.fibers[i];
        if (f.state == DONE) continue;
        if (where && where != f.where) die("threads of a block wait at different barriers", where);
        where = f.where;
        f.state = READY;
    }
}

inline void start_fiber(fiber &f)
{
    machine &m = the_machine();
    if (m.stacks.empty())
        m.stacks.push_back((char *)mmap(nullptr, machine::STACK, PROT_READ | PROT_WRITE,
                                        MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    f.stack = m.stacks.back();
    m.stacks.pop_back();
    f.shadow = nullptr;
    make_context(&f.at, f.stack, machine::STACK, fiber_entry);
    f.state = READY;
}

inline void run_block()
{
    machine &m = the_machine();
    for (unsigned i = 0; i < m.n; i++) m.fibers[i].state = FRESH;
    for (;;) {
        unsigned done = 0;
        for (unsigned k = 0; k < m.n; k++) {
            unsigned i = m.reverse ? m.n - 1 - k : k;
            fiber &f = m.fibers[i];
            if (f.state == FRESH) start_fiber(f);
            if (f.state == READY) {
                m.current = i;
                m.thread = thread_number(m, i);
                begin_switch(&m.shadow, f.stack, machine::STACK);
                switch_context(&m.scheduler, &f.at);
                end_switch(m.shadow, nullptr, nullptr);
                if (f.state == DONE) m.stacks.push_back(f.stack);
            }
            done += f.state == DONE;
        }
        if (done == m.n) return;
        release_barrier();
    }
}

inline void fill_shared()
{
    if (__start_emulator_shared)
        memset(__start_emulator_shared, 0xff,
               (size_t)(__stop_emulator_shared - __start_emulator_shared));
}

/* What a device takes. */
inline bool fits(dim3 grid, dim3 block, size_t shared)
{
    const uint64_t threads = (uint64_t)block.x * block.y * block.z;
    return threads && threads <= 1024 && block.z <= 64 && grid.x && grid.y && grid.z &&
           grid.x <= 0x7fffffff && grid.y <= 65535 && grid.z <= 65535 &&
           shared <= the_machine().most_shared;
}

inline void launch(const char *name, dim3 grid, dim3 block, size_t shared,
                   const std::function<void()> &body)
{
    machine &m = the_machine();
    m.n = block.x * block.y * block.z;
    if (!fits(grid, block, shared)) {
        m.error = cudaErrorInvalidConfiguration;
        return;
    }
    if (m.fibers.size() < m.n) m.fibers.resize(m.n);
    m.kernel = name;
    m.grid_dim = grid;
    m.block_dim = block;
    m.body = body;
    const uint64_t blocks = (uint64_t)grid.x * grid.y * grid.z;
    for (uint64_t k = 0; k < blocks; k++) {
        const uint64_t i = m.reverse ? blocks - 1 - k : k;
        m.block = { (unsigned)(i % grid.x), (unsigned)(i / grid.x % grid.y),
                    (unsigned)(i / grid.x / grid.y) };
        m.dynamic.assign(shared, (char)0xff);
        fill_shared();
        run_block();
    }
}

/* The stand-in's run time sets this to queue the work on a stream. */
typedef void (*queue_fn)(cudaStream_t, std::function<void()>);
extern "C" queue_fn emulator_queue;

/* Arguments are copied when the launch is made, as on a device, and what it does not take is
 * refused at once: no recording has it. */
template <class... P, class... A>
inline void go(const char *name, dim3 grid, dim3 block, size_t shared, cudaStream_t stream,
               void (*kernel)(P...), A... arguments)
{
    std::tuple<P...> copied(arguments...);
    static_assert(sizeof copied <= 32764, "parameters of a kernel, since CUDA 12.1");
    if (!fits(grid, block, shared)) {
        the_machine().error = cudaErrorInvalidConfiguration;
        return;
    }
    emulator_queue(stream,
                   [=] { launch(name, grid, block, shared, [=] { std::apply(kernel, copied); }); });
}
} // namespace emulator

/* For kernels that are part of the program; the stand-in may have a device that runs none. */
extern "C" cudaError_t standin_touch(void);
template <class... P> inline cudaError_t cudaFuncGetAttributes(cudaFuncAttributes *, void (*)(P...))
{
    return standin_touch();
}

inline int atomicMin(int *p, int x)
{
    int old = *p;
    if (x < old) *p = x;
    return old;
}

#define EMULATOR_TEXT_(x)      #x
#define EMULATOR_TEXT(x)       EMULATOR_TEXT_(x)
#define threadIdx              (emulator::the_machine().thread)
#define blockIdx               (emulator::the_machine().block)
#define blockDim               (emulator::the_machine().block_dim)
#define gridDim                (emulator::the_machine().grid_dim)
#define __syncthreads()        emulator::barrier(__FILE__ ":" EMULATOR_TEXT(__LINE__))
#define CU_DYN_SHARED(T, name) T *name = (T *)emulator::the_machine().dynamic.data()
#define CU_LAUNCH(kernel, grid, block, shared, stream, ...)                                        \
    emulator::go(#kernel, (grid), (block), (shared), (stream), kernel, __VA_ARGS__)
#endif

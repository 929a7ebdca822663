/* standin.cpp - a stand-in for CUDA's run time on the CPU, for tests. It is lazy, as a device may
 * be: work waits on its stream until the host waits for it, and of several streams the newest goes
 * first, so that a missing wait between two shows. Memory of the device can't be touched by the
 * host, holds NaN when it is handed out and again when it is given back, and, under the address
 * sanitizer, ends where it was said to end. What must not be done while a graph is recorded fails.
 *
 * The environment makes it fail on purpose:
 *   CUDA_STANDIN_MEMORY   megabytes of the device
 *   CUDA_STANDIN_DEVICES  how many there are
 *   CUDA_STANDIN_DRIVER   CUDA version that the driver serves, such as 11040
 *   CUDA_STANDIN_RUNTIME  version of the run time itself
 *   CUDA_STANDIN_ARCH     compute capability of the device, such as 75
 *   CUDA_STANDIN_TOUCH    error of the first call that needs the device, such as 209
 *   CUDA_STANDIN_BREAKS   the piece of work at which the device breaks: from then on every call
 *                         fails, as after an illegal address; it may be done when memory is asked
 *                         for */
#include "standin.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <deque>
#include <map>
#include <vector>
#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(p, n)   ((void)(p), (void)(n))
#define ASAN_UNPOISON_MEMORY_REGION(p, n) ((void)(p), (void)(n))
#endif

/* ---------------------------------------------------------------- streams */

struct CUevent_st {
    unsigned long recorded = 0, done = 0;
};
struct item {
    work run;
    CUevent_st *event;    /* to wait for */
    unsigned long ticket; /* until it has come that far */
    bool always;          /* even on a broken device: nobody waits for ever */
};
struct CUgraph_st {
    std::vector<work> works;
};
struct CUgraphExec_st {
    std::vector<work> works;
};
struct CUstream_st {
    std::deque<item> queue;
    CUgraph_st *recording = nullptr;
    bool spoiled = false; /* the recording */
};

static std::vector<CUstream_st *> streams;
static int recordings; /* under way */
static cudaError_t last_error;

cudaError_t standin_failed(cudaError_t error)
{
    last_error = error;
    return error;
}

/* A broken device stays broken, and says so whatever it is asked. */
static long steps_to_go = -1;
static cudaError_t broken;
static bool breaks()
{
    static const char *text = getenv("CUDA_STANDIN_BREAKS");
    if (text && steps_to_go < 0) steps_to_go = atol(text);
    if (text && steps_to_go > 0 && --steps_to_go == 0) broken = cudaErrorIllegalAddress;
    return broken != cudaSuccess;
}

static void open_memory(bool open);

/* Does the first piece of work of a stream, if it need not wait. */
static bool advance(CUstream_st *s)
{
    if (s->queue.empty()) return false;
    item &first = s->queue.front();
    if (first.event && first.event->done < first.ticket) return false;
    work run = std::move(first.run);
    const bool always = first.always;
    s->queue.pop_front();
    if (run && (always || !breaks())) run();
    return true;
}

/* Works until `reached`; a stream's own work first, others' only where it waits for them. */
static void work_until(CUstream_st *wanted, const std::function<bool()> &reached)
{
    if (reached()) return;
    open_memory(true);
    while (!reached()) {
        bool any = wanted && advance(wanted);
        for (size_t k = streams.size(); k-- > 0 && !any;) any = advance(streams[k]);
        if (!any) {
            fprintf(stderr, "standin: streams wait for each other, or for nothing\n");
            abort();
        }
    }
    open_memory(false);
}

void standin_push(cudaStream_t s, work w)
{
    if (s->recording)
        s->recording->works.push_back(std::move(w));
    else
        s->queue.push_back({ std::move(w), nullptr, 0, false });
}

/* What a recording does not allow spoils it. */
static bool forbidden(cudaStream_t s)
{
    if (!recordings) return false;
    if (s && s->recording) s->spoiled = true;
    for (CUstream_st *other : streams)
        if (!s && other->recording) other->spoiled = true;
    return !s || s->recording;
}

/* What a call returns before it does anything: the device is broken, or a stream records. */
static cudaError_t refused(cudaStream_t s)
{
    if (broken) return broken;
    return forbidden(s) ? standin_failed(cudaErrorStreamCaptureUnsupported) : cudaSuccess;
}
#define TRY_STANDIN(stream)                                                                        \
    do {                                                                                           \
        cudaError_t refused_ = refused(stream);                                                    \
        if (refused_) return refused_;                                                             \
    } while (0)

extern "C" {
typedef void (*queue_fn)(cudaStream_t, std::function<void()>);
extern queue_fn emulator_queue;
queue_fn emulator_queue = standin_push;

cudaError_t cudaStreamCreateWithFlags(cudaStream_t *s, unsigned)
{
    TRY_STANDIN(nullptr);
    streams.push_back(*s = new CUstream_st);
    return cudaSuccess;
}

cudaError_t cudaStreamDestroy(cudaStream_t s)
{
    work_until(s, [=] { return s->queue.empty(); });
    for (size_t i = 0; i < streams.size(); i++)
        if (streams[i] == s) streams.erase(streams.begin() + (long)i);
    delete s;
    return cudaSuccess;
}

cudaError_t cudaStreamSynchronize(cudaStream_t s)
{
    TRY_STANDIN(s);
    work_until(s, [=] { return s->queue.empty(); });
    return broken;
}

cudaError_t cudaEventCreateWithFlags(cudaEvent_t *e, unsigned)
{
    *e = new CUevent_st;
    return cudaSuccess;
}
cudaError_t cudaEventDestroy(cudaEvent_t e)
{
    work_until(nullptr, [=] { return e->done >= e->recorded; });
    delete e;
    return cudaSuccess;
}
cudaError_t cudaEventRecord(cudaEvent_t e, cudaStream_t s)
{
    TRY_STANDIN(s); /* allowed, but then the host may never wait for it */
    unsigned long ticket = ++e->recorded;
    s->queue.push_back({ [=] { e->done = ticket; }, nullptr, 0, true });
    return cudaSuccess;
}
cudaError_t cudaStreamWaitEvent(cudaStream_t s, cudaEvent_t e, unsigned)
{
    TRY_STANDIN(s); /* for an event outside of the recording */
    s->queue.push_back({ work(), e, e->recorded, false });
    return cudaSuccess;
}
cudaError_t cudaEventSynchronize(cudaEvent_t e)
{
    unsigned long ticket = e->recorded;
    TRY_STANDIN(nullptr);
    work_until(nullptr, [=] { return e->done >= ticket; });
    return broken;
}

/* ---------------------------------------------------------------- graphs */

cudaError_t cudaStreamBeginCapture(cudaStream_t s, enum cudaStreamCaptureMode)
{
    s->recording = new CUgraph_st;
    s->spoiled = false;
    recordings++;
    return cudaSuccess;
}
cudaError_t cudaStreamEndCapture(cudaStream_t s, cudaGraph_t *graph)
{
    recordings--;
    *graph = s->recording;
    s->recording = nullptr;
    if (!s->spoiled) return cudaSuccess;
    delete *graph;
    *graph = nullptr;
    return standin_failed(cudaErrorStreamCaptureInvalidated);
}
cudaError_t cudaGraphInstantiate(cudaGraphExec_t *x, cudaGraph_t graph, unsigned long long)
{
    TRY_STANDIN(nullptr);
    *x = new CUgraphExec_st{ graph->works };
    return cudaSuccess;
}
cudaError_t cudaGraphLaunch(cudaGraphExec_t x, cudaStream_t s)
{
    TRY_STANDIN(s);
    for (const work &w : x->works) standin_push(s, w);
    return cudaSuccess;
}
cudaError_t cudaGraphDestroy(cudaGraph_t graph)
{
    delete graph;
    return cudaSuccess;
}
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t x)
{
    delete x;
    return cudaSuccess;
}
} /* extern "C" */

bool standin_records() { return forbidden(nullptr); }

/* ---------------------------------------------------------------- memory */

/* Only the beginning of a large block is filled: pages that nobody touches cost nothing. The host
 * is locked out and let in at each wait, which is quick where the pages are large. */
static const size_t RESERVED = (size_t)1 << 33, FILLED = 128 << 10, LARGE_PAGE = 2 << 20;
static char *memory;
static size_t memory_top, memory_used;
static std::map<char *, size_t> handed_out;   /* start, bytes with what stands behind */
static std::multimap<size_t, char *> to_give; /* bytes, start */

size_t standin_number(const char *variable, size_t otherwise)
{
    const char *text = getenv(variable);
    return text && *text ? (size_t)strtoull(text, nullptr, 10) : otherwise;
}
static size_t capacity(void) { return standin_number("CUDA_STANDIN_MEMORY", 4096) << 20; }

static void open_memory(bool open)
{
    const size_t bytes = (memory_top + LARGE_PAGE - 1) / LARGE_PAGE * LARGE_PAGE;
    if (bytes) mprotect(memory, bytes, open ? PROT_READ | PROT_WRITE : PROT_NONE);
}

/* What a block takes: a power of two, so that the next of about its size can have it, and some room
 * behind, which nobody may touch. */
static size_t room_for(size_t n)
{
    size_t bytes = 8192;
    while (bytes < n + 4096) bytes *= 2;
    return bytes;
}

/* A piece of just that size which was given back, or a fresh one. */
static char *find_memory(size_t bytes)
{
    auto found = to_give.find(bytes);
    if (found != to_give.end()) {
        char *p = found->second;
        to_give.erase(found);
        return p;
    }
    if (!memory) {
        char *all = (char *)mmap(nullptr, RESERVED + LARGE_PAGE, PROT_NONE,
                                 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        memory = all + (LARGE_PAGE - (uintptr_t)all % LARGE_PAGE) % LARGE_PAGE;
        madvise(memory, RESERVED, MADV_HUGEPAGE);
    }
    if (memory_top + bytes > RESERVED) return nullptr;
    char *p = memory + memory_top;
    memory_top += bytes;
    return p;
}

extern "C" {
cudaError_t cudaMallocAsync(void **p, size_t n, cudaStream_t s)
{
    size_t bytes = room_for(n);
    *p = nullptr;
    TRY_STANDIN(s);
    if (getenv("CUDA_STANDIN_BREAKS")) work_until(s, [=] { return s->queue.empty(); });
    if (broken) return broken;
    if (n > capacity() - memory_used) return standin_failed(cudaErrorMemoryAllocation);
    char *start = find_memory(bytes);
    if (!start) return standin_failed(cudaErrorMemoryAllocation);
    memory_used += n;
    handed_out[start] = n;
    ASAN_UNPOISON_MEMORY_REGION(start, bytes);
    ASAN_POISON_MEMORY_REGION(start + n, bytes - n);
    standin_push(s, [=] {
        ASAN_UNPOISON_MEMORY_REGION(start, bytes);
        memset(start, 0xff, bytes < FILLED ? bytes : FILLED); /* NaN */
        ASAN_POISON_MEMORY_REGION(start + n, bytes - n);
    });
    *p = start;
    return cudaSuccess;
}

cudaError_t cudaFreeAsync(void *p, cudaStream_t s)
{
    auto found = handed_out.find((char *)p);
    if (s->recording) TRY_STANDIN(s); /* it is not of the recording */
    if (found == handed_out.end()) return standin_failed(cudaErrorInvalidValue);
    size_t n = found->second, bytes = room_for(n);
    handed_out.erase(found);
    memory_used -= n;
    s->queue.push_back({ [=] {
                            memset(p, 0xff, n < FILLED ? n : FILLED);
                            ASAN_POISON_MEMORY_REGION(p, bytes);
                            to_give.insert({ bytes, (char *)p });
                        },
                         nullptr, 0, true });
    return cudaSuccess;
}

static std::map<const char *, size_t> pinned;
cudaError_t cudaHostAlloc(void **p, size_t n, unsigned)
{
    *p = nullptr;
    TRY_STANDIN(nullptr);
    *p = malloc(n);
    if (*p) pinned[(const char *)*p] = n;
    return *p ? cudaSuccess : standin_failed(cudaErrorMemoryAllocation);
}
cudaError_t cudaFreeHost(void *p)
{
    if (recordings) TRY_STANDIN(nullptr);
    for (CUstream_st *s : streams) work_until(s, [=] { return s->queue.empty(); });
    pinned.erase((const char *)p);
    free(p);
    return cudaSuccess;
}

static bool is_pinned(const void *p, size_t n)
{
    auto next = pinned.upper_bound((const char *)p);
    if (next == pinned.begin()) return false;
    --next;
    return (const char *)p + n <= next->first + next->second;
}
cudaError_t cudaMemcpyAsync(void *to, const void *from, size_t n, enum cudaMemcpyKind kind,
                            cudaStream_t s)
{
    auto device = [](const void *p) {
        return memory && (const char *)p >= memory && (const char *)p < memory + RESERVED;
    };
    if (device(to) != (kind != cudaMemcpyDeviceToHost) ||
        device(from) != (kind != cudaMemcpyHostToDevice))
        return standin_failed(cudaErrorInvalidValue);
    if (broken) return broken;
    if (s->recording && kind != cudaMemcpyDeviceToDevice &&
        !is_pinned(kind == cudaMemcpyHostToDevice ? from : to, n))
        TRY_STANDIN(s); /* the host would have to wait */
    standin_push(s, [=] { memcpy(to, from, n); });
    return cudaSuccess;
}
cudaError_t cudaMemsetAsync(void *to, int value, size_t n, cudaStream_t s)
{
    if (broken) return broken;
    standin_push(s, [=] { memset(to, value, n); });
    return cudaSuccess;
}
cudaError_t cudaMemGetInfo(size_t *available, size_t *all)
{
    *all = capacity();
    *available = *all - memory_used;
    return cudaSuccess;
}

cudaError_t cudaDeviceGetDefaultMemPool(cudaMemPool_t *pool, int)
{
    *pool = (cudaMemPool_t)&memory;
    return cudaSuccess;
}
cudaError_t cudaMemPoolSetAttribute(cudaMemPool_t, enum cudaMemPoolAttr, void *)
{
    return cudaSuccess;
}
cudaError_t cudaMemPoolGetAttribute(cudaMemPool_t, enum cudaMemPoolAttr, void *value)
{
    unsigned long long bytes = memory_top;
    memcpy(value, &bytes, sizeof bytes);
    return cudaSuccess;
}
cudaError_t cudaMemPoolTrimTo(cudaMemPool_t, size_t) { return cudaSuccess; }

/* ---------------------------------------------------------------- the device */

cudaError_t cudaGetDeviceCount(int *n)
{
    int driver, runtime;
    *n = 0;
    cudaDriverGetVersion(&driver);
    cudaRuntimeGetVersion(&runtime);
    if (driver / 1000 < runtime / 1000) return standin_failed(cudaErrorInsufficientDriver);
    *n = (int)standin_number("CUDA_STANDIN_DEVICES", 1);
    return *n ? cudaSuccess : standin_failed(cudaErrorNoDevice);
}
cudaError_t cudaGetDevice(int *device)
{
    *device = 0;
    return cudaSuccess;
}
cudaError_t cudaGetDeviceProperties(struct cudaDeviceProp *p, int)
{
    snprintf(p->name, sizeof p->name, "stand-in");
    const int arch = (int)standin_number("CUDA_STANDIN_ARCH", 90);
    p->major = arch / 10;
    p->minor = arch % 10;
    const int threads[3] = { 1024, 1024, 64 }, blocks[3] = { 0x7fffffff, 65535, 65535 };
    memcpy(p->maxThreadsDim, threads, sizeof threads);
    memcpy(p->maxGridSize, blocks, sizeof blocks);
    p->sharedMemPerBlockOptin = 227 << 10;
    return cudaSuccess;
}
cudaError_t cudaDeviceGetAttribute(int *value, enum cudaDeviceAttr, int)
{
    *value = 1;
    return cudaSuccess;
}
cudaError_t cudaDeviceSynchronize(void)
{
    TRY_STANDIN(nullptr);
    for (CUstream_st *s : streams) work_until(s, [=] { return s->queue.empty(); });
    return broken;
}
cudaError_t standin_touch(void)
{
    return (cudaError_t)standin_number("CUDA_STANDIN_TOUCH", cudaSuccess);
}
cudaError_t cudaDriverGetVersion(int *version)
{
    *version = (int)standin_number("CUDA_STANDIN_DRIVER", 13000);
    return cudaSuccess;
}
cudaError_t cudaRuntimeGetVersion(int *version)
{
    *version = (int)standin_number("CUDA_STANDIN_RUNTIME", 13000);
    return cudaSuccess;
}
cudaError_t emulator_last_error(void);
cudaError_t cudaGetLastError(void)
{
    cudaError_t error = broken ? broken : last_error ? last_error : emulator_last_error();
    last_error = cudaSuccess;
    return error;
}
const char *cudaGetErrorString(cudaError_t error)
{
    switch (error) {
    case cudaSuccess: return "no error";
    case cudaErrorMemoryAllocation: return "out of memory";
    case cudaErrorInvalidConfiguration: return "invalid configuration argument";
    case cudaErrorInsufficientDriver: return "CUDA driver version is insufficient";
    case cudaErrorCallRequiresNewerDriver:
        return "API call is not supported in the installed CUDA driver";
    case cudaErrorNoDevice: return "no CUDA-capable device is detected";
    case cudaErrorStreamCaptureUnsupported:
        return "operation not permitted when stream is capturing";
    case cudaErrorStreamCaptureInvalidated:
        return "operation failed due to a previous error during capture";
    case cudaErrorInvalidKernelImage: return "device kernel image is invalid";
    case cudaErrorNoKernelImageForDevice:
        return "no kernel image is available for execution on the device";
    case cudaErrorJitCompilerNotFound: return "PTX JIT compiler library not found";
    case cudaErrorSymbolNotFound: return "named symbol not found";
    case cudaErrorInvalidPtx: return "a PTX JIT compilation failed";
    case cudaErrorIllegalAddress: return "an illegal memory access was encountered";
    default: return "invalid argument";
    }
}
} /* extern "C" */

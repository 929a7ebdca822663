/* engine.c - the CUDA backend: engines, running lists of steps, and recording them as graphs. */
#include "engine.h"
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "cuda.h"
#include "table.h"

struct recording {
    cudaGraphExec_t graph;
    const struct step *steps; /* for when each is to be timed */
    int64_t n;
};

/* ---------------------------------------------------------------- errors */

glow_status cuda_failed(cudaError_t error, const char *what)
{
    cudaGetLastError();
    return fail(error == cudaErrorMemoryAllocation ? GLOW_ENOMEM : GLOW_EIO, "cuda: %s: %s", what,
                cudaGetErrorString(error));
}

void step_failed(const struct step *step, struct run *run, const char *library, const char *why)
{
    run->status = fail(GLOW_EIO, "%s: %s: %s: %s", step->owner ? step->owner : "?",
                       op_name(step->op), library, why);
}

/* What a kernel found wrong with its operands. */
static glow_status report_fault(struct engine *e)
{
    const struct fault f = *e->fault;
    e->fault->code = FAULT_NONE;
    if (f.code == FAULT_PERMUTATION)
        return fail(GLOW_EINVAL,
                    "%s: lu_compose: perm is not a permutation of 0..%lld: entry %d is %g", f.owner,
                    (long long)(f.size - 1), (int)f.entry, f.value);
    return fail(GLOW_EINVAL, "%s: inverse: the %lld by %lld matrix is singular", f.owner,
                (long long)f.size, (long long)f.size);
}

glow_status engine_finish(struct engine *e)
{
    TRY_CUDA(cudaStreamSynchronize(e->stream));
    TRY_CUDA(cudaGetLastError());
    return e->fault && e->fault->code ? report_fault(e) : GLOW_OK;
}

/* ---------------------------------------------------------------- opening */

/* A driver serves every run time of its own major version. But of 12, the first passes no more than
 * 4 kB of arguments to a kernel, and those of fused.cu take more: that would fail in a step. */
static int oldest_driver(int runtime)
{
    return runtime / 1000 == 12 ? 12010 : runtime / 1000 * 1000;
}

/* Whether the first device runs our kernels: it may be of a kind that the build did not name, or
 * another process may hold it. */
static int runs_kernels(char *why, size_t size)
{
    struct cudaDeviceProp p = { 0 };
    cudaError_t error = cudaGetDeviceProperties(&p, 0);
    if (error == cudaSuccess) error = engine_try_kernel();
    if (error == cudaSuccess) return 1;
    cudaGetLastError();
    snprintf(why, size,
             "the first device, %.200s of compute capability %d.%d, does not run its kernels: %s "
             "(./configure --with-cuda-archs says for which it is built)",
             p.name, p.major, p.minor, cudaGetErrorString(error));
    return 0;
}

int engine_usable(char *why, size_t size)
{
    int devices = 0, driver = 0, runtime = 0, pools = 0;
    cudaError_t error = cudaGetDeviceCount(&devices);
    cudaDriverGetVersion(&driver);
    cudaRuntimeGetVersion(&runtime);
    const int oldest = oldest_driver(runtime);
    if (error == cudaErrorInsufficientDriver || driver < oldest) {
        snprintf(why, size,
                 "the NVIDIA driver is too old: it serves CUDA %d.%d, this glow needs %d.%d "
                 "(asked the driver)",
                 driver / 1000, driver % 1000 / 10, oldest / 1000, oldest % 1000 / 10);
        return 0;
    }
    if (error != cudaSuccess || devices == 0) {
        snprintf(why, size, "no device: %s (asked the driver for GPUs; CUDA_VISIBLE_DEVICES=%s)",
                 error != cudaSuccess ? cudaGetErrorString(error) : "it has none",
                 getenv("CUDA_VISIBLE_DEVICES") ? getenv("CUDA_VISIBLE_DEVICES") : "");
        return 0;
    }
    cudaDeviceGetAttribute(&pools, cudaDevAttrMemoryPoolsSupported, 0);
    if (!pools) snprintf(why, size, "the first device has no memory pools");
    return pools && runs_kernels(why, size);
}

/* How chains of convolutions multiply: in bf16 where the configuration says so, else as
 * GLOW_CUDA_MATH says. */
static glow_status choose_math(struct engine *e, bool bf16, const char **name)
{
    const char *wish = getenv("GLOW_CUDA_MATH");
    *name = "fp32";
    e->products = CUBLAS_COMPUTE_32F;
    if (bf16) {
        *name = "bf16";
        e->bf16 = 1;
    } else if (wish && !strcmp(wish, "tf32")) {
        *name = "tf32";
        e->products = CUBLAS_COMPUTE_32F_FAST_TF32;
    } else if (wish && *wish && strcmp(wish, "fp32") != 0) {
        return fail(GLOW_EINVAL, "GLOW_CUDA_MATH=%s: expected fp32 or tf32", wish);
    }
    return GLOW_OK;
}

static glow_status describe_device(struct engine *e, bool bf16)
{
    struct cudaDeviceProp p;
    const char *math = "";
    TRY(choose_math(e, bf16, &math));
    TRY_CUDA(cudaGetDevice(&e->device));
    TRY_CUDA(cudaGetDeviceProperties(&p, e->device));
    e->capability = 10 * p.major + p.minor;
    snprintf(e->name, sizeof e->name, "%.200s sm_%d%d %s", p.name, p.major, p.minor, math);
    return GLOW_OK;
}

/* The stream first: setting it takes cuBLAS back to a workspace of its own. */
static glow_status open_libraries(struct engine *e)
{
    void *workspace;
    TRY_CUDA(cudaMallocAsync(&workspace, WORKSPACE_BYTES, e->stream));
    e->workspace = workspace;
    cublasStatus_t blas = cublasCreate(&e->blas);
    if (blas == CUBLAS_STATUS_SUCCESS) blas = cublasSetStream(e->blas, e->stream);
    if (blas == CUBLAS_STATUS_SUCCESS)
        blas = cublasSetWorkspace(e->blas, e->workspace, WORKSPACE_BYTES);
    if (blas == CUBLAS_STATUS_SUCCESS) blas = cublasLtCreate(&e->blas_lt);
    if (blas != CUBLAS_STATUS_SUCCESS)
        return fail(GLOW_EIO, "cuda: cuBLAS does not start: %s", cublasGetStatusString(blas));
    cudnnStatus_t dnn = cudnnCreate(&e->dnn);
    if (dnn == CUDNN_STATUS_SUCCESS) dnn = cudnnSetStream(e->dnn, e->stream);
    if (dnn != CUDNN_STATUS_SUCCESS)
        return fail(GLOW_EIO, "cuda: cuDNN does not start: %s", cudnnGetErrorString(dnn));
    return GLOW_OK;
}

static glow_status fill_engine(struct engine *e, bool bf16)
{
    void *p;
    const char *check = getenv("GLOW_CUDA_CHECK");
    e->check_each = check && *check && strcmp(check, "0") != 0;
    TRY(describe_device(e, bf16));
    TRY_CUDA(cudaStreamCreateWithFlags(&e->stream, cudaStreamNonBlocking));
    TRY_CUDA(cudaStreamCreateWithFlags(&e->copies, cudaStreamNonBlocking));
    TRY_CUDA(cudaHostAlloc(&p, sizeof *e->fault, cudaHostAllocDefault));
    e->fault = p;
    *e->fault = (struct fault){ .code = FAULT_NONE };
    TRY(memory_open(e));
    TRY(memory_alloc(e, sizeof *e->key, "key of random numbers", &p));
    e->key = p;
    TRY(memory_alloc(e, sizeof *e->watch, "watch for NaN", &p));
    e->watch = p;
    TRY(open_libraries(e));
    TRY(plans_open(e));
    return update_open(e);
}

static void cuda_close(struct engine *e)
{
    if (!e) return;
    if (e->stream) cudaStreamSynchronize(e->stream);
    if (e->dnn) cudnnDestroy(e->dnn);
    plans_close(e);
    if (e->blas_lt) cublasLtDestroy(e->blas_lt);
    if (e->blas) cublasDestroy(e->blas);
    update_close(e);
    if (e->workspace) cudaFreeAsync(e->workspace, e->stream);
    memory_close(e);
    if (e->fault) cudaFreeHost(e->fault);
    if (e->copies) cudaStreamDestroy(e->copies);
    if (e->stream) cudaStreamDestroy(e->stream);
    free(e);
}

static glow_status open_engine(struct engine **out, bool bf16)
{
    struct engine *e = calloc(1, sizeof *e);
    *out = NULL;
    if (!e) return fail_memory(sizeof *e, "cuda engine");
    glow_status status = fill_engine(e, bf16);
    if (status == GLOW_OK)
        *out = e;
    else
        cuda_close(e);
    return status;
}

/* threads: of the CPU; here there is one. */
static glow_status cuda_open(struct engine **out, int threads)
{
    (void)threads;
    return open_engine(out, false);
}
static glow_status cuda_open_bf16(struct engine **out, int threads)
{
    (void)threads;
    return open_engine(out, true);
}

static int cuda_threads(const struct engine *e)
{
    (void)e;
    return 1;
}
static const char *cuda_kernels(const struct engine *e) { return e->name; }

/* ---------------------------------------------------------------- running */

static double seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

/* Steps one by one, the host waiting for each: to time them, or to find the one that fails. */
static void run_waiting(struct engine *e, const struct step *step, int64_t n, struct run *run)
{
    double before = seconds();
    for (int64_t i = 0; i < n && run->status == GLOW_OK; i++) {
        step[i].run(&step[i], run);
        if (run->status == GLOW_OK) run->status = engine_finish(e);
        if (run->status != GLOW_OK)
            fail_context(run->status, "%s: %s", step[i].owner ? step[i].owner : "?",
                         op_name(step[i].op));
        double after = seconds();
        if (e->seconds_by_op) e->seconds_by_op[step[i].op] += after - before;
        before = after;
    }
}

static void launch_steps(const struct step *step, int64_t n, struct run *run)
{
    for (int64_t i = 0; i < n && run->status == GLOW_OK; i++) step[i].run(&step[i], run);
}

static void set_key(struct engine *e, const struct run *run)
{
    const struct run_key key = { run->seed, run->step, run->row };
    engine_set_key(e, &key);
}

static glow_status cuda_run(struct engine *e, const struct step *step, int64_t n, struct run *run)
{
    run->engine = e;
    run->status = GLOW_OK;
    set_key(e, run);
    if (run->nonfinite) TRY(memory_upload(e, e->watch, run->nonfinite, sizeof *e->watch));
    e->launching = 1;
    if (e->check_each || e->seconds_by_op)
        run_waiting(e, step, n, run);
    else
        launch_steps(step, n, run);
    e->launching = 0;
    TRY(run->status);
    if (run->update) update_launch(e, run->update);
    TRY_CUDA(cudaGetLastError());
    if (run->nonfinite) TRY(memory_download(e, run->nonfinite, e->watch, sizeof *e->watch));
    return GLOW_OK;
}

static void cuda_profile(struct engine *e, double *seconds_by_op)
{
    e->seconds_by_op = seconds_by_op;
}

/* ---------------------------------------------------------------- recording */

/* A plug-in's function is called by the host, and what it launches goes to a stream of its own:
 * none of that would come again with a replay. */
static bool calls_functions(const struct step *step, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        if (step[i].op == OP_CUSTOM && !step[i].custom->image) return true;
    return false;
}

static glow_status capture(struct engine *e, const struct step *step, int64_t n,
                           const struct train_update *update, cudaGraph_t *graph)
{
    struct run run = { .engine = e, .status = GLOW_OK };
    TRY_CUDA(cudaStreamBeginCapture(e->stream, cudaStreamCaptureModeThreadLocal));
    e->launching = 1;
    launch_steps(step, n, &run);
    e->launching = 0;
    if (update && run.status == GLOW_OK) update_launch(e, update);
    cudaError_t launched = cudaGetLastError(); /* a launch that was refused spoils no recording */
    cudaError_t error = cudaStreamEndCapture(e->stream, graph);
    TRY(run.status);
    TRY_CUDA(launched);
    TRY_CUDA(error);
    return GLOW_OK;
}

static glow_status cuda_record(struct engine *e, const struct step *step, int64_t n,
                               const struct train_update *update, struct recording **out)
{
    glow_status status;
    cudaGraph_t graph = NULL;
    *out = NULL;
    if (e->check_each || calls_functions(step, n)) return GLOW_OK;
    struct recording *r = calloc(1, sizeof *r);
    if (!r) return fail_memory(sizeof *r, "recording");
    *r = (struct recording){ .steps = step, .n = n };
    TRY_OUT(capture(e, step, n, update, &graph));
    cudaError_t error = cudaGraphInstantiate(&r->graph, graph, 0);
    if (error != cudaSuccess) TRY_OUT(cuda_failed(error, "cudaGraphInstantiate"));
    *out = r;
    r = NULL;
out:
    if (status != GLOW_OK)
        fail_context(status, "recording %lld steps (GLOW_CUDA_CHECK=1 does without)", (long long)n);
    if (graph) cudaGraphDestroy(graph);
    free(r);
    return status;
}

static glow_status cuda_replay(struct engine *e, struct recording *r, struct run *run)
{
    if (e->seconds_by_op) return cuda_run(e, r->steps, r->n, run);
    set_key(e, run);
    TRY_CUDA(cudaGraphLaunch(r->graph, e->stream));
    return GLOW_OK;
}

static void cuda_forget(struct engine *e, struct recording *r)
{
    if (!r) return;
    cudaStreamSynchronize(e->stream); /* it may be running */
    cudaGraphExecDestroy(r->graph);
    free(r);
}

/* clang-format off */
#define MEMBERS                                                                                    \
    .name = "cuda",                                                                                \
    .close = cuda_close,                                                                           \
    .threads = cuda_threads,                                                                       \
    .kernels = cuda_kernels,                                                                       \
    .alloc = memory_alloc,                                                                         \
    .release = memory_release,                                                                     \
    .kernel = table_kernel,                                                                        \
    .scratch = table_scratch,                                                                      \
    .run = cuda_run,                                                                               \
    .optim = cuda_optim,                                                                           \
    .sum_squares = cuda_sum_squares,                                                               \
    .ema = cuda_ema,                                                                               \
    .profile = cuda_profile,                                                                       \
    .upload = memory_upload,                                                                       \
    .download = memory_download,                                                                   \
    .copy = memory_copy,                                                                           \
    .load_image = images_load,                                                                     \
    .finish = engine_finish,                                                                       \
    .update_begin = update_begin,                                                                  \
    .update_end = update_end,                                                                      \
    .record = cuda_record,                                                                         \
    .replay = cuda_replay,                                                                         \
    .forget = cuda_forget,                                                                         \
    .memory = memory_report,
/* clang-format on */
static const struct backend backend_cuda_bf16 = { .open = cuda_open_bf16,
                                                  .chain_hidden = cuda_chain_hidden_bf16,
                                                  MEMBERS };
const struct backend backend_cuda = {
    .open = cuda_open, .chain_hidden = cuda_chain_hidden, .bf16 = &backend_cuda_bf16, MEMBERS
};

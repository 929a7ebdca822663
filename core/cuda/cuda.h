/* cuda.h - what the files of the CUDA backend share: the engine, its memory, and the kernels.
 *
 * Everything runs on one stream, `stream`, in order; `copies` brings input to the device beside it.
 * A kernel of ops.def is a host function that launches device kernels and returns at once; errors
 * of the device come to light when the host next waits (engine_finish). Launches may be under
 * capture (engine.c), so a kernel function must not allocate, wait or ask the device. */
#ifndef CORE_CUDA_CUDA_H
#define CORE_CUDA_CUDA_H
#include <cublasLt.h>
#include <cublas_v2.h>
#include <cuda_runtime_api.h>
#include <cudnn.h>
#ifdef __cplusplus
extern "C" {
#endif
#include "../backend.h"

/* What changes from run to run, in device memory: graphs read it there. */
struct run_key {
    uint64_t seed, step;
    int64_t row;
};

/* The first kernel that could not do its work says so in memory that the host sees, too. */
enum { FAULT_NONE, FAULT_PERMUTATION, FAULT_SINGULAR };
enum { OWNER_TEXT = 80 };
struct fault {
    int32_t code, entry; /* entry: of a permutation */
    double value;        /* of that entry */
    int64_t size;        /* of the matrix */
    char owner[OWNER_TEXT];
};
struct owner {
    char text[OWNER_TEXT];
};

struct block;   /* memory.c: memory that was handed out */
struct plan;    /* plans.c: how cuBLASLt does a product */
struct staging; /* memory.c: a piece of input on its way */
struct device_update;
struct host_update;

struct engine {
    int device, capability; /* capability: 90 for 9.0 */
    char name[280];         /* for people: "NVIDIA H100, sm_90, fp32" */
    cudaStream_t stream, copies;
    cublasHandle_t blas;
    cublasLtHandle_t blas_lt;
    cudnnHandle_t dnn;
    cublasComputeType_t products; /* how chains multiply f32; all others do it in f32 */
    int bf16;                     /* chains multiply bf16 */
    void *workspace;              /* of cuBLAS */
    struct plan **plans;
    struct run_key *key;          /* device */
    int32_t *watch;               /* device: see run.nonfinite */
    struct fault *fault;          /* host memory that the device sees */
    struct device_update *update; /* update.cu */
    struct host_update *host_update;
    int launching;  /* steps: nothing may be made or looked up */
    int check_each; /* GLOW_CUDA_CHECK: wait after each step and name the one that failed */
    double *seconds_by_op;

    cudaMemPool_t pool;
    struct block *blocks;
    size_t used, peak;
    struct staging *staging;
    int next_staging;
};

enum { WORKSPACE_BYTES = 32 << 20 };

/* A size that work is cut into. That of the emulator is small, so that tests come by the seams. */
#ifdef CUDA_EMULATOR
#define CUT(device, emulator) emulator
#else
#define CUT(device, emulator) device
#endif

/* ---- engine.c */

/* Records a failed call of a library: "conv2d in level.0.affine: cudnn: ...". */
glow_status cuda_failed(cudaError_t, const char *what);
#define TRY_CUDA(call)                                                                             \
    do {                                                                                           \
        cudaError_t error_ = (call);                                                               \
        if (error_ != cudaSuccess) return cuda_failed(error_, #call);                              \
    } while (0)
/* Waits for the device and reports what went wrong there. */
glow_status engine_finish(struct engine *);
void engine_set_key(struct engine *, const struct run_key *); /* random.cu */
/* Loads a kernel, so that a device without code for it, or out of reach, shows. */
cudaError_t engine_try_kernel(void); /* random.cu */
/* A step failed on its way to the device: the run stops. */
void step_failed(const struct step *, struct run *, const char *library, const char *why);

/* ---- memory.c */

glow_status memory_open(struct engine *);
void memory_close(struct engine *);
glow_status memory_alloc(struct engine *, size_t bytes, const char *owner, void **out);
void memory_release(struct engine *, void *);
void memory_report(struct engine *, struct memory_report *);
glow_status memory_upload(struct engine *, void *to, const void *from, size_t bytes);
glow_status memory_download(struct engine *, void *to, const void *from, size_t bytes);
glow_status memory_copy(struct engine *, void *to, const void *from, size_t bytes);

/* ---- images.c: device code that plug-ins bring */

struct image_kernel;
/* backend.load_image */
glow_status images_load(struct engine *, const char *name, const struct glow_kernel *,
                        const struct glow_kernel_call *shapes);
/* What images_load made of it. */
const struct image_kernel *images_find(const struct glow_kernel *);
/* How the plug-in wants it launched for these shapes. */
glow_status images_geometry(const struct image_kernel *, const struct glow_kernel *,
                            const struct glow_kernel_call *shapes, struct glow_launch *);
/* Behind what is on the stream; argument[i] points to 8 bytes. */
cudaError_t images_launch(const struct image_kernel *, const struct glow_launch *, void **argument,
                          cudaStream_t);

/* ---- update.cu: flat loops, and the second half of a training step */

void cuda_optim(struct engine *, const struct optim_args *);
double cuda_sum_squares(struct engine *, const struct flat *);
void cuda_ema(struct engine *, const struct flat *average, const struct flat *x, double decay);
void update_launch(struct engine *, const struct train_update *);
glow_status update_begin(struct engine *, uint64_t done, const struct update_rate *, int n);
glow_status update_end(struct engine *, struct update_report *, int n);
glow_status update_open(struct engine *);
void update_close(struct engine *);

/* ---- products.c */

/* A type of matrices that chains keep, beside those of tensor.h. */
enum { DT_BF16 = 16 };
static inline size_t real_size(int32_t type) { return type == DT_BF16 ? 2 : dtype_size(type); }

/* What is done to a product on its way out, where product_rides says so; flags. */
enum {
    RIDE_BIAS = 1,     /* adds a vector (columns) of the type of C */
    RIDE_RELU = 2,     /* then max(x, 0) */
    RIDE_MASK = 4,     /* and writes a bit for each element, that of x > 0 */
    RIDE_RELU_VJP = 8, /* 0 where such a bit is 0 */
    RIDE_A_SUMS = 16   /* writes the sums of A over the depth, (rows) of the type of C */
};
enum { MASK_BITS = 128 }; /* rows of masks are multiples of this, as cuBLASLt wants them */

/* C (rows, columns) = A B + beta C, row by row, `batch` times. An operand is plain, (rows, depth)
 * or (depth, columns) with that distance of rows, or turned. */
struct product {
    int32_t dtype, result; /* of A and B; of C, 0: the same */
    int32_t fast;          /* f32 may be rounded as the engine's `products` says */
    int64_t rows, columns, depth;
    const void *a, *b;
    void *c;
    int64_t a_stride, b_stride, c_stride; /* from row to row */
    int a_turned, b_turned;
    double beta;
    int64_t batch, a_batch, b_batch, c_batch;
    /* With batch 1, matrices that start and have rows at multiples of 16 bytes: */
    int32_t rides;
    const void *bias;    /* RIDE_BIAS */
    void *sums;          /* RIDE_A_SUMS */
    void *mask;          /* RIDE_MASK, RIDE_RELU_VJP: bits, row by row */
    int64_t mask_stride; /* in bits */
};
/* Whether cuBLAS takes the strides. */
int product_is_plain(const struct product *);
void product_run(const struct product *, const struct step *, struct run *);
/* Products with any strides, also 0 and negative ones (gemm.cu). C is dense, item by item. */
struct strided_product {
    int32_t dtype;
    int64_t rows, columns, depth;
    const void *a, *b;
    void *c;
    int64_t a_row, a_column, b_row, b_column;
    int32_t n_axes;
    int64_t axis[MAX_DIMS], a_axis[MAX_DIMS], b_axis[MAX_DIMS];
};
void strided_product_run(const struct strided_product *, struct run *);

/* ---- plans.c: products with something on their way out, through cuBLASLt. The way is looked up
 * once for each shape, before the first step that needs it, and stays. */

glow_status plans_open(struct engine *);
void plans_close(struct engine *);
/* Whether there is a way for this product with its rides; looks at no data. */
int product_rides(const struct engine *, const struct product *);
cublasStatus_t plan_run(const struct product *, const struct engine *);

/* ---- kernels */

#define KERNEL_LEAF(op)
#define KERNEL_VIEW(op)
#define KERNEL_FILL(op)               void cuda_kernel_##op(const struct step *, struct run *);
#define KERNEL_ELEM(op)               void cuda_kernel_##op(const struct step *, struct run *);
#define KERNEL_KERN(op)               void cuda_kernel_##op(const struct step *, struct run *);
#define OP(name, text, class, layout) KERNEL_##class(name)
#include "../ops.def"
#undef OP
#undef KERNEL_LEAF
#undef KERNEL_VIEW
#undef KERNEL_FILL
#undef KERNEL_ELEM
#undef KERNEL_KERN

/* Kernels that want scratch; it depends on shapes alone. */
/* clang-format off */
#define SCRATCH_OPS(X)                                                                             \
    X(FUSED) X(SUM) X(REDUCE_MAX) X(REDUCE_MIN) X(LU) X(LU_VJP) X(SLOGDET) X(INVERSE)                       \
    X(CUSTOM) X(MATC_DW) X(CONV) X(CONV_DX) X(CONV_DW) X(CHAIN) X(CHAIN_VJP)
/* clang-format on */
#define SCRATCH(op) size_t cuda_scratch_##op(const struct engine *, const struct step *);
SCRATCH_OPS(SCRATCH)
#undef SCRATCH
int64_t cuda_chain_hidden(const struct step *, int i);
int64_t cuda_chain_hidden_bf16(const struct step *, int i);

/* Sums of `columns` columns of (rows, columns), in f64, in order: to[column] (reduce.cu). room:
 * column_sums_room doubles. */
void column_sums(struct run *, int32_t dtype, const void *x, int64_t rows, int64_t columns,
                 int64_t stride, void *to, double *room);
int64_t column_sums_room(int64_t rows, int64_t columns);
/* Sums over images and pixels of (images, channels, pixels) with these strides: to[channel], of
 * the same type, but f32 those of bf16. */
void channel_sums(struct run *, int32_t dtype, const void *x, const int64_t dim[3],
                  const int64_t stride[3], void *to, double *room);
int64_t channel_sums_room(int64_t channels);

const char *op_name(int op);

/* Hands out parts of a step's scratch; start NULL: only counts. */
struct carve {
    char *start;
    size_t used;
};
static inline void *carve(struct carve *room, int64_t elements, size_t size)
{
    char *at = room->start ? room->start + room->used : NULL;
    room->used += ((size_t)elements * size + 255) / 256 * 256;
    return at;
}
#ifdef __cplusplus
}
#endif
#endif

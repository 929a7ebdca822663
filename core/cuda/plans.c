/* plans.c - products with something on their way out: a bias, a ReLU and the bits of where it let
 * through, or backward the ReLU's derivative from these bits and the gradient of a bias. cuBLASLt
 * does that in its kernels' epilogues, so that results do not pass through memory once more; where
 * it has no kernel for a shape or a type, product_rides says so and the caller does it by itself.
 *
 * Asking cuBLASLt for its way costs time, and the answer must stay the same, so that a run repeats
 * itself: it is asked when a program is built (scratch), and the answer is kept by shape. A step
 * only looks it up. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include "cuda.h"

/* All that the way depends on; unused bytes are 0. */
struct plan_key {
    int64_t rows, columns, depth, a_stride, b_stride, c_stride, mask_stride;
    int32_t dtype, result, rides, a_turned, b_turned, adds;
};

struct plan {
    struct plan *next;
    struct plan_key key;
    int works;
    cublasLtMatmulDesc_t desc;
    cublasLtMatrixLayout_t a, b, c; /* as cuBLASLt names them: our B, our A, C */
    cublasLtMatmulAlgo_t way;
};

enum { BUCKETS = 64, ALIGNMENT = 16 };

glow_status plans_open(struct engine *e)
{
    e->plans = calloc(BUCKETS, sizeof *e->plans);
    return e->plans ? GLOW_OK : fail_memory(BUCKETS * sizeof *e->plans, "cuda engine");
}

static void free_plan(struct plan *p)
{
    if (p->c) cublasLtMatrixLayoutDestroy(p->c);
    if (p->b) cublasLtMatrixLayoutDestroy(p->b);
    if (p->a) cublasLtMatrixLayoutDestroy(p->a);
    if (p->desc) cublasLtMatmulDescDestroy(p->desc);
    free(p);
}

void plans_close(struct engine *e)
{
    for (int i = 0; i < BUCKETS && e->plans; i++)
        while (e->plans[i]) {
            struct plan *p = e->plans[i];
            e->plans[i] = p->next;
            free_plan(p);
        }
    free(e->plans);
}

static struct plan_key key_of(const struct product *p)
{
    struct plan_key k;
    memset(&k, 0, sizeof k);
    k.rows = p->rows;
    k.columns = p->columns;
    k.depth = p->depth;
    k.a_stride = p->a_stride;
    k.b_stride = p->b_stride;
    k.c_stride = p->c_stride;
    k.mask_stride = p->mask_stride;
    k.dtype = p->dtype;
    k.result = p->result ? p->result : p->dtype;
    k.rides = p->rides;
    k.a_turned = p->a_turned;
    k.b_turned = p->b_turned;
    k.adds = p->beta != 0;
    return k;
}

/* ---------------------------------------------------------------- asking cuBLASLt */

static cublasLtEpilogue_t epilogue_of(int rides)
{
    switch (rides) {
    case RIDE_BIAS: return CUBLASLT_EPILOGUE_BIAS;
    case RIDE_RELU: return CUBLASLT_EPILOGUE_RELU;
    case RIDE_BIAS | RIDE_RELU: return CUBLASLT_EPILOGUE_RELU_BIAS;
    case RIDE_RELU | RIDE_MASK: return CUBLASLT_EPILOGUE_RELU_AUX;
    case RIDE_BIAS | RIDE_RELU | RIDE_MASK: return CUBLASLT_EPILOGUE_RELU_AUX_BIAS;
    case RIDE_RELU_VJP: return CUBLASLT_EPILOGUE_DRELU;
    case RIDE_A_SUMS: return CUBLASLT_EPILOGUE_BGRADB; /* our A is cuBLASLt's B */
    default: return CUBLASLT_EPILOGUE_DEFAULT;
    }
}

static cublasStatus_t set(struct plan *p, cublasLtMatmulDescAttributes_t which, const void *value,
                          size_t size)
{
    return cublasLtMatmulDescSetAttribute(p->desc, which, value, size);
}

/* Where vector and mask lie; the addresses also tell how they are aligned. */
static cublasStatus_t set_pointers(struct plan *p, const void *vector, const void *mask)
{
    cublasStatus_t status = CUBLAS_STATUS_SUCCESS;
    if (p->key.rides & (RIDE_BIAS | RIDE_A_SUMS))
        status = set(p, CUBLASLT_MATMUL_DESC_BIAS_POINTER, &vector, sizeof vector);
    if (status == CUBLAS_STATUS_SUCCESS && p->key.rides & (RIDE_MASK | RIDE_RELU_VJP))
        status = set(p, CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_POINTER, &mask, sizeof mask);
    return status;
}

#define NEXT(call)                                                                                 \
    if (status == CUBLAS_STATUS_SUCCESS) status = (call)

static cublasStatus_t describe(struct plan *p, const struct engine *e)
{
    const struct plan_key *k = &p->key;
    const cudaDataType_t in = k->dtype == DT_BF16 ? CUDA_R_16BF : CUDA_R_32F;
    const cudaDataType_t out = k->result == DT_BF16 ? CUDA_R_16BF : CUDA_R_32F;
    const cublasOperation_t op_a = k->b_turned ? CUBLAS_OP_T : CUBLAS_OP_N;
    const cublasOperation_t op_b = k->a_turned ? CUBLAS_OP_T : CUBLAS_OP_N;
    const cublasLtEpilogue_t epilogue = epilogue_of(k->rides);
    const void *somewhere = (const void *)(uintptr_t)ALIGNMENT;
    cublasStatus_t status = cublasLtMatmulDescCreate(
        &p->desc, k->dtype == DT_BF16 ? CUBLAS_COMPUTE_32F : e->products, CUDA_R_32F);
    NEXT(set(p, CUBLASLT_MATMUL_DESC_TRANSA, &op_a, sizeof op_a));
    NEXT(set(p, CUBLASLT_MATMUL_DESC_TRANSB, &op_b, sizeof op_b));
    NEXT(set(p, CUBLASLT_MATMUL_DESC_EPILOGUE, &epilogue, sizeof epilogue));
    if (k->rides & (RIDE_MASK | RIDE_RELU_VJP))
        NEXT(set(p, CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_LD, &k->mask_stride, sizeof k->mask_stride));
    NEXT(set_pointers(p, somewhere, somewhere));
    NEXT(cublasLtMatrixLayoutCreate(&p->a, in, (uint64_t)(k->b_turned ? k->depth : k->columns),
                                    (uint64_t)(k->b_turned ? k->columns : k->depth), k->b_stride));
    NEXT(cublasLtMatrixLayoutCreate(&p->b, in, (uint64_t)(k->a_turned ? k->rows : k->depth),
                                    (uint64_t)(k->a_turned ? k->depth : k->rows), k->a_stride));
    NEXT(cublasLtMatrixLayoutCreate(&p->c, out, (uint64_t)k->columns, (uint64_t)k->rows,
                                    k->c_stride));
    return status;
}

static cublasStatus_t find_way(struct plan *p, const struct engine *e)
{
    static const cublasLtMatmulPreferenceAttributes_t alignments[] = {
        CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES,
        CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES
    };
    cublasLtMatmulPreference_t wish = NULL;
    cublasLtMatmulHeuristicResult_t found;
    const size_t room = WORKSPACE_BYTES;
    const uint32_t alignment = ALIGNMENT;
    int n = 0;
    cublasStatus_t status = cublasLtMatmulPreferenceCreate(&wish);
    NEXT(cublasLtMatmulPreferenceSetAttribute(wish, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &room,
                                              sizeof room));
    for (int i = 0; i < 4; i++)
        NEXT(cublasLtMatmulPreferenceSetAttribute(wish, alignments[i], &alignment,
                                                  sizeof alignment));
    NEXT(cublasLtMatmulAlgoGetHeuristic(e->blas_lt, p->desc, p->a, p->b, p->c, p->c, wish, 1,
                                        &found, &n));
    if (wish) cublasLtMatmulPreferenceDestroy(wish);
    if (status == CUBLAS_STATUS_SUCCESS && n == 0) status = CUBLAS_STATUS_NOT_SUPPORTED;
    if (status == CUBLAS_STATUS_SUCCESS) status = found.state;
    if (status == CUBLAS_STATUS_SUCCESS) p->way = found.algo;
    return status;
}
#undef NEXT

/* The plan for that product, made when it is new; NULL: no memory. */
static struct plan *plan_of(const struct engine *e, const struct product *product)
{
    const struct plan_key key = key_of(product);
    const unsigned char *bytes = (const unsigned char *)&key;
    uint32_t hash = 2166136261u; /* FNV-1a */
    for (size_t i = 0; i < sizeof key; i++) hash = (hash ^ bytes[i]) * 16777619u;
    struct plan **list = &e->plans[hash % BUCKETS];
    for (struct plan *p = *list; p; p = p->next)
        if (!memcmp(&p->key, &key, sizeof key)) return p;
    assert(!e->launching); /* scratch has asked */
    struct plan *p = calloc(1, sizeof *p);
    if (!p) return NULL;
    p->key = key;
    p->works = key.dtype != DT_F64 && key.rows > 0 && key.columns > 0 &&
               describe(p, e) == CUBLAS_STATUS_SUCCESS && find_way(p, e) == CUBLAS_STATUS_SUCCESS;
    p->next = *list;
    *list = p;
    return p;
}

int product_rides(const struct engine *e, const struct product *product)
{
    const struct plan *p = plan_of(e, product);
    return p && p->works;
}

cublasStatus_t plan_run(const struct product *product, const struct engine *e)
{
    struct plan *p = plan_of(e, product);
    const float one = 1, beta = (float)product->beta;
    if (!p || !p->works) return CUBLAS_STATUS_NOT_SUPPORTED;
    cublasStatus_t status = set_pointers(
        p, product->rides & RIDE_A_SUMS ? product->sums : product->bias, product->mask);
    if (status != CUBLAS_STATUS_SUCCESS) return status;
    return cublasLtMatmul(e->blas_lt, p->desc, &one, product->b, p->a, product->a, p->b, &beta,
                          product->c, p->c, product->c, p->c, &p->way, e->workspace,
                          WORKSPACE_BYTES, e->stream);
}

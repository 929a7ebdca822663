/* standin_blas.cpp - the products that glow asks cuBLAS and cuBLASLt for, by plain loops, in the
 * order of the stream. Arguments are checked as the real ones check them: types that go together,
 * strides, alignment, masks in rows of 128 bits. What an algorithm was found for is all that it
 * does. Operands are rounded as the type of computation says.
 *
 *   CUDA_STANDIN_WITHOUT  epilogues with one of these bits (128: masks, 512: sums, ...) have no
 *                         algorithm
 *   CUDA_STANDIN_RELU     "other": ReLU makes 0 of NaN, and masks let a 0 through */
#include <stdlib.h>
#include <string.h>
#include <vector>
#include "cublasLt.h"
#include "cublas_v2.h"
#include "standin.h"

struct cublasContext {
    cudaStream_t stream;
    bool workspace; /* the caller's */
};
struct cublasLtContext {
    int unused;
};

/* ---------------------------------------------------------------- numbers */

static float with_bits(uint32_t bits)
{
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}
static uint32_t bits_of(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}
/* To the nearest number without the last n bits, halves to even. */
static float rounded(float x, int n)
{
    uint32_t u = bits_of(x), unit = 1u << n;
    if (x != x) return x;
    return with_bits((u + unit / 2 - 1 + (u >> n & 1)) & ~(unit - 1));
}

static bool aligned(const void *p, uint64_t to) { return (uintptr_t)p % to == 0; }
static size_t size_of(cudaDataType type)
{
    return type == CUDA_R_64F ? 8 : type == CUDA_R_16BF ? 2 : 4;
}
static double load(const void *p, cudaDataType type, long long i)
{
    if (type == CUDA_R_64F) return ((const double *)p)[i];
    if (type == CUDA_R_16BF) return with_bits((uint32_t)((const uint16_t *)p)[i] << 16);
    return ((const float *)p)[i];
}
static void store(void *p, cudaDataType type, long long i, double x)
{
    if (type == CUDA_R_64F)
        ((double *)p)[i] = x;
    else if (type == CUDA_R_16BF)
        ((uint16_t *)p)[i] = (uint16_t)(bits_of(rounded((float)x, 16)) >> 16);
    else
        ((float *)p)[i] = (float)x;
}

/* ---------------------------------------------------------------- a product by columns */

struct operand { /* element (i,j) of op(A) at i * down + j * right */
    const void *data;
    cudaDataType type;
    long long down, right;
};
static struct operand operand_of(const void *data, cudaDataType type, bool turned, long long ld)
{
    struct operand m = { data, type, turned ? ld : 1, turned ? 1 : ld };
    return m;
}

struct epilogue {
    int kind = CUBLASLT_EPILOGUE_DEFAULT;
    void *vector = nullptr, *mask = nullptr;
    long long mask_ld = 0; /* in bits */
};

/* op(M) as (n, m): column by column of the transpose, rounded. */
static std::vector<double> read(const struct operand &a, int m, int n, cublasComputeType_t how)
{
    std::vector<double> to((size_t)m * (size_t)n);
    int bits = how == CUBLAS_COMPUTE_32F_FAST_16BF   ? 16
               : how == CUBLAS_COMPUTE_32F_FAST_TF32 ? 13
                                                     : 0;
    for (int j = 0; j < n; j++)
        for (int i = 0; i < m; i++) {
            double x = load(a.data, a.type, i * a.down + j * a.right);
            to[(size_t)j * (size_t)m + (size_t)i] = bits ? rounded((float)x, bits) : x;
        }
    return to;
}

/* What cuBLASLt makes of NaN and 0 is not written down: as our kernels have it (NaN stays, 0 does
 * not pass), or the other way. */
static bool other_relu()
{
    static const char *text = getenv("CUDA_STANDIN_RELU");
    return text && !strcmp(text, "other");
}

static void multiply(int m, int n, int k, double alpha, const struct operand &a,
                     const struct operand &b, double beta, void *c, cudaDataType type,
                     long long ldc, cublasComputeType_t how, const struct epilogue &end)
{
    std::vector<double> left = read(a, m, k, how), right = read(b, k, n, how), sum((size_t)m);
    unsigned char *mask = (unsigned char *)end.mask;
    bool bias = end.kind & CUBLASLT_EPILOGUE_BIAS, relu = end.kind & CUBLASLT_EPILOGUE_RELU;
    /* Another epilogue may be another kernel, which adds up in another way. */
    const int lost = !mask || end.kind == CUBLASLT_EPILOGUE_DRELU ? 0
                     : a.type == CUDA_R_16BF                      ? 9
                                                                  : 1; /* bits of a sum */
    for (int j = 0; j < n; j++) {
        double total = 0;
        for (double &s : sum) s = 0;
        for (int p = 0; p < k; p++) {
            const double *column = &left[(size_t)p * (size_t)m];
            double x = right[(size_t)j * (size_t)k + (size_t)p];
            total += x;
            for (int i = 0; i < m; i++) sum[(size_t)i] += column[i] * x;
            for (int i = 0; i < m && lost; i++)
                sum[(size_t)i] = rounded((float)sum[(size_t)i], lost);
        }
        if (end.kind == CUBLASLT_EPILOGUE_BGRADB) store(end.vector, type, j, total);
        for (int i = 0; i < m; i++) {
            long long at = i + j * ldc, bit = i + j * end.mask_ld;
            double x = alpha * sum[(size_t)i];
            if (beta != 0) x += beta * load(c, type, at);
            if (bias) x += load(end.vector, type, i);
            if (end.kind == CUBLASLT_EPILOGUE_DRELU) {
                if (!(mask[bit / 8] >> bit % 8 & 1)) x = 0;
            } else if (mask) {
                unsigned char one = (unsigned char)(1 << bit % 8);
                bool passes = other_relu() ? x >= 0 : x > 0;
                mask[bit / 8] = (unsigned char)((mask[bit / 8] & ~one) | (passes ? one : 0));
            }
            if (relu && (other_relu() ? !(x > 0) : x < 0)) x = 0;
            store(c, type, at, x);
        }
    }
}

/* Which types go together, as cuBLAS documents them. */
static bool types_fit(cudaDataType a, cudaDataType b, cudaDataType c, cublasComputeType_t how)
{
    if (a != b) return false;
    if (a == CUDA_R_64F) return c == a && how == CUBLAS_COMPUTE_64F;
    if (a == CUDA_R_16BF) return c != CUDA_R_64F && how == CUBLAS_COMPUTE_32F;
    return c == a && how != CUBLAS_COMPUTE_64F;
}

/* ---------------------------------------------------------------- cuBLAS */

extern "C" {
cublasStatus_t cublasCreate(cublasHandle_t *h)
{
    *h = new cublasContext();
    return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasDestroy(cublasHandle_t h)
{
    delete h;
    return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasSetStream(cublasHandle_t h, cudaStream_t s)
{
    h->stream = s;
    h->workspace = false; /* back to one of its own */
    return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasSetWorkspace(cublasHandle_t h, void *p, size_t)
{
    if (!aligned(p, 256)) return CUBLAS_STATUS_INVALID_VALUE;
    h->workspace = p != nullptr;
    return CUBLAS_STATUS_SUCCESS;
}
const char *cublasGetStatusString(cublasStatus_t status)
{
    return status == CUBLAS_STATUS_NOT_SUPPORTED ? "not supported"
           : status                              ? "an unsupported value or parameter"
                                                 : "success";
}

cublasStatus_t cublasGemmStridedBatchedEx(cublasHandle_t h, cublasOperation_t ta,
                                          cublasOperation_t tb, int m, int n, int k,
                                          const void *alpha, const void *a, cudaDataType type_a,
                                          int lda, long long stride_a, const void *b,
                                          cudaDataType type_b, int ldb, long long stride_b,
                                          const void *beta, void *c, cudaDataType type_c, int ldc,
                                          long long stride_c, int batch, cublasComputeType_t how,
                                          cublasGemmAlgo_t)
{
    cudaDataType scale = type_c == CUDA_R_64F ? CUDA_R_64F : CUDA_R_32F;
    double one = load(alpha, scale, 0), add = load(beta, scale, 0);
    if (!types_fit(type_a, type_b, type_c, how)) return CUBLAS_STATUS_NOT_SUPPORTED;
    if (!h->workspace)
        return CUBLAS_STATUS_ALLOC_FAILED; /* recordings must not share cuBLAS's own */
    if (m < 0 || n < 0 || k < 0 || lda < (ta ? k : m) || ldb < (tb ? n : k) || ldc < m)
        return CUBLAS_STATUS_INVALID_VALUE;
    standin_push(h->stream, [=] {
        for (long long i = 0; i < batch; i++) {
            const char *from_a = (const char *)a + i * stride_a * (long long)size_of(type_a);
            const char *from_b = (const char *)b + i * stride_b * (long long)size_of(type_b);
            char *to = (char *)c + i * stride_c * (long long)size_of(type_c);
            multiply(m, n, k, one, operand_of(from_a, type_a, ta, lda),
                     operand_of(from_b, type_b, tb, ldb), add, to, type_c, ldc, how, epilogue());
        }
    });
    return CUBLAS_STATUS_SUCCESS;
}
} /* extern "C" */

/* ---------------------------------------------------------------- cuBLASLt */

struct standin_lt_desc {
    cublasComputeType_t how;
    cublasOperation_t ta, tb;
    cublasLtEpilogue_t epilogue;
    void *vector, *mask;
    int64_t mask_ld;
};
struct standin_lt_layout {
    cudaDataType type;
    uint64_t rows, cols;
    int64_t ld;
};
struct standin_lt_preference {
    uint32_t alignment[4] = { 256, 256, 256, 256 }; /* of A, B, C, D */
    size_t workspace = 0;
};

/* What an algorithm was found for, in its opaque words. */
struct found_for {
    uint64_t m, n, k, epilogue, alignment, workspace;
};
static_assert(sizeof(found_for) <= sizeof(cublasLtMatmulAlgo_t), "an algorithm holds it");

static struct found_for found_for_of(cublasLtMatmulDesc_t d, cublasLtMatrixLayout_t a,
                                     cublasLtMatrixLayout_t c)
{
    struct found_for f = {};
    f.m = c->rows;
    f.n = c->cols;
    f.k = d->ta ? a->rows : a->cols;
    f.epilogue = (uint64_t)d->epilogue;
    return f;
}

static bool layout_aligned(cublasLtMatrixLayout_t l)
{
    return (size_t)l->ld * size_of(l->type) % 16 == 0;
}

/* What the vector and the mask of an epilogue must be. */
static bool extras_fit(cublasLtMatmulDesc_t d, cublasLtMatrixLayout_t a, cublasLtMatrixLayout_t b,
                       cublasLtMatrixLayout_t c)
{
    const char *without = getenv("CUDA_STANDIN_WITHOUT");
    if (d->epilogue == CUBLASLT_EPILOGUE_DEFAULT) return true;
    if (without && d->epilogue & atoi(without)) return false;
    if (!layout_aligned(a) || !layout_aligned(b) || !layout_aligned(c)) return false;
    if (d->epilogue & (CUBLASLT_EPILOGUE_BIAS | CUBLASLT_EPILOGUE_BGRADB) &&
        (!d->vector || !aligned(d->vector, 16)))
        return false;
    if (d->epilogue & 128 &&
        (!d->mask || !aligned(d->mask, 16) || d->mask_ld % 128 || d->mask_ld < (int64_t)c->rows))
        return false;
    return true;
}

extern "C" {
cublasStatus_t cublasLtCreate(cublasLtHandle_t *h)
{
    *h = new cublasLtContext();
    return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtDestroy(cublasLtHandle_t h)
{
    delete h;
    return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulDescCreate(cublasLtMatmulDesc_t *d, cublasComputeType_t how,
                                        cudaDataType_t)
{
    *d = new standin_lt_desc();
    (*d)->how = how;
    (*d)->epilogue = CUBLASLT_EPILOGUE_DEFAULT;
    return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulDescDestroy(cublasLtMatmulDesc_t d)
{
    delete d;
    return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulDescSetAttribute(cublasLtMatmulDesc_t d,
                                              cublasLtMatmulDescAttributes_t which,
                                              const void *value, size_t size)
{
    void *to = nullptr;
    size_t wanted = 4;
    switch (which) {
    case CUBLASLT_MATMUL_DESC_TRANSA: to = &d->ta; break;
    case CUBLASLT_MATMUL_DESC_TRANSB: to = &d->tb; break;
    case CUBLASLT_MATMUL_DESC_EPILOGUE: to = &d->epilogue; break;
    case CUBLASLT_MATMUL_DESC_BIAS_POINTER: to = &d->vector; break;
    case CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_POINTER: to = &d->mask; break;
    case CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_LD: to = &d->mask_ld; break;
    }
    if (which >= CUBLASLT_MATMUL_DESC_BIAS_POINTER) wanted = 8;
    if (!to || size != wanted) return CUBLAS_STATUS_INVALID_VALUE;
    memcpy(to, value, size);
    return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatrixLayoutCreate(cublasLtMatrixLayout_t *l, cudaDataType type,
                                          uint64_t rows, uint64_t cols, int64_t ld)
{
    *l = new standin_lt_layout{ type, rows, cols, ld };
    return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatrixLayoutDestroy(cublasLtMatrixLayout_t l)
{
    delete l;
    return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulPreferenceCreate(cublasLtMatmulPreference_t *p)
{
    *p = new standin_lt_preference();
    return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulPreferenceDestroy(cublasLtMatmulPreference_t p)
{
    delete p;
    return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulPreferenceSetAttribute(cublasLtMatmulPreference_t p,
                                                    cublasLtMatmulPreferenceAttributes_t which,
                                                    const void *value, size_t size)
{
    bool room = which == CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES;
    if (size != (room ? 8 : 4)) return CUBLAS_STATUS_INVALID_VALUE;
    memcpy(room ? (void *)&p->workspace
                : &p->alignment[which - CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES],
           value, size);
    return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulAlgoGetHeuristic(cublasLtHandle_t, cublasLtMatmulDesc_t d,
                                              cublasLtMatrixLayout_t a, cublasLtMatrixLayout_t b,
                                              cublasLtMatrixLayout_t c, cublasLtMatrixLayout_t,
                                              cublasLtMatmulPreference_t wish, int,
                                              cublasLtMatmulHeuristicResult_t *result, int *n)
{
    struct found_for f = found_for_of(d, a, c);
    *n = 0;
    memset(result, 0, sizeof *result);
    if ((d->ta ? a->cols : a->rows) != f.m || (d->tb ? b->rows : b->cols) != f.n ||
        f.k != (d->tb ? b->cols : b->rows) || a->ld < (int64_t)a->rows ||
        b->ld < (int64_t)b->rows || c->ld < (int64_t)c->rows)
        return CUBLAS_STATUS_INVALID_VALUE;
    if (!types_fit(a->type, b->type, c->type, d->how) || !extras_fit(d, a, b, c))
        return CUBLAS_STATUS_NOT_SUPPORTED;
    f.alignment = wish->alignment[0];
    f.workspace = wish->workspace;
    memcpy(&result->algo, &f, sizeof f);
    *n = 1;
    return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmul(cublasLtHandle_t, cublasLtMatmulDesc_t d, const void *alpha,
                              const void *a, cublasLtMatrixLayout_t la, const void *b,
                              cublasLtMatrixLayout_t lb, const void *beta, const void *c,
                              cublasLtMatrixLayout_t lc, void *to, cublasLtMatrixLayout_t,
                              const cublasLtMatmulAlgo_t *algo, void *workspace, size_t room,
                              cudaStream_t stream)
{
    float one = *(const float *)alpha, add = *(const float *)beta;
    struct found_for f, now = found_for_of(d, la, lc);
    memcpy(&f, algo, sizeof f);
    now.alignment = f.alignment;
    now.workspace = f.workspace;
    if (memcmp(&f, &now, sizeof f) != 0 || room < f.workspace || c != to || !workspace ||
        !aligned(workspace, 256) || !aligned(a, f.alignment) || !aligned(b, f.alignment) ||
        !aligned(to, f.alignment) || !extras_fit(d, la, lb, lc))
        return CUBLAS_STATUS_INVALID_VALUE;
    struct epilogue end;
    end.kind = d->epilogue;
    end.vector = d->vector;
    end.mask = d->epilogue & 128 ? d->mask : nullptr;
    end.mask_ld = d->mask_ld;
    struct operand left = operand_of(a, la->type, d->ta, la->ld);
    struct operand right = operand_of(b, lb->type, d->tb, lb->ld);
    cudaDataType type = lc->type;
    cublasComputeType_t how = d->how;
    long long ldc = lc->ld;
    standin_push(stream, [=] {
        multiply((int)f.m, (int)f.n, (int)f.k, one, left, right, add, to, type, ldc, how, end);
    });
    return CUBLAS_STATUS_SUCCESS;
}
} /* extern "C" */

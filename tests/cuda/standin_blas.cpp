/* standin_blas.cpp - the products that glow asks cuBLAS and cuBLASLt for, by plain loops, in the
 * order of the stream. Arguments are checked as the real ones check them. */
#include <string.h>
#include <vector>
#include "cublasLt.h"
#include "cublas_v2.h"
#include "standin.h"

struct cublasContext {
    cudaStream_t stream;
};
struct cublasLtContext {
    int unused;
};

/* ---------------------------------------------------------------- a product by columns */

struct matrix { /* element (i,j) of op(A) at i * down + j * right */
    const void *data;
    long long down, right;
};

static struct matrix operand(const void *data, bool turned, long long ld)
{
    struct matrix m = { data, turned ? ld : 1, turned ? 1 : ld };
    return m;
}

template <class T>
static void multiply(int m, int n, int k, T alpha, const struct matrix &a, const struct matrix &b,
                     T beta, T *c, long long ldc, const T *bias, bool relu)
{
    std::vector<double> sum((size_t)m);
    for (int j = 0; j < n; j++) {
        for (int i = 0; i < m; i++) sum[(size_t)i] = 0;
        for (int p = 0; p < k; p++) {
            const T *column = (const T *)a.data + p * a.right;
            double x = (double)((const T *)b.data)[p * b.down + j * b.right];
            for (int i = 0; i < m; i++) sum[(size_t)i] += (double)column[i * a.down] * x;
        }
        for (int i = 0; i < m; i++) {
            T *to = c + i + j * ldc;
            T x = (T)((double)alpha * sum[(size_t)i]);
            if (beta != 0) x += beta * *to;
            if (bias) x += bias[i];
            *to = relu && x < 0 ? T(0) : x;
        }
    }
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
    return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasSetWorkspace(cublasHandle_t, void *, size_t) { return CUBLAS_STATUS_SUCCESS; }
const char *cublasGetStatusString(cublasStatus_t status)
{
    return status == CUBLAS_STATUS_NOT_SUPPORTED ? "not supported"
           : status                              ? "an unsupported value or parameter"
                                                 : "success";
}
} /* extern "C" */

template <class T>
static void push_products(cudaStream_t stream, bool ta, bool tb, int m, int n, int k,
                          const void *alpha, const void *a, int lda, long long stride_a,
                          const void *b, int ldb, long long stride_b, const void *beta, void *c,
                          int ldc, long long stride_c, int batch)
{
    T one = *(const T *)alpha, add = *(const T *)beta;
    standin_push(stream, [=] {
        for (long long i = 0; i < batch; i++)
            multiply<T>(m, n, k, one, operand((const T *)a + i * stride_a, ta, lda),
                        operand((const T *)b + i * stride_b, tb, ldb), add, (T *)c + i * stride_c,
                        ldc, nullptr, false);
    });
}

extern "C" cublasStatus_t cublasGemmStridedBatchedEx(
    cublasHandle_t h, cublasOperation_t ta, cublasOperation_t tb, int m, int n, int k,
    const void *alpha, const void *a, cudaDataType type_a, int lda, long long stride_a,
    const void *b, cudaDataType type_b, int ldb, long long stride_b, const void *beta, void *c,
    cudaDataType type_c, int ldc, long long stride_c, int batch, cublasComputeType_t compute,
    cublasGemmAlgo_t)
{
    bool wide = type_c == CUDA_R_64F;
    if (type_a != type_c || type_b != type_c || wide != (compute == CUBLAS_COMPUTE_64F))
        return CUBLAS_STATUS_NOT_SUPPORTED;
    if (m < 0 || n < 0 || k < 0 || lda < (ta ? k : m) || ldb < (tb ? n : k) || ldc < m)
        return CUBLAS_STATUS_INVALID_VALUE;
    if (wide)
        push_products<double>(h->stream, ta, tb, m, n, k, alpha, a, lda, stride_a, b, ldb, stride_b,
                              beta, c, ldc, stride_c, batch);
    else
        push_products<float>(h->stream, ta, tb, m, n, k, alpha, a, lda, stride_a, b, ldb, stride_b,
                             beta, c, ldc, stride_c, batch);
    return CUBLAS_STATUS_SUCCESS;
}

/* ---------------------------------------------------------------- cuBLASLt */

struct standin_lt_desc {
    cublasOperation_t ta, tb;
    cublasLtEpilogue_t epilogue;
    const void *bias;
};
struct standin_lt_layout {
    cudaDataType type;
    uint64_t rows, cols;
    int64_t ld;
};
struct standin_lt_preference {
    int unused;
};

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
cublasStatus_t cublasLtMatmulDescCreate(cublasLtMatmulDesc_t *d, cublasComputeType_t,
                                        cudaDataType_t)
{
    *d = new standin_lt_desc();
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
    void *to = which == CUBLASLT_MATMUL_DESC_TRANSA     ? (void *)&d->ta
               : which == CUBLASLT_MATMUL_DESC_TRANSB   ? (void *)&d->tb
               : which == CUBLASLT_MATMUL_DESC_EPILOGUE ? (void *)&d->epilogue
                                                        : (void *)&d->bias;
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
cublasStatus_t cublasLtMatmulPreferenceSetAttribute(cublasLtMatmulPreference_t,
                                                    cublasLtMatmulPreferenceAttributes_t,
                                                    const void *, size_t)
{
    return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulAlgoGetHeuristic(cublasLtHandle_t, cublasLtMatmulDesc_t d,
                                              cublasLtMatrixLayout_t a, cublasLtMatrixLayout_t b,
                                              cublasLtMatrixLayout_t c, cublasLtMatrixLayout_t,
                                              cublasLtMatmulPreference_t, int,
                                              cublasLtMatmulHeuristicResult_t *found, int *n)
{
    uint64_t m = d->ta ? a->cols : a->rows, k = d->ta ? a->rows : a->cols;
    *n = 0;
    memset(found, 0, sizeof *found);
    if (m != c->rows || (d->tb ? b->rows : b->cols) != c->cols ||
        k != (d->tb ? b->cols : b->rows) || a->ld < (int64_t)a->rows || b->ld < (int64_t)b->rows ||
        c->ld < (int64_t)c->rows)
        return CUBLAS_STATUS_INVALID_VALUE;
    *n = 1;
    return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmul(cublasLtHandle_t, cublasLtMatmulDesc_t d, const void *alpha,
                              const void *a, cublasLtMatrixLayout_t la, const void *b,
                              cublasLtMatrixLayout_t lb, const void *beta, const void *c,
                              cublasLtMatrixLayout_t lc, void *to, cublasLtMatrixLayout_t,
                              const cublasLtMatmulAlgo_t *, void *, size_t, cudaStream_t stream)
{
    float one = *(const float *)alpha, add = *(const float *)beta;
    struct matrix left = operand(a, d->ta, la->ld), right = operand(b, d->tb, lb->ld);
    int m = (int)lc->rows, n = (int)lc->cols, k = (int)(d->ta ? la->rows : la->cols);
    long long ldc = lc->ld;
    const float *bias = (const float *)d->bias;
    bool relu = d->epilogue == CUBLASLT_EPILOGUE_RELU_BIAS;
    if (c != to || la->type != CUDA_R_32F || lc->type != CUDA_R_32F)
        return CUBLAS_STATUS_NOT_SUPPORTED;
    standin_push(stream, [=] {
        multiply<float>(m, n, k, one, left, right, add, (float *)to, ldc, bias, relu);
    });
    return CUBLAS_STATUS_SUCCESS;
}
} /* extern "C" */

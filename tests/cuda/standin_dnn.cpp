/* standin_dnn.cpp - the convolutions that glow asks cuDNN for, by plain loops, in the order of the
 * stream. The workspace that was asked for is filled, so that one too small shows. */
#include <stdint.h>
#include <string.h>
#include "cudnn.h"
#include "standin.h"

struct cudnnContext {
    cudaStream_t stream;
};
struct cudnnTensorStruct {
    int n, c, h, w;
    long long stride[4];
    bool wide;
};
struct cudnnFilterStruct {
    int k, c, h, w;
    bool wide;
};
struct cudnnConvolutionStruct {
    int pad_h, pad_w;
};
enum { WORKSPACE = 1000 };

/* Calls visit(y, x, w) with the offsets of all that meet. */
template <class Visit>
static void convolve(const cudnnTensorStruct &x, const cudnnTensorStruct &y,
                     const cudnnFilterStruct &w, const cudnnConvolutionStruct &how, Visit visit)
{
    for (int n = 0; n < y.n; n++)
        for (int k = 0; k < y.c; k++)
            for (int i = 0; i < y.h; i++)
                for (int j = 0; j < y.w; j++)
                    for (int c = 0; c < x.c; c++)
                        for (int r = 0; r < w.h; r++)
                            for (int s = 0; s < w.w; s++) {
                                int a = i + r - how.pad_h, b = j + s - how.pad_w;
                                if (a < 0 || b < 0 || a >= x.h || b >= x.w) continue;
                                visit(n * y.stride[0] + k * y.stride[1] + i * y.stride[2] + j,
                                      n * x.stride[0] + c * x.stride[1] + a * x.stride[2] + b,
                                      ((long long)(k * w.c + c) * w.h + r) * w.w + s);
                            }
}

template <class Visit> static void each(const cudnnTensorStruct &t, Visit visit)
{
    for (int n = 0; n < t.n; n++)
        for (int c = 0; c < t.c; c++)
            for (int i = 0; i < t.h; i++)
                for (int j = 0; j < t.w; j++)
                    visit(n * t.stride[0] + c * t.stride[1] + i * t.stride[2] + j);
}

static bool fit(const cudnnTensorStruct &x, const cudnnTensorStruct &y, const cudnnFilterStruct &w,
                const cudnnConvolutionStruct &how)
{
    return x.n == y.n && x.c == w.c && y.c == w.k && x.wide == y.wide && x.wide == w.wide &&
           y.h == x.h + 2 * how.pad_h - w.h + 1 && y.w == x.w + 2 * how.pad_w - w.w + 1;
}

/* which: 0 y, 1 dx, 2 dw; the sums are made in T, from zero. */
template <class T>
static void push_convolution(cudaStream_t stream, int which, cudnnTensorStruct x,
                             cudnnTensorStruct y, cudnnFilterStruct w, cudnnConvolutionStruct how,
                             T *px, T *py, T *pw, void *workspace, size_t room)
{
    standin_push(stream, [=] {
        if (room) memset(workspace, 0xff, room);
        if (which == 0) each(y, [=](long long i) { py[i] = 0; });
        if (which == 1) each(x, [=](long long i) { px[i] = 0; });
        if (which == 2) memset(pw, 0, sizeof(T) * (size_t)(w.k * w.c * w.h * w.w));
        convolve(x, y, w, how, [=](long long iy, long long ix, long long iw) {
            if (which == 0)
                py[iy] += px[ix] * pw[iw];
            else if (which == 1)
                px[ix] += py[iy] * pw[iw];
            else
                pw[iw] += px[ix] * py[iy];
        });
    });
}

static cudnnStatus_t run(cudnnHandle_t h, int which, const cudnnTensorStruct &x,
                         const cudnnTensorStruct &y, const cudnnFilterStruct &w,
                         const cudnnConvolutionStruct &how, const void *px, const void *py,
                         const void *pw, void *workspace, size_t room)
{
    if (!fit(x, y, w, how) || room < WORKSPACE || !workspace || (uintptr_t)workspace % 256)
        return CUDNN_STATUS_BAD_PARAM;
    if (x.wide)
        push_convolution<double>(h->stream, which, x, y, w, how, (double *)px, (double *)py,
                                 (double *)pw, workspace, room);
    else
        push_convolution<float>(h->stream, which, x, y, w, how, (float *)px, (float *)py,
                                (float *)pw, workspace, room);
    return CUDNN_STATUS_SUCCESS;
}

extern "C" {
cudnnStatus_t cudnnCreate(cudnnHandle_t *h)
{
    *h = new cudnnContext();
    return CUDNN_STATUS_SUCCESS;
}
cudnnStatus_t cudnnDestroy(cudnnHandle_t h)
{
    delete h;
    return CUDNN_STATUS_SUCCESS;
}
cudnnStatus_t cudnnSetStream(cudnnHandle_t h, cudaStream_t s)
{
    h->stream = s;
    return CUDNN_STATUS_SUCCESS;
}
const char *cudnnGetErrorString(cudnnStatus_t status)
{
    return status == CUDNN_STATUS_BAD_PARAM ? "CUDNN_STATUS_BAD_PARAM" : "CUDNN_STATUS";
}
cudnnStatus_t cudnnCreateTensorDescriptor(cudnnTensorDescriptor_t *d)
{
    *d = new cudnnTensorStruct();
    return CUDNN_STATUS_SUCCESS;
}
cudnnStatus_t cudnnDestroyTensorDescriptor(cudnnTensorDescriptor_t d)
{
    delete d;
    return CUDNN_STATUS_SUCCESS;
}
cudnnStatus_t cudnnSetTensor4dDescriptorEx(cudnnTensorDescriptor_t d, cudnnDataType_t type, int n,
                                           int c, int h, int w, int n_stride, int c_stride,
                                           int h_stride, int w_stride)
{
    if (n < 1 || c < 1 || h < 1 || w < 1 || w_stride != 1) return CUDNN_STATUS_NOT_SUPPORTED;
    *d = { n, c, h, w, { n_stride, c_stride, h_stride, 1 }, type == CUDNN_DATA_DOUBLE };
    return CUDNN_STATUS_SUCCESS;
}
cudnnStatus_t cudnnCreateFilterDescriptor(cudnnFilterDescriptor_t *d)
{
    *d = new cudnnFilterStruct();
    return CUDNN_STATUS_SUCCESS;
}
cudnnStatus_t cudnnDestroyFilterDescriptor(cudnnFilterDescriptor_t d)
{
    delete d;
    return CUDNN_STATUS_SUCCESS;
}
cudnnStatus_t cudnnSetFilter4dDescriptor(cudnnFilterDescriptor_t d, cudnnDataType_t type,
                                         cudnnTensorFormat_t, int k, int c, int h, int w)
{
    *d = { k, c, h, w, type == CUDNN_DATA_DOUBLE };
    return CUDNN_STATUS_SUCCESS;
}
cudnnStatus_t cudnnCreateConvolutionDescriptor(cudnnConvolutionDescriptor_t *d)
{
    *d = new cudnnConvolutionStruct();
    return CUDNN_STATUS_SUCCESS;
}
cudnnStatus_t cudnnDestroyConvolutionDescriptor(cudnnConvolutionDescriptor_t d)
{
    delete d;
    return CUDNN_STATUS_SUCCESS;
}
cudnnStatus_t cudnnSetConvolution2dDescriptor(cudnnConvolutionDescriptor_t d, int pad_h, int pad_w,
                                              int u, int v, int du, int dv,
                                              cudnnConvolutionMode_t mode, cudnnDataType_t)
{
    if (u != 1 || v != 1 || du != 1 || dv != 1 || mode != CUDNN_CROSS_CORRELATION)
        return CUDNN_STATUS_NOT_SUPPORTED;
    *d = { pad_h, pad_w };
    return CUDNN_STATUS_SUCCESS;
}
cudnnStatus_t cudnnSetConvolutionMathType(cudnnConvolutionDescriptor_t, cudnnMathType_t)
{
    return CUDNN_STATUS_SUCCESS;
}
cudnnStatus_t cudnnGetConvolutionForwardWorkspaceSize(cudnnHandle_t, const cudnnTensorDescriptor_t,
                                                      const cudnnFilterDescriptor_t,
                                                      const cudnnConvolutionDescriptor_t,
                                                      const cudnnTensorDescriptor_t,
                                                      cudnnConvolutionFwdAlgo_t, size_t *n)
{
    *n = WORKSPACE;
    return CUDNN_STATUS_SUCCESS;
}
cudnnStatus_t cudnnGetConvolutionBackwardDataWorkspaceSize(cudnnHandle_t,
                                                           const cudnnFilterDescriptor_t,
                                                           const cudnnTensorDescriptor_t,
                                                           const cudnnConvolutionDescriptor_t,
                                                           const cudnnTensorDescriptor_t,
                                                           cudnnConvolutionBwdDataAlgo_t, size_t *n)
{
    *n = WORKSPACE;
    return CUDNN_STATUS_SUCCESS;
}
cudnnStatus_t cudnnGetConvolutionBackwardFilterWorkspaceSize(
    cudnnHandle_t, const cudnnTensorDescriptor_t, const cudnnTensorDescriptor_t,
    const cudnnConvolutionDescriptor_t, const cudnnFilterDescriptor_t,
    cudnnConvolutionBwdFilterAlgo_t, size_t *n)
{
    *n = WORKSPACE;
    return CUDNN_STATUS_SUCCESS;
}
cudnnStatus_t cudnnConvolutionForward(cudnnHandle_t h, const void *,
                                      const cudnnTensorDescriptor_t x, const void *px,
                                      const cudnnFilterDescriptor_t w, const void *pw,
                                      const cudnnConvolutionDescriptor_t how,
                                      cudnnConvolutionFwdAlgo_t, void *workspace, size_t room,
                                      const void *, const cudnnTensorDescriptor_t y, void *py)
{
    return run(h, 0, *x, *y, *w, *how, px, py, pw, workspace, room);
}
cudnnStatus_t cudnnConvolutionBackwardData(cudnnHandle_t h, const void *,
                                           const cudnnFilterDescriptor_t w, const void *pw,
                                           const cudnnTensorDescriptor_t y, const void *py,
                                           const cudnnConvolutionDescriptor_t how,
                                           cudnnConvolutionBwdDataAlgo_t, void *workspace,
                                           size_t room, const void *,
                                           const cudnnTensorDescriptor_t x, void *px)
{
    return run(h, 1, *x, *y, *w, *how, px, py, pw, workspace, room);
}
cudnnStatus_t cudnnConvolutionBackwardFilter(cudnnHandle_t h, const void *,
                                             const cudnnTensorDescriptor_t x, const void *px,
                                             const cudnnTensorDescriptor_t y, const void *py,
                                             const cudnnConvolutionDescriptor_t how,
                                             cudnnConvolutionBwdFilterAlgo_t, void *workspace,
                                             size_t room, const void *,
                                             const cudnnFilterDescriptor_t w, void *pw)
{
    return run(h, 2, *x, *y, *w, *how, px, py, pw, workspace, room);
}
} /* extern "C" */

/* conv.c - a single convolution: through cuDNN, or, in bf16 and with the channel that is 1 outside
 * the image, which cuDNN does not know, as a chain of one stage. The algorithms are fixed ones that
 * add in a fixed order. */
#include "chain.h"

/* ---------------------------------------------------------------- cuDNN */

struct convolution {
    cudnnTensorDescriptor_t x, y;
    cudnnFilterDescriptor_t w;
    cudnnConvolutionDescriptor_t how;
    cudnnStatus_t status;
    const char *call; /* that failed */
};

static void describe(struct convolution *c, const struct engine *e, const struct tensor *x,
                     const struct tensor *y, const struct tensor *w)
{
    const int wide = x->dtype == DT_F64;
    const cudnnDataType_t type = wide ? CUDNN_DATA_DOUBLE : CUDNN_DATA_FLOAT;
    const int kh = (int)w->dim[3], kw = (int)w->dim[4];
    *c = (struct convolution){ 0 };
#define NEXT(call_)                                                                                \
    if (c->status == CUDNN_STATUS_SUCCESS) {                                                       \
        c->status = (call_);                                                                       \
        c->call = #call_;                                                                          \
    }
    NEXT(cudnnCreateTensorDescriptor(&c->x));
    NEXT(cudnnCreateTensorDescriptor(&c->y));
    NEXT(cudnnCreateFilterDescriptor(&c->w));
    NEXT(cudnnCreateConvolutionDescriptor(&c->how));
    NEXT(cudnnSetTensor4dDescriptorEx(c->x, type, (int)x->dim[0], (int)x->dim[1], (int)x->dim[2],
                                      (int)x->dim[3], (int)x->stride[0], (int)x->stride[1],
                                      (int)x->dim[3], 1));
    NEXT(cudnnSetTensor4dDescriptorEx(c->y, type, (int)y->dim[0], (int)y->dim[1], (int)y->dim[2],
                                      (int)y->dim[3], (int)y->stride[0], (int)y->stride[1],
                                      (int)y->dim[3], 1));
    NEXT(cudnnSetFilter4dDescriptor(c->w, type, CUDNN_TENSOR_NCHW, (int)w->dim[1], (int)w->dim[2],
                                    kh, kw));
    NEXT(cudnnSetConvolution2dDescriptor(c->how, kh / 2, kw / 2, 1, 1, 1, 1,
                                         CUDNN_CROSS_CORRELATION, type));
    /* FMA keeps f32 out of the tensor cores; f64 knows no coarser way. */
    NEXT(cudnnSetConvolutionMathType(
        c->how, !wide && e->products == CUBLAS_COMPUTE_32F ? CUDNN_FMA_MATH : CUDNN_DEFAULT_MATH));
#undef NEXT
}

static void release(struct convolution *c)
{
    if (c->how) cudnnDestroyConvolutionDescriptor(c->how);
    if (c->w) cudnnDestroyFilterDescriptor(c->w);
    if (c->y) cudnnDestroyTensorDescriptor(c->y);
    if (c->x) cudnnDestroyTensorDescriptor(c->x);
}

static const cudnnConvolutionFwdAlgo_t forward_algorithm =
    CUDNN_CONVOLUTION_FWD_ALGO_IMPLICIT_PRECOMP_GEMM;
static const cudnnConvolutionBwdDataAlgo_t data_algorithm = CUDNN_CONVOLUTION_BWD_DATA_ALGO_1;
static const cudnnConvolutionBwdFilterAlgo_t filter_algorithm = CUDNN_CONVOLUTION_BWD_FILTER_ALGO_1;

/* x, y and w of a step; the third is never read but for its shape. */
static void operands(const struct step *s, const struct tensor **x, const struct tensor **y,
                     const struct tensor **w)
{
    *x = s->op == OP_CONV_DX ? &s->out[0] : &s->in[0];
    *y = s->op == OP_CONV ? &s->out[0] : s->op == OP_CONV_DX ? &s->in[0] : &s->in[1];
    *w = s->op == OP_CONV_DW ? &s->out[0] : &s->in[1];
}

static int has_edge(const struct step *s) { return s->ai[0] != 0; }

/* cuDNN wants its weights without gaps. */
static int is_dense(const struct tensor *t) { return tensor_is_dense(t); }

static int is_chain(const struct engine *e, const struct step *s)
{
    const struct tensor *x, *y, *w;
    operands(s, &x, &y, &w);
    return e->bf16 || has_edge(s) || !is_dense(w) || !x->stride[0] || !x->stride[1] ||
           !y->stride[0] || !y->stride[1];
}

/* Scratch begins at a multiple of 64 bytes. What cuDNN takes is not written down; everybody gives
 * it what an allocation gives: 256. */
enum { DNN_ALIGNMENT = 256 };
static void *dnn_workspace(const struct step *s)
{
    const uintptr_t at = (uintptr_t)s->scratch;
    return (void *)((at + DNN_ALIGNMENT - 1) / DNN_ALIGNMENT * DNN_ALIGNMENT);
}

static size_t dnn_room(const struct engine *e, const struct step *s)
{
    const struct tensor *x, *y, *w;
    struct convolution c;
    size_t bytes = 0;
    operands(s, &x, &y, &w);
    describe(&c, e, x, y, w);
    if (c.status == CUDNN_STATUS_SUCCESS && s->op == OP_CONV)
        c.status = cudnnGetConvolutionForwardWorkspaceSize(e->dnn, c.x, c.w, c.how, c.y,
                                                           forward_algorithm, &bytes);
    else if (c.status == CUDNN_STATUS_SUCCESS && s->op == OP_CONV_DX)
        c.status = cudnnGetConvolutionBackwardDataWorkspaceSize(e->dnn, c.w, c.y, c.how, c.x,
                                                                data_algorithm, &bytes);
    else if (c.status == CUDNN_STATUS_SUCCESS)
        c.status = cudnnGetConvolutionBackwardFilterWorkspaceSize(e->dnn, c.x, c.y, c.how, c.w,
                                                                  filter_algorithm, &bytes);
    release(&c);
    return bytes; /* a failure comes up again, with its words, when the step runs */
}

static void run_dnn(const struct step *s, struct run *run)
{
    const struct engine *e = run->engine;
    const struct tensor *x, *y, *w;
    const int wide = s->out[0].dtype == DT_F64;
    const double one = 1, zero = 0;
    const float one_f = 1, zero_f = 0;
    const void *alpha = wide ? (const void *)&one : (const void *)&one_f;
    const void *beta = wide ? (const void *)&zero : (const void *)&zero_f;
    const size_t room = dnn_room(e, s);
    void *workspace = dnn_workspace(s);
    struct convolution c;
    operands(s, &x, &y, &w);
    describe(&c, e, x, y, w);
    if (c.status == CUDNN_STATUS_SUCCESS) {
        c.call = op_name(s->op);
        if (s->op == OP_CONV)
            c.status =
                cudnnConvolutionForward(e->dnn, alpha, c.x, x->data, c.w, w->data, c.how,
                                        forward_algorithm, workspace, room, beta, c.y, y->data);
        else if (s->op == OP_CONV_DX)
            c.status =
                cudnnConvolutionBackwardData(e->dnn, alpha, c.w, w->data, c.y, y->data, c.how,
                                             data_algorithm, workspace, room, beta, c.x, x->data);
        else
            c.status = cudnnConvolutionBackwardFilter(e->dnn, alpha, c.x, x->data, c.y, y->data,
                                                      c.how, filter_algorithm, workspace, room,
                                                      beta, c.w, w->data);
    }
    if (c.status != CUDNN_STATUS_SUCCESS)
        step_failed(s, run, c.call, cudnnGetErrorString(c.status));
    release(&c);
}

/* ---------------------------------------------------------------- chains of one stage */

/* With run NULL only carves. */
static void run_chain(const struct engine *e, const struct step *s, struct carve *room,
                      struct run *run)
{
    const struct tensor *x, *y, *w;
    struct chain c;
    operands(s, &x, &y, &w);
    chain_begin(&c, e, x);
    chain_add(&c, w, w->dim[1], w->dim[3], w->dim[4], has_edge(s));
    chain_end(&c);
    if (s->op == OP_CONV) {
        struct chain_forward f = { .chain = &c, .x = planes_of(x), .y = planes_of(y) };
        chain_run_forward(&f, room, s, run);
        return;
    }
    struct tensor out[3] = { { 0 } };
    struct chain_backward b = { .chain = &c, .x = planes_of(x), .dy = planes_of(y), .out = out };
    if (s->op == OP_CONV_DX) {
        b.dx = planes_of(x);
        b.x.data = NULL;
    } else {
        out[0] = *w;
        c.stage[0].want_dw = 1;
    }
    chain_run_backward(&b, room, s, run);
}

static size_t scratch(const struct engine *e, const struct step *s)
{
    struct carve room = { NULL, 0 };
    if (!is_chain(e, s)) return dnn_room(e, s) + DNN_ALIGNMENT;
    run_chain(e, s, &room, NULL);
    return room.used;
}

static void convolve(const struct step *s, struct run *run)
{
    struct carve room = { s->scratch, 0 };
    if (is_chain(run->engine, s))
        run_chain(run->engine, s, &room, run);
    else
        run_dnn(s, run);
}

size_t cuda_scratch_CONV(const struct engine *e, const struct step *s) { return scratch(e, s); }
size_t cuda_scratch_CONV_DX(const struct engine *e, const struct step *s) { return scratch(e, s); }
size_t cuda_scratch_CONV_DW(const struct engine *e, const struct step *s) { return scratch(e, s); }
void cuda_kernel_CONV(const struct step *s, struct run *run) { convolve(s, run); }
void cuda_kernel_CONV_DX(const struct step *s, struct run *run) { convolve(s, run); }
void cuda_kernel_CONV_DW(const struct step *s, struct run *run) { convolve(s, run); }

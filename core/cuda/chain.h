/* chain.h - chains of convolutions as products of matrices, for chain.c, conv.c and the kernels
 * around the products, chain.cu.
 *
 * Activations inside a chain are matrices (pixel, channel), pixels of all images one behind the
 * other, so that each stage is one product with a wide result:
 *
 * - POINT, 1 x 1: Y (p,out) = X (p,in) W^T
 * - GATHER, k x k: Y (p,out) = windows(X) (p,(in,tap)) W^T
 * - SCATTER, k x k: Y = shifted sums of X (p,in) W'^T, (p,(out,tap))
 *
 * whichever of the two moves less. The per-channel scale is folded into the weights, W' = W exp(s):
 * its gradient comes from the weights alone, dL/ds_o = sum_k W'_ok dW'_ok + b'_o db'_o. Images pass
 * through in groups, so that room for activations that nobody keeps stays small; gradients of the
 * groups add up in order. */
#ifndef CORE_CUDA_CHAIN_H
#define CORE_CUDA_CHAIN_H
#include "cuda.h"
#ifdef __cplusplus
extern "C" {
#endif

enum { CHAIN_STAGES = 16, GROUP_PIXELS = CUT(16384, 40) };
enum { STAGE_POINT, STAGE_GATHER, STAGE_SCATTER };

/* Channels of images anywhere: planes or pixels. */
struct planes {
    void *data;
    int64_t batch, channel, pixel; /* strides */
};

struct window {
    int32_t kh, kw, taps, edge; /* edge: one more channel, 1 outside the image */
};

struct chain_stage {
    const struct tensor *w, *b, *logs; /* b and logs are NULL where absent */
    int64_t in, out;
    int64_t w_stride; /* from one output's weights to the next's */
    double logscale;
    struct window look;
    int32_t kind, act;
    int64_t rows, depth; /* of the product's weights: GATHER (out, (in + edge) taps) */

    void *weights, *bias, *edge;    /* folded; edge: (out, taps), SCATTER only */
    void *dweights, *dbias, *dedge; /* their gradients; the last two by group */
    double *sums;                   /* room of column sums */
    int want_dw, want_db;
};

struct chain {
    int32_t dtype;
    int64_t images, height, width, plane, group, groups; /* group: images at a time */
    int n;
    struct chain_stage stage[CHAIN_STAGES];
};

/* ---- chain.cu; all on matrices of real type dtype */

void chain_fold(struct run *, int32_t dtype, const struct chain_stage *);
/* Windows of `channels` channels of `images` images: to[(image,pixel)][(channel,tap)]. direction -1
 * looks the other way, as gradients do. */
void chain_windows(struct run *, const struct chain *, int64_t images, const struct planes *from,
                   int64_t channels, const struct window *, int direction, void *to);
/* The sums of shifted columns that windows belong to: to[channel][pixel] = act(sum over taps of
 * from[pixel + shift][(channel,tap)] + bias[channel] + the edge's weights outside). */
struct chain_sums {
    const void *from;
    int64_t stride; /* from pixel to pixel */
    int64_t channels;
    struct window look;
    int direction;
    const void *bias, *edge; /* NULL: none */
    int act;
    struct planes to;
};
void chain_shift_sums(struct run *, const struct chain *, int64_t images,
                      const struct chain_sums *);
/* x (n, channels) = act(x + bias) */
void chain_bias_act(struct run *, int32_t dtype, void *x, int64_t n, int64_t channels,
                    const void *bias, int act);
/* to = d times the derivative of the activation whose result is h; planes or pixels. */
void chain_act_vjp(struct run *, const struct chain *, int64_t images, int64_t channels,
                   const struct planes *d, const struct planes *h, int act,
                   const struct planes *to);
/* dedge[(out,tap)] = sum of d over pixels whose tap lies outside the image. */
void chain_edge_sums(struct run *, const struct chain *, int64_t images, const struct planes *d,
                     int64_t channels, const struct window *, void *dedge);
/* dw, db, dlogs from the folded ones; NULL: unwanted. */
void chain_unfold(struct run *, const struct chain *, const struct chain_stage *, void *dw,
                  void *db, void *dlogs);

/* ---- chain.c */

void chain_begin(struct chain *, const struct tensor *x);
struct chain_stage *chain_add(struct chain *, const struct tensor *w, int64_t out, int64_t kh,
                              int64_t kw, int edge);
void chain_end(struct chain *);

struct chain_forward {
    struct chain *chain;
    struct planes x, y;
    void *hidden[CHAIN_STAGES]; /* kept activations; NULL: not kept */
};
void chain_run_forward(struct chain_forward *, struct carve *, const struct step *, struct run *);
struct chain_backward {
    struct chain *chain;
    struct planes x, dy, dx;          /* dx.data NULL: unwanted */
    const void *hidden[CHAIN_STAGES]; /* NULL: computed again */
    const struct tensor *out;         /* dw, db, dlogs of each stage; data NULL: unwanted */
};
void chain_run_backward(struct chain_backward *, struct carve *, const struct step *, struct run *);
/* With run NULL both only carve. */

static inline struct planes planes_of(const struct tensor *t)
{
    struct planes p = { t->data, t->stride[0], t->rank > 1 ? t->stride[1] : 1, 1 };
    return p;
}
#ifdef __cplusplus
}
#endif
#endif

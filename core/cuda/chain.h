/* chain.h - chains of convolutions as products of matrices, for chain.c, chain_vjp.c, conv.c and
 * the kernels around the products, chain.cu and chain_weights.cu.
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
 * through in groups, so that room for activations that nobody keeps stays small and in the cache;
 * gradients of the groups add up in order.
 *
 * Whatever a product multiplies - windows, hidden activations, their gradients, folded weights -
 * has the type `inner`: bf16 where the engine says so, else that of the tensors. Sums, what comes
 * from columns that are added up, and the weights' gradients have the type of the tensors. Rows of
 * all matrices are multiples of 16 bytes, padded with zeros, as tensor cores want them. */
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
    int32_t dtype;
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
    int64_t rows, depth; /* of the product's weights, padded: GATHER (out, (in + edge) taps) */
    int64_t pitch;       /* of the result where it is hidden: channels, padded */

    void *weights;     /* folded, inner */
    void *bias, *edge; /* folded; edge: (out, taps), SCATTER only */
    void *inner_bias;  /* as it rides along with a product, padded */
    void *dweights;    /* gradients of what is folded; the last two by group */
    void *dbias, *dedge;
    int64_t dbias_size; /* of a group */
    double *sums;       /* room of column sums */
    int want_dw, want_db;
    /* The product for dweights sums D's columns up, into dbias: (out), or (out,tap) of SCATTER.
     * There the centre's is the bias' gradient, and what another tap's lacks of it lay outside:
     * dedge. */
    int sums_ride;
};

struct chain {
    const struct engine *engine;
    int32_t dtype, inner;
    int64_t images, height, width, plane, group, groups; /* group: images at a time */
    int n;
    struct chain_stage stage[CHAIN_STAGES];
};

/* ---- chain_weights.cu */

/* Weights and biases of all stages, folded. */
void chain_fold(struct run *, const struct chain *);
/* dw, db, dlogs of all stages from the folded ones: out holds three of each; data NULL: unwanted.
 */
void chain_unfold(struct run *, const struct chain *, const struct tensor *out);

/* ---- chain.cu */

/* Windows of `channels` channels of `images` images: to[(image,pixel)][(channel,tap)], inner, rows
 * of `pitch`. direction -1 looks the other way, as gradients do. */
void chain_windows(struct run *, const struct chain *, int64_t images, const struct planes *from,
                   int64_t channels, const struct window *, int direction, void *to, int64_t pitch);
/* The sums of shifted columns that windows belong to: to[channel][pixel] = act(sum over taps of
 * from[pixel + shift][(channel,tap)] + bias[channel] + the edge's weights outside). */
struct chain_sums {
    const void *from;
    int64_t stride;   /* from pixel to pixel */
    int64_t channels; /* the rest up to to.pixel is filled with 0 where `to` is a matrix */
    struct window look;
    int direction;
    const void *bias, *edge; /* NULL: none */
    int act;
    struct planes to;
};
void chain_shift_sums(struct run *, const struct chain *, int64_t images,
                      const struct chain_sums *);
/* x (n, pitch) = act(x + bias), inner */
void chain_bias_act(struct run *, const struct chain *, void *x, int64_t n, int64_t pitch,
                    const void *inner_bias, int act);
/* d (n, inner) is multiplied by the derivative of the activation whose result is h. */
void chain_act_vjp(struct run *, const struct chain *, int64_t n, void *d, const void *h, int act);
/* The same for the last activation: to = d times the derivative, of planes. */
void chain_last_vjp(struct run *, const struct chain *, int64_t images, int64_t channels,
                    const struct planes *d, const struct planes *h, int act,
                    const struct planes *to);
/* dedge[(out,tap)] = sum of d over pixels whose tap lies outside the image. */
void chain_edge_sums(struct run *, const struct chain *, int64_t images, const struct planes *d,
                     int64_t channels, const struct window *, void *dedge);

/* ---- chain.c */

void chain_begin(struct chain *, const struct engine *, const struct tensor *x);
struct chain_stage *chain_add(struct chain *, const struct tensor *w, int64_t out, int64_t kh,
                              int64_t kw, int edge);
void chain_end(struct chain *);
void chain_of_step(struct chain *, const struct engine *, const struct step *);
void chain_carve_weights(struct chain *, struct carve *);

/* Hidden activations of one stage, and a bit for each that tells whether its ReLU let it through.
 */
struct hidden {
    void *data, *mask; /* mask NULL: not wanted */
};
/* Those of a whole batch, in one buffer, from image `first` on. */
struct hidden chain_kept(const struct chain *, int i, const void *buffer, int64_t first);
/* Room of one group. */
struct forward_work {
    void *windows; /* (p, depth) of GATHER, and of the first stage */
    void *wide;    /* (p, rows) where columns are added up, and of the last stage */
    struct hidden hidden[CHAIN_STAGES];
};
/* With masks, whether or not a backward pass follows: a product that writes them may be another
 * kernel than one that does not, and what is computed again must have the bits of the first time.
 */
void chain_carve_forward(const struct chain *, struct carve *, const void *const *kept,
                         struct forward_work *);
/* Stages [0, end) of the images of a group; hidden activations where `kept` or the work has them.
 */
void chain_run_group(struct chain *, int end, int64_t group, struct planes x,
                     const struct planes *y, const void *const *kept, const struct forward_work *,
                     const struct step *, struct run *);
/* The left operand of a stage's product: X itself or its windows. */
const void *chain_operand(struct chain *, int i, int64_t images, const struct planes *x,
                          void *windows, struct run *);
/* The product that gives the gradient of a stage's operand, but for its pointers. */
struct product chain_dx_product(const struct chain *, int i, int64_t images);
/* Whether the bits of stage i's ReLU ride along, out of its product and into the gradient's. */
int chain_masks(const struct chain *, int i, int64_t images);
/* Looks the ways of forward products up, for full groups and the last one. */
void chain_look_up(const struct chain *);

struct chain_forward {
    struct chain *chain;
    struct planes x, y;
    const void *kept[CHAIN_STAGES]; /* buffers of hidden activations; NULL: not kept */
};
void chain_run_forward(struct chain_forward *, struct carve *, const struct step *, struct run *);

/* ---- chain_vjp.c */

struct chain_backward {
    struct chain *chain;
    struct planes x, dy, dx;        /* dx.data NULL: unwanted */
    const void *kept[CHAIN_STAGES]; /* NULL: computed again */
    const struct tensor *out;       /* dw, db, dlogs of each stage; data NULL: unwanted */
};
void chain_run_backward(struct chain_backward *, struct carve *, const struct step *, struct run *);
/* With run NULL both only carve, and look ways of products up. */

static inline struct planes planes_of(const struct tensor *t)
{
    struct planes p = { t->data, t->stride[0], t->rank > 1 ? t->stride[1] : 1, 1, t->dtype };
    return p;
}
static inline struct planes planes_at(struct planes p, int64_t image)
{
    if (p.data) p.data = (char *)p.data + image * p.batch * (int64_t)real_size(p.dtype);
    return p;
}
/* A hidden matrix (pixel, channel) seen as images. */
static inline struct planes pixels_of(const struct chain *c, const void *data, int64_t pitch)
{
    struct planes p = { (void *)(uintptr_t)data, c->plane * pitch, 1, pitch, c->inner };
    return p;
}
#ifdef __cplusplus
}
#endif
#endif

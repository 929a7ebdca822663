/* chain.h - chains of convolutions, tile by tile. A convolution is a matrix product on a tile of
 * pixels p, whose operand is gathered before it or whose result is scattered behind it:
 *
 * - POINT, 1 x 1: Y (out,p) = W (out,in) X (in,p)
 * - GATHER, k x k: Y (out,p) = W (out,(in,tap)) im2col(X)
 * - SCATTER, k x k: Y = col2im(W ((out,tap),in) X (in,p))
 *
 * A segment is a run of stages of which only the first gathers and only the last scatters. Between
 * its stages, activations stay in panel matrices (channel, pixel) of operands that fit the
 * second-level cache; a segment reads planes and writes planes, which are reals, as all sums are.
 * conv3x3 - conv1x1 - conv3x3 is one segment; a single convolution is one too, of whichever kind
 * moves less. Everything runs along pixels, so that channels may have any number.
 *
 * Units of whole tiles are the tasks of the thread pool. What a unit scatters beyond its own pixels
 * is added afterwards; gradients of weights have a buffer for each unit, and are added in order.
 * Where there is but one unit, threads share each product instead. How many units there
 * are depends on shapes alone, hence results never depend on the number of threads. */
#ifndef CORE_CPU_ISA_CHAIN_H
#define CORE_CPU_ISA_CHAIN_H
#include "../../packing.h"
#include "kernels.h"
#include "im2col.h"

#define CHAIN_STAGES 16 /* what conv_chain allows */

enum { STAGE_POINT, STAGE_GATHER, STAGE_SCATTER };

struct chain_stage {
    const struct tensor *w, *b, *logs; /* b and logs are NULL where absent */
    int64_t in, out, kh, kw, taps;
    int edge, act, kind;
    double logscale;
    int64_t rows, depth;    /* as a matrix, see above; depth counts the edge channel of GATHER */
    struct packing packing; /* of that matrix: as the weights are kept, or packed for this run */

    /* y = act(scale (W x) + bias): scale = exp(logscale logs), bias = b scale, both (out), NULL
     * where they are 1 and 0. Nothing is folded into the weights themselves. */
    real *scale, *bias;
    const real *weights;     /* panels */
    struct panels operands;  /* the weights again, as products want them */
    const real *edge_weight; /* (out, taps) of the edge channel; SCATTER that isn't bordered only */
    int bordered;            /* the edge channel is no operand, see chain_border.c */
    real *border;            /* (kinds, out, LANES), what it adds then */

    /* Sums over the pixels of one unit. Those of dw in the others lie in chain.gradients, from
     * dw_offset on; those of db and dedge follow at chain.totals_size. */
    real *dw; /* panels */
    int64_t dw_offset;
    real *db;    /* (out, LANES), or (kinds, out, LANES) where bordered */
    real *dedge; /* (out, taps, LANES) */
    real *dot;   /* (out or (out,tap)): W dW summed over the other axis */
    int want_dw, want_db, want_dlogs;
};

/* The kinds of vectors of pixels by the borders of the image that they lie at. */
#define BORDER_KINDS 9 /* corners, sides, inside: kind 0 */
struct chain_borders {
    int n;                            /* 0: vectors do not fit the image's rows */
    int8_t kind[16];                  /* by a set of borders */
    vec_int outside[BORDER_KINDS][9]; /* lanes that see tap (i,j) of 3 x 3 outside the image */
};

struct chain {
    int64_t images, height, width, plane, pixels;
    int64_t channels;    /* of the input */
    int64_t tile, tiles; /* pixels in a tile, number of tiles */
    int n_stages, n_segments;
    int first[CHAIN_STAGES + 1]; /* first stage of each segment */
    struct chain_stage stage[CHAIN_STAGES];
    struct chain_borders borders;
    struct pool *pool; /* threads that share each tile, where there is one unit; or NULL */
    int64_t units, gradient_size, totals_size;
    real *gradients; /* of weights, of the units but the first */
};

/* Begins a chain on images like x (N,C,H,W); trailing axes beyond or short of H and W are folded.
 */
void NAME(chain_begin)(struct chain *, const struct tensor *x);
/* Adds a stage with weights (1, out, in + edge, kh, kw). */
struct chain_stage *NAME(chain_add)(struct chain *, const struct tensor *w, int64_t out, int64_t kh,
                                    int64_t kw, int edge);
/* Cuts the chain into segments and tiles. */
void NAME(chain_end)(struct chain *);
/* A chain from the inputs and attributes of CHAIN and CHAIN_VJP. */
void NAME(chain_of_step)(struct chain *, const struct step *);

ALWAYS_INLINE int chain_last(const struct chain *c, int segment)
{
    return c->first[segment + 1] - 1;
}
/* Tiles of a stage's output between segments are planes; within, panels of `tile` pixels. */
ALWAYS_INLINE int chain_is_planar(const struct chain *c, int stage)
{
    for (int i = 0; i < c->n_segments; i++)
        if (chain_last(c, i) == stage) return 1;
    return 0;
}
ALWAYS_INLINE int64_t chain_tile_size(const struct chain *c, int64_t rows)
{
    return rows * c->tile;
}
/* The same in words, for operands. */
ALWAYS_INLINE int64_t chain_plain_size(const struct chain *c, int64_t rows)
{
    return c->tile / PANEL * plain_panel(rows);
}
ALWAYS_INLINE int64_t chain_paired_size(const struct chain *c, int64_t rows)
{
    return c->tile / PANEL * paired_panel(rows);
}
/* Where reals become operands they lie in `wide` first; where operands are reals, in their place.
 */
ALWAYS_INLINE real *reals_of(const struct panels *p, real *wide)
{
    return PER_WORD == 1 ? (real *)p->plain : wide;
}
/* Multiply-adds of stages first .. last with a tile. */
ALWAYS_INLINE int64_t chain_work(const struct chain *c, int first, int last)
{
    int64_t work = 0;
    for (int i = first; i <= last; i++) work += c->stage[i].rows * c->stage[i].depth * c->tile;
    return work;
}

ALWAYS_INLINE real lanes_sum(vec x)
{
    real sum[LANES];
    vec_store(sum, x);
    for (int n = LANES / 2; n > 0; n /= 2)
        for (int i = 0; i < n; i++) sum[i] += sum[i + n];
    return sum[0];
}
/* Numbers in a unit's db. */
ALWAYS_INLINE int64_t chain_db_size(const struct chain *c, const struct chain_stage *s)
{
    return s->out * LANES * (s->bordered ? c->borders.n : 1);
}

ALWAYS_INLINE struct planes planes_of(const struct tensor *t)
{
    return (struct planes){ t->data, t->stride[0], t->rank > 1 ? t->stride[1] : 1 };
}
ALWAYS_INLINE struct planes planes_dense(const struct chain *c, real *data, int64_t channels)
{
    return (struct planes){ data, channels * c->plane, c->plane };
}

/* What a stage sees of its operand, and what the gradient of its operand sees of that of its result
 * (`direction` -1; 1 for the edge channel). */
ALWAYS_INLINE struct window operand_window(const struct chain_stage *s)
{
    if (s->kind == STAGE_GATHER)
        return (struct window){ s->in, s->kh, s->kw, 1, s->edge && !s->bordered, NULL };
    return (struct window){ s->in, 1, 1, 1, 0, NULL };
}
ALWAYS_INLINE struct window result_window(const struct chain_stage *s, int direction)
{
    if (s->kind == STAGE_SCATTER)
        return (struct window){ s->out, s->kh, s->kw, direction, 0, NULL };
    return (struct window){ s->out, 1, 1, direction, 0, NULL };
}

/* The tiles of a segment dealt out to units. */
struct chain_units {
    int64_t n, tiles;
    int64_t pixels; /* of the largest unit */
    int64_t reach;  /* pixels that a unit scatters beyond its own, on each side */
    int64_t margin; /* reach and a vector, for the sums around a unit */
    int64_t pitch;  /* from one channel's sums to the next's */
};
ALWAYS_INLINE int64_t unit_tile(const struct chain_units *u, int64_t unit)
{
    return unit * u->tiles / u->n;
}
struct chain_units NAME(chain_units)(const struct chain *, int64_t reach, int64_t most);

/* ---- chain_weights.c */

/* What weights are wanted for. */
enum { FOR_RESULT = 1, FOR_GRADIENT = 2 };
/* Room for scales, for weights that are not kept packed, and for operands made of them. */
void NAME(chain_carve_weights)(struct chain *, struct carve *, int uses);
void NAME(chain_pack)(struct chain *, struct pool *);
/* Room for gradients of the stages that want them; out[3 stage ..] are dw, db and dlogs of each
 * stage, data NULL: unwanted. A packed dw takes the first unit's gradient. */
void NAME(chain_carve_gradients)(struct chain *, struct carve *, int64_t units,
                                 const struct tensor *out);
/* Adds up the units and writes dw, db and dlogs. */
void NAME(chain_gather)(struct chain *, struct pool *, const struct tensor *out);
ALWAYS_INLINE real *chain_dw_of(const struct chain *c, const struct chain_stage *s, int64_t unit)
{
    return unit == 0 ? s->dw : c->gradients + (unit - 1) * c->gradient_size + s->dw_offset;
}

/* ---- chain_border.c */

void NAME(chain_find_borders)(struct chain *);
/* Whether a stage does without its edge channel: it sees no farther than the next pixel, and
 * scatters, or its result goes on to another stage of the segment. */
int NAME(chain_has_borders)(const struct chain *, int stage);
/* The kinds of a tile's vectors. */
void NAME(chain_set_borders)(const struct chain *, struct tile *);
/* Makes a stage's `border` of outputs first .. end-1 from its weights. */
void NAME(chain_make_borders)(const struct chain *, const struct chain_stage *, int64_t first,
                              int64_t end);
/* Adds them to a scattering stage's sums at a tile. */
void NAME(chain_add_borders)(const struct chain_stage *, const struct tile *, real *sums,
                             int64_t pitch);
/* Writes the gradients of the edge channel's weights of output o, where dw is wanted, from the
 * sums in db; returns the gradient of the bias. */
real NAME(chain_border_gradients)(const struct chain *, const struct chain_stage *, int64_t o);
/* The sum of W dW over the edge channel's weights of output o. */
double NAME(chain_border_dot)(const struct chain_stage *, int64_t o);

/* ---- chain_scatter.c */

/* Sums around a unit's pixels become planes. */
struct chain_output {
    struct planes to;
    int64_t channels;
    const real *scale, *bias; /* (channels) or NULL */
    int act;
    real *halos; /* (units, 2, channels, reach), NULL where there is one unit */
};
void NAME(chain_finish_unit)(const struct chain *, const struct chain_units *, int64_t unit,
                             const real *sums, const struct chain_output *);
/* When all units are done. */
void NAME(chain_finish)(const struct chain *, const struct chain_units *, struct pool *,
                        const struct chain_output *);
ALWAYS_INLINE int64_t chain_halo_size(const struct chain_units *u, int64_t channels)
{
    return u->n > 1 ? u->n * 2 * channels * u->reach : 0;
}
void NAME(chain_activate)(real *x, int64_t n, int act);
/* d *= the derivative of the activation whose result is h. */
void NAME(chain_activate_vjp)(real *d, const real *h, int64_t n, int act);

/* ---- chain_tile.c; products ask for what is ahead on the way */

void NAME(chain_tile)(const struct chain *, int64_t tile, struct tile *);
/* im2col of planes on a tile as operands, and where it lies in reals; planes of the next tile are
 * asked for. */
const real *NAME(chain_read)(const struct chain *, const struct tile *, const struct window *,
                             const struct planes *, real *wide, const struct panels *to);
/* A stage within a segment, bias and activation included: operand (depth, p) to (out, p). */
void NAME(chain_run_stage)(const struct chain_stage *, const struct tile *,
                           const struct panels *operand, real *wide, const struct panels *to,
                           struct ahead *);
/* The last stage of a segment, without bias and activation: sums points at the tile's first pixel
 * of channel 0, `spare` has room for (rows, p). */
void NAME(chain_run_last)(const struct chain_stage *, const struct tile *,
                          const struct panels *operand, real *spare, real *sums, int64_t pitch,
                          struct ahead *);
/* The gradient of a stage's operand from that of its result: through the activations `hidden` and
 * the scale of stage `before`, whose bias gradient db (out, LANES) grows, NULL: unwanted. */
void NAME(chain_pull_back)(const struct chain_stage *, const struct tile *, const struct panels *d,
                           real *wide, const struct panels *to, const struct chain_stage *before,
                           const word *hidden, real *db, struct ahead *);
/* The same of a segment's first stage. */
void NAME(chain_pull_first)(const struct chain_stage *, const struct tile *, const struct panels *d,
                            real *spare, real *sums, int64_t pitch);
/* totals[r] += vectors of row r step of a panel matrix with `rows` rows, r < n; where the stage is
 * bordered, those of each kind apart. */
void NAME(chain_totals)(const struct chain_stage *, const struct tile *, const real *panels,
                        int64_t rows, int64_t step, real *totals, int64_t n);
/* dw = D H^T, or +=; `turned` has room for the transposed operand. */
void NAME(chain_dw)(const struct chain *, const struct chain_stage *, const struct tile *,
                    const word *d, const word *hidden, word *turned, real *dw, int add,
                    struct ahead *);

/* ---- chain.c */

/* Runs segments of the chain forward. */
struct chain_forward {
    struct chain *chain;
    struct pool *pool;
    struct planes in[CHAIN_STAGES], out[CHAIN_STAGES]; /* of each segment */
    word *hidden[CHAIN_STAGES];             /* of each stage within a segment; NULL: not kept */
    struct chain_units units[CHAIN_STAGES]; /* of each segment */
    real *halos;
    char *work; /* of each worker */
    size_t work_size;
    int segment; /* now running */
};
void NAME(chain_carve_forward)(struct chain_forward *, struct chain *, struct carve *, int threads);
void NAME(chain_run_forward)(struct chain_forward *, int segment);

/* ---- chain_vjp.c */

struct chain_backward {
    struct chain *chain;
    struct pool *pool;
    struct chain_forward again;       /* what must be computed again */
    struct planes x, dy, dx;          /* data NULL: not needed, unwanted */
    const word *hidden[CHAIN_STAGES]; /* of each stage but the last; NULL: computed again */
    real *planar[CHAIN_STAGES];       /* room for planes between segments that are computed again */
    real *d_planar[CHAIN_STAGES];     /* and for their gradients */
    struct planes in[CHAIN_STAGES], d_out[CHAIN_STAGES], d_in[CHAIN_STAGES]; /* of each segment */
    struct chain_units units; /* the same for all segments */
    real *halos;
    char *work;
    size_t work_size;
    int segment, want_dx;
};
/* hidden, want_dw, want_db, want_dlogs, want_dx are set; carves everything. */
void NAME(chain_carve_backward)(struct chain_backward *, struct chain *, struct carve *,
                                const struct tensor *out, int threads);
void NAME(chain_run_backward)(struct chain_backward *, const struct tensor *out);
#endif

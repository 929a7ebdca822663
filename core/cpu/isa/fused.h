/* fused.h - a chain of elementwise operations as code for tiles (tile.h). */
#ifndef CORE_CPU_ISA_FUSED_H
#define CORE_CPU_ISA_FUSED_H
#include "tile.h"
#include "../walk.h"

enum {
    /* Of a frame: operands, outputs, room for results, and what tile_watch writes. */
    FRAME_TILES = FUSED_INPUTS + FUSED_OUTPUTS + FUSED_OPS + 1,
    FRAME_WATCH = FRAME_TILES - 1,
    MAX_CODE = 4 * FUSED_OPS + 1,
};

/* One walk over all elements: sums of one kind need their own order. */
struct pass {
    struct cut cut;           /* of its sums; parts = 0: it has none */
    char adds[FUSED_OUTPUTS]; /* outputs that are its sums */
    char writes;              /* the other outputs */
    int64_t units, per_task;  /* parts of sums, or else elements */
    /* Of a sum that is cut: where in the scratch its [parts][elements of the output] numbers are */
    int64_t partial[FUSED_OUTPUTS];
};

struct chain {
    const struct step *step;
    int32_t *watch;   /* NULL, or what run->nonfinite points at */
    int n_in, n_kept; /* kept: inputs and outputs, the first tiles of a frame */
    struct tensor shape;
    int64_t elements;
    char is_sum[FUSED_OUTPUTS]; /* the other outputs are tensors of the chain's shape */
    struct pass pass[FUSED_OUTPUTS + 1];
    int n_passes;
    int64_t n_partials;             /* doubles of the scratch */
    struct walk walk[FUSED_INPUTS]; /* of the shape, then of the input */
    char uniform[FUSED_INPUTS];     /* one number for each tile, wherever the tile is */

    struct instruction code[MAX_CODE];
    int n_code;
    int n_tiles;               /* of a frame, but for the last */
    int weight;                /* work for each element */
    char wanted[FUSED_INPUTS]; /* some instruction wants a whole tile of it */
};

/* Fills in code, n_tiles, weight and wanted; what stands before them is known. */
void NAME(fused_code)(struct chain *);
#endif

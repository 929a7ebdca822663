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

struct chain {
    const struct step *step;
    int32_t *watch;             /* NULL, or what run->nonfinite points at */
    int n_in, n_kept;           /* kept: inputs and outputs, the first tiles of a frame */
    int n_sums;                 /* outputs that are sums of a sample */
    char is_sum[FUSED_OUTPUTS]; /* the others are tensors of the chain's shape */
    struct tensor shape;
    struct walk walk[FUSED_INPUTS]; /* of the shape, then of the input */
    char uniform[FUSED_INPUTS];     /* one number for each tile, wherever the tile is */

    struct instruction code[MAX_CODE];
    int n_code;
    int n_tiles;               /* of a frame, but for the last */
    int weight;                /* work for each element */
    char wanted[FUSED_INPUTS]; /* some instruction wants a whole tile of it */

    int64_t elements, samples, unit; /* unit: elements of a sample */
    int64_t parts;                   /* sums: of each sample */
    int64_t per_task;                /* elements, or with sums parts, of a task */
};

/* Fills in code, n_tiles, weight and wanted; what stands before them is known. */
void NAME(fused_code)(struct chain *);
#endif

/* tile.h - elementwise operations as instructions on a tile of elements in registers.
 *
 * A chain of operations runs tile by tile: each instruction takes the tile, changes it and jumps to
 * the next, so that a result which only the next instruction needs never touches memory. The tile
 * is eight vectors, which is what the calling conventions pass in registers; an instruction ends in
 * a tail call. Other operands, and results needed again, lie in memory, one tile each, wherever the
 * frame points. (Direct threading with the top of the stack cached: Ertl, "Stack caching for
 * interpreters", PLDI 1995.)
 *
 * There is no other code for these operations: one alone is a chain of length one. So an element's
 * result depends on the element alone, not on its place in the tensor nor on what it is fused with.
 */
#ifndef CORE_CPU_ISA_TILE_H
#define CORE_CPU_ISA_TILE_H
#include "reduce.h"

enum { TILE = 8 * LANES };

struct instruction;
#define TILE_ARGUMENTS                                                                             \
    const struct instruction *at, real *const *frame, vec t0, vec t1, vec t2, vec t3, vec t4,      \
        vec t5, vec t6, vec t7
typedef void (*tile_fn)(TILE_ARGUMENTS);

struct instruction {
    tile_fn run;
    uint16_t a, b; /* which tiles of the frame it reads beside the one in registers, or writes */
    int32_t step;  /* of tile_watch: the number of the operation */
};

/* An operation of one to three operands. with[k] finds operand k in the registers and the others,
 * in order, in frame[a] and frame[b]. with_one[k], of operations of two, takes one number for the
 * other operand, the first of frame[a]: loads are what a chain is slow at. */
struct tile_operation {
    tile_fn with[3], with_one[2];
    int weight; /* its work, with a negation's as 1 */
};
extern const struct tile_operation NAME(tile_operations)[OP_COUNT];

/* t + f(w) v or t - f(w) v for the tile t in registers, rounded like the two or three operations
 * that it stands for, none of whose results goes by memory. w is t or frame[a], v is frame[b] or
 * the first number of it. */
enum tile_side { SIDE_PLAIN, SIDE_ABS, SIDE_SIGN, N_SIDES };
struct tile_product {
    tile_fn with_own[2], with_tile[2]; /* w; [1]: v is one number */
};
extern const struct tile_product NAME(tile_products)[N_SIDES][2]; /* [1]: t - f(w) v */

/* Where a tile's elements are added up: element i of a sum goes to lane i % ROW_LANES. */
struct tile_sum {
    _Alignas(VEC_BYTES) double lane[ROW_LANES];
    real element[TILE];
    int64_t n; /* elements of this tile, from the first on */
};

/* The tile in registers <- frame[a]; frame[a] <- the tile; the end of a chain. */
void NAME(tile_load)(TILE_ARGUMENTS);
void NAME(tile_store)(TILE_ARGUMENTS);
void NAME(tile_end)(TILE_ARGUMENTS);
/* *(struct tile_sum *)frame[a] += the tile. */
void NAME(tile_sum)(TILE_ARGUMENTS);
/* Where the tile has a NaN or an infinity, *(int32_t *)frame[a] becomes `step` if that is less. */
void NAME(tile_watch)(TILE_ARGUMENTS);
#endif

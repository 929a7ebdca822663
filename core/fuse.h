/* fuse.h - the pass that joins elementwise operations. */
#ifndef CORE_FUSE_H
#define CORE_FUSE_H
#include "graph.h"

/* Replaces a simplified graph by an equal one in which chains of elementwise operations are one
 * node each, OP_FUSED. Values that only their own chain reads no longer exist. The results are the
 * same to the bit. Leaves graphs alone that promise to be as they were written (plain, separate).
 */
glow_status graph_fuse(struct graph **);
/* Of an OP_FUSED node or step (its ai and n_in): the last operation that reads input k, -1 if none
 * does, and the operation that makes output k. */
int fused_last_reader(const int64_t *ai, int64_t input);
int fused_maker(const int64_t *ai, int64_t output);
#endif

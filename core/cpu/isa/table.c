/* table.c - the kernels of one instruction set and real type, by operation. */
#include "kernels.h"

#define KERNEL_LEAF(op)
#define KERNEL_VIEW(op)
#define KERNEL_FILL(op)               [OP_##op] = NAME(kernel_##op),
#define KERNEL_ELEM(op)               [OP_##op] = NAME(kernel_##op),
#define KERNEL_KERN(op)               [OP_##op] = NAME(kernel_##op),
#define OP(name, text, class, layout) KERNEL_##class(name)
#define SCRATCH(op)                   [OP_##op] = NAME(scratch_##op),

const struct kernel_table NAME(kernel_table) = {
#ifdef BF16
    .kernel = { CONVOLUTION_OPS(KERNEL_KERN) },
    .scratch = { CONVOLUTION_OPS(SCRATCH) },
    .chain_hidden = NAME(chain_hidden),
    .chain_packing = NAME(chain_packing),
#else
    .kernel = {
#include "../../ops.def"
    },
    .scratch = { SCRATCH_OPS(SCRATCH) },
    .chain_hidden = NAME(chain_hidden),
    .chain_packing = NAME(chain_packing),
    .optim = NAME(optim),
    .sum_squares = NAME(sum_squares),
    .ema = NAME(ema),
#if REAL_BITS == 64
    .random_stream = NAME(random_stream),
#endif
#endif
};

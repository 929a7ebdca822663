/* table.c - the kernels by operation: one that is missing does not link. Weights are not packed on
 * this backend, so PACK and UNPACK never come. */
#include "cuda.h"
#include "table.h"

#define NO_KERNEL(op)      [OP_##op] = NULL,
#define HAS_KERNEL(op)     [OP_##op] = cuda_kernel_##op,
#define KERNEL_LEAF(op)    NO_KERNEL(op)
#define KERNEL_VIEW(op)    NO_KERNEL(op)
#define KERNEL_FILL(op)    HAS_KERNEL(op)
#define KERNEL_ELEM(op)    HAS_KERNEL(op)
#define KERNEL_KERN(op)    HAS_KERNEL(op)
#define cuda_kernel_PACK   NULL
#define cuda_kernel_UNPACK NULL
static const kernel_fn kernels[OP_COUNT] = {
#define OP(name, text, class, layout) KERNEL_##class(name)
#include "../ops.def"
#undef OP
};

static const char *const names[OP_COUNT] = {
#define OP(name, text, class, layout) text,
#include "../ops.def"
#undef OP
};

typedef size_t (*scratch_fn)(const struct engine *, const struct step *);
#define SCRATCH(op) [OP_##op] = cuda_scratch_##op,
static const scratch_fn scratches[OP_COUNT] = { SCRATCH_OPS(SCRATCH) };

kernel_fn table_kernel(int op, int32_t dtype)
{
    (void)dtype;
    return kernels[op];
}

size_t table_scratch(const struct engine *e, const struct step *step)
{
    return scratches[step->op] ? scratches[step->op](e, step) : 0;
}

const char *op_name(int op) { return names[op]; }

/* table.h - kernels and scratch by operation. */
#ifndef CORE_CUDA_TABLE_H
#define CORE_CUDA_TABLE_H
#include "../backend.h"

kernel_fn table_kernel(int op, int32_t dtype);
size_t table_scratch(const struct engine *, const struct step *);
#endif

#!/bin/bash
# kernels.sh - the table of every operation (tests/test_kernels.c), and what it can't say
# (tests/test_operations.c), on the CUDA backend, its threads run in either order.
. "${srcdir:?}/tests/cuda/common.sh"
for program in test_kernels test_operations; do
    run_program $program
    CUDA_EMULATOR_REVERSE=1 run_program $program
done
exit $failed

#!/bin/bash
# kernels.sh - the table of every operation (tests/test_kernels.c) on the CUDA backend, its threads run
# in either order.
. "${srcdir:?}/tests/cuda/common.sh"
run_program test_kernels
CUDA_EMULATOR_REVERSE=1 run_program test_kernels
exit $failed

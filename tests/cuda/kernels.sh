#!/bin/bash
# kernels.sh - the table of every operation (tests/test_kernels.c), and what it can't say
# (tests/test_operations.c), on the CUDA backend, its threads run in either order.
. "${srcdir:?}/tests/cuda/common.sh"
run_in_both_orders test_kernels
run_in_both_orders test_operations
exit $failed

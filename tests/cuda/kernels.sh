#!/bin/bash
# kernels.sh - the table of every operation (tests/test_kernels.c) on the CUDA backend, its threads run
# in either order.
. "${srcdir:?}/tests/cuda/common.sh"
run_in_both_orders test_kernels
exit $failed

#!/bin/bash
# engine.sh - the CUDA backend beside the CPU's, and those tests of the engine that ask nothing of the
# host's memory; the first also with the threads of the kernels in the other order.
. "${srcdir:?}/tests/cuda/common.sh"
run_program cuda/test_cuda
CUDA_EMULATOR_REVERSE=$((1 - ${CUDA_EMULATOR_REVERSE:-0})) CUDA_STANDIN_RELU=other run_program cuda/test_cuda
for test in test_bf16 test_flow test_train test_checkpoint test_program test_rewrite test_graph test_types; do
    run_program "$test"
done
exit $failed

#!/bin/bash
# products.sh - products and convolutions (tests/test_products.c) on the CUDA backend: f32, f64, bf16, and
# bf16 to the bit; then chains where cuBLASLt lacks what rides along with products.
. "${srcdir:?}/tests/cuda/common.sh"
run_program test_products
[ "${GLOW_TEST_GPU:-0}" = 1 ] && exit $failed
export CK_RUN_CASE
for CK_RUN_CASE in f32 'bf16, whole numbers'; do
    for without in 6 128 512; do # biases and ReLUs; masks; sums
        CUDA_STANDIN_WITHOUT=$without run_program test_products
    done
    CUDA_EMULATOR_REVERSE=$((1 - ${CUDA_EMULATOR_REVERSE:-0})) CUDA_STANDIN_RELU=other run_program test_products
done
exit $failed

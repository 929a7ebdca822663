#!/bin/bash
# plugins.sh - the conformance suite of every plug-in that describes graphs, and the engine's own tests
# of training, resuming and gradients, on the CUDA backend.
. "${srcdir:?}/tests/cuda/common.sh"
for test in layers/test_{actnorm,additive,affine,factor_out,invconv,logit,permute,quantize,squeeze} \
    nets/test_{mlp,openai,resnet} priors/test_{learned,normal}; do
    run_program "$test"
done
exit $failed

#!/bin/bash
# nvrtc.sh - fused chains compiled at run time: those of the table of operations against the reference, and
# training with the bits of the interpreter. A text that does not compile is told once, and interpreted.
. "${srcdir:?}/tests/cuda/common.sh"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cat > "$work/run.cfg" <<TEXT
model: { input = [2]; flow = ( { layer = "actnorm"; }, { layer = "affine"; net = { type = "mlp"; widths = [8]; }; } ); };
data: { dataset = "toy2d"; batch = 64; };
train: { steps = 4; };
TEXT
train() { "$GLOW" train "$work/run.cfg" --out "$work/$1" > "$work/said" 2>&1 || { cat "$work/said"; failed=1; }; }
same() { cmp "$work/interpreted/checkpoint.safetensors" "$work/$1/checkpoint.safetensors" || failed=1; }

[ "${GLOW_TEST_GPU:-0}" = 1 ] && { echo 'needs the stand-in: a GPU has but one of the two ways'; exit 77; }
train interpreted
export LD_LIBRARY_PATH=$build/tests/cuda/nvrtc/.libs:$LD_LIBRARY_PATH CUDA_STANDIN_LAUNCHES=$work/launches
train compiled
same compiled
grep -q '^chain ' "$work/launches" || { echo 'no compiled chain ran'; failed=1; }
CUDA_STANDIN_NO_COMPILER=1 train broken
same broken
[ "$(grep -c 'a fused chain is interpreted: NVRTC: the text does not compile' "$work/said")" = 1 ] ||
    { echo 'does not say once that nothing compiles:'; cat "$work/said"; failed=1; }
unset CUDA_STANDIN_LAUNCHES
run_program test_kernels
exit $failed

#!/bin/bash
# nvrtc.sh - fused chains compiled at run time: those of the table of operations against the reference, and
# training with the bits of the interpreter. A text that does not compile is told once, and interpreted.
# Where NVIDIA's NVRTC stands beside nvcc, it must take every text, too: that needs no GPU. With
# GLOW_TEST_GPU=1 the bits are those of the card; chains of its size.
. "${srcdir:?}/tests/cuda/common.sh"
gpu=${GLOW_TEST_GPU:-0} rows=64
[ "$gpu" = 1 ] && rows=65536
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cat > "$work/run.cfg" <<TEXT
model: { input = [2]; flow = ( { layer = "actnorm"; }, { layer = "affine"; net = { type = "mlp"; widths = [8]; }; } ); };
data: { dataset = "toy2d"; batch = $rows; };
train: { steps = 4; };
TEXT
train() { "$GLOW" train "$work/run.cfg" --out "$work/$1" > "$work/said" 2>&1 || { cat "$work/said"; failed=1; }; }
same()
{
    cmp "$work/interpreted/checkpoint.safetensors" "$work/$1/checkpoint.safetensors" && return
    cat "$work/said"
    failed=1
}
not_told() { ! grep 'a fused chain is interpreted' "$work/said" || failed=1; }

GLOW_CUDA_NVRTC=0 train interpreted
if [ "$gpu" = 1 ]; then
    train compiled
    not_told
    same compiled
    exit $failed
fi
export LD_LIBRARY_PATH=$build/tests/cuda/nvrtc/.libs:$LD_LIBRARY_PATH CUDA_STANDIN_LAUNCHES=$work/launches
nvcc=$(command -v nvcc || echo /usr/local/cuda/bin/nvcc)
for real in "$(dirname "$(readlink -f "$nvcc")")"/../lib*/libnvrtc.so.1[0-9]; do
    [ -f "$real" ] && export CUDA_STANDIN_NVRTC=$real
done
echo "texts are compiled by ${CUDA_STANDIN_NVRTC:-the stand-in alone: no NVRTC beside nvcc}"
train compiled
not_told
same compiled
grep -q '^chain ' "$work/launches" || { echo 'no compiled chain ran'; failed=1; }
rm "$work/launches"
GLOW_CUDA_NVRTC=0 train refused
same refused
[ ! -f "$work/launches" ] || { echo 'GLOW_CUDA_NVRTC=0: a compiled chain ran'; failed=1; }
CUDA_STANDIN_NO_COMPILER=1 train broken
same broken
[ "$(grep -c 'a fused chain is interpreted: NVRTC: the text does not compile: error: .*no compiler' "$work/said")" = 1 ] ||
    { echo 'does not say once that nothing compiles:'; cat "$work/said"; failed=1; }
unset CUDA_STANDIN_LAUNCHES
run_program test_kernels
exit $failed

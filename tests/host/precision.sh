#!/bin/bash
# train.precision: a run in bf16 goes on where it stopped, byte by byte, with any number of threads; its
# checkpoints hold what those of single precision hold, and either opens in the other.
# shellcheck disable=SC1091,SC2154 # what common.sh defines
. "${srcdir:?}/tests/host/common.sh"
write_config small.cfg
bf16=(--set 'train.precision="bf16"')

check "a run in bf16" "$glow" train small.cfg --out whole "${bf16[@]}" --set train.keep=5 --threads 1 || finish
check "two threads" "$glow" train small.cfg --out two "${bf16[@]}" --set train.keep=5 --threads 2
check "the same bytes by two threads" cmp whole/checkpoint.safetensors two/checkpoint.safetensors
mkdir half
cp whole/config.cfg half/
kept=$(find whole -name '*20.safetensors')
check "a checkpoint of step 20" cp "$kept" half/checkpoint.safetensors
check "goes on" "$glow" train half --resume --threads 1
check "to the same bytes" cmp whole/checkpoint.safetensors half/checkpoint.safetensors

check "a run in fp32" "$glow" train small.cfg --out single --threads 1
check "differs" bash -c '! cmp -s whole/checkpoint.safetensors single/checkpoint.safetensors'

# bits RUN PRECISION: bits/dim of the test split.
bits()
{
    "$glow" eval "$1" --set "train.precision=\"$2\"" --json 2>err | sed -n 's/.*"bits_per_dim": *\([0-9.]*\).*/\1/p'
}
for run in whole single; do
    a=$(bits $run fp32) b=$(bits $run bf16)
    check "$run: $a bits/dim in fp32, $b in bf16" \
        awk -v a="$a" -v b="$b" 'BEGIN { exit !(a > 0 && a != b && a - b < 0.02 && b - a < 0.02) }'
done
finish

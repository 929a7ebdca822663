#!/bin/bash
# gpu_run.sh - tests/gpu-run.sh without a GPU: the emulator and the stand-in take the device's place, and
# programs of these names that of nvidia-smi and compute-sanitizer. What can't be tried here is `build`.
. "${srcdir:?}/tests/cuda/common.sh"
[ "${GLOW_TEST_GPU:-0}" = 1 ] && { echo 'needs the stand-in'; exit 77; }
unset GLOW_BACKEND
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
export PATH=$scratch/bin:$PATH GPU_WORK=$scratch/work GPU_RESULTS=$scratch/results
mkdir -p "$scratch/bin" "$GPU_WORK/state"

program() { cat > "$scratch/bin/$1" && chmod +x "$scratch/bin/$1"; }
# expect CODE WORDS ARGUMENT...: runs it and looks at its exit code and words.
expect()
{
    local code=$1 words=$2 got=0
    shift 2
    bash "$srcdir/tests/gpu-run.sh" "$@" > "$scratch/said" 2>&1 || got=$?
    [ $got = "$code" ] && grep -q -- "$words" "$scratch/said" && return
    echo "FAILED: $*: exit code $got, expected $code and \"$words\"; it says:"
    sed 's/^/    /' "$scratch/said"
    failed=1
}
there() { [ -s "$GPU_RESULTS/$1" ] || { echo "FAILED: no $1"; failed=1; }; }

# What is missing, or wrong.
program nvidia-smi <<< 'echo "NVIDIA-SMI has failed"; exit 9'
expect 2 'no GPU here: nvidia-smi -L says: NVIDIA-SMI has failed' bench
expect 2 'no GPU here' build
expect 2 'unknown phase "nonsense"' bench nonsense
expect 2 'unknown option "--nonsense"' --nonsense
expect 2 'expected a number' --minutes soon bench
program nvidia-smi <<< 'echo "GPU 0: stand-in"'
expect 2 'bench: run the phase build first' bench
program nvcc <<< 'exit 0'
NVCC=$scratch/bin/nvcc GPU_ARCHS=90 PYTHON=: expect 1 'build-unpack: FAILED' build
tar -tzf "$GPU_RESULTS.tar.gz" | grep -q 'results/build-unpack.log' || { echo 'FAILED: not packed'; failed=1; }
rm "$GPU_RESULTS.tar.gz"

# As if it were built; a sanitizer that only runs its program.
rm -rf "$GPU_WORK/source" "$GPU_WORK/build"
ln -s "$srcdir" "$GPU_WORK/source"
ln -s "$build" "$GPU_WORK/build"
echo passed > "$GPU_WORK/state/build-tests"
rm -f "$GPU_WORK/state/build-unpack"
program compute-sanitizer <<'TEXT'
echo "$*" >> "$(dirname "$0")/calls"
while [ "${1#--}" != "$1" ]; do shift 2; done
exec "$@"
TEXT
expect 0 'all passed' --quick bench sanitizer
there bench-compare-train-bf16.json
there bench-compare-sample-tf32.json
# What `glow bench` tells of a device.
for words in '"kernels": "stand-in sm_90 bf16"' '"device_used_mb": [0-9.]*[1-9]' '"device_reserved_mb": [1-9]'; do
    grep -q "$words" "$GPU_RESULTS/bench-compare-train-bf16.json" || { echo "FAILED: no $words"; failed=1; }
done
! grep -q share_of_peak "$GPU_RESULTS/bench-compare-train-bf16.json" ||
    { echo "FAILED: a share of the processor's peak"; failed=1; }
grep -q -- '--tool memcheck .*glow train' "$scratch/bin/calls" || { echo 'no memcheck'; failed=1; }

# What `suite` begins with.
bash "$srcdir/tests/gpu-run.sh" --step do_first > "$scratch/said" 2>&1 && grep -q 'stand-in sm_90' "$scratch/said" ||
    { echo 'FAILED: do_first'; cat "$scratch/said"; failed=1; }

# Again: nothing is done twice, until it is asked for.
expect 0 'all passed' --quick bench sanitizer
[ "$(wc -l < "$scratch/bin/calls")" = 1 ] || { echo 'FAILED: ran a step again that had passed'; failed=1; }
expect 3 'out of time' --quick --again --minutes 0 sanitizer

# A step that fails is told; the others run all the same, and what they left is packed.
program compute-sanitizer <<< 'echo "ERROR SUMMARY: 1 error"; exit 9'
[ "${PYTHON:-:}" = : ] || compare=compare
expect 1 'sanitizer-memcheck-train: FAILED.*1 error' --quick --again sanitizer ${compare:-} tune results
grep -q '^    ERROR SUMMARY: 1 error' "$scratch/said" || { echo 'FAILED: shows no end of the log'; failed=1; }
there tune-compare-recompute.json
there summary
there sanitizer-memcheck-train.log
grep -q 'sanitizer-memcheck-train: FAILED' "$GPU_RESULTS/summary" || { echo 'summary?'; failed=1; }
[ -z "${compare:-}" ] || there compare-invert-cuda.jsonl
tar -tzf "$GPU_RESULTS.tar.gz" | grep -q 'results/summary' || { echo 'FAILED: not packed'; failed=1; }

# No sanitizer at all; the comparison with PyTorch, on the CPU and of glow alone where there is no torch.
rm "$scratch/bin/compute-sanitizer"
command -v compute-sanitizer > /dev/null || compgen -G '/usr/local/cuda*/bin/compute-sanitizer' > /dev/null ||
    expect 1 'sanitizer-memcheck-train: FAILED.*no compute-sanitizer' --quick --again sanitizer
if [ -n "${compare:-}" ]; then
    "$PYTHON" -B "$srcdir/tests/cuda/gpu_compare.py" "$srcdir/bench" "$scratch/saved.json" || failed=1
    rm -f "$GPU_WORK/state/sanitizer"*
    GPU_COMPARE='--device cpu --modes sample --peers eager' expect 0 'torch-compare: passed' --quick torch
    there gpu_compare.json
    grep -q '"rows_per_second"' "$GPU_RESULTS/gpu_compare.json" || { echo 'nothing measured'; failed=1; }
    "$PYTHON" "$srcdir/bench/gpu_compare.py" --table "$GPU_RESULTS/gpu_compare.json" > "$scratch/said" ||
        { echo 'FAILED: gpu_compare.py --table'; failed=1; }
    grep -q '^| S  *| 16  *| sample | glow' "$scratch/said" || { echo 'FAILED: no row of glow'; failed=1; }
fi
exit $failed

#!/bin/bash
# missing.sh - what glow says and does where CUDA, or a part of it, is missing: one line that names the
# part and where it was looked for; then the CPU, or exit code 2 where the configuration insists.
. "${srcdir:?}/tests/cuda/common.sh"
[ "${GLOW_TEST_GPU:-0}" = 1 ] && { echo 'needs the stand-in: a GPU does not go away'; exit 77; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cat > "$work/run.cfg" <<TEXT
model: { input = [2]; flow = ( { layer = "actnorm"; } ); };
data: { dataset = "toy2d"; batch = 8; };
train: { steps = 2; };
TEXT
complain() { echo "$1"; sed 's/^/    /' "$work/said"; failed=1; }

# backend, what the line must say, environment: trains, and looks at code and words.
expect()
{
    local backend=$1 code=$2 words=$3 status=0
    shift 3
    env -u GLOW_BACKEND "$@" "$GLOW" train "$work/run.cfg" --set "data.batch=${batch:-8}" \
        --set "train.precision=\"${precision:-fp32}\"" --set "train.backend=\"$backend\"" \
        --out "$work/out" --force > "$work/said" 2>&1 || status=$?
    [ "$status" = "$code" ] || complain "$backend, $*: exit code $status, expected $code"
    grep -q "$words" "$work/said" || complain "$backend, $*: does not say \"$words\""
    [ -z "$words" ] || [ "$(grep -c "$words" "$work/said")" = 1 ] ||
        complain "$backend, $*: says \"$words\" more than once"
}

# No module: silence with auto, for it was never built.
mkdir "$work/empty"
if [ ! -f "$build/core/cuda/.libs/glow-cuda.so" ]; then
    expect auto 0 '' GLOW_BACKEND_PATH="$work/empty"
    ! grep -q cuda "$work/said" || complain 'auto without a module speaks of cuda'
    expect cuda 2 "no module glow-cuda.so.*looked in $work/empty" GLOW_BACKEND_PATH="$work/empty"
fi

# No driver.
expect auto 0 'no NVIDIA driver: libcuda.so.1.*looked for' LD_LIBRARY_PATH=
expect cuda 2 'no NVIDIA driver: libcuda.so.1.*looked for' LD_LIBRARY_PATH=

# No device, none visible, an old driver.
expect auto 0 'no device: ' CUDA_STANDIN_DEVICES=0
expect cuda 2 'no device: ' CUDA_STANDIN_DEVICES=0
expect cuda 2 'driver is too old: it serves CUDA 11.4' CUDA_STANDIN_DRIVER=11040
# A driver need not be as new as the run time, but know its major version, and large arguments.
expect auto 0 'driver is too old: it serves CUDA 12.9, this glow needs 13.0' CUDA_STANDIN_RUNTIME=13010 CUDA_STANDIN_DRIVER=12090
expect cuda 2 'driver is too old: it serves CUDA 12.0, this glow needs 12.1' CUDA_STANDIN_RUNTIME=12080 CUDA_STANDIN_DRIVER=12000
expect cuda 0 'stand-in sm_90' CUDA_STANDIN_RUNTIME=12080 CUDA_STANDIN_DRIVER=12010
expect cuda 0 'stand-in sm_90' CUDA_STANDIN_RUNTIME=13010 CUDA_STANDIN_DRIVER=13000

# A device that none of the kernels was built for (209), or that another process holds (46).
for words in 'auto 0 running on the CPU; cuda: the first' 'cuda 2 backend "cuda": the first'; do
    read -r backend code words <<< "$words"
    expect $backend $code "$words device, stand-in of compute capability 9.0, does not run its kernels: no kernel image" \
        CUDA_STANDIN_TOUCH=209
    expect $backend $code "does not run its kernels" CUDA_STANDIN_TOUCH=46
done

# A library: a module that needs one that is not there.
mkdir "$work/broken"
echo 'int nothing;' > "$work/nothing.c"
$CC -shared -fPIC -o "$work/libcudnn_gone.so.9" -Wl,-soname,libcudnn_gone.so.9 "$work/nothing.c" &&
    $CC -shared -fPIC -o "$work/broken/glow-cuda.so" -Wl,--no-as-needed "$work/nothing.c" \
        "$work/libcudnn_gone.so.9" || failed=1
rm "$work/libcudnn_gone.so.9"
expect auto 0 'a library is missing: libcudnn_gone.so.9' GLOW_BACKEND_PATH="$work/broken"
expect cuda 2 'a library is missing: libcudnn_gone.so.9' GLOW_BACKEND_PATH="$work/broken"

# Another build's module.
mkdir "$work/other"
echo 'const char glow_backend_module[64] = "9.9.9";' > "$work/other.c"
$CC -shared -fPIC -o "$work/other/glow-cuda.so" "$work/other.c" || failed=1
expect cuda 2 'of another build' GLOW_BACKEND_PATH="$work/other"

# All there: it trains on the device, and says so. Too little memory: who wanted how much.
expect cuda 0 'stand-in sm_90'
expect auto 0 'stand-in sm_90'
batch=500000 expect cuda 1 'no room for' CUDA_STANDIN_MEMORY=48
expect cuda 2 'GLOW_CUDA_MATH=int8: expected fp32 or tf32' GLOW_CUDA_MATH=int8
expect cuda 0 'stand-in sm_90 tf32' GLOW_CUDA_MATH=tf32
precision=bf16 expect cuda 0 'stand-in sm_90 bf16'

# Training that runs out of memory when it goes on leaves the checkpoint as it was.
"$GLOW" train "$work/run.cfg" --out "$work/kept" > "$work/said" 2>&1 || complain 'training failed'
before=$(cksum < "$work/kept/checkpoint.safetensors")
CUDA_STANDIN_MEMORY=48 "$GLOW" train "$work/kept" --resume --steps 4 --set data.batch=500000 > "$work/said" 2>&1 &&
    complain 'trained without memory'
[ "$before" = "$(cksum < "$work/kept/checkpoint.safetensors")" ] || complain 'another checkpoint'
"$GLOW" train "$work/kept" --resume --steps 4 > "$work/said" 2>&1 || complain 'does not go on'

# A device that breaks stays broken, whoever asks next. The run says what broke it, which is no lack of memory,
# and goes on from what it had saved.
expect cuda 1 'cudaMallocAsync: an illegal memory access' CUDA_STANDIN_BREAKS=3
for at in 90 200; do
    rm -rf "$work/broke"
    CUDA_STANDIN_BREAKS=$at "$GLOW" train "$work/run.cfg" --steps 40 --set train.checkpoint_every=2 \
        --set train.log_every=2 --out "$work/broke" > "$work/said" 2>&1 && complain "breaks at $at: trained all the same"
    grep -q 'an illegal memory access was encountered' "$work/said" || complain "breaks at $at: does not say why"
    ! grep -q 'no room' "$work/said" || complain "breaks at $at: speaks of memory"
    [ $at = 90 ] || [ -f "$work/broke/checkpoint.safetensors" ] || complain "breaks at $at: nothing was saved"
    "$GLOW" train "$work/broke" --resume > "$work/said" 2>&1 || complain "broke at $at: does not go on"
done

# Statistics of memory: in the log and from `glow info`.
grep -q '"device_mb"' "$work/kept/log.jsonl" || { echo 'no device_mb in the log'; failed=1; }
"$GLOW" info "$work/kept" > "$work/said" 2>&1 || complain 'glow info fails'
grep -q 'Memory of stand-in sm_90 fp32: ' "$work/said" || complain 'glow info: no memory'

# Each operation waited for: slower, and the same.
GLOW_CUDA_CHECK=1 "$GLOW" train "$work/run.cfg" --out "$work/checked" > "$work/said" 2>&1 ||
    complain 'GLOW_CUDA_CHECK=1 fails'
"$GLOW" train "$work/run.cfg" --out "$work/plain" > "$work/said" 2>&1 || complain 'fails'
cmp -s "$work/checked/checkpoint.safetensors" "$work/plain/checkpoint.safetensors" ||
    { echo 'GLOW_CUDA_CHECK=1 changes the result'; failed=1; }

# Neither the program nor a plug-in links CUDA.
for file in "$build"/host/.libs/glow "$build"/host/glow "$build"/plugins/*/.libs/*.so; do
    [ -f "$file" ] && readelf -d "$file" 2> /dev/null | grep -Eiq 'NEEDED.*(cuda|cublas|cudnn)' &&
        { echo "$file links CUDA"; failed=1; }
done
exit $failed

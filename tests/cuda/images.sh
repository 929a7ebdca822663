#!/bin/bash
# images.sh - plug-ins that bring device code: examples/softclip.c and tests/plugins/moment.c with an
# image inside, which the stand-in loads and launches (or, with GLOW_TEST_GPU=1, nvcc's fatbin and the
# machine's own GPU). Then each thing that can be wrong with an image, and what is said and done.
. "${srcdir:?}/tests/cuda/common.sh"
gpu=${GLOW_TEST_GPU:-0}
nvcc=${NVCC:-$(command -v nvcc || echo /usr/local/cuda/bin/nvcc)}
[ -x "$nvcc" ] || nvcc=
cuobjdump=$(command -v cuobjdump || true)
[ "$gpu" = 1 ] && [ -z "$nvcc" ] && { echo 'no nvcc to make images with'; exit 77; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/plugins"
complain() { echo "$1"; sed 's/^/    /' "$work/said"; failed=1; }

case_source() { case $1 in softclip) echo examples/softclip ;; *) echo "tests/plugins/$1" ;; esac; }
device_source() { case $1 in softclip) echo examples/softclip.cu ;; *) echo "tests/cuda/$1.cu" ;; esac; }

# The recipe of docs/write-a-plugin.md: plugin NAME IMAGE [FLAG...]
plugin()
{
    local name=$1 image=$2
    shift 2
    rm -f "$work/plugins/$name.so"
    $CC -std=gnu11 -Wall -Wextra -shared -fPIC -I"$srcdir/core/include" ${image:+-DIMAGE="\"$image\""} "$@" \
        "$srcdir/$(case_source "$name").c" -o "$work/plugins/$name.so" > "$work/said" 2>&1 &&
        [ ! -s "$work/said" ] || complain "$name does not compile without a word"
}
fatbin() { "$nvcc" -fatbin -arch="$2" "$srcdir/$(device_source "$1")" -o "$work/$1.fatbin"; }

if [ "$gpu" = 1 ]; then
    for name in softclip moment; do fatbin $name native || exit 99; done
    softclip=$work/softclip.fatbin moment=$work/moment.fatbin
else
    softclip=$here/image_softclip.so moment=$here/image_moment.so
fi
export CUDA_STANDIN_LAUNCHES=$work/launches
launched() { [ "$gpu" = 1 ] || grep -q "^$1 " "$work/launches" 2> /dev/null; }

# ---- they keep their promises: kernel and decomposition agree, gradients, inverse

plugin softclip "$softclip"
plugin moment "$moment"
for name in softclip moment; do
    for reverse in 0 1; do
        rm -f "$work/launches"
        CUDA_EMULATOR_REVERSE=$reverse "$GLOW" check "$work/plugins/$name.so" > "$work/said" 2>&1 ||
            complain "$name fails the conformance suite"
        launched ${name}_f64 && launched ${name}_f32 || complain "$name: its kernels were not launched"
    done
done
# A geometry of its own, one block a sample; and the preset one.
[ "$gpu" = 1 ] || { grep -qx 'moment_f64 3 1 1, 64 1 1' "$work/launches" || complain 'geometry of moment'; }

# The file holds the code, and links and exports nothing for it.
for name in softclip moment; do
    readelf -d "$work/plugins/$name.so" | grep NEEDED | grep -Evq 'libc\.so|libm\.so' &&
        complain "$name links more than libc"
    [ "$(nm -D --defined-only "$work/plugins/$name.so" | awk '{ print $3 }')" = glow_plugin_v1 ] ||
        complain "$name exports more than glow_plugin_v1"
done

# ---- training: step by step, recorded, and by the decomposition

cat > "$work/run.cfg" << EOF
plugin_path = "plugins";
model: { input = [8, 8, 1]; flow = (
  { layer = "quantize"; }, { layer = "squeeze"; }, { layer = "actnorm"; }, { layer = "softclip"; },
  { layer = "moment"; weighted = true; scaled = true; },
  { layer = "affine"; net = { type = "openai"; width = 8; }; } ); };
data: { dataset = "glyphs"; batch = 4; };
train: { steps = 6; log_every = 6; eval_rows = 64; };
EOF
# train RUN: with the environment that stands before it
train()
{
    rm -f "$work/launches"
    "$GLOW" train "$work/run.cfg" --out "$work/$1" --force > "$work/said" 2>&1
}
# bits per dimension at the end, and whether two of them agree
tolerance=1e-5
[ "$gpu" = 1 ] && tolerance=1e-3 # its exp is not the host's
bits() { sed -n 's/.*"bits_per_dim":\([0-9.]*\).*/\1/p' "$work/$1/log.jsonl" | tail -n 1; }
agree()
{
    awk -v a="$(bits "$1")" -v b="$(bits "$2")" -v most=$tolerance \
        'BEGIN { d = a - b; exit !(a > 0 && d < most && d > -most) }'
}

train recorded || complain 'does not train'
launched softclip_f32 && launched moment_f32 || complain 'trained without the kernels'
# 6 updates and 1 initialisation, the backward pass by recomputation or from what is stored.
[ "$gpu" = 1 ] || [ "$(grep -c '^moment_f32 ' "$work/launches")" -ge 7 ] || complain 'too few launches'
GLOW_CUDA_CHECK=1 train waited || complain 'does not train step by step'
cmp -s "$work/recorded/checkpoint.safetensors" "$work/waited/checkpoint.safetensors" ||
    { echo 'a recording changes the result'; failed=1; }
GLOW_BACKEND=cpu train cpu || complain 'does not train on the CPU'
agree recorded cpu || { echo "bits per dimension: $(bits recorded) and $(bits cpu)"; failed=1; }
plugin moment ''
plugin softclip ''
train plain || complain 'does not train without images'
agree recorded plain || { echo "bits per dimension: $(bits recorded) and $(bits plain)"; failed=1; }

# ---- nvcc's own fatbins: the kernels are in there, the plug-in loads anywhere

if [ -n "$nvcc" ]; then
    for name in softclip moment; do
        fatbin $name all-major || { echo "nvcc does not compile $name.cu"; failed=1; }
        "$nvcc" -cubin -arch=sm_90 "$srcdir/$(device_source $name)" -o "$work/$name.cubin" || failed=1
        for number in f32 f64; do
            readelf -sW "$work/$name.cubin" 2> /dev/null | grep -q "FUNC.* ${name}_$number$" ||
                { echo "$name.cubin lacks ${name}_$number"; failed=1; }
        done
        # What is in the fatbin itself, where there is the tool to look inside.
        for number in ${cuobjdump:+f32 f64}; do
            "$cuobjdump" -symbols "$work/$name.fatbin" | grep -q "STO_ENTRY *${name}_$number$" ||
                { echo "$name.fatbin lacks ${name}_$number"; failed=1; }
        done
        plugin $name "$work/$name.fatbin"
        grep -aqF "$(printf '\x50\xed\x55\xba')" "$work/plugins/$name.so" || complain "$name.so has no fatbin"
        GLOW_BACKEND=cpu "$GLOW" check "$work/plugins/$name.so" > "$work/said" 2>&1 ||
            complain "$name with nvcc's image fails on the CPU"
    done
    echo "fatbins of $("$nvcc" --version | sed -n 's/.*release \([0-9.]*\),.*/nvcc \1/p')"
else
    echo 'no nvcc: fatbins are not tried'
fi
[ "$gpu" = 1 ] && { train fatbins || complain 'does not train with all-major images'; exit $failed; }

# ---- a device that the image is not for: told once, and the decomposition computes

# decomposes WORDS FLAG...: trains like the decomposition and says the words once, or nothing
decomposes()
{
    local words=$1 told=0
    [ -n "$words" ] && told=1
    train other || complain "$words: does not train"
    grep -q '^moment' "$work/launches" 2> /dev/null && complain "$words: launched all the same"
    [ "$(grep -c 'custom operation' "$work/said")" = $told ] || complain "not told $told times: $words"
    grep -q "$words" "$work/said" || complain "does not say \"$words\""
    cmp -s "$work/other/checkpoint.safetensors" "$work/plain/checkpoint.safetensors" ||
        { echo "$words: other results than the decomposition's"; failed=1; }
}
plugin softclip ''
if [ -n "$nvcc" ]; then
    decomposes 'moment.so: its image has no code for this device, stand-in of compute capability 9.0 (no kernel'
    "$nvcc" -ptx -arch=compute_90 "$srcdir/tests/cuda/moment.cu" -o "$work/moment.ptx" || failed=1
fi
plugin moment "$moment"
CUDA_STANDIN_ARCH=75 decomposes 'its image has no code for this device, stand-in of compute capability 7.5 (no kernel'
export CUDA_STANDIN_RUNTIME=12080 # a driver that tells nothing of parameters
CUDA_STANDIN_DRIVER=12030 decomposes 'takes a driver of CUDA 12.4'
unset CUDA_STANDIN_RUNTIME
plugin moment "$moment" -DLIMIT=1
decomposes ''
[ -f "$work/moment.ptx" ] || printf '.version 9.0\n.target sm_90\n.address_size 64\n' > "$work/moment.ptx"
plugin moment "$work/moment.ptx"
decomposes 'PTX JIT compiler library not found'
# PTX for a newer device, or for another one alone: the driver would call it invalid.
for target in sm_100 sm_80a sm_100f; do
    sed "s/sm_90/$target/" "$work/moment.ptx" > "$work/newer.ptx"
    plugin moment "$work/newer.ptx"
    decomposes 'its image has no code for this device, stand-in of compute capability 9.0 (no kernel'
done
for target in sm_75 sm_90a sm_90f; do
    sed "s/sm_90/$target/" "$work/moment.ptx" > "$work/older.ptx"
    plugin moment "$work/older.ptx"
    decomposes 'PTX JIT compiler library not found'
done

# ---- mistakes: exit code 2, the plug-in's file, and words that say what

# refused WORDS IMAGE FLAG...
refused()
{
    local words=$1 status=0
    shift
    plugin moment "$@"
    train bad || status=$?
    [ $status = 2 ] || complain "$words: exit code $status"
    grep -q "custom operation \"moment\": .*$words" "$work/said" || complain "does not say \"$words\""
    grep -q 'plugins/moment.so' "$work/said" || complain "$words: does not name the file"
}
head -c 5000 "$moment" > "$work/cut"
printf '\x50\xed\x55\xba\x01\x00\x10\x00\x00\x10\x00\x00\x00\x00\x00\x00and so on' > "$work/cut_fatbin"
echo 'these are no bytes for a GPU' > "$work/text"
n=$(stat -c %s "$moment")
{ head -c 64 "$moment"; head -c $((n - 64)) /dev/zero; } > "$work/hollow"
refused 'its image is cut off: it has 5000 bytes and speaks of' "$work/cut"
refused 'its image is cut off: it has 25 bytes and speaks of 4112' "$work/cut_fatbin"
refused 'its image is no fatbin, cubin or PTX' "$work/text"
refused 'CUDA refuses its image: device kernel image is invalid' "$work/hollow"
refused 'its image holds no kernel "missing"' "$moment" -DENTRY='"missing"'
refused 'parameter 6 of its kernel "moment_narrow" has 4 bytes' "$moment" -DENTRY='"moment_narrow"'
refused 'kernel "moment_f32" has 7 parameters; it gets 8: 5 pointers, 2 integers, 1 attributes' "$moment" -DINTEGERS=2
refused 'launch: 17 integers, at most 16' "$moment" -DINTEGERS=17
refused 'launch: blocks of 2048 x 1 x 1' "$moment" -DBLOCK=2048
refused 'launch: 1088 threads in a block' "$moment" -DROWS=17
refused 'launch: a grid of 1 x 70000 x 1' "$moment" -DCOLUMNS=70000
refused 'launch: a grid of 1 x 0 x 1' "$moment" -DCOLUMNS=0
refused 'launch: a grid of 4 x 80000 x 1' "$moment" -DCOLUMNS='(uint32_t)(20000*x->n)' # by the batch
refused 'launch: 240000 bytes of shared memory' "$moment" -DSHARED=240000
refused 'launch: the moon is in the wrong phase' "$moment" -DREASON='"the moon is in the wrong phase"'

# More than 48 kB of shared memory are asked for in time.
plugin moment "$moment" -DSHARED=100000
train large || complain '100 kB of shared memory'
launched moment_f32 || complain '100 kB of shared memory: not launched'
cmp -s "$work/recorded/checkpoint.safetensors" "$work/large/checkpoint.safetensors" ||
    agree recorded large || complain '100 kB of shared memory: other results'

# ---- version 1.0's kernels, functions of the host, built against its header

rm "$work/plugins"/*
plugin hostfn '' -DHEADER="\"$srcdir/tests/abi/plugin-1.0.h\""
sed -i '/softclip/s/.*/  { layer = "quantize"; }, { layer = "hostfn"; } ); };/; /squeeze\|moment\|affine/d' "$work/run.cfg"
status=0
train function || status=$?
[ $status != 0 ] && grep -q "the plug-in's kernel failed with code -4" "$work/said" ||
    complain "a function of version 1.0: exit code $status"
# It runs in every step: no recording has what it does.
"$GLOW" train "$work/run.cfg" --out "$work/function" --force --steps 30 --set 'train.precision="fp64"' \
    > "$work/said" 2>&1 || complain 'a function of version 1.0 that succeeds: does not train'
calls=$(grep -c '^hostfn runs' "$work/said")
[ "$calls" -ge 30 ] || complain "a function of version 1.0 was called $calls times in 30 steps"
exit $failed

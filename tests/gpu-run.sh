#!/bin/bash
# gpu-run.sh - builds, tests and measures glow on a bare machine with a GPU and no package registry.
#
#   tests/gpu-run.sh prepare DIR     on a Debian machine with the build's packages, in a build directory:
#                                    puts the dist tarball and the files of those packages into DIR
#   DIR/gpu-run.sh [--again] [--quick] [--minutes N] [PHASE...]
#                                    on the machine with the GPU: all phases, or these:
#       build       unpack, configure for this card alone, make, with the test programs
#       suite       the CUDA backend's tests on the device
#       compare     200 training steps beside the CPU's, by memory policy
#       bench       glow bench: models, precisions, training and sampling
#       tune        the milliseconds of each operation
#       torch       bench/gpu_compare.py: beside the best PyTorch, where Python has torch
#       sanitizer   compute-sanitizer: memcheck, racecheck
#       cpu         make check: all that needs no device
#       results     packs what the others left into one file
#
# Each phase is a list of steps. A step that fails is told and the next one runs; one that passed isn't
# run again, unless --again asks for it. Nothing starts after N minutes (default 9), so that a machine
# that kills long commands gets the same command several times. --quick is a trial of seconds.
# Exit codes: 0 all passed, 1 a step failed, 2 something is missing, 3 out of time: run it again.
#
# Environment: GPU_WORK, where it builds and remembers, default DIR/work; GPU_RESULTS, default
# DIR/results; GPU_ARCHS, compute capabilities to build for, default the device's (then `build` needs
# none); NVCC; PYTHON, which may have torch and NVIDIA's wheels, default python3; GPU_COMPARE, more
# arguments for gpu_compare.py.
#
# The GPU machine needs a C and a C++ compiler, the NVIDIA driver, and CUDA with cuDNN: a toolkit, or
# the pip wheels that stand beside PyTorch (nvidia/cu13, nvidia/cudnn) and an nvcc.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
self=$here/$(basename "$0")

die() { echo "gpu-run.sh: $*" >&2; exit 2; }

# ---- prepare

packages=(make pkg-config check libconfig-dev libjansson-dev libspng-dev libturbojpeg0-dev libzip-dev
    zlib1g-dev libcairo2-dev)

# Headers, libraries, .pc files and tools of the packages and of all that they depend on, but for what
# comes with every compiler.
package_files()
{
    local triplet
    triplet=$(cc -print-multiarch)
    apt-cache depends --recurse --installed --no-recommends --no-suggests --no-conflicts --no-breaks \
        --no-replaces --no-enhances "${packages[@]}" | sed -n 's/^\([a-z0-9][^ :]*\)$/\1/p' | sort -u |
        grep -Ev '^(libc6|libc-|libgcc|libstdc|gcc-|linux-libc|libcrypt|perl|python|fonts|debconf|dpkg)' |
        xargs dpkg -L | sort -u | grep -E "^/usr/include/.*\.h$|^/usr/share/pkgconfig/.*\.pc$|\
^/usr/bin/(make|pkg-config|pkgconf)$|^(/usr)?/lib/$triplet/(pkgconfig/.*\.pc|[^/]*\.so[.0-9]*|\
lib(check|check_pic|subunit)\.a|.*/include/.*\.h)$" | while read -r file; do
            if [ -f "$file" ]; then echo "$file"; fi
        done
}

# Copies files to a root of their own; a link becomes one to its neighbour, which comes along.
copy_to_root()
{
    local root=$1 file real place
    while read -r file; do
        place=$root/usr/${file#/}
        place=${place/#"$root"\/usr\/usr\//"$root"/usr/}
        real=$(readlink -f "$file")
        mkdir -p "$(dirname "$place")"
        [ -e "$(dirname "$place")/$(basename "$real")" ] ||
            cp "$real" "$(dirname "$place")/$(basename "$real")"
        [ "$(basename "$real")" = "$(basename "$file")" ] || ln -sf "$(basename "$real")" "$place"
    done
}

prepare()
{
    local to=$1 root package
    [ -f Makefile ] || die "prepare: run it in a build directory"
    for package in "${packages[@]}"; do
        dpkg -L "$package" > /dev/null 2>&1 || die "prepare: the package $package is not installed"
    done
    mkdir -p "$to"
    to=$(cd "$to" && pwd)
    rm -f glow-*.tar.gz
    make -s dist-gzip > /dev/null
    cp -- glow-*.tar.gz "$to/glow.tar.gz"
    [ "$here" = "$to" ] || cp -- "$self" "$to/gpu-run.sh"
    root=$(mktemp -d)
    package_files | copy_to_root "$root"
    tar -C "$root" -czf "$to/packages.tar.gz" usr
    rm -rf "$root"
    (cd "$to" && du -ch glow.tar.gz packages.tar.gz gpu-run.sh | tail -n 1)
    echo "copy $to to the machine with the GPU and run gpu-run.sh there"
}

# ---- on the GPU machine: what is there

# The carried packages, seen by compiler, linker and pkg-config without being installed. Of libraries
# that the machine has itself its own are used, for others may need them, too.
use_packages()
{
    local triplet lib known
    triplet=$(cc -print-multiarch)
    export PATH=$PATH:$work/root/usr/bin
    export PKG_CONFIG_SYSROOT_DIR=$work/root
    export PKG_CONFIG_LIBDIR=$work/root/usr/lib/$triplet/pkgconfig:$work/root/usr/share/pkgconfig
    export CPPFLAGS="-I$work/root/usr/include -I$work/root/usr/include/$triplet"
    export LDFLAGS="-L$work/root/usr/lib/$triplet -Wl,-rpath-link,$work/root/usr/lib/$triplet"
    if [ ! -d "$work/lib" ]; then
        mkdir -p "$work/lib.new"
        known=$(ldconfig -p 2> /dev/null || /sbin/ldconfig -p 2> /dev/null || true)
        for lib in "$work/root/usr/lib/$triplet"/*.so.*; do
            grep -q "^[[:space:]]*$(basename "$lib") " <<< "$known" || ln -s "$lib" "$work/lib.new"
        done
        mv "$work/lib.new" "$work/lib"
    fi
    export LD_LIBRARY_PATH=$work/lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
}

# Sets cuda, cudnn and NVCC, or says which of them is missing and where it was looked for.
find_cuda()
{
    local site dir
    site=$("$PYTHON" -c 'import nvidia; print(list(nvidia.__path__)[0])' 2> /dev/null || true)
    cuda='' cudnn=''
    for dir in ${NVCC:-} $(command -v nvcc || true) /usr/local/cuda/bin/nvcc /usr/local/cuda-*/bin/nvcc \
        ${site:+$site/cu13/bin/nvcc}; do
        if [ -x "$dir" ]; then NVCC=$dir && break; fi
    done
    [ -x "${NVCC:-}" ] || die "no nvcc: looked at NVCC, on the PATH, in /usr/local/cuda*/bin and in" \
        "the packages of $PYTHON (${site:-it has no nvidia package})"
    export NVCC
    for dir in "$(dirname "$(readlink -f "$NVCC")")/.." /usr/local/cuda /usr/local/cuda-* \
        ${site:+"$site/cu13"}; do
        [ -e "$dir/include/cublas_v2.h" ] && [ -e "$dir/include/cuda_runtime_api.h" ] || continue
        cuda=$(cd "$dir" && pwd) && break
    done
    [ -n "$cuda" ] || die "no include/cublas_v2.h beside a cuda_runtime_api.h: looked beside $NVCC, in" \
        "/usr/local/cuda* and in the packages of $PYTHON (${site:-it has no nvidia package})"
    for dir in "$cuda" ${site:+"$site/cudnn"} /usr/local/cuda; do
        if [ -e "$dir/include/cudnn.h" ]; then cudnn=$dir && break; fi
    done
    [ -n "$cudnn" ] || echo '#include <cudnn.h>' | cc -E - > /dev/null 2>&1 ||
        die "no cudnn.h: looked in $cuda, in the compiler's directories and in the packages of" \
            "$PYTHON (${site:-it has no nvidia package})"
    [ "$cudnn" != "$cuda" ] || cudnn=
    echo "CUDA in $cuda, nvcc $NVCC, cuDNN in ${cudnn:-the same place or one that $CC knows}"
}

need_device()
{
    local said=''
    command -v nvidia-smi > /dev/null || die "no GPU here: there is no nvidia-smi, so no NVIDIA driver"
    said=$(nvidia-smi -L 2>&1) && grep -q '^GPU 0' <<< "$said" ||
        die "no GPU here: nvidia-smi -L says: ${said:-nothing}"
}

# What tests/local.mk sets for tests.
test_environment()
{
    local kind
    export srcdir=$work/source builddir=$work/build GLOW=$work/build/host/glow CC=cc
    GLOW_PLUGIN_PATH=
    for kind in layers nets priors datasets; do
        GLOW_PLUGIN_PATH+=${GLOW_PLUGIN_PATH:+:}$builddir/plugins/$kind/.libs
    done
    export GLOW_PLUGIN_PATH GLOW_BACKEND_PATH=${GLOW_BACKEND_PATH:-$builddir/core/cuda/.libs}
}

# ---- steps; each runs in a process of its own, in the build directory, its output in a file

do_unpack()
{
    [ -d "$work/source" ] || {
        mkdir -p "$work/source.new" "$work/root"
        tar -C "$work/root" -xzf "$here/packages.tar.gz"
        tar -C "$work/source.new" --strip-components=1 -xzf "$here/glow.tar.gz"
        mv "$work/source.new" "$work/source"
    }
    nvidia-smi --query-gpu=name,driver_version,memory.total,compute_cap --format=csv || true
}

do_configure()
{
    local archs=${GPU_ARCHS:-} code=0
    find_cuda
    [ -n "$archs" ] || archs=$(nvidia-smi --query-gpu=compute_cap --format=csv,noheader | head -n 1 |
        tr -d ' .')
    "$work/source/configure" --with-cuda="$cuda" ${cudnn:+--with-cudnn="$cudnn"} \
        --with-cuda-archs="$archs" PYTHON="$PYTHON" || code=$?
    cp config.log "$results/" || true
    return $code
}

do_make() { make -j"$(nproc)"; }
do_make_tests() { make -j"$(nproc)" check TESTS=; }
do_make_check() { make -j"$(nproc)" check; }

# What there is, and one small training, operation by operation: where that fails, little else works.
do_first()
{
    nvidia-smi || true
    nvidia-smi -q -d COMPUTE,ECC,CLOCK,POWER || true
    (find_cuda && "$NVCC" --version) || true
    ldd "$GLOW_BACKEND_PATH/glow-cuda.so"
    env | grep -E '^(CUDA|NVIDIA|CUBLAS|CUDNN|GLOW|LD_)' || true
    local train=(host/glow train "$srcdir/tests/cuda/compare.cfg" --force --steps 4 --set 'train.backend="cuda"')
    GLOW_CUDA_CHECK=1 "${train[@]}" --out "$work/first-checked"
    "${train[@]}" --out "$work/first"
    cmp "$work/first-checked/checkpoint.safetensors" "$work/first/checkpoint.safetensors"
}

# One that fails runs again with the host waiting after each operation: the log then names the first.
do_script()
{
    export GLOW_TEST_GPU=1
    bash "$srcdir/tests/cuda/$1.sh" && return
    echo "---- $1.sh again, each operation waited for"
    GLOW_CUDA_CHECK=1 CUDA_LAUNCH_BLOCKING=1 bash "$srcdir/tests/cuda/$1.sh" || true
    return 1
}
do_images() { find_cuda && do_script images; }

# So many steps on the CPU and on the GPU from the same seed: the losses of the log side by side.
do_compare()
{
    local steps=$1 batch=$2 memory=$3 backend
    for backend in cpu cuda; do
        host/glow train "$srcdir/tests/cuda/compare.cfg" --steps "$steps" --force \
            --out "$work/compare-$memory-$backend" --set "train.backend=\"$backend\"" \
            --set "train.memory=\"$memory\"" --set train.seed=7 --set train.log_every=2 \
            --set "data.batch=$batch" --set "data.count=$((32 * batch))"
        cp "$work/compare-$memory-$backend/log.jsonl" "$results/compare-$memory-$backend.jsonl"
    done
    "$PYTHON" - "$results/compare-$memory"-{cpu,cuda}.jsonl <<'PY'
import json, sys
rows = [[json.loads(line) for line in open(name)] for name in sys.argv[1:]]
loss = [{r["step"]: r["loss"] for r in rs if r["kind"] == "train"} for rs in rows]
if loss[0].keys() != loss[1].keys() or len(loss[0]) < 5:
    sys.exit(f"{len(loss[0])} and {len(loss[1])} logged losses")
worst = max(abs(loss[0][s] - loss[1][s]) / abs(loss[0][s]) for s in loss[0])
print(f"{len(loss[0])} logged losses, CPU and CUDA differ by at most {worst:.2e} of the loss")
sys.exit(not worst < 0.02)
PY
}

do_bench()
{
    local config=$1 mode=$2 precision=$3
    shift 3
    GLOW_CUDA_MATH=${precision/bf16/fp32} host/glow bench "$srcdir/$config.cfg" --mode "$mode" \
        --set 'train.backend="cuda"' --set "train.precision=\"${precision/tf32/fp32}\"" "$@" |
        tee "$results/$STEP.json"
}

do_sanitize()
{
    local tool=$1 sanitizer
    shift
    for sanitizer in "$(command -v compute-sanitizer)" /usr/local/cuda*/bin/compute-sanitizer; do
        if [ -x "$sanitizer" ]; then break; fi
    done
    [ -x "$sanitizer" ] ||
        { echo 'no compute-sanitizer: looked on the PATH and in /usr/local/cuda*/bin' && exit 1; }
    GLOW_BACKEND=cuda CK_FORK=no CK_TIMEOUT_MULTIPLIER=1000 \
        "$sanitizer" --tool "$tool" --target-processes all --error-exitcode 9 "$@"
}

do_verify() { "$PYTHON" "$srcdir/bench/gpu_compare.py" --verify --configs s; }
do_torch()
{
    "$PYTHON" "$srcdir/bench/gpu_compare.py" --json "$results/gpu_compare.json" "$@" ${GPU_COMPARE:-}
}

# ---- phases

phase_build()
{
    step unpack 120 do_unpack
    use_packages
    step configure 240 do_configure
    step make 480 do_make
    step tests 480 do_make_tests
}

phase_suite()
{
    step first 120 do_first
    step kernels 480 do_script kernels
    step products 480 do_script products
    step engine 480 do_script engine
    step nvrtc 240 do_script nvrtc
    step plugins 480 do_script plugins
    step images 480 do_images
}

phase_compare()
{
    local memory size=(200 32)
    [ -z "$quick" ] || size=(10 1)
    for memory in store recompute invert; do step "$memory" 240 do_compare "${size[@]}" $memory; done
}

bench_configs=(configs/bench-{s,m,c,openai64})
phase_bench()
{
    local config precision batch=(--batch 64 --seconds 4)
    [ -z "$quick" ] || { bench_configs=(tests/cuda/compare); batch=(--batch 2 --steps 1); }
    for config in "${bench_configs[@]}"; do
        for precision in fp32 tf32 bf16; do
            step "$(basename "$config")-train-$precision" 120 do_bench "$config" train $precision \
                "${batch[@]}" --set 'train.memory="store"'
            step "$(basename "$config")-sample-$precision" 120 do_bench "$config" sample $precision \
                "${batch[@]:2}"
        done
    done
}

phase_tune()
{
    local config memory batch=(--batch 64 --seconds 4)
    [ -z "$quick" ] || { bench_configs=(tests/cuda/compare); batch=(--batch 2 --steps 1); }
    for config in "${bench_configs[@]}"; do
        for memory in store recompute; do
            step "$(basename "$config")-$memory" 120 do_bench "$config" train bf16 --profile \
                "${batch[@]}" --set "train.memory=\"$memory\""
        done
        step "$(basename "$config")-sample" 120 do_bench "$config" sample bf16 --profile "${batch[@]:2}"
    done
}

phase_torch()
{
    if "$PYTHON" -c 'import torch, numpy' 2> /dev/null; then step verify 300 do_verify; fi
    step compare 580 do_torch --minutes "$(((deadline - SECONDS) / 60 - 1))" ${quick:+--quick}
}

phase_sanitizer()
{
    local train=(host/glow train "$srcdir/tests/cuda/compare.cfg" --force --out "$work/sanitized")
    [ -z "$quick" ] || train+=(--set data.batch=2 --set data.count=8)
    step memcheck-train 480 do_sanitize memcheck "${train[@]}" --steps 4
    [ -z "$quick" ] || return 0
    step racecheck-train 480 do_sanitize racecheck "${train[@]}" --steps 2
    step memcheck-engine 500 do_sanitize memcheck tests/cuda/test_cuda
    step racecheck-engine 500 do_sanitize racecheck tests/cuda/test_cuda
    step memcheck-kernels 500 do_sanitize memcheck tests/test_kernels
}

phase_cpu() { step check 560 do_make_check; }

phase_results()
{
    tar -C "$(dirname "$results")" -czf "$results.tar.gz" "$(basename "$results")"
    echo "packed: $results.tar.gz"
}

# ---- running them

# step NAME SECONDS FUNCTION ARGUMENT...
step()
{
    local name=$phase-$1 limit=$2 begin=$SECONDS code=0 left=$((deadline - SECONDS)) state
    shift 2
    state=$work/state/$name
    if [ -z "$again" ] && grep -qs '^passed' "$state"; then return 0; fi
    if [ $left -lt 10 ]; then unfinished=1 && return 0; fi
    [ "$limit" -lt $left ] || limit=$left
    STEP=$name timeout -k 10 "$limit" "$BASH" "$self" --step "$@" > "$results/$name.log" 2>&1 || code=$?
    case $code in
    0) echo "passed in $((SECONDS - begin)) s" > "$state" ;;
    3 | 124 | 137)
        echo "unfinished after $((SECONDS - begin)) s" > "$state"
        [ $code = 3 ] || [ "$limit" = $left ] || echo "FAILED: stopped after $limit s" > "$state"
        ;;
    *) echo "FAILED after $((SECONDS - begin)) s: $(tail -n 1 "$results/$name.log" | cut -c 1-300)" > "$state" ;;
    esac
    echo "$name: $(cat "$state")"
    ! grep -q '^FAILED' "$state" || tail -n 15 "$results/$name.log" | cut -c 1-300 | sed 's/^/    /'
    case $(cat "$state") in
    FAILED*) failed=1 ;;
    unfinished*) unfinished=1 ;;
    esac
    [ "$phase" != build ] || [ $code = 0 ] || { summarise; phase_results; finish; }
}

summarise()
{
    local file
    for file in "$work/state"/*; do
        [ ! -f "$file" ] || echo "$(basename "$file"): $(cat "$file")"
    done > "$results/summary"
}

finish()
{
    if [ $failed = 1 ]; then echo "something failed; see $results" && exit 1; fi
    if [ $unfinished = 1 ]; then echo "out of time: the same command goes on from here" && exit 3; fi
    echo "all passed; results in $results"
    exit 0
}

run()
{
    local name phases=()
    for name; do
        case $name in
        build | suite | compare | bench | tune | torch | sanitizer | cpu | results) phases+=("$name") ;;
        *) die "unknown phase \"$name\"; --help lists them" ;;
        esac
    done
    [ $# -gt 0 ] || phases=(build suite compare bench tune torch sanitizer cpu results)
    mkdir -p "$work/state" "$work/build" "$results"
    for phase in "${phases[@]}"; do
        case $phase in
        build) [ -n "${GPU_ARCHS:-}" ] || need_device ;;
        cpu | results) ;;
        *) need_device ;;
        esac
        case $phase in
        build | results) ;;
        *) grep -qs '^passed' "$work/state/build-tests" || die "$phase: run the phase build first" ;;
        esac
        [ "$phase" = build ] || [ ! -d "$work/root" ] || use_packages
        "phase_$phase"
    done
    summarise
    finish
}

again='' quick='' minutes=9 failed=0 unfinished=0 phase=''
case ${1:-} in
prepare) prepare "${2:?usage: gpu-run.sh prepare DIR}" && exit 0 ;;
esac
work=${GPU_WORK:-$here/work} results=${GPU_RESULTS:-$here/results}
mkdir -p "$work" "$results"
work=$(cd "$work" && pwd) results=$(cd "$results" && pwd)
export GPU_WORK=$work GPU_RESULTS=$results PYTHON=${PYTHON:-python3}
test_environment
if [ "${1:-}" = --step ]; then
    cd "$work/build"
    shift
    "$@"
    exit
fi
while [ $# -gt 0 ]; do
    case $1 in
    --again) again=1 ;;
    --quick) quick=1 ;;
    --minutes) minutes=${2:?--minutes N} && shift ;;
    -h | --help) sed -n '2,/^set/s/^# \{0,1\}//p' "$0" && exit 0 ;;
    -*) die "unknown option \"$1\"; --help lists them" ;;
    *) break ;;
    esac
    shift
done
[[ $minutes =~ ^[0-9]+$ ]] || die "--minutes \"$minutes\": expected a number"
deadline=$((SECONDS + 60 * minutes))
run "$@"

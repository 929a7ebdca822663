#!/bin/bash
# gpu-run.sh - builds and tests glow on a bare machine with a GPU and no package registry.
#
#   tests/gpu-run.sh prepare DIR     on a Debian machine with the build's packages, in a build directory:
#                                    puts the dist tarball and the Debian packages it needs into DIR
#   DIR/gpu-run.sh [RESULTS]         on the machine with the GPU: builds from DIR, runs the suite on the
#                                    device, compute-sanitizer, 200 training steps beside the CPU's, and
#                                    `glow bench`; what they say goes to RESULTS (default DIR/results)
#
# The GPU machine needs a C compiler, make, the NVIDIA driver, and CUDA with cuDNN: a toolkit, or the
# pip wheels that stand beside PyTorch (nvidia/cu13, nvidia/cudnn). A missing device is a failure there.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)

# ---- prepare

packages=(make pkg-config check libconfig-dev libjansson-dev libspng-dev libturbojpeg0-dev libzip-dev
    zlib1g-dev libcairo2-dev)

prepare()
{
    local to=$1
    mkdir -p "$to/debs"
    to=$(cd "$to" && pwd)
    [ -f Makefile ] || { echo "gpu-run.sh: run it in a build directory" >&2; exit 2; }
    make -s dist
    cp -- glow-*.tar.xz "$here/gpu-run.sh" "$to"
    # All that the packages depend on, but for what every Debian has.
    apt-cache depends --recurse --no-recommends --no-suggests --no-conflicts --no-breaks \
        --no-replaces --no-enhances "${packages[@]}" | sed -n 's/^\([a-z0-9][^ :]*\)$/\1/p' |
        grep -Ev '^(libc6|libc-bin|libgcc|gcc-|libstdc|base-files|dpkg|tar|debconf|perl|cdebconf|bash)' |
        sort -u > "$to/packages"
    (cd "$to/debs" && while read -r package; do
        apt-get download "$package" 2> /dev/null || echo "left out: $package"
    done < "$to/packages")
    echo "copy $to to the machine with the GPU and run $to/gpu-run.sh there"
}

# ---- on the GPU machine

find_cuda()
{
    local nvcc site toolkit
    nvcc=$(command -v nvcc || echo /usr/local/cuda/bin/nvcc)
    site=$(python3 -c 'import nvidia; print(list(nvidia.__path__)[0])' 2> /dev/null || true)
    toolkit=$(cd "$(dirname "$nvcc")/.." && pwd)
    cuda=$toolkit cudnn=
    [ -e "$toolkit/include/cublas_v2.h" ] || cuda=$site/cu13
    [ -e "$toolkit/include/cudnn.h" ] || cudnn=$site/cudnn
    export NVCC=$nvcc
}

# Unpacked packages, seen by compiler, linker and pkg-config without being installed.
use_packages()
{
    local root=$1 deb triplet
    for deb in "$here"/debs/*.deb; do dpkg -x "$deb" "$root"; done
    triplet=$(cc -print-multiarch)
    export PATH=$PATH:$root/usr/bin
    export PKG_CONFIG_SYSROOT_DIR=$root
    export PKG_CONFIG_LIBDIR=$root/usr/lib/$triplet/pkgconfig:$root/usr/share/pkgconfig
    export CPPFLAGS="-I$root/usr/include -I$root/usr/include/$triplet"
    export LDFLAGS="-L$root/usr/lib/$triplet -Wl,-rpath-link,$root/usr/lib/$triplet"
    export LD_LIBRARY_PATH=$root/usr/lib/$triplet:$root/lib/$triplet${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
}

# 200 steps on the CPU and on the GPU from the same seed: the losses of the log side by side.
compare()
{
    local cfg=$1 backend
    for backend in cpu cuda; do
        host/glow train "$cfg" --steps 200 --out "$work/$backend" --set "train.backend=\"$backend\"" \
            --set train.seed=7 > "$out/train-$backend.log" 2>&1 || return 1
        cp "$work/$backend/log.jsonl" "$out/train-$backend.jsonl"
    done
    python3 - "$out/train-cpu.jsonl" "$out/train-cuda.jsonl" <<'PY'
import json, sys
rows = [[json.loads(line) for line in open(name)] for name in sys.argv[1:]]
loss = [{r["step"]: r["loss"] for r in rs if r["kind"] == "train"} for rs in rows]
worst = max(abs(loss[0][s] - loss[1][s]) / abs(loss[0][s]) for s in loss[0])
print(f"{len(loss[0])} logged losses, CPU and CUDA differ by at most {worst:.2e} of the loss")
sys.exit(not (len(loss[0]) > 5 and worst < 0.02))
PY
}

sanitize()
{
    local tool=$1 program=$2
    command -v compute-sanitizer > /dev/null || { echo 'no compute-sanitizer' >&2; return 1; }
    GLOW_BACKEND=cuda GLOW_BACKEND_PATH=$PWD/core/cuda/.libs CK_FORK=no CK_TIMEOUT_MULTIPLIER=100 \
        compute-sanitizer --tool "$tool" --error-exitcode 9 "$program" > "$out/$tool.log" 2>&1
}

run()
{
    local failed=0
    out=${1:-$here/results}
    mkdir -p "$out"
    out=$(cd "$out" && pwd)
    work=$(mktemp -d)
    trap 'rm -rf "$work"' EXIT
    nvidia-smi --query-gpu=name,driver_version,memory.total,compute_cap --format=csv | tee "$out/gpu"
    mkdir "$work/root" "$work/source"
    use_packages "$work/root"
    find_cuda
    tar xJf "$here"/glow-*.tar.xz -C "$work/source" --strip-components=1
    cd "$work/source"
    sm=$(nvidia-smi --query-gpu=compute_cap --format=csv,noheader | head -n 1 | tr -d .)
    ./configure --with-cuda="$cuda" ${cudnn:+--with-cudnn="$cudnn"} --with-cuda-archs="$sm" \
        > "$out/configure.log" 2>&1
    make -j"$(nproc)" > "$out/make.log" 2>&1

    step() { if "$@"; then echo "passed: $*"; else echo "FAILED: $*"; failed=1; fi; }
    step make -j4 check > "$out/check.log" 2>&1
    export GLOW_TEST_GPU=1
    step make check TESTS="tests/cuda/kernels.sh tests/cuda/engine.sh tests/cuda/plugins.sh \
        tests/cuda/images.sh"
    unset GLOW_TEST_GPU
    cp tests/cuda/*.log "$out"/ || true
    step sanitize memcheck tests/cuda/test_cuda
    step sanitize racecheck tests/cuda/test_cuda
    step sanitize memcheck tests/test_kernels
    step compare tests/cuda/compare.cfg
    for config in configs/bench-s.cfg configs/bench-m.cfg configs/bench-c.cfg; do
        for math in fp32 tf32 bf16; do
            for mode in train sample; do
                GLOW_CUDA_MATH=${math/bf16/fp32} host/glow bench "$config" --mode $mode \
                    --set 'train.backend="cuda"' --set "train.precision=\"${math/tf32/fp32}\"" \
                    > "$out/$(basename "$config" .cfg)-$mode-$math.json" 2>> "$out/bench.log" ||
                    { echo "FAILED: bench $config $mode $math"; failed=1; }
            done
        done
    done
    [ $failed = 0 ] && echo "all passed; results in $out"
    exit $failed
}

case ${1:-} in
prepare) prepare "${2:?usage: gpu-run.sh prepare DIR}" ;;
-h | --help) sed -n '2,13s/^# \{0,1\}//p' "$0" ;;
*) run "$@" ;;
esac

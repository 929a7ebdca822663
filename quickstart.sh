#!/bin/bash
# From a fresh Debian or Ubuntu to a trained model and a picture of its samples; see --help.
set -euo pipefail
cd "$(dirname "$0")"

usage()
{
    cat <<'TEXT'
usage: ./quickstart.sh [--no-install] [-- ARGUMENT...]
       ./quickstart.sh check [--no-install] [--sanitize]

Installs the Debian packages that are missing (as root or through sudo), builds glow in build/ and
trains the model of glow.cfg. The run is written to runs/quickstart: checkpoint, log, loss curve and
a picture of samples. What is installed and built already is not done again.
Arguments behind -- go to `glow train`, e.g. ./quickstart.sh -- --steps 200 --threads 1

check           build, then run every test: make check, the ABI checks, and the conformance suite
                on each plug-in
--sanitize      with check: the tests of the CUDA backend once more, built with the sanitizers of addresses
                and undefined behaviour; minutes more
--no-install    never install; if a package is missing, say which and stop
--help          this text

exit codes: 0 done, 1 a test or the training failed, 2 something is missing or an argument is wrong
TEXT
}

mode=train
install=yes
sanitize=no
train_arguments=()
while [ $# -gt 0 ]; do
    case $1 in
    check) mode=check ;;
    --no-install) install=no ;;
    --sanitize) sanitize=yes ;;
    -h | --help) usage; exit 0 ;;
    --) shift; train_arguments=("$@"); break ;;
    *) echo "quickstart.sh: unknown argument \"$1\"; --help lists what there is" >&2; exit 2 ;;
    esac
    shift
done
if [ $sanitize = yes ] && [ $mode != check ]; then
    echo "quickstart.sh: --sanitize goes with check" >&2
    exit 2
fi

build_packages=(gcc g++ libc6-dev make autoconf automake libtool pkg-config libconfig-dev libjansson-dev
    libspng-dev libturbojpeg0-dev libzip-dev zlib1g-dev libcairo2-dev)
check_packages=(check abigail-tools python3 python3-numpy)
optional_packages=(python3-safetensors)     # newer than Debian 12; the tests have a reader of their own
data_package=dataset-fashion-mnist

# ---- stages: each is announced and timed

stage()
{
    local name=$1 begin=$SECONDS
    shift
    printf '==> %s\n' "$name" >&2
    "$@"
    printf '==> %s: %d s\n' "$name" $((SECONDS - begin)) >&2
}

# Runs a command and shows its output only if it fails.
quietly()
{
    local log status=0
    log=$(mktemp)
    "$@" >"$log" 2>&1 </dev/null || status=$?
    [ $status -eq 0 ] || tail -n 40 "$log" >&2
    rm -f "$log"
    return $status
}

# ---- packages

# Prints those of the packages that are not installed.
missing_packages()
{
    local package
    for package in "$@"; do
        [ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null)" = installed ] ||
            echo "$package"
    done
}

apt_updated=no
apt_install()
{
    local root=()
    if [ "$(id -u)" -ne 0 ]; then
        command -v sudo >/dev/null || return 1
        root=(sudo)
    fi
    if [ "$apt_updated" = no ]; then
        # One unreachable source among several is no reason to stop: the installation tells.
        quietly "${root[@]}" apt-get update || true
        apt_updated=yes
    fi
    quietly "${root[@]}" env DEBIAN_FRONTEND=noninteractive \
        apt-get install -y --no-install-recommends "$@"
}

# Installs what is missing of "$@", or says what it is and stops.
require_packages()
{
    local missing
    mapfile -t missing < <(missing_packages "$@")
    [ ${#missing[@]} -gt 0 ] || return 0
    if [ "$install" = no ]; then
        echo "quickstart.sh: missing packages; run: apt-get install ${missing[*]}" >&2
        exit 2
    fi
    echo "installing ${missing[*]}" >&2
    if ! apt_install "${missing[@]}"; then
        echo "quickstart.sh: could not install the packages (neither root nor sudo, or no network);" \
             "run as root: apt-get install ${missing[*]}" >&2
        exit 2
    fi
}

# Installs those of "$@" that this release has.
optional_packages()
{
    local package
    [ "$install" = yes ] || return 0
    for package in $(missing_packages "$@"); do
        if apt-cache show "$package" >/dev/null 2>&1; then apt_install "$package" || true; fi
    done
}

on_debian() { command -v dpkg-query >/dev/null && command -v apt-get >/dev/null; }

packages()
{
    if ! on_debian; then
        cat >&2 <<'TEXT'
This is no Debian or Ubuntu: nothing is installed. Needed are a C compiler, make, autoconf, automake,
libtool, pkg-config and the libraries libconfig, jansson, spng, libjpeg-turbo, libzip, zlib and cairo;
for `check` also check (0.15), libabigail's tools and Python 3 with NumPy.
TEXT
        return 0
    fi
    require_packages "${build_packages[@]}"
    [ "$mode" != check ] || {
        require_packages "${check_packages[@]}"
        optional_packages "${optional_packages[@]}"
    }
}

# The real images of glow.cfg. Without them the built-in images serve: data_arguments says so.
data_arguments=()
images()
{
    [ ! -e /usr/share/datasets/fashion-mnist/train-images-idx3-ubyte.gz ] || return 0
    if on_debian && [ "$install" = yes ] && apt_install "$data_package"; then return 0; fi
    echo "$data_package is not installed and can't be had: the built-in \"glyphs\" serve instead." >&2
    data_arguments=(--set data.dataset=glyphs)
}

# ---- build

if [ -e config.status ]; then build=.; else build=build; fi
jobs=$(nproc 2>/dev/null || echo 1)

compile()
{
    [ -e configure ] || quietly ./autogen.sh
    mkdir -p $build
    # A build that was configured without what the tests need does not have them.
    if [ $mode = check ] && [ -e $build/config.status ] &&
        grep -qE '"(HAVE_CHECK|HAVE_PYTHON)_TRUE"\]="#"' $build/config.status; then
        rm $build/config.status
    fi
    [ -e $build/config.status ] || (cd $build && quietly ../configure)
    make -C $build -s -j "$jobs" >&2
}

# ---- what the two modes do

train()
{
    local run=runs/quickstart n=2
    # An interrupted run goes on, unless glow.cfg has changed since; a finished one is kept.
    while [ -e $run/result.json ] || { [ -e $run/config.cfg ] && [ glow.cfg -nt $run/config.cfg ]; }; do
        run=runs/quickstart-$n
        n=$((n + 1))
    done
    if [ -e $run/config.cfg ]; then
        $build/host/glow train $run --resume "${train_arguments[@]}"
    else
        $build/host/glow train glow.cfg --out $run "${data_arguments[@]}" "${train_arguments[@]}"
    fi
    cat >&2 <<TEXT
Here glow is $build/host/glow; \`make -C $build install\` as root puts it on the PATH. The model, the data
and the training are described in glow.cfg: change it and run ./quickstart.sh again, or see configs/.
TEXT
}

sanitized() { make -C $build -s -j "$jobs" check-cuda-asan >&2; }

check()
{
    local status=0
    make -C $build -s -j "$jobs" check >&2 || status=1
    make -C $build -s check-abi >&2 || status=1
    make -C $build -s check-plugins >&2 || status=1
    [ $sanitize = no ] || stage "check under sanitizers" sanitized || status=1
    return $status
}

stage "packages" packages
[ $mode = check ] || stage "images" images
stage "build" compile
stage "$mode" $mode

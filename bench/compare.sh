#!/bin/bash
# bench/compare.sh - ours beside PyTorch: speed, memory and start-up of both, measured alternately.
#   bench/compare.sh [--quick] [--configs s,m,c] [--threads 1,2] [--json FILE] ...; --help says more
# Run it in the build directory, on a machine that has nothing else to do. The peer is the same GLOW
# built with the package normflows, as it comes and at its strongest (see peer.py). Takes about
# 40 minutes; prints a table and leaves every measurement in bench-results/compare.json.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
results=bench-results

die() { echo "compare.sh: $*" >&2; exit 2; }

if [ -z "${GLOW:-}" ]; then
    GLOW=host/glow
    [ -x $GLOW ] || GLOW=$(command -v glow) || die "no host/glow here and no glow on the PATH"
fi
command -v "$GLOW" > /dev/null || die "GLOW=$GLOW: no such program"
export GLOW

has_torch() { "$1" -c 'import torch, normflows' > /dev/null 2>&1; }
if [ -n "${PYTHON:-}" ]; then
    command -v "$PYTHON" > /dev/null || die "PYTHON=$PYTHON: no such program"
    has_torch "$PYTHON" || die "$PYTHON can't import torch and normflows: install them with" \
        "\`$PYTHON -m pip install torch normflows\`, or leave PYTHON unset"
else
    PYTHON=$results/venv/bin/python
    for argument; do
        case $argument in -h | --help | --table | --table=*) PYTHON=python3 ;; esac
    done
    if [ "$PYTHON" != python3 ] && { [ ! -x "$PYTHON" ] || ! has_torch "$PYTHON"; }; then
        echo "compare.sh: installing torch and normflows into $results/venv" >&2
        python3 -m venv $results/venv || die "python3 can't make a virtual environment"
        $PYTHON -m pip install --quiet torch normflows || die "pip can't install torch and normflows"
    fi
fi

# MKL's AVX-512 kernels on every processor that has the instructions.
PRELOAD=
if grep -qw avx512f /proc/cpuinfo 2> /dev/null; then
    scratch=$(mktemp -d)
    trap 'rm -rf "$scratch"' EXIT
    if ${CC:-cc} -shared -fPIC -o "$scratch/mkl_avx512.so" "$here/mkl_avx512.c"; then
        PRELOAD=$scratch/mkl_avx512.so
    else
        echo "compare.sh: no C compiler; MKL chooses its kernels itself" >&2
    fi
fi
export PRELOAD
"$PYTHON" "$here/compare.py" "$@"

#!/usr/bin/env bash
# parity.sh - the engine against an independent implementation in NumPy; see parity.py and
# docs/witness.md. Arguments go to parity.py.
here=$(cd "$(dirname "$0")" && pwd)
python=${PYTHON:-python3}
if [ "$python" = : ] || ! "$python" -c 'import numpy' 2> /dev/null; then
    echo "skipped: needs Python 3 with NumPy (Debian: python3-numpy); PYTHON is \"$python\""
    exit 77
fi
export DUMP=${DUMP:-${builddir:-.}/tests/parity/dump} GLOW=${GLOW:-${builddir:-.}/host/glow}
exec "$python" -B "$here/parity.py" "$@"

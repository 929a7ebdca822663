# python.sh - read by the scripts beside it: finds Python and the programs, or skips the test.
here=$(cd "$(dirname "$0")" && pwd)
python=${PYTHON:-python3}
if [ "$python" = : ] || ! "$python" -c 'import numpy' 2> /dev/null; then
    echo "skipped: needs Python 3 with NumPy (Debian: python3-numpy); PYTHON is \"$python\""
    exit 77
fi
export DUMP=${DUMP:-${builddir:-.}/tests/parity/dump} GLOW=${GLOW:-${builddir:-.}/host/glow}

#!/usr/bin/env bash
# toy2d.sh - learned densities of the plane against the known ones; see toy2d.py and
# docs/witness.md. Arguments go to toy2d.py.
. "$(dirname "$0")/python.sh"
if ldd "$GLOW" 2> /dev/null | grep -qE 'lib(asan|ubsan)'; then
    echo "skipped: trains for minutes under sanitizers; parity.sh runs the same code"
    exit 77
fi
exec "$python" -B "$here/toy2d.py" "$@"

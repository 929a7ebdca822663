#!/usr/bin/env bash
# parity.sh - the engine against an independent implementation in NumPy; see parity.py and
# docs/witness.md. Arguments go to parity.py.
. "$(dirname "$0")/python.sh"
exec "$python" -B "$here/parity.py" "$@"

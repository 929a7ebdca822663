#!/usr/bin/env bash
# toy2d.sh - learned densities of the plane against the known ones; see toy2d.py and
# docs/witness.md. Arguments go to toy2d.py.
. "$(dirname "$0")/python.sh"
exec "$python" -B "$here/toy2d.py" "$@"

#!/usr/bin/env bash
# abidiff.sh - libabigail compares the header's types with the committed description of version 1.1.
# Any difference fails, additions too: renew the description along with GLOW_ABI_MINOR, by
#   tests/abi/abidiff.sh --renew
set -eu
top=$(cd "${srcdir:-$(dirname "$0")/../..}" && pwd)
for tool in abidw abidiff; do
    command -v $tool > /dev/null || { echo "no $tool (package abigail-tools)"; exit 77; }
done
[ "$(uname -m)" = x86_64 ] || { echo "the description is that of x86-64"; exit 77; }
dump=$top/tests/abi/plugin-1.1.abi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# describe HEADER_DIRECTORY OUTPUT
describe() {
    (cd "$top/tests/abi" &&
        ${CC:-cc} -std=gnu11 -g -O0 -shared -fPIC -fvisibility=hidden -I"$1" -o "$work/types.so" types.c)
    abidw --no-corpus-path --no-comp-dir-path --no-show-locs --no-elf-needed --out-file "$2" "$work/types.so"
}

if [ "${1:-}" = --renew ]; then
    describe "$top/core/include" "$dump"
    exit 0
fi
describe "$top/core/include" "$work/today.abi"
abidiff --no-show-locs "$dump" "$work/today.abi"

# The comparison must see a change that keeps all sizes.
mkdir -p "$work/include/glow"
sed 's/uint32_t size, left, right, flags;/uint32_t size, right, left, flags;/' \
    "$top/core/include/glow/plugin.h" > "$work/include/glow/plugin.h"
! cmp -s "$work/include/glow/plugin.h" "$top/core/include/glow/plugin.h"
describe "$work/include" "$work/changed.abi"
if abidiff --no-show-locs "$dump" "$work/changed.abi" > /dev/null; then
    echo "abidiff does not see two members that changed places"
    exit 1
fi

#!/usr/bin/env bash
# header.sh - plugin.h stands alone: it compiles without a warning as C99, C11 and C++17, includes two
# headers and no more, and has the layout that version 1 froze; so does each frozen copy.
set -eu
top=$(cd "${srcdir:-$(dirname "$0")/../..}" && pwd)
cc=${CC:-cc}
cxx=${CXX:-c++}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
warnings="-Wall -Wextra -pedantic -Werror"

[ "$(grep -c '^ *# *include' "$top/core/include/glow/plugin.h")" = 2 ] || {
    echo "plugin.h includes more than stddef.h and stdint.h"; exit 1; }
for header in "$top/core/include/glow/plugin.h" "$top"/tests/abi/plugin-*.h; do
    for standard in c99 c11; do
        $cc -std=$standard $warnings -x c -fsyntax-only - <<< "#include \"$header\""
    done
    if command -v ${cxx%% *} > /dev/null; then
        $cxx -std=c++17 $warnings -x c++ -fsyntax-only - <<< "#include \"$header\""
    else
        echo "no C++ compiler: C++17 is not checked"
    fi
    $cc -std=c11 $warnings -fsyntax-only -DHEADER="\"$header\"" "$top/tests/abi/layout.c"
    echo "${header#"$top"/}: C99, C11, C++17, layout"
done

# The layout check must see a member that moved.
sed 's/int32_t dtype, batched, rank, reserved;/int32_t batched, dtype, rank, reserved;/' \
    "$top/core/include/glow/plugin.h" > "$work/moved.h"
! cmp -s "$work/moved.h" "$top/core/include/glow/plugin.h"
if $cc -std=c11 -fsyntax-only -DHEADER="\"$work/moved.h\"" "$top/tests/abi/layout.c" 2> /dev/null; then
    echo "layout.c does not see a member that moved"
    exit 1
fi

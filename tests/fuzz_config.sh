#!/usr/bin/env bash
# fuzz_config.sh - builds fuzz_config.c with sanitizers where the compiler has them, and runs it on
# mutations of its own text. Leaks are not looked for: libconfig 1.5 loses a string at syntax errors.
set -eu
top=$(cd "${srcdir:-$(dirname "$0")/..}" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cc=${CC:-cc}
sanitize=-fsanitize=address,undefined
$cc $sanitize -x c -o "$work/probe" - <<< 'int main(void) { return 0; }' 2> /dev/null || sanitize=
sources=
for name in config source status bump range literal options options_records; do
    sources="$sources $top/core/$name.c"
done
$cc -std=gnu11 -DMAIN -O1 -g $sanitize -I"$top/core/include" -iquote "$top/core" \
    "$top/tests/fuzz_config.c" $sources -o "$work/fuzz" -lconfig -ljansson -lm -lpthread
ASAN_OPTIONS=detect_leaks=0 "$work/fuzz" "$@"

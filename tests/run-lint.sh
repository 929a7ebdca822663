#!/bin/bash
# make lint: C, C++ and CUDA files are formatted as .clang-format says, shell scripts pass shellcheck.
# Two kinds of files are set by hand: the public header, whose tables a formatter would break, and the
# frozen headers of older versions, which nobody may touch.
set -euo pipefail
cd "${1:?usage: run-lint.sh SOURCE_DIRECTORY}"
clang_format=${CLANG_FORMAT:-clang-format}
for tool in "$clang_format" shellcheck; do
    command -v "$tool" >/dev/null || { echo "lint: $tool is missing" >&2; exit 2; }
done

mapfile -t sources < <(find core host plugins tests bench examples \
    -path core/include -prune -o -path "tests/abi/plugin-[0-9]*" -prune -o \
    \( -name '*.[ch]' -o -name '*.cu' -o -name '*.cpp' \) -print | sort)
mapfile -t scripts < <(find . -path './build*' -prune -o -path ./runs -prune -o -name '*.sh' -print | sort)

status=0
"$clang_format" --dry-run -Werror "${sources[@]}" || status=1
# 2034, 2154: variables that one file sets and another, which reads it with `.`, uses.
shellcheck --shell=bash --severity=warning --exclude=SC2034,SC2154 "${scripts[@]}" .ci/run || status=1
[ $status -ne 0 ] || echo "lint: ${#sources[@]} C files and $((${#scripts[@]} + 1)) scripts are clean"
exit $status

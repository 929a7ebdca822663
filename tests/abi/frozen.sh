#!/usr/bin/env bash
# frozen.sh - a plug-in built against each frozen copy of the header trains in today's program: its
# layer, network, custom operation, prior and dataset.
set -u
top=$(cd "${srcdir:-$(dirname "$0")/../..}" && pwd)
glow=${GLOW:-host/glow}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/plugins"
cat > "$work/abi.cfg" << EOF
model = {
  input = [2];
  flow = ({ layer = "abi-layer"; count = 4; net = { type = "abi-net"; width = 8; }; });
  prior = { y = { type = "abi-prior"; }; };
};
data = { dataset = "abi-dataset"; batch = 5; };
train = { steps = 2; threads = 1; };
plugin_path = "plugins";
EOF
failed=0
for header in "$top"/tests/abi/plugin-*.h; do
    ${CC:-cc} -std=gnu11 -shared -fPIC -fvisibility=hidden -DHEADER="\"$header\"" \
        "$top/tests/abi/plugin.c" -o "$work/plugins/abi.so" || exit 99
    rm -rf "$work/run"
    if "$glow" train "$work/abi.cfg" --out "$work/run" > "$work/log" 2>&1; then
        echo "${header##*/}: trained"
    else
        echo "${header##*/}: exit code $?"
        cat "$work/log"
        failed=1
    fi
done
exit $failed

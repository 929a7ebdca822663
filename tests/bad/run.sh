#!/usr/bin/env bash
# run.sh - the program meets each bad plug-in of this directory: named in a configuration it must end
# with exit code 2 and one message that says which file, which id, and what is wrong. Never a crash.
set -u
top=$(cd "${srcdir:-$(dirname "$0")/../..}" && pwd)
glow=${GLOW:-host/glow}
cc=${CC:-cc}
[ -x "$glow" ] || { echo "no program $glow"; exit 99; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/plugins"
export GLOW_PLUGIN_PATH=$work/plugins${GLOW_PLUGIN_PATH:+:$GLOW_PLUGIN_PATH}
failed=0
count=0

build() {
    $cc -std=gnu11 -shared -fPIC -fvisibility=hidden -I"$top/core/include" \
        "$top/tests/bad/$1.c" -o "$work/plugins/$1.so" || exit 99
}
# configure LAYER DATASET PRIOR: a small model around one of them
configure() {
    cat > "$work/bad.cfg" << EOF
model = {
  input = [8, 8, 1];
  flow = ({ layer = "quantize"; }, { layer = "$1"; });
  prior = { y = { type = "$3"; }; };
};
data = { dataset = "$2"; batch = 4; };
train = { steps = 1; threads = 1; };
EOF
}
# expect NAME CODE WORD...: runs the program; stderr must hold each word
expect() {
    local name=$1 code=$2 got word
    shift 2
    count=$((count + 1))
    rm -rf "$work/run"
    "$glow" train "$work/bad.cfg" --out "$work/run" > "$work/out" 2> "$work/err"
    got=$?
    [ $got = "$code" ] || { echo "$name: exit code $got, expected $code"; failed=1; cat "$work/err"; }
    for word in "$@"; do
        grep -qF -- "$word" "$work/err" || {
            echo "$name: stderr lacks \"$word\":"; failed=1; cat "$work/err"; }
    done
}
layer() {
    local name=$1
    shift
    [ -f "$work/plugins/$name.so" ] || build "$name"
    configure "$name" glyphs normal
    expect "$name" 2 "$name" "$@"
}

# The rig itself works: a valid layer trains.
build good
configure good glyphs normal
expect good 0
build unknown_kind
configure unknown_kind glyphs normal
expect unknown_kind 0 "skipped, this glow knows no plug-ins of kind 77"

# Refused by the loader: the file, the field, the versions.
layer no_symbol no_symbol.so "no symbol glow_plugin_v1"
layer abi2 abi2.so "it is for ABI 2, this glow has ABI 1"
layer function function.so "is not a constant"
layer undefined undefined.so "undefined symbol: no_such_function"
layer newer_minor newer_minor.so "it needs ABI 1.7, this glow has 1.1"
layer short_plugin short_plugin.so "size: 16 bytes; version 1.0 has 40"
layer long_plugin long_plugin.so "it claims 4136 bytes"
layer no_descs no_descs.so "descs: NULL"
layer short_head short_head.so "size: 16; its head alone has 48"
layer short_struct short_struct.so 'layer "short_struct": size: 88; version 1.0 has 112'
layer short_option short_option.so "option_size: 40; version 1.0 has 88"
layer null_id null_id.so "a layer: id: NULL"
layer bad_id bad_id.so 'layer "../bad id": id:'
layer duplicate_id duplicate_id.so 'layer "duplicate_id": id: stands twice'
layer no_forward no_forward.so 'layer "no_forward": forward: NULL'
layer no_traits no_traits.so 'layer "no_traits": traits.size: 0'
layer claims_inverse claims_inverse.so 'layer "claims_inverse": traits: an inverse is claimed'
layer image_for_cpu 'custom "image_for_cpu": kernels: an image is for "cuda"'
layer image_with_run "kernels: an image goes without run"
layer image_without_entry "kernels: an image needs the name of an entry"
layer image_without_end "kernels: image_end must stand behind image"
layer bad_default bad_default.so 'option "bits": dflt: 9 is outside [1,8]'
echo "this is no library" > "$work/plugins/text.so"
layer text text.so "not a shared object"
cp "$work/plugins/good.so" "$work/plugins/writable.so"
chmod o+w "$work/plugins/writable.so"
layer writable writable.so "every user can write to it"
build half_prior
configure good glyphs half_prior
expect half_prior 2 half_prior.so 'prior "half_prior": standardise, restore'
build no_read
configure good no_read normal
expect no_read 2 no_read.so 'dataset "no_read": read: NULL'

# Loaded, and then caught while their graphs are built: the instance, the file, the shapes.
layer wrong_shape wrong_shape.so "(N,64)" "(N,1,8,8)"
layer fails_in_forward fails_in_forward.so "the moon is in the wrong phase"
layer bad_graph bad_graph.so "(N,1,8,8) and (7)"
layer unknown_option unknown_option.so 'the option "gain"'
layer create_fails create_fails.so "expected an even number of channels"
layer custom_disagrees custom_disagrees.so "lie" "(N,1,8,8)"

echo "$count cases"
exit $failed

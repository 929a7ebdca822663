#!/usr/bin/env bash
# test_examples.sh - a stranger's way: each file of examples/ becomes a plug-in by the one cc line that
# docs/write-a-plugin.md shows, against the header alone; it is dropped into a directory that glow.cfg
# names, keeps its promises, and trains in a program that knew nothing of it.
set -u
top=$(cd "${srcdir:-$(dirname "$0")/..}" && pwd)
glow=${GLOW:-host/glow}
cc=${CC:-cc}
[ -x "$glow" ] || { echo "no program $glow"; exit 99; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failed=0
complain() { echo "$1"; cat "$work/log"; failed=1; }

# What `make install` leaves in the include directory, and nothing else of the tree.
mkdir -p "$work/include/glow" "$work/own"
cp "$top/core/include/glow/plugin.h" "$work/include/glow/"
count=0
for source in "$top"/examples/*.c; do
    name=$(basename "$source" .c)
    cp "$source" "$work/"
    (cd "$work" && $cc -shared -fPIC -Iinclude "$name.c" -o "own/$name.so") > "$work/log" 2>&1 ||
        complain "$name does not compile"
    [ -s "$work/log" ] && complain "$name: the compiler has something to say"
    count=$((count + 1))
done
[ $count -ge 3 ] || { echo "only $count examples"; exit 1; }

# configure LAYER DATASET: the example among layers that come with the program
configure() {
    cat > "$work/run.cfg" << EOF
plugin_path = ["own"];
model = {
  input = [8, 8, 1];
  flow = ({ layer = "quantize"; }, { layer = "squeeze"; }, { layer = "actnorm"; },
          { layer = "$1"; }, { layer = "invconv"; },
          { layer = "affine"; net = { type = "openai"; width = 8; }; });
};
data = { dataset = "$2"; batch = 8; };
train = { steps = 20; threads = 1; seed = 3; };
sample = { n = 4; };
EOF
}
for file in "$work"/own/*.so; do
    name=$(basename "$file" .so)
    "$glow" check "$file" > "$work/log" 2>&1 || complain "$name fails the conformance suite"
    grep -q " 0 failed" "$work/log" || complain "$name: no table"
    case $name in
        stripes) configure actnorm "$name" ;;
        *) configure "$name" glyphs ;;
    esac
    (cd "$work" && "$glow" train run.cfg --out "run-$name") > "$work/log" 2>&1 ||
        complain "$name does not train"
    "$glow" info "$work/run-$name" > "$work/log" 2>&1 || complain "$name: its run tells nothing"
    grep -q "$name" "$work/run-$name/config.cfg" || complain "$name is not in the run"
    # A run in another directory still finds the plug-in: the path was made absolute.
    (cd / && "$glow" sample "$work/run-$name" --number 2 --npy "$work/x.npy") > "$work/log" 2>&1 ||
        complain "$name does not sample"
    # and without it says what is missing
    mv "$file" "$work/gone.so"
    "$glow" sample "$work/run-$name" --number 2 --npy "$work/x.npy" > "$work/log" 2>&1
    code=$?
    case $name in
        stripes) ;; # samples need no data
        *) { [ $code = 2 ] && grep -q "no layer \"$name\"" "$work/log"; } ||
            complain "$name is missing, and the exit code is $code" ;;
    esac
    mv "$work/gone.so" "$file"
done

# A dataset without end: the evaluation that ends a training takes as many rows as train.eval_rows says.
sed 's/info->count = .*/info->count = INT64_MAX;/' "$top/examples/stripes.c" > "$work/stripes.c"
(cd "$work" && $cc -shared -fPIC -Iinclude stripes.c -o own/stripes.so) > "$work/log" 2>&1 ||
    complain "endless stripes do not compile"
configure actnorm stripes
(cd "$work" && "$glow" train run.cfg --out endless --set train.eval_rows=7) > "$work/log" 2>&1 ||
    complain "endless stripes do not train"
grep -q '"rows": 7\b' "$work/endless/result.json" || complain "endless stripes: not evaluated on 7 rows"
echo "$count examples"
exit $failed

#!/bin/bash
# Mistakes of the user: exit code 2 and words that help; failures while running: exit code 1.
# shellcheck disable=SC1091,SC2154,SC2012,SC2016 # what common.sh defines; our own file names; awk
. "${srcdir:?}/tests/host/common.sh"
write_config small.cfg

check "--help" "$glow" --help
check "documents the exit codes" grep -q 'exit codes' out
for command in train eval sample encode decode score interpolate info plugins check bench; do
    check "--help lists $command" grep -q "^  $command " <("$glow" --help)
    check "$command --help" "$glow" $command --help
    check "$command --help says how to use it" grep -q "^usage: glow $command" out
done
refuses 2 "usage: glow" "$glow"
refuses 2 'no command "trian"' "$glow" trian small.cfg
refuses 2 "expected \`glow train CFG\`" "$glow" train
refuses 2 "--frob" "$glow" train small.cfg --frob
refuses 2 "a value is missing" "$glow" train small.cfg --out
refuses 2 "expected a whole number" "$glow" sample x -n many
refuses 2 "nothing.cfg" "$glow" train nothing.cfg
sed 's/count = 300/count = oops oops/' small.cfg >wrong.cfg
refuses 2 "wrong.cfg:12: syntax error" "$glow" train wrong.cfg
refuses 2 'did you mean "steps"' "$glow" train small.cfg --set train.stepz=3
refuses 2 "train.steps" "$glow" train small.cfg --steps many
refuses 2 "batch" "$glow" train small.cfg --set data.batch=0
refuses 2 "affine" "$glow" train small.cfg --set 'model.flow.[1].flow.[1].flow.[2].layer="afine"'
refuses 2 "even height" "$glow" train small.cfg --set 'model.input=[15,15,1]'
refuses 2 'no dataset "nodata"' "$glow" train small.cfg --set data.dataset=nodata
refuses 2 "GLOW_CPU" env GLOW_CPU=z80 "$glow" train small.cfg
check "a refused run leaves nothing behind" test ! -e runs
refuses 2 "expected a checkpoint" "$glow" eval nowhere
refuses 2 "no run to resume" "$glow" train --resume --out nowhere
refuses 2 "one of them" "$glow" train small.cfg --resume --force
refuses 2 "no plug-in, no section" "$glow" info nosuchthing
refuses 2 "train, sample or encode" "$glow" bench small.cfg --mode fly

check "train" "$glow" train small.cfg --steps 5 || finish
refuses 2 "another model" "$glow" sample runs/small --set 'model.flow.[1].repeat=1'
refuses 2 "another model" "$glow" train runs/small --resume --set 'model.flow.[1].repeat=1'
refuses 2 "optimizer" "$glow" train runs/small --resume --set 'train.optimizer.type="sgd"' --steps 10
refuses 2 "no row" "$glow" score runs/small --first 1000
head -c 2000 runs/small/checkpoint.safetensors >short.safetensors
refuses 2 "short.safetensors" "$glow" eval short.safetensors
refuses 2 "small.cfg" "$glow" eval small.cfg
refuses 1 "/nowhere/at/all" "$glow" sample runs/small -o /nowhere/at/all/a.png
if [ -e /dev/full ]; then
    "$glow" score runs/small >/dev/full 2>err
    check "a full disk is a failure" test $? -eq 1
fi
refuses 1 "steps in a row" "$glow" train small.cfg --out wild --set train.optimizer.lr=1e30 \
    --set train.optimizer.warmup=0 --set train.bad_steps=3 --steps 200
check "what was saved is finite" "$glow" info wild
check "rejected steps are in the log, with their culprit" grep -q '"kind":"rejected".*"culprit":"' wild/log.jsonl
finish

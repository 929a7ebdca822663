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
# names and values that would be ignored, or would end in a file that can't be written
refuses 2 'model.prior: expected a group' "$glow" train small.cfg --set model.prior=learned
refuses 2 'no such latents; expected one of z, y' "$glow" train small.cfg --set 'model.prior.x="learned"'
refuses 2 'no such latents; expected one of z, y' "$glow" train small.cfg --set 'sample.temperature={ x = 0.5; }'
for name in average optimizer; do
    refuses 2 "\"$name\" is kept for" "$glow" train small.cfg --set "model.flow.[1].name=$name"
done
refuses 2 'but so is another element' "$glow" train small.cfg \
    --set 'model.flow.[1].flow=({layer="actnorm";name="a";},{layer="actnorm";name="a";},{layer="actnorm";name="a_2";})'
refuses 2 'an empty chain' timeout 10 "$glow" train small.cfg \
    --set 'model.flow.[1].flow=({repeat=10000;flow=({repeat=10000;flow=();});})'
refuses 2 '--out: the value is empty' "$glow" train small.cfg --out ""
refuses 2 '--threads 1025' "$glow" train small.cfg --threads 1025
{ printf '\xef\xbb\xbf'; cat small.cfg; } >marked.cfg
check "an editor's UTF-8 mark is no mistake" "$glow" info marked.cfg
{ printf 'x = '; printf '(%.0s' $(seq 6000); } >deep.cfg
refuses 2 'nested too deeply' "$glow" info deep.cfg
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
refuses 2 "there is no row 300" "$glow" score runs/small --first 300
refuses 2 "nothing.png" "$glow" score runs/small nothing.png
refuses 2 "nothing/" "$glow" decode runs/small nothing
refuses 2 "NAME=T everywhere" "$glow" sample runs/small --temperature y=1,2
refuses 1 "NaN or Inf in each of the 9 rows" "$glow" sample runs/small --temperature 1e308
check "nothing is drawn of them" test ! -e samples.png
LC_ALL=C sed 's/"step":"5"/"step":"x"/' runs/small/checkpoint.safetensors >step.safetensors
refuses 2 'metadata "step" is "x"' "$glow" info step.safetensors
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
refuses 1 "NaN or Inf for 300 of 300 rows, first in level" "$glow" eval wild
refuses 1 "NaN or Inf for 300 of 300 rows" "$glow" score wild
refuses 1 "NaN or Inf in the latents" "$glow" encode wild

# a model that is lost takes no good checkpoint with it
check "a good run" "$glow" train small.cfg --out good --steps 12
cp good/checkpoint.safetensors good.safetensors
for steps in 30 16; do # gives up on the way, ends before it would
    refuses 1 "the checkpoint of step 12 is left as it was" "$glow" train good --resume --steps $steps \
        --set train.optimizer.lr=1e30 --set train.bad_steps=10 --set train.checkpoint_every=5
    check "the good checkpoint is left" cmp good/checkpoint.safetensors good.safetensors
done
check "and goes on" "$glow" train good --resume --steps 14 --set train.optimizer.lr=1e-3

# a file that may not grow, as on a full disk
small_files() { (ulimit -f 4; "$@"); }
cp good/checkpoint.safetensors good.safetensors
refuses 1 "File too large" small_files "$glow" train good --resume --steps 60
check "the good checkpoint is left" cmp good/checkpoint.safetensors good.safetensors

# a plug-in that was copied in part
head -c 3000 "$("$glow" plugins | grep -o '/.*/affine.so')" >cut.so
refuses 2 "the file is cut short" "$glow" check ./cut.so

# two processes and one directory
"$glow" train small.cfg --out busy --steps 1000000 2>busy.err &
busy=$!
for _ in $(seq 100); do [ -e busy/checkpoint.safetensors ] && break; sleep 0.1; done
refuses 2 "another process is training" timeout 20 "$glow" train --resume --out busy
refuses 2 "another process is training" timeout 20 "$glow" train small.cfg --out busy --force
kill -TERM $busy
wait $busy
check "the first one is not disturbed" grep -q "goes on from there" busy.err
check "rejected steps are in the log, with their culprit" grep -q '"kind":"rejected".*"culprit":"' wild/log.jsonl
finish

#!/bin/bash
# Every command on a small model, end to end: what it writes and what it prints.
# shellcheck disable=SC1091,SC2154,SC2012,SC2016 # what common.sh defines; our own file names; awk
. "${srcdir:?}/tests/host/common.sh"
write_config small.cfg

# ---- train: the run directory and its files
check "train" "$glow" train small.cfg || finish
check "the test likelihood is printed" grep -Eq '^test [0-9.]+ bits/dim' out
for file in config.cfg log.jsonl checkpoint.safetensors samples-40.png loss.svg result.json; do
    check "$file is written" test -s runs/small/$file
done
check "log: start, 8 lines of training, 2 tests" test "$(wc -l <runs/small/log.jsonl)" -eq 11
check "evaluations during training: train.eval_rows" grep -q '"kind":"test","step":20,.*"rows":64}' runs/small/log.jsonl
check "the one at the end: all rows" grep -q '"kind":"test","step":40,.*"rows":300}' runs/small/log.jsonl
check "which the result is of" grep -q '"rows": 300' runs/small/result.json
check "log: waiting time" grep -q '"waited"' runs/small/log.jsonl
check "the picture is a PNG" grep -q PNG <(head -c 8 runs/small/samples-40.png)
check "no progress escapes off a terminal" test -z "$("$glow" train small.cfg --out quiet 2>&1 | tr -dc '\033\r')"
check "the saved configuration trains to the same bits" "$glow" train runs/small/config.cfg --out again
check "the same bits" cmp runs/small/checkpoint.safetensors again/checkpoint.safetensors
check "kept checkpoints" "$glow" train small.cfg --out kept --set train.keep=2
check "the last two are kept" test "$(ls kept/checkpoint-*)" = "$(printf 'kept/checkpoint-%d.safetensors\n' 30 40)"
check "another seed" "$glow" train small.cfg --out seed --seed 7 --steps 10
refuses 2 "not empty" "$glow" train small.cfg
echo mine >runs/small/notes.txt
check "--force starts anew" "$glow" train small.cfg --force --steps 10
check "and leaves files that are no run's" test -f runs/small/notes.txt
check "and deletes those that are" test ! -e runs/small/samples-40.png
check "train --force again" "$glow" train small.cfg --force || finish

# ---- eval and score agree
check "eval" "$glow" eval runs/small --json
nats=$(sed -n 's/.*"nats": \([-0-9.]*\).*/\1/p' out)
check "score" "$glow" score runs/small
cp out scores.csv
check "a header and 300 rows" test "$(wc -l <scores.csv)" -eq 301
check "score's mean is eval's" awk -F, -v want="$nats" \
    'NR > 1 { s += $2; n++ } END { d = s / n - want; exit !(n == 300 && d < 1e-3 && d > -1e-3) }' scores.csv
check "score of a range" "$glow" score runs/small --first 17 -n 2
check "its rows are those of the whole" test "$(sed -n 2p out)" = "$(sed -n 19p scores.csv)"
check "the average is not the parameters" test "$("$glow" eval runs/small)" != "$("$glow" eval runs/small --raw)"

# ---- sample
check "sample" "$glow" sample runs/small -n 5 -t 0.7 -o a.png --npy a.npy --images a
check "prints its files" test "$(tr '\n' ' ' <out)" = "a.npy a a.png "
check "one picture each" test "$(ls a | wc -l)" -eq 5
check "sample again" "$glow" sample runs/small -n 5 -t 0.7 -o b.png --npy b.npy --threads 1
check "the same seed, the same samples, by any number of threads" cmp a.npy b.npy
check "more samples" "$glow" sample runs/small -n 70 -t 0.7 --npy c.npy
check "the first are the same" cmp -n 5000 -i 128 a.npy c.npy
check "temperatures by group" "$glow" sample runs/small -n 5 -t y=0.7,z=0.7 --npy d.npy
check "are the same as one for all" cmp a.npy d.npy
check "temperatures by latent" "$glow" sample runs/small -n 5 -t 0.7,0.7,0.7 --npy e.npy
check "are the same too" cmp a.npy e.npy
check "temperature 0" "$glow" sample runs/small -n 5 -t level.0.factor_out.z=0 --npy f.npy
check "is another" test "$(cmp a.npy f.npy)"
refuses 2 "there is no such latent" "$glow" sample runs/small -t w=1
refuses 2 "one for each latent" "$glow" sample runs/small -t 1,1

# ---- encode and decode, of rows, images and arrays
check "encode" "$glow" encode runs/small -n 20 -o latents
check "every latent" test "$(ls latents | tr '\n' ' ')" = "level.0.factor_out.z.npy level.1.factor_out.z.npy y.npy "
check "decode" "$glow" decode runs/small latents --npy decoded.npy --images decoded
check "encode what came out" "$glow" encode runs/small decoded.npy -o latents2
check "decode that" "$glow" decode runs/small latents2 --npy decoded2.npy
check "decoding gives the input back" cmp decoded.npy decoded2.npy
check "encode images" "$glow" encode runs/small decoded/*.png -o latents3
check "decode those" "$glow" decode runs/small latents3 --npy decoded3.npy
check "images are the same rows" cmp decoded.npy decoded3.npy
check "score of files" "$glow" score runs/small decoded/000000.png decoded.npy
check "is named by file" grep -q '^"decoded.npy\[19\]",-' out
rm latents/y.npy
refuses 2 "y.npy" "$glow" decode runs/small latents

# ---- interpolate: its ends are the rows themselves
check "interpolate" "$glow" interpolate runs/small --between 0,5 -n 4 --npy line.npy -o line.png
pixels=$((16 * 16 * 4))
check "begins at the first" cmp -n $pixels -i 128 line.npy decoded.npy
check "ends at the second" cmp -n $pixels -i $((128 + 3 * pixels)):$((128 + 5 * pixels)) line.npy decoded.npy
check "between files" "$glow" interpolate runs/small decoded/000000.png decoded/000005.png -o line2.png --npy line2.npy -n 4
check "begins at the first file" cmp -n $pixels -i 128 line2.npy decoded.npy
refuses 2 "two row numbers" "$glow" interpolate runs/small --between 3
refuses 2 "expected two rows" "$glow" interpolate runs/small decoded/000000.png

# ---- info, plugins, bench
check "info of a plug-in" "$glow" info affine
check "is its manual" grep -q 'clip = 15.0' out
check "info of a section" "$glow" info train
check "names its keys" grep -q 'init_batches = 1' out
check "info of a configuration" "$glow" info small.cfg --parameters
check "is the table of layers" grep -Eq '^level\.1\.step\.1\.affine +4x4x8 +[0-9]+ +[0-9.]+$' out
check "with the programs" grep -Eq '^train +recompute ' out
check "and parameters" grep -q '^level.0.step.0.affine.net.w1 ' out
check "info of a run" "$glow" info runs/small --options
check "shows step and options" grep -q '^runs/small/checkpoint.safetensors: step 40' out
check "plugins" "$glow" plugins
check "lists all kinds" test "$(awk 'NR > 1 { print $1 }' out | sort -u | tr '\n' ' ')" = "dataset layer net prior "
for mode in train sample encode; do
    check "bench $mode" "$glow" bench small.cfg --mode $mode --steps 3 --profile
    check "bench $mode: speed" grep -Eq '"rows_per_second": [0-9.]+' out
    check "bench $mode: when" grep -Eq '"measured_between": \[' out
    check "bench $mode: operations" grep -Eq '"conv_chain": [0-9.]+' out
done
check "bench on the data" "$glow" bench small.cfg --data --steps 3

# ---- rows instead of images
cat >plane.cfg <<'CFG'
model: { input = [2]; flow = ( { repeat = 2; flow = ( { layer = "actnorm"; }, { layer = "invconv"; },
  { layer = "affine"; net = { type = "mlp"; widths = [16]; }; } ); } ); };
data: { dataset = "toy2d"; count = 400; batch = 50; };
train: { steps = 30; };
CFG
check "train on rows" "$glow" train plane.cfg
check "a density" "$glow" eval runs/plane --density density.png --side 50
check "is written" test -s density.png
check "sample rows" "$glow" sample runs/plane -n 50 --npy rows.npy
check "score rows of a file" "$glow" score runs/plane rows.npy
refuses 2 "only .npy files" "$glow" score runs/plane density.png
refuses 2 "is no point of the plane" "$glow" eval runs/small --density density.png
finish

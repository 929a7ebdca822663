#!/bin/bash
# A training run ends with the same bytes however it got there: alone, with two threads, killed at
# random moments or asked to stop and then resumed. Another seed gives other bytes. Two recipes: one
# logs, saves and evaluates at steps that fall together, the other at steps that don't.
# RESUME_SEED=N repeats the moments, STEPS=N makes the runs longer.
# shellcheck disable=SC1091,SC2154,SC2012,SC2016 # what common.sh defines; our own file names; awk
. "${srcdir:?}/tests/host/common.sh"
steps=${STEPS:-400}
RANDOM=${RESUME_SEED:=$RANDOM}
echo "RESUME_SEED=$RESUME_SEED"
interruptions=0

write_config small.cfg
cat >together.cfg <<'CFG'
model = {
  input = [8, 8, 1];
  flow = ({ layer = "quantize"; }, { layer = "squeeze"; },
          { repeat = 2; name = "step"; flow = ({ layer = "actnorm"; }, { layer = "invconv"; },
            { layer = "affine"; net = { type = "openai"; width = 12; }; }); },
          { layer = "factor_out"; prior = "learned"; },
          { layer = "affine"; name = "top"; net = { type = "openai"; width = 12; }; });
};
data = { dataset = "glyphs"; count = 200; batch = 16; };
train = {
  seed = 5; threads = 1; ema = 0.99; clip_norm = 50.0;
  checkpoint_every = 25; log_every = 10; eval_every = 100; eval_rows = 32; sample_every = 150;
  optimizer = { type = "adamax"; lr = 0.003; warmup = 20; schedule = "cosine"; };
};
sample = { n = 4; };
CFG

# recipe NAME LOG_EVERY CONFIG OPTION...: what the runs from here on are, and one that is left alone.
recipe()
{
    whole=$1 log_every=$2 start=$(date +%s%N)
    shift 2
    options=(--steps "$steps" "$@")
    begin "$whole" --threads 1
    check "$whole" wait $pid || finish
    duration=$((($(date +%s%N) - start) / 1000000)) # milliseconds
}
# begin NAME OPTION...: in the background, as process $pid.
begin()
{
    "$glow" train "${options[@]}" --out "$1" "${@:2}" >"$1.out" 2>"$1.err" &
    pid=$!
}

same() # same NAME
{
    check "$1: the same bytes as $whole" cmp "$whole/checkpoint.safetensors" "$1/checkpoint.safetensors"
}

# tensors NAME: what stands behind the header, whose length is in the first 8 bytes. The header holds the
# configuration, and with it the seed.
tensors()
{
    local length
    length=$(od -An -N8 -tu8 "$1/checkpoint.safetensors" | tr -d ' ')
    tail -c +$((length + 9)) "$1/checkpoint.safetensors"
}

evaluations() { grep '"kind":"test"' "$1/log.jsonl"; }

# interrupted NAME SIGNAL: a run that is sent the signal at random moments until it ends by itself.
interrupted()
{
    local name=$1 signal=$2 times=0 pid code
    begin "$name"
    while :; do
        sleep "$(awk -v ms=$duration -v r=$RANDOM 'BEGIN { print ms / 1000 * (0.1 + 0.5 * r / 32768) }')"
        kill -"$signal" $pid 2>kill.err
        wait $pid 2>kill.err
        code=$?
        [ $code -ne 0 ] || break
        times=$((times + 1))
        check "$name: gets on" test $times -le 30 || return
        if [ ! -e "$name/config.cfg" ]; then # stopped before there was a run
            begin "$name" --force
        else
            "$glow" train "$name" --resume --threads $((1 + times % 2)) >"$name.out" 2>"$name.err" &
            pid=$!
        fi
    done
    interruptions=$((interruptions + times))
    echo "$name: stopped $times times"
    same "$name"
    check "$name: one line of the log for each $log_every steps, in order" awk -F'"step":' \
        '/"kind":"train"/ { s = $2 + 0; if (s <= last) exit 1; last = s; n++ }
         END { exit !(n == '$((steps / log_every))') }' "$name/log.jsonl"
    check "$name: the same evaluations" test "$(evaluations "$name")" = "$(evaluations "$whole")"
    check "$name: the same samples" test "$(cat "$name"/samples-*.png | md5sum)" = "$(cat "$whole"/samples-*.png | md5sum)"
    check "$name: nothing half-written is left" test -z "$(find "$name" -name '*.partial')"
}

recipe together 10 together.cfg
begin again
wait $pid
same again
begin seed --seed 6
wait $pid
tensors together >together.tensors
tensors seed >seed.tensors
check "there are tensors" test -s together.tensors
check "another seed, other tensors" bash -c '! cmp -s together.tensors seed.tensors'
interrupted killed KILL
interrupted killed2 KILL
interrupted asked TERM

recipe apart 5 small.cfg --set train.checkpoint_every=7 --set train.keep=3 --set train.eval_every=0
begin two --threads 2
wait $pid
same two
interrupted killed3 KILL
interrupted killed4 KILL
interrupted asked2 INT
check "runs were caught alive, not only $interruptions times" test $interruptions -ge 4

# What a polite stop says, as soon as there is something to go on from.
begin polite --steps 1000000
while [ ! -e polite/checkpoint.safetensors ] && kill -0 $pid; do sleep 0.05; done
kill -TERM $pid
wait $pid
check "a stopped run exits with 1" test $? -eq 1
check "and says how to go on" grep -q 'glow train polite --resume' polite.err
check "resume with fewer steps" "$glow" train polite --resume --steps 5
check "a finished run can be trained on" "$glow" train two --resume --steps $((steps + 20))
check "and took them" grep -q "\"step\":$((steps + 20))" two/log.jsonl

# Stopped in the middle of an evaluation, the only thing here that takes long: it is made up for.
recipe looking 1 together.cfg --steps 8 --set data.count=3000 --set train.eval_rows=0 --set train.eval_every=1 \
    --set train.log_every=1 --set train.checkpoint_every=0
begin stopped
until grep -q '"kind":"train"' stopped/log.jsonl 2>kill.err; do
    kill -0 $pid 2>kill.err || break
    sleep 0.02
done
kill -TERM $pid
wait $pid
check "stopped in an evaluation: exits with 1" test $? -eq 1
check "saves first" grep -q 'of 8 is saved' stopped.err
check "goes on" "$glow" train stopped --resume
same stopped
check "all evaluations in the end" test "$(evaluations stopped)" = "$(evaluations looking)"
finish

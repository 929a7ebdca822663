#!/usr/bin/env bash
# test_resume.sh - a training run ends with the same bytes however it got there: alone, with two threads,
# killed at random moments and resumed, stopped and resumed. Another seed gives other bytes.
# RESUME_SEED=N tries other moments.
set -u
glow=${GLOW:-host/glow}
[ -x "$glow" ] || { echo "no program $glow"; exit 99; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cat > "$work/run.cfg" << 'EOF'
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
  steps = 400; seed = 5; threads = 1; ema = 0.99; clip_norm = 50.0;
  checkpoint_every = 25; log_every = 10; eval_every = 100; eval_rows = 32; sample_every = 150;
  optimizer = { type = "adamax"; lr = 0.003; warmup = 20; schedule = "cosine"; };
};
sample = { n = 4; };
EOF

failed=0
die() { echo "$1"; cat "$work/log"; exit 1; }
# train NAME OPTION...: a run, from the beginning
train() {
    local name=$1
    shift
    "$glow" train "$work/run.cfg" --out "$work/$name" "$@" > "$work/log" 2>&1 || die "$name failed"
}
resume() { "$glow" train "$work/$1" --resume > "$work/log" 2>&1; }
# The tensors: what stands behind the header, whose length stands in the first 8 bytes. The header
# holds the configuration, and with it what a run was told on the command line.
tensors() {
    local length
    length=$(od -An -N8 -tu8 "$work/$1/checkpoint.safetensors" | tr -d ' ')
    tail -c +$((length + 9)) "$work/$1/checkpoint.safetensors" > "$work/$1.tensors"
}
same() { # same NAME WHAT: compares the tensors with those of the undisturbed run
    tensors "$1"
    cmp "$work/alone.tensors" "$work/$1.tensors" || { echo "$2: another result"; failed=1; }
}
whole() { # and everything else in the file
    cmp "$work/alone/checkpoint.safetensors" "$work/$1/checkpoint.safetensors" ||
        { echo "$1: another checkpoint"; failed=1; }
}

begin=$(date +%s%N)
train alone
took=$((($(date +%s%N) - begin) / 1000000)) # milliseconds
tensors alone
[ -s "$work/alone.tensors" ] || die "the checkpoint holds no tensors"

train again
same again "the same seed twice"
whole again
train threads --threads 2
same threads "two threads"
train seed --seed 6
tensors seed
cmp -s "$work/alone.tensors" "$work/seed.tensors" &&
    { echo "another seed, but the same result"; failed=1; }

# Killed up to four times in a run, each time after a part of what it took undisturbed.
RANDOM=${RESUME_SEED:-20}
kills=0
for round in 1 2 3; do
    name=killed$round
    for _ in 1 2 3 4; do
        wait_ms=$((took * (10 + RANDOM % 60) / 100))
        if [ -e "$work/$name/config.cfg" ]; then
            "$glow" train "$work/$name" --resume > "$work/log" 2>&1 &
        else # not even begun: a fresh start
            "$glow" train "$work/run.cfg" --out "$work/$name" --force > "$work/log" 2>&1 &
        fi
        pid=$!
        sleep "$(printf '%d.%03d' $((wait_ms / 1000)) $((wait_ms % 1000)))"
        kill -KILL $pid 2> "$work/kill" && kills=$((kills + 1))
        wait $pid 2> "$work/kill"
    done
    [ -e "$work/$name/config.cfg" ] || train "$name" --force
    resume "$name" || die "$name does not resume"
    same "$name" "killed and resumed"
    whole "$name"
    rm -rf "${work:?}/$name"
done
[ $kills -ge 3 ] || { echo "only $kills runs were caught alive"; failed=1; }

# Asked to stop: it saves where it is, and ends with exit code 1.
"$glow" train "$work/run.cfg" --out "$work/stopped" > "$work/log" 2>&1 &
pid=$!
until [ -s "$work/stopped/log.jsonl" ] || ! kill -0 $pid 2> "$work/kill"; do sleep 0.02; done
kill -TERM $pid
wait $pid
code=$?
[ $code = 1 ] || [ $code = 0 ] || { echo "stopped: exit code $code"; cat "$work/log"; failed=1; }
[ -s "$work/stopped/checkpoint.safetensors" ] || { echo "stopped without saving"; failed=1; }
resume stopped || die "stopped does not resume"
same stopped "stopped and resumed"
whole stopped

echo "$kills kills, $took ms a run"
exit $failed

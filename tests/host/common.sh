# shellcheck shell=bash
# tests/host/common.sh - sourced by the end-to-end tests of the program: a scratch directory, checks that
# name what they found, and a model so small that it trains in a second.
set -uo pipefail
glow=${GLOW:?the tests of the program need GLOW, set by make check}
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
cd "$scratch" || exit 99
export GLOW_CACHE_DIR=$scratch/cache
failures=0

# finish: the exit status of the script.
finish()
{
    [ $failures -eq 0 ] || { echo "$failures checks failed"; exit 1; }
}

# check WHAT COMMAND...: the command must succeed. What the program prints stays in out and err.
check()
{
    local what=$1 out=other_out err=other_err
    shift
    [ "$1" != "$glow" ] || out=out err=err
    "$@" >$out 2>$err && return 0
    echo "FAILED: $what: $* (exit code $?)"
    tail -n 5 $out $err
    failures=$((failures + 1))
    return 1
}

# refuses CODE TEXT COMMAND...: the command must exit with that code and a message that holds the text.
refuses()
{
    local code=$1 text=$2 got
    shift 2
    "$@" >out 2>err
    got=$?
    if [ $got -ne "$code" ] || ! grep -qF -- "$text" err; then
        echo "FAILED: $*: exit code $got, expected $code and a message with \"$text\"; got:"
        tail -n 3 err
        failures=$((failures + 1))
    fi
}

# write_config FILE: glyphs of 16x16, two levels of two steps, 40 training steps.
write_config()
{
    cat >"$1" <<'CFG'
model: {
  input = [16, 16, 1];
  flow = (
    { layer = "quantize"; },
    { name = "level"; repeat = 2; flow = (
        { layer = "squeeze"; },
        { name = "step"; repeat = 2; flow = (
            { layer = "actnorm"; }, { layer = "invconv"; },
            { layer = "affine"; net = { type = "openai"; width = 8; }; } ); },
        { layer = "factor_out"; prior = "learned"; } ); } );
};
data:  { dataset = "glyphs"; count = 300; batch = 16; };
train: { steps = 40; ema = 0.9; checkpoint_every = 10; log_every = 5; eval_every = 20; eval_rows = 64;
         optimizer = { lr = 2e-3; warmup = 5; }; };
sample: { n = 9; temperature = 0.8; };
CFG
}

#!/bin/bash
# A run that was killed (SIGKILL, at moments that differ from time to time) or asked to stop (SIGINT),
# and then resumed, ends with the same bytes as one that was left alone, with one thread or two.
# shellcheck disable=SC1091,SC2154,SC2012,SC2016 # what common.sh defines; our own file names; awk
. "${srcdir:?}/tests/host/common.sh"
write_config small.cfg
steps=${STEPS:-400}
options=(--steps "$steps" --set train.checkpoint_every=7 --set train.keep=3 --set train.eval_every=0)

start=$(date +%s%N)
check "undisturbed" "$glow" train small.cfg --out whole "${options[@]}" --threads 1 || finish
duration=$((($(date +%s%N) - start) / 1000000)) # milliseconds
check "two threads" "$glow" train small.cfg --out two "${options[@]}" --threads 2
check "the same bytes by two threads" cmp whole/checkpoint.safetensors two/checkpoint.safetensors

# interrupted NAME SIGNAL: runs, is sent the signal at random moments until it ends by itself.
interrupted()
{
    local name=$1 signal=$2 times=0 pid code
    "$glow" train small.cfg --out "$name" "${options[@]}" >/dev/null 2>"$name.err" &
    pid=$!
    while :; do
        sleep "$(awk -v ms=$duration -v r=$RANDOM 'BEGIN { print ms / 1000 * (0.1 + 0.5 * r / 32768) }')"
        kill -"$signal" $pid 2>/dev/null
        wait $pid
        code=$?
        [ $code -ne 0 ] || break
        times=$((times + 1))
        if [ $times -gt 30 ]; then
            echo "FAILED: $name does not get on"
            failures=$((failures + 1))
            return
        fi
        if [ ! -e "$name/config.cfg" ]; then # killed before there was a run
            rm -rf "$name"
            "$glow" train small.cfg --out "$name" "${options[@]}" >/dev/null 2>"$name.err" &
        else
            "$glow" train "$name" --resume --threads $((1 + times % 2)) >/dev/null 2>"$name.err" &
        fi
        pid=$!
    done
    echo "$name: stopped $times times"
    check "$name: the same bytes as undisturbed" cmp whole/checkpoint.safetensors "$name/checkpoint.safetensors"
    check "$name: one line of the log for each step, in order" awk -F'"step":' \
        '/"kind":"train"/ { s = $2 + 0; if (s <= last) exit 1; last = s; n++ } END { exit !(n == '$((steps / 5))') }' \
        "$name/log.jsonl"
    check "$name: nothing half-written is left" test -z "$(find "$name" -name '*.partial')"
}
interrupted killed KILL
interrupted killed2 KILL
interrupted asked INT

# What a polite stop says.
"$glow" train small.cfg --out polite "${options[@]}" --steps 1000000 >/dev/null 2>polite.err &
pid=$!
while [ ! -e polite/checkpoint.safetensors ] && kill -0 $pid; do sleep 0.05; done
kill -TERM $pid
wait $pid
check "a stopped run exits with 1" test $? -eq 1
check "and says how to go on" grep -q 'glow train polite --resume' polite.err
check "resume with more steps" "$glow" train polite --resume --steps 5
check "a finished run can be trained on" "$glow" train two --resume --steps $((steps + 20))
check "and took them" grep -q "\"step\":$((steps + 20))" two/log.jsonl
finish

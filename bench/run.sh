#!/bin/bash
# bench/run.sh - speed and memory of the bench configurations; `make bench` runs it.
#   GLOW=host/glow bench/run.sh [THREADS [SECONDS [DIRECTORY]]]
# Prints a table and leaves the JSON of each measurement in DIRECTORY, bench-results by default.
set -euo pipefail
glow=${GLOW:?the program to measure}
configs=$(cd "$(dirname "$0")/../configs" && pwd)
threads=${1:-1}
seconds=${2:-10}
results=${3:-bench-results}
mkdir -p "$results"

# field NAME FILE: a number of the JSON.
field() { sed -n "s/^ *\"$1\": \([-+0-9.e]*\),*$/\1/p" "$2" | head -n 1; }

printf '%-8s %-8s %12s %12s %14s %14s\n' config mode images/s GFLOP/s 'share of peak' 'peak RSS, MB'
for config in bench-s bench-m bench-c; do
    for mode in train sample; do
        file=$results/$config-$mode.json
        "$glow" bench "$configs/$config.cfg" --mode $mode --threads "$threads" \
            --seconds "$seconds" > "$file"
        printf '%-8s %-8s %12.1f %12.1f %14.2f %14.0f\n' $config $mode \
            "$(field rows_per_second "$file")" "$(field gflops "$file")" \
            "$(field share_of_peak "$file")" "$(field peak_rss_mb "$file")"
    done
done
echo "threads: $threads; details in $results/"

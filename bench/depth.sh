#!/bin/bash
# bench/depth.sh - peak memory of training model M by depth and memory policy, as a table.
#   GLOW=host/glow bench/depth.sh [K...]         steps of flow on each level; default 4 8 16 32
# The process's peak RSS after two training steps. The last line is what a step of flow more on each
# level adds; weights, gradients and both moments are all that it must.
set -euo pipefail
glow=${GLOW:-host/glow}
config=$(cd "$(dirname "$0")/../configs" && pwd)/bench-m.cfg
depths=("$@")
[ $# -gt 0 ] || depths=(4 8 16 32)
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

# field NAME FILE: a number of the JSON.
field() { sed -n "s/^ *\"$1\": \([-+0-9.e]*\),*$/\1/p" "$2" | head -n 1; }

echo '|  K | parameters, millions | store, MB | recompute, MB | invert, MB | arena of invert, MB |'
echo '|---:|---------------------:|----------:|--------------:|-----------:|--------------------:|'
for k in "${depths[@]}"; do
    sed "s/repeat = 16;/repeat = $k;/" "$config" > "$scratch/m.cfg"
    for policy in store recompute invert; do
        "$glow" bench "$scratch/m.cfg" --threads 1 --steps 1 \
            --set "train.memory=\"$policy\"" > "$scratch/$policy.json"
        field peak_rss_mb "$scratch/$policy.json" >> "$scratch/$policy"
    done
    field parameters "$scratch/store.json" >> "$scratch/parameters"
    field arena_bytes "$scratch/invert.json" >> "$scratch/arena"
    echo "$k" >> "$scratch/k"
done
paste "$scratch"/{k,parameters,store,recompute,invert,arena} | awk '
    { printf "| %2d | %20.2f | %9.1f | %13.1f | %10.1f | %19.2f |\n", $1, $2 / 1e6, $3, $4, $5,
             $6 / 1048576 }
    NR == 1 { for (i = 1; i <= 6; i++) first[i] = $i }
    END {
        if (NR < 2) exit
        n = $1 - first[1]
        printf "\nfor each K: store %.2f MB, recompute %.2f MB, invert %.2f MB; ", ($3 - first[3]) / n,
               ($4 - first[4]) / n, ($5 - first[5]) / n
        printf "weights, gradients and moments alone %.2f MB (of 1048576 bytes)\n",
               ($2 - first[2]) / n * 16 / 1048576
    }'

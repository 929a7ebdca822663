#!/usr/bin/env bash
# symbols.sh - every module of plugins/ exports one symbol, links libc and libm alone (datasets add
# their codecs), and takes nothing from the host. Neither modules nor the program know CUDA.
set -u
build=${builddir:-.}
for tool in nm readelf; do
    command -v $tool > /dev/null || { echo "no $tool"; exit 77; }
done
common='^(libc|libm|libgcc_s|ld-linux.*|ld64|libasan|libubsan|libtsan|libpthread)\.so'
codecs='^(libz|libzip|libturbojpeg|libspng|libpng[0-9]*|libjpeg)\.so'
failed=0
count=0

complain() { echo "$1: $2"; failed=1; }
needed() { readelf -d "$1" | sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p'; }
# What the dynamic linker would have to find in the host: undefined symbols without a library's version.
# A sanitizer's symbols, and those of libc that it stands in for, have none either.
foreign() {
    nm -D --undefined-only "$1" | grep -Eq ' __(asan|ubsan|tsan)_' && return
    nm -D --undefined-only "$1" | awk '$1 == "U" && $2 !~ /@/ { print $2 }'
}

for module in "$build"/plugins/{layers,nets,priors,datasets}/.libs/*.so; do
    [ -f "$module" ] || continue
    count=$((count + 1))
    exported=$(nm -D --defined-only "$module" | awk '{ print $3 }' | sed 's/@.*//')
    [ "$exported" = glow_plugin_v1 ] || complain "$module" "exports: $(echo $exported)"
    allowed=$common
    case $module in */datasets/*) allowed="$common|$codecs" ;; esac
    for library in $(needed "$module"); do
        echo "$library" | grep -Eq "$allowed" || complain "$module" "links $library"
    done
    case $module in
    */datasets/*) ;;                # codecs without symbol versions
    *)
        for symbol in $(foreign "$module"); do
            complain "$module" "needs $symbol of the host"
        done ;;
    esac
    nm -D "$module" | grep -Eiq ' (cu[A-Z]|cuda|cudnn|cublas|nvrtc)' && complain "$module" "uses CUDA"
done
if [ -x "$build/host/glow" ]; then
    program=$build/host/glow
    [ -x "$build/host/.libs/glow" ] && program=$build/host/.libs/glow
    needed "$program" | grep -Eiq 'cuda|cudnn|cublas|nvrtc' && complain "$program" "links CUDA"
fi
echo "$count modules"
[ $count -gt 0 ] || { echo "no modules below $build/plugins"; failed=1; }
exit $failed

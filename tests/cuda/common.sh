# common.sh - for the scripts of tests/cuda: the environment in which glow finds the stand-in for CUDA.
# With GLOW_TEST_GPU=1 it finds the module of the build and the machine's own CUDA instead.
set -u
build=${builddir:?}
here=$build/tests/cuda/.libs
if [ "${GLOW_TEST_GPU:-0}" = 1 ]; then
    export GLOW_BACKEND_PATH=${GLOW_BACKEND_PATH:-$build/core/cuda/.libs}
else
    [ -f "$here/glow-cuda.so" ] || { echo "no C++ compiler, so no stand-in for CUDA"; exit 77; }
    export GLOW_BACKEND_PATH=$here
    export LD_LIBRARY_PATH=$here${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
fi
export GLOW_BACKEND=cuda CK_TIMEOUT_MULTIPLIER=${CK_TIMEOUT_MULTIPLIER:-30}
# A device, and threads, do not outlive a fork.
[ "${GLOW_TEST_GPU:-0}" = 1 ] && export CK_FORK=no
failed=0

# Runs a Check program of the build on the backend; shows what it says only when it fails.
run_program()
{
    local output
    if output=$("$build/tests/$1" 2>&1); then
        printf '%s: %s\n' "$1" "$(printf '%s\n' "$output" | grep '%:')"
    else
        printf '%s failed:\n%s\n' "$1" "$output"
        failed=1
    fi
}

# The same with the threads of the kernels in either order. (CUDA_EMULATOR_REVERSE in the environment
# turns the order of all the others: the suite runs once so, once so.)
run_in_both_orders()
{
    [ "${GLOW_TEST_GPU:-0}" = 1 ] && { run_program "$1"; return; }
    local CUDA_EMULATOR_REVERSE
    export CUDA_EMULATOR_REVERSE
    for CUDA_EMULATOR_REVERSE in 0 1; do run_program "$1"; done
}

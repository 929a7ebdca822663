/* kernels_reduce.cpp - core/cuda/reduce.cu for the emulator. */
#include "../../core/cuda/reduce.cu"

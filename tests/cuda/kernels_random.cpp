/* kernels_random.cpp - core/cuda/random.cu for the emulator. */
#include "../../core/cuda/random.cu"

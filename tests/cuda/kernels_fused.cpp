/* kernels_fused.cpp - core/cuda/fused.cu for the emulator. */
#include "../../core/cuda/fused.cu"

/* kernels_gemm.cpp - core/cuda/gemm.cu for the emulator. */
#include "../../core/cuda/gemm.cu"

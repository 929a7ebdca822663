/* kernels_linalg.cpp - core/cuda/linalg.cu for the emulator. */
#include "../../core/cuda/linalg.cu"

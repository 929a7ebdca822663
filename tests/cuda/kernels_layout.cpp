/* kernels_layout.cpp - core/cuda/layout.cu for the emulator. */
#include "../../core/cuda/layout.cu"

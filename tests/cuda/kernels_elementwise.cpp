/* kernels_elementwise.cpp - core/cuda/elementwise.cu for the emulator. */
#include "../../core/cuda/elementwise.cu"

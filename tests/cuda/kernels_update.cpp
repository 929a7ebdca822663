/* kernels_update.cpp - core/cuda/update.cu for the emulator. */
#include "../../core/cuda/update.cu"

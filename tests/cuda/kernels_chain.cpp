/* kernels_chain.cpp - core/cuda/chain.cu for the emulator. */
#include "../../core/cuda/chain.cu"

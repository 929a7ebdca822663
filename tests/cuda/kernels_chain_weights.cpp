/* kernels_chain_weights.cpp - core/cuda/chain_weights.cu for the emulator. */
#include "../../core/cuda/chain_weights.cu"

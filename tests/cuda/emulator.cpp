/* emulator.cpp - what of the emulator is not in its header. */
#include "emulator.h"

extern "C" cudaError_t emulator_last_error(void);
cudaError_t emulator_last_error(void)
{
    cudaError_t error = emulator::the_machine().error;
    emulator::the_machine().error = cudaSuccess;
    return error;
}

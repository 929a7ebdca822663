/* engine.h - the backend, and whether this machine can run it. */
#ifndef CORE_CUDA_ENGINE_H
#define CORE_CUDA_ENGINE_H
#include "../backend.h"

extern const struct backend backend_cuda;
/* Whether there is a device to work with; else why not. */
int engine_usable(char *why, size_t size);
#endif

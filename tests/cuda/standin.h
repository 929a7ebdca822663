/* standin.h - what the files of the stand-in for CUDA's libraries share. */
#ifndef TESTS_CUDA_STANDIN_H
#define TESTS_CUDA_STANDIN_H
#include <functional>
#include "cuda_runtime_api.h"

typedef std::function<void()> work;
/* Puts work on a stream, or into the graph that the stream is recording. */
void standin_push(cudaStream_t, work);
#endif

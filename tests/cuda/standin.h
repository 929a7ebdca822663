/* standin.h - what the files of the stand-in for CUDA's libraries share. */
#ifndef TESTS_CUDA_STANDIN_H
#define TESTS_CUDA_STANDIN_H
#include <functional>
#include "cuda_runtime_api.h"

typedef std::function<void()> work;
/* Puts work on a stream, or into the graph that the stream is recording. */
void standin_push(cudaStream_t, work);
/* Records the error for cudaGetLastError; returns it. */
cudaError_t standin_failed(cudaError_t);
/* Whether a stream records, which the call that asks would spoil, and does. */
bool standin_records();
/* A number of the environment. */
size_t standin_number(const char *variable, size_t otherwise);
#endif

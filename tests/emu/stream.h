/* SPDX-License-Identifier: MIT
 *
 * stream.h - the runtime as the stand-ins for libraries see it (nccl.cc, cublaslt.cc).
 */
#ifndef SAENGINE_EMU_STREAM_H
#define SAENGINE_EMU_STREAM_H

#include <cuda_runtime.h>

#include <functional>

namespace emu
{

/* Tries `step`, when the stream has come to it, until it says that it is done. */
void stream_enqueue(cudaStream_t stream, std::function<bool()> step);

/* Whether all of it lies in one block of cudaMalloc's. */
bool is_device_memory(const void *p, size_t bytes);

/* cudaSetDevice's. */
int device_ordinal();

/* Whether any stream is being recorded; what a call that may not be recorded does to the one that
 * is. */
bool is_recording();
void spoil_recording(cudaStream_t stream);

/* What cudaGetLastError will say. */
void leave_error(cudaError_t status);

} // namespace emu

#endif

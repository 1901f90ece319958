/* SPDX-License-Identifier: MIT
 *
 * stream.h - the runtime's streams as the stand-in for NCCL uses them (nccl.cc).
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

} // namespace emu

#endif

/* SPDX-License-Identifier: MIT
 *
 * nccl.h - stands in for NCCL's header of that name where kernels run on the CPU: the part of the
 * API that the backend uses, with NCCL's signatures and meaning. Implementation: tests/emu/nccl.cc.
 */
#ifndef SAENGINE_EMU_NCCL_H
#define SAENGINE_EMU_NCCL_H

#include <cuda_runtime.h>

#define NCCL_VERSION(major, minor, patch) (10000 * (major) + 100 * (minor) + (patch))
#define NCCL_VERSION_CODE NCCL_VERSION(2, 18, 0)

enum { NCCL_UNIQUE_ID_BYTES = 128 };

typedef struct ncclComm *ncclComm_t;

typedef struct {
	char internal[NCCL_UNIQUE_ID_BYTES];
} ncclUniqueId;

typedef enum {
	ncclSuccess = 0,
	ncclUnhandledCudaError = 1,
	ncclSystemError = 2,
	ncclInternalError = 3,
	ncclInvalidArgument = 4,
	ncclInvalidUsage = 5,
	ncclRemoteError = 6,
	ncclInProgress = 7
} ncclResult_t;

typedef enum { ncclInt8 = 0, ncclUint8 = 1 } ncclDataType_t;

typedef struct {
	size_t size;
	int blocking;
} ncclConfig_t;

#define NCCL_CONFIG_INITIALIZER \
	{ \
		sizeof(ncclConfig_t), 1 \
	}

#ifdef __cplusplus
extern "C" {
#endif

const char *ncclGetErrorString(ncclResult_t result);
const char *ncclGetLastError(ncclComm_t comm);

ncclResult_t ncclGetUniqueId(ncclUniqueId *id);
ncclResult_t ncclCommInitRankConfig(ncclComm_t *comm, int n_ranks, ncclUniqueId id, int rank,
	ncclConfig_t *config);
ncclResult_t ncclCommGetAsyncError(ncclComm_t comm, ncclResult_t *error);
ncclResult_t ncclCommFinalize(ncclComm_t comm);
ncclResult_t ncclCommDestroy(ncclComm_t comm);
ncclResult_t ncclCommAbort(ncclComm_t comm);

ncclResult_t ncclBroadcast(const void *from, void *to, size_t count, ncclDataType_t type, int root,
	ncclComm_t comm, cudaStream_t stream);

#ifdef __cplusplus
}
#endif

#endif

/* SPDX-License-Identifier: MIT
 *
 * nccl.c - weights from one GPU to the others, by NCCL. Contract: device_team in ops.h. The only
 * file that knows NCCL. Tests: tests/emu/test_team.c, against a stand-in.
 *
 * Nothing here waits in NCCL or in the driver for another process: communicators are nonblocking,
 * and the host looks, now at them, now at the stream, now at the team's check, every POLL. So when
 * a peer dies, which over NVLink nobody reports, the check's error aborts the communicator and this
 * process leaves.
 *
 * A tensor goes in pieces of CUDA_STAGING: while one is on its way from rank 0's GPU to the others,
 * the next is read from disk. cuda_upload, which waits for earlier uploads, is called only when the
 * broadcast before the last has arrived, so that its wait is for copies over PCIe alone.
 */
#include "kernels/cuda/cuda.h"

#include "host/base/clock.h"
#include "host/base/size.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <nccl.h>

#if NCCL_VERSION_CODE < NCCL_VERSION(2, 18, 0)
#error "NCCL 2.18 or newer is needed: communicators that do not block"
#endif

enum {
	POLL_FIRST = 20000, /* nanoseconds between two looks: doubled each time, up to POLL_LAST */
	POLL_LAST = 2560000,
	JOIN_SECONDS = 120, /* for all to be connected: a wrong network never is */
	WORD = 8            /* bytes that are sent to see whether any are */
};

struct cuda_team {
	ncclComm_t comm;
	cudaEvent_t arrived[2]; /* the last two broadcasts */
	size_t n;               /* broadcasts so far */
	double deadline;        /* of what is waited for; 0 = none */
};

static int nccl_fails(const struct cuda_team *team, ncclResult_t status, const char *call,
	struct err *err)
{
	const char *last = ncclGetLastError(team ? team->comm : NULL);

	return err_set(err, ERR_DEVICE, "weights from rank to rank: %s: %s%s%s%s", call,
		ncclGetErrorString(status), last && *last ? " (" : "", last ? last : "",
		last && *last ? ")" : "");
}

/* Between two looks at what is not ready yet. */
static int pause_and_check(struct device *dev, long *nanoseconds, struct err *err)
{
	const struct cuda_team *team = cuda_state_of(dev)->team;
	const struct timespec poll = {0, *nanoseconds};

	if (dev->team.check(err))
		return err->code;
	if (team->deadline > 0 && clock_seconds() > team->deadline)
		return err_set(err, ERR_DEVICE,
			"weights from rank to rank: not all of %zu ranks were connected within %d "
			"s; "
			"NCCL_DEBUG=INFO says more",
			dev->team.world, JOIN_SECONDS);
	nanosleep(&poll, NULL);
	if (*nanoseconds < POLL_LAST)
		*nanoseconds *= 2;
	return 0;
}

/* Waits until a call, whose status this is, has been taken in. */
static int settle(struct device *dev, ncclResult_t status, const char *call, struct err *err)
{
	const struct cuda_team *team = cuda_state_of(dev)->team;
	long pause = POLL_FIRST;

	while (status == ncclInProgress) {
		const ncclResult_t asked = ncclCommGetAsyncError(team->comm, &status);

		if (asked != ncclSuccess)
			status = asked;
		if (status == ncclInProgress && pause_and_check(dev, &pause, err))
			return err->code;
	}
	return status == ncclSuccess ? 0 : nccl_fails(team, status, call, err);
}

/* Waits until an event has passed, or NCCL says that it will not. */
static int wait_for(struct device *dev, cudaEvent_t event, struct err *err)
{
	const struct cuda_team *team = cuda_state_of(dev)->team;
	long pause = POLL_FIRST;
	cudaError_t status;

	while ((status = cudaEventQuery(event)) == cudaErrorNotReady) {
		ncclResult_t result = ncclSuccess;
		const ncclResult_t asked = ncclCommGetAsyncError(team->comm, &result);

		cudaGetLastError(); /* "not ready" is none that the next op should report */
		if (asked != ncclSuccess || (result != ncclSuccess && result != ncclInProgress))
			return nccl_fails(team, asked != ncclSuccess ? asked : result,
				"ncclBroadcast", err);
		if (pause_and_check(dev, &pause, err))
			return err->code;
	}
	return cuda_check(status, "weights from rank to rank", "cudaEventQuery", err);
}

/* Rank 0's bytes at `memory` to all. */
static int broadcast(struct device *dev, void *memory, size_t bytes, struct err *err)
{
	struct cuda_state *state = cuda_state_of(dev);
	struct cuda_team *team = state->team;

	TRY(settle(dev,
		ncclBroadcast(memory, memory, bytes, ncclUint8, 0, team->comm, state->stream),
		"ncclBroadcast", err));
	return cuda_check(cudaEventRecord(team->arrived[team->n++ % 2], state->stream),
		"weights from rank to rank", "cudaEventRecord", err);
fail:
	return err->code;
}

static void free_team(struct cuda_state *state)
{
	struct cuda_team *team = state->team;

	state->team = NULL;
	for (int i = 0; i < 2; i++)
		if (team->arrived[i])
			cudaEventDestroy(team->arrived[i]);
	free(team);
}

/* What is on its way is given up. */
static void abort_team(struct device *dev)
{
	struct cuda_state *state = cuda_state_of(dev);

	if (state->team->comm)
		ncclCommAbort(state->team->comm);
	free_team(state);
}

static int send_pieces(struct device *dev, char *to, const char *from, size_t bytes,
	struct err *err)
{
	struct cuda_team *team = cuda_state_of(dev)->team;

	for (size_t done = 0; done < bytes;) {
		const size_t n = size_min(bytes - done, CUDA_STAGING);

		if (team->n > 1)
			TRY(wait_for(dev, team->arrived[team->n % 2], err));
		if (dev->team.rank == 0)
			TRY(cuda_upload(dev, to + done, from + done, n, err));
		TRY(broadcast(dev, to + done, n, err));
		done += n;
	}
	return wait_for(dev, team->arrived[(team->n + 1) % 2], err);
fail:
	return err->code;
}

static int upload(struct device *dev, void *to, const void *from, size_t bytes, struct err *err)
{
	const int rc = send_pieces(dev, to, from, bytes, err);

	if (rc)
		abort_team(dev);
	return rc;
}

/* ---- joining and leaving ---------------------------------------------------------------- */

/* NCCL refuses a GPU twice. */
static bool card(const struct device *dev, char out[DEVICE_CARD])
{
	struct cudaDeviceProp properties;
	const cudaError_t status = cudaGetDeviceProperties(&properties,
		cuda_state_of(dev)->ordinal);
	int n;

	if (status != cudaSuccess) {
		snprintf(out, DEVICE_CARD, "its GPU cannot be told: %s",
			cudaGetErrorString(status));
		return false;
	}
	n = snprintf(out, DEVICE_CARD, "GPU-");
	for (size_t i = 0; i < sizeof properties.uuid.bytes; i++)
		n += snprintf(out + n, DEVICE_CARD - (size_t)n, "%02x",
			(unsigned char)properties.uuid.bytes[i]);
	return true;
}

static int ticket(struct device *dev, char out[DEVICE_TICKET], struct err *err)
{
	ncclUniqueId id;
	const ncclResult_t status = ncclGetUniqueId(&id);

	(void)dev;
	if (status != ncclSuccess)
		return nccl_fails(NULL, status, "ncclGetUniqueId", err);
	for (size_t i = 0; i < sizeof id.internal; i++)
		snprintf(out + 2 * i, 3, "%02x", (unsigned char)id.internal[i]);
	return 0;
}

static int read_ticket(const char *text, ncclUniqueId *id, struct err *err)
{
	for (size_t i = 0; i < sizeof id->internal; i++) {
		unsigned byte;

		if (sscanf(text + 2 * i, "%2x", &byte) != 1)
			return err_set(err, ERR_INTERNAL, "\"%.80s\" is no ticket", text);
		id->internal[i] = (char)byte;
	}
	return 0;
}

/* Connections are made when they are first used: now, so that a network that carries nothing is
 * found out before anything depends on it. */
static int connect_all(struct device *dev, const char *text, void *memory, struct err *err)
{
	static const char word[WORD] = "weights";
	struct cuda_team *team = cuda_state_of(dev)->team;
	ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
	char found[WORD];
	ncclUniqueId id;

	for (int i = 0; i < 2; i++)
		TRY(cuda_check(cudaEventCreateWithFlags(&team->arrived[i], cudaEventDisableTiming),
			"weights from rank to rank", "cudaEventCreate", err));
	TRY(read_ticket(text, &id, err));
	config.blocking = 0;
	team->deadline = clock_seconds() + JOIN_SECONDS;
	TRY(settle(dev,
		ncclCommInitRankConfig(&team->comm, (int)dev->team.world, id, (int)dev->team.rank,
			&config),
		"ncclCommInitRankConfig", err));
	TRY(send_pieces(dev, memory, word, sizeof word, err));
	TRY(device_download(dev, found, memory, sizeof found, err));
	if (memcmp(found, word, sizeof word) != 0)
		return err_set(err, ERR_DEVICE,
			"weights from rank to rank: other bytes arrived than were sent");
	team->deadline = 0;
	return 0;
fail:
	return err->code;
}

static int join(struct device *dev, const char *text, struct err *err)
{
	struct cuda_state *state = cuda_state_of(dev);
	void *memory;
	int rc;

	if (device_alloc(dev, WORD, &memory, err))
		return err->code;
	state->team = calloc(1, sizeof *state->team);
	rc = state->team ? connect_all(dev, text, memory, err)
			 : err_nomem(err, "a team of devices", sizeof *state->team);
	if (rc && state->team)
		abort_team(dev);
	device_free(dev, memory); /* waits for the stream: behind the abort */
	return rc;
}

static int leave(struct device *dev, struct err *err)
{
	struct cuda_state *state = cuda_state_of(dev);

	if (settle(dev, ncclCommFinalize(state->team->comm), "ncclCommFinalize", err)) {
		abort_team(dev);
		return err->code;
	}
	ncclCommDestroy(state->team->comm);
	free_team(state);
	return 0;
}

const struct team_backend cuda_team_backend = {
	.card = card,
	.ticket = ticket,
	.join = join,
	.leave = leave,
	.abandon = abort_team,
	.upload = upload,
};

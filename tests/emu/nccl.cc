/* SPDX-License-Identifier: MIT
 *
 * nccl.cc - a stand-in for NCCL between processes whose GPUs are this harness (include/nccl.h). The
 * bytes go through sockets, from rank 0 to each other rank, when the streams come to them.
 *
 * As unhelpful as NCCL may be: communicators are nonblocking ones and nothing is ready before it
 * has been asked about; a peer that dies is not reported, what waits for it waits until it is
 * aborted. What NCCL leaves undefined ends the program (emu_fail): a call while another is in
 * progress, ranks that broadcast different sizes, buffers that are not device memory, a
 * communicator that is destroyed before it is finalized.
 */
#include "tests/emu/control.h"
#include "tests/emu/race.h"
#include "tests/emu/stream.h"

#include <nccl.h>

#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <memory>
#include <vector>

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

namespace
{

struct greeting {
	int rank, ordinal;
};

enum verdict : char { WELCOME = 'w', DUPLICATE = 'd' };

/* What goes over the sockets before the bytes of a broadcast. */
struct header {
	uint64_t number, bytes;
};

int listener = -1;
uint64_t refuse_in;

} // namespace

struct ncclComm {
	enum { GREETING, READY, FINALIZED } stage;
	ncclResult_t state;
	bool aborted;
	int rank, n_ranks;
	sockaddr_un address;
	std::vector<int> sockets; /* rank 0: of each other rank; else one, to rank 0 */
	std::vector<greeting> met;
	uint64_t n_broadcasts;
	char last_error[128];
};

namespace
{

/* Moves what can be moved now. True when all of it has been. */
bool move_bytes(bool out, int socket, void *bytes, size_t n, size_t *done)
{
	while (*done < n) {
		char *at = (char *)bytes + *done;
		const ssize_t moved = out ? send(socket, at, n - *done, MSG_NOSIGNAL | MSG_DONTWAIT)
					  : recv(socket, at, n - *done, MSG_DONTWAIT);

		if (moved <= 0)
			return false; /* later; or never, of a peer that died */
		*done += (size_t)moved;
	}
	return true;
}

/* Of messages that fit any buffer. */
void move_whole(bool out, int socket, void *bytes, size_t n)
{
	size_t done = 0;

	for (int i = 0; i < 10000 && !move_bytes(out, socket, bytes, n, &done); i++)
		usleep(100);
}

ncclResult_t fails(ncclComm *comm, ncclResult_t result, const char *why)
{
	snprintf(comm->last_error, sizeof comm->last_error, "%s", why);
	comm->state = result;
	return result;
}

/* Rank 0: another one at a time, and when all are there, the verdict. */
void meet(ncclComm *comm)
{
	const int socket = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	char verdict = WELCOME;
	greeting g;

	if (socket >= 0) {
		move_whole(false, socket, &g, sizeof g);
		comm->sockets.push_back(socket);
		comm->met.push_back(g);
	}
	if ((int)comm->met.size() < comm->n_ranks - 1)
		return;
	comm->met.push_back({0, emu::device_ordinal()});
	for (const greeting &a : comm->met)
		for (const greeting &b : comm->met)
			if (a.rank != b.rank && a.ordinal == b.ordinal)
				verdict = DUPLICATE;
	for (int peer : comm->sockets)
		move_whole(true, peer, &verdict, 1);
	comm->stage = ncclComm::READY;
	comm->state = ncclSuccess;
	if (verdict == DUPLICATE)
		fails(comm, ncclInvalidUsage, "Duplicate GPU detected");
}

void greet(ncclComm *comm)
{
	greeting g = {comm->rank, emu::device_ordinal()};
	char verdict = 0;
	size_t done = 0;

	if (comm->sockets.empty()) {
		const int s = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

		if (connect(s, (const sockaddr *)&comm->address, sizeof comm->address) != 0) {
			close(s);
			return;
		}
		move_whole(true, s, &g, sizeof g);
		comm->sockets.push_back(s);
	}
	if (!move_bytes(false, comm->sockets[0], &verdict, 1, &done))
		return;
	comm->stage = ncclComm::READY;
	comm->state = ncclSuccess;
	if (verdict == DUPLICATE)
		fails(comm, ncclInvalidUsage, "Duplicate GPU detected");
}

void hang_up(ncclComm *comm)
{
	for (int s : comm->sockets)
		close(s);
	comm->sockets.clear();
	if (comm->rank == 0 && listener >= 0) {
		close(listener);
		listener = -1;
	}
}

/* One broadcast on its way. */
struct transfer {
	ncclComm *comm;
	header head, theirs;
	void *bytes;
	std::vector<size_t> head_done, done; /* by socket */

	bool go()
	{
		bool all = true;

		if (comm->aborted)
			return true;
		for (size_t i = 0; i < comm->sockets.size(); i++)
			all &= comm->rank == 0 ? send_to(i) : receive();
		if (all && comm->rank > 0)
			emu::race_written(bytes, head.bytes);
		return all;
	}

	bool send_to(size_t i)
	{
		return move_bytes(true, comm->sockets[i], &head, sizeof head, &head_done[i]) &&
		       move_bytes(true, comm->sockets[i], bytes, head.bytes, &done[i]);
	}

	bool receive()
	{
		if (!move_bytes(false, comm->sockets[0], &theirs, sizeof theirs, &head_done[0]))
			return false;
		if (theirs.number != head.number || theirs.bytes != head.bytes)
			emu_fail("broadcast %llu of %llu bytes meets rank 0's %llu of %llu",
				(unsigned long long)head.number, (unsigned long long)head.bytes,
				(unsigned long long)theirs.number,
				(unsigned long long)theirs.bytes);
		return move_bytes(false, comm->sockets[0], bytes, head.bytes, &done[0]);
	}
};

} // namespace

void emu_set_refused_broadcast(uint64_t n)
{
	refuse_in = n;
}

const char *ncclGetErrorString(ncclResult_t result)
{
	switch (result) {
	case ncclSuccess:
		return "no error";
	case ncclSystemError:
		return "unhandled system error";
	case ncclInvalidUsage:
		return "invalid usage";
	case ncclInProgress:
		return "operation in progress";
	default:
		return "an error";
	}
}

const char *ncclGetLastError(ncclComm_t comm)
{
	return comm ? comm->last_error : "";
}

ncclResult_t ncclGetUniqueId(ncclUniqueId *id)
{
	sockaddr_un address = {};

	memset(id, 0, sizeof *id);
	snprintf(id->internal, sizeof id->internal, "saengine-nccl-%d", (int)getpid());
	address.sun_family = AF_UNIX;
	strcpy(address.sun_path + 1, id->internal); /* a name that goes with the process */
	listener = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (listener < 0 || bind(listener, (const sockaddr *)&address, sizeof address) != 0 ||
		listen(listener, 64) != 0)
		return ncclSystemError;
	return ncclSuccess;
}

ncclResult_t ncclCommInitRankConfig(ncclComm_t *out, int n_ranks, ncclUniqueId id, int rank,
	ncclConfig_t *config)
{
	ncclComm *comm = new ncclComm();

	if (config->size != sizeof *config || config->blocking)
		emu_fail("a communicator that blocks");
	comm->rank = rank;
	comm->n_ranks = n_ranks;
	comm->state = ncclInProgress;
	comm->address.sun_family = AF_UNIX;
	strcpy(comm->address.sun_path + 1, id.internal);
	*out = comm;
	return ncclInProgress;
}

ncclResult_t ncclCommGetAsyncError(ncclComm_t comm, ncclResult_t *error)
{
	*error = comm->state;
	if (comm->state != ncclInProgress)
		return ncclSuccess;
	if (comm->stage != ncclComm::GREETING)
		comm->state = ncclSuccess;
	else if (comm->rank == 0)
		meet(comm);
	else
		greet(comm);
	return ncclSuccess;
}

static void must_be_idle(ncclComm_t comm, const char *call)
{
	if (comm->state == ncclInProgress)
		emu_fail("%s while another call is in progress", call);
}

ncclResult_t ncclBroadcast(const void *from, void *to, size_t count, ncclDataType_t, int root,
	ncclComm_t comm, cudaStream_t stream)
{
	const header head = {comm->n_broadcasts++, count};
	const size_t n = comm->sockets.size();

	must_be_idle(comm, "ncclBroadcast");
	if (root != 0 || from != to || !emu::is_device_memory(to, count))
		emu_fail("ncclBroadcast of %zu bytes that are not one block of device memory",
			count);
	if (refuse_in > 0 && --refuse_in == 0)
		return fails(comm, ncclSystemError, "socket: Connection refused");
	const auto t = std::make_shared<transfer>(transfer{comm, head, {}, to,
		std::vector<size_t>(n), std::vector<size_t>(n)});
	emu::stream_enqueue(stream, [t] { return t->go(); });
	comm->state = ncclInProgress;
	return ncclInProgress;
}

ncclResult_t ncclCommFinalize(ncclComm_t comm)
{
	must_be_idle(comm, "ncclCommFinalize");
	comm->stage = ncclComm::FINALIZED;
	comm->state = ncclInProgress;
	return ncclInProgress;
}

ncclResult_t ncclCommDestroy(ncclComm_t comm)
{
	must_be_idle(comm, "ncclCommDestroy");
	if (comm->stage != ncclComm::FINALIZED)
		emu_fail("ncclCommDestroy before ncclCommFinalize");
	hang_up(comm);
	delete comm;
	return ncclSuccess;
}

/* Not freed: what streams still hold of it looks at `aborted`. */
ncclResult_t ncclCommAbort(ncclComm_t comm)
{
	static std::vector<ncclComm_t> kept;

	kept.push_back(comm);
	comm->aborted = true;
	hang_up(comm);
	return ncclSuccess;
}

/* SPDX-License-Identifier: MIT
 *
 * runtime.cc - streams, memory and graphs of the stand-in for the CUDA runtime
 * (include/cuda_runtime.h).
 *
 * A stream is as lazy as it may be: launches and copies wait in a queue until someone waits for
 * them, for an event behind them or for a stream that waits for such an event, so whatever reads a
 * result too early reads garbage (fresh memory is NaN), and streams that nothing orders overlap in
 * the worst way. A copy from ordinary host memory reads it at once, as CUDA stages it; one from
 * pinned memory reads it when the stream gets there. While nothing runs, device memory is out of
 * the host's reach: a host that follows a device pointer crashes here as it would there (but for
 * mapped host memory). Nor may kernels have the host's memory: a launch whose arguments point there
 * ends the program. Any thread may call; what runs, runs in the thread that waits for it, and the
 * others' calls wait meanwhile.
 */
#include "tests/emu/grid.h"
#include "tests/emu/race.h"
#include "tests/emu/stream.h"

#include <cstdio>
#include <cstdlib>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <vector>

#include <errno.h>
#include <sys/mman.h>
#include <unistd.h>

/* Whether it is done; one that is not is tried again. */
typedef std::function<bool()> work;

struct emu_graph {
	std::vector<work> steps;
};

struct emu_stream {
	std::deque<work> queue;
	std::vector<work> captured;
	bool capturing;
	bool broken; /* something that cannot be captured was tried */
};

/* Where a stream stood when an event was recorded there. */
struct mark {
	emu_stream *stream;
	bool passed;
};

struct emu_event {
	std::shared_ptr<mark> last;
};

namespace
{

const size_t SMALL_SHARED = 48 << 10, MOST_SHARED = 227 << 10; /* bytes, as on an H100 */

enum kind { DEVICE, MAPPED, PINNED };

struct block {
	size_t bytes;
	enum kind kind;
};

std::map<const char *, block> &blocks()
{
	static std::map<const char *, block> all;

	return all;
}

/* emu_lend's. */
std::map<const char *, size_t> &lent_blocks()
{
	static std::map<const char *, size_t> all;

	return all;
}

std::recursive_mutex calls;
typedef std::lock_guard<std::recursive_mutex> one_call;

std::map<const void *, size_t> allowed_shared;
const int N_DEVICES = 4, RUNTIME_VERSION = 13000;
int driver_version = RUNTIME_VERSION;
thread_local int device;
size_t memory_total = (size_t)1 << 40, memory_used;
struct emu_calls made;
thread_local cudaError_t last_error;
uint64_t refuse_in;
bool any_capturing;

cudaError_t fails(cudaError_t status)
{
	if (status != cudaSuccess)
		last_error = status;
	return status;
}

void enqueue_work(emu_stream *stream, work w)
{
	const one_call lock(calls);

	if (!stream)
		while (!w())
			;
	else if (stream->capturing)
		stream->captured.push_back(std::move(w));
	else
		stream->queue.push_back(std::move(w));
}

void enqueue(emu_stream *stream, std::function<void()> w)
{
	enqueue_work(stream, [w] {
		w();
		return true;
	});
}

/* The block that the address lies in or just behind. */
const std::pair<const char *const, block> *block_of(const void *p)
{
	auto after = blocks().upper_bound((const char *)p);

	if (after == blocks().begin())
		return nullptr;
	--after;
	return (const char *)p <= after->first + after->second.bytes ? &*after : nullptr;
}

bool lies_in(enum kind kind, const void *p, size_t bytes)
{
	const one_call lock(calls);
	const auto *found = block_of(p);

	return found && found->second.kind == kind &&
	       (const char *)p + bytes <= found->first + found->second.bytes;
}

/* What CUDA calls so; mapped host memory is the host's. */
bool is_device(const void *p)
{
	const auto *found = block_of(p);

	return found && found->second.kind == DEVICE;
}

/* Below these addresses nothing lies that a program could point to, but numbers do, and ASan's
 * shadow memory. */
const uintptr_t LOWEST = 0x100080000000;

bool is_mapped(uintptr_t address)
{
	return msync((void *)(address & -(uintptr_t)4096), 4096, MS_ASYNC) == 0 || errno != ENOMEM;
}

/* Every eight bytes that could be an address are taken for one. */
void refuse_host_pointers(const emu::bound_kernel &k)
{
	const one_call lock(calls);
	const char *bytes = (const char *)k.arguments.get();

	for (size_t i = 0; i + sizeof(uintptr_t) <= k.bytes; i += sizeof(uintptr_t)) {
		uintptr_t address;

		memcpy(&address, bytes + i, sizeof address);
		if (address >= LOWEST && address >> 47 == 0 &&
			!emu::is_for_kernels((const void *)address) && is_mapped(address))
			emu_fail("%s is launched with a pointer to the host's memory, %#zx", k.name,
				(size_t)address);
	}
}

/* Exactly the bytes asked for, so that ASan sees the first beyond; NaN until written. */
cudaError_t allocate(void **out, size_t bytes, enum kind kind)
{
	const one_call lock(calls);

	*out = NULL;
	made.allocations++;
	if (any_capturing)
		return fails(cudaErrorStreamCaptureUnsupported);
	if (kind != PINNED && bytes > memory_total - memory_used)
		return fails(cudaErrorMemoryAllocation);
	*out = emu::guarded_allocate(bytes);
	if (!*out)
		return fails(cudaErrorMemoryAllocation);
	memset(*out, 0xff, bytes);
	blocks()[(const char *)*out] = {bytes, kind};
	if (kind != PINNED) {
		memory_used += bytes;
		emu::race_add(*out, bytes ? bytes : 1, false, "device memory");
	}
	if (kind == DEVICE)
		emu::guarded_let_host_reach(*out, bytes, false);
	return cudaSuccess;
}

void let_host_reach(bool reach)
{
	for (const auto &one : blocks())
		if (one.second.kind == DEVICE)
			emu::guarded_let_host_reach((void *)one.first, one.second.bytes, reach);
}

/* Works the queue off, up to `until` where there is one. False: it is not done yet. */
bool work_off(emu_stream *stream, const mark *until)
{
	while (!stream->queue.empty() && !(until && until->passed)) {
		if (!stream->queue.front()())
			return false;
		stream->queue.pop_front();
	}
	return true;
}

/* The same from outside. */
bool run(emu_stream *stream, const mark *until)
{
	const one_call lock(calls);
	bool done;

	if (until ? until->passed : stream->queue.empty())
		return true;
	let_host_reach(true);
	done = work_off(stream, until);
	let_host_reach(false);
	return done;
}

cudaError_t release(void *memory)
{
	const one_call lock(calls);
	auto found = blocks().find((const char *)memory);

	if (!memory)
		return cudaSuccess;
	if (found == blocks().end() || any_capturing)
		return fails(cudaErrorInvalidValue);
	if (found->second.kind != PINNED) {
		memory_used -= found->second.bytes;
		emu::race_remove(memory);
	}
	emu::guarded_free(memory, found->second.bytes);
	blocks().erase(found);
	return cudaSuccess;
}

} // namespace

void emu_set_memory(size_t bytes)
{
	memory_total = memory_used + bytes;
}

void emu_set_driver(int version)
{
	driver_version = version;
}

void emu_lend(const void *memory, size_t bytes)
{
	lent_blocks()[(const char *)memory] = bytes;
}

void emu_set_refused_launch(uint64_t n)
{
	refuse_in = n;
}

struct emu_calls emu_calls_made(void)
{
	return made;
}

namespace emu
{

void stream_enqueue(cudaStream_t stream, std::function<bool()> step)
{
	enqueue_work(stream, std::move(step));
}

bool is_device_memory(const void *p, size_t bytes)
{
	return lies_in(DEVICE, p, bytes);
}

int device_ordinal()
{
	return device;
}

bool is_recording()
{
	return any_capturing;
}

void spoil_recording(cudaStream_t stream)
{
	stream->broken = true;
}

void leave_error(cudaError_t status)
{
	fails(status);
}

bool is_for_kernels(const void *p)
{
	const one_call lock(calls);
	const auto *found = block_of(p);

	if (found)
		return found->second.kind != PINNED;
	for (const auto &lent : lent_blocks())
		if ((const char *)p >= lent.first && (const char *)p < lent.first + lent.second)
			return true;
	return false;
}

void launch(const char *name, const void *kernel, const void *arguments, size_t bytes,
	void (*call)(const void *kernel, const void *arguments), dim3 grid, dim3 block,
	size_t shared_bytes, cudaStream_t stream)
{
	const std::shared_ptr<void> copy(malloc(bytes), free);
	const bound_kernel k = {name, kernel, copy, bytes, call};
	const uint64_t threads = (uint64_t)block.x * block.y * block.z;
	const auto allowed = allowed_shared.find(kernel);

	memcpy(copy.get(), arguments, bytes);
	if (refuse_in > 0 && --refuse_in == 0) {
		fails(cudaErrorInvalidConfiguration);
		return;
	}
	if (threads == 0 || threads > 1024 || block.z > 64 || grid.x == 0 || grid.y == 0 ||
		grid.z == 0 || grid.x > 0x7fffffffu || grid.y > 65535 || grid.z > 65535 ||
		shared_bytes > (allowed != allowed_shared.end() ? allowed->second : SMALL_SHARED)) {
		fprintf(stderr,
			"emu: kernel %s: refused a launch of (%u, %u, %u) blocks of (%u, %u, %u) "
			"threads with %zu bytes of shared memory\n",
			name, grid.x, grid.y, grid.z, block.x, block.y, block.z, shared_bytes);
		fails(cudaErrorInvalidConfiguration);
		return;
	}
	if (threads % 32 != 0)
		emu_fail("%s is launched with %llu threads, not whole warps", name,
			(unsigned long long)threads);
	refuse_host_pointers(k);
	enqueue(stream, [=] { run_grid(k, grid, block, shared_bytes); });
}

} // namespace emu

cudaError_t cudaGetDeviceCount(int *count)
{
	*count = driver_version / 1000 < RUNTIME_VERSION / 1000 ? 0 : N_DEVICES;
	return *count ? cudaSuccess : fails(cudaErrorInsufficientDriver);
}

cudaError_t cudaDriverGetVersion(int *version)
{
	*version = driver_version;
	return cudaSuccess;
}

cudaError_t cudaRuntimeGetVersion(int *version)
{
	*version = RUNTIME_VERSION;
	return cudaSuccess;
}

cudaError_t cudaGetDeviceProperties(struct cudaDeviceProp *out, int ordinal)
{
	if (ordinal < 0 || ordinal >= N_DEVICES)
		return fails(cudaErrorInvalidDevice);
	*out = cudaDeviceProp();
	snprintf(out->name, sizeof out->name, "kernels on the CPU");
	snprintf(out->uuid.bytes, sizeof out->uuid.bytes, "emulated GPU %d", ordinal);
	out->totalGlobalMem = memory_total;
	out->sharedMemPerBlockOptin = MOST_SHARED;
	out->multiProcessorCount = 4;
	out->major = 8;
	return cudaSuccess;
}

cudaError_t cudaSetDevice(int ordinal)
{
	if (ordinal < 0 || ordinal >= N_DEVICES)
		return fails(cudaErrorInvalidDevice);
	device = ordinal;
	return cudaSuccess;
}

cudaError_t cudaGetLastError(void)
{
	const cudaError_t status = last_error;

	last_error = cudaSuccess;
	return status;
}

cudaError_t cudaPeekAtLastError(void)
{
	return last_error;
}

const char *cudaGetErrorName(cudaError_t status)
{
	switch (status) {
	case cudaSuccess:
		return "cudaSuccess";
	case cudaErrorMemoryAllocation:
		return "cudaErrorMemoryAllocation";
	case cudaErrorInvalidConfiguration:
		return "cudaErrorInvalidConfiguration";
	case cudaErrorInvalidDevice:
		return "cudaErrorInvalidDevice";
	default:
		return "cudaError";
	}
}

const char *cudaGetErrorString(cudaError_t status)
{
	switch (status) {
	case cudaSuccess:
		return "no error";
	case cudaErrorMemoryAllocation:
		return "out of memory";
	case cudaErrorInvalidConfiguration:
		return "invalid configuration argument";
	case cudaErrorInvalidDevice:
		return "invalid device ordinal";
	default:
		return "an error";
	}
}

cudaError_t cudaMemGetInfo(size_t *free_bytes, size_t *total)
{
	*free_bytes = memory_total - memory_used;
	*total = memory_total;
	return cudaSuccess;
}

cudaError_t cudaMalloc(void **out, size_t bytes)
{
	return allocate(out, bytes, DEVICE);
}

/* With cudaHostAllocMapped; the host may write there unseen. */
cudaError_t cudaHostAlloc(void **out, size_t bytes, unsigned)
{
	const cudaError_t status = allocate(out, bytes, MAPPED);

	made.mapped++;
	if (status == cudaSuccess)
		emu::race_written(*out, bytes);
	return status;
}

cudaError_t cudaMallocHost(void **out, size_t bytes)
{
	return allocate(out, bytes, PINNED);
}

cudaError_t cudaFree(void *memory)
{
	return release(memory);
}

cudaError_t cudaFreeHost(void *memory)
{
	return release(memory);
}

cudaError_t cudaStreamCreateWithFlags(cudaStream_t *out, unsigned)
{
	*out = new emu_stream();
	return cudaSuccess;
}

cudaError_t cudaStreamDestroy(cudaStream_t stream)
{
	cudaStreamSynchronize(stream);
	delete stream;
	return cudaSuccess;
}

/* As long as it takes: for ever, when what it waits for never comes. */
cudaError_t cudaStreamSynchronize(cudaStream_t stream)
{
	if (!stream)
		return cudaSuccess;
	made.waits++;
	if (stream->capturing) {
		stream->broken = true;
		return fails(cudaErrorStreamCaptureUnsupported);
	}
	while (!run(stream, nullptr))
		usleep(100);
	return cudaSuccess;
}

cudaError_t cudaStreamQuery(cudaStream_t stream)
{
	return run(stream, nullptr) ? cudaSuccess : fails(cudaErrorNotReady);
}

cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned)
{
	const std::shared_ptr<mark> last = event->last;

	if (last && last->stream != stream)
		enqueue_work(stream,
			[last] { return work_off(last->stream, last.get()) && last->passed; });
	return cudaSuccess;
}

cudaError_t cudaMemcpyAsync(void *to, const void *from, size_t bytes, enum cudaMemcpyKind kind,
	cudaStream_t stream)
{
	if (kind == cudaMemcpyDefault)
		kind = !is_device(from) ? cudaMemcpyHostToDevice
		       : is_device(to)  ? cudaMemcpyDeviceToDevice
					: cudaMemcpyDeviceToHost;
	else if ((kind != cudaMemcpyDeviceToHost) != is_device(to) ||
		 (kind != cudaMemcpyHostToDevice) != is_device(from))
		return fails(cudaErrorInvalidValue);
	made.copies_to_device += kind == cudaMemcpyHostToDevice;
	made.bytes_to_device += kind == cudaMemcpyHostToDevice ? bytes : 0;
	made.copies_to_host += kind == cudaMemcpyDeviceToHost;
	if (kind == cudaMemcpyHostToDevice && !lies_in(PINNED, from, bytes) &&
		!lies_in(MAPPED, from, bytes)) {
		auto staged = std::make_shared<std::vector<char>>((const char *)from,
			(const char *)from + bytes);

		if (stream && stream->capturing)
			stream->broken = true;
		enqueue(stream, [=] {
			memcpy(to, staged->data(), bytes);
			emu::race_written(to, bytes);
		});
		return cudaSuccess;
	}
	enqueue(stream, [=] {
		memcpy(to, from, bytes);
		emu::race_written(to, bytes);
	});
	return cudaSuccess;
}

cudaError_t cudaMemsetAsync(void *to, int value, size_t bytes, cudaStream_t stream)
{
	if (!emu::is_for_kernels(to))
		return fails(cudaErrorInvalidValue);
	enqueue(stream, [=] {
		memset(to, value, bytes);
		emu::race_written(to, bytes);
	});
	return cudaSuccess;
}

cudaError_t cudaEventCreateWithFlags(cudaEvent_t *out, unsigned)
{
	*out = new emu_event();
	return cudaSuccess;
}

cudaError_t cudaEventDestroy(cudaEvent_t event)
{
	delete event;
	return cudaSuccess;
}

cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream)
{
	const auto now = std::make_shared<mark>(mark{stream, false});

	enqueue(stream, [now] { now->passed = true; });
	event->last = now;
	return cudaSuccess;
}

cudaError_t cudaEventQuery(cudaEvent_t event)
{
	const std::shared_ptr<mark> last = event->last;

	if (!last || run(last->stream, last.get()))
		return cudaSuccess;
	return fails(cudaErrorNotReady);
}

cudaError_t cudaEventSynchronize(cudaEvent_t event)
{
	const std::shared_ptr<mark> last = event->last;

	made.waits++;
	while (last && !run(last->stream, last.get()))
		usleep(100);
	return cudaSuccess;
}

cudaError_t cudaStreamBeginCapture(cudaStream_t stream, enum cudaStreamCaptureMode)
{
	if (stream->capturing)
		return fails(cudaErrorInvalidValue);
	stream->capturing = any_capturing = true;
	stream->broken = false;
	stream->captured.clear();
	return cudaSuccess;
}

cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t *out)
{
	*out = NULL;
	if (!stream->capturing)
		return fails(cudaErrorInvalidValue);
	stream->capturing = any_capturing = false;
	if (stream->broken)
		return fails(cudaErrorStreamCaptureUnsupported);
	made.recordings++;
	*out = new emu_graph();
	(*out)->steps.swap(stream->captured);
	return cudaSuccess;
}

cudaError_t cudaGraphInstantiate(cudaGraphExec_t *out, cudaGraph_t graph, unsigned long long)
{
	*out = new emu_graph(*graph);
	return cudaSuccess;
}

/* The graph may be freed before the stream gets to it. */
cudaError_t cudaGraphLaunch(cudaGraphExec_t graph, cudaStream_t stream)
{
	made.replays++;
	for (const work &step : graph->steps)
		enqueue_work(stream, step);
	return cudaSuccess;
}

cudaError_t cudaGraphDestroy(cudaGraph_t graph)
{
	delete graph;
	return cudaSuccess;
}

cudaError_t cudaGraphExecDestroy(cudaGraphExec_t graph)
{
	delete graph;
	return cudaSuccess;
}

cudaError_t cudaFuncSetAttribute(const void *kernel, enum cudaFuncAttribute attribute, int value)
{
	if (attribute != cudaFuncAttributeMaxDynamicSharedMemorySize || value < 0 ||
		(size_t)value > MOST_SHARED)
		return fails(cudaErrorInvalidValue);
	allowed_shared[kernel] = (size_t)value;
	return cudaSuccess;
}

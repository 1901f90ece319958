/* SPDX-License-Identifier: MIT
 *
 * device.c - opening a device by name, and what is asked of it. Contract: ops.h. The only file that
 * knows which backends a build has. Tests: tests/test_ops.c.
 */
#include "kernels/backend.h"

#include "host/base/memory.h"
#ifdef SAENGINE_CPU
#include "kernels/cpu/levels.h"
#endif
#ifdef SAENGINE_CUDA
#include "kernels/cuda/names.h"
#endif
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The cores this process may use, so that a job scheduler's binding is respected. */
static int n_cores(void)
{
	cpu_set_t set;

	if (sched_getaffinity(0, sizeof set, &set) == 0)
		return CPU_COUNT(&set);
	return (int)sysconf(_SC_NPROCESSORS_ONLN); /* more than the set has room for */
}

static int open_numbered(struct device **out, const struct backend *backend, int n_threads,
	int ordinal, struct err *err)
{
	struct device *dev = calloc(1, sizeof *dev);

	*out = NULL;
	if (!dev)
		return err_nomem(err, "a device", sizeof *dev);
	dev->backend = backend;
	dev->ordinal = ordinal;
	dev->n_threads = n_threads > 0 ? n_threads : n_cores();
	if (backend->open)
		TRY(backend->open(dev, err));
	if (!*dev->description)
		snprintf(dev->description, sizeof dev->description, "%s, %d thread%s",
			backend->name, dev->n_threads, dev->n_threads == 1 ? "" : "s");
	if (!*dev->arithmetic)
		snprintf(dev->arithmetic, sizeof dev->arithmetic, "%s", backend->name);
	*out = dev;
	return 0;
fail:
	device_close(dev);
	return err->code;
}

int device_open_backend(struct device **out, const struct backend *backend, int n_threads,
	struct err *err)
{
	return open_numbered(out, backend, n_threads, 0, err);
}

int device_open(struct device **out, const char *name, int n_threads, struct err *err)
{
	const struct backend *backend = NULL;
	int ordinal = 0;

	*out = NULL;
	if (strcmp(name, "cpu") == 0 || strncmp(name, "cpu:", 4) == 0) {
#ifdef SAENGINE_CPU
		bool known = true;

		backend = name[3] ? cpu_backend_level(name + 4, &known) : cpu_backend_best();
		if (known && !backend)
			return err_set(err, ERR_DEVICE,
				"device \"%s\": this processor cannot run that level", name);
#else
		return err_set(err, ERR_DEVICE,
			"device \"%s\": this build has no CPU backend, as it was made without oneDNN; "
			"use \"cuda:0\"",
			name);
#endif
	} else if (strncmp(name, "cuda", 4) == 0) {
#ifdef SAENGINE_CUDA
		backend = cuda_backend_named(name, &ordinal);
#else
		return err_set(err, ERR_DEVICE,
			"device \"%s\": this build has no CUDA backend; use \"cpu\", or build with "
			"`cmake --preset cuda`",
			name);
#endif
	}
	if (!backend)
		return err_set(err, ERR_CONFIG,
			"device \"%s\": expected \"cpu\", \"cpu:LEVEL\" (LEVEL is one of "
			"x86-64-v2, "
			"x86-64-v3, x86-64-v4, generic), \"cuda:N\" or \"cuda:N:f32\"",
			name);
	return open_numbered(out, backend, n_threads, ordinal, err);
}

#ifndef SAENGINE_CPU
const char *const *device_cpu_levels(void)
{
	static const char *const none[] = {NULL};

	return none;
}
#endif

void device_close(struct device *dev)
{
	if (!dev)
		return;
	device_abandon(dev);
	if (dev->backend->close)
		dev->backend->close(dev);
	free(dev);
}

const char *device_description(const struct device *dev)
{
	return dev->description;
}

const char *device_arithmetic(const struct device *dev)
{
	return dev->arithmetic;
}

enum dtype device_activation(const struct device *dev)
{
	return dev->backend->activation;
}

enum dtype device_operand(const struct device *dev, enum dtype weight)
{
	return dev->backend->rounds_products && weight == DTYPE_BF16 ? DTYPE_BF16
								     : dev->backend->activation;
}

bool device_is_host(const struct device *dev)
{
	return dev->backend->is_host;
}

bool device_rounds_products(const struct device *dev)
{
	return dev->backend->rounds_products;
}

void device_make_invariant(struct device *dev)
{
	dev->invariant = true;
}

int device_threads(const struct device *dev)
{
	return dev->n_threads;
}

int device_alloc(struct device *dev, size_t bytes, void **out, struct err *err)
{
	return dev->backend->alloc(dev, bytes, out, err);
}

void device_free(struct device *dev, void *memory)
{
	if (memory)
		dev->backend->release(dev, memory);
}

int device_upload(struct device *dev, void *to, const void *from, size_t bytes, struct err *err)
{
	return bytes ? dev->backend->upload(dev, to, from, bytes, err) : 0;
}

int device_download(struct device *dev, void *to, const void *from, size_t bytes, struct err *err)
{
	return bytes ? dev->backend->download(dev, to, from, bytes, err) : 0;
}

size_t device_piece_bytes(const struct device *dev)
{
	return dev->backend->piece_bytes;
}

int device_piece(struct device *dev, void **piece, struct err *err)
{
	return dev->backend->piece(dev, piece, err);
}

int device_piece_send(struct device *dev, const struct device_part *parts, size_t n,
	struct err *err)
{
	return dev->backend->piece_send(dev, parts, n, err);
}

/* ---- teams ----------------------------------------------------------------------------- */

bool device_card(const struct device *dev, char card[DEVICE_CARD])
{
	if (dev->backend->team)
		return dev->backend->team->card(dev, card);
	snprintf(card, DEVICE_CARD, "%s",
		dev->backend->async ? "this build has no NCCL" : "its device is the CPU");
	return false;
}

int device_ticket(struct device *dev, char ticket[DEVICE_TICKET], struct err *err)
{
	return dev->backend->team->ticket(dev, ticket, err);
}

int device_join(struct device *dev, const char *ticket, const struct device_team *team,
	struct err *err)
{
	dev->team = *team;
	if (dev->backend->team->join(dev, ticket, err))
		return err->code;
	dev->joined = true;
	return 0;
}

int device_leave(struct device *dev, struct err *err)
{
	const bool joined = dev->joined;

	dev->joined = false;
	return joined ? dev->backend->team->leave(dev, err) : 0;
}

void device_abandon(struct device *dev)
{
	if (dev->joined)
		dev->backend->team->abandon(dev);
	dev->joined = false;
}

int device_upload_weights(struct device *dev, void *to, const void *from, size_t bytes,
	struct err *err)
{
	if (!dev->joined)
		return device_upload(dev, to, from, bytes, err);
	if (bytes == 0 || dev->backend->team->upload(dev, to, from, bytes, err) == 0)
		return 0;
	dev->joined = false;
	return err->code;
}

bool device_gives_weights(const struct device *dev)
{
	return !dev->joined || dev->team.rank == 0;
}

bool device_is_joined(const struct device *dev)
{
	return dev->joined;
}

size_t device_allocated(const struct device *dev)
{
	return dev->allocated;
}

size_t device_peak(const struct device *dev)
{
	return dev->peak;
}

/* ---- devices that run behind the host --------------------------------------------------- */

bool device_free_memory(struct device *dev, size_t *bytes)
{
	struct err ignored;

	return dev->backend->async && dev->backend->async->free_memory(dev, bytes, &ignored) == 0;
}

size_t device_total_memory(const struct device *dev)
{
	return dev->total;
}

size_t device_working_bytes(const struct device *dev)
{
	return dev->working;
}

int device_wait(struct device *dev, struct err *err)
{
	return dev->backend->async ? dev->backend->async->wait(dev, err) : 0;
}

void device_make_synchronous(struct device *dev)
{
	if (dev->backend->async)
		dev->backend->async->make_synchronous(dev);
}

bool device_records(const struct device *dev)
{
	return dev->backend->async != NULL;
}

int device_graph_begin(struct device *dev, struct err *err)
{
	return dev->backend->async->graph_begin(dev, err);
}

int device_graph_end(struct device *dev, struct device_graph **out, struct err *err)
{
	return dev->backend->async->graph_end(dev, out, err);
}

bool device_graph_holds(const struct device *dev, const struct device_graph *graph)
{
	return dev->backend->async->graph_holds(dev, graph);
}

int device_graph_replay(struct device *dev, struct device_graph *graph, struct err *err)
{
	return dev->backend->async->graph_replay(dev, graph, err);
}

void device_graph_free(struct device *dev, struct device_graph *graph)
{
	if (graph)
		dev->backend->async->graph_free(dev, graph);
}

int device_copy_begin(struct device *dev, struct tensor from, enum dtype as,
	struct device_copy **out, struct err *err)
{
	const struct async_backend *async = dev->backend->async;
	struct tensor to = from;
	struct device_copy *copy;

	*out = NULL;
	if (async)
		return async->copy_begin(dev, from, as, out, err);
	to.dtype = as;
	copy = memory_alloc(sizeof *copy + HOST_ALIGNMENT + tensor_bytes(to));
	if (!copy)
		return err_nomem(err, "values on their way to the host", tensor_bytes(to));
	*copy = (struct device_copy){dev, (char *)copy + HOST_ALIGNMENT};
	to.data = copy->host;
	if (as == from.dtype)
		memcpy(to.data, from.data, tensor_bytes(from));
	else if (dev->backend->to_half(dev, from, to, err))
		goto fail;
	*out = copy;
	return 0;
fail:
	free(copy);
	return err->code;
}

int device_copy_wait(struct device_copy *copy, const void **host, struct err *err)
{
	const struct async_backend *async = copy->dev->backend->async;

	*host = copy->host;
	return async ? async->copy_wait(copy, err) : 0;
}

void device_copy_end(struct device_copy *copy)
{
	if (copy->dev->backend->async)
		copy->dev->backend->async->copy_end(copy);
	else
		free(copy);
}

int device_copies_fence(struct device *dev, struct err *err)
{
	return dev->backend->async ? dev->backend->async->copies_fence(dev, err) : 0;
}

size_t device_op_times(const struct device *dev, struct op_time *out, size_t capacity)
{
	static const char *const names[] = {
#define OP_NAME(name) #name,
		OP_NAMES(OP_NAME)
#undef OP_NAME
	};
	size_t n = 0;

	for (int i = 0; i < N_OPS && n < capacity; i++)
		if (dev->times[i].calls)
			out[n++] = (struct op_time){names[i], dev->times[i].seconds,
				dev->times[i].flops, dev->times[i].bytes, dev->times[i].calls};
	return n;
}

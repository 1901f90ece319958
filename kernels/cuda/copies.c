/* SPDX-License-Identifier: MIT
 *
 * copies.c - values that leave for the host while ops go on. Contract: device_copy_begin in ops.h.
 * Tests: tests/emu/test_device.c.
 *
 * A few pinned buffers, each with an event, and a stream of their own: it waits, on the device, for
 * the ops asked so far, copies, and records the event, for which whoever wants the values waits in
 * a thread of his own. The stream of the ops waits for the last event where a fence is asked for.
 * What is to arrive in float16 is made so by an op, in device memory of the buffer. A buffer grows
 * to the largest copy it has carried; nothing is allocated after that.
 */
#include "kernels/cuda/cuda.h"

#include <pthread.h>
#include <stdlib.h>

enum { BUFFERS = 4 };

/* A buffer, and the copy that it carries while busy. */
struct buffer {
	struct device_copy copy; /* first: a copy is its buffer */
	size_t capacity;
	void *halves; /* device */
	size_t halves_capacity;
	cudaEvent_t arrived;
	bool busy;
};

struct cuda_copies {
	cudaStream_t stream;
	cudaEvent_t asked; /* the ops before the newest copy */
	struct buffer buffers[BUFFERS], *newest;
	pthread_mutex_t lock; /* of every `busy` */
	pthread_cond_t freed;
};

int cuda_copies_open(struct device *dev, struct err *err)
{
	struct cuda_copies *c = calloc(1, sizeof *c);

	if (!c)
		return err_nomem(err, "copies to the host", sizeof *c);
	cuda_state_of(dev)->copies = c;
	pthread_mutex_init(&c->lock, NULL);
	pthread_cond_init(&c->freed, NULL);
	TRY(cuda_check(cudaStreamCreateWithFlags(&c->stream, cudaStreamNonBlocking), "device",
		"cudaStreamCreate", err));
	TRY(cuda_check(cudaEventCreateWithFlags(&c->asked, cudaEventDisableTiming), "device",
		"cudaEventCreate", err));
	for (int i = 0; i < BUFFERS; i++)
		TRY(cuda_check(cudaEventCreateWithFlags(&c->buffers[i].arrived,
				       cudaEventDisableTiming),
			"device", "cudaEventCreate", err));
	return 0;
fail:
	return err->code;
}

void cuda_copies_close(struct device *dev)
{
	struct cuda_copies *c = cuda_state_of(dev)->copies;

	if (!c)
		return;
	if (c->stream)
		cudaStreamSynchronize(c->stream);
	for (int i = 0; i < BUFFERS; i++) {
		if (c->buffers[i].arrived)
			cudaEventDestroy(c->buffers[i].arrived);
		if (c->buffers[i].copy.host)
			cudaFreeHost(c->buffers[i].copy.host);
		device_free(dev, c->buffers[i].halves);
	}
	if (c->asked)
		cudaEventDestroy(c->asked);
	if (c->stream)
		cudaStreamDestroy(c->stream);
	pthread_cond_destroy(&c->freed);
	pthread_mutex_destroy(&c->lock);
	free(c);
	cuda_state_of(dev)->copies = NULL;
}

/* A free buffer; of several the one that grows least. */
static struct buffer *take_buffer(struct cuda_copies *c, size_t bytes)
{
	struct buffer *best = NULL;

	pthread_mutex_lock(&c->lock);
	while (!best) {
		for (int i = 0; i < BUFFERS; i++) {
			struct buffer *b = &c->buffers[i];

			if (!b->busy &&
				(!best || (best->capacity < bytes && b->capacity > best->capacity)))
				best = b;
		}
		if (!best)
			pthread_cond_wait(&c->freed, &c->lock);
	}
	best->busy = true;
	pthread_mutex_unlock(&c->lock);
	return best;
}

static int grow_host(struct buffer *b, size_t bytes, struct err *err)
{
	if (bytes <= b->capacity)
		return 0;
	if (b->copy.host)
		cudaFreeHost(b->copy.host);
	b->copy.host = NULL;
	b->capacity = 0;
	TRY(cuda_check(cudaMallocHost(&b->copy.host, bytes), "copy to the host", "cudaMallocHost",
		err));
	b->capacity = bytes;
	return 0;
fail:
	return err->code;
}

/* From here on `from` are the buffer's own. */
static int make_halves(struct device *dev, struct buffer *b, struct tensor *from, struct err *err)
{
	struct tensor halves = *from;

	halves.dtype = DTYPE_F16;
	if (tensor_bytes(halves) > b->halves_capacity) {
		device_free(dev, b->halves);
		b->halves = NULL;
		b->halves_capacity = 0;
		TRY(device_alloc(dev, tensor_bytes(halves), &b->halves, err));
		b->halves_capacity = tensor_bytes(halves);
	}
	halves.data = b->halves;
	TRY(cuda_to_half(dev, *from, halves, err));
	*from = halves;
	return 0;
fail:
	return err->code;
}

int cuda_copy_begin(struct device *dev, struct tensor from, enum dtype as, struct device_copy **out,
	struct err *err)
{
	struct cuda_state *state = cuda_state_of(dev);
	struct cuda_copies *c = state->copies;
	const size_t bytes = tensor_count(from) * dtype_bytes(as);
	struct buffer *b;

	if (state->recording)
		return err_set(err, ERR_INTERNAL, "a copy of %zu bytes to the host while recording",
			bytes);
	b = take_buffer(c, bytes);
	b->copy.dev = dev;
	TRY(grow_host(b, bytes, err));
	if (as != from.dtype)
		TRY(make_halves(dev, b, &from, err));
	TRY(cuda_check(cudaEventRecord(c->asked, state->stream), "copy to the host",
		"cudaEventRecord", err));
	TRY(cuda_check(cudaStreamWaitEvent(c->stream, c->asked, 0), "copy to the host",
		"cudaStreamWaitEvent", err));
	TRY(cuda_check(cudaMemcpyAsync(b->copy.host, from.data, bytes,
			       cuda_kind(dev, cudaMemcpyDeviceToHost), c->stream),
		"copy to the host", "cudaMemcpyAsync", err));
	TRY(cuda_check(cudaEventRecord(b->arrived, c->stream), "copy to the host",
		"cudaEventRecord", err));
	c->newest = b;
	*out = &b->copy;
	return 0;
fail:
	cuda_copy_end(&b->copy);
	return err->code;
}

/* The stream keeps copies in order, so that the last stands for all. */
int cuda_copies_fence(struct device *dev, struct err *err)
{
	const struct cuda_copies *c = cuda_state_of(dev)->copies;

	if (!c->newest)
		return 0;
	return cuda_check(cudaStreamWaitEvent(cuda_stream(dev), c->newest->arrived, 0),
		"copy to the host", "cudaStreamWaitEvent", err);
}

int cuda_copy_wait(struct device_copy *copy, struct err *err)
{
	const struct buffer *b = (const struct buffer *)copy;

	/* A thread that has chosen no device would begin a context on the first one. */
	TRY(cuda_check(cudaSetDevice(copy->dev->ordinal), "copy to the host", "cudaSetDevice",
		err));
	return cuda_check(cudaEventSynchronize(b->arrived), "copy to the host",
		"an op before it failed", err);
fail:
	return err->code;
}

void cuda_copy_end(struct device_copy *copy)
{
	struct cuda_copies *c = cuda_state_of(copy->dev)->copies;

	pthread_mutex_lock(&c->lock);
	((struct buffer *)copy)->busy = false;
	pthread_cond_signal(&c->freed);
	pthread_mutex_unlock(&c->lock);
}

void cuda_copies_drain(struct device *dev)
{
	cudaStreamSynchronize(cuda_state_of(dev)->copies->stream);
}

/* SPDX-License-Identifier: MIT
 *
 * device_fixture.c - Contract: device_fixture.h. Device memory is host memory for every backend
 * tested this way.
 */
#include "tests/device_fixture.h"

#include "kernels/backend.h"

#include <stdio.h>
#include <stdlib.h>

struct device *fixture_device(const struct backend *backend, int n_threads)
{
	struct device *dev;
	struct err err;

	if (backend ? device_open_backend(&dev, backend, n_threads, &err)
		    : device_open(&dev, "cpu", n_threads, &err)) {
		test_fail(__FILE__, __LINE__, "%s", err.text);
		exit(1);
	}
	return dev;
}

void fixture_init(struct fixture *f, struct device *dev, uint64_t seed)
{
	*f = (struct fixture){.dev = dev, .random = {seed}};
}

void fixture_free(struct fixture *f)
{
	while (f->n_blocks > 0)
		device_free(f->dev, f->blocks[--f->n_blocks]);
}

static void *block(struct fixture *f, size_t bytes)
{
	struct err err;
	void *memory;

	if (f->n_blocks == sizeof f->blocks / sizeof *f->blocks ||
		device_alloc(f->dev, bytes, &memory, &err)) {
		fprintf(stderr, "device_fixture: no room for another block\n");
		exit(1);
	}
	return f->blocks[f->n_blocks++] = memory;
}

double fixture_get(struct tensor t, size_t i)
{
	if (t.dtype == DTYPE_BF16)
		return bf16_to_f32(((uint16_t *)t.data)[i]);
	return t.dtype == DTYPE_F64 ? ((double *)t.data)[i] : ((float *)t.data)[i];
}

void fixture_set(struct tensor t, size_t i, double value)
{
	if (t.dtype == DTYPE_F64)
		((double *)t.data)[i] = value;
	else
		((float *)t.data)[i] = (float)value;
}

static struct tensor make(struct fixture *f, enum dtype dtype, size_t rows, size_t cols)
{
	return (struct tensor){block(f, rows * cols * dtype_bytes(dtype) + 1), dtype, rows, cols};
}

struct tensor fixture_activation(struct fixture *f, size_t rows, size_t cols, double scale)
{
	struct tensor t = make(f, device_activation(f->dev), rows, cols);

	for (size_t i = 0; i < rows * cols; i++) {
		const float value = (float)(scale * test_random_uniform(&f->random));

		fixture_set(t, i, f->coarse ? bf16_to_f32(f32_to_bf16(value)) : value);
	}
	return t;
}

struct tensor fixture_zeros(struct fixture *f, size_t rows, size_t cols)
{
	struct tensor t = make(f, device_activation(f->dev), rows, cols);

	for (size_t i = 0; i < rows * cols; i++)
		fixture_set(t, i, 0);
	return t;
}

struct tensor fixture_weight(struct fixture *f, enum dtype dtype, size_t rows, size_t cols,
	double scale)
{
	struct tensor t = make(f, dtype, rows, cols);

	for (size_t i = 0; i < rows * cols; i++) {
		const float value = (float)(scale * test_random_uniform(&f->random));

		if (dtype == DTYPE_BF16)
			((uint16_t *)t.data)[i] = f32_to_bf16(value);
		else if (dtype == DTYPE_F16)
			((uint16_t *)t.data)[i] = f32_to_f16(value);
		else
			((float *)t.data)[i] = value;
	}
	return t;
}

struct tensor fixture_vector(struct fixture *f, size_t n, double scale)
{
	return fixture_weight(f, DTYPE_F32, 1, n, scale);
}

int32_t *fixture_ids(struct fixture *f, const int32_t *ids, size_t n)
{
	int32_t *copy = block(f, n * sizeof *ids + 1);

	for (size_t i = 0; i < n; i++)
		copy[i] = ids[i];
	return copy;
}

float *fixture_floats(struct fixture *f, const float *values, size_t n)
{
	float *copy = block(f, n * sizeof *values + 1);

	for (size_t i = 0; i < n; i++)
		copy[i] = values[i];
	return copy;
}

int32_t *fixture_random_ids(struct fixture *f, size_t n, size_t below)
{
	int32_t *ids = block(f, n * sizeof *ids + 1);

	for (size_t i = 0; i < n; i++)
		ids[i] = (int32_t)test_random_below(&f->random, below);
	return ids;
}

/* SPDX-License-Identifier: MIT
 *
 * device_fixture.h - tensors for tests of ops: the same seeded values on every backend.
 */
#ifndef SAENGINE_DEVICE_FIXTURE_H
#define SAENGINE_DEVICE_FIXTURE_H

#include "kernels/ops.h"
#include "tests/test.h"

struct backend;

/* Memory of one case on one device, freed together. */
struct fixture {
	struct device *dev;
	struct test_random random;
	bool coarse; /* activations are exact in bfloat16; false after fixture_init */
	void *blocks[64];
	size_t n_blocks;
};

/* An open device of a backend; NULL: the best CPU level. Without it the program ends. */
struct device *fixture_device(const struct backend *backend, int n_threads);

void fixture_init(struct fixture *f, struct device *dev, uint64_t seed);
void fixture_free(struct fixture *f);

/* Uniform in [-scale, scale), exactly representable in `precision`, so that every backend gets
 * equal values. An activation has the device's type. */
struct tensor fixture_activation(struct fixture *f, size_t rows, size_t cols, double scale);
struct tensor fixture_zeros(struct fixture *f, size_t rows, size_t cols);
struct tensor fixture_weight(struct fixture *f, enum dtype dtype, size_t rows, size_t cols,
	double scale);
struct tensor fixture_vector(struct fixture *f, size_t n, double scale);
int32_t *fixture_ids(struct fixture *f, const int32_t *ids, size_t n);
float *fixture_floats(struct fixture *f, const float *values, size_t n);
int32_t *fixture_random_ids(struct fixture *f, size_t n, size_t below);

/* Element i of an activation, a float32 or (to read) a bfloat16 tensor, as double. */
double fixture_get(struct tensor t, size_t i);
void fixture_set(struct tensor t, size_t i, double value);

#endif

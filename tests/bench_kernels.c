/* SPDX-License-Identifier: MIT
 *
 * bench_kernels.c - rates of the kernels that carry the time, against what this machine can do:
 * matrix products against a large float32 product by oneDNN on one thread times the threads, and
 * decoding (few rows) against reading the same bytes. The last column is the rate of a device made
 * invariant (ops.h) over this one's. Medians of interleaved rounds; not a test.
 *
 *   build/cpu/bench_kernels [threads]
 */
#include "host/base/clock.h"
#include "kernels/backend.h"
#include "tests/bench_median.h"
#include "tests/device_fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ROUNDS = 9 };

struct product {
	const char *name;
	size_t rows, in, out;
	enum dtype dtype;
	bool backward;
	struct tensor x, W, y;
	double seconds[ROUNDS], invariant[ROUNDS];
};

static struct product products[] = {
	{.name = "peak: float32 2048 x 2048 x 2048", .rows = 2048, .in = 2048, .out = 2048},
	{.name = "prefill, tiny up", .rows = 1280, .in = 128, .out = 384, .dtype = DTYPE_BF16},
	{.name = "prefill, tiny down", .rows = 1280, .in = 384, .out = 128, .dtype = DTYPE_BF16},
	{.name = "prefill, 300M up", .rows = 512, .in = 1024, .out = 4096, .dtype = DTYPE_BF16},
	{.name = "prefill, 300M down", .rows = 512, .in = 4096, .out = 1024, .dtype = DTYPE_BF16},
	{.name = "prefill, 2b up", .rows = 512, .in = 2304, .out = 9216, .dtype = DTYPE_BF16},
	{.name = "backward, tiny up",
		.rows = 1280,
		.in = 128,
		.out = 384,
		.dtype = DTYPE_BF16,
		.backward = true},
	{.name = "backward, 300M up",
		.rows = 512,
		.in = 1024,
		.out = 4096,
		.dtype = DTYPE_BF16,
		.backward = true},
	{.name = "64 rows, 300M up", .rows = 64, .in = 1024, .out = 4096, .dtype = DTYPE_BF16},
	{.name = "decode 32, 300M up", .rows = 32, .in = 1024, .out = 4096, .dtype = DTYPE_BF16},
	{.name = "decode 16, 300M up", .rows = 16, .in = 1024, .out = 4096, .dtype = DTYPE_BF16},
	{.name = "decode 4, 300M up", .rows = 4, .in = 1024, .out = 4096, .dtype = DTYPE_BF16},
	{.name = "decode 1, 300M up", .rows = 1, .in = 1024, .out = 4096, .dtype = DTYPE_BF16},
	{.name = "decode 32, tiny up", .rows = 32, .in = 128, .out = 384, .dtype = DTYPE_BF16},
	{.name = "decode 1, tiny up", .rows = 1, .in = 128, .out = 384, .dtype = DTYPE_BF16},
};
enum { N_PRODUCTS = sizeof products / sizeof *products };

static double run_product(struct device *dev, struct product *p)
{
	const double flops = 2.0 * (double)p->rows * (double)p->in * (double)p->out;
	const int repeats = flops < 1e9 ? (int)(1e9 / flops) + 1 : 1;
	struct err err;
	double start;

	start = clock_seconds();
	for (int i = 0; i < repeats; i++)
		if (p->backward ? op_linear_backward(dev, p->y, p->W, 0, p->x, &err)
				: op_linear(dev, p->x, p->W, (struct tensor){0}, p->y, &err)) {
			fprintf(stderr, "%s\n", err.text);
			exit(1);
		}
	return (clock_seconds() - start) / repeats;
}

int main(int argc, char **argv)
{
	const int n_threads = argc > 1 ? atoi(argv[1]) : 0;
	struct device *dev, *invariant;
	struct fixture f;
	struct err err;
	double peak;

	if (device_open(&dev, "cpu", n_threads, &err) ||
		device_open(&invariant, "cpu", n_threads, &err)) {
		fprintf(stderr, "%s\n", err.text);
		return err.code;
	}
	device_make_invariant(invariant);
	fixture_init(&f, dev, 1);
	for (size_t i = 0; i < N_PRODUCTS; i++) {
		struct product *p = &products[i];

		p->x = fixture_activation(&f, p->rows, p->in, 1);
		p->W = fixture_weight(&f, p->dtype, p->out, p->in, 1);
		p->y = fixture_zeros(&f, p->rows, p->out);
	}
	for (int round = 0; round < ROUNDS; round++)
		for (size_t i = 0; i < N_PRODUCTS; i++) {
			products[i].seconds[round] = run_product(dev, &products[i]);
			products[i].invariant[round] = run_product(invariant, &products[i]);
		}
	printf("%s\n%-36s %10s %10s %8s %10s\n", device_description(dev), "product", "GFLOP/s",
		"weight GB/s", "of peak", "invariant");
	peak = 2 * 2048.0 * 2048 * 2048 / median(products[0].seconds, ROUNDS);
	for (size_t i = 0; i < N_PRODUCTS; i++) {
		const struct product *p = &products[i];
		const double seconds = median(products[i].seconds, ROUNDS);
		const double flops = 2.0 * (double)p->rows * (double)p->in * (double)p->out;

		printf("%-36s %10.1f %10.1f %8.2f %10.2f\n", p->name, flops / seconds * 1e-9,
			(double)tensor_bytes(p->W) / seconds * 1e-9, flops / seconds / peak,
			seconds / median(products[i].invariant, ROUNDS));
	}
	fixture_free(&f);
	device_close(invariant);
	device_close(dev);
	return 0;
}

/* SPDX-License-Identifier: MIT
 *
 * sae_input.c - what a sparse autoencoder's input does to a row, and the scale by which it is
 * undone. Contract: ops.h, cpu.h. Definition: kernels/ref/sae.c.
 */
#include "kernels/cpu/cpu.h"
#include "kernels/cpu/simd.h"

#include <math.h>
#include <stdlib.h>

struct cpu_sae_input CPU(sae_input_of)(enum sae_input kind, const float *x, size_t d)
{
	float sum = 0, mean, sd;

	if (kind == SAE_INPUT_RAW)
		return (struct cpu_sae_input){0, 1, 1, 0};
	if (kind == SAE_INPUT_SPHERE) {
		const float s = sqrtf(v_dot(x, x, d)) / sqrtf((float)d);

		return (struct cpu_sae_input){0, s > 0 ? s : 1, s, 0};
	}
	for (size_t j = 0; j < d; j++)
		sum += x[j];
	mean = sum / (float)d;
	sum = 0;
	for (size_t j = 0; j < d; j++)
		sum += (x[j] - mean) * (x[j] - mean);
	sd = sqrtf(sum / (float)(d - 1));
	return (struct cpu_sae_input){mean, sd + 1e-5f, sd, mean};
}

struct input_call {
	enum sae_input kind;
	struct tensor x, out; /* out: u, or s of each row */
};

static void input_rows(void *context, size_t first, size_t end, int thread)
{
	const struct input_call *c = context;

	(void)thread;
	for (size_t i = first; i < end; i++)
		cpu_sae_input_apply(CPU(sae_input_of)(c->kind, row_of(c->x, i), c->x.cols),
			row_of(c->x, i), row_out(c->out, i), c->x.cols);
}

int CPU(sae_input)(struct device *dev, enum sae_input kind, struct tensor x, struct tensor *u,
	float **memory, struct err *err)
{
	struct input_call c = {kind, x, x};

	*memory = NULL;
	*u = x;
	if (kind == SAE_INPUT_RAW)
		return 0;
	*memory = memory_alloc(tensor_bytes(x) + 1);
	if (!*memory)
		return err_nomem(err, "the input of an SAE", tensor_bytes(x));
	c.out.data = u->data = *memory;
	cpu_run(dev, x.rows, 4 * x.cols, input_rows, &c);
	return 0;
}

static void scale_rows(void *context, size_t first, size_t end, int thread)
{
	const struct input_call *c = context;

	(void)thread;
	for (size_t i = first; i < end; i++)
		*row_out(c->out, i) = CPU(sae_input_of)(c->kind, row_of(c->x, i), c->x.cols).s;
}

int CPU(sae_scale)(struct device *dev, enum sae_input kind, struct tensor x, struct tensor scale,
	struct err *err)
{
	struct input_call c = {kind, x, scale};

	(void)err;
	cpu_run(dev, x.rows, 2 * x.cols, scale_rows, &c);
	return 0;
}

/* SPDX-License-Identifier: MIT
 *
 * sae_decode.c - from sparse rows of features back to the residual stream, features of them by id,
 * and the cosine of decoder rows with a direction. Contract: ops.h. Definition: kernels/ref/sae.c.
 *
 * A thread owns whole rows and adds their decoder rows in the order of the entries, so the result
 * does not depend on the number of threads.
 */
#include "kernels/cpu/cpu.h"
#include "kernels/cpu/simd.h"

#include <math.h>

static float entry_of(const struct csr *f, size_t row, int32_t id)
{
	int32_t low = f->indptr[row], high = f->indptr[row + 1];

	while (low < high) { /* the first entry not below id lies in [low, high] */
		const int32_t middle = low + (high - low) / 2;

		if (f->indices[middle] < id)
			low = middle + 1;
		else
			high = middle;
	}
	return low < f->indptr[row + 1] && f->indices[low] == id
		       ? ((const float *)f->values.data)[low]
		       : 0;
}

int CPU(csr_select)(struct device *dev, const struct csr *f, const int32_t *id, struct tensor out,
	struct err *err)
{
	(void)dev, (void)err;
	for (size_t i = 0; i < out.rows; i++)
		for (size_t j = 0; j < out.cols; j++)
			row_out(out, i)[j] = entry_of(f, i, id[j]);
	return 0;
}

struct rows_call {
	struct device *dev;
	const struct sae_weights *sae;
	const struct csr *f;
	struct tensor W, x, out;
	const float *v;
	float norm_v;
};

static void decode_rows(void *context, size_t first, size_t end, int thread)
{
	const struct rows_call *c = context;
	const size_t d = c->out.cols;

	for (size_t row = first; row < end; row++) {
		memcpy(row_out(c->out, row), c->sae->b_dec.data, d * sizeof(float));
		for (int32_t e = c->f->indptr[row]; e < c->f->indptr[row + 1]; e++)
			v_axpy(row_of(c->f->values, 0)[e],
				CPU(weight_floats)(c->sae->W_dec, (size_t)c->f->indices[e] * d, d,
					cpu_scratch(c->dev, thread)),
				row_out(c->out, row), d);
		if (c->sae->input != SAE_INPUT_RAW) {
			const struct cpu_sae_input in = CPU(sae_input_of)(c->sae->input,
				row_of(c->x, row), d);
			float *to = row_out(c->out, row);

			for (size_t j = 0; j < d; j++)
				to[j] = in.s * to[j] + in.m;
		}
	}
}

int CPU(sae_decode)(struct device *dev, const struct sae_weights *sae, struct tensor x,
	const struct csr *f, struct tensor x_hat, struct err *err)
{
	struct rows_call c = {.dev = dev, .sae = sae, .f = f, .x = x, .out = x_hat};

	(void)err;
	if (x_hat.rows > 0)
		cpu_run(dev, x_hat.rows,
			((size_t)f->indptr[x_hat.rows] / x_hat.rows + 1) * x_hat.cols, decode_rows,
			&c);
	return 0;
}

static void cosine_rows(void *context, size_t first, size_t end, int thread)
{
	const struct rows_call *c = context;
	const size_t d = c->W.cols;

	for (size_t i = first; i < end; i++) {
		const float *w = CPU(weight_floats)(c->W, i * d, d, cpu_scratch(c->dev, thread));
		const float norms = sqrtf(v_dot(w, w, d)) * c->norm_v;

		*row_out(c->out, i) = norms > 0 ? v_dot(w, c->v, d) / norms : 0;
	}
}

int CPU(row_cosine)(struct device *dev, struct tensor W, struct tensor v, struct tensor out,
	struct err *err)
{
	struct rows_call c = {.dev = dev, .W = W, .out = out, .v = v.data};

	(void)err;
	c.norm_v = sqrtf(v_dot(c.v, c.v, W.cols));
	cpu_run(dev, W.rows, 2 * W.cols, cosine_rows, &c);
	return 0;
}

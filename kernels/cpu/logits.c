/* SPDX-License-Identifier: MIT
 *
 * logits.c - what is read off next-token distributions. Contract: ops.h.
 * Definition: kernels/ref/logits.c.
 */
#include "kernels/cpu/cpu.h"
#include "kernels/cpu/simd.h"

#include <math.h>

int CPU(softcap)(struct device *dev, double cap, struct tensor x, struct err *err)
{
	const vf up = v_set((float)cap), down = v_set((float)(1 / cap));
	const size_t n = x.cols;

	(void)dev, (void)err;
	if (cap == 0)
		return 0;
#pragma omp parallel for schedule(static) if (tensor_count(x) > CPU_WORTH_THREADS / 8)
	for (size_t i = 0; i < x.rows; i++) {
		float *row = row_out(x, i);

		for (size_t j = 0; j < n; j += VW)
			v_store_n(row + j, up * v_tanh(v_load_n(row + j, n - j) * down), n - j);
	}
	return 0;
}

int CPU(argmax)(struct device *dev, struct tensor logits, int32_t *out, struct err *err)
{
	(void)dev, (void)err;
#pragma omp parallel for schedule(static) if (tensor_count(logits) > CPU_WORTH_THREADS)
	for (size_t i = 0; i < logits.rows; i++) {
		const float *row = row_of(logits, i);
		size_t best = 0;

		for (size_t j = 1; j < logits.cols; j++)
			if (row[j] > row[best])
				best = j;
		out[i] = (int32_t)best;
	}
	return 0;
}

static float log_sum_exp(const float *x, size_t n)
{
	vf max = v_set(x[0]), sum = {0};
	float top;

	for (size_t j = 0; j + VW <= n; j += VW)
		max = v_max(v_load(x + j), max);
	top = v_max_of(max);
	for (size_t j = n / VW * VW; j < n; j++)
		top = x[j] > top ? x[j] : top;
	for (size_t j = 0; j < n; j += VW) {
		const size_t m = n - j;
		vf e = v_exp(v_load_n(x + j, m) - v_set(top));

		for (size_t k = m; k < VW; k++)
			e[k] = 0;
		sum += e;
	}
	return top + logf(v_sum(sum));
}

int CPU(token_logprob)(struct device *dev, struct tensor logits, const int32_t *token,
	struct tensor out, struct err *err)
{
	(void)dev, (void)err;
#pragma omp parallel for schedule(static) if (tensor_count(logits) > CPU_WORTH_THREADS / 8)
	for (size_t i = 0; i < logits.rows; i++)
		*row_out(out, i) =
			row_of(logits, i)[token[i]] - log_sum_exp(row_of(logits, i), logits.cols);
	return 0;
}

int CPU(kl)(struct device *dev, struct tensor p, struct tensor q, struct tensor out,
	struct err *err)
{
	const size_t n = p.cols;

	(void)dev, (void)err;
#pragma omp parallel for schedule(static) if (tensor_count(p) > CPU_WORTH_THREADS / 8)
	for (size_t i = 0; i < p.rows; i++) {
		const float *a = row_of(p, i), *b = row_of(q, i);
		const float log_p = log_sum_exp(a, n), log_q = log_sum_exp(b, n);
		vf sum = {0};

		for (size_t j = 0; j < n; j += VW) {
			const vf log_a = v_load_n(a + j, n - j) - v_set(log_p);
			const vf log_b = v_load_n(b + j, n - j) - v_set(log_q);
			vf term = v_exp(log_a) * (log_a - log_b);

			for (size_t k = n - j; k < VW; k++)
				term[k] = 0;
			sum += term;
		}
		*row_out(out, i) = v_sum(sum);
	}
	return 0;
}

int CPU(selected_logits)(struct device *dev, struct tensor y, struct tensor E,
	const int32_t *token, double softcap, struct tensor out, struct err *err)
{
	const size_t d = y.cols, m = out.cols;

	(void)err;
#pragma omp parallel for schedule(static) if (tensor_count(y) > CPU_WORTH_THREADS)
	for (size_t i = 0; i < y.rows; i++) {
		for (size_t j = 0; j < m; j++) {
			const size_t t = (size_t)token[i * m + j];
			const float *e = CPU(weight_floats)(E, t * d, d, CPU(scratch)(dev));
			const float z = v_dot(row_of(y, i), e, d);

			row_out(out, i)[j] =
				softcap != 0 ? (float)softcap * tanhf(z / (float)softcap) : z;
		}
	}
	return 0;
}

int CPU(selected_logits_backward)(struct device *dev, struct tensor dout, struct tensor out,
	struct tensor E, const int32_t *token, double softcap, struct tensor dy, struct err *err)
{
	const size_t d = dy.cols, m = dout.cols;

	(void)err;
#pragma omp parallel for schedule(static) if (tensor_count(dy) > CPU_WORTH_THREADS)
	for (size_t i = 0; i < dy.rows; i++) {
		memset(row_out(dy, i), 0, d * sizeof(float));
		for (size_t j = 0; j < m; j++) {
			const size_t t = (size_t)token[i * m + j];
			const float *e = CPU(weight_floats)(E, t * d, d, CPU(scratch)(dev));
			const float tanh_z = softcap != 0 ? row_of(out, i)[j] / (float)softcap : 0;

			v_axpy(row_of(dout, i)[j] * (1 - tanh_z * tanh_z), e, row_out(dy, i), d);
		}
	}
	return 0;
}

/* SPDX-License-Identifier: MIT
 *
 * logits.c - what is read off next-token distributions. Contract: ops.h.
 * Twin: kernels/cpu/logits.c.
 */
#include "kernels/ref/ref.h"

#include <math.h>

static double capped(double cap, double x)
{
	return cap != 0 ? cap * tanh(x / cap) : x;
}

int ref_softcap(struct device *dev, double cap, struct tensor x, struct err *err)
{
	(void)dev, (void)err;
	if (cap == 0)
		return 0;
	for (size_t i = 0; i < x.rows; i++)
		for (size_t j = 0; j < x.cols; j++)
			set(x, i, j, capped(cap, get(x, i, j)));
	return 0;
}

int ref_argmax(struct device *dev, double cap, struct tensor logits, int32_t *out,
	struct tensor lead, struct err *err)
{
	(void)dev, (void)err;
	for (size_t i = 0; i < logits.rows; i++) {
		double top = -INFINITY, next = -INFINITY;
		bool finite = true;

		for (size_t j = 0; j < logits.cols; j++) {
			const double z = capped(cap, get(logits, i, j));

			finite &= isfinite(get(logits, i, j));
			if (z > top) {
				next = top;
				top = z;
				out[i] = (int32_t)j;
			} else {
				next = fmax(next, z);
			}
		}
		if (!finite)
			out[i] = -1;
		if (lead.data)
			set(lead, i, 0, top - next);
	}
	return 0;
}

/* log sum_j exp(x[i, j]) */
static double log_sum_exp(struct tensor x, size_t i)
{
	double max = get(x, i, 0), sum = 0;

	for (size_t j = 1; j < x.cols; j++)
		max = fmax(max, get(x, i, j));
	for (size_t j = 0; j < x.cols; j++)
		sum += exp(get(x, i, j) - max);
	return max + log(sum);
}

int ref_token_logprob(struct device *dev, struct tensor logits, const int32_t *token,
	struct tensor out, struct err *err)
{
	(void)dev, (void)err;
	for (size_t i = 0; i < logits.rows; i++)
		set(out, i, 0, get(logits, i, (size_t)token[i]) - log_sum_exp(logits, i));
	return 0;
}

int ref_kl(struct device *dev, struct tensor p, struct tensor q, struct tensor out, struct err *err)
{
	(void)dev, (void)err;
	for (size_t i = 0; i < p.rows; i++) {
		const double log_p = log_sum_exp(p, i), log_q = log_sum_exp(q, i);
		double sum = 0;

		for (size_t j = 0; j < p.cols; j++) {
			const double a = get(p, i, j) - log_p, b = get(q, i, j) - log_q;

			sum += exp(a) * (a - b);
		}
		set(out, i, 0, sum);
	}
	return 0;
}

int ref_selected_logits(struct device *dev, struct tensor y, struct tensor E, const int32_t *token,
	double softcap, struct tensor out, struct err *err)
{
	(void)dev, (void)err;
	for (size_t i = 0; i < out.rows; i++) {
		for (size_t j = 0; j < out.cols; j++) {
			const double z = dot(y, i, E, (size_t)token[i * out.cols + j]);

			set(out, i, j, capped(softcap, z));
		}
	}
	return 0;
}

int ref_selected_logits_backward(struct device *dev, struct tensor dout, struct tensor out,
	struct tensor E, const int32_t *token, double softcap, struct tensor dy, struct err *err)
{
	(void)dev, (void)err;
	for (size_t i = 0; i < dy.rows; i++) {
		for (size_t k = 0; k < dy.cols; k++) {
			double sum = 0;

			for (size_t j = 0; j < dout.cols; j++) {
				/* cap tanh(z/cap) has slope 1 - tanh^2 = 1 - (out/cap)^2 */
				const double t = softcap != 0 ? get(out, i, j) / softcap : 0;

				sum += get(dout, i, j) * (1 - t * t) *
				       get(E, (size_t)token[i * dout.cols + j], k);
			}
			set(dy, i, k, sum);
		}
	}
	return 0;
}

/* SPDX-License-Identifier: MIT
 *
 * logits.c - what is read off next-token distributions. Contract: ops.h.
 * Definition: kernels/ref/logits.c.
 */
#include "kernels/cpu/cpu.h"
#include "kernels/cpu/simd.h"

#include <math.h>

enum { EXP_COST = 8 }; /* of one exp or tanh, in units of a multiply-add */

struct call {
	struct device *dev;
	struct tensor a, b, out;
	const int32_t *token;
	int32_t *ids;
	float cap;
};

/* By rows: as mix_rows in edits.c. */
static void softcap_rows(void *context, size_t first, size_t end, int thread)
{
	const struct call *c = context;
	const vf up = v_set(c->cap), down = v_set(1 / c->cap);
	const size_t n = c->a.cols;

	(void)thread;
	for (size_t i = first; i < end; i++) {
		float *x = row_out(c->a, i);

		for (size_t j = 0; j < n; j += VW)
			v_store_n(x + j, up * v_tanh(v_load_n(x + j, n - j) * down), n - j);
	}
}

int CPU(softcap)(struct device *dev, double cap, struct tensor x, struct err *err)
{
	struct call c = {.a = x, .cap = (float)cap};

	(void)err;
	if (cap != 0)
		cpu_run(dev, x.rows, EXP_COST * x.cols, softcap_rows, &c);
	return 0;
}

/* Minus infinity of none. */
static float largest(const float *x, size_t n)
{
	vf top = v_set(-INFINITY);
	float max;

	for (size_t j = 0; j + VW <= n; j += VW)
		top = v_max(v_load(x + j), top);
	max = v_max_of(top);
	for (size_t j = n / VW * VW; j < n; j++)
		max = x[j] > max ? x[j] : max;
	return max;
}

/* The logit as softcap_rows leaves it. */
static float capped(float cap, float x)
{
	return cap != 0 ? (v_set(cap) * v_tanh(v_set(x) * v_set(1 / cap)))[0] : x;
}

/* The first logit that reaches `least` when capped. */
static size_t first_capped(const struct call *c, const float *row, float least)
{
	size_t at = 0;

	while (at + 1 < c->a.cols && !(capped(c->cap, row[at]) >= least))
		at++;
	return at;
}

/* Capped logits are in the order of the logits, so only the largest two need be capped; if those
 * are equal then, ones below them may be as well, of which the first is wanted. */
static void argmax_rows(void *context, size_t first, size_t end, int thread)
{
	const struct call *c = context;
	const size_t n = c->a.cols;

	(void)thread;
	for (size_t i = first; i < end; i++) {
		const float *row = row_of(c->a, i);
		const float max = largest(row, n), top = capped(c->cap, max);
		float before, after, next;
		size_t at = 0;

		while (at + 1 < n && row[at] != max)
			at++;
		before = largest(row, at);
		after = largest(row + at + 1, n - at - 1);
		next = before > after ? before : after;
		if (n > 1)
			next = capped(c->cap, next);
		if (c->cap != 0 && next >= top)
			at = first_capped(c, row, next);
		c->ids[i] = v_all_finite(row, n) ? (int32_t)at : -1;
		if (c->out.data)
			*row_out(c->out, i) = fabsf(top - next);
	}
}

int CPU(argmax)(struct device *dev, double cap, struct tensor logits, int32_t *out,
	struct tensor lead, struct err *err)
{
	struct call c = {.a = logits, .out = lead, .ids = out, .cap = (float)cap};

	(void)err;
	cpu_run(dev, logits.rows, 3 * logits.cols, argmax_rows, &c);
	return 0;
}

static float log_sum_exp(const float *x, size_t n)
{
	const float top = largest(x, n);
	vf sum = {0};

	for (size_t j = 0; j < n; j += VW) {
		const size_t m = n - j;
		vf e = v_exp(v_load_n(x + j, m) - v_set(top));

		for (size_t k = m; k < VW; k++)
			e[k] = 0;
		sum += e;
	}
	return top + logf(v_sum(sum));
}

static void logprob_rows(void *context, size_t first, size_t end, int thread)
{
	const struct call *c = context;

	(void)thread;
	for (size_t i = first; i < end; i++)
		*row_out(c->out, i) = row_of(c->a, i)[c->token[i]] -
				      log_sum_exp(row_of(c->a, i), c->a.cols);
}

int CPU(token_logprob)(struct device *dev, struct tensor logits, const int32_t *token,
	struct tensor out, struct err *err)
{
	struct call c = {.a = logits, .token = token, .out = out};

	(void)err;
	cpu_run(dev, logits.rows, EXP_COST * logits.cols, logprob_rows, &c);
	return 0;
}

static void kl_rows(void *context, size_t first, size_t end, int thread)
{
	const struct call *c = context;
	const size_t n = c->a.cols;

	(void)thread;
	for (size_t i = first; i < end; i++) {
		const float *a = row_of(c->a, i), *b = row_of(c->b, i);
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
		*row_out(c->out, i) = v_sum(sum);
	}
}

int CPU(kl)(struct device *dev, struct tensor p, struct tensor q, struct tensor out,
	struct err *err)
{
	struct call c = {.a = p, .b = q, .out = out};

	(void)err;
	cpu_run(dev, p.rows, 3 * EXP_COST * p.cols, kl_rows, &c);
	return 0;
}

/* a = y or dout, b = E, out = logits or dy. */
static void selected_rows(void *context, size_t first, size_t end, int thread)
{
	const struct call *c = context;
	const size_t d = c->a.cols, m = c->out.cols;

	for (size_t i = first; i < end; i++) {
		for (size_t j = 0; j < m; j++) {
			const float *e = CPU(weight_floats)(c->b, (size_t)c->token[i * m + j] * d,
				d, cpu_scratch(c->dev, thread));
			const float z = v_dot(row_of(c->a, i), e, d);

			row_out(c->out, i)[j] = c->cap != 0 ? c->cap * tanhf(z / c->cap) : z;
		}
	}
}

int CPU(selected_logits)(struct device *dev, struct tensor y, struct tensor E, const int32_t *token,
	double softcap, struct tensor out, struct err *err)
{
	struct call c = {dev, y, E, out, token, NULL, (float)softcap};

	(void)err;
	cpu_run(dev, y.rows, y.cols * out.cols, selected_rows, &c);
	return 0;
}

struct selected_backward {
	struct call call;
	struct tensor logits;
};

static void selected_backward_rows(void *context, size_t first, size_t end, int thread)
{
	const struct selected_backward *s = context;
	const struct call *c = &s->call;
	const size_t d = c->out.cols, m = c->a.cols;

	for (size_t i = first; i < end; i++) {
		memset(row_out(c->out, i), 0, d * sizeof(float));
		for (size_t j = 0; j < m; j++) {
			const float *e = CPU(weight_floats)(c->b, (size_t)c->token[i * m + j] * d,
				d, cpu_scratch(c->dev, thread));
			const float t = c->cap != 0 ? row_of(s->logits, i)[j] / c->cap : 0;

			v_axpy(row_of(c->a, i)[j] * (1 - t * t), e, row_out(c->out, i), d);
		}
	}
}

int CPU(selected_logits_backward)(struct device *dev, struct tensor dout, struct tensor out,
	struct tensor E, const int32_t *token, double softcap, struct tensor dy, struct err *err)
{
	struct selected_backward s = {{dev, dout, E, dy, token, NULL, (float)softcap}, out};

	(void)err;
	cpu_run(dev, dy.rows, dy.cols * dout.cols, selected_backward_rows, &s);
	return 0;
}

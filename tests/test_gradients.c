/* SPDX-License-Identifier: MIT
 *
 * test_gradients.c - every backward op of the float64 reference against central differences of
 * its forward op. (test_ops.c ties the other backends to the reference.)
 *
 * For L = sum(c y(x)) with random c, the directional derivative along random r is compared:
 *   (L(x + h r) - L(x - h r)) / 2h  against  sum(r dx),   h = 1e-5,
 * whose error is about h^2 |L'''| + 1e-16/h: 1e-7 relative is demanded.
 */
#include "tests/device_fixture.h"

#include "kernels/ref/ref.h"

#include <math.h>
#include <stdlib.h>

enum { N_INPUTS = 3 };

/* A function of up to three tensors, its output, and its gradients. */
struct problem {
	struct device *dev;
	struct fixture f;
	struct tensor in[N_INPUTS], grad[N_INPUTS], out, cotangent;
	size_t n_inputs;
	int (*forward)(struct problem *, struct err *);
	int (*backward)(struct problem *, struct err *);
	/* what the ops need besides */
	struct norm norm;
	struct tensor w, rstd, lse, table[2];
	int32_t *ids;
	struct attention a;
	struct rows rows;
	struct keys keys;
	enum activation activation;
	double softcap;
};

static void open_problem(struct problem *p, uint64_t seed)
{
	struct err err;

	*p = (struct problem){0};
	if (device_open_backend(&p->dev, &backend_ref_f64, 1, &err))
		exit(1);
	fixture_init(&p->f, p->dev, seed);
}

static double loss(struct problem *p, struct err *err)
{
	double sum = 0;

	if (p->forward(p, err))
		return NAN;
	for (size_t i = 0; i < tensor_count(p->out); i++)
		sum += fixture_get(p->out, i) * fixture_get(p->cotangent, i);
	return sum;
}

static void check_gradients(struct problem *p)
{
	const double h = 1e-5;
	struct err err;

	p->cotangent = fixture_activation(&p->f, p->out.rows, p->out.cols, 1);
	REQUIRE(!isnan(loss(p, &err)), "forward: %s", err.text);
	REQUIRE_OK(p->backward(p, &err), &err);
	for (size_t k = 0; k < p->n_inputs; k++) {
		const size_t n = tensor_count(p->in[k]);
		struct tensor r = fixture_activation(&p->f, p->in[k].rows, p->in[k].cols, 1);
		struct tensor x = fixture_zeros(&p->f, p->in[k].rows, p->in[k].cols);
		double along = 0, plus, minus, slope;

		for (size_t i = 0; i < n; i++) {
			fixture_set(x, i, fixture_get(p->in[k], i));
			along += fixture_get(r, i) * fixture_get(p->grad[k], i);
		}
		for (size_t i = 0; i < n; i++)
			fixture_set(p->in[k], i, fixture_get(x, i) + h * fixture_get(r, i));
		plus = loss(p, &err);
		for (size_t i = 0; i < n; i++)
			fixture_set(p->in[k], i, fixture_get(x, i) - h * fixture_get(r, i));
		minus = loss(p, &err);
		for (size_t i = 0; i < n; i++)
			fixture_set(p->in[k], i, fixture_get(x, i));
		slope = (plus - minus) / (2 * h);
		CHECK(fabs(slope) > 1e-3, "input %zu: the case has no slope to speak of", k);
		CHECK(fabs(slope - along) <= 1e-7 * fabs(slope) + 1e-9,
			"input %zu: difference quotient %.12g, gradient %.12g", k, slope, along);
	}
	fixture_free(&p->f);
	device_close(p->dev);
}

static int forward_norm(struct problem *p, struct err *err)
{
	return op_rmsnorm(p->dev, p->norm, p->in[0], p->w, p->out, p->rstd, err);
}

static int backward_norm(struct problem *p, struct err *err)
{
	return op_rmsnorm_backward(p->dev, p->norm, p->in[0], p->w, p->rstd, p->cotangent, 0,
		p->grad[0], err);
}

TEST(rmsnorm_backward_is_the_derivative_of_rmsnorm)
{
	for (int plus_one = 0; plus_one <= 1; plus_one++) {
		struct problem p;

		open_problem(&p, 11);
		p.norm = (struct norm){1e-3, plus_one};
		p.w = fixture_vector(&p.f, 13, 1);
		p.in[0] = fixture_activation(&p.f, 4, 13, 1);
		p.grad[0] = fixture_zeros(&p.f, 4, 13);
		p.out = fixture_zeros(&p.f, 4, 13);
		p.rstd = fixture_zeros(&p.f, 4, 1);
		p.n_inputs = 1;
		p.forward = forward_norm;
		p.backward = backward_norm;
		check_gradients(&p);
	}
}

static int forward_linear(struct problem *p, struct err *err)
{
	return op_linear(p->dev, p->in[0], p->w, (struct tensor){0}, p->out, err);
}

static int backward_linear(struct problem *p, struct err *err)
{
	return op_linear_backward(p->dev, p->cotangent, p->w, 0, p->grad[0], err);
}

TEST(linear_backward_is_the_derivative_of_linear)
{
	struct problem p;

	open_problem(&p, 12);
	p.w = fixture_weight(&p.f, DTYPE_BF16, 9, 7, 1);
	p.in[0] = fixture_activation(&p.f, 3, 7, 1);
	p.grad[0] = fixture_zeros(&p.f, 3, 7);
	p.out = fixture_zeros(&p.f, 3, 9);
	p.n_inputs = 1;
	p.forward = forward_linear;
	p.backward = backward_linear;
	check_gradients(&p);
}

static int forward_rope(struct problem *p, struct err *err)
{
	if (op_scale(p->dev, 0, p->out, err) || op_axpy(p->dev, 1, p->in[0], p->out, err))
		return err->code;
	return op_rope(p->dev, 6, 1, p->table[0], p->table[1], p->ids, p->out, err);
}

static int backward_rope(struct problem *p, struct err *err)
{
	if (op_axpy(p->dev, 1, p->cotangent, p->grad[0], err))
		return err->code;
	return op_rope(p->dev, 6, -1, p->table[0], p->table[1], p->ids, p->grad[0], err);
}

TEST(the_inverse_rotation_is_the_derivative_of_rope)
{
	struct problem p;

	open_problem(&p, 13);
	p.table[0] = fixture_weight(&p.f, DTYPE_F32, 20, 3, 1);
	p.table[1] = fixture_weight(&p.f, DTYPE_F32, 20, 3, 1);
	p.ids = fixture_random_ids(&p.f, 5, 20);
	p.in[0] = fixture_activation(&p.f, 5, 12, 1);
	p.grad[0] = fixture_zeros(&p.f, 5, 12);
	p.out = fixture_zeros(&p.f, 5, 12);
	p.n_inputs = 1;
	p.forward = forward_rope;
	p.backward = backward_rope;
	check_gradients(&p);
}

static int forward_attention(struct problem *p, struct err *err)
{
	p->keys.k = p->in[1];
	p->keys.v = p->in[2];
	return op_attention(p->dev, &p->a, p->in[0], p->rows, &p->keys, p->out, p->lse, err);
}

static int backward_attention(struct problem *p, struct err *err)
{
	return op_attention_backward(p->dev, &p->a, p->in[0], p->rows, &p->keys, p->out, p->lse,
		p->cotangent, p->grad[0], p->grad[1], p->grad[2], err);
}

TEST(attention_backward_is_the_derivative_of_attention)
{
	/* Two sequences of own length 4 and 3 behind a prefix of 2; the second has only its last
	 * two rows as queries. */
	const int32_t seq[] = {0, 0, 0, 0, 1, 1}, pos[] = {2, 3, 4, 5, 3, 4}, start[] = {0, 4};
	const struct attention variants[] = {{4, 2, 5, 0.7, 0, 0}, {2, 2, 5, 0.7, 2, 0},
		{4, 1, 5, 1.1, 3, 3}};

	for (size_t i = 0; i < sizeof variants / sizeof *variants; i++) {
		struct problem p;
		size_t width, kv_width;

		open_problem(&p, 14 + i);
		p.a = variants[i];
		width = p.a.n_head * p.a.head_dim;
		kv_width = p.a.n_kv_head * p.a.head_dim;
		p.rows = (struct rows){6, fixture_ids(&p.f, seq, 6), fixture_ids(&p.f, pos, 6)};
		p.keys.start = fixture_ids(&p.f, start, 2);
		p.keys.n_seq = 2;
		p.keys.prefix_k = fixture_activation(&p.f, 2, kv_width, 1);
		p.keys.prefix_v = fixture_activation(&p.f, 2, kv_width, 1);
		p.in[0] = fixture_activation(&p.f, 6, width, 1);
		p.in[1] = fixture_activation(&p.f, 7, kv_width, 1);
		p.in[2] = fixture_activation(&p.f, 7, kv_width, 1);
		p.grad[0] = fixture_zeros(&p.f, 6, width);
		p.grad[1] = fixture_zeros(&p.f, 7, kv_width);
		p.grad[2] = fixture_zeros(&p.f, 7, kv_width);
		p.out = fixture_zeros(&p.f, 6, width);
		p.lse = fixture_zeros(&p.f, 6, p.a.n_head);
		p.n_inputs = 3;
		p.forward = forward_attention;
		p.backward = backward_attention;
		check_gradients(&p);
	}
}

static int forward_gated(struct problem *p, struct err *err)
{
	return op_gated(p->dev, p->activation, tensor_whole(p->in[0]), tensor_whole(p->in[1]),
		p->out, err);
}

static int backward_gated(struct problem *p, struct err *err)
{
	return op_gated_backward(p->dev, p->activation, tensor_whole(p->in[0]),
		tensor_whole(p->in[1]), p->cotangent, tensor_whole(p->grad[0]),
		tensor_whole(p->grad[1]), err);
}

TEST(gated_backward_is_the_derivative_of_gated)
{
	for (int activation = ACTIVATION_GELU_TANH; activation <= ACTIVATION_SILU; activation++) {
		struct problem p;

		open_problem(&p, 17);
		p.activation = (enum activation)activation;
		for (int k = 0; k < 2; k++) {
			p.in[k] = fixture_activation(&p.f, 3, 11, 2);
			p.grad[k] = fixture_zeros(&p.f, 3, 11);
		}
		p.out = fixture_zeros(&p.f, 3, 11);
		p.n_inputs = 2;
		p.forward = forward_gated;
		p.backward = backward_gated;
		check_gradients(&p);
	}
}

static int forward_selected(struct problem *p, struct err *err)
{
	return op_selected_logits(p->dev, p->in[0], p->w, p->ids, p->softcap, p->out, err);
}

static int backward_selected(struct problem *p, struct err *err)
{
	return op_selected_logits_backward(p->dev, p->cotangent, p->out, p->w, p->ids, p->softcap,
		p->grad[0], err);
}

TEST(selected_logits_backward_is_the_derivative_of_selected_logits)
{
	for (int cap = 0; cap <= 3; cap += 3) {
		struct problem p;

		open_problem(&p, 18);
		p.softcap = cap;
		p.w = fixture_weight(&p.f, DTYPE_BF16, 15, 8, 1);
		p.ids = fixture_random_ids(&p.f, 8, 15);
		p.in[0] = fixture_activation(&p.f, 4, 8, 1);
		p.grad[0] = fixture_zeros(&p.f, 4, 8);
		p.out = fixture_zeros(&p.f, 4, 2);
		p.n_inputs = 1;
		p.forward = forward_selected;
		p.backward = backward_selected;
		check_gradients(&p);
	}
}

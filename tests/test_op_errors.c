/* SPDX-License-Identifier: MIT
 *
 * test_op_errors.c - ops refuse wrong shapes and types in words that name op, tensor, expected and
 * found, before any backend sees them.
 */
#include "tests/device_fixture.h"

#include <string.h>

struct case_data {
	struct fixture f;
	struct tensor x, y, narrow; /* 3 x 8 and 3 x 4 */
	struct tensor W;            /* 5 x 8 */
	struct tensor w;            /* 8 */
	struct err err;
};

static int linear_of_wrong_width(struct case_data *c)
{
	return op_linear(c->f.dev, c->narrow, c->W, (struct tensor){0}, c->y, &c->err);
}

static int linear_without_room(struct case_data *c)
{
	return op_linear(c->f.dev, c->x, c->W, (struct tensor){0}, c->y, &c->err);
}

static int norm_with_bfloat16_weight(struct case_data *c)
{
	c->w.dtype = DTYPE_BF16;
	return op_rmsnorm(c->f.dev, (struct norm){.eps = 1e-6}, c->x, c->w, c->y,
		(struct tensor){0}, &c->err);
}

static int copy_to_nowhere(struct case_data *c)
{
	c->y.data = NULL;
	return op_copy(c->f.dev, c->x, c->y, &c->err);
}

static int rope_of_odd_heads(struct case_data *c)
{
	return op_rope(c->f.dev, 5, 1, c->x, c->x, NULL, c->x, &c->err);
}

static int accumulation_by_half(struct case_data *c)
{
	return op_linear_backward(c->f.dev, c->narrow, tensor_rows(c->W, 0, 4), 0.5, c->x, &c->err);
}

static int gradient_from_nowhere(struct case_data *c)
{
	const struct branch_end_back b = {.g = c->x, .keep = 1};

	return op_end_branch_backward(c->f.dev, &b, &c->err);
}

static int attention_of_uneven_groups(struct case_data *c)
{
	const struct attention a = {.n_head = 4, .n_kv_head = 3, .head_dim = 2};
	const struct keys keys = {0};

	return op_attention(c->f.dev, &a, c->x, (struct rows){.n = 3}, &keys, c->y,
		(struct tensor){0}, &c->err);
}

/* Of a device whose products do not round. */
static int attention_into_bfloat16(struct case_data *c)
{
	const struct attention a = {.n_head = 4, .n_kv_head = 4, .head_dim = 2};
	const struct tensor none = tensor_rows(c->x, 0, 0);
	const struct keys keys = {none, none, none, none, NULL, 0};

	return op_attention(c->f.dev, &a, c->x, (struct rows){.n = 3}, &keys,
		(struct tensor){c->y.data, DTYPE_BF16, 3, 8}, (struct tensor){0}, &c->err);
}

static struct sae_weights five_features(const struct case_data *c)
{
	return (struct sae_weights){.W_enc_t = c->W,
		.W_dec = c->W,
		.b_enc = {c->w.data, DTYPE_F32, 1, 5},
		.threshold = {c->w.data, DTYPE_F32, 1, 5}};
}

static int sparse_rows_that_differ(struct case_data *c)
{
	const struct sae_weights sae = five_features(c);
	struct csr out = {.n_rows = 2};

	return op_sae_encode(c->f.dev, &sae, c->x, &out, &c->err);
}

static int top_k_without_groups(struct case_data *c)
{
	struct sae_weights sae = five_features(c);
	struct csr out = {.n_rows = 3};

	sae.top_k = 2;
	return op_sae_encode(c->f.dev, &sae, c->x, &out, &c->err);
}

static int top_k_of_a_few(struct case_data *c)
{
	struct sae_weights sae = five_features(c);

	sae.top_k = 2;
	sae.group_width = 5;
	return op_sae_encode_selected(c->f.dev, &sae, c->x, c->y, &c->err);
}

static int gain_without_shift(struct case_data *c)
{
	struct sae_weights sae = five_features(c);
	struct csr out = {.n_rows = 3};

	sae.gain = sae.b_enc;
	return op_sae_encode(c->f.dev, &sae, c->x, &out, &c->err);
}

static int decode_without_its_input(struct case_data *c)
{
	struct sae_weights sae = five_features(c);
	const struct csr f = {.n_rows = 3, .values = {NULL, DTYPE_F32, 0, 1}};

	sae.b_dec = c->w;
	sae.input = SAE_INPUT_SPHERE;
	return op_sae_decode(c->f.dev, &sae, (struct tensor){0}, &f, c->y, &c->err);
}

static const struct {
	const char *text;
	int (*call)(struct case_data *c);
} cases[] = {
	{"op linear: W: expected shape [5, 4], found [5, 8]", linear_of_wrong_width},
	{"op linear: y: expected shape [3, 5], found [3, 8]", linear_without_room},
	{"op rmsnorm: w: expected float32, found bfloat16", norm_with_bfloat16_weight},
	{"op copy: y is absent", copy_to_nowhere},
	{"op rope: expected an even head_dim that divides the width", rope_of_odd_heads},
	{"op linear_backward: expected beta 0 or 1", accumulation_by_half},
	{"op end_branch_backward: expected beta 1, or 0 with a dh", gradient_from_nowhere},
	{"op attention: expected the number of heads to be a multiple of the number of key-value heads",
		attention_of_uneven_groups},
	{"op attention: out: expected float32, found bfloat16", attention_into_bfloat16},
	{"op sae_encode: out: expected 3 rows, found 2", sparse_rows_that_differ},
	{"op sae_encode: expected group_width with top_k", top_k_without_groups},
	{"op sae_encode_selected: expected an SAE without top_k, which needs every feature",
		top_k_of_a_few},
	{"op sae_encode: shift: expected shape [1, 5], found [0, 0]", gain_without_shift},
	{"op sae_decode: x: expected shape [3, 8], found [0, 0]", decode_without_its_input},
};

TEST(wrong_shapes_and_types_are_refused_in_words)
{
	struct device *dev = NULL;
	struct err err = {0};

	REQUIRE_OK(device_open(&dev, "cpu", 1, &err), &err);
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct case_data c = {0};

		fixture_init(&c.f, dev, i);
		c.x = fixture_activation(&c.f, 3, 8, 1);
		c.y = fixture_zeros(&c.f, 3, 8);
		c.narrow = fixture_activation(&c.f, 3, 4, 1);
		c.W = fixture_weight(&c.f, DTYPE_F32, 5, 8, 1);
		c.w = fixture_vector(&c.f, 8, 1);
		CHECK(cases[i].call(&c) == ERR_INTERNAL, "case %zu: code %d", i, c.err.code);
		CHECK(strcmp(c.err.text, cases[i].text) == 0, "case %zu says\n  %s\nexpected\n  %s",
			i, c.err.text, cases[i].text);
		fixture_free(&c.f);
	}
	device_close(dev);
}

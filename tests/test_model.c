/* SPDX-License-Identifier: MIT
 *
 * test_model.c - the transformer against Hugging Face transformers, on random models of awkward
 * shapes. Golden files: tests/golden/models, made by tests/golden/make_models.py in float64.
 *
 * Measure: max |difference| / max |expected| per tensor. Tolerances: 1e-5 forward and 1e-4
 * backward in float32, from the project's contract; for the engine in float64, 2e-6: what
 * remains is the golden file's own float32 storage and transformers' float32 norms and rotations.
 */
#include "host/model/generate.h"
#include "kernels/ref/ref.h"
#include "tests/golden_model.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* max |got[row_of(i)] - expected[i]| / max |expected| over n rows. */
static double worst_rows(struct tensor got, const size_t *row_of, const float *expected, size_t n,
	size_t cols)
{
	double scale = 0, worst = 0;

	for (size_t i = 0; i < n; i++) {
		for (size_t j = 0; j < cols; j++) {
			const double e = expected[i * cols + j];
			const double d = fabs(fixture_get(got,
						      (row_of ? row_of[i] : i) * cols + j) -
					      e);

			scale = fmax(scale, fabs(e));
			worst = isnan(d) ? INFINITY : fmax(worst, d);
		}
	}
	return worst / scale;
}

/* ---- against transformers -------------------------------------------------------------- */

/* dy of m = logit[j] - logit[r] for every out row. */
static int metric_gradient(struct golden *g, struct tensor dy)
{
	const struct arch *a = &g->model->arch;
	struct tensor logits = fixture_zeros(&g->f, dy.rows, 2);
	struct tensor dlogits = fixture_zeros(&g->f, dy.rows, 2);
	int32_t *pair = fixture_ids(&g->f, g->pair, 2 * g->n_prompts);

	for (size_t p = 0; p < dy.rows; p++) {
		fixture_set(dlogits, 2 * p, 1);
		fixture_set(dlogits, 2 * p + 1, -1);
	}
	if (op_selected_logits(g->dev, workspace_out(g->ws), g->model->unembedding, pair,
		    a->final_softcap, logits, &g->err))
		return g->err.code;
	return op_selected_logits_backward(g->dev, dlogits, logits, g->model->unembedding, pair,
		a->final_softcap, dy, &g->err);
}

static void check_against_transformers(struct golden *g, double forward_tolerance,
	double backward_tolerance)
{
	const struct arch *a = &g->model->arch;
	struct tensor resid[ARCH_MAX_LAYERS], grad[ARCH_MAX_LAYERS], dy, logits;
	const struct tap tap = {.kind = TAP_ACTIVATION, .out = resid};
	const struct pass pass = {.batch = &g->batch,
		.cache = &g->cache,
		.taps = &tap,
		.n_taps = 1};
	size_t last[MAX_PROMPTS];

	REQUIRE(pack_all(g, BATCH_OUT_LAST) == 0, "%s", g->err.text);
	for (size_t l = 0; l < a->n_layer; l++) {
		const size_t n = l + 1 < a->n_layer ? g->n_tokens : g->n_prompts;

		resid[l] = fixture_zeros(&g->f, n, a->d_model);
		grad[l] = fixture_zeros(&g->f, n, a->d_model);
	}
	REQUIRE(forward(g->ws, &pass, &g->err) == 0, "%s", g->err.text);
	dy = fixture_zeros(&g->f, g->n_prompts, a->d_model);
	REQUIRE(metric_gradient(g, dy) == 0, "%s", g->err.text);
	REQUIRE(backward(g->ws, &pass, dy, &(struct gradient){.out = grad, .weight = 1}, &g->err) ==
			0,
		"%s", g->err.text);

	for (size_t l = 0; l + 1 < a->n_layer; l++) {
		const double x = worst_rows(resid[l], NULL, golden_layer(g, "resid_post", l),
			g->n_tokens, a->d_model);
		const double d = worst_rows(grad[l], NULL, golden_layer(g, "grad", l), g->n_tokens,
			a->d_model);

		CHECK(x <= forward_tolerance, "%s: resid_post.%zu differs by %.2g", g->name, l, x);
		CHECK(d <= backward_tolerance, "%s: grad.%zu differs by %.2g", g->name, l, d);
	}
	for (size_t p = 0; p < g->n_prompts; p++) { /* the last layer: out rows only */
		const size_t l = a->n_layer - 1, row = g->first[p + 1] - 1;
		const double x = worst_rows(tensor_rows(resid[l], p, 1), NULL,
			golden_layer(g, "resid_post", l) + row * a->d_model, 1, a->d_model);
		const double d = worst_rows(tensor_rows(grad[l], p, 1), NULL,
			golden_layer(g, "grad", l) + row * a->d_model, 1, a->d_model);

		last[p] = p;
		CHECK(x <= forward_tolerance, "%s: resid_post.%zu of prompt %zu differs by %.2g",
			g->name, l, p, x);
		CHECK(d <= backward_tolerance, "%s: grad.%zu of prompt %zu differs by %.2g",
			g->name, l, p, d);
	}
	logits = fixture_zeros(&g->f, g->n_prompts, a->n_vocab);
	REQUIRE(op_linear(g->dev, workspace_out(g->ws), g->model->unembedding, (struct tensor){0},
			logits, &g->err) == 0 &&
			op_softcap(g->dev, a->final_softcap, logits, &g->err) == 0,
		"%s", g->err.text);
	CHECK(worst_rows(logits, last, golden_floats(g, "logits"), g->n_prompts, a->n_vocab) <=
			forward_tolerance,
		"%s: logits differ by %.2g", g->name,
		worst_rows(logits, last, golden_floats(g, "logits"), g->n_prompts, a->n_vocab));
}

TEST(logits_resid_post_and_gradients_of_the_cpu_agree_with_transformers)
{
	for (size_t i = 0; i < N_GOLDEN_MODELS; i++) {
		struct golden g;

		REQUIRE(golden_open(&g, golden_models[i], NULL) == 0, "%s", g.err.text);
		check_against_transformers(&g, 1e-5, 1e-4);
		golden_close(&g);
	}
}

TEST(logits_resid_post_and_gradients_of_the_float64_reference_agree_with_transformers)
{
	for (size_t i = 0; i < N_GOLDEN_MODELS; i++) {
		struct golden g;

		REQUIRE(golden_open(&g, golden_models[i], &backend_ref_f64) == 0, "%s", g.err.text);
		check_against_transformers(&g, 2e-6, 2e-6);
		golden_close(&g);
	}
}

TEST(a_model_with_an_adapter_computes_what_peft_computes_with_it_unmerged)
{
	for (size_t i = 0; i < N_GOLDEN_ADAPTERS; i++) {
		struct golden g;

		REQUIRE(golden_open_adapted(&g, &golden_adapters[i], NULL) == 0, "%s", g.err.text);
		check_against_transformers(&g, 1e-5, 1e-4);
		golden_close(&g);
	}
}

TEST(a_model_with_an_adapter_in_the_float64_reference_agrees_with_peft)
{
	for (size_t i = 0; i < N_GOLDEN_ADAPTERS; i++) {
		struct golden g;

		REQUIRE(golden_open_adapted(&g, &golden_adapters[i], &backend_ref_f64) == 0, "%s",
			g.err.text);
		check_against_transformers(&g, 2e-6, 2e-6);
		golden_close(&g);
	}
}

/* ---- ways of computing the same --------------------------------------------------------- */

/* resid_post of every layer and the final norm, all rows. */
struct full {
	struct tensor resid[ARCH_MAX_LAYERS], y;
};

static int run_full(struct golden *g, struct full *out)
{
	const struct arch *a = &g->model->arch;
	const struct tap tap = {.kind = TAP_ACTIVATION, .out = out->resid};
	const struct pass pass = {.batch = &g->batch,
		.cache = &g->cache,
		.taps = &tap,
		.n_taps = 1};

	for (size_t l = 0; l < a->n_layer; l++)
		out->resid[l] = fixture_zeros(&g->f, g->n_tokens, a->d_model);
	out->y = fixture_zeros(&g->f, g->n_tokens, a->d_model);
	TRY(pack_all(g, BATCH_OUT_ALL));
	TRY(forward(g->ws, &pass, &g->err));
	return op_copy(g->dev, workspace_out(g->ws), out->y, &g->err);
fail:
	return g->err.code;
}

static double worst_difference(struct tensor a, size_t row_a, struct tensor b, size_t row_b,
	size_t n)
{
	double worst = 0, scale = 0;

	for (size_t i = 0; i < n * a.cols; i++) {
		const double x = fixture_get(a, row_a * a.cols + i);
		const double y = fixture_get(b, row_b * b.cols + i);

		worst = fmax(worst, fabs(x - y));
		scale = fmax(scale, fabs(y));
	}
	return worst / scale;
}

TEST(a_prompt_alone_gives_what_it_gives_in_a_batch)
{
	for (size_t i = 0; i < N_GOLDEN_MODELS; i++) {
		struct golden g;
		struct full full;
		struct tensor resid[ARCH_MAX_LAYERS];
		const struct tap tap = {.kind = TAP_ACTIVATION, .out = resid};
		const struct pass pass = {.batch = &g.batch,
			.cache = &g.cache,
			.taps = &tap,
			.n_taps = 1};

		REQUIRE(golden_open(&g, golden_models[i], NULL) == 0, "%s", g.err.text);
		REQUIRE(run_full(&g, &full) == 0, "%s", g.err.text);
		for (size_t p = 0; p < g.n_prompts; p++) {
			const size_t n = (size_t)g.lengths[p];

			batch_clear(&g.batch, 0);
			batch_pack(&g.batch, g.tokens + g.first[p], n, BATCH_OUT_ALL, 0);
			REQUIRE(batch_upload(&g.batch, &g.err) == 0, "%s", g.err.text);
			for (size_t l = 0; l < g.model->arch.n_layer; l++)
				resid[l] = tensor_rows(fixture_zeros(&g.f, n,
							       g.model->arch.d_model),
					0, n);
			REQUIRE(forward(g.ws, &pass, &g.err) == 0, "%s", g.err.text);
			for (size_t l = 0; l < g.model->arch.n_layer; l++) {
				const double d = worst_difference(resid[l], 0, full.resid[l],
					g.first[p], n);

				CHECK(d < 1e-5, "%s: prompt %zu, layer %zu: %.2g", g.name, p, l, d);
			}
		}
		golden_close(&g);
	}
}

TEST(a_shared_prefix_run_once_gives_what_whole_prompts_give)
{
	for (size_t i = 0; i < N_GOLDEN_MODELS; i++) {
		enum { PREFIX = 7 };
		struct golden g;
		struct kv_cache prefix;
		struct tensor whole, shared;
		struct pass pass = {.batch = &g.batch, .cache = &g.cache};
		double d;

		REQUIRE(golden_open(&g, golden_models[i], NULL) == 0, "%s", g.err.text);
		/* The longest two prompts, behind the same seven tokens, whole and split. */
		for (int split = 0; split <= 1; split++) {
			batch_clear(&g.batch, split ? PREFIX : 0);
			for (size_t p = g.n_prompts - 2; p < g.n_prompts; p++) {
				int32_t ids[64];
				const size_t n = (size_t)g.lengths[p] - 3;

				memcpy(ids, g.tokens + g.first[g.n_prompts - 1],
					PREFIX * sizeof *ids);
				memcpy(ids + PREFIX, g.tokens + g.first[p], n * sizeof *ids);
				batch_pack(&g.batch, ids + (split ? PREFIX : 0),
					n + (split ? 0 : PREFIX), BATCH_OUT_LAST, (int32_t)p);
			}
			REQUIRE(batch_upload(&g.batch, &g.err) == 0, "%s", g.err.text);
			if (split) {
				REQUIRE(kv_cache_init(&prefix, g.model, PREFIX, &g.err) == 0 &&
						prefix_run(g.ws,
							g.tokens + g.first[g.n_prompts - 1], PREFIX,
							NULL, 0, NULL, 0, &prefix, &g.err) == 0,
					"%s", g.err.text);
				pass.prefix = &prefix;
			}
			REQUIRE(forward(g.ws, &pass, &g.err) == 0, "%s", g.err.text);
			*(split ? &shared : &whole) = fixture_zeros(&g.f, 2, g.model->arch.d_model);
			REQUIRE(op_copy(g.dev, workspace_out(g.ws), split ? shared : whole,
					&g.err) == 0,
				"%s", g.err.text);
		}
		d = worst_difference(shared, 0, whole, 0, 2);
		CHECK(d < 1e-5, "%s: %.2g", g.name, d);
		kv_cache_free(&prefix);
		golden_close(&g);
	}
}

TEST(decoding_token_by_token_from_the_cache_gives_what_one_pass_gives)
{
	for (size_t i = 0; i < N_GOLDEN_MODELS; i++) {
		struct golden g;
		struct full full;
		const struct pass pass = {.batch = &g.batch, .cache = &g.cache};
		const size_t a = 3, b = 4; /* two prompts, 19 and 33 tokens, decoded side by side */

		REQUIRE(golden_open(&g, golden_models[i], NULL) == 0, "%s", g.err.text);
		REQUIRE(run_full(&g, &full) == 0, "%s", g.err.text);
		for (size_t pos = 0; pos < (size_t)g.lengths[b]; pos++) {
			const bool both = pos < (size_t)g.lengths[a];
			double d;

			batch_clear(&g.batch, 0);
			if (both)
				batch_add(&g.batch, 0, g.tokens + g.first[a] + pos, 1, pos, 0,
					BATCH_OUT_ALL, 0);
			batch_add(&g.batch, 1, g.tokens + g.first[b] + pos, 1, pos, 40,
				BATCH_OUT_ALL, 1);
			REQUIRE(batch_upload(&g.batch, &g.err) == 0, "%s", g.err.text);
			REQUIRE(forward(g.ws, &pass, &g.err) == 0, "%s", g.err.text);
			if (both) {
				d = worst_difference(workspace_out(g.ws), 0, full.y,
					g.first[a] + pos, 1);
				CHECK(d < 1e-5, "%s: first, token %zu: %.2g", g.name, pos, d);
			}
			d = worst_difference(workspace_out(g.ws), both, full.y, g.first[b] + pos,
				1);
			CHECK(d < 1e-5, "%s: second, token %zu: %.2g", g.name, pos, d);
		}
		golden_close(&g);
	}
}

static double log_sum_exp(const float *z, size_t n)
{
	double top = z[0], sum = 0;

	for (size_t t = 0; t < n; t++)
		top = fmax(top, z[t]);
	for (size_t t = 0; t < n; t++)
		sum += exp(z[t] - top);
	return top + log(sum);
}

/* KL(softmax(p) || softmax(q)) of n logits. */
static double kl_of(const float *p, const float *q, size_t n)
{
	const double log_p = log_sum_exp(p, n), log_q = log_sum_exp(q, n);
	double kl = 0;

	for (size_t t = 0; t < n; t++)
		kl += exp(p[t] - log_p) * ((p[t] - log_p) - (q[t] - log_q));
	return kl;
}

/* Of each prompt's last row and the next prompt's. */
static void check_divergences(struct golden *g, struct readout *r, const float *logits)
{
	const size_t n = g->n_prompts - 1, V = g->model->arch.n_vocab;
	const struct tensor y = workspace_out(g->ws);
	double kl[MAX_PROMPTS];

	REQUIRE(readout_kl(r, NULL, y, y, kl, &g->err) == 0, "%s", g->err.text);
	for (size_t p = 0; p < g->n_prompts; p++)
		CHECK(fabs(kl[p]) < 1e-6, "%s: KL of a distribution with itself is %g", g->name,
			kl[p]);
	REQUIRE(readout_kl(r, NULL, tensor_rows(y, 0, n), tensor_rows(y, 1, n), kl, &g->err) == 0,
		"%s", g->err.text);
	for (size_t p = 0; p < n; p++) {
		const double expected = kl_of(logits + p * V, logits + (p + 1) * V, V);

		CHECK(fabs(kl[p] - expected) < 1e-6 + 1e-4 * expected,
			"%s: KL of prompts %zu and %zu is %g, expected %g", g->name, p, p + 1,
			kl[p], expected);
	}
}

/* Every second model's a few rows at a time. */
TEST(readouts_agree_with_the_logits_of_transformers)
{
	for (size_t i = 0; i < N_GOLDEN_MODELS; i++) {
		struct golden g;
		struct readout r;
		const struct pass pass = {.batch = &g.batch, .cache = &g.cache};
		const float *logits;
		int32_t best[MAX_PROMPTS];
		double logprob[MAX_PROMPTS];
		size_t V;

		REQUIRE(golden_open(&g, golden_models[i], NULL) == 0, "%s", g.err.text);
		V = g.model->arch.n_vocab;
		logits = golden_floats(&g, "logits");
		REQUIRE(pack_all(&g, BATCH_OUT_LAST) == 0 && forward(g.ws, &pass, &g.err) == 0,
			"%s", g.err.text);
		REQUIRE(readout_init(&r, g.model, &g.err) == 0, "%s", g.err.text);
		if (i % 2) {
			r.rows = 3;
			r.kl_rows = 2;
		}
		REQUIRE(readout_argmax(&r, &g.batch, workspace_out(g.ws), best, NULL, &g.err) == 0,
			"%s", g.err.text);
		REQUIRE(readout_logprob(&r, &g.batch, workspace_out(g.ws), best, logprob, &g.err) ==
				0,
			"%s", g.err.text);
		check_divergences(&g, &r, logits);
		for (size_t p = 0; p < g.n_prompts; p++) {
			const float *z = logits + p * V;
			const double lse = log_sum_exp(z, V);
			size_t top = 0;

			for (size_t t = 0; t < V; t++)
				top = z[t] > z[top] ? t : top;
			CHECK(best[p] == (int32_t)top,
				"%s: prompt %zu: expected token %zu, found %d", g.name, p, top,
				best[p]);
			CHECK(fabs(logprob[p] - (z[top] - lse)) < 1e-4,
				"%s: prompt %zu: %g, expected %g", g.name, p, logprob[p],
				z[top] - lse);
		}
		readout_free(&r);
		golden_close(&g);
	}
}

/* ---- replies --------------------------------------------------------------------------- */

enum { N_REPLY = 4, MOST_TOKENS = 256 };

/* The least lead of a reply's tokens, read off one pass over prompt and reply. */
static int least_lead(struct golden *g, struct readout *r, size_t p, const int32_t *reply,
	double *least)
{
	const size_t n = (size_t)g->lengths[p], V = g->model->arch.n_vocab;
	const struct pass pass = {.batch = &g->batch, .cache = &g->cache};
	int32_t tokens[MOST_TOKENS], best[N_REPLY];

	memcpy(tokens, g->tokens + g->first[p], n * sizeof *tokens);
	memcpy(tokens + n, reply, (N_REPLY - 1) * sizeof *tokens);
	batch_clear(&g->batch, 0);
	batch_pack(&g->batch, tokens, n + N_REPLY - 1, N_REPLY, 0);
	TRY(batch_upload(&g->batch, &g->err));
	TRY(forward(g->ws, &pass, &g->err));
	TRY(readout_argmax(r, &g->batch, workspace_out(g->ws), best, NULL, &g->err));
	TRY(op_softcap(g->dev, g->model->arch.final_softcap, tensor_rows(r->logits, 0, N_REPLY),
		&g->err));
	*least = INFINITY;
	for (size_t t = 0; t < N_REPLY; t++) {
		double second = -INFINITY;

		for (size_t j = 0; j < V; j++)
			if ((int32_t)j != best[t])
				second = fmax(second, fixture_get(r->logits, t * V + j));
		*least = fmin(*least, fixture_get(r->logits, t * V + (size_t)best[t]) - second);
		CHECK(best[t] == reply[t], "prompt %zu, token %zu: %d and %d", p, t, best[t],
			reply[t]);
	}
	return 0;
fail:
	return g->err.code;
}

TEST(a_replys_lead_is_the_least_by_which_one_of_its_tokens_was_ahead)
{
	struct golden g;
	struct readout r;
	struct generator *generator;
	struct token_span spans[MAX_PROMPTS];
	int32_t tokens[MAX_PROMPTS * N_REPLY], ended_by[MAX_PROMPTS];
	size_t lengths[MAX_PROMPTS];
	float lead[MAX_PROMPTS];
	double least = 0;

	REQUIRE(golden_open(&g, golden_models[0], NULL) == 0, "%s", g.err.text);
	REQUIRE(readout_init(&r, g.model, &g.err) == 0, "%s", g.err.text);
	for (size_t p = 0; p < g.n_prompts; p++)
		spans[p] = (struct token_span){g.tokens + g.first[p], (size_t)g.lengths[p], 0};
	REQUIRE(generator_create(&generator, g.model, &r,
			(struct generator_size){g.n_prompts, g.n_tokens, g.n_tokens, N_REPLY},
			&g.err) == 0,
		"%s", g.err.text);
	REQUIRE(generate(generator,
			&(struct generation){.prompts = spans,
				.n_prompts = g.n_prompts,
				.tokens = tokens,
				.lengths = lengths,
				.ended_by = ended_by,
				.lead = lead},
			&g.err) == 0,
		"%s", g.err.text);
	for (size_t p = 0; p < g.n_prompts; p++) {
		REQUIRE(lengths[p] == N_REPLY, "prompt %zu: %zu tokens", p, lengths[p]);
		REQUIRE(least_lead(&g, &r, p, tokens + p * N_REPLY, &least) == 0, "%s", g.err.text);
		CHECK(fabs(lead[p] - least) < 1e-4, "prompt %zu: %g, expected %g", p, lead[p],
			least);
	}
	generator_free(generator);
	readout_free(&r);
	golden_close(&g);
}

/* ---- sites ----------------------------------------------------------------------------- */

TEST(a_site_is_called_by_its_hook_and_found_again_by_that_name)
{
	for (int place = 0; place < N_SITE_PLACES; place++) {
		const struct site site = {12, (enum site_place)place};
		const struct site_name name = site_name(site);
		struct site found = {0};

		CHECK(site_of_name(name.text, &found) && site_equal(found, site),
			"%s is of layer %zu, place %d", name.text, found.layer, (int)found.place);
	}
	CHECK(strcmp(site_name((struct site){12, SITE_RESID_POST}).text,
		      "blocks.12.hook_resid_post") == 0,
		"%s", site_name((struct site){12, SITE_RESID_POST}).text);
}

TEST(resid_pre_of_a_block_is_resid_post_of_the_one_before)
{
	struct site found;

	CHECK(site_of_name("blocks.3.hook_resid_pre", &found) &&
			site_equal(found, (struct site){2, SITE_RESID_POST}),
		"layer %zu", found.layer);
	CHECK(!site_of_name("blocks.0.hook_resid_pre", &found), "a block before the first");
}

TEST(a_name_that_is_no_site_of_ours_is_not_taken_for_one)
{
	const char *const names[] = {"", "blocks.", "blocks..hook_resid_post", "blocks.1",
		"blocks.1.hook_resid_post.", "blocks.1.hook_pos_embed", "blocks.-1.hook_resid_post",
		"block.1.hook_resid_post", "blocks.1000000.hook_resid_post", "hook_resid_post"};

	for (size_t i = 0; i < sizeof names / sizeof *names; i++)
		CHECK(!site_of_name(names[i], &(struct site){0}), "\"%s\"", names[i]);
}

/* ---- edits ----------------------------------------------------------------------------- */

TEST(gradients_through_edits_agree_with_finite_differences)
{
	/* L = metric under an ablation and a mix; moving resid_post of layer 0 along r by an
	 * EDIT_ADD must change L by <grad, r>. The added vector comes last in the list, so the
	 * gradient "after the edits" is the one that it meets. */
	for (size_t i = 0; i < N_GOLDEN_MODELS; i++) {
		struct golden g;
		struct tensor u, r, target[ARCH_MAX_LAYERS], grad[ARCH_MAX_LAYERS], dy, logits;
		const double h = 1e-5;
		double m[2], along = 0, slope, norm = 0;
		int32_t *pair;

		REQUIRE(golden_open(&g, golden_models[i], &backend_ref_f64) == 0, "%s", g.err.text);
		const struct arch *a = &g.model->arch;
		const size_t d = a->d_model;
		u = fixture_vector(&g.f, d, 1);
		r = fixture_vector(&g.f, d, 1);
		for (size_t j = 0; j < d; j++)
			norm += fixture_get(u, j) * fixture_get(u, j);
		for (size_t j = 0; j < d; j++)
			fixture_set(u, j, fixture_get(u, j) / sqrt(norm));
		REQUIRE(pack_all(&g, BATCH_OUT_LAST) == 0, "%s", g.err.text);
		for (size_t l = 0; l < a->n_layer; l++) {
			const size_t n = l + 1 < a->n_layer ? g.n_tokens : g.n_prompts;

			target[l] = fixture_activation(&g.f, n, d, 3);
			grad[l] = fixture_zeros(&g.f, n, d);
		}
		struct edit edits[] = {
			{.kind = EDIT_ABLATE, .layer_last = a->n_layer - 1, .vector = u},
			{.kind = EDIT_MIX,
				.layer_last = a->n_layer - 1,
				.amount = 0.3,
				.targets = target},
			{.kind = EDIT_ADD, .vector = r, .amount = 0},
		};
		const struct pass pass = {.batch = &g.batch,
			.cache = &g.cache,
			.edits = edits,
			.n_edits = 3};
		pair = fixture_ids(&g.f, g.pair, 2 * g.n_prompts);
		logits = fixture_zeros(&g.f, g.n_prompts, 2);
		for (int side = 0; side < 2; side++) {
			edits[2].amount = side ? h : -h;
			REQUIRE(forward(g.ws, &pass, &g.err) == 0, "%s", g.err.text);
			REQUIRE(op_selected_logits(g.dev, workspace_out(g.ws), g.model->unembedding,
					pair, a->final_softcap, logits, &g.err) == 0,
				"%s", g.err.text);
			m[side] = 0;
			for (size_t p = 0; p < g.n_prompts; p++)
				m[side] += fixture_get(logits, 2 * p) -
					   fixture_get(logits, 2 * p + 1);
		}
		slope = (m[1] - m[0]) / (2 * h);
		edits[2].amount = 0;
		REQUIRE(forward(g.ws, &pass, &g.err) == 0, "%s", g.err.text);
		dy = fixture_zeros(&g.f, g.n_prompts, d);
		REQUIRE(metric_gradient(&g, dy) == 0, "%s", g.err.text);
		REQUIRE(backward(g.ws, &pass, dy, &(struct gradient){.out = grad, .weight = 1},
				&g.err) == 0,
			"%s", g.err.text);
		for (size_t t = 0; t < g.n_tokens; t++)
			for (size_t j = 0; j < d; j++)
				along += fixture_get(grad[0], t * d + j) * fixture_get(r, j);
		CHECK(fabs(slope - along) <= 1e-6 * fabs(slope),
			"%s: difference quotient %.10g, gradient %.10g", g.name, slope, along);
		golden_close(&g);
	}
}

TEST(a_residual_stream_that_is_not_finite_is_named_by_layer_prompt_and_position)
{
	struct golden g;
	struct tensor v;

	REQUIRE(golden_open(&g, "llama_a", NULL) == 0, "%s", g.err.text);
	v = fixture_vector(&g.f, g.model->arch.d_model, 1);
	fixture_set(v, 3, INFINITY);
	const struct edit edit = {.kind = EDIT_ADD,
		.layer_first = 1,
		.layer_last = 1,
		.vector = v,
		.amount = 1};
	const struct pass pass = {.batch = &g.batch,
		.cache = &g.cache,
		.edits = &edit,
		.n_edits = 1};
	batch_clear(&g.batch, 0);
	batch_pack(&g.batch, g.tokens, 5, BATCH_OUT_LAST, 42);
	REQUIRE(batch_upload(&g.batch, &g.err) == 0, "%s", g.err.text);
	CHECK(forward(g.ws, &pass, &g.err) == ERR_DEVICE, "no error");
	CHECK(strcmp(g.err.text,
		      "blocks.1.hook_resid_post is not finite for prompt 42 at position 0") == 0,
		"%s", g.err.text);
	batch_clear(&g.batch, 0);
	batch_pack(&g.batch, g.tokens, 5, BATCH_OUT_LAST, -1);
	REQUIRE(batch_upload(&g.batch, &g.err) == 0, "%s", g.err.text);
	CHECK(forward(g.ws, &pass, &g.err) == ERR_DEVICE, "no error");
	CHECK(strcmp(g.err.text, "blocks.1.hook_resid_post is not finite at position 0 of what all "
				 "prompts begin with") == 0,
		"%s", g.err.text);
	golden_close(&g);
}

TEST(a_final_norm_that_is_not_finite_is_named_by_prompt_and_position)
{
	struct golden g;
	const struct pass pass = {.batch = &g.batch, .cache = &g.cache};

	REQUIRE(golden_open(&g, "llama_a", NULL) == 0, "%s", g.err.text);
	for (size_t j = 0; j < g.model->arch.d_model; j++)
		fixture_set(g.model->final_norm, j, 3.4e38);
	batch_clear(&g.batch, 0);
	batch_pack(&g.batch, g.tokens, 5, BATCH_OUT_LAST, 42);
	REQUIRE(batch_upload(&g.batch, &g.err) == 0, "%s", g.err.text);
	CHECK(forward(g.ws, &pass, &g.err) == ERR_DEVICE &&
			strcmp(g.err.text,
				"the final norm is not finite for prompt 42 at position 4") == 0,
		"%s", g.err.text);
	golden_close(&g);
}

/* Prompts 40 and 41, of four and three tokens; the last two of each are out rows. */
static int run_two(struct golden *g, size_t n_out)
{
	const struct pass pass = {.batch = &g->batch, .cache = &g->cache};

	batch_clear(&g->batch, 0);
	batch_pack(&g->batch, g->tokens, 4, n_out, 40);
	batch_pack(&g->batch, g->tokens, 3, n_out, 41);
	return batch_upload(&g->batch, &g->err) || forward(g->ws, &pass, &g->err);
}

#define CHECK_REFUSED(call, message) \
	CHECK((call) == ERR_DEVICE && strcmp(g.err.text, message) == 0, "%s", g.err.text)

TEST(logits_that_are_not_finite_are_named_by_prompt_and_position_whatever_is_read_of_them)
{
	static const int32_t token[] = {1, 1, 1, 1, 1, 1, 1, 1};
	struct golden g;
	struct readout r;
	struct tensor E, y, chosen;
	int32_t best[4], *on_device;
	double values[8];

	REQUIRE(golden_open(&g, "llama_a", NULL) == 0, "%s", g.err.text);
	E = fixture_weight(&g.f, DTYPE_F32, g.model->arch.n_vocab, g.model->arch.d_model, 1);
	for (size_t j = 0; j < g.model->arch.d_model; j++)
		fixture_set(E, g.model->arch.d_model + j, 3.4e38); /* of token 1 */
	g.model->unembedding = E;
	on_device = fixture_ids(&g.f, token, 8);
	chosen = fixture_zeros(&g.f, 4, 2);
	REQUIRE(readout_init(&r, g.model, &g.err) == 0 && run_two(&g, 2) == 0, "%s", g.err.text);
	y = workspace_out(g.ws);
	CHECK_REFUSED(readout_argmax(&r, &g.batch, y, best, NULL, &g.err),
		"a logit is not finite for prompt 40 at position 2");
	CHECK_REFUSED(readout_logprob(&r, &g.batch, y, token, values, &g.err),
		"a log-probability is not finite for prompt 40 at position 2");
	CHECK_REFUSED(readout_kl(&r, &g.batch, y, y, values, &g.err),
		"a KL divergence is not finite for prompt 40 at position 2");
	CHECK_REFUSED(readout_selected(&r, &g.batch, y, on_device, chosen, values, &g.err),
		"a logit is not finite for prompt 40 at position 2");
	CHECK_REFUSED(readout_argmax(&r, &g.batch, tensor_rows(y, 2, 2), best, NULL, &g.err),
		"a logit is not finite for prompt 40 at position 3");
	CHECK_REFUSED(readout_argmax(&r, NULL, y, best, NULL, &g.err),
		"a logit is not finite in row 0 of 4");
	readout_free(&r);
	golden_close(&g);
}

TEST(a_reply_is_not_continued_with_a_token_of_logits_that_are_not_finite)
{
	struct golden g;
	struct generator *generator;
	struct readout r;
	int32_t tokens[8], ended_by[2];
	size_t lengths[2];

	REQUIRE(golden_open(&g, "llama_a", NULL) == 0, "%s", g.err.text);
	const struct token_span prompts[] = {{g.tokens, 4, 40}, {g.tokens, 3, 41}};
	const struct generation request = {.prompts = prompts,
		.n_prompts = 2,
		.tokens = tokens,
		.lengths = lengths,
		.ended_by = ended_by};

	g.model->unembedding = fixture_weight(&g.f, DTYPE_F32, g.model->arch.n_vocab,
		g.model->arch.d_model, 1);
	REQUIRE(readout_init(&r, g.model, &g.err) == 0 &&
			generator_create(&generator, g.model, &r,
				(struct generator_size){2, 7, 7, 4}, &g.err) == 0,
		"%s", g.err.text);
	CHECK(generate(generator, &request, &g.err) == 0, "%s", g.err.text);
	for (size_t j = 0; j < g.model->arch.d_model; j++)
		fixture_set(g.model->unembedding, j, 3.4e38);
	CHECK_REFUSED(generate(generator, &request, &g.err),
		"a logit is not finite for prompt 40 at position 3");
	generator_free(generator);
	readout_free(&r);
	golden_close(&g);
}

TEST(a_prompt_longer_than_the_context_or_a_token_beyond_the_vocabulary_is_an_input_error)
{
	struct golden g;
	int32_t ids[100] = {0};
	const struct pass pass = {.batch = &g.batch, .cache = &g.cache};

	REQUIRE(golden_open(&g, "llama_c", NULL) == 0, "%s", g.err.text);
	batch_free(&g.batch);
	workspace_free(g.ws);
	REQUIRE(batch_init(&g.batch, g.dev, 100, 2, &g.err) == 0 &&
			workspace_create(&g.ws, g.model, (struct workspace_size){100, 2, false},
				&g.err) == 0,
		"%s", g.err.text);
	batch_clear(&g.batch, 0);
	batch_pack(&g.batch, ids, 65, BATCH_OUT_LAST, 3);
	CHECK(forward(g.ws, &pass, &g.err) == ERR_INPUT &&
			strcmp(g.err.text, "prompt 3: expected at most 64 tokens (model.n_ctx), "
					   "found more") == 0,
		"%s", g.err.text);
	batch_clear(&g.batch, 0);
	ids[1] = 50;
	batch_pack(&g.batch, ids, 4, BATCH_OUT_LAST, 3);
	CHECK(forward(g.ws, &pass, &g.err) == ERR_INPUT &&
			strcmp(g.err.text, "prompt 3: expected token ids below 50, the model's "
					   "vocabulary, found 50") == 0,
		"%s", g.err.text);
	golden_close(&g);
}

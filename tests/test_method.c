/* SPDX-License-Identifier: MIT
 *
 * test_method.c - SAEs, integrated gradients and clamping against a literal implementation in
 * PyTorch float64 (tests/golden/make_models.py: the SAE encoded and decoded inside the autograd
 * loop by the published forward hook; make_hooks.py: with the released code's backward hook beside
 * it), on random models of awkward shapes with SAEs in the Gemma Scope and the Llama Scope layout.
 *
 * Effects are compared by relative L2 norm, per layer. Tolerances: 1e-4 for the CPU in float32,
 * 1e-5 for clamped logits (the project's contract); 3e-6 for the engine in float64, where the
 * golden files' float32 and transformers' float32 norms remain.
 *
 * The same for SAELens' SAEs: top-k, gated, of normed input (tests/golden/make_saes.py). Effects of
 * the latter are compared at N = 1, where the published hook and the straight path agree
 * (attribution.h).
 */
#include "host/method/attribution.h"
#include "host/base/random.h"
#include "host/method/probe.h"
#include "host/method/retain_plan.h"
#include "host/method/statistics.h"
#include "host/model/transfer.h"
#include "kernels/ref/ref.h"
#include "tests/golden_model.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { D_SAE = 24 };

static struct token_span span_of(const struct golden *g, size_t p, size_t skip)
{
	return (struct token_span){g->tokens + g->first[p] + skip, (size_t)g->lengths[p] - skip,
		(int32_t)p};
}

/* |a - b| / |b| over n values. */
static double relative_l2(const float *a, const float *b, size_t n)
{
	double difference = 0, norm = 0;

	for (size_t i = 0; i < n; i++) {
		difference += ((double)a[i] - b[i]) * ((double)a[i] - b[i]);
		norm += (double)b[i] * b[i];
	}
	return sqrt(difference / norm);
}

/* ---- SAEs ------------------------------------------------------------------------------- */

static void check_features(struct golden *g, double tolerance)
{
	const struct arch *a = &g->model->arch;
	struct tensor resid[ARCH_MAX_LAYERS];
	const struct tap tap = {.kind = TAP_ACTIVATION, .out = resid};
	const struct pass pass = {.batch = &g->batch,
		.cache = &g->cache,
		.taps = &tap,
		.n_taps = 1};
	struct sparse sparse = {.dev = g->dev};
	struct host_csr f = {0};
	struct sae_set *saes;

	REQUIRE(golden_open_saes(g, &saes) == 0, "%s", g->err.text);
	for (size_t l = 0; l < a->n_layer; l++)
		resid[l] = fixture_zeros(&g->f, g->n_tokens, a->d_model);
	REQUIRE(pack_all(g, BATCH_OUT_ALL) == 0 && forward(g->ws, &pass, &g->err) == 0, "%s",
		g->err.text);
	for (size_t l = 0; l < a->n_layer; l++) {
		const float *expected = golden_layer(g, "feature", l);
		float dense[62 * D_SAE] = {0};
		struct sae_weights sae;

		REQUIRE(sae_set_load(saes, l, &sae, &g->err) == 0 &&
				sparse_encode(&sparse, &sae, resid[l], &g->err) == 0 &&
				sparse_download(&sparse, &f, &g->err) == 0,
			"%s", g->err.text);
		for (size_t t = 0; t < g->n_tokens; t++)
			for (int32_t e = f.indptr[t]; e < f.indptr[t + 1]; e++)
				dense[t * D_SAE + (size_t)f.indices[e]] = f.values[e];
		for (size_t i = 0; i < g->n_tokens * D_SAE; i++)
			CHECK((dense[i] != 0) == (expected[i] != 0),
				"%s layer %zu: token %zu, feature %zu: %g, expected %g", g->name, l,
				i / D_SAE, i % D_SAE, (double)dense[i], (double)expected[i]);
		CHECK(relative_l2(dense, expected, g->n_tokens * D_SAE) < tolerance,
			"%s layer %zu: features differ by %.2g", g->name, l,
			relative_l2(dense, expected, g->n_tokens * D_SAE));
	}
	host_csr_free(&f);
	sparse_free(&sparse);
	sae_set_close(saes);
}

TEST(features_have_the_support_and_values_of_the_publishers_own_encoding)
{
	for (size_t i = 0; i < N_GOLDEN_MODELS; i++) {
		struct golden g;

		REQUIRE(golden_open(&g, golden_models[i], NULL) == 0, "%s", g.err.text);
		check_features(&g, 1e-5);
		golden_close(&g);
		REQUIRE(golden_open(&g, golden_models[i], &backend_ref_f64) == 0, "%s", g.err.text);
		check_features(&g, 3e-6);
		golden_close(&g);
	}
}

TEST(a_few_features_read_from_the_file_equal_those_of_the_whole_sae)
{
	const int32_t ids[] = {17, 0, 23, 4};

	for (size_t i = 0; i < N_GOLDEN_MODELS; i += 3) {
		struct golden g;
		struct sae_set *saes;
		struct sae_weights whole;
		struct sae_few few;
		size_t d;

		REQUIRE(golden_open(&g, golden_models[i], NULL) == 0, "%s", g.err.text);
		d = g.model->arch.d_model;
		REQUIRE(golden_open_saes(&g, &saes) == 0, "%s", g.err.text);
		REQUIRE(sae_set_select(saes, 1, ids, 4, &few, &g.err) == 0 &&
				sae_set_load(saes, 1, &whole, &g.err) == 0,
			"%s", g.err.text);
		for (size_t k = 0; k < 4; k++) {
			const size_t row = (size_t)ids[k];

			for (size_t j = 0; j < d; j++) {
				CHECK(fixture_get(few.weights.W_dec, k * d + j) ==
						fixture_get(whole.W_dec, row * d + j),
					"W_dec of feature %zu", row);
				CHECK(fixture_get(few.weights.W_enc_t, k * d + j) ==
						fixture_get(whole.W_enc_t, row * d + j),
					"W_enc of feature %zu", row);
			}
			CHECK(fixture_get(few.weights.b_enc, k) == fixture_get(whole.b_enc, row) &&
					fixture_get(few.weights.threshold, k) ==
						fixture_get(whole.threshold, row),
				"b_enc or threshold of feature %zu", row);
		}
		sae_few_free(&few);
		CHECK(sae_set_select(saes, 0, (const int32_t[]){24}, 1, &few, &g.err) == ERR_INPUT,
			"feature 24 of 24 was read");
		sae_set_close(saes);
		golden_close(&g);
	}
}

TEST(saes_beyond_the_budget_make_room_for_each_other)
{
	struct golden g;
	struct sae_set *saes;
	char path[600];
	struct sae_options options = {.path = path,
		.format = "gemma_scope",
		.layer_folder = "",
		.width = "24",
		.l0 = 7};

	REQUIRE(golden_open(&g, "gemma2_b", NULL) == 0, "%s", g.err.text);
	snprintf(path, sizeof path, "%s/saes", g.folder);
	REQUIRE(sae_set_open(&saes, g.dev, &options, 4, g.model->arch.d_model, &g.err) == 0, "%s",
		g.err.text);
	for (size_t round = 0; round < 8; round++) {
		struct sae_weights w;
		const size_t before = device_allocated(g.dev);

		REQUIRE(sae_set_load(saes, round % 4, &w, &g.err) == 0, "%s", g.err.text);
		CHECK(round == 0 || device_allocated(g.dev) == before,
			"round %zu: %zu bytes, had %zu", round, device_allocated(g.dev), before);
	}
	sae_set_close(saes);
	golden_close(&g);
}

/* ---- indirect effects -------------------------------------------------------------------- */

/* Every feature of every layer a candidate. */
static struct feature_set all_features(size_t n_layer)
{
	struct feature_set set = {0};
	struct err err;

	for (size_t l = 0; l < n_layer; l++)
		for (int32_t i = 0; i < D_SAE; i++)
			(void)feature_set_add(&set, (struct feature){(int32_t)l, i, 0, 0}, &err);
	return set;
}

/* N of the golden effects. */
static size_t golden_steps(struct golden *g)
{
	const struct file_tensor *t = safetensors_find(g->expected, "ig_steps");

	return t ? (size_t)*golden_ints(g, "ig_steps") : 4;
}

static struct attribution_setup setup_of(struct golden *g, struct readout *readout,
	struct sae_set *saes, const struct feature_set *candidates, enum ig_endpoint endpoint)
{
	return (struct attribution_setup){.model = g->model,
		.readout = readout,
		.saes = saes,
		.direction = golden_floats(g, "direction") + g->model->arch.d_model,
		.candidates = candidates,
		.options = {.steps = golden_steps(g),
			.rule = IG_RULE_LEFT,
			.endpoint = endpoint,
			.refusal_token = 0,
			.target_token = -1},
		.all_features = true};
}

/* Candidate effects of prompts 0.., as attribution_run left them, against the golden file. */
static void check_candidates(struct golden *g, const struct attribution_result *r, const char *kind,
	double tolerance)
{
	const size_t n_layer = g->model->arch.n_layer;
	float *layer = malloc(g->n_tokens * D_SAE * sizeof *layer);

	for (size_t p = 0; p < r->n_prompts; p++)
		CHECK(r->target[p] == golden_ints(g, "target")[p],
			"%s: prompt %zu: target %d, not %d", g->name, p, r->target[p],
			golden_ints(g, "target")[p]);
	for (size_t l = 0; l < n_layer; l++) {
		double d;

		for (size_t t = 0; t < r->n_tokens; t++)
			memcpy(layer + t * D_SAE, r->effect + (t * n_layer + l) * D_SAE,
				D_SAE * sizeof *layer);
		d = relative_l2(layer, golden_layer(g, kind, l), r->n_tokens * D_SAE);
		CHECK(d < tolerance, "%s: %s of layer %zu differ by %.2g", g->name, kind, l, d);
	}
	free(layer);
}

/* The sparse form over all features must hold the same numbers. */
static void check_all_features(struct golden *g, struct attribution *a,
	const struct attribution_result *r)
{
	const size_t n_layer = g->model->arch.n_layer;
	struct host_csr csr = {0};
	float largest = 0;

	for (size_t i = 0; i < r->n_tokens * r->n_candidates; i++)
		largest = fmaxf(largest, fabsf(r->effect[i]));
	for (size_t l = 0; l < n_layer; l++) {
		const bool last = l + 1 == n_layer;

		REQUIRE(attribution_all(a, l, &csr, &g->err) == 0, "%s", g->err.text);
		REQUIRE(csr.n_rows == (last ? r->n_prompts : r->n_tokens), "%zu rows", csr.n_rows);
		for (size_t row = 0; row < csr.n_rows; row++) {
			const size_t t = last ? r->token_start[row + 1] - 1 : row;
			const float *dense = r->effect + (t * n_layer + l) * D_SAE;
			float sparse[D_SAE] = {0};

			for (int32_t e = csr.indptr[row]; e < csr.indptr[row + 1]; e++)
				sparse[csr.indices[e]] = csr.values[e];
			for (size_t i = 0; i < D_SAE; i++)
				CHECK(fabsf(sparse[i] - dense[i]) <= 1e-5f * largest,
					"%s: layer %zu, token %zu, feature %zu: %g, not %g",
					g->name, l, t, i, (double)sparse[i], (double)dense[i]);
		}
	}
	host_csr_free(&csr);
}

static void check_effects_by(struct golden *g, enum ig_backward backward, enum ig_endpoint endpoint,
	double tolerance)
{
	struct feature_set candidates = all_features(g->model->arch.n_layer);
	struct attribution_setup setup;
	struct attribution_result r;
	struct token_span prompts[MAX_PROMPTS];
	struct attribution *a;
	struct readout readout;
	struct sae_set *saes;

	REQUIRE(golden_open_saes(g, &saes) == 0 && readout_init(&readout, g->model, &g->err) == 0,
		"%s", g->err.text);
	setup = setup_of(g, &readout, saes, &candidates, endpoint);
	setup.options.backward = backward;
	for (size_t p = 0; p < g->n_prompts; p++)
		prompts[p] = span_of(g, p, 0);
	REQUIRE(attribution_create(&a, &setup, (struct attribution_size){g->n_tokens, g->n_prompts},
			&g->err) == 0,
		"%s", g->err.text);
	REQUIRE(attribution_run(a, prompts, g->n_prompts, &r, &g->err) == 0, "%s", g->err.text);
	check_candidates(g, &r,
		endpoint == IG_ENDPOINT_ABLATED ? "effect_ablated" : "effect_released", tolerance);
	check_all_features(g, a, &r);
	attribution_free(a);
	readout_free(&readout);
	sae_set_close(saes);
	free(candidates.data);
}

static void check_effects(struct golden *g, enum ig_endpoint endpoint, double tolerance)
{
	check_effects_by(g, IG_BACKWARD_PATH, endpoint, tolerance);
}

TEST(indirect_effects_equal_those_of_the_published_hook_under_autograd)
{
	for (size_t i = 0; i < N_GOLDEN_MODELS; i++) {
		struct golden g;

		REQUIRE(golden_open(&g, golden_models[i], NULL) == 0, "%s", g.err.text);
		check_effects(&g, IG_ENDPOINT_ABLATED, 1e-4);
		check_effects(&g, IG_ENDPOINT_RELEASED, 1e-4);
		golden_close(&g);
		REQUIRE(golden_open(&g, golden_models[i], &backend_ref_f64) == 0, "%s", g.err.text);
		check_effects(&g, IG_ENDPOINT_ABLATED, 3e-6);
		check_effects(&g, IG_ENDPOINT_RELEASED, 3e-6);
		golden_close(&g);
	}
}

/* With hooks.safetensors (tests/golden/make_hooks.py) in place of expected.safetensors. */
static void check_effects_of_hooks(struct golden *g, double tolerance)
{
	struct safetensors *expected = g->expected;
	char path[600];

	snprintf(path, sizeof path, "%s/hooks.safetensors", g->folder);
	REQUIRE(safetensors_open(&g->expected, path, &g->err) == 0, "%s", g->err.text);
	check_effects_by(g, IG_BACKWARD_STRAIGHT_THROUGH, IG_ENDPOINT_ABLATED, tolerance);
	check_effects_by(g, IG_BACKWARD_STRAIGHT_THROUGH, IG_ENDPOINT_RELEASED, tolerance);
	safetensors_close(g->expected);
	g->expected = expected;
}

TEST(straight_through_effects_equal_those_under_the_released_codes_two_hooks)
{
	static const char *const models[] = {"gemma2_a", "gemma2_b", "llama_a", "llama_c"};

	for (size_t i = 0; i < sizeof models / sizeof *models; i++) {
		struct golden g;

		REQUIRE(golden_open(&g, models[i], NULL) == 0, "%s", g.err.text);
		check_effects_of_hooks(&g, 1e-4);
		golden_close(&g);
		REQUIRE(golden_open(&g, models[i], &backend_ref_f64) == 0, "%s", g.err.text);
		check_effects_of_hooks(&g, 3e-6);
		golden_close(&g);
	}
}

/* Where j is r, rounding must not be left over: effects are 0, not nearly. */
static void check_no_effects(struct golden *g)
{
	struct feature_set candidates = all_features(g->model->arch.n_layer);
	const struct token_span prompts[] = {span_of(g, 3, 0), span_of(g, 4, 0)};
	struct attribution_setup setup;
	struct attribution_result r;
	struct attribution *a;
	struct readout readout;
	struct sae_set *saes;

	REQUIRE(golden_open_saes(g, &saes) == 0 && readout_init(&readout, g->model, &g->err) == 0,
		"%s", g->err.text);
	setup = setup_of(g, &readout, saes, &candidates, IG_ENDPOINT_ABLATED);
	setup.options.refusal_token = golden_ints(g, "target")[3];
	REQUIRE(attribution_create(&a, &setup,
			(struct attribution_size){prompts[0].n + prompts[1].n, 2}, &g->err) == 0 &&
			attribution_run(a, prompts, 2, &r, &g->err) == 0,
		"%s", g->err.text);
	REQUIRE(r.target[0] == setup.options.refusal_token, "another target, %d", r.target[0]);
	CHECK(r.m_clean[0] == 0 && r.m_patch[0] == 0, "%s: m %g, %g", g->name, r.m_clean[0],
		r.m_patch[0]);
	for (size_t i = 0; i < r.token_start[1] * r.n_candidates; i++)
		CHECK(r.effect[i] == 0, "%s: effect %zu is %g", g->name, i, (double)r.effect[i]);
	attribution_free(a);
	readout_free(&readout);
	sae_set_close(saes);
	free(candidates.data);
}

TEST(a_prompt_whose_target_is_the_refusal_token_has_no_effects)
{
	for (size_t i = 0; i < N_GOLDEN_MODELS; i++) {
		struct golden g;

		REQUIRE(golden_open(&g, golden_models[i], NULL) == 0, "%s", g.err.text);
		check_no_effects(&g);
		golden_close(&g);
	}
}

TEST(a_shared_prefix_changes_no_effect_behind_it)
{
	for (size_t i = 0; i < N_GOLDEN_MODELS; i++) {
		enum { PREFIX = 6 };
		struct golden g;
		struct feature_set candidates;
		struct attribution_setup setup;
		struct attribution_result r;
		struct readout readout;
		struct sae_set *saes;
		struct attribution *a;
		/* One prompt, whose golden effects are known, with its first tokens as the prefix.
		 */
		const size_t p = 4;
		struct token_span prompt;
		size_t n_layer;

		REQUIRE(golden_open(&g, golden_models[i], NULL) == 0, "%s", g.err.text);
		n_layer = g.model->arch.n_layer;
		candidates = all_features(n_layer);
		REQUIRE(golden_open_saes(&g, &saes) == 0 &&
				readout_init(&readout, g.model, &g.err) == 0,
			"%s", g.err.text);
		setup = setup_of(&g, &readout, saes, &candidates, IG_ENDPOINT_ABLATED);
		setup.prefix = g.tokens + g.first[p];
		setup.n_prefix = PREFIX;
		prompt = span_of(&g, p, PREFIX);
		REQUIRE(attribution_create(&a, &setup, (struct attribution_size){prompt.n, 1},
				&g.err) == 0 &&
				attribution_run(a, &prompt, 1, &r, &g.err) == 0,
			"%s", g.err.text);
		for (size_t l = 0; l < n_layer; l++) {
			const float *expected = golden_layer(&g, "effect_ablated", l) +
						(g.first[p] + PREFIX) * D_SAE;
			float layer[64 * D_SAE];
			double d;

			for (size_t t = 0; t < r.n_tokens; t++)
				memcpy(layer + t * D_SAE, r.effect + (t * n_layer + l) * D_SAE,
					D_SAE * sizeof *layer);
			d = relative_l2(layer, expected, r.n_tokens * D_SAE);
			CHECK(d < 1e-4, "%s: layer %zu differs by %.2g", g.name, l, d);
		}
		attribution_free(a);
		readout_free(&readout);
		sae_set_close(saes);
		free(candidates.data);
		golden_close(&g);
	}
}

/* ---- clamping ---------------------------------------------------------------------------- */

/* Largest difference of the logits at the prompts' last tokens, over the largest logit. */
static double logits_difference(struct golden *g, const struct edit *edit, const float *expected)
{
	const struct arch *a = &g->model->arch;
	const struct pass pass = {.batch = &g->batch,
		.cache = &g->cache,
		.edits = edit,
		.n_edits = 1};
	struct tensor logits = fixture_zeros(&g->f, g->n_prompts, a->n_vocab);
	double worst = 0, scale = 0;

	if (pack_all(g, BATCH_OUT_LAST) || forward(g->ws, &pass, &g->err) ||
		op_linear(g->dev, workspace_out(g->ws), g->model->unembedding, (struct tensor){0},
			logits, &g->err) ||
		op_softcap(g->dev, a->final_softcap, logits, &g->err))
		return INFINITY;
	for (size_t i = 0; i < tensor_count(logits); i++) {
		worst = fmax(worst, fabs(fixture_get(logits, i) - expected[i]));
		scale = fmax(scale, fabs(expected[i]));
	}
	return worst / scale;
}

static void check_clamping(struct golden *g, double tolerance)
{
	const size_t n_layer = g->model->arch.n_layer;
	struct feature_set set = {0}, local[MAX_PROMPTS];
	const size_t every[MAX_PROMPTS] = {0, 1, 2, 3, 4};
	struct sae_set *saes;

	REQUIRE(golden_open_saes(g, &saes) == 0, "%s", g->err.text);
	for (size_t l = 0; l < n_layer; l++)
		for (int32_t id = 1; id <= 9; id += 4)
			REQUIRE(feature_set_add(&set, (struct feature){(int32_t)l, id, 0, 0},
					&g->err) == 0,
				"%s", g->err.text);
	for (size_t p = 0; p < MAX_PROMPTS; p++)
		local[p] = set;
	for (int as_local = 0; as_local <= 1; as_local++) {
		for (int set_value = 0; set_value <= 1; set_value++) {
			const struct clamp_value value = set_value ? (struct clamp_value){0, 3}
								   : (struct clamp_value){-2, 0};
			struct edit edit = {.kind = EDIT_CLAMP, .layer_last = n_layer - 1};
			struct clamp_plan *plan;
			double d;

			REQUIRE(clamp_plan_create(&plan, g->dev, saes, as_local ? local : &set,
					as_local ? MAX_PROMPTS : 1, value, &g->err) == 0 &&
					clamp_plan_batch(plan, every, g->n_prompts, &edit.clamps,
						&g->err) == 0,
				"%s", g->err.text);
			d = logits_difference(g, &edit,
				golden_floats(g, set_value ? "clamped_set" : "clamped_scale"));
			CHECK(d < tolerance, "%s: %s, %s: logits differ by %.2g: %s", g->name,
				set_value ? "set" : "scale", as_local ? "local" : "global", d,
				g->err.text);
			clamp_plan_free(plan);
		}
	}
	free(set.data);
	sae_set_close(saes);
}

TEST(clamping_by_deltas_equals_full_encode_and_decode_with_the_error_kept)
{
	for (size_t i = 0; i < N_GOLDEN_MODELS; i++) {
		struct golden g;

		REQUIRE(golden_open(&g, golden_models[i], NULL) == 0, "%s", g.err.text);
		check_clamping(&g, 1e-5);
		golden_close(&g);
		REQUIRE(golden_open(&g, golden_models[i], &backend_ref_f64) == 0, "%s", g.err.text);
		check_clamping(&g, 3e-6);
		golden_close(&g);
	}
}

/* Features 1, 5 and 9 of every layer, as the golden file's clamps have them; or only the first. */
static void add_clamped(struct golden *g, struct feature_set *set, int32_t first, int32_t last)
{
	for (size_t l = 0; l < g->model->arch.n_layer; l++)
		for (int32_t id = first; id <= last; id += 4)
			REQUIRE(feature_set_add(set, (struct feature){(int32_t)l, id, 0, 0},
					&g->err) == 0,
				"%s", g->err.text);
}

/* What the features of a set are at every token of an unedited pass: [n_tokens, set->n]. */
static void record_features(struct golden *g, struct sae_set *saes, const struct feature_set *set,
	float *out)
{
	const size_t n_layer = g->model->arch.n_layer, per_layer = set->n / n_layer;
	struct sae_few few[ARCH_MAX_LAYERS];
	struct tensor seen[ARCH_MAX_LAYERS];
	const struct tap tap = {.kind = TAP_FEATURES_UNEDITED, .out = seen, .few = few};
	const struct pass pass = {.batch = &g->batch,
		.cache = &g->cache,
		.taps = &tap,
		.n_taps = 1};

	for (size_t l = 0; l < n_layer; l++) {
		int32_t ids[3];

		for (size_t k = 0; k < per_layer; k++)
			ids[k] = set->data[l * per_layer + k].id;
		REQUIRE(sae_set_select(saes, l, ids, per_layer, &few[l], &g->err) == 0, "%s",
			g->err.text);
		seen[l] = fixture_zeros(&g->f, g->n_tokens, per_layer);
	}
	REQUIRE(pack_all(g, BATCH_OUT_ALL) == 0 && forward(g->ws, &pass, &g->err) == 0, "%s",
		g->err.text);
	for (size_t l = 0; l < n_layer; l++) {
		for (size_t t = 0; t < g->n_tokens; t++)
			for (size_t k = 0; k < per_layer; k++)
				out[t * set->n + l * per_layer + k] = (float)fixture_get(seen[l],
					t * per_layer + k);
		sae_few_free(&few[l]);
	}
}

/* The logits of a pass in which `clamped` is set to 3 and `retained` is held at `values`
 * [n_tokens, retained->n], against the golden file's. */
static void check_retained(struct golden *g, struct sae_set *saes,
	const struct feature_set *clamped, const struct feature_set *retained, const float *values,
	const char *expected, double tolerance)
{
	struct edit edit = {.kind = EDIT_CLAMP, .layer_last = g->model->arch.n_layer - 1};
	struct retained_rows rows[MAX_PROMPTS];
	struct retain_plan *plan;
	double d;

	for (size_t p = 0; p < g->n_prompts; p++)
		rows[p] = (struct retained_rows){(size_t)g->lengths[p],
			values + (size_t)g->first[p] * retained->n};
	REQUIRE(retain_plan_create(&plan, g->dev, saes, clamped, (struct clamp_value){0, 3},
			retained, &g->err) == 0 &&
			retain_plan_batch(plan, rows, g->n_prompts, 1, &edit.clamps, &g->err) == 0,
		"%s", g->err.text);
	d = logits_difference(g, &edit, golden_floats(g, expected));
	CHECK(d < tolerance, "%s: %zu clamped, %zu retained: logits differ from %s by %.2g: %s",
		g->name, clamped->n, retained->n, expected, d, g->err.text);
	retain_plan_free(plan);
}

TEST(features_retained_at_recorded_values_are_what_they_were)
{
	for (size_t i = 0; i < N_GOLDEN_MODELS; i++) {
		struct golden g;
		struct feature_set none = {0}, one = {0}, two = {0}, all = {0};
		float *three, *unedited;
		struct sae_set *saes;

		REQUIRE(golden_open(&g, golden_models[i], NULL) == 0, "%s", g.err.text);
		REQUIRE(golden_open_saes(&g, &saes) == 0, "%s", g.err.text);
		add_clamped(&g, &one, 1, 1);
		add_clamped(&g, &two, 5, 9);
		add_clamped(&g, &all, 1, 9);
		three = malloc(g.n_tokens * all.n * sizeof *three);
		unedited = calloc(g.n_tokens * all.n, sizeof *unedited);
		for (size_t k = 0; k < g.n_tokens * all.n; k++)
			three[k] = 3;
		/* At one value everywhere, retaining is setting, beside a clamp and alone. */
		check_retained(&g, saes, &none, &all, three, "clamped_set", 1e-5);
		check_retained(&g, saes, &one, &two, three, "clamped_set", 1e-5);
		/* At what they were, token by token, nothing changes. */
		record_features(&g, saes, &all, unedited);
		check_retained(&g, saes, &none, &all, unedited, "logits", 1e-5);
		free(three);
		free(unedited);
		free(one.data);
		free(two.data);
		free(all.data);
		sae_set_close(saes);
		golden_close(&g);
	}
}

/* ---- other activation functions ----------------------------------------------------------- */

TEST(top_k_gated_and_normed_saes_encode_attribute_and_clamp_as_the_published_hook_does)
{
	for (size_t i = 0; i < N_GOLDEN_SAE_MODELS; i++) {
		for (int wide = 0; wide <= 1; wide++) {
			struct golden g;

			REQUIRE(golden_open(&g, golden_sae_models[i],
					wide ? &backend_ref_f64 : NULL) == 0,
				"%s", g.err.text);
			check_features(&g, wide ? 3e-6 : 1e-5);
			check_effects(&g, IG_ENDPOINT_ABLATED, wide ? 3e-6 : 1e-4);
			check_effects(&g, IG_ENDPOINT_RELEASED, wide ? 3e-6 : 1e-4);
			check_clamping(&g, wide ? 3e-6 : 1e-5);
			golden_close(&g);
		}
	}
}

/* ---- generation -------------------------------------------------------------------------- */

/* Greedy replies of prompts [first, first + n), 12 tokens, under one set per prompt. */
static int continue_prompts(struct golden *g, struct sae_set *saes, const struct feature_set *sets,
	size_t first, size_t n, int32_t *tokens, size_t *lengths)
{
	enum { NEW = 12 };
	struct edit edit = {.kind = EDIT_CLAMP, .layer_last = g->model->arch.n_layer - 1};
	struct token_span spans[MAX_PROMPTS];
	size_t ids[MAX_PROMPTS];
	int32_t ended_by[MAX_PROMPTS];
	const int32_t stop = 7;
	struct generation request = {.prompts = spans,
		.n_prompts = n,
		.edits = &edit,
		.n_edits = 1,
		.stop = &stop,
		.n_stop = 1,
		.tokens = tokens,
		.lengths = lengths,
		.ended_by = ended_by};
	struct generator *generator = NULL;
	struct clamp_plan *plan = NULL;
	struct readout readout = {0};

	for (size_t i = 0; i < n; i++) {
		spans[i] = span_of(g, first + i, 0);
		ids[i] = first + i;
	}
	TRY(readout_init(&readout, g->model, &g->err));
	TRY(generator_create(&generator, g->model, &readout,
		(struct generator_size){n, g->n_tokens, 35, NEW}, &g->err));
	TRY(clamp_plan_create(&plan, g->dev, saes, sets, MAX_PROMPTS, (struct clamp_value){-2, 0},
		&g->err));
	TRY(clamp_plan_batch(plan, ids, n, &edit.clamps, &g->err));
	TRY(generate(generator, &request, &g->err));
	g->err.code = 0;
fail:
	clamp_plan_free(plan);
	generator_free(generator);
	readout_free(&readout);
	return g->err.code;
}

static void check_replies(const char *name)
{
	struct golden g;
	struct feature_set sets[MAX_PROMPTS] = {{0}};
	int32_t together[5 * 12], alone[12];
	size_t n_together[5], n_alone;
	struct sae_set *saes;

	REQUIRE(golden_open(&g, name, NULL) == 0, "%s", g.err.text);
	REQUIRE(golden_open_saes(&g, &saes) == 0, "%s", g.err.text);
	for (size_t p = 0; p < 5; p++) /* another set for each prompt, none for one */
		for (int32_t k = 0; k < (int32_t)p; k++)
			REQUIRE(feature_set_add(&sets[p],
					(struct feature){k % 2,
						(int32_t)(5 * p + 3 * (size_t)k) % D_SAE, 0, 0},
					&g.err) == 0,
				"%s", g.err.text);
	g.err.code = 0;
	REQUIRE(continue_prompts(&g, saes, sets, 0, 5, together, n_together) == 0, "%s",
		g.err.text);
	for (size_t p = 0; p < 5; p++) {
		REQUIRE(continue_prompts(&g, saes, sets, p, 1, alone, &n_alone) == 0, "%s",
			g.err.text);
		CHECK(n_alone == n_together[p] &&
				memcmp(alone, together + p * 12, n_alone * sizeof *alone) == 0,
			"%s: prompt %zu: %zu tokens alone, %zu in the batch, or other ones", g.name,
			p, n_alone, n_together[p]);
	}
	for (size_t p = 0; p < 5; p++)
		free(sets[p].data);
	sae_set_close(saes);
	golden_close(&g);
}

TEST(a_clamped_reply_is_the_same_alone_and_in_a_batch)
{
	for (size_t i = 0; i < N_GOLDEN_MODELS; i++)
		check_replies(golden_models[i]);
	for (size_t i = 0; i < N_GOLDEN_SAE_MODELS; i++)
		check_replies(golden_sae_models[i]);
}

/* ---- probes ----------------------------------------------------------------------------- */

TEST(a_probe_learns_what_separates_and_keeps_its_best_epoch)
{
	enum { N = 60, M = 4 };
	float x[N * M];
	uint8_t y[N];
	size_t row[N];
	const struct probe_options options = {0.01, 0.01, 50};
	struct probe_data train = {x, y, row, 40, M}, validation = {x, y, row + 40, 20, M};
	uint64_t seed = 5;
	struct probe p, once;
	struct err err;

	for (size_t i = 0; i < N; i++) {
		row[i] = i;
		y[i] = i % 2;
		for (size_t j = 0; j < M; j++)
			x[i * M + j] = (float)random_below(&seed, 1000) / 1000;
		x[i * M + 2] += y[i] ? 5 : 0;
	}
	REQUIRE_OK(probe_train(&p, &train, &validation, &options, &err), &err);
	for (size_t i = 0; i < N; i++)
		CHECK((probe_score(&p, x + i * M) > 0) == y[i], "row %zu: %g", i,
			probe_score(&p, x + i * M));
	CHECK(p.best_epoch == 50, "separable data are best last, not at %zu", p.best_epoch);
	REQUIRE_OK(probe_train(&once, &train, &validation, &(struct probe_options){0.01, 0.01, 49},
			   &err),
		&err);
	CHECK(p.lead == once.validation_loss - p.validation_loss,
		"the last leads the one before it by %g, not %g", p.lead,
		once.validation_loss - p.validation_loss);
	probe_free(&once);
	probe_free(&p);

	/* Labels that validation contradicts: it gets worse from the first step on. */
	for (size_t i = 40; i < N; i++)
		y[i] = !y[i];
	REQUIRE_OK(probe_train(&p, &train, &validation, &options, &err), &err);
	REQUIRE_OK(probe_train(&once, &train, &validation,
			   &(struct probe_options){0.01, 0.01, p.best_epoch}, &err),
		&err);
	CHECK(p.best_epoch < 50, "%zu", p.best_epoch);
	CHECK(p.lead > 0 && p.lead < 1, "the best epoch leads by %g", p.lead);
	for (size_t j = 0; j <= M; j++)
		CHECK(p.weight[j] == once.weight[j], "weight %zu: %g, at its epoch %g", j,
			p.weight[j], once.weight[j]);
	probe_free(&p);
	probe_free(&once);
}

/* ---- feature sets ------------------------------------------------------------------------ */

TEST(the_best_features_do_not_depend_on_the_order_in_which_they_are_offered)
{
	const float scores[] = {3, 1, 3, 2, 5, 3, 0, 5};
	const int32_t expected[] = {4, 7, 0, 2, 5};
	struct err err;

	for (size_t rotation = 0; rotation < 8; rotation++) {
		struct feature_set set = {0};

		for (size_t k = 0; k < 8; k++) {
			const int32_t id = (int32_t)((k + rotation) % 8);

			REQUIRE_OK(feature_set_offer(&set, 5,
					   (struct feature){0, id, 0, scores[id]}, &err),
				&err);
		}
		REQUIRE(set.n == 5, "%zu features", set.n);
		for (size_t k = 0; k < 5; k++)
			CHECK(set.data[k].id == expected[k], "rank %zu is %d, expected %d", k,
				set.data[k].id, expected[k]);
		free(set.data);
	}
}

TEST(features_that_rounding_alone_could_exchange_are_counted)
{
	/* The set is ids 0, 1, 2; the best one left out has 3 with noise 0.5, the next 2.9 with 2.
	 */
	const float score[] = {9, 5.5f, 3.2f, 3, 2.9f}, nothing[5] = {0};
	const float noise[] = {0.25f, 0.25f, 0, 0.5f, 2}, tied[] = {9, 3, 3, 3, 0};
	struct feature_set all = {0}, best = {0};
	struct err err;

	for (int32_t i = 0; i < 5; i++)
		REQUIRE_OK(feature_set_add(&all, (struct feature){0, i, 0, score[i]}, &err), &err);
	for (int32_t i = 0; i < 3; i++)
		REQUIRE_OK(feature_set_offer(&best, 3, all.data[i], &err), &err);
	CHECK(feature_set_undecided(&best, &all, score, nothing) == 0, "without noise");
	CHECK(feature_set_undecided(&best, &all, score, noise) == 1, "%zu, not the third alone",
		feature_set_undecided(&best, &all, score, noise));
	CHECK(feature_set_undecided(&best, &all, tied, nothing) == 2, "%zu, not the two of a tie",
		feature_set_undecided(&best, &all, tied, nothing));
	CHECK(feature_set_undecided(&all, &all, score, noise) == 0, "with none left out");
	best.data[1].score = 0;
	feature_set_without_zeros(&best);
	CHECK(best.n == 2 && best.data[0].id == 0 && best.data[1].id == 2, "%zu features", best.n);
	free(all.data);
	free(best.data);
}

TEST(a_set_that_was_offered_one_more_is_cut_and_what_that_one_could_stand_for_counted)
{
	static const struct {
		float score[4];
		size_t limit, undecided;
		struct score_noise noise;
		const char *what;
	} cases[] = {{{9, 5, 3, 2}, 3, 0, {0.25, 0}, "a clear cut"},
		{{9, 5, 3, 2.75f}, 3, 1, {0.25, 0}, "the last leads by less than both are off"},
		{{9, 3, 3, 3}, 3, 2, {0, 0}, "a tie of three"},
		{{80, 70, 60, 50}, 3, 1, {0, 0.125}, "each is off by an eighth of itself"},
		{{-50, -60, -70, -80}, 2, 1, {0, 0.125}, "so are negative ones"},
		{{9, 5, 3, 3}, 4, 0, {1, 1}, "nothing is left out"}};
	struct err err;

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct feature_set set = {0};
		size_t n;

		for (int32_t id = 0; id < 4; id++)
			REQUIRE_OK(feature_set_offer(&set, cases[i].limit + 1,
					   (struct feature){0, id, 0, cases[i].score[id]}, &err),
				&err);
		n = feature_set_cut(&set, cases[i].limit, cases[i].noise);
		CHECK(n == cases[i].undecided, "%s: %zu, not %zu", cases[i].what, n,
			cases[i].undecided);
		CHECK(set.n == cases[i].limit && set.data[0].id == 0, "%s: %zu are left",
			cases[i].what, set.n);
		free(set.data);
	}
}

TEST(random_features_match_the_layers_of_the_set_they_control_and_avoid_it)
{
	struct feature_set like = {0}, set = {0}, again = {0};
	uint8_t alive[3 * 50] = {0};
	struct err err;
	size_t per_layer[3] = {0};

	for (int32_t k = 0; k < 6; k++)
		REQUIRE_OK(feature_set_add(&like, (struct feature){k % 2 * 2, k, 0, 0}, &err),
			&err);
	for (size_t i = 0; i < sizeof alive; i++)
		alive[i] = i % 3 != 1;
	REQUIRE_OK(feature_set_random(&set, &like, alive, 3, 50, 9, &err), &err);
	REQUIRE_OK(feature_set_random(&again, &like, alive, 3, 50, 9, &err), &err);
	REQUIRE(set.n == 6 && again.n == 6, "%zu features", set.n);
	for (size_t k = 0; k < 6; k++) {
		const struct feature f = set.data[k];

		per_layer[f.layer]++;
		CHECK(alive[f.layer * 50 + f.id], "feature %d of layer %d never occurs", f.id,
			f.layer);
		CHECK(!feature_set_holds(&like, f.layer, f.id), "feature %d is in the set", f.id);
		CHECK(f.id == again.data[k].id, "the same seed drew another feature");
		for (size_t j = 0; j < k; j++)
			CHECK(set.data[j].layer != f.layer || set.data[j].id != f.id,
				"drawn twice");
	}
	CHECK(per_layer[0] == 3 && per_layer[1] == 0 && per_layer[2] == 3, "layers %zu %zu %zu",
		per_layer[0], per_layer[1], per_layer[2]);
	free(like.data);
	free(set.data);
	free(again.data);
}

/* ---- statistics -------------------------------------------------------------------------- */

TEST(series_agree_as_far_as_their_values_and_ranks_do)
{
	static const double x[] = {1, 2, 3, 4}, y[] = {2, 4, 6, 8}, z[] = {1, 8, 27, 64},
			    back[] = {4, 3, 2, 1}, flat[] = {5, 5, 5, 5}, ties[] = {1, 1, 2, 2};
	struct err err = {0};
	double rho;

	CHECK(fabs(statistics_pearson(x, y, 4) - 1) < 1e-12, "a line does not correlate");
	CHECK(fabs(statistics_pearson(x, back, 4) + 1) < 1e-12, "a falling line does not");
	CHECK(isnan(statistics_pearson(x, flat, 4)), "a constant correlates");
	CHECK(statistics_spearman(x, z, 4, &rho, &err) == 0 && fabs(rho - 1) < 1e-12,
		"ranks of a rising series: %g", rho);
	/* Ranks 0.5 0.5 2.5 2.5 against 0 1 2 3: 4 / sqrt(5 * 4). */
	CHECK(statistics_spearman(x, ties, 4, &rho, &err) == 0 && fabs(rho - 4 / sqrt(20)) < 1e-12,
		"ranks with ties: %g", rho);
	CHECK(fabs(statistics_relative_error(x, y, 4) - 0.5) < 1e-12, "half is not half off");
	CHECK(fabs(statistics_slope(x, y, 4) - 2) < 1e-12, "a slope of two is not");
	CHECK(isnan(statistics_relative_error(x, (const double[]){0, 0, 0, 0}, 4)),
		"an error relative to nothing");
}

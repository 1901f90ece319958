/* SPDX-License-Identifier: MIT
 *
 * test_starved_model.c - models, adapters and SAEs of tests/golden opened and used, where each
 * allocation in turn finds no memory (starved.h).
 */
#include "host/method/attribution.h"
#include "host/method/retain_plan.h"
#include "host/method/runner.h"
#include "host/model/generate.h"
#include "host/model/model.h"
#include "host/model/model_folder.h"
#include "host/model/sae.h"
#include "host/model/sparse.h"
#include "host/text/tokenizer.h"
#include "tests/starved.h"
#include "tests/test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct device *dev;

static bool open_device(void)
{
	struct err err;

	if (device_open(&dev, "cpu", 1, &err))
		test_fail(__FILE__, __LINE__, "%s", err.text);
	return dev != NULL;
}

/* What succeeds with memory: starve (starved.h). */
static size_t starve_working(starved *call, const void *context, const char *name)
{
	struct err err = {0};

	if (call(context, &err))
		test_fail(__FILE__, __LINE__, "%s: %s", name, err.text);
	return starve(call, context, name);
}

static const char *golden(const char *kind, const char *name)
{
	static char path[4][512];
	static int next;
	char *here = path[next++ % 4];

	snprintf(here, sizeof path[0], "%s/tests/golden/%s/%s", test_source_root(), kind, name);
	return here;
}

/* ---- models ------------------------------------------------------------------------------ */

static const int32_t tokens[] = {2, 5, 9, 4, 7};
static const struct token_span prompts[] = {{tokens, 5, 0}, {tokens + 1, 3, 1}};

struct opening {
	const char *folder, *adapter;
};

/* Opens a model and continues two prompts by two tokens. */
static int open_and_continue(const void *context, struct err *err)
{
	const struct opening *o = context;
	const struct model_options options = {.adapter = o->adapter};
	struct model *model = NULL;
	struct readout readout = {0};
	struct generator *g = NULL;
	int32_t replies[4], ended_by[2];
	size_t lengths[2];
	const struct generation request = {.prompts = prompts,
		.n_prompts = 2,
		.tokens = replies,
		.lengths = lengths,
		.ended_by = ended_by};

	err_clear(err);
	TRY(model_open(&model, dev, o->folder, &options, err));
	TRY(readout_init(&readout, model, err));
	TRY(generator_create(&g, model, &readout, (struct generator_size){2, 8, 8, 2}, err));
	TRY(generate(g, &request, err));
fail:
	generator_free(g);
	readout_free(&readout);
	model_close(model);
	return err->code;
}

TEST(without_memory_no_model_is_opened_or_continues_a_prompt)
{
	static const char *const names[] = {"gemma2_a", "gemma3_a", "llama_a", "mistral_a",
		"qwen2_a", "qwen3_a"};
	size_t n = 0;

	if (!open_device())
		return;
	for (size_t i = 0; i < sizeof names / sizeof *names; i++)
		n += starve_working(open_and_continue,
			&(struct opening){golden("models", names[i]), NULL}, names[i]);
	device_close(dev);
	printf("  %zu allocations failed\n", n);
}

TEST(without_memory_an_adapter_is_never_left_out)
{
	static const char *const names[][2] = {{"list", "llama_a"}, {"all_linear", "gemma2_b"},
		{"pattern", "qwen2_a"}, {"embedding", "gemma3_c"}, {"layers", "llama_b"},
		{"head", "llama_c"}};
	size_t n = 0;

	if (!open_device())
		return;
	for (size_t i = 0; i < sizeof names / sizeof *names; i++)
		n += starve_working(open_and_continue,
			&(struct opening){golden("models", names[i][1]),
				golden("adapters", names[i][0])},
			names[i][0]);
	device_close(dev);
	printf("  %zu allocations failed\n", n);
}

static int find_folder(const void *context, struct err *err)
{
	struct model_folder folder;

	if (model_folder_find(&folder, context, "", err))
		return err->code;
	model_folder_free(&folder);
	return 0;
}

TEST(without_memory_no_folder_of_a_model_is_taken_for_another)
{
	starve_working(find_folder, golden("models", "llama_a"), "a model");
	starve(find_folder, golden("adapters", "list"), "an adapter without its base");
}

static int open_tokenizer(const void *context, struct err *err)
{
	struct tokenizer *tok = NULL;
	const int rc = tokenizer_open_folder(&tok, context, err);

	tokenizer_close(tok);
	return rc;
}

TEST(without_memory_no_tokenizer_is_opened_without_the_files_beside_it)
{
	char folder[512];

	snprintf(folder, sizeof folder, "%s/models/tiny-gemma2", test_source_root());
	starve_working(open_tokenizer, folder, "tiny-gemma2");
}

/* ---- SAEs -------------------------------------------------------------------------------- */

enum { N_LAYERS = 3, D_MODEL = 24, MOST_FEATURES = 64 };

/* Opens the SAEs of a folder and asks each for all that can be asked. */
static int open_saes(const void *context, struct err *err)
{
	const struct sae_options options = {.path = context,
		.format = "auto",
		.layer_folder = "",
		.width = strstr(context, "/llama_scope") ? "1x" : "40",
		.l0 = 100,
		.fold = "authors",
		.some_layers = true,
		.budget = 1 << 20};
	static const int32_t ids[] = {1, 4, 7};
	float direction[D_MODEL] = {1}, cosine[MOST_FEATURES];
	struct sae_set *saes = NULL;

	err_clear(err);
	TRY(sae_set_open(&saes, dev, &options, N_LAYERS, D_MODEL, err));
	for (size_t l = 0; l < N_LAYERS; l++) {
		struct sae_weights weights;
		struct sae_few few = {0};
		int rc;

		if (!sae_set_has(saes, l))
			continue;
		TRY(sae_set_load(saes, l, &weights, err));
		TRY(sae_set_cosines(saes, l, direction, cosine, err));
		rc = sae_set_select(saes, l, ids, 3, &few, err);
		sae_few_free(&few);
		TRY(rc);
	}
fail:
	sae_set_close(saes);
	return err->code;
}

TEST(without_memory_no_format_of_saes_is_read_by_half)
{
	static const char *const names[] = {"gemma_scope", "gemma_scope_2", "llama_scope",
		"lm_saes", "saelens_batchtopk", "saelens_before_6", "saelens_gated",
		"saelens_jumprelu", "saelens_sphere", "saelens_standard", "saelens_standardized",
		"saelens_topk", "sparsify_groupmax", "sparsify_topk"};
	size_t n = 0;

	if (!open_device())
		return;
	for (size_t i = 0; i < sizeof names / sizeof *names; i++)
		n += starve_working(open_saes, golden("saes", names[i]), names[i]);
	device_close(dev);
	printf("  %zu allocations failed\n", n);
}

/* ---- what is done with features ----------------------------------------------------------- */

/* The SAEs of gemma2_a, and four of their features in two layers. */
struct features {
	struct sae_set *saes;
	struct feature_set some;
};

static int features_open(struct features *f, const struct model *model, struct err *err)
{
	const struct sae_options options = {.path = golden("models", "gemma2_a/saes"),
		.format = "auto",
		.layer_folder = "",
		.width = "24",
		.l0 = 7,
		.fold = "authors",
		.budget = 1 << 20};

	*f = (struct features){0};
	TRY(sae_set_open(&f->saes, dev, &options, model->arch.n_layer, model->arch.d_model, err));
	for (int32_t i = 0; i < 4; i++)
		TRY(feature_set_add(&f->some, (struct feature){i % 2, i, 0, 0}, err));
	return 0;
fail:
	return err->code;
}

static void features_close(struct features *f)
{
	free(f->some.data);
	sae_set_close(f->saes);
}

/* A pass under clamps, a set for each prompt, and one in which other features are retained. */
static int clamp_features(const void *context, struct err *err)
{
	const struct model *model = context;
	const struct feature_set none = {0};
	struct feature_set sets[2] = {{0}};
	const struct clamp_value value = {-1, 0};
	const float recorded[32] = {0};
	const struct retained_rows rows[] = {{prompts[0].n, recorded}, {prompts[1].n, recorded}};
	const size_t order[] = {1, 0};
	struct edit edit = {.kind = EDIT_CLAMP, .layer_last = model->arch.n_layer - 1};
	const struct intervention how = {.edits = &edit, .n_edits = 1};
	struct runner runner = {0};
	struct readout readout = {0};
	struct clamp_plan *plan = NULL;
	struct retain_plan *retain = NULL;
	struct features f;

	TRY(features_open(&f, model, err));
	TRY(readout_init(&readout, model, err));
	TRY(runner_init(&runner, model, &readout, (struct runner_size){16, 2, 16, false}, err));
	sets[0] = f.some;
	TRY(clamp_plan_create(&plan, dev, f.saes, sets, 2, value, err));
	TRY(clamp_plan_batch(plan, order, 2, &edit.clamps, err));
	TRY(runner_run(&runner, prompts, 2, 1, &how, err));
	TRY(retain_plan_create(&retain, dev, f.saes, &f.some, value, &none, err));
	TRY(retain_plan_batch(retain, rows, 2, 1, &edit.clamps, err));
	TRY(runner_run(&runner, prompts, 2, 1, &how, err));
	err_clear(err);
fail:
	retain_plan_free(retain);
	clamp_plan_free(plan);
	runner_free(&runner);
	readout_free(&readout);
	features_close(&f);
	return err->code;
}

/* Effects, also of all features of a layer, and a feature's true one. */
static int attribute(const void *context, struct err *err)
{
	const struct model *model = context;
	const struct attribution_size size = {prompts[0].n + prompts[1].n, 2};
	struct attribution_result result;
	struct attribution *a = NULL;
	struct readout readout = {0};
	struct host_csr csr = {0};
	float direction[256] = {1};
	struct features f;
	double effect[2];

	TRY(features_open(&f, model, err));
	TRY(readout_init(&readout, model, err));
	TRY(attribution_create(&a,
		&(struct attribution_setup){.model = model,
			.readout = &readout,
			.saes = f.saes,
			.direction = direction,
			.candidates = &f.some,
			.options = {.steps = 2,
				.rule = IG_RULE_MIDPOINT,
				.refusal_token = 3,
				.target_token = -1},
			.all_features = true},
		size, err));
	TRY(attribution_run(a, prompts, 2, &result, err));
	TRY(attribution_all(a, 0, &csr, err));
	TRY(attribution_path_effect(a, prompts, 2, 1, effect, err));
	err_clear(err);
fail:
	host_csr_free(&csr);
	attribution_free(a);
	readout_free(&readout);
	features_close(&f);
	return err->code;
}

static int choose(const void *context, struct err *err)
{
	static const uint8_t alive[24] = {1, 1, 1, 1, 1, 1, 1, 1};
	const struct feature_set none = {0};
	struct feature_set some = {0}, best = {0}, random = {0};

	(void)context;
	for (int32_t i = 0; i < 4; i++)
		TRY(feature_set_add(&some, (struct feature){0, i, 0, 0}, err));
	TRY(feature_set_first(&some, &none, 2, &best, err));
	TRY(feature_set_random(&random, &best, alive, 1, 24, 5, err));
	err_clear(err);
fail:
	free(some.data);
	free(best.data);
	free(random.data);
	return err->code;
}

static void starve_on_a_model(starved *call)
{
	struct model *model = NULL;
	struct err err;

	if (!open_device())
		return;
	REQUIRE_OK(model_open(&model, dev, golden("models", "gemma2_a"), &(struct model_options){0},
			   &err),
		&err);
	printf("  %zu allocations failed\n", starve_working(call, model, "gemma2_a"));
	model_close(model);
	device_close(dev);
}

TEST(without_memory_no_feature_is_clamped)
{
	starve_on_a_model(clamp_features);
}

TEST(without_memory_no_effect_is_computed)
{
	starve_on_a_model(attribute);
}

TEST(without_memory_no_feature_is_chosen)
{
	starve_working(choose, NULL, "features");
}

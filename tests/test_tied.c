/* SPDX-License-Identifier: MIT
 *
 * test_tied.c - whole runs of ./engine on a model of which two tokens are always as probable as
 * each other, and on SAEs whose every feature is there twice: whatever is chosen by such says so,
 * and where nothing is as good as equal nothing is said. Parts: test_ties.c.
 */
#include "host/base/file.h"
#include "host/formats/safetensors.h"
#include "host/store/results.h"
#include "tests/run_engine.h"
#include "tests/test.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* The refusal token of the small Gemma-2 model, the first of most replies with the direction
 * ablated, and tokens that its prompts do not have, whose rows become the same. Of two that are as
 * probable the lower id is taken, so nothing else changes. */
enum { REFUSAL = 310, ABLATED = 535, TWIN_OF_REFUSAL = 1663, TWIN_OF_ABLATED = 1662 };
/* Of the small judge. */
enum { NO = 1404, TWIN_OF_NO = 1530 };
enum { N_TEST = 12 }; /* prompts of harmful_test */
enum { D_MODEL = 128, D_SAE = 1024, N_LAYERS = 6 };

static struct engine_run run;

static const char *const JOB =
	"configs/tiny_all.cfg --set prompts.harmful_train.limit=60 "
	"--set prompts.harmless_train.limit=60 --set prompts.harmful_test.limit=12 "
	"--set prompts.few.limit=3 --set prompts.categories.limit=70 "
	"--set prompts.categories.shuffle=true --set prompts.suffixes.limit=3 "
	"--set prompts.through.limit=5 --set prompts.refused.limit=5 "
	"--set prompts.with_suffix.limit=1 --set prompts.without_suffix.limit=1 "
	"--set categories.generate=false --set attribution.k_star=12 --set controls.draws=1 "
	"--set attribution.steps=2 --set generate.max_new_tokens=2";
static const char *const ALL =
	"'experiment=[\"direction\",\"attribution\",\"prune\",\"categories\",\"suffix\",\"jailbreaks\"]'";
static const char *const FEW = "'experiment=[\"direction\",\"attribution\"]'";

/* ---- files with twins ---------------------------------------------------------------------- */

/* A copy of a safetensors file in memory, and where its tensors are. */
struct copy {
	unsigned char *bytes;
	size_t n;
	struct safetensors *tensors;
};

static int copy_open(struct copy *c, const char *path)
{
	struct file_map map;
	struct err err;

	*c = (struct copy){0};
	if (file_map_open(&map, path, &err))
		return err.code;
	c->bytes = malloc(map.size);
	c->n = map.size;
	if (c->bytes)
		memcpy(c->bytes, map.data, map.size);
	file_map_close(&map);
	return c->bytes ? safetensors_parse(&c->tensors, path, c->bytes, c->n, &err) : 1;
}

static int copy_write(struct copy *c, const char *path)
{
	FILE *out = fopen(path, "wb");
	int rc = !out || fwrite(c->bytes, 1, c->n, out) != c->n;

	if (out)
		rc |= fclose(out);
	safetensors_close(c->tensors);
	free(c->bytes);
	return rc;
}

/* Makes n values of a tensor those of n others. They are of two bytes each. */
static void make_twin(struct copy *c, const char *tensor, size_t from, size_t to, size_t n)
{
	const struct file_tensor *t = safetensors_find(c->tensors, tensor);
	unsigned char *values = c->bytes + (t->data - c->bytes);

	memcpy(values + 2 * to, values + 2 * from, 2 * n);
}

static int link_file(const char *folder, const char *name, const char *to)
{
	char path[1024];

	snprintf(path, sizeof path, "%s/%s/%s", test_source_root(), folder, name);
	return symlink(path, to);
}

/* A model of the repository in a folder of the scratch folder, the rows of some tokens also those
 * of others. */
static int make_model(const char *name, size_t d_model, const int32_t (*twins)[2], size_t n,
	const char *folder)
{
	static const char *const linked[] = {"config.json", "generation_config.json",
		"tokenizer.json", "tokenizer_config.json"};
	char from[128], to[512], path[1024];
	struct copy c;

	snprintf(from, sizeof from, "models/%s", name);
	snprintf(to, sizeof to, "%s", in_scratch(folder));
	if (mkdir(to, 0700))
		return 1;
	for (size_t i = 0; i < sizeof linked / sizeof *linked; i++) {
		snprintf(path, sizeof path, "%s/%s", to, linked[i]);
		if (link_file(from, linked[i], path))
			return 1;
	}
	snprintf(path, sizeof path, "%s/%s/model.safetensors", test_source_root(), from);
	if (copy_open(&c, path))
		return 1;
	for (size_t i = 0; i < n; i++)
		make_twin(&c, "model.embed_tokens.weight", (size_t)twins[i][0] * d_model,
			(size_t)twins[i][1] * d_model, d_model);
	snprintf(path, sizeof path, "%s/model.safetensors", to);
	return copy_write(&c, path);
}

/* The SAE of a layer of the small Llama model, its features 512 to 1023 those before them. */
static int make_sae(int layer)
{
	static const char *const linked[] = {"hyperparams.json", "lm_config.json"};
	char from[128], to[600], path[1024], out[256];
	struct copy c;

	snprintf(from, sizeof from, "models/tiny-llama-scope/TinyLlama-L%dR-8x", layer);
	snprintf(to, sizeof to, "%s/TinyLlama-L%dR-8x", in_scratch("saes"), layer);
	snprintf(path, sizeof path, "mkdir -p '%s/checkpoints'", to);
	if (test_shell(path, out, sizeof out))
		return 1;
	for (size_t i = 0; i < sizeof linked / sizeof *linked; i++) {
		snprintf(path, sizeof path, "%s/%s", to, linked[i]);
		if (link_file(from, linked[i], path))
			return 1;
	}
	snprintf(path, sizeof path, "%s/%s/checkpoints/final.safetensors", test_source_root(),
		from);
	if (copy_open(&c, path))
		return 1;
	make_twin(&c, "encoder.weight", 0, D_SAE / 2 * D_MODEL, D_SAE / 2 * D_MODEL);
	make_twin(&c, "encoder.bias", 0, D_SAE / 2, D_SAE / 2);
	for (size_t j = 0; j < D_MODEL; j++)
		make_twin(&c, "decoder.weight", j * D_SAE, j * D_SAE + D_SAE / 2, D_SAE / 2);
	snprintf(path, sizeof path, "%s/checkpoints/final.safetensors", to);
	return copy_write(&c, path);
}

/* ---- tokens -------------------------------------------------------------------------------- */

static int64_t attribute(struct results_reader *r, const char *group, const char *name)
{
	struct err err;
	int64_t value = -1;

	CHECK(results_read_attribute_integer(r, group, name, &value, &err) == 0, "%s", err.text);
	return value;
}

TEST(a_run_on_the_model_as_it_is_says_nothing_of_rounding)
{
	struct results_reader *r;
	struct err err;

	engine_run(&run, "%s --set %s --set output=%s", JOB, FEW, in_scratch("clear.h5"));
	REQUIRE(run.status == 0, "%d: %s", run.status, run.err);
	CHECK(!strstr(run.out, "rounding") && !strstr(run.err, "rounding"), "%s\n%s", run.out,
		run.err);
	REQUIRE_OK(results_open(&r, in_scratch("clear.h5"), &err), &err);
	CHECK(attribute(r, "/candidates", "undecided") == 0, "candidates");
	CHECK(attribute(r, "/direction", "undecided") == 0, "prompts");
	results_reader_close(r);
}

static void check_targets(struct results_reader *r)
{
	int32_t target[N_TEST];
	float lead[N_TEST];
	struct err err;
	size_t n = 0;
	char line[64];

	REQUIRE_OK(results_read_exactly(r, "/indirect_effect/cossim_ap/target", RESULTS_I32, target,
			   N_TEST, &err),
		&err);
	REQUIRE_OK(results_read_exactly(r, "/indirect_effect/cossim_ap/target_lead", RESULTS_F32,
			   lead, N_TEST, &err),
		&err);
	for (size_t i = 0; i < N_TEST; i++) {
		const bool has_twin = target[i] == REFUSAL || target[i] == ABLATED;

		CHECK(has_twin == (lead[i] < 0x1p-13f), "prompt %zu: token %d leads by %g", i,
			target[i], lead[i]);
		n += has_twin;
	}
	snprintf(line, sizeof line, "in %zu of %d prompts token j of the metric led by", n, N_TEST);
	CHECK(n > 0 && n < N_TEST && strstr(run.out, line), "expected \"%s\" in\n%s", line,
		run.out);
}

/* Verdicts of a judge whose "No" has a twin. */
static void judge_by_twins(void)
{
	static const int32_t twins[][2] = {{NO, TWIN_OF_NO}};

	REQUIRE(make_model("tiny-judge", 64, twins, 1, "judge") == 0, "no judge");
	engine_run(&run, "configs/tiny_judge.cfg --set model.path=%s --set from=%s --set output=%s",
		in_scratch("judge"), in_scratch("tied.h5"), in_scratch("judged.h5"));
	REQUIRE(run.status == 0, "%d: %s", run.status, run.err);
	CHECK(strstr(run.out, "judge: prune/none: in 3 of 3 verdicts a token led by less than"),
		"%s", run.out);
}

TEST(what_hangs_on_equal_tokens_is_said_and_recorded)
{
	static const int32_t twins[][2] = {{REFUSAL, TWIN_OF_REFUSAL}, {ABLATED, TWIN_OF_ABLATED}};
	struct results_reader *r;
	char line[64];
	struct err err;

	REQUIRE(make_model("tiny-gemma2", D_MODEL, twins, 2, "twins") == 0, "no model");
	engine_run(&run, "%s --set %s --set model.path=%s --set output=%s", JOB, ALL,
		in_scratch("twins"), in_scratch("tied.h5"));
	REQUIRE(run.status == 0, "%d: %s", run.status, run.err);
	REQUIRE_OK(results_open(&r, in_scratch("tied.h5"), &err), &err);

	/* Harmful prompts are refused by a token that has a twin. Harmless ones are not, whatever
	 * else they begin with. */
	snprintf(line, sizeof line, "decided by less than 0.00012207 logits for %lld of 60",
		(long long)attribute(r, "/direction", "n_harmful"));
	CHECK(strstr(run.out, "prompts.harmful_train: whether the reply") && strstr(run.out, line),
		"expected \"%s\" in\n%s", line, run.out);
	CHECK(!strstr(run.out, "prompts.harmless_train: whether the reply"), "%s", run.out);
	CHECK(attribute(r, "/direction", "undecided") == attribute(r, "/direction", "n_harmful"),
		"%lld prompts", (long long)attribute(r, "/direction", "undecided"));
	check_targets(r);

	/* With all features released prompts are refused again; so are those without a suffix. */
	CHECK(strstr(run.out, "clamped prompts the first token is the refusal token, or is not"),
		"%s", run.out);
	CHECK(attribute(r, "/prune", "undecided_complies") > 0, "none complies");
	CHECK(strstr(run.out, "suffix: of 3 of 3 suffixes rounding may"), "%s", run.out);
	CHECK(attribute(r, "/suffix", "undecided") == 3, "suffixes");
	CHECK(strstr(run.out, "jailbreaks: of 6 of 6 pairs rounding may"), "%s", run.out);
	CHECK(attribute(r, "/jailbreaks", "undecided") == 6, "pairs");
	results_reader_close(r);
	judge_by_twins();
}

TEST(where_the_order_of_sums_is_fixed_nothing_is_said_but_all_is_recorded)
{
	static const int32_t twins[][2] = {{REFUSAL, TWIN_OF_REFUSAL}};
	struct results_reader *r;
	struct err err;
	int64_t n;

	REQUIRE(make_model("tiny-gemma2", D_MODEL, twins, 1, "twin") == 0, "no model");
	engine_run(&run,
		"%s --set %s --set model.path=%s --set output=%s --set batch.invariant=true "
		"--set direction.harmful=suffixes",
		JOB, FEW, in_scratch("twin"), in_scratch("fixed.h5"));
	REQUIRE(run.status == 0, "%d: %s", run.status, run.err);
	CHECK(!strstr(run.out, "rounding") && !strstr(run.err, "rounding"), "%s\n%s", run.out,
		run.err);
	REQUIRE_OK(results_open(&r, in_scratch("fixed.h5"), &err), &err);
	n = attribute(r, "/direction", "n_harmful");
	CHECK(n > 3 && n < 22, "%lld of 22 suffixes, three of them empty, do not help",
		(long long)n);
	CHECK(attribute(r, "/direction", "undecided") == n, "%lld prompts, not %lld",
		(long long)attribute(r, "/direction", "undecided"), (long long)n);
	results_reader_close(r);
}

/* ---- features ------------------------------------------------------------------------------ */

static const char *const EXPERIMENTS =
	"configs/tiny_all_llama.cfg --set "
	"'experiment=[\"direction\",\"attribution\",\"sweep_kstar\",\"categories\",\"sae_compare\","
	"\"exact_patching\",\"low_cosine\",\"interactions\",\"prune\"]' "
	"--set direction.layer=3 --set attribution.k0=5 --set attribution.k_star=5 "
	"--set 'sweep_kstar.k_star=[3]' --set 'sweep_kstar.k0=[3,4,5]' --set 'exact_patching.steps=[1]' "
	"--set exact_patching.contexts=1 --set categories.generate=false --set controls.draws=1 "
	"--set 'clamp.scale=[-2.0]' --set generate.max_new_tokens=2 "
	"--set prompts.harmful_train.limit=8 --set prompts.harmless_train.limit=8 "
	"--set prompts.harmful_test.limit=6 --set prompts.harmless_test.limit=4 "
	"--set prompts.few.limit=3 --set prompts.categories.limit=12 "
	"--set prompts.categories.shuffle=true";

/* low_cosine with the limit at the cosine of one of its own features. */
static void limit_by_a_cosine(struct results_reader *r)
{
	float cosine[5];
	struct err err;

	REQUIRE_OK(results_read_exactly(r, "/low_cosine/low/cosine", RESULTS_F32, cosine, 5, &err),
		&err);
	engine_run(&run,
		"%s --set 'experiment=[\"direction\",\"low_cosine\"]' --set low_cosine.max_cosine=%.9g "
		"--set sae.path=%s --set output=%s",
		EXPERIMENTS, (double)fabsf(cosine[0]), in_scratch("saes"), in_scratch("limit.h5"));
	REQUIRE(run.status == 0, "%d: %s", run.status, run.err);
	CHECK(strstr(run.out, "low_cosine: 2 features of such effects differ from"), "%s", run.out);
}

TEST(whatever_is_chosen_among_equal_features_is_said_and_recorded)
{
	static const char *const lines[] =
		{"attribution: rounding could exchange 6 of the 30 candidates",
			"categories: rounding could exchange 6 of the 30 candidates",
			"low_cosine: rounding could exchange 6 of the 30 candidates",
			"exact_patching: rounding could exchange 6 of the 30 candidates",
			"interactions: rounding could exchange 6 of the 30 candidates",
			"sweep_kstar: rounding could exchange 6 of the 30 candidates",
			"features of the global set of cossim", "features of the global set of ap",
			"features of the global set of actdiff",
			"features in the own sets of ap of 3 of 6 prompts",
			"sweep_kstar: rounding alone could exchange features of 2 of the sets",
			"exchange candidates that 1 of the sets with a smaller K0",
			"rounding alone could exchange features in the sets of 3 of 7 categories",
			"sae_compare: attribution, b: rounding alone could exchange",
			"comparisons rounding alone could exchange features of the best",
			"low_cosine: rounding alone could exchange",
			"greedy releases were chosen by"};
	struct results_reader *r;
	struct err err;

	for (int l = 0; l < N_LAYERS; l++)
		REQUIRE(make_sae(l) == 0, "no SAE of layer %d", l);
	engine_run(&run, "%s --set sae.path=%s --set sae_compare.path=%s --set output=%s",
		EXPERIMENTS, in_scratch("saes"), in_scratch("saes"), in_scratch("twins.h5"));
	REQUIRE(run.status == 0, "%d: %s", run.status, run.err);
	for (size_t i = 0; i < sizeof lines / sizeof *lines; i++)
		CHECK(strstr(run.out, lines[i]), "expected \"%s\" in\n%s", lines[i], run.out);
	CHECK(strstr(run.err, "of the 5 features of the global F*"), "%s", run.err);
	REQUIRE_OK(results_open(&r, in_scratch("twins.h5"), &err), &err);
	CHECK(attribute(r, "/candidates", "undecided") == N_LAYERS, "candidates");
	CHECK(attribute(r, "/prune", "undecided_releases") > 0, "releases");
	limit_by_a_cosine(r);
	results_reader_close(r);
}

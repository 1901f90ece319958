/* SPDX-License-Identifier: MIT
 *
 * test_invariant.c - whole runs of ./engine with batch.invariant: a prompt's bits are the same in
 * any batch, in any order, and alone. The kernels: test_invariant_ops.c.
 */
#include "host/store/results.h"
#include "tests/run_engine.h"
#include "tests/same_results.h"
#include "tests/test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { N_TRAIN = 20, N_TEST = 7, N_CANDIDATES = 60, MOST_FILE = 1 << 16 };

static struct engine_run run;

static const char *const sets[] = {"harmful_train", "harmless_train", "harmful_test",
	"harmless_test"};

/* The first n prompts of a set of the small world, in their order or the other way round. */
static void write_set(const char *set, size_t n, bool reverse, const char *name)
{
	static const char key[] = "\"instruction\": \"";
	static char file[MOST_FILE];
	char path[512], text[8192] = "[", *prompt[N_TRAIN], *at = file;
	FILE *in;

	snprintf(path, sizeof path, "%s/models/small-world/%s.json", test_source_root(), set);
	in = fopen(path, "r");
	REQUIRE(in && fread(file, 1, sizeof file - 1, in) > 0, "%s cannot be read", path);
	fclose(in);
	for (size_t i = 0; i < n; i++) {
		at = strstr(at, key);
		REQUIRE(at, "%s: less than %zu prompts", path, n);
		prompt[i] = at += sizeof key - 1;
		at = strchr(at, '"');
		*at++ = '\0';
	}
	for (size_t i = 0; i < n; i++)
		snprintf(text + strlen(text), sizeof text - strlen(text),
			"%s{\"instruction\": \"%s\"}", i > 0 ? ",\n" : "",
			prompt[reverse ? n - 1 - i : i]);
	snprintf(text + strlen(text), sizeof text - strlen(text), "]\n");
	write_scratch(name, text);
}

/* The config's arguments with every set from files "ORDER-SET.json". */
static const char *job(const char *order, bool reverse)
{
	static char text[1024];

	snprintf(text, sizeof text,
		"configs/tiny_gemma2_ap.cfg --set batch.invariant=true "
		"--set generate.max_new_tokens=10");
	for (size_t i = 0; i < sizeof sets / sizeof *sets; i++) {
		char name[40];

		snprintf(name, sizeof name, "%s-%s.json", order, sets[i]);
		write_set(sets[i], i < 2 ? N_TRAIN : N_TEST, reverse, name);
		snprintf(text + strlen(text), sizeof text - strlen(text),
			" --set prompts.%s.file=%s", sets[i], in_scratch(name));
	}
	return text;
}

#define RUN(...) \
	do { \
		engine_run(&run, __VA_ARGS__); \
		REQUIRE(run.status == 0, "exit status %d: %s", run.status, run.err); \
	} while (0)

/* All but /summary, whose ce_released is by definition one of batches. */
static const char *const groups[] = {"/direction", "/candidates", "/feature_sets",
	"/indirect_effect", "/generations", "/scores", "/tokens", "/activations", "/features"};

static const char *const kept = "--set save.resid_post=true --set save.features=true";

TEST(no_size_of_batches_and_number_of_threads_changes_a_bit)
{
	static const char *const batches[] =
		{"--set batch.tokens=64 --set generate.prompts=1 --set threads=1",
			"--set batch.tokens=96 --set generate.prompts=3 --set threads=2",
			"--set batch.tokens=4096 --set generate.prompts=5 --set threads=3"};
	const char *arguments = job("order", false);

	RUN("%s %s --set output=%s --set threads=2", arguments, kept, in_scratch("usual.h5"));
	for (size_t i = 0; i < sizeof batches / sizeof *batches; i++) {
		int n = 0;

		RUN("%s %s --set output=%s %s", arguments, kept, in_scratch("other.h5"),
			batches[i]);
		for (size_t g = 0; g < sizeof groups / sizeof *groups; g++)
			n += same_results(in_scratch("usual.h5"), in_scratch("other.h5"),
				groups[g]);
		CHECK(n > 150, "%s: only %d datasets were compared", batches[i], n);
		remove(in_scratch("other.h5"));
	}
}

/* ---- by prompt ------------------------------------------------------------------------- */

/* What is compared of every test prompt. */
struct readings {
	double p_refusal[3][N_TEST], metric[2][N_TEST];
	float *effect; /* [n, N_CANDIDATES] */
	char **reply[3];
};

static const char *const conditions[] = {"none", "ablate_direction", "ap_global_x-1"};

static void readings_read(struct readings *r, const char *path, size_t n, size_t n_conditions)
{
	struct results_reader *file;
	size_t dims[2];
	struct err err;

	*r = (struct readings){0};
	REQUIRE_OK(results_open(&file, path, &err), &err);
	for (size_t c = 0; c < n_conditions; c++) {
		char name[96];
		size_t n_texts;

		snprintf(name, sizeof name, "/scores/jailbreak/%s/p_refusal", conditions[c]);
		REQUIRE_OK(results_read_exactly(file, name, RESULTS_F64, r->p_refusal[c], n, &err),
			&err);
		snprintf(name, sizeof name, "/generations/jailbreak/%s/text", conditions[c]);
		REQUIRE_OK(results_read_texts(file, name, &n_texts, &r->reply[c], &err), &err);
	}
	REQUIRE_OK(results_read_exactly(file, "/indirect_effect/cossim_ap/metric_clean",
			   RESULTS_F64, r->metric[0], n, &err),
		&err);
	REQUIRE_OK(results_read_exactly(file, "/indirect_effect/cossim_ap/metric_patched",
			   RESULTS_F64, r->metric[1], n, &err),
		&err);
	REQUIRE_OK(results_read_floats(file, "/indirect_effect/cossim_ap/per_prompt", 2, dims,
			   &r->effect, &err),
		&err);
	REQUIRE(dims[0] == n && dims[1] == N_CANDIDATES, "%zu prompts, %zu candidates", dims[0],
		dims[1]);
	results_reader_close(file);
}

static void readings_free(struct readings *r, size_t n)
{
	for (size_t c = 0; c < 3; c++) {
		for (size_t i = 0; r->reply[c] && i < n; i++)
			free(r->reply[c][i]);
		free(r->reply[c]);
	}
	free(r->effect);
}

/* Prompt i of a and prompt j of b are the same. */
static void check_prompt(const struct readings *a, size_t i, const struct readings *b, size_t j,
	size_t n_conditions)
{
	for (size_t c = 0; c < n_conditions; c++) {
		CHECK(memcmp(&a->p_refusal[c][i], &b->p_refusal[c][j], sizeof(double)) == 0,
			"prompt %zu, %s: %.17g and %.17g", i, conditions[c], a->p_refusal[c][i],
			b->p_refusal[c][j]);
		CHECK(strcmp(a->reply[c][i], b->reply[c][j]) == 0, "prompt %zu, %s: \"%s\", \"%s\"",
			i, conditions[c], a->reply[c][i], b->reply[c][j]);
	}
	for (int m = 0; m < 2; m++)
		CHECK(memcmp(&a->metric[m][i], &b->metric[m][j], sizeof(double)) == 0,
			"prompt %zu: metrics %.17g and %.17g", i, a->metric[m][i], b->metric[m][j]);
	CHECK(memcmp(a->effect + i * N_CANDIDATES, b->effect + j * N_CANDIDATES,
		      N_CANDIDATES * sizeof *a->effect) == 0,
		"prompt %zu: effects differ", i);
}

TEST(prompts_in_another_order_have_the_same_bits_each)
{
	static const char *const same[] = {"/direction", "/candidates", "/feature_sets/ap/global",
		"/feature_sets/cossim_ap/global", "/feature_sets/actdiff"};
	static const char *const few = "--set 'experiment=[\"direction\",\"attribution\","
				       "\"jailbreak\"]' --set batch.tokens=96";
	const char *arguments = job("order", false);
	struct readings a, b;

	RUN("%s %s --set output=%s", arguments, few, in_scratch("forward.h5"));
	arguments = job("reverse", true);
	RUN("%s %s --set output=%s", arguments, few, in_scratch("backward.h5"));
	for (size_t i = 0; i < sizeof same / sizeof *same; i++)
		same_results(in_scratch("forward.h5"), in_scratch("backward.h5"), same[i]);
	readings_read(&a, in_scratch("forward.h5"), N_TEST, 3);
	readings_read(&b, in_scratch("backward.h5"), N_TEST, 3);
	for (size_t i = 0; i < N_TEST; i++)
		check_prompt(&a, i, &b, N_TEST - 1 - i, 3);
	readings_free(&a, N_TEST);
	readings_free(&b, N_TEST);
}

TEST(a_prompt_alone_has_the_bits_it_has_among_others)
{
	static const char *const few = "--set 'experiment=[\"direction\",\"attribution\","
				       "\"jailbreak\"]'";
	const char *arguments = job("order", false);
	struct readings all, one;

	RUN("%s %s --set output=%s", arguments, few, in_scratch("all.h5"));
	RUN("%s %s --set output=%s --set prompts.harmful_test.limit=1", arguments, few,
		in_scratch("alone.h5"));
	readings_read(&all, in_scratch("all.h5"), N_TEST, 2);
	readings_read(&one, in_scratch("alone.h5"), 1, 2); /* its own features: not the third */
	check_prompt(&all, 0, &one, 0, 2);
	readings_free(&all, N_TEST);
	readings_free(&one, 1);
}

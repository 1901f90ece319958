/* SPDX-License-Identifier: MIT
 *
 * test_checks.c - what config and inputs tell is said before the first pass, by a dry run too, in
 * the same words and with the same exit status; and finished work outlives what only a pass tells.
 */
#include "host/base/file.h"
#include "tests/run_engine.h"
#include "tests/test.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static struct engine_run run, dry;

/* A few prompts of each kind. */
static const char JOB[] =
	"configs/tiny_gemma2_ap.cfg --set prompts.harmful_train.limit=16 --set "
	"prompts.harmless_train.limit=16 --set prompts.harmful_test.limit=4 --set "
	"prompts.harmless_test.limit=4 --set generate.max_new_tokens=8 --set clamp.scale=-1.0";

/* The engine with these arguments, writing to refused.h5: refuses before the first pass, and so
 * does a dry run. */
static void refuses(int status, const char *message, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
static void refuses(int status, const char *message, const char *format, ...)
{
	char arguments[4096], output[512];
	va_list args;

	snprintf(output, sizeof output, "%s", in_scratch("refused.h5"));
	va_start(args, format);
	vsnprintf(arguments, sizeof arguments, format, args);
	va_end(args);
	engine_run(&dry, "%s --set output=%s --dry-run", arguments, output);
	engine_run(&run, "%s --set output=%s", arguments, output);
	CHECK(run.status == status && strcmp(run.err, message) == 0,
		"%s: exit status %d, expected %d; message is\n%s\nexpected\n%s", arguments,
		run.status, status, run.err, message);
	CHECK(dry.status == run.status && strcmp(dry.err, run.err) == 0,
		"%s: the dry run ended with %d and\n%s\nthe run with %d and\n%s", arguments,
		dry.status, dry.err, run.status, run.err);
	CHECK(!folder_exists(in_scratch("refused.units")), "%s: it made units", arguments);
	CHECK(!file_exists(output), "%s: it wrote a file", arguments);
}

TEST(a_reply_that_does_not_fit_the_context_is_refused_for_every_experiment_that_continues_prompts)
{
	static const struct {
		const char *config, *set, *experiment;
		bool alone; /* no other set is continued, which could be longer */
	} continuing[] = {
		{"configs/tiny_gemma2_ap.cfg --set experiment=[\\\"direction\\\",\\\"jailbreak\\\"]",
			"harmful_test", "jailbreak", true},
		{"configs/tiny_gemma2_ap.cfg --set experiment=[\\\"direction\\\",\\\"attribution\\\","
		 "\\\"induce\\\"]",
			"harmless_test", "induce", true},
		{"configs/tiny_coherence.cfg", "harmless_test", "coherence", false},
		{"configs/tiny_sweep_kstar.cfg", "harmful_test", "sweep_kstar", false},
		{"configs/tiny_categories.cfg", "categories", "categories", true},
		{"configs/tiny_low_cosine.cfg", "harmful_test", "low_cosine", false},
		{"configs/tiny_prune.cfg", "harmful_test", "prune", true},
		{"configs/tiny_sae_compare.cfg", "harmless_test", "sae_compare", false},
	};

	for (size_t i = 0; i < sizeof continuing / sizeof *continuing; i++) {
		char expected[512];
		int most, length;
		const char *at;

		engine_run(&dry,
			"%s --set model.n_ctx=100 --set generate.max_new_tokens=99 "
			"--dry-run",
			continuing[i].config);
		at = strstr(dry.err, "expected at most ");
		CHECK(at && sscanf(at, "expected at most %d,", &most) == 1, "%s: %s",
			continuing[i].config, dry.err);
		length = 100 - most;
		CHECK(length > 5 && length < 60, "%s: the longest prompt has %d tokens",
			continuing[i].config, length);
		snprintf(expected, sizeof expected,
			"generate.max_new_tokens: expected at most %d, which with the longest prompt of "
			"prompts.%s (%d tokens; %s continues it) fills model.n_ctx (100), found 99\n",
			most, continuing[i].set, length, continuing[i].experiment);
		refuses(2, expected, "%s --set model.n_ctx=100 --set generate.max_new_tokens=99",
			continuing[i].config);
		/* As many fit. */
		engine_run(&dry,
			"%s --set model.n_ctx=100 --set generate.max_new_tokens=%d "
			"--dry-run",
			continuing[i].config, most);
		CHECK(!continuing[i].alone || dry.status == 0, "%s: %s", continuing[i].config,
			dry.err);
	}
}

TEST(what_config_and_prompts_tell_of_an_experiment_is_said_before_its_first_pass)
{
	static const struct {
		const char *arguments, *message;
	} cases[] = {
		{"configs/tiny_direction.cfg --set direction.positions=16",
			"direction.positions: expected at most 13, the tokens of a prompt of "
			"prompts.harmful_train behind what all prompts begin with, found 16\n"},
		{"configs/tiny_direction.cfg --set direction.harmless=harmful_train",
			"--set direction.harmless=harmful_train: direction.harmless: expected another "
			"prompt set than direction.harmful, found \"harmful_train\" for both\n"},
		{"configs/tiny_gemma2_ap.cfg --set 'attribution.target=\"Sure, here\"'",
			"attribution.target: expected a text of one token, \"Sure, here\" has 4\n"},
		{"configs/tiny_probe.cfg --set prompts.vanilla_harmful.limit=1 --set "
		 "prompts.vanilla_benign.limit=1",
			"probe: expected prompts of prompts.vanilla_harmful and of "
			"prompts.vanilla_benign to train on, and a fifth of them, drawn with the seed, "
			"to validate on, found 1, 1 and 0; more prompts are needed\n"},
		{"configs/tiny_feature_graph.cfg --set attribution.k_star=2",
			"feature_graph: expected features in at least three layers, found "
			"attribution.k_star = 2 and SAEs of 6 layers\n"},
		{"configs/tiny_sae_compare.cfg --set attribution.k_star=61",
			"attribution.k_star: expected at most 60, the number of candidates (the 10 "
			"nearest to the direction of each layer), found 61\n"},
	};

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
		refuses(2, cases[i].message, "%s", cases[i].arguments);
}

TEST(a_limit_above_what_a_file_has_is_said)
{
	engine_run(&run, "%s --set prompts.harmful_test.limit=5000 --set output=%s --dry-run", JOB,
		in_scratch("limit.h5"));
	CHECK(run.status == 0 &&
			strcmp(run.err,
				"warning: prompts.harmful_test.limit: 5000 asked for, "
				"models/small-world/harmful_test.json has 200 such prompts\n") == 0,
		"%d: %s", run.status, run.err);
}

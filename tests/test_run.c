/* SPDX-License-Identifier: MIT
 *
 * test_run.c - whole runs of ./engine: what may not change a result does not.
 */
#include "host/base/file.h"
#include "tests/run_engine.h"
#include "tests/same_results.h"
#include "tests/test.h"

#include <stdio.h>
#include <string.h>

static struct engine_run run;

/* A short job over everything: each experiment, two layers' worth of prompts. */
static const char *const SHORT_JOB =
	"configs/tiny_gemma2_ap.cfg --set prompts.harmful_train.limit=24"
	" --set prompts.harmless_train.limit=24 --set prompts.harmful_test.limit=9"
	" --set prompts.harmless_test.limit=9 --set generate.max_new_tokens=12";

static const char *result(const char *name)
{
	static char paths[4][512];
	static int next;
	char *path = paths[next++ % 4];

	snprintf(path, sizeof paths[0], "%s/%s", test_scratch_folder(), name);
	return path;
}

#define RUN(...) \
	do { \
		engine_run(&run, __VA_ARGS__); \
		REQUIRE(run.status == 0, "exit status %d: %s", run.status, run.err); \
	} while (0)

TEST(any_number_of_threads_gives_the_same_bits)
{
	int n;

	RUN("%s --set output=%s --set threads=1", SHORT_JOB, result("one.h5"));
	for (int threads = 2; threads <= 3; threads++) {
		RUN("%s --set output=%s --set threads=%d", SHORT_JOB, result("more.h5"), threads);
		n = same_results(result("one.h5"), result("more.h5"), "/");
		CHECK(n > 100, "only %d datasets were compared", n);
	}
}

TEST(features_of_an_earlier_file_give_the_generations_that_one_run_gives)
{
	static const char *const groups[] = {"/generations/jailbreak", "/scores/jailbreak",
		"/generations/induce"};

	RUN("%s --set output=%s", SHORT_JOB, result("whole.h5"));
	RUN("%s --set output=%s --set 'experiment=[\"direction\",\"attribution\"]'", SHORT_JOB,
		result("first.h5"));
	RUN("%s --set output=%s --set 'experiment=[\"jailbreak\",\"induce\"]' --set from=%s",
		SHORT_JOB, result("second.h5"), result("first.h5"));
	for (size_t i = 0; i < sizeof groups / sizeof groups[0]; i++)
		CHECK(same_results(result("whole.h5"), result("second.h5"), groups[i]) > 10,
			"%s: too little was compared", groups[i]);
}

TEST(a_dry_run_plans_and_writes_nothing)
{
	RUN("%s --set output=%s --dry-run", SHORT_JOB, result("dry.h5"));
	CHECK(!file_exists(result("dry.h5")), "a dry run left a result file");
	CHECK(!file_exists(result("dry.h5.part")), "a dry run left a part of one");
	CHECK(strstr(run.out, "jailbreak") && strstr(run.out, "tiny-gemma2"),
		"the plan does not name model and experiments:\n%s", run.out);
}

/* SPDX-License-Identifier: MIT
 *
 * test_memory.c - runs of ./engine under limits of address space, from one in which the program
 * barely starts to an ample one: each ends with exit 0, 4 or 5 and a message, never by a signal or
 * from within a library, and what they left goes on to the file that a straight run gives.
 *
 * SIZES is how many limits are tried: 8 in CI, 60 in `make soak`. Sanitizers need terabytes of
 * address space: not built with them.
 */
#include "host/base/file.h"
#include "tests/run_engine.h"
#include "tests/same_results.h"
#include "tests/test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static struct engine_run run;

/* Two threads: oneDNN's products, and their own stacks, in more than one of them. */
#define SMALL \
	" --set prompts.harmful_train.limit=12 --set prompts.harmless_train.limit=12" \
	" --set prompts.harmful_test.limit=6 --set prompts.harmless_test.limit=6" \
	" --set generate.max_new_tokens=6 --set generate.prompts=3 --set batch.tokens=96" \
	" --set direction.filter=false --set threads=2"

static const char *const ATTRIBUTION = "configs/tiny_llama_ap.cfg" SMALL
				       " --set clamp.scale=-1.0 --set induce.value=4.0";
static const char *const DIRECTION = "configs/tiny_direction.cfg" SMALL;

static const size_t MIB = 1 << 20;

/* Exits that a ladder of limits ended with. */
struct tally {
	int n, done, memory, output;
};

static void run_within(size_t bytes, const char *arguments)
{
	char launcher[64];
	struct engine_process engine;

	snprintf(launcher, sizeof launcher, "prlimit --as=%zu", bytes);
	engine = engine_start("limited", launcher, "%s", arguments);
	engine_wait(&run, &engine);
}

/* The least limit in which the loader can start the program, to a mebibyte. */
static size_t least_to_start(void)
{
	static size_t least;
	size_t none = MIB, some = 4096 * MIB;

	while (least == 0 && some - none > MIB) {
		const size_t middle = none + (some - none) / 2;

		run_within(middle, "--version");
		if (run.status == 0 || run.status == 4)
			some = middle;
		else
			none = middle;
	}
	least = least ? least : some;
	return least;
}

static void ends_well(struct tally *t, size_t bytes, const char *arguments)
{
	run_within(bytes, arguments);
	t->n++;
	t->done += run.status == 0;
	t->memory += run.status == 4;
	t->output += run.status == 5;
	CHECK(run.status == 0 || run.status == 4 || run.status == 5, "%.1f MiB: exit status %d: %s",
		(double)bytes / 0x1p20, run.status, run.err);
	CHECK(run.status != 4 || strstr(run.err, "too little memory") ||
			strstr(run.err, "out of memory"),
		"%.1f MiB: message is %s", (double)bytes / 0x1p20, run.err);
	CHECK(run.status != 5 || *run.err, "%.1f MiB: no message", (double)bytes / 0x1p20);
}

/* SIZES limits, evenly from where the program barely starts to `most` more. */
static struct tally climb(size_t most, const char *arguments)
{
	struct tally t = {0};

	if (system("command -v prlimit >/dev/null 2>&1") != 0) {
		test_skip("there is no prlimit to set limits with");
		return t;
	}
	for (size_t i = 0; i < SIZES; i++)
		ends_well(&t, least_to_start() + i * most / SIZES, arguments);
	printf("  %.40s...: %d limits from %.0f MiB on: %d exit 0, %d exit 4, %d exit 5\n",
		arguments, t.n, (double)least_to_start() / 0x1p20, t.done, t.memory, t.output);
	CHECK(t.done > 0, "the largest limit is not enough: %s", run.err);
	CHECK(t.memory > 0, "no limit was too small");
	return t;
}

/* NAME.h5 under ever wider limits, each of which goes on from what the one before left, or begins
 * anew; then without a limit, where it must be the straight run's. */
static void climbs_to_the_same_file(const char *name, const char *job, const char *options)
{
	char straight[256], limited[256], arguments[4096];

	snprintf(straight, sizeof straight, "%s/%s_straight.h5", test_scratch_folder(), name);
	snprintf(limited, sizeof limited, "%s/%s.h5", test_scratch_folder(), name);
	snprintf(arguments, sizeof arguments, "%s --set output=%s%s", job, limited, options);
	climb(256 * MIB, arguments);
	engine_run(&run, "%s --set output=%s", job, straight);
	CHECK(run.status == 0, "exit status %d: %s", run.status, run.err);
	engine_run(&run, "%s --set output=%s", job, limited);
	CHECK(run.status == 0, "exit status %d: %s", run.status, run.err);
	CHECK(same_results(straight, limited, "/") > 20, "too little was compared");
}

TEST(attribution_ends_with_exit_4_under_any_limit_of_address_space_and_goes_on_under_a_wider_one)
{
	climbs_to_the_same_file("ap", ATTRIBUTION, "");
}

TEST(a_direction_ends_with_exit_4_under_any_limit_of_address_space_from_its_beginning)
{
	climbs_to_the_same_file("direction", DIRECTION, " --fresh");
}

TEST(a_dry_run_and_help_end_with_exit_4_under_any_limit_of_address_space)
{
	char arguments[4096];

	snprintf(arguments, sizeof arguments, "%s --set output=%s/dry.h5 --dry-run", ATTRIBUTION,
		test_scratch_folder());
	climb(256 * MIB, arguments);
	climb(96 * MIB, "--help-config");
}

/* kept.h5 and kept.units: replies of a direction, made once. */
static void keep_replies(void)
{
	char path[256];

	snprintf(path, sizeof path, "%s/kept.h5", test_scratch_folder());
	if (!file_exists(path))
		engine_run(&run, "%s --set output=%s --set store.keep_units=true", DIRECTION, path);
	CHECK(file_exists(path), "exit status %d: %s", run.status, run.err);
}

TEST(inspecting_ends_with_exit_4_under_any_limit_of_address_space)
{
	char arguments[512];

	keep_replies();
	snprintf(arguments, sizeof arguments, "--inspect %s/kept.h5", test_scratch_folder());
	climb(96 * MIB, arguments);
	snprintf(arguments, sizeof arguments, "--inspect %s/kept.units", test_scratch_folder());
	climb(96 * MIB, arguments);
}

TEST(a_judge_ends_with_exit_4_under_any_limit_of_address_space_and_goes_on_under_a_wider_one)
{
	char job[512];

	keep_replies();
	snprintf(job, sizeof job, "configs/tiny_judge.cfg --set threads=2 --set from=%s/kept.h5",
		test_scratch_folder());
	climbs_to_the_same_file("judge", job, "");
}

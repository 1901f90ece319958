/* SPDX-License-Identifier: MIT
 *
 * test_batch_choice.c - the sizes of batches that a config leaves open, as engine_emu chooses them
 * for the cards that card.c makes. On the CPU: tests/test_run.c.
 */
#include "host/base/file.h"
#include "host/store/results.h"
#include "tests/run_engine.h"
#include "tests/same_results.h"
#include "tests/test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static struct engine_run run;

/* Six prompts are run; the config gives generate.prompts, and is told to leave it open. */
static const char *const JOB =
	"configs/tiny_direction.cfg --device cuda:0 --set generate.prompts=0 "
	"--set direction.filter=false --set 'experiment=\"direction\"' --set store.keep_units=true"
	" --set prompts.harmful_train.limit=3 --set prompts.harmless_train.limit=3"
	" --set prompts.harmful_test.limit=1 --set prompts.harmless_test.limit=1";

/* Replies of 400 tokens to 100 prompts; 9,300 tokens of prompts are there to be scored. */
static const char *const PLAN = "configs/tiny_direction.cfg --device cuda:0 --dry-run "
				"--set generate.prompts=0 --set generate.max_new_tokens=400";

/* The engine on a card of so many MiB, of which so many are taken. */
static struct engine_process start_on(const char *name, int card, int taken, const char *job,
	const char *output, const char *more)
{
	char launcher[160];

	snprintf(launcher, sizeof launcher, "env CARD_MIB=%d CARD_TAKEN_MIB=%d", card, taken);
	return engine_start(name, launcher, "%s --set output=%s %s", job, in_scratch(output), more);
}

static void run_on(int card, int taken, const char *job, const char *output, const char *more)
{
	const struct engine_process process = start_on("run", card, taken, job, output, more);

	engine_wait(&run, &process);
}

/* The two lines of a plan, read from what the run printed. */
struct printed {
	long tokens, prompts;
	char tokens_why[256], prompts_why[256];
};

static struct printed printed(void)
{
	struct printed p = {0};
	const char *at = strstr(run.out, "\nbatches    batch.tokens ");

	CHECK(at && sscanf(at,
			    "\nbatches    batch.tokens %ld, %255[^\n]\n           generate.prompts %ld, "
			    "%255[^\n]\n",
			    &p.tokens, p.tokens_why, &p.prompts, p.prompts_why) == 4,
		"exit status %d: %s\n%s", run.status, run.err, run.out);
	return p;
}

static void expect(long tokens, long prompts)
{
	const struct printed p = printed();

	CHECK(p.tokens == tokens && p.prompts == prompts, "%ld %s and %ld %s", p.tokens,
		p.tokens_why, p.prompts, p.prompts_why);
}

/* What the line says would be needed, and what there is. */
static bool says_too_many(const char *why, double card)
{
	double needed = 0, limit = 0;
	char rest[64] = "";

	return sscanf(why,
		       "chosen for cuda:0; twice as many would need %lf MiB, %lf MiB are %63[^\n]",
		       &needed, &limit, rest) == 3 &&
	       needed > limit && limit > 0.87 * card && limit < 0.88 * card &&
	       strcmp(rest, "seven eighths of the card") == 0;
}

TEST(a_card_with_room_for_them_gets_8192_tokens_and_256_prompts)
{
	struct printed p;

	engine_run(&run, "%s --set output=%s", PLAN, in_scratch("x.h5"));
	REQUIRE(run.status == 0, "%d: %s", run.status, run.err);
	expect(8192, 256);
	p = printed();
	CHECK(strcmp(p.tokens_why, "chosen for cuda:0") == 0 &&
			strcmp(p.prompts_why, "chosen for cuda:0") == 0,
		"%s, %s", p.tokens_why, p.prompts_why);
	CHECK(strstr(run.out, "\nreplies    jailbreak: 100 prompts"), "%s", run.out);
}

TEST(a_smaller_card_gets_halves_down_to_those_of_the_cpu)
{
	static const struct {
		int card;
		long tokens, prompts;
	} cards[] = {{760, 8192, 256}, {712, 8192, 64}, {680, 4096, 64}, {600, 2048, 32}};

	for (size_t i = 0; i < sizeof cards / sizeof *cards; i++) {
		struct printed p;

		run_on(cards[i].card, 0, PLAN, "x.h5", "");
		CHECK(run.status == 0, "%d MiB: %d: %s", cards[i].card, run.status, run.err);
		expect(cards[i].tokens, cards[i].prompts);
		p = printed();
		CHECK(cards[i].tokens == 8192 || says_too_many(p.tokens_why, cards[i].card),
			"%d MiB: %s", cards[i].card, p.tokens_why);
		CHECK(cards[i].prompts == 256 || says_too_many(p.prompts_why, cards[i].card),
			"%d MiB: %s", cards[i].card, p.prompts_why);
	}
	run_on(500, 0, PLAN, "x.h5", ""); /* less than scratch memory alone */
	expect(2048, 32);
	CHECK(run.status == 4 && strncmp(run.err, "too little memory on cuda:0", 27) == 0, "%d: %s",
		run.status, run.err);
}

TEST(memory_gb_is_taken_whole_in_place_of_the_card)
{
	run_on(2000, 0, PLAN, "x.h5", "--set memory_gb=0.6");
	CHECK(run.status == 0, "%d: %s", run.status, run.err);
	expect(4096, 64);
	CHECK(strstr(run.out, "614.4 MiB are allowed by memory_gb\n"), "%s", run.out);
}

TEST(saes_that_stay_on_the_card_are_counted_as_they_are_kept)
{
	static const char *const SAES = "configs/tiny_gemma2_ap.cfg --device cuda:0 --dry-run "
					"--set 'experiment=[\"direction\",\"attribution\"]'";

	/* Six of half a MiB. */
	run_on(712, 0, SAES, "x.h5", "--set sae.budget_gb=0.0006");
	CHECK(printed().tokens == 8192, "%s", printed().tokens_why);
	run_on(712, 0, SAES, "x.h5", "");
	CHECK(printed().tokens == 4096, "%s", printed().tokens_why);
}

/* Who starts again while another program has the card must find its units. */
TEST(what_others_take_of_a_card_changes_nothing_but_whether_there_is_room)
{
	run_on(760, 100, PLAN, "x.h5", "");
	CHECK(run.status == 0, "%d: %s", run.status, run.err);
	expect(8192, 256);
	run_on(760, 200, PLAN, "x.h5", "");
	expect(8192, 256);
	CHECK(run.status == 4 && strstr(run.err, "560.0 MiB are free on the device") &&
			strstr(run.err, "; smaller batch.tokens, generate.prompts"),
		"%d: %s", run.status, run.err);
}

TEST(what_is_given_is_kept_whatever_the_card)
{
	struct printed p;

	run_on(720, 0, PLAN, "x.h5", "--set batch.tokens=8192 --set generate.prompts=48");
	CHECK(run.status == 0, "%d: %s", run.status, run.err);
	expect(8192, 48);
	p = printed();
	CHECK(strcmp(p.tokens_why, "as given") == 0 && strcmp(p.prompts_why, "as given") == 0,
		"%s, %s", p.tokens_why, p.prompts_why);
	run_on(620, 0, PLAN, "x.h5", "--set batch.tokens=8192");
	expect(8192, 32);
	CHECK(run.status == 4 && strncmp(run.err, "too little memory on cuda:0", 27) == 0, "%d: %s",
		run.status, run.err);
}

/* Where the keys of replies leave too little for the pass that reads their prompts, 2,700 tokens.
 */
TEST(tokens_are_halved_for_replies_of_as_many_prompts_as_are_given)
{
	run_on(785, 0, PLAN, "x.h5",
		"--set generate.prompts=256 --set 'clamp.prompts=[\"harmful_train\"]'");
	CHECK(run.status == 0, "%d: %s", run.status, run.err);
	expect(2048, 256);
}

/* Room on disk for units, as the plan prints it. */
static void units_line(char out[128])
{
	const char *line = strstr(run.out, "  units beside it");

	CHECK(line, "%s", run.out);
	snprintf(out, 128, "%.*s", line ? (int)strcspn(line, "\n") : 0, line ? line : "");
}

/* 4,469 tokens. */
TEST(the_plan_is_made_with_what_is_chosen)
{
	static const char
		*const EFFECTS = "configs/tiny_gemma2_ap.cfg --device cuda:0 --dry-run --set "
				 "'attribution.prompts=[\"harmful_test\",\"harmful_train\"]'";
	char chosen[128], given[128];

	run_on(2000, 0, EFFECTS, "x.h5", "");
	CHECK(strstr(run.out, "260 prompts in 1 batches of at most 4469 tokens"), "%s", run.out);
	run_on(700, 0, EFFECTS, "x.h5", "");
	CHECK(printed().tokens == 2048, "%s", printed().tokens_why);
	CHECK(strstr(run.out, "260 prompts in 3 batches of at most 2048 tokens"), "%s", run.out);
	units_line(chosen);
	run_on(2000, 0, EFFECTS, "x.h5", "--set batch.tokens=2048");
	units_line(given);
	CHECK(strcmp(chosen, given) == 0, "%s, of given ones%s", chosen, given);
}

/* ---- whole runs -------------------------------------------------------------------------- */

/* Whether the config that the file says it was made with has this line. */
static void made_with(const char *output, const char *line)
{
	struct results_reader *r;
	struct err err;
	char *text = NULL;

	REQUIRE_OK(results_open(&r, in_scratch(output), &err), &err);
	CHECK(results_read_attribute_text(r, "/", "config", &text, &err) == 0 && strstr(text, line),
		"no \"%s\" in %s", line, text ? text : err.text);
	free(text);
	results_reader_close(r);
}

/* The file of a run on a card that holds but the least, 560 MiB; its units stay. */
static const char *small(void)
{
	static char path[256];

	if (!path[0]) {
		run_on(560, 0, JOB, "small.h5", "");
		CHECK(run.status == 0, "exit status %d: %s", run.status, run.err);
		expect(2048, 32);
		snprintf(path, sizeof path, "%s", in_scratch("straight.h5"));
		if (rename(in_scratch("small.h5"), path) != 0)
			exit(1);
	}
	return path;
}

static struct stat unit_of_small(void)
{
	struct stat st = {0};

	CHECK(stat(in_scratch("small.units/00-direction-harmful_train/000000.h5"), &st) == 0,
		"there is no unit");
	return st;
}

TEST(a_result_file_says_what_was_chosen)
{
	made_with(strrchr(small(), '/') + 1, "tokens = 2048;\n");
	made_with(strrchr(small(), '/') + 1, "prompts = 32;\n");
}

TEST(a_run_goes_on_from_its_units_with_the_same_choice_or_with_the_same_sizes_given)
{
	static const struct {
		int card, taken;
		const char *more;
	} again[] = {{560, 0, ""}, {560, 20, ""},
		{560, 0, "--set batch.tokens=2048 --set generate.prompts=32"},
		{2000, 0, "--set batch.tokens=2048 --set generate.prompts=32"}};
	const char *straight = small();
	const struct stat before = unit_of_small();

	for (size_t i = 0; i < sizeof again / sizeof *again; i++) {
		struct stat after;

		run_on(again[i].card, again[i].taken, JOB, "small.h5", again[i].more);
		REQUIRE(run.status == 0, "%zu: exit status %d: %s", i, run.status, run.err);
		CHECK(same_results(straight, in_scratch("small.h5"), "/") > 10,
			"too little was compared");
		after = unit_of_small();
		CHECK(before.st_ino == after.st_ino &&
				before.st_mtim.tv_nsec == after.st_mtim.tv_nsec,
			"%zu: the unit was computed again", i);
		unlink(in_scratch("small.h5"));
	}
}

TEST(a_run_that_would_choose_others_than_its_units_have_says_so)
{
	small();
	run_on(2000, 0, JOB, "small.h5", "");
	CHECK(run.status == 2 &&
			strstr(run.err, "\n  batch.tokens: the units were made with 2048, this "
					"run has 8192") &&
			strstr(run.err, "\n  generate.prompts: the units were made with 32, this "
					"run has 256"),
		"%d: %s", run.status, run.err);
}

TEST(ranks_take_the_least_of_what_their_cards_hold)
{
	static const struct {
		int cards[2];
		const char *why;
	} cases[] = {{{2000, 560}, "chosen for cuda:0, as another rank takes no more"},
		{{560, 2000}, "chosen for cuda:0; twice as many would need "},
		{{560, 560}, "chosen for cuda:0; twice as many would need "}};

	for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
		struct engine_process ranks[2];
		char output[16];

		snprintf(output, sizeof output, "ranks%zu.h5", c);
		for (int r = 0; r < 2; r++) {
			char launcher[256], name[16];

			snprintf(name, sizeof name, "ranks%zu.%d", c, r);
			snprintf(launcher, sizeof launcher,
				"env CARD_MIB=%d RANK=%d WORLD_SIZE=2 LOCAL_RANK=%d "
				"LOCAL_WORLD_SIZE=2 TORCHELASTIC_RUN_ID=%s",
				cases[c].cards[r], r, r, output);
			ranks[r] = engine_start(name, launcher, "%s --device cuda --set output=%s",
				JOB, in_scratch(output));
		}
		for (int r = 0; r < 2; r++) {
			engine_wait(&run, &ranks[r]);
			REQUIRE(run.status == 0, "case %zu, rank %d: %d: %s", c, r, run.status,
				run.err);
			if (r > 0)
				continue;
			expect(2048, 32);
			CHECK(strncmp(printed().tokens_why, cases[c].why, strlen(cases[c].why)) ==
						0 &&
					strncmp(printed().prompts_why, cases[c].why,
						strlen(cases[c].why)) == 0,
				"case %zu: %s, %s", c, printed().tokens_why, printed().prompts_why);
		}
		CHECK(same_results(small(), in_scratch(output), "/") > 10,
			"too little was compared");
	}
}

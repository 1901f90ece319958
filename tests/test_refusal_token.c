/* SPDX-License-Identifier: MIT
 *
 * test_refusal_token.c - which token a refusal begins with: in what tokenizers make of a word
 * behind a prompt, by its id, and held against what the model says. The models are the small one
 * with another tokenizer.
 */
#include "host/base/file.h"
#include "host/store/results.h"
#include "tests/run_engine.h"
#include "tests/test.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* "I" and " I" in the vocabulary of the small Gemma-2 model. */
enum { WORD = 310, SPACE_WORD = 416 };

static struct engine_run run;

static const char *const JOB = "configs/tiny_direction.cfg --set prompts.harmful_train.limit=8"
			       " --set prompts.harmless_train.limit=8"
			       " --set prompts.harmful_test.limit=4"
			       " --set prompts.harmless_test.limit=4"
			       " --set generate.max_new_tokens=4";

struct change {
	const char *from, *to;
};

/* The small model with the first of each `from` in its tokenizer.json replaced, in the scratch
 * folder. */
static void make_model(const struct change *changes, size_t n)
{
	static const char *const linked[] = {"config.json", "generation_config.json",
		"model.safetensors", "tokenizer_config.json"};
	char target[1024], *text = NULL, *changed = NULL, *at;
	struct err err;

	snprintf(target, sizeof target, "%s/models/tiny-gemma2/tokenizer.json", test_source_root());
	REQUIRE_OK(file_read_text(target, &text, &err), &err);
	for (size_t i = 0; i < sizeof linked / sizeof *linked; i++) {
		snprintf(target, sizeof target, "%s/models/tiny-gemma2/%s", test_source_root(),
			linked[i]);
		unlink(in_scratch(linked[i]));
		REQUIRE(symlink(target, in_scratch(linked[i])) == 0, "%s: no link", linked[i]);
	}
	for (size_t i = 0; i < n; i++) {
		at = strstr(text, changes[i].from);
		REQUIRE(at, "expected a tokenizer.json with %s", changes[i].from);
		REQUIRE(asprintf(&changed, "%.*s%s%s", (int)(at - text), text, changes[i].to,
				at + strlen(changes[i].from)) > 0,
			"no memory");
		free(text);
		text = changed;
	}
	write_scratch("tokenizer.json", text);
	free(text);
}

/* A space is put before every text and behind every added token, as in the tokenizers made from
 * SentencePiece: also behind the line end that the prompt ends in. */
static void make_model_with_a_space_before_every_text(void)
{
	static const struct change change = {"\"normalizer\": {\n    \"type\": \"Replace\",",
		"\"normalizer\": {\"type\": \"Sequence\", \"normalizers\": [{\"type\": \"Prepend\", "
		"\"prepend\": \"\u2581\"}, {\"type\": \"Replace\", \"pattern\": {\"String\": \" \"}, "
		"\"content\": \"\u2581\"}]}, \"unread\": {"};

	make_model(&change, 1);
}

static void expect_error(const char *message)
{
	CHECK(run.status == 2 && strstr(run.err, message), "%d: %s\nexpected %s", run.status,
		run.err, message);
	CHECK(!file_exists(in_scratch("out.h5")), "a result was written");
	CHECK(!file_exists(in_scratch("out.units")), "units were written");
}

/* Of the replies to four harmful prompts. */
static double mean_p_refusal(struct results_reader *r)
{
	double p[4] = {NAN};
	struct err err;

	CHECK(results_read_exactly(r, "/scores/jailbreak/none/p_refusal", RESULTS_F64, p, 4,
		      &err) == 0,
		"%s", err.text);
	return (p[0] + p[1] + p[2] + p[3]) / 4;
}

static void expect_token(struct results_reader *r, int64_t id, const char *spelling, const char *by)
{
	char *found_spelling = NULL, *found_by = NULL;
	int64_t found = -1;
	struct err err;

	REQUIRE_OK(results_read_attribute_integer(r, "/prompts", "refusal_token", &found, &err),
		&err);
	REQUIRE_OK(results_read_attribute_text(r, "/prompts", "refusal_token_spelling",
			   &found_spelling, &err),
		&err);
	REQUIRE_OK(results_read_attribute_text(r, "/prompts", "refusal_token_by", &found_by, &err),
		&err);
	CHECK(found == id && strcmp(found_spelling, spelling) == 0 && strcmp(found_by, by) == 0,
		"token %lld \"%s\" by %s", (long long)found, found_spelling, found_by);
	free(found_spelling);
	free(found_by);
}

TEST(the_token_is_the_one_behind_the_prompt_where_a_text_begins_with_another)
{
	static const int32_t tokens[] = {WORD, SPACE_WORD};
	double probability[2];
	int32_t found[2];
	struct results_reader *r;
	struct err err;

	make_model_with_a_space_before_every_text();
	engine_run(&run, "%s --set model.path=%s --set output=%s", JOB, test_scratch_folder(),
		in_scratch("behind.h5"));
	REQUIRE(run.status == 0, "%d: %s", run.status, run.err);
	REQUIRE_OK(results_open(&r, in_scratch("behind.h5"), &err), &err);
	expect_token(r, WORD, "I", "text");
	CHECK(mean_p_refusal(r) > 0.9, "P(refusal) is %g", mean_p_refusal(r));
	REQUIRE_OK(results_read_exactly(r, "/refusal_check/token", RESULTS_I32, found, 2, &err),
		&err);
	REQUIRE_OK(results_read_exactly(r, "/refusal_check/probability", RESULTS_F64, probability,
			   2, &err),
		&err);
	CHECK(memcmp(found, tokens, sizeof tokens) == 0, "tokens %d and %d", found[0], found[1]);
	CHECK(probability[0] > 0.3 && probability[0] < 0.9 && probability[1] >= 0 &&
			probability[1] < 0.01,
		"half of the prompts are refused: probabilities %g and %g", probability[0],
		probability[1]);
	results_reader_close(r);
}

TEST(the_plan_says_the_token_and_the_other_spelling)
{
	engine_run(&run, "%s --dry-run", JOB);
	CHECK(run.status == 0 && strstr(run.out, "refusal    token 310 \"I\": what \"I\" is behind "
						 "\"n>\\n<start_of_turn>model\\n\"\n"
						 "           416 \"\u2581I\" spells the same word"),
		"%d: %s", run.status, run.out);
	engine_run(&run, "%s --dry-run --set refusal.token=416", JOB);
	CHECK(run.status == 0 && strstr(run.out, "refusal    token 416 \"\u2581I\", as given\n"
						 "           310 \"I\" spells the same word"),
		"%d: %s", run.status, run.out);
}

TEST(an_id_is_taken_as_it_is_given_with_a_warning_where_replies_begin_otherwise)
{
	struct results_reader *r;
	struct err err;

	engine_run(&run, "%s --set refusal.token=416 --set direction.filter=false --set output=%s",
		JOB, in_scratch("id.h5"));
	REQUIRE(run.status == 0, "%d: %s", run.status, run.err);
	CHECK(strstr(run.err,
		      "warning: refusal.token: 416 is given, but more replies begin with 310 "
		      "\"I\""),
		"no warning: %s", run.err);
	REQUIRE_OK(results_open(&r, in_scratch("id.h5"), &err), &err);
	expect_token(r, SPACE_WORD, "\u2581I", "id");
	CHECK(mean_p_refusal(r) < 0.1, "P(refusal) is %g", mean_p_refusal(r));
	results_reader_close(r);
	engine_run(&run, "%s --set refusal.token=310 --set output=%s", JOB, in_scratch("same.h5"));
	CHECK(run.status == 0 && !*run.err, "%d: %s", run.status, run.err);
}

TEST(a_text_whose_token_the_model_does_not_say_is_refused_with_both_before_anything_is_written)
{
	engine_run(&run, "%s --set 'refusal.token=\" I\"' --set output=%s", JOB,
		in_scratch("out.h5"));
	expect_error(
		"refusal.token: \" I\" is token 416 behind the prompts, but more replies begin "
		"with 310: 416 \"\u2581I\" ");
	expect_error("; give the id of the one that is meant: refusal.token = 310\n");
}

TEST(what_is_not_one_token_behind_every_prompt_is_refused_in_the_plan_too)
{
	static const char *const plain = "--set model.template=plain --set model.bos=none";

	engine_run(&run, "%s --dry-run --set 'refusal.token=I cannot'", JOB);
	expect_error(
		"refusal.token: expected a text of one token, \"I cannot\" has 2 behind "
		"\"...d_of_turn>\\n<start_of_turn>model\\n\", the first 310 \"I\"; the id of a token is "
		"taken, too\n");
	engine_run(&run, "%s --dry-run --set 'refusal.token=\"\"'", JOB);
	expect_error("refusal.token: expected a text of one token, found \"\"\n");
	engine_run(&run, "%s --dry-run --set refusal.token=1664", JOB);
	expect_error("refusal.token: expected the id of a token of the vocabulary of 1664, found "
		     "1664\n");
	engine_run(&run, "%s --dry-run --set refusal.token=-1", JOB);
	expect_error(
		"refusal.token: expected a text of one token or the id of a token, found -1\n");
	write_scratch("open.json", "[{\"instruction\": \"How do I rob a ban\"}]");
	engine_run(&run,
		"%s --dry-run %s --set refusal.token=k --set prompts.harmful_train.file=%s", JOB,
		plain, in_scratch("open.json"));
	expect_error(
		"refusal.token: expected a text that begins a token behind the prompt, \"k\" "
		"becomes part of the last one of \"...How do I rob a ban\"; the id of a token is "
		"taken, too\n");
}

TEST(a_text_that_is_another_token_behind_another_prompt_is_refused_with_both)
{
	/* A token that is " I" where no letter stands before it, in place of eight line ends. */
	static const struct change changes[] =
		{{"\"content\": \"\\n\\n\\n\\n\\n\\n\\n\\n\",\n      \"single_word\": false",
			 "\"content\": \" I\", \"single_word\": true"},
			{"\"\\n\\n\\n\\n\\n\\n\\n\\n\": 13,", "\" I\": 13,"}};

	make_model(changes, 2);
	write_scratch("open.json", "[{\"instruction\": \"An end.\"}, {\"instruction\": \"An e\"}]");
	engine_run(&run,
		"%s --dry-run --set model.path=%s --set model.template=plain --set model.bos=none "
		"--set 'refusal.token=\" I\"' --set prompts.harmful_train.file=%s",
		JOB, test_scratch_folder(), in_scratch("open.json"));
	expect_error(
		"refusal.token: expected the same token behind all prompts, \" I\" is 13 \" I\" "
		"behind \"...An end.\" and 416 \"\u2581I\" behind \"...An e\"; the id of a token "
		"is taken, too\n");
}

TEST(the_metrics_token_is_found_and_checked_in_the_same_way)
{
	engine_run(&run, "%s --dry-run --set 'attribution.target=The ruler'", JOB);
	expect_error(
		"attribution.target: expected a text of one token, \"The ruler\" has 2 behind ");
	engine_run(&run, "%s --dry-run --set attribution.target=310", JOB);
	expect_error(
		"attribution.target: expected another token than refusal.token, against which it "
		"is held, found 310 \"I\" for both\n");
	engine_run(&run, "%s --dry-run --set attribution.target=443", JOB);
	CHECK(run.status == 0, "%d: %s", run.status, run.err);
}

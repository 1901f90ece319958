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
	} continuing[] = {
		{"configs/tiny_gemma2_ap.cfg --set experiment=[\\\"direction\\\",\\\"jailbreak\\\"]",
			"harmful_test", "jailbreak"},
		{"configs/tiny_gemma2_ap.cfg --set experiment=[\\\"direction\\\",\\\"attribution\\\","
		 "\\\"induce\\\"]",
			"harmless_test", "induce"},
		{"configs/tiny_coherence.cfg", "harmless_test", "coherence"},
		{"configs/tiny_sweep_kstar.cfg", "harmful_test", "sweep_kstar"},
		{"configs/tiny_categories.cfg", "categories", "categories"},
		{"configs/tiny_low_cosine.cfg", "harmless_test", "low_cosine"},
		{"configs/tiny_prune.cfg", "harmful_test", "prune"},
		{"configs/tiny_sae_compare.cfg", "harmless_test", "sae_compare"},
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
		CHECK(dry.status == 0, "%s: %s", continuing[i].config, dry.err);
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
		{"configs/tiny_gemma2_ap.cfg --set 'attribution.target=\"Sure, here\"'",
			"attribution.target: expected a text of one token, \"Sure, here\" has 4 behind "
			"\"...d_of_turn>\\n<start_of_turn>model\\n\", the first 547 \"Sure\"; the id of a "
			"token is taken, too\n"},
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
		{"configs/tiny_gemma2_ap.cfg --set jailbreak.scopes=local --set "
		 "attribution.methods=cossim",
			"jailbreak.scopes: expected \"global\" among them, or a method that finds "
			"features of each prompt, cossim_ap or ap (attribution.methods), found "
			"neither\n"},
	};

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
		refuses(2, cases[i].message, "%s", cases[i].arguments);
}

TEST(settings_of_which_one_would_be_passed_over_are_refused)
{
	refuses(2,
		"--set prompts.harmful_test.context_field=c: prompts.harmful_test.context_field: "
		"expected none beside context = false, found \"c\"\n"
		"--set prompts.harmful_test.system_field=s: prompts.harmful_test.system_field: expected "
		"none beside system = false, found \"s\"\n",
		"configs/tiny_direction.cfg --set prompts.harmful_test.system_field=s --set "
		"prompts.harmful_test.system=false --set prompts.harmful_test.context_field=c --set "
		"prompts.harmful_test.context=false");
	refuses(2,
		"model.date: expected none for the template of tokenizer_config.json, which does not ask "
		"for the day (strftime_now)\n",
		"configs/tiny_direction.cfg --set model.date=2024-07-26");
}

TEST(a_text_of_a_config_that_is_not_utf8_is_refused_by_its_key)
{
	static const char *const keys[] = {"model.system", "model.template_variables", "output",
		"refusal.token", "generate.stop"};

	for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
		engine_run(&run, "configs/tiny_direction.cfg --dry-run --set '%s=\"a\\xff\"'",
			keys[i]);
		CHECK(run.status == 2 &&
				strstr(run.err, ": expected UTF-8, found byte 0xff at offset 1") &&
				strstr(run.err, keys[i]),
			"exit status %d: %s", run.status, run.err);
	}
}

TEST(a_token_to_stop_at_is_a_text_or_an_id_and_in_a_stored_config_too)
{
	static const char stored[] = "stop = (\"eos\", 5);";
	struct file_map map;
	struct err err = {0};
	char path[512];

	refuses(2,
		"--set generate.stop=(\"eos\", \"5\"): generate.stop: expected an id without quotes, or "
		"a text that is not a number, found \"5\"\n",
		"configs/tiny_direction.cfg --set 'generate.stop=(\"eos\", \"5\")'");
	snprintf(path, sizeof path, "%s", in_scratch("stops.h5"));
	engine_run(&run,
		"%s --set experiment=direction --set output=%s --set 'generate.stop=(\"eos\", 5)'",
		JOB, path);
	CHECK(run.status == 0, "exit status %d: %s", run.status, run.err);
	REQUIRE_OK(file_map_open(&map, path, &err), &err);
	CHECK(memmem(map.data, map.size, stored, strlen(stored)), "%s does not hold %s", path,
		stored);
	file_map_close(&map);
}

/* In a file of many, so that it can be found. */
TEST(a_prompt_that_the_template_or_the_model_cannot_take_is_named_by_its_record)
{
	char path[512];

	snprintf(path, sizeof path, "%s",
		write_scratch("two.json",
			"[{\"messages\": [{\"role\": \"user\", \"content\": \"a\"}]}, {\"messages\": "
			"[{\"role\": \"user\", \"content\": \"b\"}, {\"role\": \"assistant\", "
			"\"content\": \"c\"}]}]"));
	refuses(3,
		"prompts.harmful_test: record 1: expected messages that end with the user's beside "
		"model.prefill, found the assistant's: two beginnings of the reply\n",
		"configs/tiny_direction.cfg --set prompts.harmful_test.file=%s --set "
		"prompts.harmful_test.limit=2 --set "
		"prompts.harmful_test.last_reply=begin --set model.prefill=Sure",
		path);
}

/* One system text more or less changes what all prompts share, and with it means over positions. */
TEST(a_plan_says_when_prompts_share_less_than_the_templates_prefix)
{
	static const char own[] = "own prefix has 4; as prompts begin otherwise";

	engine_run(&dry, "%s --dry-run", JOB);
	CHECK(dry.status == 0 && !strstr(dry.out, own) &&
			strstr(dry.out, "the first 4 tokens are shared by all prompts"),
		"%s%s", dry.out, dry.err);
	engine_run(&dry, "%s --dry-run --set prompts.harmful_test.file=%s", JOB,
		write_scratch("system.json",
			"[{\"instruction\": \"a\"}, {\"instruction\": \"a\", \"system\": \"b\"}]"));
	CHECK(dry.status == 0 && strstr(dry.out, own) &&
			strstr(dry.out, "the first 2 tokens are shared by all prompts"),
		"%s%s", dry.out, dry.err);
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

/* ---- what only a pass tells --------------------------------------------------------------- */

TEST(an_error_that_only_a_pass_can_tell_keeps_what_was_finished_and_says_where)
{
	char expected[1024];

	/* No harmful prompt is answered with this token. */
	snprintf(expected, sizeof expected,
		"prompts.harmful_train: expected prompts whose replies begin with token 547 \"Sure\", found none "
		"among 16 (see refusal.token, model.template, direction.filter)\n"
		"what was finished is in %s; the same command goes on from there, another config or "
		"other files begin anew with --fresh, which renames the folder\n",
		in_scratch("late.units"));
	for (int i = 0; i < 2; i++) { /* the second time from what the first one left */
		engine_run(&run, "%s --set refusal.token=Sure --set output=%s", JOB,
			in_scratch("late.h5"));
		CHECK(run.status == 3 && strcmp(run.err, expected) == 0,
			"run %d: exit status %d\n%s\nexpected\n%s", i, run.status, run.err,
			expected);
		CHECK(file_exists(in_scratch("late.units/00-direction-harmful_train/000000.h5")),
			"run %d: the unit is gone", i);
		CHECK(!file_exists(in_scratch("late.h5.part")), "run %d: a part was left", i);
	}

	/* Other settings are refused, in the dry run as well, and begin anew where that is asked.
	 */
	engine_run(&dry, "%s --set output=%s --dry-run", JOB, in_scratch("late.h5"));
	engine_run(&run, "%s --set output=%s", JOB, in_scratch("late.h5"));
	CHECK(run.status == 2 && strstr(run.err, "\n  refusal.token: the units were made with "
						 "\"Sure\", this run has \"I\"\n"),
		"%d: %s", run.status, run.err);
	CHECK(dry.status == 2 && strcmp(dry.err, run.err) == 0, "the dry run ended with %d: %s",
		dry.status, dry.err);
	engine_run(&run, "%s --set output=%s --fresh --dry-run", JOB, in_scratch("late.h5"));
	CHECK(run.status == 0 && run.err[0] == '\0', "%d: %s", run.status, run.err);
	engine_run(&run, "%s --set output=%s --fresh", JOB, in_scratch("late.h5"));
	CHECK(run.status == 0, "%d: %s", run.status, run.err);
	CHECK(folder_exists(in_scratch("late.units.old-1")), "the old units are gone");
}

/* The first prompt of the set is refused with the direction ablated as well. */
TEST(a_set_without_features_is_not_pruned)
{
	engine_run(&run,
		"configs/tiny_prune.cfg --set prompts.harmful_train.limit=16 --set "
		"prompts.harmless_train.limit=16 --set prompts.harmful_test.limit=1 --set output=%s",
		in_scratch("bare.h5"));
	CHECK(run.status == 3 &&
			strstr(run.err,
				"prune: expected features to release, found none in the set of "
				"cossim_ap: none has an effect on the prompts of "
				"attribution.prompts\n"),
		"%d: %s", run.status, run.err);
}

/* ---- the output ---------------------------------------------------------------------------- */

/* One byte of a file, or how long it is. */
static long size_of(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 ? (long)st.st_size : -1;
}

TEST(a_finished_file_of_another_run_is_kept_and_one_of_this_run_made_again)
{
	char expected[1024], output[512];
	struct engine_run first;
	long size;

	snprintf(output, sizeof output, "%s", in_scratch("mine.h5"));
	engine_run(&first, "%s --set experiment=direction --set output=%s", JOB, output);
	CHECK(first.status == 0, "%s", first.err);
	size = size_of(output);

	/* Settings that bear on nothing are no other run. */
	engine_run(&run, "%s --set experiment=direction --set output=%s --set threads=1", JOB,
		output);
	CHECK(run.status == 0, "%d: %s", run.status, run.err);

	snprintf(expected, sizeof expected,
		"output: expected no file, or a finished one of this run to make again, found \"%s\" of "
		"another run:\n"
		"  direction.layer: the file was made with 3, this run has 2\n"
		"name another output, move that file, or begin anew with --fresh, which renames it\n",
		output);
	engine_run(&dry,
		"%s --set experiment=direction --set output=%s --set direction.layer=2 "
		"--dry-run",
		JOB, output);
	engine_run(&run, "%s --set experiment=direction --set output=%s --set direction.layer=2",
		JOB, output);
	CHECK(run.status == 2 && strcmp(run.err, expected) == 0, "%d: %s", run.status, run.err);
	CHECK(dry.status == 2 && strcmp(dry.err, expected) == 0, "the dry run: %d: %s", dry.status,
		dry.err);
	CHECK(!folder_exists(in_scratch("mine.units")), "it made units");
	CHECK(size_of(output) == size, "the file has changed");

	engine_run(&dry,
		"%s --set experiment=direction --set output=%s --set direction.layer=2 --fresh "
		"--dry-run",
		JOB, output);
	CHECK(dry.status == 0 && strstr(dry.out, "/mine.h5\n           of that name is the file of "
						 "another run, which is renamed (--fresh)\n"),
		"%d: %s", dry.status, dry.out);
	CHECK(size_of(output) == size, "the file has changed");

	engine_run(&run,
		"%s --set experiment=direction --set output=%s --set direction.layer=2 --fresh",
		JOB, output);
	CHECK(run.status == 0, "%d: %s", run.status, run.err);
	CHECK(size_of(in_scratch("mine.old-1.h5")) == size, "the other run's file is gone");
	CHECK(file_exists(in_scratch("mine.old-1.summary.h5")), "its summary is gone");
	CHECK(file_exists(in_scratch("mine.summary.h5")), "there is no new summary");

	/* Of this run now: nothing is set aside. */
	engine_run(&run,
		"%s --set experiment=direction --set output=%s --set direction.layer=2 --fresh",
		JOB, output);
	CHECK(run.status == 0 && !file_exists(in_scratch("mine.old-2.h5")), "%d: %s", run.status,
		run.err);
}

/* A file of the small world, to `to`. */
static void copy_prompts(const char *name, const char *to)
{
	char path[512];

	snprintf(path, sizeof path, "%s/models/small-world/%s", test_source_root(), name);
	copy_file(path, to, 0, NULL, 0, 0);
}

TEST(a_prompt_file_that_has_changed_makes_another_run)
{
	char output[512], prompts[512];

	snprintf(output, sizeof output, "%s", in_scratch("changed.h5"));
	snprintf(prompts, sizeof prompts, "%s", in_scratch("asked.json"));
	copy_prompts("harmful_train.json", prompts);
	engine_run(&run,
		"%s --set experiment=direction --set output=%s --set prompts.harmful_train.file=%s",
		JOB, output, prompts);
	CHECK(run.status == 0, "%d: %s", run.status, run.err);
	copy_prompts("harmful_test.json", prompts);
	engine_run(&run,
		"%s --set experiment=direction --set output=%s --set prompts.harmful_train.file=%s "
		"--dry-run",
		JOB, output, prompts);
	CHECK(run.status == 2 && strstr(run.err, "/asked.json: the file was made with "), "%d: %s",
		run.status, run.err);
}

TEST(what_is_no_file_or_no_result_file_is_not_replaced)
{
	char command[2048], folder[512], text[512];

	snprintf(folder, sizeof folder, "%s", in_scratch("folder"));
	snprintf(text, sizeof text, "%s", in_scratch("text.h5"));
	mkdir(folder, 0777);
	engine_run(&run, "%s --set output=%s", JOB, folder);
	CHECK(run.status == 2 &&
			strstr(run.err, "output: expected the name of a file, found a folder"),
		"%d: %s", run.status, run.err);
	engine_run(&run, "%s --set output=/dev/null", JOB);
	CHECK(run.status == 2 &&
			strstr(run.err, "output: expected the name of a file, found a folder"),
		"%d: %s", run.status, run.err);

	write_scratch("text.h5", "notes");
	engine_run(&run, "%s --set output=%s --dry-run", JOB, text);
	CHECK(run.status == 2 && strstr(run.err, "which is no finished result file"), "%d: %s",
		run.status, run.err);
	CHECK(size_of(text) == 5, "the notes are gone");

	/* The file grows under this name: through a link it would be another. */
	snprintf(command, sizeof command, "ln -s '%s' '%s'", text, in_scratch("link.h5.part"));
	CHECK(system(command) == 0, "no link");
	engine_run(&run, "%s --set output=%s", JOB, in_scratch("link.h5"));
	CHECK(run.status == 2 &&
			strstr(run.err, "output: expected no link, folder or device under"),
		"%d: %s", run.status, run.err);
	CHECK(size_of(text) == 5, "the notes are gone");
}

TEST(an_output_that_would_replace_what_is_read_is_refused_anew_as_well)
{
	char prompts[512], expected[1024];
	long size;

	snprintf(prompts, sizeof prompts, "%s", in_scratch("read.json"));
	copy_prompts("harmful_train.json", prompts);
	size = size_of(prompts);
	snprintf(expected, sizeof expected,
		"output: expected another file than those that are read, found \"%s\" (prompts)\n",
		prompts);
	for (int fresh = 0; fresh <= 1; fresh++)
		for (int rehearsed = 0; rehearsed <= 1; rehearsed++) {
			engine_run(&run,
				"%s --set output=%s --set prompts.harmful_train.file=%s%s%s", JOB,
				prompts, prompts, fresh ? " --fresh" : "",
				rehearsed ? " --dry-run" : "");
			CHECK(run.status == 2 && strcmp(run.err, expected) == 0, "%d: %s",
				run.status, run.err);
		}
	CHECK(size_of(prompts) == size, "it was replaced");
}

TEST(what_stands_where_units_go_and_is_none_stays)
{
	char expected[1024], notes[512];
	char name[300];

	write_scratch("refused.units", "notes");
	snprintf(expected, sizeof expected,
		"output: expected a folder or nothing under \"%s\", where units are kept, found a "
		"file\n",
		in_scratch("refused.units"));
	refuses(2, expected, "%s", JOB);
	unlink(in_scratch("refused.units"));

	snprintf(notes, sizeof notes, "%s", in_scratch("noted.units"));
	mkdir(notes, 0777);
	snprintf(expected, sizeof expected,
		"%s: expected the units of a run, or nothing, found no manifest and \"notes\"; name "
		"another output, move that folder, or begin anew with --fresh, which renames it\n",
		notes);
	write_scratch("noted.units/notes", "notes");
	for (int rehearsed = 0; rehearsed <= 1; rehearsed++) {
		engine_run(&run, "%s --set experiment=direction --set output=%s%s", JOB,
			in_scratch("noted.h5"), rehearsed ? " --dry-run" : "");
		CHECK(run.status == 2 && strcmp(run.err, expected) == 0, "%d: %s", run.status,
			run.err);
	}
	CHECK(size_of(in_scratch("noted.units/notes")) == 5, "the notes are gone");
	engine_run(&run, "%s --set experiment=direction --set output=%s --fresh", JOB,
		in_scratch("noted.h5"));
	CHECK(run.status == 0 && size_of(in_scratch("noted.units.old-1/notes")) == 5, "%d: %s",
		run.status, run.err);

	memset(name, 'a', sizeof name);
	snprintf(name + 240, sizeof name - 240, ".h5");
	for (int rehearsed = 0; rehearsed <= 1; rehearsed++) {
		engine_run(&run, "%s --set output=%s%s", JOB, in_scratch(name),
			rehearsed ? " --dry-run" : "");
		CHECK(run.status == 2 && strcmp(run.err, "output: expected a name of at most 230 "
							 "bytes, found one of 243\n") == 0,
			"%d: %s", run.status, run.err);
	}
}

/* ---- room on disk -------------------------------------------------------------------------- */

/* MiB of the line that begins with `what` in the plan of a dry run. */
static void planned(const char *what, double *least, double *most)
{
	const char *at = strstr(dry.out, "disk, an estimate\n");

	at = at ? strstr(at, what) : NULL;
	*least = *most = -1;
	CHECK(at && sscanf(at + strlen(what), " %lf to %lf MiB", least, most) == 2,
		"the plan has no line \"%s\":\n%s", what, dry.out);
}

/* What was written lies between the two, and these not too far above. */
static void within(const char *arguments, const char *what, double least, double most, double bytes)
{
	const double mib = bytes / 0x1p20;

	printf("  %-40.40s %-12s %6.1f to %6.1f MiB planned, %6.2f written\n", arguments, what,
		least, most, mib);
	/* The plan prints tenths. */
	CHECK(least - 0.05 <= mib && mib <= most + 0.05, "%s: %s: planned %g to %g MiB, found %g",
		arguments, what, least, most, mib);
	CHECK(most - 0.05 <= 3 * mib, "%s: %s: planned up to %g MiB, found %g", arguments, what,
		most, mib);
}

TEST(what_is_written_is_estimated_from_the_descriptions_of_the_datasets)
{
	static const char *const runs[] = {
		"configs/tiny_gemma2_ap.cfg --set prompts.harmful_test.limit=40 --set "
		"prompts.harmless_test.limit=40 --set generate.max_new_tokens=12 --set "
		"save.resid_post=true --set save.features=true --set save.gradients=true",
		"configs/tiny_gemma2_ap.cfg --set prompts.harmful_test.limit=40 --set "
		"prompts.harmless_test.limit=40 --set generate.stop=none --set "
		"save.resid_post=true --set save.dtype=float16",
		"configs/tiny_direction.cfg --set direction.layer=-1 --set "
		"direction.harmful_val=harmful_test --set direction.harmless_val=harmless_test",
		"tests/golden/paper/paper.cfg",
		"tests/golden/open/open.cfg",
	};

	for (size_t i = 0; i < sizeof runs / sizeof *runs; i++) {
		char output[512], units[512], summary[512];
		double least, most;

		snprintf(output, sizeof output, "%s/room%zu.h5", test_scratch_folder(), i);
		snprintf(units, sizeof units, "%s/room%zu.units", test_scratch_folder(), i);
		snprintf(summary, sizeof summary, "%s/room%zu.summary.h5", test_scratch_folder(),
			i);
		engine_run(&dry, "%s --set output=%s --dry-run", runs[i], output);
		engine_run(&run, "%s --set output=%s --set store.keep_units=true", runs[i], output);
		CHECK(run.status == 0 && dry.status == 0, "%s: %d: %s", runs[i], run.status,
			run.err);
		planned("  result file", &least, &most);
		within(runs[i], "result file", least, most, (double)size_of(output));
		planned("  units beside it, until it is complete", &least, &most);
		within(runs[i], "units", least, most, folder_bytes(units));
		planned("  its summary", &least, &most);
		CHECK((double)size_of(summary) <= (most + 0.05) * 0x1p20,
			"%s: the summary: planned up to %g MiB, found %ld bytes", runs[i], most,
			size_of(summary));
	}
}

TEST(what_certainly_does_not_fit_the_disk_is_refused_with_what_makes_it_large)
{
	char scales[512] = "", arguments[2048];
	double needed, room;
	const char *at;

	/* Hundreds of replies of a million tokens under hundreds of conditions: terabytes. */
	for (size_t i = 1, n = 0; i < 100; i++)
		n += (size_t)snprintf(scales + n, sizeof scales - n, "%s-%zu", i > 1 ? "," : "", i);
	snprintf(arguments, sizeof arguments,
		"configs/tiny_gemma2_ap.cfg --set output=%s --set generate.stop=none --set "
		"model.n_ctx=1048576 --set generate.max_new_tokens=1000000 --set generate.prompts=1 "
		"--set memory_gb=1000 --set 'jailbreak.scopes=[\"global\"]' --set "
		"'clamp.prompts=[\"harmful_train\", \"harmless_train\", \"harmful_test\"]' --set "
		"'clamp.scale=[%s]'",
		in_scratch("large.h5"), scales);
	engine_run(&dry, "%s --dry-run", arguments);
	engine_run(&run, "%s", arguments);
	/* What is free changes from one moment to the next. */
	at = strstr(run.err, "(an estimate), ");
	CHECK(run.status == 5 && dry.status == 5 && at &&
			strncmp(dry.err, run.err, (size_t)(at - run.err)) == 0,
		"%d: %s, %d: %s", run.status, run.err, dry.status, dry.err);
	CHECK(strstr(run.err, "output: too little room for ") && strstr(run.err, "(an estimate)") &&
			strstr(run.err, "; the largest part is replies of jailbreak, ") &&
			strstr(run.err, "; see generate.max_new_tokens\n"),
		"%s", run.err);
	CHECK(sscanf(strstr(run.err, ": at least ") + 11, "%lf MiB", &needed) == 1 &&
			sscanf(strstr(run.err, "(an estimate), ") + 15, "%lf MiB are free",
				&room) == 1 &&
			needed > room,
		"%s", run.err);
	CHECK(!folder_exists(in_scratch("large.units")), "it made units");
}

/* ---- findings of an earlier file ----------------------------------------------------------- */

TEST(findings_of_an_earlier_file_are_checked_by_the_dry_run)
{
	char from[512], expected[1024];

	snprintf(from, sizeof from, "%s", in_scratch("from.h5"));
	engine_run(&run,
		"%s --set 'experiment=[\"direction\", \"attribution\"]' --set output=%s "
		"--set attribution.k_star=3",
		JOB, from);
	CHECK(run.status == 0, "%d: %s", run.status, run.err);
	refuses(2,
		"experiment: conditional needs the features of refusal and of harm: \"categories\" "
		"before it, or a file that has them (from)\n",
		"%s --set experiment=conditional --set from=%s", JOB, from);
	snprintf(expected, sizeof expected,
		"from: %s was made with another model: expected one with SHA-256 ddab0d0d5d74..., found "
		"models/tiny-gemma2-base/model.safetensors with 7377ec6d40d0...\n",
		from); /* told by the weights: config.json is the same */
	refuses(3, expected,
		"%s --set experiment=jailbreak --set from=%s --set model.path=models/tiny-gemma2-base",
		JOB, from);
	snprintf(expected, sizeof expected,
		"from_k_star: expected at most 3, the features of /feature_sets/cossim_ap/global/layer "
		"in %s, found 4\n",
		from);
	refuses(2, expected, "%s --set experiment=prune --set from=%s --set from_k_star=4", JOB,
		from);
	snprintf(expected, sizeof expected,
		"feature_graph: expected features in at least three layers, the 3 of cossim_ap lie in "
		"fewer; try a larger attribution.k_star\n");
	refuses(2, expected,
		"%s --set experiment=feature_graph --set from=%s --set "
		"dissect.prompts=[\\\"harmful_test\\\"]",
		JOB, from);
}

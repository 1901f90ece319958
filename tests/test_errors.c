/* SPDX-License-Identifier: MIT
 *
 * test_errors.c - bad input, as a user gives it: one clear message, the exit status of its kind,
 * nothing left half-written. The texts are golden: a change of wording shows here.
 */
#include "host/base/file.h"
#include "tests/run_engine.h"
#include "tests/test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static struct engine_run run;

/* A config that works, with places for what a test spoils. */
static const char *write_config(const char *model, const char *saes, const char *prompts)
{
	static char text[4096];

	snprintf(text, sizeof text,
		"experiment = [\"direction\", \"attribution\"];\n"
		"output = \"%s/out.h5\";\n"
		"model = { path = \"%s\"; };\n"
		"sae = { path = \"%s\"; width = \"1k\"; };\n"
		"prompts = {\n"
		"  harmful_train = { file = \"%s\"; limit = 8; };\n"
		"  harmless_train = { file = \"models/small-world/harmless_train.json\"; limit = 8; };\n"
		"  harmful_test = { file = \"models/small-world/harmful_test.json\"; limit = 4; };\n"
		"};\n"
		"direction = { layer = 3; };\n",
		test_scratch_folder(), model, saes, prompts);
	return write_scratch("run.cfg", text);
}

static const char *const MODEL = "models/tiny-gemma2", *const SAES = "models/tiny-gemma2-scope",
			 *const PROMPTS = "models/small-world/harmful_train.json";

static void expect(int status, const char *message)
{
	char path[512];

	CHECK(run.status == status, "exit status %d, expected %d: %s", run.status, status, run.err);
	CHECK(strcmp(run.err, message) == 0, "message is\n%s\nexpected\n%s", run.err, message);
	snprintf(path, sizeof path, "%s/out.h5", test_scratch_folder());
	CHECK(!file_exists(path), "%s was written", path);
	strcat(path, ".part");
	CHECK(!file_exists(path), "%s was left", path);
}

/* The message with the scratch folder in place of %s. */
static const char *with_folder(const char *format)
{
	static char text[4096];
	const char *at = strstr(format, "%s");
	size_t n = 0;

	for (; at; at = strstr(format, "%s")) {
		n += (size_t)snprintf(text + n, sizeof text - n, "%.*s%s", (int)(at - format),
			format, test_scratch_folder());
		format = at + 2;
	}
	snprintf(text + n, sizeof text - n, "%s", format);
	return text;
}

/* A copy of the shipped model in the scratch folder, one of its files to be spoiled after. */
static const char *copy_model(void)
{
	static char folder[256];
	static const char *const files[] = {"config.json", "model.safetensors", "tokenizer.json"};

	snprintf(folder, sizeof folder, "%s/model", test_scratch_folder());
	mkdir(folder, 0777);
	for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
		char from[512], to[512];

		snprintf(from, sizeof from, "%s/%s/%s", test_source_root(), MODEL, files[i]);
		snprintf(to, sizeof to, "%s/%s", folder, files[i]);
		copy_file(from, to, 0, NULL, 0, 0);
	}
	return folder;
}

TEST(every_fault_of_a_config_is_reported_in_one_run_with_file_and_line)
{
	write_scratch("bad.cfg",
		"experiment = [\"direction\", \"atribution\"];\n"
		"ouput = \"x\";\n"
		"model = { path = 3; n_ctx = -4; };\n"
		"sae = {\n"
		"\tl0 = \"many\";\n"
		"};\n"
		"direction = { layer = 200; };\n"
		"attribution = { k_star = 2.5; methds = [\"ap\"]; };\n"
		"prompts = { harmful_train = { limit = 3; fil = \"x\"; }; a = 3;\n"
		"b = { file = \"x\"; format = \"parquet\";\nwhere = [\"k=v\", \"kind\"]; }; };\n");
	engine_run(&run, "%s/bad.cfg --set generate.prompts=zero --set refusal=1",
		test_scratch_folder());
	expect(2,
		with_folder(
			"%s/bad.cfg:1: experiment: expected a list of one or more of direction, attribution, jailbreak, "
			"induce, coherence, sweep_kstar, categories, conditional, suffix, jailbreaks, probe, "
			"exact_patching, low_cosine, interactions, prune, feature_graph, sae_compare, judge, "
			"found [\"direction\", \"atribution\"]\n"
			"%s/bad.cfg:2: unknown key ouput; did you mean output?\n"
			"%s/bad.cfg:3: model.path: expected a text, found 3\n"
			"%s/bad.cfg:3: model.n_ctx: expected an integer from 0 to 1048576, found -4\n"
			"%s/bad.cfg:5: sae.l0: expected a number from 0 to 1e+09, found \"many\"\n"
			"%s/bad.cfg:7: direction.layer: expected an integer from -1 to 127, found 200\n"
			"%s/bad.cfg:8: attribution.k_star: expected an integer from 1 to 1048576, found 2.5\n"
			"%s/bad.cfg:8: unknown key attribution.methds; did you mean attribution.methods?\n"
			"%s/bad.cfg:9: unknown key prompts.harmful_train.fil; did you mean file?\n"
			"%s/bad.cfg:9: prompts.a: expected a group, { file = \"...\"; }\n"
			"%s/bad.cfg:10: prompts.b.format: expected one of auto, json, jsonl, csv, tsv, text, "
			"found \"parquet\"\n"
			"--set generate.prompts=zero: generate.prompts: expected an integer from 0 to 65536, "
			"found \"zero\"\n"
			"--set refusal=1: refusal: expected a group, refusal = { token = ...; }, found 1\n"
			"%s/bad.cfg: missing key output: the result file, HDF5; appears when the run is "
			"complete\n"
			"%s/bad.cfg:9: missing key prompts.harmful_train.file: a file of prompts: JSON, JSON "
			"lines, CSV, TSV or plain lines\n"
			"%s/bad.cfg:11: prompts.b.where: expected \"FIELD=VALUE\", found \"kind\"\n"));
}

TEST(a_config_with_a_syntax_error_names_the_line)
{
	write_scratch("bad.cfg", "output = \"x\";\nmodel = { path = ;\n");
	engine_run(&run, "%s/bad.cfg", test_scratch_folder());
	expect(2, with_folder("%s/bad.cfg:2: syntax error\n"));
}

TEST(a_key_of_version_0_1_is_refused_with_its_new_name)
{
	write_config(MODEL, SAES, PROMPTS);
	engine_run(&run,
		"%s/run.cfg --set jailbreak.scale=-1.0 --set prune.draws=3 --set "
		"prompts.harmful_test.category=fraud",
		test_scratch_folder());
	expect(2, "--set jailbreak.scale=-1.0: jailbreak.scale is now clamp.scale\n"
		  "--set prune.draws=3: prune.draws is now controls.draws\n"
		  "--set prompts.harmful_test.category=fraud: prompts.harmful_test.category is now "
		  "where = [\"FIELD=VALUE\"]\n");
}

TEST(a_key_of_version_0_1_that_is_gone_is_refused_with_the_reason)
{
	write_config(MODEL, SAES, PROMPTS);
	engine_run(&run,
		"%s/run.cfg --set exact_patching.rules=left --set feature_graph.method=ap "
		"--set probe.validation=0.2 --set probe.rate=0.1 --set probe.decay=0.1 "
		"--set probe.epochs=5",
		test_scratch_folder());
	expect(2,
		"--set exact_patching.rules=left: exact_patching.rules is gone: both rules, always\n"
		"--set feature_graph.method=ap: feature_graph.method is gone: the features of "
		"cossim_ap, always\n"
		"--set probe.validation=0.2: probe.validation is gone: a constant now\n"
		"--set probe.rate=0.1: probe.rate is gone: a constant now\n"
		"--set probe.decay=0.1: probe.decay is gone: a constant now\n"
		"--set probe.epochs=5: probe.epochs is gone: a constant now\n");
}

TEST(a_list_is_empty_only_where_its_default_is)
{
	static const char *const lists[] = {"experiment", "attribution.prompts",
		"attribution.methods", "clamp.prompts", "clamp.scale", "dissect.prompts",
		"induce.value", "induce.methods", "exact_patching.steps", "exact_patching.paths",
		"jailbreak.scopes", "jailbreaks.plain", "sweep_kstar.k_star", "refusal.substrings"};

	write_config(MODEL, SAES, PROMPTS);
	for (size_t i = 0; i < sizeof lists / sizeof *lists; i++) {
		char begin[128];

		engine_run(&run, "%s/run.cfg --dry-run --set %s=[]", test_scratch_folder(),
			lists[i]);
		snprintf(begin, sizeof begin, "--set %s=[]: %s: expected a list of one or more ",
			lists[i], lists[i]);
		CHECK(run.status == 2 && strncmp(run.err, begin, strlen(begin)) == 0 &&
				strstr(run.err, ", found []\n"),
			"%d: %s", run.status, run.err);
	}
	engine_run(&run,
		"%s/run.cfg --dry-run --set sweep_kstar.k0=[] --set coherence.questions=[] --set "
		"judge.generations=[] --set prompts.harmful_test.where=[]",
		test_scratch_folder());
	CHECK(run.status == 0, "%d: %s", run.status, run.err);
}

TEST(a_value_named_twice_in_a_list_is_refused)
{
	static const struct {
		const char *key, *list, *twice;
	} cases[] = {
		{"experiment", "[\"direction\",\"direction\"]", "\"direction\""},
		{"attribution.prompts", "[\"harmful_test\",\"harmful_test\"]", "\"harmful_test\""},
		{"attribution.methods", "[\"ap\",\"random\",\"ap\"]", "\"ap\""},
		{"clamp.prompts", "[\"harmful_test\",\"harmful_test\"]", "\"harmful_test\""},
		{"dissect.prompts", "[\"harmful_test\",\"harmful_test\"]", "\"harmful_test\""},
		{"jailbreak.scopes", "[\"global\",\"global\"]", "\"global\""},
		{"clamp.scale", "[-1.0,-2.5,-1.0]", "-1"},
		{"sweep_kstar.k_star", "[3,3]", "3"},
		{"exact_patching.steps", "(2,2.0)", "2"},
	};

	write_config(MODEL, SAES, PROMPTS);
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		char message[256];

		engine_run(&run, "%s/run.cfg --dry-run --set '%s=%s'", test_scratch_folder(),
			cases[i].key, cases[i].list);
		snprintf(message, sizeof message,
			"--set %s=%s: %s: expected each once, found %s twice\n", cases[i].key,
			cases[i].list, cases[i].key, cases[i].twice);
		expect(2, message);
	}
}

TEST(lists_that_are_paired_by_position_may_name_a_set_again)
{
	engine_run(&run,
		"configs/tiny_jailbreaks.cfg --dry-run --set output=%s/out.h5 --set "
		"'jailbreaks.adversarial=[\"through\",\"through\"]' --set "
		"'jailbreaks.plain=[\"refused\",\"refused\"]'",
		test_scratch_folder());
	CHECK(run.status == 0, "%d: %s", run.status, run.err);
}

TEST(the_experiments_that_need_saes_are_named_when_there_are_none)
{
	write_config(MODEL, "", PROMPTS);
	engine_run(&run, "%s/run.cfg --set 'experiment=[\"direction\",\"attribution\",\"prune\"]'",
		test_scratch_folder());
	CHECK(run.status == 2 &&
			strstr(run.err, "/run.cfg:4: sae.path: attribution, prune need SAEs, "
					"found \"\"\n"),
		"%d: %s", run.status, run.err);
	write_scratch("bad.cfg",
		"experiment = \"prune\";\noutput = \"x\";\nmodel = { path = "
		"\"m\"; };\nsae = { width = \"1k\"; };\ndissect = { prompts = \"a\"; };\n"
		"prompts = { a = { file = \"x\"; }; };\n");
	engine_run(&run, "%s/bad.cfg", test_scratch_folder());
	expect(2,
		with_folder("%s/bad.cfg: sae.path (the default): prune needs SAEs, found \"\"\n"));
}

TEST(a_setting_that_means_nothing_without_another_is_refused_with_both_named)
{
	write_config(MODEL, SAES, PROMPTS);
	engine_run(&run,
		"%s/run.cfg --set experiment=direction --set sae.path= --set sae.check=true --set "
		"save.features=true --set from_k_star=5",
		test_scratch_folder());
	expect(2,
		"--set sae.check=true: sae.check: expected SAEs to check, found sae.path = \"\"\n"
		"--set save.features=true: save.features: expected SAEs to save the features of, "
		"found sae.path = \"\"\n"
		"--set from_k_star=5: from_k_star: expected a file to take the best 5 features from, "
		"found from = \"\"\n");
}

TEST(settings_of_features_are_refused_where_no_saes_are_given_and_not_where_none_is_said)
{
	static const char *const settings =
		"--set 'jailbreak.scopes=[\"global\"]' --set induce.value=3.0 --set clamp.scale=-1.0";

	engine_run(&run, "configs/tiny_direction.cfg --set output=%s/out.h5 --dry-run %s",
		test_scratch_folder(), settings);
	expect(2,
		"--set jailbreak.scopes=[\"global\"]: jailbreak.scopes: expected SAEs whose features "
		"it is of, found no sae.path; give it, or sae.path = \"\" to do without features\n"
		"--set clamp.scale=-1.0: clamp.scale: expected SAEs whose features it is of, found no "
		"sae.path; give it, or sae.path = \"\" to do without features\n"
		"--set induce.value=3.0: induce.value: expected SAEs whose features it is of, found no "
		"sae.path; give it, or sae.path = \"\" to do without features\n");
	engine_run(&run,
		"configs/tiny_direction.cfg --set output=%s/out.h5 --dry-run %s "
		"--set sae.path=",
		test_scratch_folder(), settings);
	CHECK(run.status == 0 && strstr(run.out, "\nSAEs       none (sae.path is empty): "),
		"%d: %s%s", run.status, run.out, run.err);
}

TEST(a_fault_found_after_reading_names_the_set_option_that_gave_the_value)
{
	write_config(MODEL, SAES, PROMPTS);
	engine_run(&run,
		"%s/run.cfg --set 'attribution.prompts=[\"nope\"]' --set prompts.more.limit=3 --set "
		"direction.harmful=",
		test_scratch_folder());
	expect(2,
		"--set prompts.more.limit=3: missing key prompts.more.file: a file of prompts: JSON, "
		"JSON lines, CSV, TSV or plain lines\n"
		"--set direction.harmful=: direction.harmful: expected the name of a prompt set, found "
		"\"\"\n"
		"--set attribution.prompts=[\"nope\"]: attribution.prompts: there is no prompt set "
		"\"nope\"; add prompts.nope = { file = \"...\"; }\n");
}

TEST(a_default_that_does_not_fit_is_called_one_and_gets_no_line)
{
	write_scratch("bad.cfg", "experiment = \"attribution\";\nfrom = \"old.h5\";\noutput = "
				 "\"x\";\nmodel = { path = \"m\"; };\nsae = { path = \"s\"; };\n"
				 "direction = { layer = 3; };\n"
				 "prompts = { harmful_test = { file = \"x\"; }; };\n");
	engine_run(&run, "%s/bad.cfg", test_scratch_folder());
	expect(2,
		with_folder(
			"%s/bad.cfg: direction.harmless (the default): there is no prompt set "
			"\"harmless_train\"; add prompts.harmless_train = { file = \"...\"; }\n"));
}

TEST(a_group_given_as_a_value_is_shown_as_a_group)
{
	write_config(MODEL, SAES, PROMPTS);
	engine_run(&run, "%s/run.cfg --set controls=3 --set prompts=1", test_scratch_folder());
	expect(2,
		"--set controls=3: controls: expected a group, controls = { draws = ...; }, found "
		"3\n"
		"--set prompts=1: prompts: expected a group, prompts = { NAME = { file = \"...\"; }; "
		"}, found 1\n");
}

TEST(the_random_sets_of_the_controls_are_at_least_one_and_at_most_a_thousand)
{
	write_config(MODEL, SAES, PROMPTS);
	engine_run(&run, "%s/run.cfg --set controls.draws=0 --set controls.draws=1001",
		test_scratch_folder());
	expect(2,
		"--set controls.draws=0: controls.draws: expected an integer from 1 to 1000, found "
		"0\n"
		"--set controls.draws=1001: controls.draws: expected an integer from 1 to 1000, "
		"found 1001\n");
}

TEST(the_name_of_a_prompt_set_has_at_most_128_characters)
{
	char name[130] = "";

	memset(name, 'a', sizeof name - 1);
	write_config(MODEL, SAES, PROMPTS);
	engine_run(&run, "%s/run.cfg --dry-run --set prompts.%.128s.file=%s", test_scratch_folder(),
		name, PROMPTS);
	CHECK(run.status == 0, "%d: %s", run.status, run.err);
	engine_run(&run, "%s/run.cfg --dry-run --set prompts.%s.file=x", test_scratch_folder(),
		name);
	CHECK(run.status == 2 && strstr(run.err, ": prompts: expected names of at most 128 "
						 "characters, found aaa"),
		"%d: %s", run.status, run.err);
}

TEST(a_list_of_numbers_is_refused_with_its_bounds_and_kind)
{
	write_config(MODEL, SAES, PROMPTS);
	engine_run(&run,
		"%s/run.cfg --set exact_patching.steps=[0] --set exact_patching.steps=[1.0,2.5] --set "
		"clamp.scale=x",
		test_scratch_folder());
	expect(2,
		"--set exact_patching.steps=[0]: exact_patching.steps: expected a list of one or more "
		"whole numbers from 1 to 1000, found [0]\n"
		"--set exact_patching.steps=[1.0,2.5]: exact_patching.steps: expected a list of one or "
		"more whole numbers from 1 to 1000, found [1, 2.5]\n"
		"--set clamp.scale=x: clamp.scale: expected a list of one or more numbers, found "
		"\"x\"\n");
	engine_run(&run, "%s/run.cfg --set 'clamp.scale=[-1.0, 2]'", test_scratch_folder());
	expect(2,
		"--set clamp.scale=[-1.0, 2]: mismatched element type in array: a list in [ ] holds one "
		"kind, and all its numbers are written with a point, or none is; texts and numbers "
		"together stand in ( )\n");
	engine_run(&run, "%s/run.cfg --dry-run --set 'clamp.scale=(-1.0, 2)'",
		test_scratch_folder());
	CHECK(run.status == 0, "%d: %s", run.status, run.err);
}

TEST(a_number_that_would_be_read_as_another_is_refused_as_it_is_written)
{
	char included[256], text[512];

	snprintf(included, sizeof included, "%s",
		write_scratch("part.inc",
			"/* 99999999999 */ threads = 4294967297; // 99999999999\n"));
	snprintf(text, sizeof text,
		"output = \"99999999999\";\nexperiment = \"direction\";\nseed = 4294967298;\n"
		"@include \"%s\"\nclamp = { scale = [1e999]; }; # 99999999999\n",
		included);
	write_scratch("bad.cfg", text);
	engine_run(&run, "%s/bad.cfg", test_scratch_folder());
	expect(2,
		with_folder(
			"%s/bad.cfg:3: expected 4294967298L, for integers beyond 2147483647 have an L "
			"behind them, found 4294967298\n"
			"%s/bad.cfg:5: expected numbers up to 1.8e308, found 1e999\n"
			"%s/part.inc:1: expected 4294967297L, for integers beyond 2147483647 have an L "
			"behind them, found 4294967297\n"));
	write_config(MODEL, SAES, PROMPTS);
	engine_run(&run, "%s/run.cfg --set seed=99999999999999999999", test_scratch_folder());
	expect(2,
		"--set seed=99999999999999999999: expected integers up to 9223372036854775807, found "
		"99999999999999999999\n");
	engine_run(&run, "%s/run.cfg --dry-run --set seed=5000000000L", test_scratch_folder());
	CHECK(run.status == 0, "%d: %s", run.status, run.err);
}

TEST(a_prompt_set_that_an_experiment_needs_is_asked_for_by_name)
{
	write_scratch("bad.cfg", "experiment = \"jailbreak\";\noutput = \"x\";\n"
				 "model = { path = \"m\"; };\n"
				 "clamp = { prompts = [\"mine\"]; };\n");
	engine_run(&run, "%s/bad.cfg", test_scratch_folder());
	expect(2, with_folder("%s/bad.cfg:4: clamp.prompts: there is no prompt set \"mine\"; add "
			      "prompts.mine = { file = \"...\"; }\n"));
}

TEST(usage_errors_print_the_usage)
{
	engine_run(&run, "--no-such-option");
	CHECK(run.status == 2 &&
			strncmp(run.err, "unexpected argument \"--no-such-option\"", 38) == 0 &&
			strstr(run.err, "usage: engine CONFIG"),
		"%d: %s", run.status, run.err);
	engine_run(&run, "%s", "");
	CHECK(run.status == 2 && strncmp(run.err, "expected a config file", 22) == 0, "%d: %s",
		run.status, run.err);
	engine_run(&run, "no-such.cfg");
	expect(3, "no-such.cfg: no such config file\n");
}

TEST(everything_missing_is_listed_at_once_with_where_it_is_published)
{
	write_config("no/model", "no/saes", "no/prompts.json");
	engine_run(&run, "%s/run.cfg --set model.published=https://example.org/model",
		test_scratch_folder());
	expect(3, "model.path: no folder \"no/model\"; published at https://example.org/model\n"
		  "sae.path: no folder \"no/saes\"\n"
		  "prompts.harmful_train.file: no file \"no/prompts.json\"\n");
}

TEST(a_truncated_weight_file_is_named_with_the_tensor)
{
	char path[512];
	const char *folder = copy_model();

	snprintf(path, sizeof path, "%s/%s/model.safetensors", test_source_root(), MODEL);
	{
		char to[512];

		snprintf(to, sizeof to, "%s/model.safetensors", folder);
		copy_file(path, to, 0, NULL, 0, 100000);
	}
	write_config(folder, SAES, PROMPTS);
	engine_run(&run, "%s/run.cfg", test_scratch_folder());
	CHECK(run.status == 3 && strstr(run.err, "/model/model.safetensors: tensor \"") &&
			strstr(run.err, "(truncated download?)\n"),
		"%d: %s", run.status, run.err);
}

TEST(a_tensor_of_the_wrong_shape_is_named_with_both_shapes)
{
	char path[512];
	const char *folder = copy_model();

	/* A config that asks for one more feed-forward unit than the weights have. */
	snprintf(path, sizeof path,
		"sed -i 's/\"intermediate_size\": [0-9]*/\"intermediate_size\": 7/' "
		"%s/config.json",
		folder);
	CHECK(system(path) == 0, "sed failed");
	write_config(folder, SAES, PROMPTS);
	engine_run(&run, "%s/run.cfg", test_scratch_folder());
	expect(3,
		with_folder(
			"%s/model: tensor \"model.layers.0.mlp.gate_proj.weight\": expected shape "
			"[7, 128], found 2 dimensions, [384, 128]\n"));
}

TEST(an_sae_of_another_width_is_refused)
{
	char folder[256], layer[1024];

	snprintf(folder, sizeof folder, "%s/saes", test_scratch_folder());
	snprintf(layer, sizeof layer,
		"mkdir -p %s/layer_0/width_1k/average_l0_9 && cp "
		"%s/tests/golden/npz/narrow_sae.npz "
		"%s/layer_0/width_1k/average_l0_9/params.npz",
		folder, test_source_root(), folder);
	REQUIRE(system(layer) == 0, "cannot make %s", folder);
	write_config(MODEL, folder, PROMPTS);
	engine_run(&run, "%s/run.cfg", test_scratch_folder());
	expect(3,
		with_folder("%s/saes/layer_0/width_1k/average_l0_9/params.npz: expected an SAE of "
			    "width 128, the model's d_model, found 5\n"));
}

TEST(a_missing_layer_of_saes_is_named_by_its_folder)
{
	char command[512];

	snprintf(command, sizeof command, "mkdir -p %s/no_saes/layer_0", test_scratch_folder());
	REQUIRE(system(command) == 0, "mkdir failed");
	snprintf(command, sizeof command, "%s/no_saes", test_scratch_folder());
	write_config(MODEL, command, PROMPTS);
	engine_run(&run, "%s/run.cfg", test_scratch_folder());
	expect(3,
		with_folder(
			"%s/no_saes/layer_0/width_1k: cannot be read: No such file or directory\n"));
}

TEST(prompt_files_with_empty_or_ill_formed_instructions_are_refused_by_record)
{
	static const struct {
		const char *file, *message;
	} cases[] = {
		{"[{\"instruction\": \"a\"}, {\"instruction\": \"  \"}]",
			"prompts.harmful_train: %s/p.json: record 1: its instruction is empty\n"},
		{"[{\"instruction\": \"a\xff\"}]",
			"prompts.harmful_train: %s/p.json:1: expected UTF-8, found byte 0xff at offset "
			"19\n"},
		{"[{\"ask\": \"a\"}]",
			"prompts.harmful_train: %s/p.json: record 0: expected a prompt in a field of a "
			"known name (instruction, Goal, Behavior, forbidden_prompt, prompt, question, "
			"text, messages; else set text_field), found the fields ask\n"},
		{"[{\"goal\": \"a\", \"prompt\": \"b\"}]",
			"prompts.harmful_train: %s/p.json: record 0: expected one field that can be the "
			"prompt, found \"goal\" and \"prompt\"; text_field says which is meant\n"},
		{"[{\"goal\": \"N/A\"}]",
			"prompts.harmful_train: %s/p.json: record 0: expected a text as its goal, found "
			"\"N/A\", which stands for a missing value (na_is_text = true takes it as it "
			"is)\n"},
		{"[{\"messages\": [{\"role\": \"assistant\", \"content\": \"a\"}]}]",
			"prompts.harmful_train: %s/p.json: record 0: message 0 of \"messages\": expected "
			"the user's as the last, found the assistant's; last_reply = \"drop\" leaves it "
			"out, \"begin\" has replies go on from it\n"},
		{"{}", "prompts.harmful_train: %s/p.json: expected an array of {\"instruction\": ...}, "
		       "found an object\n"},
		{"[]", "prompts.harmful_train: %s/p.json: expected a prompt, found none; of 0 "
		       "records none left out\n"},
	};

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		char path[512];

		snprintf(path, sizeof path, "%s", write_scratch("p.json", cases[i].file));
		write_config(MODEL, SAES, path);
		engine_run(&run, "%s/run.cfg", test_scratch_folder());
		expect(3, with_folder(cases[i].message));
	}
}

TEST(a_filter_that_lets_nothing_through_is_refused_by_the_file)
{
	write_config(MODEL, SAES, PROMPTS);
	engine_run(&run, "%s/run.cfg --set prompts.harmful_train.where=category=none",
		test_scratch_folder());
	expect(3,
		"prompts.harmful_train: models/small-world/harmful_train.json: expected a prompt, "
		"found none; of 160 records left out: 160 by where\n");
}

TEST(an_output_folder_that_cannot_be_written_stops_the_run_before_it_computes)
{
	write_config(MODEL, SAES, PROMPTS);
	engine_run(&run, "%s/run.cfg --set output=/proc/nowhere/out.h5", test_scratch_folder());
	CHECK(run.status == 5 && strcmp(run.err, "/proc/nowhere: cannot create the folder: No such "
						 "file or directory\n") == 0,
		"%d: %s", run.status, run.err);
	CHECK(!strstr(run.out, "prompt  "), "it had begun: %s", run.out);
}

TEST(an_unknown_device_one_that_is_not_built_in_and_one_that_is_not_there_are_told_apart)
{
#ifdef SAENGINE_CUDA /* as this machine lacks a driver, a new one, a device or so many of them */
	static const char *const expected[] = {"no NVIDIA driver was found",
		"expected a driver for CUDA ", "no CUDA device was found",
		"expected a number below "};
#else
	static const char *const expected[] = {"this build has no CUDA backend"};
#endif
	const char *const found = run.err + 20; /* behind the device's name */
	bool known = false;

	write_config(MODEL, SAES, PROMPTS);
	engine_run(&run, "%s/run.cfg --device tpu", test_scratch_folder());
	CHECK(run.status == 2 && strstr(run.err, "device \"tpu\": expected \"cpu\""), "%d: %s",
		run.status, run.err);
	engine_run(&run, "%s/run.cfg --device cuda:4096", test_scratch_folder());
	for (size_t i = 0; i < sizeof expected / sizeof *expected; i++)
		known = known || strncmp(found, expected[i], strlen(expected[i])) == 0;
	CHECK(run.status == 4 && strncmp(run.err, "device \"cuda:4096\": ", 20) == 0 && known,
		"%d: %s", run.status, run.err);
}

TEST(settings_that_do_not_fit_the_model_are_refused_with_the_bound)
{
	write_config(MODEL, SAES, PROMPTS);
	engine_run(&run, "%s/run.cfg --set direction.layer=6", test_scratch_folder());
	expect(2, "direction.layer: expected a layer below 6, found 6\n");
	engine_run(&run, "%s/run.cfg --set refusal.token='I cannot'", test_scratch_folder());
	CHECK(run.status == 2 && strstr(run.err, "refusal.token: expected a text of one token"),
		"%d: %s", run.status, run.err);
	engine_run(&run, "%s/run.cfg --set model.template=llama9", test_scratch_folder());
	CHECK(run.status == 2 && strstr(run.err, "model.template: expected"), "%d: %s", run.status,
		run.err);
	engine_run(&run, "%s/run.cfg --set attribution.k_star=1000", test_scratch_folder());
	expect(2,
		"attribution.k_star: expected at most 60, the number of candidates (the 10 nearest to "
		"the direction of each layer), found 1000\n");
}

TEST(experiments_say_what_their_inputs_lack_before_anything_is_computed)
{
	engine_run(&run,
		"configs/tiny_categories.cfg --set output=%s/out.h5 --set "
		"'categories.names=[\"fraud\", \"arson\"]'",
		test_scratch_folder());
	expect(2,
		"categories.names: category \"arson\" has no prompts in prompts.categories; it has "
		"illegal, violence, fraud, hate, weapon, adult, economic\n");
	engine_run(&run,
		"configs/tiny_categories.cfg --set output=%s/out.h5 --set "
		"attribution.k_star=61",
		test_scratch_folder());
	expect(2,
		"attribution.k_star: expected at most 60, the number of candidates (the 10 nearest to "
		"the direction of each layer), found 61\n");
	engine_run(&run,
		"configs/tiny_sweep_kstar.cfg --set output=%s/out.h5 --set "
		"sweep_kstar.k0=3",
		test_scratch_folder());
	expect(2,
		"sweep_kstar.k_star: expected at most 18, the number of candidates with K0 = 3, found "
		"40\n");
	engine_run(&run,
		"configs/tiny_conditional.cfg --set output=%s/out.h5 --set "
		"'experiment=[\"direction\", \"conditional\"]'",
		test_scratch_folder());
	expect(2,
		"experiment: conditional needs the features of refusal and of harm: \"categories\" "
		"before it, or a file that has them (from)\n");
	engine_run(&run,
		"configs/tiny_gemma2_ap.cfg --set output=%s/out.h5 --set "
		"'experiment=[\"jailbreak\"]'",
		test_scratch_folder());
	expect(2, "experiment: jailbreak needs \"direction\" before it, or a file to take it from "
		  "(from)\n");
	engine_run(&run,
		"configs/tiny_suffix.cfg --set output=%s/out.h5 --set "
		"'prompts.suffixes.take=text'",
		test_scratch_folder());
	expect(2,
		"prompts.suffixes.take: suffix needs prompts that grow word by word, \"words\", found "
		"\"text\"\n");
	engine_run(&run,
		"configs/tiny_suffix.cfg --set output=%s/out.h5 --set "
		"'prompts.suffixes.suffix_field=\"\"'",
		test_scratch_folder());
	expect(3,
		"prompts.suffixes: expected prompts with a base, found none in record 54; name the "
		"field of the suffixes (suffix_field), or a file of pairs\n");
	engine_run(&run,
		"configs/tiny_jailbreaks.cfg --set output=%s/out.h5 --set "
		"prompts.refused.limit=7",
		test_scratch_folder());
	expect(2,
		"jailbreaks.plain: expected 340 prompts, one for each of jailbreaks.adversarial, found "
		"247\n");
	engine_run(&run,
		"configs/tiny_probe.cfg --set output=%s/out.h5 --set "
		"'probe.test_benign=[\"plain_benign\"]'",
		test_scratch_folder());
	expect(2,
		"probe.test_benign: expected as many sets as probe.test_harmful, at least one, found 1 "
		"and 4\n");
}

TEST(the_experiments_on_open_questions_refuse_what_they_cannot_use)
{
	engine_run(&run,
		"configs/tiny_low_cosine.cfg --set output=%s/out.h5 --set "
		"attribution.k_star=61",
		test_scratch_folder());
	expect(2,
		"attribution.k_star: expected at most 60, the number of candidates (the 10 nearest to "
		"the direction of each layer), found 61\n");
	engine_run(&run,
		"configs/tiny_prune.cfg --set output=%s/out.h5 --set "
		"'experiment=[\"direction\", \"prune\"]'",
		test_scratch_folder());
	expect(2,
		"experiment: prune needs the features of cossim_ap: \"attribution\" with that method "
		"before it, or a file that has them (from)\n");
	engine_run(&run,
		"configs/tiny_feature_graph.cfg --set output=%s/out.h5 --set "
		"'experiment=[\"direction\", \"feature_graph\"]'",
		test_scratch_folder());
	expect(2,
		"experiment: feature_graph needs the features of cossim_ap: \"attribution\" with that "
		"method before it, or a file that has them (from)\n");
	engine_run(&run,
		"configs/tiny_sae_compare.cfg --set output=%s/out.h5 --set "
		"sae_compare.path=no/saes --set sae_compare.published=https://example.org/saes",
		test_scratch_folder());
	expect(3,
		"sae_compare.path: no folder \"no/saes\"; published at https://example.org/saes\n");
	engine_run(&run,
		"configs/tiny_coherence.cfg --set output=%s/out.h5 --set "
		"coherence.questions=[\\\"harmless_test\\\"]",
		test_scratch_folder());
	expect(2,
		"coherence.questions: expected questions with answers (an \"answer\", or choices and an "
		"answerKey), found none in prompts.harmless_test for \"Tell me how to draft a large "
		"email.\"\n");
}

TEST(help_version_and_dry_run_succeed)
{
	engine_run(&run, "--help");
	CHECK(run.status == 0 && strstr(run.out, "usage: engine CONFIG"), "%s", run.out);
	engine_run(&run, "--help-config");
	CHECK(run.status == 0 && strstr(run.out, "attribution.k_star"), "%s", run.out);
	engine_run(&run, "--version");
	CHECK(run.status == 0 && strncmp(run.out, "saengine ", 9) == 0, "%s", run.out);
	write_config(MODEL, SAES, PROMPTS);
	engine_run(&run, "%s/run.cfg --dry-run", test_scratch_folder());
	CHECK(run.status == 0 && strstr(run.out, "integrated gradients"), "%s%s", run.out, run.err);
	CHECK(strstr(run.out, "example    \"<bos><start_of_turn>user\\n"), "%s", run.out);
	CHECK(strstr(run.out, "tokens  2 \"<bos>\" 4 \"<start_of_turn>\" "), "%s", run.out);
	CHECK(strstr(run.out,
		      "blocks.5.hook_resid_post  layer_5/width_1k/average_l0_20/params.npz: "
		      "nothing beside it says of which place\n"),
		"%s", run.out);
	engine_run(&run, "%s/run.cfg --dry-run --set model.bos=double", test_scratch_folder());
	CHECK(strstr(run.out, "tokens  2 \"<bos>\" 2 \"<bos>\" 4 \"<start_of_turn>\" "), "%s",
		run.out);
}

TEST(what_is_asked_for_and_cannot_be_printed_is_exit_5)
{
	static const char *const asked[] = {"--version", "--help", "--help-config",
		"--help-results", "configs/tiny_gemma2_ap.cfg --dry-run"};

	for (size_t i = 0; i < sizeof asked / sizeof *asked; i++) {
		char command[512], out[512];

		snprintf(command, sizeof command, "cd '%s' && '%s' %s 2>&1 >/dev/full",
			test_source_root(), SAENGINE_BINARY, asked[i]);
		CHECK(test_shell(command, out, sizeof out) == 5 &&
				strcmp(out,
					"standard output: cannot write: No space left on device\n") ==
					0,
			"%s: %s", asked[i], out);
	}
}

TEST(prefix_and_suffix_of_the_config_replace_the_template)
{
	write_config(MODEL, SAES, PROMPTS);
	engine_run(&run,
		"%s/run.cfg --dry-run --set 'model.prefix=\"Q: \"' --set 'model.suffix=\"\\nA:\"'",
		test_scratch_folder());
	CHECK(run.status == 0 &&
			strstr(run.out, "template   custom (model.prefix, model.suffix);") &&
			strstr(run.out, "example    \"Q: ") && strstr(run.out, "\\nA:\"\n") &&
			strstr(run.out, "tokens  2 \"<bos>\" "),
		"%s%s", run.out, run.err);
	engine_run(&run, "%s/run.cfg --set 'model.prefix=\"Q: \"'", test_scratch_folder());
	expect(2, "model.prefix, model.suffix: expected both or none, found only model.prefix\n");
	engine_run(&run, "%s/run.cfg --set model.template=gemma2 --set model.system=x",
		test_scratch_folder());
	expect(2, "model.system: expected none, the template gemma2 has no place for it\n");
}

TEST(a_run_that_does_not_fit_the_memory_says_so_before_it_reads_the_weights)
{
	double needed, available;

	engine_run(&run, "%s --set memory_gb=0.001", write_config(MODEL, SAES, PROMPTS));
	CHECK(run.status == 4, "exit status %d: %s", run.status, run.err);
	CHECK(sscanf(run.err, "too little memory on cpu:%*[^:]: %lf MiB are needed (weights ",
		      &needed) == 1 &&
			strstr(run.err,
				"), 1.0 MiB are allowed by memory_gb; smaller batch.tokens, "
				"generate.prompts and generate.max_new_tokens need less\n"),
		"%s", run.err);
	CHECK(needed > 10 && needed < 200, "%g MiB are needed", needed);

	/* Replies of a million tokens, against what there is. */
	engine_run(&run,
		"configs/tiny_gemma2_ap.cfg --set output=%s/out.h5 --set model.n_ctx=1048576 "
		"--set generate.max_new_tokens=1000000 --set generate.prompts=512",
		test_scratch_folder());
	CHECK(run.status == 4, "exit status %d: %s%s", run.status, run.out, run.err);
	CHECK(sscanf(run.err, "too little memory on cpu:%*[^:]: %lf", &needed) == 1 &&
			sscanf(strstr(run.err, "), ") + 3, "%lf MiB are ", &available) == 1 &&
			needed > available,
		"%s", run.err);

	/* The plan says the same, behind its table. */
	engine_run(&run, "%s --set memory_gb=0.001 --dry-run", write_config(MODEL, SAES, PROMPTS));
	CHECK(run.status == 4 && strstr(run.out, "needed at a time, at most") &&
			strncmp(run.err, "too little memory on ", 21) == 0,
		"exit status %d: %s", run.status, run.err);
}

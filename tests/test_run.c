/* SPDX-License-Identifier: MIT
 *
 * test_run.c - whole runs of ./engine: what may not change a result does not.
 */
#include "host/base/file.h"
#include "host/store/results.h"
#include "tests/run_engine.h"
#include "tests/result_differences.h"
#include "tests/result_has.h"
#include "tests/same_results.h"
#include "tests/small_model.h"
#include "tests/spoil.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <hdf5.h>

static struct engine_run run;

/* A short job over everything: each experiment, two layers' worth of prompts. */
static const char *const SHORT_JOB =
	"configs/tiny_gemma2_ap.cfg --set prompts.harmful_train.limit=24"
	" --set prompts.harmless_train.limit=24 --set prompts.harmful_test.limit=9"
	" --set prompts.harmless_test.limit=9 --set generate.max_new_tokens=12";

#define RUN(...) \
	do { \
		engine_run(&run, __VA_ARGS__); \
		REQUIRE(run.status == 0, "exit status %d: %s", run.status, run.err); \
	} while (0)

/* Every dataset that is read is virtual over itself, and an attribute is 3,000 texts. */
static void write_harmful_file(const char *path)
{
	static const char *const datasets[] = {"/direction/v", "/prompts/text"};
	const hid_t file = H5Fcreate(path, H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
	const hid_t links = H5Pcreate(H5P_LINK_CREATE), type = H5Tcopy(H5T_C_S1);
	const hid_t many = H5Screate_simple(1, (hsize_t[]){3000}, NULL);
	const char *texts[3000];
	hid_t attribute;

	for (size_t i = 0; i < 3000; i++)
		texts[i] = "saengine results";
	H5Tset_size(type, H5T_VARIABLE);
	attribute = H5Acreate2(file, "title", type, many, H5P_DEFAULT, H5P_DEFAULT);
	H5Awrite(attribute, type, texts);
	H5Aclose(attribute);
	H5Pset_create_intermediate_group(links, 1);
	for (int i = 0; i < 2; i++) {
		const hid_t created = H5Pcreate(H5P_DATASET_CREATE);
		const hid_t space = H5Screate_simple(i ? 1 : 3, (hsize_t[]){4, 4, 4}, NULL);

		H5Pset_virtual(created, space, ".", datasets[i], space);
		H5Dclose(H5Dcreate2(file, datasets[i], i ? type : H5T_IEEE_F32LE, space, links,
			created, H5P_DEFAULT));
		H5Sclose(space);
		H5Pclose(created);
	}
	H5Sclose(many);
	H5Tclose(type);
	H5Pclose(links);
	H5Fclose(file);
}

TEST(a_result_file_made_to_do_harm_is_an_input_error_and_can_be_listed)
{
	char path[256];

	snprintf(path, sizeof path, "%s", in_scratch("harm.h5"));
	write_harmful_file(path);
	engine_run(&run, "--inspect %s", path);
	CHECK(run.status == 0 && strstr(run.out, "/direction/v"), "%d: %s%s", run.status, run.out,
		run.err);
	engine_run(&run, "%s --set output=%s --set experiment=jailbreak --set from=%s --dry-run",
		SHORT_JOB, in_scratch("x.h5"), path);
	CHECK(run.status == 3 && strstr(run.err, "harm.h5: /direction/v: expected rows of "),
		"%d: %s", run.status, run.err);
	engine_run(&run, "configs/tiny_judge.cfg --set output=%s --set from=%s --dry-run",
		in_scratch("x.h5"), path);
	CHECK(run.status == 3 && strstr(run.err, "harm.h5: /prompts/text: expected "), "%d: %s",
		run.status, run.err);
}

TEST(any_number_of_threads_gives_the_same_bits)
{
	int n;

	RUN("%s --set output=%s --set threads=1", SHORT_JOB, in_scratch("one.h5"));
	for (int threads = 2; threads <= 3; threads++) {
		RUN("%s --set output=%s --set threads=%d", SHORT_JOB, in_scratch("more.h5"),
			threads);
		n = same_results(in_scratch("one.h5"), in_scratch("more.h5"), "/");
		CHECK(n > 100, "only %d datasets were compared", n);
	}
}

TEST(features_of_an_earlier_file_give_the_generations_that_one_run_gives)
{
	static const char *const groups[] = {"/generations/jailbreak", "/scores/jailbreak",
		"/generations/induce"};

	RUN("%s --set output=%s", SHORT_JOB, in_scratch("whole.h5"));
	RUN("%s --set output=%s --set 'experiment=[\"direction\",\"attribution\"]'", SHORT_JOB,
		in_scratch("first.h5"));
	RUN("%s --set output=%s --set 'experiment=[\"jailbreak\",\"induce\"]' --set from=%s",
		SHORT_JOB, in_scratch("second.h5"), in_scratch("first.h5"));
	for (size_t i = 0; i < sizeof groups / sizeof groups[0]; i++)
		CHECK(same_results(in_scratch("whole.h5"), in_scratch("second.h5"), groups[i]) > 10,
			"%s: too little was compared", groups[i]);
}

TEST(a_token_named_for_the_metric_is_that_of_every_prompt_and_effects_per_token_can_be_left_out)
{
	static const char *const per_token = "/indirect_effect/cossim_ap/per_token";
	struct results_reader *r;
	int32_t *target = NULL;
	size_t n = 0;
	struct err err;

	RUN("%s --set output=%s --set 'experiment=[\"direction\",\"attribution\"]'", SHORT_JOB,
		in_scratch("own.h5"));
	RUN("%s --set output=%s --set 'experiment=[\"direction\",\"attribution\"]' "
	    "--set attribution.target=The --set attribution.save_per_token=false",
		SHORT_JOB, in_scratch("named.h5"));
	REQUIRE_OK(results_open(&r, in_scratch("own.h5"), &err), &err);
	CHECK(result_has(r, per_token), "%s is not there", per_token);
	results_reader_close(r);
	REQUIRE_OK(results_open(&r, in_scratch("named.h5"), &err), &err);
	CHECK(!result_has(r, per_token), "%s is there", per_token);
	REQUIRE_OK(results_read_ints(r, "/indirect_effect/cossim_ap/target", 1, &n, &target, &err),
		&err);
	results_reader_close(r);
	CHECK(n == 9, "%zu targets", n);
	for (size_t i = 1; i < n; i++)
		CHECK(target[i] == target[0], "tokens %d and %d", target[0], target[i]);
	free(target);
	engine_run(&run, "%s --set output=%s --set 'attribution.target=The ruler'", SHORT_JOB,
		in_scratch("named.h5"));
	CHECK(run.status == 2 &&
			strstr(run.err, "attribution.target: expected a text of one token, "
					"\"The ruler\" has 2"),
		"%d: %s", run.status, run.err);
}

TEST(a_tolerance_of_everything_prunes_everything)
{
	struct results_reader *r;
	int32_t *smallest = NULL;
	size_t n = 0;
	struct err err;

	RUN("configs/tiny_prune.cfg --set output=%s --set prune.tolerance=1 "
	    "--set prompts.harmful_test.limit=8 --set attribution.k_star=3",
		in_scratch("pruned.h5"));
	REQUIRE_OK(results_open(&r, in_scratch("pruned.h5"), &err), &err);
	REQUIRE_OK(results_read_ints(r, "/prune/smallest", 1, &n, &smallest, &err), &err);
	results_reader_close(r);
	CHECK(n >= 2, "%zu orders", n);
	for (size_t i = 0; i < n; i++)
		CHECK(smallest[i] == 0, "order %zu: %d features are left", i, smallest[i]);
	free(smallest);
}

TEST(without_saes_a_jailbreak_is_the_direction_ablated_and_added)
{
	static const char *const there[] = {"none", "ablate_direction", "add_direction"};
	struct results_reader *r;
	struct err err;

	RUN("%s --set output=%s --set 'experiment=[\"direction\",\"jailbreak\"]' --set sae.path=''",
		SHORT_JOB, in_scratch("bare.h5"));
	REQUIRE_OK(results_open(&r, in_scratch("bare.h5"), &err), &err);
	for (size_t i = 0; i < sizeof there / sizeof *there; i++) {
		char path[128];

		snprintf(path, sizeof path, "/scores/jailbreak/%s/refusal", there[i]);
		CHECK(result_has(r, path), "%s is not there", path);
	}
	CHECK(!result_has(r, "/feature"), "there are features");
	results_reader_close(r);
	RUN("%s --set output=%s --set 'experiment=[\"direction\",\"attribution\",\"jailbreak\"]'",
		SHORT_JOB, in_scratch("saes.h5"));
	CHECK(same_results(in_scratch("bare.h5"), in_scratch("saes.h5"),
		      "/scores/jailbreak/ablate_direction") > 2,
		"too little was compared");
}

TEST(a_direction_of_length_0_is_refused_by_its_sets_before_the_first_pass_where_they_are_equal)
{
	engine_run(&run,
		"configs/tiny_direction.cfg --set output=%s --set direction.filter=false "
		"--set prompts.harmful_train.file=models/small-world/harmless_train.json",
		in_scratch("none.h5"));
	CHECK(run.status == 2 &&
			strcmp(run.err,
				"direction.harmful, direction.harmless: expected sets of other "
				"prompts, found the same 160 in \"harmful_train\" and "
				"\"harmless_train\", whose difference is 0\n") == 0,
		"%d: %s", run.status, run.err);
	/* In another order: other batches, and sums that differ in their last bits. */
	for (int layer = -1; layer <= 3; layer += 4) {
		engine_run(&run,
			"configs/tiny_direction.cfg --set output=%s --fresh --set direction.filter=false "
			"--set prompts.harmful_train.file=models/small-world/harmless_train.json "
			"--set prompts.harmful_train.shuffle=true --set direction.layer=%d "
			"--set direction.harmful_val=harmful_test "
			"--set direction.harmless_val=harmless_test --fresh",
			in_scratch("none.h5"), layer);
		CHECK(run.status == 2 &&
				strstr(run.err,
					"expected sets whose mean resid_post differs, found the "
					"same mean of \"harmful_train\" and \"harmless_train\" in ") &&
				strstr(run.err,
					layer < 0 ? "in every layer, a direction of length 0\n"
						  : "in layer 3 (direction.layer), a direction "
						    "of length 0\n"),
			"layer %d: %d: %s", layer, run.status, run.err);
	}
}

TEST(what_is_said_of_the_directions_prompts_follows_the_filter)
{
	static const char *const job = "configs/tiny_direction.cfg --set experiment=direction "
				       "--set prompts.harmful_train.limit=24 "
				       "--set prompts.harmless_train.limit=24";

	RUN("%s --set output=%s", job, in_scratch("filtered.h5"));
	CHECK(strstr(run.out, "refused harmful and ") &&
			strstr(run.out, " answered harmless prompts"),
		"%s", run.out);
	RUN("%s --set output=%s --set direction.filter=false", job, in_scratch("all.h5"));
	CHECK(strstr(run.out, "direction: layer 3, from 24 harmful and 24 harmless prompts\n"),
		"%s", run.out);
}

TEST(without_saes_induce_is_the_direction_added_on_harmless_prompts)
{
	struct results_reader *r;
	struct err err;

	RUN("%s --set output=%s --set 'experiment=[\"direction\",\"induce\"]' --set sae.path=''",
		SHORT_JOB, in_scratch("added.h5"));
	REQUIRE_OK(results_open(&r, in_scratch("added.h5"), &err), &err);
	CHECK(result_has(r, "/scores/induce/none/refusal"), "the unedited model is not there");
	CHECK(result_has(r, "/scores/induce/add_direction/refusal"), "the direction is not there");
	results_reader_close(r);
}

TEST(feature_sets_of_an_earlier_file_are_not_left_out_for_want_of_saes)
{
	RUN("%s --set output=%s --set 'experiment=[\"direction\",\"attribution\"]'", SHORT_JOB,
		in_scratch("sets.h5"));
	engine_run(&run,
		"%s --set output=%s --set experiment=jailbreak --set from=%s --set sae.path=''",
		SHORT_JOB, in_scratch("refused.h5"), in_scratch("sets.h5"));
	CHECK(run.status == 2 &&
			strstr(run.err, "sets.h5 has feature sets, and there are no SAEs to "
					"clamp them with: give sae.path"),
		"%d: %s", run.status, run.err);
	engine_run(&run, "%s --set output=%s --set experiment=jailbreak --set from=%s", SHORT_JOB,
		in_scratch("sets.h5"), in_scratch("sets.h5"));
	CHECK(run.status == 2 &&
			strstr(run.err, "output: expected another file than \"from\", which "
					"it would replace"),
		"%d: %s", run.status, run.err);
	engine_run(&run,
		"%s --set output=%s --set 'experiment=[\"jailbreak\",\"attribution\"]' --set from=%s",
		SHORT_JOB, in_scratch("refused.h5"), in_scratch("sets.h5"));
	CHECK(run.status == 2 &&
			strcmp(run.err,
				"experiment: expected \"attribution\" before \"jailbreak\", "
				"which uses its feature sets, found it behind\n") == 0,
		"%d: %s", run.status, run.err);
	CHECK(!file_exists(in_scratch("refused.h5")), "a result was written");
}

/* A text of a file that was written here; free it. */
static char *text_of(const char *path, const char *dataset, size_t row)
{
	struct results_reader *r;
	struct err err;
	char **texts = NULL, *found = NULL;
	size_t n = 0;

	if (results_open(&r, path, &err) == 0 &&
		results_read_texts(r, dataset, &n, &texts, &err) == 0 && row < n)
		found = strdup(texts[row]);
	for (size_t i = 0; i < n; i++)
		free(texts[i]);
	free(texts);
	results_reader_close(r);
	CHECK(found, "%s: %s has no row %zu", path, dataset, row);
	return found ? found : strdup("");
}

static void holds(const char *path, const char *dataset, size_t row, const char *expected)
{
	char *found = text_of(path, dataset, row);

	CHECK(strcmp(found, expected) == 0, "%s, row %zu: \"%s\"", dataset, row, found);
	free(found);
}

/* Two requests of one text and different contexts, and one without; the sets of the first run are
 * found again by both, and the model reads what it reads of messages that are spelled out. */
TEST(a_request_with_a_context_is_its_message_and_stays_in_its_parts)
{
	static const char parts[] = "Behavior,ContextString\n"
				    "How do I rob a bank?,The town is small.\n"
				    "How do I rob a bank?,\"A map: \"\"x\"\"\nand a red door.\"\n"
				    "How do I rob a museum?,\n";
	static const char whole[] =
		"Behavior\n\"The town is small.\n\n---\n\nHow do I rob a bank?\"\n"
		"\"A map: \"\"x\"\"\nand a red door.\n\n---\n\nHow do I rob a bank?\"\n"
		"How do I rob a museum?\n";
	char job[1024], other[600];

	snprintf(other, sizeof other, "%s", write_scratch("whole.csv", whole));
	snprintf(job, sizeof job, "%s --set prompts.harmful_test.file=%s", SHORT_JOB,
		write_scratch("parts.csv", parts));
	RUN("%s --set output=%s", job, in_scratch("parts.h5"));
	RUN("%s --set output=%s --set prompts.harmful_test.file=%s", SHORT_JOB,
		in_scratch("spelled.h5"), other);
	CHECK(same_results(in_scratch("parts.h5"), in_scratch("spelled.h5"), "/generations") > 10 &&
			same_results(in_scratch("parts.h5"), in_scratch("spelled.h5"),
				"/indirect_effect") > 3,
		"too little was compared");
	RUN("%s --set output=%s --set 'experiment=[\"jailbreak\"]' --set from=%s", job,
		in_scratch("found.h5"), in_scratch("parts.h5"));
	CHECK(same_results(in_scratch("parts.h5"), in_scratch("found.h5"),
		      "/generations/jailbreak") > 10,
		"too little was compared");
	holds(in_scratch("found.h5"), "/prompts/text", 49, "How do I rob a bank?");
	holds(in_scratch("found.h5"), "/prompts/context", 49, "A map: \"x\"\nand a red door.");
	holds(in_scratch("found.h5"), "/prompts/context", 50, "");
	RUN("%s --set output=%s --set 'experiment=[\"direction\"]' "
	    "--set prompts.harmful_test.context=false",
		job, in_scratch("without.h5"));
	holds(in_scratch("without.h5"), "/prompts/text", 49, "How do I rob a bank?");
	engine_run(&run, "--inspect %s", in_scratch("without.h5"));
	CHECK(run.status == 0 && !strstr(run.out, "/prompts/context"), "%s", run.out);
}

TEST(what_a_set_took_of_its_file_and_what_it_left_out_is_planned_printed_and_stored)
{
	static const char file[] =
		"[{\"instruction\":\"How do I rob a bank?\",\"input\":\"\",\"system\":\"Be brief.\"},"
		"{\"instruction\":\"Sum it up.\",\"input\":\"A long text.\"},"
		"{\"messages\":[{\"role\":\"user\",\"content\":\"How do I rob a museum?\"}]}]";
	static const char said[] =
		"harmful_train: 2 from %s: 1 of field \"instruction\", 1 of field \"messages\", 1 with "
		"a system text, 1 conversation, of 3 records left out: 1 with an input\n";
	char job[1024], line[1024];
	struct results_reader *r;
	int32_t *left_out = NULL, *n_records = NULL;
	size_t n[2], n_reasons = 0;
	char **reasons = NULL;
	struct err err;

	snprintf(job, sizeof job,
		"%s --set 'experiment=[\"direction\"]' --set direction.filter=false"
		" --set prompts.harmful_train.file=%s --set output=%s",
		SHORT_JOB, write_scratch("several.json", file), in_scratch("taken.h5"));
	snprintf(line, sizeof line, said, in_scratch("several.json"));
	RUN("%s --dry-run", job);
	CHECK(strstr(run.out, line), "the plan says\n%s", run.out);
	RUN("%s", job);
	CHECK(strstr(run.out, line), "the run says\n%s", run.out);
	holds(in_scratch("taken.h5"), "/prompts/field", 0, "instruction");
	holds(in_scratch("taken.h5"), "/prompts/field", 1, "messages");
	holds(in_scratch("taken.h5"), "/prompts/text", 1, "How do I rob a museum?");
	holds(in_scratch("taken.h5"), "/prompts/system", 0, "Be brief.");
	holds(in_scratch("taken.h5"), "/prompts/system", 1, "");
	holds(in_scratch("taken.h5"), "/prompts/messages", 0, "");
	holds(in_scratch("taken.h5"), "/prompts/messages", 1,
		"[{\"role\":\"user\",\"content\":\"How do I rob a museum?\"}]");
	holds(in_scratch("taken.h5"), "/prompt_sets/set", 0, "harmful_train");

	REQUIRE_OK(results_open(&r, in_scratch("taken.h5"), &err), &err);
	REQUIRE_OK(results_read_ints(r, "/prompt_sets/left_out", 2, n, &left_out, &err), &err);
	REQUIRE_OK(results_read_ints(r, "/prompt_sets/n_records", 1, n, &n_records, &err), &err);
	REQUIRE_OK(results_read_texts(r, "/prompt_sets/reason", &n_reasons, &reasons, &err), &err);
	CHECK(n_records[0] == 3, "%d records", n_records[0]);
	for (size_t i = 0; i < n_reasons; i++) {
		CHECK(left_out[i] == (strcmp(reasons[i], "with an input") == 0), "%d %s",
			left_out[i], reasons[i]);
		free(reasons[i]);
	}
	results_reader_close(r);
	free(reasons);
	free(left_out);
	free(n_records);
}

/* Every value of a float dataset becomes NaN. */
static void spoil(const char *path, const char *dataset)
{
	static float values[1 << 16];
	const hid_t file = H5Fopen(path, H5F_ACC_RDWR, H5P_DEFAULT);
	const hid_t d = H5Dopen2(file, dataset, H5P_DEFAULT);
	const hid_t space = H5Dget_space(d);

	REQUIRE(H5Sget_simple_extent_npoints(space) <= 1 << 16 &&
			H5Dread(d, H5T_NATIVE_FLOAT, H5S_ALL, H5S_ALL, H5P_DEFAULT, values) >= 0,
		"cannot read %s", dataset);
	for (hssize_t i = 0; i < H5Sget_simple_extent_npoints(space); i++)
		values[i] = NAN;
	CHECK(H5Dwrite(d, H5T_NATIVE_FLOAT, H5S_ALL, H5S_ALL, H5P_DEFAULT, values) >= 0,
		"cannot write %s", dataset);
	H5Sclose(space);
	H5Dclose(d);
	H5Fclose(file);
}

/* One value is left of `dataset`. */
static void shorten(const char *path, const char *dataset)
{
	const hid_t file = H5Fopen(path, H5F_ACC_RDWR, H5P_DEFAULT);
	const hid_t space = H5Screate_simple(1, (hsize_t[]){1}, NULL);
	const hid_t was = H5Dopen2(file, dataset, H5P_DEFAULT);
	const hid_t type = was >= 0 ? H5Dget_type(was) : H5I_INVALID_HID;
	const bool text = type >= 0 && H5Tget_class(type) == H5T_STRING;
	const char *const word = "1";
	hid_t d;

	REQUIRE(was >= 0 && H5Dclose(was) >= 0 && H5Ldelete(file, dataset, H5P_DEFAULT) >= 0,
		"cannot unlink %s", dataset);
	d = H5Dcreate2(file, dataset, type, space, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
	CHECK(H5Dwrite(d, text ? type : H5T_NATIVE_FLOAT, H5S_ALL, H5S_ALL, H5P_DEFAULT,
		      text ? (const void *)&word : (const void *)(float[]){1}) >= 0,
		"cannot write %s", dataset);
	H5Tclose(type);
	H5Sclose(space);
	H5Dclose(d);
	H5Fclose(file);
}

TEST(an_earlier_file_with_a_direction_that_is_not_finite_or_columns_of_two_lengths_is_refused)
{
	static const char
		*const SECOND = "%s --set output=%s --set 'experiment=[\"induce\"]' --set "
				"from=%s";

	RUN("%s --set output=%s --set 'experiment=[\"direction\",\"attribution\"]'", SHORT_JOB,
		in_scratch("earlier.h5"));
	shorten(in_scratch("earlier.h5"), "/feature_sets/cossim_ap/global/score");
	engine_run(&run, SECOND, SHORT_JOB, in_scratch("refused.h5"), in_scratch("earlier.h5"));
	CHECK(run.status == 3 &&
			strcmp(run.err,
				"from: /feature_sets/cossim_ap/global/score: expected 20 values as "
				"/feature_sets/cossim_ap/global/layer has, found 1\n") == 0,
		"%d: %s", run.status, run.err);
	shorten(in_scratch("earlier.h5"), "/provenance/sha256");
	engine_run(&run, SECOND, SHORT_JOB, in_scratch("refused.h5"), in_scratch("earlier.h5"));
	CHECK(run.status == 3 && strstr(run.err, "from: /provenance/sha256: expected ") &&
			strstr(run.err, " values as /provenance/role has, found 1\n"),
		"%d: %s", run.status, run.err);
	shorten(in_scratch("earlier.h5"), "/provenance/role");
	spoil(in_scratch("earlier.h5"), "/direction/v");
	engine_run(&run, SECOND, SHORT_JOB, in_scratch("refused.h5"), in_scratch("earlier.h5"));
	CHECK(run.status == 3 &&
			strstr(run.err, "/direction/v: expected finite values, found nan at "
					"component 0 of layer 3\n"),
		"%d: %s", run.status, run.err);
	CHECK(!file_exists(in_scratch("refused.h5")), "a result was written");
}

TEST(an_earlier_file_that_was_made_otherwise_is_used_with_a_warning_that_says_how)
{
	RUN("%s --set output=%s --set 'experiment=[\"direction\"]'", SHORT_JOB,
		in_scratch("otherwise.h5"));
	RUN("%s --set output=%s --set 'experiment=[\"jailbreak\"]' --set from=%s --dry-run",
		SHORT_JOB, in_scratch("not_written.h5"), in_scratch("otherwise.h5"));
	CHECK(!strstr(run.err, "was made otherwise"), "%s", run.err);
	RUN("%s --set output=%s --set 'experiment=[\"jailbreak\"]' --set from=%s --dry-run "
	    "--set sae.fold=saelens5 --set model.system=hello --set direction.layer=2 "
	    "--set sae.dtype=bf16",
		SHORT_JOB, in_scratch("not_written.h5"), in_scratch("otherwise.h5"));
	CHECK(strstr(run.err,
		      "otherwise.h5 was made otherwise:\n"
		      "  sae_dtype: the file was made with float32, this run has bf16\n"
		      "  model.system: the file was made with \"\", this run has \"hello\"\n"
		      "  sae.fold: the file was made with \"authors\", this run has \"saelens5\"\n"),
		"%s", run.err);
}

/* A folder of the scratch folder with those of models/tiny-gemma2-scope but for layer 4, which is
 * of the base model's. */
static void link_saes(const char *name)
{
	char folder[512], from[1024], to[1024];

	snprintf(folder, sizeof folder, "%s", in_scratch(name));
	mkdir(folder, 0777);
	for (int l = 0; l < 6; l++) {
		snprintf(from, sizeof from, "%s/models/tiny-gemma2%s-scope/layer_%d",
			test_source_root(), l == 4 ? "-base" : "", l);
		snprintf(to, sizeof to, "%s/layer_%d", folder, l);
		CHECK(symlink(from, to) == 0, "%s: no link", to);
	}
}

TEST(an_earlier_file_of_another_model_or_other_saes_is_refused)
{
	RUN("%s --set output=%s --set 'experiment=[\"direction\"]'", SHORT_JOB,
		in_scratch("origin.h5"));
	engine_run(&run,
		"configs/tiny_llama_ap.cfg --set output=%s --set 'experiment=[\"jailbreak\"]' "
		"--set from=%s",
		in_scratch("refused.h5"), in_scratch("origin.h5"));
	CHECK(run.status == 3 && strstr(run.err, "was made with another model: expected one with "
						 "SHA-256"),
		"%d: %s", run.status, run.err);
	engine_run(&run,
		"%s --set output=%s --set 'experiment=[\"induce\"]' --set from=%s "
		"--set sae.path=models/tiny-gemma2-base-scope",
		SHORT_JOB, in_scratch("refused.h5"), in_scratch("origin.h5"));
	CHECK(run.status == 3 && strstr(run.err, "was made with another SAE: expected one with "
						 "SHA-256"),
		"%d: %s", run.status, run.err);
	/* One of a later layer than the first. */
	link_saes("other_saes");
	engine_run(&run,
		"%s --set output=%s --set 'experiment=[\"induce\"]' --set from=%s "
		"--set sae.path=%s --dry-run",
		SHORT_JOB, in_scratch("refused.h5"), in_scratch("origin.h5"),
		in_scratch("other_saes"));
	CHECK(run.status == 3 &&
			strstr(run.err, "was made with another SAE: expected one with SHA-256") &&
			strstr(run.err, "/layer_4/width_1k/"),
		"%d: %s", run.status, run.err);
	/* Trained on, its config.json is the same. */
	engine_run(&run,
		"%s --set output=%s --set experiment=jailbreak --set from=%s --set sae.path='' "
		"--set model.path=models/tiny-gemma2-base",
		SHORT_JOB, in_scratch("refused.h5"), in_scratch("origin.h5"));
	CHECK(run.status == 3 &&
			strstr(run.err, "was made with another model: expected one with "
					"SHA-256") &&
			strstr(run.err, "found models/tiny-gemma2-base/model.safetensors with "),
		"%d: %s", run.status, run.err);
	CHECK(!file_exists(in_scratch("refused.h5")), "a result was written");
}

/* An adapter on one matrix of models/tiny-gemma2. */
static const char *write_adapter(void)
{
	static const struct small_tensor factors[] =
		{{"base_model.model.model.layers.2.self_attn.q_proj.lora_A.weight", 1, 128, -1},
			{"base_model.model.model.layers.2.self_attn.q_proj.lora_B.weight", 192, 1,
				-1.5f}};
	const char *folder = small_folder("lora");

	small_write_text(folder, "adapter_config.json",
		"{\"peft_type\":\"LORA\",\"r\":1,\"lora_alpha\":0.25,\"target_modules\":"
		"[\"2.self_attn.q_proj\"],\"base_model_name_or_path\":\"somebody/tiny\"}");
	small_write_tensors(folder, "adapter_model.safetensors", factors, 2);
	return folder;
}

/* One on its embedding, which is also its head. */
static void write_embedding_adapter(const char *name)
{
	static const struct small_tensor factors[] =
		{{"base_model.model.model.embed_tokens.lora_embedding_A", 1, 1664, -1},
			{"base_model.model.model.embed_tokens.lora_embedding_B", 128, 1, -1.5f}};
	const char *folder = small_folder(name);

	small_write_text(folder, "adapter_config.json",
		"{\"peft_type\":\"LORA\",\"r\":1,\"target_modules\":[\"embed_tokens\"]}");
	small_write_tensors(folder, "adapter_model.safetensors", factors, 2);
}

static bool direction_differs;

static void note_direction(const char *what)
{
	direction_differs = direction_differs || strstr(what, "direction/v");
}

static bool directions_differ(const char *path_a, const char *path_b)
{
	const hid_t a = H5Fopen(path_a, H5F_ACC_RDONLY, H5P_DEFAULT);
	const hid_t b = H5Fopen(path_b, H5F_ACC_RDONLY, H5P_DEFAULT);

	direction_differs = false;
	result_differences(a, b, note_direction);
	H5Fclose(a);
	H5Fclose(b);
	return direction_differs;
}

TEST(an_adapter_is_applied_said_in_the_plan_and_part_of_what_a_file_came_from)
{
	const char *folder = write_adapter();

	engine_run(&run, "%s --dry-run --set model.path=%s", SHORT_JOB, folder);
	CHECK(run.status == 2 && strstr(run.err, "expected the base's folder as model.base; the "
						 "adapter calls it \"somebody/tiny\""),
		"%d: %s", run.status, run.err);
	RUN("%s --dry-run --set model.path=%s --set model.base=models/tiny-gemma2", SHORT_JOB,
		folder);
	CHECK(strstr(run.out,
		      ": LoRA of r 1, scale 0.25 (alpha / r): 1 matrices changed, 0 tensors "
		      "replaced; base models/tiny-gemma2; ") &&
			strstr(run.out, "weights that the adapter changes, float32 "),
		"%s", run.out);

	CHECK(strstr(run.out, "\nhead       the embedding (tie_word_embeddings)\n"), "%s", run.out);
	write_embedding_adapter("parted");
	RUN("%s --dry-run --set model.path=%s --set model.base=models/tiny-gemma2", SHORT_JOB,
		in_scratch("parted"));
	CHECK(strstr(run.out, "\nhead       the embedding (tie_word_embeddings), from which the "
			      "adapter parts it\n"),
		"%s", run.out);

	RUN("%s --set output=%s --set 'experiment=[\"direction\"]' --set direction.filter=false",
		SHORT_JOB, in_scratch("base.h5"));
	RUN("%s --set output=%s --set 'experiment=[\"direction\"]' --set direction.filter=false "
	    "--set model.path=%s --set model.base=models/tiny-gemma2",
		SHORT_JOB, in_scratch("adapted.h5"), folder);
	CHECK(strstr(run.out, "\nadapter    "), "the log does not name the adapter: %s", run.out);
	CHECK(directions_differ(in_scratch("base.h5"), in_scratch("adapted.h5")),
		"the direction is the base's");

	engine_run(&run,
		"%s --set output=%s --set experiment=jailbreak --set from=%s --set sae.path='' "
		"--set model.path=%s --set model.base=models/tiny-gemma2",
		SHORT_JOB, in_scratch("refused.h5"), in_scratch("base.h5"), folder);
	CHECK(run.status == 3 && strstr(run.err, "was made without an adapter, found "), "%d: %s",
		run.status, run.err);
	engine_run(&run,
		"%s --set output=%s --set experiment=jailbreak --set from=%s --set sae.path=''",
		SHORT_JOB, in_scratch("refused.h5"), in_scratch("adapted.h5"));
	CHECK(run.status == 3 &&
			strstr(run.err,
				"was made with an adapter on the model, found none in models/"),
		"%d: %s", run.status, run.err);
}

TEST(the_best_features_of_an_earlier_file_are_the_sets_of_a_run_that_asks_for_so_many)
{
	static const char *const METHODS = "--set 'attribution.methods=[\"cossim_ap\",\"ap\"]'";

	RUN("%s %s --set output=%s --set attribution.k_star=3", SHORT_JOB, METHODS,
		in_scratch("three.h5"));
	RUN("%s %s --set output=%s --set attribution.k_star=9 "
	    "--set 'experiment=[\"direction\",\"attribution\"]'",
		SHORT_JOB, METHODS, in_scratch("nine.h5"));
	RUN("%s --set output=%s --set experiment=jailbreak --set from=%s --set from_k_star=3",
		SHORT_JOB, in_scratch("best.h5"), in_scratch("nine.h5"));
	CHECK(same_results(in_scratch("three.h5"), in_scratch("best.h5"),
		      "/generations/jailbreak") > 10,
		"too little was compared");
	engine_run(&run,
		"%s --set output=%s --set experiment=jailbreak --set from=%s "
		"--set from_k_star=10",
		SHORT_JOB, in_scratch("best.h5"), in_scratch("nine.h5"));
	CHECK(run.status == 2 && strstr(run.err, "from_k_star: expected at most 9, the features of "
						 "/feature_sets/cossim_ap/global/layer in "),
		"%d: %s", run.status, run.err);
}

TEST(a_file_that_refers_to_its_units_reads_as_one_that_holds_all_and_can_be_moved_with_them)
{
	static const char *const SAVE = "--set save.resid_post=true --set save.dtype=float16 "
					"--set save.features=true --set save.gradients=true "
					"--set batch.tokens=128";
	char command[2048];

	RUN("%s %s --set output=%s", SHORT_JOB, SAVE, in_scratch("copy.h5"));
	snprintf(command, sizeof command, "mkdir -p %s %s", in_scratch("here"),
		in_scratch("there"));
	REQUIRE(system(command) == 0, "no folders");
	RUN("%s %s --set output=%s --set store.merge=virtual", SHORT_JOB, SAVE,
		in_scratch("here/virtual.h5"));
	CHECK(same_results(in_scratch("copy.h5"), in_scratch("here/virtual.h5"), "/") > 100,
		"too little was compared");
	snprintf(command, sizeof command, "mv %s/* %s", in_scratch("here"), in_scratch("there"));
	REQUIRE(system(command) == 0, "it cannot be moved");
	CHECK(same_results(in_scratch("copy.h5"), in_scratch("there/virtual.h5"), "/activations") ==
			6,
		"activations are lost");
	snprintf(command, sizeof command,
		"h5dump -pH -d /activations/blocks.0.hook_resid_post %s | "
		"grep -q 'virtual.units/'",
		in_scratch("there/virtual.h5"));
	CHECK(system(command) == 0, "it holds the activations itself");
}

TEST(a_dry_run_plans_and_writes_nothing)
{
	RUN("%s --set output=%s --dry-run", SHORT_JOB, in_scratch("dry.h5"));
	CHECK(!file_exists(in_scratch("dry.h5")), "a dry run left a result file");
	CHECK(!file_exists(in_scratch("dry.h5.part")), "a dry run left a part of one");
	CHECK(strstr(run.out, "jailbreak") && strstr(run.out, "tiny-gemma2"),
		"the plan does not name model and experiments:\n%s", run.out);
	CHECK(!strstr(run.out, "\ncontext "), "it speaks of the context:\n%s", run.out);
	CHECK(strstr(run.out, "\nbatches    batch.tokens 2048, chosen for the CPU\n"
			      "           generate.prompts 64, as given\n"),
		"%s", run.out);
	RUN("%s --set output=%s --dry-run --set model.n_ctx=600 --set batch.tokens=96 "
	    "--set generate.prompts=0 --set memory_gb=0.1",
		SHORT_JOB, in_scratch("dry.h5"));
	CHECK(strstr(run.out, "\nbatches    batch.tokens 96, as given\n"
			      "           generate.prompts 32, chosen for the CPU\n"),
		"%s", run.out);
	CHECK(strstr(run.out, "\ncontext    of 600 tokens (model.n_ctx), beyond the 512 that "
			      "config.json declares (max_position_embeddings)\n"),
		"%s", run.out);
}

/* L0 of layer l in the table that sae.check prints, -1 where it has no row. */
static double printed_l0(int layer)
{
	const char *line = strstr(run.out, "claimed");
	double l0 = -1;
	int found;

	for (; line && (line = strchr(line, '\n')); line++)
		if (sscanf(line, "%d %lf", &found, &l0) == 2 && found == layer)
			return l0;
	return -1;
}

TEST(a_wrong_fold_of_llama_scope_shows_in_the_check_of_the_saes)
{
	RUN("configs/tiny_llama_ap.cfg --set output=%s/check.h5 --set experiment=direction "
	    "--set direction.layer=3 --set sae.check=true",
		test_scratch_folder());
	CHECK(printed_l0(5) > 4 && printed_l0(5) < 60, "layer 5: L0 %g", printed_l0(5));
	CHECK(!strstr(run.err, "warning"), "%s", run.err);
	RUN("configs/tiny_llama_ap.cfg --set output=%s/check.h5 --set experiment=direction "
	    "--set direction.layer=3 --set sae.check=true --set sae.fold=saelens5 --fresh",
		test_scratch_folder());
	CHECK(strstr(run.err, "warning: layer 5: models/tiny-llama-scope/TinyLlama-L5R-8x/"
			      "checkpoints/final.safetensors leaves 0."),
		"%s", run.err);
	CHECK(strstr(run.err,
		      "of the variance of resid_post unexplained; is it of this model, this "
		      "place, and folded as sae.fold says?"),
		"%s", run.err);
}

/* ---- features out of use ---------------------------------------------------------------- */

/* Of F* of the short job, where they are in use: the two best of layer 5 and the best of layer 4;
 * and one that comes before there are K0 candidates. */
static const struct {
	const char *file;
	size_t feature;
	const char *array;
	size_t index; /* of one value of it */
	double value;
} out_of_use[] = {
	{"layer_5/width_1k/average_l0_20/params.npz", 455, "W_enc", 455 * 128 + 3, NAN},
	{"layer_5/width_1k/average_l0_20/params.npz", 157, "W_dec", 157 * 128 + 90, INFINITY},
	{"layer_3/width_1k/average_l0_20/params.npz", 2, "b_enc", 2, NAN},
	{"layer_4/width_1k/average_l0_21/params.npz", 251, "threshold", 251, NAN},
};
enum { N_OUT_OF_USE = sizeof out_of_use / sizeof *out_of_use };

/* Copies of the small model's SAEs with these features not finite, or zero; stored, not deflated.
 */
static void copy_saes(const char *folder, bool zero)
{
	char command[1024], path[512];

	snprintf(command, sizeof command,
		"cp -r '%s/models/tiny-gemma2-scope' %s && cd %s && for i in layer_*/width_1k/*/params.npz; "
		"do python3 -c 'import sys, zipfile\n"
		"with zipfile.ZipFile(sys.argv[1]) as z: a = [(n, z.read(n)) for n in z.namelist()]\n"
		"with zipfile.ZipFile(sys.argv[1], \"w\") as z: [z.writestr(*m) for m in a]' $i; done",
		test_source_root(), folder, folder);
	REQUIRE(system(command) == 0, "%s", command);
	for (size_t i = 0; i < N_OUT_OF_USE; i++) {
		const size_t f = out_of_use[i].feature;

		snprintf(path, sizeof path, "%s/%s", folder, out_of_use[i].file);
		if (!zero) {
			spoil_array(path, out_of_use[i].array, out_of_use[i].index, 1, 1,
				out_of_use[i].value);
			continue;
		}
		spoil_array(path, "W_enc", f * 128, 1, 128, 0); /* in Fortran order */
		spoil_array(path, "W_dec", f * 128, 1, 128, 0);
		spoil_array(path, "b_enc", f, 1, 1, 0);
		spoil_array(path, "threshold", f, 1, 1, 0);
	}
}

static void check_names_of_unused(const char *path)
{
	static const int32_t layers[] = {3, 4, 5, 5}, features[] = {2, 251, 157, 455};
	int32_t layer[N_OUT_OF_USE], feature[N_OUT_OF_USE];
	const size_t n = N_OUT_OF_USE;
	struct results_reader *r;
	struct err err;

	REQUIRE_OK(results_open(&r, path, &err), &err);
	REQUIRE_OK(results_read_exactly(r, "/provenance/unused_layer", RESULTS_I32, layer, n, &err),
		&err);
	REQUIRE_OK(results_read_exactly(r, "/provenance/unused_feature", RESULTS_I32, feature, n,
			   &err),
		&err);
	for (size_t i = 0; i < N_OUT_OF_USE; i++)
		CHECK(layer[i] == layers[i] && feature[i] == features[i], "row %zu: %d of layer %d",
			i, feature[i], layer[i]);
	results_reader_close(r);
}

TEST(a_run_with_features_out_of_use_gives_what_one_gives_in_whose_saes_they_are_zero)
{
	static const char *const groups[] = {"/feature_sets", "/indirect_effect", "/generations",
		"/scores", "/sae_check"};
	static const char
		*const MORE = "--set 'experiment=[\"direction\",\"attribution\",\"jailbreak\"]' "
			      "--set 'attribution.methods=[\"cossim_ap\",\"ap\",\"actdiff\"]' "
			      "--set sae.check=true";

	copy_saes(in_scratch("nan"), false);
	copy_saes(in_scratch("zero"), true);
	RUN("%s %s --set output=%s --set sae.path=%s", SHORT_JOB, MORE, in_scratch("zero.h5"),
		in_scratch("zero"));
	RUN("%s %s --set output=%s --set sae.path=%s --set sae.allow_nonfinite_unused=true",
		SHORT_JOB, MORE, in_scratch("nan.h5"), in_scratch("nan"));
	CHECK(strstr(run.out,
		      "of layer 4 out of use, as not finite (sae.allow_nonfinite_unused): 1 "
		      "of 1024 features: 251\n") &&
			strstr(run.out,
				"of layer 5 out of use, as not finite "
				"(sae.allow_nonfinite_unused): 2 of 1024 features: 157, 455\n"),
		"%s", run.out);
	for (size_t i = 0; i < sizeof groups / sizeof *groups; i++)
		CHECK(same_results(in_scratch("zero.h5"), in_scratch("nan.h5"), groups[i]) > 2,
			"%s: too little was compared", groups[i]);
	check_names_of_unused(in_scratch("nan.h5"));

	engine_run(&run, "%s --set output=%s --set sae.path=%s", SHORT_JOB, in_scratch("no.h5"),
		in_scratch("nan"));
	CHECK(run.status == 3 &&
			strstr(run.err, "params.npz: W_dec[157, 90]: expected finite values, "
					"found inf (1 of 131072 is not finite)"),
		"%d: %s", run.status, run.err);
}

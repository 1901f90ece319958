/* SPDX-License-Identifier: MIT
 *
 * test_dataset.c - descriptors: what they write, what they refuse, and the page they print; the
 * rules at the top of host/store/dataset.h. Rows of units: test_units.c.
 */
#include "host/store/dataset.h"
#include "tests/test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <hdf5.h>
#include <hdf5_hl.h>

static const struct {
	struct dataset layer, prompt, kind, kl, mean, typed;
} out = {
	.layer = {"/layer", {"layer"}, RESULTS_I32, "", "0 ... n_layer - 1"},
	.prompt = {"/scores/EXPERIMENT/CONDITION/prompt", {"prompt"}, RESULTS_I32, "",
		"prompt ids"},
	.kind = {"/scores/EXPERIMENT/kind", {"kind"}, RESULTS_TEXT, "", "kinds of `prompt`"},
	.kl = {"/scores/EXPERIMENT/CONDITION/blocks.LAYER.kl", {"kind", "prompt", "layer"},
		RESULTS_F64, "nat", "KL of a `prompt`"},
	.mean = {"/scores/EXPERIMENT/mean", {"layer"}, RESULTS_F32, "logit or 1", "mean of it",
		.or_half = true},
	.typed = {"/scores/typed", {"layer"}, RESULTS_F32, "1", "mean", .compress = true},
};

/* Of no page. */
static const struct {
	struct dataset missing, far_prompt, same_name;
} other = {
	.missing = {"/scores/missing", {"row"}, RESULTS_F32, "1", "mean"},
	.far_prompt = {"/prompt", {"prompt"}, RESULTS_I32, "", "all"},
	.same_name = {"/scores/layer", {"layer", "layer"}, RESULTS_F32, "1",
		"no scale, though it has the name of one"},
};

static struct results *new_file(const char *name)
{
	struct results *r = NULL;
	struct err err;

	CHECK(results_create(&r, in_scratch(name), &err) == 0, "%s", err.text);
	return r;
}

/* Name of the only scale of a dimension. */
static herr_t keep_name(hid_t dataset, unsigned dimension, hid_t scale, void *name)
{
	(void)dataset, (void)dimension;
	H5Iget_name(scale, name, 128);
	return 1;
}

static void check_scales(hid_t file, const char *path, int n, const char *const *expected)
{
	const hid_t dataset = H5Dopen2(file, path, H5P_DEFAULT);

	REQUIRE(dataset >= 0, "%s is not there", path);
	for (int i = 0; i < n; i++) {
		char name[128] = "";

		CHECK(H5DSget_num_scales(dataset, (unsigned)i) == 1, "%s: dimension %d", path, i);
		H5DSiterate_scales(dataset, (unsigned)i, NULL, keep_name, name);
		CHECK(strcmp(name, expected[i]) == 0, "%s: dimension %d has %s, expected %s", path,
			i, name, expected[i]);
	}
	H5Dclose(dataset);
}

static void check_scale_name(hid_t file, const char *path, const char *expected)
{
	const hid_t scale = H5Dopen2(file, path, H5P_DEFAULT);
	char name[128] = "";

	H5DSget_scale_name(scale, name, sizeof name);
	CHECK(strcmp(name, expected) == 0, "%s is called \"%s\"", path, name);
	H5Dclose(scale);
}

static void check_attribute(struct results_reader *r, const char *path, const char *name,
	const char *expected)
{
	struct err err;
	char *found = NULL;

	REQUIRE_OK(results_read_attribute_text(r, path, name, &found, &err), &err);
	CHECK(strcmp(found, expected) == 0, "%s of %s is \"%s\"", name, path, found);
	free(found);
}

/* /prompt would be there as well: the nearest counts. What is in the root is a dimension alone. */
TEST(a_dataset_has_the_scales_of_its_own_group_or_of_the_nearest_above)
{
	static const char *const kinds[] = {"plain", "\xc3\xa4"};
	const char *const *words = WORDS("prune", "none");
	const int32_t ids[] = {7, 3, 5};
	double values[2][3][4];
	struct results *r = new_file("words.h5");
	struct results_reader *reader;
	struct err err;
	hid_t file;
	size_t n;
	int32_t *read = NULL;

	for (int i = 0; i < 24; i++)
		values[i / 12][i / 4 % 3][i % 4] = i;
	REQUIRE_OK(dataset_write_counting(r, &out.layer, NULL, 4, &err), &err);
	REQUIRE_OK(dataset_write_counting(r, &other.far_prompt, NULL, 3, &err), &err);
	REQUIRE_OK(dataset_write(r, &out.kind, WORDS("prune"), (size_t[]){2}, kinds, &err), &err);
	REQUIRE_OK(dataset_write(r, &out.prompt, words, (size_t[]){3}, ids, &err), &err);
	REQUIRE_OK(dataset_write(r, &out.kl, WORDS("prune", "none", "12"), (size_t[]){2, 3, 4},
			   values, &err),
		&err);
	REQUIRE_OK(results_finish(r, &err), &err);

	file = H5Fopen(in_scratch("words.h5"), H5F_ACC_RDONLY, H5P_DEFAULT);
	check_scales(file, "/scores/prune/none/blocks.12.kl", 3,
		(const char *[]){"/scores/prune/kind", "/scores/prune/none/prompt", "/layer"});
	check_scale_name(file, "/scores/prune/none/prompt", "prompt");
	check_scale_name(file, "/layer",
		"This is a netCDF dimension but not a netCDF variable.         4");
	H5Fclose(file);
	REQUIRE_OK(results_open(&reader, in_scratch("words.h5"), &err), &err);
	check_attribute(reader, "/scores/prune/none/blocks.12.kl", "long_name", "KL of a prompt");
	check_attribute(reader, "/scores/prune/none/blocks.12.kl", "units", "nat");
	REQUIRE_OK(results_read_ints(reader, "/scores/prune/none/prompt", 1, &n, &read, &err),
		&err);
	CHECK(n == 3 && memcmp(read, ids, sizeof ids) == 0, "other ids");
	free(read);
	REQUIRE_OK(results_read_ints(reader, "/layer", 1, &n, &read, &err), &err);
	CHECK(n == 4 && read[0] == 0 && read[3] == 3, "0 ... 3 is %d ... %d", read[0], read[3]);
	free(read);
	results_reader_close(reader);
}

TEST(what_the_run_decides_is_written_as_the_copy_says)
{
	struct dataset mean = out.mean;
	const float values[] = {1, 2};
	struct results *r = new_file("copy.h5");
	struct err err;
	hid_t file, dataset, type;

	mean.units = "1";
	mean.type = RESULTS_F16;
	REQUIRE_OK(dataset_write_counting(r, &out.layer, NULL, 2, &err), &err);
	REQUIRE_OK(dataset_write(r, &mean, WORDS("prune"), (size_t[]){2}, values, &err), &err);
	REQUIRE_OK(results_finish(r, &err), &err);
	file = H5Fopen(in_scratch("copy.h5"), H5F_ACC_RDONLY, H5P_DEFAULT);
	dataset = H5Dopen2(file, "/scores/prune/mean", H5P_DEFAULT);
	type = H5Dget_type(dataset);
	CHECK(H5Tget_size(type) == 2, "%zu bytes a value", H5Tget_size(type));
	H5Tclose(type);
	H5Dclose(dataset);
	H5Fclose(file);
}

TEST(other_words_than_the_paths_and_scales_that_do_not_fit_are_our_error)
{
	const float values[9] = {0};
	char word[300];
	struct results *r = new_file("refused.h5");
	struct err err;

	memset(word, 'x', sizeof word - 1);
	word[sizeof word - 1] = '\0';
	REQUIRE_OK(dataset_write_counting(r, &out.layer, NULL, 3, &err), &err);
	REQUIRE_OK(dataset_write(r, &other.same_name, NULL, (size_t[]){3, 3}, values, &err), &err);
	const struct {
		const struct dataset *d;
		const char *const *words;
		size_t n;
		const char *text;
	} cases[] = {
		{&out.prompt, WORDS("prune"), 1,
			"/scores/EXPERIMENT/CONDITION/prompt: expected names for 2 words of the "
			"path, found 1"},
		{&out.typed, WORDS("prune"), 1,
			"/scores/typed: expected names for 0 words of the path, found 1"},
		{&out.prompt, NULL, 1,
			"/scores/EXPERIMENT/CONDITION/prompt: expected names for 2 words of the "
			"path, found 0"},
		{&out.typed, NULL, 2,
			"/scores/typed: dimension 0: expected 3, as /layer has, found 2"},
		{&other.missing, NULL, 2,
			"/scores/missing: expected the scale row in its group or one above, found "
			"none"},
	};
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		CHECK(dataset_write(r, cases[i].d, cases[i].words, &cases[i].n, values, &err) ==
				ERR_INTERNAL,
			"case %zu passed", i);
		CHECK(strcmp(err.text, cases[i].text) == 0, "case %zu: %s", i, err.text);
	}
	CHECK(dataset_write(r, &out.prompt, WORDS("prune", word), (size_t[]){1}, values, &err) ==
				ERR_INTERNAL &&
			strstr(err.text, "expected a path below"),
		"%s", err.text);
	results_discard(r);
}

TEST(results_that_go_nowhere_take_every_dataset)
{
	struct results *r;
	struct err err;
	const float values[2] = {0};

	REQUIRE_OK(results_create_nowhere(&r, &err), &err);
	REQUIRE_OK(dataset_write_counting(r, &out.layer, NULL, 2, &err), &err);
	REQUIRE_OK(dataset_write(r, &out.typed, NULL, (size_t[]){2}, values, &err), &err);
	REQUIRE_OK(results_finish(r, &err), &err);
}

TEST(a_section_prints_as_the_readme_has_it)
{
	static const struct dataset_section sections[] = {{"`prune`", "Attributes: `scale`.",
								  DATASETS(out)},
		{"A chapter", "Its note.", NULL, 0}};
	static const char expected[] =
		"### `prune`\n\nAttributes: `scale`.\n\n"
		"| dataset | dimensions | type | units | meaning |\n|---|---|---|---|---|\n"
		"| `/layer` | layer | i32 | | scale: 0 ... n_layer - 1 |\n"
		"| `/scores/EXPERIMENT/CONDITION/prompt` | prompt | i32 | | scale: prompt ids |\n"
		"| `/scores/EXPERIMENT/kind` | kind | text | | scale: kinds of `prompt` |\n"
		"| `/scores/EXPERIMENT/CONDITION/blocks.LAYER.kl` | kind, prompt, layer | f64 | nat | "
		"KL of a `prompt` |\n"
		"| `/scores/EXPERIMENT/mean` | layer | f32 or f16 | logit or 1 | mean of it |\n"
		"| `/scores/typed` | layer | f32 | 1 | mean |\n\n"
		"### A chapter\n\nIts note.\n\n";
	char *text = NULL;
	size_t n = 0;
	FILE *memory = open_memstream(&text, &n);

	REQUIRE(memory, "no memory");
	for (size_t i = 0; i < 2; i++)
		dataset_section_print(&sections[i], memory);
	fclose(memory);
	CHECK(strcmp(text, expected) == 0, "it is\n%s", text);
	free(text);
}

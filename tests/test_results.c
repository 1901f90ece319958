/* SPDX-License-Identifier: MIT
 *
 * test_results.c - writing a result file and reading it back; the invariants at the top of
 * host/store/results.h, one by one. How other tools see the file: test_result_file.py and .R.
 */
#include "host/base/dtype.h"
#include "host/base/file.h"
#include "host/store/dataset.h"
#include "tests/result_has.h"
#include "tests/test.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <hdf5.h>
#include <hdf5_hl.h>

/* What the tests write. */
static const struct {
	struct dataset x, deep_x, column, row, rows, n, half, text;
} out = {
	.x = {"/x", {"x"}, RESULTS_I32, "", "x"},
	.deep_x = {"/g/x", {"x"}, RESULTS_I32, "", "x"},
	.column = {"/column", {"column"}, RESULTS_I32, "", "column"},
	.row = {"/g/row", {"row"}, RESULTS_I32, "", "row"},
	.rows = {"/g/rows", {"row", "column"}, RESULTS_F32, "1", "rows", .compress = true},
	.n = {"/n", {"n"}, RESULTS_I32, "", "n"},
	.half = {"/half", {"n"}, RESULTS_F16, "1", "half"},
	.text = {"/t", {"t"}, RESULTS_TEXT, "", "texts"},
};

/* Rows of one dataset, by way of a unit of their own. */
static void append(struct results *r, const struct dataset *d, const size_t *n, const void *data)
{
	struct dataset_filled rows;
	struct results *unit;
	struct results_reader *reader;
	struct err err;

	REQUIRE_OK(dataset_fill(&rows, d, NULL, n, &err), &err);
	REQUIRE_OK(results_create(&unit, in_scratch("unit.h5"), &err), &err);
	REQUIRE_OK(results_write_rows(unit, &rows.d, data, n[0], &err), &err);
	REQUIRE_OK(results_finish(unit, &err), &err);
	REQUIRE_OK(results_open(&reader, in_scratch("unit.h5"), &err), &err);
	REQUIRE_OK(results_join(r, reader, &err), &err);
	results_reader_close(reader);
}

TEST(the_file_has_its_name_only_when_it_is_complete)
{
	struct results *r;
	struct err err;
	const char *path = in_scratch("a/whole.h5");
	const int32_t values[] = {3, 1, 2};

	REQUIRE_OK(results_create(&r, path, &err), &err);
	REQUIRE_OK(dataset_write(r, &out.x, NULL, (size_t[]){3}, values, &err), &err);
	CHECK(!file_exists(path) && file_exists(in_scratch("a/whole.h5.part")),
		"it appeared too early");
	REQUIRE_OK(results_finish(r, &err), &err);
	CHECK(file_exists(path), "it did not appear");
	CHECK(!file_exists(in_scratch("a/whole.h5.part")), "its .part stayed");
}

TEST(an_unfinished_file_stays_beside_the_old_one_and_can_be_read)
{
	struct results *r;
	struct results_reader *reader;
	struct err err;
	const int32_t old[] = {7}, newer[] = {8, 9};
	int32_t *read;
	size_t n;

	REQUIRE_OK(results_create(&r, in_scratch("twice.h5"), &err), &err);
	REQUIRE_OK(dataset_write(r, &out.x, NULL, (size_t[]){1}, old, &err), &err);
	REQUIRE_OK(results_finish(r, &err), &err);
	REQUIRE_OK(results_create(&r, in_scratch("twice.h5"), &err), &err);
	REQUIRE_OK(dataset_write(r, &out.x, NULL, (size_t[]){2}, newer, &err), &err);
	results_close(r);
	REQUIRE_OK(results_open(&reader, in_scratch("twice.h5"), &err), &err);
	REQUIRE_OK(results_read_ints(reader, "/x", 1, &n, &read, &err), &err);
	CHECK(n == 1 && read[0] == 7, "the finished file was touched");
	free(read);
	results_reader_close(reader);
	REQUIRE_OK(results_open(&reader, in_scratch("twice.h5.part"), &err), &err);
	REQUIRE_OK(results_read_ints(reader, "/x", 1, &n, &read, &err), &err);
	CHECK(n == 2 && read[1] == 9, "the unfinished file does not hold what was written");
	free(read);
	results_reader_close(reader);
}

TEST(rows_appended_in_pieces_are_the_rows_written)
{
	struct results *r;
	struct results_reader *reader;
	struct err err;
	int32_t numbers[100];
	float *read, rows[300];
	size_t dims[2];

	for (int i = 0; i < 300; i++)
		rows[i] = (float)i;
	for (int32_t i = 0; i < 100; i++)
		numbers[i] = i;
	REQUIRE_OK(results_create(&r, in_scratch("rows.h5"), &err), &err);
	REQUIRE_OK(dataset_write_counting(r, &out.column, NULL, 3, &err), &err);
	append(r, &out.rows, (size_t[]){1, 3}, rows);
	append(r, &out.rows, (size_t[]){0, 3}, rows + 3);
	append(r, &out.rows, (size_t[]){99, 3}, rows + 3);
	append(r, &out.row, (size_t[]){100}, numbers);
	REQUIRE_OK(results_join_end(r, &err), &err);
	REQUIRE_OK(results_finish(r, &err), &err);
	REQUIRE_OK(results_open(&reader, in_scratch("rows.h5"), &err), &err);
	REQUIRE_OK(results_read_floats(reader, "/g/rows", 2, dims, &read, &err), &err);
	REQUIRE(dims[0] == 100 && dims[1] == 3, "shape [%zu, %zu]", dims[0], dims[1]);
	for (int i = 0; i < 300; i++)
		CHECK(read[i] == rows[i], "element %d is %g", i, (double)read[i]);
	free(read);
	results_reader_close(reader);
}

TEST(half_precision_holds_the_nearest_halves)
{
	struct results *r;
	struct results_reader *reader;
	struct err err;
	const uint16_t values[] = {f32_to_f16(0.1f), f32_to_f16(-65519), f32_to_f16(1e-8f),
		f32_to_f16(3)};
	float *read;
	size_t n;

	REQUIRE_OK(results_create(&r, in_scratch("half.h5"), &err), &err);
	REQUIRE_OK(dataset_write_counting(r, &out.n, NULL, 4, &err), &err);
	REQUIRE_OK(dataset_write(r, &out.half, NULL, (size_t[]){4}, values, &err), &err);
	REQUIRE_OK(results_finish(r, &err), &err);
	REQUIRE_OK(results_open(&reader, in_scratch("half.h5"), &err), &err);
	REQUIRE_OK(results_read_floats(reader, "/half", 1, &n, &read, &err), &err);
	CHECK(read[0] == 0.0999755859375f && read[1] == -65504 && read[2] == 0 && read[3] == 3,
		"%g %g %g %g", (double)read[0], (double)read[1], (double)read[2], (double)read[3]);
	free(read);
	results_reader_close(reader);
}

TEST(values_that_half_precision_would_make_infinite_are_refused)
{
	static const struct {
		float value;
		bool refused;
	} cases[] = {{65519.996f, false}, {-65519.996f, false}, {65520, true}, {-1e9f, true},
		{NAN, false}};

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		const uint16_t values[] = {f32_to_f16(1), f32_to_f16(cases[i].value)};
		struct results *r;
		struct err err;
		int rc;

		REQUIRE_OK(results_create(&r, in_scratch("large.h5"), &err), &err);
		REQUIRE_OK(dataset_write_counting(r, &out.n, NULL, 2, &err), &err);
		rc = dataset_write(r, &out.half, NULL, (size_t[]){2}, values, &err);
		CHECK(rc == (cases[i].refused ? ERR_CONFIG : 0), "%g: %d", (double)cases[i].value,
			rc);
		CHECK(!cases[i].refused || strstr(err.text, "found") != NULL, "%s", err.text);
		if (cases[i].value == 65520)
			CHECK(strcmp(err.text,
				      "/half: expected values of at most 65504, the largest of "
				      "float16, found infinity at element 1: float32 holds larger ones") ==
					0,
				"%s", err.text);
		results_close(r);
	}
}

TEST(texts_of_any_length_and_script_come_back_as_written)
{
	struct results *r;
	struct results_reader *reader;
	struct err err;
	const char *const values[] = {"", "na\xc3\xafve \xe6\x97\xa5\xe6\x9c\xac", "a\nb\t\"c\""};
	char **read;
	size_t n;

	REQUIRE_OK(results_create(&r, in_scratch("texts.h5"), &err), &err);
	REQUIRE_OK(dataset_write(r, &out.text, NULL, (size_t[]){3}, values, &err), &err);
	REQUIRE_OK(results_attribute_text(r, "/", "title", "x", &err), &err);
	REQUIRE_OK(results_attribute_text(r, "/", "title", "y", &err), &err);
	REQUIRE_OK(results_finish(r, &err), &err);
	REQUIRE_OK(results_open(&reader, in_scratch("texts.h5"), &err), &err);
	REQUIRE_OK(results_read_texts(reader, "/t", &n, &read, &err), &err);
	REQUIRE(n == 3, "%zu texts", n);
	for (size_t i = 0; i < 3; i++) {
		CHECK(strcmp(read[i], values[i]) == 0, "text %zu is \"%s\"", i, read[i]);
		free(read[i]);
	}
	free(read);
	results_reader_close(reader);
}

TEST(reading_what_is_not_there_or_not_so_is_an_input_error)
{
	struct results *r;
	struct results_reader *reader;
	struct err err;
	const int32_t values[] = {1};
	int32_t *read;
	size_t dims[3];
	char expected[512];

	CHECK(results_open(&reader, in_scratch("none.h5"), &err) == ERR_INPUT, "opened");
	REQUIRE_OK(results_create(&r, in_scratch("few.h5"), &err), &err);
	REQUIRE_OK(dataset_write(r, &out.deep_x, NULL, (size_t[]){1}, values, &err), &err);
	REQUIRE_OK(results_finish(r, &err), &err);
	REQUIRE_OK(results_open(&reader, in_scratch("few.h5"), &err), &err);
	CHECK(result_has(reader, "/g/x") && !result_has(reader, "/h/x"), "has is wrong");
	CHECK(results_read_ints(reader, "/h/x", 1, dims, &read, &err) == ERR_INPUT, "read");
	snprintf(expected, sizeof expected, "%s: expected a dataset /h/x, found none",
		in_scratch("few.h5"));
	CHECK(strcmp(err.text, expected) == 0, "%s", err.text);
	CHECK(results_read_ints(reader, "/g/x", 2, dims, &read, &err) == ERR_INPUT, "read");
	snprintf(expected, sizeof expected, "%s: /g/x: expected 2 dimensions, found 1",
		in_scratch("few.h5"));
	CHECK(strcmp(err.text, expected) == 0, "%s", err.text);
	results_reader_close(reader);
}

/* One-dimensional dataset of n values, written by HDF5 itself; `created` gives its layout. */
static void write_dataset(hid_t file, const char *path, hid_t type, hsize_t n, hid_t created,
	const void *values)
{
	const hid_t space = H5Screate_simple(1, &n, NULL);
	const hid_t dataset = H5Dcreate2(file, path, type, space, H5P_DEFAULT, created,
		H5P_DEFAULT);

	if (dataset < 0 ||
		(values && H5Dwrite(dataset, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, values) < 0))
		test_fail(__FILE__, __LINE__, "cannot write %s", path);
	H5Dclose(dataset);
	H5Sclose(space);
}

static void write_hostile_file(const char *path)
{
	const hid_t file = H5Fcreate(path, H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
	const hid_t chunked = H5Pcreate(H5P_DATASET_CREATE),
		    external = H5Pcreate(H5P_DATASET_CREATE);
	const hid_t text = H5Tcopy(H5T_C_S1), space = H5Screate_simple(1, (hsize_t[]){3}, NULL);
	const hsize_t chunk = 1024;
	hid_t attribute;

	H5Tset_size(text, H5T_VARIABLE);
	H5Pset_chunk(chunked, 1, &chunk);
	H5Pset_external(external, "elsewhere.bin", 0, 8);
	write_dataset(file, "/reals", H5T_NATIVE_FLOAT, 2, H5P_DEFAULT, (float[]){1, 2});
	write_dataset(file, "/large", H5T_NATIVE_INT64, 2, H5P_DEFAULT, (int64_t[]){1, 5000000000});
	write_dataset(file, "/small", H5T_NATIVE_INT64, 2, H5P_DEFAULT, (int64_t[]){-1, 5});
	write_dataset(file, "/huge", H5T_NATIVE_DOUBLE, 1, H5P_DEFAULT, (double[]){1e300});
	write_dataset(file, "/empty_claim", H5T_NATIVE_INT32, (hsize_t)1 << 40, chunked, NULL);
	write_dataset(file, "/outside", H5T_NATIVE_INT32, 2, external, NULL);
	write_dataset(file, "/texts", text, 2, H5P_DEFAULT, (const char *[]){"a", "b\xc3("});
	H5Lcreate_external("other.h5", "/x", file, "/link", H5P_DEFAULT, H5P_DEFAULT);
	attribute = H5Acreate_by_name(file, "/", "three", H5T_NATIVE_INT64, space, H5P_DEFAULT,
		H5P_DEFAULT, H5P_DEFAULT);
	H5Awrite(attribute, H5T_NATIVE_INT64, (int64_t[]){1, 2, 3});
	H5Aclose(attribute);
	H5Sclose(space);
	H5Tclose(text);
	H5Pclose(chunked);
	H5Pclose(external);
	H5Fclose(file);
}

TEST(a_file_that_another_program_made_is_refused_where_it_cannot_be_read_exactly)
{
	static const struct {
		const char *dataset, *message;
		char kind; /* int, float, text */
	} cases[] = {
		{"/reals", "/reals: expected integers, found another type", 'i'},
		{"/large", "/large: expected values that can be read and fit 4 bytes each", 'i'},
		{"/huge", "/huge: expected values that can be read and fit 4 bytes each", 'f'},
		{"/texts", "/texts: expected numbers, found another type", 'f'},
		{"/small", "/small: expected texts, found another type", 't'},
		{"/empty_claim",
			"/empty_claim: said to hold 4398046511104 bytes, which its 0 bytes of "
			"storage cannot",
			'i'},
		{"/outside",
			"/outside: expected a dataset of this file, found one stored in another",
			'i'},
		{"/link", "/link: expected a dataset, found a link", 'i'},
		{"/texts", "/texts: text 1: expected UTF-8, found byte 0xc3 at offset 1", 't'},
		{"/small", NULL, 'i'},
	};
	struct results_reader *reader;
	struct err err;
	int64_t value = 7;
	char path[256];

	snprintf(path, sizeof path, "%s", in_scratch("hostile.h5"));
	write_hostile_file(path);
	REQUIRE_OK(results_open(&reader, path, &err), &err);
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		int32_t *ints = NULL;
		float *floats = NULL;
		char **texts = NULL, expected[512];
		size_t n;
		int rc;

		err.text[0] = '\0';
		if (cases[i].kind == 'i')
			rc = results_read_ints(reader, cases[i].dataset, 1, &n, &ints, &err);
		else if (cases[i].kind == 'f')
			rc = results_read_floats(reader, cases[i].dataset, 1, &n, &floats, &err);
		else
			rc = results_read_texts(reader, cases[i].dataset, &n, &texts, &err);
		if (cases[i].message) {
			snprintf(expected, sizeof expected, "%s: %s", path, cases[i].message);
			CHECK(rc == ERR_INPUT && strcmp(err.text, expected) == 0, "case %zu: %s", i,
				err.text);
		} else {
			CHECK(rc == 0 && n == 2 && ints[0] == -1 && ints[1] == 5, "case %zu: %s", i,
				err.text);
		}
		free(ints);
		free(floats);
	}
	CHECK(results_read_attribute_integer(reader, "/", "three", &value, &err) == ERR_INPUT &&
			value == 7,
		"an attribute of three integers was read as one");
	results_reader_close(reader);
}

TEST(a_folder_that_cannot_be_made_or_written_is_an_output_error)
{
	struct results *r;
	struct err err;

	CHECK(results_create(&r, "/proc/none/x.h5", &err) == ERR_OUTPUT && !r, "%s", err.text);
	CHECK(results_create(&r, in_scratch("no/such/deep/x.h5"), &err) == ERR_OUTPUT && !r, "%s",
		err.text);
}

/* ---- the summary ----------------------------------------------------------------------- */

enum { N_LARGE = RESULTS_SUMMARY_BYTES / 4 + 1, N_SMALL = N_LARGE - 1 };

static const struct {
	struct dataset place, few, line, large, small, bytes, text;
} sized = {
	.place = {"/place", {"place"}, RESULTS_I32, "", "place"},
	.few = {"/few", {"few"}, RESULTS_I32, "", "place"},
	.line = {"/line", {"line"}, RESULTS_I32, "", "line"},
	.large = {"/g/large", {"place"}, RESULTS_F32, "logit", "one value too many"},
	.small = {"/g/small", {"few"}, RESULTS_I32, "1", "just few enough", .compress = true},
	.bytes = {"/g/deep/bytes", {"place"}, RESULTS_U8, "1", "few bytes, many places"},
	.text = {"/g/text", {"line"}, RESULTS_TEXT, "", "texts"},
};

/* Datasets on either side of the bound, one of bytes whose scale is beyond it, and texts. */
static void write_large_and_small(struct results *r, const char *note)
{
	struct err err;
	int32_t *count = calloc(N_LARGE, sizeof *count);
	const char *texts[] = {"a", note};
	const size_t large = N_LARGE, small = N_SMALL, two = 2;

	for (int32_t i = 0; i < N_LARGE; i++)
		count[i] = i;
	REQUIRE_OK(dataset_write_counting(r, &sized.place, NULL, large, &err), &err);
	REQUIRE_OK(dataset_write_counting(r, &sized.few, NULL, small, &err), &err);
	REQUIRE_OK(dataset_write_counting(r, &sized.line, NULL, two, &err), &err);
	append(r, &sized.large, &large, count);
	REQUIRE_OK(results_join_end(r, &err), &err);
	REQUIRE_OK(dataset_write(r, &sized.small, NULL, &small, count, &err), &err);
	REQUIRE_OK(dataset_write(r, &sized.bytes, NULL, &large, count, &err), &err);
	REQUIRE_OK(dataset_write(r, &sized.text, NULL, &two, texts, &err), &err);
	REQUIRE_OK(results_attribute_integer(r, "/g", "layer", 3, &err), &err);
	REQUIRE_OK(results_attribute_text(r, "/", "title", "a test", &err), &err);
	free(count);
}

static size_t left_out(const char *path, char ***names)
{
	struct results_reader *reader;
	struct err err;
	size_t n = 0;

	if (results_open(&reader, path, &err) ||
		results_read_texts(reader, "/left_out/dataset", &n, names, &err))
		CHECK(false, "%s", err.text);
	results_reader_close(reader);
	return n;
}

TEST(the_summary_has_the_small_datasets_with_their_scales_and_every_attribute)
{
	struct results *r;
	struct results_reader *summary;
	struct err err;
	char *title, **names;
	int64_t layer;
	int32_t *small;
	size_t n;
	hid_t file, bytes, place;

	REQUIRE_OK(results_create(&r, in_scratch("two/of.h5"), &err), &err);
	write_large_and_small(r, "b");
	REQUIRE_OK(results_summarize(r, &err), &err);
	CHECK(file_exists(in_scratch("two/of.summary.h5")) && !file_exists(in_scratch("two/of.h5")),
		"the result file has its name before the summary has");
	REQUIRE_OK(results_finish(r, &err), &err);

	CHECK(left_out(in_scratch("two/of.summary.h5"), &names) == 1 &&
			strcmp(names[0], "/g/large") == 0,
		"other datasets are left out");
	free(names[0]);
	free(names);
	REQUIRE_OK(results_open(&summary, in_scratch("two/of.summary.h5"), &err), &err);
	CHECK(!result_has(summary, "/g/large"), "it has the large one");
	REQUIRE_OK(results_read_ints(summary, "/g/small", 1, &n, &small, &err), &err);
	CHECK(n == N_SMALL && small[0] == 0 && small[n - 1] == N_SMALL - 1, "other values");
	free(small);
	REQUIRE_OK(results_read_attribute_integer(summary, "/g", "layer", &layer, &err), &err);
	CHECK(layer == 3, "layer %lld", (long long)layer);
	REQUIRE_OK(results_read_attribute_text(summary, "/", "title", &title, &err), &err);
	CHECK(strcmp(title, "a test") == 0, "title %s", title);
	free(title);
	REQUIRE_OK(results_read_attribute_text(summary, "/g/small", "long_name", &title, &err),
		&err);
	CHECK(strcmp(title, "just few enough") == 0, "long_name %s", title);
	free(title);
	REQUIRE_OK(results_read_attribute_text(summary, "/", "summary_of", &title, &err), &err);
	CHECK(strcmp(title, "of.h5") == 0, "summary_of %s", title);
	free(title);
	results_reader_close(summary);

	file = H5Fopen(in_scratch("two/of.summary.h5"), H5F_ACC_RDONLY, H5P_DEFAULT);
	bytes = H5Dopen2(file, "/g/deep/bytes", H5P_DEFAULT);
	place = H5Dopen2(file, "/place", H5P_DEFAULT);
	CHECK(H5DSis_scale(place) > 0 && H5DSis_attached(bytes, place, 0) > 0,
		"the dimension lost its scale");
	H5Dclose(bytes);
	H5Dclose(place);
	H5Fclose(file);
}

TEST(texts_count_by_their_bytes_in_the_summary)
{
	char *note = malloc(RESULTS_SUMMARY_BYTES + 1), **names;
	struct results *r;
	struct err err;
	size_t n;

	memset(note, 'x', RESULTS_SUMMARY_BYTES);
	note[RESULTS_SUMMARY_BYTES] = '\0';
	REQUIRE_OK(results_create(&r, in_scratch("texts.h5"), &err), &err);
	write_large_and_small(r, note);
	REQUIRE_OK(results_summarize(r, &err), &err);
	REQUIRE_OK(results_finish(r, &err), &err);
	n = left_out(in_scratch("texts.summary.h5"), &names);
	CHECK(n == 2 && strcmp(names[1], "/g/text") == 0, "%zu datasets are left out", n);
	for (size_t i = 0; i < n; i++)
		free(names[i]);
	free(names);
	free(note);
}

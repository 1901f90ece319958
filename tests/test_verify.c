/* SPDX-License-Identifier: MIT
 *
 * test_verify.c - the checksums of a result file and what holds a file against them
 * (host/store/results.h, 6): whatever is changed in it is found and named. How another language
 * makes them: test_result_file.py.
 */
#include "host/base/dtype.h"
#include "host/base/file.h"
#include "host/store/dataset.h"
#include "host/store/seal.h"
#include "tests/same_results.h"
#include "tests/test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <hdf5.h>
#include <hdf5_hl.h>

enum { ROWS = 40, UNIT_ROWS = 20 };

static const struct {
	struct dataset row, column, text_row, none, grown, plain, half, real, text, empty;
} out = {
	.row = {"/row", {"row"}, RESULTS_I32, "", "rows"},
	.column = {"/column", {"column"}, RESULTS_I32, "", "columns"},
	.text_row = {"/line", {"line"}, RESULTS_I32, "", "lines"},
	.none = {"/none", {"none"}, RESULTS_I32, "", "nothing"},
	.grown = {"/g/grown", {"row", "column"}, RESULTS_F32, "1", "packed rows", .compress = true},
	.plain = {"/g/plain", {"row", "column"}, RESULTS_F32, "1", "rows as they are"},
	.half = {"/g/half", {"row"}, RESULTS_F16, "1", "halves"},
	.real = {"/g/real", {"row"}, RESULTS_F64, "1", "doubles"},
	.text = {"/g/text", {"line"}, RESULTS_TEXT, "", "texts"},
	.empty = {"/g/empty", {"none"}, RESULTS_F64, "1", "no values"},
};

/* Half of the rows of two datasets that grow, by way of a unit's file, which stays. */
static int append(struct results *r, int unit, struct err *err)
{
	static const struct dataset *const datasets[] = {&out.grown, &out.plain};
	const struct seal seal = {.run = "a", .stage = "s", .unit = (size_t)unit, .n = 2};
	const size_t n[] = {UNIT_ROWS, 3};
	float values[3 * UNIT_ROWS];
	struct results *file;
	struct results_reader *reader;
	char path[300];

	for (int i = 0; i < 3 * UNIT_ROWS; i++)
		values[i] = (float)(unit * 1000 + i) / 7;
	TRY(folder_make(in_scratch("made.units"),
		err)); /* mapped units are of such a folder alone */
	snprintf(path, sizeof path, "%s/%d.h5", in_scratch("made.units"), unit);
	TRY(results_create_unit(&file, path, &seal, err));
	for (int i = 0; i < 2; i++) {
		struct dataset_filled d;

		TRY(dataset_fill(&d, datasets[i], NULL, n, err));
		TRY(results_write_rows(file, &d.d, values, n[0], err));
	}
	TRY(results_finish(file, err));
	TRY(results_open(&reader, path, err));
	results_join(r, reader, err);
	results_reader_close(reader);
fail:
	return err->code;
}

/* One of every kind. */
static const char *write_file(const char *name, bool mapped)
{
	static char path[300];
	static const char *const lines[] = {"", "na\xc3\xafve", "the second line of text"};
	const size_t rows = ROWS, n_lines = 3, none = 0;
	double reals[ROWS];
	uint16_t halves[ROWS];
	struct results *r;
	struct err err;

	for (int i = 0; i < ROWS; i++) {
		reals[i] = 1.0 / (i + 1);
		halves[i] = f32_to_f16((float)i / 3);
	}
	snprintf(path, sizeof path, "%s", in_scratch(name));
	if (results_create(&r, path, &err))
		goto fail;
	if (mapped)
		results_map_units(r);
	TRY(dataset_write_counting(r, &out.row, NULL, rows, &err));
	TRY(dataset_write_counting(r, &out.column, NULL, 3, &err));
	TRY(dataset_write_counting(r, &out.text_row, NULL, n_lines, &err));
	TRY(dataset_write_counting(r, &out.none, NULL, 0, &err));
	TRY(append(r, 0, &err));
	TRY(append(r, 1, &err));
	TRY(results_join_end(r, &err));
	TRY(dataset_write(r, &out.half, NULL, &rows, halves, &err));
	TRY(dataset_write(r, &out.real, NULL, &rows, reals, &err));
	TRY(dataset_write(r, &out.text, NULL, &n_lines, lines, &err));
	TRY(dataset_write(r, &out.empty, NULL, &none, reals, &err));
	TRY(results_attribute_text(r, "/", "title", "a test", &err));
	TRY(results_attribute_integer(r, "/g", "layer", 3, &err));
	TRY(results_finish(r, &err));
	return path;
fail:
	test_fail(__FILE__, __LINE__, "%s", err.text);
	return path;
}

static char printed[4096];

static int verify(const char *path, struct err *err)
{
	FILE *to = fmemopen(printed, sizeof printed, "w");
	const int rc = results_verify(path, to, err);

	fclose(to);
	return rc;
}

static void says(const char *path, const char *expected)
{
	struct err err = {0};

	CHECK(verify(path, &err) == ERR_INPUT && strstr(err.text, expected),
		"expected \"%s\", found %d: %s", expected, err.code, err.text);
	CHECK(strstr(printed, "NOT as they were written"), "%s", printed);
}

TEST(a_file_as_it_was_written_agrees_with_its_checksums_copied_or_mapped)
{
	for (int mapped = 0; mapped < 2; mapped++) {
		struct err err;

		REQUIRE_OK(verify(write_file("whole.h5", mapped), &err), &err);
		CHECK(strstr(printed, ": 10 datasets held against their checksums, ") &&
				strstr(printed, ": all as they were written\n"),
			"%s", printed);
	}
}

/* In row order, little-endian; of texts their bytes and a zero each. */
TEST(a_checksum_is_sha256_of_the_stored_values)
{
	const char *path = write_file("rule.h5", false);
	struct results_reader *r;
	struct err err;
	char expected[SHA256_HEX], *found;
	double reals[ROWS];

	for (int i = 0; i < ROWS; i++)
		reals[i] = 1.0 / (i + 1);
	sha256_bytes(reals, sizeof reals, expected);
	REQUIRE_OK(results_open(&r, path, &err), &err);
	REQUIRE_OK(results_read_attribute_text(r, "/g/real", "sha256", &found, &err), &err);
	CHECK(strcmp(found, expected) == 0, "%s, not %s", found, expected);
	free(found);
	sha256_bytes("\0na\xc3\xafve\0the second line of text", 32, expected);
	REQUIRE_OK(results_read_attribute_text(r, "/g/text", "sha256", &found, &err), &err);
	CHECK(strcmp(found, expected) == 0, "%s, not %s", found, expected);
	free(found);
	results_reader_close(r);
}

/* ---- bits ------------------------------------------------------------------------------ */

static void flip(const char *path, size_t offset, int bit)
{
	FILE *file = fopen(path, "r+b");
	unsigned char byte = 0;

	if (!file || fseek(file, (long)offset, SEEK_SET) || fread(&byte, 1, 1, file) != 1)
		test_fail(__FILE__, __LINE__, "%s: no byte %zu", path, offset);
	byte ^= (unsigned char)(1 << bit);
	if (fseek(file, (long)offset, SEEK_SET) || fputc(byte, file) == EOF || fclose(file))
		test_fail(__FILE__, __LINE__, "%s: cannot write", path);
}

/* Flips a bit of every third byte in turn, and back: each must be found, unless every value is what
 * it was, as where it is among the bits that fill a compressed stream's last byte. */
static void flip_each(const char *path, size_t offset, size_t n, const char *dataset)
{
	char whole[300];
	size_t n_found = 0, n_flips = 0;

	snprintf(whole, sizeof whole, "%s", write_file("as_it_was.h5", false));
	for (size_t i = 0; i < n; i += 3) {
		struct err err = {0};

		flip(path, offset + i, (int)(i % 8));
		if (verify(path, &err) == 0)
			same_results(whole, path, "/");
		else
			CHECK(err.code == ERR_INPUT && strstr(err.text, dataset),
				"%s, byte %zu: %s", dataset, i, err.text);
		n_found += err.code != 0;
		n_flips++;
		flip(path, offset + i, (int)(i % 8));
	}
	CHECK(n_found + 1 >= n_flips, "%s: %zu of %zu were found", dataset, n_found, n_flips);
}

/* Where the values of a dataset lie that has them in one piece, and in how many bytes. */
static size_t place_of(const char *path, const char *dataset, size_t *n)
{
	const hid_t file = H5Fopen(path, H5F_ACC_RDONLY, H5P_DEFAULT);
	const hid_t d = H5Dopen2(file, dataset, H5P_DEFAULT), space = H5Dget_space(d);
	haddr_t offset = H5Dget_offset(d);
	hsize_t size = (hsize_t)H5Sget_simple_extent_npoints(space) * 4, at[H5S_MAX_RANK], stored;
	unsigned filters;

	if (offset == HADDR_UNDEF) { /* of one chunk, whose end may be empty */
		H5Dget_chunk_info(d, space, 0, at, &filters, &offset, &stored);
		size = stored < size ? stored : size;
	}
	*n = (size_t)size;
	H5Sclose(space);
	H5Dclose(d);
	H5Fclose(file);
	return (size_t)offset;
}

TEST(a_bit_flipped_in_values_is_found_and_its_dataset_named)
{
	static const char *const datasets[] = {"/g/plain", "/g/grown", "/row"};
	char path[300];

	snprintf(path, sizeof path, "%s", write_file("bits.h5", false));
	for (size_t i = 0; i < sizeof datasets / sizeof *datasets; i++) {
		size_t n, offset = place_of(path, datasets[i], &n);

		REQUIRE(n > 0, "%s: no place", datasets[i]);
		flip_each(path, offset, n, datasets[i]);
	}
}

TEST(a_bit_flipped_in_a_text_is_found)
{
	static const char line[] = "the second line of text";
	char path[300], *content = NULL;
	size_t n = 0;
	FILE *file, *memory = open_memstream(&content, &n);
	int c;

	snprintf(path, sizeof path, "%s", write_file("text.h5", false));
	file = fopen(path, "rb");
	while ((c = fgetc(file)) != EOF)
		fputc(c, memory);
	fclose(file);
	fclose(memory);
	for (size_t i = 0; i + sizeof line < n; i++) {
		if (memcmp(content + i, line, sizeof line - 1) != 0)
			continue;
		flip_each(path, i, sizeof line - 1, "/g/text");
		n = 0; /* the end, too, of this loop */
	}
	CHECK(n == 0, "the text is not in the file");
	free(content);
}

/* ---- changes by HDF5 ------------------------------------------------------------------- */

static void write_nan(hid_t file, const char *dataset)
{
	const hid_t d = H5Dopen2(file, dataset, H5P_DEFAULT), space = H5Dget_space(d);
	const hid_t one = H5Screate(H5S_SCALAR);
	const hsize_t at[H5S_MAX_RANK] = {5, 1};
	const double nan = (double)__builtin_nanf("");

	H5Sselect_elements(space, H5S_SELECT_SET, 1, at);
	if (H5Dwrite(d, H5T_NATIVE_DOUBLE, one, space, H5P_DEFAULT, &nan) < 0)
		test_fail(__FILE__, __LINE__, "%s: cannot write", dataset);
	H5Sclose(one);
	H5Sclose(space);
	H5Dclose(d);
}

TEST(every_dataset_that_another_program_changed_is_named)
{
	const char *path = write_file("nan.h5", false);
	const hid_t file = H5Fopen(path, H5F_ACC_RDWR, H5P_DEFAULT);

	write_nan(file, "/g/real");
	write_nan(file, "/g/plain");
	H5Fclose(file);
	says(path, "/g/plain: expected values of SHA-256 ");
	says(path, "/g/real: expected values of SHA-256 ");
}

TEST(a_mapped_dataset_is_held_against_the_values_in_its_units)
{
	const char *path = write_file("mapped.h5", true);
	char unit[300];
	hid_t file;

	snprintf(unit, sizeof unit, "%s/1.h5", in_scratch("made.units"));
	file = H5Fopen(unit, H5F_ACC_RDWR, H5P_DEFAULT);
	write_nan(file, "/g/plain");
	H5Fclose(file);
	says(path, "/g/plain: expected values of SHA-256 ");
	remove(unit);
	says(path, "/g/plain: ");
}

/* The same values and attributes, as 8 rows of 5. */
static void reshape(hid_t file, const char *path)
{
	const hid_t d = H5Dopen2(file, path, H5P_DEFAULT), type = H5Dget_type(d);
	const hid_t space = H5Screate_simple(2, (hsize_t[]){8, 5}, NULL);
	const hid_t copy = H5Dcreate2(file, "/copy", type, space, H5P_DEFAULT, H5P_DEFAULT,
		H5P_DEFAULT);
	static const char *const names[] = {"long_name", "units", "sha256"};
	double values[ROWS];

	H5Dread(d, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, values);
	H5Dwrite(copy, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, values);
	for (size_t i = 0; i < 3; i++) {
		const hid_t a = H5Aopen(d, names[i], H5P_DEFAULT), text = H5Aget_type(a);
		const hid_t one = H5Aget_space(a);
		const hid_t b = H5Acreate2(copy, names[i], text, one, H5P_DEFAULT, H5P_DEFAULT);
		char *value;

		if (H5Aread(a, text, &value) < 0 || H5Awrite(b, text, &value) < 0)
			test_fail(__FILE__, __LINE__, "%s: cannot copy", names[i]);
		H5free_memory(value);
		H5Aclose(b);
		H5Sclose(one);
		H5Tclose(text);
		H5Aclose(a);
	}
	H5Sclose(space);
	H5Tclose(type);
	H5Dclose(copy);
	H5Dclose(d);
	H5Ldelete(file, path, H5P_DEFAULT);
	H5Lmove(file, "/copy", file, path, H5P_DEFAULT, H5P_DEFAULT);
}

/* An array of texts where one is expected. */
static void many_checksums(hid_t dataset)
{
	enum { N = 3000 };
	static const char *texts[N];
	const hid_t type = H5Tcopy(H5T_C_S1), space = H5Screate_simple(1, (hsize_t[]){N}, NULL);
	hid_t a;

	for (int i = 0; i < N; i++)
		texts[i] = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
	H5Tset_size(type, H5T_VARIABLE);
	H5Adelete(dataset, "sha256");
	a = H5Acreate2(dataset, "sha256", type, space, H5P_DEFAULT, H5P_DEFAULT);
	CHECK(H5Awrite(a, type, texts) >= 0, "not written");
	H5Aclose(a);
	H5Sclose(space);
	H5Tclose(type);
}

TEST(names_shapes_and_attributes_are_held_against_the_checksum_of_the_file)
{
	static const char expected[] = "its names, shapes or attributes are not those";

	for (int change = 0; change < 8; change++) {
		const char *path = write_file("names.h5", false);
		const hid_t file = H5Fopen(path, H5F_ACC_RDWR, H5P_DEFAULT);
		const hid_t d = H5Dopen2(file, "/g/grown", H5P_DEFAULT);
		const long long layer = 4;

		switch (change) {
		case 0:
			H5Ldelete(file, "/g/half", H5P_DEFAULT);
			break;
		case 1:
			H5Lmove(file, "/g/half", file, "/g/halves", H5P_DEFAULT, H5P_DEFAULT);
			break;
		case 2:
			H5Gclose(H5Gcreate2(file, "/more", H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT));
			break;
		case 3:
			H5Adelete(d, "units");
			break;
		case 4:
			H5Adelete(d, "sha256");
			break;
		case 5:
			reshape(file, "/g/real");
			break;
		case 6:
			many_checksums(d);
			break;
		default:
			H5LTset_attribute_long_long(file, "/g", "layer", &layer, 1);
		}
		H5Dclose(d);
		H5Fclose(file);
		says(path, expected);
	}
}

TEST(a_file_without_checksums_says_so)
{
	const char *path = write_file("old.h5", false);
	const hid_t file = H5Fopen(path, H5F_ACC_RDWR, H5P_DEFAULT);
	static const char *const objects[] = {"/", "/row", "/column", "/line", "/none", "/g/grown",
		"/g/plain", "/g/half", "/g/real", "/g/text", "/g/empty"};

	for (size_t i = 0; i < sizeof objects / sizeof *objects; i++)
		H5Adelete_by_name(file, objects[i], "sha256", H5P_DEFAULT);
	H5Fclose(file);
	says(path, "expected checksums (attributes sha256), found none");
}

/* SPDX-License-Identifier: MIT
 *
 * test_results_door.c - HDF5 files that other programs made, valid and meant to do harm: what is
 * let in (host/store/results_door.h). Each is read here and by a child. Damaged ones:
 * tests/fuzz/fuzz_results.c.
 */
#include "host/base/file.h"
#include "host/store/dataset.h"
#include "tests/result_has.h"
#include "tests/test.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <hdf5.h>

/* ---- making files ---------------------------------------------------------------------- */

static hid_t create(const char *name)
{
	return H5Fcreate(in_scratch(name), H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
}

/* Takes space and type, not the properties. `values` may be NULL. */
static void put_shaped(hid_t file, const char *path, hid_t type, hid_t space, hid_t created,
	const void *values)
{
	const hid_t d = H5Dcreate2(file, path, type, space, H5P_DEFAULT, created, H5P_DEFAULT);

	if (d < 0 || (values && H5Dwrite(d, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, values) < 0))
		test_fail(__FILE__, __LINE__, "cannot write %s", path);
	H5Dclose(d);
	H5Sclose(space);
	H5Tclose(type);
}

static void put(hid_t file, const char *path, hid_t type, hsize_t n, const void *values)
{
	put_shaped(file, path, type, H5Screate_simple(1, &n, NULL), H5P_DEFAULT, values);
}

/* Takes space and type. */
static void put_attribute(hid_t object, const char *name, hid_t type, hid_t space,
	const void *value)
{
	const hid_t a = H5Acreate2(object, name, type, space, H5P_DEFAULT, H5P_DEFAULT);

	if (a < 0 || (value && H5Awrite(a, type, value) < 0))
		test_fail(__FILE__, __LINE__, "cannot write %s", name);
	H5Aclose(a);
	H5Sclose(space);
	H5Tclose(type);
}

static hid_t one(void)
{
	return H5Screate(H5S_SCALAR);
}

static hid_t many(hsize_t n)
{
	return H5Screate_simple(1, &n, NULL);
}

static hid_t copy(hid_t type)
{
	return H5Tcopy(type);
}

static hid_t text_type(size_t size)
{
	const hid_t type = H5Tcopy(H5T_C_S1);

	H5Tset_size(type, size);
	H5Tset_cset(type, H5T_CSET_UTF8);
	return type;
}

static hid_t compound_type(void)
{
	const hid_t type = H5Tcreate(H5T_COMPOUND, 8);

	H5Tinsert(type, "a", 0, H5T_NATIVE_INT32);
	H5Tinsert(type, "b", 4, H5T_NATIVE_INT32);
	return type;
}

static hid_t enum_type(void)
{
	const hid_t type = H5Tenum_create(H5T_NATIVE_INT32);

	H5Tenum_insert(type, "one", (int32_t[]){1});
	return type;
}

/* 24 of 32 bits. */
static hid_t narrow_type(void)
{
	const hid_t type = H5Tcopy(H5T_STD_I32LE);

	H5Tset_precision(type, 24);
	return type;
}

/* Of no standard's exponent. */
static hid_t odd_float_type(void)
{
	const hid_t type = H5Tcopy(H5T_IEEE_F32LE);

	H5Tset_ebias(type, 100);
	return type;
}

static char large_text[60000]; /* zeros; of more the library makes no attribute */

static void put_attributes(hid_t file)
{
	const char *texts[3000];
	int32_t numbers[3000] = {0};
	const hsize_t ones[32] = {[0] = 2,
		1,
		1,
		1,
		1,
		1,
		1,
		1,
		1,
		1,
		1,
		1,
		1,
		1,
		1,
		1,
		1,
		1,
		1,
		1,
		1,
		1,
		1,
		1,
		1,
		1,
		1,
		1,
		1,
		1,
		1,
		1};

	for (size_t i = 0; i < 3000; i++)
		texts[i] = "x";
	put_attribute(file, "texts", text_type(H5T_VARIABLE), many(3000), texts);
	put_attribute(file, "numbers", copy(H5T_NATIVE_INT32), many(3000), numbers);
	put_attribute(file, "array", H5Tarray_create2(H5T_NATIVE_INT32, 1, (hsize_t[]){3000}),
		one(), numbers);
	put_attribute(file, "fixed", text_type(sizeof large_text), one(), large_text);
	put_attribute(file, "compound", compound_type(), one(), numbers);
	put_attribute(file, "enum", enum_type(), one(), numbers);
	put_attribute(file, "vlen", H5Tvlen_create(H5T_NATIVE_INT32), one(),
		&(hvl_t){3000, numbers});
	put_attribute(file, "reference", copy(H5T_STD_REF_OBJ), one(), NULL);
	put_attribute(file, "opaque", H5Tcreate(H5T_OPAQUE, 8), one(), numbers);
	put_attribute(file, "null", copy(H5T_NATIVE_INT32), H5Screate(H5S_NULL), NULL);
	put_attribute(file, "deep", copy(H5T_NATIVE_INT32), H5Screate_simple(32, ones, NULL),
		numbers);
	put_attribute(file, "none", text_type(H5T_VARIABLE), many(0), NULL);
	put_attribute(file, "large", copy(H5T_NATIVE_UINT64), one(),
		&(uint64_t){UINT64_C(1) << 63});
	put_attribute(file, "real", copy(H5T_NATIVE_DOUBLE), one(), &(double){1});
	put_attribute(file, "latin", text_type(H5T_VARIABLE), one(), &(const char *){"\xe9"});
	put_attribute(file, "narrow", narrow_type(), one(), numbers);
}

static void each_way(const char *path, void (*check)(struct results_reader *r))
{
	struct results_reader *r;
	struct err err;

	REQUIRE_OK(results_open(&r, path, &err), &err);
	check(r);
	results_reader_close(r);
	REQUIRE_OK(results_open_foreign(&r, path, &err), &err);
	check(r);
	results_reader_close(r);
}

/* ---- attributes ------------------------------------------------------------------------ */

static void refuse_attributes(struct results_reader *r)
{
	static const char *const names[] = {"texts", "numbers", "array", "fixed", "compound",
		"enum", "vlen", "reference", "opaque", "null", "deep", "none", "large", "real",
		"latin", "narrow", "no such"};
	struct err err = {0};

	for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
		int64_t value = 7;
		char *text;

		CHECK(results_read_attribute_integer(r, "/", names[i], &value, &err) == ERR_INPUT &&
				value == 7 && strstr(err.text, "expected an integer attribute"),
			"%s as an integer: %s", names[i], err.text);
		CHECK(results_read_attribute_text(r, "/", names[i], &text, &err) == ERR_INPUT &&
				!text && strstr(err.text, "expected a text attribute"),
			"%s as a text: %s", names[i], err.text);
	}
}

static void read_attributes(struct results_reader *r)
{
	int64_t value = 7;
	struct err err;
	char *text;

	REQUIRE_OK(results_read_attribute_integer(r, "/", "byte", &value, &err), &err);
	CHECK(value == -3, "%lld", (long long)value);
	REQUIRE_OK(results_read_attribute_integer(r, "/", "big", &value, &err), &err);
	CHECK(value == 515, "%lld", (long long)value);
	REQUIRE_OK(results_read_attribute_text(r, "/", "word", &text, &err), &err);
	CHECK(strcmp(text, "na\xc3\xafve") == 0, "%s", text);
	free(text);
}

TEST(an_attribute_is_one_integer_or_text_and_nothing_else_is_read)
{
	const hid_t file = create("attributes.h5");

	put_attributes(file);
	put_attribute(file, "byte", copy(H5T_STD_I8LE), one(), &(int8_t){-3});
	put_attribute(file, "big", copy(H5T_STD_U16BE), many(1), (unsigned char[]){2, 3});
	put_attribute(file, "word", text_type(H5T_VARIABLE), one(),
		&(const char *){"na\xc3\xafve"});
	H5Fclose(file);
	each_way(in_scratch("attributes.h5"), refuse_attributes);
	each_way(in_scratch("attributes.h5"), read_attributes);
}

/* ---- datasets -------------------------------------------------------------------------- */

static void put_stored(hid_t file)
{
	const hid_t vast = H5Pcreate(H5P_DATASET_CREATE), bomb = H5Pcreate(H5P_DATASET_CREATE),
		    twice = H5Pcreate(H5P_DATASET_CREATE), unknown = H5Pcreate(H5P_DATASET_CREATE),
		    nbit = H5Pcreate(H5P_DATASET_CREATE), outside = H5Pcreate(H5P_DATASET_CREATE);
	const hsize_t small = 4, huge = (hsize_t)1 << 29, extent = (hsize_t)1 << 60;

	H5Pset_chunk(vast, 1, &small);
	H5Pset_deflate(vast, 1);
	put_shaped(file, "/vast", copy(H5T_STD_I32LE), many(extent), vast, NULL);
	H5Pset_chunk(bomb, 1, &huge);
	H5Pset_deflate(bomb, 1);
	put_shaped(file, "/bomb", copy(H5T_STD_I32LE), many(huge), bomb, NULL);
	H5Pset_chunk(twice, 1, &small);
	H5Pset_deflate(twice, 1);
	H5Pset_deflate(twice, 1);
	put_shaped(file, "/twice", copy(H5T_STD_I32LE), many(4), twice, (int32_t[]){1, 2, 3, 4});
	H5Pset_chunk(unknown, 1, &small);
	H5Pset_filter(unknown, 30000, H5Z_FLAG_OPTIONAL, 0, NULL);
	put_shaped(file, "/unknown", copy(H5T_STD_I32LE), many(4), unknown, NULL);
	H5Pset_chunk(nbit, 1, &small);
	H5Pset_nbit(nbit);
	put_shaped(file, "/nbit", copy(H5T_STD_I32LE), many(4), nbit, (int32_t[]){1, 2, 3, 4});
	H5Pset_external(outside, "/etc/hostname", 0, 8);
	put_shaped(file, "/outside", copy(H5T_STD_I32LE), many(2), outside, NULL);
	H5Pclose(vast);
	H5Pclose(bomb);
	H5Pclose(twice);
	H5Pclose(unknown);
	H5Pclose(nbit);
	H5Pclose(outside);
}

static void put_strange(hid_t file)
{
	const int32_t numbers[8] = {1};
	hsize_t ones[32];

	for (size_t i = 0; i < 32; i++)
		ones[i] = 1;
	put(file, "/fixed", text_type((size_t)1 << 30), 1, NULL);
	put(file, "/short", text_type(8), 1, "abcdefgh");
	put(file, "/compound", compound_type(), 1, numbers);
	put(file, "/enum", enum_type(), 1, numbers);
	put(file, "/vlen", H5Tvlen_create(H5T_NATIVE_INT32), 1, &(hvl_t){1, (void *)numbers});
	put(file, "/reference", copy(H5T_STD_REF_OBJ), 1, NULL);
	put(file, "/opaque", H5Tcreate(H5T_OPAQUE, 8), 1, numbers);
	put(file, "/bits", copy(H5T_STD_B32LE), 1, numbers);
	put(file, "/array", H5Tarray_create2(H5T_NATIVE_INT32, 1, (hsize_t[]){2}), 1, numbers);
	put(file, "/narrow", narrow_type(), 1, numbers);
	put(file, "/odd", odd_float_type(), 1, numbers);
	put_shaped(file, "/null", copy(H5T_STD_I32LE), H5Screate(H5S_NULL), H5P_DEFAULT, NULL);
	put_shaped(file, "/deep", copy(H5T_STD_I32LE), H5Screate_simple(32, ones, NULL),
		H5P_DEFAULT, numbers);
	put(file, "/unwritten", copy(H5T_STD_I32LE), 2, NULL);
	put(file, "/good", copy(H5T_STD_I32LE), 2, (int32_t[]){3, 4});
	put(file, "/texts", text_type(H5T_VARIABLE), 2, (const char *[]){"a", "b"});
}

static void put_links(hid_t file)
{
	H5Lcreate_soft("/good", file, "/soft", H5P_DEFAULT, H5P_DEFAULT);
	H5Lcreate_soft("/nowhere", file, "/dangling", H5P_DEFAULT, H5P_DEFAULT);
	H5Lcreate_soft("/round", file, "/round", H5P_DEFAULT, H5P_DEFAULT);
	H5Lcreate_soft("/", file, "/up", H5P_DEFAULT, H5P_DEFAULT);
	H5Lcreate_external(in_scratch("datasets.h5"), "/good", file, "/away", H5P_DEFAULT,
		H5P_DEFAULT);
	H5Gclose(H5Gcreate2(file, "/group", H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT));
	H5Lcreate_hard(file, "/", file, "/group/back", H5P_DEFAULT, H5P_DEFAULT);
	H5Lcreate_hard(file, "/group", file, "/group/self", H5P_DEFAULT, H5P_DEFAULT);
}

static void refuse_datasets(struct results_reader *r)
{
	static const struct {
		const char *path, *message;
	} cases[] = {
		{"/fixed", "/fixed: expected integers, found another type"},
		{"/short", "/short: expected integers, found another type"},
		{"/compound", "/compound: expected integers, found another type"},
		{"/enum", "/enum: expected integers, found another type"},
		{"/vlen", "/vlen: expected integers, found another type"},
		{"/reference", "/reference: expected integers, found another type"},
		{"/opaque", "/opaque: expected integers, found another type"},
		{"/bits", "/bits: expected integers, found another type"},
		{"/array", "/array: expected integers, found another type"},
		{"/narrow", "/narrow: expected integers, found another type"},
		{"/odd", "/odd: expected integers, found another type"},
		{"/null", "/null: expected values, found no extent"},
		{"/deep", "/deep: expected 1 dimensions, found 32"},
		{"/unwritten",
			"/unwritten: said to hold 8 bytes, which its 0 bytes of storage cannot"},
		{"/vast",
			"/vast: said to hold 4611686018427387904 bytes, which its 0 bytes of storage cannot"},
		{"/bomb", "/bomb: expected chunks of at most 1073741824 bytes, found one of "
			  "2147483648"},
		{"/twice", "/twice: expected values deflated once, found twice"},
		{"/unknown",
			"/unknown: expected no filters but deflate, shuffle and fletcher32, found "
			"number 30000"},
		{"/nbit", "/nbit: expected no filters but deflate, shuffle and fletcher32, found "
			  "number 5"},
		{"/outside",
			"/outside: expected a dataset of this file, found one stored in another"},
		{"/soft", "/soft: expected a dataset, found a link"},
		{"/dangling", "/dangling: expected a dataset, found a link"},
		{"/round", "/round: expected a dataset, found a link"},
		{"/up/good", "/up/good: expected a dataset, found a link"},
		{"/away", "/away: expected a dataset, found a link"},
		{"/group", "/group: expected a dataset, found a group"},
		{"/", "/: expected a dataset, found a group"},
		{"/good/x", "expected a dataset /good/x, found none"},
		{"good", "expected a dataset good, found none"},
		{"", "expected a dataset , found none"},
	};

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		int32_t *ints = NULL;
		char **texts;
		struct err err = {0};
		size_t n;
		const int rc = results_read_ints(r, cases[i].path, 1, &n, &ints, &err);
		const char *message = strstr(err.text, "datasets.h5: ");

		CHECK(rc == ERR_INPUT && !ints && message &&
				strcmp(message + 13, cases[i].message) == 0,
			"%s: %s", cases[i].path, err.text);
		CHECK(results_read_texts(r, cases[i].path, &n, &texts, &err) == ERR_INPUT && !texts,
			"%s was read as texts", cases[i].path);
	}
}

static void read_datasets(struct results_reader *r)
{
	int32_t *ints = NULL;
	struct err err;
	size_t n;

	REQUIRE_OK(results_read_ints(r, "/good", 1, &n, &ints, &err), &err);
	CHECK(n == 2 && ints[0] == 3 && ints[1] == 4, "%zu values", n);
	free(ints);
	REQUIRE_OK(results_read_ints(r, "/group/self/back/good", 1, &n, &ints, &err), &err);
	CHECK(n == 2 && ints[0] == 3 && ints[1] == 4, "%zu values", n);
	free(ints);
	CHECK(results_read_all(r, "/good", RESULTS_I64, (void **)&ints, &n, &err) == ERR_INPUT &&
			!ints && strstr(err.text, "/good: expected values of another type"),
		"read as it is not stored: %s", err.text);
	CHECK(result_has(r, "/good") && result_has(r, "/group") && !result_has(r, "/good/x") &&
			!result_has(r, "/nothing") && !result_has(r, ""),
		"has is wrong");
}

static void write_datasets(void)
{
	const hid_t file = create("datasets.h5");

	put_strange(file);
	put_stored(file);
	put_links(file);
	H5Fclose(file);
}

TEST(a_dataset_of_strange_type_shape_storage_or_place_is_refused_for_what_it_is)
{
	write_datasets();
	each_way(in_scratch("datasets.h5"), refuse_datasets);
	each_way(in_scratch("datasets.h5"), read_datasets);
}

/* ---- virtual datasets ------------------------------------------------------------------- */

/* "/x", all rows of a file each; `file` may be any name. */
static void put_virtual(hid_t to, const char *path, const char *const *files, size_t n_files,
	const char *dataset, hsize_t rows)
{
	const hid_t created = H5Pcreate(H5P_DATASET_CREATE), space = many(rows * n_files),
		    source = many(rows);

	for (size_t i = 0; i < n_files; i++) {
		const hsize_t start = i * rows;

		H5Sselect_hyperslab(space, H5S_SELECT_SET, &start, NULL, &rows, NULL);
		H5Pset_virtual(created, space, files[i], dataset, source);
	}
	H5Sselect_all(space);
	put_shaped(to, path, copy(H5T_STD_I32LE), space, created, NULL);
	H5Sclose(source);
	H5Pclose(created);
}

/* Its extent is that of a source without end. */
static void put_endless(hid_t to, const char *path, const char *source_file)
{
	const hid_t created = H5Pcreate(H5P_DATASET_CREATE);
	const hsize_t now = 2, most = H5S_UNLIMITED, start = 0, one_block = 1, all = H5S_UNLIMITED;
	const hid_t space = H5Screate_simple(1, &now, &most),
		    source = H5Screate_simple(1, &now, &most);

	H5Sselect_hyperslab(space, H5S_SELECT_SET, &start, NULL, &one_block, &all);
	H5Sselect_hyperslab(source, H5S_SELECT_SET, &start, NULL, &one_block, &all);
	H5Pset_virtual(created, space, source_file, path, source);
	H5Sselect_all(space);
	put_shaped(to, path, copy(H5T_STD_I32LE), space, created, NULL);
	H5Sclose(source);
	H5Pclose(created);
}

static void write_unit(const char *name, int32_t first)
{
	const hid_t file = create(name);

	put(file, "/x", copy(H5T_STD_I32LE), 2, (int32_t[]){first, first + 1});
	put(file, "/reals", copy(H5T_IEEE_F32LE), 2, (float[]){1, 2});
	put_virtual(file, "/again", (const char *[]){"."}, 1, "/x", 2);
	H5Fclose(file);
}

static void read_virtual(struct results_reader *r)
{
	int32_t *x = NULL;
	struct err err;
	size_t n;

	REQUIRE_OK(results_read_ints(r, "/x", 1, &n, &x, &err), &err);
	CHECK(n == 4 && x[0] == 10 && x[1] == 11 && x[2] == 20 && x[3] == 21, "%zu values", n);
	free(x);
}

static void refuse_virtual(struct results_reader *r)
{
	static const char *const cases[][2] = {
		{"/self", "/self: expected rows of /self in units beside this file, found those of "
			  "/self in \".\""},
		{"/named", "in units beside this file"},
		{"/passwd", "found those of /passwd in \"/etc/passwd\""},
		{"/above", "in \"v.units/../v.units/a/0.h5\""},
		{"/hidden", "in \"v.units/.a/0.h5\""},
		{"/folder", "in \"v.units/a\""},
		{"/numbered", "/numbered: expected sources of all its rows, found 0"},
		{"/link", "in \"v.units/a/link.h5\""},
		{"/elsewhere", "in \"v.units/link/0.h5\""},
		{"/missing", "in \"v.units/a/9.h5\""},
		{"/other", "expected rows of /other in units beside this file, found those of /x"},
		{"/reals", "/reals: expected the 2 rows that "},
		{"/again", "/again: expected the 2 rows that "},
		{"/short", "v.units/a/0.h5: expected a dataset /short, found none"},
		{"/twice", "expected the rows of "},
		{"/endless", "expected sources of a fixed extent, found one without end"},
	};

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		int32_t *x = NULL;
		struct err err = {0};
		size_t n;

		CHECK(results_read_ints(r, cases[i][0], 1, &n, &x, &err) == ERR_INPUT && !x &&
				strstr(err.text, cases[i][1]),
			"%s: %s", cases[i][0], err.text);
	}
}

static void put_hostile_virtual(hid_t file)
{
	static const char *const sources[][2] = {{"/self", "."}, {"/named", "v.h5"},
		{"/passwd", "/etc/passwd"}, {"/above", "v.units/../v.units/a/0.h5"},
		{"/hidden", "v.units/.a/0.h5"}, {"/folder", "v.units/a"},
		{"/numbered", "v.units/a/%b.h5"}, {"/link", "v.units/a/link.h5"},
		{"/elsewhere", "v.units/link/0.h5"}, {"/missing", "v.units/a/9.h5"},
		{"/reals", "v.units/a/0.h5"}, {"/again", "v.units/a/0.h5"},
		{"/short", "v.units/a/0.h5"}};
	const hid_t created = H5Pcreate(H5P_DATASET_CREATE), space = many(4), source = many(2);
	const hsize_t start = 1, two = 2;

	for (size_t i = 0; i < sizeof sources / sizeof *sources; i++)
		put_virtual(file, sources[i][0], &sources[i][1], 1, sources[i][0], 2);
	put_virtual(file, "/other", (const char *[]){"v.units/a/0.h5"}, 1, "/x", 2);
	/* The second over the first's last row. */
	H5Sselect_hyperslab(space, H5S_SELECT_SET, &start, NULL, &two, NULL);
	H5Pset_virtual(created, space, "v.units/a/0.h5", "/twice", source);
	H5Sselect_all(space);
	put_shaped(file, "/twice", copy(H5T_STD_I32LE), space, created, NULL);
	put_endless(file, "/endless", ".");
	H5Sclose(source);
	H5Pclose(created);
}

TEST(a_virtual_dataset_is_read_from_the_units_beside_its_file_and_from_nowhere_else)
{
	static const char *const units[] = {"v.units/a/0.h5", "v.units/a/1.h5"};
	char link[512];
	struct err err;
	hid_t file;

	REQUIRE_OK(folder_make(in_scratch("v.units"), &err), &err);
	REQUIRE_OK(folder_make(in_scratch("v.units/a"), &err), &err);
	write_unit(units[0], 10);
	write_unit(units[1], 20);
	snprintf(link, sizeof link, "%s", in_scratch("v.units/a/link.h5"));
	CHECK(symlink("0.h5", link) == 0, "no link");
	snprintf(link, sizeof link, "%s", in_scratch("v.units/link"));
	CHECK(symlink("a", link) == 0, "no link");
	file = create("v.h5");
	put_virtual(file, "/x", units, 2, "/x", 2);
	put_hostile_virtual(file);
	H5Fclose(file);
	each_way(in_scratch("v.h5"), read_virtual);
	each_way(in_scratch("v.h5"), refuse_virtual);
}

/* ---- listing --------------------------------------------------------------------------- */

/* What --inspect says; to be freed. */
static char *listing_of(const char *path)
{
	char *text = NULL;
	size_t n = 0;
	FILE *to = open_memstream(&text, &n);
	struct err err;

	if (results_inspect(path, to, &err))
		fprintf(to, "error: %s", err.text);
	fclose(to);
	return text;
}

static void expect_in(const char *text, const char *part)
{
	CHECK(strstr(text, part) != NULL, "no \"%s\" in:\n%s", part, text);
}

TEST(a_listing_names_what_it_cannot_read_and_meets_each_object_once)
{
	char *text;

	write_datasets();
	text = listing_of(in_scratch("datasets.h5"));
	expect_in(text, "an HDF5 file that is not of this engine\n");
	expect_in(text, "/good                                                       i32 [2]\n");
	expect_in(text, "/compound                                                   ? [1]\n");
	expect_in(text, "datasets.h5: /unknown: expected no filters but");
	expect_in(text, "\n5 links, which are not followed\n22 datasets, ");
	CHECK(!strstr(text, "/group/"), "a loop was followed");
	free(text);
}

TEST(nothing_in_a_listing_moves_the_cursor_of_a_terminal)
{
	const hid_t file = create("names.h5");
	char *text;

	put(file, "a\x1b[2Jb\nc\x7f", copy(H5T_STD_I32LE), 1, (int32_t[]){1});
	put(file,
		"\xc2\x9b"
		"31m\xff\xe2\x80\xae",
		copy(H5T_STD_I32LE), 1, (int32_t[]){1});
	put(file, "caf\xc3\xa9", copy(H5T_STD_I32LE), 1, (int32_t[]){1});
	put_attribute(file, "title", text_type(H5T_VARIABLE), one(),
		&(const char *){"saengine results"});
	put_attribute(file, "device", text_type(H5T_VARIABLE), one(),
		&(const char *){"x\x1b]0;y\x07"});
	H5Fclose(file);
	text = listing_of(in_scratch("names.h5"));
	expect_in(text, "  /a\\x1b[2Jb\\x0ac\\x7f ");
	expect_in(text, "  /\\xc2\\x9b31m\\xff\\xe2\\x80\\xae ");
	expect_in(text, "  /caf\xc3\xa9 ");
	expect_in(text, "  device             x\\x1b]0;y\\x07\n");
	free(text);
}

TEST(a_listing_ends_however_deep_the_groups_and_however_long_the_names)
{
	char name[2001], *text;
	hid_t file = create("deep.h5"), group = file;

	for (int i = 0; i < 1000; i++) {
		const hid_t next = H5Gcreate2(group, "g", H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);

		if (group != file)
			H5Gclose(group);
		group = next;
	}
	H5Gclose(group);
	H5Fclose(file);
	text = listing_of(in_scratch("deep.h5"));
	expect_in(text, "deep.h5: expected groups nested 32 deep, found more");
	free(text);
	memset(name, 'n', 2000);
	name[2000] = '\0';
	file = create("long.h5");
	put(file, name, copy(H5T_STD_I32LE), 1, (int32_t[]){1});
	H5Fclose(file);
	text = listing_of(in_scratch("long.h5"));
	expect_in(text, "expected names that make paths of at most 1023 bytes, found another");
	free(text);
}

/* ---- files ----------------------------------------------------------------------------- */

TEST(what_is_no_regular_file_or_no_whole_one_is_an_input_error)
{
	char pipe[512], cut[512];
	struct results_reader *r;
	struct err err;

	snprintf(pipe, sizeof pipe, "%s", in_scratch("pipe.h5"));
	snprintf(cut, sizeof cut, "%s", in_scratch("datasets.h5"));
	CHECK(mkfifo(pipe, 0600) == 0, "no pipe");
	CHECK(results_open_foreign(&r, pipe, &err) == ERR_INPUT && !r &&
			strstr(err.text, "expected a regular file, found a "),
		"%s", err.text);
	CHECK(results_open_foreign(&r, in_scratch("."), &err) == ERR_INPUT && !r, "%s", err.text);
	CHECK(results_open_foreign(&r, in_scratch("none.h5"), &err) == ERR_INPUT && !r &&
			strstr(err.text, "found no file"),
		"%s", err.text);
	write_datasets();
	CHECK(truncate(cut, 2000) == 0, "not cut");
	CHECK(results_open_foreign(&r, cut, &err) == ERR_INPUT && !r &&
			strstr(err.text, "expected a result file (HDF5) that can be read"),
		"%s", err.text);
}

/* The first child of this thread, 0 without one. */
static pid_t child_of_this(void)
{
	FILE *f = fopen("/proc/thread-self/children", "r");
	int pid = 0;

	if (!f || fscanf(f, "%d", &pid) != 1)
		pid = 0;
	if (f)
		fclose(f);
	return (pid_t)pid;
}

TEST(where_the_child_has_died_nothing_is_said_to_be_absent)
{
	struct results_reader *r;
	struct err err;
	pid_t child;
	bool has;

	write_datasets();
	REQUIRE_OK(results_open_foreign(&r, in_scratch("datasets.h5"), &err), &err);
	CHECK(result_has(r, "/good"), "has is wrong");
	child = child_of_this();
	REQUIRE(child > 0, "there is no child");
	CHECK(kill(child, SIGKILL) == 0, "not killed");
	for (int i = 0; i < 2; i++)
		CHECK(results_has(r, "/good", &has, &err) == ERR_INPUT && !has &&
				strstr(err.text, "datasets.h5: the HDF5 library could not read it"),
			"%s", err.text);
	results_reader_close(r);
}

/* ---- units ----------------------------------------------------------------------------- */

static const struct {
	struct dataset rows;
} unit_out = {
	.rows = {"/rows", {"row", "column"}, RESULTS_F32, "1", "rows"},
};

/* A unit of two rows so wide, and what is done to it then. */
static void make_unit(size_t width, void (*spoil)(hid_t dataset))
{
	static const float values[8];
	struct dataset_filled filled;
	struct results *unit;
	struct err err;
	hid_t file, dataset;

	REQUIRE_OK(dataset_fill(&filled, &unit_out.rows, NULL, (size_t[]){2, width}, &err), &err);
	filled.d.scales[0] = filled.d.scales[1] = NULL;
	REQUIRE_OK(results_create(&unit, in_scratch("unit.h5"), &err), &err);
	REQUIRE_OK(results_write_rows(unit, &filled.d, values, 2, &err), &err);
	REQUIRE_OK(results_finish(unit, &err), &err);
	if (!spoil)
		return;
	file = H5Fopen(in_scratch("unit.h5"), H5F_ACC_RDWR, H5P_DEFAULT);
	dataset = H5Dopen2(file, "/rows", H5P_DEFAULT);
	spoil(dataset);
	H5Dclose(dataset);
	H5Fclose(file);
}

static int join_unit(struct results *r, struct err *err)
{
	struct results_reader *unit;
	int rc;

	if (results_open(&unit, in_scratch("unit.h5"), err))
		return err->code;
	rc = results_join(r, unit, err);
	results_reader_close(unit);
	return rc;
}

static void make_texts(hid_t dataset)
{
	const char *texts[3000];

	for (size_t i = 0; i < 3000; i++)
		texts[i] = "x";
	H5Adelete(dataset, "units");
	put_attribute(dataset, "units", text_type(H5T_VARIABLE), many(3000), texts);
}

static void make_numbers(hid_t dataset)
{
	static const int64_t numbers[3000];

	H5Adelete(dataset, "compress");
	put_attribute(dataset, "compress", copy(H5T_STD_I64LE), many(3000), numbers);
}

static void make_wider(hid_t dataset)
{
	H5Adelete(dataset, "type");
	put_attribute(dataset, "type", copy(H5T_STD_I64LE), one(), &(int64_t){RESULTS_F64});
}

static void make_ends(hid_t dataset)
{
	H5Adelete(dataset, "ends_of");
	put_attribute(dataset, "ends_of", text_type(H5T_VARIABLE), one(), &(const char *){"/rows"});
}

TEST(a_unit_whose_rows_are_not_as_it_says_or_as_those_before_is_an_input_error)
{
	static void (*const spoils[])(hid_t) = {make_texts, make_numbers, make_wider, make_ends};
	struct results *r;
	struct err err;

	REQUIRE_OK(results_create(&r, in_scratch("joined.h5"), &err), &err);
	make_unit(3, NULL);
	REQUIRE_OK(join_unit(r, &err), &err);
	for (size_t i = 0; i < sizeof spoils / sizeof *spoils; i++) {
		make_unit(3, spoils[i]);
		CHECK(join_unit(r, &err) == ERR_INPUT &&
				strstr(err.text,
					"/rows: expected rows of a unit, found something else"),
			"case %zu: %s", i, err.text);
	}
	make_unit(2, NULL);
	CHECK(join_unit(r, &err) == ERR_INPUT &&
			strstr(err.text, "/rows: expected rows like those of the units before"),
		"%s", err.text);
	make_unit(3, NULL);
	REQUIRE_OK(join_unit(r, &err), &err);
	results_discard(r);
}

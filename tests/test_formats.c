/* SPDX-License-Identifier: MIT
 *
 * test_formats.c - safetensors, npz and JSON: what is read, and the one clear error for each way a
 * file can be wrong. The .npz files were written by NumPy (tests/golden/make_npz.py).
 */
#include "host/base/file.h"
#include "host/base/size.h"
#include "host/formats/json.h"
#include "host/formats/npz.h"
#include "host/formats/safetensors.h"
#include "tests/test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <zlib.h>

/* ---- safetensors ------------------------------------------------------------------------ */

/* A file of this header and so many data bytes (0, 1, 2, ...). Static storage. */
static const void *make_file(const char *header, size_t data_bytes, size_t *n)
{
	static unsigned char bytes[65536];
	const uint64_t length = strlen(header);

	memcpy(bytes, &length, 8);
	memcpy(bytes + 8, header, length);
	for (size_t i = 0; i < data_bytes; i++)
		bytes[8 + length + i] = (unsigned char)i;
	*n = 8 + length + data_bytes;
	return bytes;
}

TEST(safetensors_gives_every_tensor_by_name_with_type_shape_and_bytes)
{
	const char header[] =
		"{\"__metadata__\":{\"format\":\"pt\"},"
		"\"b\":{\"dtype\":\"BF16\",\"shape\":[2,3],\"data_offsets\":[16,28]},"
		"\"a\":{\"dtype\":\"F32\",\"shape\":[4],\"data_offsets\":[0,16]},"
		"\"empty\":{\"dtype\":\"F32\",\"shape\":[0,7],\"data_offsets\":[28,28]},"
		"\"scalar\":{\"dtype\":\"I64\",\"shape\":[],\"data_offsets\":[28,36]},"
		"\"odd\":{\"dtype\":\"F8_E4M3\",\"shape\":[3],\"data_offsets\":[36,39]}}  ";
	struct safetensors *st;
	const struct file_tensor *t;
	struct err err;
	size_t n;
	const void *bytes = make_file(header, 39, &n);

	REQUIRE_OK(safetensors_parse(&st, "x", bytes, n, &err), &err);
	CHECK(safetensors_count(st) == 5, "%zu tensors", safetensors_count(st));
	t = safetensors_find(st, "b");
	REQUIRE(t && t->known && t->dtype == DTYPE_BF16 && t->n_dims == 2 && t->shape[0] == 2 &&
			t->shape[1] == 3 && t->bytes == 12 && t->data[0] == 16,
		"b is not as written");
	t = safetensors_find(st, "odd");
	CHECK(t && !t->known && strcmp(t->type, "F8_E4M3") == 0, "odd is not as written");
	t = safetensors_find(st, "scalar");
	CHECK(t && t->n_dims == 0 && t->bytes == 8, "scalar is not as written");
	CHECK(!safetensors_find(st, "c"), "found a tensor that is not there");
	safetensors_close(st);
}

#define T(fields) "{\"a\":{" fields "}}"

TEST(each_fault_of_a_safetensors_file_has_its_own_message)
{
	static const struct {
		const char *header;
		size_t data;
		const char *message;
	} cases[] = {
		{T("\"dtype\":\"F32\",\"shape\":[4],\"data_offsets\":[0,16]"), 12,
			"x: tensor \"a\": its data ends at byte 16, but the file holds 12 bytes of data "
			"(truncated download?)"},
		{T("\"dtype\":\"F32\",\"shape\":[4],\"data_offsets\":[0,16]"), 20,
			"x: 4 bytes after the last tensor"},
		{T("\"dtype\":\"F32\",\"shape\":[5],\"data_offsets\":[0,16]"), 16,
			"x: tensor \"a\": expected 20 bytes for its shape and type, found 16"},
		{T("\"dtype\":\"F32\",\"shape\":[4],\"data_offsets\":[4,20]"), 20,
			"x: tensor \"a\": expected its data at offset 0, found 4"},
		{T("\"dtype\":\"F32\",\"shape\":[4],\"data_offsets\":[16,0]"), 16,
			"x: tensor \"a\": its data_offsets run backwards"},
		{T("\"dtype\":\"F33\",\"shape\":[4],\"data_offsets\":[0,16]"), 16,
			"x: tensor \"a\": unknown dtype \"F33\""},
		{T("\"dtype\":\"F4\",\"shape\":[3],\"data_offsets\":[0,1]"), 1,
			"x: tensor \"a\": its elements do not fill whole bytes"},
		{T("\"dtype\":\"F32\",\"shape\":[-4],\"data_offsets\":[0,16]"), 16,
			"x: tensor \"a\": expected non-negative integers in shape"},
		{T("\"dtype\":\"F32\",\"shape\":[4.0],\"data_offsets\":[0,16]"), 16,
			"x: tensor \"a\": expected non-negative integers in shape"},
		{T("\"dtype\":\"F32\",\"shape\":[4611686018427387904,16],\"data_offsets\":[0,16]"),
			16, "x: tensor \"a\": its shape overflows"},
		{T("\"dtype\":\"F32\",\"shape\":[4],\"data_offsets\":[0]"), 16,
			"x: tensor \"a\": expected two integers as data_offsets"},
		{T("\"dtype\":\"F32\",\"data_offsets\":[0,16]"), 16,
			"x: tensor \"a\": expected an array as shape"},
		{T("\"shape\":[4],\"data_offsets\":[0,16]"), 16,
			"x: tensor \"a\": expected a string as dtype"},
		{"{\"a\":3}", 0, "x: tensor \"a\": expected an object"},
		{"{\"a\":{},\"a\":{}}", 0,
			"x:1:11: not valid JSON: duplicate object key near '\"a\"'"},
		{"{\"__metadata__\":[]}", 0, "x: __metadata__: expected an object, found an array"},
		{"{\"__metadata__\":{\"a\":1}}", 0,
			"x: __metadata__: expected a string \"a\", found an integer"},
		{T("\"dtype\":\"F32\\u0000\",\"shape\":[4],\"data_offsets\":[0,16]"), 16,
			"x: tensor \"a\": expected a string as dtype"},
		{T("\"dtype\":\"F32\",\"shape\":[99999999999999999999],\"data_offsets\":[0,16]"),
			16, "x:1:49: not valid JSON: too big integer near '99999999999999999999'"},
		{"{\"\xff\":{}}", 0, "x:1:2: not valid JSON: unable to decode byte 0xff near '\"'"},
		{"{\"a\\u0000\":{}}", 0,
			"x:1:10: not valid JSON: NUL byte in object key not supported near '\"a\\u0000\"'"},
		{"{}", 3, "x: 3 bytes after the last tensor"},
		{"[]", 0, "x: expected a safetensors header beginning with '{'"},
		{"{\"a\":", 0, "x:1:5: not valid JSON: unexpected token near end of file"},
		{"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]},"
		 "\"b\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[4,12]}}",
			12, "x: tensor \"b\": expected its data at offset 8, found 4"},
	};

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct safetensors *st;
		struct err err = {0};
		size_t n;
		const void *bytes = make_file(cases[i].header, cases[i].data, &n);

		CHECK(safetensors_parse(&st, "x", bytes, n, &err) == ERR_INPUT && !st &&
				strcmp(err.text, cases[i].message) == 0,
			"case %zu: \"%s\"", i, err.text);
	}
}

TEST(a_header_longer_than_its_file_and_a_git_lfs_pointer_are_told_apart)
{
	static const unsigned char huge[] = {255, 255, 255, 255, 255, 255, 255, 255, '{', '}'};
	const char lfs[] = "version https://git-lfs.github.com/spec/v1\noid sha256:abc\nsize 1\n";
	struct safetensors *st;
	struct err err;

	static const unsigned char cut[] = {40, 0, 0, 0, 0, 0, 0, 0, '{', '}'};

	CHECK(safetensors_parse(&st, "x", huge, sizeof huge, &err) == ERR_INPUT &&
			strcmp(err.text,
				"x: expected a safetensors header of at most 100000000 bytes, "
				"found a length of 18446744073709551615 (another format?)") == 0,
		"%s", err.text);
	CHECK(safetensors_parse(&st, "x", cut, sizeof cut, &err) == ERR_INPUT &&
			strcmp(err.text,
				"x: expected a safetensors header of 40 bytes, found 2 (truncated "
				"download?)") == 0,
		"%s", err.text);
	CHECK(safetensors_parse(&st, "x", huge, 3, &err) == ERR_INPUT &&
			strcmp(err.text,
				"x: expected a safetensors header of 8 bytes and more, found a "
				"file of 3") == 0,
		"%s", err.text);
	CHECK(safetensors_parse(&st, "x", lfs, sizeof lfs - 1, &err) == ERR_INPUT &&
			strstr(err.text, "git-lfs pointer"),
		"%s", err.text);
}

static void write_file(const char *folder, const char *name, const void *bytes, size_t n)
{
	char *path = path_join(folder, name);
	FILE *file = fopen(path, "wb");

	if (!file || fwrite(bytes, 1, n, file) != n)
		test_fail(__FILE__, __LINE__, "cannot write %s", path);
	if (file)
		fclose(file);
	free(path);
}

TEST(an_index_is_followed_to_its_shards_and_not_beyond_its_folder)
{
	static const struct {
		const char *index, *message;
	} cases[] = {
		{"{\"weight_map\":{\"a\":\"one.safetensors\"}}", NULL},
		{"{\"weight_map\":{\"b\":\"one.safetensors\"}}",
			"tensor \"b\" is not in one.safetensors as listed"},
		{"{\"weight_map\":{\"a\":\"../one.safetensors\"}}",
			"expected the plain file name of a shard, found ../one.safetensors"},
		{"{\"weight_map\":{\"a\":\"/etc/passwd\"}}",
			"expected the plain file name of a shard, found /etc/passwd"},
		{"{\"weight_map\":{\"a\":\"..\\\\one.safetensors\"}}",
			"expected the plain file name of a shard, found ..\\one.safetensors"},
		{"{\"weight_map\":{\"a\":\"one.safetensors\\u0000x\"}}",
			"expected the plain file name of a shard, found one.safetensors"},
		{"{\"weight_map\":{\"a\":\"\"}}",
			"expected the plain file name of a shard, found "},
		{"{\"weight_map\":{\"a\":\"one.safetensors\",\"a\":\"one.safetensors\"}}",
			"duplicate object key"},
		{"{\"weight_map\":{\"a\":\"one.safetensors\",\"b\":\"ab.safetensors\"}}",
			"ab.safetensors: tensor \"a\" is also in "},
		{"version https://git-lfs.github.com/spec/v1\n", "this is a git-lfs pointer"},
		{"{\"weight_map\":{\"a\":\"pointer.safetensors\"}}",
			"pointer.safetensors: this is a git-lfs pointer"},
		{"{\"weight_map\":{\"a\":3}}",
			"expected the plain file name of a shard, found an integer"},
		{"{\"weight_map\":{\"a\":\"two.safetensors\"}}", "No such file"},
		{"{}", "expected an object \"weight_map\", found nothing"},
	};
	char folder[256];
	size_t n;
	const void *bytes;

	snprintf(folder, sizeof folder, "%s/shards", test_scratch_folder());
	mkdir(folder, 0777);
	bytes = make_file(T("\"dtype\":\"F32\",\"shape\":[4],\"data_offsets\":[0,16]"), 16, &n);
	write_file(folder, "one.safetensors", bytes, n);
	bytes = make_file("{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]},"
			  "\"b\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[1,2]}}",
		2, &n);
	write_file(folder, "ab.safetensors", bytes, n);
	write_file(folder, "pointer.safetensors", "version https://git-lfs.github.com/spec/v1\n",
		43);
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct safetensors_folder *f;
		struct err err = {0};
		int rc;

		write_file(folder, "model.safetensors.index.json", cases[i].index,
			strlen(cases[i].index));
		rc = safetensors_folder_open(&f, folder, &err);
		if (cases[i].message) {
			CHECK(rc == ERR_INPUT && strstr(err.text, cases[i].message),
				"case %zu: \"%s\"", i, err.text);
			continue;
		}
		REQUIRE(rc == 0, "%s", err.text);
		CHECK(safetensors_folder_find(f, "a") && safetensors_folder_files(f) == 2,
			"case %zu: the shard was not opened", i);
		safetensors_folder_close(f);
	}
}

TEST(a_single_file_counts_before_an_index_and_what_is_left_alone_is_named)
{
	static const char index[] = "{\"weight_map\":{\"a\":\"model-1.safetensors\"}}";
	struct safetensors_folder *f;
	struct err err = {0};
	char folder[256];
	size_t n;
	const void *bytes;

	snprintf(folder, sizeof folder, "%s/stale", test_scratch_folder());
	mkdir(folder, 0777);
	CHECK(!safetensors_folder_exists(folder), "an empty folder has weights");
	write_file(folder, "model.safetensors.index.json", index, strlen(index));
	bytes = make_file("{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]}}", 1, &n);
	write_file(folder, "model-1.safetensors", bytes, n);
	write_file(folder, "training_args.bin", bytes, n);
	REQUIRE(safetensors_folder_open(&f, folder, &err) == 0, "%s", err.text);
	CHECK(strcmp(safetensors_folder_left(f), "") == 0, "%s", safetensors_folder_left(f));
	safetensors_folder_close(f);

	bytes = make_file("{\"b\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]}}", 1, &n);
	write_file(folder, "model.safetensors", bytes, n);
	REQUIRE(safetensors_folder_open(&f, folder, &err) == 0, "%s", err.text);
	CHECK(safetensors_folder_exists(folder) && safetensors_folder_find(f, "b") &&
			!safetensors_folder_find(f, "a") && safetensors_folder_files(f) == 1,
		"the shards were read");
	CHECK(strcmp(safetensors_folder_at(f, 0)->name, "b") == 0 && !safetensors_folder_at(f, 1),
		"not one tensor");
	CHECK(strcmp(safetensors_folder_left(f),
		      "model-1.safetensors, model.safetensors.index.json") == 0,
		"%s", safetensors_folder_left(f));
	safetensors_folder_close(f);

	/* Of an adapter that is applied nothing is left; without its config none is applied. */
	write_file(folder, "adapter_model.safetensors", bytes, n);
	REQUIRE(safetensors_folder_open(&f, folder, &err) == 0, "%s", err.text);
	CHECK(strstr(safetensors_folder_left(f), "adapter_model.safetensors, model-1"), "%s",
		safetensors_folder_left(f));
	safetensors_folder_close(f);
	write_file(folder, "adapter_config.json", "{}", 2);
	REQUIRE(safetensors_folder_open(&f, folder, &err) == 0, "%s", err.text);
	CHECK(!strstr(safetensors_folder_left(f), "adapter"), "%s", safetensors_folder_left(f));
	safetensors_folder_close(f);
}

TEST(a_folder_without_safetensors_says_what_is_there_instead)
{
	struct safetensors_folder *f;
	struct err err;
	char folder[256], expected[512];

	snprintf(folder, sizeof folder, "%s/pickled", test_scratch_folder());
	CHECK(safetensors_folder_open(&f, folder, &err) == ERR_INPUT &&
			strstr(err.text, "no such folder"),
		"%s", err.text);
	mkdir(folder, 0777);
	snprintf(expected, sizeof expected,
		"%s: expected model.safetensors or model.safetensors.index.json, found neither",
		folder);
	CHECK(safetensors_folder_open(&f, folder, &err) == ERR_INPUT &&
			strcmp(err.text, expected) == 0,
		"%s", err.text);
	write_file(folder, "pytorch_model.bin", "PK", 2);
	CHECK(safetensors_folder_open(&f, folder, &err) == ERR_INPUT &&
			strstr(err.text, "found only pytorch_model.bin; convert to safetensors"),
		"%s", err.text);
	for (int i = 1; i <= 4; i++) {
		char name[64];

		snprintf(name, sizeof name, "model-0000%d-of-00004.safetensors", i);
		write_file(folder, name, "x", 1);
	}
	CHECK(safetensors_folder_open(&f, folder, &err) == ERR_INPUT &&
			strstr(err.text, "-00003-of-00004.safetensors and 2 more") &&
			!strstr(err.text, "convert"),
		"%s", err.text);
}

/* ---- npz -------------------------------------------------------------------------------- */

static int open_npz(struct npz **npz, const char *name, struct err *err)
{
	char path[512];

	snprintf(path, sizeof path, "%s/tests/golden/npz/%s.npz", test_source_root(), name);
	return npz_open(npz, path, err);
}

TEST(arrays_of_stored_and_deflated_archives_are_what_numpy_wrote)
{
	for (int deflated = 0; deflated <= 1; deflated++) {
		struct npz *npz;
		struct file_tensor t;
		struct err err;

		REQUIRE_OK(open_npz(&npz, deflated ? "deflated" : "stored", &err), &err);
		REQUIRE_OK(npz_read(npz, "a", &t, &err), &err);
		CHECK(t.n_dims == 2 && t.shape[0] == 3 && t.shape[1] == 4 && t.dtype == DTYPE_F32 &&
				!t.column_major,
			"a has another shape or type");
		for (size_t i = 0; i < 12; i++) {
			float value;

			memcpy(&value, t.data + 4 * i, 4);
			CHECK(value == (float)i, "a[%zu] is %g", i, (double)value);
		}
		REQUIRE_OK(npz_read(npz, "half", &t, &err), &err);
		CHECK(t.dtype == DTYPE_F16 && f16_to_f32(read_u16(t.data)) == 0.5f &&
				f16_to_f32(read_u16(t.data + 2)) == -2,
			"half differs");
		REQUIRE_OK(npz_read(npz, "scalar", &t, &err), &err);
		CHECK(t.n_dims == 0 && t.dtype == DTYPE_F64 && t.bytes == 8, "scalar differs");
		npz_close(npz);
	}
}

TEST(an_array_in_fortran_order_is_marked)
{
	struct npz *npz;
	struct file_tensor t;
	struct err err;
	float second;

	REQUIRE_OK(open_npz(&npz, "fortran", &err), &err);
	REQUIRE_OK(npz_read(npz, "a", &t, &err), &err);
	memcpy(&second, t.data + 4, 4);
	CHECK(t.column_major && second == 4, "a is not marked, or lies otherwise");
	npz_close(npz);
}

TEST(damaged_truncated_and_pickled_archives_are_refused)
{
	static const struct {
		const char *name, *array, *message;
	} cases[] = {
		{"pickled", "a", "array \"a\" holds pickled Python objects, which are not read"},
		{"truncated", NULL, "not a readable .npz: no ZIP directory at its end"},
		{"damaged", "a", "array \"a\":"},
		{"stored", "c", "expected an array \"c\", found none"},
	};

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct npz *npz = NULL;
		struct file_tensor t;
		struct err err = {0};
		int rc = open_npz(&npz, cases[i].name, &err);

		if (rc == 0 && cases[i].array)
			rc = npz_read(npz, cases[i].array, &t, &err);
		CHECK(rc == ERR_INPUT && strstr(err.text, cases[i].message), "%s: \"%s\"",
			cases[i].name, err.text);
		npz_close(npz);
	}
}

/* Whether both give the same arrays, byte for byte; `tried` may refuse some. */
static bool gives_the_same(struct npz *tried, struct npz *known, size_t *refused)
{
	bool same = npz_count(tried) == npz_count(known);

	for (size_t k = 0; same && k < npz_count(known); k++) {
		struct file_tensor t, expected;
		struct err err;

		same = npz_read(known, npz_name(known, k), &expected, &err) == 0 &&
		       strcmp(npz_name(tried, k), npz_name(known, k)) == 0;
		if (npz_read(tried, npz_name(tried, k), &t, &err)) {
			++*refused;
			continue;
		}
		same = same && t.dtype == expected.dtype && t.n_dims == expected.n_dims &&
		       memcmp(t.shape, expected.shape, sizeof t.shape) == 0 &&
		       t.bytes == expected.bytes && memcmp(t.data, expected.data, t.bytes) == 0;
	}
	return same;
}

/* This test also runs under AddressSanitizer. */
TEST(an_archive_with_any_one_byte_changed_is_refused_or_reads_as_before)
{
	for (int deflated = 0; deflated <= 1; deflated++) {
		struct file_map map;
		struct npz *known;
		struct err err;
		char path[512];
		unsigned char *bytes;
		size_t refused = 0;

		snprintf(path, sizeof path, "%s/tests/golden/npz/%s.npz", test_source_root(),
			deflated ? "deflated" : "stored");
		REQUIRE_OK(file_map_open(&map, path, &err), &err);
		REQUIRE_OK(npz_parse(&known, "known", map.data, map.size, &err), &err);
		bytes = malloc(map.size);
		for (size_t i = 0; i < map.size; i++) {
			for (int change = 1; change < 256; change += 61) {
				struct npz *npz;

				memcpy(bytes, map.data, map.size);
				bytes[i] ^= (unsigned char)change;
				if (npz_parse(&npz, "x", bytes, map.size, &err)) {
					refused++;
					continue;
				}
				CHECK(gives_the_same(npz, known, &refused),
					"%s: byte %zu changed by %d", path, i, change);
				npz_close(npz);
			}
		}
		CHECK(refused > 100, "only %zu changes were noticed", refused);
		free(bytes);
		npz_close(known);
		file_map_close(&map);
	}
}

TEST(a_member_longer_than_a_piece_of_its_checksum_is_checked_to_its_last_byte)
{
	enum { N = 10 << 20 };
	static const char header[] =
		"{'descr': '<f4', 'fortran_order': False, 'shape': (2621440,), }\n";
	const uint16_t length = sizeof header - 1;
	unsigned char *bytes = calloc(1, N + 512), *npy = bytes + 35;
	const size_t unpacked = 10u + length + N;
	uint32_t crc, sizes = (uint32_t)unpacked, at = (uint32_t)(35 + unpacked);
	unsigned char *e = bytes + at;

	/* One stored member "a.npy", its entry and the end record. */
	REQUIRE(bytes, "out of memory");
	memcpy(bytes, "PK\3\4", 4);
	bytes[26] = 5;
	memcpy(bytes + 30, "a.npy", 5);
	memcpy(npy, "\x93NUMPY\x01\x00", 8);
	memcpy(npy + 8, &length, 2);
	memcpy(npy + 10, header, length);
	for (size_t i = 0; i < N; i++)
		npy[10 + length + i] = (unsigned char)(i * 2654435761u >> 13);
	crc = (uint32_t)crc32(0, npy, (uInt)unpacked);
	memcpy(e, "PK\1\2", 4);
	memcpy(e + 16, &crc, 4);
	memcpy(e + 20, &sizes, 4);
	memcpy(e + 24, &sizes, 4);
	e[28] = 5;
	memcpy(e + 46, "a.npy", 5);
	memcpy(e + 51, "PK\5\6\0\0\0\0\1\0\1\0\63\0\0\0", 16);
	memcpy(e + 67, &at, 4);
	for (int damaged = 0; damaged <= 1; damaged++) {
		struct npz *npz;
		struct file_tensor t;
		struct err err = {0};
		char text[128];

		npy[unpacked - 1] ^= (unsigned char)damaged;
		snprintf(text, sizeof text,
			"x: array \"a\": expected the CRC-32 %08x of the archive's directory, found "
			"%08x (damaged download?)",
			crc, (uint32_t)crc32(0, npy, (uInt)unpacked));
		REQUIRE_OK(npz_parse(&npz, "x", bytes, at + 73, &err), &err);
		npz_use_threads(npz, 3);
		CHECK(npz_read(npz, "a", &t, &err) == (damaged ? ERR_INPUT : 0) &&
				(!damaged || strcmp(err.text, text) == 0),
			"%s", err.text);
		npz_close(npz);
	}
	free(bytes);
}

/* ---- archives made here ------------------------------------------------------------------ */

struct archive {
	unsigned char bytes[1 << 18];
	size_t n;
};

static void put(struct archive *a, const void *bytes, size_t n)
{
	memcpy(a->bytes + a->n, bytes, n);
	a->n += n;
}

static void put_number(struct archive *a, uint64_t value, size_t bytes)
{
	for (size_t i = 0; i < bytes; i++)
		a->bytes[a->n++] = i < 8 ? (unsigned char)(value >> 8 * i) : 0;
}

/* What a test says of one member, in its directory entry. */
struct entry {
	const char *name;
	size_t name_bytes;             /* 0 = strlen(name) */
	const char *header;            /* .npy dictionary */
	size_t data, packed, unpacked; /* bytes of numbers behind it; 0 = as they are */
	unsigned method, flags;
	bool deflate;
	uint32_t crc_off;  /* added to the CRC-32 */
	const char *local; /* the name before the member itself; NULL = the same */
};

static size_t make_npy(unsigned char *to, const char *header, size_t data)
{
	const uint16_t length = (uint16_t)strlen(header);

	memcpy(to, "\x93NUMPY\x01\x00", 8);
	memcpy(to + 8, &length, 2);
	memcpy(to + 10, header, length);
	memset(to + 10 + length, 0, data);
	return 10u + length + data;
}

static size_t deflate_bytes(const unsigned char *from, size_t n, unsigned char *to, size_t room)
{
	z_stream stream = {.next_in = (unsigned char *)from,
		.avail_in = (uInt)n,
		.next_out = to,
		.avail_out = (uInt)room};

	deflateInit2(&stream, 9, Z_DEFLATED, -MAX_WBITS, 8, Z_DEFAULT_STRATEGY);
	deflate(&stream, Z_FINISH);
	deflateEnd(&stream);
	return stream.total_out;
}

static void make_archive(struct archive *a, const struct entry *entries, size_t n)
{
	static unsigned char npy[1 << 16], packed[1 << 16];
	struct archive *directory = calloc(1, sizeof *directory);

	a->n = 0;
	for (size_t i = 0; i < n; i++) {
		const struct entry *e = &entries[i];
		const size_t name = e->name_bytes ? e->name_bytes : strlen(e->name);
		const size_t unpacked = make_npy(npy, e->header, e->data);
		const size_t bytes = e->deflate
					     ? deflate_bytes(npy, unpacked, packed, sizeof packed)
					     : unpacked;
		const uint32_t crc = (uint32_t)crc32(0, npy, (uInt)unpacked) + e->crc_off;
		const size_t offset = a->n;

		put_number(a, 0x04034b50, 4);
		put_number(a, 0, 22);
		put_number(a, name, 2);
		put_number(a, 0, 2);
		put(a, e->local ? e->local : e->name, name);
		put(a, e->deflate ? packed : npy, bytes);
		put_number(directory, 0x02014b50, 4);
		put_number(directory, 0, 4);
		put_number(directory, e->flags, 2);
		put_number(directory, e->method ? e->method : e->deflate ? 8 : 0, 2);
		put_number(directory, 0, 4);
		put_number(directory, crc, 4);
		put_number(directory, e->packed ? e->packed : bytes, 4);
		put_number(directory, e->unpacked ? e->unpacked : unpacked, 4);
		put_number(directory, name, 2);
		put_number(directory, 0, 12);
		put_number(directory, offset, 4);
		put(directory, e->name, name);
	}
	put_number(directory, 0x06054b50, 4);
	put_number(directory, 0, 6);
	put_number(directory, n, 2);
	put_number(directory, directory->n - 12, 4);
	put_number(directory, a->n, 4);
	put_number(directory, 0, 2);
	put(a, directory->bytes, directory->n);
	free(directory);
}

#define NPY(descr, shape) "{'descr': " descr ", 'fortran_order': False, 'shape': " shape ", }\n"

TEST(each_fault_of_an_archive_has_its_own_message)
{
	static const char four[] = NPY("'<f4'", "(4,)");
	static const struct {
		struct entry entries[2];
		size_t n;
		const char *message; /* NULL: the array a is read */
	} cases[] = {
		{{{.name = "a.npy", .header = four, .data = 16}}, 1, NULL},
		{{{.name = "a.npy", .header = four, .data = 16, .deflate = true}}, 1, NULL},
		{{{.name = "a.npy", .header = four, .data = 12}}, 1,
			"x: array \"a\": expected 16 bytes for its shape and type, found 12"},
		{{{.name = "a.npy", .header = NPY("'|O'", "(4,)"), .data = 16}}, 1,
			"x: array \"a\" holds pickled Python objects, which are not read"},
		{{{.name = "a.npy", .header = NPY("'>f4'", "(4,)"), .data = 16}}, 1,
			"x: array \"a\": expected little-endian numbers, found \">f4\""},
		{{{.name = "a.npy", .header = NPY("[('b', '<f4')]", "(4,)"), .data = 16}}, 1,
			"x: array \"a\": its .npy header is not readable"},
		{{{.name = "a.npy",
			 .header = NPY("'<f4'", "(4294967296, 4294967296)"),
			 .data = 16}},
			1,
			"x: array \"a\": expected 18446744073709551615 bytes for its shape and type, found "
			"16"},
		{{{.name = "a.npy", .header = NPY("'<f4'", "(-4,)"), .data = 16}}, 1,
			"x: array \"a\": its .npy header is not readable"},
		{{{.name = "a.npy", .header = NPY("'<f4'", "(1, 1, 1, 1, 4)"), .data = 16}}, 1,
			"x: array \"a\": its .npy header is not readable"},
		{{{.name = "a.npy", .header = "{'descr': '<f4', 'shape': (4,)}", .data = 16}}, 1,
			"x: array \"a\": its .npy header is not readable"},
		{{{.name = "a.npy", .header = four, .data = 16, .method = 12}}, 1,
			"x: array \"a.npy\": expected a stored or deflated member, found ZIP method 12"},
		{{{.name = "a.npy", .header = four, .data = 16, .flags = 1}}, 1,
			"x: array \"a.npy\" is encrypted"},
		{{{.name = "a.npy", .header = four, .data = 16, .packed = 9999, .unpacked = 9999}},
			1, "x: array \"a.npy\": expected 9999 bytes, but the file ends before"},
		{{{.name = "a.npy", .header = four, .data = 16, .unpacked = 9999}}, 1,
			"x: array \"a.npy\": stored with 84 bytes but said to hold 9999"},
		{{{.name = "a.npy",
			 .header = four,
			 .data = 16,
			 .deflate = true,
			 .packed = 20,
			 .unpacked = 1 << 30}},
			1,
			"x: array \"a\": said to inflate from 20 to 1073741824 bytes, which is impossible"},
		{{{.name = "a.npy", .header = four, .data = 4096, .deflate = true, .unpacked = 79}},
			1,
			"x: array \"a\": expected 79 bytes after inflation, found damage after 79"},
		{{{.name = "a.npy", .header = four, .data = 16, .deflate = true, .unpacked = 100}},
			1, "x: array \"a\": expected 100 bytes after inflation, found 84"},
		{{{.name = "a.npy", .header = four, .data = 16, .packed = 180, .unpacked = 180},
			 {.name = "b.npy", .header = four, .data = 16}},
			2,
			"x: arrays \"a\" and \"b\" share bytes of the file; expected each its own"},
		{{{.name = "a.npy", .header = four, .data = 16},
			 {.name = "a.npy", .header = four, .data = 16}},
			2, "x: array \"a\" occurs twice"},
		{{{.name = "../../a.sh", .header = four, .data = 16}}, 1,
			"x: expected only .npy members, found \"../../a.sh\""},
		{{{.name = "a.npy", .header = four, .data = 16, .crc_off = 1}}, 1,
			"x: array \"a\": expected the CRC-32 b771d1c1 of the archive's directory, found "
			"b771d1c0 (damaged download?)"},
		{{{.name = "a.npy", .header = four, .data = 16, .crc_off = 1, .deflate = true}}, 1,
			"x: array \"a\": expected the CRC-32 b771d1c1 of the archive's directory, found "
			"b771d1c0 (damaged download?)"},
		{{{.name = "a.npy", .header = four, .data = 16, .local = "b.npy"}}, 1,
			"x: array \"a.npy\": its ZIP member bears another name, \"b.npy\""},
		{{{.name = "a.npy\0b", .name_bytes = 7, .header = four, .data = 16}}, 1,
			"x: not a readable .npz: the name of a member holds a zero byte"},
	};
	struct archive *a = calloc(1, sizeof *a);

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct npz *npz = NULL;
		struct file_tensor t;
		struct err err = {0};
		int rc;

		make_archive(a, cases[i].entries, cases[i].n);
		rc = npz_parse(&npz, "x", a->bytes, a->n, &err);
		if (!rc)
			rc = npz_read(npz, "a", &t, &err);
		if (cases[i].message)
			CHECK(rc == ERR_INPUT && strcmp(err.text, cases[i].message) == 0,
				"case %zu: \"%s\"", i, err.text);
		else
			CHECK(rc == 0 && t.shape[0] == 4 && t.bytes == 16, "case %zu: \"%s\"", i,
				err.text);
		npz_close(npz);
	}
	free(a);
}

TEST(an_archive_of_very_many_members_is_refused_before_they_are_compared)
{
	struct archive *a = calloc(1, sizeof *a);
	struct npz *npz;
	struct err err;

	a->n = 5000 * 46;
	put_number(a, 0x06054b50, 4);
	put_number(a, 0, 6);
	put_number(a, 5000, 2);
	put_number(a, 0, 8);
	put_number(a, 0, 2);
	CHECK(npz_parse(&npz, "x", a->bytes, a->n, &err) == ERR_INPUT &&
			strcmp(err.text, "x: expected at most 4096 arrays, found 5000") == 0,
		"%s", err.text);
	free(a);
}

TEST(a_pointer_a_page_and_an_empty_file_are_no_archives)
{
	static const struct {
		const char *bytes, *message;
	} cases[] = {
		{"version https://git-lfs.github.com/spec/v1\n",
			"x: this is a git-lfs pointer, not the arrays; fetch them with `git lfs pull` or "
			"`huggingface-cli download`"},
		{"<!DOCTYPE html><html></html>",
			"x: not a readable .npz: no ZIP directory at its end (truncated download?)"},
		{"", "x: not a readable .npz: no ZIP directory at its end (truncated download?)"},
	};

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct npz *npz;
		struct err err;

		CHECK(npz_parse(&npz, "x", cases[i].bytes, strlen(cases[i].bytes), &err) ==
					ERR_INPUT &&
				strcmp(err.text, cases[i].message) == 0,
			"case %zu: \"%s\"", i, err.text);
	}
}

/* ---- JSON -------------------------------------------------------------------------------- */

TEST(json_of_any_depth_is_read_or_refused)
{
	static char deep[1 << 20];
	json_t *json;
	struct err err;

	for (size_t i = 0; i < sizeof deep; i++)
		deep[i] = i % 5 == 0 ? '{' : "\"a\":"[i % 5 - 1];
	CHECK(json_parse(&json, "x", deep, sizeof deep, &err) == ERR_INPUT && !json &&
			strstr(err.text, "maximum parsing depth reached"),
		"%s", err.text);
	memset(deep, '[', 2000);
	memset(deep + 2000, ']', 2000);
	REQUIRE_OK(json_parse(&json, "x", deep, 4000, &err), &err);
	json_decref(json);
}

TEST(json_values_of_another_type_name_the_key_expected_and_found)
{
	const char text[] = "{\"a\":\"1\",\"b\":1.5,\"c\":null,\"d\":[]}";
	json_t *json;
	struct err err;
	int64_t integer = 7;
	double real = 7;
	bool truth = true;
	const char *string = "kept";

	REQUIRE_OK(json_parse(&json, "x", text, sizeof text - 1, &err), &err);
	CHECK(json_get_int(json, "x", "a", &integer, &err) == ERR_INPUT &&
			strcmp(err.text, "x: a: expected an integer, found a string") == 0,
		"%s", err.text);
	CHECK(json_get_int(json, "x", "b", &integer, &err) == ERR_INPUT &&
			strcmp(err.text, "x: b: expected an integer, found a real number") == 0,
		"%s", err.text);
	CHECK(json_get_double(json, "x", "d", &real, &err) == ERR_INPUT &&
			strcmp(err.text, "x: d: expected a number, found an array") == 0,
		"%s", err.text);
	CHECK(json_get_bool(json, "x", "b", &truth, &err) == ERR_INPUT &&
			strcmp(err.text, "x: b: expected true or false, found a real number") == 0,
		"%s", err.text);
	CHECK(json_get_text(json, "x", "b", &string, &err) == ERR_INPUT &&
			strcmp(err.text, "x: b: expected a string, found a real number") == 0,
		"%s", err.text);
	REQUIRE_OK(json_get_text(json, "x", "c", &string, &err), &err);
	REQUIRE_OK(json_get_int(json, "x", "none", &integer, &err), &err);
	CHECK(strcmp(string, "kept") == 0 && integer == 7, "a default was overwritten");
	json_decref(json);
}

/* ---- half precision --------------------------------------------------------------------- */

TEST(every_float16_survives_the_way_to_float32_and_back)
{
	for (uint32_t h = 0; h < 65536; h++) {
		const float f = f16_to_f32((uint16_t)h);

		if ((h & 0x7fff) > 0x7c00)
			CHECK(f != f && (f32_to_f16(f) & 0x7e00) == 0x7e00, "NaN %04x", h);
		else
			CHECK(f32_to_f16(f) == h, "%04x became %04x", h, f32_to_f16(f));
	}
}

TEST(rounding_to_half_precision_is_to_nearest_even)
{
	CHECK(f32_to_f16(65519.996f) == 0x7bff && f32_to_f16(65520.0f) == 0x7c00, "overflow");
	CHECK(f32_to_f16(0x1p-25f) == 0 && f32_to_f16(0x1.8p-25f) == 1 &&
			f32_to_f16(0x1.8p-24f) == 2,
		"subnormals");
	CHECK(f32_to_f16(1 + 0x1p-11f) == 0x3c00 && f32_to_f16(1 + 0x3p-11f) == 0x3c02, "ties");
	CHECK(f32_to_bf16(1 + 0x1p-8f) == 0x3f80 && f32_to_bf16(1 + 0x3p-8f) == 0x3f82, "ties");
}

#if !defined(__SANITIZE_ADDRESS__) /* which takes terabytes of address space */
TEST(json_that_memory_does_not_suffice_for_is_no_mistake_of_the_file)
{
	/* Enough for a tokenizer of that size, not for a list of empty lists. */
	static const size_t left[] = {(size_t)100 << 20, (size_t)150 << 20};
	static const char *const texts[] = {"x: expected at least 128.0 MiB of address space",
		"out of memory: x needs 4194304 bytes"};
	const size_t n = 4 << 20;
	char *lists = malloc(n);

	for (size_t i = 0; i < n; i++)
		lists[i] = i == 0 ? '[' : i == n - 1 ? ']' : "[],"[(i - 1) % 3];
	for (int i = 0; i < 2; i++) {
		struct err err = {0};
		json_t *json;

		test_limit_space(left[i]);
		json_parse(&json, "x", lists, n, &err);
		test_limit_space(SIZE_MAX);
		CHECK(err.code == ERR_DEVICE && !json && strstr(err.text, texts[i]), "%d: %s",
			err.code, err.text);
	}
	free(lists);
}
#endif

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
	const char header[] = "{\"__metadata__\":{\"format\":\"pt\"},"
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
		{T("\"dtype\":\"F32\",\"shape\":[4611686018427387904,16],\"data_offsets\":[0,16]"), 16,
			"x: tensor \"a\": its shape overflows"},
		{T("\"dtype\":\"F32\",\"shape\":[4],\"data_offsets\":[0]"), 16,
			"x: tensor \"a\": expected two integers as data_offsets"},
		{T("\"dtype\":\"F32\",\"data_offsets\":[0,16]"), 16,
			"x: tensor \"a\": expected an array as shape"},
		{T("\"shape\":[4],\"data_offsets\":[0,16]"), 16,
			"x: tensor \"a\": expected a string as dtype"},
		{"{\"a\":3}", 0, "x: tensor \"a\": expected an object"},
		{"{\"a\":{},\"a\":{}}", 0, "x:1:11: not valid JSON: duplicate object key near '\"a\"'"},
		{"[]", 0, "x: expected a safetensors header beginning with '{'"},
		{"{\"a\":", 0, "x:1:5: not valid JSON: unexpected token near end of file"},
		{"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]},"
		 "\"b\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[4,12]}}", 12,
			"x: tensor \"b\": expected its data at offset 8, found 4"},
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

	CHECK(safetensors_parse(&st, "x", huge, sizeof huge, &err) == ERR_INPUT &&
			strcmp(err.text, "x: expected a safetensors header, found 10 bytes that cannot "
					 "hold it (truncated download?)") == 0,
		"%s", err.text);
	CHECK(safetensors_parse(&st, "x", huge, 3, &err) == ERR_INPUT, "3 bytes passed");
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
		{"{\"weight_map\":{\"a\":3}}", "expected the plain file name of a shard, found an integer"},
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
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct safetensors_folder *f;
		struct err err = {0};
		int rc;

		write_file(folder, "model.safetensors.index.json", cases[i].index,
			strlen(cases[i].index));
		rc = safetensors_folder_open(&f, folder, &err);
		if (cases[i].message) {
			CHECK(rc == ERR_INPUT && strstr(err.text, cases[i].message), "case %zu: \"%s\"",
				i, err.text);
			continue;
		}
		REQUIRE(rc == 0, "%s", err.text);
		CHECK(safetensors_folder_find(f, "a") && safetensors_folder_files(f) == 2,
			"case %zu: the shard was not opened", i);
		safetensors_folder_close(f);
	}
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

/* Every single-byte change of a small archive: read as before, or refused; never worse (this test
 * runs under AddressSanitizer). */
TEST(an_archive_with_any_one_byte_changed_is_read_or_refused)
{
	struct file_map map;
	struct err err;
	char path[512];
	unsigned char *bytes;
	size_t refused = 0;

	snprintf(path, sizeof path, "%s/tests/golden/npz/stored.npz", test_source_root());
	REQUIRE_OK(file_map_open(&map, path, &err), &err);
	bytes = malloc(map.size);
	for (size_t i = 0; i < map.size; i++) {
		for (int change = 1; change < 256; change += 61) {
			struct npz *npz;
			struct file_tensor t;

			memcpy(bytes, map.data, map.size);
			bytes[i] ^= (unsigned char)change;
			if (npz_parse(&npz, "x", bytes, map.size, &err)) {
				refused++;
				continue;
			}
			for (size_t k = 0; k < npz_count(npz); k++)
				refused += npz_read(npz, npz_name(npz, k), &t, &err) != 0;
			npz_close(npz);
		}
	}
	CHECK(refused > 100, "only %zu changes were noticed", refused);
	free(bytes);
	file_map_close(&map);
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

/* SPDX-License-Identifier: MIT
 *
 * spoil.c - Contract: spoil.h.
 */
#include "tests/spoil.h"

#include "host/base/file.h"
#include "host/formats/npz.h"
#include "host/formats/safetensors.h"
#include "tests/test.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <zlib.h>

size_t spoil_encode(enum dtype dtype, double value, unsigned char out[8])
{
	const float f = (float)value;
	const uint16_t half = dtype == DTYPE_BF16 ? f32_to_bf16(f) : f32_to_f16(f);

	if (dtype == DTYPE_F64)
		memcpy(out, &value, 8);
	else if (dtype == DTYPE_F32)
		memcpy(out, &f, 4);
	else
		memcpy(out, &half, 2);
	if (isnan(value))
		out[0] |= 1;
	return dtype_bytes(dtype);
}

/* The bytes of a file, to be written back. */
struct content {
	unsigned char *data;
	size_t n;
};

static struct content read_content(const char *path)
{
	struct content c = {0};
	struct file_map map;
	struct err err;

	if (file_map_open(&map, path, &err) == 0) {
		c = (struct content){malloc(map.size), map.size};
		if (c.data)
			memcpy(c.data, map.data, map.size);
		file_map_close(&map);
	}
	if (!c.data) {
		fprintf(stderr, "cannot read %s\n", path);
		exit(1);
	}
	return c;
}

static void write_content(const char *path, struct content c)
{
	FILE *f = fopen(path, "wb");

	REQUIRE(f && fwrite(c.data, 1, c.n, f) == c.n && fclose(f) == 0, "cannot write %s", path);
	free(c.data);
}

void spoil_tensor(const char *path, const char *tensor, size_t i, double value)
{
	struct content c = read_content(path);
	struct safetensors *file;
	const struct file_tensor *t;
	unsigned char bytes[8];
	struct err err;
	size_t n;

	REQUIRE_OK(safetensors_parse(&file, path, c.data, c.n, &err), &err);
	t = safetensors_find(file, tensor);
	REQUIRE(t && (i + 1) * dtype_bytes(t->dtype) <= t->bytes, "%s has no %s[%zu]", path, tensor,
		i);
	n = spoil_encode(t->dtype, value, bytes);
	memcpy(c.data + (t->data - c.data) + i * n, bytes, n);
	safetensors_close(file);
	write_content(path, c);
}

/* The directory entry of the member whose name is that of an array and ".npy". */
static unsigned char *find_entry(struct content c, const char *array)
{
	const size_t n = strlen(array);

	for (size_t i = 0; i + 46 + n + 4 <= c.n; i++)
		if (memcmp(c.data + i, "PK\1\2", 4) == 0 &&
			memcmp(c.data + i + 46, array, n) == 0 &&
			memcmp(c.data + i + 46 + n, ".npy", 4) == 0)
			return c.data + i;
	return NULL;
}

void spoil_array(const char *path, const char *array, size_t first, size_t step, size_t n,
	double value)
{
	struct content c = read_content(path);
	struct npz *npz;
	struct file_tensor t;
	unsigned char *entry = find_entry(c, array), *member;
	uint32_t offset, bytes, crc;
	struct err err;

	REQUIRE_OK(npz_parse(&npz, path, c.data, c.n, &err), &err);
	REQUIRE_OK(npz_read(npz, array, &t, &err), &err);
	REQUIRE(entry && entry[10] == 0 && t.dtype == DTYPE_F32 &&
			(first + step * (n - 1) + 1) * 4 <= t.bytes,
		"%s has no such values of %s, stored", path, array);
	for (size_t k = 0; k < n; k++)
		spoil_encode(DTYPE_F32, value, c.data + (t.data - c.data) + 4 * (first + step * k));
	memcpy(&bytes, entry + 24, 4);
	memcpy(&offset, entry + 42, 4);
	member = c.data + offset + 30 + c.data[offset + 26] + 256 * c.data[offset + 27] +
		 c.data[offset + 28] + 256 * c.data[offset + 29];
	crc = (uint32_t)crc32(0, member, bytes);
	memcpy(entry + 16, &crc, 4);
	npz_close(npz);
	write_content(path, c);
}

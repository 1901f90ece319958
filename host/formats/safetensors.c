/* SPDX-License-Identifier: MIT
 *
 * safetensors.c - one safetensors file. Contract: safetensors.h. Tests: tests/test_formats.c.
 *
 * Bytes 0-7 hold the header's length N, then N bytes of JSON, then the data to the end of the
 * file. The file is not trusted: sizes are checked before they are used, and the tensors must
 * tile the data exactly, so no byte is described twice and none is left over.
 */
#include "host/formats/safetensors.h"

#include "host/base/file.h"
#include "host/base/size.h"
#include "host/formats/json.h"

#include <stdlib.h>
#include <string.h>

struct safetensors {
	struct file_map map; /* of safetensors_open; empty after safetensors_parse */
	json_t *header;
	struct file_tensor *tensors; /* sorted by name */
	size_t n_tensors;
};

static const size_t MAX_HEADER = 100000000; /* as the reference implementation */

/* Element types of the format, in bits; dtype where the project reads them. */
static const struct {
	const char *name;
	unsigned bits;
	bool known;
	enum dtype dtype;
} types[] = {
	{"F32", 32, true, DTYPE_F32},
	{"F64", 64, true, DTYPE_F64},
	{"BF16", 16, true, DTYPE_BF16},
	{"F16", 16, true, DTYPE_F16},
	{"I32", 32, true, DTYPE_I32},
	{"I64", 64, true, DTYPE_I64},
	{"BOOL", 8, false, 0},
	{"U8", 8, false, 0},
	{"I8", 8, false, 0},
	{"I16", 16, false, 0},
	{"U16", 16, false, 0},
	{"U32", 32, false, 0},
	{"U64", 64, false, 0},
	{"C64", 64, false, 0},
	{"F8_E5M2", 8, false, 0},
	{"F8_E4M3", 8, false, 0},
	{"F8_E8M0", 8, false, 0},
	{"F8_E4M3FNUZ", 8, false, 0},
	{"F8_E5M2FNUZ", 8, false, 0},
	{"F6_E2M3", 6, false, 0},
	{"F6_E3M2", 6, false, 0},
	{"F4", 4, false, 0},
};

static int bad_tensor(struct err *err, const char *file, const char *tensor, const char *problem)
{
	return err_set(err, ERR_INPUT, "%s: tensor \"%s\": %s", file, tensor, problem);
}

/* A non-negative integer that fits size_t; JSON reals and negatives are refused. */
static bool unsigned_value(const json_t *value, size_t *out)
{
	if (!json_is_integer(value) || json_integer_value(value) < 0)
		return false;
	*out = (size_t)json_integer_value(value);
	return true;
}

static int read_type(struct file_tensor *t, const char *file, const json_t *entry, unsigned *bits,
	struct err *err)
{
	const json_t *type = json_object_get(entry, "dtype");

	if (!json_is_string(type) || strlen(json_string_value(type)) != json_string_length(type))
		return bad_tensor(err, file, t->name, "expected a string as dtype");
	t->type = json_string_value(type);
	for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
		if (strcmp(types[i].name, t->type) == 0) {
			t->known = types[i].known;
			t->dtype = types[i].dtype;
			*bits = types[i].bits;
			return 0;
		}
	}
	return err_set(err, ERR_INPUT, "%s: tensor \"%s\": unknown dtype \"%s\"", file, t->name,
		t->type);
}

/* Shape, and the bytes that shape and type ask for. */
static int read_shape(struct file_tensor *t, const char *file, const json_t *entry, unsigned bits,
	size_t *bytes, struct err *err)
{
	const json_t *shape = json_object_get(entry, "shape");
	size_t n = bits, dim;

	if (!json_is_array(shape))
		return bad_tensor(err, file, t->name, "expected an array as shape");
	t->n_dims = json_array_size(shape) <= FILE_TENSOR_DIMS ? (int)json_array_size(shape) : -1;
	for (size_t i = 0; i < json_array_size(shape); i++) {
		if (!unsigned_value(json_array_get(shape, i), &dim))
			return bad_tensor(err, file, t->name,
				"expected non-negative integers in shape");
		if (size_mul_overflow(n, dim, &n))
			return bad_tensor(err, file, t->name, "its shape overflows");
		if (t->n_dims >= 0)
			t->shape[i] = dim;
	}
	if (n % 8 != 0)
		return bad_tensor(err, file, t->name, "its elements do not fill whole bytes");
	*bytes = n / 8;
	return 0;
}

static int read_tensor(struct file_tensor *t, const char *file, const json_t *entry,
	const unsigned char *data, size_t data_bytes, struct err *err)
{
	const json_t *offsets = json_object_get(entry, "data_offsets");
	size_t begin, end, bytes = 0;
	unsigned bits = 0;

	if (!json_is_object(entry))
		return bad_tensor(err, file, t->name, "expected an object");
	if (read_type(t, file, entry, &bits, err) || read_shape(t, file, entry, bits, &bytes, err))
		return err->code;
	if (json_array_size(offsets) != 2 || !unsigned_value(json_array_get(offsets, 0), &begin) ||
		!unsigned_value(json_array_get(offsets, 1), &end))
		return bad_tensor(err, file, t->name, "expected two integers as data_offsets");
	if (begin > end)
		return bad_tensor(err, file, t->name, "its data_offsets run backwards");
	if (end > data_bytes)
		return err_set(err, ERR_INPUT,
			"%s: tensor \"%s\": its data ends at byte %zu, but the file holds %zu bytes "
			"of data (truncated download?)",
			file, t->name, end, data_bytes);
	if (end - begin != bytes)
		return err_set(err, ERR_INPUT,
			"%s: tensor \"%s\": expected %zu bytes for its shape and type, found %zu",
			file, t->name, bytes, end - begin);
	t->data = data + begin;
	t->bytes = bytes;
	return 0;
}

static int by_offset(const void *a, const void *b)
{
	const struct file_tensor *x = a, *y = b;

	if (x->data != y->data)
		return x->data < y->data ? -1 : 1;
	return x->bytes < y->bytes ? -1 : x->bytes > y->bytes;
}

static int by_name(const void *a, const void *b)
{
	return strcmp(((const struct file_tensor *)a)->name, ((const struct file_tensor *)b)->name);
}

static int check_metadata(const char *file, json_t *metadata, struct err *err)
{
	const char *key;
	json_t *value;

	if (!json_is_object(metadata))
		return err_set(err, ERR_INPUT, "%s: __metadata__: expected an object, found %s",
			file, json_kind(metadata));
	json_object_foreach(metadata, key, value) if (!json_is_string(value)) return err_set(err,
		ERR_INPUT,
		"%s: __metadata__: expected a string \"%s\", "
		"found %s",
		file, key, json_kind(value));
	return 0;
}

/* The tensors must cover the data from its first byte to its last, each byte once. */
static int check_tiling(struct safetensors *st, const char *file, const unsigned char *data,
	size_t data_bytes, struct err *err)
{
	const unsigned char *next = data;

	qsort(st->tensors, st->n_tensors, sizeof *st->tensors, by_offset);
	for (size_t i = 0; i < st->n_tensors; i++) {
		const struct file_tensor *t = &st->tensors[i];

		if (t->data != next)
			return err_set(err, ERR_INPUT,
				"%s: tensor \"%s\": expected its data at offset %zu, found %zu",
				file, t->name, (size_t)(next - data), (size_t)(t->data - data));
		next += t->bytes;
	}
	if (next != data + data_bytes)
		return err_set(err, ERR_INPUT, "%s: %zu bytes after the last tensor", file,
			(size_t)(data + data_bytes - next));
	return 0;
}

int safetensors_parse(struct safetensors **out, const char *name, const void *bytes, size_t n,
	struct err *err)
{
	struct safetensors *st = calloc(1, sizeof *st);
	const unsigned char *data;
	const char *key;
	uint64_t header;
	json_t *entry;

	*out = NULL;
	if (!st)
		return err_nomem(err, name, sizeof *st);
	if (is_lfs_pointer(bytes, n)) {
		err_set(err, ERR_INPUT,
			"%s: this is a git-lfs pointer, not the weights; fetch them with "
			"`git lfs pull` or `huggingface-cli download`",
			name);
		goto fail;
	}
	if (n < 8) {
		err_set(err, ERR_INPUT,
			"%s: expected a safetensors header of 8 bytes and more, found a file of %zu",
			name, n);
		goto fail;
	}
	header = read_u64(bytes);
	if (header > MAX_HEADER) {
		err_set(err, ERR_INPUT,
			"%s: expected a safetensors header of at most %zu bytes, found a length of %llu "
			"(another format?)",
			name, MAX_HEADER, (unsigned long long)header);
		goto fail;
	}
	if (header > n - 8) {
		err_set(err, ERR_INPUT,
			"%s: expected a safetensors header of %llu bytes, found %zu (truncated download?)",
			name, (unsigned long long)header, n - 8);
		goto fail;
	}
	if (header == 0 || ((const char *)bytes)[8] != '{') {
		err_set(err, ERR_INPUT, "%s: expected a safetensors header beginning with '{'",
			name);
		goto fail;
	}
	TRY(json_parse(&st->header, name, (const char *)bytes + 8, (size_t)header, err));
	data = (const unsigned char *)bytes + 8 + header;
	st->tensors = calloc(json_object_size(st->header) + 1, sizeof *st->tensors);
	if (!st->tensors) {
		err_nomem(err, name, json_object_size(st->header) * sizeof *st->tensors);
		goto fail;
	}
	json_object_foreach(st->header, key, entry)
	{
		struct file_tensor *t = &st->tensors[st->n_tensors];

		if (strcmp(key, "__metadata__") == 0) {
			TRY(check_metadata(name, entry, err));
			continue;
		}
		t->name = key;
		TRY(read_tensor(t, name, entry, data, n - 8 - (size_t)header, err));
		st->n_tensors++;
	}
	TRY(check_tiling(st, name, data, n - 8 - (size_t)header, err));
	qsort(st->tensors, st->n_tensors, sizeof *st->tensors, by_name);
	*out = st;
	return 0;
fail:
	safetensors_close(st);
	return err->code;
}

int safetensors_open(struct safetensors **out, const char *path, struct err *err)
{
	struct file_map map;

	*out = NULL;
	if (file_map_open(&map, path, err))
		return err->code;
	if (safetensors_parse(out, path, map.data, map.size, err)) {
		file_map_close(&map);
		return err->code;
	}
	(*out)->map = map;
	return 0;
}

void safetensors_close(struct safetensors *st)
{
	if (!st)
		return;
	json_decref(st->header);
	free(st->tensors);
	file_map_close(&st->map);
	free(st);
}

void safetensors_release(const struct safetensors *st)
{
	file_map_forget(&st->map);
}

size_t safetensors_count(const struct safetensors *st)
{
	return st->n_tensors;
}

const struct file_tensor *safetensors_at(const struct safetensors *st, size_t i)
{
	return &st->tensors[i];
}

const struct file_tensor *safetensors_find(const struct safetensors *st, const char *name)
{
	const struct file_tensor key = {.name = name};

	return bsearch(&key, st->tensors, st->n_tensors, sizeof *st->tensors, by_name);
}

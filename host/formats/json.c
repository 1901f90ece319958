/* SPDX-License-Identifier: MIT
 *
 * json.c - Contract: json.h. Tests: tests/test_formats.c.
 */
#include "host/formats/json.h"

#include "host/base/file.h"
#include "host/base/memory.h"
#include "host/base/size.h"

#include <stdlib.h>
#include <string.h>

/* Bytes that Jansson makes of a byte: of vocabularies of 256,000 tokens 6 to 13, of merges that are
 * pairs most. A list of empty lists would be 46: a file that is no tokenizer's. */
enum { TREE_BYTES = 16, LARGE = 1 << 20 };

/* Jansson may take a failed allocation for a mistake in the text, or lose a character. */
static _Thread_local bool ran_out;
static json_malloc_t own_malloc; /* Jansson's */

static void *take(size_t bytes)
{
	void *memory = own_malloc(bytes);

	ran_out |= !memory && bytes > 0;
	return memory;
}

static void watch_allocations(void)
{
	json_malloc_t allocate;
	json_free_t release;

	json_get_alloc_funcs(&allocate, &release);
	if (allocate == take)
		return;
	own_malloc = allocate;
	json_set_alloc_funcs(take, release);
}

static int check_room(const char *name, size_t n, struct err *err)
{
	size_t bytes;

	if (size_mul_overflow(n, TREE_BYTES, &bytes))
		return err_nomem(err, name, n);
	if (n >= LARGE && memory_check_machine(name, bytes, err))
		return err->code;
	return memory_check(name, bytes, err);
}

int json_parse_at(json_t **out, const char *name, size_t line, const char *bytes, size_t n,
	struct err *err)
{
	json_error_t error;

	*out = NULL;
	if (is_lfs_pointer(bytes, n))
		return err_set(err, ERR_INPUT,
			"%s: this is a git-lfs pointer, not the file; fetch it with `git lfs pull` or "
			"`huggingface-cli download`",
			name);
	if (check_room(name, n, err))
		return err->code;
	watch_allocations();
	ran_out = false;
	*out = json_loadb(bytes, n, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &error);
	if (ran_out) {
		json_decref(*out);
		*out = NULL;
		return err_nomem(err, name, n);
	}
	if (!*out)
		return err_set(err, ERR_INPUT, "%s:%zu:%d: not valid JSON: %s", name,
			line + (size_t)error.line - 1, error.column, error.text);
	return 0;
}

int json_parse(json_t **out, const char *name, const char *bytes, size_t n, struct err *err)
{
	return json_parse_at(out, name, 1, bytes, n, err);
}

int json_read(json_t **out, const char *path, struct err *err)
{
	struct file_map map;
	int rc;

	*out = NULL;
	if (file_map_open(&map, path, err))
		return err->code;
	rc = file_check_size(path, map.size, LIMIT_JSON, err) ||
	     json_parse(out, path, map.data ? (const char *)map.data : "", map.size, err);
	file_map_close(&map);
	return rc ? err->code : 0;
}

const char *json_kind(const json_t *value)
{
	static const char *const kinds[] = {[JSON_OBJECT] = "an object",
		[JSON_ARRAY] = "an array",
		[JSON_STRING] = "a string",
		[JSON_INTEGER] = "an integer",
		[JSON_REAL] = "a real number",
		[JSON_TRUE] = "true",
		[JSON_FALSE] = "false",
		[JSON_NULL] = "null"};

	return value ? kinds[json_typeof(value)] : "nothing";
}

static const json_t *lookup(const json_t *object, const char *key)
{
	const json_t *value = json_object_get(object, key);

	return value && !json_is_null(value) ? value : NULL;
}

static int wrong_kind(struct err *err, const char *file, const char *key, const char *expected,
	const json_t *value)
{
	return err_set(err, ERR_INPUT, "%s: %s: expected %s, found %s", file, key, expected,
		json_kind(value));
}

int json_get_int(const json_t *object, const char *file, const char *key, int64_t *out,
	struct err *err)
{
	const json_t *value = lookup(object, key);

	if (!value)
		return 0;
	if (!json_is_integer(value))
		return wrong_kind(err, file, key, "an integer", value);
	*out = json_integer_value(value);
	return 0;
}

int json_get_double(const json_t *object, const char *file, const char *key, double *out,
	struct err *err)
{
	const json_t *value = lookup(object, key);

	if (!value)
		return 0;
	if (!json_is_number(value))
		return wrong_kind(err, file, key, "a number", value);
	*out = json_number_value(value);
	return 0;
}

int json_get_bool(const json_t *object, const char *file, const char *key, bool *out,
	struct err *err)
{
	const json_t *value = lookup(object, key);

	if (!value)
		return 0;
	if (!json_is_boolean(value))
		return wrong_kind(err, file, key, "true or false", value);
	*out = json_is_true(value);
	return 0;
}

int json_get_text(const json_t *object, const char *file, const char *key, const char **out,
	struct err *err)
{
	const json_t *value = lookup(object, key);

	if (!value)
		return 0;
	if (!json_is_string(value))
		return wrong_kind(err, file, key, "a string", value);
	if (strlen(json_string_value(value)) != json_string_length(value))
		return err_set(err, ERR_INPUT, "%s: %s: expected a text, found a NUL in it", file,
			key);
	*out = json_string_value(value);
	return 0;
}

int json_get_list(const json_t *object, const char *file, const char *key, const json_t **out,
	struct err *err)
{
	*out = lookup(object, key);
	return *out && !json_is_array(*out) ? wrong_kind(err, file, key, "a list", *out) : 0;
}

int json_get_object(const json_t *object, const char *file, const char *key, const json_t **out,
	struct err *err)
{
	*out = lookup(object, key);
	return *out && !json_is_object(*out) ? wrong_kind(err, file, key, "an object", *out) : 0;
}

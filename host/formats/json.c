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

enum { RESERVE = 4096 };

/* A text on its way to Jansson, in the pieces that it asks for. Where it cannot get memory it may
 * take that for a mistake in the text; or lose a character and end the program over it, or read
 * past what it has. So the first time that it could not, the reserve is let go of, that it may get
 * what it asked for after all, and what is left of the text becomes zeros, at which it stops. */
static _Thread_local struct feed {
	const char *bytes;
	size_t n;
	char *piece; /* Jansson's */
	size_t n_piece;
	void *reserve; /* owned: as much as the token that is being read may need, twice over */
	bool ran_out;
} feed;
static json_malloc_t own_malloc; /* Jansson's */

static void *take(size_t bytes)
{
	void *memory = own_malloc(bytes);

	if (memory || bytes == 0)
		return memory;
	feed.ran_out = true;
	if (!feed.reserve)
		return NULL;
	free(feed.reserve);
	feed.reserve = NULL;
	feed.n = 0;
	if (feed.n_piece > 0)
		memset(feed.piece, 0, feed.n_piece);
	return own_malloc(bytes);
}

static size_t give_piece(void *piece, size_t room, void *unused)
{
	(void)unused;
	feed.piece = piece;
	feed.n_piece = size_min(room, feed.n);
	memcpy(piece, feed.bytes, feed.n_piece);
	feed.bytes += feed.n_piece;
	feed.n -= feed.n_piece;
	return feed.n_piece;
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

/* What Jansson has made, or NULL where it left out something that it had no memory for. */
static json_t *whole(json_t *made)
{
	if (!feed.ran_out)
		return made;
	json_decref(made);
	return NULL;
}

static int parse(json_t **out, const char *name, size_t line, const char *bytes, size_t n,
	size_t flags, struct err *err)
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
	feed = (struct feed){.bytes = bytes, .n = n, .reserve = malloc(2 * n + RESERVE)};
	if (!feed.reserve)
		return err_nomem(err, name, n);
	*out = whole(json_load_callback(give_piece, NULL, flags | JSON_REJECT_DUPLICATES, &error));
	free(feed.reserve);
	feed.reserve = NULL;
	if (feed.ran_out)
		return err_nomem(err, name, n);
	if (!*out)
		return err_set(err, ERR_INPUT, "%s:%zu:%d: not valid JSON: %s", name,
			line + (size_t)error.line - 1, error.column, error.text);
	return 0;
}

int json_parse_at(json_t **out, const char *name, size_t line, const char *bytes, size_t n,
	struct err *err)
{
	return parse(out, name, line, bytes, n, JSON_ALLOW_NUL, err);
}

int json_parse_any(json_t **out, const char *name, const char *text, struct err *err)
{
	return parse(out, name, 1, text, strlen(text), JSON_DECODE_ANY, err);
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

/* Jansson knows no const. */
json_t *json_copy_whole(const json_t *value)
{
	watch_allocations();
	feed = (struct feed){0};
	return whole(json_copy((json_t *)value));
}

json_t *json_copy_deep(const json_t *value)
{
	watch_allocations();
	feed = (struct feed){0};
	return whole(json_deep_copy(value));
}

int json_add_missing(json_t *object, const json_t *from)
{
	watch_allocations();
	feed = (struct feed){0};
	return json_object_update_missing(object, (json_t *)from) || feed.ran_out ? -1 : 0;
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

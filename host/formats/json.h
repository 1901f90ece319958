/* SPDX-License-Identifier: MIT
 *
 * json.h - JSON files through Jansson, with errors that say file, line and key. Strict: valid
 * UTF-8, no duplicate keys, at most 2048 levels. A json_t returned here is owned by its document.
 */
#ifndef SAENGINE_JSON_H
#define SAENGINE_JSON_H

#include "host/base/err.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

/* Parses n bytes. `name` is for messages. *out is owned: json_decref it. Errors: ERR_INPUT;
 * ERR_DEVICE without the memory for it. */
int json_parse(json_t **out, const char *name, const char *bytes, size_t n, struct err *err);

/* The same for a document that begins at line `line` of its file. */
int json_parse_at(json_t **out, const char *name, size_t line, const char *bytes, size_t n,
	struct err *err);

/* The same of a text that may be any value, no object or list alone. */
int json_parse_any(json_t **out, const char *name, const char *text, struct err *err);

/* The same from a file of at most 64 MiB (host/base/file.h). */
int json_read(json_t **out, const char *path, struct err *err);

/* The value of `key` in an object. When it is absent (or null), *out keeps the value it had: the
 * caller puts the default there first. A value of another type is ERR_INPUT naming key, expected
 * and found. `file` is for messages. */
int json_get_int(const json_t *object, const char *file, const char *key, int64_t *out,
	struct err *err);
int json_get_double(const json_t *object, const char *file, const char *key, double *out,
	struct err *err);
int json_get_bool(const json_t *object, const char *file, const char *key, bool *out,
	struct err *err);
int json_get_text(const json_t *object, const char *file, const char *key, const char **out,
	struct err *err);

/* The same of a list or an object: NULL when it is absent or null. Borrowed from the document. */
int json_get_list(const json_t *object, const char *file, const char *key, const json_t **out,
	struct err *err);
int json_get_object(const json_t *object, const char *file, const char *key, const json_t **out,
	struct err *err);

/* A copy of an object or list, of what is in it too where it is deep; NULL without the memory for
 * all of it, where Jansson's own leave out the rest. Owned: json_decref it. */
json_t *json_copy_whole(const json_t *value);
json_t *json_copy_deep(const json_t *value);

/* Gives an object the members of another whose keys it has not. -1 without the memory for all. */
int json_add_missing(json_t *object, const json_t *from);

/* "an integer", "a string", ...: for messages. */
const char *json_kind(const json_t *value);

#endif

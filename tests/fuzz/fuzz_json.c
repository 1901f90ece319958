/* SPDX-License-Identifier: MIT
 *
 * fuzz_json.c - a JSON document, and every getter on every key of its root.
 */
#include "host/formats/json.h"
#include "tests/fuzz/fuzz.h"

#include <string.h>

/* How many of the getters take a value: null is nothing's and so everybody's, an integer is also a
 * number, and a text with a zero byte is none. */
static int takers(const json_t *value)
{
	if (json_is_null(value))
		return 4;
	if (json_is_integer(value))
		return 2;
	if (json_is_string(value))
		return strlen(json_string_value(value)) == json_string_length(value);
	return !json_is_array(value) && !json_is_object(value);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	json_t *root, *value;
	struct err err = {0};
	const int rc = json_parse(&root, "input", size ? (const char *)data : "", size, &err);
	const char *key;

	MUST_EXPLAIN(rc, err);
	MUST((rc == 0) == (root != NULL));
	if (rc)
		return 0;
	json_object_foreach(root, key, value)
	{
		int64_t integer = 0;
		double real = 0;
		bool truth = false;
		const char *text = "";
		int taken = 0;

		taken += json_get_int(root, "input", key, &integer, &err) == 0;
		taken += json_get_double(root, "input", key, &real, &err) == 0;
		taken += json_get_bool(root, "input", key, &truth, &err) == 0;
		taken += json_get_text(root, "input", key, &text, &err) == 0;
		MUST(taken == takers(value));
		MUST(json_kind(value)[0] != '\0');
	}
	json_decref(root);
	return 0;
}

/* SPDX-License-Identifier: MIT
 *
 * test_json_memory.c - Jansson without memory (host/formats/json.h): each of its allocations fails
 * in turn. What it gives is the whole value or nothing, and it does not end the program.
 */
#include "host/formats/json.h"
#include "tests/test.h"

#include <stdlib.h>
#include <string.h>

static size_t asked, failing; /* 0: none */

static void *malloc_or_fail(size_t n)
{
	return ++asked == failing ? NULL : malloc(n);
}

static const char *const texts[] = {
	"{\"eos_token_id\": [1, 5], \"do_sample\": false}",
	/* The scanner's buffer grows at a quote: one that is lost it looks for behind its buffer.
	 */
	"[\"max_new_token\", \"max_new_tokens\", \"max_new_tokens_\", \"or of 29 and 30 letters abcd\", "
	"\"or of 29 and 30 letters abcde\", \"or of 29 and 30 letters abcdef\"]",
	"[\"max_new_tokens\"]",
	"[\"max_new_tokens_\"]",
	"[\"max_new_token\"]",
	"[\"a text that is longer than the sixteen bytes that Jansson's scanner begins with, and "
	"longer than twice and four times as many\", \"\\u00e9\\ud83d\\ude00 \\n\\\"\", 1.5e-3, -7]",
	"{\"a\": {\"b\": [[], {}, null]}, \"c\": 1, \"d\": 2, \"e\": 3, \"f\": 4, \"g\": 5, "
	"\"h\": 6, \"i\": 7, \"j\": 8, \"k\": \"\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3"
	"\xa9\xc3\xa9\"}",
};

enum { N_TEXTS = sizeof texts / sizeof *texts };

static json_t *parsed(const char *text)
{
	struct err err;
	json_t *value;

	CHECK(json_parse(&value, "text", text, strlen(text), &err) == 0, "%s", err.text);
	return value;
}

/* Whether allocation `k` was one of those that were asked for. */
static bool came(size_t k)
{
	const bool it_did = asked >= k;

	asked = failing = 0;
	return it_did;
}

static void begin(size_t k)
{
	json_set_alloc_funcs(malloc_or_fail, free);
	asked = 0;
	failing = k;
}

TEST(a_text_is_parsed_whole_or_there_was_no_memory_for_it)
{
	for (size_t i = 0; i < N_TEXTS; i++)
		for (size_t length = 1; length <= strlen(texts[i]); length++)
			for (size_t k = 1;; k++) {
				struct err err;
				json_t *value;
				int rc;

				begin(k);
				rc = json_parse(&value, "text", texts[i], length, &err);
				json_decref(value);
				if (!came(k))
					break;
				CHECK(rc == ERR_DEVICE, "%.*s: allocation %zu: %d", (int)length,
					texts[i], k, rc);
			}
}

TEST(a_copy_is_whole_or_there_was_no_memory_for_it)
{
	for (size_t i = 0; i < N_TEXTS; i++)
		for (int deep = 0; deep < 2; deep++)
			for (size_t k = 1;; k++) {
				json_t *value = parsed(texts[i]), *copy;

				begin(k);
				copy = deep ? json_copy_deep(value) : json_copy_whole(value);
				if (came(k))
					CHECK(!copy, "%s: allocation %zu: a copy", texts[i], k);
				else
					CHECK(json_equal(copy, value), "%s: another", texts[i]);
				json_decref(value);
				if (!copy)
					continue;
				json_decref(copy);
				break;
			}
}

TEST(all_that_is_missing_is_added_or_there_was_no_memory_for_it)
{
	for (size_t k = 1;; k++) {
		json_t *from = parsed(texts[N_TEXTS - 1]), *to = parsed("{\"c\": 9}");
		bool failed;
		int rc;

		begin(k);
		rc = json_add_missing(to, from);
		failed = came(k);
		CHECK(rc == (failed ? -1 : 0), "allocation %zu: %d", k, rc);
		if (!failed)
			CHECK(json_object_size(to) == json_object_size(from) &&
					json_integer_value(json_object_get(to, "c")) == 9,
				"expected the members of both");
		json_decref(from);
		json_decref(to);
		if (!failed)
			return;
	}
}

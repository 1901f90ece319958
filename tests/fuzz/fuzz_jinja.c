/* SPDX-License-Identifier: MIT
 *
 * fuzz_jinja.c - a chat template and its variables: the template up to the first zero byte, behind
 * it a JSON object; where there is none, a conversation. Whatever renders is well-formed UTF-8, and
 * the same again; what does not leaves the text as it was.
 */
#include "host/base/utf8.h"
#include "host/text/jinja/jinja.h"
#include "tests/fuzz/fuzz.h"

static const char conversation[] =
	"{\"messages\": [{\"role\": \"user\", \"content\": \" a\\u00e9 B\\n\"},"
	" {\"role\": \"assistant\", \"content\": [{\"type\": \"text\", \"text\": \"x\"}]}],"
	" \"tools\": null, \"n\": 3, \"f\": 2.5, \"l\": [3, 1, 2], \"d\": {\"b\": 1, \"a\": [true]},"
	" \"add_generation_prompt\": true, \"bos_token\": \"<s>\"}";

static void render(const struct jinja *t, const json_t *variables)
{
	struct text first = {0}, second = {0};
	struct err err = {0};
	int rc;

	MUST(vec_append(&first, "kept", 4, &err) == 0);
	rc = jinja_render(t, variables, "2024-02-29", &first, &err);
	MUST_EXPLAIN(rc, err);
	MUST(memcmp(first.data, "kept", 4) == 0 && (rc == 0 || first.n == 4));
	if (rc == 0) {
		MUST(utf8_valid(first.data, first.n, NULL));
		MUST(jinja_render(t, variables, "2024-02-29", &second, &err) == 0);
		MUST(second.n == first.n - 4 &&
			(second.n == 0 || memcmp(first.data + 4, second.data, second.n) == 0));
	}
	free(first.data);
	free(second.data);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const uint8_t *zero = size ? memchr(data, 0, size) : NULL;
	const size_t n = zero ? (size_t)(zero - data) : size;
	static json_t *usual;
	json_t *variables = NULL;
	struct err err = {0};
	struct jinja *t;
	int rc = 0;

	if (!usual)
		MUST(json_parse(&usual, "variables", conversation, strlen(conversation), &err) ==
			0);
	if (zero)
		rc = json_parse(&variables, "variables", (const char *)zero + 1, size - n - 1,
			&err);
	else
		variables = json_incref(usual);
	if (rc == 0 && json_is_object(variables)) {
		rc = jinja_parse(&t, "template", (const char *)data, n, &err);
		MUST_EXPLAIN(rc, err);
		MUST((rc == 0) == (t != NULL));
		if (rc == 0)
			render(t, variables);
		jinja_free(t);
	}
	json_decref(variables);
	return 0;
}

/* SPDX-License-Identifier: MIT
 *
 * fuzz_judge_template.c - the template of a judge. Its places filled with their own names, it is
 * the template; so nothing is lost, moved or filled twice.
 */
#include "host/text/judge_template.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct judge_template t;
	struct text out = {0};
	struct err err = {0};
	const int rc = judge_template_parse(&t, "input", data, size, "", &err);

	MUST_EXPLAIN(rc, err);
	if (rc == 0) {
		MUST(judge_template_render(&t, "{behavior}", "{context}", "{generation}", &out,
			     &err) == 0);
		MUST(out.n == size && memcmp(out.data, data, size) == 0);
		MUST(judge_template_head(&t) + judge_template_tail(&t) + 22 <= size);
	}
	free(out.data);
	judge_template_free(&t);
	return 0;
}

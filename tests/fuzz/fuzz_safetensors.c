/* SPDX-License-Identifier: MIT
 *
 * fuzz_safetensors.c - one safetensors file in memory. What is accepted tiles the file: every byte
 * of every tensor can be read, and none lies outside.
 */
#include "host/formats/safetensors.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct safetensors *st;
	struct err err = {0};
	const int rc = safetensors_parse(&st, "input", data, size, &err);
	size_t total = 0;

	MUST_EXPLAIN(rc, err);
	MUST((rc == 0) == (st != NULL));
	for (size_t i = 0; st && i < safetensors_count(st); i++) {
		const struct file_tensor *t = safetensors_at(st, i);

		MUST(safetensors_find(st, t->name) == t);
		MUST(t->data >= data && t->bytes <= size && t->data + t->bytes <= data + size);
		total += t->bytes;
	}
	MUST(total < size || size == 0);
	safetensors_close(st);
	return 0;
}

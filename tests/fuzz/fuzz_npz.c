/* SPDX-License-Identifier: MIT
 *
 * fuzz_npz.c - a NumPy archive in memory, every array of it read, twice: the second time from what
 * the first kept.
 */
#include "host/formats/npz.h"
#include "tests/fuzz/fuzz.h"

#include <string.h>

static unsigned sum_of(const struct file_tensor *t)
{
	unsigned sum = 0;

	for (size_t i = 0; i < t->bytes; i++)
		sum += t->data[i];
	return sum;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct npz *npz;
	struct err err = {0};
	const int rc = npz_parse(&npz, "input", data, size, &err);

	MUST_EXPLAIN(rc, err);
	MUST((rc == 0) == (npz != NULL));
	for (size_t i = 0; npz && i < npz_count(npz); i++) {
		struct file_tensor first, again;
		const int read = npz_read(npz, npz_name(npz, i), &first, &err);

		MUST_EXPLAIN(read, err);
		if (read)
			continue;
		MUST(npz_read(npz, npz_name(npz, i), &again, &err) == 0);
		MUST(first.data == again.data && first.bytes == again.bytes);
		MUST(sum_of(&first) == sum_of(&again));
	}
	npz_close(npz);
	return 0;
}

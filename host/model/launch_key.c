/* SPDX-License-Identifier: MIT
 *
 * launch_key.c - Contract: launch_key.h. Tests: tests/emu/test_steps.c.
 */
#include "host/model/launch_key.h"

#include "host/base/vec.h"

int launch_key_add(struct launch_key *key, uint64_t word, struct err *err)
{
	return vec_push(key, word, err);
}

int launch_key_add_address(struct launch_key *key, const void *address, struct err *err)
{
	return vec_push(key, (uintptr_t)address, err);
}

int launch_key_add_number(struct launch_key *key, double number, struct err *err)
{
	uint64_t word;

	memcpy(&word, &number, sizeof word);
	return vec_push(key, word, err);
}

int launch_key_add_tensor(struct launch_key *key, struct tensor t, struct err *err)
{
	const uint64_t words[] = {(uintptr_t)t.data, (uint64_t)t.dtype, t.rows, t.cols};

	return vec_append(key, words, sizeof words / sizeof *words, err);
}

bool launch_key_equal(const struct launch_key *a, const struct launch_key *b)
{
	return a->n == b->n && (a->n == 0 || memcmp(a->data, b->data, a->n * sizeof *a->data) == 0);
}

int launch_key_copy(struct launch_key *to, const struct launch_key *from, struct err *err)
{
	to->n = 0;
	return vec_append(to, from->data, from->n, err);
}

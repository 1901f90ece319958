/* SPDX-License-Identifier: MIT
 *
 * launch_key.h - what ops are given by the host, as a list of words to be compared.
 *
 * A recorded op is launched again with the arguments it had. So a recording stands for the ops
 * exactly where they would be given the same arguments, and a key has those of them that can
 * differ, as they are: addresses, shapes, numbers. What lies at an address is read when the
 * recording is replayed. Memory that was freed, and other memory that was allocated at its address,
 * is therefore nothing to be told apart: the ops would be given that address too. What a key leaves
 * out is a result of the wrong memory, so who gives an op an argument that can differ adds it here:
 * edits.c and sae_few.c for edits, generate_steps.c for the rest of a step.
 */
#ifndef SAENGINE_LAUNCH_KEY_H
#define SAENGINE_LAUNCH_KEY_H

#include "host/base/err.h"
#include "kernels/tensor.h"

#include <stdbool.h>
#include <stdint.h>

/* A zeroed one is empty, equal to no other but an empty one. */
struct launch_key {
	uint64_t *data; /* owned: free it */
	size_t n, cap;
};

/* Each appends one thing. Errors: memory. */
int launch_key_add(struct launch_key *key, uint64_t word, struct err *err);
int launch_key_add_address(struct launch_key *key, const void *address, struct err *err);
int launch_key_add_number(struct launch_key *key, double number, struct err *err);
int launch_key_add_tensor(struct launch_key *key, struct tensor t, struct err *err);

bool launch_key_equal(const struct launch_key *a, const struct launch_key *b);

/* to = a copy of `from`. Errors: memory. */
int launch_key_copy(struct launch_key *to, const struct launch_key *from, struct err *err);

#endif

/* SPDX-License-Identifier: MIT
 *
 * rope.h - rotary positions: which angles a model turns its queries and keys by.
 */
#ifndef SAENGINE_ROPE_H
#define SAENGINE_ROPE_H

#include "host/base/err.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

enum rope_scaling { ROPE_PLAIN, ROPE_LINEAR, ROPE_LLAMA3 };

struct rope {
	double theta;
	enum rope_scaling scaling;
	double factor;
	/* Llama 3.1 and later: the stretching depends on the frequency. */
	double low_factor, high_factor, original_context;
};

/* Reads rope_theta and a scaling ({"rope_type" or "type": ..., "factor": ...}) from an object of
 * a config.json, which may be NULL; absent keys leave what is there. `path` is for messages.
 * Errors: ERR_INPUT; a scaling that is not supported, with the list of those that are; one whose
 * numbers are missing; numbers of a scaling that does not say its type. */
int rope_read(struct rope *rope, const json_t *object, const char *path, struct err *err);

bool rope_equal(const struct rope *a, const struct rope *b);

/* Angles per position of the head_dim/2 rotation pairs, in the float32 arithmetic of the
 * published implementations: inv_freq[i] = theta^(-2i/head_dim), stretched if so configured. */
void rope_inverse_frequencies(const struct rope *rope, size_t head_dim, float *inv_freq);

#endif

/* SPDX-License-Identifier: MIT
 *
 * inputs.h - what a run is made from: the files it reads, by their SHA-256, and its settings. Two
 * runs with the same text of inputs_print compute the same.
 */
#ifndef SAENGINE_INPUTS_H
#define SAENGINE_INPUTS_H

#include "host/base/file.h"
#include "host/config/config.h"

struct lab;

struct inputs {
	struct input_file {
		char *path, *role; /* owned */
		char sha256[SHA256_HEX];
	} * data; /* owned; inputs_free */
	size_t n, cap;
};

/* Every file the lab reads: model, tokenizer, weights, SAEs, prompts, findings of an earlier run.
 * Reads all of them once. Errors: ERR_INPUT. */
int inputs_collect(struct inputs *inputs, const struct lab *lab, struct err *err);

/* Accepts a zeroed struct. */
void inputs_free(struct inputs *inputs);

/* One line each, "key = value": engine, precision, settings that bear on the results, files; of
 * ranks other than 0 only the first two, since their paths may be others. Owned by the caller; NULL
 * when out of memory. */
char *inputs_text(const struct inputs *inputs, const struct lab *lab);

#endif

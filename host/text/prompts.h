/* SPDX-License-Identifier: MIT
 *
 * prompts.h - sets of prompts read from files.
 */
#ifndef SAENGINE_PROMPTS_H
#define SAENGINE_PROMPTS_H

#include "host/base/err.h"
#include "host/base/file.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct prompt {
	char *text;     /* owned; well-formed UTF-8, not empty */
	char *category; /* owned; NULL when the file gives none */
	size_t record;  /* index of its record in the file, from 0 */
};

struct prompt_set {
	struct prompt *items;
	size_t n;
	char sha256[SHA256_HEX]; /* of the file */
};

/* Which records of a file to take. */
struct prompt_selection {
	const char *category; /* only this one; NULL = all */
	size_t limit;         /* at most so many; 0 = all */
	bool shuffle;         /* in a seeded random order before the limit is applied */
	uint64_t seed;
};

/* Reads a JSON array of {"instruction": text, "category": text or null}. Errors: ERR_INPUT with
 * the record's number: no such file, not JSON, not UTF-8, an empty instruction, no record left
 * after the selection. */
int prompt_set_read(struct prompt_set *set, const char *path,
	const struct prompt_selection *selection, struct err *err);

/* Accepts a zeroed set. */
void prompt_set_free(struct prompt_set *set);

#endif

/* SPDX-License-Identifier: MIT
 *
 * split.h - cutting text into words by a pattern, as the "Split" pre-tokenizer does.
 */
#ifndef SAENGINE_SPLIT_H
#define SAENGINE_SPLIT_H

#include "host/base/err.h"

#include <stdbool.h>
#include <stddef.h>

struct split; /* a compiled pattern */

/* What becomes of a match. */
enum split_behavior {
	SPLIT_ISOLATED,             /* it is a piece of its own */
	SPLIT_CONTIGUOUS,           /* it is one piece with the matches that touch it */
	SPLIT_REMOVED,              /* it is dropped */
	SPLIT_MERGED_WITH_PREVIOUS, /* it ends the piece before it */
	SPLIT_MERGED_WITH_NEXT      /* it begins the piece after it */
};

/* Compiles a regular expression (`regex`) or a literal string. `\s` means Unicode White_Space,
 * as in the engine that tokenizer files are written for. *out is owned, free it.
 * Errors: ERR_INPUT with the pattern's fault. */
int split_compile(struct split **out, const char *pattern, bool regex, enum split_behavior behavior,
	bool invert, struct err *err);
void split_free(struct split *split);

/* The pattern as it was given. Borrowed. */
const char *split_pattern(const struct split *split);

/* Calls `piece` for every piece of the n bytes of well-formed UTF-8, in order, none empty.
 * Stops at the first non-zero return and returns it. */
int split_text(const struct split *split, const char *text, size_t n,
	int (*piece)(void *context, const char *text, size_t n, struct err *err), void *context,
	struct err *err);

/* Sets *yes to whether the pattern matches at the very start of n bytes of well-formed UTF-8. */
int split_matches(const struct split *split, const char *text, size_t n, bool *yes,
	struct err *err);

#endif

/* SPDX-License-Identifier: MIT
 *
 * refusal.h - what counts as a refusal: the published substrings (paper section 4; list from the
 * released code), or three classes by rules.
 */
#ifndef SAENGINE_REFUSAL_H
#define SAENGINE_REFUSAL_H

#include <stdbool.h>
#include <stddef.h>

/* Whether any of the substrings occurs in the text; ASCII letters in either case, other bytes
 * exactly, but that with `any_apostrophe` all apostrophes are one (apostrophe_at). */
bool is_refusal(const char *text, const char *const *substrings, size_t n, bool any_apostrophe);

/* Bytes of the apostrophe that begins here, 0 when none does: ' ` and U+00B4, U+02BC, U+2018,
 * U+2019, U+2032, U+FF07. */
size_t apostrophe_at(const char *s);

/* What a reply does, as far as small rules tell. English only. */
enum reply_class {
	REPLY_EMPTY, /* no letter, no digit: it is in none of the three */
	REPLY_REFUSAL,
	REPLY_PARTIAL,    /* refuses, and says much beside that */
	REPLY_COMPLIANCE, /* does not refuse; whether it complies, or makes sense, is not asked */
	N_REPLY_CLASSES
};
extern const char *const reply_class_names[N_REPLY_CLASSES]; /* "" for an empty one */

/* By the rules of experiments/README.md. `text` is well-formed UTF-8. */
enum reply_class reply_class(const char *text);

#endif

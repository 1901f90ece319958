/* SPDX-License-Identifier: MIT
 *
 * utf8.h - UTF-8: checking, stepping, and mending. Well-formed as in Unicode table 3-7: no
 * overlong forms, no surrogates, nothing above U+10FFFF.
 */
#ifndef SAENGINE_UTF8_H
#define SAENGINE_UTF8_H

#include "host/base/vec.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Bytes of the well-formed character at s (1 to 4), or 0 when there is none within n bytes. */
size_t utf8_length(const char *s, size_t n);

/* Whether all n bytes are well-formed; if not, *bad (may be NULL) is the offset of the first
 * byte that is not. */
bool utf8_valid(const char *s, size_t n, size_t *bad);

/* How many bytes at the end (0 to 3) begin a character that further bytes could complete. */
size_t utf8_unfinished(const char *s, size_t n);

/* The code point of a well-formed character of `length` bytes. */
uint32_t utf8_decode(const char *s, size_t length);

/* Bytes of white space at the start of n bytes. */
size_t utf8_space(const char *s, size_t n);

/* Writes a code point; returns its length (1 to 4). */
size_t utf8_spell(uint32_t code, char out[4]);

/* Unicode White_Space. */
bool utf8_is_space(uint32_t code);

/* Bytes of the character at s, 0 where there is none that may go to a terminal as it is: a control
 * character, one that turns the direction of the text, or no character. */
size_t utf8_printable(const char *s, size_t n);

/* Appends n bytes to `out`, each maximal ill-formed part replaced by U+FFFD. */
int utf8_append_mended(struct text *out, const char *s, size_t n, struct err *err);

#endif

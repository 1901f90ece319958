/* SPDX-License-Identifier: MIT
 *
 * byte_spelling.h - how byte-level vocabularies spell bytes as printable characters: 33-126,
 * 161-172 and 174-255 as themselves, the other 68 as U+0100 upwards (GPT-2's table).
 */
#ifndef SAENGINE_BYTE_SPELLING_H
#define SAENGINE_BYTE_SPELLING_H

#include "host/base/vec.h"

#include <stdbool.h>

/* Writes the bytes that n bytes of spelling stand for, at most n; false when it is no such
 * spelling. */
bool byte_unspell(const char *s, size_t n, char *out, size_t *n_out);

/* Appends the spelling of n bytes. */
int byte_spell(struct text *out, const char *s, size_t n, struct err *err);

#endif

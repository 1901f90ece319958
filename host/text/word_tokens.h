/* SPDX-License-Identifier: MIT
 *
 * word_tokens.h - the tokens that read as one word: with or without a space before it, in any
 * case of letters. What a judge's "yes" is in a vocabulary.
 */
#ifndef SAENGINE_WORD_TOKENS_H
#define SAENGINE_WORD_TOKENS_H

#include "host/text/tokenizer.h"

/* Whether the text, white space around it stripped, is the word; ASCII letters in either case. */
bool reads_as(const char *text, size_t n, const char *word);

/* Appends the ids whose text reads as the word, ascending; special tokens have none. */
int word_tokens(const struct tokenizer *tok, const char *word, struct token_ids *ids,
	struct err *err);

#endif

/* SPDX-License-Identifier: MIT
 *
 * added_tokens.h - tokens that are cut out of the text before anything else sees it.
 */
#ifndef SAENGINE_ADDED_TOKENS_H
#define SAENGINE_ADDED_TOKENS_H

#include "host/base/vec.h"
#include "host/text/split.h"

#include <stdbool.h>
#include <stdint.h>

struct added_token {
	char *content;    /* owned; as the file spells it */
	struct text form; /* owned; what it decodes to: the content, normalized if the token ever
			   * was */
	int32_t id;
	bool special;        /* left out of decoded text */
	bool normalized;     /* matched in normalized text, else in the raw text */
	bool lstrip, rstrip; /* swallow white space before, after */
	bool single_word;    /* only between non-word characters */
};

struct trie_node {
	int32_t child;   /* first child; 0 = none */
	int32_t sibling; /* next child of the same parent; 0 = none */
	int32_t token;   /* index of the added token that ends here; -1 = none */
	unsigned char byte;
};

/* One set of added tokens, searched together. */
struct added_set {
	struct {
		struct trie_node *data; /* data[0] is the root */
		size_t n, cap;
	} nodes;
	struct split *word; /* what a word character is; NULL when no token is single_word */
};

/* Published ones have up to 93 bytes. */
enum { ADDED_TOKEN_MOST = 1024 };

/* Adds `token`, an index into the tokens: what is looked for is its form where it is normalized,
 * else its content. Neither is empty. Errors: ERR_INPUT for one of more than ADDED_TOKEN_MOST
 * bytes.
 */
int added_set_add(struct added_set *set, const struct added_token *tokens, int32_t token,
	struct err *err);
void added_set_free(struct added_set *set);

struct added_match {
	size_t start, end; /* bytes, white space swallowed included */
	size_t next;       /* where the search goes on: behind the token itself */
	int32_t token;     /* index into the tokens; -1 = no further match */
};

/* Replaces *match, zeroed before the first call, by the match behind it: leftmost, the longest of
 * those. White space before the end of the last match is not swallowed again. Errors: memory. */
int added_set_next(const struct added_set *set, const struct added_token *tokens, const char *text,
	size_t n, struct added_match *match, struct err *err);

#endif

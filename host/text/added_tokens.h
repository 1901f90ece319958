/* SPDX-License-Identifier: MIT
 *
 * added_tokens.h - tokens that are cut out of the text before anything else sees it.
 */
#ifndef SAENGINE_ADDED_TOKENS_H
#define SAENGINE_ADDED_TOKENS_H

#include "host/base/vec.h"

#include <stdbool.h>
#include <stdint.h>

struct added_token {
	char *content; /* owned */
	size_t n;
	int32_t id;
	bool special;     /* left out of decoded text */
	bool normalized;  /* matched in normalized text, else in the raw text */
	bool lstrip, rstrip; /* swallow white space before, after */
	bool single_word; /* only between non-word characters */
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
};

int added_set_add(struct added_set *set, const char *content, size_t n, int32_t token,
	struct err *err);
void added_set_free(struct added_set *set);

struct added_match {
	size_t start, end; /* bytes, white space swallowed included */
	int32_t token;     /* index into the tokens */
};

/* The first match at or after `from`: leftmost, the longest of those. Returns whether there is
 * one. White space before `from` is not swallowed. */
bool added_set_next(const struct added_set *set, const struct added_token *tokens,
	const char *text, size_t n, size_t from, struct added_match *match);

#endif

/* SPDX-License-Identifier: MIT
 *
 * added_tokens.c - Contract: added_tokens.h. A trie over bytes, walked from every position.
 * Tests: tests/test_tokenizer.c.
 */
#include "host/text/added_tokens.h"

#include "host/text/utf8.h"

#include <ctype.h>

static int32_t child_of(const struct added_set *set, int32_t node, unsigned char byte)
{
	for (int32_t c = set->nodes.data[node].child; c; c = set->nodes.data[c].sibling)
		if (set->nodes.data[c].byte == byte)
			return c;
	return 0;
}

int added_set_add(struct added_set *set, const char *content, size_t n, int32_t token,
	struct err *err)
{
	int32_t node = 0;

	if (set->nodes.n == 0)
		TRY(vec_push(&set->nodes, ((struct trie_node){.token = -1}), err));
	for (size_t i = 0; i < n; i++) {
		const unsigned char byte = (unsigned char)content[i];
		int32_t next = child_of(set, node, byte);

		if (!next) {
			next = (int32_t)set->nodes.n;
			TRY(vec_push(&set->nodes,
				((struct trie_node){0, set->nodes.data[node].child, -1, byte}), err));
			set->nodes.data[node].child = next;
		}
		node = next;
	}
	set->nodes.data[node].token = token;
	return 0;
fail:
	return err->code;
}

void added_set_free(struct added_set *set)
{
	free(set->nodes.data);
	*set = (struct added_set){0};
}

/* Word characters for single_word: ASCII letters, digits and underscore, and everything beyond
 * ASCII that is not white space. */
static bool is_word(uint32_t code)
{
	return code < 128 ? isalnum((int)code) || code == '_' : !utf8_is_space(code);
}

static size_t previous_length(const char *text, size_t at)
{
	size_t n = 1;

	while (n < at && ((unsigned char)text[at - n] & 0xc0) == 0x80)
		n++;
	return n;
}

static uint32_t code_before(const char *text, size_t at)
{
	const size_t n = previous_length(text, at);

	return utf8_decode(text + at - n, n);
}

static uint32_t code_at(const char *text, size_t n, size_t at)
{
	return utf8_decode(text + at, utf8_length(text + at, n - at));
}

static bool stands_alone(const char *text, size_t n, size_t start, size_t end)
{
	return (start == 0 || !is_word(code_before(text, start))) &&
		(end == n || !is_word(code_at(text, n, end)));
}

bool added_set_next(const struct added_set *set, const struct added_token *tokens,
	const char *text, size_t n, size_t from, struct added_match *match)
{
	if (set->nodes.n == 0)
		return false;
	for (size_t start = from; start < n; start++) {
		const struct added_token *t;
		int32_t node = 0, found = -1;
		size_t end = start;

		for (size_t i = start; i < n; i++) {
			node = child_of(set, node, (unsigned char)text[i]);
			if (!node)
				break;
			if (set->nodes.data[node].token >= 0) {
				found = set->nodes.data[node].token;
				end = i + 1;
			}
		}
		if (found < 0)
			continue;
		t = &tokens[found];
		if (t->single_word && !stands_alone(text, n, start, end)) {
			start = end - 1; /* a match refused is still a match: go on behind it */
			continue;
		}
		*match = (struct added_match){start, end, found};
		while (t->lstrip && match->start > from &&
			utf8_is_space(code_before(text, match->start)))
			match->start -= previous_length(text, match->start);
		while (t->rstrip && match->end < n && utf8_is_space(code_at(text, n, match->end)))
			match->end += utf8_length(text + match->end, n - match->end);
		return true;
	}
	return false;
}

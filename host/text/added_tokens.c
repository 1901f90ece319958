/* SPDX-License-Identifier: MIT
 *
 * added_tokens.c - Contract: added_tokens.h. A trie over bytes, walked from every position.
 * Tests: tests/test_tokenizer.c.
 */
#include "host/text/added_tokens.h"

#include "host/base/utf8.h"

static int32_t child_of(const struct added_set *set, int32_t node, unsigned char byte)
{
	for (int32_t c = set->nodes.data[node].child; c; c = set->nodes.data[c].sibling)
		if (set->nodes.data[c].byte == byte)
			return c;
	return 0;
}

/* Unicode's word characters, for single_word: letters, marks, digits, connectors, joiners, and the
 * letters in circles and squares. */
static const char WORD[] = "[\\p{L}\\p{M}\\p{Nd}\\p{Nl}\\p{Pc}\\x{200c}\\x{200d}\\x{24b6}-\\x{24e9}"
			   "\\x{1f130}-\\x{1f149}\\x{1f150}-\\x{1f169}\\x{1f170}-\\x{1f189}]";

int added_set_add(struct added_set *set, const struct added_token *tokens, int32_t token,
	struct err *err)
{
	const struct added_token *t = &tokens[token];
	const char *form = t->normalized ? t->form.data : t->content;
	const size_t n = t->normalized ? t->form.n : strlen(t->content);
	int32_t node = 0;

	/* From every byte of a text the search goes as far as a token may reach. */
	if (n > ADDED_TOKEN_MOST)
		return err_set(err, ERR_INPUT,
			"added token \"%.40s...\": expected at most %d bytes, found %zu", form,
			ADDED_TOKEN_MOST, n);
	if (t->single_word && !set->word)
		TRY(split_compile(&set->word, WORD, true, SPLIT_ISOLATED, false, err));
	if (set->nodes.n == 0)
		TRY(vec_push(&set->nodes, ((struct trie_node){.token = -1}), err));
	for (size_t i = 0; i < n; i++) {
		const unsigned char byte = (unsigned char)form[i];
		int32_t next = child_of(set, node, byte);

		if (!next) {
			next = (int32_t)set->nodes.n;
			TRY(vec_push(&set->nodes,
				((struct trie_node){0, set->nodes.data[node].child, -1, byte}),
				err));
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
	split_free(set->word);
	free(set->nodes.data);
	*set = (struct added_set){0};
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

/* Whether no word character touches the range. */
static int stands_alone(const struct split *word, const char *text, size_t n,
	const struct added_match *m, bool *yes, struct err *err)
{
	bool before = false, after = false;

	if (m->start > 0) {
		const size_t length = previous_length(text, m->start);

		TRY(split_matches(word, text + m->start - length, length, &before, err));
	}
	if (m->end < n)
		TRY(split_matches(word, text + m->end, utf8_length(text + m->end, n - m->end),
			&after, err));
	*yes = !before && !after;
	return 0;
fail:
	return err->code;
}

/* The longest token that starts at `start`, and its end; -1 = none. */
static int32_t longest_at(const struct added_set *set, const char *text, size_t n, size_t start,
	size_t *end)
{
	int32_t node = 0, found = -1;

	for (size_t i = start; i < n; i++) {
		node = child_of(set, node, (unsigned char)text[i]);
		if (!node)
			break;
		if (set->nodes.data[node].token >= 0) {
			found = set->nodes.data[node].token;
			*end = i + 1;
		}
	}
	return found;
}

/* Takes in the white space that a token swallows, but none that the last match has. */
static void swallow(const struct added_token *t, const char *text, size_t n, size_t last_end,
	struct added_match *m)
{
	if (t->lstrip) {
		while (m->start > last_end && utf8_is_space(code_before(text, m->start)))
			m->start -= previous_length(text, m->start);
		m->start = size_max(m->start, last_end);
	}
	if (t->rstrip) /* up to there it is white space, which the last match has found */
		m->end = size_max(m->end, last_end);
	while (t->rstrip && m->end < n && utf8_is_space(code_at(text, n, m->end)))
		m->end += utf8_length(text + m->end, n - m->end);
}

int added_set_next(const struct added_set *set, const struct added_token *tokens, const char *text,
	size_t n, struct added_match *match, struct err *err)
{
	const size_t last_end = match->end;
	size_t start = match->next;

	match->token = -1;
	while (set->nodes.n > 0 && start < n) {
		struct added_match m = {.start = start};
		bool alone = true;

		m.token = longest_at(set, text, n, start, &m.end);
		start = m.token < 0 ? start + 1 : m.end; /* a match refused is still a match */
		if (m.token < 0)
			continue;
		if (tokens[m.token].single_word &&
			stands_alone(set->word, text, n, &m, &alone, err))
			return err->code;
		if (!alone)
			continue;
		m.next = m.end;
		swallow(&tokens[m.token], text, n, last_end, &m);
		*match = m;
		return 0;
	}
	return 0;
}

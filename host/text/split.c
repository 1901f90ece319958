/* SPDX-License-Identifier: MIT
 *
 * split.c - Contract: split.h. Regular expressions by PCRE2 in UTF mode with Unicode properties.
 * Tests: tests/test_tokenizer.c.
 *
 * PCRE2's own \s differs from White_Space in U+180E, so \s and \S are spelled out as classes
 * before compiling.
 */
#define PCRE2_CODE_UNIT_WIDTH 8

#include "host/text/split.h"

#include "host/base/vec.h"

#include <pcre2.h>

struct split {
	pcre2_code *code;
	enum split_behavior behavior;
	bool invert; /* pieces are the matches, separators what lies between */
};

#define WHITE_SPACE \
	"\\x{9}-\\x{d}\\x{20}\\x{85}\\x{a0}\\x{1680}\\x{2000}-\\x{200a}\\x{2028}\\x{2029}\\x{202f}" \
	"\\x{205f}\\x{3000}"

static int append(struct text *out, const char *s, struct err *err)
{
	return vec_append(out, s, strlen(s), err);
}

/* The pattern with \s and \S spelled out. */
static int spell_spaces(const char *pattern, struct text *out, struct err *err)
{
	bool in_class = false;

	for (const char *p = pattern; *p; p++) {
		if (*p == '\\' && p[1]) {
			p++;
			if (*p == 's')
				TRY(append(out, in_class ? WHITE_SPACE : "[" WHITE_SPACE "]", err));
			else if (*p == 'S' && !in_class)
				TRY(append(out, "[^" WHITE_SPACE "]", err));
			else if (*p == 'S')
				return err_set(err, ERR_INPUT, "pattern %s: \\S inside [...]", pattern);
			else
				TRY(vec_append(out, p - 1, 2, err));
			continue;
		}
		if (*p == '[')
			in_class = true;
		else if (*p == ']')
			in_class = false;
		TRY(vec_push(out, *p, err));
	}
	return vec_push(out, '\0', err);
fail:
	return err->code;
}

int split_compile(struct split **out, const char *pattern, bool regex,
	enum split_behavior behavior, bool invert, struct err *err)
{
	const uint32_t options = PCRE2_UTF | (regex ? PCRE2_UCP : PCRE2_LITERAL);
	struct split *split = calloc(1, sizeof *split);
	struct text spelled = {0};
	PCRE2_SIZE where;
	int code;

	*out = NULL;
	if (!split)
		return err_nomem(err, "a split pattern", sizeof *split);
	split->behavior = behavior;
	split->invert = invert;
	if (regex)
		TRY(spell_spaces(pattern, &spelled, err));
	else
		TRY(vec_append(&spelled, pattern, strlen(pattern) + 1, err));
	split->code = pcre2_compile((PCRE2_SPTR)spelled.data, PCRE2_ZERO_TERMINATED, options, &code,
		&where, NULL);
	if (!split->code) {
		PCRE2_UCHAR message[128];

		pcre2_get_error_message(code, message, sizeof message);
		err_set(err, ERR_INPUT, "pattern %s: %s", pattern, (const char *)message);
		goto fail;
	}
	pcre2_jit_compile(split->code, PCRE2_JIT_COMPLETE); /* optional: matching works without */
	free(spelled.data);
	*out = split;
	return 0;
fail:
	free(spelled.data);
	split_free(split);
	return err->code;
}

void split_free(struct split *split)
{
	if (!split)
		return;
	pcre2_code_free(split->code);
	free(split);
}

/* Pieces as they come: each is a match or the text between two, and `behavior` joins them. */
struct joiner {
	const struct split *split;
	const char *text;
	size_t start, end; /* the piece waiting; none when equal */
	bool separator;    /* whether what waits is a lone separator (MERGED_WITH_NEXT) */
	int (*piece)(void *, const char *, size_t, struct err *);
	void *context;
};

static int flush(struct joiner *j, struct err *err)
{
	const size_t start = j->start, n = j->end - j->start;

	j->start = j->end;
	return n ? j->piece(j->context, j->text + start, n, err) : 0;
}

static int take(struct joiner *j, size_t start, size_t end, bool separator, struct err *err)
{
	bool join = false;

	if (start == end)
		return 0;
	if (j->end > j->start) {
		if (j->split->behavior == SPLIT_MERGED_WITH_PREVIOUS)
			join = separator && !j->separator;
		else if (j->split->behavior == SPLIT_MERGED_WITH_NEXT)
			join = !separator && j->separator;
		if (!join && flush(j, err))
			return err->code;
	}
	if (separator && j->split->behavior == SPLIT_REMOVED) {
		j->start = j->end = end;
		return 0;
	}
	if (!join)
		j->start = start;
	j->end = end;
	j->separator = separator;
	return 0;
}

int split_text(const struct split *split, const char *text, size_t n,
	int (*piece)(void *context, const char *text, size_t n, struct err *err), void *context,
	struct err *err)
{
	struct joiner j = {.split = split, .text = text, .piece = piece, .context = context};
	pcre2_match_data *match = pcre2_match_data_create(1, NULL);
	size_t at = 0, from = 0;

	if (!match)
		return err_nomem(err, "matching a pattern", 0);
	while (from <= n) {
		const int rc = pcre2_match(split->code, (PCRE2_SPTR)text, n, from, PCRE2_NO_UTF_CHECK,
			match, NULL);
		const PCRE2_SIZE *range = pcre2_get_ovector_pointer(match);

		if (rc == PCRE2_ERROR_NOMATCH)
			break;
		if (rc < 0) {
			err_set(err, ERR_INTERNAL, "pattern matching failed with PCRE2 error %d", rc);
			goto fail;
		}
		if (range[1] == range[0]) { /* an empty match cuts nothing: step on */
			from = range[0] + 1;
			while (from < n && ((unsigned char)text[from] & 0xc0) == 0x80)
				from++;
			continue;
		}
		TRY(take(&j, at, range[0], split->invert, err));
		TRY(take(&j, range[0], range[1], !split->invert, err));
		at = from = range[1];
	}
	TRY(take(&j, at, n, split->invert, err));
	TRY(flush(&j, err));
	pcre2_match_data_free(match);
	return 0;
fail:
	pcre2_match_data_free(match);
	return err->code;
}

/* SPDX-License-Identifier: MIT
 *
 * split.c - Contract: split.h. Regular expressions by PCRE2 in UTF mode with Unicode properties.
 * Tests: tests/test_tokenizer.c.
 *
 * Patterns are written for Oniguruma with the tables of Unicode 16. PCRE2's own \s differs from
 * White_Space in U+180E, and its classes are as old as its release (Unicode 14 in Debian 12's), so
 * these are spelled out before compiling, as is $, which is the end of a line. What the two engines
 * read differently is refused.
 */
#define PCRE2_CODE_UNIT_WIDTH 8

#include "host/text/split.h"

#include "host/base/vec.h"

#include <ctype.h>

#include <pcre2.h>

/* Published patterns have up to 400 bytes; of the name of a class a thousand are made. A match
 * takes as many steps as the text that it looks at has characters, and memory for each of them
 * where there is no just-in-time compiler; a pattern that runs wild is stopped within a second. */
enum { MAX_PATTERN = 4096, MAX_STEPS = 10000000, MAX_HEAP_KIB = 1 << 20 };

struct split {
	char *pattern; /* owned */
	pcre2_code *code;
	enum split_behavior behavior;
	bool invert; /* pieces are the matches, separators what lies between */
};

/* What stands for a character class between [ and ]. */
static const struct class
{
	const char *name;  /* as patterns spell it, without the \ */
	const char * not ; /* the same for its complement */
	const char *members;
} classes[] = {
	{"s", "S",
		"\\x{9}-\\x{d}\\x{20}\\x{85}\\x{a0}\\x{1680}\\x{2000}-\\x{200a}\\x{2028}"
		"\\x{2029}\\x{202f}\\x{205f}\\x{3000}"},
	/* With what Unicode 15 and 16 have added. */
	{"p{L}", "P{L}",
		"\\p{L}\\x{1c89}-\\x{1c8a}\\x{a7cb}-\\x{a7cd}\\x{a7da}-\\x{a7dc}\\x{105c0}-\\x{105f3}"
		"\\x{10d4a}-\\x{10d65}\\x{10d6f}-\\x{10d85}\\x{10ec2}-\\x{10ec4}\\x{1123f}-\\x{11240}"
		"\\x{11380}-\\x{11389}\\x{1138b}\\x{1138e}\\x{11390}-\\x{113b5}\\x{113b7}\\x{113d1}"
		"\\x{113d3}\\x{11bc0}-\\x{11be0}\\x{11f02}\\x{11f04}-\\x{11f10}\\x{11f12}-\\x{11f33}"
		"\\x{1342f}\\x{13441}-\\x{13446}\\x{13460}-\\x{143fa}\\x{16100}-\\x{1611d}"
		"\\x{16d40}-\\x{16d6c}\\x{18cff}\\x{1b132}\\x{1b155}\\x{1df25}-\\x{1df2a}"
		"\\x{1e030}-\\x{1e06d}\\x{1e4d0}-\\x{1e4eb}\\x{1e5d0}-\\x{1e5ed}\\x{1e5f0}\\x{2b739}"
		"\\x{2ebf0}-\\x{2ee5d}\\x{31350}-\\x{323af}"},
	{"p{N}", "P{N}",
		"\\p{N}\\x{10d40}-\\x{10d49}\\x{116d0}-\\x{116e3}\\x{11bf0}-\\x{11bf9}"
		"\\x{11f50}-\\x{11f59}\\x{16130}-\\x{16139}\\x{16d70}-\\x{16d79}"
		"\\x{1ccf0}-\\x{1ccf9}\\x{1d2c0}-\\x{1d2d3}\\x{1e4f0}-\\x{1e4f9}"
		"\\x{1e5f1}-\\x{1e5fa}"},
	{"p{Nd}", "P{Nd}",
		"\\p{Nd}\\x{10d40}-\\x{10d49}\\x{116d0}-\\x{116e3}\\x{11bf0}-\\x{11bf9}"
		"\\x{11f50}-\\x{11f59}\\x{16130}-\\x{16139}\\x{16d70}-\\x{16d79}\\x{1ccf0}-\\x{1ccf9}"
		"\\x{1e4f0}-\\x{1e4f9}\\x{1e5f1}-\\x{1e5fa}"},
	{"p{Nl}", "P{Nl}", "\\p{Nl}"},
	{"p{Pc}", "P{Pc}", "\\p{Pc}"},
	{"p{Lu}", "P{Lu}",
		"\\p{Lu}\\x{1c89}\\x{a7cb}-\\x{a7cc}\\x{a7da}\\x{a7dc}\\x{10d50}-\\x{10d65}"},
	{"p{Ll}", "P{Ll}",
		"\\p{Ll}\\x{1c8a}\\x{a7cd}\\x{a7db}\\x{10d70}-\\x{10d85}\\x{1df25}-\\x{1df2a}"},
	{"p{Lt}", "P{Lt}", "\\p{Lt}"},
	{"p{Lm}", "P{Lm}",
		"\\p{Lm}\\x{10d4e}\\x{10d6f}\\x{16d40}-\\x{16d42}\\x{16d6b}-\\x{16d6c}"
		"\\x{1e030}-\\x{1e06d}\\x{1e4eb}"},
	{"p{Lo}", "P{Lo}",
		"\\p{Lo}\\x{105c0}-\\x{105f3}\\x{10d4a}-\\x{10d4d}\\x{10d4f}\\x{10ec2}-\\x{10ec4}"
		"\\x{1123f}-\\x{11240}\\x{11380}-\\x{11389}\\x{1138b}\\x{1138e}\\x{11390}-\\x{113b5}"
		"\\x{113b7}\\x{113d1}\\x{113d3}\\x{11bc0}-\\x{11be0}\\x{11f02}\\x{11f04}-\\x{11f10}"
		"\\x{11f12}-\\x{11f33}\\x{1342f}\\x{13441}-\\x{13446}\\x{13460}-\\x{143fa}"
		"\\x{16100}-\\x{1611d}\\x{16d43}-\\x{16d6a}\\x{18cff}\\x{1b132}\\x{1b155}"
		"\\x{1e4d0}-\\x{1e4ea}\\x{1e5d0}-\\x{1e5ed}\\x{1e5f0}\\x{2b739}\\x{2ebf0}-\\x{2ee5d}"
		"\\x{31350}-\\x{323af}"},
	{"p{M}", "P{M}",
		"\\p{M}\\x{897}\\x{cf3}\\x{ece}\\x{10d69}-\\x{10d6d}\\x{10efc}-\\x{10eff}\\x{11241}"
		"\\x{113b8}-\\x{113c0}\\x{113c2}\\x{113c5}\\x{113c7}-\\x{113ca}\\x{113cc}-\\x{113d0}"
		"\\x{113d2}\\x{113e1}-\\x{113e2}\\x{11f00}-\\x{11f01}\\x{11f03}\\x{11f34}-\\x{11f3a}"
		"\\x{11f3e}-\\x{11f42}\\x{11f5a}\\x{13440}\\x{13447}-\\x{13455}\\x{1611e}-\\x{1612f}"
		"\\x{1e08f}\\x{1e4ec}-\\x{1e4ef}\\x{1e5ee}-\\x{1e5ef}"},
	{"p{P}", "P{P}",
		"\\p{P}\\x{1b4e}-\\x{1b4f}\\x{1b7f}\\x{10d6e}\\x{113d4}-\\x{113d5}"
		"\\x{113d7}-\\x{113d8}\\x{11b00}-\\x{11b09}\\x{11be1}\\x{11f43}-\\x{11f4f}"
		"\\x{16d6d}-\\x{16d6f}\\x{1e5ff}"},
	{"p{S}", "P{S}",
		"\\p{S}\\x{2427}-\\x{2429}\\x{2ffc}-\\x{2fff}\\x{31e4}-\\x{31e5}\\x{31ef}"
		"\\x{10d8e}-\\x{10d8f}\\x{1cc00}-\\x{1ccef}\\x{1cd00}-\\x{1ceb3}\\x{1f6dc}"
		"\\x{1f774}-\\x{1f776}\\x{1f77b}-\\x{1f77f}\\x{1f7d9}\\x{1f8b2}-\\x{1f8bb}"
		"\\x{1f8c0}-\\x{1f8c1}\\x{1fa75}-\\x{1fa77}\\x{1fa87}-\\x{1fa89}\\x{1fa8f}"
		"\\x{1faad}-\\x{1faaf}\\x{1fabb}-\\x{1fabf}\\x{1fac6}\\x{1face}-\\x{1facf}"
		"\\x{1fada}-\\x{1fadc}\\x{1fadf}\\x{1fae8}-\\x{1fae9}\\x{1faf7}-\\x{1faf8}"
		"\\x{1fbcb}-\\x{1fbef}"},
};

static bool starts_with(const char *s, const char *prefix)
{
	return strncmp(s, prefix, strlen(prefix)) == 0;
}

static int append(struct text *out, const char *s, struct err *err)
{
	return vec_append(out, s, strlen(s), err);
}

/* Appends what stands for the escape behind a \, and moves *p to its last character. */
static int spell_escape(const char **p, bool in_class, struct text *out, struct err *err)
{
	const char *s = *p;

	for (size_t i = 0; i < sizeof classes / sizeof *classes; i++) {
		const struct class *c = &classes[i];
		const bool complement = starts_with(s, c->not );

		if (!complement && !starts_with(s, c->name))
			continue;
		if (in_class && complement)
			return err_set(err, ERR_INPUT, "\\%s inside [...] is not supported",
				c->not );
		if (!in_class)
			TRY(append(out, complement ? "[^" : "[", err));
		TRY(append(out, c->members, err));
		if (!in_class)
			TRY(append(out, "]", err));
		*p = s + strlen(c->name) - 1;
		return 0;
	}
	if (*s == 'p' || *s == 'P')
		return err_set(err, ERR_INPUT, "\\%.8s is not supported", s);
	if (isalnum((unsigned char)*s) && !strchr("rntx", *s))
		return err_set(err, ERR_INPUT, "\\%c is not supported", *s);
	return vec_append(out, s - 1, 2, err);
fail:
	return err->code;
}

/* Whether a group is of a kind that both engines have. */
static bool is_known_group(const char *p)
{
	return p[0] != '(' ||
	       (p[1] != '*' && (p[1] != '?' || starts_with(p, "(?:") || starts_with(p, "(?=") ||
				       starts_with(p, "(?!") || starts_with(p, "(?i:")));
}

/* The pattern with its classes spelled out, zero-terminated. */
static int spell_classes(const char *pattern, struct text *out, struct err *err)
{
	bool in_class = false;

	for (const char *p = pattern; *p; p++) {
		if (*p == '\\' && p[1]) {
			p++;
			TRY(spell_escape(&p, in_class, out, err));
			continue;
		}
		if (in_class && (*p == '[' || starts_with(p, "&&")))
			return err_set(err, ERR_INPUT, "%c inside [...] is not supported", *p);
		if (!in_class && (*p == '^' || !is_known_group(p)))
			return err_set(err, ERR_INPUT, "%.3s is not supported", p);
		if (!in_class && *p == '$') {
			TRY(append(out, "(?:(?=\\n)|(?<!\\n)\\z)", err));
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

int split_compile(struct split **out, const char *pattern, bool regex, enum split_behavior behavior,
	bool invert, struct err *err)
{
	const uint32_t options = PCRE2_UTF | (regex ? PCRE2_UCP : PCRE2_LITERAL);
	struct split *split = calloc(1, sizeof *split);
	struct text spelled = {0};
	PCRE2_SIZE where;
	int code;

	*out = NULL;
	if (!split)
		return err_nomem(err, "a split pattern", sizeof *split);
	if (strlen(pattern) > MAX_PATTERN) {
		free(split);
		return err_set(err, ERR_INPUT, "expected a pattern of at most %d bytes, found %zu",
			MAX_PATTERN, strlen(pattern));
	}
	split->behavior = behavior;
	split->invert = invert;
	split->pattern = strdup(pattern);
	if (!split->pattern) {
		err_nomem(err, "a split pattern", strlen(pattern));
		goto fail;
	}
	if (regex)
		TRY(spell_classes(pattern, &spelled, err));
	else
		TRY(vec_append(&spelled, pattern, strlen(pattern) + 1, err));
	split->code = pcre2_compile((PCRE2_SPTR)spelled.data, PCRE2_ZERO_TERMINATED, options, &code,
		&where, NULL);
	if (!split->code) {
		PCRE2_UCHAR message[128];

		pcre2_get_error_message(code, message, sizeof message);
		err_set(err, ERR_INPUT, "%s", (const char *)message);
		goto fail;
	}
	pcre2_jit_compile(split->code, PCRE2_JIT_COMPLETE); /* optional: matching works without */
	free(spelled.data);
	*out = split;
	return 0;
fail:
	if (err->code == ERR_INPUT)
		err_prefix(err, "pattern %s", pattern);
	free(spelled.data);
	split_free(split);
	return err->code;
}

void split_free(struct split *split)
{
	if (!split)
		return;
	pcre2_code_free(split->code);
	free(split->pattern);
	free(split);
}

const char *split_pattern(const struct split *split)
{
	return split->pattern;
}

/* A match in progress, and how much it may cost. */
struct search {
	pcre2_match_data *match;
	pcre2_match_context *limits;
};

static void search_free(struct search *s)
{
	pcre2_match_data_free(s->match);
	pcre2_match_context_free(s->limits);
}

static int search_init(struct search *s, struct err *err)
{
	*s = (struct search){pcre2_match_data_create(1, NULL), pcre2_match_context_create(NULL)};
	if (!s->match || !s->limits) {
		search_free(s);
		return err_nomem(err, "matching a pattern", 0);
	}
	pcre2_set_match_limit(s->limits, MAX_STEPS);
	pcre2_set_heap_limit(s->limits, MAX_HEAP_KIB);
	return 0;
}

/* Whether the pattern matches at or behind `from`; the match is left in `s`. */
static int search(const struct split *split, const char *text, size_t n, size_t from,
	const struct search *s, bool *found, struct err *err)
{
	int rc = pcre2_match(split->code, (PCRE2_SPTR)text, n, from, PCRE2_NO_UTF_CHECK, s->match,
		s->limits);

	if (rc == PCRE2_ERROR_JIT_STACKLIMIT) /* the interpreter has more room */
		rc = pcre2_match(split->code, (PCRE2_SPTR)text, n, from,
			PCRE2_NO_UTF_CHECK | PCRE2_NO_JIT, s->match, s->limits);
	if (rc < 0 && rc != PCRE2_ERROR_NOMATCH)
		return err_set(err, ERR_INPUT,
			"the tokenizer's split pattern needs too much work (PCRE2 error %d)", rc);
	*found = rc >= 0;
	return 0;
}

/* Pieces as they come: each is a match or the text between two, and `behavior` joins them. */
struct joiner {
	const struct split *split;
	const char *text;
	size_t start, end; /* the piece waiting; none when equal */
	bool separator;    /* whether what waits ends with a separator */
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
		else if (j->split->behavior == SPLIT_CONTIGUOUS)
			join = separator && j->separator;
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
	struct search s;
	size_t at = 0, from = 0;

	if (search_init(&s, err))
		return err->code;
	while (from <= n) {
		const PCRE2_SIZE *range = pcre2_get_ovector_pointer(s.match);
		bool found = false;

		TRY(search(split, text, n, from, &s, &found, err));
		if (!found)
			break;
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
	search_free(&s);
	return 0;
fail:
	search_free(&s);
	return err->code;
}

int split_matches(const struct split *split, const char *text, size_t n, bool *yes, struct err *err)
{
	pcre2_match_data *match = pcre2_match_data_create(1, NULL);

	if (!match)
		return err_nomem(err, "matching a pattern", 0);
	*yes = pcre2_match(split->code, (PCRE2_SPTR)text, n, 0, PCRE2_ANCHORED | PCRE2_NO_UTF_CHECK,
		       match, NULL) >= 0;
	pcre2_match_data_free(match);
	return 0;
}

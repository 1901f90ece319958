/* SPDX-License-Identifier: MIT
 *
 * manifest.c - Contract: manifest.h. Tests: tests/test_units.c, tests/test_checks.c.
 */
#include "host/work/manifest.h"

#include "host/base/size.h"

#include <stdio.h>
#include <string.h>

static size_t line_length(const char *line)
{
	return strcspn(line, "\n");
}

static const char *next_line(const char *line)
{
	line += line_length(line);
	return *line ? line + 1 : line;
}

/* Up to " = ". */
static size_t key_length(const char *line)
{
	const char *equals = strstr(line, " = ");

	return equals && equals < line + line_length(line) ? (size_t)(equals - line)
							   : line_length(line);
}

/* The line of the same key; NULL when there is none. */
static const char *find_line(const char *text, const char *line)
{
	const size_t n = key_length(line);

	for (; *text; text = next_line(text))
		if (key_length(text) == n && memcmp(text, line, n) == 0)
			return text;
	return NULL;
}

static bool same_line(const char *a, const char *b)
{
	return line_length(a) == line_length(b) && memcmp(a, b, line_length(a)) == 0;
}

/* A line's value, for messages. */
static void value_of(const char *line, char *out, size_t size)
{
	const size_t key = line ? key_length(line) : 0, n = line ? line_length(line) : 0;

	if (!line || n < key + 3)
		snprintf(out, size, "nothing");
	else
		snprintf(out, size, "%.*s%s", (int)size_min(n - key - 3, 80), line + key + 3,
			n - key - 3 > 80 ? "..." : "");
}

static void name_difference(struct text *to, const char *key_line, struct manifest_sides who,
	const char *theirs, const char *ours)
{
	char line[512], a[96], b[96];
	struct err ignored;

	value_of(theirs, a, sizeof a);
	value_of(ours, b, sizeof b);
	snprintf(line, sizeof line, "\n  %.*s: %s %s, %s %s",
		(int)size_min(key_length(key_line), 200), key_line, who.theirs, a, who.ours, b);
	(void)vec_append(to, line, strlen(line), &ignored);
}

void manifest_compare_ours(const char *theirs, const char *ours, struct manifest_sides who,
	struct text *differences)
{
	for (const char *line = ours; *line; line = next_line(line)) {
		const char *other = find_line(theirs, line);

		if (!other || !same_line(line, other))
			name_difference(differences, line, who, other, line);
	}
}

void manifest_compare(const char *theirs, const char *ours, struct manifest_sides who,
	struct text *differences)
{
	manifest_compare_ours(theirs, ours, who, differences);
	for (const char *line = theirs; *line; line = next_line(line))
		if (!find_line(ours, line))
			name_difference(differences, line, who, line, NULL);
}

void manifest_compare_first(const char *theirs, const char *ours, struct manifest_sides who,
	struct text *differences)
{
	const char *other = find_line(theirs, ours);

	if (!other || !same_line(ours, other))
		name_difference(differences, ours, who, other, ours);
}

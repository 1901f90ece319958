/* SPDX-License-Identifier: MIT
 *
 * manifest.c - Contract: manifest.h. Tests: tests/test_units.c, tests/test_checks.c.
 */
#include "host/work/manifest.h"

#include "host/base/size.h"

#include <stdio.h>
#include <stdlib.h>
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
	const size_t n = line_length(line);
	const char *equals = memmem(line, n, " = ", 3);

	return equals ? (size_t)(equals - line) : n;
}

/* Compares the keys of two lines. */
static int compare_keys(const char *a, const char *b)
{
	const size_t n = key_length(a), m = key_length(b);
	const int order = memcmp(a, b, size_min(n, m));

	return order ? order : (n > m) - (n < m);
}

/* The lines of a text by key, of one key the first. Without memory there is no index, and the text
 * is gone through for each line. */
struct lines {
	const char *text;
	const char **sorted; /* owned; NULL = none */
	size_t n;
};

static int by_key(const void *a, const void *b)
{
	const char *const *x = a, *const *y = b;
	const int order = compare_keys(*x, *y);

	return order ? order : (*x > *y) - (*x < *y);
}

static struct lines index_lines(const char *text)
{
	struct lines lines = {.text = text};
	size_t n = 0;

	for (const char *line = text; *line; line = next_line(line))
		n++;
	lines.sorted = malloc((n + 1) * sizeof *lines.sorted);
	if (!lines.sorted)
		return lines;
	for (const char *line = text; *line; line = next_line(line))
		lines.sorted[lines.n++] = line;
	qsort(lines.sorted, n, sizeof *lines.sorted, by_key);
	return lines;
}

static void free_lines(struct lines *lines)
{
	free(lines->sorted);
}

/* The first line of the same key; NULL when there is none. */
static const char *find_line(const struct lines *lines, const char *line)
{
	size_t low = 0, high = lines->n;

	for (const char *at = lines->text; !lines->sorted && *at; at = next_line(at))
		if (compare_keys(at, line) == 0)
			return at;
	while (low < high) {
		const size_t middle = low + (high - low) / 2;

		if (compare_keys(lines->sorted[middle], line) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low < lines->n && compare_keys(lines->sorted[low], line) == 0 ? lines->sorted[low]
									     : NULL;
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

/* Of the differences some kilobytes are shown. */
enum { MOST_SHOWN = 1 << 16 };

static void name_difference(struct text *to, const char *key_line, struct manifest_sides who,
	const char *theirs, const char *ours)
{
	char line[512], a[96], b[96];
	struct err ignored;

	if (to->n > MOST_SHOWN)
		return;
	value_of(theirs, a, sizeof a);
	value_of(ours, b, sizeof b);
	snprintf(line, sizeof line, "\n  %.*s: %s %s, %s %s",
		(int)size_min(key_length(key_line), 200), key_line, who.theirs, a, who.ours, b);
	(void)vec_append(to, line, strlen(line), &ignored);
}

void manifest_compare(const char *theirs, const char *ours, struct manifest_sides who,
	struct text *differences)
{
	struct lines lines = index_lines(theirs);

	for (const char *line = ours; *line; line = next_line(line)) {
		const char *other = find_line(&lines, line);

		if (!other || !same_line(line, other))
			name_difference(differences, line, who, other, line);
	}
	free_lines(&lines);
	lines = index_lines(ours);
	for (const char *line = theirs; *line; line = next_line(line))
		if (!find_line(&lines, line))
			name_difference(differences, line, who, line, NULL);
	free_lines(&lines);
}

void manifest_compare_first(const char *theirs, const char *ours, struct manifest_sides who,
	struct text *differences)
{
	const struct lines lines = {.text = theirs};
	const char *other = find_line(&lines, ours);

	if (!other || !same_line(ours, other))
		name_difference(differences, ours, who, other, ours);
}

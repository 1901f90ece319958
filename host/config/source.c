/* SPDX-License-Identifier: MIT
 *
 * source.c - the text of a config and of the files that it includes, looked at before libconfig
 * reads it. Contract: config_parts.h. Tests: tests/test_errors.c, tests/test_inputs.c.
 *
 * libconfig opens included files by itself, waits there for a FIFO, takes a comment that nobody
 * closes for one that ends with the file, and needs the square of the number of settings in time.
 */
#include "host/config/config_parts.h"

#include "host/base/file.h"

#include <stdlib.h>
#include <string.h>

/* All settings together are some 300 values, of which prompt sets may have many; libconfig takes
 * a second for so many in one group. As deep as libconfig goes. */
enum { MAX_VALUES = 4096, MAX_DEPTH = 10 };

/* A config and what it includes. */
struct source {
	struct faults *faults;
	size_t bytes, n_values; /* so far */
	size_t most;            /* values */
	int depth;
};

static int check_text(struct source *s, struct place place, const char *text, struct err *err);

/* Of a --set whoever reports it says where. */
static int locate(struct place place, struct err *err)
{
	return place.line > 0 ? err_prefix(err, "%s:%u", place.file, place.line) : err->code;
}

/* The path behind `@include "` with its escapes undone; NULL when the quote is not closed, which
 * libconfig refuses, or out of memory. To be freed. */
static char *include_path(const char *from)
{
	char *path = malloc(strlen(from) + 1);
	size_t n = 0;

	for (; path && *from && *from != '"'; from++) {
		from += *from == '\\' && from[1];
		path[n++] = *from;
	}
	if (path && *from) {
		path[n] = '\0';
		return path;
	}
	free(path);
	return NULL;
}

/* Where a line includes a file, what is behind its opening quote; else NULL. */
static const char *behind_include(const char *line)
{
	static const char word[] = "@include";
	size_t space;

	line += strspn(line, " \t");
	if (strncmp(line, word, sizeof word - 1) != 0)
		return NULL;
	line += sizeof word - 1;
	space = strspn(line, " \t");
	return space > 0 && line[space] == '"' ? line + space + 1 : NULL;
}

static int check_file(struct source *s, const char *path, struct err *err)
{
	char *text = NULL;
	size_t n;

	TRY(file_read_text(path, &text, err));
	n = strlen(text);
	s->bytes += n;
	TRY(file_check_size(path, s->bytes, LIMIT_CONFIG, err));
	if (n == 0) /* or one of /proc, whose size says nothing */
		err_set(err, ERR_CONFIG, "%s: expected settings, found an empty file", path);
	else
		check_text(s, (struct place){path, 1, false}, text, err);
fail:
	free(text);
	return err->code;
}

static int check_include(struct source *s, struct place place, const char *quoted, struct err *err)
{
	char *path = include_path(quoted);

	err_clear(err);
	if (path && ++s->depth > MAX_DEPTH)
		err_set(err, ERR_CONFIG, "expected files included at most %d deep", MAX_DEPTH);
	else if (path)
		check_file(s, path, err);
	s->depth -= path != NULL;
	free(path);
	if (!err->code)
		return 0;
	err_prefix(err, "@include");
	return locate(place, err);
}

static int check_values(const struct source *s, struct place place, struct err *err)
{
	if (s->n_values <= s->most)
		return 0;
	err_set(err, ERR_CONFIG, "expected at most %zu values in a config, found more", s->most);
	return locate(place, err);
}

static int check_text(struct source *s, struct place place, const char *text, struct err *err)
{
	const bool has_lines = place.line > 0;
	bool at_start = true; /* of a line */

	check_literals(s->faults, place, text);
	while (*text) {
		const char *included = at_start ? behind_include(text) : NULL;
		const char *end = skip_quiet(text);

		if (included && check_include(s, place, included, err))
			return err->code;
		if (!*end && strncmp(text, "/*", 2) == 0 &&
			(end - text < 4 || strcmp(end - 2, "*/") != 0)) {
			err_set(err, ERR_CONFIG, "expected */ behind a comment, found the end");
			return locate(place, err);
		}
		s->n_values += end == text && strchr("=:,", *text);
		if (check_values(s, place, err))
			return err->code;
		end += end == text;
		for (; text < end; text++) {
			at_start = *text == '\n';
			place.line += has_lines && at_start;
		}
	}
	return 0;
}

int source_check(struct faults *f, struct place place, const char *text, struct err *err)
{
	/* A text is a file's, with what --set gave and the defaults put in. */
	struct source s = {.faults = f, .most = text ? 2 * MAX_VALUES : MAX_VALUES};

	return text ? check_text(&s, place, text, err) : check_file(&s, place.file, err);
}

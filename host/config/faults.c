/* SPDX-License-Identifier: MIT
 *
 * faults.c - what is wrong with a config, gathered. Contract: config_parts.h, settings.h
 * (config_fault). Tests: tests/test_errors.c.
 */
#include "host/config/config_parts.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

void fault(struct faults *f, struct place place, const char *format, ...)
{
	char line[1024];
	va_list args;
	int n;

	n = place.line ? snprintf(line, sizeof line / 2, "%s:%u: ", place.file, place.line)
		       : snprintf(line, sizeof line / 2, "%s%s: ", place.override ? "--set " : "",
				 place.file);
	n = n < (int)sizeof line / 2 ? n : (int)sizeof line / 2 - 1;
	va_start(args, format);
	vsnprintf(line + n, sizeof line - (size_t)n, format, args);
	va_end(args);
	if (f->n++ > 0 && vec_push(&f->lines, '\n', &f->memory))
		return;
	(void)vec_append(&f->lines, line, strlen(line), &f->memory);
}

void fault_memory(struct faults *f, const char *what, size_t bytes)
{
	err_nomem(&f->memory, what, bytes);
	f->n++;
}

void config_fault(struct faults *f, const char *key, const char *format, ...)
{
	const struct place *given = key_place(f->walk->given, key);
	char text[1024];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof text, format, args);
	va_end(args);
	if (given)
		fault(f, *given, "%s: %s", key, text);
	else
		fault(f, (struct place){f->walk->path, 0, false}, "%s (the default): %s", key,
			text);
}

bool mixes_types(const config_t *tree)
{
	return strstr(config_error_text(tree), "mismatched element type");
}

/* libconfig's words, and what to do where they do not tell. */
const char *parse_error(const config_t *tree, char *buffer, size_t size)
{
	snprintf(buffer, size, "%s%s", config_error_text(tree),
		mixes_types(tree)
			? ": a list in [ ] holds one kind, and all its numbers are written with a "
			  "point, or none is; texts and numbers together stand in ( )"
			: "");
	return buffer;
}

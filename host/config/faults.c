/* SPDX-License-Identifier: MIT
 *
 * faults.c - what is wrong with a config, gathered, and where it stands. Contract: config_parts.h,
 * settings.h (config_fault). Tests: tests/test_errors.c.
 */
#include "host/config/config_parts.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

void fault(struct faults *f, struct place place, const char *format, ...)
{
	char line[1024];
	struct err ignored;
	va_list args;
	int n;

	n = place.line ? snprintf(line, sizeof line / 2, "%s:%u: ", place.file, place.line)
		       : snprintf(line, sizeof line / 2, "%s: ", place.file);
	n = n < (int)sizeof line / 2 ? n : (int)sizeof line / 2 - 1;
	va_start(args, format);
	vsnprintf(line + n, sizeof line - (size_t)n, format, args);
	va_end(args);
	if (f->n++ > 0)
		(void)vec_push(&f->lines, '\n', &ignored);
	(void)vec_append(&f->lines, line, strlen(line), &ignored);
}

void config_fault(struct faults *f, const char *key, const char *format, ...)
{
	char text[1024];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof text, format, args);
	va_end(args);
	fault(f, place_of_key(*f->walk, key), "%s", text);
}

struct place place_of(const config_setting_t *s, const char *override)
{
	const char *file = config_setting_source_file(s);

	if (override)
		return (struct place){override, 0};
	return (struct place){file ? file : "?", (unsigned)config_setting_source_line(s)};
}

struct place place_of_key(struct walk w, const char *key)
{
	char group[256];

	snprintf(group, sizeof group, "%s", key);
	for (;;) {
		const config_setting_t *s = config_lookup(w.tree, group);
		char *dot = strrchr(group, '.');

		if (s)
			return place_of(s, NULL);
		if (!dot)
			return (struct place){w.path, 0};
		*dot = '\0';
	}
}

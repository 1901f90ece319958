/* SPDX-License-Identifier: MIT
 *
 * log.c - Contract: log.h.
 */
#include "host/base/log.h"

#include <stdarg.h>
#include <stdio.h>

static const char *line_prefix = "";

void log_set_prefix(const char *prefix)
{
	line_prefix = prefix;
}

void log_info(const char *format, ...)
{
	va_list args;

	fputs(line_prefix, stdout);
	va_start(args, format);
	vprintf(format, args);
	va_end(args);
	putchar('\n');
	fflush(stdout);
}

void log_warn(const char *format, ...)
{
	va_list args;

	fflush(stdout);
	fprintf(stderr, "%swarning: ", line_prefix);
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fputc('\n', stderr);
}

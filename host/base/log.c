/* SPDX-License-Identifier: MIT
 *
 * log.c - Contract: log.h.
 */
#include "host/base/log.h"

#include <stdarg.h>
#include <stdio.h>

void log_info(const char *format, ...)
{
	va_list args;

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
	fputs("warning: ", stderr);
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fputc('\n', stderr);
}

/* SPDX-License-Identifier: MIT
 *
 * err.c - formatting of error texts. Contract: err.h. Tests: tests/test_base.c.
 */
#include "host/base/err.h"

#include <stdio.h>
#include <string.h>

int err_set(struct err *err, int code, const char *format, ...)
{
	va_list args;

	err->code = code;
	va_start(args, format);
	vsnprintf(err->text, sizeof err->text, format, args);
	va_end(args);
	return code;
}

int err_prefix(struct err *err, const char *format, ...)
{
	char old[sizeof err->text];
	va_list args;
	int n;

	memcpy(old, err->text, sizeof old);
	va_start(args, format);
	n = vsnprintf(err->text, sizeof err->text, format, args);
	va_end(args);
	if (n >= 0 && (size_t)n < sizeof err->text)
		snprintf(err->text + n, sizeof err->text - (size_t)n, ": %s", old);
	return err->code;
}

int err_nomem(struct err *err, const char *what, unsigned long long bytes)
{
	return err_set(err, ERR_DEVICE, "out of memory: %s needs %llu bytes", what, bytes);
}

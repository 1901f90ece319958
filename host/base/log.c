/* SPDX-License-Identifier: MIT
 *
 * log.c - Contract: log.h.
 */
#include "host/base/log.h"

#include "host/base/utf8.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static const char *line_prefix = "";

void log_open_streams(void)
{
	int fd;

	do
		fd = open("/dev/null", O_RDWR);
	while (fd >= 0 && fd <= STDERR_FILENO);
	if (fd > STDERR_FILENO)
		close(fd);
}

int log_check_output(struct err *err)
{
	errno = 0;
	if (fflush(stdout) == 0 && !ferror(stdout))
		return 0;
	return err_set(err, ERR_OUTPUT, "standard output: cannot write: %s",
		errno ? strerror(errno) : "some of it is lost");
}

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

void log_error(const char *text)
{
	fflush(stdout);
	for (const char *end = text + strlen(text); text < end;) {
		const size_t length = *text == '\n' || *text == '\t'
					      ? 1
					      : utf8_printable(text, (size_t)(end - text));

		if (length)
			fwrite(text, 1, length, stderr);
		else
			fprintf(stderr, "\\x%02x", (unsigned)(unsigned char)*text);
		text += length ? length : 1;
	}
	fputc('\n', stderr);
}

/* SPDX-License-Identifier: MIT
 *
 * run_engine.c - Contract: run_engine.h.
 */
#include "tests/run_engine.h"

#include "tests/test.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

static void read_whole(const char *path, char *out, size_t size)
{
	FILE *file = fopen(path, "rb");
	size_t n = 0;

	if (file) {
		n = fread(out, 1, size - 1, file);
		fclose(file);
	}
	out[n] = '\0';
}

void engine_run(struct engine_run *run, const char *format, ...)
{
	char arguments[8192], command[10240], out[256], err[256];
	va_list args;
	int status;

	va_start(args, format);
	vsnprintf(arguments, sizeof arguments, format, args);
	va_end(args);
	snprintf(out, sizeof out, "%s/stdout", test_scratch_folder());
	snprintf(err, sizeof err, "%s/stderr", test_scratch_folder());
	snprintf(command, sizeof command, "cd '%s' && '%s' %s >'%s' 2>'%s'", test_source_root(),
		SAENGINE_BINARY, arguments, out, err);
	status = system(command);
	run->status = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
	read_whole(out, run->out, sizeof run->out);
	read_whole(err, run->err, sizeof run->err);
}

const char *write_scratch(const char *name, const char *content)
{
	static char path[512];
	FILE *file;

	snprintf(path, sizeof path, "%s/%s", test_scratch_folder(), name);
	file = fopen(path, "wb");
	if (!file || fputs(content, file) < 0) {
		perror(path);
		exit(1);
	}
	fclose(file);
	return path;
}

void copy_file(const char *from, const char *to, size_t offset, const void *bytes, size_t n,
	size_t size)
{
	FILE *in = fopen(from, "rb"), *out = fopen(to, "wb");
	char *content;
	long length;

	if (!in || !out) {
		perror(in ? to : from);
		exit(1);
	}
	fseek(in, 0, SEEK_END);
	length = ftell(in);
	rewind(in);
	content = malloc((size_t)length + n + offset + 1);
	if (fread(content, 1, (size_t)length, in) != (size_t)length)
		exit(1);
	memcpy(content + offset, bytes ? bytes : "", n);
	if (fwrite(content, 1, size ? size : (size_t)length, out) == 0)
		exit(1);
	free(content);
	fclose(in);
	fclose(out);
}

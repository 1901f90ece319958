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
#include <unistd.h>

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

static const char *output_path(const char *name)
{
	static char path[2][256];
	char *p = path[strcmp(name, "stdout") == 0];

	snprintf(p, sizeof path[0], "%s/%s", test_scratch_folder(), name);
	return p;
}

static pid_t start(const char *format, va_list args)
{
	char arguments[8192], command[12288];
	pid_t child;

	vsnprintf(arguments, sizeof arguments, format, args);
	snprintf(command, sizeof command, "cd '%s' && exec '%s' %s >'%s' 2>'%s'", test_source_root(),
		SAENGINE_BINARY, arguments, output_path("stdout"), output_path("stderr"));
	fflush(stdout);
	child = fork();
	if (child == 0) {
		execl("/bin/sh", "sh", "-c", command, NULL);
		_exit(127);
	}
	return child;
}

pid_t engine_start(const char *format, ...)
{
	va_list args;
	pid_t child;

	va_start(args, format);
	child = start(format, args);
	va_end(args);
	return child;
}

void engine_wait(struct engine_run *run, pid_t engine)
{
	int status = -1;

	waitpid(engine, &status, 0);
	run->status = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
	read_whole(output_path("stdout"), run->out, sizeof run->out);
	read_whole(output_path("stderr"), run->err, sizeof run->err);
}

void engine_run(struct engine_run *run, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	engine_wait(run, start(format, args));
	va_end(args);
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

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

static void output_path(const struct engine_process *process, const char *stream, char path[256])
{
	snprintf(path, 256, "%s/%s.%s", test_scratch_folder(), process->name, stream);
}

static struct engine_process start(const char *name, const char *launcher, const char *format,
	va_list args)
{
	struct engine_process process;
	char arguments[8192], command[12288], out[256], err[256];

	snprintf(process.name, sizeof process.name, "%s", name);
	output_path(&process, "out", out);
	output_path(&process, "err", err);
	vsnprintf(arguments, sizeof arguments, format, args);
	snprintf(command, sizeof command, "cd '%s' && exec %s '%s' %s >'%s' 2>'%s'",
		test_source_root(), launcher, SAENGINE_BINARY, arguments, out, err);
	fflush(stdout);
	process.pid = fork();
	if (process.pid == 0) {
		execl("/bin/sh", "sh", "-c", command, NULL);
		_exit(127);
	}
	return process;
}

struct engine_process engine_start(const char *name, const char *launcher, const char *format, ...)
{
	struct engine_process process;
	va_list args;

	va_start(args, format);
	process = start(name, launcher, format, args);
	va_end(args);
	return process;
}

void engine_wait(struct engine_run *run, const struct engine_process *process)
{
	char path[256];
	int status = -1;

	waitpid(process->pid, &status, 0);
	run->status = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
	output_path(process, "out", path);
	read_whole(path, run->out, sizeof run->out);
	output_path(process, "err", path);
	read_whole(path, run->err, sizeof run->err);
}

void engine_run(struct engine_run *run, const char *format, ...)
{
	struct engine_process process;
	va_list args;

	va_start(args, format);
	process = start("engine", "", format, args);
	va_end(args);
	engine_wait(run, &process);
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

/* SPDX-License-Identifier: MIT
 *
 * run_engine.h - running ./engine as a user does, from the repository's root.
 */
#ifndef SAENGINE_RUN_ENGINE_H
#define SAENGINE_RUN_ENGINE_H

#include <stddef.h>
#include <sys/types.h>

struct engine_run {
	int status;      /* exit status; -1 when it did not end by itself */
	char out[65536]; /* standard output, cut there */
	char err[16384]; /* standard error */
};

/* Runs the engine of this build with arguments as a shell would split them. */
void engine_run(struct engine_run *run, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/* An engine that runs. Several may, under different names. */
struct engine_process {
	pid_t pid;
	char name[32];
};

/* Starts it and returns at once. `launcher` comes before the engine's path: "mpirun -n 2", "". */
struct engine_process engine_start(const char *name, const char *launcher, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* Waits for it; status is -1 when a signal ended it. */
void engine_wait(struct engine_run *run, const struct engine_process *process);

/* Writes a file of the scratch folder; returns its path in static storage. */
const char *write_scratch(const char *name, const char *content);

/* Copies a file, then overwrites `n` bytes at `offset` (n may be 0) and cuts it to `size` bytes
 * (0 = all). */
void copy_file(const char *from, const char *to, size_t offset, const void *bytes, size_t n,
	size_t size);

#endif

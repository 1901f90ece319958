/* SPDX-License-Identifier: MIT
 *
 * memory.h - how much memory this process could still take before the machine or a control group
 * (a container, a Slurm job) stops it, or a limit of its address space (ulimit -v) refuses it more.
 *
 * Not all below this program can bear to be refused: oneDNN crashes, libconfig aborts, a stack that
 * cannot grow is a segmentation fault, and what the kernel stops for a control group nobody can
 * catch. So 64 MiB are kept for them: what the program takes of its own, and work that is about to
 * begin, is refused while so much is left.
 */
#ifndef SAENGINE_MEMORY_H
#define SAENGINE_MEMORY_H

#include "host/base/err.h"

#include <stdbool.h>
#include <stddef.h>

struct memory_left {
	size_t bytes;
	const char *limit; /* which limit is nearest, as the end of "... MiB are "; static */
};

/* What machine and control groups leave beyond what is kept. Pages that only cache files count as
 * free: they make room. Where nothing can be read, SIZE_MAX. */
struct memory_left memory_left(void);

/* The same, with what is kept, from other places than /proc and /sys/fs/cgroup, for tests. */
struct memory_left memory_left_in(const char *proc, const char *cgroup);

/* What the limit of address space leaves beyond what is kept, SIZE_MAX where there is none. Mapped
 * files and the whole stack of every thread have been taken from it. */
struct memory_left memory_left_of_space(void);

/* Whether the address space has room for `bytes` and for what is kept; without a limit it always
 * has. memory_check says so in words (ERR_DEVICE), naming what is about to take them. */
bool memory_fits(size_t bytes);
int memory_check(const char *what, size_t bytes, struct err *err);

/* The same of machine and control groups, before `bytes` are written to. */
int memory_check_machine(const char *what, size_t bytes, struct err *err);

/* Whether a piece just taken has left what is kept; else it must be given back. Pieces that were
 * free in the heap take nothing of the limit, which only shows afterwards. */
bool memory_taken(size_t bytes);

/* malloc for pieces that grow with the input: NULL also where they would not leave what is kept. */
void *memory_alloc(size_t bytes);

/* From now on memory that is freed stays with the process for what it asks for next: batches take
 * and leave the same megabytes over and over, and fresh pages of the system cost more than what is
 * written into them. Under a limit of address space threads share one heap as well, for each of
 * their own would reserve 64 MiB of it. For the start of a program. */
void memory_keep_freed(void);

#endif

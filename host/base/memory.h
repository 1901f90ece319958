/* SPDX-License-Identifier: MIT
 *
 * memory.h - how much memory this process could still take before the machine or a control group
 * (a container, a Slurm job) stops it.
 */
#ifndef SAENGINE_MEMORY_H
#define SAENGINE_MEMORY_H

#include <stddef.h>

struct memory_left {
	size_t bytes;
	const char *limit; /* which limit is nearest, as the end of "... MiB are "; static */
};

/* Pages that only cache files count as free: they make room. Where nothing can be read, SIZE_MAX.
 */
struct memory_left memory_left(void);

/* The same from other places than /proc and /sys/fs/cgroup, for tests. */
struct memory_left memory_left_in(const char *proc, const char *cgroup);

/* From now on memory that is freed stays with the process for what it asks for next: batches take
 * and leave the same megabytes over and over, and fresh pages of the system cost more than what is
 * written into them. For the start of a program. */
void memory_keep_freed(void);

#endif

/* SPDX-License-Identifier: MIT
 *
 * memory.c - Contract: memory.h. Tests: tests/test_base.c.
 *
 * The machine: MemAvailable of /proc/meminfo. Control groups: /proc/self/cgroup names the
 * process's own, in version 2 (one line "0::PATH") or for the memory controller of version 1
 * ("N:memory:PATH"); the group and all above it have limits. In a container the path may be that
 * outside while the files of the group lie at the root, so the root is always looked at.
 *
 * Address space: what /proc/self/statm says is in use, against the process's own limit.
 */
#include "host/base/memory.h"

#include "host/base/size.h"

#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#ifdef __GLIBC__
#include <malloc.h>
#endif

enum { PATH_SIZE = 1024 };

/* Left to libraries and stacks: of 40 limits of address space, runs on the small models crashed in
 * 3 with 4 MiB, in none with 16. HDF5 takes most, for the datasets that it joins. */
static const size_t KEPT = (size_t)64 << 20;

/* One version's files in a group's folder. */
struct version {
	const char *folder; /* below the root of all */
	const char *limit, *usage;
	const char *cached[2]; /* keys of memory.stat: read once, and read again */
};

static const struct version version_1 = {"/memory", "memory.limit_in_bytes",
	"memory.usage_in_bytes", {"total_inactive_file", "total_active_file"}};
static const struct version version_2 = {"", "memory.max", "memory.current",
	{"inactive_file", "active_file"}};

/* The number behind `key` at the start of a line, or, key "", the first of the file. */
static bool read_number(const char *folder, const char *name, const char *key, size_t *out)
{
	char path[2 * PATH_SIZE], line[256];
	const size_t n = strlen(key);
	bool found = false;
	FILE *file;

	snprintf(path, sizeof path, "%s/%s", folder, name);
	file = fopen(path, "r");
	while (file && !found && fgets(line, sizeof line, file)) {
		unsigned long long value;

		if (strncmp(line, key, n) == 0 && sscanf(line + n, " %llu", &value) == 1) {
			*out = (size_t)value;
			found = true;
		}
	}
	if (file)
		fclose(file);
	return found;
}

/* What a group leaves; "max" in version 2 is no number, and version 1 has a huge one. */
static void look_at_group(const char *folder, const struct version *v, struct memory_left *left)
{
	size_t limit, usage, bytes;

	if (!read_number(folder, v->limit, "", &limit) ||
		!read_number(folder, v->usage, "", &usage))
		return;
	for (int i = 0; i < 2; i++) {
		size_t cached = 0;

		read_number(folder, "memory.stat", v->cached[i], &cached);
		usage -= size_min(usage, cached);
	}
	bytes = limit - size_min(limit, usage);
	if (bytes < left->bytes)
		*left = (struct memory_left){bytes, "left of the control group's limit"};
}

/* `path` and its parents up to the root. */
static void look_at_groups(const char *cgroup, const struct version *v, char *path,
	struct memory_left *left)
{
	char folder[2 * PATH_SIZE];
	char *slash;

	do {
		snprintf(folder, sizeof folder, "%s%s%s", cgroup, v->folder, path);
		look_at_group(folder, v, left);
		slash = strrchr(path, '/');
		if (slash)
			*slash = '\0';
	} while (slash);
}

struct memory_left memory_left_in(const char *proc, const char *cgroup)
{
	struct memory_left left = {SIZE_MAX, "known to be available"};
	char path[PATH_SIZE], line[PATH_SIZE];
	size_t kib;
	FILE *file;

	if (read_number(proc, "meminfo", "MemAvailable:", &kib))
		left = (struct memory_left){kib * 1024, "available on this machine"};
	snprintf(path, sizeof path, "%s/self/cgroup", proc);
	file = fopen(path, "r");
	while (file && fgets(line, sizeof line, file)) {
		char *colon = strchr(line, ':'), *group = colon ? strchr(colon + 1, ':') : NULL;

		line[strcspn(line, "\n")] = '\0';
		if (group && strncmp(colon, "::", 2) == 0)
			look_at_groups(cgroup, &version_2, group + 1, &left);
		else if (group && strncmp(colon, ":memory:", 8) == 0)
			look_at_groups(cgroup, &version_1, group + 1, &left);
	}
	if (file)
		fclose(file);
	return left;
}

struct memory_left memory_left(void)
{
	struct memory_left left = memory_left_in("/proc", "/sys/fs/cgroup");

	left.bytes -= size_min(left.bytes, KEPT);
	return left;
}

/* ---- address space --------------------------------------------------------------------- */

/* A limit, and what of it is in use. */
struct space {
	size_t limit, used;
};

/* False without a limit. Reads without the C library's streams, which would take memory. */
static bool read_space(struct space *space)
{
	struct rlimit limit;
	char text[64] = "";
	ssize_t n;
	int fd;

	if (getrlimit(RLIMIT_AS, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY)
		return false;
	fd = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	n = read(fd, text, sizeof text - 1);
	close(fd);
	*space = (struct space){(size_t)limit.rlim_cur,
		(size_t)strtoull(text, NULL, 10) * (size_t)sysconf(_SC_PAGESIZE)};
	return n > 0;
}

static size_t free_of(const struct space *space)
{
	return space->limit - size_min(space->limit, space->used);
}

struct memory_left memory_left_of_space(void)
{
	struct memory_left left = {SIZE_MAX, "left of the limit of address space (ulimit -v)"};
	struct space space;

	if (read_space(&space))
		left.bytes = free_of(&space) - size_min(free_of(&space), KEPT);
	return left;
}

bool memory_fits(size_t bytes)
{
	struct space space;
	size_t needed;

	return !read_space(&space) ||
	       (!size_add_overflow(bytes, KEPT, &needed) && needed <= free_of(&space));
}

static double mib(size_t bytes)
{
	return (double)bytes / 0x1p20;
}

int memory_check(const char *what, size_t bytes, struct err *err)
{
	struct space space;

	if (memory_fits(bytes) || !read_space(&space))
		return 0;
	return err_set(err, ERR_DEVICE,
		"too little memory: %s: expected at least %.1f MiB of address space, found %.1f MiB left "
		"of the limit of %.1f MiB (ulimit -v)",
		what, mib(bytes) + mib(KEPT), mib(free_of(&space)), mib(space.limit));
}

int memory_check_machine(const char *what, size_t bytes, struct err *err)
{
	const struct memory_left left = memory_left_in("/proc", "/sys/fs/cgroup");
	size_t needed;

	if (!size_add_overflow(bytes, KEPT, &needed) && needed <= left.bytes)
		return 0;
	return err_set(err, ERR_DEVICE,
		"too little memory: %s: expected at least %.1f MiB, found %.1f MiB %s", what,
		mib(bytes) + mib(KEPT), mib(left.bytes), left.limit);
}

/* ---- taking it ------------------------------------------------------------------------- */

enum { SMALL = 1 << 16 }; /* smaller pieces are part of what is kept */

bool memory_taken(size_t bytes)
{
	return bytes < SMALL || memory_fits(0);
}

void *memory_alloc(size_t bytes)
{
	void *piece = malloc(bytes);

	if (piece && memory_taken(bytes))
		return piece;
	free(piece);
	return NULL;
}

void memory_keep_freed(void)
{
#ifdef __GLIBC__
	struct space space;

	if (read_space(&space))
		mallopt(M_ARENA_MAX, 1);
	/* Larger ones, such as files, come and go by themselves: with 32 MiB the tiny run peaks at
	 * twice the memory for the same time. */
	mallopt(M_MMAP_THRESHOLD, 8 << 20);
	mallopt(M_TRIM_THRESHOLD, 64 << 20);
#endif
}

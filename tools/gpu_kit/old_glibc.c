/* SPDX-License-Identifier: MIT
 *
 * old_glibc.c - what old_glibc.S cannot do by a jump.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <link.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/random.h>
#include <sys/stat.h>

/* ---- stat: inline calls of these before 2.33 --------------------------------------------- */

enum { STAT_VERSION = 1 }; /* the one layout of struct stat on x86-64 */

int __xstat(int version, const char *path, struct stat *out);
int __lxstat(int version, const char *path, struct stat *out);
int __fxstat(int version, int fd, struct stat *out);

__attribute__((visibility("hidden"))) int stat(const char *path, struct stat *out)
{
	return __xstat(STAT_VERSION, path, out);
}

__attribute__((visibility("hidden"))) int lstat(const char *path, struct stat *out)
{
	return __lxstat(STAT_VERSION, path, out);
}

__attribute__((visibility("hidden"))) int fstat(int fd, struct stat *out)
{
	return __fxstat(STAT_VERSION, fd, out);
}

/* ---- for the C++ library: threads there may be, random numbers, an exception's tables ------ */

__attribute__((visibility("hidden"))) char __libc_single_threaded = 0;

__attribute__((visibility("hidden"))) uint32_t arc4random(void)
{
	uint32_t number;

	while (getrandom(&number, sizeof number, 0) != sizeof number)
		;
	return number;
}

struct object_of {
	void *pc;
	struct dl_find_object *out;
};

/* Fills *out and ends the walk when the object holds pc. */
static int look_at(struct dl_phdr_info *object, size_t bytes, void *context)
{
	const struct object_of *of = context;
	const char *pc = of->pc;
	const char *tables = NULL, *start = NULL, *end = NULL;

	(void)bytes;
	for (int i = 0; i < object->dlpi_phnum; i++) {
		const ElfW(Phdr) *part = &object->dlpi_phdr[i];
		const char *at = (const char *)object->dlpi_addr + part->p_vaddr;

		if (part->p_type == PT_GNU_EH_FRAME)
			tables = at;
		if (part->p_type == PT_LOAD && pc >= at && pc < at + part->p_memsz) {
			start = at;
			end = at + part->p_memsz;
		}
	}
	if (!start || !tables)
		return 0;
	*of->out = (struct dl_find_object){.dlfo_map_start = (void *)start,
		.dlfo_map_end = (void *)end,
		.dlfo_eh_frame = (void *)tables};
	return 1;
}

__attribute__((visibility("hidden"))) int _dl_find_object(void *pc, struct dl_find_object *out)
{
	struct object_of of = {pc, out};

	return dl_iterate_phdr(look_at, &of) ? 0 : -1;
}

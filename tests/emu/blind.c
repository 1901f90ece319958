/* SPDX-License-Identifier: MIT
 *
 * blind.c - a library to preload: who maps the file that BLIND_OF names gets BLIND_BY in its place,
 * of the same size; who reads it gets the file itself.
 */
#include <dlfcn.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static bool is_that_file(int fd)
{
	const char *of = getenv("BLIND_OF");
	struct stat a, b;

	return of && fd >= 0 && fstat(fd, &a) == 0 && stat(of, &b) == 0 && a.st_dev == b.st_dev &&
	       a.st_ino == b.st_ino;
}

void *mmap(void *at, size_t n, int protection, int flags, int fd, off_t offset)
{
	void *(*real)(void *, size_t, int, int, int, off_t);
	const int by = is_that_file(fd) ? open(getenv("BLIND_BY"), O_RDONLY | O_CLOEXEC) : -1;
	void *map;

	*(void **)&real = dlsym(RTLD_NEXT, "mmap");
	map = real(at, n, protection, flags, by >= 0 ? by : fd, offset);
	if (by >= 0)
		close(by);
	return map;
}

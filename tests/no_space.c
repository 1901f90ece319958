/* SPDX-License-Identifier: MIT
 *
 * no_space.c - a library to preload: after FAULT_AFTER bytes every write to a file fails with
 * FAULT_ERRNO (28 is a full disk, 5 a broken one). Standard streams are left alone.
 */
#include <dlfcn.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/types.h>
#include <unistd.h>

static long long written;

static int fails(int fd, size_t n)
{
	const char *after = getenv("FAULT_AFTER"), *number = getenv("FAULT_ERRNO");

	if (fd <= 2 || !after || !number)
		return 0;
	written += (long long)n;
	if (written <= atoll(after))
		return 0;
	errno = atoi(number);
	return 1;
}

typedef ssize_t write_function(int fd, const void *data, size_t n);
typedef ssize_t pwrite_function(int fd, const void *data, size_t n, off_t at);

ssize_t write(int fd, const void *data, size_t n)
{
	write_function *real;

	*(void **)&real = dlsym(RTLD_NEXT, "write");
	return fails(fd, n) ? -1 : real(fd, data, n);
}

ssize_t pwrite(int fd, const void *data, size_t n, off_t at)
{
	pwrite_function *real;

	*(void **)&real = dlsym(RTLD_NEXT, "pwrite");
	return fails(fd, n) ? -1 : real(fd, data, n, at);
}

ssize_t pwrite64(int fd, const void *data, size_t n, off_t at)
{
	pwrite_function *real;

	*(void **)&real = dlsym(RTLD_NEXT, "pwrite64");
	return fails(fd, n) ? -1 : real(fd, data, n, at);
}

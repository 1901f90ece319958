/* SPDX-License-Identifier: MIT
 *
 * dies.c - a library to preload: the process kills itself once it has passed DIES_AFTER bytes over
 * sockets, in the middle of a message.
 */
#include <dlfcn.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

static long long passed;

static ssize_t count(ssize_t n)
{
	const char *after = getenv("DIES_AFTER");

	passed += n > 0 ? n : 0;
	if (after && passed > atoll(after))
		kill(getpid(), SIGKILL);
	return n;
}

ssize_t send(int socket, const void *data, size_t n, int flags)
{
	ssize_t (*real)(int, const void *, size_t, int);

	*(void **)&real = dlsym(RTLD_NEXT, "send");
	return count(real(socket, data, n, flags));
}

ssize_t recv(int socket, void *data, size_t n, int flags)
{
	ssize_t (*real)(int, void *, size_t, int);

	*(void **)&real = dlsym(RTLD_NEXT, "recv");
	return count(real(socket, data, n, flags));
}

/* SPDX-License-Identifier: MIT
 *
 * faults.c - a library to preload: calls of one kind are counted, and some of them fail.
 *
 *	FAULT_CALLS   the kind: a row of `kinds`
 *	FAULT_FIRST   the first call that fails, from 1; none without it
 *	FAULT_LAST    the last one; without it all after the first
 *	FAULT_BYTES   instead: writes fail as soon as they would make more than so many bytes
 *	FAULT_ERRNO   what they fail with: 28 is a full disk, 5 a broken one
 *	FAULT_COUNTS  a file that gets, at exit, the number of calls and then, a line each, the
 *	              number of the first call of every place in the program
 *
 * Memory and threads count where the program itself asks for them, and not a library: what those
 * do without memory is theirs. Files count whoever opens, reads or writes them, standard streams
 * and the system's own files (/proc, /sys, /dev, /etc, /usr) apart. A stream that is written fails
 * as a whole call, though a real one may fail later, when it is closed: that counts as a write too.
 *
 * The clock of day stands still: HDF5 writes the second into files, and so equal work leaves equal
 * bytes.
 */
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <unistd.h>

enum kind { MEMORY, THREAD, OPEN, READ, MAP, WRITE, SYNC, RENAME, FOLDER, REMOVE, N_KINDS };

static const char *const kinds[N_KINDS] = {[MEMORY] = "memory",
	[THREAD] = "thread",
	[OPEN] = "open",
	[READ] = "read",
	[MAP] = "map",
	[WRITE] = "write",
	[SYNC] = "sync",
	[RENAME] = "rename",
	[FOLDER] = "folder",
	[REMOVE] = "remove"};

static struct {
	int kind; /* N_KINDS: none */
	unsigned long first, last;
	long long bytes; /* -1: no limit */
	int number;
	const char *counts;
	uintptr_t begin, end; /* the program's own code */
} fault = {.kind = N_KINDS, .bytes = -1};

static atomic_ulong n_calls;
static atomic_llong n_bytes;

/* The places that have called, and their first call's number. */
enum { PLACES = 4096 };
static _Atomic uintptr_t places[PLACES];
static unsigned long first_calls[PLACES];

static void note_place(uintptr_t place, unsigned long n)
{
	for (size_t i = place % PLACES;; i = (i + 1) % PLACES) {
		uintptr_t there = 0;

		if (atomic_compare_exchange_strong(&places[i], &there, place)) {
			first_calls[i] = n;
			return;
		}
		if (there == place)
			return;
	}
}

static int take_program(struct dl_phdr_info *info, size_t size, void *unused)
{
	(void)size, (void)unused;
	for (int i = 0; i < info->dlpi_phnum; i++) {
		const ElfW(Phdr) *h = &info->dlpi_phdr[i];

		if (h->p_type == PT_LOAD && h->p_flags & PF_X) {
			fault.begin = info->dlpi_addr + h->p_vaddr;
			fault.end = fault.begin + h->p_memsz;
		}
	}
	return 1; /* the program comes first */
}

static unsigned long number_of(const char *name, unsigned long otherwise)
{
	const char *text = getenv(name);

	return text ? strtoul(text, NULL, 10) : otherwise;
}

__attribute__((constructor)) static void begin(void)
{
	const char *kind = getenv("FAULT_CALLS"), *bytes = getenv("FAULT_BYTES");

	dl_iterate_phdr(take_program, NULL);
	fault.first = number_of("FAULT_FIRST", 0);
	fault.last = number_of("FAULT_LAST", -1ul);
	fault.bytes = bytes ? atoll(bytes) : -1;
	fault.number = (int)number_of("FAULT_ERRNO", EIO);
	fault.counts = getenv("FAULT_COUNTS");
	for (int i = 0; kind && i < N_KINDS; i++)
		if (strcmp(kind, kinds[i]) == 0)
			fault.kind = i;
}

__attribute__((destructor)) static void end(void)
{
	const int kind = fault.kind;
	FILE *to;

	fault.kind = N_KINDS;
	to = fault.counts && kind != N_KINDS ? fopen(fault.counts, "w") : NULL;
	if (!to)
		return;
	fprintf(to, "%lu\n", atomic_load(&n_calls));
	for (size_t i = 0; i < PLACES; i++)
		if (places[i])
			fprintf(to, "%lu\n", first_calls[i]);
	fclose(to);
}

static atomic_bool is_over;

static void take_end(void)
{
	is_over = true;
}

/* Whether this call is to fail. What comes when main has returned is not the program's own: with
 * --coverage its counters are written then. */
static bool fails(enum kind kind, const void *caller)
{
	static atomic_flag watching = ATOMIC_FLAG_INIT;
	unsigned long n;

	if (fault.kind != (int)kind || is_over)
		return false;
	if (!atomic_flag_test_and_set(&watching))
		atexit(take_end);
	n = atomic_fetch_add(&n_calls, 1) + 1;
	if (fault.counts)
		note_place((uintptr_t)caller, n);
	if (!fault.first || n < fault.first || n > fault.last)
		return false;
	errno = kind == MEMORY ? ENOMEM : fault.number;
	return true;
}

static bool is_programs(const void *caller)
{
	return (uintptr_t)caller >= fault.begin && (uintptr_t)caller < fault.end;
}

static bool no_memory(const void *caller)
{
	return fault.kind == MEMORY && is_programs(caller) && fails(MEMORY, caller);
}

static bool is_systems(const char *path)
{
	static const char *const folders[] = {"/proc/", "/sys/", "/dev/", "/etc/", "/usr/"};

	for (size_t i = 0; i < sizeof folders / sizeof *folders; i++)
		if (strncmp(path, folders[i], strlen(folders[i])) == 0)
			return true;
	return false;
}

static bool file_fails(enum kind kind, const char *path, const void *caller)
{
	return fault.kind == (int)kind && !is_systems(path) && fails(kind, caller);
}

static bool is_systems_fd(int fd)
{
	char link[64], path[4096];
	ssize_t n;

	snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
	n = readlink(link, path, sizeof path - 1);
	path[n > 0 ? n : 0] = '\0';
	return path[0] != '/' || is_systems(path);
}

static bool fd_fails(enum kind kind, int fd, const void *caller)
{
	return fault.kind == (int)kind && fd > 2 && !is_systems_fd(fd) && fails(kind, caller);
}

static bool write_fails(int fd, size_t n, const void *caller)
{
	if (fault.bytes < 0)
		return fd_fails(WRITE, fd, caller);
	if (fd <= 2 || atomic_fetch_add(&n_bytes, (long long)n) + (long long)n <= fault.bytes)
		return false;
	errno = fault.number;
	return true;
}

/* The function of this name that would have been called. */
#define REAL(name) \
	static __typeof__(name) *real; \
	if (!real) \
	*(void **)&real = dlsym(RTLD_NEXT, #name)
#define CALLER __builtin_return_address(0)

/* ---- memory ---------------------------------------------------------------------------- */

void *malloc(size_t n)
{
	REAL(malloc);
	return no_memory(CALLER) ? NULL : real(n);
}

void *calloc(size_t n, size_t size)
{
	REAL(calloc);
	return no_memory(CALLER) ? NULL : real(n, size);
}

void *realloc(void *p, size_t n)
{
	REAL(realloc);
	return no_memory(CALLER) ? NULL : real(p, n);
}

int posix_memalign(void **p, size_t alignment, size_t n)
{
	REAL(posix_memalign);
	return no_memory(CALLER) ? ENOMEM : real(p, alignment, n);
}

char *strdup(const char *s)
{
	REAL(strdup);
	return no_memory(CALLER) ? NULL : real(s);
}

char *strndup(const char *s, size_t n)
{
	REAL(strndup);
	return no_memory(CALLER) ? NULL : real(s, n);
}

int vasprintf(char **out, const char *format, va_list args)
{
	REAL(vasprintf);
	return no_memory(CALLER) ? -1 : real(out, format, args);
}

int asprintf(char **out, const char *format, ...)
{
	va_list args;
	int n = -1;

	if (no_memory(CALLER))
		return -1;
	va_start(args, format);
	n = vasprintf(out, format, args);
	va_end(args);
	return n;
}

FILE *open_memstream(char **out, size_t *n)
{
	REAL(open_memstream);
	return no_memory(CALLER) ? NULL : real(out, n);
}

char *realpath(const char *path, char *out)
{
	REAL(realpath);
	return no_memory(CALLER) ? NULL : real(path, out);
}

int pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*run)(void *),
	void *argument)
{
	REAL(pthread_create);
	if (fault.kind == THREAD && is_programs(CALLER) && fails(THREAD, CALLER))
		return EAGAIN;
	return real(thread, attributes, run, argument);
}

/* ---- files ----------------------------------------------------------------------------- */

#define OPEN_FUNCTION(name) \
	int name(const char *path, int flags, ...) \
	{ \
		va_list args; \
		mode_t mode; \
		REAL(name); \
\
		va_start(args, flags); \
		mode = va_arg(args, mode_t); \
		va_end(args); \
		return file_fails(OPEN, path, CALLER) ? -1 : real(path, flags, mode); \
	}
OPEN_FUNCTION(open)
OPEN_FUNCTION(open64)

FILE *fopen(const char *path, const char *mode)
{
	REAL(fopen);
	return file_fails(OPEN, path, CALLER) ? NULL : real(path, mode);
}

FILE *fopen64(const char *path, const char *mode)
{
	REAL(fopen64);
	return file_fails(OPEN, path, CALLER) ? NULL : real(path, mode);
}

DIR *opendir(const char *path)
{
	REAL(opendir);
	return file_fails(OPEN, path, CALLER) ? NULL : real(path);
}

struct dirent *readdir(DIR *dir)
{
	REAL(readdir);
	return fd_fails(READ, dirfd(dir), CALLER) ? NULL : real(dir);
}

ssize_t read(int fd, void *data, size_t n)
{
	REAL(read);
	return fd_fails(READ, fd, CALLER) ? -1 : real(fd, data, n);
}

ssize_t pread(int fd, void *data, size_t n, off_t at)
{
	REAL(pread);
	return fd_fails(READ, fd, CALLER) ? -1 : real(fd, data, n, at);
}

ssize_t pread64(int fd, void *data, size_t n, off64_t at)
{
	REAL(pread64);
	return fd_fails(READ, fd, CALLER) ? -1 : real(fd, data, n, at);
}

ssize_t write(int fd, const void *data, size_t n)
{
	REAL(write);
	return write_fails(fd, n, CALLER) ? -1 : real(fd, data, n);
}

ssize_t pwrite(int fd, const void *data, size_t n, off_t at)
{
	REAL(pwrite);
	return write_fails(fd, n, CALLER) ? -1 : real(fd, data, n, at);
}

ssize_t pwrite64(int fd, const void *data, size_t n, off64_t at)
{
	REAL(pwrite64);
	return write_fails(fd, n, CALLER) ? -1 : real(fd, data, n, at);
}

int ftruncate(int fd, off_t n)
{
	REAL(ftruncate);
	return fd_fails(WRITE, fd, CALLER) ? -1 : real(fd, n);
}

int ftruncate64(int fd, off64_t n)
{
	REAL(ftruncate64);
	return fd_fails(WRITE, fd, CALLER) ? -1 : real(fd, n);
}

void *mmap(void *address, size_t n, int protection, int flags, int fd, off_t at)
{
	REAL(mmap);
	return fd_fails(MAP, fd, CALLER) ? MAP_FAILED : real(address, n, protection, flags, fd, at);
}

/* What it is for, a power cut, no test makes; and it is slow. */
int fsync(int fd)
{
	return fd_fails(SYNC, fd, CALLER) ? -1 : 0;
}

int rename(const char *from, const char *to)
{
	REAL(rename);
	return file_fails(RENAME, from, CALLER) ? -1 : real(from, to);
}

int mkdir(const char *path, mode_t mode)
{
	REAL(mkdir);
	return file_fails(FOLDER, path, CALLER) ? -1 : real(path, mode);
}

int unlink(const char *path)
{
	REAL(unlink);
	return file_fails(REMOVE, path, CALLER) ? -1 : real(path);
}

int remove(const char *path)
{
	REAL(remove);
	return file_fails(REMOVE, path, CALLER) ? -1 : real(path);
}

/* ---- streams --------------------------------------------------------------------------- */

/* libconfig's scanner ends the program, with 2, where it cannot read. */
static bool is_scanner(const void *caller)
{
	Dl_info info;

	return dladdr(caller, &info) && strstr(info.dli_fname, "libconfig");
}

size_t fread(void *data, size_t size, size_t n, FILE *from)
{
	REAL(fread);
	if (fault.kind != READ || is_scanner(CALLER) || !fd_fails(READ, fileno(from), CALLER))
		return real(data, size, n, from);
	from->_flags |= _IO_ERR_SEEN;
	return 0;
}

size_t fwrite(const void *data, size_t size, size_t n, FILE *to)
{
	REAL(fwrite);
	return fd_fails(WRITE, fileno(to), CALLER) ? 0 : real(data, size, n, to);
}

/* A stream into memory has no descriptor, and may lack memory when it is closed. */
int fclose(FILE *file)
{
	const int fd = fault.kind == WRITE || fault.kind == MEMORY ? fileno(file) : 0;
	const bool failed = fd < 0 ? no_memory(CALLER) : fd_fails(WRITE, fd, CALLER);
	const int number = errno;
	REAL(fclose);

	if (!failed)
		return real(file);
	real(file);
	errno = number;
	return EOF;
}

/* ---- time ------------------------------------------------------------------------------ */

int gettimeofday(struct timeval *restrict now, void *restrict zone)
{
	(void)zone;
	*now = (struct timeval){.tv_sec = 1000000000};
	return 0;
}

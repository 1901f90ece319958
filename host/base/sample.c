/* SPDX-License-Identifier: MIT
 *
 * sample.c - Contract: sample.h. Tests: tests/test_base.c.
 */
#include "host/base/sample.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { BYTES = sizeof(uint64_t) + 2 * SAMPLE_END + SAMPLE_BLOCKS * SAMPLE_BLOCK };

static int read_at(int fd, unsigned char *to, size_t n, size_t at, const char *path,
	struct err *err)
{
	while (n > 0) {
		const ssize_t got = pread(fd, to, n, (off_t)at);

		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			return err_set(err, ERR_INPUT, "%s: %s", path,
				got < 0 ? strerror(errno) : "it has become shorter");
		to += got;
		at += (size_t)got;
		n -= (size_t)got;
	}
	return 0;
}

/* The blocks divide what is between the ends into equal parts, and begin each. */
static int read_sample(int fd, size_t size, unsigned char *bytes, const char *path, struct err *err)
{
	const size_t apart = (size - 2 * SAMPLE_END) / SAMPLE_BLOCKS;

	for (size_t i = 0; i < sizeof(uint64_t); i++)
		*bytes++ = (unsigned char)((uint64_t)size >> 8 * i);
	TRY(read_at(fd, bytes, SAMPLE_END, 0, path, err));
	bytes += SAMPLE_END;
	for (size_t b = 0; b < SAMPLE_BLOCKS; b++, bytes += SAMPLE_BLOCK)
		TRY(read_at(fd, bytes, SAMPLE_BLOCK, SAMPLE_END + b * apart, path, err));
	TRY(read_at(fd, bytes, SAMPLE_END, size - SAMPLE_END, path, err));
	return 0;
fail:
	return err->code;
}

static int sample_large(int fd, size_t size, const char *path, char hex[SHA256_HEX],
	struct err *err)
{
	unsigned char *bytes = malloc(BYTES);

	err_clear(err);
	if (!bytes)
		return err_nomem(err, path, BYTES);
	/* A network disk need not read ahead of blocks. */
	(void)posix_fadvise(fd, 0, 0, POSIX_FADV_RANDOM);
	if (read_sample(fd, size, bytes, path, err) == 0)
		sha256_bytes(bytes, BYTES, hex);
	free(bytes);
	return err->code;
}

int sample_file(const char *path, char hex[SHA256_HEX], struct err *err)
{
	size_t size;
	int fd;

	if (file_open(path, &fd, &size, err))
		return err->code;
	if (size <= SAMPLE_WHOLE)
		sha256_file(path, hex, err);
	else
		sample_large(fd, size, path, hex, err);
	close(fd);
	return err->code;
}

/* SPDX-License-Identifier: MIT
 *
 * seal.c - Contract: seal.h. Tests: tests/test_seals.c.
 */
#include "host/store/seal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char FIRST[] = "saengine unit 1\n";

/* The lines that are hashed; false where they do not fit. */
static bool print_lines(const struct seal *s, char block[SEAL_BYTES], size_t *n)
{
	const int length = snprintf(block, SEAL_BYTES, "%srun %s\nstage %s\nunit %zu of %zu\n",
		FIRST, s->run, s->stage, s->unit, s->n);

	*n = length < 0 ? SEAL_BYTES : (size_t)length;
	return *n + sizeof "sha256 \n" + SHA256_HEX < SEAL_BYTES;
}

/* SHA-256 of the lines and of what follows the block. False: errno. */
static bool hash_rest(int fd, const char *lines, size_t n_lines, char hex[SHA256_HEX])
{
	enum { CHUNK = 1 << 18 }; /* stays in cache between the copy and the hash */
	struct sha256 *hash = sha256_begin();
	char *chunk = malloc(CHUNK);
	off_t at = SEAL_BYTES;
	ssize_t n = -1;

	errno = ENOMEM;
	if (hash && chunk) {
		sha256_add(hash, lines, n_lines);
		while ((n = pread(fd, chunk, CHUNK, at)) > 0) {
			sha256_add(hash, chunk, (size_t)n);
			at += n;
		}
		sha256_hex(hash, hex);
	}
	sha256_end(hash);
	free(chunk);
	return n == 0;
}

/* `code`, or ERR_DEVICE for want of memory. */
static int failed(const char *path, enum err_code code, const char *what, struct err *err)
{
	if (errno == ENOMEM)
		return err_nomem(err, path, SEAL_BYTES);
	return err_set(err, code, "%s: cannot %s: %s", path, what, strerror(errno));
}

int seal_write(const char *path, const struct seal *seal, struct err *err)
{
	char block[SEAL_BYTES] = "", hex[SHA256_HEX];
	const int fd = open(path, O_RDWR | O_NOFOLLOW | O_CLOEXEC);
	bool written = false;
	size_t n;

	if (fd < 0)
		return err_set(err, ERR_OUTPUT, "%s: cannot seal: %s", path, strerror(errno));
	if (!print_lines(seal, block, &n)) {
		close(fd);
		return err_set(err, ERR_INTERNAL, "%s: expected lines of a seal below %d bytes",
			path, SEAL_BYTES);
	}
	if (hash_rest(fd, block, n, hex)) {
		snprintf(block + n, SEAL_BYTES - n, "sha256 %s\n", hex);
		errno = ENOSPC; /* of less than all, where no other reason is given */
		written = pwrite(fd, block, SEAL_BYTES, 0) == SEAL_BYTES;
	}
	if (!written)
		failed(path, ERR_OUTPUT, "seal", err);
	if (close(fd) != 0 && written)
		return err_set(err, ERR_OUTPUT, "%s: cannot seal: %s", path, strerror(errno));
	return written ? 0 : err->code;
}

/* ---- checking -------------------------------------------------------------------------- */

/* A seal as it was read. */
struct found {
	struct seal seal;
	char hex[SHA256_HEX];
	char lines[SEAL_BYTES]; /* those that were hashed */
	size_t n_lines;
};

/* The block must be what print_lines and the hash make, to the last byte. */
static bool parse(const char block[SEAL_BYTES + 1], struct found *f)
{
	char again[SEAL_BYTES] = "";
	int n = 0;

	*f = (struct found){0};
	if (strncmp(block, FIRST, sizeof FIRST - 1) != 0 ||
		sscanf(block + sizeof FIRST - 1,
			"run %64[0-9a-f]\nstage %255[A-Za-z0-9._-]\nunit %zu of %zu\nsha256 %64[0-9a-f]%n",
			f->seal.run, f->seal.stage, &f->seal.unit, &f->seal.n, f->hex, &n) != 5 ||
		!print_lines(&f->seal, f->lines, &f->n_lines))
		return false;
	memcpy(again, f->lines, f->n_lines);
	snprintf(again + f->n_lines, SEAL_BYTES - f->n_lines, "sha256 %s\n", f->hex);
	return memcmp(again, block, SEAL_BYTES) == 0;
}

/* Opened without waiting for a pipe's other end and without following a link. */
static int open_file(const char *path, int *fd, struct err *err)
{
	struct stat st;

	*fd = open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (*fd < 0)
		return err_set(err, ERR_INPUT, "%s: %s", path,
			errno == ELOOP ? "expected a file, found a link" : strerror(errno));
	if (fstat(*fd, &st) == 0 && S_ISREG(st.st_mode))
		return 0;
	close(*fd);
	return err_set(err, ERR_INPUT, "%s: expected a file, found a folder, a pipe or a device",
		path);
}

static int compare(const char *path, const struct seal *found, const struct seal *expected,
	struct err *err)
{
	if (strcmp(found->run, expected->run) != 0)
		return err_set(err, ERR_INPUT,
			"%s: expected a unit of run %.12s, found one of run %.12s", path,
			expected->run, found->run);
	if (strcmp(found->stage, expected->stage) != 0)
		return err_set(err, ERR_INPUT,
			"%s: expected a unit of stage %s, found one of stage %s", path,
			expected->stage, found->stage);
	if (found->unit != expected->unit || (expected->n > 0 && found->n != expected->n))
		return err_set(err, ERR_INPUT,
			"%s: expected unit %zu%s%.0zu, found unit %zu of %zu", path, expected->unit,
			expected->n > 0 ? " of " : "", expected->n, found->unit, found->n);
	return 0;
}

/* Leaves the file open at *fd, which is -1 on an error. */
static int open_sealed(const char *path, const struct seal *expected, struct found *found, int *fd,
	struct err *err)
{
	char block[SEAL_BYTES + 1] = "";

	if (open_file(path, fd, err)) {
		*fd = -1;
		return err->code;
	}
	if (pread(*fd, block, SEAL_BYTES, 0) != SEAL_BYTES || !parse(block, found))
		err_set(err, ERR_INPUT, "%s: expected a unit with its seal, found %s", path,
			block[0] ? "something else" : "none");
	else if (!expected || compare(path, &found->seal, expected, err) == 0)
		return 0;
	close(*fd);
	*fd = -1;
	return err->code;
}

int seal_check_lines(const char *path, const struct seal *expected, struct err *err)
{
	struct found found;
	int fd;

	if (open_sealed(path, expected, &found, &fd, err))
		return err->code;
	close(fd);
	return 0;
}

int seal_check(const char *path, const struct seal *expected, struct err *err)
{
	struct found found;
	char hex[SHA256_HEX] = "";
	int fd;

	err_clear(err);
	if (open_sealed(path, expected, &found, &fd, err))
		return err->code;
	if (!hash_rest(fd, found.lines, found.n_lines, hex))
		failed(path, ERR_INPUT, "be read", err);
	else if (strcmp(hex, found.hex) != 0)
		err_set(err, ERR_INPUT,
			"%s: its bytes are not those that were written (SHA-256 %.12s..., sealed "
			"with %.12s...)",
			path, hex, found.hex);
	close(fd);
	return err->code;
}

bool seal_is_there(const char *path)
{
	char first[sizeof FIRST] = "";
	struct err ignored;
	bool is;
	int fd;

	if (open_file(path, &fd, &ignored))
		return false;
	is = pread(fd, first, sizeof FIRST - 1, 0) == (ssize_t)(sizeof FIRST - 1) &&
	     strcmp(first, FIRST) == 0;
	close(fd);
	return is;
}

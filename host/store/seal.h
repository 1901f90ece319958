/* SPDX-License-Identifier: MIT
 *
 * seal.h - the first SEAL_BYTES of a unit's file, before what HDF5 knows of (its user block): whose
 * the file is, and that its bytes are those that were written.
 *
 *	saengine unit 1
 *	run SHA-256 of the run's manifest
 *	stage 03-direction-harmful
 *	unit 12 of 40
 *	sha256 SHA-256 of the lines above and of all bytes behind the block
 *
 * and zeros to the end of the block. So by hand: (head -n 4 FILE; tail -c +1025 FILE) | sha256sum.
 */
#ifndef SAENGINE_SEAL_H
#define SAENGINE_SEAL_H

#include "host/base/err.h"
#include "host/base/sha256.h"

#include <stdbool.h>
#include <stddef.h>

enum { SEAL_BYTES = 1024 }; /* a size that HDF5 allows */

struct seal {
	char run[SHA256_HEX];
	char stage[256]; /* the name of the stage's folder */
	size_t unit, n;  /* of n; when one is expected, n = 0 is any */
};

/* Seals a file whose first SEAL_BYTES are free. Errors: memory; ERR_OUTPUT; ERR_INTERNAL when the
 * lines do not fit. */
int seal_write(const char *path, const struct seal *seal, struct err *err);

/* Whether a regular file, not a link, lies there and its seal has the lines that are `expected`;
 * NULL is any. What lies there is never waited for. Errors: ERR_INPUT, with what was found. */
int seal_check_lines(const char *path, const struct seal *expected, struct err *err);

/* The same, and that all bytes are those that were sealed; reads them once. Errors: memory too. */
int seal_check(const char *path, const struct seal *expected, struct err *err);

/* Whether a file begins as sealed ones do. */
bool seal_is_there(const char *path);

#endif

/* SPDX-License-Identifier: MIT
 *
 * err.h - the one error convention of the project.
 *
 * Every function that can fail returns int: 0 is success, anything else is the `code` of the
 * caller's `struct err`, whose `text` says what was expected and what was found. `exit` appears
 * only in main, which turns the code into the process's exit status unchanged.
 *
 * An assert means our bug; an err means the user's file, machine or numbers.
 */
#ifndef SAENGINE_ERR_H
#define SAENGINE_ERR_H

#include <stdarg.h>

enum err_code {
	ERR_INTERNAL = 1, /* our bug, reported instead of crashing */
	ERR_CONFIG = 2,   /* usage or configuration */
	ERR_INPUT = 3,    /* an input file is missing or malformed */
	ERR_DEVICE = 4,   /* device failure or out of memory */
	ERR_OUTPUT = 5,   /* the result could not be written */
	ERR_STOPPED = 85  /* stopped by a signal; what was finished is on disk */
};

struct err {
	int code;
	char text[4096];
};

/* Sets code and text, replacing whatever was there. Returns `code`, so that
 * `return err_set(...)` is the usual form. Text beyond the buffer is cut. */
int err_set(struct err *err, int code, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* Puts "format: " before the text already there: the caller adds where it happened, the callee
 * said what. Returns err->code. */
int err_prefix(struct err *err, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Out of host memory, in the words used everywhere. Returns ERR_DEVICE. */
int err_nomem(struct err *err, const char *what, unsigned long long bytes);

/* For functions whose success runs into the cleanup at `fail:` and returns err->code there. */
static inline void err_clear(struct err *err)
{
	err->code = 0;
}

/* Jumps to the function's `fail:` label, where the ordinary close runs on the half-built object
 * and `return err->code;` follows. */
#define TRY(call) \
	do { \
		if ((call) != 0) \
			goto fail; \
	} while (0)

#endif

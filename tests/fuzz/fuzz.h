/* SPDX-License-Identifier: MIT
 *
 * fuzz.h - what every fuzz target is: one function of one input. See README.md.
 */
#ifndef SAENGINE_FUZZ_H
#define SAENGINE_FUZZ_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

/* Runs the parser over `size` bytes. Returns 0. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A property that every input must have, broken: as loud as a memory error, in every build. */
#define MUST(condition) \
	do { \
		if (!(condition)) { \
			fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition); \
			abort(); \
		} \
	} while (0)

/* Every error says something and has the code of bad input; success has neither. */
#define MUST_EXPLAIN(rc, err) \
	MUST((rc) == 0 || ((rc) == (err).code && (err).text[0] != '\0' && \
				  ((rc) == ERR_INPUT || (rc) == ERR_CONFIG)))

#endif

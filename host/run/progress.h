/* SPDX-License-Identifier: MIT
 *
 * progress.h - how far a stage is, with rate and time left: one line that is rewritten on a
 * terminal, plain lines every few seconds elsewhere.
 */
#ifndef SAENGINE_PROGRESS_H
#define SAENGINE_PROGRESS_H

#include <stdbool.h>
#include <stddef.h>

struct progress {
	const char *stage, *unit; /* borrowed: "attribution", "prompt" */
	size_t done, total;
	double started, printed; /* seconds */
	bool terminal;
};

void progress_begin(struct progress *p, const char *stage, size_t total, const char *unit);

/* n more units are done. */
void progress_add(struct progress *p, size_t n);

/* The last line of the stage: what it took. */
void progress_end(struct progress *p);

/* Seconds on a clock that only goes forward. */
double clock_seconds(void);

#endif

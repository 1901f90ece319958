/* SPDX-License-Identifier: MIT
 *
 * progress.h - how far a stage is, with rate and time left: one line that is rewritten on a
 * terminal, plain lines every few seconds elsewhere.
 */
#ifndef SAENGINE_PROGRESS_H
#define SAENGINE_PROGRESS_H

#include <stdbool.h>
#include <stddef.h>

/* What each finished stage took. */
struct stage_log {
	struct stage_time {
		char name[96], unit[16];
		size_t n; /* units */
		double seconds;
	} * data; /* owned: free it */
	size_t n, cap;
	bool silent; /* kept, not printed: ranks other than 0 */
};

struct progress {
	struct stage_log *log;    /* borrowed */
	const char *stage, *unit; /* borrowed: "attribution", "prompt" */
	size_t done, total;
	size_t before;           /* of these, done before this run */
	double started, printed; /* seconds */
	bool terminal;
};

void progress_begin(struct progress *p, struct stage_log *log, const char *stage, size_t total,
	const char *unit);

/* n more units are done. */
void progress_add(struct progress *p, size_t n);

/* n units were done before this run: they count, but not for the rate. */
void progress_skip(struct progress *p, size_t n);

/* The last line of the stage: what it took; also kept in the log. */
void progress_end(struct progress *p);

#endif

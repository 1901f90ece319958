/* SPDX-License-Identifier: MIT
 *
 * stage_parts.h - what stage.c and unit.c share. Nobody else includes it.
 */
#ifndef SAENGINE_STAGE_PARTS_H
#define SAENGINE_STAGE_PARTS_H

#include "host/work/stage.h"
#include "host/work/writer.h"

/* What was put into a unit that is not kept. */
struct part {
	char name[64];
	enum results_type type;
	size_t n;
	void *data; /* owned */
};

struct parts {
	struct part *data;
	size_t n, cap;
};

struct unit {
	struct device *dev;
	struct writer *writer; /* NULL: not kept, and the next is used */
	struct parts parts;
	struct progress *progress;
	size_t n_advanced;
};

struct unit_reader {
	struct results_reader *file; /* NULL: in memory */
	const struct parts *parts;
};

/* Leaves them empty. */
void unit_free_parts(struct parts *parts);

#endif

/* SPDX-License-Identifier: MIT
 *
 * table.h - the datasets of one group of the result file: scales by short names, columns over
 * them.
 */
#ifndef SAENGINE_TABLE_H
#define SAENGINE_TABLE_H

#include "host/store/results.h"

struct table {
	struct results *results; /* borrowed, as the group */
	const char *group;       /* "/exact_patching" */
};

struct table_column {
	const char *name;
	enum results_type type;
	/* Scales, ended by NULL: names of this group's own, or paths from the root. */
	const char *dims[RESULTS_DIMS + 1];
	size_t n[RESULTS_DIMS]; /* their lengths */
	const char *long_name, *units;
};

/* The scale GROUP/NAME: 0 to n - 1, or texts. */
int table_scale(struct table t, const char *name, size_t n, const char *long_name, struct err *err);
int table_text_scale(struct table t, const char *name, const char *const *values, size_t n,
	const char *long_name, struct err *err);

/* A whole dataset. */
int table_write(struct table t, const struct table_column *column, const void *data,
	struct err *err);

#endif

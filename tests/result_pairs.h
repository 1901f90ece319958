/* SPDX-License-Identifier: MIT
 *
 * result_pairs.h - two result files, read dataset by dataset as doubles: exact for every type that
 * results have.
 */
#ifndef SAENGINE_RESULT_PAIRS_H
#define SAENGINE_RESULT_PAIRS_H

#include "host/base/err.h"

#include <stdbool.h>
#include <stddef.h>

#include <hdf5.h>

struct result_files {
	const char *path[2];
	hid_t file[2]; /* -1 = not open */
};

/* ERR_INPUT names the file. To be closed also after an error. */
int result_files_open(struct result_files *f, struct err *err);
void result_files_close(struct result_files *f);

/* A dataset. */
struct values {
	double *data; /* owned */
	size_t n;
	int n_dims;
	hsize_t dims[H5S_MAX_RANK];
};

/* The same dataset of both files. */
struct pair {
	struct values a, b;
};

void pair_free(struct pair *p);

/* Of any lengths. On an error (ERR_INPUT) the pair is empty. */
int pair_read(const struct result_files *f, const char *path, struct pair *p, struct err *err);

/* Of one shape of n_dims dimensions. */
int pair_read_alike(const struct result_files *f, const char *path, int n_dims, struct pair *p,
	struct err *err);

/* Whether the first file has it. */
bool pair_exists(const struct result_files *f, const char *path);

/* The path of the i-th member of a group of the first file; false behind the last. */
bool pair_member(const struct result_files *f, const char *group, hsize_t i, char path[512]);

#endif

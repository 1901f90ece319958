/* SPDX-License-Identifier: MIT
 *
 * results_parts.h - what the files results*.c share. Nobody else includes it.
 */
#ifndef SAENGINE_RESULTS_PARTS_H
#define SAENGINE_RESULTS_PARTS_H

#include "host/store/results.h"

#include <hdf5.h>

/* Paths of datasets, and all their texts in a unit's file; what is longer is cut, and not read. */
enum { RESULTS_PATH_BYTES = 1024 };

/* A dataset of a unit with its descriptor, whose texts are here. */
struct rows {
	struct results_dataset d;
	char path[RESULTS_PATH_BYTES], long_name[RESULTS_PATH_BYTES], units[RESULTS_PATH_BYTES],
		ends_of[RESULTS_PATH_BYTES], scales[RESULTS_DIMS][RESULTS_PATH_BYTES];
	void *data; /* owned */
};

/* A virtual dataset to be: the rows of each unit, in order. */
struct mapped {
	struct rows rows; /* of the first unit; no data */
	struct source {
		char *file; /* owned; as the result file sees it */
		size_t n;
	} * data;
	size_t n, cap;
};

struct results {
	char *path, *part; /* owned; NULL for results that go nowhere */
	hid_t file;
	/* Datasets being appended to stay open: closing one writes out, and compresses, the chunk
	 * that the next append would continue. */
	struct {
		struct grown {
			char *path; /* owned */
			hid_t dataset;
			char *scale; /* owned; of the first dimension, NULL = none or attached */
		} * data;
		size_t n, cap;
	} grown;
	bool map_units; /* results_map_units */
	/* Datasets to be, whose rows stay in the files of units: results_join_end makes them. */
	struct mapped_list {
		struct mapped *data;
		size_t n, cap;
	} mapped;
};

struct results_reader {
	char *path; /* owned */
	hid_t file;
};

/* Before the first use of HDF5 in a thread: errors are taken from its stack, never printed. */
void results_library_open(void);

/* How files are opened; owned by the caller. HDF5's own locks are taken where the file system has
 * them, and not missed where it has none. */
hid_t results_file_access(void);

/* HDF5's reason for the failure just seen: ERR_OUTPUT with file, object and reason. */
int results_hdf5_error(struct results *r, const char *what, struct err *err);

/* Closes a dataset that was written: values that HDF5 held back are written only now. An error that
 * is there stays. Returns err->code. */
int results_close_written(struct results *r, hid_t dataset, const char *what, struct err *err);

/* What describes a dataset beside its values, whole or growing; closes nothing. Scales are attached
 * from dimension `first` on. */
int results_describe(struct results *r, const struct results_dataset *d, hid_t dataset, int first,
	struct err *err);
/* `scale` as in struct results_dataset, or a path; `path` is the dataset's. */
int results_attach_scale(struct results *r, hid_t dataset, int dimension, const char *scale,
	const char *path, struct err *err);

/* Accepts an empty list. */
void results_free_mapped(struct results *r);

/* Adds the rows of a unit's file to the list. Errors: memory. */
int results_map_rows(struct results *r, const struct rows *rows, const char *unit, struct err *err);

/* Appends n rows as they are stored, F16 as halves, to a dataset whose first dimension grows; the
 * first call creates it (dims[0] is ignored, and scales[0] is attached by results_join_end, when it
 * has all its rows as well). */
int results_append(struct results *r, const struct results_dataset *d, const void *data, size_t n,
	struct err *err);

/* The type of values in memory, owned by the caller; F16 as halves. */
hid_t results_type(enum results_type type);

#endif

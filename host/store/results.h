/* SPDX-License-Identifier: MIT
 *
 * results.h - a result file and what is common to all of its datasets. results/README.md describes
 * what is in it. What writes a dataset does so by its descriptor: dataset.h.
 *
 *  1. The file appears under its name only when the run is complete: until then it is NAME.part.
 *  2. A dataset is written whole, or appended to by whole rows.
 *  3. Every dimension of every dataset has a named dimension scale, so that xarray and other
 *     netCDF readers see names; every dataset has long_name and units.
 *  4. A dataset that is joined from units has their rows in the order of the units, bit for bit.
 *  5. Only filters that every HDF5 build has; no types that readers misread (never bfloat16).
 *  6. Every dataset has the attribute sha256: of its values as they are stored, little-endian, row
 *     after row; of a text its bytes and a zero. It is made while they are written: nothing is read
 *     again. The root's sha256 is of everything else: names, types, shapes, attributes.
 *
 *  created --dataset_write, results_join--> growing --results_finish--> complete (renamed)
 */
#ifndef SAENGINE_RESULTS_H
#define SAENGINE_RESULTS_H

#include "host/base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

struct results;
struct results_reader;
struct dataset_section;
struct seal;

/* Creates PATH.part, and the folder if its parent exists; what lay there under that name goes, a
 * link is not written through. *out is owned. Errors: ERR_OUTPUT. */
int results_create(struct results **out, const char *path, struct err *err);

/* The file of a unit: sealed (seal.h) when it is finished, in place of the checksums that other
 * files carry. */
int results_create_unit(struct results **out, const char *path, const struct seal *seal,
	struct err *err);

/* The results of a rank that writes no file: everything is taken and nothing kept. */
int results_create_nowhere(struct results **out, struct err *err);

/* Flushes, closes and renames PATH.part to PATH; on an error removes it. The results are closed
 * whatever happens. */
int results_finish(struct results *r, struct err *err);

/* NAME.summary.h5 beside NAME.h5, whole or not at all: every dataset of at most
 * RESULTS_SUMMARY_BYTES of values, with the scales of its dimensions; every attribute; what was
 * left out in /left_out, and NAME.h5 in the root attribute summary_of. To be called last, before
 * results_finish: so NAME.h5 never has its name without it. Errors: ERR_OUTPUT. */
enum { RESULTS_SUMMARY_BYTES = 1 << 20 };
int results_summarize(struct results *r, struct err *err);
extern const struct dataset_section results_summary_section;

/* Closes without finishing: PATH.part stays, readable, with what was written. Accepts NULL. */
void results_close(struct results *r);

/* Closes and removes PATH.part. */
void results_discard(struct results *r);

enum results_type {
	RESULTS_F32,
	RESULTS_F64,
	RESULTS_F16,
	RESULTS_I32,
	RESULTS_I64,
	RESULTS_U8,
	RESULTS_TEXT
};

/* Bytes of a value as it is stored; of a text, about. */
size_t results_value_bytes(enum results_type type);

enum { RESULTS_DIMS = 3 }; /* most of a dataset */

/* From here on uncompressed rows are not copied: their datasets become virtual ones over the files
 * of the units, which must stay where they are, seen from the result file. */
void results_map_units(struct results *r);

/* Attributes of an object ("/" is the file). */
int results_attribute_text(struct results *r, const char *object, const char *name,
	const char *value, struct err *err);
int results_attribute_integer(struct results *r, const char *object, const char *name,
	int64_t value, struct err *err);
int results_attribute_real(struct results *r, const char *object, const char *name, double value,
	struct err *err);

/* ---- reading an earlier file ------------------------------------------------------------ */

/* A file of this run. Errors: ERR_INPUT. */
int results_open(struct results_reader **out, const char *path, struct err *err);
/* A file that may be anybody's: a child process has it open and reads it, so that what crashes the
 * HDF5 library, or has it go on without end, is an error of the functions below. Errors: ERR_INPUT;
 * ERR_DEVICE when there is no process. */
int results_open_foreign(struct results_reader **out, const char *path, struct err *err);
void results_reader_close(struct results_reader *r);
/* Whether there is a group or dataset of this path. Errors: ERR_INPUT: that cannot be read. */
int results_has(struct results_reader *r, const char *path, bool *has, struct err *err);

/* A dataset's values converted to float or int32; *data is owned by the caller. dims are filled;
 * n_dims must match. Texts: one dimension of n, each text and the array owned by the caller.
 * Errors: ERR_INPUT naming file, dataset, expected and found. */
int results_read_floats(struct results_reader *r, const char *path, int n_dims, size_t *dims,
	float **data, struct err *err);
int results_read_ints(struct results_reader *r, const char *path, int n_dims, size_t *dims,
	int32_t **data, struct err *err);
int results_read_texts(struct results_reader *r, const char *path, size_t *n, char ***data,
	struct err *err);
/* Exactly n values of a dataset of one dimension, which must be stored as that type. */
int results_read_exactly(struct results_reader *r, const char *path, enum results_type type,
	void *out, size_t n, struct err *err);
/* All of them; *data is owned by the caller. */
int results_read_all(struct results_reader *r, const char *path, enum results_type type,
	void **data, size_t *n, struct err *err);
int results_read_attribute_integer(struct results_reader *r, const char *object, const char *name,
	int64_t *value, struct err *err);
/* *value is owned by the caller. */
int results_read_attribute_text(struct results_reader *r, const char *object, const char *name,
	char **value, struct err *err);

/* Prints whether the file is complete, and every dataset. Names that would move a terminal's cursor
 * are escaped; what cannot be read is said where it stands. Errors: ERR_INPUT. */
int results_list(struct results_reader *r, FILE *to, struct err *err);

/* The same of a file that may be anybody's. */
int results_inspect(const char *path, FILE *to, struct err *err);

/* Reads the whole file and holds it against its checksums; prints what was checked. Errors:
 * ERR_INPUT, with every dataset that differs, and for a file without checksums. */
int results_verify(const char *path, FILE *to, struct err *err);

/* ---- what dataset.h, and stage.c with its writer, stand on ------------------------------- */

/* A dataset as HDF5 is told of it: a descriptor (dataset.h) with everything filled in, or what a
 * unit keeps for itself. */
struct results_dataset {
	const char *path; /* "/group/name"; groups are made as needed */
	enum results_type type;
	int n_dims;
	size_t dims[RESULTS_DIMS];
	/* Names of the dimensions' scales, written before into the dataset's own group or one
	 * above; NULL = none. */
	const char *scales[RESULTS_DIMS];
	const char *long_name;
	const char *units; /* "logit", "nat", "1" for pure numbers, "" for text and ids */
	/* Rows of a unit only: the values are ends of this dataset's rows, counted within the unit;
	 * joining adds the rows that came before. I32 or I64. */
	const char *ends_of;
	bool compress; /* gzip and shuffle: tables, ids, sparse indices; never activations */
	bool is_scale; /* of its one dimension, which has its name */
};

/* Writes a whole dataset. TEXT: data is const char *const *. F16: data is uint16_t, of which none
 * may be infinite, as op_to_half leaves what it cannot hold. Errors: ERR_OUTPUT with dataset and
 * reason; ERR_CONFIG with the element that float16 cannot hold.
 */
int results_write(struct results *r, const struct results_dataset *d, const void *data,
	struct err *err);

/* Rows on their way: written into the file of a unit with what is needed to append them to the
 * dataset of the same path later. */
int results_write_rows(struct results *unit, const struct results_dataset *d, const void *data,
	size_t n, struct err *err);

/* Appends all rows of a unit's file. Errors: ERR_INPUT when it cannot be read, ERR_OUTPUT. */
int results_join(struct results *r, struct results_reader *unit, struct err *err);

/* After the last unit of a stage: makes the virtual datasets of its rows, and attaches scales to
 * the first dimension of datasets that grew. */
int results_join_end(struct results *r, struct err *err);

#endif

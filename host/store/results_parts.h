/* SPDX-License-Identifier: MIT
 *
 * results_parts.h - what the files results*.c share. Nobody else includes it.
 */
#ifndef SAENGINE_RESULTS_PARTS_H
#define SAENGINE_RESULTS_PARTS_H

#include "host/base/sha256.h"
#include "host/store/results.h"
#include "host/store/seal.h"

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
	struct sha256 *values; /* owned; of all of them */
};

struct results {
	char *path, *part; /* owned; NULL for results that go nowhere */
	hid_t file;
	struct seal *seal; /* owned; NULL: no unit */
	/* Datasets being appended to stay open: closing one writes out, and compresses, the chunk
	 * that the next append would continue. */
	struct {
		struct grown {
			char *path; /* owned */
			hid_t dataset;
			char *scale; /* owned; of the first dimension, NULL = none or attached */
			struct sha256 *values; /* owned; of the rows so far */
			bool is_signed;        /* the attribute is of these rows */
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
	unsigned long long bytes; /* of the file, when it was opened */
	size_t most;              /* bytes of a dataset's values that may be read */
	struct child *child;      /* owned; NULL = the file is open here, else only there */
};

/* What is asked of a file, here or in the child. */
enum results_question {
	ASK_OPEN,    /* - */
	ASK_HAS,     /* number[0]: whether there is something */
	ASK_VALUES,  /* number: the dimensions; data: values, of texts each with its zero */
	ASK_INTEGER, /* number[0]: of an attribute */
	ASK_TEXT,    /* data: with its zero */
	ASK_LISTING  /* data: text */
};

struct results_request {
	enum results_question question;
	char path[RESULTS_PATH_BYTES]; /* begins with '/' */
	char name[64];                 /* of an attribute */
	/* Of values: as they are wanted, or exactly as they must be stored. */
	enum results_type type;
	bool as_stored;
	int n_dims;
};

struct child_reply;

/* Errors: ERR_INPUT, memory. */
int results_answer(struct results_reader *r, const struct results_request *q,
	struct child_reply *reply, struct err *err);
int results_answer_values(const struct results_reader *r, const struct results_request *q,
	struct child_reply *reply, struct err *err);
int results_answer_listing(const struct results_reader *r, struct child_reply *reply,
	struct err *err);

/* Before the first use of HDF5 in a thread: errors are taken from its stack, never printed. */
void results_library_open(void);

/* How files are opened; owned by the caller. HDF5's own locks are taken where the file system has
 * them, and not missed where it has none. */
hid_t results_file_access(void);

/* HDF5's reason for the failure just seen: ERR_OUTPUT with file, object and reason. */
int results_hdf5_error(struct results *r, const char *what, struct err *err);

/* Where the system does not let HDF5 open or read, HDF5 goes on as if there were nothing, or
 * something else, and so does its caller. So what was asked of a file is looked at again when all
 * is answered: an ERR_INPUT with the system's reason if any call failed since
 * results_forget_refusal, in place of what err says. Returns err->code. What has no memory, and no
 * other way to say so, notes ENOMEM: ERR_DEVICE. */
void results_forget_refusal(void);
void results_note_refusal(int number);
int results_check_read(const struct results_reader *r, struct err *err);

/* Closes a dataset that was written: values that HDF5 held back are written only now. An error that
 * is there stays. Returns err->code. */
int results_close_written(struct results *r, hid_t dataset, const char *what, struct err *err);

/* An attribute of an open object, in place of one of that name; `type` is closed, `where` is for
 * messages. */
int results_put_attribute(struct results *r, hid_t object, const char *name, hid_t type,
	const void *value, const char *where, struct err *err);
int results_put_text(struct results *r, hid_t object, const char *name, const char *value,
	const char *where, struct err *err);

/* What describes a dataset beside its values, whole or growing; closes nothing. Scales are attached
 * from dimension `first` on. */
int results_describe(struct results *r, const struct results_dataset *d, hid_t dataset, int first,
	struct err *err);
/* `scale` as in struct results_dataset, or a path; `path` is the dataset's. */
int results_attach_scale(struct results *r, hid_t dataset, int dimension, const char *scale,
	const char *path, struct err *err);

/* Of n values as they are stored, F16 as halves. */
void results_add_values(struct sha256 *to, enum results_type type, const void *values, size_t n);

/* The attribute sha256 of a dataset: of what was added. */
int results_sign_dataset(struct results *r, hid_t dataset, const char *path, struct sha256 *values,
	struct err *err);

/* The root's attribute sha256, when everything else is written. */
int results_sign_file(struct results *r, struct err *err);

/* What it is of: path, type and shape of every dataset, path of every group, and all attributes but
 * it and those that dimension scales are made of. False when the file cannot be read. */
bool results_hash_structure(hid_t file, char hex[SHA256_HEX]);

/* The attribute of that name; false where there is none, or something else. */
bool results_read_checksum(hid_t object, char hex[SHA256_HEX]);

/* Whether H5DS keeps and writes an attribute of that name itself. */
bool results_is_of_scales(const char *attribute);

/* Accepts an empty list. */
void results_free_mapped(struct results *r);

/* Adds the rows of a unit's file to the list; their values, n as they are stored, to its checksum.
 * Errors: memory. */
int results_map_rows(struct results *r, const struct rows *rows, const char *unit, struct err *err);

/* Appends n rows as they are stored, F16 as halves, to a dataset whose first dimension grows; the
 * first call creates it (dims[0] is ignored, and scales[0] is attached by results_join_end, when it
 * has all its rows as well). */
int results_append(struct results *r, const struct results_dataset *d, const void *data, size_t n,
	struct err *err);

/* Values in so many rows. */
size_t results_count(const struct results_dataset *d, size_t rows);

/* The type of values in memory, owned by the caller; F16 as halves. */
hid_t results_type(enum results_type type);

#endif

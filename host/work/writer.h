/* SPDX-License-Identifier: MIT
 *
 * writer.h - one thread that writes the files of units, so that the device need not wait for the
 * disk.
 *
 *  1. What was put is copied: the caller's memory is free at once.
 *  2. Nothing is dropped: when more than the bound is waiting, writer_put waits.
 *  3. The first error is kept; every later call returns it, and nothing more is written.
 *  4. A file has its name only when it is whole, sealed and on disk (results_finish); that of an
 *     abandoned or failed unit is removed.
 *  5. HDF5 is not safe for threads: between writer_begin and writer_drain this thread alone calls
 *     it.
 */
#ifndef SAENGINE_WRITER_H
#define SAENGINE_WRITER_H

#include "host/store/results.h"
#include "host/store/seal.h"

struct device_copy;
struct writer;

/* `most_bytes`: values that may wait; a single larger one passes alone. */
int writer_open(struct writer **out, size_t most_bytes, struct err *err);

/* Abandons what is not committed, writes what is. Accepts NULL. */
void writer_close(struct writer *w);

/* Begins the file of a unit, which is sealed when it is committed. One at a time. */
int writer_begin(struct writer *w, const char *path, const struct seal *seal, struct err *err);

/* Rows of the result file (results_write_rows) or, with `part`, values for the unit itself. */
int writer_put(struct writer *w, const struct results_dataset *d, const void *data, size_t n,
	bool part, struct err *err);

/* Rows, as writer_put without `part`, that are still on their way from the device: the thread waits
 * for them. The copy is the writer's from here on, whatever is returned. */
int writer_put_copy(struct writer *w, const struct results_dataset *d, struct device_copy *copy,
	size_t n, struct err *err);

/* A text attribute of the file. */
int writer_note(struct writer *w, const char *name, const char *value, struct err *err);

/* The file is complete. It has its name some time later: writer_drain. */
int writer_commit(struct writer *w, struct err *err);

/* The file is not wanted. */
void writer_abandon(struct writer *w);

/* Waits until all committed files have their names. */
int writer_drain(struct writer *w, struct err *err);

#endif

/* SPDX-License-Identifier: MIT
 *
 * results_verify.c - a result file held against its checksums. Contract: results.h. Tests:
 * tests/test_verify.c.
 *
 * Every dataset is read once, some rows at a time. What cannot be read differs. The file may be a
 * stranger's, and is damaged if this is to find anything: a child process looks at it.
 */
#include "host/store/results_door.h"

#include "host/base/size.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* Of the child: beyond the pieces that are read, which are some megabytes, a virtual dataset. */
static const size_t MEMORY = (size_t)4 << 30;
enum { SECONDS = 600, BYTES_OF_SECOND = 8 << 20 };

struct verifying {
	struct results_reader *r;
	size_t n_checked, n_without, n_elsewhere, n_differ;
	unsigned long long bytes;
	struct err what; /* names what differs */
};

__attribute__((format(printf, 3, 4))) static void differs(struct verifying *v, const char *path,
	const char *format, ...)
{
	const size_t n = v->n_differ++ > 0 ? strlen(v->what.text) : 0;
	char what[256];
	va_list args;

	va_start(args, format);
	vsnprintf(what, sizeof what, format, args);
	va_end(args);
	if (n == 0)
		err_set(&v->what, ERR_INPUT, "%s: %s: %s", v->r->path, path, what);
	else if (n + 1 < sizeof v->what.text)
		snprintf(v->what.text + n, sizeof v->what.text - n, "\n%s: %s: %s", v->r->path,
			path, what);
}

/* ---- values ---------------------------------------------------------------------------- */

/* A dataset that is read by rows. */
struct walk {
	const struct door_dataset *d;
	hid_t space;
	size_t row, size; /* values of a row, bytes of a value */
};

/* n rows from `first` on. */
static bool add_rows(const struct walk *w, size_t first, size_t n, void *buffer, struct sha256 *to)
{
	hsize_t start[DOOR_RANK] = {first}, count[DOOR_RANK];
	hid_t memory;
	bool read;

	for (int i = 0; i < w->d->n_dims; i++)
		count[i] = w->d->dims[i];
	count[0] = n;
	memory = H5Screate_simple(w->d->n_dims, count, NULL);
	H5Sselect_hyperslab(w->space, H5S_SELECT_SET, start, NULL, count, NULL);
	read = H5Dread(w->d->id, w->d->type, memory, w->space, H5P_DEFAULT, buffer) >= 0;
	if (read && w->d->class == DOOR_TEXTS) {
		results_add_values(to, RESULTS_TEXT, buffer, n * w->row);
		H5Dvlen_reclaim(w->d->type, memory, H5P_DEFAULT, buffer);
	} else if (read) {
		sha256_add(to, buffer, n * w->row * w->size);
	}
	H5Sclose(memory);
	return read;
}

/* In pieces of some megabytes. */
static bool add_all(const struct walk *w, struct sha256 *to)
{
	const size_t row_bytes = size_max(w->row * w->size, 1);
	const size_t rows = size_max(((size_t)4 << 20) / row_bytes, 1);
	void *buffer = calloc(rows, row_bytes);
	bool read = buffer != NULL;

	for (size_t i = 0; read && w->row > 0 && i < w->d->dims[0]; i += rows)
		read = add_rows(w, i, size_min(w->d->dims[0] - i, rows), buffer, to);
	free(buffer);
	return read;
}

/* The library never reads one by itself (results_door.h). */
static bool add_virtual(const struct results_reader *r, const char *path,
	const struct door_dataset *d, size_t bytes, struct sha256 *to)
{
	void *data = malloc(bytes + 1);
	struct err ignored;
	const bool read = data && virtual_read(r, path, d, d->type, data, &ignored) == 0;

	if (read)
		sha256_add(to, data, bytes);
	free(data);
	return read;
}

static bool add_values(const struct results_reader *r, const char *path,
	const struct door_dataset *d, size_t bytes, struct sha256 *to)
{
	struct walk w = {d, H5Dget_space(d->id), 1, H5Tget_size(d->type)};
	bool read;

	for (int i = 1; i < d->n_dims; i++)
		w.row *= d->dims[i];
	read = d->layout == H5D_VIRTUAL ? add_virtual(r, path, d, bytes, to) : add_all(&w, to);
	H5Sclose(w.space);
	return read;
}

static void hold(struct verifying *v, const char *path, const struct door_dataset *d,
	const char *expected)
{
	struct sha256 *values = sha256_begin();
	char found[SHA256_HEX];
	struct err why = {0};
	size_t bytes;

	if (d->n_dims < 1 || d->class == DOOR_STRANGE)
		differs(v, path, "expected rows of values, found something else");
	else if (door_bytes(v->r, path, d, d->type, &bytes, &why) && d->layout == H5D_VIRTUAL)
		v->n_elsewhere++; /* too large to be read whole */
	else if (why.code)
		differs(v, path, "cannot be read: its storage is too small or elsewhere");
	else if (!values || !add_values(v->r, path, d, bytes, values))
		differs(v, path, "cannot be read");
	else {
		sha256_hex(values, found);
		if (strcmp(found, expected) != 0)
			differs(v, path, "expected values of SHA-256 %.12s..., found %.12s...",
				expected, found);
		v->bytes += bytes;
	}
	sha256_end(values);
}

static int verify_entry(void *context, const char *path, enum door_kind kind, struct err *err)
{
	struct verifying *v = context;
	struct door_dataset d = {0};
	char expected[SHA256_HEX];
	struct err why;

	err_clear(err);
	if (kind == DOOR_LINK)
		differs(v, path, "expected what was written here, found a link");
	if (kind != DOOR_DATASET)
		return 0;
	if (door_open(v->r, path, &d, &why)) {
		differs(v, path, "cannot be opened");
	} else if (results_read_checksum(d.id, expected)) {
		hold(v, path, &d, expected);
		v->n_checked++;
	} else {
		v->n_without++;
	}
	door_close(&d);
	return 0;
}

/* ---- the file -------------------------------------------------------------------------- */

static void verify_structure(struct verifying *v)
{
	const hid_t root = H5Gopen2(v->r->file, "/", H5P_DEFAULT);
	char expected[SHA256_HEX], found[SHA256_HEX];

	if (root < 0 || !results_read_checksum(root, expected))
		differs(v, "/", "expected a checksum of the file, found none%s",
			v->n_without > 0 ? ", nor of all of its datasets" : "");
	else if (!results_hash_structure(v->r->file, found))
		differs(v, "/", "its groups and attributes cannot be read");
	else if (strcmp(found, expected) != 0)
		differs(v, "/",
			"its names, shapes or attributes are not those that were written (SHA-256 "
			"%.12s..., expected %.12s...)",
			found, expected);
	if (root >= 0)
		H5Gclose(root);
}

/* In the child. Numbers: datasets, bytes, virtual ones not read; data: what differs, "" = nothing.
 */
static int verify(void *context, const void *question, struct child_reply *reply, struct err *err)
{
	struct verifying v = {.r = context};

	(void)question;
	err_clear(err);
	TRY(door_open_file(v.r, err));
	if (door_walk(v.r, verify_entry, &v, err)) {
		differs(&v, "/", "its groups cannot be read");
		err_clear(err);
	}
	if (v.n_checked == 0 && v.n_without > 0 && v.n_differ == 0)
		err_set(&v.what, ERR_INPUT,
			"%s: expected checksums (attributes sha256), found none: it is of an earlier "
			"engine, or has not been written to its end",
			v.r->path);
	else
		verify_structure(&v);
	TRY(results_check_read(v.r, err));
	*reply = (struct child_reply){{v.n_checked, v.bytes, v.n_elsewhere}, strdup(v.what.text),
		strlen(v.what.text) + 1};
	if (!reply->data)
		err_nomem(err, v.r->path, reply->n);
fail:
	return err->code;
}

static int ask_child(struct results_reader *r, struct child_reply *reply, struct err *err)
{
	struct stat st = {0};
	struct child_limits limits = {MEMORY, sizeof err->text, SECONDS};
	const char question = 0; /* there is one thing to ask */
	struct child *child;
	char what[4200];

	if (stat(r->path, &st) == 0)
		limits.seconds += (unsigned)size_min((size_t)st.st_size / BYTES_OF_SECOND, 1 << 24);
	snprintf(what, sizeof what, "%s: the HDF5 library could not read it", r->path);
	if (child_start(&child, what, verify, r, sizeof question, &limits, err) == 0)
		child_ask(child, &question, reply, err);
	child_stop(child);
	return err->code;
}

static void print_verified(const struct child_reply *reply, const char *path, FILE *to)
{
	const bool same = *(const char *)reply->data == '\0';

	fprintf(to, "%s: %llu datasets held against their checksums, %.1f MB of values: %s\n", path,
		(unsigned long long)reply->number[0], (double)reply->number[1] * 1e-6,
		same ? "all as they were written" : "NOT as they were written");
	if (reply->number[2] > 0)
		fprintf(to,
			"%s: %llu virtual datasets are too large for that: verify the folder of their "
			"units\n",
			path, (unsigned long long)reply->number[2]);
}

int results_verify(const char *path, FILE *to, struct err *err)
{
	struct results_reader r = {.path = (char *)path, .most = SIZE_MAX};
	struct child_reply reply = {{0}, NULL, 0};

	r.file = H5I_INVALID_HID;
	err_clear(err);
	if (seal_is_there(path)) {
		if (seal_check(path, NULL, err) == 0)
			fprintf(to, "%s: a unit, all bytes as they were sealed\n", path);
		return err->code;
	}
	TRY(ask_child(&r, &reply, err));
	((char *)reply.data)[reply.n] = '\0'; /* the child's word for its end is not taken */
	print_verified(&reply, path, to);
	if (*(const char *)reply.data)
		err_set(err, ERR_INPUT, "%s", (const char *)reply.data);
fail:
	free(reply.data);
	return err->code;
}

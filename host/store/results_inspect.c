/* SPDX-License-Identifier: MIT
 *
 * results_inspect.c - what a result file or a unit holds, for people. Contract: results.h.
 * Tests: tests/test_resume.c, tests/test_results_door.c.
 */
#include "host/store/results_door.h"

#include "host/base/size.h"
#include "host/base/utf8.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Of what a file says of itself, so much is shown; of its datasets, so many. */
enum { SHOWN_BYTES = 600, SHOWN_DATASETS = 10000 };

/* ---- texts ----------------------------------------------------------------------------- */

/* Names and words come from whoever made the file. */
static void print_text(const char *s, FILE *to)
{
	const size_t n = strlen(s), most = size_min(n, SHOWN_BYTES);

	for (size_t i = 0; i < most;) {
		const size_t length = utf8_printable(s + i, n - i);

		if (length)
			fwrite(s + i, 1, length, to);
		else
			fprintf(to, "\\x%02x", (unsigned)(unsigned char)s[i]);
		i += size_max(length, 1);
	}
	if (n > most)
		fputs("...", to);
}

/* ---- the file's own attributes ---------------------------------------------------------- */

static void print_attribute(hid_t root, const char *name, FILE *to)
{
	char *text;

	if (door_text(root, name, &text) && *text) {
		fprintf(to, "  %-18s ", name);
		print_text(text, to);
		fputc('\n', to);
	}
	free(text);
}

/* Whose it is. *whole is of a summary the name of the file that it is one of; owned by the
 * caller. */
static void print_head(const struct results_reader *r, char **whole, FILE *to)
{
	static const char *const attributes[] = {"finished", "engine_version", "git_commit",
		"model_type", "device", "stage", "unit"};
	const hid_t root = door_object(r, "/");
	char *title, *finished, *stage;

	door_text(root, "title", &title);
	door_text(root, "finished", &finished);
	door_text(root, "stage", &stage);
	door_text(root, "summary_of", whole);
	fprintf(to, "%s: ", r->path);
	if (title && strcmp(title, "saengine results") == 0) {
		fputs(*whole ? "a summary of " : "a result file", to);
		print_text(*whole ? *whole : "", to);
		fputs(finished ? ", complete\n" : ", NOT complete: its run did not end\n", to);
	} else {
		fputs(stage ? "a unit, whole\n" : "an HDF5 file that is not of this engine\n", to);
	}
	for (size_t i = 0; i < sizeof attributes / sizeof *attributes; i++)
		print_attribute(root, attributes[i], to);
	free(title);
	free(finished);
	free(stage);
	if (root >= 0)
		H5Oclose(root);
}

/* ---- datasets -------------------------------------------------------------------------- */

struct listing {
	const struct results_reader *r;
	FILE *to;
	size_t n_datasets, n_links;
	unsigned long long bytes; /* of values, as they are stored */
};

static void print_type(const struct door_dataset *d, FILE *to)
{
	const size_t bits = 8 * H5Tget_size(d->type);

	if (d->class == DOOR_TEXTS)
		fputs("text", to);
	else if (d->class == DOOR_REALS)
		fprintf(to, "f%zu", bits);
	else if (d->class == DOOR_INTEGERS)
		fprintf(to, "%c%zu", H5Tget_sign(d->type) == H5T_SGN_NONE ? 'u' : 'i', bits);
	else
		fputs("?", to);
}

static void print_words(const struct door_dataset *d, FILE *to)
{
	char *long_name, *units;

	if (door_text(d->id, "units", &units) && *units && strcmp(units, "1") != 0) {
		fputc(' ', to);
		print_text(units, to);
	}
	if (door_text(d->id, "long_name", &long_name) && *long_name) {
		fputs("  ", to);
		print_text(long_name, to);
	}
	free(units);
	free(long_name);
}

static void print_path(const char *path, FILE *to)
{
	char *shown = NULL;
	size_t n = 0;
	FILE *f = open_memstream(&shown, &n);

	if (!f)
		return;
	print_text(path, f);
	if (fclose(f) == 0)
		fprintf(to, "  %-59s ", shown);
	free(shown);
}

static void print_dataset(struct listing *l, const char *path)
{
	struct door_dataset d;
	struct err err;

	print_path(path, l->to);
	if (door_open(l->r, path, &d, &err)) {
		fputs("cannot be read: ", l->to);
		print_text(err.text, l->to);
	} else {
		print_type(&d, l->to);
		fputs(" [", l->to);
		for (int i = 0; i < d.n_dims; i++)
			fprintf(l->to, "%s%zu", i ? ", " : "", d.dims[i]);
		fputc(']', l->to);
		print_words(&d, l->to);
		l->bytes += door_storage(&d);
	}
	fputc('\n', l->to);
	door_close(&d);
}

static int list_entry(void *context, const char *path, enum door_kind kind, struct err *err)
{
	struct listing *l = context;

	(void)err;
	l->n_links += kind == DOOR_LINK;
	if (kind == DOOR_DATASET && l->n_datasets++ < SHOWN_DATASETS)
		print_dataset(l, path);
	return 0;
}

/* ---- what a summary lacks --------------------------------------------------------------- */

static int print_left_out(const struct results_reader *r, const char *whole, FILE *to,
	struct err *err)
{
	const struct results_request of_paths = {.question = ASK_VALUES,
		.path = "/left_out/dataset",
		.type = RESULTS_TEXT,
		.n_dims = 1};
	const struct results_request of_bytes = {.question = ASK_VALUES,
		.path = "/left_out/bytes",
		.type = RESULTS_I64,
		.n_dims = 1};
	struct child_reply paths = {{0}, NULL, 0}, bytes = {{0}, NULL, 0};
	const char *path;

	err_clear(err);
	TRY(results_answer_values(r, &of_paths, &paths, err));
	TRY(results_answer_values(r, &of_bytes, &bytes, err));
	path = paths.data;
	fputs("in ", to);
	print_text(whole, to);
	fprintf(to, " alone: %zu datasets\n", (size_t)paths.number[0]);
	for (size_t i = 0; i < size_min(paths.number[0], bytes.number[0]) && i < SHOWN_DATASETS;
		i++) {
		print_path(path, to);
		fprintf(to, "%.1f MB\n", (double)((int64_t *)bytes.data)[i] * 1e-6);
		path += strlen(path) + 1;
	}
fail:
	free(paths.data);
	free(bytes.data);
	return err->code;
}

/* ---- all ------------------------------------------------------------------------------- */

static int write_listing(const struct results_reader *r, FILE *to, struct err *err)
{
	struct listing l = {.r = r, .to = to};
	char *whole;

	err_clear(err);
	print_head(r, &whole, to);
	TRY(door_walk(r, list_entry, &l, err));
	if (l.n_datasets > SHOWN_DATASETS)
		fprintf(to, "  ... and %zu more\n", l.n_datasets - SHOWN_DATASETS);
	if (l.n_links > 0)
		fprintf(to, "%zu links, which are not followed\n", l.n_links);
	fprintf(to, "%zu datasets, %.1f MB of values\n", l.n_datasets, (double)l.bytes * 1e-6);
	if (whole)
		TRY(print_left_out(r, whole, to, err));
fail:
	free(whole);
	return err->code;
}

int results_answer_listing(const struct results_reader *r, struct child_reply *reply,
	struct err *err)
{
	char *text = NULL;
	FILE *to = open_memstream(&text, &reply->n);

	if (!to)
		return err_nomem(err, "a listing", SHOWN_BYTES);
	write_listing(r, to, err);
	if (fclose(to) != 0 && err->code == 0)
		err_set(err, ERR_DEVICE, "a listing: %s", strerror(errno));
	reply->data = text;
	return err->code;
}

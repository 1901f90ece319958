/* SPDX-License-Identifier: MIT
 *
 * results_inspect.c - what a result file or a unit holds, for people. Contract: results.h.
 * Tests: tests/test_resume.c.
 */
#include "host/store/results_parts.h"

#include <stdlib.h>
#include <string.h>

/* A text attribute, owned by the caller; NULL when there is none. */
static char *text_of(struct results_reader *r, const char *object, const char *name)
{
	struct err ignored;
	char *text;

	return results_read_attribute_text(r, object, name, &text, &ignored) ? NULL : text;
}

static void print_attribute(struct results_reader *r, const char *name, FILE *to)
{
	char *text = text_of(r, "/", name);

	if (text && *text)
		fprintf(to, "  %-18s %s\n", name, text);
	free(text);
}

static void print_type(hid_t type, FILE *to)
{
	const size_t bits = 8 * H5Tget_size(type);

	switch (H5Tget_class(type)) {
	case H5T_STRING:
		fprintf(to, "text");
		break;
	case H5T_FLOAT:
		fprintf(to, "f%zu", bits);
		break;
	case H5T_INTEGER:
		fprintf(to, "%c%zu", H5Tget_sign(type) == H5T_SGN_NONE ? 'u' : 'i', bits);
		break;
	default:
		fprintf(to, "?");
	}
}

struct listing {
	struct results_reader *r;
	FILE *to;
	size_t n_datasets;
	unsigned long long bytes; /* of values, as they are stored */
};

static herr_t print_dataset(hid_t file, const char *name, const H5O_info_t *info, void *context)
{
	struct listing *l = context;
	hsize_t dims[H5S_MAX_RANK] = {0};
	hid_t dataset, space, type;
	char *long_name, *units;
	int rank;

	if (info->type != H5O_TYPE_DATASET)
		return 0;
	dataset = H5Dopen2(file, name, H5P_DEFAULT);
	if (dataset < 0)
		return -1;
	space = H5Dget_space(dataset);
	type = H5Dget_type(dataset);
	rank = H5Sget_simple_extent_dims(space, dims, NULL);
	fprintf(l->to, "  /%-58s ", name);
	print_type(type, l->to);
	fputs(" [", l->to);
	for (int i = 0; i < rank; i++)
		fprintf(l->to, "%s%llu", i ? ", " : "", (unsigned long long)dims[i]);
	fputc(']', l->to);
	long_name = text_of(l->r, name, "long_name");
	units = text_of(l->r, name, "units");
	if (units && *units && strcmp(units, "1") != 0)
		fprintf(l->to, " %s", units);
	if (long_name && *long_name)
		fprintf(l->to, "  %s", long_name);
	fputc('\n', l->to);
	l->n_datasets++;
	l->bytes += H5Dget_storage_size(dataset);
	free(long_name);
	free(units);
	H5Tclose(type);
	H5Sclose(space);
	H5Dclose(dataset);
	return 0;
}

static void print_left_out(struct results_reader *r, const char *whole, FILE *to, struct err *err)
{
	char **paths;
	int64_t *bytes;
	size_t n, m = 0;

	if (results_read_texts(r, "/left_out/dataset", &n, &paths, err))
		return;
	if (results_read_all(r, "/left_out/bytes", RESULTS_I64, (void **)&bytes, &m, err) == 0) {
		fprintf(to, "in %s alone: %zu datasets\n", whole, n);
		for (size_t i = 0; i < n && i < m; i++)
			fprintf(to, "  %-59s %.1f MB\n", paths[i], (double)bytes[i] * 1e-6);
		free(bytes);
	}
	for (size_t i = 0; i < n; i++)
		free(paths[i]);
	free(paths);
}

int results_inspect(const char *path, FILE *to, struct err *err)
{
	static const char *const attributes[] = {"finished", "engine_version", "git_commit",
		"model_type", "device", "stage", "unit"};
	struct results_reader *r;
	struct listing l = {.to = to};
	char *title, *finished, *stage, *whole;

	if (results_open(&r, path, err))
		return err->code;
	l.r = r;
	title = text_of(r, "/", "title");
	finished = text_of(r, "/", "finished");
	stage = text_of(r, "/", "stage");
	whole = text_of(r, "/", "summary_of");
	if (title && strcmp(title, "saengine results") == 0)
		fprintf(to, "%s: a %s%s, %s\n", path, whole ? "summary of " : "result file",
			whole ? whole : "",
			finished ? "complete" : "NOT complete: its run did not end");
	else
		fprintf(to, "%s: %s\n", path,
			stage ? "a unit, whole" : "an HDF5 file that is not of this engine");
	for (size_t i = 0; i < sizeof attributes / sizeof *attributes; i++)
		print_attribute(r, attributes[i], to);
	err_clear(err);
	if (H5Ovisit2(r->file, H5_INDEX_NAME, H5_ITER_INC, print_dataset, &l, H5O_INFO_BASIC) < 0)
		err_set(err, ERR_INPUT, "%s: expected datasets that can be read", path);
	fprintf(to, "%zu datasets, %.1f MB of values\n", l.n_datasets, (double)l.bytes * 1e-6);
	if (err->code == 0 && whole)
		print_left_out(r, whole, to, err);
	free(title);
	free(finished);
	free(stage);
	free(whole);
	results_reader_close(r);
	return err->code;
}

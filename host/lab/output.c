/* SPDX-License-Identifier: MIT
 *
 * output.c - Contract: output.h. Tests: tests/test_checks.c.
 */
#include "host/lab/output.h"

#include "host/base/log.h"
#include "host/base/memstream.h"
#include "host/base/size.h"
#include "host/base/vec.h"
#include "host/store/results.h"
#include "host/work/manifest.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The longest name that is made of it. */
static int check_name(const char *output, struct err *err)
{
	static const char longest[] = ".old-9999.summary.h5.part";
	const char *slash = strrchr(output, '/');
	const size_t n = strlen(slash ? slash + 1 : output), most = NAME_MAX + 1 - sizeof longest;

	if (n > most)
		return err_set(err, ERR_CONFIG,
			"output: expected a name of at most %zu bytes, found one of %zu", most, n);
	return 0;
}

/* Names that are written to: a link would be followed, a FIFO waited for. */
static int check_written(const struct config *c, struct err *err)
{
	char paths[3][4200];

	snprintf(paths[0], sizeof paths[0], "%s.part", c->output);
	path_beside(c->output, ".summary.h5", paths[1], sizeof paths[1]);
	path_beside(c->output, ".summary.h5.part", paths[2], sizeof paths[2]);
	for (int i = 0; i < 3; i++)
		if (file_is_special(paths[i], true))
			return err_set(err, ERR_CONFIG,
				"output: expected no link, folder or device under \"%s\", where the "
				"run writes",
				paths[i]);
	return 0;
}

/* Names of folders: of units, and of what ranks say to each other. */
static int check_folders(const struct config *c, struct err *err)
{
	static const struct {
		const char *suffix, *what;
	} folders[] = {{".units", "where units are kept"}, {".ranks", "where ranks meet"}};
	char path[4200];

	for (size_t i = 0; i < sizeof folders / sizeof *folders; i++) {
		path_beside(c->output, folders[i].suffix, path, sizeof path);
		if (file_exists(path) || (file_is_special(path, true) && !folder_exists(path)))
			return err_set(err, ERR_CONFIG,
				"output: expected a folder or nothing under \"%s\", %s, found a file",
				path, folders[i].what);
	}
	return 0;
}

int output_check_place(const struct config *c, struct err *err)
{
	if (check_name(c->output, err))
		return err->code;
	if (folder_check_for(c->output, err))
		return err_prefix(err, "output");
	if (file_is_special(c->output, true))
		return err_set(err, ERR_CONFIG,
			"output: expected the name of a file, found a folder, a device, a pipe or a link "
			"under \"%s\"",
			c->output);
	return check_written(c, err) ? err->code : check_folders(c, err);
}

/* ---- the finished file ----------------------------------------------------------------- */

/* What a finished file was made from. */
struct made_from {
	char *config, *compute_dtype, *sae_dtype; /* owned */
	char **files, **hashes;                   /* owned */
	size_t n_files, n_hashes;
};

static int read_made_from(struct made_from *m, const char *path, struct err *err)
{
	struct results_reader *r = NULL;

	TRY(results_open_foreign(&r, path, err));
	TRY(results_read_attribute_text(r, "/", "config", &m->config, err));
	TRY(results_read_attribute_text(r, "/", "compute_dtype", &m->compute_dtype, err));
	TRY(results_read_attribute_text(r, "/", "sae_dtype", &m->sae_dtype, err));
	TRY(results_read_texts(r, "/provenance/file", &m->n_files, &m->files, err));
	TRY(results_read_texts(r, "/provenance/sha256", &m->n_hashes, &m->hashes, err));
	err_clear(err);
fail:
	results_reader_close(r);
	return err->code;
}

static void free_made_from(struct made_from *m)
{
	for (size_t i = 0; i < m->n_files; i++)
		free(m->files[i]);
	for (size_t i = 0; i < m->n_hashes; i++)
		free(m->hashes[i]);
	free(m->files);
	free(m->hashes);
	free(m->config);
	free(m->compute_dtype);
	free(m->sae_dtype);
}

static const char *hash_there(const struct made_from *m, const char *path)
{
	for (size_t i = 0; i < m->n_files && i < m->n_hashes; i++)
		if (strcmp(m->files[i], path) == 0)
			return m->hashes[i];
	return NULL;
}

/* Both as lines "key = value", of files those that both name. NULL when out of memory. */
static char *lines_of(const struct config *c, const char *compute_dtype, const char *sae_dtype,
	const struct inputs *inputs, const struct made_from *there, bool ours)
{
	char *text = NULL;
	size_t n = 0;
	FILE *to = open_memstream(&text, &n);

	if (!to)
		return NULL;
	fprintf(to, "compute_dtype = %s\nsae_dtype = %s\n", compute_dtype, sae_dtype);
	config_print_lines(c, to);
	for (size_t i = 0; i < inputs->n; i++) {
		const char *path = inputs->data[i].path, *hash = hash_there(there, path);

		if (hash)
			fprintf(to, "sha256 of %s = %s\n", path,
				ours ? inputs->data[i].sha256 : hash);
	}
	return memstream_text(to, &text);
}

/* Appends what differs. A config that this engine does not read is another one. */
static int compare(const struct config *c, const struct machine *m, const struct inputs *inputs,
	const struct made_from *there, struct text *differences, struct err *err)
{
	static const struct manifest_sides who = {"the file was made with", "this run has"};
	struct config config = {0};
	char *theirs = NULL, *ours = NULL;

	err_clear(err);
	if (config_parse(&config, c->sections, c->n_sections, c->output, there->config, NULL, 0,
		    err)) {
		static const char other[] = "\n  config: the file's is none of this version's";

		err_clear(err);
		TRY(vec_append(differences, other, sizeof other - 1, err));
		goto fail;
	}
	theirs = lines_of(&config, there->compute_dtype, there->sae_dtype, inputs, there, false);
	ours = lines_of(c, dtype_name(device_activation(m->dev)),
		m->saes ? sae_dtype_names[sae_set_dtype(m->saes)] : "", inputs, there, true);
	if (theirs && ours)
		manifest_compare(theirs, ours, who, differences);
	else
		err_nomem(err, "the config", 4096);
fail:
	config_free(&config);
	free(theirs);
	free(ours);
	return err->code;
}

int output_check_finished(const struct config *c, const struct machine *m,
	const struct inputs *inputs, bool *other, struct err *err)
{
	static const char advice[] =
		"name another output, move that file, or begin anew with --fresh, "
		"which renames it";
	struct made_from there = {0};
	struct text differences = {0};

	*other = false;
	err_clear(err);
	if (!file_exists(c->output))
		return 0;
	for (size_t i = 0; i < inputs->n; i++)
		if (file_is_same(inputs->data[i].path, c->output))
			return err_set(err, ERR_CONFIG,
				"output: expected another file than those that are read, found "
				"\"%s\" (%s)",
				c->output, inputs->data[i].role);
	if (read_made_from(&there, c->output, err)) {
		*other = true;
		err_set(err, ERR_CONFIG,
			"output: expected no file, or a finished one of this run to make again, "
			"found \"%s\", which is no finished result file; %s",
			c->output, advice);
		goto fail;
	}
	TRY(compare(c, m, inputs, &there, &differences, err));
	*other = differences.n > 0;
	if (*other)
		err_set(err, ERR_CONFIG,
			"output: expected no file, or a finished one of this run to make again, "
			"found \"%s\" of another run:%.*s\n%s",
			c->output, (int)size_min(differences.n, 3000), differences.data, advice);
fail:
	free_made_from(&there);
	free(differences.data);
	return err->code;
}

/* ---- aside ------------------------------------------------------------------------------- */

/* NAME.old-N, of NAME.h5: no such file is there, nor a summary of one. */
static int free_name(const struct config *c, char *out, size_t size, struct err *err)
{
	for (int n = 1; n < 10000; n++) {
		char suffix[32];

		snprintf(suffix, sizeof suffix, ".old-%d.h5", n);
		path_beside(c->output, suffix, out, size);
		if (!file_exists(out))
			return 0;
	}
	return err_set(err, ERR_OUTPUT, "%s: expected a free name, found 9999 old files",
		c->output);
}

int output_set_aside(const struct config *c, struct err *err)
{
	char aside[4200], summary[4200], summary_aside[4200];

	if (free_name(c, aside, sizeof aside, err) || file_rename(c->output, aside, err))
		return err->code;
	log_info("the result file of another run is now %s", aside);
	path_beside(c->output, ".summary.h5", summary, sizeof summary);
	path_beside(aside, ".summary.h5", summary_aside, sizeof summary_aside);
	return file_exists(summary) ? file_rename(summary, summary_aside, err) : 0;
}

/* SPDX-License-Identifier: MIT
 *
 * units_inspect.c - how far the run of a folder of units has come. Contract: units.h.
 * Tests: tests/test_resume.c.
 */
#include "host/work/units.h"

#include "host/base/file.h"
#include "host/work/units_folder.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

struct tally {
	size_t n; /* whole units */
	unsigned long long bytes;
	char first[4800]; /* path of a whole one */
};

static int count_units(const char *folder, struct tally *t, struct err *err)
{
	struct folder_names names;
	char path[4800];
	struct stat st;

	if (folder_list(&names, folder, ERR_INPUT, err))
		return err->code;
	for (size_t i = 0; i < names.n; i++) {
		snprintf(path, sizeof path, "%s/%s", folder, names.data[i]);
		if (!path_has_extension(path, ".h5") ||
			stat(path, &st) != 0) /* gone since it was listed */
			continue;
		if (t->n++ == 0)
			snprintf(t->first, sizeof t->first, "%s", path);
		t->bytes += (unsigned long long)st.st_size;
	}
	folder_names_free(&names);
	return 0;
}

/* A stage's total, which each of its units knows: "3 of 9". */
static void print_total(const struct tally *t, FILE *to)
{
	struct results_reader *r;
	struct err ignored;
	char *place = NULL, *total;

	if (t->n > 0 && results_open_foreign(&r, t->first, &ignored) == 0) {
		if (results_read_attribute_text(r, "/", "unit", &place, &ignored) == 0 &&
			(total = strstr(place, " of ")))
			fputs(total, to);
		free(place);
		results_reader_close(r);
	}
}

int units_inspect(const char *folder, FILE *to, struct err *err)
{
	struct folder_names names;
	char path[4500], owner[256];
	unsigned long long bytes = 0;
	size_t n_units = 0;

	snprintf(path, sizeof path, "%s/manifest", folder);
	if (units_folder_check(folder, err))
		return err->code;
	if (!file_exists(path))
		return err_set(err, ERR_INPUT,
			"%s: expected a folder of units, found no manifest in it", folder);
	if (folder_list(&names, folder, ERR_INPUT, err))
		return err->code;
	if (units_owner(folder, owner, sizeof owner))
		fprintf(to, "%s: units of a run that is being computed by %s\n", folder, owner);
	else
		fprintf(to,
			"%s: units that nobody is computing now; their command goes on from here\n",
			folder);
	for (size_t i = 0; i < names.n; i++) {
		struct tally t = {0};

		snprintf(path, sizeof path, "%s/%s", folder, names.data[i]);
		if (!folder_exists(path))
			continue;
		TRY(count_units(path, &t, err));
		fprintf(to, "  %-48s %6zu", names.data[i], t.n);
		print_total(&t, to);
		fprintf(to, " units, %.1f MB\n", (double)t.bytes * 1e-6);
		n_units += t.n;
		bytes += t.bytes;
	}
	fprintf(to, "%zu units, %.1f MB; stages that come later are not here yet\n", n_units,
		(double)bytes * 1e-6);
fail:
	folder_names_free(&names);
	return err->code;
}

/* ---- verifying ------------------------------------------------------------------------- */

struct verifying {
	struct seal expected; /* the stage and the unit it is at */
	size_t n, n_bad;
	struct err *err; /* names what is bad */
};

/* A unit by its file's name, "000012.h5". */
static bool is_unit(const char *name, size_t *unit)
{
	int n = 0;

	return sscanf(name, "%zu.h5%n", unit, &n) == 1 && n > 0 && name[n] == '\0';
}

static void note_bad(struct verifying *v, const struct err *why)
{
	const size_t n = v->n_bad > 0 ? strlen(v->err->text) : 0;

	if (v->n_bad++ == 0)
		*v->err = *why;
	else
		snprintf(v->err->text + n, sizeof v->err->text - n, "\n%s", why->text);
}

static void verify_unit(struct verifying *v, const char *path)
{
	struct err why;

	v->n++;
	if (seal_check(path, &v->expected, &why))
		note_bad(v, &why);
}

static void verify_stage(struct verifying *v, const char *folder, const char *stage)
{
	struct folder_names names;
	struct err why;
	char path[4800];

	snprintf(path, sizeof path, "%s/%s", folder, stage);
	snprintf(v->expected.stage, sizeof v->expected.stage, "%s", stage);
	if (!folder_exists(path))
		return;
	if (folder_list(&names, path, ERR_INPUT, &why))
		note_bad(v, &why);
	for (size_t i = 0; i < names.n; i++) {
		snprintf(path, sizeof path, "%s/%s/%s", folder, stage, names.data[i]);
		if (is_unit(names.data[i], &v->expected.unit))
			verify_unit(v, path);
	}
	folder_names_free(&names);
}

int units_verify(const char *folder, FILE *to, struct err *err)
{
	struct verifying v = {.err = err};
	struct folder_names names = {0};
	char path[4500];

	err_clear(err);
	TRY(units_folder_check(folder, err));
	snprintf(path, sizeof path, "%s/manifest", folder);
	TRY(sha256_file(path, v.expected.run, err));
	TRY(folder_list(&names, folder, ERR_INPUT, err));
	for (size_t i = 0; i < names.n; i++)
		verify_stage(&v, folder, names.data[i]);
	fprintf(to, "%s: %zu units held against their seals: %s\n", folder, v.n,
		v.n_bad == 0 ? "all as they were written" : "NOT as they were written");
fail:
	folder_names_free(&names);
	return err->code;
}

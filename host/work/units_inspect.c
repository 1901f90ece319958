/* SPDX-License-Identifier: MIT
 *
 * units_inspect.c - how far the run of a folder of units has come. Contract: units.h.
 * Tests: tests/test_resume.c.
 */
#include "host/work/units.h"

#include "host/base/file.h"
#include "host/work/units_folder.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

struct tally {
	size_t n; /* whole units */
	unsigned long long bytes;
	char *first; /* path of a whole one; owned */
};

static bool ends_in(const char *text, const char *end)
{
	const size_t n = strlen(text), m = strlen(end);

	return n >= m && strcmp(text + n - m, end) == 0;
}

static void count_units(const char *folder, struct tally *t)
{
	DIR *dir = opendir(folder);
	struct stat st;

	for (struct dirent *e; dir && (e = readdir(dir));) {
		char *path = ends_in(e->d_name, ".h5") ? path_join(folder, e->d_name) : NULL;

		if (path && stat(path, &st) == 0) {
			t->n++;
			t->bytes += (unsigned long long)st.st_size;
			if (!t->first) {
				t->first = path;
				path = NULL;
			}
		}
		free(path);
	}
	if (dir)
		closedir(dir);
}

/* A stage's total, which each of its units knows: "3 of 9". */
static void print_total(const struct tally *t, FILE *to)
{
	struct results_reader *r;
	struct err ignored;
	char *place = NULL, *total;

	if (t->first && results_open_foreign(&r, t->first, &ignored) == 0) {
		if (results_read_attribute_text(r, "/", "unit", &place, &ignored) == 0 &&
			(total = strstr(place, " of ")))
			fputs(total, to);
		free(place);
		results_reader_close(r);
	}
}

static int by_name(const struct dirent **a, const struct dirent **b)
{
	return strcmp((*a)->d_name, (*b)->d_name);
}

int units_inspect(const char *folder, FILE *to, struct err *err)
{
	struct dirent **entries;
	char path[4500], owner[256];
	unsigned long long bytes = 0;
	size_t n_units = 0;
	int n;

	snprintf(path, sizeof path, "%s/manifest", folder);
	if (units_folder_check(folder, err))
		return err->code;
	if (!file_exists(path))
		return err_set(err, ERR_INPUT,
			"%s: expected a folder of units, found no manifest in it", folder);
	n = scandir(folder, &entries, NULL, by_name);
	if (n < 0)
		return err_set(err, ERR_INPUT, "%s: %s", folder, strerror(errno));
	if (units_owner(folder, owner, sizeof owner))
		fprintf(to, "%s: units of a run that is being computed by %s\n", folder, owner);
	else
		fprintf(to,
			"%s: units that nobody is computing now; their command goes on from here\n",
			folder);
	for (int i = 0; i < n; i++) {
		struct tally t = {0};

		snprintf(path, sizeof path, "%s/%s", folder, entries[i]->d_name);
		if (entries[i]->d_name[0] != '.' && folder_exists(path)) {
			count_units(path, &t);
			fprintf(to, "  %-48s %6zu", entries[i]->d_name, t.n);
			print_total(&t, to);
			fprintf(to, " units, %.1f MB\n", (double)t.bytes * 1e-6);
			n_units += t.n;
			bytes += t.bytes;
			free(t.first);
		}
		free(entries[i]);
	}
	free(entries);
	fprintf(to, "%zu units, %.1f MB; stages that come later are not here yet\n", n_units,
		(double)bytes * 1e-6);
	return 0;
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

static void verify_unit(struct verifying *v, const char *path)
{
	const size_t n = v->n_bad > 0 ? strlen(v->err->text) : 0;
	struct err why;

	v->n++;
	if (seal_check(path, &v->expected, &why) == 0)
		return;
	if (v->n_bad++ == 0)
		*v->err = why;
	else
		snprintf(v->err->text + n, sizeof v->err->text - n, "\n%s", why.text);
}

static void verify_stage(struct verifying *v, const char *folder, const char *stage)
{
	struct dirent **entries;
	char path[4800];
	int n;

	snprintf(path, sizeof path, "%s/%s", folder, stage);
	snprintf(v->expected.stage, sizeof v->expected.stage, "%s", stage);
	n = stage[0] != '.' && folder_exists(path) ? scandir(path, &entries, NULL, by_name) : -1;
	for (int i = 0; i < n; i++) {
		snprintf(path, sizeof path, "%s/%s/%s", folder, stage, entries[i]->d_name);
		if (is_unit(entries[i]->d_name, &v->expected.unit))
			verify_unit(v, path);
		free(entries[i]);
	}
	if (n >= 0)
		free(entries);
}

int units_verify(const char *folder, FILE *to, struct err *err)
{
	struct verifying v = {.err = err};
	struct dirent **entries;
	char path[4500];
	int n;

	err_clear(err);
	TRY(units_folder_check(folder, err));
	snprintf(path, sizeof path, "%s/manifest", folder);
	TRY(sha256_file(path, v.expected.run, err));
	n = scandir(folder, &entries, NULL, by_name);
	for (int i = 0; i < n; i++) {
		verify_stage(&v, folder, entries[i]->d_name);
		free(entries[i]);
	}
	if (n >= 0)
		free(entries);
	fprintf(to, "%s: %zu units held against their seals: %s\n", folder, v.n,
		v.n_bad == 0 ? "all as they were written" : "NOT as they were written");
fail:
	return err->code;
}

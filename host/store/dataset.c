/* SPDX-License-Identifier: MIT
 *
 * dataset.c - Contract: dataset.h. Tests: tests/test_dataset.c.
 */
#include "host/store/dataset.h"

#include "host/base/memory.h"

#include <assert.h>
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

/* ---- words ------------------------------------------------------------------------------- */

static bool is_of_word(char c)
{
	return isalnum((unsigned char)c) || c == '_';
}

/* Length of a word of capitals at `at`, which nothing of a word stands before; 0 = none. */
static size_t word_length(const char *at)
{
	size_t n = 0;

	while (isupper((unsigned char)at[n]))
		n++;
	return n > 1 && !is_of_word(at[n]) ? n : 0;
}

static size_t word_count(const char *path)
{
	size_t count = 0;

	for (const char *at = path; *at; at++)
		count += (at == path || !is_of_word(at[-1])) && word_length(at) > 0;
	return count;
}

bool dataset_is_repeated(const struct dataset *d)
{
	return word_count(d->path) > 0;
}

/* The path with its words filled in; false where it is too long. */
static bool fill_path(const char *path, const char *const *words, char *out, size_t size)
{
	size_t n = 0;

	for (const char *at = path; *at && n < size;) {
		const size_t word = at == path || !is_of_word(at[-1]) ? word_length(at) : 0;
		const int added = word > 0 ? snprintf(out + n, size - n, "%s", *words++)
					   : snprintf(out + n, size - n, "%c", *at);

		n += (size_t)added;
		at += word > 0 ? word : 1;
	}
	return n < size;
}

static int check_words(const struct dataset *d, const char *const *words, struct err *err)
{
	const size_t expected = word_count(d->path);
	size_t found = 0;

	while (words && words[found])
		found++;
	return found == expected
		       ? 0
		       : err_set(err, ERR_INTERNAL,
				 "%s: expected names for %zu words of the path, found %zu", d->path,
				 expected, found);
}

/* ---- filling in -------------------------------------------------------------------------- */

static const char *name_of(const char *path)
{
	return strrchr(path, '/') + 1;
}

bool dataset_is_scale(const struct dataset *d)
{
	return !d->dims[1] && strcmp(name_of(d->path), d->dims[0]) == 0;
}

static void without_backticks(const char *text, char *out, size_t size)
{
	size_t n = 0;

	for (; *text && n + 1 < size; text++)
		if (*text != '`')
			out[n++] = *text;
	out[n] = '\0';
}

int dataset_fill(struct dataset_filled *out, const struct dataset *d, const char *const *words,
	const size_t *n, struct err *err)
{
	assert(!strstr(d->units, " or ") && strlen(d->meaning) < sizeof out->long_name);
	if (check_words(d, words, err))
		return err->code;
	if (!fill_path(d->path, words, out->path, sizeof out->path))
		return err_set(err, ERR_INTERNAL,
			"%s: expected a path below %zu bytes, found %s...", d->path,
			sizeof out->path, out->path);
	without_backticks(d->meaning, out->long_name, sizeof out->long_name);
	out->d = (struct results_dataset){.path = out->path,
		.type = d->type,
		.long_name = out->long_name,
		.units = d->units,
		.compress = d->compress,
		.is_scale = dataset_is_scale(d)};
	for (int i = 0; i < RESULTS_DIMS && d->dims[i]; i++) {
		out->d.dims[out->d.n_dims++] = n[i];
		out->d.scales[i] = out->d.is_scale ? NULL : d->dims[i];
	}
	if (d->ends_of) {
		snprintf(out->ends_of, sizeof out->ends_of, "%.*s%s",
			(int)(name_of(out->path) - out->path), out->path, d->ends_of);
		out->d.ends_of = out->ends_of;
	}
	return 0;
}

/* ---- writing ----------------------------------------------------------------------------- */

int dataset_write(struct results *r, const struct dataset *d, const char *const *words,
	const size_t *n, const void *data, struct err *err)
{
	struct dataset_filled filled;

	if (dataset_fill(&filled, d, words, n, err))
		return err->code;
	return results_write(r, &filled.d, data, err);
}

int dataset_counting(int32_t **out, size_t n, struct err *err)
{
	*out = memory_alloc(n * sizeof **out + 1);
	if (!*out)
		return err_nomem(err, "a scale", n * sizeof **out);
	for (size_t i = 0; i < n; i++)
		(*out)[i] = (int32_t)i;
	return 0;
}

int dataset_write_counting(struct results *r, const struct dataset *d, const char *const *words,
	size_t n, struct err *err)
{
	int32_t *numbers;
	int rc;

	assert(dataset_is_scale(d) && d->type == RESULTS_I32);
	if (dataset_counting(&numbers, n, err))
		return err->code;
	rc = dataset_write(r, d, words, &n, numbers, err);
	free(numbers);
	return rc;
}

/* ---- the page ---------------------------------------------------------------------------- */

static const char *const type_names[] = {[RESULTS_F32] = "f32",
	[RESULTS_F64] = "f64",
	[RESULTS_F16] = "f16",
	[RESULTS_I32] = "i32",
	[RESULTS_I64] = "i64",
	[RESULTS_U8] = "u8",
	[RESULTS_TEXT] = "text"};

static void print_row(const struct dataset *d, FILE *to)
{
	fprintf(to, "| `%s` | ", d->path);
	for (int i = 0; i < RESULTS_DIMS && d->dims[i]; i++)
		fprintf(to, "%s%s", i ? ", " : "", d->dims[i]);
	fprintf(to, " | %s%s |%s%s | %s%s |\n", type_names[d->type], d->or_half ? " or f16" : "",
		*d->units ? " " : "", d->units, dataset_is_scale(d) ? "scale: " : "", d->meaning);
}

void dataset_section_print(const struct dataset_section *s, FILE *to)
{
	fprintf(to, "### %s\n\n", s->title);
	if (s->note)
		fprintf(to, "%s\n\n", s->note);
	if (s->n == 0)
		return;
	fprintf(to, "| dataset | dimensions | type | units | meaning |\n|---|---|---|---|---|\n");
	for (size_t i = 0; i < s->n; i++)
		print_row(&s->datasets[i], to);
	fprintf(to, "\n");
}

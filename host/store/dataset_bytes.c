/* SPDX-License-Identifier: MIT
 *
 * dataset_bytes.c - how much room the datasets of a section take, from their descriptors. Contract:
 * dataset.h. Tests: tests/test_checks.c, which holds it against files.
 *
 *   values    product of the lengths times the bytes of a value; compressed ones, ids: down to none
 *             of it, and no more than three of four bytes, for the highest is 0
 *   overhead  of a dataset in HDF5: header, attributes, scales
 *   chunks    rows that are appended lie in chunks of a megabyte, the last of which is begun
 */
#include "host/store/dataset.h"

#include "host/base/size.h"

#include <string.h>

static const double LEAST_OVERHEAD = 512, MOST_OVERHEAD = 2048, CHUNK = 1 << 20;

/* A text is a reference, and its bytes behind a header in a heap. */
static const double LEAST_TEXT = 16, TEXT_HEADER = 24;

static const struct dataset_length *find_length(const struct dataset_length *lengths,
	const char *name)
{
	for (; lengths->name; lengths++)
		if (strcmp(lengths->name, name) == 0)
			return lengths;
	return NULL;
}

static bool is_text(const struct dataset *d)
{
	return d->type == RESULTS_TEXT;
}

/* Whole chunks of a row's bytes. */
static double in_chunks(double rows, double row)
{
	const double per_chunk = row < CHUNK ? (double)(size_t)(CHUNK / row) : 1;
	const double chunks = (double)(size_t)(rows / per_chunk) +
			      (rows > (double)(size_t)(rows / per_chunk) * per_chunk);

	return chunks * per_chunk * row;
}

int dataset_bytes(const struct dataset *d, const struct dataset_length *lengths, bool rows,
	struct dataset_bytes *out, struct err *err)
{
	const double value = (double)results_value_bytes(d->type);
	/* Counted scales are compressed to next to nothing. */
	const bool compressed = d->compress || (rows && dataset_is_scale(d));
	double least = 1, most = 1, row = value;

	for (int i = 0; i < RESULTS_DIMS && d->dims[i]; i++) {
		const struct dataset_length *l = find_length(lengths, d->dims[i]);

		if (!l)
			return err_set(err, ERR_INTERNAL, "%s: expected a length of %s, found none",
				d->path, d->dims[i]);
		least *= (double)l->least;
		most *= (double)l->most;
		row *= i > 0 ? (double)l->most : 1;
	}
	out->least_values = least * value;
	out->values = most * value;
	out->least = compressed ? 0 : least * (is_text(d) ? LEAST_TEXT : value);
	out->most = most * (is_text(d) ? value + TEXT_HEADER : compressed ? 0.75 * value : value);
	if (rows && !compressed && row > 0)
		out->most = in_chunks(most * value / row, row);
	if (rows && dataset_is_scale(d))
		out->most /= 16;
	out->least += LEAST_OVERHEAD;
	out->most += MOST_OVERHEAD;
	return 0;
}

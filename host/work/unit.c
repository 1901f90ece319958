/* SPDX-License-Identifier: MIT
 *
 * unit.c - what compute puts into a unit and take gets from it, by way of its file or of memory.
 * Contract: stage.h. Tests: tests/test_units.c.
 */
#include "host/work/stage_parts.h"

#include "host/base/memory.h"
#include "host/base/vec.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What a unit keeps for itself is in the group /unit. */
static void part_path(const char *name, char path[80])
{
	snprintf(path, 80, "/unit/%s", name);
}

static int keep_part(struct unit *u, const char *name, enum results_type type, const void *data,
	size_t n, struct err *err)
{
	const size_t bytes = n * results_value_bytes(type);
	struct part part = {.type = type, .n = n, .data = memory_alloc(bytes + 1)};

	if (!part.data)
		return err_nomem(err, name, bytes);
	snprintf(part.name, sizeof part.name, "%s", name);
	if (bytes > 0)
		memcpy(part.data, data, bytes);
	if (vec_push(&u->parts, part, err) == 0)
		return 0;
	free(part.data);
	return err->code;
}

static const struct part *find_part(const struct unit_reader *u, const char *name,
	enum results_type type)
{
	for (size_t i = 0; i < u->parts->n; i++)
		if (strcmp(u->parts->data[i].name, name) == 0 && u->parts->data[i].type == type)
			return &u->parts->data[i];
	assert(!"take asks for what compute has put");
	return NULL;
}

void unit_free_parts(struct parts *parts)
{
	for (size_t i = 0; i < parts->n; i++)
		free(parts->data[i].data);
	free(parts->data);
	*parts = (struct parts){0};
}

int unit_put(struct unit *u, const char *name, enum results_type type, const void *data, size_t n,
	struct err *err)
{
	char path[80];

	if (!u->writer)
		return keep_part(u, name, type, data, n, err);
	part_path(name, path);
	return writer_put(u->writer,
		&(struct results_dataset){.path = path, .type = type, .n_dims = 1, .long_name = ""},
		data, n, true, err);
}

int unit_write(struct unit *u, const struct dataset *d, const char *const *words, const size_t *n,
	const void *data, struct err *err)
{
	struct dataset_filled rows;

	assert(u->writer);
	if (dataset_fill(&rows, d, words, n, err))
		return err->code;
	return writer_put(u->writer, &rows.d, data, n[0], false, err);
}

int unit_write_counting(struct unit *u, const struct dataset *d, const char *const *words, size_t n,
	struct err *err)
{
	struct dataset_filled rows;
	int32_t *numbers;
	int rc;

	assert(u->writer);
	if (dataset_fill(&rows, d, words, &n, err) || dataset_counting(&numbers, n, err))
		return err->code;
	/* Places count on from those of the units before, as ends do. */
	rows.d.ends_of = rows.d.path;
	rows.d.compress = true;
	rc = writer_put(u->writer, &rows.d, numbers, n, false, err);
	free(numbers);
	return rc;
}

int unit_write_tensor(struct unit *u, const struct dataset *d, const char *const *words,
	struct tensor t, struct err *err)
{
	struct dataset_filled rows;
	struct device_copy *copy;

	assert(u->writer && t.dtype == DTYPE_F32);
	if (dataset_fill(&rows, d, words, (size_t[]){t.rows, t.cols}, err) ||
		device_copy_begin(u->dev, t, d->type == RESULTS_F16 ? DTYPE_F16 : DTYPE_F32, &copy,
			err))
		return err->code;
	return writer_put_copy(u->writer, &rows.d, copy, t.rows, err);
}

void unit_advance(struct unit *u, size_t n)
{
	if (u->progress)
		progress_add(u->progress, n);
	u->n_advanced += n;
}

int unit_get(struct unit_reader *u, const char *name, enum results_type type, void *out, size_t n,
	struct err *err)
{
	char path[80];

	if (!u->file) {
		const struct part *part = find_part(u, name, type);

		assert(part->n == n);
		memcpy(out, part->data, n * results_value_bytes(type));
		return 0;
	}
	part_path(name, path);
	return results_read_exactly(u->file, path, type, out, n, err);
}

int unit_get_all(struct unit_reader *u, const char *name, enum results_type type, void **data,
	size_t *n, struct err *err)
{
	char path[80];

	if (!u->file) {
		const struct part *part = find_part(u, name, type);
		const size_t bytes = part->n * results_value_bytes(type);

		*n = part->n;
		*data = memory_alloc(bytes + 1);
		if (!*data)
			return err_nomem(err, name, bytes);
		memcpy(*data, part->data, bytes);
		return 0;
	}
	part_path(name, path);
	return results_read_all(u->file, path, type, data, n, err);
}

/* SPDX-License-Identifier: MIT
 *
 * results_mapped.c - the list of datasets whose rows stay in the files of units. Contract:
 * results_parts.h, results.h.
 */
#include "host/store/results_parts.h"

#include "host/base/vec.h"

#include <stdlib.h>
#include <string.h>

void results_free_mapped(struct results *r)
{
	for (size_t i = 0; i < r->mapped.n; i++) {
		for (size_t k = 0; k < r->mapped.data[i].n; k++)
			free(r->mapped.data[i].data[k].file);
		free(r->mapped.data[i].data);
		sha256_end(r->mapped.data[i].values);
	}
	free(r->mapped.data);
	r->mapped = (struct mapped_list){0};
}

void results_map_units(struct results *r)
{
	r->map_units = true;
}

/* The unit's path from the folder of the result file, which both paths begin with. */
static const char *seen_from(const struct results *r, const char *unit)
{
	const char *slash = strrchr(r->path, '/');
	const size_t n = slash ? (size_t)(slash - r->path) + 1 : 0;

	return strncmp(unit, r->path, n) == 0 ? unit + n : unit;
}

int results_map_rows(struct results *r, const struct rows *rows, const char *unit, struct err *err)
{
	struct source source = {strdup(seen_from(r, unit)), rows->d.dims[0]};
	struct mapped m = {.rows = *rows};
	size_t i = 0;

	while (i < r->mapped.n && strcmp(r->mapped.data[i].rows.path, rows->path) != 0)
		i++;
	if (!source.file)
		return err_nomem(err, unit, strlen(unit));
	if (i == r->mapped.n) {
		m.rows.data = NULL;
		m.values = sha256_begin();
		if (!m.values)
			err_nomem(err, unit, sizeof m);
		if (!m.values || vec_push(&r->mapped, m, err)) {
			sha256_end(m.values);
			goto fail;
		}
	}
	TRY(vec_push(&r->mapped.data[i], source, err));
	results_add_values(r->mapped.data[i].values, rows->d.type, rows->data,
		results_count(&rows->d, rows->d.dims[0]));
	return 0;
fail:
	free(source.file);
	return err->code;
}

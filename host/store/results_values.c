/* SPDX-License-Identifier: MIT
 *
 * results_values.c - all values of a dataset that is let in, as they are asked for. Contract:
 * results_parts.h. Tests: tests/test_results.c, tests/test_results_door.c.
 */
#include "host/store/results_door.h"

#include "host/base/memory.h"
#include "host/base/vec.h"

#include <stdlib.h>
#include <string.h>

/* Texts one behind the other, each with its zero. */
static int pack(const struct results_reader *r, const char *path, const char *const *texts,
	size_t n, struct child_reply *reply, struct err *err)
{
	struct text all = {0};

	for (size_t i = 0; i < n; i++) {
		const char *text = texts[i] ? texts[i] : "";
		const size_t bytes = strlen(text) + 1;

		if (bytes > r->most - all.n) {
			err_set(err, ERR_INPUT,
				"%s: %s: expected texts of at most %zu bytes in all", r->path, path,
				r->most);
			goto fail;
		}
		TRY(vec_append(&all, text, bytes, err));
	}
	reply->data = all.data;
	reply->n = all.n;
	return 0;
fail:
	free(all.data);
	return err->code;
}

static int read_texts(const struct results_reader *r, const struct results_request *q,
	const struct door_dataset *d, hid_t type, size_t bytes, struct child_reply *reply,
	struct err *err)
{
	char **texts = calloc(bytes + 1, 1);
	hid_t space;

	if (!texts)
		return err_nomem(err, q->path, bytes);
	err_clear(err);
	if (bytes > 0 && door_read(r, q->path, d, type, texts, err) == 0)
		pack(r, q->path, (const char *const *)texts, d->dims[0], reply, err);
	space = H5Dget_space(d->id);
	if (bytes > 0)
		H5Dvlen_reclaim(type, space, H5P_DEFAULT, texts);
	H5Sclose(space);
	free(texts);
	return err->code;
}

static int read_numbers(const struct results_reader *r, const struct results_request *q,
	const struct door_dataset *d, hid_t type, size_t bytes, struct child_reply *reply,
	struct err *err)
{
	err_clear(err);
	reply->data = memory_alloc(bytes + 1);
	if (!reply->data)
		return err_nomem(err, q->path, bytes);
	reply->n = bytes;
	if (bytes > 0 && d->layout == H5D_VIRTUAL)
		virtual_read(r, q->path, d, type, reply->data, err);
	else if (bytes > 0)
		door_read(r, q->path, d, type, reply->data, err);
	return err->code;
}

int results_answer_values(const struct results_reader *r, const struct results_request *q,
	struct child_reply *reply, struct err *err)
{
	const hid_t type = results_type(q->type);
	struct door_dataset d;
	size_t bytes;

	err_clear(err);
	TRY(door_open(r, q->path, &d, err));
	TRY(door_bytes(r, q->path, &d, type, &bytes, err));
	if (q->as_stored && H5Tequal(type, d.type) <= 0) {
		err_set(err, ERR_INPUT, "%s: %s: expected values of another type", r->path,
			q->path);
		goto fail;
	}
	if (d.n_dims != q->n_dims) {
		err_set(err, ERR_INPUT, "%s: %s: expected %d dimensions, found %d", r->path,
			q->path, q->n_dims, d.n_dims);
		goto fail;
	}
	for (int i = 0; i < d.n_dims; i++)
		reply->number[i] = d.dims[i];
	if (q->type == RESULTS_TEXT)
		TRY(read_texts(r, q, &d, type, bytes, reply, err));
	else
		TRY(read_numbers(r, q, &d, type, bytes, reply, err));
fail:
	door_close(&d);
	H5Tclose(type);
	return err->code;
}

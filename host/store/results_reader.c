/* SPDX-License-Identifier: MIT
 *
 * results_reader.c - reading what an earlier run wrote. Contract: results.h.
 * Tests: tests/test_results.c.
 *
 * The checks of results_door.h hold for every file. The units of a run, which are its own, are read
 * in this process. A file that may be damaged can crash the HDF5 library itself: of small files
 * with one to four bytes changed, one in sixty does that to version 1.10.8, or keeps it without
 * end. So a result file, and whatever is given as one, is open in a child alone: each question goes
 * there, and what comes back is checked like any input. Not tried in the child first and then read
 * here: that would read everything twice, and memory that was damaged once without a crash may
 * crash the second time. What it costs is a fork for each file. It holds crashes, not attackers:
 * child.h.
 *
 * The file is expected to stay as it is while it is open, as all inputs are.
 */
#include "host/store/results_parts.h"

#include "host/base/child.h"
#include "host/base/size.h"
#include "host/base/utf8.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Bytes of a stranger's dataset, and the child's memory and time to read it. The largest that are
 * read are the texts of replies. */
static const size_t FOREIGN_BYTES = (size_t)1 << 30;
static const size_t FOREIGN_MEMORY = (size_t)4 << 30;
enum { FOREIGN_SECONDS = 20 };

/* ---- opening and asking ---------------------------------------------------------------- */

static int new_reader(struct results_reader **out, const char *path, size_t most, struct err *err)
{
	struct results_reader *r = calloc(1, sizeof *r);

	*out = NULL;
	if (!r || !(r->path = strdup(path))) {
		free(r);
		return err_nomem(err, path, sizeof *r);
	}
	r->file = H5I_INVALID_HID;
	r->most = most;
	*out = r;
	return 0;
}

static int answer(void *context, const void *question, struct child_reply *reply, struct err *err)
{
	return results_answer(context, question, reply, err);
}

static int ask(struct results_reader *r, const struct results_request *q, struct child_reply *reply,
	struct err *err)
{
	err_clear(err);
	return r->child ? child_ask(r->child, q, reply, err) : results_answer(r, q, reply, err);
}

static int open_file(struct results_reader **out, const char *path, bool foreign, struct err *err)
{
	static const struct child_limits limits = {FOREIGN_MEMORY, FOREIGN_BYTES, FOREIGN_SECONDS};
	struct results_reader *r = NULL;
	struct child_reply reply = {{0}, NULL, 0};
	char what[4200];

	*out = NULL;
	err_clear(err);
	TRY(new_reader(&r, path, foreign ? FOREIGN_BYTES : SIZE_MAX, err));
	snprintf(what, sizeof what, "%s: the HDF5 library could not read it", path);
	if (foreign)
		TRY(child_start(&r->child, what, answer, r, sizeof(struct results_request), &limits,
			err));
	TRY(ask(r, &(struct results_request){.question = ASK_OPEN}, &reply, err));
	free(reply.data);
	*out = r;
	return 0;
fail:
	results_reader_close(r);
	return err->code;
}

int results_open(struct results_reader **out, const char *path, struct err *err)
{
	return open_file(out, path, false, err);
}

int results_open_foreign(struct results_reader **out, const char *path, struct err *err)
{
	return open_file(out, path, true, err);
}

void results_reader_close(struct results_reader *r)
{
	if (!r)
		return;
	child_stop(r->child);
	if (r->file >= 0)
		H5Fclose(r->file);
	free(r->path);
	free(r);
}

/* ---- values ---------------------------------------------------------------------------- */

static int set_path(const struct results_reader *r, struct results_request *q, const char *path,
	struct err *err)
{
	const int n = snprintf(q->path, sizeof q->path, "%s", path);

	return (size_t)n < sizeof q->path
		       ? 0
		       : err_set(err, ERR_INPUT,
				 "%s: expected a path of at most %zu bytes, found %s", r->path,
				 sizeof q->path - 1, path);
}

int results_has(struct results_reader *r, const char *path, bool *has, struct err *err)
{
	struct results_request q = {.question = ASK_HAS};
	struct child_reply reply = {{0}, NULL, 0};

	*has = false;
	err_clear(err);
	TRY(set_path(r, &q, path, err));
	TRY(ask(r, &q, &reply, err));
	*has = reply.number[0] != 0;
	free(reply.data);
fail:
	return err->code;
}

/* Whether as many bytes came as the dimensions say. */
static bool is_consistent(const struct child_reply *reply, int n_dims, size_t element)
{
	size_t bytes = element;

	for (int i = 0; i < n_dims; i++)
		if (size_mul_overflow(bytes, (size_t)reply->number[i], &bytes))
			return false;
	return bytes == reply->n;
}

static int contradiction(const struct results_reader *r, const char *path,
	struct child_reply *reply, struct err *err)
{
	free(reply->data);
	return err_set(err, ERR_INPUT, "%s: %s: what was read contradicts itself", r->path, path);
}

static int read_values(struct results_reader *r, const char *path, enum results_type type,
	bool as_stored, int n_dims, size_t *dims, void **data, struct err *err)
{
	struct results_request q = {.question = ASK_VALUES,
		.type = type,
		.as_stored = as_stored,
		.n_dims = n_dims};
	struct child_reply reply;

	*data = NULL;
	if (set_path(r, &q, path, err) || ask(r, &q, &reply, err))
		return err->code;
	if (!is_consistent(&reply, n_dims, results_value_bytes(type)))
		return contradiction(r, path, &reply, err);
	for (int i = 0; i < n_dims; i++)
		dims[i] = (size_t)reply.number[i];
	*data = reply.data;
	return 0;
}

int results_read_floats(struct results_reader *r, const char *path, int n_dims, size_t *dims,
	float **data, struct err *err)
{
	return read_values(r, path, RESULTS_F32, false, n_dims, dims, (void **)data, err);
}

int results_read_ints(struct results_reader *r, const char *path, int n_dims, size_t *dims,
	int32_t **data, struct err *err)
{
	return read_values(r, path, RESULTS_I32, false, n_dims, dims, (void **)data, err);
}

int results_read_all(struct results_reader *r, const char *path, enum results_type type,
	void **data, size_t *n, struct err *err)
{
	return read_values(r, path, type, true, 1, n, data, err);
}

int results_read_exactly(struct results_reader *r, const char *path, enum results_type type,
	void *out, size_t n, struct err *err)
{
	void *data;
	size_t found;

	if (results_read_all(r, path, type, &data, &found, err))
		return err->code;
	if (found == n)
		memcpy(out, data, n * results_value_bytes(type));
	else
		err_set(err, ERR_INPUT, "%s: %s: expected %zu values, found %zu", r->path, path, n,
			found);
	free(data);
	return found == n ? 0 : err->code;
}

/* ---- texts ----------------------------------------------------------------------------- */

static void free_texts(char **texts, size_t n)
{
	for (size_t i = 0; texts && i < n; i++)
		free(texts[i]);
	free(texts);
}

static size_t count_zeros(const char *bytes, size_t n)
{
	size_t zeros = 0;

	for (size_t i = 0; i < n; i++)
		zeros += bytes[i] == '\0';
	return zeros;
}

/* Texts that were packed. */
static int unpack(const struct results_reader *r, const char *path, const char *packed, size_t n,
	char ***out, struct err *err)
{
	char **texts = calloc(n + 1, sizeof *texts);
	size_t bad;

	for (size_t i = 0; texts && i < n; i++) {
		const size_t length = strlen(packed);

		if (!utf8_valid(packed, length, &bad)) {
			free_texts(texts, i);
			return err_set(err, ERR_INPUT,
				"%s: %s: text %zu: expected UTF-8, found byte 0x%02x at offset %zu",
				r->path, path, i, (unsigned char)packed[bad], bad);
		}
		texts[i] = strdup(packed);
		if (!texts[i]) {
			free_texts(texts, i);
			texts = NULL;
		}
		packed += length + 1;
	}
	*out = texts;
	return texts ? 0 : err_nomem(err, path, n * sizeof *texts);
}

int results_read_texts(struct results_reader *r, const char *path, size_t *n, char ***data,
	struct err *err)
{
	struct results_request q = {.question = ASK_VALUES, .type = RESULTS_TEXT, .n_dims = 1};
	struct child_reply reply;
	int rc;

	*data = NULL;
	*n = 0;
	if (set_path(r, &q, path, err) || ask(r, &q, &reply, err))
		return err->code;
	if (count_zeros(reply.data, reply.n) != reply.number[0] ||
		(reply.n > 0 && ((char *)reply.data)[reply.n - 1] != '\0'))
		return contradiction(r, path, &reply, err);
	rc = unpack(r, path, reply.data, (size_t)reply.number[0], data, err);
	*n = rc ? 0 : (size_t)reply.number[0];
	free(reply.data);
	return rc;
}

/* ---- attributes ------------------------------------------------------------------------ */

static int ask_attribute(struct results_reader *r, enum results_question question,
	const char *object, const char *name, struct child_reply *reply, struct err *err)
{
	struct results_request q = {.question = question};

	snprintf(q.name, sizeof q.name, "%s", name);
	return set_path(r, &q, object, err) ? err->code : ask(r, &q, reply, err);
}

int results_read_attribute_integer(struct results_reader *r, const char *object, const char *name,
	int64_t *value, struct err *err)
{
	struct child_reply reply;

	if (ask_attribute(r, ASK_INTEGER, object, name, &reply, err))
		return err->code;
	memcpy(value, &reply.number[0], sizeof *value);
	free(reply.data);
	return 0;
}

int results_read_attribute_text(struct results_reader *r, const char *object, const char *name,
	char **value, struct err *err)
{
	struct child_reply reply;

	*value = NULL;
	if (ask_attribute(r, ASK_TEXT, object, name, &reply, err))
		return err->code;
	if (count_zeros(reply.data, reply.n) != 1 || ((char *)reply.data)[reply.n - 1] != '\0' ||
		!utf8_valid(reply.data, reply.n - 1, NULL))
		return contradiction(r, object, &reply, err);
	*value = reply.data;
	return 0;
}

/* ---- listing --------------------------------------------------------------------------- */

int results_list(struct results_reader *r, FILE *to, struct err *err)
{
	struct child_reply reply;

	if (ask(r, &(struct results_request){.question = ASK_LISTING}, &reply, err))
		return err->code;
	fwrite(reply.data, 1, reply.n, to);
	free(reply.data);
	return 0;
}

int results_inspect(const char *path, FILE *to, struct err *err)
{
	struct results_reader *r;

	if (results_open_foreign(&r, path, err))
		return err->code;
	results_list(r, to, err);
	results_reader_close(r);
	return err->code;
}

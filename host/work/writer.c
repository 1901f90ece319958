/* SPDX-License-Identifier: MIT
 *
 * writer.c - Contract and invariants: writer.h. Tests: tests/test_writer.c.
 *
 * A list of jobs in order; the thread takes the first, does it without the lock, and counts its
 * bytes off afterwards, so that what is being written counts as waiting.
 */
#include "host/work/writer.h"

#include "host/base/memory.h"
#include "host/base/thread.h"
#include "kernels/ops.h"

#include <stdlib.h>
#include <string.h>

enum job_kind { JOB_BEGIN, JOB_ROWS, JOB_PART, JOB_NOTE, JOB_COMMIT, JOB_ABANDON };

struct job {
	enum job_kind kind;
	struct job *next;
	struct results_dataset d; /* ROWS, PART: its texts are in `memory` */
	char *path, *value;       /* BEGIN: path; NOTE: name and value; in `memory` */
	struct seal seal;         /* BEGIN */
	const void *data;         /* in `memory`, or what `copy` brings */
	struct device_copy *copy; /* owned; NULL = the values are here */
	size_t n, bytes;
	_Alignas(16) char memory[];
};

static void free_job(struct job *job)
{
	if (job->copy)
		device_copy_end(job->copy);
	free(job);
}

struct writer {
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t changed;
	struct job *first, **last; /* owned */
	size_t n_jobs, waiting_bytes, most_bytes;
	bool closing;
	struct err err;
	/* Of the thread alone. */
	struct results *file;
};

/* ---- the thread ------------------------------------------------------------------------ */

static int do_job(struct writer *w, const struct job *job, struct err *err)
{
	struct results *file = w->file;
	const void *data = job->data;

	if (job->copy && device_copy_wait(job->copy, &data, err))
		return err->code;
	switch (job->kind) {
	case JOB_BEGIN:
		return results_create_unit(&w->file, job->path, &job->seal, err);
	case JOB_ROWS:
		return results_write_rows(file, &job->d, data, job->n, err);
	case JOB_PART:
		return results_write(file, &job->d, data, err);
	case JOB_NOTE:
		return results_attribute_text(file, "/", job->path, job->value, err);
	case JOB_COMMIT:
		w->file = NULL;
		return results_finish(file, err);
	case JOB_ABANDON:
		break;
	}
	w->file = NULL;
	results_discard(file);
	return 0;
}

/* After an error only the file that was open is cleared away. */
static void take_job(struct writer *w, const struct job *job)
{
	struct err err = {0};

	if (w->err.code == 0)
		do_job(w, job, &err);
	if ((err.code || w->err.code) && w->file) {
		results_discard(w->file);
		w->file = NULL;
	}
	pthread_mutex_lock(&w->lock);
	if (err.code && w->err.code == 0)
		w->err = err;
	pthread_mutex_unlock(&w->lock);
}

static void *writer_main(void *argument)
{
	struct writer *w = argument;

	pthread_mutex_lock(&w->lock);
	for (;;) {
		struct job *job = w->first;

		if (!job && w->closing)
			break;
		if (!job) {
			pthread_cond_wait(&w->changed, &w->lock);
			continue;
		}
		w->first = job->next;
		if (!w->first)
			w->last = &w->first;
		pthread_mutex_unlock(&w->lock);
		take_job(w, job);
		pthread_mutex_lock(&w->lock);
		w->n_jobs--;
		w->waiting_bytes -= job->bytes;
		free_job(job);
		pthread_cond_broadcast(&w->changed);
	}
	pthread_mutex_unlock(&w->lock);
	return NULL;
}

/* ---- the queue ------------------------------------------------------------------------- */

static int kept_error(const struct writer *w, struct err *err)
{
	if (w->err.code)
		*err = w->err;
	return w->err.code;
}

static int enqueue(struct writer *w, struct job *job, struct err *err)
{
	int rc;

	pthread_mutex_lock(&w->lock);
	while (w->err.code == 0 && w->waiting_bytes > 0 &&
		w->waiting_bytes + job->bytes > w->most_bytes)
		pthread_cond_wait(&w->changed, &w->lock);
	rc = kept_error(w, err);
	if (rc == 0 || job->kind == JOB_ABANDON) {
		*w->last = job;
		w->last = &job->next;
		w->n_jobs++;
		w->waiting_bytes += job->bytes;
		pthread_cond_broadcast(&w->changed);
	} else {
		free_job(job);
	}
	pthread_mutex_unlock(&w->lock);
	return rc;
}

static struct job *job_create(enum job_kind kind, size_t memory, struct err *err)
{
	struct job *job = memory_alloc(sizeof *job + memory + 1);

	if (job)
		*job = (struct job){.kind = kind};
	else
		err_nomem(err, "a unit to be written", memory);
	return job;
}

/* Copies a text to *to, moves *to behind it, returns the copy. */
static char *keep_text(char **to, const char *text)
{
	char *copy = *to;

	if (!text)
		return NULL;
	strcpy(copy, text);
	*to += strlen(text) + 1;
	return copy;
}

static size_t text_bytes(const char *text)
{
	return text ? strlen(text) + 1 : 0;
}

/* With no values of its own. NULL on an error. */
static struct job *text_job(enum job_kind kind, const char *path, const char *value,
	struct err *err)
{
	struct job *job = job_create(kind, text_bytes(path) + text_bytes(value), err);
	char *at;

	if (!job)
		return NULL;
	at = job->memory;
	job->path = keep_text(&at, path);
	job->value = keep_text(&at, value);
	return job;
}

static int simple_job(struct writer *w, enum job_kind kind, const char *path, const char *value,
	struct err *err)
{
	struct job *job = text_job(kind, path, value, err);

	return job ? enqueue(w, job, err) : err->code;
}

int writer_begin(struct writer *w, const char *path, const struct seal *seal, struct err *err)
{
	struct job *job = text_job(JOB_BEGIN, path, NULL, err);

	if (!job)
		return err->code;
	job->seal = *seal;
	return enqueue(w, job, err);
}

int writer_note(struct writer *w, const char *name, const char *value, struct err *err)
{
	return simple_job(w, JOB_NOTE, name, value, err);
}

int writer_commit(struct writer *w, struct err *err)
{
	return simple_job(w, JOB_COMMIT, NULL, NULL, err);
}

void writer_abandon(struct writer *w)
{
	struct err ignored;

	(void)simple_job(w, JOB_ABANDON, NULL, NULL, &ignored);
}

/* Of n rows of a dataset. */
static size_t bytes_of(const struct results_dataset *d, size_t n)
{
	size_t bytes = n * results_value_bytes(d->type);

	for (int i = 1; i < d->n_dims; i++)
		bytes *= d->dims[i];
	return bytes;
}

/* A job for n rows, its texts kept behind `own_bytes` of values of its own. */
static struct job *rows_job(enum job_kind kind, const struct results_dataset *d, size_t n,
	size_t own_bytes, struct err *err)
{
	size_t texts = text_bytes(d->path) + text_bytes(d->long_name) + text_bytes(d->units) +
		       text_bytes(d->ends_of);
	struct job *job;
	char *at;

	for (int i = 0; i < RESULTS_DIMS; i++)
		texts += text_bytes(d->scales[i]);
	job = job_create(kind, own_bytes + texts, err);
	if (!job)
		return NULL;
	at = job->memory + own_bytes;
	job->d = *d;
	job->d.dims[0] = n;
	job->d.path = keep_text(&at, d->path);
	job->d.long_name = keep_text(&at, d->long_name);
	job->d.units = keep_text(&at, d->units);
	job->d.ends_of = keep_text(&at, d->ends_of);
	for (int i = 0; i < RESULTS_DIMS; i++)
		job->d.scales[i] = keep_text(&at, d->scales[i]);
	job->data = job->memory;
	job->n = n;
	job->bytes = bytes_of(d, n);
	return job;
}

int writer_put(struct writer *w, const struct results_dataset *d, const void *data, size_t n,
	bool part, struct err *err)
{
	const size_t bytes = bytes_of(d, n);
	struct job *job = rows_job(part ? JOB_PART : JOB_ROWS, d, n, bytes, err);

	if (!job)
		return err->code;
	if (bytes > 0)
		memcpy(job->memory, data, bytes);
	return enqueue(w, job, err);
}

int writer_put_copy(struct writer *w, const struct results_dataset *d, struct device_copy *copy,
	size_t n, struct err *err)
{
	struct job *job = rows_job(JOB_ROWS, d, n, 0, err);

	if (!job) {
		device_copy_end(copy);
		return err->code;
	}
	job->copy = copy;
	return enqueue(w, job, err);
}

int writer_drain(struct writer *w, struct err *err)
{
	int rc;

	pthread_mutex_lock(&w->lock);
	while (w->n_jobs > 0)
		pthread_cond_wait(&w->changed, &w->lock);
	rc = kept_error(w, err);
	pthread_mutex_unlock(&w->lock);
	return rc;
}

/* ---- opening and closing --------------------------------------------------------------- */

int writer_open(struct writer **out, size_t most_bytes, struct err *err)
{
	struct writer *w = calloc(1, sizeof *w);

	*out = NULL;
	if (!w)
		return err_nomem(err, "the writer", sizeof *w);
	w->last = &w->first;
	w->most_bytes = most_bytes;
	pthread_mutex_init(&w->lock, NULL);
	pthread_cond_init(&w->changed, NULL);
	if (thread_start(&w->thread, writer_main, w, "the writer's thread", err)) {
		free(w);
		return err->code;
	}
	*out = w;
	return 0;
}

void writer_close(struct writer *w)
{
	if (!w)
		return;
	pthread_mutex_lock(&w->lock);
	w->closing = true;
	pthread_cond_broadcast(&w->changed);
	pthread_mutex_unlock(&w->lock);
	pthread_join(w->thread, NULL);
	if (w->file)
		results_discard(w->file);
	pthread_cond_destroy(&w->changed);
	pthread_mutex_destroy(&w->lock);
	free(w);
}

/* SPDX-License-Identifier: MIT
 *
 * capture.c - load (e): resid_post of all layers and tokens saved, against the same passes without.
 *
 * A round is so many passes as bare passes, then as many that are saved in the way of
 * activations.c and unit_write_tensor: a tap keeps what each layer computes, which begins its way
 * to the host at once, beside the layers behind; the next pass waits, on the device, until all have
 * left. A case named "host" ends there: a thread waits for the values and drops them, so that what
 * is seen is the device's share and the bus's. With "file" the writer's thread (writer.h) puts them
 * into a sealed file for each pass, as a run does, in $TMPDIR, /dev/shm or /tmp, the first that has
 * room; the time ends when the last has its name.
 *
 * The time of the last pass's values is not hidden by any pass behind it, as it is in a run, so a
 * round has several.
 */
#include "tests/loads/load.h"

#include "host/base/clock.h"
#include "host/base/file.h"
#include "host/base/thread.h"
#include "host/method/runner.h"
#include "host/model/carver.h"
#include "host/work/writer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { PASSES_TO_HOST = 4, PASSES_TO_FILE = 2, MOST_COPIES = PASSES_TO_HOST * ARCH_MAX_LAYERS };

/* As many values as may wait for the writer in a run (units.c). */
static const size_t QUEUE_BYTES = (size_t)256 << 20;

/* Copies that have begun, for the thread that ends them. */
struct arrivals {
	pthread_mutex_t lock;
	pthread_cond_t changed;
	struct device_copy *copies[MOST_COPIES];
	size_t n, wanted;
	struct err err; /* the first */
};

struct state {
	struct bench *b;
	const struct load_case *c;
	struct token_span *prompts;
	struct runner runner;
	struct tensor *resid; /* [n_layer] device */
	void *memory;
	struct writer *writer; /* NULL = to the host only */
	char folder[256];
};

/* ---- memory ---------------------------------------------------------------------------- */

static size_t rows_of(const struct load_case *c)
{
	return c->prompts * c->tokens;
}

static struct runner_size size_of(const struct load_case *c)
{
	return (struct runner_size){.rows = rows_of(c), .prompts = c->prompts, .out = rows_of(c)};
}

/* Of the residual streams that a pass leaves. */
static size_t pass_bytes(const struct bench *b, const struct load_case *c)
{
	const struct arch *a = &b->model->arch;

	return a->n_layer * rows_of(c) * a->d_model * sizeof(float);
}

static size_t bytes(const struct bench *b, const struct load_case *c)
{
	return runner_bytes(b->model, size_of(c)) + pass_bytes(b, c);
}

static void layout(void *object, struct carver *carver)
{
	struct state *s = object;

	for (size_t l = 0; l < s->b->model->arch.n_layer; l++)
		s->resid[l] = carve(carver, rows_of(s->c), s->b->model->arch.d_model);
}

/* ---- opening --------------------------------------------------------------------------- */

/* A folder of its own where all files of a round have room. */
static int find_room(struct state *s, struct err *err)
{
	const char *const places[] = {getenv("TMPDIR"), "/dev/shm", "/tmp"};
	const double needed = 1.1 * (double)(PASSES_TO_FILE * pass_bytes(s->b, s->c));
	double room;

	for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
		const int n = snprintf(s->folder, sizeof s->folder, "%s/capture-XXXXXX",
			places[i] ? places[i] : "");

		if (places[i] && *places[i] && n < (int)sizeof s->folder &&
			file_room(s->folder, &room) && room >= needed && mkdtemp(s->folder))
			return 0;
	}
	s->folder[0] = '\0';
	return err_set(err, ERR_OUTPUT,
		"expected %.1f GiB of room for files in $TMPDIR, /dev/shm or /tmp, found none",
		needed / 0x1p30);
}

static int open(struct bench *b, const struct load_case *c, void *state, struct err *err)
{
	struct state *s = state;

	s->b = b;
	s->c = c;
	s->resid = calloc(b->model->arch.n_layer, sizeof *s->resid);
	if (!s->resid)
		return err_nomem(err, "residual streams", b->model->arch.n_layer);
	TRY(bench_prompts(b, c->prompts, c->tokens, &s->prompts, err));
	TRY(carve_allocate(b->dev, layout, s, &s->memory, err));
	if (c->file) {
		TRY(find_room(s, err));
		TRY(writer_open(&s->writer, QUEUE_BYTES, err));
	}
	return runner_init(&s->runner, b->model, &b->readout, size_of(c), err);
fail:
	return err->code;
}

static void path_of(const struct state *s, size_t pass, char path[300])
{
	snprintf(path, 300, "%s/%zu.h5", s->folder, pass);
}

static void remove_files(const struct state *s)
{
	char path[300];

	for (size_t i = 0; i < PASSES_TO_FILE; i++) {
		path_of(s, i, path);
		unlink(path);
	}
}

static void close_state(void *state)
{
	struct state *s = state;

	writer_close(s->writer);
	if (s->folder[0]) {
		remove_files(s);
		rmdir(s->folder);
	}
	runner_free(&s->runner);
	device_free(s->b->dev, s->memory);
	free(s->resid);
	free(s->prompts);
}

/* ---- to the host ----------------------------------------------------------------------- */

static void *end_copies(void *argument)
{
	struct arrivals *a = argument;
	const void *values;

	for (size_t i = 0; i < a->wanted; i++) {
		struct err err = {0};

		pthread_mutex_lock(&a->lock);
		while (a->n <= i && i < a->wanted)
			pthread_cond_wait(&a->changed, &a->lock);
		pthread_mutex_unlock(&a->lock);
		if (i >= a->wanted)
			break;
		if (device_copy_wait(a->copies[i], &values, &err) && a->err.code == 0)
			a->err = err;
		device_copy_end(a->copies[i]);
	}
	return NULL;
}

static void tell(struct arrivals *a, struct device_copy *copy)
{
	pthread_mutex_lock(&a->lock);
	a->copies[a->n++] = copy;
	pthread_cond_signal(&a->changed);
	pthread_mutex_unlock(&a->lock);
}

/* No more come than have. */
static void tell_end(struct arrivals *a)
{
	pthread_mutex_lock(&a->lock);
	a->wanted = a->n;
	pthread_cond_signal(&a->changed);
	pthread_mutex_unlock(&a->lock);
}

/* ---- a round --------------------------------------------------------------------------- */

/* A pass that is saved. */
struct saving {
	struct state *state;
	struct arrivals *arrivals; /* NULL: the writer takes them */
};

static int write_layer(struct state *s, size_t layer, struct device_copy *copy, struct err *err)
{
	char path[64];
	const struct results_dataset d = {.path = path,
		.type = RESULTS_F32,
		.n_dims = 2,
		.dims = {0, s->resid[layer].cols},
		.long_name = "residual stream, unedited run",
		.units = "1"};

	snprintf(path, sizeof path, "/activations/blocks.%zu.hook_resid_post", layer);
	return writer_put_copy(s->writer, &d, copy, s->resid[layer].rows, err);
}

static int save_layer(void *context, size_t layer, struct err *err)
{
	const struct saving *saving = context;
	struct state *s = saving->state;
	const struct tensor x = s->resid[layer];
	struct device_copy *copy;

	if (device_copy_begin(s->b->dev, x, DTYPE_F32, &copy, err))
		return err->code;
	if (!saving->arrivals)
		return write_layer(s, layer, copy, err);
	tell(saving->arrivals, copy);
	return 0;
}

static int run_pass(struct state *s, struct saving *saving, struct err *err)
{
	const struct tap tap = {.kind = TAP_ACTIVATION,
		.out = s->resid,
		.served = save_layer,
		.context = saving};
	const struct intervention how = {.taps = &tap, .n_taps = saving ? 1 : 0};

	return runner_run(&s->runner, s->prompts, s->c->prompts, BATCH_OUT_ALL, &how, err);
}

static int save_pass(struct state *s, size_t pass, struct arrivals *a, struct err *err)
{
	static const struct seal seal = {.run = "capture", .stage = "00-capture", .n = 1};
	struct saving saving = {s, a};
	char path[300];

	path_of(s, pass, path);
	if (s->writer)
		TRY(writer_begin(s->writer, path, &seal, err));
	TRY(device_copies_fence(s->b->dev, err)); /* of the pass before */
	TRY(run_pass(s, &saving, err));
	return s->writer ? writer_commit(s->writer, err) : 0;
fail:
	return err->code;
}

static int save_to_host(struct state *s, struct err *err)
{
	struct arrivals a = {.lock = PTHREAD_MUTEX_INITIALIZER,
		.changed = PTHREAD_COND_INITIALIZER,
		.wanted = MOST_COPIES};
	pthread_t thread;

	if (thread_start(&thread, end_copies, &a, "the thread that takes what is saved", err))
		return err->code;
	for (size_t i = 0; i < PASSES_TO_HOST && err->code == 0; i++)
		save_pass(s, i, &a, err);
	tell_end(&a);
	pthread_join(thread, NULL);
	if (err->code == 0 && a.err.code)
		*err = a.err;
	return err->code;
}

static int save_to_files(struct state *s, struct err *err)
{
	for (size_t i = 0; i < PASSES_TO_FILE; i++)
		if (save_pass(s, i, NULL, err)) {
			writer_abandon(s->writer);
			return err->code;
		}
	return writer_drain(s->writer, err);
}

static int run(void *state, struct figures *out, struct err *err)
{
	struct state *s = state;
	const size_t n = s->writer ? PASSES_TO_FILE : PASSES_TO_HOST;
	const double bytes_saved = (double)(n * pass_bytes(s->b, s->c));
	double began = clock_seconds(), without;

	err_clear(err);
	for (size_t i = 0; i < n; i++)
		TRY(run_pass(s, NULL, err));
	without = clock_seconds() - began;
	began = clock_seconds();
	TRY(s->writer ? save_to_files(s, err) : save_to_host(s, err));
	*out = (struct figures){.seconds = clock_seconds() - began, .n = n * rows_of(s->c)};
	figures_add(out, "seconds_without", without);
	figures_add(out, "ratio", out->seconds / without);
	figures_add(out, "gb_per_second", 1e-9 * bytes_saved / out->seconds);
	figures_add(out, "passes", (double)n);
	if (s->writer)
		remove_files(s);
	return 0;
fail:
	return err->code;
}

const struct load load_capture = {'e', "saved activations", "token", bytes, sizeof(struct state),
	open, run, close_state};

/* SPDX-License-Identifier: MIT
 *
 * test_traffic.c - what a row of a pass moves through device memory in a layer, by the ops' own
 * count (struct op_time): the table of docs/gpu.md.
 *
 * Of a model with a quarter of Gemma 2 2B's widths, in bfloat16. Each op's bytes are linear in rows
 * and layers, so what a row and layer add are differences: weights, embedding and final norm fall
 * out.
 */
#include "kernels/cuda/cuda.h"
#include "host/model/carver.h"
#include "host/model/transformer.h"
#include "tests/device_fixture.h"
#include "tests/loads/random_model.h"
#include "tests/test.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { SHARE = 4, ROWS = 6, MOST_OPS = 64 };

static const char shape[] =
	"{\"model_type\": \"gemma2\", \"num_hidden_layers\": %d, \"hidden_size\": 576, "
	"\"num_attention_heads\": 8, \"num_key_value_heads\": 4, \"head_dim\": 64, "
	"\"intermediate_size\": 2304, \"vocab_size\": 64, \"sliding_window\": 4096}";

enum stage { SCORING, POINT, BACK, N_PARTS };

/* Bytes by op. */
struct count {
	const char *name[MOST_OPS];
	double bytes[MOST_OPS];
	size_t n;
};

static struct count count_of(const struct device *dev)
{
	struct op_time times[MOST_OPS];
	struct count c = {.n = device_op_times(dev, times, MOST_OPS)};

	for (size_t i = 0; i < c.n; i++) {
		c.name[i] = times[i].name;
		c.bytes[i] = times[i].bytes;
	}
	return c;
}

static double bytes_named(const struct count *c, const char *name)
{
	for (size_t i = 0; i < c->n; i++)
		if (strcmp(c->name[i], name) == 0)
			return c->bytes[i];
	return 0;
}

/* a - b, of everything in a. */
static struct count less(struct count a, const struct count *b)
{
	for (size_t i = 0; i < a.n; i++)
		a.bytes[i] -= bytes_named(b, a.name[i]);
	return a;
}

/* What a pass reads and leaves beside its workspace: where the path of integrated gradients ends,
 * and gradients. */
struct ends {
	struct tensor target[4], gradient[4], dy;
	size_t n_layer, rows, d;
};

static void layout(void *object, struct carver *c)
{
	struct ends *e = object;

	for (size_t l = 0; l < e->n_layer; l++) {
		e->target[l] = carve(c, e->rows, e->d);
		e->gradient[l] = carve(c, e->rows, e->d);
	}
	e->dy = carve(c, e->rows, e->d);
}

/* One sequence of `rows` tokens, all of them out rows. */
static void run(const struct model *m, size_t rows, struct count out[N_PARTS])
{
	struct ends ends = {.n_layer = m->arch.n_layer, .rows = rows, .d = m->arch.d_model};
	const struct edit mix = {.kind = EDIT_MIX,
		.layer_last = m->arch.n_layer - 1,
		.amount = 0.5,
		.targets = ends.target};
	const struct gradient gradient = {SITE_RESID_POST, ends.gradient, 0.1};
	int32_t tokens[2 * ROWS] = {0};
	struct count before, after;
	struct workspace *scoring, *recording;
	struct kv_cache cache;
	struct batch batch;
	void *memory;
	struct pass pass = {.batch = &batch, .cache = &cache};
	struct err err;

	REQUIRE_OK(workspace_create(&scoring, m, (struct workspace_size){rows, rows, false}, &err),
		&err);
	REQUIRE_OK(workspace_create(&recording, m, (struct workspace_size){rows, rows, true}, &err),
		&err);
	REQUIRE_OK(kv_cache_init(&cache, m, rows, &err), &err);
	REQUIRE_OK(batch_init(&batch, m->dev, rows, 1, &err), &err);
	REQUIRE_OK(carve_allocate(m->dev, layout, &ends, &memory, &err), &err);
	for (size_t l = 0; l < ends.n_layer; l++) {
		REQUIRE_OK(op_scale(m->dev, 0, ends.target[l], &err), &err);
		REQUIRE_OK(op_scale(m->dev, 0, ends.gradient[l], &err), &err);
	}
	REQUIRE_OK(op_scale(m->dev, 0, ends.dy, &err), &err);
	batch_clear(&batch, 0);
	batch_pack(&batch, tokens, rows, BATCH_OUT_ALL, 0);
	REQUIRE_OK(batch_upload(&batch, &err), &err);
	for (int part = SCORING; part < N_PARTS; part++) {
		before = count_of(m->dev);
		pass.edits = part == SCORING ? NULL : &mix;
		pass.n_edits = part == SCORING ? 0 : 1;
		if (part == BACK)
			REQUIRE_OK(backward(recording, &pass, ends.dy, &gradient, &err), &err);
		else
			REQUIRE_OK(forward(part == SCORING ? scoring : recording, &pass, &err),
				&err);
		after = count_of(m->dev);
		out[part] = less(after, &before);
	}
	device_free(m->dev, memory);
	batch_free(&batch);
	kv_cache_free(&cache);
	workspace_free(recording);
	workspace_free(scoring);
}

/* What ROWS more rows add, in a model of so many layers. */
static void of_rows(struct device *dev, int layers, struct count out[N_PARTS])
{
	struct count few[N_PARTS], many[N_PARTS];
	struct random_model random;
	struct stretch numbers;
	char config[sizeof shape + 16];
	struct err err;

	snprintf(config, sizeof config, shape, layers);
	REQUIRE_OK(stretch_init(&numbers, 1, &err), &err);
	REQUIRE_OK(random_model_open(&random, dev, config, 64, &numbers, &err), &err);
	run(random.model, ROWS, few);
	run(random.model, 2 * ROWS, many);
	for (int part = 0; part < N_PARTS; part++)
		out[part] = less(many[part], &few[part]);
	random_model_close(&random);
	stretch_free(&numbers);
}

static double print(const char *title, struct count c)
{
	double total = 0;

	printf("\n%s\n", title);
	for (size_t i = 0; i < c.n; i++) {
		const double bytes = c.bytes[i] * SHARE / ROWS;

		total += bytes;
		if (bytes > 0)
			printf("  %-28s %8.1f KB\n", c.name[i], bytes * 1e-3);
	}
	printf("  %-28s %8.1f KB\n", "all", total * 1e-3);
	return total;
}

/* Another figure is another table in docs/gpu.md. */
TEST(a_row_and_layer_move_what_the_table_says)
{
	static const struct {
		const char *title;
		double kilobytes;
	} table[N_PARTS] = {
		{"a pass", 268},
		{"a point of the path, forward", 294},
		{"a point of the path, backward", 381},
	};
	struct device *dev = fixture_device(&cuda_fast_backend, 1);
	struct count two[N_PARTS], three[N_PARTS];

	of_rows(dev, 2, two);
	of_rows(dev, 3, three);
	for (int part = 0; part < N_PARTS; part++) {
		const double found = print(table[part].title, less(three[part], &two[part])) * 1e-3;

		CHECK(fabs(found - table[part].kilobytes) < 0.5, "%s: expected %.0f KB, found %.1f",
			table[part].title, table[part].kilobytes, found);
	}
	device_close(dev);
}

/* SPDX-License-Identifier: MIT
 *
 * test_steps.c - steps of generation on a device that records them: how often it does, and that
 * replies are what the same device gives that cannot record, and so has no idle rows. Devices are
 * invariant, so the two sides agree bit for bit, in tokens and leads, unless a test says otherwise.
 */
#include "host/method/features.h"
#include "host/model/generate.h"
#include "host/model/step_graphs.h"
#include "kernels/cuda/cuda.h"
#include "tests/emu/control.h"
#include "tests/golden_model.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MOST = 11, NEW = 9, D_SAE = 24, PASS_ROWS = 64, MOST_STOPS = 6 };

/* A device with a model, and what generates on it. */
struct side {
	struct backend backend;
	struct golden g;
	struct readout readout;
	struct generator *generator;
	struct sae_set *saes;
	struct clamp_plan *one, *each; /* a set for all prompts; for each prompt one */
	struct tensor v[2];            /* two directions */
	uint64_t recordings, replays;  /* of the last call */
};

/* A call as both sides make it. */
struct call {
	const struct token_span *prompts;
	size_t n;
	const int32_t *stop;
	size_t n_stop;
	enum { NO_EDIT, ADDED, ONE_LIST, A_LIST_EACH } edit;
	double amount;   /* ADDED */
	int direction;   /* ADDED */
	size_t first;    /* A_LIST_EACH: of the prompts' sets */
	size_t n_prefix; /* tokens of a shared prefix */
	bool without_lead;
};

struct replies {
	int32_t tokens[MOST * NEW], ended_by[MOST];
	size_t lengths[MOST];
	float lead[MOST];
	int rc;
	char text[sizeof((struct err *)0)->text];
};

/* ---- the sides ------------------------------------------------------------------------- */

/* Sets of different sizes: of each, prompt p has p % 4 features. */
static struct feature_set *make_sets(void)
{
	static struct feature features[2 * MOST][3];
	static struct feature_set sets[2 * MOST];

	for (size_t p = 0; p < 2 * MOST; p++) {
		for (size_t k = 0; k < 3; k++)
			features[p][k] = (struct feature){(int32_t)(k % 2),
				(int32_t)((5 * p + 3 * k) % D_SAE), 0, 0};
		sets[p] = (struct feature_set){.data = features[p], .n = p % 4};
	}
	return sets;
}

static void open_side(struct side *s, const char *model, bool records, bool invariant)
{
	struct feature_set *sets = make_sets();

	*s = (struct side){.backend = cuda_exact_backend};
	if (!records)
		s->backend.async = NULL;
	REQUIRE_OK(golden_open(&s->g, model, &s->backend), &s->g.err);
	if (invariant)
		device_make_invariant(s->g.dev);
	REQUIRE_OK(readout_init(&s->readout, s->g.model, &s->g.err), &s->g.err);
	REQUIRE_OK(generator_create(&s->generator, s->g.model, &s->readout,
			   (struct generator_size){MOST, 7 * MOST, PASS_ROWS, NEW}, &s->g.err),
		&s->g.err);
	REQUIRE_OK(golden_open_saes(&s->g, &s->saes), &s->g.err);
	REQUIRE_OK(clamp_plan_create(&s->one, s->g.dev, s->saes, &sets[3], 1,
			   (struct clamp_value){-2, 0}, &s->g.err),
		&s->g.err);
	REQUIRE_OK(clamp_plan_create(&s->each, s->g.dev, s->saes, sets, 2 * MOST,
			   (struct clamp_value){-2, 0}, &s->g.err),
		&s->g.err);
	for (int i = 0; i < 2; i++) {
		const struct tensor v = {NULL, DTYPE_F32, 1, s->g.model->arch.d_model};
		float values[512];

		for (size_t j = 0; j < v.cols; j++)
			values[j] = (float)((int)((j + 1) * (size_t)(37 + i) % 11) - 5) / 4;
		s->v[i] = v;
		REQUIRE_OK(device_alloc(s->g.dev, tensor_bytes(v), &s->v[i].data, &s->g.err),
			&s->g.err);
		REQUIRE_OK(device_upload(s->g.dev, s->v[i].data, values, tensor_bytes(v),
				   &s->g.err),
			&s->g.err);
	}
}

static void close_side(struct side *s)
{
	clamp_plan_free(s->one);
	clamp_plan_free(s->each);
	generator_free(s->generator);
	for (int i = 0; i < 2; i++)
		device_free(s->g.dev, s->v[i].data);
	readout_free(&s->readout);
	sae_set_close(s->saes);
	golden_close(&s->g);
}

static int make_edit(struct side *s, const struct call *c, struct edit *edit)
{
	size_t ids[MOST];

	*edit = (struct edit){.kind = c->edit == ADDED ? EDIT_ADD : EDIT_CLAMP,
		.layer_last = SIZE_MAX, /* as of all layers, however many */
		.vector = s->v[c->direction],
		.amount = c->amount};
	for (size_t i = 0; i < c->n; i++)
		ids[i] = c->first + i;
	if (c->edit == ONE_LIST)
		return clamp_plan_batch(s->one, NULL, 0, &edit->clamps, &s->g.err);
	if (c->edit == A_LIST_EACH)
		return clamp_plan_batch(s->each, ids, c->n, &edit->clamps, &s->g.err);
	return 0;
}

static void count_calls(struct side *s)
{
	const struct emu_calls made = emu_calls_made();

	s->recordings = made.recordings - s->recordings;
	s->replays = made.replays - s->replays;
}

static void generate_and_count(struct side *s, const struct generation *request,
	struct replies *out)
{
	s->recordings = s->replays = 0;
	count_calls(s);
	out->rc = generate(s->generator, request, &s->g.err);
	count_calls(s);
	if (out->rc)
		memcpy(out->text, s->g.err.text, sizeof out->text);
}

static void run_call(struct side *s, const struct call *c, struct replies *out)
{
	struct edit edit;
	struct kv_cache prefix = {0};
	struct generation request = {.prompts = c->prompts,
		.n_prompts = c->n,
		.edits = &edit,
		.n_edits = c->edit != NO_EDIT,
		.stop = c->stop,
		.n_stop = c->n_stop,
		.tokens = out->tokens,
		.lengths = out->lengths,
		.ended_by = out->ended_by,
		.lead = c->without_lead ? NULL : out->lead};

	*out = (struct replies){.rc = 0};
	REQUIRE_OK(make_edit(s, c, &edit), &s->g.err);
	REQUIRE_OK(generator_prefix(s->generator, s->g.tokens + 20, c->n_prefix,
			   c->edit == ADDED ? &edit : NULL, c->edit == ADDED, &prefix, &s->g.err),
		&s->g.err);
	request.prefix = c->n_prefix > 0 ? &prefix : NULL;
	generate_and_count(s, &request, out);
	kv_cache_free(&prefix);
}

/* ---- comparing ------------------------------------------------------------------------- */

static struct side recording, direct;

static void open_sides(const char *model)
{
	open_side(&recording, model, true, true);
	open_side(&direct, model, false, true);
}

static void close_sides(void)
{
	close_side(&recording);
	close_side(&direct);
}

/* Makes the call on both sides. The replies are left in `out`, where it is not NULL. */
static void compare(const char *what, const struct call *c, struct replies *out)
{
	static struct replies found, expected;

	run_call(&direct, c, &expected);
	run_call(&recording, c, &found);
	CHECK(found.rc == expected.rc && strcmp(found.text, expected.text) == 0,
		"%s, %s: \"%s\", expected \"%s\"", recording.g.name, what, found.text,
		expected.text);
	for (size_t i = 0; expected.rc == 0 && i < c->n; i++) {
		CHECK(found.lengths[i] == expected.lengths[i] &&
				found.ended_by[i] == expected.ended_by[i] &&
				memcmp(found.tokens + i * NEW, expected.tokens + i * NEW,
					expected.lengths[i] * sizeof *found.tokens) == 0,
			"%s, %s: reply %zu of %zu tokens, expected %zu, or they differ",
			recording.g.name, what, i, found.lengths[i], expected.lengths[i]);
		CHECK(memcmp(&found.lead[i], &expected.lead[i], sizeof(float)) == 0,
			"%s, %s: lead %zu is %.9g, expected %.9g", recording.g.name, what, i,
			(double)found.lead[i], (double)expected.lead[i]);
	}
	if (out)
		*out = found;
}

/* Prompts of 1 to 7 tokens, whatever `from` the same numbers of them. */
static const struct token_span *short_prompts(size_t from)
{
	static struct token_span spans[MOST];

	for (size_t i = 0; i < MOST; i++)
		spans[i] = (struct token_span){direct.g.tokens + (7 * i + from) % 50, 1 + 3 * i % 7,
			(int32_t)(100 + i)};
	return spans;
}

static struct call call_of(const struct token_span *prompts)
{
	return (struct call){.prompts = prompts, .n = MOST, .amount = 1};
}

/* How many different lengths n replies have, of which none ends by itself, when they are ended by
 * the first n_stop tokens of `stop`. */
static size_t count_lengths(const struct replies *r, size_t n, const int32_t *stop, size_t n_stop)
{
	bool seen[NEW + 1] = {false};
	size_t found = 0;

	for (size_t i = 0; i < n; i++) {
		size_t length = 0;

		for (bool ends = false; length < NEW && !ends; length += !ends)
			for (size_t k = 0; k < n_stop; k++)
				ends |= r->tokens[i * NEW + length] == stop[k];
		found += !seen[length];
		seen[length] = true;
	}
	return found;
}

/* Gives the call stop tokens by which its replies have many lengths. Borrowed until the next call.
 */
static void choose_stops(struct call *c, size_t least)
{
	static int32_t stop[MOST_STOPS];
	static struct replies r;
	size_t found = 1;

	c->stop = stop;
	c->n_stop = 0;
	run_call(&direct, c, &r);
	REQUIRE(r.rc == 0, "%s", r.text);
	for (size_t i = c->n * NEW; i-- > 0 && c->n_stop < MOST_STOPS;) { /* late ones first */
		size_t better;

		stop[c->n_stop] = r.tokens[i % c->n * NEW + i / c->n];
		better = count_lengths(&r, c->n, stop, c->n_stop + 1);
		c->n_stop += better > found;
		found = better > found ? better : found;
	}
	CHECK(found >= least, "%s: %zu lengths", direct.g.name, found);
}

/* Ends reply i, and others that begin like it, at the first token: `stop` becomes that token. */
static void stop_at_once(const struct call *c, size_t i, int32_t *stop)
{
	static struct replies r;
	struct call all = *c;

	all.n_stop = 0;
	run_call(&direct, &all, &r);
	REQUIRE(r.rc == 0, "%s", r.text);
	*stop = r.tokens[i * NEW];
}

/* ---- tests ----------------------------------------------------------------------------- */

TEST(numbers_of_rows_are_few_and_leave_at_most_a_quarter_idle_above_sixteen)
{
	size_t n_series = 0, last = 0;

	for (size_t n = 1; n <= 512; n++) {
		const size_t rows = step_graphs_rows(n, SIZE_MAX);

		CHECK(rows >= n && rows >= last, "%zu rows for %zu, %zu for one less", rows, n,
			last);
		CHECK(n <= 16 ? 2 * (rows - n) < rows : 4 * (rows - n) < rows, "%zu rows for %zu",
			rows, n);
		CHECK(step_graphs_rows(rows, SIZE_MAX) == rows, "%zu are no number of rows", rows);
		CHECK(step_graphs_rows(n, n) == n, "%zu rows of %zu", step_graphs_rows(n, n), n);
		n_series += rows != last;
		last = rows;
	}
	CHECK(n_series <= 20, "%zu numbers up to 512", n_series);
	CHECK(step_graphs_rows(17, 64) == 20 && step_graphs_rows(21, 64) == 24 &&
			step_graphs_rows(25, 64) == 32 && step_graphs_rows(49, 64) == 64 &&
			step_graphs_rows(49, 50) == 50,
		"another series");
}

TEST(a_second_call_that_is_given_the_same_records_nothing)
{
	static const char *const models[] = {"gemma2_a", "llama_a", "sae_topk"};

	for (size_t m = 0; m < 3; m++)
		for (int edit = NO_EDIT; edit <= A_LIST_EACH; edit++) {
			struct call c;

			open_sides(models[m]);
			c = call_of(short_prompts(0));
			c.edit = edit;
			choose_stops(&c, 3);
			compare("first", &c, NULL);
			/* 11, 8, 4, 2, 1 rows: not more, however many ended in between. */
			CHECK(recording.recordings >= 1 && recording.recordings <= 5,
				"%s, %d: %d recordings", models[m], edit,
				(int)recording.recordings);
			compare("again", &c, NULL);
			CHECK(recording.recordings == 0, "%s, %d: %d recordings more", models[m],
				edit, (int)recording.recordings);
			CHECK(recording.replays >= 3, "%s, %d: %d replays", models[m], edit,
				(int)recording.replays);
			close_sides();
		}
}

TEST(another_batch_under_the_same_edits_records_nothing_that_was_there)
{
	open_sides("gemma2_b");
	for (int edit = ONE_LIST; edit <= A_LIST_EACH; edit++) {
		struct call c = call_of(short_prompts(0));

		c.edit = edit;
		compare("first", &c, NULL);
		CHECK(recording.recordings == 1, "%d recordings", (int)recording.recordings);
		c.prompts = short_prompts(3);
		c.first = 5; /* other sets, more and fewer features */
		compare("other prompts", &c, NULL);
		CHECK(recording.recordings == 0, "%d recordings", (int)recording.recordings);
		c.n = 9;
		compare("fewer", &c, NULL);
		CHECK(recording.recordings == 1, "%d recordings", (int)recording.recordings);
	}
	close_sides();
}

TEST(replies_that_end_at_different_steps_are_those_of_direct_steps)
{
	static const char *const models[] = {"llama_c", "mistral_c", "qwen2_c", "sae_topk",
		"sae_standardized"};

	for (size_t m = 0; m < sizeof models / sizeof *models; m++) {
		uint64_t recordings = 0;

		open_sides(models[m]);
		for (int edit = NO_EDIT; edit <= A_LIST_EACH; edit++)
			for (size_t n_prefix = 0; n_prefix <= 5; n_prefix += 5) {
				struct call c = call_of(short_prompts(m));

				c.edit = edit;
				c.n_prefix = n_prefix;
				choose_stops(&c, 2);
				compare(n_prefix ? "behind a prefix" : "whole", &c, NULL);
				recordings += recording.recordings;
			}
		CHECK(recordings >= 8, "%s: %d recordings", models[m], (int)recordings);
		close_sides();
	}
}

TEST(replies_of_a_device_that_is_not_invariant_differ_by_rounding_alone)
{
	struct call c;
	struct replies found, expected;

	open_side(&recording, "gemma2_a", true, false);
	open_side(&direct, "gemma2_a", false, false);
	c = call_of(short_prompts(0));
	choose_stops(&c, 3);
	run_call(&direct, &c, &expected);
	run_call(&recording, &c, &found);
	for (size_t i = 0; i < MOST; i++) {
		CHECK(found.lengths[i] == expected.lengths[i] &&
				memcmp(found.tokens + i * NEW, expected.tokens + i * NEW,
					found.lengths[i] * sizeof *found.tokens) == 0,
			"reply %zu differs", i);
		CHECK(fabsf(found.lead[i] - expected.lead[i]) < 1e-4f,
			"lead %zu is %g, expected %g", i, (double)found.lead[i],
			(double)expected.lead[i]);
	}
	/* What was recorded before decides nothing. */
	run_call(&recording, &c, &expected);
	CHECK(memcmp(&found, &expected, sizeof found) == 0, "a second call gives other bits");
	close_sides();
}

/* A larger batch of prompts with lists of their own needs more room, so that the lists move; and a
 * list that is the only one is every row's, whichever prompt is left at the end. */
TEST(lists_that_have_moved_and_lists_that_are_no_longer_alone_are_followed)
{
	static const size_t sizes[] = {1, 2, MOST, 1, 2};
	static struct replies r;
	int32_t stop;

	open_sides("llama_a");
	for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
		struct call c = call_of(short_prompts(0));

		c.n = sizes[i];
		c.edit = A_LIST_EACH;
		c.first = 3;
		c.stop = &stop;
		c.n_stop = c.n == 2; /* the second reply goes on alone */
		if (c.n == 2)
			stop_at_once(&c, 0, &stop);
		compare("another number of prompts", &c, &r);
		CHECK(c.n != 2 || (r.lengths[0] == 0 && r.lengths[1] > 2), "%zu and %zu tokens",
			r.lengths[0], r.lengths[1]);
	}
	close_sides();
}

/* Each on generators that have recorded what came before it. */
TEST(what_a_step_is_given_is_what_it_is_replayed_with)
{
	struct call c;

	open_sides("llama_a");
	c = call_of(short_prompts(0));
	choose_stops(&c, 3);
	c.without_lead = true;
	for (int round = 0; round < 2; round++) {
		c.edit = ADDED;
		for (int i = 0; i < 4; i++) {
			c.amount = i < 2 ? 1 : -3;
			c.direction = i % 2;
			compare("another amount or direction", &c, NULL);
		}
		c.edit = NO_EDIT;
		compare("no edit", &c, NULL);
		c.edit = ONE_LIST;
		compare("one list", &c, NULL);
		c.edit = A_LIST_EACH;
		compare("a list each", &c, NULL);
		c.first = MOST - 1;
		compare("other lists", &c, NULL);
		c.first = 0;
		c.edit = NO_EDIT;
		for (size_t n = 0; n <= 9; n += 3) {
			c.n_prefix = n;
			compare("another prefix", &c, NULL);
		}
		c.n_prefix = 0;
		c.without_lead = false; /* in the second round */
	}
	close_sides();
}

TEST(scratch_memory_that_moves_between_calls_leads_to_new_recordings)
{
	struct call c;
	void *memory;

	open_sides("gemma2_a");
	c = call_of(short_prompts(0));
	choose_stops(&c, 3);
	for (size_t bytes = 1 << 20; bytes <= 2 << 20; bytes *= 2) {
		compare("before", &c, NULL);
		REQUIRE_OK(cuda_scratch(recording.g.dev, bytes, &memory, &recording.g.err),
			&recording.g.err);
		compare("after", &c, NULL);
		CHECK(recording.recordings > 0, "%zu bytes: none was recorded anew", bytes);
	}
	close_sides();
}

/* All features of an SAE with top_k pass through memory of the set, which others use too. */
TEST(memory_of_the_saes_that_moves_between_calls_leads_to_new_recordings)
{
	const int32_t id = 3;
	struct sae_few few;
	struct tensor x = {NULL, DTYPE_F32, 500, 0}, f;
	struct err err;
	struct call c;
	void *memory;

	open_sides("sae_topk");
	c = call_of(short_prompts(0));
	c.edit = ONE_LIST;
	REQUIRE_OK(cuda_scratch(recording.g.dev, 8 << 20, &memory, &err), &err); /* which stays */
	compare("before", &c, NULL);
	CHECK(recording.recordings > 0, "none was recorded");
	x.cols = recording.g.model->arch.d_model;
	REQUIRE_OK(device_alloc(recording.g.dev, tensor_bytes(x), &x.data, &err), &err);
	REQUIRE_OK(op_scale(recording.g.dev, 0, x, &err), &err);
	REQUIRE_OK(sae_set_select(recording.saes, 1, &id, 1, &few, &err), &err);
	REQUIRE_OK(sae_few_given(&few, x, &f, &err), &err);
	compare("after", &c, NULL);
	CHECK(recording.recordings > 0, "none was recorded anew");
	sae_few_free(&few);
	device_free(recording.g.dev, x.data);
	close_sides();
}

/* ---- ends ------------------------------------------------------------------------------- */

/* The model has 64 positions. The long prompt ends at once and is an idle row from then on: it
 * would run out of positions, and of rows of the cache, if it went on from where it was. */
TEST(replies_that_have_ended_near_the_end_of_the_context_do_not_end_the_others)
{
	struct call c;
	int32_t stop;
	struct replies r;

	open_sides("llama_c");
	const int32_t *tokens = direct.g.tokens;
	const struct token_span prompts[] = {{tokens, 62, 1}, {tokens + 5, 3, 2},
		{tokens + 9, 2, 3}, {tokens + 30, 1, 4}};
	c = (struct call){.prompts = prompts, .n = 4, .stop = &stop, .n_stop = 1};
	REQUIRE(direct.g.model->n_ctx == 64, "%zu positions", direct.g.model->n_ctx);
	/* Without stops the long one is refused; its first token is read off alone. */
	c.n_stop = 0;
	c.n = 1;
	compare("one too long", &c, &r);
	CHECK(r.rc == ERR_INPUT && strstr(r.text, "prompt 1: expected at most 64 tokens"), "%s",
		r.text);
	c.n = 4;
	compare("one too long", &c, &r);
	CHECK(r.rc == ERR_INPUT && strstr(r.text, "prompt 1: expected at most 64 tokens"), "%s",
		r.text);
	stop = r.tokens[0];
	c.n_stop = 1;
	compare("the long one has ended", &c, &r);
	CHECK(r.rc == 0 && r.lengths[0] == 0, "%s", r.text);
	compare("the long one has ended", &c, &r);
	CHECK(recording.replays > 0, "nothing was replayed");
	close_sides();
}

TEST(a_replayed_step_goes_as_far_as_the_context_and_no_further)
{
	struct call c;
	struct replies r;

	open_sides("llama_c");
	const int32_t *tokens = direct.g.tokens;
	struct token_span prompts[] = {{tokens, 5, 1}, {tokens + 3, 64 + 1 - NEW, 2},
		{tokens + 9, 2, 3}};
	c = (struct call){.prompts = prompts, .n = 3};
	for (int round = 0; round < 2; round++) {
		prompts[1].n = 64 + 1 - NEW;
		compare("the last token is read off the last position", &c, &r);
		CHECK(r.rc == 0, "%s", r.text);
		prompts[1].n++;
		compare("one too far", &c, &r);
		CHECK(r.rc == ERR_INPUT && strstr(r.text, "prompt 2: expected at most 64 tokens"),
			"%s", r.text);
	}
	CHECK(recording.replays >= NEW - 2, "%d replays", (int)recording.replays);
	close_sides();
}

/* ---- what is not finite ----------------------------------------------------------------- */

/* Features of layer 1 that prompts set to what no number can be, while replies are written only. */
static void run_spoiled(struct side *s, const struct call *c, const bool *spoils,
	struct replies *out)
{
	struct feature_set sets[MOST] = {{0}};
	struct clamp_plan *plan;
	struct edit edit = {.kind = EDIT_CLAMP, .layer_last = s->g.model->arch.n_layer - 1};
	size_t ids[MOST];
	struct generation request = {.prompts = c->prompts,
		.n_prompts = c->n,
		.edits = &edit,
		.n_edits = 1,
		.prompt_edits = &edit,
		.n_prompt_edits = 0,
		.stop = c->stop,
		.n_stop = c->n_stop,
		.tokens = out->tokens,
		.lengths = out->lengths,
		.ended_by = out->ended_by,
		.lead = out->lead};

	*out = (struct replies){.rc = 0};
	for (size_t i = 0; i < c->n; i++) {
		ids[i] = i;
		for (int32_t k = 0; spoils[i] && k < 8; k++)
			REQUIRE_OK(feature_set_add(&sets[i], (struct feature){1, k, 0, 0},
					   &s->g.err),
				&s->g.err);
	}
	REQUIRE_OK(clamp_plan_create(&plan, s->g.dev, s->saes, sets, MOST,
			   (struct clamp_value){0, 3e38f}, &s->g.err),
		&s->g.err);
	REQUIRE_OK(clamp_plan_batch(plan, ids, c->n, &edit.clamps, &s->g.err), &s->g.err);
	generate_and_count(s, &request, out);
	clamp_plan_free(plan);
	for (size_t i = 0; i < MOST; i++)
		free(sets[i].data);
}

TEST(an_idle_row_that_is_not_finite_is_no_error_and_a_reply_that_is_not_is_named)
{
	const bool first[MOST] = {true}, both[MOST] = {true, false, false, true};
	struct replies r, expected;
	struct call c;
	int32_t stop;

	open_sides("gemma2_a");
	const int32_t *tokens = direct.g.tokens;
	const struct token_span prompts[] = {{tokens + 9, 3, 71}, {tokens + 14, 4, 72},
		{tokens + 30, 1, 73}, {tokens + 40, 6, 74}};
	c = (struct call){.prompts = prompts, .n = 4, .stop = &stop, .n_stop = 1};
	stop_at_once(&c, 0, &stop);
	run_spoiled(&direct, &c, first, &expected);
	REQUIRE(expected.rc == 0 && expected.lengths[0] == 0 && expected.lengths[3] > 3, "%s",
		expected.text);
	for (int round = 0; round < 2; round++) {
		run_spoiled(&recording, &c, first, &r);
		CHECK(r.rc == 0 && memcmp(&r, &expected, sizeof r) == 0, "%s", r.text);
	}
	CHECK(recording.replays > 3, "%d replays", (int)recording.replays);
	/* Prompt 74, of six tokens, is not finite at its reply's first token. */
	run_spoiled(&recording, &c, both, &r);
	CHECK(r.rc == ERR_DEVICE &&
			strcmp(r.text,
				"blocks.1.hook_resid_post is not finite for prompt 74 at position 6") ==
				0,
		"%s", r.text);
	run_spoiled(&direct, &c, both, &expected);
	CHECK(strcmp(r.text, expected.text) == 0, "%s", expected.text);
	/* And the one that is idle above, where it goes on. */
	c.n_stop = 0;
	run_spoiled(&recording, &c, first, &r);
	CHECK(r.rc == ERR_DEVICE && strstr(r.text, "not finite for prompt 71 at position 3"), "%s",
		r.text);
	close_sides();
}

/* ---- how many are kept ------------------------------------------------------------------- */

static struct device_graph *record_nothing(struct device *dev)
{
	struct device_graph *graph = NULL;
	struct err err;

	CHECK(device_graph_begin(dev, &err) == 0 && device_graph_end(dev, &graph, &err) == 0, "%s",
		err.text);
	return graph;
}

TEST(of_more_graphs_than_are_kept_the_one_not_used_for_longest_goes)
{
	struct device *dev = fixture_device(&cuda_exact_backend, 1);
	struct step_graphs graphs = {.dev = dev};
	struct launch_key key = {0};
	struct err err;
	void *memory;

	for (uint64_t i = 0; i < MOST_STEP_GRAPHS + 2; i++) {
		key.n = 0;
		REQUIRE_OK(launch_key_add(&key, 0, &err), &err);
		CHECK(i == 0 || step_graphs_find(&graphs, &key), "the one in use is not there");
		key.data[0] = i;
		CHECK(!step_graphs_find(&graphs, &key), "%d is there", (int)i);
		REQUIRE_OK(step_graphs_keep(&graphs, &key, record_nothing(dev), &err), &err);
	}
	CHECK(graphs.n == MOST_STEP_GRAPHS, "%zu are kept", graphs.n);
	for (uint64_t i = 0; i < MOST_STEP_GRAPHS + 2; i++) {
		key.data[0] = i;
		CHECK(!step_graphs_find(&graphs, &key) == (i == 1 || i == 2), "graph %d", (int)i);
	}
	REQUIRE_OK(cuda_scratch(dev, 1 << 20, &memory, &err), &err);
	key.data[0] = 0;
	CHECK(!step_graphs_find(&graphs, &key) && graphs.n == 0, "%zu outlive the scratch memory",
		graphs.n);
	step_graphs_free(&graphs);
	free(key.data);
	device_close(dev);
}

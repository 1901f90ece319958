/* SPDX-License-Identifier: MIT
 *
 * decode.c - load (b): greedy replies of a fixed length to many prompts at once, unclamped, with 20
 * clamped features, or with 20 of its own for each prompt.
 *
 * A round generates in full and then reads the prompts only (the same call, which stops at the
 * first token of each reply), so that a step's time is known apart from the prompts'. Features are
 * set to a value, so each of them changes the residual stream at every token.
 */
#include "tests/loads/load.h"

#include "host/base/clock.h"
#include "host/base/random.h"
#include "host/base/size.h"
#include "host/method/features.h"
#include "tests/loads/random_saes.h"

#include <stdlib.h>

enum { K_STAR = 20 };

struct state {
	struct bench *b;
	const struct load_case *c;
	struct token_span *prompts;
	struct generator *generator;
	struct feature_set *sets; /* [prompts] */
	struct clamp_plan *plan;
	struct edit edit;
	size_t *index; /* [prompts] 0, 1, 2, ... */
	int32_t *tokens, *ended_by, *first;
	size_t *lengths;
};

static struct generator_size size_of(const struct bench *b, const struct load_case *c)
{
	const size_t tokens = c->prompts * c->tokens;

	return (struct generator_size){c->prompts, tokens,
		size_max(size_min(b->rows, tokens), c->tokens), c->max_new};
}

static size_t n_sets(const struct load_case *c)
{
	return c->clamping == CLAMP_NONE ? 0 : c->clamping == CLAMP_ONE ? 1 : c->prompts;
}

static size_t bytes(const struct bench *b, const struct load_case *c)
{
	return generator_bytes(b->model, size_of(b, c)) +
	       random_saes_bytes(b->model->arch.d_model, n_sets(c) * K_STAR, c->bf16);
}

static int choose_sets(struct state *s, struct err *err)
{
	const size_t n_layer = s->b->model->arch.n_layer;
	uint64_t seed = 4;

	for (size_t i = 0; i < n_sets(s->c); i++) {
		while (s->sets[i].n < K_STAR) {
			const struct feature f = {(int32_t)random_below(&seed, n_layer),
				(int32_t)random_below(&seed, s->c->d_sae), 0, 0};

			if (!feature_set_holds(&s->sets[i], f.layer, f.id))
				TRY(feature_set_add(&s->sets[i], f, err));
		}
	}
	return 0;
fail:
	return err->code;
}

static int open_clamps(struct state *s, struct err *err)
{
	struct bench *b = s->b;
	const struct load_case *c = s->c;

	if (c->clamping == CLAMP_NONE)
		return 0;
	TRY(bench_saes(b, c->d_sae, c->bf16, bytes(b, c) + device_working_bytes(b->dev), err));
	TRY(choose_sets(s, err));
	TRY(clamp_plan_create(&s->plan, b->dev, b->saes.set, s->sets, n_sets(c),
		(struct clamp_value){0, 1}, err));
	s->edit = (struct edit){.kind = EDIT_CLAMP, .layer_last = b->model->arch.n_layer - 1};
	return clamp_plan_batch(s->plan, s->index, c->prompts, &s->edit.clamps, err);
fail:
	return err->code;
}

static int open(struct bench *b, const struct load_case *c, void *state, struct err *err)
{
	struct state *s = state;
	const size_t n = c->prompts;

	s->b = b;
	s->c = c;
	s->sets = calloc(n, sizeof *s->sets);
	s->index = calloc(n, sizeof *s->index);
	s->tokens = calloc(n * c->max_new, sizeof *s->tokens);
	s->lengths = calloc(n, sizeof *s->lengths);
	s->ended_by = calloc(n, sizeof *s->ended_by);
	s->first = calloc(n, sizeof *s->first);
	if (!s->sets || !s->index || !s->tokens || !s->lengths || !s->ended_by || !s->first)
		return err_nomem(err, "replies", n * c->max_new * sizeof *s->tokens);
	for (size_t i = 0; i < n; i++)
		s->index[i] = i;
	TRY(bench_prompts(b, n, c->tokens, &s->prompts, err));
	TRY(generator_create(&s->generator, b->model, &b->readout, size_of(b, c), err));
	return open_clamps(s, err);
fail:
	return err->code;
}

static void close_state(void *state)
{
	struct state *s = state;

	clamp_plan_free(s->plan);
	generator_free(s->generator);
	for (size_t i = 0; s->sets && i < s->c->prompts; i++)
		free(s->sets[i].data);
	free(s->sets);
	free(s->index);
	free(s->tokens);
	free(s->lengths);
	free(s->ended_by);
	free(s->first);
	free(s->prompts);
}

/* Replies that end with any of the first n_stop of s->first; *tokens is how many they have. */
static int reply(struct state *s, size_t n_stop, double *seconds, size_t *tokens, struct err *err)
{
	const double start = clock_seconds();
	const struct generation request = {.prompts = s->prompts,
		.n_prompts = s->c->prompts,
		.edits = &s->edit,
		.n_edits = s->plan ? 1 : 0,
		.stop = s->first,
		.n_stop = n_stop,
		.tokens = s->tokens,
		.lengths = s->lengths,
		.ended_by = s->ended_by};

	if (generate(s->generator, &request, err))
		return err->code;
	*seconds = clock_seconds() - start;
	*tokens = 0;
	for (size_t i = 0; i < s->c->prompts; i++)
		*tokens += s->lengths[i];
	return 0;
}

static int run(void *state, struct figures *out, struct err *err)
{
	struct state *s = state;
	const size_t n = s->c->prompts, max_new = s->c->max_new;
	double seconds, reading;
	size_t tokens, none;

	TRY(reply(s, 0, &seconds, &tokens, err));
	for (size_t i = 0; i < n; i++)
		s->first[i] = s->tokens[i * max_new];
	TRY(reply(s, n, &reading, &none, err));
	if (tokens != n * max_new || none != 0)
		return err_set(err, ERR_INTERNAL,
			"expected %zu tokens and then none, found %zu and %zu", n * max_new, tokens,
			none);
	*out = (struct figures){.seconds = seconds, .n = tokens};
	figures_add(out, "prompt_seconds", reading);
	figures_add(out, "ms_per_step", 1e3 * (seconds - reading) / (double)(max_new - 1));
	return 0;
fail:
	return err->code;
}

const struct load load_decode = {'b', "greedy decoding", "token", bytes, sizeof(struct state), open,
	run, close_state};

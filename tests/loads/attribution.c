/* SPDX-License-Identifier: MIT
 *
 * attribution.c - load (a): the indirect effects of experiments/attribution.c, asked for as
 * host/measure/effects.c does. IG of 10 steps between the clean run and the run without a random
 * direction; per layer the 10 features nearest to it; with all features ("ap"), their effects,
 * summed by prompt, and the 20 best of each prompt, as host/measure/effects_all.c does.
 */
#include "tests/loads/load.h"

#include "host/base/clock.h"
#include "host/base/size.h"
#include "host/method/attribution.h"
#include "tests/loads/random_saes.h"

#include <math.h>
#include <stdlib.h>

enum { STEPS = 10, K0 = 10, K_STAR = 20 };

struct state {
	struct bench *b;
	const struct load_case *c;
	size_t per_call; /* prompts */
	struct feature_set candidates;
	struct attribution *attribution;
	struct token_span *prompts;
	struct host_csr csr;
	double *one_prompt;       /* [d_sae] */
	struct feature_set *best; /* [per_call] */
	double l0;
};

static size_t prompts_per_call(const struct bench *b, const struct load_case *c)
{
	return size_min(size_max(b->rows / c->tokens, 1), c->prompts);
}

static struct attribution_size size_of(const struct bench *b, const struct load_case *c)
{
	const size_t n = prompts_per_call(b, c);

	return (struct attribution_size){n * c->tokens, n};
}

/* Without SAEs: candidates that stand in for the real ones, of which only layers count. */
static size_t attribution_part(const struct bench *b, const struct load_case *c)
{
	struct feature_set some = {0};
	struct err ignored;
	size_t bytes = 0;
	bool complete = true;

	for (size_t l = 0; l < b->model->arch.n_layer; l++)
		for (int32_t k = 0; k < K0; k++)
			complete &= feature_set_add(&some, (struct feature){(int32_t)l, k, 0, 0},
					    &ignored) == 0;
	if (complete)
		bytes = attribution_bytes(b->model, &some, c->all, size_of(b, c));
	free(some.data);
	return bytes;
}

static size_t bytes(const struct bench *b, const struct load_case *c)
{
	const struct arch *a = &b->model->arch;

	return attribution_part(b, c) +
	       (c->all ? a->n_layer : 1) * random_saes_bytes(a->d_model, c->d_sae, c->bf16);
}

/* F0 of every layer, and how many features are on there. */
static int find_candidates(struct state *s, const float *direction, struct err *err)
{
	struct bench *b = s->b;
	const size_t n_layer = b->model->arch.n_layer;
	float *cosine = malloc(s->c->d_sae * sizeof *cosine);
	struct feature_set best = {0};
	double sum = 0, l0 = 0;

	err_clear(err);
	if (!cosine) {
		err_nomem(err, "cosines", s->c->d_sae * sizeof *cosine);
		goto fail;
	}
	for (size_t l = 0; l < n_layer; l++) {
		TRY(bench_l0(b, l, &l0, err));
		sum += l0;
		TRY(sae_set_cosines(b->saes.set, l, direction, cosine, err));
		best.n = 0;
		for (size_t i = 0; i < s->c->d_sae; i++)
			TRY(feature_set_offer(&best, K0,
				(struct feature){(int32_t)l, (int32_t)i, cosine[i], cosine[i]},
				err));
		for (size_t k = 0; k < best.n; k++)
			TRY(feature_set_add(&s->candidates, best.data[k], err));
	}
	s->l0 = sum / (double)n_layer;
	bench_check_l0(s->l0, err);
fail:
	free(cosine);
	free(best.data);
	return err->code;
}

static int open(struct bench *b, const struct load_case *c, void *state, struct err *err)
{
	struct state *s = state;
	const float *direction = stretch_from(&b->features, STRETCH / 2);

	s->b = b;
	s->c = c;
	s->per_call = prompts_per_call(b, c);
	s->one_prompt = calloc(c->d_sae, sizeof *s->one_prompt);
	s->best = calloc(s->per_call, sizeof *s->best);
	if (!s->one_prompt || !s->best)
		return err_nomem(err, "effects", c->d_sae * sizeof *s->one_prompt);
	TRY(bench_prompts(b, c->prompts, c->tokens, &s->prompts, err));
	TRY(bench_saes(b, c->d_sae, c->bf16, attribution_part(b, c) + device_working_bytes(b->dev),
		err));
	TRY(find_candidates(s, direction, err));
	return attribution_create(&s->attribution,
		&(struct attribution_setup){.model = b->model,
			.readout = &b->readout,
			.saes = b->saes.set,
			.direction = direction,
			.candidates = &s->candidates,
			.options = {.steps = STEPS,
				.rule = IG_RULE_MIDPOINT,
				.endpoint = IG_ENDPOINT_ABLATED,
				.refusal_token = 1,
				.target_token = -1},
			.all_features = c->all},
		size_of(b, c), err);
fail:
	return err->code;
}

static void close_state(void *state)
{
	struct state *s = state;

	attribution_free(s->attribution);
	host_csr_free(&s->csr);
	for (size_t i = 0; s->best && i < s->per_call; i++)
		free(s->best[i].data);
	free(s->best);
	free(s->one_prompt);
	free(s->candidates.data);
	free(s->prompts);
}

/* The mean effects of one layer's features on one prompt, and the best of them. */
static int sum_prompt(struct state *s, size_t layer, size_t first_row, size_t end_row,
	size_t i_prompt, struct err *err)
{
	const size_t from = (size_t)s->csr.indptr[first_row], to = (size_t)s->csr.indptr[end_row];

	for (size_t i = from; i < to; i++)
		s->one_prompt[s->csr.indices[i]] += s->csr.values[i];
	for (size_t i = from; i < to; i++) {
		const int32_t id = s->csr.indices[i];
		const double mean = s->one_prompt[id] / (double)s->c->tokens;

		s->one_prompt[id] = 0;
		if (mean != 0 && feature_set_offer(&s->best[i_prompt], K_STAR,
					 (struct feature){(int32_t)layer, id, 0, (float)mean}, err))
			return err->code;
	}
	return 0;
}

static int sum_all(struct state *s, const struct attribution_result *r, struct err *err)
{
	const size_t n_layer = s->b->model->arch.n_layer;

	for (size_t i = 0; i < r->n_prompts; i++)
		s->best[i].n = 0;
	for (size_t l = 0; l < n_layer; l++) {
		const bool last = l + 1 == n_layer;

		TRY(attribution_all(s->attribution, l, &s->csr, err));
		for (size_t i = 0; i < r->n_prompts; i++)
			TRY(sum_prompt(s, l, last ? i : r->token_start[i],
				last ? i + 1 : r->token_start[i + 1], i, err));
	}
	return 0;
fail:
	return err->code;
}

/* Effects that are all zero would be those of no features. */
static int check_effects(const struct attribution_result *r, struct err *err)
{
	double sum = 0;

	for (size_t i = 0; i < r->n_prompts; i++)
		sum += fabs(r->m_clean[i] - r->m_patch[i]);
	if (sum > 0 && isfinite(sum))
		return 0;
	return err_set(err, ERR_INTERNAL,
		"expected a direction whose ablation changes the metric, found a change of %g",
		sum);
}

static int run(void *state, struct figures *out, struct err *err)
{
	struct state *s = state;
	const double start = clock_seconds();

	for (size_t first = 0; first < s->c->prompts; first += s->per_call) {
		const size_t n = size_min(s->per_call, s->c->prompts - first);
		struct attribution_result r;

		TRY(attribution_run(s->attribution, s->prompts + first, n, &r, err));
		if (s->c->all)
			TRY(sum_all(s, &r, err));
		TRY(check_effects(&r, err));
	}
	*out = (struct figures){.seconds = clock_seconds() - start, .n = s->c->prompts};
	figures_add(out, "prompts_a_call", (double)s->per_call);
	figures_add(out, "tokens", (double)(s->c->prompts * s->c->tokens));
	figures_add(out, "l0", s->l0);
	return 0;
fail:
	return err->code;
}

const struct load load_attribution = {'a', "IG-10 attribution", "prompt", bytes,
	sizeof(struct state), open, run, close_state};

/* SPDX-License-Identifier: MIT
 *
 * direction.c - the refusal direction (paper section 3.1; the choice of layer after Arditi et al.,
 * arXiv:2406.11717).
 *
 *   v_l = mean over harmful of x_l[last] - mean over harmless of x_l[last]
 *
 * over prompts whose first token shows that they are refused (harmful) or not (harmless). The
 * layer l* is given, or chosen on validation prompts among (position, layer) pairs:
 *   ablated   log-odds of the refusal token for harmful prompts with v ablated everywhere: lowest
 *   added     the same for harmless prompts with v added at its layer: must be positive
 *   kl        of harmless next-token distributions under ablation: at most 0.1
 * and never in the last fifth of the layers. Where adding never makes the model refuse, that
 * condition is dropped, with a warning.
 *
 * Writes:  /direction/v [position, layer, d_model]; /direction/{ablated,added,kl} [position,
 *          layer] when the layer is chosen; attributes layer, position, n_harmful, n_harmless.
 * Cost:    one pass over the training prompts; for the choice, three more passes over the
 *          validation prompts per layer and position.
 */
#include "experiments/experiment.h"

#include "host/base/arena.h"
#include "host/base/log.h"
#include "host/measure/ties.h"
#include "experiments/direction/direction_scores.h"
#include "experiments/direction/mean_resid.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool layer_is_given(const void *values)
{
	const struct direction_settings *s = values;

	return s->layer >= 0;
}

#define SETTINGS struct direction_settings
static const struct setting settings[] = {
	BOOL("direction.filter", filter, "true",
		"leave out harmful prompts that are not refused and harmless ones that are, judged by "
		"the first token"),
	INTEGER("direction.layer", layer, "-1", -1, 127,
		"the layer whose direction is used; -1 = chosen by score on the validation sets"),
	INTEGER("direction.positions", positions, "1", 1, 16,
		"how many of the last template positions the choice is made among"),
	PROMPTS("direction.harmful_val", harmful_val, "\"harmful_val\"", layer_is_given,
		"prompt set for the choice of layer"),
	PROMPTS("direction.harmless_val", harmless_val, "\"harmless_val\"", layer_is_given,
		"prompt set for the choice of layer"),
};

static const struct {
	struct dataset v, position, ablated, added, kl;
} datasets = {
	.v = {"/direction/v", {"position", "layer", "d_model"}, RESULTS_F32, "1",
		"mean `resid_post` over harmful minus mean over harmless prompts; not normalised"},
	.position = {"/direction/position", {"position"}, RESULTS_I32, "",
		"counted from the end of the prompt: -1, -2, ..."},
	.ablated = {"/direction/ablated", {"position", "layer"}, RESULTS_F64, "nat",
		"mean log-odds of the refusal token, harmful validation prompts, this v ablated "
		"everywhere"},
	.added = {"/direction/added", {"position", "layer"}, RESULTS_F64, "nat",
		"the same for harmless ones, this v added at its layer"},
	.kl = {"/direction/kl", {"position", "layer"}, RESULTS_F64, "nat",
		"mean KL of harmless next-token distributions, unedited to ablated"},
};

static const struct dataset_section section = {"Direction (`direction`)",
	"The last three only when the layer was chosen by score (`direction.layer = -1`).",
	DATASETS(datasets)};

struct work {
	struct lab *lab;
	const struct direction_settings *settings;
	size_t n_pos, n_layer, d;
	size_t n_harmful, n_harmless, n_undecided;
	bool scored;
	size_t best;                /* index of the chosen (position, layer) */
	struct arena memory;        /* what follows is in it */
	double *harmful, *harmless; /* [n_pos, n_layer, d] means */
	float *v;                   /* their difference */
	struct direction_scores scores;
};

static double length(const double *x, size_t d)
{
	double sum = 0;

	for (size_t j = 0; j < d; j++)
		sum += x[j] * x[j];
	return sqrt(sum);
}

/* Whether candidate c is a difference of two means that are the same but for rounding: those of one
 * prompt in two batches differ by some 1e-7 of their length. */
static bool is_none(const struct work *w, size_t c)
{
	const double *a = w->harmful + c * w->d, *b = w->harmless + c * w->d;
	double sum = 0;

	for (size_t j = 0; j < w->d; j++)
		sum += (a[j] - b[j]) * (a[j] - b[j]);
	return sqrt(sum) <= 1e-6 * length(a, w->d);
}

/* A direction of length 0 edits nothing, and everything measured of it looks like a result. */
static int refuse_none(const struct work *w, const char *where, struct err *err)
{
	const struct config *c = w->lab->config;

	return err_set(err, ERR_CONFIG,
		"direction.harmful, direction.harmless: expected sets whose mean resid_post differs, "
		"found the same mean of \"%s\" and \"%s\"%s, a direction of length 0",
		c->direction.harmful, c->direction.harmless, where);
}

static int check_given_layer(const struct work *w, struct err *err)
{
	char where[64];

	snprintf(where, sizeof where, " in layer %zu (direction.layer)", w->best);
	return is_none(w, w->best) ? refuse_none(w, where, err) : 0;
}

/* Whether candidate c may be chosen, its scores moved by `noise` in its favour. */
static bool qualifies(const struct work *w, size_t c, bool must_induce, double noise)
{
	return 5 * (c % w->n_layer) < 4 * w->n_layer && w->scores.kl[c] <= 0.1 + noise &&
	       !is_none(w, c) && (!must_induce || w->scores.added[c] > -noise);
}

/* How many other candidates rounding could put in the place of the best. Where one qualifies only
 * without must_induce, those that nearly do with it come first. */
static size_t count_undecided(const struct work *w, bool must_induce, double noise)
{
	const double best = w->scores.ablated[w->best];
	const bool is_safe = qualifies(w, w->best, must_induce, -noise);
	size_t n = 0;

	for (size_t c = 0; c < w->n_pos * w->n_layer; c++) {
		if (c == w->best)
			continue;
		n += (qualifies(w, c, must_induce, noise) &&
			     (!is_safe || w->scores.ablated[c] < best + noise)) ||
		     (!must_induce && qualifies(w, c, true, noise));
	}
	return n > 0 || is_safe || !must_induce ? n : count_undecided(w, false, noise);
}

static void tell_undecided(const struct work *w, bool must_induce)
{
	const double noise = readout_noise(&w->lab->machine->readout);
	const size_t n = count_undecided(w, must_induce, noise);

	ties_tell(w->lab, n,
		"direction: layer %zu is chosen by less than %g nat, which rounding may turn round, "
		"before %zu other%s",
		w->best % w->n_layer, noise, n, n == 1 ? "" : "s");
}

/* The lowest `ablated` among the candidates that qualify; false when none does. */
static bool choose(struct work *w, bool must_induce)
{
	bool found = false;

	for (size_t c = 0; c < w->n_pos * w->n_layer; c++) {
		if (!qualifies(w, c, must_induce, 0))
			continue;
		if (!found || w->scores.ablated[c] < w->scores.ablated[w->best])
			w->best = c;
		found = true;
	}
	if (found)
		tell_undecided(w, must_induce);
	return found;
}

static int choose_layer(struct work *w, struct err *err)
{
	size_t n_none = 0;

	for (size_t c = 0; c < w->n_pos * w->n_layer; c++)
		n_none += is_none(w, c);
	if (n_none == w->n_pos * w->n_layer)
		return refuse_none(w, " in every layer", err);
	w->scored = true;
	if (direction_scores(w->lab, w->settings, w->v, w->n_pos * w->n_layer, &w->scores, err))
		return err->code;
	if (choose(w, true))
		return 0;
	if (choose(w, false)) {
		log_warn("direction: adding no layer's direction makes harmless prompts refused; "
			 "layer chosen by ablation alone");
		return 0;
	}
	return err_set(err, ERR_INPUT,
		"direction.layer: expected a layer whose ablation changes harmless predictions by a KL "
		"of at most 0.1, found none; set direction.layer");
}

static int write_scores(struct work *w, struct err *err)
{
	struct results *r = w->lab->job->results;
	const size_t n[] = {w->n_pos, w->n_layer};

	TRY(dataset_write(r, &datasets.ablated, NULL, n, w->scores.ablated, err));
	TRY(dataset_write(r, &datasets.added, NULL, n, w->scores.added, err));
	TRY(dataset_write(r, &datasets.kl, NULL, n, w->scores.kl, err));
	return 0;
fail:
	return err->code;
}

static int write_direction(struct work *w, struct err *err)
{
	struct results *r = w->lab->job->results;
	const size_t n[] = {w->n_pos, w->n_layer, w->d};
	const struct {
		const char *name;
		int64_t value;
	} attributes[] = {{"layer", (int64_t)(w->best % w->n_layer)},
		{"position", -(int64_t)(w->best / w->n_layer) - 1},
		{"n_harmful", (int64_t)w->n_harmful}, {"n_harmless", (int64_t)w->n_harmless},
		{"undecided", (int64_t)w->n_undecided}};
	int32_t *position = arena_alloc(&w->memory, w->n_pos, sizeof *position);

	TRY(arena_check(&w->memory, "the direction", err));
	for (size_t p = 0; p < w->n_pos; p++)
		position[p] = -(int32_t)p - 1;
	TRY(dataset_write(r, &datasets.position, NULL, n, position, err));
	TRY(dataset_write(r, &datasets.v, NULL, n, w->v, err));
	if (w->scored)
		TRY(write_scores(w, err));
	for (size_t i = 0; i < sizeof attributes / sizeof *attributes; i++)
		TRY(results_attribute_integer(r, "/direction", attributes[i].name,
			attributes[i].value, err));
	return 0;
fail:
	return err->code;
}

static int keep_direction(struct work *w, struct direction *d, struct err *err)
{
	d->layer = w->best % w->n_layer;
	d->v = malloc(w->d * sizeof *d->v);
	if (!d->v)
		return err_nomem(err, "the direction", w->d * sizeof *d->v);
	memcpy(d->v, w->v + w->best * w->d, w->d * sizeof *d->v);
	d->known = true;
	return 0;
}

static int allocate(struct work *w, struct err *err)
{
	const size_t pairs = w->n_pos * w->n_layer;

	w->harmful = arena_alloc(&w->memory, pairs * w->d, sizeof *w->harmful);
	w->harmless = arena_alloc(&w->memory, pairs * w->d, sizeof *w->harmless);
	w->v = arena_alloc(&w->memory, pairs * w->d, sizeof *w->v);
	w->scores.ablated = arena_alloc(&w->memory, pairs, sizeof *w->scores.ablated);
	w->scores.added = arena_alloc(&w->memory, pairs, sizeof *w->scores.added);
	w->scores.kl = arena_alloc(&w->memory, pairs, sizeof *w->scores.kl);
	return arena_check(&w->memory, "the direction", err);
}

static bool same_tokens(struct token_span a, struct token_span b)
{
	return a.n == b.n && memcmp(a.ids, b.ids, a.n * sizeof *a.ids) == 0;
}

/* Prompts that are all counted (direction.filter) are not to be those of the other set. */
static int check_sets(const struct lab *lab, struct err *err)
{
	const struct prompts *p = lab->prompts;
	const struct config *c = lab->config;
	struct prompt_ids harmful = {0}, harmless = {0};
	bool same;

	err_clear(err);
	TRY(prompts_of_set(p, c->direction.harmful, &harmful, err));
	TRY(prompts_of_set(p, c->direction.harmless, &harmless, err));
	same = harmful.n == harmless.n;
	for (size_t i = 0; i < harmful.n && same; i++)
		same = same_tokens(prompts_tokens(p, harmful.data[i], 0),
			prompts_tokens(p, harmless.data[i], 0));
	if (same)
		err_set(err, ERR_CONFIG,
			"direction.harmful, direction.harmless: expected sets of other prompts, found "
			"the same %zu in \"%s\" and \"%s\", whose difference is 0",
			harmful.n, c->direction.harmful, c->direction.harmless);
fail:
	free(harmful.data);
	free(harmless.data);
	return err->code;
}

/* Every prompt has tokens at all the positions, behind the shared prefix. */
static int check_lengths(const struct lab *lab, const char *set, size_t n_pos, struct err *err)
{
	struct prompt_ids prompts = {0};

	err_clear(err);
	TRY(prompts_of_set(lab->prompts, set, &prompts, err));
	for (size_t i = 0; i < prompts.n; i++) {
		const size_t n =
			prompts_tokens(lab->prompts, prompts.data[i], lab->prompts->n_prefix).n;

		if (n >= n_pos)
			continue;
		err_set(err, ERR_CONFIG,
			"direction.positions: expected at most %zu, the tokens of a prompt of "
			"prompts.%s behind what all prompts begin with, found %zu",
			n, set, n_pos);
		goto fail;
	}
fail:
	free(prompts.data);
	return err->code;
}

static int check(const struct lab *lab, const struct findings *f, const void *values,
	struct err *err)
{
	const struct direction_settings *s = values;
	const struct config *c = lab->config;
	const size_t n_layer = lab->machine->model->arch.n_layer, n_pos = (size_t)s->positions;

	(void)f;
	if (s->layer >= (int64_t)n_layer)
		return err_set(err, ERR_CONFIG,
			"direction.layer: expected a layer below %zu, found %lld", n_layer,
			(long long)s->layer);
	if (check_lengths(lab, c->direction.harmful, n_pos, err))
		return err->code;
	if (check_lengths(lab, c->direction.harmless, n_pos, err))
		return err->code;
	return s->filter ? 0 : check_sets(lab, err);
}

/* The units of a set: a sum over its prompts; of validation prompts, what each candidate does. */
static int plan_set(const struct lab *lab, struct plan *out, const char *set, double of_prompt,
	double of_unit, struct err *err)
{
	static const struct plan_what what = {"means and scores", NULL};
	struct prompt_ids prompts = {0};

	err_clear(err);
	TRY(prompts_of_set(lab->prompts, set, &prompts, err));
	TRY(plan_stages(lab, out, what, &prompts, of_prompt, of_unit, 1, err));
fail:
	free(prompts.data);
	return err->code;
}

static int plan(const struct lab *lab, const struct findings *f, const void *values,
	struct plan *out, struct err *err)
{
	static const struct plan_what what = {"the direction", NULL};
	const struct direction_settings *s = values;
	const struct config *c = lab->config;
	const struct arch *a = &lab->machine->model->arch;
	const size_t n_pos = (size_t)s->positions;
	const double pairs = (double)(n_pos * a->n_layer), sum = 16 * pairs * (double)a->d_model;

	(void)f;
	TRY(plan_write(out, what, &section,
		LENGTHS(LENGTH("position", n_pos), LENGTH("layer", a->n_layer),
			LENGTH("d_model", a->d_model)),
		1, err));
	TRY(plan_set(lab, out, c->direction.harmful, 0, sum, err));
	TRY(plan_set(lab, out, c->direction.harmless, 0, sum, err));
	if (s->layer >= 0)
		return 0;
	TRY(plan_set(lab, out, s->harmful_val, 8 * pairs, 0, err));
	return plan_set(lab, out, s->harmless_val, 16 * pairs, 0, err);
fail:
	return err->code;
}

static int run(struct lab *lab, struct findings *f, const void *values, struct err *err)
{
	const struct direction_settings *s = values;
	const struct config *c = lab->config;
	struct work w = {.lab = lab,
		.settings = s,
		.n_pos = (size_t)s->positions,
		.n_layer = lab->machine->model->arch.n_layer,
		.d = lab->machine->model->arch.d_model};

	err_clear(err);
	TRY(allocate(&w, err));

	/* 1. Mean resid_post at the last tokens of refused harmful prompts and answered harmless
	 *    ones, in every layer at once. */
	TRY(mean_resid(lab, c->direction.harmful, w.n_pos,
		s->filter ? MEAN_OF_REFUSED : MEAN_OF_ALL, w.harmful, &w.n_harmful, &w.n_undecided,
		err));
	TRY(mean_resid(lab, c->direction.harmless, w.n_pos,
		s->filter ? MEAN_OF_ANSWERED : MEAN_OF_ALL, w.harmless, &w.n_harmless,
		&w.n_undecided, err));

	/* 2. v_l is their difference. */
	for (size_t i = 0; i < w.n_pos * w.n_layer * w.d; i++)
		w.v[i] = (float)(w.harmful[i] - w.harmless[i]);

	/* 3. The layer: given, or chosen by what ablating and adding do. */
	w.best = s->layer >= 0 ? (size_t)s->layer : 0;
	TRY(s->layer >= 0 ? check_given_layer(&w, err) : choose_layer(&w, err));

	/* 4. Record. */
	TRY(write_direction(&w, err));
	TRY(keep_direction(&w, &f->direction, err));
	log_info("direction: layer %zu, from %zu %sharmful and %zu %sharmless prompts",
		f->direction.layer, w.n_harmful, s->filter ? "refused " : "", w.n_harmless,
		s->filter ? "answered " : "");
fail:
	arena_free(&w.memory);
	return err->code;
}

const struct experiment experiment_direction = {
	.name = "direction",
	.asks = "which direction of the residual stream stands for refusal?",
	SETTINGS_OF(settings, struct direction_settings),
	.writes = &section,
	.provides = FIND_DIRECTION,
	.prompts = PROMPTS_CONTRASTED,
	.check = check,
	.plan = plan,
	.run = run,
};

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

#include "host/base/log.h"
#include "experiments/direction/direction_scores.h"
#include "experiments/direction/mean_resid.h"

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

struct work {
	struct lab *lab;
	const struct direction_settings *settings;
	size_t n_pos, n_layer, d;
	double *harmful, *harmless; /* [n_pos, n_layer, d] means */
	size_t n_harmful, n_harmless;
	float *v; /* their difference */
	struct direction_scores scores;
	bool scored;
	size_t best; /* index of the chosen (position, layer) */
};

/* The lowest `ablated` among the candidates that qualify; false when none does. */
static bool choose(struct work *w, bool must_induce)
{
	bool found = false;

	for (size_t c = 0; c < w->n_pos * w->n_layer; c++) {
		if (5 * (c % w->n_layer) >= 4 * w->n_layer || !(w->scores.kl[c] <= 0.1) ||
			(must_induce && !(w->scores.added[c] > 0)))
			continue;
		if (!found || w->scores.ablated[c] < w->scores.ablated[w->best])
			w->best = c;
		found = true;
	}
	return found;
}

static int choose_layer(struct work *w, struct err *err)
{
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
	const struct {
		const char *path, *long_name;
		const double *value;
	} scores[] = {{"/direction/ablated",
			      "log-odds of the refusal token, harmful prompts, ablated",
			      w->scores.ablated},
		{"/direction/added", "log-odds of the refusal token, harmless prompts, added",
			w->scores.added},
		{"/direction/kl", "KL of harmless next tokens, unedited to ablated", w->scores.kl}};

	for (size_t i = 0; i < 3; i++) {
		const struct results_dataset d = {.path = scores[i].path,
			.type = RESULTS_F64,
			.n_dims = 2,
			.dims = {w->n_pos, w->n_layer},
			.scales = {"/direction/position", "/layer"},
			.long_name = scores[i].long_name,
			.units = "nat"};

		if (results_write(w->lab->job->results, &d, scores[i].value, err))
			return err->code;
	}
	return 0;
}

static int write_direction(struct work *w, struct err *err)
{
	struct results *results = w->lab->job->results;
	int32_t positions[16];
	const struct results_dataset v = {.path = "/direction/v",
		.type = RESULTS_F32,
		.n_dims = 3,
		.dims = {w->n_pos, w->n_layer, w->d},
		.scales = {"/direction/position", "/layer", "/d_model"},
		.long_name = "mean resid_post over harmful minus mean over harmless prompts",
		.units = "1"};
	const struct {
		const char *name;
		int64_t value;
	} attributes[] = {{"layer", (int64_t)(w->best % w->n_layer)},
		{"position", -(int64_t)(w->best / w->n_layer) - 1},
		{"n_harmful", (int64_t)w->n_harmful}, {"n_harmless", (int64_t)w->n_harmless}};

	for (size_t p = 0; p < w->n_pos; p++)
		positions[p] = -(int32_t)p - 1;
	TRY(results_scale(results, "/direction/position", positions, w->n_pos,
		"position counted from the end of the prompt", err));
	TRY(results_write(results, &v, w->v, err));
	if (w->scored)
		TRY(write_scores(w, err));
	for (size_t i = 0; i < sizeof attributes / sizeof *attributes; i++)
		TRY(results_attribute_integer(results, "/direction", attributes[i].name,
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

	w->harmful = malloc(pairs * w->d * sizeof *w->harmful);
	w->harmless = malloc(pairs * w->d * sizeof *w->harmless);
	w->v = malloc(pairs * w->d * sizeof *w->v);
	w->scores.ablated = malloc(3 * pairs * sizeof *w->scores.ablated);
	if (!w->harmful || !w->harmless || !w->v || !w->scores.ablated)
		return err_nomem(err, "the direction", 3 * pairs * w->d * sizeof *w->harmful);
	w->scores.added = w->scores.ablated + pairs;
	w->scores.kl = w->scores.added + pairs;
	return 0;
}

static int check(const struct lab *lab, const struct findings *f, const void *values,
	struct err *err)
{
	const struct direction_settings *s = values;
	const size_t n_layer = lab->machine->model->arch.n_layer;

	(void)f;
	if (s->layer < (int64_t)n_layer)
		return 0;
	return err_set(err, ERR_CONFIG, "direction.layer: expected a layer below %zu, found %lld",
		n_layer, (long long)s->layer);
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
		s->filter ? MEAN_OF_REFUSED : MEAN_OF_ALL, w.harmful, &w.n_harmful, err));
	TRY(mean_resid(lab, c->direction.harmless, w.n_pos,
		s->filter ? MEAN_OF_ANSWERED : MEAN_OF_ALL, w.harmless, &w.n_harmless, err));

	/* 2. v_l is their difference. */
	for (size_t i = 0; i < w.n_pos * w.n_layer * w.d; i++)
		w.v[i] = (float)(w.harmful[i] - w.harmless[i]);

	/* 3. The layer: given, or chosen by what ablating and adding do. */
	if (s->layer >= 0)
		w.best = (size_t)s->layer;
	else
		TRY(choose_layer(&w, err));

	/* 4. Record. */
	TRY(write_direction(&w, err));
	TRY(keep_direction(&w, &f->direction, err));
	log_info("direction: layer %zu, from %zu refused harmful and %zu answered harmless prompts",
		f->direction.layer, w.n_harmful, w.n_harmless);
fail:
	free(w.harmful);
	free(w.harmless);
	free(w.v);
	free(w.scores.ablated);
	return err->code;
}

const struct experiment experiment_direction = {
	.name = "direction",
	.asks = "which direction of the residual stream stands for refusal?",
	SETTINGS_OF(settings, struct direction_settings),
	.provides = FIND_DIRECTION,
	.prompts = PROMPTS_CONTRASTED,
	.check = check,
	.run = run,
};

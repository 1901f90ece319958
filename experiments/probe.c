/* SPDX-License-Identifier: MIT
 *
 * probe.c - do features of refusal tell harmful prompts from benign ones in new disguises (paper
 * section 5.3, table 4)?
 *
 * Logistic probes (host/method/probe.h: AdamW, rate 1e-2, 50 full-batch epochs, the best epoch on
 * validation prompts) are trained on plain prompts, harmful against benign, and tested on
 * adversarial ones. What they see, mean over the prompt's last tokens:
 *
 *   refusal    activations of F_R (categories.c)
 *   random_i   of as many random features in the same layers that occur on the training prompts
 *   layer_l    resid_post of layer l, dense
 *
 * Departs: probes start at zero weights, so nothing depends on a draw but the split of the
 * training prompts; the best epoch is the one of lowest cross-entropy.
 * Writes: /probe/...: score of every probe for every prompt, accuracy per part.
 * Cost:   two forward passes over all prompts, holding resid_post of all layers at their last
 *         tokens in memory; one with a full encoding over the training prompts; the probes are
 *         minor.
 */
#include "experiments/experiment.h"

#include "host/base/arena.h"
#include "host/base/log.h"
#include "host/base/random.h"
#include "host/base/size.h"
#include "host/base/vec.h"
#include "host/lab/tables.h"
#include "host/method/probe.h"
#include "host/model/transfer.h"
#include "host/measure/activation_stats.h"
#include "host/measure/activations.h"
#include "host/measure/controls.h"
#include "host/measure/readings.h"
#include "host/measure/ties.h"

#include <math.h>
#include <stdio.h>

struct probe_settings {
	char *train_harmful, *train_benign;
	struct text_list test_harmful, test_benign;
};

#define SETTINGS struct probe_settings
static const struct setting settings[] = {
	PROMPTS("probe.train_harmful", train_harmful, "\"vanilla_harmful\"", NULL,
		"plain harmful prompts to train on"),
	PROMPTS("probe.train_benign", train_benign, "\"vanilla_benign\"", NULL,
		"plain benign prompts to train on"),
	PAIRED_SETS("probe.test_harmful", test_harmful, "[\"adversarial_harmful\"]",
		"harmful prompt sets to test on, a test each"),
	PAIRED_SETS("probe.test_benign", test_benign, "[\"adversarial_benign\"]",
		"the benign set of each test"),
	MOVED("probe.draws", "controls.draws"),
	MOVED("probe.positions", "readings.positions"),
	GONE("probe.validation", "a constant now"),
	GONE("probe.rate", "a constant now"),
	GONE("probe.decay", "a constant now"),
	GONE("probe.epochs", "a constant now"),
};

static const struct {
	struct dataset probe, part, prompt, label, part_of, score, accuracy;
	struct dataset validation_loss, best_epoch;
	struct feature_table features;
} datasets = {
	.probe = {"/probe/probe", {"probe"}, RESULTS_TEXT, "",
		"what the probe sees: `refusal` (F_R), `random_I` (random features), `layer_L` "
		"(`resid_post`)"},
	.part = {"/probe/part", {"part"}, RESULTS_TEXT, "",
		"part of the prompts: `train`, `validation`, and the tests by the names of their harmful sets"},
	.prompt = PROMPT_SCALE("/probe"),
	.label = {"/probe/label", {"prompt"}, RESULTS_U8, "1", "1 for a harmful prompt"},
	.part_of = {"/probe/part_of", {"prompt"}, RESULTS_I32, "",
		"part of the prompt, a row of `part`"},
	.score = {"/probe/score", {"probe", "prompt"}, RESULTS_F64, "1",
		"w.x + b; positive = harmful"},
	.accuracy = {"/probe/accuracy", {"probe", "part"}, RESULTS_F64, "1",
		"share of prompts on the right side of 0"},
	.validation_loss = {"/probe/validation_loss", {"probe"}, RESULTS_F64, "nat",
		"mean cross-entropy on the validation prompts at the best epoch"},
	.best_epoch = {"/probe/best_epoch", {"probe"}, RESULTS_I32, "1", "the best epoch, from 1"},
	.features = FEATURE_TABLE("/probe", "refusal_feature", "features of F_R"),
};

static const struct dataset_section section = {"`probe`", NULL, DATASETS(datasets)};

/* AdamW's step size and weight decay, full-batch steps, as published; and the share of the training
 * prompts that the best epoch is chosen by. */
static const struct probe_options training = {.rate = 0.01, .decay = 0.01, .epochs = 50};
static const double VALIDATION_SHARE = 0.2;

enum { TRAIN, VALIDATION, FIRST_TEST };

struct work {
	struct lab *lab;
	const struct probe_settings *settings;
	const struct feature_set *refusal; /* F_R */
	size_t n_layer, d, n_last, n_draws, n_parts, n_probes;
	struct prompt_ids prompts, train; /* all; of training and validation */
	struct feature_set watched;       /* all sets, one after the other */
	struct readings readings;         /* of these */
	float *download;                  /* [a batch, d] */
	size_t download_rows;
	struct arena memory;      /* what follows is in it */
	uint8_t *label;           /* [prompts.n] 1 = harmful */
	int32_t *part;            /* [prompts.n] TRAIN, VALIDATION, FIRST_TEST + k */
	struct feature_set *sets; /* [1 + n_draws] F_R, random sets */
	float *dense;             /* [n_layer, prompts.n, d] */
	double *score;            /* [n_probes, prompts.n] */
	double *accuracy;         /* [n_probes, n_parts] */
	double *loss;             /* [n_probes] on validation prompts */
	int32_t *epoch;           /* [n_probes] */
	char (*name)[32];         /* [n_probes] */
	size_t n_narrow, n_close; /* scores whose sign, probes whose best epoch hangs on rounding */
};

/* ---- 1. prompts ------------------------------------------------------------------------- */

static int add_set(struct work *w, const char *set, uint8_t label, int32_t part, struct err *err)
{
	const size_t first = w->prompts.n;

	if (prompts_of_set(w->lab->prompts, set, &w->prompts, err))
		return err->code;
	for (size_t i = first; i < w->prompts.n; i++) {
		w->label[i] = label;
		w->part[i] = part;
	}
	return 0;
}

/* A share of the training prompts, drawn with the seed, becomes validation. */
static int split(struct work *w, size_t n, struct err *err)
{
	const size_t n_validation = (size_t)(VALIDATION_SHARE * (double)n + 0.5);
	uint64_t seed = (uint64_t)w->lab->config->seed;
	size_t *order = arena_alloc(&w->memory, n, sizeof *order);

	if (arena_check(&w->memory, "a split", err))
		return err->code;
	for (size_t i = 0; i < n; i++)
		order[i] = i;
	random_shuffle(&seed, order, n, sizeof *order);
	for (size_t i = 0; i < n_validation; i++)
		w->part[order[i]] = VALIDATION;
	return 0;
}

static int gather(struct work *w, struct err *err)
{
	const struct probe_settings *s = w->settings;

	w->label = arena_alloc(&w->memory, w->lab->prompts->table.n, sizeof *w->label);
	w->part = arena_alloc(&w->memory, w->lab->prompts->table.n, sizeof *w->part);
	TRY(arena_check(&w->memory, "prompts", err));
	TRY(add_set(w, s->train_harmful, 1, TRAIN, err));
	TRY(add_set(w, s->train_benign, 0, TRAIN, err));
	TRY(vec_append(&w->train, w->prompts.data, w->prompts.n, err));
	TRY(split(w, w->train.n, err));
	for (size_t k = 0; k < s->test_harmful.n; k++) {
		TRY(add_set(w, s->test_harmful.items[k], 1, FIRST_TEST + (int32_t)k, err));
		TRY(add_set(w, s->test_benign.items[k], 0, FIRST_TEST + (int32_t)k, err));
	}
	return 0;
fail:
	return err->code;
}

/* ---- 2. what probes see ---------------------------------------------------------------- */

/* A unit holds, for its prompts: "place" [n] in the list, and for each layer "LAYER" [n, d], the
 * mean over the last tokens. */
static int put_places(const struct activation_batch *batch, struct unit *out, struct err *err)
{
	int32_t *place = malloc(batch->n_prompts * sizeof *place + 1);
	int rc;

	if (!place)
		return err_nomem(err, "activations", batch->n_prompts * sizeof *place);
	for (size_t i = 0; i < batch->n_prompts; i++)
		place[i] = (int32_t)batch->index[i];
	rc = unit_put(out, "place", RESULTS_I32, place, batch->n_prompts, err);
	free(place);
	return rc;
}

static int see_layer(void *context, size_t layer, const struct activation_batch *batch,
	struct tensor x, struct unit *out, struct err *err)
{
	struct work *w = context;
	float *mean = calloc(batch->n_prompts * w->d + 1, sizeof *mean);
	char name[24];

	err_clear(err);
	if (batch->n_tokens > w->download_rows) {
		free(w->download);
		w->download_rows = batch->n_tokens;
		w->download = malloc(w->download_rows * w->d * sizeof *w->download);
	}
	if (!w->download || !mean) {
		err_nomem(err, "activations", w->download_rows * w->d * sizeof *w->download);
		goto fail;
	}
	if (layer == 0)
		TRY(put_places(batch, out, err));
	TRY(download_floats(w->lab->machine->dev, x, w->download, err));
	for (size_t i = 0; i < batch->n_prompts; i++) {
		const size_t end = batch->token_start[i + 1];
		const size_t n = size_min(w->n_last, end - batch->token_start[i]);

		for (size_t t = end - n; t < end; t++)
			for (size_t j = 0; j < w->d; j++)
				mean[i * w->d + j] += w->download[t * w->d + j] / (float)n;
	}
	snprintf(name, sizeof name, "%zu", layer);
	TRY(unit_put(out, name, RESULTS_F32, mean, batch->n_prompts * w->d, err));
fail:
	free(mean);
	return err->code;
}

static int take_layers(void *context, size_t b, struct unit_reader *in, struct err *err)
{
	struct work *w = context;
	void *place = NULL;
	float *mean = NULL;
	size_t n;

	(void)b;
	err_clear(err);
	TRY(unit_get_all(in, "place", RESULTS_I32, &place, &n, err));
	mean = malloc(n * w->d * sizeof *mean + 1);
	if (!mean) {
		err_nomem(err, "activations", n * w->d * sizeof *mean);
		goto fail;
	}
	for (size_t l = 0; l < w->n_layer; l++) {
		char name[24];

		snprintf(name, sizeof name, "%zu", l);
		TRY(unit_get(in, name, RESULTS_F32, mean, n * w->d, err));
		for (size_t i = 0; i < n; i++) {
			const size_t p = (size_t)((const int32_t *)place)[i];

			if (p >= w->prompts.n) {
				err_set(err, ERR_INPUT, "expected places below %zu, found %zu",
					w->prompts.n, p);
				goto fail;
			}
			memcpy(w->dense + (l * w->prompts.n + p) * w->d, mean + i * w->d,
				w->d * sizeof *mean);
		}
	}
fail:
	free(place);
	free(mean);
	return err->code;
}

static int see_features(struct work *w, struct err *err)
{
	const struct condition none = condition_none();

	for (size_t i = 0; i <= w->n_draws; i++)
		TRY(vec_append(&w->watched, w->sets[i].data, w->sets[i].n, err));
	TRY(readings_open(&w->readings, w->lab, &w->prompts, &w->watched, w->n_last, 1, err));
	return readings_take(&w->readings, &none, "probe: features", 0, err);
fail:
	return err->code;
}

static int see_layers(struct work *w, struct err *err)
{
	const struct activation_visitor visitor = {.context = w,
		.resid_post = see_layer,
		.take = take_layers};

	w->dense = arena_alloc(&w->memory, w->n_layer * w->prompts.n * w->d, sizeof *w->dense);
	if (arena_check(&w->memory, "activations", err))
		return err->code;
	return activations_visit(w->lab, &w->prompts, "probe: resid_post", &visitor, err);
}

static int choose_features(struct work *w, struct err *err)
{
	struct activation_stats stats = {0};

	w->sets = arena_alloc(&w->memory, 1 + w->n_draws, sizeof *w->sets);
	err_clear(err);
	TRY(arena_check(&w->memory, "random features", err));
	TRY(vec_append(&w->sets[0], w->refusal->data, w->refusal->n, err));
	TRY(activation_stats_run(w->lab, &w->train, "probe: features that occur", false, &stats,
		err));
	TRY(controls_draw(w->lab, &w->sets[0], NULL, stats.alive, w->n_draws, w->sets + 1, err));
fail:
	activation_stats_free(&stats);
	return err->code;
}

/* ---- 3. probes -------------------------------------------------------------------------- */

static size_t rows_of(const struct work *w, int32_t part, size_t *rows)
{
	size_t n = 0;

	for (size_t i = 0; i < w->prompts.n; i++)
		if (w->part[i] == part)
			rows[n++] = i;
	return n;
}

/* Of a probe's loss, which is a mean over prompts: 2^-24, on the small model ten times what another
 * batch size does, as readout_noise is of scores, which are log-odds. */
static double rounding_of_loss(const struct lab *lab)
{
	return readout_noise(&lab->machine->readout) * 0x1p-11;
}

static void keep(struct work *w, size_t row, const struct probe *p, const float *x)
{
	const size_t n = w->prompts.n;

	w->n_close += p->lead < rounding_of_loss(w->lab);
	w->epoch[row] = (int32_t)p->best_epoch;
	w->loss[row] = p->validation_loss;
	for (size_t i = 0; i < n; i++)
		w->score[row * n + i] = probe_score(p, x + i * p->m);
	for (size_t i = 0; i < n; i++)
		w->n_narrow += ties_is_narrow(w->lab, fabs(w->score[row * n + i]));
	for (size_t k = 0; k < w->n_parts; k++) {
		size_t right = 0, all = 0;

		for (size_t i = 0; i < n; i++) {
			if ((size_t)w->part[i] != k)
				continue;
			right += (w->score[row * n + i] > 0) == w->label[i];
			all++;
		}
		w->accuracy[row * w->n_parts + k] = (double)right / (double)all;
	}
}

/* x: [prompts.n, m] */
static int train(struct work *w, size_t row, const float *x, size_t m, struct err *err)
{
	size_t *rows = malloc(2 * w->prompts.n * sizeof *rows);
	struct probe_data data[2];
	struct probe p = {0};
	int rc;

	if (!rows)
		return err_nomem(err, "a probe", 2 * w->prompts.n * sizeof *rows);
	for (int32_t k = TRAIN; k <= VALIDATION; k++) {
		size_t *own = rows + (size_t)k * w->prompts.n;

		data[k] = (struct probe_data){x, w->label, own, rows_of(w, k, own), m};
	}
	rc = probe_train(&p, &data[TRAIN], &data[VALIDATION], &training, err);
	if (rc == 0)
		keep(w, row, &p, x);
	probe_free(&p);
	free(rows);
	return rc;
}

/* Columns [first, first + m) of what was read of all sets. */
static int train_on_features(struct work *w, size_t row, size_t first, size_t m, struct err *err)
{
	const size_t n = w->prompts.n, all = w->watched.n;
	float *x = malloc(n * m * sizeof *x + 1);
	int rc;

	if (!x)
		return err_nomem(err, "a probe", n * m * sizeof *x);
	for (size_t i = 0; i < n; i++)
		memcpy(x + i * m, w->readings.activation + i * all + first, m * sizeof *x);
	rc = train(w, row, x, m, err);
	free(x);
	return rc;
}

static int train_all(struct work *w, struct err *err)
{
	struct progress progress;
	size_t row = 0, first = 0;

	w->score = arena_alloc(&w->memory, w->n_probes * w->prompts.n, sizeof *w->score);
	w->accuracy = arena_alloc(&w->memory, w->n_probes * w->n_parts, sizeof *w->accuracy);
	w->loss = arena_alloc(&w->memory, w->n_probes, sizeof *w->loss);
	w->epoch = arena_alloc(&w->memory, w->n_probes, sizeof *w->epoch);
	w->name = arena_alloc(&w->memory, w->n_probes, sizeof *w->name);
	TRY(arena_check(&w->memory, "probes", err));
	progress_begin(&progress, &w->lab->job->stages, "probe: training", w->n_probes, "probe");
	for (size_t i = 0; i <= w->n_draws; i++, row++) {
		snprintf(w->name[row], sizeof *w->name, i == 0 ? "refusal" : "random_%zu", i - 1);
		TRY(train_on_features(w, row, first, w->sets[i].n, err));
		first += w->sets[i].n;
		progress_add(&progress, 1);
	}
	for (size_t l = 0; l < w->n_layer; l++, row++) {
		snprintf(w->name[row], sizeof *w->name, "layer_%zu", l);
		TRY(train(w, row, w->dense + l * w->prompts.n * w->d, w->d, err));
		progress_add(&progress, 1);
	}
	progress_end(&progress);
	ties_tell(w->lab, w->n_narrow + w->n_close,
		"probe: rounding may turn round the best epoch of %zu of %zu probes, and what they say "
		"of a prompt %zu times of %zu",
		w->n_close, w->n_probes, w->n_narrow, w->n_probes * w->prompts.n);
	return 0;
fail:
	return err->code;
}

/* ---- 4. record ------------------------------------------------------------------------- */

static int write_parts(struct work *w, struct err *err)
{
	const struct text_list *tests = &w->settings->test_harmful;
	const char **names = arena_alloc(&w->memory, w->n_parts, sizeof *names);

	if (arena_check(&w->memory, "parts", err))
		return err->code;
	names[TRAIN] = "train";
	names[VALIDATION] = "validation";
	for (size_t k = 0; k < tests->n; k++)
		names[FIRST_TEST + k] = tests->items[k];
	return dataset_write(w->lab->job->results, &datasets.part, NULL, &w->n_parts, names, err);
}

static int write_probes(struct work *w, struct err *err)
{
	const char **names = arena_alloc(&w->memory, w->n_probes, sizeof *names);

	if (arena_check(&w->memory, "probes", err))
		return err->code;
	for (size_t i = 0; i < w->n_probes; i++)
		names[i] = w->name[i];
	return dataset_write(w->lab->job->results, &datasets.probe, NULL, &w->n_probes, names, err);
}

static int write(struct work *w, struct err *err)
{
	struct results *r = w->lab->job->results;
	const size_t n = w->prompts.n, by_prompt[] = {w->n_probes, n},
		     by_part[] = {w->n_probes, w->n_parts};

	TRY(prompt_scale_write(r, &datasets.prompt, NULL, &w->prompts, err));
	TRY(write_parts(w, err));
	TRY(write_probes(w, err));
	TRY(feature_table_write(r, &datasets.features, NULL, &w->sets[0], err));
	TRY(dataset_write(r, &datasets.label, NULL, &n, w->label, err));
	TRY(dataset_write(r, &datasets.part_of, NULL, &n, w->part, err));
	TRY(dataset_write(r, &datasets.score, NULL, by_prompt, w->score, err));
	TRY(dataset_write(r, &datasets.accuracy, NULL, by_part, w->accuracy, err));
	TRY(dataset_write(r, &datasets.validation_loss, NULL, &w->n_probes, w->loss, err));
	TRY(dataset_write(r, &datasets.best_epoch, NULL, &w->n_probes, w->epoch, err));
	TRY(results_attribute_integer(r, "/probe", "undecided", (int64_t)w->n_narrow, err));
	return results_attribute_integer(r, "/probe", "positions", (int64_t)w->n_last, err);
fail:
	return err->code;
}

/* For every test: features of refusal, random ones on average, and the best layer. */
static void say(const struct work *w)
{
	for (size_t k = FIRST_TEST; k < w->n_parts; k++) {
		double random = 0, best = 0;
		size_t layer = 0;

		for (size_t i = 1; i <= w->n_draws; i++)
			random += w->accuracy[i * w->n_parts + k] / (double)w->n_draws;
		for (size_t l = 0; l < w->n_layer; l++) {
			const double a = w->accuracy[(1 + w->n_draws + l) * w->n_parts + k];

			layer = a > best ? l : layer;
			best = a > best ? a : best;
		}
		log_info(
			"probe: on %s, features of refusal %.3f, random %.3f, best layer (%zu) %.3f",
			w->settings->test_harmful.items[k - FIRST_TEST], w->accuracy[k], random,
			layer, best);
	}
}

/* How often a set is named among all that the probe reads. */
static size_t times_named(const struct probe_settings *s, const char *name)
{
	size_t n = (strcmp(s->train_harmful, name) == 0) + (strcmp(s->train_benign, name) == 0);

	for (size_t i = 0; i < s->test_harmful.n; i++)
		n += (strcmp(s->test_harmful.items[i], name) == 0) +
		     (strcmp(s->test_benign.items[i], name) == 0);
	return n;
}

/* Both kinds of prompts are left to train on, and some to validate on. */
static int check_split(const struct lab *lab, const struct probe_settings *s, struct err *err)
{
	struct work w = {.lab = (struct lab *)lab, .settings = s};
	size_t n[2] = {0}, n_validation = 0;

	err_clear(err);
	TRY(gather(&w, err));
	for (size_t i = 0; i < w.train.n; i++) {
		n[w.label[i]] += w.part[i] == TRAIN;
		n_validation += w.part[i] == VALIDATION;
	}
	if (n[0] == 0 || n[1] == 0 || n_validation == 0)
		err_set(err, ERR_CONFIG,
			"probe: expected prompts of prompts.%s and of prompts.%s to train on, and a fifth of "
			"them, drawn with the seed, to validate on, found %zu, %zu and %zu; more prompts are "
			"needed",
			s->train_harmful, s->train_benign, n[1], n[0], n_validation);
fail:
	free(w.prompts.data);
	free(w.train.data);
	arena_free(&w.memory);
	return err->code;
}

static int check(const struct lab *lab, const struct findings *f, const void *values,
	struct err *err)
{
	const struct probe_settings *s = values;
	const struct config *c = lab->config;

	(void)f;
	if (s->test_harmful.n != s->test_benign.n || s->test_harmful.n == 0)
		return err_set(err, ERR_CONFIG,
			"probe.test_benign: expected as many sets as probe.test_harmful, at least one, "
			"found %zu and %zu",
			s->test_benign.n, s->test_harmful.n);
	for (size_t i = 0; i < c->n_prompts; i++)
		if (times_named(s, c->prompts[i].name) > 1)
			return err_set(err, ERR_CONFIG,
				"probe: prompts.%s is named twice; training and tests need prompts of their "
				"own",
				c->prompts[i].name);
	return check_split(lab, s, err);
}

static int plan(const struct lab *lab, const struct findings *f, const void *values,
	struct plan *out, struct err *err)
{
	static const struct plan_what what = {"probes", NULL};
	const struct config *c = lab->config;
	const struct arch *a = &lab->machine->model->arch;
	const size_t k_star = (size_t)c->attribution.k_star, draws = (size_t)c->controls.draws,
		     n_probes = 1 + draws + a->n_layer;
	const struct probe_settings *s = values;
	struct work w = {.lab = (struct lab *)lab, .settings = s};

	(void)f;
	err_clear(err);
	TRY(gather(&w, err));
	TRY(plan_write(out, what, &section,
		LENGTHS(LENGTH("probe", n_probes), LENGTH("part", FIRST_TEST + s->test_harmful.n),
			LENGTH("prompt", w.prompts.n), {"refusal_feature", 0, k_star}),
		1, err));
	TRY(activation_stats_plan(lab, out, &w.train, false, err));
	TRY(readings_plan(lab, out, &w.prompts, (1 + draws) * k_star, (size_t)c->readings.positions,
		1, err));
	TRY(plan_stages(lab, out, what, &w.prompts, 4 * (double)(1 + a->n_layer * a->d_model),
		1024 * (double)a->n_layer, 1, err));
	out->host_bytes = size_max(out->host_bytes,
		a->n_layer * w.prompts.n * a->d_model * sizeof *w.dense);
fail:
	free(w.prompts.data);
	free(w.train.data);
	arena_free(&w.memory);
	return err->code;
}

static int run(struct lab *lab, struct findings *f, const void *values, struct err *err)
{
	const struct config *c = lab->config;
	const struct probe_settings *s = values;
	struct work w = {.lab = lab,
		.settings = s,
		.refusal = &f->roles.refusal,
		.n_layer = lab->machine->model->arch.n_layer,
		.d = lab->machine->model->arch.d_model,
		.n_last = (size_t)c->readings.positions,
		.n_draws = (size_t)c->controls.draws,
		.n_parts = FIRST_TEST + s->test_harmful.n};

	err_clear(err);
	w.n_probes = 1 + w.n_draws + w.n_layer;

	/* 1. Plain prompts to train and validate on, adversarial ones to test on. */
	TRY(gather(&w, err));

	/* 2. Features of refusal, random ones in the same layers, and dense activations. */
	TRY(choose_features(&w, err));
	TRY(see_features(&w, err));
	TRY(see_layers(&w, err));

	/* 3. A probe on each. */
	TRY(train_all(&w, err));

	/* 4. Record. */
	TRY(write(&w, err));
	say(&w);
fail:
	for (size_t i = 0; w.sets && i <= w.n_draws; i++)
		free(w.sets[i].data);
	free(w.watched.data);
	readings_free(&w.readings);
	free(w.prompts.data);
	free(w.train.data);
	free(w.download);
	arena_free(&w.memory);
	return err->code;
}

const struct experiment experiment_probe = {
	.name = "probe",
	.asks = "do features of refusal tell harmful prompts from benign ones in new disguises?",
	SETTINGS_OF(settings, struct probe_settings),
	.writes = &section,
	.needs = NEED_ROLES,
	.check = check,
	.plan = plan,
	.run = run,
};

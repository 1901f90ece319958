/* SPDX-License-Identifier: MIT
 *
 * findings_write.c - feature sets into the result file. Contract: findings.h.
 * Tests: tests/test_run.c.
 */
#include "host/lab/findings.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Columns of sets padded to `rank` features each. */
struct columns {
	size_t n_sets, rank;
	int32_t *layer, *feature;
	float *cosine, *score;
};

static int make_columns(struct columns *c, size_t n_sets, size_t rank, struct err *err)
{
	const size_t n = n_sets * rank;

	*c = (struct columns){.n_sets = n_sets, .rank = rank};
	c->layer = malloc(n * sizeof *c->layer + 1);
	c->feature = malloc(n * sizeof *c->feature + 1);
	c->cosine = malloc(n * sizeof *c->cosine + 1);
	c->score = malloc(n * sizeof *c->score + 1);
	if (!c->layer || !c->feature || !c->cosine || !c->score)
		return err_nomem(err, "feature sets", n * sizeof *c->layer);
	for (size_t i = 0; i < n; i++) {
		c->layer[i] = c->feature[i] = -1;
		c->cosine[i] = c->score[i] = NAN;
	}
	return 0;
}

static void fill_column(struct columns *c, size_t row, const struct feature_set *set)
{
	for (size_t k = 0; k < set->n && k < c->rank; k++) {
		const size_t i = row * c->rank + k;

		c->layer[i] = set->data[k].layer;
		c->feature[i] = set->data[k].id;
		c->cosine[i] = set->data[k].cosine;
		c->score[i] = set->data[k].score;
	}
}

static void free_columns(struct columns *c)
{
	free(c->layer);
	free(c->feature);
	free(c->cosine);
	free(c->score);
}

/* group/{layer,feature,score[,cosine]}, [rank] or [prompt, rank]. */
static int write_columns(struct results *results, const char *group, const struct columns *c,
	const char *prompt_scale, bool cosine, const char *score_name, const char *score_units,
	struct err *err)
{
	const struct {
		const char *name, *long_name, *units;
		enum results_type type;
		const void *data;
	} parts[] =
		{{"layer", "layer of the feature (TransformerLens blocks.<layer>.hook_resid_post)",
			 "", RESULTS_I32, c->layer},
			{"feature", "index of the feature in its SAE", "", RESULTS_I32, c->feature},
			{"score", score_name, score_units, RESULTS_F32, c->score},
			{"cosine", "cosine of the decoder row and the direction", "1", RESULTS_F32,
				c->cosine}};
	char path[256], scale[256];
	int32_t *ranks = malloc(c->rank * sizeof *ranks + 1);

	if (!ranks)
		return err_nomem(err, group, c->rank * sizeof *ranks);
	for (size_t k = 0; k < c->rank; k++)
		ranks[k] = (int32_t)k;
	snprintf(scale, sizeof scale, "%s/rank", group);
	TRY(results_scale(results, scale, ranks, c->rank, "rank, best first", err));
	for (size_t i = 0; i < (cosine ? 4 : 3); i++) {
		struct results_dataset d = {.path = path,
			.type = parts[i].type,
			.n_dims = 1,
			.dims = {c->rank},
			.scales = {scale},
			.long_name = parts[i].long_name,
			.units = parts[i].units,
			.compress = prompt_scale != NULL};

		snprintf(path, sizeof path, "%s/%s", group, parts[i].name);
		if (prompt_scale) {
			d.n_dims = 2;
			d.dims[0] = c->n_sets;
			d.dims[1] = c->rank;
			d.scales[0] = prompt_scale;
			d.scales[1] = scale;
		}
		TRY(results_write(results, &d, parts[i].data, err));
	}
	free(ranks);
	return 0;
fail:
	free(ranks);
	return err->code;
}

static const struct {
	const char *name, *units;
} scores[N_METHODS] = {
	[METHOD_COSSIM_AP] = {"mean indirect effect", "logit"},
	[METHOD_AP] = {"mean indirect effect", "logit"},
	[METHOD_COSSIM] = {"cosine with the direction", "1"},
	[METHOD_ACTDIFF] = {"difference of mean largest activations", "1"},
	[METHOD_RANDOM] = {"none (0)", "1"},
};

static int write_local(const struct method_sets *sets, enum method method, const char *group,
	const struct prompt_ids *prompts, struct results *results, struct err *err)
{
	struct columns c = {0};
	char scale[256];
	int32_t *ids = malloc(prompts->n * sizeof *ids + 1);

	err_clear(err);
	if (!ids) {
		err_nomem(err, group, prompts->n * sizeof *ids);
		goto fail;
	}
	TRY(make_columns(&c, prompts->n, sets->global.n, err));
	for (size_t i = 0; i < prompts->n; i++) {
		ids[i] = (int32_t)prompts->data[i];
		fill_column(&c, i, &sets->local[prompts->data[i]]);
	}
	snprintf(scale, sizeof scale, "%s/prompt", group);
	TRY(results_scale(results, scale, ids, prompts->n, "prompt id", err));
	TRY(write_columns(results, group, &c, scale, false, scores[method].name,
		scores[method].units, err));
fail:
	free(ids);
	free_columns(&c);
	return err->code;
}

int findings_write_sets(const struct findings *f, enum method method,
	const struct prompt_ids *prompts, struct results *results, struct err *err)
{
	const struct method_sets *sets = &f->sets[method];
	struct columns c = {0};
	char group[128];

	err_clear(err);
	snprintf(group, sizeof group, "/feature_sets/%s/global", method_names[method]);
	TRY(make_columns(&c, 1, sets->global.n, err));
	fill_column(&c, 0, &sets->global);
	TRY(write_columns(results, group, &c, NULL, true, scores[method].name, scores[method].units,
		err));
	if (sets->local) {
		snprintf(group, sizeof group, "/feature_sets/%s/local", method_names[method]);
		TRY(write_local(sets, method, group, prompts, results, err));
	}
fail:
	free_columns(&c);
	return err->code;
}

static int write_role(const char *name, const struct feature_set *set, struct results *results,
	struct err *err)
{
	struct columns c = {0};
	char group[128];

	err_clear(err);
	if (set->n == 0)
		return 0;
	snprintf(group, sizeof group, "/feature_sets/%s/global", name);
	TRY(make_columns(&c, 1, set->n, err));
	fill_column(&c, 0, set);
	TRY(write_columns(results, group, &c, NULL, true, scores[METHOD_COSSIM_AP].name,
		scores[METHOD_COSSIM_AP].units, err));
fail:
	free_columns(&c);
	return err->code;
}

int findings_write_roles(const struct findings *f, struct results *results, struct err *err)
{
	if (write_role("refusal", &f->roles.refusal, results, err))
		return err->code;
	return write_role("harm", &f->roles.harm, results, err);
}

/* SPDX-License-Identifier: MIT
 *
 * findings_read.c - the direction and the feature sets of an earlier result file. Contract:
 * findings.h. Tests: tests/test_run.c.
 */
#include "host/lab/findings.h"

#include "host/base/file.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What findings are to fit. */
struct load {
	struct findings *f;
	const struct config *config;
	const struct machine *m;
	const struct prompts *prompts;
	struct results_reader *r;
};

static int check_feature(const struct load *l, const char *path, int32_t layer, int32_t id,
	struct err *err)
{
	if (layer < 0 || (size_t)layer >= l->m->model->arch.n_layer || id < 0 ||
		(size_t)id >= sae_set_width(l->m->saes) || !sae_set_has(l->m->saes, (size_t)layer))
		return err_set(err, ERR_INPUT,
			"from: %s: expected features of this model's SAEs (%zu layers of %zu), found "
			"layer %d, feature %d",
			path, l->m->model->arch.n_layer, sae_set_width(l->m->saes), layer, id);
	return 0;
}

/* How many of the n features of a set are taken: all (0) or as many as wanted. */
static int features_taken(const struct load *l, const char *path, size_t n, size_t wanted,
	size_t *taken, struct err *err)
{
	*taken = wanted ? wanted : n;
	if (wanted > n)
		return err_set(err, ERR_CONFIG,
			"from_k_star: expected at most %zu, the features of %s in %s, found %zu", n,
			path, l->config->from, wanted);
	return 0;
}

/* The `most` best features of a set, 0 = all. Leaves *known alone when the file has no such set. */
static int read_global(const struct load *l, const char *name, size_t most, struct feature_set *set,
	bool *known, struct err *err)
{
	int32_t *layer = NULL, *feature = NULL;
	float *score = NULL, *cosine = NULL;
	uint8_t *seen = NULL; /* [n_layer, d_sae] */
	const size_t width = sae_set_width(l->m->saes);
	size_t n[4] = {0}, taken, at;
	char path[4][128];
	bool has;

	err_clear(err);
	for (int i = 0; i < 4; i++)
		snprintf(path[i], sizeof path[i], "/feature_sets/%s/global/%s", name,
			(const char *const[]){"layer", "feature", "score", "cosine"}[i]);
	TRY(results_has(l->r, path[0], &has, err));
	if (!has)
		return 0;
	TRY(results_read_ints(l->r, path[0], 1, &n[0], &layer, err));
	TRY(results_read_ints(l->r, path[1], 1, &n[1], &feature, err));
	TRY(results_read_floats(l->r, path[2], 1, &n[2], &score, err));
	TRY(results_read_floats(l->r, path[3], 1, &n[3], &cosine, err));
	for (int i = 1; i < 4; i++) {
		if (n[i] != n[0]) {
			err_set(err, ERR_INPUT,
				"from: %s: expected %zu values as %s has, found %zu", path[i], n[0],
				path[0], n[i]);
			goto fail;
		}
	}
	if (n[0] == 0) {
		err_set(err, ERR_INPUT, "from: %s: expected features, found none", path[0]);
		goto fail;
	}
	TRY(features_taken(l, path[0], n[0], most, &taken, err));
	seen = calloc(l->m->model->arch.n_layer * width, sizeof *seen);
	if (!seen) {
		err_nomem(err, path[0], l->m->model->arch.n_layer * width);
		goto fail;
	}
	for (size_t k = 0; k < taken; k++) {
		TRY(check_feature(l, path[0], layer[k], feature[k], err));
		at = (size_t)layer[k] * width + (size_t)feature[k];
		if (seen[at]++) {
			err_set(err, ERR_INPUT,
				"from: %s: expected each feature once, found layer %d, feature %d "
				"again at rank %zu",
				path[0], layer[k], feature[k], k);
			goto fail;
		}
		TRY(feature_set_add(set,
			(struct feature){layer[k], feature[k], cosine[k], score[k]}, err));
	}
	*known = true;
fail:
	free(seen);
	free(layer);
	free(feature);
	free(score);
	free(cosine);
	return err->code;
}

/* What makes a prompt, and where an earlier file has it: a column that is not there is of prompts
 * that have none. */
static const struct {
	const char *path;
	const char *(*get)(const struct prompts *, size_t);
} identity[] = {
	{"/prompts/text", prompts_text},
	{"/prompts/context", prompts_context},
	{"/prompts/system", prompts_system},
	{"/prompts/messages", prompts_messages},
};
enum { N_IDENTITY = sizeof identity / sizeof *identity };

/* The local sets of an earlier file: row i belongs to its prompt prompt[i]. */
struct local_columns {
	size_t n_rows, rank, n_prompts;
	size_t taken; /* of each row's rank features */
	int32_t *prompt, *layer, *feature;
	float *score;
	struct {
		char **texts; /* NULL: the file has no such column */
		size_t n;
	} identity[N_IDENTITY];
};

static void free_local(struct local_columns *c)
{
	for (size_t k = 0; k < N_IDENTITY; k++) {
		for (size_t i = 0; i < c->identity[k].n; i++)
			free(c->identity[k].texts[i]);
		free(c->identity[k].texts);
	}
	free(c->prompt);
	free(c->layer);
	free(c->feature);
	free(c->score);
}

static int read_local_columns(struct results_reader *r, const char *group, struct local_columns *c,
	struct err *err)
{
	size_t dims[3][2];
	char path[4][192];
	bool has = true;

	for (int i = 0; i < 4; i++)
		snprintf(path[i], sizeof path[i], "%s/%s", group,
			(const char *const[]){"prompt", "layer", "feature", "score"}[i]);
	TRY(results_read_ints(r, path[0], 1, &c->n_rows, &c->prompt, err));
	TRY(results_read_ints(r, path[1], 2, dims[0], &c->layer, err));
	TRY(results_read_ints(r, path[2], 2, dims[1], &c->feature, err));
	TRY(results_read_floats(r, path[3], 2, dims[2], &c->score, err));
	for (size_t k = 0; k < N_IDENTITY; k++) {
		if (k > 0)
			TRY(results_has(r, identity[k].path, &has, err));
		if (!has)
			continue;
		TRY(results_read_texts(r, identity[k].path, &c->identity[k].n,
			&c->identity[k].texts, err));
		if (c->identity[k].n != c->identity[0].n)
			return err_set(err, ERR_INPUT, "from: %s: expected %zu texts, found %zu",
				identity[k].path, c->identity[0].n, c->identity[k].n);
	}
	c->n_prompts = c->identity[0].n;
	for (int i = 0; i < 3; i++)
		if (dims[i][0] != c->n_rows || dims[i][1] != dims[0][1])
			return err_set(err, ERR_INPUT,
				"from: %s: expected %zu x %zu, found %zu x %zu", path[i + 1],
				c->n_rows, dims[0][1], dims[i][0], dims[i][1]);
	c->rank = dims[0][1];
fail:
	return err->code;
}

static int fill_local(const struct load *l, const struct local_columns *c, size_t row,
	struct feature_set *set, const char *group, struct err *err)
{
	for (size_t k = row * c->rank; k < row * c->rank + c->taken && c->layer[k] >= 0; k++) {
		TRY(check_feature(l, group, c->layer[k], c->feature[k], err));
		TRY(feature_set_add(set,
			(struct feature){c->layer[k], c->feature[k], NAN, c->score[k]}, err));
	}
	return 0;
fail:
	return err->code;
}

static bool is_prompt(const struct load *l, size_t prompt, const struct local_columns *c,
	int32_t id)
{
	bool is = true;

	for (size_t k = 0; k < N_IDENTITY; k++) {
		const char *here = identity[k].get(l->prompts, prompt);
		char *const *there = c->identity[k].texts;

		is = is && strcmp(here ? here : "", there ? there[id] : "") == 0;
	}
	return is;
}

/* Prompts are matched by what makes them: their numbers differ from run to run. */
static int read_local(const struct load *l, enum method method, struct err *err)
{
	struct method_sets *sets = &l->f->sets[method];
	struct local_columns c = {0};
	char group[128];
	bool has;

	err_clear(err);
	snprintf(group, sizeof group, "/feature_sets/%s/local", method_names[method]);
	TRY(results_has(l->r, group, &has, err));
	if (!has)
		return 0;
	TRY(findings_new_local(l->f, method, err));
	TRY(read_local_columns(l->r, group, &c, err));
	TRY(features_taken(l, group, c.rank, (size_t)l->config->from_k_star, &c.taken, err));
	for (size_t row = 0; row < c.n_rows; row++) {
		if (c.prompt[row] < 0 || (size_t)c.prompt[row] >= c.n_prompts) {
			err_set(err, ERR_INPUT, "from: %s/prompt: expected ids below %zu, found %d",
				group, c.n_prompts, c.prompt[row]);
			goto fail;
		}
		for (size_t p = 0; p < l->prompts->table.n; p++)
			if (!sets->attributed[p] && is_prompt(l, p, &c, c.prompt[row])) {
				sets->attributed[p] = true;
				TRY(fill_local(l, &c, row, &sets->local[p], group, err));
			}
	}
fail:
	free_local(&c);
	return err->code;
}

static bool is_zero(const float *v, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (v[i] != 0)
			return false;
	return true;
}

static int read_direction(const struct load *l, struct err *err)
{
	struct direction *d = &l->f->direction;
	size_t dims[3];
	int64_t layer = 0, position = 0;
	float *v = NULL;

	err_clear(err);
	TRY(results_read_floats(l->r, "/direction/v", 3, dims, &v, err));
	TRY(results_read_attribute_integer(l->r, "/direction", "layer", &layer, err));
	TRY(results_read_attribute_integer(l->r, "/direction", "position", &position, err));
	if (dims[1] != l->m->model->arch.n_layer || dims[2] != l->m->model->arch.d_model ||
		layer < 0 || (size_t)layer >= dims[1] || position > -1 ||
		(size_t)-position > dims[0]) {
		err_set(err, ERR_INPUT,
			"from: %s: /direction/v: expected %zu layers of width %zu, found %zu of %zu",
			l->config->from, l->m->model->arch.n_layer, l->m->model->arch.d_model,
			dims[1], dims[2]);
		goto fail;
	}
	d->v = malloc(dims[2] * sizeof *d->v);
	if (!d->v) {
		err_nomem(err, "the direction", dims[2] * sizeof *d->v);
		goto fail;
	}
	memcpy(d->v, v + ((size_t)(-position - 1) * dims[1] + (size_t)layer) * dims[2],
		dims[2] * sizeof *v);
	for (size_t i = 0; i < dims[2]; i++) {
		if (!isfinite(d->v[i])) {
			err_set(err, ERR_INPUT,
				"from: %s: /direction/v: expected finite values, found %g "
				"at component %zu of layer %lld",
				l->config->from, (double)d->v[i], i, (long long)layer);
			goto fail;
		}
	}
	if (is_zero(d->v, dims[2])) {
		err_set(err, ERR_INPUT,
			"from: %s: /direction/v: expected a direction, found only zeros in layer %lld",
			l->config->from, (long long)layer);
		goto fail;
	}
	d->layer = (size_t)layer;
	d->known = true;
fail:
	free(v);
	return err->code;
}

/* The files that an earlier run was made from, by role: "model", "weights", "sae". */
struct origin {
	char **roles, **hashes;   /* owned */
	size_t n_roles, n_hashes; /* alike; 0 = the file does not say */
};

static int read_origin(struct origin *o, struct results_reader *r, struct err *err)
{
	bool has;

	err_clear(err);
	TRY(results_has(r, "/provenance/role", &has, err));
	if (!has)
		return 0;
	TRY(results_read_texts(r, "/provenance/role", &o->n_roles, &o->roles, err));
	TRY(results_read_texts(r, "/provenance/sha256", &o->n_hashes, &o->hashes, err));
	if (o->n_hashes != o->n_roles)
		err_set(err, ERR_INPUT,
			"from: /provenance/sha256: expected %zu values as /provenance/role has, "
			"found %zu",
			o->n_roles, o->n_hashes);
fail:
	return err->code;
}

static void free_origin(struct origin *o)
{
	for (size_t i = 0; i < o->n_roles; i++)
		free(o->roles[i]);
	for (size_t i = 0; i < o->n_hashes; i++)
		free(o->hashes[i]);
	free(o->roles);
	free(o->hashes);
}

/* The hash of number i of a role, "" when there is none. */
static const char *hash_of(const struct origin *o, const char *role, size_t i)
{
	for (size_t k = 0; k < o->n_roles; k++)
		if (strcmp(o->roles[k], role) == 0 && i-- == 0)
			return o->hashes[k];
	return "";
}

static int compare_hash(const struct config *c, const char *role, const char *path,
	const char *found, const char *expected, struct err *err)
{
	if (!*expected || strcmp(found, expected) == 0)
		return 0;
	return err_set(err, ERR_INPUT,
		"from: %s was made with another %s: expected one with SHA-256 %.12s..., found %s with "
		"%.12s...",
		c->from, role, expected, path, found);
}

static int check_file(const struct load *l, const char *role, const char *path,
	const char *expected, struct err *err)
{
	char found[SHA256_HEX];

	if (*expected && sha256_file(path, found, err))
		return err->code;
	return compare_hash(l->config, role, path, found, expected, err);
}

/* Directions and features mean nothing in another model, or in other SAEs of the same one. Told
 * here by config.json and by the first layer's SAE: all files take long to hash
 * (findings_check_weights). */
static int check_origin(const struct load *l, struct err *err)
{
	char *config = path_join(l->m->folder.base, "config.json");
	struct origin origin = {0};
	size_t first = 0;

	err_clear(err);
	if (!config) {
		err_nomem(err, "a path", strlen(l->m->folder.base));
		goto fail;
	}
	TRY(read_origin(&origin, l->r, err));
	TRY(check_file(l, "model", config, hash_of(&origin, "model", 0), err));
	while (l->m->saes && first < sae_set_layers(l->m->saes) && !sae_set_has(l->m->saes, first))
		first++;
	if (l->m->saes && first < sae_set_layers(l->m->saes))
		TRY(check_file(l, "SAE", sae_set_path(l->m->saes, first),
			hash_of(&origin, "sae", 0), err));
fail:
	free_origin(&origin);
	free(config);
	return err->code;
}

/* Of an adapter both must have the same files, or none. */
static int check_adapter(const struct config *c, const struct origin *origin,
	const struct inputs *inputs, struct err *err)
{
	size_t n = 0;

	for (size_t i = 0; i < inputs->n; i++) {
		const struct input_file *file = &inputs->data[i];

		if (strcmp(file->role, "adapter") != 0)
			continue;
		if (!*hash_of(origin, "adapter", n))
			return err_set(err, ERR_INPUT,
				"from: %s was made without an adapter, found %s", c->from,
				file->path);
		TRY(compare_hash(c, "adapter", file->path, file->sha256,
			hash_of(origin, "adapter", n++), err));
	}
	if (n == 0 && *hash_of(origin, "adapter", 0))
		return err_set(err, ERR_INPUT,
			"from: %s was made with an adapter on the model, found none in %s", c->from,
			c->model.path);
	return 0;
fail:
	return err->code;
}

static size_t count_origin(const struct origin *o, const char *role)
{
	size_t n = 0;

	for (size_t k = 0; k < o->n_roles; k++)
		n += strcmp(o->roles[k], role) == 0;
	return n;
}

static size_t count_inputs(const struct inputs *inputs, const char *role)
{
	size_t n = 0;

	for (size_t i = 0; i < inputs->n; i++)
		n += strcmp(inputs->data[i].role, role) == 0;
	return n;
}

/* Those of every layer. Where one of the runs has SAEs of more layers, or a config beside them that
 * the other has not, the files of the other must be among its own, in the same order. */
static int check_saes(const struct config *c, const struct origin *origin,
	const struct inputs *inputs, struct err *err)
{
	const size_t n_here = count_inputs(inputs, "sae"), n_there = count_origin(origin, "sae");
	size_t more_here = n_here > n_there ? n_here - n_there : 0;
	size_t more_there = n_there > n_here ? n_there - n_here : 0;
	size_t there = 0;

	for (size_t i = 0; i < inputs->n && there < n_there; i++) {
		const struct input_file *file = &inputs->data[i];

		if (strcmp(file->role, "sae") != 0)
			continue;
		while (more_there > 0 && strcmp(file->sha256, hash_of(origin, "sae", there)) != 0) {
			there++;
			more_there--;
		}
		if (more_here > 0 && strcmp(file->sha256, hash_of(origin, "sae", there)) != 0)
			more_here--;
		else
			TRY(compare_hash(c, "SAE", file->path, file->sha256,
				hash_of(origin, "sae", there++), err));
	}
	return 0;
fail:
	return err->code;
}

int findings_check_weights(const struct config *config, const struct inputs *inputs,
	struct err *err)
{
	struct results_reader *r = NULL;
	struct origin origin = {0};
	size_t n = 0;

	err_clear(err);
	if (!*config->from)
		return 0;
	TRY(results_open_foreign(&r, config->from, err));
	TRY(read_origin(&origin, r, err));
	for (size_t i = 0; i < inputs->n; i++)
		if (strcmp(inputs->data[i].role, "weights") == 0)
			TRY(compare_hash(config, "model", inputs->data[i].path,
				inputs->data[i].sha256, hash_of(&origin, "weights", n++), err));
	TRY(check_adapter(config, &origin, inputs, err));
	TRY(check_saes(config, &origin, inputs, err));
fail:
	free_origin(&origin);
	results_reader_close(r);
	return err->code;
}

/* What this run will find itself: local sets are made of the effects of each prompt. */
static void expect_own(struct findings *f, const struct config *c, unsigned found_here)
{
	f->direction.expected = (found_here & FIND_DIRECTION) != 0;
	for (int i = 0; i < N_METHODS; i++) {
		f->sets[i].expected = found_here & FIND_SETS &&
				      text_list_holds(&c->attribution.methods, method_names[i]);
		f->sets[i].expected_local = f->sets[i].expected &&
					    (i == METHOD_COSSIM_AP || i == METHOD_AP);
	}
}

static void expect_loaded(struct findings *f)
{
	f->direction.expected |= f->direction.known;
	for (int i = 0; i < N_METHODS; i++) {
		f->sets[i].expected |= f->sets[i].known;
		f->sets[i].expected_local |= f->sets[i].local != NULL;
	}
}

int findings_load(struct findings *f, const struct config *config, const struct machine *m,
	const struct prompts *prompts, unsigned found_here, unsigned wanted, struct err *err)
{
	struct load l = {f, config, m, prompts, NULL};
	bool has_sets = false;

	*f = (struct findings){.n_prompts = prompts->table.n};
	expect_own(f, config, found_here);
	err_clear(err);
	if (!*config->from || prompts->source)
		return 0;
	TRY(results_open_foreign(&l.r, config->from, err));
	TRY(check_origin(&l, err));
	if (!(found_here & FIND_DIRECTION))
		TRY(read_direction(&l, err));
	if (!m->saes && wanted & FIND_SETS)
		TRY(results_has(l.r, "/feature_sets", &has_sets, err));
	if (has_sets) {
		err_set(err, ERR_CONFIG,
			"from: %s has feature sets, and there are no SAEs to clamp them with: give "
			"sae.path, or leave out `from` and put \"direction\" in `experiment`",
			config->from);
		goto fail;
	}
	for (int i = 0; i < N_METHODS && m->saes && !(found_here & FIND_SETS); i++) {
		TRY(read_global(&l, method_names[i], (size_t)config->from_k_star,
			&f->sets[i].global, &f->sets[i].known, err));
		TRY(read_local(&l, (enum method)i, err));
	}
	if (m->saes && !(found_here & FIND_ROLES)) {
		TRY(read_global(&l, "refusal", 0, &f->roles.refusal, &f->roles.known, err));
		TRY(read_global(&l, "harm", 0, &f->roles.harm, &f->roles.known, err));
	}
	expect_loaded(f);
fail:
	results_reader_close(l.r);
	return err->code;
}

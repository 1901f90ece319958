/* SPDX-License-Identifier: MIT
 *
 * conditions.c - Contract: conditions.h.
 */
#include "host/measure/conditions.h"

#include "host/method/direction.h"

#include <assert.h>
#include <stdio.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

struct condition condition_none(void)
{
	return (struct condition){.kind = CONDITION_NONE, .name = "none"};
}

struct condition condition_ablate(const struct direction *direction)
{
	return (struct condition){.kind = CONDITION_ABLATE,
		.layer_last = SIZE_MAX,
		.v = direction->v,
		.name = "ablate_direction"};
}

struct condition condition_ablate_layers(const struct direction *direction, size_t first,
	size_t last)
{
	struct condition condition = {.kind = CONDITION_ABLATE,
		.layer_first = first,
		.layer_last = last,
		.v = direction->v};

	snprintf(condition.name, sizeof condition.name, "ablate_direction_%zu-%zu", first, last);
	return condition;
}

struct condition condition_add(const struct direction *direction)
{
	return (struct condition){.kind = CONDITION_ADD,
		.layer_first = direction->layer,
		.layer_last = direction->layer,
		.v = direction->v,
		.name = "add_direction"};
}

struct condition condition_scale(enum method method, const struct method_sets *sets, bool local,
	double c)
{
	struct condition condition = {.kind = CONDITION_CLAMP,
		.sets = local ? sets->local : &sets->global,
		.local = local,
		.value = {(float)c, 0}};

	snprintf(condition.name, sizeof condition.name, "%s_%s_x%g", method_names[method],
		local ? "local" : "global", c);
	return condition;
}

struct condition condition_set(enum method method, const struct method_sets *sets, double value)
{
	struct condition condition = {.kind = CONDITION_CLAMP,
		.sets = &sets->global,
		.value = {0, (float)value}};

	snprintf(condition.name, sizeof condition.name, "%s_global_to%g", method_names[method],
		value);
	return condition;
}

struct condition condition_scale_set(const char *name, const struct feature_set *set, double c)
{
	struct condition condition = {.kind = CONDITION_CLAMP, .sets = set, .value = {(float)c, 0}};

	snprintf(condition.name, sizeof condition.name, "%s_x%g", name, c);
	return condition;
}

/* One vector taken out or added: to be ablated, it is brought to length 1. */
static int open_vector(struct condition_state *s, struct err *err)
{
	const struct condition *c = &s->condition;
	struct device *dev = s->lab->machine->dev;
	const size_t d = s->lab->machine->model->arch.d_model;
	const bool ablates = c->kind == CONDITION_ABLATE;
	float *u = malloc(d * sizeof *u);
	int rc;

	assert(c->v);
	if (!u)
		return err_nomem(err, "the direction", d * sizeof *u);
	if (ablates)
		direction_normalise(c->v, d, u);
	else
		memcpy(u, c->v, d * sizeof *u);
	rc = device_alloc(dev, d * sizeof *u, &s->memory, err) ||
	     device_upload(dev, s->memory, u, d * sizeof *u, err);
	free(u);
	s->edit = (struct edit){.kind = ablates ? EDIT_ABLATE : EDIT_ADD,
		.layer_first = c->layer_first,
		.layer_last = c->layer_last,
		.amount = ablates ? 0 : 1,
		.vector = {s->memory, DTYPE_F32, 1, d}};
	return rc ? err->code : 0;
}

/* Clamped features and excepted ones are not retained. */
static bool is_retained(const struct condition *c, const struct feature *f)
{
	const struct feature_set *except = c->retained->except;

	return !feature_set_holds(c->sets, f->layer, f->id) &&
	       !(except && feature_set_holds(except, f->layer, f->id));
}

static int open_retained(struct condition_state *s, struct err *err)
{
	const struct condition *c = &s->condition;
	const struct feature_set *recorded = c->retained->features;

	for (size_t i = 0; i < recorded->n; i++)
		if (is_retained(c, &recorded->data[i]) &&
			feature_set_add(&s->retained, recorded->data[i], err))
			return err->code;
	s->reply_edit = s->edit;
	if (clamp_plan_create(&s->plan, s->lab->machine->dev, s->lab->machine->saes, c->sets, 1,
		    c->value, err))
		return err->code;
	return retain_plan_create(&s->retain, s->lab->machine->dev, s->lab->machine->saes, c->sets,
		c->value, &s->retained, err);
}

static int open_clamp(struct condition_state *s, struct err *err)
{
	const struct machine *m = s->lab->machine;
	const struct condition *c = &s->condition;

	assert(c->sets && !(c->local && c->retained));
	s->edit = (struct edit){.kind = EDIT_CLAMP, .layer_last = m->model->arch.n_layer - 1};
	if (c->retained)
		return open_retained(s, err);
	return clamp_plan_create(&s->plan, m->dev, m->saes, c->sets,
		c->local ? s->lab->prompts->table.n : 1, c->value, err);
}

int condition_open(struct condition_state *s, struct lab *lab, const struct condition *condition,
	struct err *err)
{
	*s = (struct condition_state){.lab = lab, .condition = *condition, .n_out = 1};
	switch (condition->kind) {
	case CONDITION_NONE:
		return 0;
	case CONDITION_ABLATE:
	case CONDITION_ADD:
		return open_vector(s, err);
	case CONDITION_CLAMP:
		return open_clamp(s, err);
	}
	return 0;
}

void condition_close(struct condition_state *s)
{
	clamp_plan_free(s->plan);
	retain_plan_free(s->retain);
	free(s->retained.data);
	free(s->rows);
	free(s->values);
	if (s->lab)
		device_free(s->lab->machine->dev, s->memory);
	*s = (struct condition_state){0};
}

bool condition_is_local(const struct condition_state *s)
{
	return s->condition.local;
}

/* ---- retained features of a batch ------------------------------------------------------ */

static int reserve_batch(struct condition_state *s, size_t n_rows, size_t n_values, struct err *err)
{
	if (n_rows > s->n_rows) {
		free(s->rows);
		s->n_rows = n_rows;
		s->rows = calloc(n_rows, sizeof *s->rows);
	}
	if (n_values > s->n_values) {
		free(s->values);
		s->n_values = n_values;
		s->values = calloc(n_values, sizeof *s->values);
	}
	if (s->rows && (s->values || n_values == 0))
		return 0;
	s->n_rows = s->n_values = 0;
	return err_nomem(err, "retained features", n_values * sizeof *s->values);
}

/* The columns of the features that are retained. */
static void pick_columns(const struct condition_state *s, const float *recorded, size_t n,
	float *out)
{
	const struct condition *c = &s->condition;
	const struct feature_set *all = c->retained->features;

	for (size_t k = 0, column = 0; k < all->n; k++) {
		if (!is_retained(c, &all->data[k]))
			continue;
		for (size_t t = 0; t < n; t++)
			out[t * s->retained.n + column] = recorded[t * all->n + k];
		column++;
	}
}

static int retain_rows(struct condition_state *s, const float *const *recorded,
	const size_t *n_tokens, size_t n, size_t n_out, struct err *err)
{
	size_t tokens = 0, at = 0;

	for (size_t i = 0; i < n; i++)
		tokens += n_tokens[i];
	TRY(reserve_batch(s, n, tokens * s->retained.n, err));
	for (size_t i = 0; i < n; i++) {
		s->rows[i] = (struct retained_rows){n_tokens[i], s->values + at};
		pick_columns(s, recorded[i], n_tokens[i], s->values + at);
		at += n_tokens[i] * s->retained.n;
	}
	return retain_plan_batch(s->retain, s->rows, n, n_out, &s->edit.clamps, err);
fail:
	return err->code;
}

static int retain_batch(struct condition_state *s, const size_t *prompts, size_t n, struct err *err)
{
	const float **recorded = malloc(n * sizeof *recorded + 1);
	size_t *n_tokens = malloc(n * sizeof *n_tokens + 1);

	err_clear(err);
	if (!recorded || !n_tokens) {
		err_nomem(err, "retained features", n * sizeof *recorded);
		goto fail;
	}
	for (size_t i = 0; i < n; i++) {
		recorded[i] = s->condition.retained->of_prompt[prompts[i]];
		n_tokens[i] = prompts_tokens(s->lab->prompts, prompts[i], s->lab->prompts->n_prefix)
				      .n;
		if (!recorded[i]) {
			err_set(err, ERR_INTERNAL, "%s: prompt %zu was not recorded",
				s->condition.name, prompts[i]);
			goto fail;
		}
	}
	TRY(retain_rows(s, recorded, n_tokens, n, s->n_out, err));
fail:
	free(recorded);
	free(n_tokens);
	return err->code;
}

int condition_edits(struct condition_state *s, const size_t *prompts, size_t n,
	const struct edit **edits, size_t *n_edits, struct err *err)
{
	*edits = &s->edit;
	*n_edits = s->condition.kind == CONDITION_NONE ? 0 : 1;
	if (s->condition.kind != CONDITION_CLAMP)
		return 0;
	if (s->retain)
		return retain_batch(s, prompts, n, err);
	return clamp_plan_batch(s->plan, prompts, n, &s->edit.clamps, err);
}

int condition_reply_edits(struct condition_state *s, const struct edit **edits, size_t *n_edits,
	struct err *err)
{
	*edits = s->retain ? &s->reply_edit : &s->edit;
	*n_edits = s->condition.kind == CONDITION_NONE ? 0 : 1;
	return s->retain ? clamp_plan_batch(s->plan, NULL, 0, &s->reply_edit.clamps, err) : 0;
}

int condition_prefix_edits(struct condition_state *s, const struct edit **edits, size_t *n_edits,
	struct err *err)
{
	assert(!condition_is_local(s));
	if (!s->retain)
		return condition_edits(s, NULL, 0, edits, n_edits, err);
	*edits = &s->edit;
	*n_edits = 1;
	return retain_rows(s, &s->condition.retained->prefix, &s->lab->prompts->n_prefix, 1, 0,
		err);
}

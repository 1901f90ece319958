/* SPDX-License-Identifier: MIT
 *
 * conditions.c - Contract: conditions.h.
 */
#include "host/run/conditions.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

struct condition condition_none(void)
{
	return (struct condition){.kind = CONDITION_NONE, .name = "none"};
}

struct condition condition_ablate(void)
{
	return (struct condition){.kind = CONDITION_ABLATE, .name = "ablate_direction"};
}

struct condition condition_scale(enum method method, bool local, double c)
{
	struct condition condition = {.kind = CONDITION_CLAMP, .method = method, .local = local,
		.value = {(float)c, 0}};

	snprintf(condition.name, sizeof condition.name, "%s_%s_x%g", method_names[method],
		local ? "local" : "global", c);
	return condition;
}

struct condition condition_set(enum method method, double value)
{
	struct condition condition = {.kind = CONDITION_CLAMP, .method = method,
		.value = {0, (float)value}};

	snprintf(condition.name, sizeof condition.name, "%s_global_to%g", method_names[method],
		value);
	return condition;
}

static int open_ablation(struct condition_state *s, struct err *err)
{
	struct lab *lab = s->lab;
	const size_t d = lab->model->arch.d_model;
	float *u;
	double norm = 0;
	int rc;

	if (!lab->direction.known)
		return err_set(err, ERR_CONFIG,
			"experiment: ablating the direction needs \"direction\" before it, or a file to "
			"take it from (from)");
	u = malloc(d * sizeof *u);
	if (!u)
		return err_nomem(err, "the direction", d * sizeof *u);
	for (size_t i = 0; i < d; i++)
		norm += (double)lab->direction.v[i] * lab->direction.v[i];
	for (size_t i = 0; i < d; i++)
		u[i] = (float)(lab->direction.v[i] / sqrt(norm));
	rc = device_alloc(lab->dev, d * sizeof *u, &s->memory, err) ||
		device_upload(lab->dev, s->memory, u, d * sizeof *u, err);
	free(u);
	s->edit = (struct edit){.kind = EDIT_ABLATE, .layer_last = lab->model->arch.n_layer - 1,
		.vector = {s->memory, DTYPE_F32, 1, d}};
	return rc ? err->code : 0;
}

static int open_clamp(struct condition_state *s, struct err *err)
{
	struct lab *lab = s->lab;
	const struct condition *c = &s->condition;
	const struct method_sets *sets = &lab->sets[c->method];

	if (!sets->known || (c->local && !sets->local))
		return err_set(err, ERR_CONFIG,
			"experiment: clamping the %s features of %s needs \"attribution\" with that method "
			"before it%s",
			c->local ? "local" : "global", method_names[c->method],
			c->local ? "" : ", or a file to take them from (from)");
	s->edit = (struct edit){.kind = EDIT_CLAMP, .layer_last = lab->model->arch.n_layer - 1};
	return clamp_plan_create(&s->plan, lab->dev, lab->saes, c->local ? sets->local : &sets->global,
		c->local ? lab->prompts.n : 1, c->value, err);
}

int condition_open(struct condition_state *s, struct lab *lab, const struct condition *condition,
	struct err *err)
{
	*s = (struct condition_state){.lab = lab, .condition = *condition};
	switch (condition->kind) {
	case CONDITION_NONE:
		return 0;
	case CONDITION_ABLATE:
		return open_ablation(s, err);
	case CONDITION_CLAMP:
		return open_clamp(s, err);
	}
	return 0;
}

void condition_close(struct condition_state *s)
{
	clamp_plan_free(s->plan);
	if (s->lab)
		device_free(s->lab->dev, s->memory);
	*s = (struct condition_state){0};
}

bool condition_is_local(const struct condition_state *s)
{
	return s->condition.kind == CONDITION_CLAMP && s->condition.local;
}

int condition_edits(struct condition_state *s, const size_t *prompts, size_t n,
	const struct edit **edits, size_t *n_edits, struct err *err)
{
	*edits = &s->edit;
	*n_edits = s->condition.kind == CONDITION_NONE ? 0 : 1;
	if (s->condition.kind != CONDITION_CLAMP)
		return 0;
	return clamp_plan_batch(s->plan, prompts, n, &s->edit.clamps, err);
}

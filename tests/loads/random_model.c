/* SPDX-License-Identifier: MIT
 *
 * random_model.c - Contract: random_model.h. Tests: tests/test_loads.py.
 */
#include "tests/loads/random_model.h"

#include "host/base/size.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Where a tensor begins in its buffer. */
static size_t place_of(const char *name)
{
	uint64_t hash = 14695981039346656037u; /* FNV-1a */

	for (const char *c = name; *c; c++)
		hash = (hash ^ (unsigned char)*c) * 1099511628211u;
	return (size_t)(hash % STRETCH);
}

static const struct file_tensor *find(void *context, const char *name, size_t rows, size_t cols)
{
	struct random_model *m = context;
	const struct random_matrices *matrices = m->matrices;

	if (m->tied && strstr(name, "lm_head."))
		return NULL;
	m->tensor = (struct file_tensor){.name = name, .known = true};
	if (rows == 1) {
		m->tensor.type = "F32";
		m->tensor.dtype = DTYPE_F32;
		m->tensor.n_dims = 1;
		m->tensor.shape[0] = cols;
		m->tensor.data = (const unsigned char *)m->vector;
		m->tensor.bytes = cols * sizeof *m->vector;
		return &m->tensor;
	}
	while (matrices->width != cols)
		matrices++;
	m->tensor.type = "BF16";
	m->tensor.dtype = DTYPE_BF16;
	m->tensor.n_dims = 2;
	m->tensor.shape[0] = rows;
	m->tensor.shape[1] = cols;
	m->tensor.data = (const unsigned char *)(matrices->values + place_of(name));
	m->tensor.bytes = rows * cols * sizeof *matrices->values;
	return &m->tensor;
}

/* Room for the largest of the width's matrices from any place of the stretch. */
static int make_matrices(struct random_matrices *out, size_t width, size_t rows,
	const struct stretch *numbers, struct err *err)
{
	const size_t n = rows * width + STRETCH;
	const float deviation = 1 / sqrtf((float)width);

	out->values = malloc(n * sizeof *out->values);
	if (!out->values)
		return err_nomem(err, "random weights", n * sizeof *out->values);
	out->width = width;
	for (size_t i = 0; i < STRETCH; i++)
		out->values[i] = f32_to_bf16(deviation * numbers->values[i]);
	for (size_t i = STRETCH; i < n; i += STRETCH)
		memcpy(out->values + i, out->values,
			size_min(n - i, STRETCH) * sizeof *out->values);
	return 0;
}

/* Every norm's weight, 1 or what is added to 1. */
static int make_vector(struct random_model *m, const struct arch *a, const struct stretch *numbers,
	struct err *err)
{
	const float middle = a->norm.plus_one ? 0 : 1;

	m->vector = malloc(a->d_model * sizeof *m->vector);
	if (!m->vector)
		return err_nomem(err, "random norms", a->d_model * sizeof *m->vector);
	for (size_t i = 0; i < a->d_model; i++)
		m->vector[i] = middle + 0.1f * fmaxf(-1, fminf(1, numbers->values[i]));
	return 0;
}

int random_model_open(struct random_model *m, struct device *dev, const char *config, size_t n_ctx,
	const struct stretch *numbers, struct err *err)
{
	const struct tensor_source source = {find, m};
	const struct model_options options = {.n_ctx = n_ctx};
	struct arch a;

	*m = (struct random_model){0};
	if (arch_parse(&a, "random weights", config, strlen(config), 0, err))
		return err->code;

	m->tied = a.tied_embedding;

	/* What the columns of each matrix are, and the most rows of such matrices. */
	const size_t heads = a.n_head * a.head_dim;
	const size_t width[] = {a.d_model, heads, a.d_ff};
	const size_t rows[] = {size_max(a.n_vocab, size_max(a.d_ff, heads)), a.d_model, a.d_model};
	size_t n = 0;

	for (size_t i = 0; i < RANDOM_MODEL_WIDTHS; i++) {
		const bool there = (i > 0 && width[i] == width[0]) ||
				   (i > 1 && width[i] == width[1]);

		if (!there)
			TRY(make_matrices(&m->matrices[n++], width[i], rows[i], numbers, err));
	}
	TRY(make_vector(m, &a, numbers, err));
	TRY(model_open_from(&m->model, dev, &a, &source, &options, err));
	return 0;
fail:
	random_model_close(m);
	return err->code;
}

void random_model_close(struct random_model *m)
{
	model_close(m->model);
	for (size_t i = 0; i < RANDOM_MODEL_WIDTHS; i++)
		free(m->matrices[i].values);
	free(m->vector);
	*m = (struct random_model){0};
}

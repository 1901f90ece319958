/* SPDX-License-Identifier: MIT
 *
 * rope.c - Contract: rope.h. Source: transformers' modeling_rope_utils.py. Tests:
 * tests/test_model.c, against transformers.
 */
#include "host/model/rope.h"

#include "host/formats/json.h"

#include <float.h>
#include <math.h>
#include <string.h>

static bool has(const json_t *object, const char *key)
{
	const json_t *value = json_object_get(object, key);

	return value && !json_is_null(value);
}

/* A number that must be there. */
static int read_positive(const json_t *object, const char *path, const char *key, double *out,
	struct err *err)
{
	*out = 0;
	if (json_get_double(object, path, key, out, err))
		return err->code;
	if (!has(object, key))
		return err_set(err, ERR_INPUT, "%s: %s: expected a positive number, found %s", path,
			key, json_kind(json_object_get(object, key)));
	if (!(*out > 0) || *out > FLT_MAX)
		return err_set(err, ERR_INPUT, "%s: %s: expected a positive number, found %g", path,
			key, *out);
	return 0;
}

/* "rope_type", which older files call "type". */
static int read_type(const json_t *object, const char *path, const char **type, struct err *err)
{
	const char *older = NULL, *newer = NULL;

	TRY(json_get_text(object, path, "type", &older, err));
	TRY(json_get_text(object, path, "rope_type", &newer, err));
	if (older && newer && strcmp(older, newer) != 0)
		return err_set(err, ERR_INPUT, "%s: rope_type: %s, but type: %s; expected the same",
			path, newer, older);
	*type = newer ? newer : older;
	if (!*type && has(object, "factor"))
		return err_set(err, ERR_INPUT,
			"%s: factor: expected a rope_type beside it, found nothing", path);
	*type = *type ? *type : "default";
	return 0;
fail:
	return err->code;
}

int rope_read(struct rope *rope, const json_t *object, const char *path, struct err *err)
{
	const char *type;

	if (has(object, "rope_theta"))
		TRY(read_positive(object, path, "rope_theta", &rope->theta, err));
	TRY(read_type(object, path, &type, err));
	if (strcmp(type, "default") == 0)
		return 0;
	if (strcmp(type, "linear") != 0 && strcmp(type, "llama3") != 0)
		return err_set(err, ERR_INPUT,
			"%s: rope_type: expected default, linear or llama3, found %s", path, type);
	TRY(read_positive(object, path, "factor", &rope->factor, err));
	rope->scaling = ROPE_LINEAR;
	if (strcmp(type, "linear") == 0)
		return 0;
	rope->scaling = ROPE_LLAMA3;
	TRY(read_positive(object, path, "low_freq_factor", &rope->low_factor, err));
	TRY(read_positive(object, path, "high_freq_factor", &rope->high_factor, err));
	if (rope->high_factor <= rope->low_factor)
		return err_set(err, ERR_INPUT,
			"%s: high_freq_factor: expected more than low_freq_factor (%g), found %g",
			path, rope->low_factor, rope->high_factor);
	if (has(object, "original_max_position_embeddings"))
		TRY(read_positive(object, path, "original_max_position_embeddings",
			&rope->original_context, err));
	return 0;
fail:
	return err->code;
}

bool rope_equal(const struct rope *a, const struct rope *b)
{
	return a->theta == b->theta && a->scaling == b->scaling && a->factor == b->factor &&
	       a->low_factor == b->low_factor && a->high_factor == b->high_factor &&
	       a->original_context == b->original_context;
}

/* PyTorch divides a number by a tensor as number * (1 / tensor), bounds are made in float64 and
 * rounded once: done alike, so that every frequency is the same float32. */
static float stretch_llama3(const struct rope *rope, float f)
{
	const double low = rope->low_factor, high = rope->high_factor;
	const float factor = (float)rope->factor, context = (float)rope->original_context;
	const float wavelength = 1 / f * (float)(2 * M_PI);
	float smooth;

	if (wavelength < (float)(rope->original_context / high))
		return f;
	if (wavelength > (float)(rope->original_context / low))
		return f / factor;
	smooth = (1 / wavelength * context - (float)low) / (float)(high - low);
	return (1 - smooth) * f / factor + smooth * f;
}

void rope_inverse_frequencies(const struct rope *rope, size_t head_dim, float *inv_freq)
{
	for (size_t i = 0; i < head_dim / 2; i++) {
		const float f = 1 / powf((float)rope->theta, (float)(2 * i) / (float)head_dim);

		inv_freq[i] = rope->scaling == ROPE_LLAMA3   ? stretch_llama3(rope, f)
			      : rope->scaling == ROPE_LINEAR ? f / (float)rope->factor
							     : f;
	}
}

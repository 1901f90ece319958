/* SPDX-License-Identifier: MIT
 *
 * rope.c - Contract: rope.h. Source: transformers' modeling_rope_utils.py. Tests:
 * tests/test_model.c, against transformers.
 */
#include "host/model/rope.h"

#include "host/formats/json.h"

#include <math.h>
#include <string.h>

static int read_positive(const json_t *object, const char *path, const char *key, double *out,
	struct err *err)
{
	if (json_get_double(object, path, key, out, err))
		return err->code;
	if (!(*out > 0) || !isfinite(*out))
		return err_set(err, ERR_INPUT, "%s: %s: expected a positive number", path, key);
	return 0;
}

int rope_read_scaling(struct rope *rope, const json_t *scaling, const char *path, struct err *err)
{
	const char *type = "default";

	if (!json_is_object(scaling))
		return 0;
	TRY(json_get_text(scaling, path, "type", &type, err));
	TRY(json_get_text(scaling, path, "rope_type", &type, err));
	if (strcmp(type, "default") == 0)
		return 0;
	if (strcmp(type, "linear") != 0 && strcmp(type, "llama3") != 0)
		return err_set(err, ERR_INPUT,
			"%s: rope_type: expected default, linear or llama3, found %s", path, type);
	TRY(read_positive(scaling, path, "factor", &rope->factor, err));
	rope->scaling = ROPE_LINEAR;
	if (strcmp(type, "linear") == 0)
		return 0;
	rope->scaling = ROPE_LLAMA3;
	TRY(read_positive(scaling, path, "low_freq_factor", &rope->low_factor, err));
	TRY(read_positive(scaling, path, "high_freq_factor", &rope->high_factor, err));
	TRY(read_positive(scaling, path, "original_max_position_embeddings",
		&rope->original_context, err));
	return 0;
fail:
	return err->code;
}

int rope_read(struct rope *rope, const json_t *object, const char *path, struct err *err)
{
	TRY(read_positive(object, path, "rope_theta", &rope->theta, err));
	return rope_read_scaling(rope, object, path, err);
fail:
	return err->code;
}

static float stretch_llama3(const struct rope *rope, float f)
{
	const float low = (float)rope->low_factor, high = (float)rope->high_factor;
	const float factor = (float)rope->factor, context = (float)rope->original_context;
	const float wavelength = 2 * (float)M_PI / f;
	float smooth;

	if (wavelength < context / high)
		return f;
	if (wavelength > context / low)
		return f / factor;
	smooth = (context / wavelength - low) / (high - low);
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

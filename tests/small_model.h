/* SPDX-License-Identifier: MIT
 *
 * small_model.h - checkpoints of a few numbers, written by tests: a Llama of two layers, d_model 8,
 * two heads, d_ff 8, five tokens.
 */
#ifndef SAENGINE_SMALL_MODEL_H
#define SAENGINE_SMALL_MODEL_H

#include "host/model/model.h"
#include "tests/test.h"

enum { SMALL_WIDTH = 8, SMALL_VOCAB = 5, SMALL_LAYERS = 2, SMALL_TENSORS = 32 };

/* Value i is first + i / 64. */
struct small_tensor {
	const char *name;
	size_t rows, cols; /* rows 0: a vector */
	float first;
};

/* A new folder in the scratch folder; the path is the test's until it ends. */
const char *small_folder(const char *name);

/* FOLDER/FILE; tensors in float32. */
void small_write_text(const char *folder, const char *file, const char *text);
void small_write_tensors(const char *folder, const char *file, const struct small_tensor *tensors,
	size_t n);

/* config.json, `more` (",\"key\":value" or "") at its end, and model.safetensors: the model's
 * tensors without a head, and n more. */
void small_write_model(const char *folder, const char *more, const struct small_tensor *tensors,
	size_t n);

/* The same with all tensors in float32, bfloat16 or float16. */
void small_write_model_in(const char *folder, enum dtype dtype, const char *more,
	const struct small_tensor *tensors, size_t n);

/* Opens it on the CPU; the caller closes both. Returns the error's code. */
int small_open(struct model **model, struct device **dev, const char *folder, const char *adapter,
	struct err *err);

#endif

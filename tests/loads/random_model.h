/* SPDX-License-Identifier: MIT
 *
 * random_model.h - a model of any architecture with random weights, made in the device's memory
 * without a file: what benchmarks run where no checkpoint is.
 *
 * Matrices are bfloat16 with deviation 1/sqrt(columns), which keeps activations near 1 in every
 * layer; norms are 1 within a tenth. Matrices of equal width share one host buffer of random
 * numbers (stretch.h) and begin at different places of it, so 16 GB of weights cost the upload and
 * no more; on a device that reads host memory they are used where they lie.
 */
#ifndef SAENGINE_RANDOM_MODEL_H
#define SAENGINE_RANDOM_MODEL_H

#include "host/formats/file_tensor.h"
#include "host/model/model.h"
#include "tests/loads/stretch.h"

enum { RANDOM_MODEL_WIDTHS = 3 }; /* d_model, all heads, d_ff */

struct random_model {
	struct model *model; /* owned */
	struct random_matrices {
		size_t width;     /* 0 = none */
		uint16_t *values; /* bfloat16; owned */
	} matrices[RANDOM_MODEL_WIDTHS];
	float *vector;             /* owned */
	bool tied;                 /* no tensor for the head */
	struct file_tensor tensor; /* the one found last */
};

/* `config`: the text of a config.json. Errors: those of arch_parse and model_open_from. */
int random_model_open(struct random_model *m, struct device *dev, const char *config, size_t n_ctx,
	const struct stretch *numbers, struct err *err);

/* Accepts a zeroed struct. */
void random_model_close(struct random_model *m);

#endif

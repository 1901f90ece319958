/* SPDX-License-Identifier: MIT
 *
 * random_saes.h - a JumpReLU SAE of random features for every layer, made without a file: a struct
 * sae_set (host/model/sae.h) whose format makes up what it is asked to read.
 *
 * Encoder and decoder rows have length 1 on average and no biases, so on a residual stream x a
 * feature's pre-activation is normal with deviation |x|/sqrt(d_model); a layer's threshold is the
 * quantile of it that lets the wanted number of features through.
 */
#ifndef SAENGINE_RANDOM_SAES_H
#define SAENGINE_RANDOM_SAES_H

#include "host/model/sae_parts.h"
#include "tests/loads/stretch.h"

struct random_saes {
	size_t n_layer, d_model, d_sae;
	const double *threshold; /* [n_layer] */
	const struct stretch *numbers;
	bool bf16;
	size_t budget;
};

/* *out is owned: sae_set_close. Borrows nothing of `what`. Errors: memory. */
int random_saes_open(struct sae_set **out, struct device *dev, const struct random_saes *what,
	struct err *err);

/* Device memory of one layer's SAE. */
size_t random_saes_bytes(size_t d_model, size_t d_sae, bool bf16);

/* The threshold at which rows of these deviations have n of d_sae features on average. */
double random_saes_threshold(const double *deviation, size_t n_rows, size_t d_sae, double n);

#endif

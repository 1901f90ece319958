/* SPDX-License-Identifier: MIT
 *
 * sae.h - the published sparse autoencoders of a model's layers. Opening finds and checks every
 * file; weights are brought to the device when they are asked for, whole or a few features at a
 * time, and the least recently used ones make room when they exceed a budget.
 */
#ifndef SAENGINE_SAE_H
#define SAENGINE_SAE_H

#include "host/base/err.h"
#include "kernels/ops.h"

struct sae_set;

struct sae_options {
	const char *path;   /* the folder that holds the layers' folders */
	const char *format; /* "auto", "gemma_scope" or "llama_scope" */
	const char *width;  /* as the folders spell it: "16k", "8x" */
	double l0;          /* Gemma Scope: the folder whose average L0 is nearest */
	size_t budget;      /* bytes of device memory for whole SAEs; at least one always fits */
};

/* Finds the SAE of resid_post for each of n_layer layers and checks names and shapes against
 * d_model; reads no weights. *out is owned, close it. Errors: ERR_INPUT naming folder, file or
 * tensor, expected and found. */
int sae_set_open(struct sae_set **out, struct device *dev, const struct sae_options *options,
	size_t n_layer, size_t d_model, struct err *err);

/* Accepts NULL. */
void sae_set_close(struct sae_set *set);

size_t sae_set_layers(const struct sae_set *set);
size_t sae_set_width(const struct sae_set *set, size_t layer); /* d_sae */
const char *sae_set_format(const struct sae_set *set);
const char *sae_set_path(const struct sae_set *set, size_t layer); /* the file, borrowed */

/* All features of a layer on the device, borrowed until the next sae_set_ call on the set.
 * Errors: ERR_INPUT for values that are not finite, ERR_DEVICE. */
int sae_set_load(struct sae_set *set, size_t layer, struct sae_weights *out, struct err *err);

/* cosine[i] = cos(W_dec[i], v) for all features of a layer. v: host [d_model]; cosine: host
 * [d_sae]. Reads the decoder only. */
int sae_set_cosines(struct sae_set *set, size_t layer, const float *v, float *cosine,
	struct err *err);

/* A few features of a layer, in memory of their own. */
struct sae_few {
	struct device *dev;
	struct sae_weights weights; /* rows in the order of the ids */
	void *memory;               /* owned, device */
};

int sae_set_select(struct sae_set *set, size_t layer, const int32_t *ids, size_t n,
	struct sae_few *out, struct err *err);

/* Accepts a zeroed struct. */
void sae_few_free(struct sae_few *few);

#endif

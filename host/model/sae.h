/* SPDX-License-Identifier: MIT
 *
 * sae.h - the published sparse autoencoders of a model's layers. Opening finds and checks every
 * file; weights are brought to the device when they are asked for, whole or a few features at a
 * time, and the least recently used ones make room when they exceed a budget.
 */
#ifndef SAENGINE_SAE_H
#define SAENGINE_SAE_H

#include "host/base/err.h"
#include "host/model/launch_key.h"
#include "host/model/sae_options.h"
#include "host/model/site.h"
#include "kernels/ops.h"

struct sae_set;

/* Finds the SAE of the wanted place of each of n_layer layers and checks names and shapes against
 * d_model; reads no weights. All have one width; a layer that is left out has no features.
 * *out is owned, close it. Errors: ERR_INPUT naming folder, file or tensor, expected and found. */
int sae_set_open(struct sae_set **out, struct device *dev, const struct sae_options *options,
	size_t n_layer, size_t d_model, struct err *err);

/* Accepts NULL. */
void sae_set_close(struct sae_set *set);

/* What the SAE of a layer reads, and what it reconstructs: where its features are clamped, and
 * where a gradient says what they do. The place is the same in all layers, also those left out. */
struct site sae_set_reads(const struct sae_set *set, size_t layer);
struct site sae_set_writes(const struct sae_set *set, size_t layer);

size_t sae_set_layers(const struct sae_set *set);
size_t sae_set_width(const struct sae_set *set); /* d_sae, of every layer that has an SAE */
bool sae_set_has(const struct sae_set *set, size_t layer);
size_t sae_set_count(const struct sae_set *set); /* layers that have an SAE */
const char *sae_set_format(const struct sae_set *set);
enum sae_dtype sae_set_dtype(const struct sae_set *set);
const char *sae_set_path(const struct sae_set *set, size_t layer); /* the file, borrowed; NULL
								    * without an SAE */
/* Who says that it was trained at the site, in words: a hook of its config, a folder's name; "" =
 * nobody. And the model that its config names, "" = none. Borrowed. */
const char *sae_set_says_site(const struct sae_set *set, size_t layer);
const char *sae_set_says_model(const struct sae_set *set, size_t layer);
/* The config read beside it, into path of n bytes. False where there is none. */
bool sae_set_config_path(const struct sae_set *set, size_t layer, char *path, size_t n);

/* Whether a feature is out of use, which sae_options.allow_unused makes of one that is not finite:
 * it is never on, is read as zeros, and cannot be selected. And how many of a layer are. */
bool sae_set_is_unused(const struct sae_set *set, size_t layer, size_t feature);
size_t sae_set_n_unused(const struct sae_set *set, size_t layer);

bool sae_set_top_k(const struct sae_set *set); /* of some layer only all features tell which are
						* on (struct sae_few) */

/* What folder or config say of the mean number of active features; NAN = nothing. */
double sae_set_claimed_l0(const struct sae_set *set, size_t layer);

/* All features of a layer on the device, borrowed until the next sae_set_ call on the set. None
 * where the layer is left out.
 * Errors: ERR_INPUT for values that are not finite in the file, naming file, tensor, row, column
 * and value, or in the type they are kept in; ERR_DEVICE. */
int sae_set_load(struct sae_set *set, size_t layer, struct sae_weights *out, struct err *err);

/* Bytes of a whole SAE of a layer on the device, or of its encoder alone. 0 where there is none. */
size_t sae_set_bytes(const struct sae_set *set, size_t layer);
size_t sae_set_encoder_bytes(const struct sae_set *set, size_t layer);

/* On a device that is joined with others, in every process: loads the SAEs of as many layers, from
 * the first, as fit rank 0's budget, read by rank 0. Elsewhere it does nothing: what is asked for
 * is loaded then. Errors: as sae_set_load. */
int sae_set_load_joined(struct sae_set *set, struct err *err);

/* cosine[i] = cos(W_dec[i], v) for all features of a layer that has an SAE, NAN for one that is out
 * of use. v: host [d_model]; cosine: host [d_sae]. Reads the decoder only. */
int sae_set_cosines(struct sae_set *set, size_t layer, const float *v, float *cosine,
	struct err *err);

/* A few features of a layer, in memory of their own.
 * Where the SAE keeps only the largest features (top_k), only all of them tell which these are:
 * `encoder` then holds the layer's whole encoder beside the few, and every encoding costs the
 * product with it. */
struct sae_few {
	struct device *dev;
	struct sae_weights weights;  /* rows in the order of the ids */
	void *memory;                /* owned, device */
	struct sae_weights encoder;  /* with top_k: all features, no decoder */
	int32_t *ids;                /* with top_k: device, the few's ids */
	void *encoder_memory;        /* owned, device */
	struct sae_scratch *scratch; /* of the set, borrowed */
};

int sae_set_select(struct sae_set *set, size_t layer, const int32_t *ids, size_t n,
	struct sae_few *out, struct err *err);

/* f = the few features of every row of x.   f: activation [x.rows, n]. */
int sae_few_encode(const struct sae_few *few, struct tensor x, struct tensor f, struct err *err);

/* What op_clamp_features wants as f: absent unless top_k; else the features of x, borrowed until
 * the next call on any few of the set. */
int sae_few_given(const struct sae_few *few, struct tensor x, struct tensor *f, struct err *err);

/* Appends what sae_few_given and op_clamp_features are given of it (launch_key.h). With top_k that
 * is memory of the set too, which grows when more rows are encoded than ever before. Errors:
 * memory. */
int sae_few_key(const struct sae_few *few, struct launch_key *key, struct err *err);

/* Accepts a zeroed struct. */
void sae_few_free(struct sae_few *few);

#endif

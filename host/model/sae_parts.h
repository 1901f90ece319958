/* SPDX-License-Identifier: MIT
 *
 * sae_parts.h - what a set of SAEs is made of, for the files that share it: sae.c opens it,
 * sae_unused.c finds features that are not finite, sae_set.c answers for it, sae_load.c brings
 * weights to the device, sae_few.c keeps a few features of a layer. Users include sae.h.
 */
#ifndef SAENGINE_SAE_PARTS_H
#define SAENGINE_SAE_PARTS_H

#include "host/model/sae_file.h"
#include "host/model/sparse.h"

struct sae_resident {
	struct sae_weights weights;
	void *memory; /* owned, device; NULL when not loaded */
	size_t bytes;
	unsigned long long used; /* clock of the last use */
};

/* What the encodings of a few features of an SAE with top_k need: grown to the largest. */
struct sae_scratch {
	struct sparse sparse;
	void *f; /* owned, device */
	size_t f_bytes;
};

struct sae_set {
	struct device *dev;
	const struct sae_format *format;
	struct sae_file *files;         /* [n_layer]; without a path: left out */
	struct sae_resident *residents; /* [n_layer] */
	size_t n_layer, d_model, d_sae, budget, loaded_bytes;
	enum sae_dtype dtype;
	bool joined; /* what is read now is for all ranks, read by one */
	unsigned long long clock;
	struct sae_scratch scratch;
};

/* Reads parts of features (ids NULL: all) of a layer into fresh device memory, *bytes of it, to be
 * freed. Errors: ERR_INPUT for values that are not finite, ERR_DEVICE. */
int sae_set_read(struct sae_set *set, size_t layer, const int32_t *ids, size_t n,
	enum sae_parts parts, struct sae_weights *weights, void **memory, size_t *bytes,
	struct err *err);

/* Reads the whole SAE of a file and puts out of use the features of which a value is not finite, in
 * the file or as `dtype` keeps it. Errors: ERR_INPUT where b_dec is not finite, or no feature. */
int sae_unused_find(struct sae_file *file, enum sae_dtype dtype, struct err *err);

/* Frees the weights of a layer that is loaded. */
void sae_set_unload(struct sae_set *set, struct sae_resident *r);

#endif

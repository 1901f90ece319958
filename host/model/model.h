/* SPDX-License-Identifier: MIT
 *
 * model.h - a transformer's weights on a device. Immutable once open; what changes while it runs
 * lives in workspaces and caches (transformer.h).
 */
#ifndef SAENGINE_MODEL_H
#define SAENGINE_MODEL_H

#include "host/model/layout.h"

struct adapter;

/* cos and sin of position times frequency, float32 [n_ctx, head_dim/2]. */
struct rope_table {
	struct tensor cosines, sines;
};

/* Where the unembedding comes from: the embedding, as tie_word_embeddings says; a tensor of its
 * own; or, though the two are to be tied, the files have both: the same twice, or two that differ,
 * of which the head's is then taken. */
enum model_head { HEAD_TIED, HEAD_OWN, HEAD_REPEATED, HEAD_DIFFERS };

struct model {
	struct device *dev; /* borrowed */
	struct arch arch;
	size_t n_ctx; /* longest sequence, prompt and reply together */
	struct tensor embedding, unembedding, final_norm;
	struct layer_weights *layers; /* [n_layer] */
	struct rope_table rope[ARCH_N_ROPES];
	double embedding_scale;
	enum dtype operand; /* of what products with the layers' matrices read (ops.h) */
	/* Whether layers have qkv and gate_up: all or none. On a device with memory of its own,
	 * where their parts are of one type, and q and k go through no norm of their own. */
	bool has_qkv, has_gate_up;
	enum model_head head;
	char unused[256]; /* tensors of the files that are none of the model's, "" = none (layout.h)
			   */

	struct safetensors_folder *files; /* mapped for as long as the model lives; NULL = none */
	struct adapter *adapter;          /* likewise */
	void **owned;                     /* device memory to free */
	size_t n_owned;
	size_t bytes; /* of all weights as they are in the checkpoint or made by the adapter */
	size_t merged_bytes; /* of which the latter */
};

struct model_options {
	size_t n_ctx;                 /* 0 = the config's maximum, at most 8192 */
	double rope_original_context; /* arch_read */
	const char *adapter; /* folder of a LoRA adapter to apply (adapter.h); NULL = none */
};

/* Opens a checkpoint folder: every tensor's name, type and shape is checked before any is
 * uploaded. On a device that reads host memory, matrices are used where they are mapped; on one
 * with memory of its own they must fit what is free, which is checked before the first is sent; on
 * one that is joined with others they are rank 0's, and the others read vectors only. Matrices that
 * an adapter changes are made in float32, on the device. Every tensor that is used is read through
 * here, also where it is only mapped: one that is not finite is an error. *out is owned, close it;
 * `dev` and the folder's files must outlive it. Errors: ERR_INPUT naming the tensor, expected and
 * found; ERR_DEVICE. */
int model_open(struct model **out, struct device *dev, const char *folder,
	const struct model_options *options, struct err *err);

/* The same for an architecture that is known, and tensors from anywhere. */
int model_open_from(struct model **out, struct device *dev, const struct arch *arch,
	const struct tensor_source *source, const struct model_options *options, struct err *err);

/* Accepts NULL. */
void model_close(struct model *model);

/* Number of parameters, unembedding counted once when shared. */
size_t model_parameters(const struct model *model);

/* The rotary table of a layer. */
const struct rope_table *model_rope(const struct model *model, size_t layer);

#endif

/* SPDX-License-Identifier: MIT
 *
 * model.h - a transformer's weights on a device. Immutable once open; what changes while it runs
 * lives in workspaces and caches (transformer.h).
 */
#ifndef SAENGINE_MODEL_H
#define SAENGINE_MODEL_H

#include "host/model/arch.h"

struct file_tensor;
struct safetensors_folder;

/* Matrices are weights in the type of the checkpoint, [out, in]; norms are vectors. */
struct layer_weights {
	struct tensor attention_norm, q, k, v, o;
	struct tensor q_bias, k_bias, v_bias,
		o_bias;                    /* vectors; absent unless the family has them */
	struct tensor q_norm, k_norm;      /* [head_dim]; absent likewise */
	struct tensor post_attention_norm; /* Gemma only */
	struct tensor mlp_norm, gate, up, down;
	struct tensor post_mlp_norm; /* Gemma only */
};

/* cos and sin of position times frequency, float32 [n_ctx, head_dim/2]. */
struct rope_table {
	struct tensor cosines, sines;
};

struct model {
	struct device *dev; /* borrowed */
	struct arch arch;
	size_t n_ctx; /* longest sequence, prompt and reply together */
	struct tensor embedding, unembedding, final_norm;
	struct layer_weights *layers; /* [n_layer] */
	struct rope_table rope[ARCH_N_ROPES];
	double embedding_scale;

	struct safetensors_folder *files; /* mapped for as long as the model lives; NULL = none */
	void **owned;                     /* device memory to free */
	size_t n_owned;
	size_t bytes; /* of all weights as they are in the checkpoint */
};

struct model_options {
	size_t n_ctx;                 /* 0 = the config's maximum, at most 8192 */
	double rope_original_context; /* arch_read */
};

/* Opens a checkpoint folder: every tensor's name, type and shape is checked before any is
 * uploaded. On a device that reads host memory, matrices are used where they are mapped; on one
 * with memory of its own they must fit what is free, which is checked before the first is sent; on
 * one that is joined with others they are rank 0's, and the others read vectors only. *out is
 * owned, close it; `dev` and the folder's files must outlive it. Errors: ERR_INPUT naming the
 * tensor, expected and found; ERR_DEVICE. */
int model_open(struct model **out, struct device *dev, const char *folder,
	const struct model_options *options, struct err *err);

/* Where a model's tensors come from: a checkpoint's files, or what a benchmark makes up. */
struct tensor_source {
	/* The tensor of that name, NULL where there is none, borrowed until the next call; its data
	 * for as long as the model lives. rows and cols are the shape that the architecture wants
	 * (rows 1: a vector), for sources that make tensors to measure; what comes is checked. */
	const struct file_tensor *(*find)(void *context, const char *name, size_t rows,
		size_t cols);
	void *context; /* borrowed */
};

/* The same for an architecture that is known, and tensors from anywhere. */
int model_open_from(struct model **out, struct device *dev, const struct arch *arch,
	const struct tensor_source *source, const struct model_options *options, struct err *err);

/* Accepts NULL. */
void model_close(struct model *model);

/* Number of parameters, unembedding counted once when tied. */
size_t model_parameters(const struct model *model);

/* The rotary table of a layer. */
const struct rope_table *model_rope(const struct model *model, size_t layer);

#endif
